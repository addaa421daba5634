//! The simulated daemon: the real store, flows and decisions, and around them a small dispatcher without threads.

mod commits;
mod configuration;
mod ends;
mod requests;
mod runs;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use picloud_daemon::dispatcher::inbox::Waiter;
use picloud_daemon::dispatcher::ready::{Ready, Run};
use picloud_daemon::dispatcher::slots::Slots;
use picloud_daemon::failure::FailureKind;
use picloud_daemon::faults::{Bug, CrashPoint, Faults};
use picloud_daemon::flow::facts::RequestKey;
use picloud_daemon::flow::settle::Settle;
use picloud_daemon::gate::Permits;
use picloud_daemon::ids::{Id, Ids};
use picloud_daemon::inbox::InboxResult;
use picloud_daemon::outbox::decide::Outcome;
use picloud_daemon::outbox::row::OutboxRow;
use picloud_daemon::outbox::source::OutboxSourceKind;
use picloud_daemon::retry::Backoff;
use picloud_daemon::store::batch::Batcher;
use picloud_daemon::store::behind::Behind;
use picloud_daemon::store::open::{Store, StoreConfig};
use picloud_daemon::store::read::Reader;
use picloud_daemon::time::Timestamp;
use picloud_scripts_runtime::effect::{Effect, Key, Read};
use serde_json::Value;

use super::apps::{self};
use super::ledger::{Checked, End, Known, Ledger, Moment, Noted, Whole, broken, ensure};
use super::operations::Operation;
use super::script::Fate;
use super::snapshot::Looker;
use crate::chance::Chance;

/// Executor threads that there would be.
const PERMITS: Permits = Permits { all: 4, async_max: 3, app_max: 3 };
/// Rows that the dispatcher holds at most.
const HELD_MAX: usize = 8;
/// Orphans that one batch takes over.
const TAKE_OVER_ROWS: usize = 3;
/// How long callers wait.
const TIMEOUT_MS: i64 = 10_000;
/// Runs of daemons that died whose settles may come late.
const FORMER_RUNS_MAX: usize = 4;

/// How often each crash point was hit, in the order of `CrashPoint::ALL`.
pub type Hits = [u64; CrashPoint::ALL.len()];

#[derive(Debug, Default)]
struct Armed {
    point: Option<(CrashPoint, u64)>,
    hits: Hits,
}

/// A run in progress.
#[derive(Debug)]
struct Executing {
    run: Run,
    slot: usize,
    fate: Fate,
    wanted: Vec<Key>,
    reads: Vec<Read>,
    values: BTreeMap<Key, Option<Value>>,
}

/// What a run wants written, and what it read.
#[derive(Default)]
struct Done {
    effects: Vec<Effect>,
    reads: Vec<Read>,
}

/// A command on its way to the store.
#[derive(Debug)]
struct Pending {
    noted: Noted,
    run: Option<Run>,
}

/// One request whose caller waits.
#[derive(Debug)]
struct Ask {
    waiter: Arc<Waiter>,
    starts: u32,
    conflicts: u32,
    hung_up: bool,
    answers: Vec<InboxResult>,
    /// The daemon died while it was under way: nobody can be answered.
    lost: bool,
    request: Option<RequestKey>,
}

/// What was under way when the daemon died in a batch.
struct Doubt {
    batch: Vec<Noted>,
    point: CrashPoint,
    moment: Moment,
}

pub struct World {
    base: PathBuf,
    generation: u32,
    now: i64,
    monotonic: Duration,
    ids: Ids,
    owner: Id,
    batcher: Option<Batcher>,
    reader: Reader,
    looker: Looker,
    slots: Option<Slots>,
    faults: Faults,
    armed: Arc<Mutex<Armed>>,
    ready: Ready,
    behind: Behind,
    executing: Vec<Executing>,
    pending: Vec<Pending>,
    held: BTreeSet<(String, i64)>,
    former: Vec<Settle>,
    asks: BTreeMap<Id, Ask>,
    /// What was truly running when the daemon died last, as far as the runtime directory is left.
    evidence: Vec<Id>,
    fates: BTreeMap<Id, Fate>,
    /// How often each row took the daemon along.
    kills: BTreeMap<Id, u32>,
    quiet: bool,
    chance: Chance,
    ledger: Ledger,
    looks: u64,
    script_version: i64,
}

fn zeros(bytes: &mut [u8]) {
    bytes.fill(0);
}

