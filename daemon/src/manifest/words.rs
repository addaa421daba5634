//! The words of a manifest: names, hosts, paths, durations, and those of closed sets.

use std::sync::Arc;

use picloud_scripts_runtime::duration;

use crate::allow::Allowed;
use crate::route::{METHODS, Pattern};

/// Characters of a slug, as many as a host name's label may have.
const SLUG_CHARACTERS_MAX: usize = 63;
const NAME_CHARACTERS_MAX: usize = 64;
const HOST_BYTES_MAX: usize = 253;

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

/// An entry of `allow_hosts`, as it is stored.
pub fn allowed_host(text: &str) -> Result<Arc<str>, String> {
    let entry = Allowed::parse(text).map_err(|message| format!("allow_hosts: {message}"))?;
    Ok(Arc::from(entry.to_string()))
}

/// The name of a secret.
pub fn secret(text: &str) -> Result<Arc<str>, String> {
    name(text).map_err(|message| format!("the secret's {message}"))
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

/// A route's path, taken apart.
pub fn path(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|reason| format!("path \"{text}\" {reason}"))
}

/// Milliseconds of a duration such as `500ms`, `5s`, `1.5h`, `7d`.
pub fn duration_ms(key: &str, text: &str) -> Result<i64, String> {
    duration::parse_ms(text).map_err(|error| format!("{key} {error}"))
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
    fn hosts_are_names_without_scheme_and_port() {
        assert_eq!(host("host", "Pi.Example.org"), Ok(Arc::from("pi.example.org")));
        for wrong in ["", "http://a", "a:80", "a..b", "-a", "a/b", "a b"] {
            assert!(host("host", wrong).is_err(), "{wrong}");
        }
    }
}
