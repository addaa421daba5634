//! Lists: moving, marking, sorting, and the pages and details that come for them.

use std::collections::BTreeSet;

use crate::item::Item;
use crate::keys::Command;
use crate::layout;
use crate::listing::{Filtered, Listing};
use crate::message::Failure;
use crate::model::{
    Fetch, Focus, Follow, Level, Model, Order, ROWS_MAX, Sort, Words, selected, shown,
};
use crate::part::{Key, Loaded};
use crate::purpose::{How, Place};
use crate::reply::{Batch, Reply};
use crate::text::Role;
use crate::update::{follows, level_at, note};

/// What is said to whoever goes on while an edit is not saved.
pub(super) const DRAFTED: &str = "first save what you have edited, or drop it with esc";

/// Rows below the cursor from which on the next page is asked for.
const NEAR_END_ROWS: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Next,
    Back,
}

/// All that the daemon is to filter by.
pub(super) fn whole_filter(level: &Level) -> String {
    let own = match (level.listing.filtered(), level.words) {
        (Filtered::ByDaemon, Words::Hide) => level.filter.as_str(),
        (Filtered::ByDaemon, Words::Highlight) | (Filtered::ByConsole, _) => "",
    };
    [level.base.as_str(), own].join(" ").trim().to_owned()
}

/// From the list to each view of its row, and round.
pub(super) fn pane(model: &mut Model, turn: Turn) {
    let level = model.level_mut();
    let tabs = level.listing.tabs().len();
    if tabs == 0 {
        return;
    }
    // The list is the pane before the first tab.
    let at = match level.focus {
        Focus::List => 0,
        Focus::Detail => level.tab + 1,
    };
    let to = match turn {
        Turn::Next => (at + 1) % (tabs + 1),
        Turn::Back => (at + tabs) % (tabs + 1),
    };
    level.scroll = 0;
    if to == 0 {
        level.focus = Focus::List;
    } else {
        level.focus = Focus::Detail;
        level.tab = to - 1;
    }
}

pub(super) fn go(model: &mut Model, command: Command) {
    let page = layout::of(model).list_rows.max(2) - 1;
    let lines = layout::detail_lines(model);
    let now = model.now;
    let level = model.level_mut();
    if level.focus == Focus::Detail && !level.listing.tabs().is_empty() {
        level.scroll = moved(command, level.scroll, lines.0, lines.1.max(1))
            .min(lines.0.saturating_sub(lines.1));
        return;
    }
    if level.draft.is_some() {
        // What is shown and what keys do is about the draft's own row.
        return note(model, Role::Warn, DRAFTED);
    }
    let rows = shown(level);
    if rows.is_empty() {
        return;
    }
    let at = match command {
        Command::NextMatch | Command::PreviousMatch if level.words == Words::Highlight => {
            match_from(level, command)
        }
        _ => moved(command, level.at, rows.len(), page),
    };
    let at = at.min(rows.len() - 1);
    let id = rows.get(at).map(|row| row.id());
    level.follow = Follow::Row;
    place_cursor(level, at, id, now);
}

fn moved(command: Command, at: usize, count: usize, page: usize) -> usize {
    match command {
        Command::Down | Command::NextMatch => at + 1,
        Command::Up | Command::PreviousMatch => at.saturating_sub(1),
        Command::First => 0,
        Command::Last => count.saturating_sub(1),
        Command::PageDown => at + page,
        Command::PageUp => at.saturating_sub(page),
        _ => at,
    }
}

/// The next row that has what the filter says, or where the cursor is.
fn match_from(level: &Level, command: Command) -> usize {
    let rows = shown(level);
    let has = |at: &usize| rows.get(*at).is_some_and(|row| row.has(&level.filter));
    let found = match command {
        Command::PreviousMatch => (0..level.at).rev().find(has),
        _ => (level.at + 1..rows.len()).find(has),
    };
    found.unwrap_or(level.at)
}

