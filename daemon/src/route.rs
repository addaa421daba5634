//! Routes: which script answers a request.
//!
//! A pattern is `/` or a list of segments, each a literal, a parameter `{name}`, or, as the last one only, a tail
//! `{*name}` that takes one segment or more. Of several patterns that match a path the more specific one answers, segment
//! by segment: a literal before a parameter before a tail.
//!
//! Paths are split at `/` first and percent-decoded then, segment by segment. So `%2F` stays inside its segment and nothing that
//! is decoded can lead to another app. What could mean two things is refused instead of being cleaned up: see [`PathError`].

pub mod access;
pub mod answer;
pub mod rate;
pub mod table;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::ids::{AppId, PrincipalId, RouteId};
use crate::retry::RetryPolicy;
use crate::route::access::Access;

/// One route of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub id: RouteId,
    pub app: AppId,
    /// Upper case.
    pub method: Arc<str>,
    /// As in the manifest: `/readings/{sensor}`, `/files/{*rest}`.
    pub path: Arc<str>,
    pub script: Arc<str>,
    pub dispatch_mode: DispatchMode,
    /// Only async rows are retried.
    pub retry: RetryPolicy,
    /// Runs execute as who deployed it.
    pub principal: PrincipalId,
    /// Who may call it, where that is not as the app says.
    pub access: Access,
}

/// Whether the caller waits. The texts are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchMode {
    Sync,
    Async,
}

impl DispatchMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }
}

/// The methods that a route can have.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Bytes of a pattern.
pub const PATTERN_BYTES_MAX: usize = 512;

/// Segments of a pattern.
pub const PATTERN_SEGMENTS_MAX: usize = 32;

/// A pattern, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Literal(Box<str>),
    Param(Box<str>),
    /// Only as the last one.
    Tail(Box<str>),
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub fn parse(pattern: &str) -> Result<Pattern, String> {
        Ok(Pattern { segments: segments_of(pattern)? })
    }

    /// Two patterns of one shape match the same paths.
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => {
                    shape.push('/');
                    shape.push_str(literal);
                }
                // No literal contains a brace.
                Segment::Param(_) => shape.push_str("/{}"),
                Segment::Tail(_) => shape.push_str("/{*}"),
            }
        }
        shape
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            return f.write_str("/");
        }
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(literal) => write!(f, "/{literal}"),
            Segment::Param(name) => write!(f, "/{{{name}}}"),
            Segment::Tail(name) => write!(f, "/{{*{name}}}"),
        })
    }
}

fn segments_of(pattern: &str) -> Result<Vec<Segment>, String> {
    let Some(inner) = pattern.strip_prefix('/') else {
        return Err("must begin with /".to_owned());
    };
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!(
            "has {} bytes, at most {PATTERN_BYTES_MAX} are allowed",
            pattern.len()
        ));
    }
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    if inner.ends_with('/') {
        return Err("must not end with /".to_owned());
    }
    let parts: Vec<&str> = inner.split('/').collect();
    if parts.len() > PATTERN_SEGMENTS_MAX {
        return Err(format!(
            "has {} segments, at most {PATTERN_SEGMENTS_MAX} are allowed",
            parts.len()
        ));
    }
    let mut names = Vec::new();
    let mut segments = Vec::with_capacity(parts.len());
    for (place, part) in parts.iter().enumerate() {
        let segment = segment_of(part)?;
        if let Segment::Param(name) | Segment::Tail(name) = &segment {
            if names.contains(name) {
                return Err(format!("has the parameter {{{name}}} twice"));
            }
            names.push(name.clone());
        }
        if matches!(segment, Segment::Tail(_)) && place + 1 < parts.len() {
            return Err(format!(
                "{part} takes the rest of the path and can only be the last segment"
            ));
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn segment_of(part: &str) -> Result<Segment, String> {
    match part {
        "" => return Err("has an empty segment (//)".to_owned()),
        "." | ".." => return Err(format!("has the segment {part}, which no request can reach")),
        _ => {}
    }
    if let Some(inner) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        let (name, is_tail) = match inner.strip_prefix('*') {
            Some(name) => (name, true),
            None => (inner, false),
        };
        let first = name.bytes().next();
        let begins_well = first.is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic());
        if !begins_well || !name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
            return Err(format!(
                "{part} needs a name of letters, digits and _ that does not begin with a digit"
            ));
        }
        return Ok(if is_tail { Segment::Tail(name.into()) } else { Segment::Param(name.into()) });
    }
    if part.contains(['{', '}']) {
        return Err(format!(
            "segment {part}: a parameter is a whole segment, as in /readings/{{sensor}}"
        ));
    }
    if part.contains('%') {
        return Err(format!("segment {part}: write characters as they are, not percent-encoded"));
    }
    if let Some(bad) =
        part.chars().find(|c| c.is_control() || c.is_whitespace() || "?#\\".contains(*c))
    {
        return Err(format!("segment {part}: {bad:?} cannot be in a path"));
    }
    Ok(Segment::Literal(part.into()))
}

/// Why a request's path is refused before any route is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path does not begin with /")]
    NotAbsolute,
    #[error("the path has an empty segment (//)")]
    Empty,
    #[error("the path has a segment . or .. (also written %2e); send the path that you mean")]
    Dots,
    #[error("the path has a NUL character")]
    Nul,
    #[error("the path has a % that two hexadecimal digits do not follow")]
    Percent,
    #[error("the path is not UTF-8 when it is decoded")]
    NotUtf8,
    #[error("the path has more than {REQUEST_SEGMENTS_MAX} segments")]
    TooManySegments,
}

/// Segments of a request's path.
pub const REQUEST_SEGMENTS_MAX: usize = 64;

