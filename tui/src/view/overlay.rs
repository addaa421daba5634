//! What lies over the screen.

use crate::field::Field;
use crate::keys::{Command, KEYS, key_of};
use crate::layout::Layout;
use crate::model::{Confirm, Draft, Edits, Gate, Model, Overlay};
use crate::palette;
use crate::symbols::Symbol;
use crate::text::{Line, Role, harmless, width, wrap};
use crate::view::{Page, Row, Shade, header};

/// Help: the keys of this place, those of all places, symbols, versions.
pub fn help_lines(model: &Model) -> Vec<Line> {
    let mut lines =
        vec![Line::of(Role::Strong, format!("Help  {}", model.level().listing.title()))];
    let row = |key: &str, does: &str| {
        let gap = 12_usize.saturating_sub(width(key));
        Line::of(Role::Accent, format!("  {key}{}", " ".repeat(gap))).and(Role::Text, does)
    };
    let verbs = crate::verbs::of(&model.level().listing);
    lines.extend(verbs.iter().map(|verb| {
        let may = match model.may(verb.needs) {
            crate::model::May::No => format!("{} (asks for {})", verb.label, verb.needs),
            crate::model::May::Yes | crate::model::May::Perhaps => verb.label.to_owned(),
        };
        row(key_of(verb.command), &may)
    }));
    lines.push(Line::new());
    lines.push(Line::of(Role::Strong, "Everywhere"));
    lines.extend(KEYS.iter().map(|binding| row(binding.shown, binding.does)));
    lines.push(Line::new());
    lines.push(Line::of(Role::Strong, "Symbols"));
    let symbols = [
        (Symbol::Ok, Role::Ok, "done, well"),
        (Symbol::Failed, Role::Bad, "failed"),
        (Symbol::Dead, Role::Bad, "dead letter, warning"),
        (Symbol::Running, Role::Running, "running"),
        (Symbol::Due, Role::Text, "due"),
        (Symbol::Retry, Role::Warn, "to be tried again"),
        (Symbol::Later, Role::Later, "later"),
        (Symbol::Off, Role::Dim, "off, paused"),
    ];
    lines.extend(symbols.iter().map(|(symbol, role, says)| {
        Line::of(*role, format!("  {}           ", symbol.text(model.fixed.charset)))
            .and(Role::Text, *says)
    }));
    lines.push(Line::new());
    let daemon = model.instance.as_ref().map_or("?", |instance| instance.version.as_str());
    let says = format!(
        "picloud-tui {}, daemon {}, at {}",
        model.fixed.version, daemon, &model.fixed.place
    );
    lines.push(Line::of(Role::Dim, says));
    lines
}

pub(super) fn palette(
    model: &Model,
    layout: &Layout,
    (field, at): (&Field, usize),
    page: &mut Page,
) {
    let (text, column) = field.view(layout.columns.saturating_sub(3));
    page.cursor = Some((2 + column, page.rows.len()));
    page.push(Line::of(Role::Accent, ": ").and(Role::Text, text));
    let rows = layout.body_rows.saturating_sub(1);
    let first = at.saturating_sub(rows.saturating_sub(1));
    let found = palette::found(model, field.text());
    for (n, entry) in found.iter().enumerate().skip(first).take(rows) {
        let pointer = if n == at { Symbol::Cursor.text(model.fixed.charset) } else { " " };
        let room = layout.columns.saturating_sub(14);
        let name = Line::of(Role::Text, &entry.name).cut(room).padded(room);
        let line =
            Line::of(Role::Accent, format!("{pointer} ")).then(name).and(Role::Dim, entry.key);
        let shade = if n == at { Shade::Selected } else { Shade::Plain };
        page.rows.push(Row { line, shade });
    }
    if found.is_empty() {
        page.push(Line::of(Role::Dim, "  nothing is called that"));
    }
}

