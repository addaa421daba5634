//! Dead letters: the list, one, groups by error, and what is done with one.

use std::collections::HashMap;
use std::sync::Arc;

use picloud_api::letters::{
    Done, LetterDetail, LetterGroup, LetterGroups, ReasonRequest, ReplayRequest,
};
use picloud_api::list::{DeadLetterItem, Page};
use picloud_api::problem::{Code, Problem};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::admin::answer::page::{self, Found, IsLast, failed, one_app};
use crate::admin::calls::{Request, not_there};
use crate::admin::engine::{Engine, failure_item, letter_item, slug};
use crate::admin::fields::Seen;
use crate::admin::refuse;
use crate::failure::folded;
use crate::filter::{DEAD_LETTERS, Filter};
use crate::flow::manage::discard::Discard;
use crate::flow::manage::reopen::Reopen;
use crate::flow::manage::replay::{Again, HOLD_MS_MAX, Replay};
use crate::flow::manage::take_back::TakeBack;
use crate::flow::manage::{Declined, Manage, Record, Wish};
use crate::ids::{AppId, Id};
use crate::outbox::masked;
use crate::outbox::row::OutboxRow;
use crate::outbox::source::OutboxSourceKind;
use crate::payload;
use crate::store::lists::{BriefLetter, Letters, STEP_ROWS};
use crate::store::read::LetterRow;
use crate::time::Timestamp;

/// Letters that are looked at for groups.
const GROUPED_MAX: usize = 5_000;
/// Groups of an answer.
const GROUPS_MAX: usize = 200;

/// Which letters a filter is about: the open ones, unless it says otherwise.
pub(super) fn which(filter: &Filter) -> Letters {
    match filter.only("is") {
        Some("open" | "handler_failed") => Letters::Open,
        Some("replayed" | "discarded" | "resolved") => Letters::Resolved,
        Some(_) => Letters::Any,
        None if filter.names("is") => Letters::Any,
        None => Letters::Open,
    }
}

/// Whether a letter is in an app, if one is named, and passes.
pub(super) fn passes(seen: &Seen<'_, BriefLetter>, app: Option<AppId>, filter: &Filter) -> bool {
    app.is_none_or(|app| app == seen.item.app) && filter.passes(seen)
}

