//! What committed effects come to, said a second time in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use picloud_daemon::entry::ChangeOp;
use picloud_daemon::ids::AppId;
use picloud_daemon::outbox::row::OutboxRow;
use picloud_daemon::time::Timestamp;
use picloud_daemon::trigger::Ordering;
use picloud_scripts_runtime::effect::{Amount, Effect, Space};
use serde_json::{Value, json};

use super::apps;
use super::ledger::{Checked, End, KeptAnswer, Ledger, RequestAt, broken, ensure, entry_at};
use super::snapshot::{EntryAt, Row, Snapshot};

/// The row, or the edit, that something came of.
#[derive(Clone, Debug)]
pub struct Cause {
    pub app: AppId,
    pub row: String,
    pub root: String,
    pub depth: i64,
    pub now: i64,
}

/// A row that has to be there.
#[derive(Clone, Debug)]
pub struct Expected {
    pub cause: Cause,
    pub queue: i64,
    pub source: String,
    pub script: String,
    pub event: Event,
    pub depth: i64,
    pub root: String,
    pub order_key: Option<String>,
    pub dedupe: Option<String>,
    pub replay_of: Option<String>,
    pub due: i64,
    /// A row of its dedupe value became pending again in the same batch: either is right.
    pub optional: bool,
    pub found: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Event {
    Is(Value),
    /// Of the dead letter of this row.
    Letter {
        row: String,
        event: Value,
    },
}

impl Expected {
    /// Whether a row is the one that is meant.
    pub fn fits(&self, row: &Row, found: &Snapshot) -> bool {
        row.queue == self.queue && row.replay_of == self.replay_of && self.event_fits(row, found)
    }

    fn event_fits(&self, row: &Row, found: &Snapshot) -> bool {
        let Ok(event) = serde_json::from_str::<Value>(&row.event) else { return false };
        match &self.event {
            Event::Is(wanted) => *wanted == event,
            Event::Letter { row: dead, event: of_dead } => {
                let id = event["id"].as_str().unwrap_or("");
                let letter = found.letters.get(id);
                letter.is_some_and(|letter| letter.row == *dead)
                    && row.letter.as_deref() == Some(id)
                    && event["event"] == *of_dead
            }
        }
    }

