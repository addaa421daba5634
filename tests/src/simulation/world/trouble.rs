//! Trouble: the daemon dies, loses rows to another owner, and starts again.

use std::sync::Arc;

use picloud_daemon::dispatcher::ready::Ready;
use picloud_daemon::dispatcher::slots::{self, Slots};
use picloud_daemon::dispatcher::takeover;
use picloud_daemon::faults::CrashPoint;
use picloud_daemon::flow::Command;
use picloud_daemon::flow::facts::Room;
use picloud_daemon::flow::settle::{Settle, Stored};
use picloud_daemon::gate::Work;
use picloud_daemon::ids::Id;
use picloud_daemon::inbox::InboxFailureKind;
use picloud_daemon::limits::StoreLimits;
use picloud_daemon::outbox::decide::{Action, Outcome, SUSPECT_AFTER};
use picloud_daemon::outbox::row::{Claim, OutboxRow};
use picloud_daemon::store::batch::{BatchError, Batcher};
use picloud_daemon::store::behind::Behind;
use picloud_daemon::store::open::{Store, StoreConfig};
use picloud_daemon::store::read::Reader;
use picloud_daemon::time::Timestamp;
use picloud_scripts_runtime::effect::Effect;

use crate::simulation::apps::{self};
use crate::simulation::ledger::{
    Checked, End, Known, Means, Moment, Noted, Violation, Whole, broken, ensure,
};
use crate::simulation::script::{self, pick};
use crate::simulation::snapshot::Looker;

use super::{
    Booted, Doubt, Executing, FORMER_RUNS_MAX, PERMITS, Pending, TAKE_OVER_ROWS, World, end_of,
    sorted,
};

impl World {
    pub(super) fn disk(&mut self, free: u64) {
        self.batcher().note_free_bytes(free, StoreLimits::default().free_bytes_min);
        self.ledger.storage_low = free == 0;
    }

    /// Another owner takes a row away that runs here, and gives it back.
    pub(super) fn steal(&mut self) {
        let running: Vec<Claim> = self
            .executing
            .iter()
            .filter(|one| !one.run.claim.row.is_sync())
            .map(|one| one.run.claim.clone())
            .collect();
        if running.is_empty() {
            return;
        }
        let claim = running[pick(&mut self.chance, running.len())].clone();
        let end = End::Released { at: self.now, orphaned: i64::from(claim.row.orphaned) };
        let action = Action::Release { available_at: self.time(), orphaned: claim.row.orphaned };
        let settle = self.bare(claim, action, Vec::new());
        let noted = Noted { command: Command::Settle(settle), means: Means::End(end) };
        self.pending.push(Pending { noted, run: None });
    }

    pub(super) fn bare(&self, claim: Claim, action: Action, effects: Vec<Effect>) -> Settle {
        Settle {
            claim,
            stored: Stored::Yes,
            action,
            reads: Vec::new(),
            effects,
            result: None,
            script_version: 1,
            fresh: self.id(),
        }
    }

    pub(super) fn note_former(&mut self, executing: &Executing) {
        let claim = executing.run.claim.clone();
        if !claim.row.is_sync() && self.former.len() < FORMER_RUNS_MAX {
            let effects = vec![script::mark(claim.row.id)];
            let settle = self.bare(claim, Action::Complete, effects);
            self.former.push(settle);
        }
    }

    pub(super) fn late_settle(&mut self) {
        let Some(mut settle) = self.former.pop() else { return };
        settle.fresh = self.id();
        let noted = Noted { command: Command::Settle(settle), means: Means::End(End::Gone) };
        self.pending.push(Pending { noted, run: None });
    }

    /// The daemon dies; what it had in memory is gone. Then it starts again.
    pub(super) async fn die(&mut self, doubt: Option<Doubt>) -> Checked {
        let running = std::mem::take(&mut self.executing);
        self.evidence = running.iter().map(|one| one.run.id()).collect();
        for executing in &running {
            self.note_former(executing);
        }
        self.forget();
        self.boot(doubt).await
    }

