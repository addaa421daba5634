//! Settling: what a finished run writes, and the end of the row that started it. One transaction.

use std::sync::Arc;

use picloud_scripts_runtime::effect::{Effect, Read};
use serde_json::json;

use crate::failure::{Failure, FailureKind};
use crate::faults::Bug;
use crate::flow::facts::{Facts, Keys, LineKey, RequestKey};
use crate::flow::layer::{Layer, line_of};
use crate::flow::manage::replay;
use crate::flow::mutate::Author;
use crate::flow::writes::{Abandoned, DeadLetter, LetterWrite, RowUpdate, RowWrite, Writes};
use crate::flow::{Kept, Refusal, accept, mutate};
use crate::ids::{Id, TriggerId};
use crate::outbox::decide::Action;
use crate::outbox::row::{AbandonReason, Claim, OrderKey, OutboxRow};
use crate::outbox::source::{OutboxSourceKind, TriggerDetails};
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

/// A run has ended. `effects` is empty unless it succeeded.
#[derive(Clone, Debug)]
pub struct Settle {
    pub claim: Claim,
    pub stored: Stored,
    pub action: Action,
    pub reads: Vec<Read>,
    pub effects: Vec<Effect>,
    /// The run's result as JSON text, to be kept for a caller that sends its request again.
    pub result: Option<Arc<str>>,
    /// Version of the script that ran; 0 when none did.
    pub script_version: i64,
    /// Drawn outside, so that planning stays pure: what this command makes gets ids derived from it.
    pub fresh: Id,
}

impl Settle {
    /// The id of the first that it makes: of the dead letter, where it makes one.
    pub fn first_made(&self) -> Id {
        self.fresh.derived(1)
    }
}

/// Whether the row's insert has reached the writer: a sync row's may not have, and then there is nothing to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Yes,
    No,
}

/// A task begins a chain of its own when it is put off by this much.
pub const DELAYED_MS: i64 = 1_000;

pub fn needs(settle: &Settle, facts: &Facts, keys: &mut Keys) {
    let row = &settle.claim.row;
    if settle.stored == Stored::Yes {
        keys.rows.insert(row.id);
    }
    keys.lines.extend(line_of(row));
    for read in &settle.reads {
        keys.entry(row.app, &read.key);
    }
    mutate::needs_of_effects(row.app, &settle.effects, facts, keys);
    for effect in &settle.effects {
        needs_of_work(effect, row, facts, keys);
    }
    if let (Some(_), Some(key)) = (&settle.result, &row.idempotency) {
        keys.requests.insert(RequestKey::of(key));
    }
    if let Some(letter) = row.letter {
        keys.letters.insert(letter);
    }
}

fn needs_of_work(effect: &Effect, row: &OutboxRow, facts: &Facts, keys: &mut Keys) {
    match effect {
        Effect::Enqueue { script, order_key, dedupe, .. } => {
            let queue = facts.catalog.script(row.app, script).map(|script| script.id.queue());
            if let (Some(queue), Some(key)) = (queue, order_key) {
                keys.lines.insert(LineKey { queue, key: Arc::clone(key) });
            }
            if let Some(value) = dedupe {
                keys.dedupe.insert((row.app, Arc::clone(value)));
            }
        }
        Effect::ReplayDeadLetter { id, .. } | Effect::DiscardDeadLetter { id, .. } => {
            keys.letters.extend(id.parse::<Id>());
        }
        Effect::Put { .. }
        | Effect::Patch { .. }
        | Effect::Increment { .. }
        | Effect::Delete { .. } => {}
    }
}

