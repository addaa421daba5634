//! The palette: every screen, object and action by name, with its key.

use crate::item::Item;
use crate::keys::{Command, KEYS};
use crate::listing::Listing;
use crate::model::{Model, selected};
use crate::screen::Screen;

/// Entries that are shown at most.
pub const FOUND_MAX: usize = 100;

/// Letters that may lie between those that were typed.
const SKIPPED_MAX: usize = 12;

/// Something to go to or to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub name: String,
    pub key: &'static str,
    pub does: Does,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Does {
    Command(Command),
    /// Shows one app, or all.
    Scope(Option<String>),
    /// Opens a list of the system screen.
    Door(Listing),
    /// Goes to a row of a screen.
    Row(Screen, String),
}

/// The entries that have all letters of what was typed, in order; those that fit best first.
pub fn found(model: &Model, typed: &str) -> Vec<Entry> {
    let typed = typed.trim().to_lowercase();
    let mut found: Vec<(usize, usize, Entry)> = all(model)
        .into_iter()
        .enumerate()
        .filter_map(|(n, entry)| Some((distance(&entry.name, &typed)?, n, entry)))
        .collect();
    found.sort_by_key(|(distance, n, _)| (*distance, *n));
    found.into_iter().take(FOUND_MAX).map(|(_, _, entry)| entry).collect()
}

fn all(model: &Model) -> Vec<Entry> {
    let verbs = crate::verbs::of(&model.level().listing).iter().map(|verb| Entry {
        name: match selected(model.level()) {
            Some(item) => format!("{} {}", verb.label, item.name()),
            None => verb.label.to_owned(),
        },
        key: crate::keys::key_of(verb.command),
        does: Does::Command(verb.command),
    });
    let verbs: Vec<Entry> = verbs.collect();
    let is_verb = |command: Command| {
        crate::verbs::of(&model.level().listing).iter().any(|verb| verb.command == command)
    };
    let general = KEYS.iter().filter(|binding| !is_verb(binding.command)).map(|binding| Entry {
        name: binding.does.to_owned(),
        key: binding.shown,
        does: Does::Command(binding.command),
    });
    let scopes = model.slugs.iter().flatten().cloned().map(|slug| Entry {
        name: format!("app {slug}"),
        key: "a",
        does: Does::Scope(Some(slug)),
    });
    let everything = Entry { name: "all apps".to_owned(), key: "a", does: Does::Scope(None) };
    let doors = crate::doors::all().into_iter().filter_map(|item| match item {
        Item::Door(door) => {
            let name = format!("{}: {}", door.name, door.says);
            Some(Entry { name, key: "0", does: Does::Door(door.to) })
        }
        _ => None,
    });
    let scripts = model.stats.iter().flat_map(|stats| &stats.scripts).filter_map(|script| {
        let id = format!("{}/{}", script.app.as_deref()?, script.script.as_deref()?);
        Some(Entry { name: format!("script {id}"), key: "6", does: Does::Row(Screen::Scripts, id) })
    });
    let named = [Screen::Triggers, Screen::Scripts, Screen::Data].into_iter().flat_map(|screen| {
        let rows = model.levels[&screen].first().map(|level| &level.rows);
        rows.into_iter().flatten().map(move |item| Entry {
            name: format!("{} {}", screen.name().to_lowercase(), item.id()),
            key: "",
            does: Does::Row(screen, item.id()),
        })
    });
    verbs
        .into_iter()
        .chain(general)
        .chain(scopes)
        .chain([everything])
        .chain(doors)
        .chain(scripts)
        .chain(named)
        .collect()
}

/// How far the letters lie apart; `None` when they are not there. A whole word is nearest.
fn distance(name: &str, typed: &str) -> Option<usize> {
    let name = name.to_lowercase();
    if let Some(at) = name.find(typed) {
        let begins_word = at == 0 || !name.as_bytes()[at - 1].is_ascii_alphanumeric();
        return Some(if begins_word { 0 } else { 1 });
    }
    let mut rest = name.chars();
    let mut skipped = 2;
    for letter in typed.chars().filter(|c| !c.is_whitespace()) {
        skipped += rest.by_ref().position(|c| c == letter)?;
    }
    (skipped <= SKIPPED_MAX).then_some(skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_found_as_a_word_before_it_is_found_as_letters() {
        assert_eq!(distance("Dead letters", "dead"), Some(0));
        assert_eq!(distance("Dead letters", "letters"), Some(0));
        assert_eq!(distance("Dead letters", "etters"), Some(1));
        assert!(distance("Dead letters", "dl") > Some(1));
        assert_eq!(distance("Dead letters", "xyz"), None);
        assert_eq!(distance("anything", ""), Some(0));
    }
}
