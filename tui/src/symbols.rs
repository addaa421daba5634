//! The symbols beside words, for terminals that have them and for those that do not.

use crate::text::Role;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    Unicode,
    Ascii,
}

/// What the environment says of languages and of the terminal.
#[derive(Clone, Debug, Default)]
pub struct Locale {
    pub lc_all: Option<String>,
    pub lc_ctype: Option<String>,
    pub lang: Option<String>,
    pub term: Option<String>,
    pub wanted: Wanted,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// What fits the terminal.
    #[default]
    Fitting,
    Ascii,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    Ok,
    Failed,
    Dead,
    Running,
    Due,
    Retry,
    Later,
    Off,
    Behind,
    Cursor,
    Mark,
    Live,
    Broken,
    Rule,
    /// Leads to something.
    Into,
}

impl Charset {
    /// Letters where the terminal has no symbols, or shows them in a width that nobody knows.
    pub fn of(locale: &Locale) -> Charset {
        let named = [&locale.lc_all, &locale.lc_ctype, &locale.lang];
        let name = named.into_iter().flatten().find(|name| !name.is_empty());
        let name = name.map(|name| name.to_lowercase()).unwrap_or_default();
        let term = locale.term.as_deref().unwrap_or_default();
        let is_utf8 = name.contains("utf-8") || name.contains("utf8");
        // Their terminals draw some symbols two columns wide.
        let is_wide = ["ja", "ko", "zh"].iter().any(|language| name.starts_with(language));
        let is_console = term == "linux" || term.starts_with("vt");
        if locale.wanted == Wanted::Ascii || !is_utf8 || is_wide || is_console {
            Charset::Ascii
        } else {
            Charset::Unicode
        }
    }
}

impl Symbol {
    pub fn text(self, charset: Charset) -> &'static str {
        let (unicode, ascii) = match self {
            Self::Ok => ("✓", "+"),
            Self::Failed => ("✗", "x"),
            Self::Dead => ("▲", "!"),
            Self::Running => ("»", ">"),
            Self::Due => ("●", "*"),
            Self::Retry => ("↻", "~"),
            Self::Later => ("◷", "@"),
            Self::Off => ("■", "-"),
            Self::Behind => ("⋮", ":"),
            Self::Cursor => ("▸", ">"),
            Self::Mark => ("•", "*"),
            Self::Live => ("●", "*"),
            Self::Broken => ("✗", "x"),
            Self::Rule => ("─", "-"),
            Self::Into => ("›", ">"),
        };
        match charset {
            Charset::Unicode => unicode,
            Charset::Ascii => ascii,
        }
    }
}

/// How a word of the API's is shown. Words that are not known yet are shown as they are.
pub fn state(word: &str) -> (Symbol, Role) {
    match word {
        "run" | "running" => (Symbol::Running, Role::Running),
        "due" | "open" => (Symbol::Due, Role::Text),
        "retry" | "retried" => (Symbol::Retry, Role::Warn),
        "later" => (Symbol::Later, Role::Later),
        "behind" => (Symbol::Behind, Role::Dim),
        "paused" | "released" | "taken_back" | "discarded" | "stopping" => (Symbol::Off, Role::Dim),
        "done" | "completed" | "answered" | "ok" | "replayed" => (Symbol::Ok, Role::Ok),
        "dead" | "dead_lettered" => (Symbol::Dead, Role::Bad),
        "failed" | "bad" | "lost" | "lease_lost" => (Symbol::Failed, Role::Bad),
        "warn" | "handler_failed" | "abandoned" => (Symbol::Dead, Role::Warn),
        _ => (Symbol::Due, Role::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_used_where_the_terminal_surely_has_them() {
        let locale = |lang: &str, term: &str| Locale {
            lang: Some(lang.to_owned()),
            term: Some(term.to_owned()),
            ..Locale::default()
        };
        for (lang, term, expected) in [
            ("en_GB.UTF-8", "xterm-256color", Charset::Unicode),
            ("C.utf8", "screen", Charset::Unicode),
            ("C", "xterm", Charset::Ascii),
            ("", "xterm", Charset::Ascii),
            ("ja_JP.UTF-8", "xterm", Charset::Ascii),
            ("de_DE.UTF-8", "linux", Charset::Ascii),
            ("de_DE.UTF-8", "vt220", Charset::Ascii),
        ] {
            assert_eq!(Charset::of(&locale(lang, term)), expected, "{lang} {term}");
        }
        let stronger = Locale { lc_all: Some("C".to_owned()), ..locale("de_DE.UTF-8", "xterm") };
        assert_eq!(Charset::of(&stronger), Charset::Ascii);
        let asked = Locale { wanted: Wanted::Ascii, ..locale("de_DE.UTF-8", "xterm") };
        assert_eq!(Charset::of(&asked), Charset::Ascii);
    }

    #[test]
    fn every_symbol_is_one_column_wide() {
        for symbol in [
            Symbol::Ok,
            Symbol::Failed,
            Symbol::Dead,
            Symbol::Running,
            Symbol::Due,
            Symbol::Retry,
            Symbol::Later,
            Symbol::Off,
            Symbol::Behind,
            Symbol::Cursor,
            Symbol::Mark,
            Symbol::Live,
            Symbol::Broken,
            Symbol::Rule,
            Symbol::Into,
        ] {
            assert_eq!(crate::text::width(symbol.text(Charset::Unicode)), 1, "{symbol:?}");
            assert!(symbol.text(Charset::Ascii).is_ascii());
        }
    }
}
