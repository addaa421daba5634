//! The `event` that a script gets for a request, as JSON text in one buffer. Pure.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderValue};

use crate::http::body::{push_body, push_query};
use crate::http::problem::{Code, Problem};
use crate::limits::HttpLimits;
use crate::outbox::masked::HIDDEN;
use crate::payload::MapWriter;
use crate::principal::TokenHash;
use crate::route::access::Caller;

/// What is known of a request whose body has been read.
pub(super) struct Incoming<'a> {
    pub method: &'a str,
    /// As it was sent, without the app's slug and the query.
    pub path: &'a str,
    pub params: &'a [(&'a str, Cow<'a, str>)],
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    /// Who is at the other end of the connection; what headers claim about that is ignored.
    pub peer: IpAddr,
    pub caller: &'a Caller,
    /// The header field that the caller has signed in with: the script gets to know only that it was there.
    pub hidden: Option<&'a str>,
}

pub(super) fn event(incoming: &Incoming<'_>, limits: &HttpLimits) -> Result<String, Problem> {
    let header_bytes: usize =
        incoming.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 6).sum();
    let mut out = String::with_capacity(256 + header_bytes + incoming.body.len() * 4 / 3);
    let mut map = MapWriter::open(&mut out);
    map.text("method", incoming.method);
    map.text("path", incoming.path);
    let mut params = MapWriter::open(map.key("params"));
    for (name, value) in incoming.params {
        params.text(name, value);
    }
    params.close();
    push_query(map.key("query"), incoming.query, limits)?;
    push_headers(map.key("headers"), incoming.headers, incoming.hidden);
    let content_type = content_type(incoming.headers)?;
    push_body(map.key("body"), content_type, incoming.body, limits)?;
    map.text("remote", &incoming.peer.to_string());
    push_caller(map.key("auth"), incoming.caller);
    map.close();
    Ok(out)
}

fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Problem::new(Code::BadBody, "Content-Type is there twice"));
    }
    let readable = |value: &'_ HeaderValue| value.to_str().is_ok();
    match first {
        None => Ok(None),
        Some(value) if readable(value) => Ok(value.to_str().ok()),
        Some(_) => Err(Problem::new(Code::BadBody, "Content-Type is not ASCII")),
    }
}

fn push_caller(out: &mut String, caller: &Caller) {
    match caller {
        Caller::Anybody => out.push_str("null"),
        Caller::Bearer { name, token, .. } => {
            let mut map = MapWriter::open(out);
            map.text("kind", "token");
            map.text("principal", name);
            map.text("token", token);
            map.close();
        }
        Caller::Signer { secret } => {
            let mut map = MapWriter::open(out);
            map.text("kind", "hmac");
            map.text("secret", secret);
            map.close();
        }
    }
}

/// Names are in lower case. A header that occurs several times becomes one text, joined as the standard allows.
fn push_headers(out: &mut String, headers: &HeaderMap, hidden: Option<&str>) {
    let mut map = MapWriter::open(out);
    // Lines of one name follow each other.
    let mut lines = headers.iter().peekable();
    while let Some((name, value)) = lines.next() {
        let mut joined = text(value);
        while let Some((_, value)) = lines.next_if(|(next, _)| *next == name) {
            let between = if name == header::COOKIE { "; " } else { ", " };
            joined = Cow::Owned([&*joined, between, &*text(value)].concat());
        }
        // A token of PiCloud is its bearer's, also where nobody asks for it.
        let is_hidden = hidden == Some(name.as_str())
            || (name == header::AUTHORIZATION && shows_token(&joined));
        map.text(name.as_str(), if is_hidden { HIDDEN } else { &joined });
    }
    map.close();
}

fn shows_token(authorization: &str) -> bool {
    authorization.split([' ', ',']).any(|word| TokenHash::of(word).is_some())
}

/// Bytes that are not UTF-8 are read as Latin-1, which never fails.
fn text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.as_bytes().iter().map(|byte| char::from(*byte)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_with_all_of_the_request() {
        let mut headers = HeaderMap::new();
        headers.append("content-type", HeaderValue::from_static("application/json"));
        headers.append("x-signature", HeaderValue::from_static("sha256=1"));
        headers.append("x-signature", HeaderValue::from_static("sha256=2"));
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        headers.append("cookie", HeaderValue::from_static("a=1"));
        headers.append("cookie", HeaderValue::from_static("b=2"));
        headers.append("x-latin", HeaderValue::from_bytes(b"\xe9\"").expect("a value"));
        headers.append("x-forwarded-for", HeaderValue::from_static("1.2.3.4"));
        let incoming = Incoming {
            method: "POST",
            path: "/readings/a%20b",
            params: &[("sensor", Cow::Borrowed("a b"))],
            query: Some("x=1"),
            headers: &headers,
            body: b"{\"t\": 2}",
            peer: IpAddr::from([192, 168, 1, 7]),
            caller: &Caller::Signer { secret: "KEY".into() },
            hidden: Some("x-signature"),
        };
        let text = event(&incoming, &HttpLimits::default()).expect("a good request");
        let found: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
        let expected = serde_json::json!({
            "method": "POST",
            "path": "/readings/a%20b",
            "params": {"sensor": "a b"},
            "query": {"x": "1"},
            "headers": {
                "content-type": "application/json",
                "x-signature": "(hidden)",
                "x-a": "1, 2",
                "cookie": "a=1; b=2",
                "x-latin": "é\"",
                "x-forwarded-for": "1.2.3.4",
            },
            "body": {"t": 2},
            "remote": "192.168.1.7",
            "auth": {"kind": "hmac", "secret": "KEY"},
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn two_content_types_are_no_type() {
        let mut headers = HeaderMap::new();
        headers.append("content-type", HeaderValue::from_static("text/plain"));
        headers.append("content-type", HeaderValue::from_static("application/json"));
        assert_eq!(content_type(&headers).map_err(|problem| problem.status()), Err(415));
    }
}
