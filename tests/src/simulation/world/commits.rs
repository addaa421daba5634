//! What is committed: batches, acknowledgements, claims.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use picloud_daemon::dispatcher::ready::Run;
use picloud_daemon::failure::{Failure, FailureKind};
use picloud_daemon::faults::CrashPoint;
use picloud_daemon::flow::facts::Room;
use picloud_daemon::flow::settle::{Settle, Stored};
use picloud_daemon::flow::{Command, Refusal};
use picloud_daemon::ids::AppId;
use picloud_daemon::outbox::decide::{Action, Outcome, decide};
use picloud_daemon::store::batch::{BatchError, BatchReport};

use crate::simulation::apps::{self};
use crate::simulation::ledger::{Checked, Known, Moment, Noted, Whole, broken, ensure};
use crate::simulation::script::{self};

use super::{Done, Doubt, HELD_MAX, Pending, World, end_of};
use crate::simulation::snapshot::Row;

impl World {
    pub(super) fn room(&self) -> Room {
        let mut room = Room {
            rows: HELD_MAX.saturating_sub(self.held.len()),
            bytes: 1 << 20,
            app_rows_max: HELD_MAX / 2 + 1,
            ..Room::default()
        };
        for app in apps::APPS {
            let held = self
                .held
                .iter()
                .filter(|(id, _)| self.ledger.rows.get(id).is_some_and(|row| row.app == app.0));
            room.app_rows.insert(app, held.count());
            for (place, watch) in apps::WATCHES.iter().enumerate() {
                let queue = apps::watch_trigger(app, place).queue();
                if let Some(max) = watch.concurrency {
                    let used = held_of(&self.ledger.rows, queue.0);
                    room.queue_rows.insert(queue, (max as usize).saturating_sub(used));
                }
            }
        }
        room
    }

    pub(super) async fn commit(&mut self) -> Checked {
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_by_key(|one| one.noted.command.lane());
        let commands: Vec<Command> = pending.iter().map(|one| one.noted.command.clone()).collect();
        let (now, room) = (self.time(), self.room());
        let report = match self.batcher().run(&commands, now, room).await {
            Ok(report) => report,
            Err(BatchError::Crashed(point)) => {
                let batch = pending.into_iter().map(|one| one.noted).collect();
                let doubt = Doubt { batch, point, moment: self.moment() };
                return self.die(Some(doubt)).await;
            }
            Err(error @ BatchError::Fatal(_)) => return Err(broken("P1", error.to_string())),
        };
        let noted: Vec<Noted> = pending.iter().map(|one| one.noted.clone()).collect();
        let known = Known::Report { outcomes: &report.outcomes, claims: &report.claims };
        self.looks += 1;
        let whole = if self.looks.is_multiple_of(10) { Whole::Yes } else { Whole::No };
        self.look(&noted, &known, whole, &self.moment()).await?;
        self.acknowledge(pending, report)?;
        self.check_leases()?;
        if !commands.is_empty() && self.faults.crashes(CrashPoint::AfterAck) {
            return self.die(None).await;
        }
        Ok(())
    }

    pub(super) async fn look(
        &mut self,
        batch: &[Noted],
        known: &Known<'_>,
        whole: Whole,
        moment: &Moment,
    ) -> Checked {
        let known_up_to = if whole == Whole::Yes { 0 } else { self.ledger.version_max };
        let found = self.looker.look(known_up_to).await;
        self.ledger.take(batch, known, found, moment)?;
        if let Some(batcher) = &self.batcher {
            for app in apps::APPS {
                let used = batcher.usage(app);
                let counted = usage(&self.ledger.rows, app);
                ensure!(
                    (used.rows, used.bytes, used.delayed) == counted,
                    "usage",
                    "app {app} is said to have {used:?} waiting, counted are {counted:?}"
                );
            }
        }
        check_concurrency(&self.ledger.rows)
    }

    pub(super) fn acknowledge(&mut self, pending: Vec<Pending>, report: BatchReport) -> Checked {
        for (one, outcome) in pending.into_iter().zip(report.outcomes) {
            let Pending { noted, run } = one;
            match &noted.command {
                Command::Accept(accept) if outcome.is_ok() => {
                    if let Some(lease) = accept.lease {
                        let id = accept.row.id.to_string();
                        // Its run may have ended in the same batch.
                        if self.ledger.rows.contains_key(&id) {
                            self.held.insert((id, lease.token));
                        }
                    }
                }
                Command::Accept(_) | Command::Mutate(_) | Command::Manage(_) => {}
                Command::Settle(settle) => {
                    let settle = settle.clone();
                    self.settled(&settle, run, outcome)?;
                }
            }
        }
        for claim in report.claims {
            self.held.insert((claim.row.id.to_string(), claim.lease.token));
            let queue_max = script::queue_max(&claim.row);
            self.ready.push(Run { queue_max, ..Run::new(claim, self.monotonic) });
        }
        Ok(())
    }

