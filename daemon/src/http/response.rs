//! Responses out of what the engine says.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::catalog::App;
use crate::dispatcher::call::Reply;
use crate::dispatcher::lookup::Known;
use crate::http::problem::{Code, Problem};
use crate::ids::Id;
use crate::inbox::{Changed, InboxFailure, InboxFailureKind, InboxResult};
use crate::payload::MapWriter;
use crate::route::answer::{self, AnswerBody};
use crate::time::Timestamp;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The response to a call of a route of `app`.
pub(super) fn response(app: &App, reply: Reply) -> Result<Response<Full<Bytes>>, Problem> {
    match reply {
        Reply::Answered { execution, result: InboxResult::Answered(result) } => {
            answered(&result).map_err(|reason| {
                // The engine has read the answer before it settled the run; so this is late, if it happens at all.
                let failure = InboxFailure {
                    kind: InboxFailureKind::NotAResponse,
                    message: reason.to_string(),
                    changed: Changed::Unknown,
                };
                failed(app, execution, failure)
            })
        }
        Reply::Answered { execution, result: InboxResult::Failed(failure) } => {
            Err(failed(app, execution, failure))
        }
        Reply::Accepted { execution, at } => Ok(accepted(execution, at)),
    }
}

/// A response with a JSON text as its body.
fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// What is known of an execution.
pub(super) fn known(id: Id, known: &Known) -> Response<Full<Bytes>> {
    let mut body = String::with_capacity(96);
    let mut map = MapWriter::open(&mut body);
    map.text("execution_id", &id.to_string());
    map.text("state", known.state.as_str());
    map.json("attempts", &known.attempts.to_string());
    map.close();
    json(StatusCode::OK, body)
}

fn answered(result: &Arc<str>) -> Result<Response<Full<Bytes>>, answer::NotAResponse> {
    let answer = answer::read(result)?;
    let (body, content_type) = match answer.body {
        AnswerBody::Empty => (Bytes::new(), None),
        AnswerBody::Whole => (Bytes::from_owner(Shared(Arc::clone(result))), Some(JSON)),
        AnswerBody::Json(text) => (Bytes::copy_from_slice(text.as_bytes()), Some(JSON)),
        AnswerBody::Text(text) => (Bytes::from(text), Some(TEXT)),
        AnswerBody::Binary(bytes) => (Bytes::from(bytes), Some(BINARY)),
    };
    let status = StatusCode::from_u16(answer.status).expect("an answer has a status of HTTP");
    let has_body = !matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    let mut response = Response::new(Full::new(if has_body { body } else { Bytes::new() }));
    *response.status_mut() = status;
    if let Some(content_type) = content_type.filter(|_| has_body) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    let mut is_first = true;
    for (name, value) in answer.headers {
        if name == header::CONTENT_TYPE && std::mem::replace(&mut is_first, false) {
            response.headers_mut().insert(name, value);
        } else {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

/// A script's result as the bytes of a body, without copying it.
struct Shared(Arc<str>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn accepted(execution: Id, at: Timestamp) -> Response<Full<Bytes>> {
    let id = execution.to_string();
    let accepted_at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_string();
    let mut body = String::with_capacity(96);
    let mut map = MapWriter::open(&mut body);
    map.text("accepted_at", &accepted_at);
    map.text("execution_id", &id);
    map.close();
    let mut response = json(StatusCode::ACCEPTED, body);
    let location = HeaderValue::try_from(format!("/_picloud/executions/{id}"));
    response.headers_mut().insert(header::LOCATION, location.expect("an id is ASCII"));
    response
}

fn failed(app: &App, execution: Id, failure: InboxFailure) -> Problem {
    let detail = match (is_of_script(failure.kind), app.expose_errors) {
        (true, false) => sentence(failure.kind).to_owned(),
        (true, true) | (false, _) if !failure.message.is_empty() => failure.message,
        (true, true) | (false, _) => sentence(failure.kind).to_owned(),
    };
    let problem =
        Problem::new(Code::Engine(failure.kind), detail).of_execution(execution, failure.changed);
    if is_of_script(failure.kind) && !app.expose_errors {
        return problem.hint("the console and the log show the error under the execution's id");
    }
    problem
}

/// Whether the message may hold what only the app's owner should read.
fn is_of_script(kind: InboxFailureKind) -> bool {
    match kind {
        InboxFailureKind::NotAResponse
        | InboxFailureKind::ScriptFailed
        | InboxFailureKind::TimedOut
        | InboxFailureKind::BudgetSpent
        | InboxFailureKind::Internal => true,
        InboxFailureKind::Busy
        | InboxFailureKind::Paused
        | InboxFailureKind::Stopping
        | InboxFailureKind::StorageLow
        | InboxFailureKind::DiskFull
        | InboxFailureKind::InFlight
        | InboxFailureKind::AnswerNotKept
        | InboxFailureKind::KeyReused => false,
    }
}

fn sentence(kind: InboxFailureKind) -> &'static str {
    match kind {
        InboxFailureKind::NotAResponse => {
            "the script does not compile, or its result cannot be a response"
        }
        InboxFailureKind::ScriptFailed => "the script failed",
        InboxFailureKind::TimedOut => "the script was still running at its deadline",
        InboxFailureKind::BudgetSpent => "the script used up one of its limits",
        InboxFailureKind::Internal => "the daemon could not do its part",
        InboxFailureKind::Busy => "too much is running or waiting",
        InboxFailureKind::Paused => "this is paused",
        InboxFailureKind::Stopping => "the daemon is stopping",
        InboxFailureKind::StorageLow | InboxFailureKind::DiskFull => "the disk is nearly full",
        InboxFailureKind::InFlight => "a request with this Idempotency-Key is running",
        InboxFailureKind::AnswerNotKept => {
            "a request with this Idempotency-Key was answered, but its answer was too large to keep"
        }
        InboxFailureKind::KeyReused => "this Idempotency-Key came before with another body",
    }
}
