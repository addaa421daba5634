//! JSON text as it comes from outside, and how it is put together for scripts.
//!
//! All JSON in the engine is text. It is checked once, where it comes in, without building a tree: what passes
//! [`check`] is UTF-8, is JSON, nests at most [`DEPTH_MAX`] levels, and has only numbers that a script can hold. Of keys
//! that occur twice in a map the last one counts; whoever parses the text later sees to that.

use std::fmt::Write as _;

/// Levels of arrays and maps in each other.
pub const DEPTH_MAX: usize = 64;

/// Where the text stops being usable, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct PayloadError {
    pub reason: Reason,
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("the text ends too early")]
    Ends,
    #[error("expected a value")]
    NoValue,
    #[error("expected a text as key")]
    NoKey,
    #[error("expected `:`")]
    NoColon,
    #[error("expected `,` or `]`")]
    OpenArray,
    #[error("expected `,` or `}}`")]
    OpenMap,
    #[error("expected nothing more")]
    Trailing,
    #[error("this is no number as JSON writes it")]
    BadNumber,
    #[error("a control character in a text must be escaped")]
    Control,
    #[error("unknown escape in a text")]
    BadEscape,
    #[error("half a surrogate pair in a text")]
    HalfSurrogate,
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("integer beyond 64 bits; write it as a text, or with a decimal point")]
    IntegerTooBig,
    #[error("number beyond what 64-bit floating point holds")]
    FloatTooBig,
}

impl Reason {
    /// Whether the text is JSON, only more than is taken.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::TooDeep | Self::IntegerTooBig | Self::FloatTooBig)
    }
}

/// Checks JSON text from outside and returns it as what it then is.
pub fn check(bytes: &[u8]) -> Result<&str, PayloadError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| error_at(bytes, error.valid_up_to(), Reason::NotUtf8))?;
    let mut scan = Scan { bytes, at: 0 };
    match scan.document() {
        Ok(()) => Ok(text),
        Err(reason) => Err(error_at(bytes, scan.at, reason)),
    }
}

/// Appends `text` as a JSON string.
pub fn push_text(out: &mut String, text: &str) {
    out.push('"');
    let mut clean_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x00..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[clean_from..at]);
        clean_from = at + 1;
        if escape.is_empty() {
            write!(out, "\\u{byte:04x}").expect("writing to a String does not fail");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[clean_from..]);
    out.push('"');
}

/// A JSON map that is written field by field; values that are JSON text already are copied as they are.
pub struct MapWriter<'a> {
    out: &'a mut String,
    empty: bool,
}

impl<'a> MapWriter<'a> {
    /// Opens a map at the end of `out`.
    pub fn open(out: &'a mut String) -> MapWriter<'a> {
        out.push('{');
        MapWriter { out, empty: true }
    }

    /// Writes a key and returns where its value has to be appended, as one JSON text.
    pub fn key(&mut self, key: &str) -> &mut String {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(',');
        }
        push_text(self.out, key);
        self.out.push(':');
        self.out
    }

    pub fn text(&mut self, key: &str, value: &str) {
        push_text(self.key(key), value);
    }

    /// `value` is JSON text that has passed [`check`] or was made by this module.
    pub fn json(&mut self, key: &str, value: &str) {
        self.key(key).push_str(value);
    }

    pub fn close(self) {
        self.out.push('}');
    }
}

fn error_at(bytes: &[u8], at: usize, reason: Reason) -> PayloadError {
    let before = &bytes[..at.min(bytes.len())];
    let line_start =
        before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    PayloadError {
        reason,
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: 1 + before.len() - line_start,
    }
}

/// A walk over the text. When a step fails, `at` is the place to blame.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What a value was nested in.
#[derive(Clone, Copy)]
enum Level {
    Array,
    Map,
}

