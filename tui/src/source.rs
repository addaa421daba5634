//! Scripts and JSON as lines with roles: for reading, with a place in them marked.

use crate::text::{Line, Role, harmless_source, width};

/// Line numbers have at least so many columns.
const NUMBER_COLUMNS: usize = 3;
/// Levels of JSON that are indented; what lies deeper stands as deep as these.
const INDENTED_LEVELS_MAX: usize = 32;

const KEYWORDS: [&str; 27] = [
    "as", "break", "catch", "const", "continue", "do", "else", "export", "false", "fn", "for",
    "global", "if", "import", "in", "is", "let", "loop", "private", "return", "switch", "this",
    "throw", "true", "try", "until", "while",
];

/// A script, line by line: keywords, strings, comments and numbers in their roles.
pub fn rhai(source: &str) -> Vec<Line> {
    let mut lexer = Lexer { rest: source, braces: Vec::new() };
    in_lines(std::iter::from_fn(|| lexer.next()))
}

/// The lines with their numbers, from 1. Below the line of the error a caret and what is wrong. Its column, too, counts
/// from 1, as the lines show it; 0 is where the text of the line begins. An error beyond the lines stands at their end.
pub fn numbered(lines: Vec<Line>, error: Option<(usize, usize, &str)>) -> Vec<Line> {
    numbered_from(1, lines, error)
}

/// Lines of a script, of which the first has the number `first`, highlighted and numbered. Line and column of the error
/// are those of the script: a tab there is one column.
pub fn listing(source: &str, first: usize, error: Option<(usize, usize, &str)>) -> Vec<Line> {
    let error = error.map(|(line, column, message)| {
        let source_line = line.checked_sub(first).and_then(|at| source.lines().nth(at));
        (line, shown_column(source_line.unwrap_or_default(), column), message)
    });
    numbered_from(first, rhai(source), error)
}

fn shown_column(source_line: &str, column: usize) -> usize {
    let before: String = source_line.chars().take(column.saturating_sub(1)).collect();
    if column == 0 { 0 } else { width(&harmless_source(&before)) + 1 }
}

fn numbered_from(first: usize, lines: Vec<Line>, error: Option<(usize, usize, &str)>) -> Vec<Line> {
    let digits = (first + lines.len().saturating_sub(1)).to_string().len().max(NUMBER_COLUMNS);
    let mut place = error;
    let mut shown = Vec::with_capacity(lines.len() + 1);
    for (line, number) in lines.into_iter().zip(first..) {
        let text = line.text();
        shown.push(Line::of(Role::Dim, format!("{number:>digits$}  ")).then(line));
        if let Some((_, column, message)) = place.take_if(|(at, _, _)| *at == number) {
            let begin = text.len() - text.trim_start().len();
            let before = digits + 2 + if column == 0 { begin } else { column - 1 };
            shown.push(Line::of(Role::Bad, format!("{:before$}^ {message}", "")));
        }
    }
    shown.extend(place.map(|(_, _, message)| Line::of(Role::Bad, message)));
    shown
}

/// JSON over several lines, indented by two blanks; keys keep their order and numbers their digits. What is no JSON
/// comes back as it was.
pub fn json(text: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return text.to_owned();
    }
    let mut indented = String::with_capacity(text.len() * 2);
    let mut level: usize = 0;
    let mut rest = text;
    let new_line = |indented: &mut String, level: usize| {
        indented.push('\n');
        (0..level.min(INDENTED_LEVELS_MAX)).for_each(|_| indented.push_str("  "));
    };
    while let Some(c) = rest.chars().next() {
        let length = if c == '"' { string_length(rest, '"') } else { c.len_utf8() };
        let (token, after) = rest.split_at(length);
        rest = after;
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                indented.push(c);
                let inside = rest.trim_start();
                if inside.starts_with(['}', ']']) {
                    indented.push_str(&inside[..1]);
                    rest = &inside[1..];
                } else {
                    level += 1;
                    new_line(&mut indented, level);
                }
            }
            '}' | ']' => {
                level = level.saturating_sub(1);
                new_line(&mut indented, level);
                indented.push(c);
            }
            ',' => {
                indented.push(c);
                new_line(&mut indented, level);
            }
            ':' => indented.push_str(": "),
            _ => indented.push_str(token),
        }
    }
    indented
}