    /// Whether all else about it is right.
    pub fn check(&self, row: &Row) -> Checked {
        ensure!(
            row.depth == self.depth && row.root() == self.root,
            "depth",
            "row {} of root {} has depth {}, it was to have {} of root {}",
            row.id,
            row.root(),
            row.depth,
            self.depth,
            self.root
        );
        let same = row.source == self.source
            && row.script == self.script
            && row.order_key == self.order_key
            && row.dedupe == self.dedupe
            && (row.attempt, row.orphaned) == (0, 0);
        ensure!(same, "P2", "{row:?} is not what was caused: {self:?}");
        let waits = row.line().is_some() && row.available_at == Timestamp(self.due).held().0;
        ensure!(
            waits || row.available_at == self.due,
            "claims",
            "row {} is due at {}, it was to be at {}",
            row.id,
            row.available_at,
            self.due
        );
        Ok(())
    }
}

/// What a batch comes to, command by command.
#[derive(Default)]
pub struct Stage {
    /// `None`: deleted.
    pub entries: BTreeMap<EntryAt, Option<Value>>,
    pub accepted: BTreeMap<String, OutboxRow>,
    pub rows: Vec<Expected>,
    pub ends: BTreeMap<String, End>,
    pub requests: BTreeMap<RequestAt, KeptAnswer>,
    /// Dead letters that were replayed (with their root) or discarded.
    pub resolved: BTreeMap<String, Option<String>>,
    pub failed_handlers: BTreeSet<String>,
    /// New dead letters by queue.
    pub buried: BTreeMap<i64, i64>,
    pub not_before: BTreeMap<String, i64>,
    /// Tasks that were dropped for another that waits.
    pub deduped: u64,
}

impl Stage {
    pub fn apply(&mut self, ledger: &Ledger, effects: &[Effect], cause: &Cause) -> Checked {
        for effect in effects {
            match effect {
                Effect::Put { .. }
                | Effect::Patch { .. }
                | Effect::Increment { .. }
                | Effect::Delete { .. } => self.change(ledger, effect, cause)?,
                Effect::Enqueue { .. } => self.enqueue(ledger, effect, cause),
                Effect::ReplayDeadLetter { id, .. } => self.replay(ledger, id, cause)?,
                Effect::DiscardDeadLetter { id, .. } => {
                    self.open(ledger, id)?;
                    self.resolved.insert(id.to_string(), None);
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, ledger: &Ledger, effect: &Effect, cause: &Cause) -> Checked {
        let (Effect::Put { key, .. }
        | Effect::Patch { key, .. }
        | Effect::Increment { key, .. }
        | Effect::Delete { key }) = effect
        else {
            return Ok(());
        };
        let at = entry_at(cause.app.0, key);
        let before = match self.entries.get(&at) {
            Some(staged) => staged.clone(),
            None => ledger.entries.get(&at).map(|(value, _)| value.clone()),
        };
        let after = match effect {
            Effect::Put { value, .. } => Some(parsed(value)),
            Effect::Increment { by: Amount::Integer(by), .. } => {
                let old = before.as_ref().map_or(Some(0), Value::as_i64);
                let old = old.ok_or_else(|| {
                    broken("P2", format!("{at:?} is no number, yet it was increased"))
                })?;
                Some(json!(old + by))
            }
            Effect::Patch { patch, .. } => {
                let old = before.clone();
                let mut old = old
                    .ok_or_else(|| broken("P2", format!("{at:?} is absent, yet it was patched")))?;
                for (name, value) in parsed(patch).as_object().cloned().unwrap_or_default() {
                    old[name] = value;
                }
                Some(old)
            }
            _ => None,
        };
        if after.is_none() && before.is_none() {
            return Ok(());
        }
        let op = match (key.space, &before, &after) {
            (_, _, None) => ChangeOp::Delete,
            (Space::Kv, _, _) => ChangeOp::Set,
            (Space::Docs, None, _) => ChangeOp::Create,
            (Space::Docs, Some(_), _) => ChangeOp::Update,
        };
        self.set_off(ledger, &at, (op, &before, &after), cause);
        self.entries.insert(at, after);
        Ok(())
    }

    fn set_off(
        &mut self,
        ledger: &Ledger,
        at: &EntryAt,
        (op, before, after): (ChangeOp, &Option<Value>, &Option<Value>),
        cause: &Cause,
    ) {
        for (place, watch) in apps::WATCHES.iter().enumerate() {
            let queue = apps::watch_trigger(cause.app, place).0;
            let space = if watch.space == Space::Kv { "kv" } else { "docs" };
            let fits = at.1 == space
                && at.2 == watch.collection
                && (watch.ops.is_empty() || watch.ops.contains(&op))
                && !ledger.disabled.contains(&queue);
            if !fits {
                continue;
            }
            let event = match watch.space {
                Space::Kv => {
                    json!({"op": op.as_str(), "collection": at.2, "key": at.3, "value": after, "prev_value": before})
                }
                Space::Docs => {
                    json!({"op": op.as_str(), "collection": at.2, "id": at.3, "data": after, "prev_data": before})
                }
            };
            let order_key =
                (watch.ordering == Ordering::ByKey).then(|| format!("{}/{}", at.2, at.3));
            self.rows.push(Expected {
                cause: cause.clone(),
                queue,
                source: space.to_owned(),
                script: "work".to_owned(),
                event: Event::Is(event),
                depth: cause.depth + 1,
                root: cause.root.clone(),
                order_key,
                dedupe: None,
                replay_of: None,
                due: cause.now,
                optional: false,
                found: None,
            });
        }
    }

    fn enqueue(&mut self, ledger: &Ledger, effect: &Effect, cause: &Cause) {
        let Effect::Enqueue { script, payload, delay_ms, order_key, dedupe } = effect else {
            return;
        };
        let mut optional = false;
        if let Some(value) = dedupe {
            let same = |other: &Option<String>| other.as_deref() == Some(&**value);
            let staged =
                self.rows.iter().find(|row| same(&row.dedupe) && row.cause.app == cause.app);
            optional = staged.is_some_and(|row| row.optional);
            let waits = ledger.rows.values().any(|row| {
                row.app == cause.app.0
                    && same(&row.dedupe)
                    && row.lease_token.is_none()
                    && (row.attempt, row.orphaned) == (0, 0)
            });
            if waits || staged.is_some_and(|row| !row.optional) {
                self.deduped += 1;
                return;
            }
            optional |= ledger.rows.values().any(|row| {
                row.app == cause.app.0 && same(&row.dedupe) && self.ends.contains_key(&row.id)
            });
        }
        self.rows.push(Expected {
            cause: cause.clone(),
            queue: apps::work(cause.app).0,
            source: "task".to_owned(),
            script: script.to_string(),
            event: Event::Is(json!({"payload": parsed(payload)})),
            depth: if *delay_ms >= 1_000 { 0 } else { cause.depth + 1 },
            root: cause.root.clone(),
            order_key: order_key.as_deref().map(str::to_owned),
            dedupe: dedupe.as_deref().map(str::to_owned),
            replay_of: None,
            due: cause.now + delay_ms,
            optional,
            found: None,
        });
    }

    /// Whether a letter may be resolved now.
    pub fn is_open(&self, ledger: &Ledger, id: &str) -> bool {
        ledger.letters.get(id).is_some_and(|letter| letter.resolved == 0)
            && !self.resolved.contains_key(id)
    }

    fn open(&self, ledger: &Ledger, id: &str) -> Checked {
        ensure!(self.is_open(ledger, id), "P3", "dead letter {id} was resolved twice");
        Ok(())
    }

    fn replay(&mut self, ledger: &Ledger, id: &str, cause: &Cause) -> Checked {
        self.open(ledger, id)?;
        let dead = &ledger.dead[id];
        let root = dead.root().to_owned();
        let in_batch = self.resolved.values().filter(|one| one.as_ref() == Some(&root)).count();
        let replays = ledger.replays_of(&root) as usize + in_batch;
        let most = ledger.limits.root_replays_max as usize;
        ensure!(replays < most, "P7", "root {root} was replayed {} times by scripts", replays + 1);
        self.rows.push(Expected {
            cause: cause.clone(),
            queue: dead.queue,
            source: dead.source.clone(),
            script: dead.script.clone(),
            event: Event::Is(parsed(&dead.event)),
            depth: cause.depth + 1,
            root: root.clone(),
            order_key: dead.order_key.clone(),
            dedupe: None,
            replay_of: Some(id.to_owned()),
            due: cause.now,
            optional: false,
            found: None,
        });
        self.resolved.insert(id.to_owned(), Some(root));
        Ok(())
    }

    /// A row died: its handlers are to run.
    pub fn bury(&mut self, row: &OutboxRow, cause: &Cause) {
        *self.buried.entry(row.queue.0).or_default() += 1;
        if !apps::handles(row.app, row.source.as_str()) {
            return;
        }
        self.rows.push(Expected {
            cause: cause.clone(),
            queue: apps::letter_trigger(row.app).0,
            source: "dead_letter".to_owned(),
            script: "handle".to_owned(),
            event: Event::Letter { row: cause.row.clone(), event: parsed(&row.event) },
            depth: cause.depth + 1,
            root: cause.root.clone(),
            order_key: None,
            dedupe: None,
            replay_of: None,
            due: cause.now,
            optional: false,
            found: None,
        });
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("what the simulation writes is JSON")
}
