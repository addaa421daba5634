//! Lines made of spans with roles; widths are those of the display, and nothing is cut inside a character that is seen as one.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// What a text is, not how it looks: `theme.rs` knows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Text,
    Dim,
    Strong,
    Accent,
    Ok,
    Warn,
    Bad,
    Running,
    Later,
    Added,
    Removed,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub text: String,
    pub role: Role,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub spans: Vec<Span>,
}

impl Line {
    pub fn new() -> Line {
        Line::default()
    }

    pub fn of(role: Role, text: impl Into<String>) -> Line {
        Line::new().and(role, text)
    }

    /// The line with more at its end.
    #[must_use]
    pub fn and(mut self, role: Role, text: impl Into<String>) -> Line {
        let text = text.into();
        if !text.is_empty() {
            self.spans.push(Span { text, role });
        }
        self
    }

    /// The line with another one at its end.
    #[must_use]
    pub fn then(mut self, line: Line) -> Line {
        self.spans.extend(line.spans);
        self
    }

    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }

    /// Columns of the display.
    pub fn width(&self) -> usize {
        self.spans.iter().map(|span| width(&span.text)).sum()
    }

    /// At most so many columns; what is lost leaves an ellipsis.
    #[must_use]
    pub fn cut(&self, columns: usize) -> Line {
        if self.width() <= columns {
            return self.clone();
        }
        let mut left = columns;
        let mut line = Line::new();
        for (at, span) in self.spans.iter().enumerate() {
            let is_last = self.spans[at + 1..].iter().all(|span| span.text.is_empty());
            let own = width(&span.text);
            if own < left || (own == left && is_last) {
                left -= own;
                line = line.and(span.role, span.text.as_str());
            } else {
                // What follows does not fit, so this span ends in the ellipsis even if it would just fit itself.
                return line.and(span.role, cut_with_ellipsis(&span.text, left));
            }
        }
        line
    }

    /// At least so many columns.
    #[must_use]
    pub fn padded(self, columns: usize) -> Line {
        let gap = columns.saturating_sub(self.width());
        self.and(Role::Text, " ".repeat(gap))
    }

    /// At least so many columns, with the text at their end.
    #[must_use]
    pub fn right(self, columns: usize) -> Line {
        let gap = columns.saturating_sub(self.width());
        Line::of(Role::Text, " ".repeat(gap)).then(self)
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Line {
        Line::of(Role::Text, text)
    }
}

impl From<String> for Line {
    fn from(text: String) -> Line {
        Line::of(Role::Text, text)
    }
}

/// A text of somebody else's with everything shown that a terminal would obey or hide.
pub fn harmless(text: &str) -> String {
    picloud_api::text::visible(text)
}

/// Columns of the display.
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.graphemes(true).map(UnicodeWidthStr::width).sum()
    }
}

/// At most so many columns of the beginning, with an ellipsis if anything is lost.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns { text.to_owned() } else { cut_with_ellipsis(text, columns) }
}

/// At most so many columns of the end.
pub fn cut_front(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(mut left) = columns.checked_sub(1) else { return String::new() };
    let mut kept: Vec<&str> = Vec::new();
    for grapheme in text.graphemes(true).rev() {
        let own = grapheme.width();
        if own > left {
            break;
        }
        left -= own;
        kept.push(grapheme);
    }
    kept.push("…");
    kept.into_iter().rev().collect()
}

fn cut_with_ellipsis(text: &str, columns: usize) -> String {
    let Some(mut left) = columns.checked_sub(1) else { return String::new() };
    let mut kept = String::new();
    for grapheme in text.graphemes(true) {
        let own = grapheme.width();
        if own > left {
            break;
        }
        left -= own;
        kept.push_str(grapheme);
    }
    kept.push('…');
    kept
}

/// The text on as many lines as it takes, broken between words; what is longer than a line is left to be cut.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// For terminals without other characters: what the console itself writes, in letters. Texts of others stay as they are.
#[must_use]
pub fn ascii(line: &Line) -> Line {
    let span = |span: &Span| Span { text: ascii_text(&span.text), role: span.role };
    Line { spans: line.spans.iter().map(span).collect() }
}

fn ascii_text(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '…' => plain.push('~'),
            '→' => plain.push_str("->"),
            '⏎' => plain.push_str("Enter"),
            '⇧' => plain.push_str("Shift-"),
            '↓' => plain.push_str("Down"),
            '↑' => plain.push_str("Up"),
            '←' => plain.push_str("Left"),
            '·' | '–' | '—' => plain.push('-'),
            '×' => plain.push('x'),
            '≥' => plain.push_str(">="),
            '≤' => plain.push_str("<="),
            'µ' => plain.push('u'),
            '␛' => plain.push_str("\\e"),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_columns_and_says_so() {
        let line = Line::of(Role::Ok, "grün").and(Role::Bad, "水水水");
        for (columns, expected) in [
            (10, "grün水水水"),
            (9, "grün水水…"),
            (8, "grün水…"),
            (7, "grün水…"),
            (5, "grün…"),
            (4, "grü…"),
            (1, "…"),
            (0, ""),
        ] {
            let cut = line.cut(columns);
            assert_eq!(cut.text(), expected, "{columns}");
            assert!(cut.width() <= columns);
        }
        assert_eq!(line.cut(5).spans[0].role, Role::Ok);
    }

    #[test]
    fn nothing_is_cut_inside_of_what_is_seen_as_one_character() {
        let text = "e\u{301}e\u{301}e\u{301}";
        assert_eq!(width(text), 3);
        assert_eq!(cut(text, 2), "e\u{301}…");
        assert_eq!(cut_front(text, 2), "…e\u{301}");
        assert_eq!(cut_front("abc", 3), "abc");
    }

    #[test]
    fn a_text_is_broken_between_its_words() {
        assert_eq!(wrapped("one 水水 three", 8), ["one 水水", "three"]);
        assert_eq!(wrapped("one 水水 three", 7), ["one", "水水", "three"]);
        assert_eq!(wrapped("longer", 3), ["longer"]);
    }

    #[test]
    fn lines_are_filled_on_either_side() {
        assert_eq!(Line::from("水").padded(4).text(), "水  ");
        assert_eq!(Line::from("水").right(4).text(), "  水");
        assert_eq!(Line::from("long").padded(2).text(), "long");
    }

    #[test]
    fn in_ascii_our_symbols_are_letters_and_foreign_text_is_left_alone() {
        assert_eq!(ascii(&Line::from("v1 → v2 … grün")).text(), "v1 -> v2 ~ grün");
    }
}
