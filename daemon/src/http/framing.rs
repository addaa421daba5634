//! Where a request begins and ends on the wire, and which heads are refused.
//!
//! Pure. The parser behind this (hyper's) mends much that a server on a LAN has no need to mend: lone line feeds, a length beside a
//! chunked body, the same length twice. Two parties that mend differently can be played against each other, so all of that is
//! refused here, before the parser sees it. What this module lets through the parser takes, and both see the same end.

use crate::http::problem::{Code, Problem};
use crate::limits::HttpLimits;

/// A complete head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes up to and including the empty line.
    pub len: usize,
    pub body: Body,
    pub version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// How far the search for the end of a head has come; a head that drips in is not searched again from its start.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    at: usize,
    line_start: usize,
}

impl HeadScan {
    /// Looks for a complete head at the start of `bytes`, which may only grow between calls. `None` means: more bytes.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        limits: &HttpLimits,
    ) -> Result<Option<Head>, Problem> {
        while let Some(found) = bytes[self.at..].iter().position(|byte| *byte == b'\n') {
            let newline = self.at + found;
            if newline == 0 || bytes[newline - 1] != b'\r' {
                return Err(bad("a line of the request does not end with CR LF"));
            }
            let is_empty = newline == self.line_start + 1;
            self.at = newline + 1;
            self.line_start = newline + 1;
            if self.at > limits.head_bytes_max {
                break;
            }
            if is_empty {
                return check_head(&bytes[..self.at], limits).map(Some);
            }
        }
        if self.line_start == 0 && bytes.len() > limits.uri_bytes_max + REQUEST_LINE_REST {
            return Err(uri_too_long(limits));
        }
        if bytes.len() > limits.head_bytes_max {
            return Err(head_too_large(limits));
        }
        self.at = self.at.max(bytes.len());
        Ok(None)
    }
}

/// Bytes of the longest method, the version and what stands between.
const REQUEST_LINE_REST: usize = 64;

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

fn uri_too_long(limits: &HttpLimits) -> Problem {
    let detail = format!("path and query may have {} bytes", limits.uri_bytes_max);
    Problem::new(Code::UriTooLong, detail)
}

fn head_too_large(limits: &HttpLimits) -> Problem {
    let (bytes, lines) = (limits.head_bytes_max, limits.headers_max);
    let detail = format!("the headers may have {bytes} bytes in {lines} lines");
    Problem::new(Code::HeadersTooLarge, detail)
}

/// `head` ends with the empty line, and each of its lines with CR LF.
fn check_head(head: &[u8], limits: &HttpLimits) -> Result<Head, Problem> {
    let lines = head[..head.len() - 2].split_inclusive(|byte| *byte == b'\n');
    let mut lines = lines.map(|line| &line[..line.len() - 2]);
    let version = check_request_line(lines.next().unwrap_or_default(), limits)?;
    let mut count = 0;
    let mut length = None;
    let mut chunked = false;
    for line in lines {
        count += 1;
        if count > limits.headers_max {
            return Err(head_too_large(limits));
        }
        let (name, value) = check_header_line(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err(bad("Content-Length is there twice"));
            }
            length = Some(parse_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked {
                return Err(bad("Transfer-Encoding is there twice"));
            }
            if version == Version::Http10 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(bad("the only Transfer-Encoding is chunked, with HTTP/1.1"));
            }
            chunked = true;
        }
    }
    let body = match (length, chunked) {
        (Some(_), true) => return Err(bad("Content-Length stands beside Transfer-Encoding")),
        (None, true) => Body::Chunked(Chunk::Start),
        (None | Some(0), false) => Body::End,
        (Some(length), false) => Body::Length(length),
    };
    Ok(Head { len: head.len(), body, version })
}

