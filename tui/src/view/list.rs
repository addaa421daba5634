//! A list with the detail of the row under its cursor.

use crate::columns::{self, Writing, cells};
use crate::layout::{self, Layout};
use crate::listing::Listing;
use crate::model::{Fetch, Focus, Level, Link, Model, Order, Overlay, Words, shown};
use crate::symbols::Symbol;
use crate::table;
use crate::text::{Line, Role};
use crate::view::{Page, Row, Shade, detail, header, overlay};
use crate::when;

pub(super) fn draw(model: &Model, layout: &Layout, page: &mut Page) {
    let only_detail = layout.list_rows == 0 && layout.detail_rows == layout.body_rows;
    if !only_detail {
        page.push(title(model));
        rows(model, layout, page);
        page.fill(layout.list_top + layout.list_rows);
    }
    if layout.detail_rows == 0 {
        return;
    }
    if let Some(Overlay::Confirm(confirm)) = &model.overlay {
        return overlay::confirm(model, layout, confirm, page);
    }
    page.push(detail::title(model, layout.columns));
    let level = model.level();
    let top = page.rows.len();
    let lines = detail::lines(model);
    let room = layout.detail_rows.saturating_sub(1);
    page.extend(lines.into_iter().skip(level.scroll).take(room));
    if level.focus == Focus::Detail {
        page.cursor = Some((0, top));
    }
}

/// What is listed, and how much of it.
fn title(model: &Model) -> Line {
    let level = model.level();
    let mut line = Line::of(Role::Strong, level.listing.title());
    if let Fetch::Failed(failure) = &level.fetch
        && !level.rows.is_empty()
    {
        // Without rows there is room for it below. With rows it comes first: the line may end before its end.
        let hint = failure.hint().map(|hint| format!("  ({hint})")).unwrap_or_default();
        line = line.and(Role::Bad, format!("  {}{hint}", failure.text()));
    }
    for (role, says) in counts(model, level) {
        line = line.and(role, format!("  {says}"));
    }
    if !level.base.is_empty() {
        line = line.and(Role::Dim, format!("  {}", &level.base));
    }
    if !level.filter.is_empty() {
        let mark = match level.words {
            Words::Hide => "/",
            Words::Highlight => "H/",
        };
        line = line.and(Role::Accent, format!("  {mark}{}", &level.filter));
    }
    if let Some(sort) = level.sort {
        let by = columns::of(&level.listing).get(sort.column).map_or("", |column| column.heading);
        let order = if sort.order == Order::Up { "" } else { ", reversed" };
        line = line.and(Role::Dim, format!("  by {by}{order}"));
    }
    match &level.fetch {
        Fetch::Asked(at) if model.now >= at + 300 && level.rows.is_empty() => {
            line.and(Role::Dim, "  asking the daemon…")
        }
        Fetch::Asked(_) | Fetch::Never | Fetch::Done(_) | Fetch::Failed(_) => line,
    }
}

fn counts(model: &Model, level: &Level) -> Vec<(Role, String)> {
    let count = |count: i64| when::count(u64::try_from(count).unwrap_or_default());
    let mut says = Vec::new();
    let all = model.stats.as_ref().and_then(|stats| stats.all.as_ref());
    match (&level.listing, all) {
        (Listing::Outbox, Some(all)) => {
            let queue = &all.queue;
            let figures = [
                (queue.due, "due"),
                (queue.later, "later"),
                (queue.retry, "retry"),
                (queue.running, "running"),
                (queue.paused, "paused"),
            ];
            let some = figures.iter().filter(|(n, name)| *n > 0 || *name == "due");
            // Above that nobody has counted on.
            let most = figures.iter().map(|(n, _)| *n).max().filter(|_| queue.capped);
            let more = |n: i64| if Some(n) == most { "+" } else { "" };
            let shown = |n: i64| format!("{}{}", count(n), more(n));
            says.extend(some.map(|(n, name)| (Role::Text, format!("{} {name}", shown(*n)))));
            says.push((Role::Dim, "newest first".to_owned()));
        }
        (Listing::Groups, _) => {
            let letters: i64 =
                model.stats.iter().flat_map(|stats| &stats.apps).map(|app| app.dead_letters).sum();
            says.push((
                Role::Text,
                format!("{} open, {}", count(letters), when::counted(level.rows.len(), "group")),
            ));
            says.push((Role::Dim, "grouped by error (b)  newest first".to_owned()));
            if let Some(looked_at) = level.partial {
                says.push((Role::Warn, format!("of the newest {looked_at}")));
            }
        }
        _ => {
            let rows = shown(level).len();
            let more = if level.rest.is_empty() { "" } else { "+" };
            if !matches!(level.fetch, Fetch::Never | Fetch::Asked(_)) || rows > 0 {
                says.push((Role::Dim, format!("{rows}{more}")));
            }
        }
    }
    if !level.marks.is_empty() {
        says.push((Role::Accent, format!("{} marked", level.marks.len())));
    }
    says
}

