//! What lies over the screen: help, palette, scope, filter, prompts, questions.

use ratatui::crossterm::event::{KeyCode, KeyEvent};

use crate::effect::Effect;
use crate::field::{Field, Taken};
use crate::keys::{self, Command};
use crate::listing::Filtered;
use crate::model::{Asked, Confirm, Gate, Model, Overlay};
use crate::palette;
use crate::screen::Screen;
use crate::text::Role;
use crate::update::{Out, act, draft, list, note, refresh, run, upkeep};

pub(super) fn open(model: &mut Model, command: Command) {
    let overlay = match command {
        Command::Help => Overlay::Help { scroll: 0 },
        Command::Palette => Overlay::Palette { field: Field::of(""), at: 0 },
        Command::Scope => {
            let at =
                model.slugs.iter().flatten().position(|slug| Some(slug) == model.scope.as_ref());
            Overlay::Scope { at: at.map_or(0, |at| at + 1) }
        }
        Command::CopyAs => {
            let choices = crate::plain::choices(model);
            if choices.is_empty() {
                return note(model, Role::Dim, "there is nothing to copy here");
            }
            Overlay::CopyAs { choices }
        }
        _ => {
            let filter = model.level().filter.clone();
            Overlay::Filter { field: Field::of(&filter), before: filter }
        }
    };
    model.overlay = Some(overlay);
}

/// Text that was pasted. Outside of a field it is dropped: it might be anything.
pub(super) fn paste(model: &mut Model, text: &str) {
    match &mut model.overlay {
        Some(
            Overlay::Palette { field, .. }
            | Overlay::Filter { field, .. }
            | Overlay::Prompt { field, .. },
        ) => field.paste(text),
        Some(Overlay::Confirm(confirm)) => {
            if let Gate::Typed { field, .. } = &mut confirm.gate {
                field.paste(text);
            }
        }
        Some(Overlay::Help { .. } | Overlay::Scope { .. } | Overlay::CopyAs { .. }) | None => {
            note(model, Role::Dim, "a paste is taken in fields only");
        }
    }
    typed(model);
}

pub(super) fn key(model: &mut Model, key: &KeyEvent, out: &mut Out) {
    let Some(overlay) = model.overlay.take() else { return };
    let is_escape = key.code == KeyCode::Esc;
    match overlay {
        Overlay::Help { scroll } => help(model, key, scroll),
        Overlay::Palette { field, at } => palette_key(model, key, (field, at), out),
        Overlay::Scope { at } => scope(model, key, at, out),
        Overlay::Filter { field, before } => filter(model, key, field, before),
        Overlay::Prompt { mut field, question, then } => match key.code {
            KeyCode::Esc => {}
            KeyCode::Enter => answered(model, field.text().trim(), then, out),
            _ => {
                let _moved = field.key(key);
                model.overlay = Some(Overlay::Prompt { field, question, then });
            }
        },
        Overlay::Confirm(confirm) if is_escape => {
            note(model, Role::Text, format!("not done: {}", confirm.act.label));
        }
        Overlay::Confirm(confirm) => confirm_key(model, key, *confirm, out),
        Overlay::CopyAs { choices } => {
            let chosen = |(c, _, _): &&(char, &str, String)| key.code == KeyCode::Char(*c);
            match choices.iter().find(chosen) {
                Some((_, _, text)) => out.push(Effect::Copy(text.clone())),
                None if is_escape => {}
                None => model.overlay = Some(Overlay::CopyAs { choices }),
            }
        }
    }
}

fn help(model: &mut Model, key: &KeyEvent, scroll: usize) {
    let rows = usize::from(model.size.1);
    let scroll = match keys::command(key) {
        Some(Command::Back | Command::Help | Command::Quit) => return,
        Some(Command::Down) => scroll + 1,
        Some(Command::Up) => scroll.saturating_sub(1),
        Some(Command::PageDown | Command::Pause) => scroll + rows / 2,
        Some(Command::PageUp) => scroll.saturating_sub(rows / 2),
        Some(Command::First) => 0,
        _ => scroll,
    };
    let last = crate::view::help_lines(model).len().saturating_sub(rows / 2);
    model.overlay = Some(Overlay::Help { scroll: scroll.min(last) });
}

