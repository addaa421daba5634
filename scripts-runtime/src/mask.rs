//! What must not be seen of what a run knows: the values of the secrets that it read.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::json::write;

/// The shortest value that can be a secret: a shorter one stands in too many texts by chance.
pub const SECRET_CHARACTERS_MIN: usize = 4;

/// What stands in the place of a secret.
pub const HIDDEN: &str = "***";

/// Bytes of a longer value that are enough to know it by: a text may have been cut within it.
const KNOWN_BY_BYTES: usize = 16;

/// The secrets of one run. A value is known as it is, and as it is written within JSON or quotes; what a script makes of
/// it (a hash, base64) is not.
#[derive(Clone, Default, PartialEq)]
pub struct Mask {
    values: Vec<Arc<str>>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask of {} values", self.values.len())
    }
}

impl Mask {
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Hides a value from now on.
    pub fn add(&mut self, value: &str) {
        let mut json = String::new();
        write::quote(value, &mut json);
        let debug = format!("{value:?}");
        let inner = |quoted: &str| Arc::from(&quoted[1..quoted.len() - 1]);
        for known in [Arc::from(value), inner(&json), inner(&debug)] {
            if value.chars().count() >= SECRET_CHARACTERS_MIN && !self.values.contains(&known) {
                self.values.push(known);
            }
        }
    }

    /// The text with `***` for each secret in it.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.hide_begin(text, text.len())
    }

    /// The same for the first so many bytes of a text: a secret that begins there is hidden, what begins later is left
    /// out. So the work is bounded, however long the text is.
    pub fn hide_begin<'a>(&self, text: &'a str, bytes_max: usize) -> Cow<'a, str> {
        let end = text.floor_char_boundary(bytes_max);
        let mut found = self.places(text, end);
        if found.is_empty() {
            return Cow::Borrowed(&text[..end]);
        }
        found.sort_unstable();
        let mut shown = String::with_capacity(end);
        let mut at = 0;
        for (from, to) in found {
            if from >= at {
                shown.push_str(&text[at..from]);
                shown.push_str(HIDDEN);
            }
            at = at.max(to);
        }
        shown.push_str(text.get(at..end).unwrap_or_default());
        Cow::Owned(shown)
    }

    /// Where secrets stand that begin before `end`; they may overlap.
    fn places(&self, text: &str, end: usize) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for value in &self.values {
            let known_by = &value[..value.floor_char_boundary(KNOWN_BY_BYTES.min(value.len()))];
            let window = &text[..text.floor_char_boundary(end.saturating_add(known_by.len()))];
            let mut from = 0;
            while let Some(place) = window[from..].find(known_by) {
                let start = from + place;
                if start >= end {
                    break;
                }
                let same = |(a, b): &(char, char)| a == b;
                let rest = text[start..].chars().zip(value.chars()).take_while(same);
                let length: usize = rest.map(|(c, _)| c.len_utf8()).sum();
                found.push((start, start + length));
                // It may stand there once more, a character further on.
                from = start + window[start..].chars().next().map_or(1, char::len_utf8);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str]) -> Mask {
        let mut mask = Mask::default();
        values.iter().for_each(|value| mask.add(value));
        mask
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        for (values, text, shown) in [
            (&["hunter2"][..], "the key hunter2, again: hunter2", "the key ***, again: ***"),
            (&["hunter2"], "hunter3", "hunter3"),
            (&["abcd", "abcdef"], "xabcdefx", "x***x"),
            (&["aaaa"], "aaaaaaa", "***"),
            (&["abcd", "cdef"], "-abcdef-", "-***-"),
            (&["a\"b\\c"], r#"{"k":"a\"b\\c"}"#, r#"{"k":"***"}"#),
            (&["grün€"], "xgrün€x", "x***x"),
            (&["0123456789abcdefghij"], "cut: 0123456789abcdefg…", "cut: ***…"),
            (&["0123456789abcdefghij"], "cut: 0123456789…", "cut: 0123456789…"),
        ] {
            assert_eq!(mask(values).hide(text), shown, "{values:?}");
        }
    }

    #[test]
    fn a_secret_across_the_end_of_what_is_shown_is_hidden() {
        let mask = mask(&["hunter2"]);
        assert_eq!(mask.hide_begin("key hunter2 and more", 6), "key ***");
        assert_eq!(mask.hide_begin("key hunter2 and more", 4), "key ");
        assert_eq!(mask.hide_begin("key hunter2 and more", 15), "key *** and");
    }

    #[test]
    fn what_is_too_short_hides_nothing_and_debug_shows_nothing() {
        assert!(mask(&["abc"]).is_empty());
        assert_eq!(format!("{:?}", mask(&["hunter2"])), "Mask of 1 values");
    }
}
