//! Problems: how the admin API says no.

use axum::extract::rejection::BytesRejection;
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
        Unfit::HostTaken { .. } | Unfit::NameTaken { .. } => Code::Conflict,
        Unfit::BadTrigger(errors) => {
            let mut problem = Problem::new(Code::BadTrigger, "nothing was changed");
            problem.errors.clone_from(errors);
            return problem;
        }
        Unfit::TooManySecrets { .. } => Code::TooMany,
    };
    Problem::new(code, unfit.to_string())
}
