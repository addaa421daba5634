//! The filter of a list: words and `key:value`, one grammar for every list.
//!
//! `-` in front of a term negates it, `"…"` keeps spaces together, all terms have to hold:
//! `app:greenhouse error:refused age:>1h try:>=3 -script:warn`. What a key's value may be depends on its [`Kind`].
//! Parsing needs no clock: an age is compared with what a [`Fields`] says of itself.

use std::borrow::Cow;

use picloud_api::text;
use picloud_scripts_runtime::duration;

use crate::outbox::source::OutboxSourceKind;

/// Bytes of a filter.
pub const FILTER_BYTES_MAX: usize = 1_024;
/// Terms of a filter.
pub const FILTER_TERMS_MAX: usize = 32;

/// The keys of one list.
#[derive(Debug)]
pub struct Grammar {
    /// As it stands in an error: `the outbox`.
    pub list: &'static str,
    pub keys: &'static [(&'static str, Kind)],
}

/// What a key's value may be, and when it fits.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// The whole name, in any case; `*` stands for any characters.
    Name,
    /// How it begins, in any case.
    Prefix,
    /// What stands in it, in any case.
    Text,
    /// A whole number, or `>`, `>=`, `<`, `<=` and one.
    Number,
    /// The same with a duration: `>1h`.
    Age,
    /// One of these words; an item may have several, with spaces between them.
    OneOf(&'static [&'static str]),
}

const SOURCES: Kind = Kind::OneOf(&OutboxSourceKind::WORDS);

/// How runs end.
const OUTCOME: Kind = Kind::OneOf(&[
    "completed",
    "answered",
    "retried",
    "dead_lettered",
    "handler_failed",
    "abandoned",
    "released",
    "lease_lost",
]);
/// Why rows are abandoned.
const REASON: Kind = Kind::OneOf(&["caller_gone", "depth_limit", "owner_died", "app_deleted"]);

/// States of a row of the outbox.
pub const STATES: &[&str] = &["running", "due", "later", "retry", "paused", "behind"];
/// What a dead letter may be. Without `is:` a list shows what is open.
pub const LETTER_IS: &[&str] =
    &["open", "handler_failed", "replayed", "discarded", "resolved", "any"];

pub const OUTBOX: Grammar = Grammar {
    list: "the outbox",
    keys: &[
        ("app", Kind::Name),
        ("script", Kind::Name),
        ("source", SOURCES),
        ("origin", Kind::Name),
        ("trigger", Kind::Name),
        ("state", Kind::OneOf(STATES)),
        ("try", Kind::Number),
        ("age", Kind::Age),
        ("key", Kind::Name),
        ("error", Kind::Text),
        ("root", Kind::Prefix),
        ("id", Kind::Prefix),
    ],
};

pub const DEAD_LETTERS: Grammar = Grammar {
    list: "the dead letters",
    keys: &[
        ("is", Kind::OneOf(LETTER_IS)),
        ("app", Kind::Name),
        ("script", Kind::Name),
        ("version", Kind::Number),
        ("source", SOURCES),
        ("origin", Kind::Name),
        ("trigger", Kind::Name),
        ("error", Kind::Text),
        ("kind", Kind::Name),
        ("try", Kind::Number),
        ("age", Kind::Age),
        ("key", Kind::Name),
        ("root", Kind::Prefix),
        ("id", Kind::Prefix),
    ],
};

pub const ABANDONED: Grammar = Grammar {
    list: "the abandoned executions",
    keys: &[
        ("app", Kind::Name),
        ("script", Kind::Name),
        ("source", SOURCES),
        ("origin", Kind::Name),
        ("trigger", Kind::Name),
        ("reason", REASON),
        ("age", Kind::Age),
        ("root", Kind::Prefix),
        ("id", Kind::Prefix),
    ],
};

pub const EXECUTIONS: Grammar = Grammar {
    list: "the executions",
    keys: &[
        ("app", Kind::Name),
        ("script", Kind::Name),
        ("version", Kind::Number),
        ("source", SOURCES),
        ("origin", Kind::Name),
        ("trigger", Kind::Name),
        ("outcome", OUTCOME),
        ("error", Kind::Text),
        ("try", Kind::Number),
        ("age", Kind::Age),
        ("root", Kind::Prefix),
        ("id", Kind::Prefix),
    ],
};

/// Levels of log lines.
const LEVEL: Kind = Kind::OneOf(&["debug", "info", "warn", "error"]);

