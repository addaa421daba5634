//! What holds at all times: the daemon is looked for, and what is on the screen is asked for.

use picloud_api::instance::Instance;

use crate::client::segment;
use crate::effect::{Ask, Effect};
use crate::listing::{Listing, Scope};
use crate::message::Failure;
use crate::model::{Fetch, Flow, Link, Lost, Model, RECENT_MAX, Stream, selected};
use crate::part::{self, Loaded};
use crate::purpose::{How, Place, Purpose};
use crate::reply::Want;
use crate::update::{Out, ask, expect, give_up, list, refresh};

/// Waits between tries to reach the daemon: the first, and the longest.
const AGAIN_MS: i64 = 250;
const AGAIN_MS_MAX: i64 = 5_000;
/// The cursor rests for so long before the row's detail is asked for: whoever scrolls passes many.
const REST_MS: i64 = 120;
/// After so long a question that is not answered yet is spoken of.
pub(super) const SLOW_MS: i64 = 300;
/// Rows that have gone stay in sight for so long.
pub(super) const GONE_MS: i64 = 5_000;
/// For so long it is said that the daemon was restarted.
const RESTARTED_MS: i64 = 30_000;

/// Looks for the daemon.
pub(super) fn connect(model: &mut Model, out: &mut Out) {
    give_up(model, out, |purpose| {
        matches!(
            purpose,
            Purpose::Instance
                | Purpose::Stats
                | Purpose::OwnApps
                | Purpose::Recent
                | Purpose::StatsStream
                | Purpose::RowsStream
        )
    });
    model.stream = None;
    ask(model, Purpose::Instance, Ask::get("/instance", Want::Instance), out);
    ask(model, Purpose::Stats, Ask::get(stats_path(model), Want::Stats), out);
    ask_recent(model, out);
    let path = match &model.scope {
        Some(app) => format!("/events?app={}&filter=kind%3Astats", segment(app)),
        None => "/events?filter=kind%3Astats".to_owned(),
    };
    let ticket = expect(model, Purpose::StatsStream);
    out.push(Effect::Follow(ticket, path));
    if let Link::Lost(lost) = &mut model.link {
        lost.again_at = i64::MAX;
    }
}

/// Asks for the runs that ended last, of which the streams of other screens tell only some.
pub(super) fn ask_recent(model: &mut Model, out: &mut Out) {
    let recent = match &model.scope {
        Some(app) => format!("/executions?limit={RECENT_MAX}&app={}", segment(app)),
        None => format!("/executions?limit={RECENT_MAX}"),
    };
    ask(model, Purpose::Recent, Ask::get(recent, Want::Runs), out);
}

fn stats_path(model: &Model) -> String {
    match &model.scope {
        Some(app) => format!("/stats?app={}", segment(app)),
        None => "/stats".to_owned(),
    }
}

/// The daemon has said who it is.
pub(super) fn greeted(model: &mut Model, instance: Instance, out: &mut Out) {
    let before = model.instance.as_ref().map(|known| known.instance_id.clone());
    let is_new = before.as_ref().is_some_and(|id| *id != instance.instance_id);
    let was_away = !matches!(model.link, Link::Live);
    model.link = Link::Live;
    model.instance = Some(instance);
    if is_new {
        model.restarted_at = Some(model.now);
    }
    if is_new || (was_away && before.is_some()) {
        for level in model.levels.values_mut().flatten() {
            refresh(level);
        }
        close_stream(model, out);
    }
}

