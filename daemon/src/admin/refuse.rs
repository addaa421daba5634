//! Problems: how the admin API says no.

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use picloud_api::problem::{Code, EntryError, MEDIA_TYPE, Problem};

use crate::flow::Refusal;
use crate::flow::configure::Unfit;
use crate::flow::manage::Declined;
use crate::store::writer::{CommitError, NotTaken};

pub fn response(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// A body that could not be read.
pub fn body(error: &BytesRejection, body_bytes_max: usize) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(Code::TooLarge, format!("the body has more than {body_bytes_max} bytes"))
    } else {
        Problem::new(Code::BadRequest, "the body could not be read to its end")
    }
}

/// A path whose variable parts cannot be decoded.
pub fn path(error: &PathRejection) -> Problem {
    let cause =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    Problem::new(Code::BadRequest, format!("the path cannot be read: {cause}"))
        .with_hint("percent-encode names as UTF-8")
}

pub fn is_json(headers: &HeaderMap) -> bool {
    let named = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let named = named.and_then(|value| value.split(';').next());
    named.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

/// A plan that does not fit what is there.
pub fn unfit(unfit: &Unfit) -> Problem {
    let code = match unfit {
        Unfit::NotAllowed { .. } => Code::NotAllowed,
        Unfit::NoSuchApp(_) | Unfit::NoSuchPart { .. } => Code::NotFound,
        Unfit::BadRoute(errors) => return wrong(Code::BadRoute, errors),
        Unfit::BadTrigger(errors) => return wrong(Code::BadTrigger, errors),
        Unfit::Changed { .. } => Code::Changed,
        Unfit::InUse { .. } => Code::InUse,
        Unfit::TooMany { .. } => Code::TooMany,
        Unfit::NoSuchPrincipal(_) | Unfit::NoSuchToken(_) => Code::NotFound,
        Unfit::HostTaken { .. }
        | Unfit::SlugTaken(_)
        | Unfit::PartTaken { .. }
        | Unfit::NameTaken { .. }
        | Unfit::UidTaken { .. } => Code::AlreadyThere,
        Unfit::NotYours { .. } => Code::NotAllowed,
        Unfit::IsOwner(_) => Code::Protected,
        Unfit::LimitReached { .. } => Code::TooMany,
    };
    let problem = Problem::new(code, unfit.to_string());
    match hint(unfit) {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}

/// An entry that is refused.
fn wrong(code: Code, errors: &[EntryError]) -> Problem {
    let mut problem = Problem::new(code, "nothing was changed");
    problem.errors = errors.to_vec();
    problem
}

fn hint(unfit: &Unfit) -> Option<&'static str> {
    match unfit {
        Unfit::Changed { .. } => Some("look at it again, then repeat"),
        Unfit::InUse { .. } => Some("let them run another script first, or remove them"),
        Unfit::NoSuchPrincipal(_) => Some("`picloud principals list` shows all"),
        Unfit::NoSuchToken(_) => Some("`picloud tokens list` shows all"),
        Unfit::NameTaken { kind: "principal", .. } => Some(
            "take another name; `picloud tokens create --principal` gives one that is there a token",
        ),
        Unfit::NameTaken { .. } => Some("take another name, or revoke that one first"),
        Unfit::LimitReached { .. } => Some("remove some, or raise the limit in [limits.admin]"),
        Unfit::NotAllowed { .. }
        | Unfit::NoSuchApp(_)
        | Unfit::NoSuchPart { .. }
        | Unfit::HostTaken { .. }
        | Unfit::PartTaken { .. }
        | Unfit::SlugTaken(_)
        | Unfit::BadRoute(_)
        | Unfit::BadTrigger(_)
        | Unfit::TooMany { .. }
        | Unfit::UidTaken { .. }
        | Unfit::NotYours { .. }
        | Unfit::IsOwner(_) => None,
    }
}

/// A wish about a row or a dead letter that was not granted.
pub fn not_managed(error: &CommitError) -> Problem {
    let code = match error {
        CommitError::NotTaken(NotTaken::Full) => Code::Busy,
        CommitError::NotTaken(NotTaken::Stopping) => Code::Stopping,
        CommitError::Refused(Refusal::Declined(why)) => return declined(why),
        CommitError::Refused(Refusal::AppDeleted) => Code::NotFound,
        CommitError::Refused(Refusal::StorageLow) => Code::StorageLow,
        CommitError::Refused(Refusal::AppFull { .. } | Refusal::TooManyDelayed { .. }) => {
            Code::Busy
        }
        CommitError::Refused(
            Refusal::Conflict
            | Refusal::LeaseLost
            | Refusal::FanOut { .. }
            | Refusal::NotApplicable { .. }
            | Refusal::NoSuchScript(_)
            | Refusal::Letter { .. }
            | Refusal::Answered(_)
            | Refusal::KeyReused
            | Refusal::StoreFailed(_)
            | Refusal::CommandFailed(_),
        )
        | CommitError::Unknown => Code::Internal,
    };
    Problem::new(code, error.to_string())
}

/// What is there is not as a wish needs it.
pub fn declined(why: &Declined) -> Problem {
    let (code, hint) = match why {
        Declined::NoSuchLetter(_) => (Code::NotFound, None),
        Declined::NoSuchRow(_) => (Code::NotFound, Some("see `picloud executions list`")),
        Declined::Replayed { .. } => {
            (Code::Conflict, Some("take the replay back before its row begins, or replay again"))
        }
        Declined::Discarded(_) => (Code::Conflict, Some("reopen it first")),
        Declined::Open(_) => (Code::Conflict, None),
        Declined::Begun { .. } => (Code::Conflict, Some("what has begun cannot be taken back")),
        Declined::Running(_) => (Code::Conflict, Some("it ends by itself or at its timeout")),
        Declined::Behind { .. } => {
            (Code::Conflict, Some("run the row before it now, or cancel that one"))
        }
    };
    let problem = Problem::new(code, why.to_string());
    match hint {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}
