//! The symbols of the console, in the two ways in which terminals can show them, and the words that they stand for.

use crate::plot;
use crate::text::Role;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    Unicode,
    Ascii,
}

/// What the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// What the terminal can show.
    #[default]
    Fitting,
    Ascii,
}

/// What of the environment and the command line tells the character set; variables as they are set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Locale {
    pub lc_all: Option<String>,
    pub lc_ctype: Option<String>,
    pub lang: Option<String>,
    pub term: Option<String>,
    pub wanted: Wanted,
}

impl Charset {
    /// Unicode, unless it is not wanted, the locale is none of UTF-8 or one in which our symbols are two columns wide,
    /// or the terminal has few glyphs.
    pub fn of(locale: &Locale) -> Charset {
        let variables = [&locale.lc_all, &locale.lc_ctype, &locale.lang];
        let set = variables.into_iter().flatten().find(|value| !value.is_empty());
        let name = set.map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        let (language, rest) = name.split_once('.').unwrap_or((&name, ""));
        let codeset = rest.split('@').next().unwrap_or_default();
        let language = language.split(['_', '@']).next().unwrap_or_default();
        let term = locale.term.as_deref().unwrap_or_default();

        let is_utf8 = matches!(codeset, "utf-8" | "utf8");
        let is_wide = matches!(language, "ja" | "ko" | "zh");
        let has_few_glyphs = term == "linux" || term.starts_with("vt");
        match locale.wanted {
            Wanted::Fitting if is_utf8 && !is_wide && !has_few_glyphs => Charset::Unicode,
            Wanted::Fitting | Wanted::Ascii => Charset::Ascii,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    Ok,
    Failed,
    /// A dead letter, and whatever else waits for somebody.
    Dead,
    Running,
    Due,
    Retry,
    Later,
    Off,
    /// An entry that waits behind another one with its key.
    Behind,
    /// More of the same: what is not shown.
    More,
    Cursor,
    Mark,
    Live,
    Broken,
    Rule,
    /// Leads to something.
    Into,
}

impl Symbol {
    pub const ALL: [Symbol; 16] = [
        Symbol::Ok,
        Symbol::Failed,
        Symbol::Dead,
        Symbol::Running,
        Symbol::Due,
        Symbol::Retry,
        Symbol::Later,
        Symbol::Off,
        Symbol::Behind,
        Symbol::More,
        Symbol::Cursor,
        Symbol::Mark,
        Symbol::Live,
        Symbol::Broken,
        Symbol::Rule,
        Symbol::Into,
    ];

    /// One column wide.
    pub const fn text(self, charset: Charset) -> &'static str {
        let (unicode, ascii) = match self {
            Symbol::Ok => ("✓", "+"),
            Symbol::Failed | Symbol::Broken => ("✗", "x"),
            Symbol::Dead => ("▲", "!"),
            Symbol::Running => ("»", ">"),
            Symbol::Due | Symbol::Live => ("●", "*"),
            Symbol::Retry => ("↻", "~"),
            Symbol::Later => ("◷", "@"),
            Symbol::Off => ("■", "-"),
            Symbol::Behind => ("⋮", ":"),
            Symbol::More => ("┆", ":"),
            Symbol::Cursor => ("▸", ">"),
            Symbol::Mark => ("•", "*"),
            Symbol::Rule => ("─", "-"),
            Symbol::Into => ("›", ">"),
        };
        match charset {
            Charset::Unicode => unicode,
            Charset::Ascii => ascii,
        }
    }
}

/// What stands for a symbol, or for a bar of a plot, on a terminal that shows ASCII only.
pub fn plain(c: char) -> Option<&'static str> {
    let is_meant = |symbol: &Symbol| symbol.text(Charset::Unicode).chars().eq([c]);
    let symbol = Symbol::ALL.into_iter().find(is_meant);
    symbol.map(|symbol| symbol.text(Charset::Ascii)).or_else(|| plot::plain(c))
}