fn place_cursor(level: &mut Level, at: usize, id: Option<String>, now: i64) {
    level.at = at;
    if level.cursor != id {
        level.cursor = id;
        level.moved_at = now;
    }
}

/// Puts the cursor on a row that there is: its own, or else the one that has come to its place.
pub(super) fn settle(level: &mut Level, now: i64) {
    let rows = shown(level);
    // Before anything has come, whoever was asked for is waited for.
    if rows.is_empty() && matches!(level.fetch, Fetch::Never | Fetch::Asked(_)) {
        return;
    }
    let last = rows.len().saturating_sub(1);
    let newest = if level.listing == Listing::Log { last } else { 0 };
    // This is done for each message: a row is nearly always where it was, or a little below.
    let find = |id: &str| {
        let mut places = (level.at..rows.len()).chain(0..level.at.min(rows.len()));
        places.find(|at| rows[*at].is(id))
    };
    let at = match level.cursor.as_deref() {
        _ if follows(level) => newest,
        Some(id) => find(id).unwrap_or(level.at),
        None => newest,
    };
    let at = at.min(last);
    let id = rows.get(at).map(|row| row.id());
    if !level.marks.is_empty() {
        let ids: BTreeSet<String> = rows.into_iter().map(Item::id).collect();
        level.marks.retain(|mark| ids.contains(mark));
    }
    place_cursor(level, at, id, now);
    if level.of != level.cursor {
        level.of.clone_from(&level.cursor);
        level.parts.clear();
        level.scroll = 0;
        if level.draft.is_none() {
            level.tried = None;
        }
    }
}

/// Keeps the cursor in view.
pub(super) fn scroll(model: &mut Model) {
    let rows = layout::of(model).list_rows.max(1);
    let lines = layout::detail_lines(model);
    let level = model.level_mut();
    let count = shown(level).len();
    if level.at < level.top {
        level.top = level.at;
    } else if level.at >= level.top + rows {
        level.top = level.at + 1 - rows;
    }
    level.top = level.top.min(count.saturating_sub(rows));
    level.scroll = level.scroll.min(lines.0.saturating_sub(lines.1));
}

pub(super) fn is_near_end(model: &Model) -> bool {
    let level = model.level();
    let count = shown(level).len();
    level.rows.len() < ROWS_MAX && level.at + NEAR_END_ROWS >= count
}

pub(super) fn click(model: &mut Model, row: u16) {
    let layout = layout::of(model);
    let Some(at) = usize::from(row).checked_sub(layout.list_top) else { return };
    if at >= layout.list_rows || model.overlay.is_some() {
        return;
    }
    if model.level().draft.is_some() {
        return note(model, Role::Warn, DRAFTED);
    }
    let now = model.now;
    let level = model.level_mut();
    let at = level.top + at;
    if let Some(id) = shown(level).get(at).map(|row| row.id()) {
        level.focus = Focus::List;
        level.follow = Follow::Row;
        place_cursor(level, at, Some(id), now);
    }
}

pub(super) fn newest(model: &mut Model) {
    let level = model.level_mut();
    level.focus = Focus::List;
    level.follow = match level.follow {
        Follow::Row => Follow::Newest,
        Follow::Newest => Follow::Row,
    };
}

pub(super) fn mark(model: &mut Model, command: Command) {
    let level = model.level_mut();
    if command == Command::MarkAll {
        let ids: Vec<String> = shown(level).into_iter().map(Item::id).collect();
        if ids.iter().all(|id| level.marks.contains(id)) {
            level.marks.clear();
        } else {
            level.marks.extend(ids);
        }
        return;
    }
    let Some(id) = level.cursor.clone() else { return };
    if !level.marks.remove(&id) {
        level.marks.insert(id);
    }
    go(model, Command::Down);
}

