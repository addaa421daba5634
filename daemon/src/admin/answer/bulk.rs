//! Many dead letters at once: first what a filter is about, then exactly that, in batches that let settles pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use picloud_api::letters::{AppCount, BulkAnswer, BulkRequest, Preview, TakeBackRequest};
use picloud_api::problem::{Code, Problem};

use crate::admin::answer::letters::{self, FilterQuery, hold, passes, which};
use crate::admin::answer::page::{self, failed, one_app};
use crate::admin::calls::Request;
use crate::admin::engine::{Engine, letter_item, slug};
use crate::admin::fields::Seen;
use crate::admin::refuse;
use crate::filter::{DEAD_LETTERS, Filter};
use crate::flow::Refusal;
use crate::flow::manage::discard::Discard;
use crate::flow::manage::replay::{Again, Replay};
use crate::flow::manage::take_back::TakeBack;
use crate::flow::manage::{Manage, Record, Wish};
use crate::ids::{AppId, Id};
use crate::store::lists::{BriefLetter, Letters, STEP_ROWS};
use crate::store::writer::CommitError;
use crate::time::Timestamp;

/// Letters of one bulk call.
const LETTERS_MAX: usize = 100_000;
/// Letters of one batch, few enough that what settles meanwhile does not wait long.
const BATCH_LETTERS_MAX: usize = 250;
/// Bytes of their events, unless one alone has more.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Letters that a preview shows.
const EXAMPLES: usize = 3;

/// What a bulk call is about.
struct Scope {
    filter: Filter,
    app: Option<AppId>,
    up_to: Option<Id>,
    as_of: Timestamp,
}

fn scope(request: &Request, filter: &str, app: Option<&str>) -> Result<Scope, Problem> {
    let filter = page::filter(&DEAD_LETTERS, filter)?;
    if which(&filter) != Letters::Open {
        let problem = Problem::new(Code::BadRequest, "only open dead letters are resolved in bulk");
        return Err(problem.with_hint("leave is: out, or write is:open"));
    }
    let app = app.map(|name| request.app_called(name)).transpose()?.map(|app| app.id);
    Ok(Scope { filter, app, up_to: None, as_of: Timestamp::default() })
}

/// The open letters within a scope, the newest first; too many are refused.
async fn matching(
    engine: &Engine,
    request: &Request,
    scope: &Scope,
) -> Result<Vec<BriefLetter>, Problem> {
    let one = one_app(request, scope.app, &scope.filter);
    let (catalog, now) = (&request.catalog, scope.as_of);
    let mut next = scope.up_to.map(|newest| newest.derived(1));
    let mut found = Vec::new();
    loop {
        let step = engine
            .reader
            .scan_letters(Letters::Open, one, next, STEP_ROWS)
            .await
            .map_err(failed)?;
        let ended = step.len() < STEP_ROWS;
        next = step.last().map(|last| last.id);
        let matches =
            |item: &BriefLetter| passes(&Seen { item, catalog, now }, scope.app, &scope.filter);
        found.extend(step.into_iter().filter(matches));
        if found.len() > LETTERS_MAX {
            let what = format!("more than {LETTERS_MAX} dead letters match");
            return Err(Problem::new(Code::BadRequest, what)
                .with_hint("narrow the filter, for example by app: or age:"));
        }
        if ended {
            return Ok(found);
        }
    }
}

pub(super) async fn preview(engine: &Engine, request: &Request) -> Result<Preview, Problem> {
    let query: FilterQuery = request.query()?;
    let as_of = engine.clock.now();
    let filter = query.filter.unwrap_or_default();
    let scope = Scope { as_of, ..scope(request, &filter, query.app.as_deref())? };
    let found = matching(engine, request, &scope).await?;
    let mut apps: BTreeMap<String, usize> = BTreeMap::new();
    for letter in &found {
        *apps.entry(slug(&request.catalog, letter.app)).or_default() += 1;
    }
    let examples: Vec<Id> = found.iter().take(EXAMPLES).map(|letter| letter.id).collect();
    let examples = engine.reader.letters_by_id(&examples).await.map_err(failed)?;
    Ok(Preview {
        count: found.len(),
        apps: apps.into_iter().map(|(app, count)| AppCount { app, count }).collect(),
        first_at: found.iter().map(|letter| letter.first_at.0).min(),
        last_at: found.iter().map(|letter| letter.last_at.0).max(),
        up_to: found.first().map(|newest| newest.id.to_string()),
        examples: examples.iter().map(|row| letter_item(row, &request.catalog)).collect(),
        as_of: as_of.0,
    })
}

/// The letters that a preview saw and the caller may resolve. Nothing is done when their number is another now.
async fn asked_for(
    engine: &Engine,
    request: &Request,
    body: &BulkRequest,
) -> Result<Vec<BriefLetter>, Problem> {
    let up_to = body.up_to.parse::<Id>().map_err(|error| {
        Problem::new(Code::BadRequest, format!("up_to=\"{}\": {error}", body.up_to))
    })?;
    let scope = Scope {
        up_to: Some(up_to),
        as_of: Timestamp(body.as_of),
        ..scope(request, &body.filter, body.app.as_deref())?
    };
    check_scope(request, scope.app)?;
    let found = matching(engine, request, &scope).await?;
    if found.len() != body.expect {
        let what = format!("{} dead letters match, not {}", found.len(), body.expect);
        return Err(Problem::new(Code::Conflict, what)
            .with_hint("nothing was done: look at what matches now, then repeat"));
    }
    Ok(found)
}