impl Scan<'_> {
    fn document(&mut self) -> Result<(), Reason> {
        let mut levels = [Level::Array; DEPTH_MAX];
        let mut depth = 0;
        loop {
            // Here a value begins.
            self.skip_space();
            match self.peek().ok_or(Reason::Ends)? {
                open @ (b'{' | b'[') => {
                    if depth == DEPTH_MAX {
                        return Err(Reason::TooDeep);
                    }
                    self.at += 1;
                    self.skip_space();
                    let (level, close) =
                        if open == b'{' { (Level::Map, b'}') } else { (Level::Array, b']') };
                    if self.peek() == Some(close) {
                        self.at += 1;
                    } else {
                        levels[depth] = level;
                        depth += 1;
                        if open == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // Here a value has ended.
            loop {
                self.skip_space();
                let Some(level) = depth.checked_sub(1).map(|innermost| levels[innermost]) else {
                    return if self.at == self.bytes.len() {
                        Ok(())
                    } else {
                        Err(Reason::Trailing)
                    };
                };
                let next = self.peek().ok_or(Reason::Ends)?;
                match (level, next) {
                    (Level::Array, b']') | (Level::Map, b'}') => {
                        self.at += 1;
                        depth -= 1;
                    }
                    (Level::Array, b',') => {
                        self.at += 1;
                        break;
                    }
                    (Level::Map, b',') => {
                        self.at += 1;
                        self.skip_space();
                        self.key()?;
                        break;
                    }
                    (Level::Array, _) => return Err(Reason::OpenArray),
                    (Level::Map, _) => return Err(Reason::OpenMap),
                }
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn key(&mut self) -> Result<(), Reason> {
        match self.peek().ok_or(Reason::Ends)? {
            b'"' => self.text()?,
            _ => return Err(Reason::NoKey),
        }
        self.skip_space();
        match self.peek().ok_or(Reason::Ends)? {
            b':' => {
                self.at += 1;
                Ok(())
            }
            _ => Err(Reason::NoColon),
        }
    }

    fn scalar(&mut self) -> Result<(), Reason> {
        match self.peek().ok_or(Reason::Ends)? {
            b'"' => self.text(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => Err(Reason::NoValue),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Reason> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(Reason::NoValue);
        }
        self.at += word.len();
        Ok(())
    }

    fn text(&mut self) -> Result<(), Reason> {
        self.at += 1;
        loop {
            match self.peek().ok_or(Reason::Ends)? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                0x00..0x20 => return Err(Reason::Control),
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Reason> {
        match self.bytes.get(self.at + 1).ok_or(Reason::Ends)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 2;
                Ok(())
            }
            b'u' => match self.code_unit(self.at)? {
                0xDC00..=0xDFFF => Err(Reason::HalfSurrogate),
                0xD800..=0xDBFF => {
                    let low = self.at + 6;
                    if !self.bytes[low..].starts_with(b"\\u") {
                        return Err(Reason::HalfSurrogate);
                    }
                    if !(0xDC00..=0xDFFF).contains(&self.code_unit(low)?) {
                        return Err(Reason::HalfSurrogate);
                    }
                    self.at += 12;
                    Ok(())
                }
                _ => {
                    self.at += 6;
                    Ok(())
                }
            },
            _ => Err(Reason::BadEscape),
        }
    }

    /// The number in `\uXXXX` that begins at `at`.
    fn code_unit(&self, at: usize) -> Result<u32, Reason> {
        let digits = self.bytes.get(at + 2..at + 6).ok_or(Reason::Ends)?;
        digits.iter().try_fold(0, |value, digit| {
            let digit = char::from(*digit).to_digit(16).ok_or(Reason::BadEscape)?;
            Ok(value << 4 | digit)
        })
    }

    fn number(&mut self) -> Result<(), Reason> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.digits();
        if whole == 0 || (whole > 1 && self.bytes[self.at - whole] == b'0') {
            self.at = start;
            return Err(Reason::BadNumber);
        }
        let mut is_float = false;
        if self.peek() == Some(b'.') {
            is_float = true;
            self.at += 1;
            self.digits_or(start)?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            is_float = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits_or(start)?;
        }
        let digits = std::str::from_utf8(&self.bytes[start..self.at]).expect("digits are ASCII");
        let fault = if is_float {
            // Never an error after the checks above; too big reads as infinity.
            digits.parse::<f64>().is_ok_and(f64::is_infinite).then_some(Reason::FloatTooBig)
        } else {
            (whole > 18 && digits.parse::<i64>().is_err()).then_some(Reason::IntegerTooBig)
        };
        match fault {
            Some(reason) => {
                self.at = start;
                Err(reason)
            }
            None => Ok(()),
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn digits_or(&mut self, start: usize) -> Result<(), Reason> {
        if self.digits() == 0 {
            self.at = start;
            return Err(Reason::BadNumber);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn verdict(text: &str) -> Result<(), (Reason, usize, usize)> {
        check(text.as_bytes()).map(drop).map_err(|error| (error.reason, error.line, error.column))
    }

    #[test]
    fn an_error_says_what_is_wrong_and_where() {
        for (text, expected) in [
            ("", (Reason::Ends, 1, 1)),
            ("{\n  \"a\": 1,\n  \"b\": nil\n}", (Reason::NoValue, 3, 8)),
            ("{\"a\" 1}", (Reason::NoColon, 1, 6)),
            ("{a: 1}", (Reason::NoKey, 1, 2)),
            ("{\"a\": 1,}", (Reason::NoKey, 1, 9)),
            ("[1 2]", (Reason::OpenArray, 1, 4)),
            ("{\"a\": 1]", (Reason::OpenMap, 1, 8)),
            ("[1,]", (Reason::NoValue, 1, 4)),
            ("[1", (Reason::Ends, 1, 3)),
            ("1 2", (Reason::Trailing, 1, 3)),
            ("[1, 01]", (Reason::BadNumber, 1, 5)),
            ("1.", (Reason::BadNumber, 1, 1)),
            ("-", (Reason::BadNumber, 1, 1)),
            ("1e", (Reason::BadNumber, 1, 1)),
            ("NaN", (Reason::NoValue, 1, 1)),
            ("Infinity", (Reason::NoValue, 1, 1)),
            ("\"a\nb\"", (Reason::Control, 1, 3)),
            ("\"\\x\"", (Reason::BadEscape, 1, 2)),
            ("\"\\ud800\"", (Reason::HalfSurrogate, 1, 2)),
            ("\"\\udc00\"", (Reason::HalfSurrogate, 1, 2)),
            ("\"\\ud800\\u0041\"", (Reason::HalfSurrogate, 1, 2)),
            ("9223372036854775808", (Reason::IntegerTooBig, 1, 1)),
            ("[-9223372036854775809]", (Reason::IntegerTooBig, 1, 2)),
            ("[1e400]", (Reason::FloatTooBig, 1, 2)),
        ] {
            assert_eq!(verdict(text), Err(expected), "{text}");
        }
        let not_utf8 = check(b"\"\xC0\xAF\"").expect_err("overlong UTF-8");
        assert_eq!((not_utf8.reason, not_utf8.column), (Reason::NotUtf8, 2));
        let message = check(b"[1e400]").expect_err("too big").to_string();
        assert_eq!(message, "line 1, column 2: number beyond what 64-bit floating point holds");
    }

    #[test]
    fn the_edges_of_what_is_taken_are_taken() {
        for text in [
            "9223372036854775807",
            "-9223372036854775808",
            "1.7976931348623157e308",
            "1e-400",
            "-0",
            " [ ] ",
            "{}",
            "\"\\ud83d\\ude00 \\u0000\"",
            "{\"a\": 1, \"a\": 2}",
        ] {
            assert_eq!(verdict(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(verdict(&nested(DEPTH_MAX)), Ok(()));
        assert_eq!(verdict(&nested(DEPTH_MAX + 1)), Err((Reason::TooDeep, 1, DEPTH_MAX + 1)));
        assert_eq!(verdict(&nested(10_000)), Err((Reason::TooDeep, 1, DEPTH_MAX + 1)));
        assert_eq!(
            verdict(&"{\"a\":".repeat(10_000)).map_err(|error| error.0),
            Err(Reason::TooDeep)
        );
    }

    #[test]
    fn a_map_is_written_around_texts_and_json() {
        let mut out = String::new();
        let mut map = MapWriter::open(&mut out);
        map.text("a\"b", "x\\y\n\u{1}é");
        map.json("raw", "[1, 2]");
        map.close();
        assert_eq!(out, "{\"a\\\"b\":\"x\\\\y\\n\\u0001é\",\"raw\":[1, 2]}");
        out.clear();
        MapWriter::open(&mut out).close();
        assert_eq!(out, "{}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Pieces that make near misses of JSON.
    fn near_json() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\"a\"",
            "\"a\":",
            "1",
            "-",
            "0",
            ".5",
            "e9",
            "E-",
            "true",
            "nul",
            "null",
            " ",
            "\n",
            "\\",
            "\\u12",
            "\\ud800",
            "\"\\udbff\\udfff\"",
            "é",
            "\u{0}",
            "9223372036854775807",
            "99999999999999999999",
            "1e999",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn every_json_text_passes(value in value(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("a value is JSON");
            prop_assert_eq!(check(text.as_bytes()), Ok(text.as_str()));
        }

        #[test]
        fn what_passes_is_what_serde_json_takes_within_the_limits(text in near_json()) {
            match check(text.as_bytes()) {
                Ok(_) => prop_assert!(serde_json::from_str::<Value>(&text).is_ok()),
                Err(error) if error.reason.is_limit() => {}
                Err(_) => prop_assert!(serde_json::from_str::<Value>(&text).is_err()),
            }
        }

        #[test]
        fn a_changed_byte_is_judged_as_serde_json_does(value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = serde_json::to_vec(&value).expect("a value is JSON");
            let at = at.index(text.len());
            text[at] = byte;
            match check(&text) {
                Ok(_) => prop_assert!(serde_json::from_slice::<Value>(&text).is_ok()),
                Err(error) if error.reason.is_limit() => {}
                Err(_) => prop_assert!(serde_json::from_slice::<Value>(&text).is_err()),
            }
        }

        #[test]
        fn a_text_reads_back_as_it_was(text in ".*") {
            let mut out = String::new();
            push_text(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).expect("is JSON"), text);
        }
    }
}