pub const LOG_LINES: Grammar = Grammar {
    list: "the log",
    keys: &[
        ("level", LEVEL),
        ("message", Kind::Text),
        ("app", Kind::Name),
        ("script", Kind::Name),
        ("version", Kind::Number),
        ("source", SOURCES),
        ("origin", Kind::Name),
        ("trigger", Kind::Name),
        ("try", Kind::Number),
        ("age", Kind::Age),
        ("root", Kind::Prefix),
        ("id", Kind::Prefix),
    ],
};

/// Events of all kinds: what an event has nothing of never fits.
pub const EVENTS: Grammar = Grammar {
    list: "the events",
    keys: &[
        ("kind", Kind::OneOf(&["outbox", "execution", "log", "stats"])),
        ("app", Kind::Name),
        ("script", Kind::Name),
        ("version", Kind::Number),
        ("source", SOURCES),
        ("origin", Kind::Name),
        ("trigger", Kind::Name),
        (
            "state",
            Kind::OneOf(&[
                "due",
                "later",
                "behind",
                "run",
                "retry",
                "done",
                "dead",
                "abandoned",
                "taken_back",
                "lost",
            ]),
        ),
        ("outcome", OUTCOME),
        ("reason", REASON),
        ("level", LEVEL),
        ("message", Kind::Text),
        ("error", Kind::Text),
        ("try", Kind::Number),
        ("age", Kind::Age),
        ("key", Kind::Name),
        ("root", Kind::Prefix),
        ("id", Kind::Prefix),
    ],
};

/// What a list says of one of its items.
pub trait Fields {
    /// The text under a key that is compared as text; `None` when the item has none.
    fn text(&self, key: &str) -> Option<Cow<'_, str>>;

    /// The number under a key that is compared as one; an age is in milliseconds.
    fn number(&self, key: &str) -> Option<i64>;
}

/// Keys in which a word without a key is looked for, as far as a list has them.
const WORDS_IN: [&str; 8] = ["app", "script", "origin", "key", "error", "reason", "message", "id"];

/// A filter that fits its list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    negated: bool,
    /// `None`: a word, looked for in all texts.
    key: Option<&'static str>,
    test: Test,
}

/// Texts are in lower case.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Contains(String),
    Begins(String),
    /// One of the words of the text.
    Has(String),
    /// Parts of a name between its `*`.
    Name(Vec<String>),
    Compare(Comparison, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// Why a text is no filter of a list.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FilterError {
    #[error("the filter has {0} bytes, at most {FILTER_BYTES_MAX} are allowed")]
    TooLong(usize),
    #[error("the filter has more than {FILTER_TERMS_MAX} terms")]
    TooManyTerms,
    #[error("in the filter of {list}: {what}")]
    UnknownKey { list: &'static str, what: String },
    #[error("in the filter, {key}: {what}")]
    BadValue { key: &'static str, what: String },
    #[error("in the filter, a \" is not closed")]
    OpenQuote,
    #[error("in the filter, a - negates nothing")]
    NothingNegated,
}

impl Grammar {
    /// Reads a filter of this list; one without terms lets everything through.
    pub fn parse(&self, text: &str) -> Result<Filter, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong(text.len()));
        }
        let mut terms = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            if terms.len() == FILTER_TERMS_MAX {
                return Err(FilterError::TooManyTerms);
            }
            let (term, left) = self.term(rest)?;
            terms.push(term);
            rest = left.trim_start();
        }
        Ok(Filter { terms })
    }

    /// The first term of a text that is not empty, and what stands behind it.
    fn term<'a>(&self, text: &'a str) -> Result<(Term, &'a str), FilterError> {
        let (negated, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if text.is_empty() || text.starts_with(char::is_whitespace) {
            return Err(FilterError::NothingNegated);
        }
        let end = text.find(|c: char| c == ':' || c == '"' || c.is_whitespace());
        let named = end.filter(|end| text[*end..].starts_with(':') && *end > 0);
        let Some(end) = named else {
            let (word, rest) = value(text)?;
            let test = Test::Contains(word.to_lowercase());
            return Ok((Term { negated, key: None, test }, rest));
        };
        let (key, kind) = self.key(&text[..end])?;
        let (value, rest) = value(&text[end + 1..])?;
        let test = kind.test(value.trim()).map_err(|what| FilterError::BadValue { key, what })?;
        Ok((Term { negated, key: Some(key), test }, rest))
    }

    fn key(&self, word: &str) -> Result<(&'static str, Kind), FilterError> {
        let lower = word.to_lowercase();
        let found = self.keys.iter().find(|(key, _)| *key == lower);
        found.copied().ok_or_else(|| FilterError::UnknownKey {
            list: self.list,
            what: text::unknown_key(word, self.keys.iter().map(|(key, _)| *key)),
        })
    }
}

