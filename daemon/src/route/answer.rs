//! What a script's result says to the caller.
//!
//! A map is a response if it has at least one of the keys `status`, `headers`, `body` and no other, and its `status`, if it
//! is there, is an integer from 100 to 599. Every other value is the JSON body of a 200. The engine reads an answer before it
//! settles the run, so that a response that cannot be sent changes nothing.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName, HeaderValue};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Header lines of a script's response.
pub const HEADERS_MAX: usize = 100;

/// Bytes of the names and values of a script's response headers.
pub const HEADER_BYTES_MAX: usize = 16 << 10;

/// A response, not yet bound to a connection.
#[derive(Debug, PartialEq)]
pub struct Answer<'a> {
    /// 200 to 599.
    pub status: u16,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: AnswerBody<'a>,
}

#[derive(Debug, PartialEq)]
pub enum AnswerBody<'a> {
    Empty,
    /// The script's whole result, sent as it is.
    Whole,
    /// JSON text within the result.
    Json(&'a str),
    Text(String),
    Binary(Vec<u8>),
}

/// The result means to be a response but cannot be one. The text is for the person who wrote the script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the result cannot be a response: {0}")]
pub struct NotAResponse(pub String);

/// Reads the result of a script, which is JSON text.
pub fn read(result: &str) -> Result<Answer<'_>, NotAResponse> {
    let whole = || Answer { status: 200, headers: Vec::new(), body: AnswerBody::Whole };
    if !result.trim_start().starts_with('{') {
        return Ok(whole());
    }
    let Some(parts) = Parts::of(result) else { return Ok(whole()) };
    let Some(status) = parts.status() else { return Ok(whole()) };
    if status < 200 {
        return Err(NotAResponse(format!("status {status} is not a final one; use 200 to 599")));
    }
    let headers = match parts.headers {
        Some(headers) => read_headers(headers)?,
        None => Vec::new(),
    };
    let body = match parts.body {
        Some(body) => read_body(body.get())?,
        None => AnswerBody::Empty,
    };
    Ok(Answer { status, headers, body })
}

/// The three keys of a response, as they stand in the text.
#[derive(Default)]
struct Parts<'a> {
    status: Option<&'a RawValue>,
    headers: Option<&'a RawValue>,
    body: Option<&'a RawValue>,
}

impl<'a> Parts<'a> {
    /// `None` as soon as another key is met, and for an empty map.
    fn of(result: &'a str) -> Option<Parts<'a>> {
        let mut json = serde_json::Deserializer::from_str(result);
        let parts = json.deserialize_map(PartsVisitor).ok()?;
        (parts.status.is_some() || parts.headers.is_some() || parts.body.is_some()).then_some(parts)
    }

    /// `None` when what stands there makes the map no response.
    fn status(&self) -> Option<u16> {
        match self.status {
            None => Some(200),
            Some(status) => status.get().parse().ok().filter(|status| (100..=599).contains(status)),
        }
    }
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a response")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts<'de>, A::Error> {
        let mut parts = Parts::default();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let place = match &*key {
                "status" => &mut parts.status,
                "headers" => &mut parts.headers,
                "body" => &mut parts.body,
                _ => return Err(A::Error::custom("another key")),
            };
            *place = Some(map.next_value()?);
        }
        Ok(parts)
    }
}

fn read_body(body: &str) -> Result<AnswerBody<'_>, NotAResponse> {
    if body == "null" {
        return Ok(AnswerBody::Empty);
    }
    if body.starts_with('"') {
        let text = serde_json::from_str(body).expect("a JSON text in checked JSON");
        return Ok(AnswerBody::Text(text));
    }
    if body.starts_with('{')
        && let Ok(Base64Body { base64 }) = serde_json::from_str(body)
    {
        let bytes = STANDARD
            .decode(base64.as_bytes())
            .map_err(|error| NotAResponse(format!("body.$base64 is not base64: {error}")))?;
        return Ok(AnswerBody::Binary(bytes));
    }
    Ok(AnswerBody::Json(body))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64Body {
    #[serde(rename = "$base64")]
    base64: String,
}

/// These belong to the connection, not to the script.
const NOT_THE_SCRIPTS: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

fn read_headers(headers: &RawValue) -> Result<Vec<(HeaderName, HeaderValue)>, NotAResponse> {
    let fields: serde_json::Map<String, serde_json::Value> = match headers.get() {
        "null" => return Ok(Vec::new()),
        text => serde_json::from_str(text)
            .map_err(|_| NotAResponse("headers must be a map of names to texts".to_owned()))?,
    };
    let mut lines = Vec::with_capacity(fields.len());
    let mut bytes = 0;
    for (name, value) in &fields {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| NotAResponse(format!("{name:?} cannot be a header's name")))?;
        if NOT_THE_SCRIPTS.contains(&parsed) {
            return Err(NotAResponse(format!(
                "header {parsed} is set by the daemon, not by scripts"
            )));
        }
        match value {
            serde_json::Value::Array(values) => {
                for value in values {
                    lines.push((parsed.clone(), header_value(&parsed, value)?));
                }
            }
            value => lines.push((parsed.clone(), header_value(&parsed, value)?)),
        }
    }
    for (name, value) in &lines {
        bytes += name.as_str().len() + value.len();
    }
    if lines.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(NotAResponse(format!(
            "headers may have {HEADERS_MAX} lines and {HEADER_BYTES_MAX} bytes, these have {} and {bytes}",
            lines.len()
        )));
    }
    Ok(lines)
}

