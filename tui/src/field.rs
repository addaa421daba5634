//! A line that is typed: a filter, a name in the palette.

use picloud_api::text::is_plain;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use unicode_segmentation::UnicodeSegmentation;

use crate::text::{cut, cut_front, width};

/// What is typed or pasted beyond that is dropped.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// Whether a key was for the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    No,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Field {
    text: String,
    /// In bytes, always between two graphemes.
    cursor: usize,
}

impl Field {
    /// A field with a text, and the cursor behind it.
    pub fn of(text: &str) -> Field {
        let mut field = Field::default();
        field.paste(text);
        field
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Columns of the text before the cursor.
    pub fn cursor(&self) -> usize {
        width(&self.text[..self.cursor])
    }

    /// Obeys a key that means something in a field; what else a key may mean is for others to know.
    pub fn key(&mut self, key: &KeyEvent) -> Taken {
        if key.kind == KeyEventKind::Release {
            return Taken::No;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return self.control(key.code);
        }
        match key.code {
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::ALT) && is_plain(c) => {
                self.insert(c);
                self.settle();
            }
            KeyCode::Backspace => self.remove(self.before(), self.cursor),
            KeyCode::Delete => self.remove(self.cursor, self.after()),
            KeyCode::Left => self.cursor = self.before(),
            KeyCode::Right => self.cursor = self.after(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            _ => return Taken::No,
        }
        Taken::Yes
    }

    fn control(&mut self, code: KeyCode) -> Taken {
        match code {
            KeyCode::Char('a') => self.cursor = 0,
            KeyCode::Char('e') => self.cursor = self.text.len(),
            // What the backspace key of many a serial terminal sends.
            KeyCode::Char('h') => self.remove(self.before(), self.cursor),
            KeyCode::Char('k') => self.remove(self.cursor, self.text.len()),
            KeyCode::Char('u') => self.remove(0, self.cursor),
            KeyCode::Char('w') => {
                let before = self.text[..self.cursor].trim_end_matches(' ');
                let begin = before.rfind(' ').map_or(0, |at| at + 1);
                self.remove(begin, self.cursor);
            }
            _ => return Taken::No,
        }
        Taken::Yes
    }

    /// Puts a text in at the cursor: its lines become one, and nothing in it is obeyed.
    pub fn paste(&mut self, text: &str) {
        for c in text.replace("\r\n", "\n").chars() {
            match c {
                '\n' | '\r' | '\t' => self.insert(' '),
                c if is_plain(c) => self.insert(c),
                _ => {}
            }
        }
        self.settle();
    }

    /// What of the field is seen in so many columns, and the column of the cursor in it.
    pub fn view(&self, columns: usize) -> (String, usize) {
        let (before, after) = self.text.split_at(self.cursor);
        // Some of what follows stays in view. Behind the text, the cursor has a column of its own.
        let ahead = width(after).min(columns / 3);
        let before = cut_front(before, columns.saturating_sub(ahead + 1));
        let cursor = width(&before);
        let after = cut(after, columns.saturating_sub(cursor));
        (before + &after, cursor)
    }

    fn insert(&mut self, c: char) {
        if self.text.len() + c.len_utf8() <= TEXT_BYTES_MAX {
            self.text.insert(self.cursor, c);
            self.cursor += c.len_utf8();
        }
    }

    fn remove(&mut self, begin: usize, end: usize) {
        self.text.replace_range(begin..end, "");
        self.cursor = begin;
        self.settle();
    }

    /// What was put in or beside each other may have become one grapheme: the cursor goes behind it.
    fn settle(&mut self) {
        let boundary = self.boundaries().find(|at| *at >= self.cursor);
        self.cursor = boundary.unwrap_or(self.text.len());
    }

    fn before(&self) -> usize {
        self.boundaries().take_while(|at| *at < self.cursor).last().unwrap_or(0)
    }

    fn after(&self) -> usize {
        self.boundaries().find(|at| *at > self.cursor).unwrap_or(self.text.len())
    }

    /// Where graphemes begin.
    fn boundaries(&self) -> impl Iterator<Item = usize> {
        self.text.grapheme_indices(true).map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn control(c: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)
    }

    /// The text with `|` where the cursor is.
    fn drawn(field: &Field) -> String {
        let (before, after) = field.text.split_at(field.cursor);
        format!("{before}|{after}")
    }

    fn at(text: &str) -> Field {
        let (before, after) = text.split_once('|').expect("the table says where the cursor is");
        Field { text: format!("{before}{after}"), cursor: before.len() }
    }

    #[test]
    fn keys_edit_the_text_by_whole_graphemes() {
        let (left, right) = (press(KeyCode::Left), press(KeyCode::Right));
        let (backspace, delete) = (press(KeyCode::Backspace), press(KeyCode::Delete));
        for (text, key, expected) in [
            ("a|b", press(KeyCode::Char('x')), "ax|b"),
            ("a|b", KeyEvent::new(KeyCode::Char('X'), KeyModifiers::SHIFT), "aX|b"),
            ("e|b", press(KeyCode::Char('\u{301}')), "e\u{301}|b"),
            ("|a", left, "|a"),
            ("ae\u{301}|b", left, "a|e\u{301}b"),
            ("a|e\u{301}b", right, "ae\u{301}|b"),
            ("a|", right, "a|"),
            ("水|b", backspace, "|b"),
            ("|b", backspace, "|b"),
            ("a|e\u{301}b", delete, "a|b"),
            ("a|", delete, "a|"),
            ("e|x\u{301}", delete, "e|"),
            ("a|b", press(KeyCode::Home), "|ab"),
            ("a|b", press(KeyCode::End), "ab|"),
            ("a|b", control('a'), "|ab"),
            ("a|b", control('e'), "ab|"),
            ("ab|c", control('h'), "a|c"),
            ("ab|cd", control('u'), "|cd"),
            ("ab|cd", control('k'), "ab|"),
            ("is:open age:>1h|x", control('w'), "is:open |x"),
            ("is:open  |", control('w'), "|"),
            ("|x", control('w'), "|x"),
        ] {
            let mut field = at(text);
            assert_eq!(field.key(&key), Taken::Yes, "{text} {key:?}");
            assert_eq!(drawn(&field), expected, "{text} {key:?}");
        }
    }

    #[test]
    fn other_keys_are_left_to_others() {
        let released =
            KeyEvent::new_with_kind(KeyCode::Char('x'), KeyModifiers::NONE, KeyEventKind::Release);
        for key in [
            press(KeyCode::Enter),
            press(KeyCode::Esc),
            press(KeyCode::Tab),
            press(KeyCode::Up),
            press(KeyCode::F(1)),
            control('c'),
            control('p'),
            KeyEvent::new(KeyCode::Char('x'), KeyModifiers::ALT),
            press(KeyCode::Char('\u{202e}')),
            released,
        ] {
            let mut field = at("a|b");
            assert_eq!(field.key(&key), Taken::No, "{key:?}");
            assert_eq!(drawn(&field), "a|b", "{key:?}");
        }
    }

    #[test]
    fn a_paste_becomes_one_line_without_anything_to_obey() {
        let mut field = at("<|>");
        field.paste("a\r\nb\nc\td\u{1b}[31m\u{7}\u{202e}");
        assert_eq!(drawn(&field), "<a b c d[31m|>");
    }

    #[test]
    fn a_full_field_takes_no_more() {
        let mut field = Field::of(&"水".repeat(400));
        assert_eq!(field.text().len(), 1_023);
        assert_eq!(field.key(&press(KeyCode::Char('水'))), Taken::Yes);
        assert_eq!(field.text().len(), 1_023);
        field.key(&press(KeyCode::Char('x')));
        field.key(&press(KeyCode::Char('x')));
        assert_eq!(field.text().len(), TEXT_BYTES_MAX);
        assert_eq!(field.cursor(), 683);
    }

    #[test]
    fn the_cursor_is_always_in_view() {
        for (text, columns, expected) in [
            ("|", 5, ("", 0)),
            ("abc|", 5, ("abc", 3)),
            ("abcd|", 5, ("abcd", 4)),
            ("abcde|", 5, ("…cde", 4)),
            ("|abcdef", 5, ("abcd…", 0)),
            ("ab|cdef", 5, ("abcd…", 2)),
            ("abcd|efgh", 6, ("…cdef…", 3)),
            ("abcdef|g", 6, ("…defg", 4)),
            ("水水水|", 5, ("…水", 3)),
            ("ab|", 1, ("", 0)),
            ("ab|", 0, ("", 0)),
        ] {
            let (seen, cursor) = at(text).view(columns);
            assert_eq!((seen.as_str(), cursor), expected, "{text} {columns}");
        }
        for end in 0..40 {
            let field = Field { text: "水a".repeat(20), cursor: 4 * (end / 2) };
            for columns in 1..30 {
                let (seen, cursor) = field.view(columns);
                assert!(width(&seen) <= columns && cursor < columns, "{seen} {cursor} {columns}");
            }
        }
    }
}