/// A value, in quotes or up to the next space, and what stands behind it.
fn value(text: &str) -> Result<(String, &str), FilterError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    Err(FilterError::OpenQuote)
}

impl Kind {
    fn test(self, value: &str) -> Result<Test, String> {
        if value.is_empty() {
            return Err("a value is missing".to_owned());
        }
        match self {
            Self::Name => Ok(name(value)),
            Self::Prefix => Ok(Test::Begins(value.to_lowercase())),
            Self::Text => Ok(Test::Contains(value.to_lowercase())),
            Self::Number => {
                let (comparison, number) = comparison(value);
                let number = number
                    .parse()
                    .map_err(|_| format!("\"{number}\" is no whole number; write 3 or >=3"))?;
                Ok(Test::Compare(comparison, number))
            }
            Self::Age => {
                let (comparison, age) = comparison(value);
                let age = duration::parse_ms(age).map_err(|error| error.to_string())?;
                Ok(Test::Compare(comparison, age))
            }
            Self::OneOf(words) => {
                let lower = value.to_lowercase();
                if words.contains(&&*lower) {
                    return Ok(Test::Has(lower));
                }
                let meant = text::nearest(&lower, words.iter().copied());
                Err(meant.map_or_else(
                    || format!("\"{value}\" is none of {}", words.join(", ")),
                    |meant| format!("\"{value}\" is unknown; did you mean {meant}?"),
                ))
            }
        }
    }
}

fn name(value: &str) -> Test {
    Test::Name(value.to_lowercase().split('*').map(ToOwned::to_owned).collect())
}

fn comparison(value: &str) -> (Comparison, &str) {
    for (sign, comparison) in [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        (">", Comparison::More),
        ("<", Comparison::Less),
        ("=", Comparison::Equal),
    ] {
        if let Some(rest) = value.strip_prefix(sign) {
            return (comparison, rest.trim_start());
        }
    }
    (Comparison::Equal, value)
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether an item passes: every term holds.
    pub fn passes(&self, item: &dyn Fields) -> bool {
        self.terms.iter().all(|term| term.holds(item) != term.negated)
    }

    /// Whether any term, also a negated one, is about this key.
    pub fn names(&self, key: &str) -> bool {
        self.terms.iter().any(|term| term.key == Some(key))
    }

    /// The one name that an item must have under a key, so that an index may find it.
    pub fn only(&self, key: &str) -> Option<&str> {
        self.terms.iter().find_map(|term| match &term.test {
            Test::Name(parts) if term.key == Some(key) && !term.negated => match &parts[..] {
                [whole] => Some(whole.as_str()),
                _ => None,
            },
            Test::Has(word) if term.key == Some(key) && !term.negated => Some(word.as_str()),
            Test::Name(_)
            | Test::Has(_)
            | Test::Contains(_)
            | Test::Begins(_)
            | Test::Compare(..) => None,
        })
    }
}

impl Term {
    fn holds(&self, item: &dyn Fields) -> bool {
        let Some(key) = self.key else {
            return WORDS_IN.iter().any(|key| {
                item.text(key).is_some_and(|text| self.test.fits_text(&text.to_lowercase()))
            });
        };
        match &self.test {
            Test::Compare(comparison, than) => {
                item.number(key).is_some_and(|number| match comparison {
                    Comparison::Less => number < *than,
                    Comparison::AtMost => number <= *than,
                    Comparison::Equal => number == *than,
                    Comparison::AtLeast => number >= *than,
                    Comparison::More => number > *than,
                })
            }
            Test::Contains(_) | Test::Begins(_) | Test::Has(_) | Test::Name(_) => {
                item.text(key).is_some_and(|text| self.test.fits_text(&text.to_lowercase()))
            }
        }
    }
}

impl Test {
    /// A text in lower case.
    fn fits_text(&self, text: &str) -> bool {
        match self {
            Self::Contains(part) => text.contains(part.as_str()),
            Self::Begins(start) => text.starts_with(start.as_str()),
            Self::Has(word) => text.split(' ').any(|one| one == word),
            Self::Name(parts) => fits_name(parts, text),
            Self::Compare(..) => false,
        }
    }
}

/// Each part is looked for behind the one before; the first and the last stand at the ends.
fn fits_name(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|whole| whole == text);
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests;
