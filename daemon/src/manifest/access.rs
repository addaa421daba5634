//! Who may call, and how often: from the words of a manifest and back.

use http::HeaderName;
use picloud_api::manifest::HmacEntry;

use crate::manifest::words;
use crate::route::access::{Access, Auth, BODY, Hmac, TIMESTAMP};

/// Where GitHub and many others put the signature.
const HEADER: &str = "x-hub-signature-256";
const TOLERANCE_MS: i64 = 300_000;
const TOLERANCE_MS_MIN: i64 = 1_000;
const TOLERANCE_MS_MAX: i64 = 24 * 3_600_000;
const SIGNED_BYTES_MAX: usize = 200;

/// What an app or a route says.
pub fn read(
    auth: Option<&str>,
    hmac: Option<&HmacEntry>,
    rate: Option<&str>,
) -> Result<Access, String> {
    let auth = match (auth, hmac) {
        (Some("hmac"), Some(entry)) => Some(Auth::Hmac(read_hmac(entry)?)),
        (Some("hmac"), None) => {
            return Err(
                "auth = \"hmac\" needs the name of a secret: hmac = { secret = \"GITHUB\" }"
                    .to_owned(),
            );
        }
        (Some(_) | None, Some(_)) => return Err("hmac is for auth = \"hmac\"".to_owned()),
        (Some("none"), None) => Some(Auth::None),
        (Some("token"), None) => Some(Auth::Token),
        (Some(other), None) => {
            return Err(format!("auth \"{other}\" is none of none, token, hmac"));
        }
        (None, None) => None,
    };
    let rate = rate.map(|rate| rate.parse().map_err(|why| format!("rate {why}"))).transpose()?;
    Ok(Access { auth, rate })
}

fn read_hmac(entry: &HmacEntry) -> Result<Hmac, String> {
    let secret = words::secret(&entry.secret).map_err(|why| format!("hmac: {why}"))?;
    let header = match &entry.header {
        Some(name) => header("header", name)?,
        None => HEADER.into(),
    };
    let timestamp_header = entry.timestamp_header.as_deref();
    let timestamp_header =
        timestamp_header.map(|name| self::header("timestamp_header", name)).transpose()?;
    let wants_time = timestamp_header.is_some() || entry.tolerance.is_some();
    let signed = match &entry.signed {
        Some(signed) => signed_text(signed)?,
        None if wants_time => [TIMESTAMP, ".", BODY].concat(),
        None => BODY.to_owned(),
    };
    if wants_time && !signed.contains(TIMESTAMP) {
        return Err(format!(
            "hmac: signed \"{signed}\" has no {TIMESTAMP}, so the time could be anybody's"
        ));
    }
    let tolerance_ms = match &entry.tolerance {
        Some(text) => words::duration_ms("hmac: tolerance", text)?,
        None => TOLERANCE_MS,
    };
    if !(TOLERANCE_MS_MIN..=TOLERANCE_MS_MAX).contains(&tolerance_ms) {
        let tolerance = words::duration_text(tolerance_ms);
        return Err(format!("hmac: tolerance {tolerance} is not within 1s to 1d"));
    }
    let secret = Box::from(&*secret);
    Ok(Hmac { secret, header, timestamp_header, signed: signed.into(), tolerance_ms })
}

fn header(key: &str, name: &str) -> Result<Box<str>, String> {
    let parsed = HeaderName::try_from(name);
    let parsed = parsed.map_err(|_| format!("hmac: {key} \"{name}\" is no name of a header field"));
    Ok(parsed?.as_str().into())
}

fn signed_text(text: &str) -> Result<String, String> {
    let rest = text.strip_suffix(BODY).ok_or_else(|| {
        format!("hmac: signed \"{text}\" must end with {BODY}, as in \"{TIMESTAMP}.{BODY}\"")
    })?;
    let literal = rest.replacen(TIMESTAMP, "", 1);
    if literal.contains(['{', '}']) {
        return Err(format!("hmac: signed \"{text}\" may have one {TIMESTAMP} and one {BODY}"));
    }
    if text.len() > SIGNED_BYTES_MAX {
        return Err(format!(
            "hmac: signed has {} bytes, at most {SIGNED_BYTES_MAX} are allowed",
            text.len()
        ));
    }
    Ok(text.to_owned())
}

pub fn auth(access: &Access) -> Option<String> {
    access.auth.as_ref().map(|auth| auth.as_str().to_owned())
}

/// With everything in it, so that it stays when a later version has another default.
pub fn hmac(access: &Access) -> Option<HmacEntry> {
    let Some(Auth::Hmac(hmac)) = &access.auth else { return None };
    Some(HmacEntry {
        secret: hmac.secret.to_string(),
        header: Some(hmac.header.to_string()),
        timestamp_header: hmac.timestamp_header.as_ref().map(ToString::to_string),
        signed: Some(hmac.signed.to_string()),
        tolerance: hmac.is_timed().then(|| words::duration_text(hmac.tolerance_ms)),
    })
}

pub fn rate(access: &Access) -> Option<String> {
    access.rate.map(|rate| rate.to_string())
}