/// Refused when the lease is gone (another owner ends this row), the app was deleted (the row ends with it) or a value that the run read has changed.
pub fn plan(settle: &Settle, facts: &Facts) -> Result<Writes, Refusal> {
    let row = &settle.claim.row;
    if !facts.faults.has(Bug::NoFencing) {
        holds_lease(settle, facts)?;
    }
    let ends_with_its_app =
        matches!(settle.action, Action::Abandon { reason: AbandonReason::AppDeleted });
    if facts.catalog.deleted.contains(&row.app) && !ends_with_its_app {
        return Err(Refusal::AppDeleted);
    }
    if !facts.faults.has(Bug::ReadsNotValidated) {
        mutate::unchanged(row.app, &settle.reads, facts)?;
    }
    if row.is_sync() && facts.storage_low && !settle.effects.is_empty() {
        return Err(Refusal::StorageLow);
    }
    let mut layer = Layer::over(facts, settle.fresh);
    if settle.stored == Stored::No && facts.faults.has(Bug::ElideRowWithEffects) {
        return Ok(layer.writes);
    }
    let mut author = author_of(settle);
    if facts.faults.has(Bug::DepthIgnored) {
        author.depth = row.depth;
    }
    for effect in &settle.effects {
        apply(effect, &author, row, &mut layer)?;
    }
    keep_answer(settle, &mut layer)?;
    end(settle, &mut layer);
    Ok(layer.writes)
}

fn holds_lease(settle: &Settle, facts: &Facts) -> Result<(), Refusal> {
    let held = match settle.stored {
        Stored::No => true,
        Stored::Yes => facts.leases.get(&settle.claim.row.id) == Some(&settle.claim.lease),
    };
    if held { Ok(()) } else { Err(Refusal::LeaseLost) }
}

fn author_of(settle: &Settle) -> Author {
    let row = &settle.claim.row;
    let mut written_by =
        format!("{}@{} {} {}", row.script, settle.script_version, row.root, row.id);
    // Names of scripts are shorter than that; the bound is there for whatever comes.
    written_by.truncate(written_by.floor_char_boundary(120));
    Author {
        app: row.app,
        root: row.root,
        cause: row.id,
        depth: row.depth + 1,
        written_by: written_by.into(),
    }
}

fn apply(
    effect: &Effect,
    author: &Author,
    row: &OutboxRow,
    layer: &mut Layer,
) -> Result<(), Refusal> {
    match effect {
        Effect::Put { .. }
        | Effect::Patch { .. }
        | Effect::Increment { .. }
        | Effect::Delete { .. } => mutate::apply(effect, author, layer),
        Effect::Enqueue { .. } => enqueue(effect, row, layer),
        Effect::ReplayDeadLetter { id, payload } => replay_letter(id, payload.as_ref(), row, layer),
        Effect::DiscardDeadLetter { id, reason } => {
            let id = open_letter(id, row, layer)?;
            let mark = LetterWrite::Discarded { reason: reason.to_string(), at: layer.facts.now };
            layer.writes.letter_marks.insert(id, mark);
            Ok(())
        }
    }
}

