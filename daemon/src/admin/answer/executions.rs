//! Runs that ended lately, rows that were abandoned, and the chain of causes and consequences that they belong to.

use std::collections::BTreeMap;
use std::sync::Arc;

use picloud_api::executions::{
    AbandonedDetail, AbandonedItem, AttemptDetail, Chain, EffectItem, ExecutionDetail, Link,
    LogLine,
};
use picloud_api::list::{ExecutionItem, Page};
use picloud_api::problem::Problem;
use picloud_scripts_runtime::effect::Space;

use crate::admin::answer::letters::{event, id_of};
use crate::admin::answer::outbox::state_of;
use crate::admin::answer::page::{self, Found, IsLast, failed, one_app};
use crate::admin::calls::{Request, not_there};
use crate::admin::engine::{Engine, execution_item, origin, slug};
use crate::admin::fields::Seen;
use crate::dispatcher::history::{Execution, Target, Wrote};
use crate::filter::{ABANDONED, EXECUTIONS};
use crate::ids::{AppId, Id};
use crate::store::lists::{AbandonedRow, BriefRow, STEP_ROWS};
use crate::store::read::{Cursor, LetterRow};

/// Links of a chain from each place where its rows may be.
const LINKS_MAX: usize = 500;
/// Rows of the outbox that are looked at for a chain, from its root on.
const CHAIN_ROWS_MAX: usize = 5_000;

pub(super) fn list(engine: &Engine, request: &Request) -> Result<Page<ExecutionItem>, Problem> {
    let window = page::window::<u64>(request, &EXECUTIONS)?;
    let (catalog, now) = (&request.catalog, engine.clock.now());
    let found = engine.dispatcher.history.find(window.after, window.limit, |item| {
        window.app.is_none_or(|app| app == item.app)
            && window.filter.passes(&Seen { item, catalog, now })
    });
    let last = found.last().filter(|_| found.len() == window.limit);
    Ok(Page {
        items: found.iter().map(|(_, one)| execution_item(one, catalog)).collect(),
        next: last.map(|(number, _)| number.to_string()),
        now: now.0,
    })
}

/// The attempts of a row that memory has, the last one first.
fn attempts(engine: &Engine, id: Id) -> Vec<Arc<Execution>> {
    let found = engine.dispatcher.history.find(None, LINKS_MAX, |one| one.id == id);
    found.into_iter().map(|(_, one)| one).collect()
}

pub(super) fn show(engine: &Engine, request: &Request) -> Result<ExecutionDetail, Problem> {
    let id = id_of(request, "execution")?;
    let name = format!("execution {id} in memory");
    let attempts = attempts(engine, id);
    let Some(last) = attempts.first() else {
        return Err(not_there(&name).with_hint(
            "only the newest are kept; what waits is in the outbox, what failed for good a dead letter",
        ));
    };
    request.check_found(last.app, &name)?;
    Ok(ExecutionDetail {
        id: id.to_string(),
        root_id: last.root.to_string(),
        cause_id: last.cause.map(|id| id.to_string()),
        attempts: attempts
            .iter()
            .map(|one| AttemptDetail {
                run: execution_item(one, &request.catalog),
                log: one
                    .log
                    .iter()
                    .map(|line| LogLine {
                        level: format!("{:?}", line.level).to_lowercase(),
                        message: line.message.clone(),
                        fields: line.fields.clone(),
                    })
                    .collect(),
                effects: one.wrote.iter().map(effect).collect(),
            })
            .collect(),
        now: engine.clock.now().0,
    })
}

fn effect(wrote: &Wrote) -> EffectItem {
    let to = match &wrote.to {
        Target::Entry(key) => {
            let space = match key.space {
                Space::Kv => "kv",
                Space::Docs => "docs",
            };
            format!("{space} {}/{}", key.collection, key.key)
        }
        Target::Named(name) => name.to_string(),
    };
    EffectItem { does: wrote.does.to_owned(), to }
}