/// The same in lines: keys, strings, numbers and words in their roles. What is no JSON is plain text.
pub fn json_lines(text: &str) -> Vec<Line> {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return text.lines().map(|line| Line::from(harmless_source(line))).collect();
    }
    let text = json(text);
    let mut rest = text.as_str();
    in_lines(std::iter::from_fn(|| {
        let c = rest.chars().next()?;
        let length = match c {
            '"' => string_length(rest, '"'),
            c if c.is_ascii_alphanumeric() || c == '-' => rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
                .unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        let role = match c {
            '"' if after.starts_with(':') => Role::Accent,
            '"' => Role::Ok,
            '-' | '0'..='9' => Role::Later,
            'a'..='z' => Role::Strong,
            _ => Role::Text,
        };
        Some((token, role))
    }))
}

/// Pieces of a text, put together into its lines.
fn in_lines<'a>(pieces: impl Iterator<Item = (&'a str, Role)>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = Line::new();
    let mut is_begun = false;
    for (piece, role) in pieces {
        for part in piece.split_inclusive('\n') {
            let text = part.strip_suffix('\n').unwrap_or(part);
            line = line.and(role, harmless_source(text.strip_suffix('\r').unwrap_or(text)));
            is_begun = true;
            if text.len() < part.len() {
                lines.push(std::mem::take(&mut line));
                is_begun = false;
            }
        }
    }
    if is_begun {
        lines.push(line);
    }
    lines
}