pub(super) fn sort(model: &mut Model, command: Command) {
    let level = model.level_mut();
    let columns = crate::columns::of(&level.listing).len();
    level.sort = match (command, level.sort) {
        (Command::Reverse, Some(sort)) => {
            let order = match sort.order {
                Order::Up => Order::Down,
                Order::Down => Order::Up,
            };
            Some(Sort { order, ..sort })
        }
        (Command::Reverse, None) => Some(Sort { column: 0, order: Order::Down }),
        (_, None) => Some(Sort { column: 0, order: Order::Up }),
        (_, Some(sort)) if sort.column + 1 < columns => {
            Some(Sort { column: sort.column + 1, order: Order::Up })
        }
        (_, Some(_)) => None,
    };
}

pub(super) fn highlight(model: &mut Model) {
    let level = model.level_mut();
    level.words = match level.words {
        Words::Hide => Words::Highlight,
        Words::Highlight => Words::Hide,
    };
    let says = match level.words {
        Words::Hide => "the filter hides the rest",
        Words::Highlight => "the filter highlights; n and N go from one to the next",
    };
    super::refresh(level);
    note(model, Role::Text, says);
}

/// A page has come, or not.
pub(super) fn page(model: &mut Model, place: Place, how: How, answer: Result<Reply, Failure>) {
    let numbered = model.lines;
    let Some(level) = level_at(model, place) else { return };
    match answer {
        Ok(Reply::Page(batch)) => {
            let came = taken(level, how, batch, numbered);
            model.lines += came;
        }
        Ok(_) => {}
        Err(failure) => level.fetch = Fetch::Failed(failure),
    }
}

/// Takes the rows of a page; returns how many lines got a number.
fn taken(level: &mut Level, how: How, batch: Batch, numbered: u64) -> u64 {
    let count = batch.items.len() as u64;
    let mut items = batch.items;
    if level.listing == Listing::System && how == How::Replace {
        items.extend(crate::doors::all());
    }
    if level.listing == Listing::Log {
        // The daemon's newest is first; here it is last.
        items.reverse();
        for (line, number) in items.iter_mut().zip(numbered + 1..) {
            if let Item::Log(line) = line {
                line.number = number;
            }
        }
    }
    match how {
        How::Replace => {
            // What has gone stays in sight for its time.
            let gone = std::mem::take(&mut level.rows).into_iter().filter(|row| match row {
                Item::Outbox(one) if one.gone.is_some() => {
                    !items.iter().any(|new| new.is(&one.row.id))
                }
                _ => false,
            });
            let mut rows: std::collections::VecDeque<Item> = gone.collect();
            rows.extend(items);
            if level.listing == Listing::Outbox {
                rows.make_contiguous().sort_by_cached_key(|row| std::cmp::Reverse(row.id()));
            }
            level.rows = rows;
            level.fetch = Fetch::Done(batch.now);
            level.partial = batch.partial;
        }
        How::Append if level.listing == Listing::Log => {
            for item in items.into_iter().rev() {
                level.rows.push_front(item);
            }
        }
        How::Append => {
            let known = |id: &str| level.rows.iter().any(|row| row.is(id));
            let new: Vec<Item> = items.into_iter().filter(|item| !known(&item.id())).collect();
            level.rows.extend(new);
        }
    }
    level.rest = batch.rest;
    count
}

/// More about a row has come, or not.
pub(super) fn part(
    model: &mut Model,
    place: Place,
    (of, key): (&str, Key),
    answer: Result<Reply, Failure>,
) {
    let Some(level) = level_at(model, place) else { return };
    if selected(level).is_none_or(|item| !item.is(of)) {
        return;
    }
    let loaded = match answer {
        Ok(Reply::Part(part)) => Loaded::Here(part),
        Ok(_) => return,
        Err(failure) => Loaded::Failed(failure),
    };
    if let Some(known) = level.parts.iter_mut().find(|(known, _)| *known == key) {
        known.1 = loaded;
    }
}