pub(super) async fn list(
    engine: &Engine,
    request: &Request,
) -> Result<Page<DeadLetterItem>, Problem> {
    let window = page::window::<Id>(request, &DEAD_LETTERS)?;
    let (catalog, now) = (&request.catalog, engine.clock.now());
    let (which, one) = (which(&window.filter), one_app(request, window.app, &window.filter));
    let mut found = Found::new(window.after, window.limit);
    let step_rows = window.step_rows();
    loop {
        let step =
            engine.reader.scan_letters(which, one, found.next, step_rows).await.map_err(failed)?;
        let items = step.iter().map(|item| {
            (item.id, passes(&Seen { item, catalog, now }, window.app, &window.filter))
        });
        if !found.take(items, IsLast::of(step.len(), step_rows)) {
            break;
        }
    }
    let rows = engine.reader.letters_by_id(&found.ids).await.map_err(failed)?;
    Ok(Page {
        items: rows.iter().map(|row| letter_item(row, catalog)).collect(),
        next: found.next.map(|id| id.to_string()),
        now: now.0,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterQuery {
    pub(super) filter: Option<String>,
    pub(super) app: Option<String>,
}

pub(super) async fn groups(engine: &Engine, request: &Request) -> Result<LetterGroups, Problem> {
    let query: FilterQuery = request.query()?;
    let filter = page::filter(&DEAD_LETTERS, query.filter.as_deref().unwrap_or_default())?;
    let app = query.app.as_deref().map(|name| request.app_called(name)).transpose()?;
    let app = app.map(|app| app.id);
    let (catalog, now) = (&request.catalog, engine.clock.now());
    let (which, one) = (which(&filter), one_app(request, app, &filter));
    let mut groups: HashMap<(AppId, Box<str>, Box<str>, String), LetterGroup> = HashMap::new();
    let (mut next, mut looked_at, mut complete) = (None, 0, false);
    while !complete && looked_at < GROUPED_MAX {
        let step = engine.reader.scan_letters(which, one, next, STEP_ROWS).await.map_err(failed)?;
        complete = step.len() < STEP_ROWS;
        next = step.last().map(|last| last.id);
        looked_at += step.len();
        for item in step.iter().filter(|item| passes(&Seen { item, catalog, now }, app, &filter)) {
            let error = folded(&item.error);
            let key = (item.app, item.script.clone(), item.kind.clone(), error.clone());
            let group = groups.entry(key).or_insert_with(|| LetterGroup {
                app: slug(catalog, item.app),
                script: item.script.to_string(),
                kind: item.kind.to_string(),
                error,
                first_at: item.first_at.0,
                version_min: item.script_version,
                current_version: catalog.script(item.app, &item.script).map(|one| one.version),
                example: item.id.to_string(),
                ..LetterGroup::default()
            });
            group.count += 1;
            group.first_at = group.first_at.min(item.first_at.0);
            group.last_at = group.last_at.max(item.last_at.0);
            group.version_min = group.version_min.min(item.script_version);
            group.version_max = group.version_max.max(item.script_version);
        }
    }
    let mut groups: Vec<LetterGroup> = groups.into_values().collect();
    groups.sort_by(|one, other| {
        (other.count, other.last_at, &other.example).cmp(&(one.count, one.last_at, &one.example))
    });
    complete &= groups.len() <= GROUPS_MAX;
    groups.truncate(GROUPS_MAX);
    Ok(LetterGroups { groups, looked_at, complete, now: now.0 })
}

/// The id that the path names, of a thing as people call it.
pub(super) fn id_of(request: &Request, thing: &str) -> Result<Id, Problem> {
    let text = request.segment("id")?;
    text.parse().map_err(|error| {
        Problem::new(Code::NotFound, format!("there is no {thing} \"{text}\": {error}"))
    })
}

/// The letter that the path names, if the caller may do with it what the call does.
async fn found(engine: &Engine, request: &Request) -> Result<LetterRow, Problem> {
    let id = id_of(request, "dead letter")?;
    let name = format!("dead letter {id}");
    let letter = engine.reader.letter(id).await.map_err(failed)?;
    let letter = letter
        .ok_or_else(|| not_there(&name).with_hint("resolved letters are kept for a while only"))?;
    request.check_found(letter.letter.row.app, &name)?;
    Ok(letter)
}

pub(super) async fn show(engine: &Engine, request: &Request) -> Result<LetterDetail, Problem> {
    let stored = found(engine, request).await?;
    let row = &stored.letter.row;
    let replay = match stored.resolved_by {
        Some(by) => engine.reader.outbox_row(by).await.map_err(failed)?,
        None => None,
    };
    let is_held = |at: Timestamp| at.let_go() > engine.clock.now();
    let held_until = replay.filter(|replay| {
        replay.lease.is_none() && replay.row.attempt == 0 && is_held(replay.row.available_at)
    });
    Ok(LetterDetail {
        letter: letter_item(&stored, &request.catalog),
        current_version: request.catalog.script(row.app, &row.script).map(|one| one.version),
        event: event(row.source, &row.event)?,
        row_id: row.id.to_string(),
        root_id: row.root.to_string(),
        cause_id: row.cause.map(|id| id.to_string()),
        replay_of: row.replay_of.map(|id| id.to_string()),
        key: row.order.as_ref().map(|order| order.key.to_string()),
        depth: row.depth,
        max_attempts: row.retry.max_attempts,
        resolved_at: stored.resolved_at.map(|at| at.0),
        replayed_by: stored.resolved_by.map(|id| id.to_string()),
        held_until: held_until.map(|replay| replay.row.available_at.let_go().0),
        reason: stored.reason.as_ref().map(ToString::to_string),
        handler_error: stored.handler_failure.as_ref().map(failure_item),
        now: engine.clock.now().0,
    })
}

/// An event as it is shown.
pub(super) fn event(source: OutboxSourceKind, event: &str) -> Result<Box<RawValue>, Problem> {
    RawValue::from_string(masked::shown(source, event).into_owned())
        .map_err(|error| Problem::new(Code::Internal, format!("the event is no JSON: {error}")))
}

/// The command for one wish of the caller, with a line of its own in the log of changes.
pub(super) fn wish(engine: &Engine, request: &Request, wish: Wish) -> Manage {
    let (by, fresh) = (request.principal.id, engine.fresh());
    Manage { by, record: Record::Alone, fresh, wish }
}

/// For how long a replay is held.
pub(super) fn hold(hold_ms: Option<i64>) -> Result<i64, Problem> {
    match hold_ms.unwrap_or(0) {
        ms if (0..=HOLD_MS_MAX).contains(&ms) => Ok(ms),
        ms => Err(Problem::new(
            Code::BadRequest,
            format!("hold_ms is {ms}; 0 to {HOLD_MS_MAX} are allowed"),
        )),
    }
}

/// A reason that says something.
pub(super) fn reason(text: String) -> Result<String, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::new(Code::BadRequest, "a reason is missing"));
    }
    Ok(text)
}