    pub(super) fn settled(
        &mut self,
        settle: &Settle,
        run: Option<Run>,
        outcome: Result<(), Refusal>,
    ) -> Checked {
        let row = Arc::clone(&settle.claim.row);
        let lease = (row.id.to_string(), settle.claim.lease.token);
        let Some(run) = run else {
            // A thief's, or a late one's.
            if outcome.is_ok() {
                self.held.remove(&lease);
            }
            return Ok(());
        };
        let refusal = match outcome {
            Ok(()) | Err(Refusal::LeaseLost) => {
                self.held.remove(&lease);
                self.ready.turn_over(row.id);
                if let (Ok(()), Action::Answer(result)) = (outcome, &settle.action)
                    && self.asks.get(&row.id).is_some_and(|ask| ask.answers.is_empty())
                {
                    self.answer(row.id, result.clone())?;
                }
                return Ok(());
            }
            Err(refusal) => refusal,
        };
        match refusal {
            Refusal::Conflict => {
                if row.reply_by.is_some_and(|at| self.now > at.0) {
                    let failure = Failure::new(FailureKind::TimedOut, "too many conflicts");
                    return self.fail(run, failure, settle.stored);
                }
                if row.is_sync() && settle.stored == Stored::No {
                    self.behind.put_back(Arc::clone(&row), settle.claim.lease);
                }
                self.again(run);
                Ok(())
            }
            Refusal::Answered(_) => {
                Err(broken("P5", format!("sync row {} ran beside another of its key", row.id)))
            }
            other => {
                self.fail(run, Failure::new(FailureKind::Threw, other.to_string()), settle.stored)
            }
        }
    }

    /// The effects could not be applied: the run fails.
    pub(super) fn fail(&mut self, run: Run, failure: Failure, stored: Stored) -> Checked {
        let row = Arc::clone(&run.claim.row);
        let outcome = Outcome::Failed(failure);
        let action = decide(&row, outcome.clone(), self.time());
        let end = end_of(&row, &outcome, self.now);
        if row.is_sync() {
            if let Action::Answer(result) = &action {
                self.answer(row.id, result.clone())?;
            }
            if stored == Stored::No {
                self.ready.turn_over(row.id);
                return Ok(());
            }
        }
        self.submit(run, (action, end), Done::default(), stored);
        Ok(())
    }

    /// What the file says is claimed is what the dispatcher holds.
    pub(super) fn check_leases(&self) -> Checked {
        let leased: BTreeSet<(String, i64)> = self
            .ledger
            .rows
            .values()
            .filter_map(|row| row.lease().map(|(_, token)| (row.id.clone(), token)))
            .collect();
        ensure!(leased == self.held, "leases", "claimed are {leased:?}, held are {:?}", self.held);
        Ok(())
    }
}

/// Rows and bytes that an app has waiting, and how many of them were put off.
fn usage(rows: &BTreeMap<String, Row>, app: AppId) -> (i64, i64, i64) {
    let of_app = rows.values().filter(|row| row.app == app.0);
    of_app.fold((0, 0, 0), |(rows, bytes, delayed), row| {
        let put_off = i64::from(row.cause.is_some() && row.depth == 0);
        (rows + 1, bytes + row.bytes, delayed + put_off)
    })
}

/// Rows of a queue that somebody holds.
fn held_of(rows: &BTreeMap<String, Row>, queue: i64) -> usize {
    rows.values().filter(|row| row.queue == queue && row.lease_token.is_some()).count()
}

/// The number of rows of a queue that may run at a time.
fn check_concurrency(rows: &BTreeMap<String, Row>) -> Checked {
    for app in apps::APPS {
        for (place, watch) in apps::WATCHES.iter().enumerate() {
            let queue = apps::watch_trigger(app, place).0;
            let held = held_of(rows, queue);
            let most = watch.concurrency.map_or(usize::MAX, |max| max as usize);
            ensure!(
                held <= most,
                "concurrency",
                "{held} rows of queue {queue} are claimed at a time"
            );
        }
    }
    Ok(())
}