fn palette_key(model: &mut Model, key: &KeyEvent, (mut field, at): (Field, usize), out: &mut Out) {
    let found = palette::found(model, field.text());
    let at = match key.code {
        KeyCode::Esc => return,
        KeyCode::Enter => {
            let Some(entry) = found.into_iter().nth(at) else { return };
            return obey(model, entry.does, out);
        }
        KeyCode::Down | KeyCode::Tab => (at + 1).min(found.len().saturating_sub(1)),
        KeyCode::Up | KeyCode::BackTab => at.saturating_sub(1),
        _ => match field.key(key) {
            Taken::Yes => 0,
            Taken::No => at,
        },
    };
    model.overlay = Some(Overlay::Palette { field, at });
}

fn obey(model: &mut Model, does: palette::Does, out: &mut Out) {
    match does {
        palette::Does::Command(command) => run(model, command, out),
        palette::Does::Scope(app) => to_scope(model, app, out),
        palette::Does::Door(listing) => {
            if model.screen != Screen::System {
                run(model, Command::Go(Screen::System), out);
            }
            super::push(model, listing, String::new());
        }
        palette::Does::Row(screen, id) => {
            if model.screen != screen {
                run(model, Command::Go(screen), out);
            }
            let level = model.level_mut();
            level.filter.clear();
            level.cursor = Some(id);
        }
    }
}

fn scope(model: &mut Model, key: &KeyEvent, at: usize, out: &mut Out) {
    let slugs = model.slugs.clone().unwrap_or_default();
    let at = match keys::command(key) {
        Some(Command::Back | Command::Quit) => return,
        Some(Command::Open) => {
            let app = at.checked_sub(1).and_then(|at| slugs.into_iter().nth(at));
            return to_scope(model, app, out);
        }
        Some(Command::Down | Command::Scope) => (at + 1) % (slugs.len() + 1),
        Some(Command::Up) => at.checked_sub(1).unwrap_or(slugs.len()),
        _ => at,
    };
    model.overlay = Some(Overlay::Scope { at });
}

/// Shows one app, or all.
pub(super) fn to_scope(model: &mut Model, app: Option<String>, out: &mut Out) {
    if model.scope == app {
        return;
    }
    if model.has_drafts() {
        return note(model, Role::Warn, list::DRAFTED);
    }
    model.scope = app;
    for levels in model.levels.values_mut() {
        levels.truncate(1);
        for level in levels {
            level.rows.clear();
            refresh(level);
        }
    }
    model.recent.clear();
    upkeep::close_stream(model, out);
    upkeep::connect(model, out);
}

fn filter(model: &mut Model, key: &KeyEvent, mut field: Field, before: String) {
    match key.code {
        KeyCode::Esc => {
            model.level_mut().filter = before;
        }
        KeyCode::Enter => {
            let level = model.level_mut();
            field.text().trim().clone_into(&mut level.filter);
            if level.listing.filtered() == Filtered::ByDaemon && level.filter != before {
                // What was there did not have to fit.
                level.rows.clear();
                refresh(level);
            }
        }
        _ => {
            let _moved = field.key(key);
            model.overlay = Some(Overlay::Filter { field, before });
            typed(model);
        }
    }
}

/// What the console filters itself is filtered while it is typed.
fn typed(model: &mut Model) {
    let Some(Overlay::Filter { field, .. }) = &model.overlay else { return };
    let text = field.text().trim().to_owned();
    let level = model.level_mut();
    if level.listing.filtered() == Filtered::ByConsole {
        level.filter = text;
    }
}

fn confirm_key(model: &mut Model, key: &KeyEvent, mut confirm: Confirm, out: &mut Out) {
    match &mut confirm.gate {
        Gate::Yes if key.code == KeyCode::Char('y') => {
            return act::go_ahead(model, confirm.act, out);
        }
        Gate::Yes => {
            return note(model, Role::Text, format!("not done: {}", confirm.act.label));
        }
        Gate::Typed { word, field } if key.code == KeyCode::Enter => {
            if field.text().trim() == word {
                return act::go_ahead(model, confirm.act, out);
            }
            let says = format!("not done: {word} was to be typed");
            return note(model, Role::Warn, says);
        }
        Gate::Typed { field, .. } => {
            let _moved = field.key(key);
        }
        Gate::Waiting => {}
    }
    model.overlay = Some(Overlay::Confirm(Box::new(confirm)));
}

fn answered(model: &mut Model, text: &str, then: Asked, out: &mut Out) {
    if text.is_empty() {
        return;
    }
    match then {
        Asked::NewApp => act::new_app(model, text, out),
        Asked::Invoke { app, script } => act::invoke(model, (app, script), text, out),
        Asked::NewScript { app } => {
            draft::begin_script(model, app, text.to_owned(), out);
        }
        Asked::NewEntry { app, space, collection } => {
            draft::begin_entry(model, (app, space, collection), text.to_owned(), out);
        }
    }
}
