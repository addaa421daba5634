//! What is shown of the row under the cursor.

use crate::diff;
use crate::item::Item;
use crate::model::{Draft, Edits, Level, Model, Tried, TriedOutcome, selected};
use crate::part::{Key, Loaded, Tab, needs};
use crate::reply::Part;
use crate::text::{Line, Role, width};
use crate::view::{list, pieces};

/// Lines around a change that are shown with it.
const CONTEXT_LINES: usize = 3;
const ASKING_AFTER_MS: i64 = 300;

/// What it is, and the views that there are of it.
pub(super) fn title(model: &Model, columns: usize) -> Line {
    let level = model.level();
    let item = selected(level);
    let at = level.at + 1;
    let left = match item {
        Some(item) => {
            let count = crate::model::shown(level).len();
            Line::of(Role::Dim, format!("{at}/{count}  "))
                .and(Role::Strong, item.name())
                .and(Role::Text, pieces::about(item, &level.parts, model))
        }
        None => Line::new(),
    };
    let tabs = level.listing.tabs().iter().enumerate().fold(Line::new(), |line, (n, tab)| {
        let role = if n == level.tab { Role::Accent } else { Role::Dim };
        let gap = if n == 0 { "" } else { " " };
        line.and(Role::Text, gap).and(role, tab.name())
    });
    let room = columns.saturating_sub(tabs.width() + 4);
    list::pane_rule(model, left.cut(room), tabs, columns)
}

/// All lines of it; the pane shows as many as fit.
pub fn lines(model: &Model) -> Vec<Line> {
    let level = model.level();
    let mut lines = Vec::new();
    // What was asked for last stands first: a long change would hide it.
    if let Some(tried) = &level.tried {
        lines.extend(tried_lines(tried, model));
    }
    if let Some(draft) = &level.draft {
        lines.extend(draft_lines(draft));
    }
    if level.draft.is_some() || level.tried.is_some() {
        if let (Some(Item::Letter(letter)), true) = (selected(level), level.draft.is_some()) {
            let error = &letter.error;
            let mut first = pieces::failure(error);
            first.extend(lines);
            return first;
        }
        return lines;
    }
    let (Some(item), Some(tab)) = (selected(level), level.shown_tab()) else { return lines };
    lines.extend(missing(level, item, tab, model.now));
    lines.extend(pieces::lines(model, item, tab));
    lines
}

/// What is asked for and not here, or cannot be had.
fn missing(level: &Level, item: &Item, tab: Tab, now: i64) -> Vec<Line> {
    let mut lines = Vec::new();
    for key in needs(level, item, tab) {
        match level.part(&key) {
            Some(Loaded::Asked(at)) if now >= at + ASKING_AFTER_MS => {
                lines.push(Line::of(Role::Dim, "asking the daemon…"));
            }
            Some(Loaded::Failed(failure)) if failure.code() == "not_found" => {
                lines.push(Line::of(Role::Dim, not_kept(&key)));
            }
            Some(Loaded::Failed(failure)) => {
                lines.push(Line::of(Role::Bad, failure.text()));
                if let Some(hint) = failure.hint() {
                    lines.push(Line::of(Role::Text, hint));
                }
            }
            Some(Loaded::Asked(_) | Loaded::Here(_)) | None => {}
        }
    }
    lines
}

fn not_kept(key: &Key) -> &'static str {
    match key {
        Key::Execution(_) | Key::Chain(_) => {
            "Not kept: what has ended well is known from memory only, and for a while."
        }
        Key::Outbox(_) => "It has left the outbox.",
        Key::Version(..) | Key::Script(..) => "That version of the script is gone.",
        Key::Letter(_)
        | Key::Abandoned(_)
        | Key::Versions(..)
        | Key::Runs(..)
        | Key::App(_)
        | Key::Manifest(_) => "It is gone.",
    }
}

fn draft_lines(draft: &Draft) -> Vec<Line> {
    let what = match &draft.of {
        Edits::Payload { source, .. } if source == "task" => "payload, edited",
        Edits::Payload { .. } => "event, edited",
        Edits::Script { .. } => "script, edited",
        Edits::NewScript { .. } => "new script",
        Edits::Entry { .. } => "value, edited",
        Edits::NewEntry { .. } => "new entry",
        Edits::Trigger { .. } => "trigger, edited",
    };
    let mut lines = Vec::new();
    if let Some(problem) = &draft.problem {
        for part in problem.lines() {
            lines.push(Line::of(Role::Bad, part));
        }
    }
    if let Some(theirs) = &draft.theirs {
        let says = "changed meanwhile: theirs (-), yours (+); y keeps yours, esc theirs, e edits";
        lines.push(Line::of(Role::Warn, says));
        lines.extend(diff::shown(&diff::lines(&theirs.text, &draft.text, CONTEXT_LINES)));
        return lines;
    }
    let changes = diff::changes(&draft.before, &draft.text);
    let count = if changes == 1 { "1 change".to_owned() } else { format!("{changes} changes") };
    lines.push(Line::of(Role::Strong, format!("{what}: {count}")));
    lines.extend(diff::shown(&diff::lines(&draft.before, &draft.text, CONTEXT_LINES)));
    if let Some(would) = &draft.would {
        let fired: Vec<String> =
            would.triggers.iter().map(|one| format!("{} ({})", one.trigger, one.script)).collect();
        let says = match fired.len() {
            0 => "sets nothing off".to_owned(),
            _ => format!("sets off {}; there is no undo", fired.join(", ")),
        };
        lines.push(Line::of(Role::Warn, &says));
    }
    lines
}

fn tried_lines(tried: &Tried, model: &Model) -> Vec<Line> {
    let on = &tried.on;
    match &tried.outcome {
        TriedOutcome::Asked(at) if model.now >= at + ASKING_AFTER_MS => {
            vec![Line::of(Role::Dim, format!("dry run on {on}…"))]
        }
        TriedOutcome::Asked(_) => Vec::new(),
        TriedOutcome::Failed(failure) => {
            let mut lines = vec![Line::of(Role::Bad, "no dry run")];
            lines.extend(failure.whole_text().lines().map(|line| Line::of(Role::Bad, line)));
            lines
        }
        TriedOutcome::Here(answer) => pieces::dry_run(answer, on),
    }
}

/// What came of a question, if it did.
pub(super) fn here<'a>(parts: &'a [(Key, Loaded)], key: &Key) -> Option<&'a Part> {
    parts.iter().find(|(known, _)| known == key).and_then(|(_, part)| match part {
        Loaded::Here(part) => Some(&**part),
        Loaded::Asked(_) | Loaded::Failed(_) => None,
    })
}

/// `name  value`, aligned.
pub(super) fn fact(name: &str, value: &str) -> Line {
    let gap = 12_usize.saturating_sub(width(name));
    Line::of(Role::Dim, format!("{name}{}", " ".repeat(gap))).and(Role::Text, value)
}