fn header_value(name: &HeaderName, value: &serde_json::Value) -> Result<HeaderValue, NotAResponse> {
    let parsed = match value {
        serde_json::Value::String(text) => HeaderValue::from_bytes(text.as_bytes()),
        serde_json::Value::Number(number) => HeaderValue::from_str(&number.to_string()),
        serde_json::Value::Bool(yes) => HeaderValue::from_str(if *yes { "true" } else { "false" }),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            return Err(NotAResponse(format!("header {name} must be a text or an array of texts")));
        }
    };
    parsed.map_err(|_| {
        NotAResponse(format!("header {name} has a line break or another control character"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: AnswerBody<'static>) -> Answer<'static> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                (name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
            })
            .collect();
        Answer { status, headers, body }
    }

    #[test]
    fn a_value_that_is_no_response_is_the_body_of_a_200() {
        for result in [
            "null",
            "17",
            "\"text\"",
            "[1,2]",
            "{}",
            "{\"a\":1}",
            "{\"status\":200,\"extra\":1}",
            "{\"body\":1,\"extra\":1}",
            "{\"status\":\"ok\"}",
            "{\"status\":200.0}",
            "{\"status\":99}",
            "{\"status\":600}",
            "{\"status\":-200}",
            "{\"status\":null}",
            "{\"$base64\":\"aGk=\"}",
        ] {
            assert_eq!(read(result), Ok(answer(200, &[], AnswerBody::Whole)), "{result}");
        }
    }

    #[test]
    fn a_map_of_the_three_keys_is_a_response() {
        use AnswerBody::{Binary, Empty, Json, Text};
        for (result, expected) in [
            ("{\"status\":204}", answer(204, &[], Empty)),
            ("{\"body\":null}", answer(200, &[], Empty)),
            ("{\"body\":\"h\\u00e9\"}", answer(200, &[], Text("hé".to_owned()))),
            ("{\"body\":{\"a\":[1]},\"status\":599}", answer(599, &[], Json("{\"a\":[1]}"))),
            ("{\"body\":{\"$base64\":\"aGk=\"}}", answer(200, &[], Binary(b"hi".to_vec()))),
            (
                "{\"body\":{\"$base64\":\"aGk=\",\"b\":1}}",
                answer(200, &[], Json("{\"$base64\":\"aGk=\",\"b\":1}")),
            ),
            ("{\"body\":{\"$base64\":1}}", answer(200, &[], Json("{\"$base64\":1}"))),
            ("{\"headers\":null,\"status\":201}", answer(201, &[], Empty)),
            (
                "{\"headers\":{\"X-A\":\"1\",\"n\":2,\"set-cookie\":[\"a=1\",\"b=2\"]}}",
                answer(
                    200,
                    &[("x-a", "1"), ("n", "2"), ("set-cookie", "a=1"), ("set-cookie", "b=2")],
                    Empty,
                ),
            ),
        ] {
            let mut found = read(result).expect(result);
            found.headers.sort_by_key(|(name, _)| name.to_string());
            let mut expected = expected;
            expected.headers.sort_by_key(|(name, _)| name.to_string());
            assert_eq!(found, expected, "{result}");
        }
    }

    #[test]
    fn a_response_that_cannot_be_sent_says_why() {
        let many = (0..101).map(|n| format!("\"h{n}\":\"\"")).collect::<Vec<_>>().join(",");
        let many = format!("{{\"headers\":{{{many}}}}}");
        let long = format!("{{\"headers\":{{\"a\":\"{}\"}}}}", "x".repeat(HEADER_BYTES_MAX));
        for (result, reason) in [
            ("{\"status\":100}", "status 100 is not a final one"),
            ("{\"status\":199,\"body\":1}", "status 199 is not a final one"),
            ("{\"headers\":5}", "headers must be a map"),
            ("{\"headers\":{\"a\":\"x\\r\\ny: z\"}}", "header a has a line break"),
            ("{\"headers\":{\"a\":\"x\\u0000\"}}", "header a has a line break"),
            ("{\"headers\":{\"a\\r\\nb\":\"x\"}}", "\"a\\r\\nb\" cannot be a header's name"),
            ("{\"headers\":{\"\":\"x\"}}", "\"\" cannot be a header's name"),
            ("{\"headers\":{\"é\":\"x\"}}", "\"é\" cannot be a header's name"),
            (
                "{\"headers\":{\"Content-Length\":\"5\"}}",
                "header content-length is set by the daemon",
            ),
            (
                "{\"headers\":{\"transfer-encoding\":\"chunked\"}}",
                "header transfer-encoding is set",
            ),
            ("{\"headers\":{\"Connection\":\"close\"}}", "header connection is set"),
            ("{\"headers\":{\"Keep-Alive\":\"x\"}}", "header keep-alive is set"),
            ("{\"headers\":{\"a\":{}}}", "header a must be a text"),
            ("{\"headers\":{\"a\":[null]}}", "header a must be a text"),
            ("{\"body\":{\"$base64\":\"?\"}}", "body.$base64 is not base64"),
            (&many, "headers may have 100 lines and 16384 bytes, these have 101"),
            (&long, "headers may have 100 lines and 16384 bytes, these have 1 and 16385"),
        ] {
            let NotAResponse(found) = read(result).expect_err(result);
            assert!(found.starts_with(reason), "{result}: {found}");
        }
    }
}
