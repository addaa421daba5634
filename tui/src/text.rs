//! Text on its way to the screen: foreign text made harmless, widths as frames count them, lines of spans with roles.
//!
//! A line says what its parts mean; which colour that is, only the theme knows.

use ratatui::buffer::CellWidth;
use unicode_segmentation::UnicodeSegmentation;

use crate::symbols;

/// What a text means, and so how it looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    #[default]
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

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    pub text: String,
    pub role: Role,
}

/// One line of the screen. Whatever is put into one is made harmless.
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

    /// The line with a text behind it. Spans of the same role become one; an empty text adds none.
    #[must_use]
    pub fn and(mut self, role: Role, text: impl Into<String>) -> Line {
        let text = harmless_owned(text.into());
        match self.spans.last_mut() {
            _ if text.is_empty() => {}
            Some(last) if last.role == role => last.text.push_str(&text),
            Some(_) | None => self.spans.push(Span { text, role }),
        }
        self
    }

    /// The line with another behind it.
    #[must_use]
    pub fn then(self, other: Line) -> Line {
        other.spans.into_iter().fold(self, |line, span| line.and(span.role, span.text))
    }

    /// The same text in one role.
    #[must_use]
    pub fn in_role(&self, role: Role) -> Line {
        Line::of(role, self.text())
    }

    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.iter().all(|span| span.text.is_empty())
    }

    /// Columns that the line takes.
    pub fn width(&self) -> usize {
        self.spans.iter().map(|span| width(&span.text)).sum()
    }

    /// The same, or this limit if it is wider: only so much of it is read, however long it is.
    pub fn width_up_to(&self, limit: usize) -> usize {
        let up_to = |used: usize, span: &Span| (used + width_up_to(&span.text, limit)).min(limit);
        self.spans.iter().fold(0, up_to)
    }

    fn fits(&self, columns: usize) -> bool {
        self.width_up_to(columns.saturating_add(1)) <= columns
    }

    /// At most so many columns of it; where the end is lost stands `…`.
    #[must_use]
    pub fn cut(&self, columns: usize) -> Line {
        if self.fits(columns) {
            return self.clone();
        }
        let mut line = Line::new();
        let mut left = columns;
        for span in &self.spans {
            let taken = width_up_to(&span.text, left);
            // A mark must still fit behind what is kept: something follows, or this span is too wide itself.
            if taken >= left {
                let kept = head(&span.text, left.saturating_sub(1));
                return line.and(span.role, marked(kept, left));
            }
            left -= taken;
            line = line.and(span.role, span.text.as_str());
        }
        line
    }

    /// At most so many columns of it; where the beginning is lost stands `…`.
    #[must_use]
    pub fn cut_front(&self, columns: usize) -> Line {
        if self.fits(columns) {
            return self.clone();
        }
        let mut kept = Vec::new();
        let mut left = columns;
        for span in self.spans.iter().rev() {
            let taken = width_up_to(&span.text, left);
            if taken >= left {
                let end = tail(&span.text, left.saturating_sub(1));
                let text = if left == 0 { String::new() } else { format!("…{end}") };
                kept.push(Span { text, role: span.role });
                break;
            }
            left -= taken;
            kept.push(span.clone());
        }
        kept.into_iter().rev().fold(Line::new(), |line, span| line.and(span.role, span.text))
    }

    /// The line in exactly so many columns, at their left.
    #[must_use]
    pub fn padded(&self, columns: usize) -> Line {
        let line = self.cut(columns);
        let blanks = " ".repeat(columns.saturating_sub(line.width()));
        line.and(Role::Text, blanks)
    }

    /// The line in exactly so many columns, at their right.
    #[must_use]
    pub fn right(&self, columns: usize) -> Line {
        let line = self.cut(columns);
        let blanks = " ".repeat(columns.saturating_sub(line.width()));
        Line::of(Role::Text, blanks).then(line)
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

/// The text without anything that a terminal obeys or hides, in one line: `␛`, `\x07`, `\u{202e}`, `→` for a tab.
/// What is harmless stays as it is.
pub fn harmless(text: &str) -> String {
    picloud_api::text::visible(text)
}

fn harmless_owned(text: String) -> String {
    if text.chars().all(picloud_api::text::is_plain) { text } else { harmless(&text) }
}

/// As [`harmless`], for a line of a source: a tab becomes four blanks.
pub fn harmless_source(line: &str) -> String {
    harmless(&line.replace('\t', "    "))
}

/// Columns that a text takes in a frame.
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.graphemes(true).map(grapheme_width).sum()
}