pub(super) async fn abandoned(
    engine: &Engine,
    request: &Request,
) -> Result<Page<AbandonedItem>, Problem> {
    let window = page::window::<Id>(request, &ABANDONED)?;
    let (catalog, now) = (&request.catalog, engine.clock.now());
    let one = one_app(request, window.app, &window.filter);
    let mut found = Found::new(window.after, window.limit);
    let mut items = Vec::new();
    loop {
        let cursor = Cursor { before: found.next, limit: STEP_ROWS };
        let step = engine.reader.abandoned(one, cursor).await.map_err(failed)?.rows;
        let passes = |item: &AbandonedRow| {
            window.app.is_none_or(|app| app == item.app)
                && window.filter.passes(&Seen { item, catalog, now })
        };
        let passing: Vec<(Id, bool)> = step.iter().map(|item| (item.id, passes(item))).collect();
        let goes_on = found.take(passing.into_iter(), IsLast::of(step.len(), STEP_ROWS));
        items.extend(step);
        if !goes_on {
            break;
        }
    }
    items.retain(|item| found.ids.binary_search_by(|id| item.id.cmp(id)).is_ok());
    Ok(Page {
        items: items.iter().map(|item| abandoned_item(item, request)).collect(),
        next: found.next.map(|id| id.to_string()),
        now: now.0,
    })
}

fn abandoned_item(row: &AbandonedRow, request: &Request) -> AbandonedItem {
    AbandonedItem {
        id: row.id.to_string(),
        app: slug(&request.catalog, row.app),
        script: row.script.to_string(),
        source: row.source.as_str().to_owned(),
        origin: origin(&request.catalog, row.app, row.origin),
        reason: row.reason.to_string(),
        at: row.at.0,
        depth: row.depth,
        root_id: row.root.to_string(),
        cause_id: row.cause.map(|id| id.to_string()),
    }
}

pub(super) async fn show_abandoned(
    engine: &Engine,
    request: &Request,
) -> Result<AbandonedDetail, Problem> {
    let id = id_of(request, "abandoned execution")?;
    let name = format!("abandoned execution {id}");
    let found = engine.reader.abandoned_one(id).await.map_err(failed)?;
    let (row, text) = found.ok_or_else(|| not_there(&name))?;
    request.check_found(row.app, &name)?;
    let event = text.map(|text| event(row.source, &text)).transpose()?;
    let abandoned = abandoned_item(&row, request);
    Ok(AbandonedDetail { abandoned, event, now: engine.clock.now().0 })
}

/// The root of the chain that something belongs to, and its app.
async fn root_of(engine: &Engine, id: Id) -> Result<Option<(Id, AppId)>, Problem> {
    if let Some(run) = engine.dispatcher.history.last_of(id) {
        return Ok(Some((run.root, run.app)));
    }
    if let Some(stored) = engine.reader.outbox_row(id).await.map_err(failed)? {
        return Ok(Some((stored.row.root, stored.row.app)));
    }
    let mut letter = engine.reader.letter(id).await.map_err(failed)?;
    if letter.is_none() {
        letter = engine.reader.letter_of_row(id).await.map_err(failed)?;
    }
    if let Some(stored) = letter {
        return Ok(Some((stored.letter.row.root, stored.letter.row.app)));
    }
    let abandoned = engine.reader.abandoned_one(id).await.map_err(failed)?;
    Ok(abandoned.map(|(row, _)| (row.root, row.app)))
}