/// How callers show who they are, in a few words.
pub fn text(auth: &Auth) -> String {
    match auth {
        Auth::None | Auth::Token => auth.as_str().to_owned(),
        Auth::Hmac(hmac) => {
            let mut text = format!("hmac with {} in {}", hmac.secret, hmac.header);
            if &*hmac.signed != BODY {
                text.push_str(&format!(" over {}", hmac.signed));
            }
            if let Some(header) = &hmac.timestamp_header {
                text.push_str(&format!(", time in {header}"));
            }
            if hmac.is_timed() {
                text.push_str(&format!(", within {}", words::duration_text(hmac.tolerance_ms)));
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in a manifest, as in the section of a route.
    #[derive(serde::Deserialize)]
    struct Section {
        auth: Option<String>,
        hmac: Option<HmacEntry>,
        rate: Option<String>,
    }

    fn read_text(text: &str) -> Result<Access, String> {
        let section: Section = toml::from_str(text).expect("the keys are right");
        read(section.auth.as_deref(), section.hmac.as_ref(), section.rate.as_deref())
    }

    #[test]
    fn what_is_said_is_understood_and_written_again() {
        for (text, expected, rate) in [
            ("", None, None),
            ("auth = \"none\"\nrate = \"none\"", Some("none"), Some("none")),
            ("rate = \"100/m\"", None, Some("100/m")),
            ("auth = \"token\"", Some("token"), None),
            (
                "auth = \"hmac\"\nhmac = { secret = \"GITHUB\" }",
                Some("hmac with GITHUB in x-hub-signature-256"),
                None,
            ),
            (
                "auth = \"hmac\"\nhmac = { secret = \"SLACK\", header = \"X-Slack-Signature\", \
                 timestamp_header = \"X-Slack-Request-Timestamp\", signed = \"v0:{timestamp}:{body}\" }",
                Some(
                    "hmac with SLACK in x-slack-signature over v0:{timestamp}:{body}, time in \
                     x-slack-request-timestamp, within 5m",
                ),
                None,
            ),
            (
                "auth = \"hmac\"\nhmac = { secret = \"STRIPE\", header = \"Stripe-Signature\", tolerance = \"90s\" }",
                Some("hmac with STRIPE in stripe-signature over {timestamp}.{body}, within 90s"),
                None,
            ),
        ] {
            let access = read_text(text).expect(text);
            assert_eq!(access.auth.as_ref().map(super::text).as_deref(), expected, "{text}");
            assert_eq!(super::rate(&access).as_deref(), rate, "{text}");
            let (auth, hmac) = (auth(&access), hmac(&access));
            let again = read(auth.as_deref(), hmac.as_ref(), super::rate(&access).as_deref());
            assert_eq!(again, Ok(access), "{text}");
        }
    }

    #[test]
    fn what_the_documentation_shows_is_understood() {
        let page = include_str!("../../../docs/routes.md");
        let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let lines = blocks.flat_map(str::lines);
        let mut shown = 0;
        for line in lines.filter(|line| line.starts_with("hmac = ")) {
            let access = read_text(&format!("auth = \"hmac\"\n{line}"));
            assert!(access.is_ok(), "{line}: {access:?}");
            shown += 1;
        }
        assert!(shown > 4, "{shown} examples");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let hmac = |inside: &str| format!("auth = \"hmac\"\nhmac = {{ secret = \"A\", {inside} }}");
        for (text, expected) in [
            ("auth = \"basic\"".to_owned(), "auth \"basic\" is none of none, token, hmac"),
            ("auth = \"hmac\"".to_owned(), "needs the name of a secret: hmac = { secret = "),
            ("hmac = { secret = \"A\" }".to_owned(), "hmac is for auth = \"hmac\""),
            ("auth = \"none\"\nhmac = { secret = \"A\" }".to_owned(), "hmac is for auth"),
            ("rate = \"fast\"".to_owned(), "rate \"fast\" is neither \"none\" nor like"),
            ("auth = \"hmac\"\nhmac = { secret = \"a b\" }".to_owned(), "hmac: the secret's name"),
            (hmac("header = \"a b\""), "hmac: header \"a b\" is no name of a header field"),
            (hmac("timestamp_header = \"\""), "timestamp_header \"\" is no name"),
            (hmac("signed = \"{body}.\""), "must end with {body}, as in \"{timestamp}.{body}\""),
            (hmac("signed = \"{body}{body}\""), "one {timestamp} and one {body}"),
            (hmac("signed = \"{time}{body}\""), "one {timestamp} and one {body}"),
            (hmac("signed = \"{timestamp}{timestamp}{body}\""), "one {timestamp} and one {body}"),
            (hmac("signed = \"x:{body}\", tolerance = \"5m\""), "\"x:{body}\" has no {timestamp}"),
            (hmac("signed = \"{body}\", timestamp_header = \"T\""), "has no {timestamp}"),
            (hmac("tolerance = \"0s\""), "tolerance 0ms is not within 1s to 1d"),
            (hmac("tolerance = \"2d\""), "tolerance 2d is not within 1s to 1d"),
            (hmac("tolerance = \"soon\""), "hmac: tolerance \"soon\" is not a duration"),
            (hmac(&format!("signed = \"{}{{body}}\"", "x".repeat(195))), "has 201 bytes"),
        ] {
            let error = read_text(&text).expect_err(&text);
            assert!(error.contains(expected), "{error}");
        }
    }
}
