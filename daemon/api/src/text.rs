//! Texts of others: places in them, names that were nearly right, and characters that must not reach a terminal.

use std::fmt::Write;

/// The known word that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = word.chars().count().max(3) / 3 + 1;
    known
        .into_iter()
        .map(|one| (distance(word, one), one))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, one)| one)
}

/// How many letters to add, drop or replace to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// What serde says, as a sentence: of an unknown key with the nearest known one, and never with the name of a type.
///
/// Serde's wording (``unknown field `x`, expected one of `a`, `b` ``) is the only place where it names the keys that
/// a type has.
pub fn explain(message: &str) -> String {
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    let Some((key, known)) = unknown else {
        return match message.split_once("expected struct ") {
            Some((before, _)) => format!("{before}expected a map"),
            None => message.to_owned(),
        };
    };
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    unknown_key(key, known)
}

/// "unknown key", with the nearest known one or all of them.
pub fn unknown_key<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(key, known.iter().copied()) {
        Some(meant) => format!("unknown key \"{key}\"; did you mean \"{meant}\"?"),
        None => format!("unknown key \"{key}\"; known are {}", known.join(", ")),
    }
}

/// A place in a text as people count: line and column from 1, and the line itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Place<'a> {
    pub line: usize,
    pub column: usize,
    pub source_line: &'a str,
}

/// The place of a byte offset; one beyond the end is the end.
pub fn place(text: &str, offset: usize) -> Place<'_> {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let begin = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let line = text[..begin].matches('\n').count() + 1;
    let source_line = text[begin..].lines().next().unwrap_or("");
    Place { line, column: text[begin..offset].chars().count() + 1, source_line }
}

/// The line with its number, and a caret below the column; without one when the column is 0.
pub fn excerpt(line: usize, column: usize, source_line: &str) -> String {
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let mut text = format!("{number} | {}", source_line.trim_end());
    if column > 0 {
        let indent: String = source_line
            .chars()
            .chain(std::iter::repeat(' '))
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let _infallible = write!(text, "\n{margin} | {indent}^");
    }
    text
}

/// The text with every character shown that a terminal would obey or hide: `␛` for escape, `\x07`, `\u{202e}`.
/// Line ends and tabs are shown too, so what comes back is one line.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        show(c, &mut shown);
    }
    shown
}

/// Whether a terminal neither obeys nor hides this character.
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !is_hidden(c)
}

/// As [`visible`], but lines stay lines and tabs become spaces: for source text.
pub fn visible_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push('\n'),
            '\t' => shown.push_str("    "),
            c => show(c, &mut shown),
        }
    }
    shown
}

fn show(c: char, shown: &mut String) {
    match c {
        '\u{1b}' => shown.push('␛'),
        '\t' => shown.push('→'),
        '\n' => shown.push('⏎'),
        c if c.is_control() && u32::from(c) < 0x100 => {
            let _infallible = write!(shown, "\\x{:02x}", u32::from(c));
        }
        c if is_hidden(c) => {
            let _infallible = write!(shown, "\\u{{{:x}}}", u32::from(c));
        }
        c => shown.push(c),
    }
}

/// Characters without width, and those that turn the direction of what follows.
fn is_hidden(c: char) -> bool {
    matches!(
        u32::from(c),
        0xAD | 0x34F
            | 0x61C
            | 0x115F
            | 0x1160
            | 0x17B4
            | 0x17B5
            | 0x180B..=0x180F
            | 0x200B..=0x200F
            | 0x2028..=0x202E
            | 0x2060..=0x206F
            | 0x3164
            | 0xFE00..=0xFE0F
            | 0xFEFF
            | 0xFFA0
            | 0xFFF0..=0xFFFB
            | 0x1BCA0..=0x1BCA3
            | 0x1D173..=0x1D17A
            | 0xE0000..=0xE0FFF
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    #[test]
    fn a_name_that_is_nearly_right_finds_the_one_that_was_meant() {
        let known = ["slug", "host", "allow_hosts", "expose_errors"];
        assert_eq!(nearest("sulg", known), Some("slug"));
        assert_eq!(nearest("allow_host", known), Some("allow_hosts"));
        assert_eq!(nearest("expose_error", known), Some("expose_errors"));
        assert_eq!(nearest("completely", known), None);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_nearest() {
        let error = serde_json::from_str::<Manifest>(r#"{"app": {"slug": "a", "hosst": "b"}}"#)
            .expect_err("the key is unknown");
        let message = error.to_string();
        let message = message.split(" at line").next().expect("split gives at least one part");
        assert_eq!(explain(message), "unknown key \"hosst\"; did you mean \"host\"?");
        assert_eq!(explain("something else"), "something else");
        let message = "invalid type: null, expected struct GrantItem";
        assert_eq!(explain(message), "invalid type: null, expected a map");
    }

    #[test]
    fn a_place_counts_lines_and_characters() {
        let text = "one\nzwölf = 12\n";
        let place = place(text, text.find('=').expect("there is one"));
        assert_eq!(place, Place { line: 2, column: 7, source_line: "zwölf = 12" });
        assert_eq!(excerpt(2, 7, place.source_line), "2 | zwölf = 12\n  |       ^");
        assert_eq!(super::place("", 5).line, 1);
    }

    #[test]
    fn a_caret_stands_below_its_column_also_behind_tabs() {
        assert_eq!(excerpt(12, 3, "\tab"), "12 | \tab\n   | \t ^");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        assert_eq!(
            visible("a\u{1b}[31mb\u{7}\u{9b}c\u{202e}d\u{200b}\te\nf"),
            "a␛[31mb\\x07\\x9bc\\u{202e}d\\u{200b}→e⏎f"
        );
        assert_eq!(visible("Grüße, 水 ✓"), "Grüße, 水 ✓");
        assert_eq!(visible_lines("a\n\tb\u{1b}"), "a\n    b␛");
        for c in (0_u32..0x300).filter_map(char::from_u32) {
            assert!(!visible(&c.to_string()).chars().any(char::is_control), "{c:?}");
        }
    }
}
