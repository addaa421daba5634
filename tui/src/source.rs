//! Source texts: Rhai and JSON, highlighted, with numbers and the place of an error.

use crate::text::{Line, Role};

const KEYWORDS: &[&str] = &[
    "let", "const", "if", "else", "switch", "do", "while", "until", "loop", "for", "in",
    "continue", "break", "return", "throw", "try", "catch", "fn", "private", "import", "export",
    "as", "true", "false", "this", "event",
];

/// What a lexer is inside of at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Code,
    /// So deep.
    Comment(usize),
    /// A string between backticks.
    Template,
}

/// A script, line by line.
pub fn rhai(source: &str) -> Vec<Line> {
    let mut within = Within::Code;
    source.lines().map(|line| rhai_line(line, &mut within)).collect()
}

fn rhai_line(line: &str, within: &mut Within) -> Line {
    let mut drawn = Line::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (role, length) = token(rest, within);
        let (piece, after) = rest.split_at(length);
        drawn = drawn.and(role, picloud_api::text::visible_lines(piece));
        rest = after;
    }
    drawn
}

/// The role and the bytes of what comes first.
fn token(rest: &str, within: &mut Within) -> (Role, usize) {
    match *within {
        Within::Comment(depth) => return (Role::Dim, comment(rest, depth, within)),
        Within::Template => return (Role::Ok, quoted(rest, '`', within)),
        Within::Code => {}
    }
    if rest.starts_with("//") {
        return (Role::Dim, rest.len());
    }
    if let Some(inner) = rest.strip_prefix("/*") {
        return (Role::Dim, 2 + comment(inner, 1, within));
    }
    let first = rest.chars().next().unwrap_or(' ');
    match first {
        '"' | '\'' => (Role::Ok, 1 + closing(&rest[1..], first).unwrap_or(rest.len() - 1)),
        '`' => {
            *within = Within::Template;
            (Role::Ok, 1 + quoted(&rest[1..], '`', within))
        }
        '0'..='9' => {
            let is_number = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            (Role::Later, rest.find(|c| !is_number(c)).unwrap_or(rest.len()))
        }
        c if c.is_alphabetic() || c == '_' => {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let role = if KEYWORDS.contains(&&rest[..length]) { Role::Accent } else { Role::Text };
            (role, length)
        }
        _ => {
            let begins = |c: char| c.is_alphanumeric() || "_\"'`/".contains(c);
            let length = rest.char_indices().skip(1).find(|(_, c)| begins(*c));
            (Role::Text, length.map_or(rest.len(), |(at, _)| at))
        }
    }
}

/// Bytes up to the end of a comment, which may have comments in it, or of the line.
fn comment(rest: &str, mut depth: usize, within: &mut Within) -> usize {
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                *within = Within::Code;
                return at;
            }
        } else if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    *within = Within::Comment(depth);
    rest.len()
}

fn quoted(rest: &str, quote: char, within: &mut Within) -> usize {
    match rest.find(quote) {
        Some(at) => {
            *within = Within::Code;
            at + quote.len_utf8()
        }
        None => rest.len(),
    }
}

/// Bytes up to and with the quote that ends a string; a backslash keeps the next one from doing so.
fn closing(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

/// The lines with their numbers, and an error below its place: line and column count from 1, column 0 is none.
pub fn numbered(lines: Vec<Line>, error: Option<(usize, usize, &str)>) -> Vec<Line> {
    let mut numbered = Vec::with_capacity(lines.len() + 1);
    for (line, number) in lines.into_iter().zip(1..) {
        let text = line.text();
        numbered.push(Line::of(Role::Dim, format!("{number:>4}  ")).then(line));
        let Some((_, column, message)) = error.filter(|(at, ..)| *at == number) else { continue };
        let before: String = text.chars().take(column.saturating_sub(1)).collect();
        let indent = " ".repeat(6 + crate::text::width(&before));
        for (n, part) in message.lines().enumerate() {
            let caret = if n == 0 { "^ " } else { "  " };
            let part = crate::text::harmless(part);
            numbered.push(Line::of(Role::Bad, format!("{indent}{caret}{part}")));
        }
    }
    numbered
}

/// JSON with two blanks for each level. Keys keep their order and numbers their digits; what is no JSON stays as it is.
pub fn json(text: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return text.to_owned();
    }
    let mut pretty = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut rest = text.trim();
    let line = |pretty: &mut String, depth: usize| {
        pretty.push('\n');
        pretty.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '{' | '[' => {
                pretty.push(c);
                let inner = rest[1..].trim_start();
                if inner.starts_with(['}', ']']) {
                    pretty.push_str(&inner[..1]);
                    taken = rest.len() - inner.len() + 1;
                } else {
                    depth += 1;
                    line(&mut pretty, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut pretty, depth);
                pretty.push(c);
            }
            ',' => {
                pretty.push(c);
                line(&mut pretty, depth);
            }
            ':' => pretty.push_str(": "),
            '"' => {
                taken = 1 + closing(&rest[1..], '"').unwrap_or(rest.len() - 1);
                pretty.push_str(&rest[..taken]);
            }
            c if c.is_ascii_whitespace() => {}
            c => pretty.push(c),
        }
        rest = &rest[taken..];
    }
    pretty
}

