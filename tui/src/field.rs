//! A line that is written: filters, the palette, prompts.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_segmentation::UnicodeSegmentation;

use crate::text::{harmless, width};

/// Bytes of a line; the daemon takes no longer filters.
const BYTES_MAX: usize = 1_024;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Field {
    text: String,
    /// A byte of the text, between two characters as they are seen.
    at: usize,
}

/// Whether a key was meant for the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    No,
}

impl Field {
    /// A field with this text, and the cursor behind it.
    pub fn of(text: &str) -> Field {
        let mut field = Field::default();
        field.insert(text);
        field
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn key(&mut self, key: &KeyEvent) -> Taken {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, control) {
            (KeyCode::Char('a'), true) | (KeyCode::Home, _) => self.at = 0,
            (KeyCode::Char('e'), true) | (KeyCode::End, _) => self.at = self.text.len(),
            (KeyCode::Char('u'), true) => {
                self.text.drain(..self.at);
                self.at = 0;
            }
            (KeyCode::Char('k'), true) => self.text.truncate(self.at),
            (KeyCode::Char('w'), true) => self.delete_word(),
            (KeyCode::Char('h'), true) | (KeyCode::Backspace, _) => {
                let from = self.before();
                self.text.drain(from..self.at);
                self.at = from;
            }
            (KeyCode::Delete, _) => {
                let to = self.behind();
                self.text.drain(self.at..to);
            }
            (KeyCode::Left, _) => self.at = self.before(),
            (KeyCode::Right, _) => self.at = self.behind(),
            (KeyCode::Char(c), false) if !key.modifiers.contains(KeyModifiers::ALT) => {
                self.insert(c.encode_utf8(&mut [0; 4]));
            }
            _ => return Taken::No,
        }
        Taken::Yes
    }

    /// Takes what was pasted: on one line, without anything that is not text.
    pub fn paste(&mut self, text: &str) {
        self.insert(text.trim_end_matches(['\n', '\r']));
    }

    /// The part that is seen on so many columns, and the column of the cursor in it.
    pub fn view(&self, columns: usize) -> (String, usize) {
        let columns = columns.max(1);
        let before = harmless(&self.text[..self.at]);
        let mut skipped = 0;
        let mut shown = String::new();
        // What lies too far before the cursor is out of sight.
        let too_much = (width(&before) + 1).saturating_sub(columns);
        for grapheme in before.graphemes(true) {
            if skipped < too_much {
                skipped += width(grapheme);
            } else {
                shown.push_str(grapheme);
            }
        }
        let column = width(&shown);
        for grapheme in harmless(&self.text[self.at..]).graphemes(true) {
            if width(&shown) + width(grapheme) > columns {
                break;
            }
            shown.push_str(grapheme);
        }
        (shown, column)
    }

    fn insert(&mut self, text: &str) {
        for c in text.chars() {
            let c = if c.is_whitespace() { ' ' } else { c };
            if !c.is_control() && self.text.len() + c.len_utf8() <= BYTES_MAX {
                self.text.insert(self.at, c);
                self.at += c.len_utf8();
            }
        }
    }

    fn before(&self) -> usize {
        let last = self.text[..self.at].graphemes(true).next_back();
        self.at - last.map_or(0, str::len)
    }

    fn behind(&self) -> usize {
        self.at + self.text[self.at..].graphemes(true).next().map_or(0, str::len)
    }

    fn delete_word(&mut self) {
        let kept = self.text[..self.at].trim_end();
        let from = kept.rfind(' ').map_or(0, |at| at + 1);
        self.text.drain(from..self.at);
        self.at = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str, keys: &[(KeyCode, KeyModifiers)]) -> (String, usize) {
        let mut field = Field::of(text);
        for (code, modifiers) in keys {
            field.key(&KeyEvent::new(*code, *modifiers));
        }
        field.view(20)
    }

    #[test]
    fn keys_edit_the_line_as_in_a_shell() {
        use KeyCode::{Backspace, Char, Delete, Home, Left};
        let plain = |code| (code, KeyModifiers::NONE);
        let control = |c| (Char(c), KeyModifiers::CONTROL);
        for (text, keys, expected) in [
            ("ab", vec![plain(Left), plain(Char('x'))], ("axb", 2)),
            ("ab", vec![plain(Backspace)], ("a", 1)),
            ("e\u{301}", vec![plain(Backspace)], ("", 0)),
            ("ab", vec![plain(Home), plain(Delete)], ("b", 0)),
            ("one two", vec![control('w')], ("one ", 4)),
            ("one two", vec![control('a'), control('k')], ("", 0)),
            ("one two", vec![plain(Left), control('u')], ("o", 0)),
            ("a", vec![(Char('x'), KeyModifiers::ALT)], ("a", 1)),
        ] {
            assert_eq!(after(text, &keys), (expected.0.to_owned(), expected.1), "{text} {keys:?}");
        }
    }

    #[test]
    fn a_long_line_is_seen_around_its_cursor() {
        let field = Field::of("0123456789");
        assert_eq!(field.view(5), ("6789".to_owned(), 4));
        assert_eq!(field.view(20), ("0123456789".to_owned(), 10));
        assert_eq!(Field::of("水水水").view(4), ("水".to_owned(), 2));
    }

    #[test]
    fn a_paste_is_one_line_of_text_and_not_too_long() {
        let mut field = Field::of("a");
        field.paste("b\nc\u{1b}[31m\td\n");
        assert_eq!(field.text(), "ab c[31m d");
        field.paste(&"x".repeat(5_000));
        assert_eq!(field.text().len(), BYTES_MAX);
    }
}