pub(super) async fn replay(engine: &Engine, request: &Request) -> Result<Done, Problem> {
    let stored = found(engine, request).await?;
    let body: ReplayRequest = request.body(Code::BadRequest)?;
    let hold_ms = hold(body.hold_ms)?;
    let payload = body.payload.map(|payload| edited(&stored.letter.row, payload.get()));
    let replay = Replay {
        letter: stored.letter.id,
        payload: payload.transpose()?,
        hold_ms,
        again: if body.again { Again::Yes } else { Again::No },
    };
    let manage = wish(engine, request, Wish::Replay(replay));
    let row = manage.made();
    let asked_at = engine.clock.now();
    engine.manage(manage).await.map_err(|error| refuse::not_managed(&error))?;
    Ok(Done {
        id: stored.letter.id.to_string(),
        row_id: Some(row.to_string()),
        held_until: (hold_ms > 0).then(|| asked_at.plus_ms(hold_ms).0),
        letter_id: None,
    })
}

/// A payload that somebody wrote, as a row's event takes it.
fn edited(row: &OutboxRow, text: &str) -> Result<Arc<str>, Problem> {
    let refuse =
        |what: &str| Problem::new(Code::BadRequest, format!("the payload cannot be used: {what}"));
    payload::check(text.as_bytes()).map_err(|error| refuse(&error.to_string()))?;
    if row.source != OutboxSourceKind::Task && !text.trim_start().starts_with('{') {
        return Err(refuse("it is the whole event, which is a map")
            .with_hint("`picloud dead-letters show ID --json` prints the event as it was"));
    }
    Ok(masked::restored(row.source, text, &row.event).into())
}

pub(super) async fn take_back(engine: &Engine, request: &Request) -> Result<Done, Problem> {
    let stored = found(engine, request).await?;
    nothing(request)?;
    let letter = stored.letter.id;
    let Some(row) = stored.resolved_by else {
        let declined = match stored.resolved_at {
            Some(_) => Declined::Discarded(letter),
            None => Declined::Open(letter),
        };
        return Err(refuse::declined(&declined));
    };
    done(engine, request, letter, Wish::TakeBack(TakeBack { letter, row })).await
}

pub(super) async fn discard(engine: &Engine, request: &Request) -> Result<Done, Problem> {
    let letter = found(engine, request).await?.letter.id;
    let body: ReasonRequest = request.body(Code::BadRequest)?;
    let reason = reason(body.reason)?;
    done(engine, request, letter, Wish::Discard(Discard { letter, reason })).await
}

pub(super) async fn reopen(engine: &Engine, request: &Request) -> Result<Done, Problem> {
    let letter = found(engine, request).await?.letter.id;
    nothing(request)?;
    done(engine, request, letter, Wish::Reopen(Reopen { letter })).await
}

async fn done(engine: &Engine, request: &Request, id: Id, wished: Wish) -> Result<Done, Problem> {
    let manage = wish(engine, request, wished);
    engine.manage(manage).await.map_err(|error| refuse::not_managed(&error))?;
    Ok(Done { id: id.to_string(), ..Done::default() })
}

/// A body that says nothing.
pub(super) fn nothing(request: &Request) -> Result<(), Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    let Nothing {} = request.body(Code::BadRequest)?;
    Ok(())
}
