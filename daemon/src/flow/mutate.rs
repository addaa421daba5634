//! Changing entries: write, match triggers, one outbox row for each match.
//!
//! Whoever writes to an entry goes through here. Values before and after are those of the commit, never what a
//! script saw, so `prev_value`, increments and patches are true.

use std::sync::Arc;

use picloud_scripts_runtime::apply as values;
use picloud_scripts_runtime::effect::{Effect, Key, Read, Space};
use serde_json::json;

use crate::entry::{Change, ChangeOp, Entry, EntryKey};
use crate::faults::Bug;
use crate::flow::Refusal;
use crate::flow::configure::Audit;
use crate::flow::facts::{Facts, Keys, LineKey};
use crate::flow::layer::Layer;
use crate::flow::writes::{EntryWrite, Writes};
use crate::ids::{AppId, Id, PrincipalId};
use crate::outbox::row::{OrderKey, OutboxRow};
use crate::outbox::source::OutboxSourceKind;
use crate::payload::MapWriter;
use crate::time::Timestamp;
use crate::trigger::{Ordering, Trigger};

/// An edit from outside a run. `reads` are the versions that the editor saw.
#[derive(Clone, Debug)]
pub struct Mutate {
    /// Root of the rows that it causes, and what their ids are derived from.
    pub id: Id,
    pub app: AppId,
    pub principal: PrincipalId,
    pub reads: Vec<Read>,
    /// Of entries only.
    pub effects: Vec<Effect>,
}

/// On whose behalf entries change: what the rows and entries that come of it say about their origin.
pub struct Author {
    pub app: AppId,
    pub root: Id,
    pub cause: Id,
    /// Depth of the rows that the change makes.
    pub depth: u32,
    pub written_by: Arc<str>,
}

pub fn needs(mutate: &Mutate, facts: &Facts, keys: &mut Keys) {
    for read in &mutate.reads {
        keys.entry(mutate.app, &read.key);
    }
    needs_of_effects(mutate.app, &mutate.effects, facts, keys);
}

/// Refused with a conflict when a value that the editor saw has changed.
pub fn plan(mutate: &Mutate, facts: &Facts) -> Result<Writes, Refusal> {
    if facts.catalog.deleted.contains(&mutate.app) {
        return Err(Refusal::AppDeleted);
    }
    if facts.storage_low {
        return Err(Refusal::StorageLow);
    }
    unchanged(mutate.app, &mutate.reads, facts)?;
    let author = Author {
        app: mutate.app,
        root: mutate.id,
        cause: mutate.id,
        depth: 1,
        written_by: format!("principal {} {}", mutate.principal, mutate.id).into(),
    };
    let mut layer = Layer::over(facts, mutate.id);
    for effect in &mutate.effects {
        apply(effect, &author, &mut layer)?;
    }
    if !layer.writes.entries.is_empty() {
        layer.writes.audits.extend(audit(mutate, facts));
    }
    Ok(layer.writes)
}

/// An edit on record, under its first key. What was written is not: the log of who did what must not keep data.
fn audit(mutate: &Mutate, facts: &Facts) -> Option<Audit> {
    let effect = mutate.effects.first()?;
    let key = entry_of(effect)?;
    let app = facts.catalog.apps.get(&mutate.app).map_or("?", |app| &*app.slug);
    let (space, action) = match (key.space, effect) {
        (Space::Kv, Effect::Delete { .. }) => ("kv", "delete_entry"),
        (Space::Docs, Effect::Delete { .. }) => ("docs", "delete_entry"),
        (Space::Kv, _) => ("kv", "put_entry"),
        (Space::Docs, _) => ("docs", "put_entry"),
    };
    Some(Audit {
        at: facts.now,
        principal: mutate.principal,
        action: action.to_owned(),
        object: format!("{app}/{space}/{}/{}", key.collection, key.key),
        detail: json!({"root_id": mutate.id.to_string(), "effects": mutate.effects.len()})
            .to_string(),
    })
}

/// Names the entries that effects touch, and the lines that rows they cause may join.
pub fn needs_of_effects(app: AppId, effects: &[Effect], facts: &Facts, keys: &mut Keys) {
    for key in effects.iter().filter_map(entry_of) {
        keys.entry(app, key);
        for trigger in facts.catalog.matching.by_key(app, key) {
            keys.lines.insert(LineKey { queue: trigger.id.queue(), key: line_of(key) });
        }
    }
}

/// Every value that was read must still have the version that was seen; absent is 0.
pub fn unchanged(app: AppId, reads: &[Read], facts: &Facts) -> Result<(), Refusal> {
    let same = reads.iter().all(|read| {
        let key = EntryKey { app, key: read.key.clone() };
        facts.entry(&key).map_or(0, |entry| entry.version) == read.version
    });
    if same { Ok(()) } else { Err(Refusal::Conflict) }
}

/// Applies one effect on an entry, and inserts a row for each trigger that it sets off.
pub fn apply(effect: &Effect, author: &Author, layer: &mut Layer) -> Result<(), Refusal> {
    let Some(key) = entry_of(effect) else { return Ok(()) };
    let key = EntryKey { app: author.app, key: key.clone() };
    let Some(change) = write(effect, key, author, layer)? else { return Ok(()) };
    let facts = layer.facts;
    let mut event: Option<Arc<str>> = None;
    for trigger in facts.catalog.matching.for_change(&change) {
        let event = Arc::clone(event.get_or_insert_with(|| event_of(&change)));
        let id = layer.next_id();
        let row = OutboxRow {
            id,
            first: id,
            available_at: facts.now,
            ..row_for(trigger, &change, event, author)
        };
        layer.insert_caused(row)?;
    }
    Ok(())
}