fn check_request_line(line: &[u8], limits: &HttpLimits) -> Result<Version, Problem> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("the request line is not: method, path, version"));
    };
    if !version.starts_with(b"HTTP/") {
        return Err(bad("the request line does not end with a version"));
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(Problem::new(Code::HttpVersion, "speak HTTP/1.1")),
    };
    if method.is_empty() || method.len() > 32 || !method.iter().all(|byte| is_token(*byte)) {
        return Err(bad("the method is none"));
    }
    if method == b"CONNECT" {
        return Err(Problem::method_not_allowed("CONNECT", &crate::route::METHODS.join(", ")));
    }
    if target.len() > limits.uri_bytes_max {
        return Err(uri_too_long(limits));
    }
    let is_plain = |byte: &u8| matches!(byte, 0x21..=0x7E) && *byte != b'#';
    let is_form = matches!(target, [b'/', ..] | b"*") || target.starts_with(b"http://");
    if !is_form {
        return Err(bad("the path does not begin with /"));
    }
    if !target.iter().all(is_plain) || http::Uri::try_from(target).is_err() {
        return Err(bad("the path or query has a character that must be percent-encoded"));
    }
    Ok(version)
}

fn check_header_line(line: &[u8]) -> Result<(&[u8], &[u8]), Problem> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = line.split_at(colon.ok_or_else(|| bad("a header line has no colon"))?);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(bad("a header's name is empty, or has a space or another bad character"));
    }
    let value = trim(&value[1..]);
    if !value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
        return Err(bad("a header's value has a control character"));
    }
    Ok((name, value))
}

/// Without the blanks around it; a CR is no blank here.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn parse_length(value: &[u8]) -> Result<u64, Problem> {
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    // The parser's own bound lies a few values below the end of the range.
    length
        .filter(|length| *length <= u64::MAX >> 1)
        .ok_or_else(|| bad("Content-Length is no number"))
}

/// What is still to come of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    End,
    Length(u64),
    Chunked(Chunk),
    /// Not chunked as it should be: the parser is given all there is and will say so.
    Broken,
}

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Start,
    Size(u64),
    SizeSpace(u64),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    LineStart,
    Trailer,
    TrailerLf,
    EndLf,
}

impl Body {
    /// Takes what belongs to the body from the start of `bytes` and returns how much that is.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = (bytes.len() - at) as u64;
            match self {
                Body::End => break,
                Body::Broken => return bytes.len(),
                Body::Length(left) => {
                    let taken = rest.min(*left);
                    at += usize::try_from(taken).expect("no more than there are bytes");
                    *self = if taken == *left { Body::End } else { Body::Length(*left - taken) };
                }
                Body::Chunked(Chunk::Data(left)) => {
                    let taken = rest.min(*left);
                    at += usize::try_from(taken).expect("no more than there are bytes");
                    let left = *left - taken;
                    *self =
                        Body::Chunked(if left == 0 { Chunk::DataCr } else { Chunk::Data(left) });
                }
                Body::Chunked(chunk) => {
                    *self = chunk.step(bytes[at]);
                    at += 1;
                }
            }
        }
        at
    }
}

impl Chunk {
    /// The state after a byte that is not data.
    fn step(self, byte: u8) -> Body {
        let next = match (self, byte) {
            (Chunk::Start, _) => return Chunk::Size(0).step_digit(byte),
            (Chunk::Size(size) | Chunk::SizeSpace(size), b' ' | b'\t') => Chunk::SizeSpace(size),
            (Chunk::Size(size) | Chunk::SizeSpace(size), b';') => Chunk::Extension(size),
            (Chunk::Size(size) | Chunk::SizeSpace(size) | Chunk::Extension(size), b'\r') => {
                Chunk::SizeLf(size)
            }
            (Chunk::Size(_), _) => return self.step_digit(byte),
            (Chunk::Extension(_), b'\n') => return Body::Broken,
            (Chunk::Extension(size), _) => Chunk::Extension(size),
            (Chunk::SizeLf(0), b'\n') => Chunk::LineStart,
            (Chunk::SizeLf(size), b'\n') => Chunk::Data(size),
            (Chunk::DataCr, b'\r') => Chunk::DataLf,
            (Chunk::DataLf, b'\n') => Chunk::Start,
            (Chunk::LineStart, b'\r') => Chunk::EndLf,
            (Chunk::Trailer, b'\r') => Chunk::TrailerLf,
            (Chunk::LineStart | Chunk::Trailer, _) => Chunk::Trailer,
            (Chunk::TrailerLf, b'\n') => Chunk::LineStart,
            (Chunk::EndLf, b'\n') => return Body::End,
            (
                Chunk::SizeSpace(_)
                | Chunk::SizeLf(_)
                | Chunk::Data(_)
                | Chunk::DataCr
                | Chunk::DataLf
                | Chunk::TrailerLf
                | Chunk::EndLf,
                _,
            ) => return Body::Broken,
        };
        Body::Chunked(next)
    }