/// Everything that is known of one chain: runs in memory, and what the store holds of it.
pub(super) async fn chain(engine: &Engine, request: &Request) -> Result<Chain, Problem> {
    let id = id_of(request, "execution")?;
    let name = format!("execution {id}");
    let (root, app) = root_of(engine, id).await?.ok_or_else(|| {
        not_there(&name).with_hint("what completed is known only while it is among the newest")
    })?;
    request.check_found(app, &name)?;
    let now = engine.clock.now();
    let runs = engine.dispatcher.history.find(None, LINKS_MAX, |one| one.root == root);
    let rows = engine.reader.outbox_after(root, CHAIN_ROWS_MAX).await.map_err(failed)?;
    let letters = engine.reader.letters_of_root(root, LINKS_MAX).await.map_err(failed)?;
    let abandoned = engine.reader.abandoned_of_root(root, LINKS_MAX).await.map_err(failed)?;
    let mut complete = rows.len() < CHAIN_ROWS_MAX
        && [runs.len(), letters.len(), abandoned.len()].iter().all(|found| *found < LINKS_MAX);
    // The last that is known of a row wins: where it is now, and else its newest run.
    let mut links: BTreeMap<Id, Link> = BTreeMap::new();
    for (_, run) in runs.iter().rev() {
        links.insert(run.id, link_of_run(run, request));
    }
    for row in rows.iter().filter(|row| row.root == root) {
        let seen = Seen { item: row, catalog: &request.catalog, now };
        links.insert(row.id, link_of_row(row, state_of(&seen), request));
    }
    for letter in &letters {
        links.insert(letter.letter.row.id, link_of_letter(letter, request));
    }
    for row in &abandoned {
        links.insert(row.id, link_of_abandoned(row, request));
    }
    complete &= links.len() <= LINKS_MAX;
    let links = links.into_values().take(LINKS_MAX).collect();
    Ok(Chain { root_id: root.to_string(), links, complete, now: now.0 })
}

fn link_of_run(run: &Execution, request: &Request) -> Link {
    Link {
        id: run.id.to_string(),
        cause_id: run.cause.map(|id| id.to_string()),
        is: "execution".to_owned(),
        app: slug(&request.catalog, run.app),
        script: run.script.to_string(),
        source: run.source.as_str().to_owned(),
        origin: origin(&request.catalog, run.app, run.origin),
        state: run.end.as_str().to_owned(),
        at: run.started_at.0,
        error: run.failure.as_ref().map(|failure| failure.message.clone()),
        letter_id: None,
        replay_of: run.replay_of.map(|id| id.to_string()),
    }
}

fn link_of_row(row: &BriefRow, state: String, request: &Request) -> Link {
    Link {
        id: row.id.to_string(),
        cause_id: row.cause.map(|id| id.to_string()),
        is: "outbox".to_owned(),
        app: slug(&request.catalog, row.app),
        script: row.script.to_string(),
        source: row.source.as_str().to_owned(),
        origin: origin(&request.catalog, row.app, row.origin),
        state,
        at: row.available_at.let_go().0,
        error: row.failure.as_ref().map(|failure| failure.message.clone()),
        letter_id: None,
        replay_of: row.replay_of.map(|id| id.to_string()),
    }
}

fn link_of_letter(stored: &LetterRow, request: &Request) -> Link {
    let (letter, row) = (&stored.letter, Arc::clone(&stored.letter.row));
    Link {
        id: row.id.to_string(),
        cause_id: row.cause.map(|id| id.to_string()),
        is: "dead_letter".to_owned(),
        app: slug(&request.catalog, row.app),
        script: row.script.to_string(),
        source: row.source.as_str().to_owned(),
        origin: origin(&request.catalog, row.app, row.origin),
        state: stored.resolution.as_deref().unwrap_or("open").to_owned(),
        at: letter.last_at.0,
        error: Some(letter.failure.message.clone()),
        letter_id: Some(letter.id.to_string()),
        replay_of: row.replay_of.map(|id| id.to_string()),
    }
}

fn link_of_abandoned(row: &AbandonedRow, request: &Request) -> Link {
    Link {
        id: row.id.to_string(),
        cause_id: row.cause.map(|id| id.to_string()),
        is: "abandoned".to_owned(),
        app: slug(&request.catalog, row.app),
        script: row.script.to_string(),
        source: row.source.as_str().to_owned(),
        origin: origin(&request.catalog, row.app, row.origin),
        state: row.reason.to_string(),
        at: row.at.0,
        error: None,
        letter_id: None,
        replay_of: None,
    }
}
