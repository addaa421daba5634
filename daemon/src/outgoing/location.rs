//! URLs of calls: what they name, and where a redirect leads.

use http::{HeaderMap, Method, StatusCode, Uri, header};

use crate::allow::{self, Target};

/// Bytes of a URL, redirects included.
const URL_BYTES_MAX: usize = 8 << 10;

/// Reads a URL that may be called.
pub fn parse(text: &str) -> Result<Uri, String> {
    if text.len() > URL_BYTES_MAX {
        return Err(format!("the URL has more than {URL_BYTES_MAX} bytes"));
    }
    let text = text.split('#').next().unwrap_or_default();
    let uri: Uri = text.parse().map_err(|_| "is no URL".to_owned())?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(_) | None => return Err("a URL begins with https:// or http://".to_owned()),
    }
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err("user and password do not belong into a URL: set a header".to_owned());
    }
    target(&uri).map(|_| uri)
}

/// The host and port that a URL names.
pub fn target(uri: &Uri) -> Result<Target, String> {
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("the URL has no host")?;
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    // A port that is no number is none to the parser.
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let has_port = !authority.ends_with(']') && authority.len() > host.len();
    let port = match uri.port_u16() {
        Some(port) => port,
        None if has_port => return Err("the URL's port is no number".to_owned()),
        None => usual,
    };
    Ok(Target { host: allow::target_host(host)?, port })
}

/// Where an answer says to go instead.
pub fn next(status: StatusCode, headers: &HeaderMap) -> Option<&str> {
    match status.as_u16() {
        301 | 302 | 303 | 307 | 308 => headers.get(header::LOCATION)?.to_str().ok(),
        _ => None,
    }
}

/// Whether a redirect of this kind is followed by a GET.
pub fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        303 => *method != Method::HEAD,
        301 | 302 => *method == Method::POST,
        _ => false,
    }
}

/// The place that a `Location` means, seen from the URL that it came from.
pub fn join(base: &Uri, place: &str) -> Result<Uri, String> {
    let wrong = || "it was redirected to what is no URL".to_owned();
    let scheme = base.scheme_str().ok_or_else(wrong)?;
    let authority = base.authority().ok_or_else(wrong)?;
    let whole = if place.contains("://") {
        place.to_owned()
    } else if place.starts_with("//") {
        format!("{scheme}:{place}")
    } else if place.starts_with('/') {
        format!("{scheme}://{authority}{place}")
    } else if place.starts_with('?') {
        format!("{scheme}://{authority}{}{place}", base.path())
    } else {
        let folder = &base.path()[..=base.path().rfind('/').unwrap_or(0)];
        format!("{scheme}://{authority}{folder}{place}")
    };
    parse(&whole).map_err(|why| format!("it was redirected, and the place is refused: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_called_is_refused() {
        for (url, expected) in [
            ("", "is no URL"),
            ("/path", "begins with https://"),
            ("ftp://a.example/", "begins with https://"),
            ("file:///etc/passwd", "is no URL"),
            ("https://u:p@a.example/", "user and password"),
            ("http://127.1/", "is no address"),
            ("http://2130706433/", "is no address"),
            ("http://0x7f.1/", "is no address"),
            ("http://a.example:99999/", "port is no number"),
            ("http://a b/", "is no URL"),
            ("http://ex\u{e4}mple.org/", "is no URL"),
            ("http://a.example/\r\nx: y", "is no URL"),
        ] {
            let refused = parse(url).expect_err(url);
            assert!(refused.contains(expected), "{url}: {refused}");
        }
        assert!(parse(&format!("http://a.example/{}", "x".repeat(9_000))).is_err());
    }

    #[test]
    fn a_redirect_leads_where_it_says() {
        let base: Uri = "https://a.example:8443/b/c?d".parse().expect("it is a URL");
        for (place, whole) in [
            ("/x", "https://a.example:8443/x"),
            ("x", "https://a.example:8443/b/x"),
            ("?x", "https://a.example:8443/b/c?x"),
            ("//b.example/y", "https://b.example/y"),
            ("http://c.example/z#f", "http://c.example/z"),
        ] {
            assert_eq!(join(&base, place).expect("it is a place").to_string(), whole);
        }
        for wrong in ["ftp://x/", "http://u@h/", "//127.1/"] {
            assert!(join(&base, wrong).is_err(), "{wrong}");
        }
    }
}