    fn step_digit(self, byte: u8) -> Body {
        let (Chunk::Size(size), Some(digit)) = (self, char::from(byte).to_digit(16)) else {
            return Body::Broken;
        };
        match size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit))) {
            Some(size) => Body::Chunked(Chunk::Size(size)),
            None => Body::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(bytes: &[u8]) -> Result<Option<Head>, u16> {
        let limits = HttpLimits::default();
        HeadScan::default().advance(bytes, &limits).map_err(|problem| problem.status())
    }

    fn head(text: &str) -> Result<(Body, Version), u16> {
        let found = scan(text.as_bytes())?.expect("the head is complete");
        Ok((found.body, found.version))
    }

    #[test]
    fn the_length_of_a_body_is_said_in_one_way_only() {
        for (headers, expected) in [
            ("Host: a\r\n", Ok(Body::End)),
            ("Content-Length: 0\r\n", Ok(Body::End)),
            ("content-length:  7 \r\n", Ok(Body::Length(7))),
            ("Transfer-Encoding: Chunked\r\n", Ok(Body::Chunked(Chunk::Start))),
            ("Content-Length: 7\r\nContent-Length: 7\r\n", Err(400)),
            ("Content-Length: 7\r\nContent-Length: 8\r\n", Err(400)),
            ("Content-Length: 7, 7\r\n", Err(400)),
            ("Content-Length: +7\r\n", Err(400)),
            ("Content-Length: 0x7\r\n", Err(400)),
            ("Content-Length:\r\n", Err(400)),
            ("Content-Length: 99999999999999999999\r\n", Err(400)),
            ("Content-Length: 18446744073709551615\r\n", Err(400)),
            ("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n", Err(400)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked, chunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(400)),
            ("Transfer-Encoding: identity\r\n", Err(400)),
            ("Transfer-Encoding: \u{b}chunked\r\n", Err(400)),
            ("Transfer-Encoding:\r\n", Err(400)),
            ("Transfer-Encoding : chunked\r\n", Err(400)),
            (" Transfer-Encoding: chunked\r\n", Err(400)),
            ("A: b\r\n c\r\n", Err(400)),
            ("A: b\rc\r\n", Err(400)),
            ("A: b\r\r\n", Err(400)),
            ("A: b\r\r\nB: c\r\n", Err(400)),
            ("A: b\0c\r\n", Err(400)),
            ("A b\r\n", Err(400)),
            (": b\r\n", Err(400)),
            ("A\t: b\r\n", Err(400)),
        ] {
            let found = head(&format!("POST / HTTP/1.1\r\n{headers}\r\n")).map(|(body, _)| body);
            assert_eq!(found, expected, "{headers:?}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(head(old), Err(400));
    }

    #[test]
    fn a_request_line_is_three_words() {
        for (line, expected) in [
            ("GET / HTTP/1.1", Ok(Version::Http11)),
            ("GET /a%20b?c=d&e[]=;,!* HTTP/1.0", Ok(Version::Http10)),
            ("OPTIONS * HTTP/1.1", Ok(Version::Http11)),
            ("GET / HTTP/2.0", Err(505)),
            ("PRI * HTTP/2.0", Err(505)),
            ("GET / HTTP/1.2", Err(505)),
            ("GET / http/1.1", Err(400)),
            ("GET /", Err(400)),
            ("GET  / HTTP/1.1", Err(400)),
            ("GET / HTTP/1.1 ", Err(400)),
            ("GET\t/ HTTP/1.1", Err(400)),
            ("G(T / HTTP/1.1", Err(400)),
            (" GET / HTTP/1.1", Err(400)),
            ("GET /é HTTP/1.1", Err(400)),
            ("GET /a#b HTTP/1.1", Err(400)),
            ("GET /a<b HTTP/1.1", Err(400)),
            ("GET /a`b HTTP/1.1", Err(400)),
            ("GET /a?b>c HTTP/1.1", Err(400)),
            ("GET /a\"{|}b HTTP/1.1", Ok(Version::Http11)),
            ("GET http:// HTTP/1.1", Err(400)),
            ("GET http://[::1/ HTTP/1.1", Err(400)),
            ("GET a HTTP/1.1", Err(400)),
            ("GET  HTTP/1.1", Err(400)),
            ("GET http://a/b HTTP/1.1", Ok(Version::Http11)),
            ("CONNECT a:1 HTTP/1.1", Err(405)),
        ] {
            let found = head(&format!("{line}\r\nHost: a\r\n\r\n")).map(|(_, version)| version);
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn a_lone_line_feed_is_refused_as_soon_as_it_comes() {
        assert_eq!(scan(b"GET / HTTP/1.1\n"), Err(400));
        assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\n"), Err(400));
        assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n\n"), Err(400));
        assert_eq!(scan(b"\n"), Err(400));
    }

    #[test]
    fn what_is_too_large_is_refused_as_soon_as_that_is_known() {
        let limits = HttpLimits::default();
        let uri = limits.uri_bytes_max;
        assert_eq!(
            head(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(uri - 1))),
            Ok((Body::End, Version::Http11))
        );
        assert_eq!(head(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(uri))), Err(414));
        assert_eq!(scan(format!("GET /{}", "a".repeat(2 * uri)).as_bytes()), Err(414));
        let flood = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(limits.head_bytes_max));
        assert_eq!(scan(flood.as_bytes()), Err(431));
        assert_eq!(scan(format!("{flood}\r\n\r\n").as_bytes()), Err(431));
        let lines = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!(head(&lines(100)), Ok((Body::End, Version::Http11)));
        assert_eq!(head(&lines(101)), Err(431));
    }

    fn taken(bytes: &[u8]) -> (Body, usize) {
        let mut body = Body::Chunked(Chunk::Start);
        let taken = body.advance(bytes);
        (body, taken)
    }

    #[test]
    fn a_chunked_body_ends_where_it_says() {
        for text in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "003;x=\"y\" \r\nabc\r\nA \r\n0123456789\r\n0;z\r\nTrailer: a\r\nB: c\r\n\r\n",
        ] {
            assert_eq!(taken(format!("{text}GET /").as_bytes()), (Body::End, text.len()), "{text}");
        }
        for text in [
            "\r\n",
            "g\r\n",
            "3\nabc",
            "3\r\nabcd",
            "0\r\n\rX",
            "3 4\r\n",
            "1;a\n",
            "11111111111111111\r\n",
        ] {
            assert_eq!(taken(text.as_bytes()), (Body::Broken, text.len()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_bytes_come(cuts in prop::collection::vec(1_usize..9, 1..40)) {
            let head = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            let text = b"4\r\nabcd\r\n10;x\r\n0123456789abcdef\r\n0\r\nA: b\r\n\r\nGET /";
            let limits = HttpLimits::default();
            let (mut scan, mut end, mut found) = (HeadScan::default(), 0, None);
            for cut in cuts.iter().cycle() {
                end = (end + cut).min(head.len());
                found = scan.advance(&head[..end], &limits).expect("a good head");
                prop_assert_eq!(found.is_some(), end == head.len());
                if end == head.len() { break; }
            }
            let mut body = found.expect("the head is complete").body;
            let (mut at, mut pieces) = (0, cuts.iter().cycle());
            while body != Body::End {
                let end = (at + pieces.next().expect("endless")).min(text.len());
                at += body.advance(&text[at..end]);
            }
            prop_assert_eq!(at, text.len() - 5);
        }
    }
}
