//! Problems: how the admin API says no.

use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use picloud_api::problem::{Code, MEDIA_TYPE, Problem};

use crate::flow::configure::Unfit;

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
        Unfit::HostTaken { .. } => Code::Conflict,
        Unfit::NoSuchPrincipal(_) | Unfit::NoSuchToken(_) => Code::NotFound,
        Unfit::NameTaken { .. } | Unfit::UidTaken { .. } => Code::AlreadyThere,
        Unfit::NotYours { .. } => Code::NotAllowed,
        Unfit::IsOwner(_) => Code::Protected,
        Unfit::TooMany { .. } => Code::LimitReached,
    };
    let problem = Problem::new(code, unfit.to_string());
    match hint(unfit) {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}

fn hint(unfit: &Unfit) -> Option<&'static str> {
    match unfit {
        Unfit::NoSuchPrincipal(_) => Some("`picloud principals list` shows all"),
        Unfit::NoSuchToken(_) => Some("`picloud tokens list` shows all"),
        Unfit::NameTaken { kind: "principal", .. } => Some(
            "take another name; `picloud tokens create --principal` gives one that is there a token",
        ),
        Unfit::NameTaken { .. } => Some("take another name, or revoke that one first"),
        Unfit::TooMany { .. } => Some("remove some, or raise the limit in [limits.admin]"),
        Unfit::NotAllowed { .. }
        | Unfit::NoSuchApp(_)
        | Unfit::NoSuchPart { .. }
        | Unfit::HostTaken { .. }
        | Unfit::UidTaken { .. }
        | Unfit::NotYours { .. }
        | Unfit::IsOwner(_) => None,
    }
}
