//! Firing: the due times of a schedule become rows, and the schedule remembers that they have. One transaction, so that
//! each due time has its row once, whatever dies in between.

use std::sync::Arc;

use crate::entry::ChangeOp;
use crate::flow::Refusal;
use crate::flow::facts::Facts;
use crate::flow::layer::Layer;
use crate::flow::writes::Writes;
use crate::ids::{Id, TriggerId};
use crate::outbox::row::OutboxRow;
use crate::payload::MapWriter;
use crate::schedule::{self, Schedule};
use crate::time::Timestamp;
use crate::trigger::{Trigger, TriggerDetails, schedule_of};

/// A schedule is due.
#[derive(Clone, Debug)]
pub struct Fire {
    pub trigger: TriggerId,
    /// Every due time up to here is done with.
    pub fired_until: Timestamp,
    /// Drawn outside, so that planning stays pure: the ids of the rows are derived from it.
    pub fresh: Id,
}

/// Refused when the app's outbox or the disk is full.
pub fn plan(fire: &Fire, facts: &Facts) -> Result<Writes, Refusal> {
    if facts.storage_low {
        return Err(Refusal::StorageLow);
    }
    let mut layer = Layer::over(facts, fire.fresh);
    let Some((trigger, schedule)) = facts.catalog.matching.schedules().get(&fire.trigger) else {
        return Ok(layer.writes);
    };
    let fires = schedule::fires(schedule, fire.fired_until, facts.now);
    let mut missed = fires.missed;
    for at in &fires.times {
        let id = layer.next_id();
        let event = event_of(*at, std::mem::take(&mut missed), schedule);
        layer.insert(OutboxRow { available_at: facts.now, ..row_for(trigger, id, event) })?;
    }
    if let Some(last) = fires.times.last() {
        layer.writes.fired.insert(fire.trigger, *last);
    }
    Ok(layer.writes)
}

/// The event of a schedule as JSON text.
pub fn event_of(scheduled_at: Timestamp, missed: u64, schedule: &Schedule) -> Arc<str> {
    let mut event = String::new();
    let mut map = MapWriter::open(&mut event);
    map.json("scheduled_at", &scheduled_at.0.to_string());
    map.json("missed", &missed.to_string());
    map.text("time_zone", schedule.zone_name());
    map.close();
    event.into()
}

/// An event such as the trigger's runs get, made up for one that is set off by hand. A dead-letter handler has none
/// without a letter.
pub fn made_event(trigger: &Trigger, now: Timestamp) -> Option<Arc<str>> {
    let (glob, ops, fields) = match &trigger.details {
        TriggerDetails::Kv { collection_glob, ops } => {
            (collection_glob, ops, (ChangeOp::Set, ["key", "value", "prev_value"]))
        }
        TriggerDetails::Docs { collection_glob, ops } => {
            (collection_glob, ops, (ChangeOp::Create, ["id", "data", "prev_data"]))
        }
        TriggerDetails::Schedule { .. } => {
            let schedule = schedule_of(&trigger.details)?.ok()?;
            return Some(event_of(now, 0, &schedule));
        }
        TriggerDetails::DeadLetter { .. } => return None,
    };
    let (usual, [id, value, before]) = fields;
    let mut event = String::new();
    let mut map = MapWriter::open(&mut event);
    map.text("op", ops.first().copied().unwrap_or(usual).as_str());
    map.text("collection", glob);
    map.text(id, "example");
    map.json(value, "null");
    map.json(before, "null");
    map.close();
    Some(event.into())
}

/// A row at the beginning of a chain that a trigger makes for no change of anything.
pub fn row_for(trigger: &Trigger, id: Id, event: Arc<str>) -> OutboxRow {
    OutboxRow {
        id,
        app: trigger.app,
        queue: trigger.id.queue(),
        source: trigger.details.kind().source(),
        origin: Some(trigger.id.0),
        script: Arc::clone(&trigger.script),
        principal: trigger.registered_by,
        event,
        retry: trigger.retry.clone(),
        order: None,
        dedupe: None,
        available_at: Timestamp::default(),
        attempt: 0,
        orphaned: 0,
        depth: 0,
        root: id,
        cause: None,
        reply_by: None,
        letter: None,
        replay_of: None,
        idempotency: None,
    }
}
