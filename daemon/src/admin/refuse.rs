//! Problems: how the admin API says no.

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use picloud_api::problem::{Code, MEDIA_TYPE, Problem};

use crate::flow::configure::Unfit;

pub fn response(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response()
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
        Unfit::HostTaken { .. } | Unfit::SlugTaken(_) => Code::Conflict,
        Unfit::Changed { .. } => Code::Changed,
        Unfit::InUse { .. } => Code::InUse,
        Unfit::TooMany { .. } => Code::Unfit,
    };
    let problem = Problem::new(code, unfit.to_string());
    match unfit {
        Unfit::Changed { .. } => problem.with_hint("look at it again, then repeat"),
        Unfit::InUse { .. } => {
            problem.with_hint("let them run another script first, or remove them")
        }
        Unfit::NotAllowed { .. }
        | Unfit::NoSuchApp(_)
        | Unfit::NoSuchPart { .. }
        | Unfit::HostTaken { .. }
        | Unfit::SlugTaken(_)
        | Unfit::TooMany { .. } => problem,
    }
}
