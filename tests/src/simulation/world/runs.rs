//! What runs: the scripted executor.

use std::collections::BTreeMap;
use std::sync::Arc;

use picloud_daemon::dispatcher::inbox::Caller;
use picloud_daemon::dispatcher::ready::Run;
use picloud_daemon::entry::EntryKey;
use picloud_daemon::failure::{Failure, FailureKind};
use picloud_daemon::ids::{AppId, Id};
use picloud_daemon::inbox::InboxFailureKind;
use picloud_daemon::outbox::decide::{Action, Outcome};
use picloud_daemon::outbox::row::{AbandonReason, OutboxRow};
use picloud_scripts_runtime::effect::{Effect, Key, Read};
use serde_json::Value;

use crate::simulation::apps::{self};
use crate::simulation::ledger::{Checked, End, broken, ensure};
use crate::simulation::script::{self, Fate, pick};

use super::{Done, Executing, PERMITS, World};

impl World {
    pub(super) async fn read(&mut self, app: AppId, key: &Key) -> (Read, Option<Value>) {
        let at = EntryKey { app, key: key.clone() };
        let entry = self.reader.entry(&at, self.time()).await.expect("the store can be read");
        let version = entry.as_ref().map_or(0, |entry| entry.version);
        let value = entry.map(|entry| serde_json::from_str(&entry.value).expect("it is JSON"));
        (Read { key: key.clone(), version }, value)
    }

    pub(super) async fn read_next(&mut self, place: usize) {
        let app = self.executing[place].run.claim.row.app;
        let Some(key) = self.executing[place].wanted.pop() else { return };
        let (read, value) = self.read(app, &key).await;
        let executing = &mut self.executing[place];
        executing.reads.push(read);
        executing.values.insert(key, value);
    }

    pub(super) async fn start(&mut self, runs: u64) -> Checked {
        for _ in 0..runs {
            let Some(run) = self.ready.admit_next() else { return Ok(()) };
            let row = Arc::clone(&run.claim.row);
            ensure!(
                self.executing.is_empty()
                    || (!run.alone && !self.executing.iter().any(|one| one.run.alone)),
                "P6",
                "row {} does not run alone",
                row.id
            );
            if row.depth > apps::limits().trigger_depth_max {
                self.ready.returned(&run);
                self.conclude(run, Outcome::TooDeep, Vec::new(), Vec::new()).await?;
                continue;
            }
            match run.waiter.as_ref().map(|waiter| waiter.begin()) {
                None | Some(Caller::Waits) => {}
                Some(Caller::Gone) => {
                    self.ready.returned(&run);
                    let action = Action::Abandon { reason: AbandonReason::CallerGone };
                    self.settle(run, (action, End::Abandoned("caller_gone")), Done::default());
                    continue;
                }
                Some(Caller::Expired) => {
                    self.ready.returned(&run);
                    let outcome = Outcome::NotStarted(InboxFailureKind::Busy);
                    self.conclude(run, outcome, Vec::new(), Vec::new()).await?;
                    continue;
                }
            }
            self.begin_run(run).await?;
        }
        Ok(())
    }

    pub(super) async fn begin_run(&mut self, run: Run) -> Checked {
        self.ledger.count(if run.alone { "run alone" } else { "run" });
        let row = Arc::clone(&run.claim.row);
        if let Some(ask) = self.asks.get_mut(&row.id) {
            ask.starts += 1;
            ensure!(ask.starts <= ask.conflicts + 1, "P5", "sync row {} was retried", row.id);
        }
        let slot = (0..PERMITS.all)
            .find(|slot| !self.executing.iter().any(|one| one.slot == *slot))
            .ok_or_else(|| broken("P7", "more runs than permits"))?;
        let slots = self.slots.as_ref().expect("the daemon runs");
        slots.occupy(slot, row.id).expect("the file can be written");
        let fate = self.fate(row.id);
        let wanted = if self.quiet { Vec::new() } else { script::reads(&mut self.chance) };
        self.executing.push(Executing {
            run,
            slot,
            fate,
            wanted,
            reads: Vec::new(),
            values: BTreeMap::new(),
        });
        self.read_next(self.executing.len() - 1).await;
        Ok(())
    }

    /// Some rows are doomed from the beginning, others fail now and then.
    pub(super) fn fate(&mut self, id: Id) -> Fate {
        let drawn = match self.chance.below(1_000) {
            0..10 if !self.quiet => Fate::Kills,
            10..70 if !self.quiet => Fate::Throws,
            70..150 if !self.quiet => Fate::Rejected,
            _ => Fate::Succeeds,
        };
        match *self.fates.entry(id).or_insert(drawn) {
            Fate::Succeeds if self.chance.below(8) == 0 && !self.quiet => Fate::Throws,
            fate => fate,
        }
    }

    pub(super) async fn finish(&mut self, runs: u64) -> Checked {
        for _ in 0..runs {
            if self.executing.is_empty() {
                return Ok(());
            }
            let place = pick(&mut self.chance, self.executing.len());
            while !self.executing[place].wanted.is_empty() {
                self.read_next(place).await;
            }
            if self.executing[place].fate == Fate::Kills {
                *self.kills.entry(self.executing[place].run.id()).or_default() += 1;
                self.ledger.count("run that kills the daemon");
                return self.die(None).await;
            }
            let executing = self.executing.remove(place);
            let slots = self.slots.as_ref().expect("the daemon runs");
            slots.free(executing.slot).expect("the file can be written");
            let Executing { run, fate, reads, values, .. } = executing;
            self.ready.returned(&run);
            let (outcome, effects) = self.outcome(&run.claim.row, fate, &values);
            self.conclude(run, outcome, effects, reads).await?;
        }
        Ok(())
    }

    pub(super) fn outcome(
        &mut self,
        row: &OutboxRow,
        fate: Fate,
        values: &BTreeMap<Key, Option<Value>>,
    ) -> (Outcome, Vec<Effect>) {
        let fail = |kind| (Outcome::Failed(Failure::new(kind, "no")), Vec::new());
        match fate {
            Fate::Throws => fail(FailureKind::Threw),
            Fate::Rejected => fail(FailureKind::DoesNotCompile),
            Fate::Succeeds | Fate::Kills => {
                let only_reads =
                    row.is_sync() && row.idempotency.is_none() && self.chance.below(3) == 0;
                let effects = match (only_reads, self.quiet) {
                    (true, _) => Vec::new(),
                    (false, true) => vec![script::mark(row.id)],
                    (false, false) => script::effects(row, values, &self.ledger, &mut self.chance),
                };
                (Outcome::Succeeded(format!("\"{}\"", row.id).into()), effects)
            }
        }
    }
}
