//! Calls to the outside: what a script asks for, and what came of it. Who sends them is the host's business.

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideCall {
    /// In upper case.
    pub method: String,
    pub url: String,
    /// In the order in which they are sent.
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    /// How long it may take at most, if the script says so.
    pub timeout_ms: Option<u64>,
    /// From 1, in the order of the run's calls: the same when the run is repeated.
    pub number: u32,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideAnswer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Where it came from, after redirects.
    pub url: String,
}

/// There is no answer, and why: a reason that follows after the URL. The script may catch it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct OutsideError(pub String);

/// What becomes of a run's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outgoing {
    /// They are sent.
    #[default]
    Sent,
    /// They are listed in the report, and nothing leaves: a dry run. What the first one would have given nobody knows, so
    /// the run ends there as [`crate::exec::ExecErrorKind::Unknown`], with its effects so far.
    Listed,
}

/// A call that was not sent, as it may be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedCall {
    pub method: String,
    /// Without its query, which may hold secrets.
    pub url: String,
    /// The names of its headers.
    pub headers: Vec<String>,
    pub body_bytes: usize,
}

/// A URL as errors may show it: without user, query and fragment, and not longer than is read.
pub fn shown(url: &str) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 200;
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let without_user = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    };
    let plain = |c: char| if c.is_control() { '?' } else { c };
    without_user.chars().take(SHOWN_CHARACTERS_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_url_holds_no_credentials() {
        for (url, expected) in [
            ("https://a.example/b?key=1#c", "https://a.example/b"),
            ("https://user:pass@a.example/b@c", "https://a.example/b@c"),
            ("https://user:pass@a.example", "https://a.example"),
            ("a.example?key", "a.example"),
            ("x\r\ny", "x??y"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }
}
