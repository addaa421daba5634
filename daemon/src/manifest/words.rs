//! The words of a manifest: names, hosts, paths, durations, and those of closed sets.

use std::sync::Arc;

/// Characters of a slug, as many as a host name's label may have.
const SLUG_CHARACTERS_MAX: usize = 63;
const NAME_CHARACTERS_MAX: usize = 64;
const HOST_BYTES_MAX: usize = 253;
const PATH_BYTES_MAX: usize = 512;

pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The part of an app in every URL. It never begins with `_`: those paths are the daemon's own.
pub fn slug(text: &str) -> Result<Arc<str>, String> {
    plain(
        "slug",
        text,
        SLUG_CHARACTERS_MAX,
        "lowercase letters, digits and -",
        |c| matches!(c, 'a'..='z' | '0'..='9' | '-'),
    )
}

/// The name of a script or trigger.
pub fn name(text: &str) -> Result<Arc<str>, String> {
    plain("name", text, NAME_CHARACTERS_MAX, "letters, digits, - and _", |c| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
    })
}

fn plain(
    what: &str,
    text: &str,
    most: usize,
    allowed: &str,
    allows: fn(char) -> bool,
) -> Result<Arc<str>, String> {
    let count = text.chars().count();
    if text.is_empty() {
        Err(format!("{what} is empty"))
    } else if !text.chars().all(allows) {
        Err(format!("{what} \"{text}\" may have only {allowed}"))
    } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Err(format!("{what} \"{text}\" must begin with a letter or a digit"))
    } else if count > most {
        Err(format!("{what} has {count} characters, at most {most} are allowed"))
    } else {
        Ok(Arc::from(text))
    }
}

/// A host name without port, in lower case.
pub fn host(key: &str, text: &str) -> Result<Arc<str>, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= HOST_BYTES_MAX && text.split('.').all(label) {
        Ok(Arc::from(text.to_ascii_lowercase()))
    } else {
        Err(format!("{key}: \"{text}\" is no host name; write it without scheme and port"))
    }
}

/// An HTTP method in upper case.
pub fn method(text: &str) -> Result<Arc<str>, String> {
    let upper = text.to_ascii_uppercase();
    if METHODS.contains(&upper.as_str()) {
        Ok(Arc::from(upper))
    } else {
        Err(format!("method \"{text}\" is none of {}", METHODS.join(", ")))
    }
}

/// A route's path: segments, parameters `{name}`, and as the last one a tail `{*name}`.
pub fn path(text: &str) -> Result<Arc<str>, String> {
    let Some(segments) = text.strip_prefix('/') else {
        return Err(format!("path \"{text}\" must begin with /"));
    };
    if text.len() > PATH_BYTES_MAX {
        let bytes = text.len();
        return Err(format!("path has {bytes} bytes, at most {PATH_BYTES_MAX} are allowed"));
    }
    let odd = |c: &char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '%' | '\\');
    if let Some(odd) = text.chars().find(odd) {
        return Err(format!("path \"{text}\" may not contain {odd:?}"));
    }
    let mut parameters: Vec<&str> = Vec::new();
    let segments: Vec<&str> = segments.split('/').collect();
    for (n, segment) in segments.iter().enumerate() {
        let last = n + 1 == segments.len();
        if segment.is_empty() && !(last && n == 0) {
            return Err(format!("path \"{text}\" has an empty segment"));
        }
        if matches!(*segment, "." | "..") {
            return Err(format!("path \"{text}\" has a segment \"{segment}\""));
        }
        let Some(parameter) = parameter(segment)? else { continue };
        let tail = parameter.strip_prefix('*');
        if tail.is_some() && !last {
            return Err(format!("{segment} must be the last segment"));
        }
        let parameter = tail.unwrap_or(parameter);
        if parameter.is_empty()
            || !parameter.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            return Err(format!(
                "segment \"{segment}\": a parameter needs a name of letters, digits and _"
            ));
        }
        if parameters.contains(&parameter) {
            return Err(format!("parameter \"{parameter}\" is used twice"));
        }
        parameters.push(parameter);
    }
    Ok(Arc::from(text))
}

/// What stands between the braces of a segment that is a parameter.
fn parameter(segment: &str) -> Result<Option<&str>, String> {
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match inner {
        Some(inner) if !inner.contains(['{', '}']) => Ok(Some(inner)),
        Some(_) | None => Err(format!(
            "segment \"{segment}\": a parameter is a whole segment, such as {{sensor}}"
        )),
    }
}

/// The path with the names of its parameters left out: two routes of one method may not agree in it.
pub fn shape(path: &str) -> String {
    let segment = |segment: &str| match segment.as_bytes() {
        [b'{', b'*', ..] => "{*}".to_owned(),
        [b'{', ..] => "{}".to_owned(),
        _ => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Milliseconds of a duration such as `500ms`, `5s`, `1m 30s`, `2h`, `7d`.
pub fn duration_ms(key: &str, text: &str) -> Result<i64, String> {
    parse_ms(text)
        .ok_or_else(|| format!("{key} \"{text}\" is no duration; write 500ms, 5s, 10m, 2h or 1d"))
}

fn parse_ms(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// The shortest way to write a duration; reads back as the same.
pub fn duration_text(ms: i64) -> String {
    for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms != 0 && ms % factor == 0 {
            return format!("{}{unit}", ms / factor);
        }
    }
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_back_from_its_text() {
        for (ms, text) in [
            (0, "0ms"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (5_000, "5s"),
            (90_000, "90s"),
            (900_000, "15m"),
            (7_200_000, "2h"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(duration_text(ms), text);
            assert_eq!(duration_ms("x", text), Ok(ms));
        }
    }

    #[test]
    fn paths_agree_when_only_the_names_of_their_parameters_differ() {
        assert_eq!(shape("/a/{x}/b"), shape("/a/{y}/b"));
        assert_eq!(shape("/{*rest}"), shape("/{*all}"));
        assert_ne!(shape("/{rest}"), shape("/{*rest}"));
        assert_eq!(path("/"), Ok(Arc::from("/")));
    }

    #[test]
    fn hosts_are_names_without_scheme_and_port() {
        assert_eq!(host("host", "Pi.Example.org"), Ok(Arc::from("pi.example.org")));
        for wrong in ["", "http://a", "a:80", "a..b", "-a", "a/b", "a b"] {
            assert!(host("host", wrong).is_err(), "{wrong}");
        }
    }
}