    pub(super) fn forget(&mut self) {
        self.pending.clear();
        self.held.clear();
        self.ready = Ready::new(PERMITS);
        self.behind = Behind::default();
        self.slots = None;
        self.ledger.storage_low = false;
        for ask in self.asks.values_mut().filter(|ask| ask.answers.is_empty()) {
            ask.lost = true;
        }
    }

    /// Starts on what the file holds, as often as it takes.
    pub(super) async fn boot(&mut self, mut doubt: Option<Doubt>) -> Checked {
        self.change_folder().await;
        loop {
            match self.try_boot(doubt.take()).await? {
                Booted::Yes => return Ok(()),
                Booted::Died(again) => {
                    doubt = again;
                    self.change_folder().await;
                }
            }
        }
    }

    /// The file as it is at the moment of death, beside the process that died.
    pub(super) async fn change_folder(&mut self) {
        self.ledger.count("start");
        let old = self.base.join(self.generation.to_string());
        self.generation += 1;
        let new = self.base.join(self.generation.to_string());
        std::fs::create_dir(&new).expect("the folder is writable");
        for name in ["store.db", "store.db-wal"] {
            let from = old.join(name);
            if from.exists() {
                std::fs::copy(from, new.join(name)).expect("there is room");
            }
        }
        self.batcher = None;
        std::fs::remove_dir_all(old).expect("it is ours");
    }

    pub(super) async fn try_boot(&mut self, doubt: Option<Doubt>) -> Result<Booted, Violation> {
        let path = self.base.join(self.generation.to_string()).join("store.db");
        self.owner = self.id();
        let config = StoreConfig::at(&path);
        let failed = |error: &dyn std::fmt::Display| broken("P1", format!("no start: {error}"));
        let store =
            Store::open(config.clone(), self.owner).await.map_err(|error| failed(&error))?;
        let limits = Arc::new(apps::limits());
        let batcher = Batcher::start(store, limits, self.faults.clone()).await;
        self.batcher = Some(batcher.map_err(|error| failed(&error))?);
        self.reader = Reader::new(&config);
        self.looker = Looker::open(&path).await;
        let (batch, known, moment) = match &doubt {
            None => (&[][..], Known::Nothing, self.moment()),
            Some(doubt) => {
                let known = match doubt.point {
                    CrashPoint::AfterCommit => Known::All,
                    CrashPoint::BeforeApply
                    | CrashPoint::BeforeCommit
                    | CrashPoint::AfterAck
                    | CrashPoint::InTakeover
                    | CrashPoint::InDeploy
                    | CrashPoint::InBackup
                    | CrashPoint::InUpgrade => Known::Nothing,
                };
                let Moment { now, owner } = &doubt.moment;
                (&doubt.batch[..], known, Moment { now: *now, owner: owner.clone() })
            }
        };
        self.look(batch, &known, Whole::Yes, &moment).await?;
        let mut evidence = slots::read(&self.base.join("running"));
        evidence.sort_unstable();
        self.evidence.sort_unstable();
        ensure!(
            evidence == self.evidence,
            "P6",
            "ran {:?}, noted were {evidence:?}",
            self.evidence
        );
        if let Some(died) = self.take_over(&evidence).await? {
            return Ok(died);
        }
        self.evidence.clear();
        let slots = Slots::create(&self.base.join("running"), PERMITS.all);
        self.slots = Some(slots.expect("it can be written"));
        self.check_leases()?;
        Ok(Booted::Yes)
    }