/// Cuts a script into pieces. It need not compile: what is not closed reaches to the end.
struct Lexer<'a> {
    rest: &'a str,
    /// For each template string that is open around this place, the braces that are open in its `${ }`.
    braces: Vec<usize>,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<(&'a str, Role)> {
        let rest = self.rest;
        let c = rest.chars().next()?;
        let (length, role) = match c {
            _ if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), Role::Dim),
            _ if rest.starts_with("/*") => (comment_length(rest), Role::Dim),
            '"' | '\'' => (string_length(rest, c), Role::Ok),
            '`' => (self.template_length(1), Role::Ok),
            '#' if rest.trim_start_matches('#').starts_with('"') => (raw_length(rest), Role::Ok),
            '0'..='9' => (number_length(rest), Role::Later),
            c if is_of_word(c) => {
                let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                let is_keyword = KEYWORDS.contains(&&rest[..length]);
                (length, if is_keyword { Role::Accent } else { Role::Text })
            }
            '{' => {
                self.braces.last_mut().into_iter().for_each(|open| *open += 1);
                (1, Role::Text)
            }
            '}' => match self.braces.last_mut() {
                Some(0) => {
                    self.braces.pop();
                    (self.template_length(1), Role::Ok)
                }
                Some(open) => {
                    *open -= 1;
                    (1, Role::Text)
                }
                None => (1, Role::Text),
            },
            c => (c.len_utf8(), Role::Text),
        };
        let (piece, after) = rest.split_at(length);
        self.rest = after;
        Some((piece, role))
    }

    /// Bytes of the template string that `rest` is in, up to its end or the code within it.
    fn template_length(&mut self, inside: usize) -> usize {
        let text = &self.rest[inside..];
        let code = text.find("${").map(|at| (at, 2));
        let end = text.find('`').map(|at| (at, 1));
        match (code, end) {
            (Some((at, mark)), end) if end.is_none_or(|(end, _)| at < end) => {
                self.braces.push(0);
                inside + at + mark
            }
            (_, Some((at, mark))) => inside + at + mark,
            (_, None) => self.rest.len(),
        }
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of a string with its quotes. It ends with its line, unless the end of the line is escaped.
fn string_length(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '\n' => return at,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Bytes of a string such as `##"..."##`, in which nothing is escaped.
fn raw_length(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let inside = hashes + 1;
    text[inside..].find(&end).map_or(text.len(), |at| inside + at + end.len())
}

/// Bytes of a comment; others may stand within it.
fn comment_length(text: &str) -> usize {
    let mut open = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes()[at..] {
            [b'/', b'*', ..] => (open, at) = (open + 1, at + 2),
            [b'*', b'/', ..] => (open, at) = (open - 1, at + 2),
            _ => at += 1,
        }
        if open == 0 {
            return at;
        }
    }
    text.len()
}

fn number_length(text: &str) -> usize {
    let mut length = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        // A point belongs to it only before a digit: not in a range, not before a method.
        let is_point = c == '.' && chars.peek().is_some_and(|(_, next)| next.is_ascii_digit());
        if !is_point && !is_of_word(c) {
            break;
        }
        length = at + c.len_utf8();
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each span behind a letter for its role.
    fn marked(lines: &[Line]) -> Vec<String> {
        let mark = |role: Role| match role {
            Role::Accent => "K",
            Role::Ok => "S",
            Role::Dim => "C",
            Role::Later => "N",
            Role::Strong => "W",
            Role::Bad => "!",
            Role::Text | Role::Warn | Role::Running | Role::Added | Role::Removed => "-",
        };
        let show = |line: &Line| {
            let spans = line.spans.iter().map(|span| format!("{}<{}>", mark(span.role), span.text));
            spans.collect::<String>()
        };
        lines.iter().map(show).collect()
    }

    #[test]
    fn a_script_is_read_as_its_language_reads_it() {
        for (source, expected) in [
            ("", &[][..]),
            ("\n", &[""]),
            ("let m = 17;", &["K<let>-< m = >N<17>-<;>"]),
            ("letter.is_if", &["-<letter.is_if>"]),
            ("x // let\ny", &["-<x >C<// let>", "-<y>"]),
            ("a /* b\n/* c */ d\n*/ e", &["-<a >C</* b>", "C</* c */ d>", "C<*/>-< e>"]),
            ("/* open", &["C</* open>"]),
            (r#""a\"b" + 'c'"#, &[r#"S<"a\"b">-< + >S<'c'>"#]),
            ("\"open\nx", &["S<\"open>", "-<x>"]),
            ("\"a\\\nb\" x", &["S<\"a\\>", "S<b\">-< x>"]),
            ("`a\nb` c", &["S<`a>", "S<b`>-< c>"]),
            (
                "`a ${if x { `b` } else { 1 }} c` d",
                &["S<`a ${>K<if>-< x { >S<`b`>-< } >K<else>-< { >N<1>-< }>S<} c`>-< d>"],
            ),
            ("#\"a\"b\"# + #{m: 1}", &["S<#\"a\"b\"#>-< + #{m: >N<1>-<}>"]),
            (
                "1_000 0xff 1.5e3 0..10 x2",
                &["N<1_000>-< >N<0xff>-< >N<1.5e3>-< >N<0>-<..>N<10>-< x2>"],
            ),
            ("a\r\nb", &["-<a>", "-<b>"]),
            ("\tx = 水 }", &["-<    x = 水 }>"]),
            ("\u{1b}[31m // \u{7}", &["-<␛[>N<31m>-< >C<// \\x07>"]),
        ] {
            assert_eq!(marked(&rhai(source)), expected, "{source:?}");
        }
    }

    #[test]
    fn any_source_is_shown_whole() {
        let source =
            "let a = `x${`y${1}`}z`; /* /* */ */ #\"q\"# '\\'' \"\\\\\" ##\"\"#\"## 1.x ${ }}`";
        for end in source.char_indices().map(|(at, _)| at) {
            for begin in [0, end / 2] {
                let part = &source[begin..end];
                let text: String = rhai(part).iter().map(Line::text).collect();
                assert_eq!(text, part);
            }
        }
    }

    #[test]
    fn below_the_line_of_an_error_a_caret_points_at_its_column() {
        let source = "let m = 1;\nhttp::post(url);";
        let text = |error| numbered(rhai(source), error).iter().map(Line::text).collect::<Vec<_>>();
        let (first, second) = ("  1  let m = 1;", "  2  http::post(url);");
        assert_eq!(text(None), [first, second]);
        let refused = "connection refused";
        let caret = "     ^ connection refused";
        assert_eq!(text(Some((2, 1, refused))), [first, second, caret]);
        assert_eq!(text(Some((1, 0, refused))), [first, caret, second]);
        assert_eq!(text(Some((1, 5, "what"))), [first, "         ^ what", second]);
        assert_eq!(text(Some((9, 1, refused))), [first, second, refused]);
        assert_eq!(text(Some((0, 0, refused))), [first, second, refused]);
        let shown = numbered(rhai(source), Some((2, 1, "\u{1b}")));
        assert_eq!(shown[2], Line::of(Role::Bad, "     ^ ␛"));
        assert_eq!(shown[0].spans[0].role, Role::Dim);
    }

    #[test]
    fn a_listing_knows_its_first_line_and_what_tabs_are() {
        let shown = listing("\tx;\ny", 1_234, Some((1_234, 2, "bad")));
        let text: Vec<String> = shown.iter().map(Line::text).collect();
        assert_eq!(text, ["1234      x;", "          ^ bad", "1235  y"]);
        let shown = listing("水x", 7, Some((7, 2, "bad")));
        assert_eq!(shown[1].text(), "       ^ bad");
        let shown = listing("  x", 7, Some((7, 0, "bad")));
        assert_eq!(shown[1].text(), "       ^ bad");
        assert_eq!(listing("", 1, Some((1, 1, "empty")))[0].text(), "empty");
    }

    #[test]
    fn json_is_indented_and_otherwise_untouched() {
        for (text, expected) in [
            ("17", "17"),
            (" \"a b\" ", "\"a b\""),
            ("{}", "{}"),
            ("[ ]", "[]"),
            (
                r#"{"b":1,"a":[true,null]}"#,
                "{\n  \"b\": 1,\n  \"a\": [\n    true,\n    null\n  ]\n}",
            ),
            (r#"{"a":{ },"a":1}"#, "{\n  \"a\": {},\n  \"a\": 1\n}"),
            (
                "[1.10,12345678901234567890123,1e999,-0]",
                "[\n  1.10,\n  12345678901234567890123,\n  1e999,\n  -0\n]",
            ),
            (r#"["{,:\"}","\u00e4\\"]"#, "[\n  \"{,:\\\"}\",\n  \"\\u00e4\\\\\"\n]"),
            ("{\"a\":", "{\"a\":"),
            ("no JSON\n", "no JSON\n"),
            ("", ""),
            ("1 2", "1 2"),
        ] {
            assert_eq!(json(text), expected, "{text}");
            assert_eq!(json(expected), expected, "{text} twice");
        }
    }

    #[test]
    fn deep_json_is_not_indented_without_end() {
        let text = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let longest = json(&text).lines().map(str::len).max();
        assert_eq!(longest, Some(2 * INDENTED_LEVELS_MAX + 1));
        let too_deep = "[".repeat(100_000);
        assert_eq!(json(&too_deep), too_deep);
    }

    #[test]
    fn json_shows_keys_strings_numbers_and_words() {
        let lines = json_lines(r#"{"a":"b","c":[-1.5e+3,true]}"#);
        assert_eq!(
            marked(&lines),
            [
                "-<{>",
                "-<  >K<\"a\">-<: >S<\"b\">-<,>",
                "-<  >K<\"c\">-<: [>",
                "-<    >N<-1.5e+3>-<,>",
                "-<    >W<true>",
                "-<  ]>",
                "-<}>",
            ]
        );
        assert_eq!(json_lines("a\u{1b}\n\tb"), [Line::from("a␛"), Line::from("    b")]);
        assert_eq!(json_lines(""), []);
    }
}