/// In bulk a capability is asked for in the app that the body names, or else for all.
fn check_scope(request: &Request, app: Option<AppId>) -> Result<(), Problem> {
    let Some(capability) = request.call.capability else { return Ok(()) };
    if request.principal.may(capability, app) {
        return Ok(());
    }
    let slug = app.and_then(|app| request.catalog.apps.get(&app)).map(|app| &*app.slug);
    Err(request.lacks(capability, slug))
}

pub(super) async fn replay(engine: &Engine, request: &Request) -> Result<BulkAnswer, Problem> {
    let body: BulkRequest = request.body(Code::BadRequest)?;
    let hold_ms = hold(body.hold_ms)?;
    let found = asked_for(engine, request, &body).await?;
    let note = note("dead-letters replay", &body.filter, found.len());
    let wish =
        |letter: Id| Wish::Replay(Replay { letter, payload: None, hold_ms, again: Again::No });
    let wishes = found.iter().map(|letter| (letter.id, letter.bytes, wish(letter.id)));
    do_all(engine, request, note, wishes.collect()).await
}

pub(super) async fn discard(engine: &Engine, request: &Request) -> Result<BulkAnswer, Problem> {
    let body: BulkRequest = request.body(Code::BadRequest)?;
    let reason = letters::reason(body.reason.clone().unwrap_or_default())?;
    let found = asked_for(engine, request, &body).await?;
    let note = note("dead-letters discard", &body.filter, found.len());
    let wish = |letter: Id| Wish::Discard(Discard { letter, reason: reason.clone() });
    let wishes = found.iter().map(|letter| (letter.id, letter.bytes, wish(letter.id)));
    do_all(engine, request, note, wishes.collect()).await
}

/// Undoes replays that have not begun: those of the letters that a bulk replay said were done.
pub(super) async fn take_back(engine: &Engine, request: &Request) -> Result<BulkAnswer, Problem> {
    let body: TakeBackRequest = request.body(Code::BadRequest)?;
    if body.ids.len() > LETTERS_MAX {
        let what = format!("{} ids; at most {LETTERS_MAX} are allowed", body.ids.len());
        return Err(Problem::new(Code::BadRequest, what));
    }
    let mut ids = Vec::with_capacity(body.ids.len());
    for text in &body.ids {
        let id = text.parse::<Id>();
        let id = id.map_err(|error| Problem::new(Code::BadRequest, format!("{text}: {error}")))?;
        ids.push(id);
    }
    ids.sort_unstable();
    ids.dedup();
    let mut wishes = Vec::new();
    let mut open = 0;
    for some in ids.chunks(STEP_ROWS) {
        for letter in engine.reader.replays(some).await.map_err(failed)? {
            request.check_found(letter.app, &format!("dead letter {}", letter.id))?;
            match letter.by {
                Some(row) => {
                    let wish = Wish::TakeBack(TakeBack { letter: letter.id, row });
                    wishes.push((letter.id, letter.bytes, wish));
                }
                None => open += 1,
            }
        }
    }
    let gone = ids.len() - wishes.len() - open;
    let note = note("dead-letters take-back", "by id", wishes.len());
    let answer = do_all(engine, request, note, wishes).await?;
    Ok(BulkAnswer { skipped: answer.skipped + open + gone, ..answer })
}

fn note(action: &'static str, filter: &str, count: usize) -> Wish {
    Wish::Many { action, filter: Arc::from(filter), count }
}

/// One line of the log of changes, then the wishes, batch by batch; each is granted or not for itself.
async fn do_all(
    engine: &Engine,
    request: &Request,
    note: Wish,
    wishes: Vec<(Id, usize, Wish)>,
) -> Result<BulkAnswer, Problem> {
    let mut answer = BulkAnswer::default();
    if wishes.is_empty() {
        return Ok(answer);
    }
    let noted = engine.manage(letters::wish(engine, request, note)).await;
    noted.map_err(|error| refuse::not_managed(&error))?;
    let mut rest = wishes.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut ids, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((id, weight, wish)) = rest.next_if(|(_, weight, _)| {
            ids.is_empty() || (ids.len() < BATCH_LETTERS_MAX && bytes + weight <= BATCH_BYTES_MAX)
        }) {
            bytes += weight;
            ids.push(id);
            let (by, fresh) = (request.principal.id, engine.fresh());
            batch.push(Manage { by, record: Record::WithMany, fresh, wish });
        }
        for (id, outcome) in ids.into_iter().zip(engine.manage_all(batch).await) {
            match outcome {
                Ok(()) => answer.done.push(id.to_string()),
                Err(CommitError::Refused(Refusal::Declined(_))) => answer.skipped += 1,
                Err(error) => {
                    answer.failed += 1;
                    answer.first_failure.get_or_insert_with(|| error.to_string());
                }
            }
        }
    }
    Ok(answer)
}