impl World {
    /// A world in its first moment, in a folder of its own.
    pub async fn begin(seed: u64, image: &[u8], base: &Path, bug: Option<Bug>) -> World {
        let armed = Arc::new(Mutex::new(Armed::default()));
        let hook = Arc::clone(&armed);
        let mut faults = Faults::default().with_hook(Arc::new(move |point| {
            let mut armed = hook.lock().expect("no panic while held");
            match &mut armed.point {
                Some((wanted, 0)) if *wanted == point => {
                    armed.point = None;
                    let place = CrashPoint::ALL.iter().position(|one| *one == point);
                    armed.hits[place.expect("all are listed")] += 1;
                    true
                }
                Some((wanted, skip)) if *wanted == point => {
                    *skip -= 1;
                    false
                }
                _ => false,
            }
        }));
        if let Some(bug) = bug {
            faults = faults.with_bug(bug);
        }
        let folder = base.join("0");
        std::fs::create_dir(&folder).expect("the base folder is writable");
        let path = folder.join("store.db");
        std::fs::write(&path, image).expect("the folder is writable");
        let ids = Ids::with_entropy(zeros);
        let owner = ids.next(apps::BEGIN);
        let config = StoreConfig::at(&path);
        let store = Store::open(config.clone(), owner).await.expect("the image opens");
        let limits = Arc::new(apps::limits());
        let batcher = Batcher::start(store, limits, faults.clone()).await.expect("it starts");
        let slots = Slots::create(&base.join("running"), PERMITS.all).expect("it can be written");
        let mut ledger = Ledger::new(apps::limits(), 0);
        let mut looker = Looker::open(&path).await;
        ledger.number_max = looker.look(0).await.ceiling - 1;
        World {
            base: base.to_owned(),
            generation: 0,
            now: apps::BEGIN.0,
            monotonic: Duration::ZERO,
            ids,
            owner,
            batcher: Some(batcher),
            reader: Reader::new(&config),
            looker,
            slots: Some(slots),
            faults,
            armed,
            ready: Ready::new(PERMITS),
            behind: Behind::default(),
            executing: Vec::new(),
            pending: Vec::new(),
            held: BTreeSet::new(),
            former: Vec::new(),
            asks: BTreeMap::new(),
            evidence: Vec::new(),
            fates: BTreeMap::new(),
            kills: BTreeMap::new(),
            quiet: false,
            chance: Chance::new(seed, 2),
            ledger,
            looks: 0,
            script_version: 1,
        }
    }

    pub fn hits(&self) -> Hits {
        self.armed.lock().expect("no panic while held").hits
    }