/// The same, highlighted.
pub fn json_lines(text: &str) -> Vec<Line> {
    json(text).lines().map(json_line).collect()
}

fn json_line(line: &str) -> Line {
    let indent = line.len() - line.trim_start().len();
    let mut drawn = Line::of(Role::Text, " ".repeat(indent));
    let mut rest = &line[indent..];
    let visible = picloud_api::text::visible_lines;
    if rest.starts_with('"') {
        let length = 1 + closing(&rest[1..], '"').unwrap_or(rest.len() - 1);
        let is_key = rest[length..].starts_with(':');
        let role = if is_key { Role::Text } else { Role::Ok };
        drawn = drawn.and(role, visible(&rest[..length]));
        rest = &rest[length..];
        if let Some(value) = rest.strip_prefix(": ") {
            drawn = drawn.and(Role::Dim, ": ");
            rest = value;
        }
    }
    let role = match rest.chars().next() {
        Some('"') => Role::Ok,
        Some('0'..='9' | '-') => Role::Later,
        Some('t' | 'f' | 'n') => Role::Accent,
        _ => Role::Dim,
    };
    drawn.and(role, visible(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(source: &str) -> Vec<Vec<(Role, String)>> {
        let line = |line: Line| line.spans.into_iter().map(|span| (span.role, span.text)).collect();
        rhai(source).into_iter().map(line).collect()
    }

    #[test]
    fn scripts_show_what_is_word_text_and_comment() {
        let span = |role, text: &str| (role, text.to_owned());
        assert_eq!(
            roles("let x = \"a\\\"b\"; // no\n/* one\n/* two */ still\n*/ 12"),
            [
                vec![
                    span(Role::Accent, "let"),
                    span(Role::Text, " "),
                    span(Role::Text, "x"),
                    span(Role::Text, " = "),
                    span(Role::Ok, "\"a\\\"b\""),
                    span(Role::Text, "; "),
                    span(Role::Dim, "// no"),
                ],
                vec![span(Role::Dim, "/* one")],
                vec![span(Role::Dim, "/* two */ still")],
                vec![span(Role::Dim, "*/"), span(Role::Text, " "), span(Role::Later, "12")],
            ]
        );
    }

    #[test]
    fn no_source_is_lost_or_changed_and_none_reaches_the_terminal_as_it_is() {
        for source in ["`a\nb` + 'c", "\"open", "/* open", "grün = 水", "a\u{1b}[31m", "/", "\\"]
        {
            let text: Vec<String> = rhai(source).iter().map(Line::text).collect();
            assert_eq!(text.join("\n"), picloud_api::text::visible_lines(source), "{source:?}");
        }
    }

    #[test]
    fn an_error_stands_below_its_place() {
        let lines = numbered(rhai("let a;\nb(1)"), Some((2, 2, "no such function")));
        let text: Vec<String> = lines.iter().map(Line::text).collect();
        assert_eq!(text, ["   1  let a;", "   2  b(1)", "       ^ no such function"]);
    }

    #[test]
    fn json_is_laid_out_and_not_changed() {
        let text = r#"{"z":1.00,"a":[ ],"b":{"c":"}{,:"},"d":[1,[2]],"e":12345678901234567890}"#;
        let pretty = json(text);
        assert_eq!(
            pretty,
            "{\n  \"z\": 1.00,\n  \"a\": [],\n  \"b\": {\n    \"c\": \"}{,:\"\n  },\n  \"d\": [\n    1,\n    [\n      2\n    ]\n  ],\n  \"e\": 12345678901234567890\n}"
        );
        assert_eq!(json(&pretty), pretty);
        assert_eq!(json("no json"), "no json");
        assert_eq!(json("\"grün\\n\""), "\"grün\\n\"");
    }
}
