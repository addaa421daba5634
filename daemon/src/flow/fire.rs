//! Firing: the due times of a schedule become rows, and the schedule remembers that they have. One transaction, so that
//! each due time has its row once, whatever dies in between.

use std::sync::Arc;

use crate::flow::Refusal;
use crate::flow::facts::Facts;
use crate::flow::layer::Layer;
use crate::flow::writes::Writes;
use crate::ids::{Id, TriggerId};
use crate::outbox::row::OutboxRow;
use crate::schedule;
use crate::time::Timestamp;
use crate::trigger::Trigger;

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
        let event = schedule.event(*at, std::mem::take(&mut missed));
        layer.insert(OutboxRow { available_at: facts.now, ..row_for(trigger, id, event) })?;
    }
    if let Some(last) = fires.times.last() {
        layer.writes.fired.insert(fire.trigger, *last);
    }
    Ok(layer.writes)
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
        first: id,
        cause: None,
        reply_by: None,
        letter: None,
        replay_of: None,
        idempotency: None,
    }
}
