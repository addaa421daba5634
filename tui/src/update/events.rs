//! What happens in the daemon, as it tells it.

use std::collections::VecDeque;

use picloud_api::stats::Stats;

use crate::effect::Ticket;
use crate::item::{self, Item, Line};
use crate::listing::Listing;
use crate::message::Live;
use crate::model::{LOG_LINES_MAX, Level, Model, RECENT_MAX, ROWS_MAX, SERIES_SECONDS};
use crate::purpose::Purpose;
use crate::update::{Out, refresh, upkeep};

pub(super) fn happened(model: &mut Model, ticket: Ticket, events: Vec<Live>, out: &mut Out) {
    match model.asked.get(&ticket) {
        Some(Purpose::StatsStream | Purpose::RowsStream) => {}
        // It comes from a stream that nobody waits for any more.
        _ => return,
    }
    for event in events {
        one(model, ticket, event, out);
    }
}

fn one(model: &mut Model, ticket: Ticket, event: Live, out: &mut Out) {
    match event {
        Live::Connected(begin) => {
            let known = model.instance.as_ref().map(|instance| instance.instance_id.as_str());
            if known.is_some_and(|known| known != begin.instance_id) {
                upkeep::connect(model, out);
            }
        }
        Live::Missed(events) => {
            if let Some(level) = streamed(model, ticket) {
                refresh(level);
                level.missed = Some(events.unwrap_or_default());
            }
        }
        Live::Stats(stats) => second(model, *stats),
        Live::Outbox(event) => {
            if let Some(level) = streamed(model, ticket) {
                upsert(&mut level.rows, Item::Outbox(item::moved(*event)));
            }
        }
        Live::Run(run) => {
            model.recent.push_front((*run).clone());
            model.recent.truncate(RECENT_MAX);
            if let Some(level) = streamed(model, ticket).filter(|l| l.listing == Listing::Runs) {
                level.rows.push_front(Item::Run(*run));
                bound(level);
            }
        }
        Live::Log(entry) => {
            model.lines += 1;
            let number = model.lines;
            if let Some(level) = streamed(model, ticket) {
                level.rows.push_back(Item::Log(Line { number, entry: *entry }));
                while level.rows.len() > LOG_LINES_MAX {
                    level.rows.pop_front();
                }
            }
        }
    }
}

/// The list that a stream is for.
fn streamed(model: &mut Model, ticket: Ticket) -> Option<&mut Level> {
    let stream = model.stream.as_ref().filter(|stream| stream.ticket == ticket)?;
    let place = stream.place;
    model.at_mut(place)
}

/// Puts a row of the outbox in its place; ids grow with time, and the newest is the first.
fn upsert(rows: &mut VecDeque<Item>, new: Item) {
    let id = new.id();
    let at = rows.partition_point(|row| outbox_id(row) > Some(id.as_str()));
    match rows.get_mut(at) {
        Some(there) if outbox_id(there) == Some(id.as_str()) => *there = kept(there, new),
        Some(_) | None => rows.insert(at, new),
    }
    while rows.len() > ROWS_MAX {
        rows.pop_back();
    }
}

fn outbox_id(item: &Item) -> Option<&str> {
    match item {
        Item::Outbox(row) => Some(&row.row.id),
        _ => None,
    }
}

/// What an event does not say stays.
fn kept(before: &Item, new: Item) -> Item {
    match (before, new) {
        (Item::Outbox(before), Item::Outbox(mut row)) => {
            row.row.created_at = before.row.created_at;
            if row.row.error.is_none() {
                row.row.error.clone_from(&before.row.error);
            }
            Item::Outbox(row)
        }
        (_, new) => new,
    }
}

fn bound(level: &mut Level) {
    level.rows.truncate(ROWS_MAX);
}

/// The statistics with the seconds before.
pub(super) fn took_stock(model: &mut Model, mut stats: Stats) {
    if let Some(series) = stats.all.as_mut().and_then(|all| all.series.take()) {
        model.series = series.into();
        // Nobody knows how many waited then. A plot that grew from nothing would be written anew each second.
        let unknown = model.series.len().saturating_sub(model.waiting.len());
        (0..unknown).for_each(|_| model.waiting.push_front(0));
    }
    keep(model, stats);
}

/// One more second.
fn second(model: &mut Model, stats: Stats) {
    if let Some(all) = &stats.all {
        // What waited before nobody has counted; where nothing waits, a line that grows would only keep a quiet screen busy.
        if model.waiting.is_empty() && all.queue.rows == 0 {
            model.waiting = vec![0; SERIES_SECONDS].into();
        }
        model.series.push_back(all.second);
        model.waiting.push_back(u64::try_from(all.queue.rows).unwrap_or_default());
    }
    while model.series.len() > SERIES_SECONDS {
        model.series.pop_front();
    }
    while model.waiting.len() > SERIES_SECONDS {
        model.waiting.pop_front();
    }
    let dead = |stats: &Stats| stats.apps.iter().map(|app| app.dead_letters).sum::<i64>();
    let before = model.stats.as_ref().map(dead);
    let changed = before.is_some_and(|before| before != dead(&stats));
    keep(model, stats);
    let is_live = model.flow == crate::model::Flow::Live;
    let level = model.level_mut();
    let is_fetched = matches!(level.fetch, crate::model::Fetch::Done(_));
    let shows_letters = matches!(level.listing, Listing::Groups | Listing::Letters);
    if changed && is_live && is_fetched && shows_letters && level.draft.is_none() {
        level.fetch = crate::model::Fetch::Never;
    }
}

fn keep(model: &mut Model, stats: Stats) {
    // Those of one app name that app alone.
    if stats.all.is_some() {
        model.slugs = Some(stats.apps.iter().map(|app| app.app.clone()).collect());
    }
    if let Some(level) =
        model.levels.get_mut(&crate::screen::Screen::Overview).and_then(|levels| levels.first_mut())
    {
        level.rows = stats.apps.iter().cloned().map(Item::Traffic).collect();
        level.fetch = crate::model::Fetch::Done(stats.now);
    }
    model.stats = Some(stats);
}
