//! Bodies and queries of requests as JSON text. Pure.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode;

use crate::http::problem::{Code, Problem};
use crate::limits::HttpLimits;
use crate::payload::{self, MapWriter, push_text};

/// Appends a request's body as JSON text: JSON as it is, text as a text, a form as a map, everything else as
/// `{"$base64": "..."}`, and no body as `null`.
pub(super) fn push_body(
    out: &mut String,
    content_type: Option<&str>,
    body: &[u8],
    limits: &HttpLimits,
) -> Result<(), Problem> {
    if body.is_empty() {
        out.push_str("null");
        return Ok(());
    }
    let Some(content_type) = content_type else {
        push_binary(out, body);
        return Ok(());
    };
    let (media_type, charset) = media_type(content_type);
    match kind(media_type) {
        Kind::Json => {
            check_charset(charset, content_type)?;
            out.push_str(payload::check(body).map_err(json_problem)?);
        }
        Kind::Text => {
            check_charset(charset, content_type)?;
            let text = std::str::from_utf8(body).map_err(|error| {
                let at = error.valid_up_to();
                bad_body(format!("the body is not UTF-8: byte {at} of {}", body.len()))
            })?;
            push_text(out, text);
        }
        Kind::Form => {
            check_charset(charset, content_type)?;
            let fields = fields(body)
                .ok_or_else(|| bad_body("the form is not UTF-8 when it is decoded".to_owned()))?;
            if fields.len() > limits.fields_max {
                let (max, count) = (limits.fields_max, fields.len());
                let detail = format!("a form may have {max} fields, this one has {count}");
                return Err(Problem::new(Code::BodyTooLarge, detail));
            }
            push_fields(out, fields);
        }
        Kind::Binary => push_binary(out, body),
    }
    Ok(())
}

/// Appends the query of a request as a map of texts; what occurs several times becomes an array.
pub(super) fn push_query(
    out: &mut String,
    query: Option<&str>,
    limits: &HttpLimits,
) -> Result<(), Problem> {
    let query = query.unwrap_or_default().as_bytes();
    let fields = fields(query)
        .ok_or_else(|| Problem::new(Code::BadQuery, "the query is not UTF-8 when it is decoded"))?;
    if fields.len() > limits.fields_max {
        let (max, count) = (limits.fields_max, fields.len());
        let detail = format!("a query may have {max} fields, this one has {count}");
        return Err(Problem::new(Code::BadQuery, detail));
    }
    push_fields(out, fields);
    Ok(())
}

enum Kind {
    Json,
    Text,
    Form,
    Binary,
}

fn kind(media_type: &str) -> Kind {
    let ends_with = |end: &str| {
        let from = media_type.len().checked_sub(end.len());
        from.and_then(|from| media_type.get(from..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    if media_type.eq_ignore_ascii_case("application/json") || ends_with("+json") {
        Kind::Json
    } else if media_type.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/")) {
        Kind::Text
    } else if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Kind::Form
    } else {
        Kind::Binary
    }
}

/// The media type and its charset, which is UTF-8 when none is named.
fn media_type(content_type: &str) -> (&str, &str) {
    let mut parts = content_type.split(';');
    let media_type = parts.next().unwrap_or_default().trim();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    (media_type, charset.unwrap_or("utf-8"))
}

fn check_charset(charset: &str, content_type: &str) -> Result<(), Problem> {
    if ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let problem = bad_body(format!("the charset of \"{content_type}\" is not taken"));
    Err(problem.hint("send UTF-8"))
}

fn json_problem(error: payload::PayloadError) -> Problem {
    if error.reason.is_limit() {
        Problem::new(Code::JsonTooBig, format!("the JSON body is too much: {error}"))
    } else {
        bad_body(format!("the body is not JSON: {error}"))
    }
}

fn bad_body(detail: String) -> Problem {
    Problem::new(Code::BadBody, detail)
}

fn push_binary(out: &mut String, body: &[u8]) {
    out.push_str("{\"$base64\":\"");
    STANDARD.encode_string(body, out);
    out.push_str("\"}");
}

type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The fields of a form or query. `None` when they are not UTF-8.
fn fields(bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    let parts = bytes.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let equals = part.iter().position(|byte| *byte == b'=');
            let (name, value) = part.split_at(equals.unwrap_or(part.len()));
            Some((decode(name)?, decode(value.strip_prefix(b"=").unwrap_or_default())?))
        })
        .collect()
}