/// The daemon cannot be reached. It is tried again, less and less often.
pub(super) fn lost(model: &mut Model, why: Failure, out: &mut Out) {
    if let Failure::Closed { .. } | Failure::OtherVersion { .. } = why {
        return refused(model, why);
    }
    let now = model.now;
    let (since, tries) = match &model.link {
        Link::Lost(lost) if lost.again_at != i64::MAX => return,
        Link::Lost(lost) => (lost.since, lost.tries + 1),
        Link::Live | Link::Connecting(_) | Link::Refused(_) => (now, 0),
    };
    // All that was asked of it fails, and each of these says so: the first counts.
    // What changes something is waited for: whoever asked has to hear what became of it.
    give_up(model, out, |purpose| {
        !matches!(
            purpose,
            Purpose::Editor(..) | Purpose::Act(_) | Purpose::Undo(_) | Purpose::Save(..)
        )
    });
    model.stream = None;
    let wait = AGAIN_MS.saturating_mul(1 << tries.min(5)).min(AGAIN_MS_MAX);
    model.link = Link::Lost(Lost { since, why, tries, again_at: now + wait + spread(now, wait) });
    for level in model.levels.values_mut().flatten() {
        if let Fetch::Asked(_) = level.fetch {
            level.fetch = Fetch::Never;
        }
        level.parts.retain(|(_, part)| !matches!(part, Loaded::Asked(_)));
    }
}

/// Up to a fifth of the wait, so that not all consoles of a machine come back at the same moment.
fn spread(now: i64, wait: i64) -> i64 {
    now.wrapping_mul(2_654_435_761).rem_euclid(1_000) * wait / 5_000
}

pub(super) fn refused(model: &mut Model, why: Failure) {
    model.link = Link::Refused(why);
}

pub(super) fn stream_ended(
    model: &mut Model,
    ticket: crate::effect::Ticket,
    why: Failure,
    out: &mut Out,
) {
    match model.asked.remove(&ticket) {
        // A daemon that says no would say so again.
        Some(Purpose::StatsStream) if matches!(why, Failure::Problem(_)) => {}
        Some(Purpose::StatsStream) => lost(model, why, out),
        Some(Purpose::RowsStream) => {
            let problem = matches!(why, Failure::Problem(_));
            if let Some(stream) = model.stream.as_mut().filter(|one| one.ticket == ticket) {
                // It stays noted as what cannot be had, or it would be asked for again and again.
                if !problem {
                    stream.path.clear();
                }
            }
        }
        _ => {}
    }
}

pub(super) fn close_stream(model: &mut Model, out: &mut Out) {
    if let Some(stream) = model.stream.take() {
        model.asked.remove(&stream.ticket);
        out.push(Effect::Abort(stream.ticket));
    }
}

/// Asks for whatever the screen needs, and lets go what is over.
pub(super) fn upkeep(model: &mut Model, out: &mut Out) {
    expire(model);
    if let Link::Lost(lost) = &model.link
        && lost.again_at <= model.now
    {
        connect(model, out);
    }
    for level in model.levels.values_mut().flatten() {
        list::settle(level, model.now);
    }
    list::scroll(model);
    if !matches!(model.link, Link::Live) {
        return;
    }
    ask_page(model, out);
    ask_parts(model, out);
    keep_stream(model, out);
}

fn expire(model: &mut Model) {
    let now = model.now;
    model.note.take_if(|note| note.until <= now);
    model.undo.take_if(|undo| undo.until <= now);
    model.restarted_at.take_if(|at| *at + RESTARTED_MS <= now);
    if model.flow == Flow::Live {
        for level in model.levels.values_mut().flatten() {
            if level.listing == Listing::Outbox {
                level.rows.retain(|row| !is_over(row, now));
            }
        }
    }
}

fn is_over(item: &crate::item::Item, now: i64) -> bool {
    let crate::item::Item::Outbox(row) = item else { return false };
    row.gone.is_some_and(|gone| gone.at + GONE_MS <= now)
}

fn ask_page(model: &mut Model, out: &mut Out) {
    let (place, now) = (model.place(), model.now);
    let slugs = model.slugs.clone();
    let level = model.level();
    let Some(rows) = level.listing.rows().filter(|_| matches!(level.fetch, Fetch::Never)) else {
        return ask_more(model, place, out);
    };
    let scope = Scope { app: model.scope.as_deref(), slugs: slugs.as_deref() };
    let filter = list::whole_filter(level);
    let Some(paths) = level.listing.paths(scope, &filter) else { return };
    model.level_mut().fetch = Fetch::Asked(now);
    let question = Ask { paths, ..Ask::get("", Want::Page(rows)) };
    give_up(model, out, |purpose| matches!(purpose, Purpose::Page(at, _) if *at == place));
    ask(model, Purpose::Page(place, How::Replace), question, out);
}