/// Headings, and the rows in view.
pub(super) fn rows(model: &Model, layout: &Layout, page: &mut Page) {
    let level = model.level();
    let rows = shown(level);
    let writing = Writing { now: model.now, zone: &model.fixed.zone, charset: model.fixed.charset };
    let in_view: Vec<_> = rows.iter().skip(level.top).take(layout.list_rows).copied().collect();
    let lines: Vec<Vec<Line>> = in_view.iter().map(|item| cells(item, writing)).collect();
    let columns = columns::of(&level.listing);
    let fitted = table::fit(columns, &lines, layout.columns.saturating_sub(2));
    page.push(Line::of(Role::Dim, "  ").then(fitted.headings()));
    if rows.is_empty() {
        page.extend(empty(level).into_iter().map(|line| Line::from("  ").then(line)));
    }
    let is_old = layout::is_old(model) && !matches!(model.link, Link::Connecting(_));
    for (item, cells) in in_view.iter().zip(&lines) {
        let id = item.id();
        let is_selected = level.cursor.as_deref() == Some(id.as_str());
        let mark = if level.marks.contains(&id) { Symbol::Mark.text(writing.charset) } else { " " };
        let pointer = if is_selected { Symbol::Cursor.text(writing.charset) } else { " " };
        let begin = Line::of(Role::Accent, format!("{pointer}{mark}"));
        let mut line = begin.then(fitted.row(cells));
        if level.words == Words::Highlight && !level.filter.is_empty() && item.has(&level.filter) {
            line.spans.iter_mut().for_each(|span| span.role = Role::Accent);
        }
        let shade = match (is_selected && level.focus == Focus::List, is_old) {
            (true, _) => Shade::Selected,
            (false, true) => Shade::Old,
            (false, false) => Shade::Plain,
        };
        if is_selected && level.focus == Focus::List && page.cursor.is_none() {
            page.cursor = Some((0, page.rows.len()));
        }
        page.rows.push(Row { line, shade });
    }
}

/// Why there is nothing, and what to do.
fn empty(level: &Level) -> Vec<Line> {
    match &level.fetch {
        Fetch::Done(_) => {}
        Fetch::Failed(failure) => {
            let why = Line::of(Role::Bad, failure.text());
            let hint = failure.hint().map(|hint| Line::of(Role::Text, hint));
            return std::iter::once(why).chain(hint).collect();
        }
        Fetch::Never | Fetch::Asked(_) => return Vec::new(),
    }
    if !level.filter.is_empty() {
        return vec![Line::of(Role::Text, "Nothing that fits the filter. esc clears it.")];
    }
    let says = match &level.listing {
        Listing::Traffic => "No apps. `picloud deploy DIR`",
        Listing::Apps => "No apps. `picloud deploy DIR`, or `+`",
        Listing::Outbox => "Nothing waits and nothing runs. What comes is shown as it comes.",
        Listing::Letters if !level.base.is_empty() => {
            "Nothing of it is open any more. esc leads back"
        }
        Listing::Groups | Listing::Letters => "No dead letters: everything could be done.",
        Listing::Runs => "No runs in memory since the daemon was started.",
        Listing::Abandoned => "Nothing was abandoned.",
        Listing::Routes { .. } => {
            "No routes. `picloud routes create`, or [[routes]] in picloud.toml"
        }
        Listing::Secrets { .. } => "No secrets. `picloud secrets set APP/NAME -`",
        Listing::Scripts => "No scripts. `picloud deploy DIR`, or `+`",
        Listing::Versions { .. } => "No versions are kept.",
        Listing::Triggers => "No triggers. `picloud deploy DIR` with [[triggers]]",
        Listing::Collections => "Nothing is stored. Scripts write with kv:: and docs::",
        Listing::Entries { .. } => "Nothing is in it. `+` makes an entry",
        Listing::Log => "No lines yet. Scripts log with log::info(\"…\")",
        Listing::System => "No checks.",
        Listing::Backups => "No backups. `+` takes one now",
        Listing::Nodes => "No nodes.",
        Listing::Principals => "Nobody is known.",
        Listing::Tokens => "No tokens. `picloud tokens create`",
        Listing::Audit => "Nothing was changed yet.",
    };
    vec![Line::of(Role::Text, says)]
}

/// The rule of a pane.
pub(super) fn pane_rule(model: &Model, left: Line, right: Line, columns: usize) -> Line {
    let left = if left.is_empty() { left } else { left.and(Role::Text, " ") };
    let gap = columns.saturating_sub(left.width() + right.width() + 1);
    left.then(header::rule(model, gap)).and(Role::Text, " ").then(right)
}