fn decode(part: &[u8]) -> Option<Cow<'_, str>> {
    if part.contains(&b'+') {
        let spaced: Vec<u8> =
            part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        let decoded = percent_decode(&spaced).decode_utf8().ok()?;
        return Some(Cow::Owned(decoded.into_owned()));
    }
    percent_decode(part).decode_utf8().ok()
}

fn push_fields(out: &mut String, mut fields: Vec<Field<'_>>) {
    // The sort keeps the order of fields of one name.
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    let mut map = MapWriter::open(out);
    for group in fields.chunk_by(|one, other| one.0 == other.0) {
        match group {
            [(name, value)] => map.text(name, value),
            several => {
                let out = map.key(&several[0].0);
                for (place, (_, value)) in several.iter().enumerate() {
                    out.push(if place == 0 { '[' } else { ',' });
                    push_text(out, value);
                }
                out.push(']');
            }
        }
    }
    map.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(content_type: Option<&str>, bytes: &[u8]) -> Result<String, (u16, String)> {
        let mut out = String::new();
        push_body(&mut out, content_type, bytes, &HttpLimits::default())
            .map(|()| out)
            .map_err(|problem| (problem.status(), problem.json()))
    }

    #[test]
    fn a_body_becomes_what_its_type_says() {
        let json = Some("application/json");
        for (content_type, bytes, expected) in [
            (None, &b""[..], "null"),
            (json, b"", "null"),
            (json, b" {\"a\": [1]}\n", " {\"a\": [1]}\n"),
            (Some("Application/JSON; charset=\"UTF-8\""), b"1", "1"),
            (Some("application/problem+json"), b"1", "1"),
            (Some("text/plain"), "hé\"".as_bytes(), "\"hé\\\"\""),
            (Some("text/csv;charset=utf8"), b"a,b", "\"a,b\""),
            (
                Some("application/x-www-form-urlencoded"),
                b"b=2&a=1+%2B1&b=3&&c&=d&e=%zz",
                r#"{"":"d","a":"1 +1","b":["2","3"],"c":"","e":"%zz"}"#,
            ),
            (Some("application/octet-stream"), b"\xff\x00", r#"{"$base64":"/wA="}"#),
            (Some("image/png"), b"a", r#"{"$base64":"YQ=="}"#),
            (None, b"{}", r#"{"$base64":"e30="}"#),
            (Some(""), b"a", r#"{"$base64":"YQ=="}"#),
        ] {
            assert_eq!(body(content_type, bytes).as_deref(), Ok(expected), "{content_type:?}");
        }
    }

    #[test]
    fn a_body_that_is_not_what_it_says_is_refused() {
        let form = Some("application/x-www-form-urlencoded");
        let deep = "[".repeat(10_000);
        let many = "a&".repeat(1_001);
        for (content_type, bytes, status, detail) in [
            (
                Some("application/json"),
                &b"{\n\"a\": }"[..],
                415,
                "line 2, column 6: expected a value",
            ),
            (Some("application/json"), b"\"\xff\"", 415, "line 1, column 2: not UTF-8"),
            (Some("application/json;charset=latin1"), b"1", 415, "send UTF-8"),
            (Some("application/json"), deep.as_bytes(), 400, "nested deeper than 64 levels"),
            (Some("application/json"), b"99999999999999999999", 400, "integer beyond 64 bits"),
            (Some("application/json"), b"1e999", 400, "number beyond what 64-bit"),
            (Some("application/json"), b"NaN", 415, "expected a value"),
            (Some("text/plain"), b"a\xc3", 415, "byte 1 of 2"),
            (Some("text/plain; charset=utf-16"), b"a", 415, "is not taken"),
            (form, b"a=%ff", 415, "not UTF-8 when it is decoded"),
            (form, many.as_bytes(), 413, "1000 fields, this one has 1001"),
        ] {
            let (found, json) = body(content_type, bytes).expect_err(detail);
            assert_eq!(found, status, "{json}");
            assert!(json.contains(detail), "{json}");
        }
    }

    #[test]
    fn a_query_is_a_map_of_texts() {
        let query = |query: Option<&str>| {
            let mut out = String::new();
            push_query(&mut out, query, &HttpLimits::default())
                .map(|()| out)
                .map_err(|problem| problem.status())
        };
        assert_eq!(query(None).as_deref(), Ok("{}"));
        assert_eq!(query(Some("")).as_deref(), Ok("{}"));
        assert_eq!(query(Some("b=2&a=%C3%A9&b=1")).as_deref(), Ok(r#"{"a":"é","b":["2","1"]}"#));
        assert_eq!(query(Some("a=%ff")), Err(400));
        assert_eq!(query(Some(&"a&".repeat(1_001))), Err(400));
    }
}