fn width_up_to(text: &str, limit: usize) -> usize {
    if text.is_ascii() {
        return text.len().min(limit);
    }
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += grapheme_width(grapheme);
        if used >= limit {
            return limit;
        }
    }
    used
}

fn grapheme_width(grapheme: &str) -> usize {
    // Frames leave these out.
    if grapheme.contains(char::is_control) { 0 } else { usize::from(grapheme.cell_width()) }
}

/// At most so many columns of a text; where the end is lost stands `…`.
pub fn cut(text: &str, columns: usize) -> String {
    if head(text, columns).len() == text.len() {
        return text.to_owned();
    }
    marked(head(text, columns.saturating_sub(1)), columns)
}

/// At most so many columns of a text; where the beginning is lost stands `…`.
pub fn cut_front(text: &str, columns: usize) -> String {
    if tail(text, columns).len() == text.len() {
        return text.to_owned();
    }
    let end = tail(text, columns.saturating_sub(1));
    if columns == 0 { String::new() } else { format!("…{end}") }
}

fn marked(kept: &str, columns: usize) -> String {
    if columns == 0 { String::new() } else { format!("{kept}…") }
}

/// The whole graphemes at the beginning that take at most so many columns.
fn head(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text.grapheme_indices(true).find(|(_, grapheme)| {
        used += grapheme_width(grapheme);
        used > columns
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// The whole graphemes at the end that take at most so many columns.
fn tail(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let before = text.grapheme_indices(true).rev().find(|(_, grapheme)| {
        used += grapheme_width(grapheme);
        used > columns
    });
    before.map_or(text, |(at, grapheme)| &text[at + grapheme.len()..])
}

/// The text in lines of at most so many columns: broken at blanks where there are some, else between graphemes.
/// A grapheme that is wider than the columns has a line of its own.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut begin, mut used, mut blank) = (0, 0, None);
    for (at, grapheme) in text.grapheme_indices(true) {
        // Blanks at a break belong to no line.
        if at < begin {
            continue;
        }
        let is_blank = grapheme == " ";
        let taken = grapheme_width(grapheme);
        if used + taken > columns && at > begin {
            let end = if is_blank { at } else { blank.unwrap_or(at) };
            lines.push(text[begin..end].trim_end().to_owned());
            let next = text[end..].trim_start_matches(' ');
            begin = text.len() - next.len();
            blank = None;
            if is_blank {
                used = 0;
                continue;
            }
            used = width(&text[begin..at]);
        }
        // A break within the indentation would only make an empty line.
        if is_blank && !text[begin..at].trim_start().is_empty() {
            blank = Some(at);
        }
        used += taken;
    }
    if begin < text.len() || lines.is_empty() {
        lines.push(text[begin..].to_owned());
    }
    lines
}

/// The line for a terminal that shows ASCII only: our own symbols replaced, foreign text left alone.
///
/// What becomes wider takes it from the next blanks, as long as one stays: what stands in columns keeps standing there.
pub fn ascii(line: &Line) -> Line {
    let (mut owed, mut after_blank) = (0, false);
    let mut plain = Line::new();
    for span in &line.spans {
        let mut text = String::with_capacity(span.text.len());
        for c in span.text.chars() {
            if c == ' ' && after_blank && owed > 0 {
                owed -= 1;
                continue;
            }
            after_blank = c == ' ';
            match plain_text(c) {
                Some(instead) => {
                    owed += instead.len() - 1;
                    text.push_str(instead);
                }
                None => text.push(c),
            }
        }
        plain = plain.and(span.role, text);
    }
    plain
}

/// What stands for one of our symbols, each of them one column wide.
fn plain_text(c: char) -> Option<&'static str> {
    match c {
        _ if c.is_ascii() => None,
        '…' => Some("~"),
        '→' => Some("->"),
        '←' => Some("Left"),
        '↑' => Some("Up"),
        '↓' => Some("Down"),
        '⇧' => Some("Shift-"),
        '⏎' => Some("Enter"),
        '␛' => Some("\\e"),
        '·' | '–' | '—' | '−' => Some("-"),
        '×' => Some("x"),
        'µ' => Some("u"),
        '≥' => Some(">="),
        '≤' => Some("<="),
        c => symbols::plain(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: &str = "e\u{301}\u{302}";

    #[test]
    fn widths_are_those_of_a_frame() {
        for (text, columns) in [
            ("", 0),
            ("abc", 3),
            ("水が", 4),
            ("Grüße", 5),
            (FAMILY, 1),
            ("▸ ✓ ●", 5),
            ("🦀", 2),
            ("ü\u{7}x", 2),
        ] {
            assert_eq!(width(text), columns, "{text}");
            let mut frame = ratatui::buffer::Buffer::empty(ratatui::layout::Rect::new(0, 0, 9, 1));
            let (end, _) = frame.set_stringn(0, 0, text, 9, ratatui::style::Style::default());
            assert_eq!(usize::from(end), columns, "{text} in a frame");
        }
    }

    #[test]
    fn a_cut_says_that_something_is_lost_and_never_takes_half_a_grapheme() {
        for (text, columns, end_lost, front_lost) in [
            ("abcdef", 6, "abcdef", "abcdef"),
            ("abcdef", 4, "abc…", "…def"),
            ("abcdef", 1, "…", "…"),
            ("abcdef", 0, "", ""),
            ("", 0, "", ""),
            ("水水水", 6, "水水水", "水水水"),
            ("水水水", 5, "水水…", "…水水"),
            ("水水水", 4, "水…", "…水"),
            ("ae\u{301}b", 2, "a…", "…b"),
            ("ae\u{301}b", 3, "ae\u{301}b", "ae\u{301}b"),
        ] {
            assert_eq!(cut(text, columns), end_lost, "{text} {columns}");
            assert_eq!(cut_front(text, columns), front_lost, "{text} {columns}");
            assert_eq!(Line::from(text).cut(columns).text(), end_lost, "{text} {columns}");
            assert_eq!(Line::from(text).cut_front(columns).text(), front_lost, "{text} {columns}");
        }
    }

    #[test]
    fn a_line_is_cut_across_its_spans_and_the_mark_has_the_role_of_what_it_cuts() {
        let line = Line::of(Role::Ok, "abc").and(Role::Bad, "def").and(Role::Dim, "ghi");
        for (columns, expected) in [
            (9, line.clone()),
            (8, Line::of(Role::Ok, "abc").and(Role::Bad, "def").and(Role::Dim, "g…")),
            (6, Line::of(Role::Ok, "abc").and(Role::Bad, "de…")),
            (4, Line::of(Role::Ok, "abc").and(Role::Bad, "…")),
            (3, Line::of(Role::Ok, "ab…")),
            (0, Line::new()),
        ] {
            assert_eq!(line.cut(columns), expected, "{columns}");
        }
        for (columns, expected) in [
            (9, line.clone()),
            (8, Line::of(Role::Ok, "…c").and(Role::Bad, "def").and(Role::Dim, "ghi")),
            (6, Line::of(Role::Bad, "…ef").and(Role::Dim, "ghi")),
            (4, Line::of(Role::Bad, "…").and(Role::Dim, "ghi")),
            (3, Line::of(Role::Dim, "…hi")),
            (0, Line::new()),
        ] {
            assert_eq!(line.cut_front(columns), expected, "{columns}");
        }
    }

    #[test]
    fn of_a_long_line_only_as_much_is_read_as_is_wanted() {
        for text in ["", "abc", "水水水", "a水b", "a longer one"] {
            let line = Line::of(Role::Ok, text).and(Role::Bad, "水").and(Role::Ok, text);
            for limit in 0..30 {
                assert_eq!(line.width_up_to(limit), line.width().min(limit), "{text:?} {limit}");
            }
        }
    }

    #[test]
    fn a_line_in_columns_has_exactly_their_width() {
        for text in ["", "abc", "水水水", "a longer one", "a水水水水水水"] {
            for columns in 0..14 {
                let line = Line::of(Role::Ok, text);
                for placed in [line.padded(columns), line.right(columns)] {
                    let lost = placed.text().contains('…');
                    assert_eq!(placed.width(), columns, "{text:?} {columns}");
                    assert_eq!(lost, width(text) > columns && columns > 0, "{text:?} {columns}");
                }
            }
        }
        assert_eq!(Line::of(Role::Ok, "4").right(3), Line::from("  ").and(Role::Ok, "4"));
        assert_eq!(
            Line::of(Role::Ok, "4").padded(3),
            Line::of(Role::Ok, "4").and(Role::Text, "  ")
        );
    }

    #[test]
    fn spans_of_one_role_are_one_and_empty_ones_none() {
        let line = Line::from("a").and(Role::Text, "b").and(Role::Ok, "").and(Role::Ok, "c");
        assert_eq!(line.spans.len(), 2);
        assert_eq!(line.text(), "abc");
        assert_eq!(line.in_role(Role::Dim), Line::of(Role::Dim, "abc"));
        assert!(Line::from("").is_empty() && Line::from("") == Line::new());
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_into_a_line() {
        let hostile = "a\u{1b}[31m\u{7}\u{202e}\tb\nc";
        for line in [Line::from(hostile), Line::from("x").and(Role::Bad, hostile)] {
            assert!(line.text().ends_with("a␛[31m\\x07\\u{202e}→b⏎c"), "{}", line.text());
        }
        assert_eq!(harmless(&harmless(hostile)), harmless(hostile));
        assert_eq!(harmless_source("\ta\u{1b}"), "    a␛");
    }

    #[test]
    fn text_is_wrapped_at_blanks_or_else_between_graphemes() {
        for (text, columns, expected) in [
            ("", 5, &[""][..]),
            ("ab cd", 5, &["ab cd"]),
            ("ab cd ef", 5, &["ab cd", "ef"]),
            ("ab cd ef", 6, &["ab cd", "ef"]),
            ("ab   cd", 3, &["ab", "cd"]),
            ("abcdefg", 3, &["abc", "def", "g"]),
            ("a bcdefg", 3, &["a", "bcd", "efg"]),
            ("  abcdef", 4, &["  ab", "cdef"]),
            ("水水 水", 4, &["水水", "水"]),
            ("水水水", 3, &["水", "水", "水"]),
            ("水a", 1, &["水", "a"]),
            ("ae\u{301}b", 1, &["a", "e\u{301}", "b"]),
            ("ab ", 2, &["ab"]),
            ("abc", 0, &["a", "b", "c"]),
        ] {
            assert_eq!(wrap(text, columns), expected, "{text:?} {columns}");
        }
    }

    #[test]
    fn for_ascii_our_symbols_are_replaced_and_foreign_text_is_not() {
        for (text, expected) in [
            ("plain", "plain"),
            ("cut o…", "cut o~"),
            ("v12 → v12", "v12 -> v12"),
            ("a · b × 3 – c ≥ 2", "a - b x 3 - c >= 2"),
            ("▸ ✓ ✗ ▲ » ● ↻ ◷ ■ ┆ ─", "> + x ! > * ~ @ - : -"),
            ("▁▄█░", " -#."),
            ("⏎ open  ↓ ␛", "Enter open Down \\e"),
            ("Grüße 水", "Grüße 水"),
        ] {
            assert_eq!(ascii(&Line::from(text)).text(), expected, "{text}");
        }
    }

    #[test]
    fn what_stands_in_columns_still_does_in_ascii() {
        let line = Line::of(Role::Ok, "a → b").and(Role::Text, "     ").and(Role::Dim, "x → y  z");
        let plain = ascii(&line);
        assert_eq!(plain.text(), "a -> b    x -> y z");
        assert_eq!(plain.spans.len(), line.spans.len());
        assert_eq!(ascii(&plain), plain);
    }
}