/// The decoded segments of a request's path. Only the last one can be empty: the path then ended with `/`.
pub fn split_path(path: &str) -> Result<Vec<Cow<'_, str>>, PathError> {
    let inner = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
    let mut segments = Vec::with_capacity(8);
    let mut parts = inner.split('/').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() && parts.peek().is_some() {
            return Err(PathError::Empty);
        }
        if segments.len() == REQUEST_SEGMENTS_MAX {
            return Err(PathError::TooManySegments);
        }
        let segment = decode(part)?;
        if matches!(&*segment, "." | "..") {
            return Err(PathError::Dots);
        }
        if segment.contains('\0') {
            return Err(PathError::Nul);
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn decode(part: &str) -> Result<Cow<'_, str>, PathError> {
    if !part.contains('%') {
        return Ok(Cow::Borrowed(part));
    }
    if !percents_are_whole(part) {
        return Err(PathError::Percent);
    }
    percent_decode_str(part).decode_utf8().map_err(|_| PathError::NotUtf8)
}

/// Whether two hexadecimal digits follow each `%`.
fn percents_are_whole(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_pattern_reads_back_as_it_was_written() {
        for text in
            ["/", "/a", "/readings/{sensor}", "/files/{*rest}", "/a/{b}/c/{_d1}/{*e}", "/grüße"]
        {
            assert_eq!(Pattern::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn a_bad_pattern_is_named_with_its_mistake() {
        for (pattern, reason) in [
            ("", "must begin with /"),
            ("a/b", "must begin with /"),
            ("/a/", "must not end with /"),
            ("/a//b", "has an empty segment (//)"),
            ("/a/../b", "has the segment .., which no request can reach"),
            ("/{*rest}/b", "{*rest} takes the rest of the path and can only be the last segment"),
            ("/{a}/{a}", "has the parameter {a} twice"),
            ("/{}", "{} needs a name of letters, digits and _ that does not begin with a digit"),
            (
                "/{1a}",
                "{1a} needs a name of letters, digits and _ that does not begin with a digit",
            ),
            (
                "/{a-b}",
                "{a-b} needs a name of letters, digits and _ that does not begin with a digit",
            ),
            ("/x{a}", "segment x{a}: a parameter is a whole segment, as in /readings/{sensor}"),
            ("/{a", "segment {a: a parameter is a whole segment, as in /readings/{sensor}"),
            ("/a%20b", "segment a%20b: write characters as they are, not percent-encoded"),
            ("/a b", "segment a b: ' ' cannot be in a path"),
            ("/a?b", "segment a?b: '?' cannot be in a path"),
            ("/a\u{0}", "segment a\u{0}: '\\0' cannot be in a path"),
        ] {
            assert_eq!(Pattern::parse(pattern), Err(reason.to_owned()));
        }
        let deep = "/a".repeat(33);
        let error = Pattern::parse(&deep).expect_err("too many segments");
        assert_eq!(error, "has 33 segments, at most 32 are allowed");
        let long = format!("/{}", "a".repeat(512));
        let error = Pattern::parse(&long).expect_err("too long");
        assert_eq!(error, "has 513 bytes, at most 512 are allowed");
    }

    #[test]
    fn a_pattern_may_be_as_long_as_the_limits_say() {
        assert!(Pattern::parse(&"/a".repeat(PATTERN_SEGMENTS_MAX)).is_ok());
        assert!(Pattern::parse(&format!("/{}", "a".repeat(PATTERN_BYTES_MAX - 1))).is_ok());
    }

    #[test]
    fn modes_are_stored_under_their_names() {
        let modes = [DispatchMode::Sync, DispatchMode::Async];
        assert_eq!(modes.map(DispatchMode::as_str), ["sync", "async"]);
    }

    #[test]
    fn patterns_have_one_shape_when_they_match_the_same_paths() {
        let shape = |pattern: &str| Pattern::parse(pattern).expect(pattern).shape();
        assert_eq!(shape("/a/{x}"), shape("/a/{y}"));
        assert_eq!(shape("/{*x}"), shape("/{*y}"));
        let different = ["/a/{x}", "/a/b", "/a/{*x}", "/{x}/b", "/{x}/{y}", "/"].map(shape);
        assert_eq!(BTreeSet::from(different.clone()).len(), different.len(), "{different:?}");
    }

    #[test]
    fn a_path_is_split_before_it_is_decoded() {
        for (path, expected) in [
            ("/", vec![""]),
            ("/a/b", vec!["a", "b"]),
            ("/a/b/", vec!["a", "b", ""]),
            ("/a%2Fb/c%2f..", vec!["a/b", "c/.."]),
            ("/%67r%C3%BCn", vec!["grün"]),
            ("/a+b%20c", vec!["a+b c"]),
            ("/...", vec!["..."]),
        ] {
            assert_eq!(split_path(path).expect(path), expected);
        }
    }

    #[test]
    fn a_path_that_could_mean_two_things_is_refused() {
        for (path, expected) in [
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("//a", PathError::Empty),
            ("/a//b", PathError::Empty),
            ("/a/../b", PathError::Dots),
            ("/a/%2e%2E/b", PathError::Dots),
            ("/a/.%2e", PathError::Dots),
            ("/./a", PathError::Dots),
            ("/a%00", PathError::Nul),
            ("/a%", PathError::Percent),
            ("/a%2", PathError::Percent),
            ("/a%zz", PathError::Percent),
            ("/a%C0%AF", PathError::NotUtf8),
            ("/%C0%AE%C0%AE/b", PathError::NotUtf8),
            ("/%ff", PathError::NotUtf8),
        ] {
            assert_eq!(split_path(path), Err(expected), "{path}");
        }
        assert!(split_path(&"/a".repeat(64)).is_ok());
        assert_eq!(split_path(&"/a".repeat(65)), Err(PathError::TooManySegments));
    }
}