/// The line of the rows that changes of a key make.
fn line_of(key: &Key) -> Arc<str> {
    format!("{}/{}", key.collection, key.key).into()
}

fn entry_of(effect: &Effect) -> Option<&Key> {
    match effect {
        Effect::Put { key, .. }
        | Effect::Patch { key, .. }
        | Effect::Increment { key, .. }
        | Effect::Delete { key } => Some(key),
        Effect::Enqueue { .. }
        | Effect::ReplayDeadLetter { .. }
        | Effect::DiscardDeadLetter { .. } => None,
    }
}

/// Puts the new value over the old one. `None` when nothing changes: what is absent was deleted.
fn write(
    effect: &Effect,
    key: EntryKey,
    author: &Author,
    layer: &mut Layer,
) -> Result<Option<Change>, Refusal> {
    let before = match layer.facts.faults.has(Bug::StaleEventValues) {
        true => layer.facts.entry(&key).cloned(),
        false => layer.entry(&key).cloned(),
    };
    let prev = before.as_ref().map(|entry| Arc::clone(&entry.value));
    let (value, expires_at) = match effect {
        Effect::Put { value, ttl_ms, .. } => {
            (Some(Arc::clone(value)), ttl_ms.map(|ttl| layer.facts.now.plus_ms(ttl)))
        }
        Effect::Patch { patch, .. } => {
            let old = prev.as_deref().ok_or_else(|| refuse(&key, "is gone, nothing to update"))?;
            let merged =
                values::merge(old, patch).map_err(|error| refuse(&key, &error.to_string()))?;
            (Some(merged.into()), before.as_ref().and_then(|entry| entry.expires_at))
        }
        Effect::Increment { by, .. } => {
            let sum = values::increment(prev.as_deref(), *by);
            let sum = sum.map_err(|error| refuse(&key, &error.to_string()))?;
            (Some(sum.into()), before.as_ref().and_then(|entry| entry.expires_at))
        }
        Effect::Delete { .. } => (None, None),
        Effect::Enqueue { .. }
        | Effect::ReplayDeadLetter { .. }
        | Effect::DiscardDeadLetter { .. } => return Ok(None),
    };
    let op = match (&value, &prev, key.key.space) {
        (None, None, _) => return Ok(None),
        (None, Some(_), _) => ChangeOp::Delete,
        (Some(_), _, Space::Kv) => ChangeOp::Set,
        (Some(_), None, Space::Docs) => ChangeOp::Create,
        (Some(_), Some(_), Space::Docs) => ChangeOp::Update,
    };
    let bytes_max = layer.facts.value_bytes_max;
    if value.as_ref().is_some_and(|value| value.len() > bytes_max) {
        return Err(refuse(&key, &format!("would have more than {bytes_max} bytes")));
    }
    let version = layer.next_number();
    let entry = match &value {
        None => EntryWrite::Delete,
        Some(value) => EntryWrite::Put(Entry {
            version,
            value: Arc::clone(value),
            expires_at,
            written_by: Arc::clone(&author.written_by),
        }),
    };
    layer.writes.entries.insert(key.clone(), entry);
    Ok(Some(Change { key, op, version, value, prev }))
}

fn refuse(key: &EntryKey, reason: &str) -> Refusal {
    Refusal::NotApplicable {
        collection: key.key.collection.to_string(),
        key: key.key.key.to_string(),
        reason: reason.to_owned(),
    }
}

fn row_for(trigger: &Trigger, change: &Change, event: Arc<str>, author: &Author) -> OutboxRow {
    let source = match change.key.key.space {
        Space::Kv => OutboxSourceKind::Kv,
        Space::Docs => OutboxSourceKind::Docs,
    };
    let order = match trigger.ordering {
        Ordering::Any => None,
        Ordering::ByKey => {
            Some(OrderKey { key: line_of(&change.key.key), version: change.version })
        }
    };
    OutboxRow {
        id: author.cause,
        app: author.app,
        queue: trigger.id.queue(),
        source,
        origin: Some(trigger.id.0),
        script: Arc::clone(&trigger.script),
        principal: trigger.registered_by,
        event,
        retry: trigger.retry.clone(),
        order,
        dedupe: None,
        available_at: Timestamp::default(),
        attempt: 0,
        orphaned: 0,
        depth: author.depth,
        root: author.root,
        cause: Some(author.cause),
        reply_by: None,
        letter: None,
        replay_of: None,
        first: author.cause,
        idempotency: None,
    }
}

/// The event of a change as JSON text; the values are embedded as they are.
fn event_of(change: &Change) -> Arc<str> {
    let (id, data, prev) = match change.key.key.space {
        Space::Kv => ("key", "value", "prev_value"),
        Space::Docs => ("id", "data", "prev_data"),
    };
    let mut event = String::new();
    let mut map = MapWriter::open(&mut event);
    map.text("op", change.op.as_str());
    map.text("collection", &change.key.key.collection);
    map.text(id, &change.key.key.key);
    map.json(data, change.value.as_deref().unwrap_or("null"));
    map.json(prev, change.prev.as_deref().unwrap_or("null"));
    map.close();
    event.into()
}