pub(super) fn scope(model: &Model, at: usize, page: &mut Page) {
    page.push(Line::of(Role::Strong, "Show"));
    let slugs = model.slugs.iter().flatten().cloned();
    let names = std::iter::once("all apps".to_owned()).chain(slugs);
    for (n, name) in names.enumerate() {
        let pointer = if n == at { Symbol::Cursor.text(model.fixed.charset) } else { " " };
        let line = Line::of(Role::Accent, format!("{pointer} ")).and(Role::Text, &name);
        if n == at {
            page.cursor = Some((0, page.rows.len()));
        }
        let shade = if n == at { Shade::Selected } else { Shade::Plain };
        page.rows.push(Row { line, shade });
    }
}

pub(super) fn confirm(model: &Model, layout: &Layout, confirm: &Confirm, page: &mut Page) {
    page.push(header::rule(model, layout.columns));
    page.push(Line::of(Role::Strong, &confirm.title));
    let says = confirm.says.iter().flat_map(|(role, says)| {
        let says = harmless(says);
        // What is set in are examples: each is one line.
        let lines = match says.starts_with(' ') {
            true => vec![says],
            false => wrap(&says, layout.columns),
        };
        lines.into_iter().map(|line| Line::of(*role, line)).collect::<Vec<Line>>()
    });
    page.extend(says.take(layout.detail_rows.saturating_sub(3)));
    match &confirm.gate {
        Gate::Waiting => {}
        Gate::Yes => page
            .push(Line::of(Role::Accent, "y").and(Role::Text, " does it; anything else does not")),
        Gate::Typed { word, field } => {
            let asks = format!("type {} and ⏎: ", harmless(word));
            let (text, column) = field.view(layout.columns.saturating_sub(width(&asks) + 1));
            page.cursor = Some((width(&asks) + column, page.rows.len()));
            page.push(Line::of(Role::Accent, asks).and(Role::Text, text));
        }
    }
}

/// The keys of a question.
pub(super) fn confirm_keys(confirm: &Confirm) -> Vec<(Role, String, &'static str)> {
    let back = (Role::Text, key_of(Command::Back).to_owned(), "not");
    match confirm.gate {
        Gate::Waiting => vec![back],
        Gate::Yes => vec![(Role::Text, "y".to_owned(), "do it"), back],
        Gate::Typed { .. } => vec![(Role::Text, "⏎".to_owned(), "do it, once typed"), back],
    }
}

/// The keys of a draft.
pub(super) fn draft_keys(draft: &Draft) -> Vec<(Role, String, &'static str)> {
    let key = |key: &str, label: &'static str| (Role::Text, key.to_owned(), label);
    let again = key("e", "edit");
    match (&draft.of, &draft.theirs) {
        (_, Some(_)) => vec![key("y", "keep yours"), key("esc", "take theirs"), again],
        (Edits::Payload { .. }, None) => {
            vec![key("r", "replay edited"), key("t", "dry run"), again]
        }
        (Edits::Script { .. }, None) => {
            vec![key("t", "dry run"), key("y", "put it live"), again]
        }
        (
            Edits::NewScript { .. }
            | Edits::Entry { .. }
            | Edits::NewEntry { .. }
            | Edits::Trigger { .. },
            None,
        ) => vec![key("y", "save"), again],
    }
}

/// The line that is being written, in the place of the status line.
pub(super) fn entry(model: &Model, columns: usize, row: usize, page: &mut Page) -> Option<Line> {
    let (asks, field) = match model.overlay.as_ref()? {
        Overlay::Filter { field, .. } => ("/".to_owned(), field),
        Overlay::Prompt { field, question, .. } => (format!("{question}: "), field),
        Overlay::CopyAs { choices } => {
            let says =
                choices.iter().fold(Line::of(Role::Text, "copy as"), |line, (c, name, _)| {
                    line.and(Role::Accent, format!("  {c}")).and(Role::Text, format!(" {name}"))
                });
            return Some(says);
        }
        Overlay::Help { .. }
        | Overlay::Palette { .. }
        | Overlay::Scope { .. }
        | Overlay::Confirm(_) => return None,
    };
    let (text, column) = field.view(columns.saturating_sub(width(&asks) + 1));
    page.cursor = Some((width(&asks) + column, row));
    Some(Line::of(Role::Accent, asks).and(Role::Text, text))
}