/// The next page, when the cursor comes near the end of what is there.
fn ask_more(model: &mut Model, place: Place, out: &mut Out) {
    let level = model.level();
    let Some(rows) = level.listing.rows() else { return };
    let is_asked =
        model.asked.values().any(|purpose| matches!(purpose, Purpose::Page(at, _) if *at == place));
    if level.rest.is_empty() || is_asked || !list::is_near_end(model) {
        return;
    }
    let question = Ask { paths: level.rest.clone(), ..Ask::get("", Want::Page(rows)) };
    ask(model, Purpose::Page(place, How::Append), question, out);
}

fn ask_parts(model: &mut Model, out: &mut Out) {
    let (place, now) = (model.place(), model.now);
    let level = model.level();
    let (Some(item), Some(tab)) = (selected(level), level.shown_tab()) else { return };
    let of = item.id();
    let wanted = part::needs(level, item, tab);
    let missing: Vec<part::Key> =
        wanted.into_iter().filter(|key| level.part(key).is_none()).collect();
    if missing.is_empty() || now < level.moved_at + REST_MS {
        return;
    }
    for key in missing {
        model.level_mut().parts.push((key.clone(), Loaded::Asked(now)));
        let question = key.ask();
        ask(model, Purpose::Part(place, of.clone(), key), question, out);
    }
}

/// The stream of the list that is shown: opened, changed with its filter, closed when nobody looks.
fn keep_stream(model: &mut Model, out: &mut Out) {
    let place = model.place();
    let wanted = stream_path(model).filter(|_| model.flow == Flow::Live);
    let current = model.stream.as_ref().map(|stream| (stream.place, stream.path.clone()));
    if current == wanted.clone().map(|path| (place, path)) {
        return;
    }
    // What broke by itself comes back with the list, which has missed something.
    if let (Some((at, path)), Some(_)) = (&current, &wanted)
        && *at == place
        && path.is_empty()
    {
        refresh(model.level_mut());
    }
    close_stream(model, out);
    if let Some(path) = wanted {
        let ticket = expect(model, Purpose::RowsStream);
        model.stream = Some(Stream { ticket, place, path: path.clone() });
        out.push(Effect::Follow(ticket, path));
    }
}

fn stream_path(model: &Model) -> Option<String> {
    let level = model.level();
    let kind = level.listing.events()?;
    let filter = format!("kind:{kind} {}", list::whole_filter(level));
    let app = model.scope.as_ref().map(|app| format!("app={}&", segment(app)));
    Some(format!("/events?{}filter={}", app.unwrap_or_default(), segment(filter.trim())))
}

/// When `update` is to hear of the time again, if nothing else happens.
pub fn wake_at(model: &Model) -> Option<i64> {
    let now = model.now;
    let mut times = vec![next_minute(now)];
    times.extend(model.note.as_ref().map(|note| note.until));
    times.extend(model.undo.as_ref().map(|_| now + 1_000));
    match &model.link {
        Link::Lost(lost) if lost.again_at != i64::MAX => {
            times.push(lost.again_at.min(now + 1_000));
        }
        Link::Connecting(since) if now < since + SLOW_MS => times.push(since + SLOW_MS),
        Link::Lost(_) | Link::Connecting(_) | Link::Live | Link::Refused(_) => {}
    }
    let level = model.level();
    if let Fetch::Asked(at) = level.fetch
        && now < at + SLOW_MS
    {
        times.push(at + SLOW_MS);
    }
    if now < level.moved_at + REST_MS {
        times.push(level.moved_at + REST_MS);
    }
    if level.listing == Listing::Outbox && model.flow == Flow::Live && !level.rows.is_empty() {
        // Ages and what is due in some seconds are written in seconds.
        times.push(now + 1_000);
    }
    times.into_iter().filter(|at| *at > now).min()
}

fn next_minute(now: i64) -> i64 {
    (now.div_euclid(60_000) + 1) * 60_000
}