fn enqueue(effect: &Effect, row: &OutboxRow, layer: &mut Layer) -> Result<(), Refusal> {
    let Effect::Enqueue { script, payload, delay_ms, order_key, dedupe } = effect else {
        return Ok(());
    };
    let facts = layer.facts;
    let target = facts
        .catalog
        .script(row.app, script)
        .ok_or_else(|| Refusal::NoSuchScript(script.to_string()))?;
    if let Some(value) = dedupe {
        let key = (row.app, Arc::clone(value));
        let waits = |row: &RowWrite| match row {
            RowWrite::Insert(row, _) => row.dedupe.as_ref() == Some(value),
            RowWrite::Update(_) | RowWrite::Delete => false,
        };
        let dedupes = !facts.faults.has(Bug::DedupeIgnored);
        if dedupes && (facts.dedupe.contains(&key) || layer.writes.rows.values().any(waits)) {
            return Ok(());
        }
    }
    let order = order_key
        .as_ref()
        .map(|key| OrderKey { key: Arc::clone(key), version: layer.next_number() });
    let row = OutboxRow {
        queue: target.id.queue(),
        script: Arc::clone(&target.name),
        event: format!(r#"{{"payload":{payload}}}"#).into(),
        order,
        dedupe: dedupe.clone(),
        available_at: facts.now.plus_ms(*delay_ms),
        depth: if *delay_ms >= DELAYED_MS { 0 } else { row.depth + 1 },
        ..task(row, layer.next_id())
    };
    layer.insert_caused(row)
}

/// A row for work that `row`'s run asked for.
fn task(row: &OutboxRow, id: Id) -> OutboxRow {
    OutboxRow {
        id,
        source: OutboxSourceKind::Task,
        origin: None,
        retry: RetryPolicy::default(),
        order: None,
        dedupe: None,
        attempt: 0,
        orphaned: 0,
        depth: row.depth + 1,
        cause: Some(row.id),
        reply_by: None,
        letter: None,
        replay_of: None,
        first: id,
        idempotency: None,
        ..row.clone()
    }
}

/// The id of a letter of the run's own app that is still open.
fn open_letter(text: &str, row: &OutboxRow, layer: &Layer) -> Result<Id, Refusal> {
    let refuse = |reason: &str| Refusal::Letter { id: text.to_owned(), reason: reason.to_owned() };
    let id = text.parse::<Id>().map_err(|error| refuse(&error.to_string()))?;
    match layer.facts.letters.get(&id) {
        Some(letter) if letter.app == row.app => {
            if letter.open && !layer.writes.letter_marks.contains_key(&id) {
                Ok(id)
            } else {
                Err(refuse("was resolved already"))
            }
        }
        Some(_) | None => Err(refuse("is not known in this app")),
    }
}

fn replay_letter(
    text: &str,
    payload: Option<&Arc<str>>,
    row: &OutboxRow,
    layer: &mut Layer,
) -> Result<(), Refusal> {
    let id = open_letter(text, row, layer)?;
    let letter = &layer.facts.letters[&id];
    let replays_max = layer.facts.limits.root_replays_max;
    let root = letter.row.root;
    let replayed = layer.facts.root_replays.get(&root).copied().unwrap_or(0);
    if replayed + replayed_here(root, layer) >= replays_max {
        let reason = format!("scripts have replayed what it came from {replays_max} times already");
        return Err(Refusal::Letter { id: text.to_owned(), reason });
    }
    let dead = Arc::clone(&letter.row);
    let new = layer.next_id();
    let fresh = replay::anew(&dead, new, payload, layer);
    layer.insert_caused(OutboxRow {
        available_at: layer.facts.now,
        depth: row.depth + 1,
        cause: Some(row.id),
        replay_of: Some(id),
        ..fresh
    })?;
    layer.writes.letter_marks.insert(id, LetterWrite::Replayed { by: new, at: layer.facts.now });
    Ok(())
}

/// How many letters of the root this command replays already.
fn replayed_here(root: Id, layer: &Layer) -> u32 {
    let is_of_root =
        |id: &Id| layer.facts.letters.get(id).is_some_and(|known| known.row.root == root);
    let marks = layer.writes.letter_marks.iter();
    let replays =
        marks.filter(|(id, mark)| matches!(mark, LetterWrite::Replayed { .. }) && is_of_root(id));
    u32::try_from(replays.count()).unwrap_or(u32::MAX)
}

/// Keeps the answer of a run that commits, unless another request with the same key was first.
fn keep_answer(settle: &Settle, layer: &mut Layer) -> Result<(), Refusal> {
    let (Some(result), Some(key)) = (&settle.result, &settle.claim.row.idempotency) else {
        return Ok(());
    };
    if !settle.claim.row.is_sync() {
        return Ok(());
    }
    accept::first_of(key, layer.facts)?;
    let small = result.len() <= layer.facts.limits.kept_answer_bytes_max;
    let kept = small.then(|| Kept::Result(Arc::clone(result)));
    layer.writes.requests.insert(RequestKey::of(key), (Arc::clone(&key.body_hash), kept));
    Ok(())
}

/// What happens to the row itself.
fn end(settle: &Settle, layer: &mut Layer) {
    let row = &settle.claim.row;
    let now = layer.facts.now;
    if settle.stored == Stored::No {
        if let Action::Abandon { reason } = settle.action {
            layer.writes.abandoned.push(Abandoned { row: Arc::clone(row), reason, at: now });
        }
        return;
    }
    match &settle.action {
        Action::Complete | Action::Answer(_) => layer.delete(row),
        Action::FailHandler { failure } => {
            if let Some(letter) = row.letter {
                let mark = LetterWrite::HandlerFailed { failure: failure.clone() };
                layer.writes.letter_marks.insert(letter, mark);
            }
            layer.delete(row);
        }
        Action::Abandon { reason } => {
            let abandoned = Abandoned { row: Arc::clone(row), reason: *reason, at: now };
            layer.writes.abandoned.push(abandoned);
            layer.delete(row);
        }
        Action::DeadLetter { failure } => {
            if !layer.facts.faults.has(Bug::LetterLost) {
                bury(settle, failure, layer);
            }
            layer.delete(row);
        }
        Action::Retry { available_at, failure } => {
            let update = RowUpdate {
                available_at: *available_at,
                attempt: row.attempt + u32::from(!layer.facts.faults.has(Bug::AttemptNotCounted)),
                // A row that keeps killing the daemon stays under suspicion.
                orphaned: if failure.kind == FailureKind::OwnerDied { row.orphaned } else { 0 },
                lease: None,
                failure: Some(failure.clone()),
            };
            layer.writes.rows.insert(row.id, RowWrite::Update(update));
        }
        Action::Release { available_at, orphaned } => {
            let update = RowUpdate {
                available_at: *available_at,
                attempt: row.attempt,
                orphaned: *orphaned,
                lease: None,
                failure: None,
            };
            layer.writes.rows.insert(row.id, RowWrite::Update(update));
        }
    }
}

/// Makes a dead letter of the row, and a row for each of its handlers, also in a full app: a row has to be able to end.
/// A queue that is full of dead letters is paused.
fn bury(settle: &Settle, failure: &Failure, layer: &mut Layer) {
    let row = &settle.claim.row;
    let facts = layer.facts;
    let letter = DeadLetter {
        id: layer.next_id(),
        row: Arc::clone(row),
        failure: failure.clone(),
        attempts: row.attempt + 1,
        first_at: row.created_at(),
        last_at: facts.now,
        script_version: settle.script_version,
    };
    debug_assert_eq!(letter.id, settle.first_made(), "what failed has no effects");
    let trigger = row.origin.and_then(|origin| facts.catalog.triggers.get(&TriggerId(origin)));
    let event = letter_event(&letter);
    let trigger = trigger.map(|one| &*one.name);
    let handles = |details: &TriggerDetails| details.handles(row.source, trigger);
    for handler in facts.catalog.matching.that_hear(row.app, handles) {
        let id = layer.next_id();
        layer.insert_owed(OutboxRow {
            queue: handler.id.queue(),
            source: OutboxSourceKind::DeadLetter,
            origin: Some(handler.id.0),
            script: Arc::clone(&handler.script),
            principal: handler.registered_by,
            event: Arc::clone(&event),
            retry: handler.retry.clone(),
            available_at: facts.now,
            letter: Some(letter.id),
            ..task(row, id)
        });
    }
    layer.bury(letter);
}

/// The event of a dead-letter handler as JSON text.
fn letter_event(letter: &DeadLetter) -> Arc<str> {
    let Timestamp(first_at) = letter.first_at;
    let Timestamp(last_at) = letter.last_at;
    let error = json!(letter.failure);
    format!(
        r#"{{"id":"{}","source":"{}","event":{},"error":{error},"attempts":{},"first_at":{first_at},"last_at":{last_at}}}"#,
        letter.id,
        letter.row.source.as_str(),
        letter.row.event,
        letter.attempts,
    )
    .into()
}