/// Symbol and role of a state, an outcome or a finding, in the words of the API. A word of a later version is shown as
/// something that is simply there.
pub fn state(state: &str) -> (Symbol, Role) {
    match state {
        "run" | "running" => (Symbol::Running, Role::Running),
        "later" => (Symbol::Later, Role::Later),
        "retry" | "retried" => (Symbol::Retry, Role::Warn),
        "behind" => (Symbol::Behind, Role::Dim),
        "paused" | "released" | "taken_back" | "discarded" | "stopping" => (Symbol::Off, Role::Dim),
        "done" | "completed" | "answered" | "ok" | "replayed" => (Symbol::Ok, Role::Ok),
        "dead" | "dead_lettered" => (Symbol::Dead, Role::Bad),
        "warn" | "handler_failed" | "abandoned" => (Symbol::Dead, Role::Warn),
        "failed" | "bad" | "lost" | "lease_lost" => (Symbol::Failed, Role::Bad),
        // Also `due` and `open`.
        _ => (Symbol::Due, Role::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::width;

    fn charset(lc_all: &str, lc_ctype: &str, lang: &str, term: &str) -> Charset {
        let set = |value: &str| (value != "unset").then(|| value.to_owned());
        Charset::of(&Locale {
            lc_all: set(lc_all),
            lc_ctype: set(lc_ctype),
            lang: set(lang),
            term: set(term),
            wanted: Wanted::Fitting,
        })
    }

    #[test]
    fn a_terminal_gets_what_its_locale_can_show() {
        use Charset::{Ascii, Unicode};
        for (lc_all, lc_ctype, lang, term, expected) in [
            ("unset", "unset", "de_DE.UTF-8", "xterm-256color", Unicode),
            ("unset", "unset", "en_GB.utf8", "tmux", Unicode),
            ("unset", "unset", "C.UTF-8", "unset", Unicode),
            ("unset", "unset", "de_DE.UTF-8@euro", "xterm", Unicode),
            ("unset", "unset", "unset", "xterm", Ascii),
            ("unset", "unset", "C", "xterm", Ascii),
            ("unset", "unset", "de_DE", "xterm", Ascii),
            ("unset", "unset", "de_DE@utf8", "xterm", Ascii),
            ("unset", "unset", "de_DE.ISO-8859-1", "xterm", Ascii),
            ("unset", "unset", "ja_JP.UTF-8", "xterm", Ascii),
            ("unset", "unset", "ko_KR.UTF-8", "xterm", Ascii),
            ("unset", "unset", "zh_TW.UTF-8", "xterm", Ascii),
            ("unset", "unset", "de_DE.UTF-8", "linux", Ascii),
            ("unset", "unset", "de_DE.UTF-8", "vt220", Ascii),
            ("C", "unset", "de_DE.UTF-8", "xterm", Ascii),
            ("", "", "de_DE.UTF-8", "xterm", Unicode),
            ("en_GB.UTF-8", "C", "C", "xterm", Unicode),
            ("unset", "C.UTF-8", "ja_JP.UTF-8", "xterm", Unicode),
            ("unset", "POSIX", "de_DE.UTF-8", "xterm", Ascii),
        ] {
            let found = charset(lc_all, lc_ctype, lang, term);
            assert_eq!(found, expected, "{lc_all} {lc_ctype} {lang} {term}");
        }
    }

    #[test]
    fn ascii_may_be_asked_for() {
        let locale = Locale { lang: Some("de_DE.UTF-8".to_owned()), ..Locale::default() };
        let asked = Locale { wanted: Wanted::Ascii, ..locale.clone() };
        assert_eq!(Charset::of(&locale), Charset::Unicode);
        assert_eq!(Charset::of(&asked), Charset::Ascii);
    }

    #[test]
    fn symbols_are_one_column_wide_and_no_emoji_or_braille() {
        for symbol in Symbol::ALL {
            let unicode = symbol.text(Charset::Unicode);
            let c = unicode.chars().next().expect("a symbol is a character");
            assert_eq!((unicode.chars().count(), width(unicode)), (1, 1), "{symbol:?}");
            assert!(!matches!(u32::from(c), 0x2800..=0x28FF | 0x1F000..), "{symbol:?}");
            assert!(!matches!(c, '▶' | '◀' | '✔' | '✖' | '☑' | '⚠'), "{symbol:?}");
            let ascii = symbol.text(Charset::Ascii);
            assert!(ascii.is_ascii() && ascii.len() == 1, "{symbol:?}");
            assert_eq!(plain(c), Some(ascii), "{symbol:?}");
        }
        assert_eq!(plain('a'), None);
        assert_eq!(plain('水'), None);
    }

    #[test]
    fn every_word_of_the_api_has_its_symbol() {
        for (words, expected) in [
            (&["run", "running"][..], (Symbol::Running, Role::Running)),
            (&["due", "open", "what is this", ""], (Symbol::Due, Role::Text)),
            (&["later"], (Symbol::Later, Role::Later)),
            (&["retry", "retried"], (Symbol::Retry, Role::Warn)),
            (&["behind"], (Symbol::Behind, Role::Dim)),
            (
                &["paused", "released", "taken_back", "discarded", "stopping"],
                (Symbol::Off, Role::Dim),
            ),
            (&["done", "completed", "answered", "ok", "replayed"], (Symbol::Ok, Role::Ok)),
            (&["dead", "dead_lettered"], (Symbol::Dead, Role::Bad)),
            (&["warn", "handler_failed", "abandoned"], (Symbol::Dead, Role::Warn)),
            (&["failed", "bad", "lost", "lease_lost"], (Symbol::Failed, Role::Bad)),
        ] {
            for word in words {
                assert_eq!(state(word), expected, "{word}");
            }
        }
    }
}