    /// What has happened how often.
    pub fn seen(&self) -> &BTreeMap<&'static str, u64> {
        &self.ledger.seen
    }

    pub async fn step(&mut self, operation: Operation) -> Checked {
        self.monotonic += Duration::from_millis(1);
        match operation {
            Operation::Ask { app, key } => self.ask(app, key).await,
            Operation::Post { app, key } => {
                self.post(app, key);
                Ok(())
            }
            Operation::Edit { app } => {
                self.edit(app).await;
                Ok(())
            }
            Operation::Start { runs } => self.start(runs).await,
            Operation::Proceed => {
                for place in 0..self.executing.len() {
                    self.read_next(place).await;
                }
                Ok(())
            }
            Operation::Finish { runs } => self.finish(runs).await,
            Operation::Commit => self.commit().await,
            Operation::Round => {
                self.start(3).await?;
                self.finish(3).await?;
                self.commit().await
            }
            Operation::Linger => {
                self.linger();
                Ok(())
            }
            Operation::Advance { ms } | Operation::Jump { ms } => {
                self.now += ms;
                Ok(())
            }
            Operation::UntilDue => self.until_due().await,
            Operation::Arm { point, skip } => {
                let mut armed = self.armed.lock().expect("no panic while held");
                armed.point = Some((point, skip));
                Ok(())
            }
            other => self.trouble(other).await,
        }
    }

    /// What goes wrong, and what people do about it.
    async fn trouble(&mut self, operation: Operation) -> Checked {
        match operation {
            Operation::Kill => self.die(None).await,
            Operation::PowerCut => {
                std::fs::remove_file(self.base.join("running")).expect("the file is there");
                for run in std::mem::take(&mut self.executing) {
                    self.note_former(&run);
                }
                self.die(None).await
            }
            Operation::Steal => {
                self.steal();
                Ok(())
            }
            Operation::LateSettle => {
                self.late_settle();
                Ok(())
            }
            Operation::HangUp => {
                self.hang_up();
                Ok(())
            }
            Operation::DiskFull => {
                self.disk(0);
                Ok(())
            }
            Operation::DiskFree => {
                self.disk(u64::MAX);
                Ok(())
            }
            Operation::Pause => self.pause().await,
            Operation::Resume => self.resume().await,
            Operation::Deploy => self.deploy().await,
            Operation::Restart => self.restart().await,
            other => Err(broken("simulation", format!("{other:?} is no trouble"))),
        }
    }

    /// Lets everything come to its end: no new work, no trouble, time passes.
    pub async fn drain(&mut self) -> Checked {
        self.quiet = true;
        self.armed.lock().expect("no panic while held").point = None;
        self.disk(u64::MAX);
        for _ in 0..400 {
            if !self.ledger.pauses.is_empty() {
                self.resume().await?;
            }
            self.linger();
            self.commit().await?;
            self.start(8).await?;
            self.finish(8).await?;
            self.commit().await?;
            let idle =
                self.executing.is_empty() && self.ready.is_empty() && self.pending.is_empty();
            if idle && self.ledger.rows.is_empty() {
                return self.check_end().await;
            }
            if idle {
                self.until_due().await?;
            }
        }
        let left: Vec<_> = self.ledger.rows.values().collect();
        Err(broken("P4", format!("rows do not come to an end: {left:?}")))
    }

    /// Nothing is under way any more: everything must add up.
    async fn check_end(&mut self) -> Checked {
        self.look(&[], &Known::Nothing, Whole::Yes, &self.moment()).await?;
        for (id, ask) in &self.asks {
            ensure!(
                ask.answers.len() == 1 || ask.lost || ask.hung_up,
                "P5",
                "request {id} got {} answers",
                ask.answers.len()
            );
        }
        for ((_, _, collection, id), (value, _)) in &self.ledger.entries {
            ensure!(collection != "marks" || *value == 1, "P3", "{id} took effect {value} times");
        }
        for (id, kills) in &self.kills {
            let died = self.ledger.dead.values().any(|row| row.id == id.to_string());
            let end = self.ledger.ended.get(&id.to_string());
            let unseen = self.asks.contains_key(id) && end.is_none();
            let over =
                unseen || matches!(end, Some(End::Letter | End::HandlerFailed | End::Abandoned(_)));
            ensure!(
                *kills < 40 && (died || over),
                "P6",
                "row {id} killed the daemon {kills} times and ended as {end:?}"
            );
        }
        Ok(())
    }

    fn batcher(&mut self) -> &mut Batcher {
        self.batcher.as_mut().expect("the daemon runs between operations")
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, owner: self.owner.to_string() }
    }

    fn time(&self) -> Timestamp {
        Timestamp(self.now)
    }

    fn id(&self) -> Id {
        self.ids.next(self.time())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Configured {
    Yes,
    No,
}

enum Booted {
    Yes,
    Died(Option<Doubt>),
}

fn sorted(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_by_key(Run::id);
    runs
}

/// The apps in which a request may have left its mark.
fn id_app(ledger: &Ledger, id: Id) -> Vec<i64> {
    let id = id.to_string();
    let of_row = ledger.rows.get(&id).map(|row| row.app);
    of_row.map_or_else(|| apps::APPS.iter().map(|app| app.0).collect(), |app| vec![app])
}

/// How a row has to end, as the decision table says, said a second time.
fn end_of(row: &OutboxRow, outcome: &Outcome, now: i64) -> End {
    let orphaned = i64::from(row.orphaned);
    let is_handler = row.source == OutboxSourceKind::DeadLetter;
    let charged = |is_final: bool| {
        let attempt = row.attempt + 1;
        if is_final || attempt >= row.retry.max_attempts {
            return End::Letter;
        }
        let delay = match row.retry.backoff {
            Backoff::Exponential => row.retry.base_ms * 2_i64.pow(attempt - 1),
            Backoff::Linear => row.retry.base_ms * i64::from(attempt),
            Backoff::Constant => row.retry.base_ms,
        };
        End::Retry { from: now, delay_ms: delay.min(row.retry.max_delay_ms) }
    };
    match outcome {
        Outcome::TooDeep => End::Abandoned("depth_limit"),
        Outcome::Deferred { until } => End::Released { at: until.0, orphaned },
        Outcome::OwnerDied if row.is_sync() => End::Abandoned("owner_died"),
        _ if row.is_sync() => End::Gone,
        Outcome::NotStarted(_) => End::Released { at: now, orphaned },
        Outcome::Succeeded(_) => End::Gone,
        Outcome::Failed(_) | Outcome::OwnerDied if is_handler => End::HandlerFailed,
        Outcome::OwnerDied => charged(false),
        Outcome::Failed(failure) => charged(failure.kind == FailureKind::DoesNotCompile),
    }
}
