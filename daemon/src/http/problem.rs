//! Errors as callers see them: `application/problem+json` (RFC 9457).

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::ids::Id;
use crate::inbox::{Changed, InboxFailureKind};
use crate::payload::MapWriter;

/// Every code that a problem can have. What the engine says stands in [`InboxFailureKind::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    Engine(InboxFailureKind),
    /// 400: this is not HTTP/1.1 as it should be.
    BadRequest,
    /// 400: `Host` is missing, there twice, or no name.
    BadHost,
    /// 400: see `route::PathError`.
    BadPath,
    /// 400: the query is not UTF-8, or has too many fields.
    BadQuery,
    /// 400: JSON, but deeper or with larger numbers than scripts can hold.
    JsonTooBig,
    /// 400
    BadIdempotencyKey,
    /// 401: no token that is valid was shown where the route asks for one.
    NotKnown,
    /// 401: the signature that the route asks for is missing, wrong or too old.
    NotSigned,
    /// 408: headers or body did not come in time.
    RequestTimeout,
    /// 403: whom the token stands for may not call this.
    NotAllowed,
    /// 404
    NoSuchApp,
    /// 404
    NoSuchRoute,
    /// 404: nothing is known of this execution any more.
    NotKept,
    /// 405
    MethodNotAllowed,
    /// 413
    BodyTooLarge,
    /// 414
    UriTooLong,
    /// 415: the body is not what it says, or says what is not taken.
    BadBody,
    /// 421: `Host` is none of this machine's names.
    ForeignHost,
    /// 429: this caller has called this route too often.
    RateLimited,
    /// 431
    HeadersTooLarge,
    /// 503
    TooManyConnections,
    /// 505
    HttpVersion,
}

impl Code {
    /// Status and name.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Self::Engine(kind) => kind.status(),
            Self::BadRequest => (400, "bad_request"),
            Self::BadHost => (400, "bad_host"),
            Self::BadPath => (400, "bad_path"),
            Self::BadQuery => (400, "bad_query"),
            Self::JsonTooBig => (400, "json_too_big"),
            Self::BadIdempotencyKey => (400, "bad_idempotency_key"),
            Self::NotKnown => (401, "not_known"),
            Self::NotSigned => (401, "not_signed"),
            Self::RequestTimeout => (408, "request_timeout"),
            Self::NotAllowed => (403, "not_allowed"),
            Self::NoSuchApp => (404, "no_such_app"),
            Self::NoSuchRoute => (404, "no_such_route"),
            Self::NotKept => (404, "not_kept"),
            Self::MethodNotAllowed => (405, "method_not_allowed"),
            Self::BodyTooLarge => (413, "body_too_large"),
            Self::UriTooLong => (414, "uri_too_long"),
            Self::BadBody => (415, "bad_body"),
            Self::ForeignHost => (421, "foreign_host"),
            Self::RateLimited => (429, "rate_limited"),
            Self::HeadersTooLarge => (431, "headers_too_large"),
            Self::TooManyConnections => (503, "too_many_connections"),
            Self::HttpVersion => (505, "http_version"),
        }
    }

    /// Seconds after which it is worth trying again.
    fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::Engine(InboxFailureKind::Paused) => Some(60),
            Self::Engine(InboxFailureKind::Stopping) => Some(5),
            _ if self.status().0 == 503 => Some(1),
            _ => None,
        }
    }
}

/// One error, on its way to the caller.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    hint: Option<String>,
    /// What belongs to it beside `Content-Type` and, where the code says when to try again, `Retry-After`.
    header: Option<Box<(HeaderName, HeaderValue)>>,
    execution: Option<Id>,
    changed: Changed,
}

impl Problem {
    /// A problem of a request that changed nothing.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        Problem {
            code,
            detail,
            hint: None,
            header: None,
            execution: None,
            changed: Changed::Nothing,
        }
    }

    pub fn method_not_allowed(method: &str, allow: &str) -> Problem {
        let detail = format!("{method} is not among the methods of this path: {allow}");
        Problem::new(Code::MethodNotAllowed, detail).with_header(header::ALLOW, allow)
    }

    /// With a header field of visible ASCII characters.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Problem {
        let value = HeaderValue::from_str(value);
        self.header = Some(Box::new((name, value.expect("made of methods, names and digits"))));
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn of_execution(mut self, execution: Id, changed: Changed) -> Problem {
        self.execution = Some(execution);
        self.changed = changed;
        self
    }

    pub fn code(&self) -> Code {
        self.code
    }

    pub fn status(&self) -> u16 {
        self.code.status().0
    }

    /// The body.
    pub fn json(&self) -> String {
        let (status, code) = self.code.status();
        let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let mut out = String::with_capacity(256);
        let mut map = MapWriter::open(&mut out);
        map.text("type", "about:blank");
        map.text("title", title.unwrap_or("Error"));
        map.json("status", &status.to_string());
        map.text("detail", &self.detail);
        map.text("code", code);
        if let Some(hint) = &self.hint {
            map.text("hint", hint);
        }
        if let Some(execution) = self.execution {
            map.text("execution_id", &execution.to_string());
        }
        let outcome = match self.changed {
            Changed::Nothing => "nothing_changed",
            Changed::Unknown => "unknown",
        };
        map.text("outcome", outcome);
        map.close();
        out
    }

    /// The headers that belong to it, beside `Content-Type`.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let retry = self.code.retry_after_s().map(|s| (header::RETRY_AFTER, HeaderValue::from(s)));
        retry.into_iter().chain(self.header.as_deref().cloned())
    }

    pub fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.json())));
        *response.status_mut() =
            StatusCode::from_u16(self.status()).expect("the table has valid statuses");
        response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
        response.headers_mut().extend(self.headers());
        response
    }
}

pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_all_that_is_known() {
        let problem =
            Problem::new(Code::Engine(InboxFailureKind::TimedOut), "it \"took\" too long")
                .hint("try less")
                .of_execution(Id(0), Changed::Unknown);
        assert_eq!(
            problem.json(),
            r#"{"type":"about:blank","title":"Gateway Timeout","status":504,"detail":"it \"took\" too long","code":"timed_out","hint":"try less","execution_id":"00000000000000000000000000","outcome":"unknown"}"#
        );
    }

    #[test]
    fn what_may_work_later_says_when() {
        for (code, expected) in [
            (Code::Engine(InboxFailureKind::Busy), Some("1")),
            (Code::Engine(InboxFailureKind::Paused), Some("60")),
            (Code::Engine(InboxFailureKind::Stopping), Some("5")),
            (Code::TooManyConnections, Some("1")),
            (Code::Engine(InboxFailureKind::StorageLow), None),
            (Code::BadBody, None),
        ] {
            let response = Problem::new(code, "x").response();
            let found = response.headers().get("retry-after").map(|value| value.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes), "{code:?}");
        }
    }
}