    pub(super) async fn take_over(&mut self, evidence: &[Id]) -> Result<Option<Booted>, Violation> {
        loop {
            let orphans = self.reader.orphans(self.owner, TAKE_OVER_ROWS).await;
            let orphans = orphans.map_err(|error| broken("P1", error.to_string()))?;
            if orphans.is_empty() {
                return Ok(None);
            }
            let claims: Vec<Claim> = orphans
                .into_iter()
                .map(|(row, lease)| Claim { row: Arc::new(row), lease })
                .collect();
            let now = self.time();
            let catalog = self.batcher().catalog().load_full();
            let settles = takeover::settles(claims.clone(), evidence, &catalog, &self.ids, now);
            let mut noted = Vec::new();
            for (claim, command) in claims.iter().zip(&settles) {
                let end = self.orphan_end(&claim.row, evidence);
                self.check_charge(command, &end)?;
                noted.push(Noted { command: command.clone(), means: Means::End(end) });
            }
            let report = match self.batcher().run(&settles, now, Room::default()).await {
                Ok(report) => report,
                Err(BatchError::Crashed(point)) => {
                    let doubt = Doubt { batch: noted, point, moment: self.moment() };
                    return Ok(Some(Booted::Died(Some(doubt))));
                }
                Err(error @ BatchError::Fatal(_)) => return Err(broken("P1", error.to_string())),
            };
            let known = Known::Report { outcomes: &report.outcomes, claims: &report.claims };
            self.look(&noted, &known, Whole::No, &self.moment()).await?;
            if self.faults.crashes(CrashPoint::InTakeover) {
                return Ok(Some(Booted::Died(None)));
            }
        }
    }

    /// Who ran alone pays; who did not run does not.
    pub(super) fn orphan_end(&self, row: &OutboxRow, evidence: &[Id]) -> End {
        let orphaned = i64::from(row.orphaned);
        let suspect = row.orphaned >= SUSPECT_AFTER;
        if row.is_sync() || evidence == [row.id] || (evidence.is_empty() && suspect) {
            return end_of(row, &Outcome::OwnerDied, self.now);
        }
        let ran = evidence.contains(&row.id);
        let most = i64::from(SUSPECT_AFTER);
        let orphaned = if ran { most } else { most.min(orphaned + 1) };
        End::Released { at: self.now, orphaned }
    }

    pub(super) fn check_charge(&self, command: &Command, end: &End) -> Checked {
        let Command::Settle(settle) = command else { return Ok(()) };
        let free = matches!(settle.action, Action::Release { .. });
        let wanted = matches!(end, End::Released { .. });
        ensure!(
            free == wanted,
            "P6",
            "row {} was to end as {end:?}, it did not bring the daemon down alone or did: {:?}",
            settle.claim.row.id,
            settle.action
        );
        Ok(())
    }

    /// A stop in order: what runs ends, what waits goes back, and everything is there afterwards.
    pub(super) async fn restart(&mut self) -> Checked {
        for run in sorted(self.ready.drain()) {
            let outcome = match run.work() {
                Work::Sync => Outcome::NotStarted(InboxFailureKind::Stopping),
                Work::Async => Outcome::Deferred { until: run.claim.row.available_at },
            };
            self.conclude(run, outcome, Vec::new(), Vec::new()).await?;
        }
        let generation = self.generation;
        for _ in 0..50 {
            self.finish(8).await?;
            self.commit().await?;
            // Rows that were claimed meanwhile go back too.
            for run in sorted(self.ready.drain()) {
                let outcome = match run.work() {
                    Work::Sync => Outcome::NotStarted(InboxFailureKind::Stopping),
                    Work::Async => Outcome::Deferred { until: self.time().plus_ms(1) },
                };
                self.conclude(run, outcome, Vec::new(), Vec::new()).await?;
            }
            if self.generation != generation {
                return Ok(());
            }
            if self.pending.is_empty() && self.executing.is_empty() {
                break;
            }
        }
        if !self.pending.is_empty() || !self.executing.is_empty() {
            return Ok(());
        }
        self.reader.close().await;
        let stopped = self.batcher.take().expect("the daemon runs").stop().await;
        stopped.map_err(|error| broken("P1", error.to_string()))?;
        self.forget();
        self.evidence.clear();
        self.boot(None).await
    }

    pub(super) async fn until_due(&mut self) -> Checked {
        let due = self.ledger.rows.values().filter(|row| row.lease_token.is_none());
        let due = due.map(|row| row.available_at).filter(|at| *at > self.now);
        if let Some(at) = due.min().filter(|at| !Timestamp(*at).is_held()) {
            self.now = at;
        }
        Ok(())
    }
}
