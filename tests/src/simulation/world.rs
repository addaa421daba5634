//! The simulated daemon: the real store, flows and decisions, and around them a small dispatcher without threads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use picloud_daemon::catalog::Pause;
use picloud_daemon::dispatcher::inbox::{Caller, Waiter};
use picloud_daemon::dispatcher::ready::{Ready, Run};
use picloud_daemon::dispatcher::slots::{self, Slots};
use picloud_daemon::dispatcher::takeover;
use picloud_daemon::entry::EntryKey;
use picloud_daemon::failure::{Failure, FailureKind};
use picloud_daemon::faults::{Bug, CrashPoint, Faults};
use picloud_daemon::flow::accept::Accept;
use picloud_daemon::flow::configure::CatalogChange;
use picloud_daemon::flow::facts::{RequestKey, Room};
use picloud_daemon::flow::mutate::Mutate;
use picloud_daemon::flow::settle::{Settle, Stored};
use picloud_daemon::flow::{Command, Kept, Refusal};
use picloud_daemon::gate::{Permits, Work};
use picloud_daemon::ids::{AppId, Id, Ids};
use picloud_daemon::inbox::{Changed, InboxFailure, InboxFailureKind, InboxResult};
use picloud_daemon::outbox::decide::{Action, Outcome, SUSPECT_AFTER, decide};
use picloud_daemon::outbox::row::{
    AbandonReason, Claim, IdempotencyKey, OutboxRow, OutboxSourceKind,
};
use picloud_daemon::retry::Backoff;
use picloud_daemon::store::batch::{BatchError, BatchReport, Batcher, FREE_BYTES_MIN};
use picloud_daemon::store::behind::{Behind, FLUSH_AFTER};
use picloud_daemon::store::configure::ConfigureError;
use picloud_daemon::store::open::{Store, StoreConfig};
use picloud_daemon::store::read::Reader;
use picloud_daemon::time::Timestamp;
use picloud_scripts_runtime::effect::{Effect, Key, Read};
use serde_json::Value;

use super::apps::{self, Enabled};
use super::ledger::{
    self, Checked, End, Known, Ledger, Means, Moment, Noted, Violation, Whole, broken, ensure,
};
use super::operations::Operation;
use super::script::{self, Fate, pick};
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
/// A cluster's other node, which takes rows away.
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

    // What comes in.

    fn request(&mut self, app: AppId, key: Option<u64>, sync: Work) -> OutboxRow {
        let id = self.id();
        let route = if sync == Work::Sync { apps::sync_route(app) } else { apps::async_route(app) };
        OutboxRow {
            id,
            app,
            queue: route.queue(),
            source: OutboxSourceKind::Http,
            origin: Some(route.0),
            script: "work".into(),
            principal: apps::OWNER,
            event: format!(r#"{{"path":"/{id}"}}"#).into(),
            retry: apps::policy(Backoff::Linear, 4),
            order: None,
            dedupe: None,
            available_at: self.time(),
            attempt: 0,
            orphaned: 0,
            depth: 0,
            root: id,
            cause: None,
            reply_by: (sync == Work::Sync).then(|| self.time().plus_ms(TIMEOUT_MS)),
            letter: None,
            replay_of: None,
            idempotency: key.map(|key| IdempotencyKey {
                app,
                route: route.0,
                principal: apps::OWNER,
                key: format!("key-{key}").into(),
                body_hash: "same".into(),
            }),
        }
    }

    async fn ask(&mut self, app: AppId, key: Option<u64>) -> Checked {
        let row = self.request(app, key, Work::Sync);
        if self.batcher().catalog().load().pause(app, row.queue).is_some() {
            return Ok(());
        }
        let request = row.idempotency.as_ref().map(RequestKey::of);
        if let (Some(request), Some(key)) = (&request, &row.idempotency) {
            let in_flight = self.asks.values().any(|ask| {
                ask.request.as_ref() == Some(request) && ask.answers.is_empty() && !ask.lost
            });
            if in_flight {
                return Ok(());
            }
            let known = self.reader.request(request, self.time()).await;
            if let Some(known) = known.map_err(|error| broken("P1", error.to_string()))? {
                let Some(Kept::Result(result)) = known.answer else {
                    return Err(broken("P5", "a sync request got another kind of answer"));
                };
                let at = (key.app.0, key.route, key.key.to_string());
                self.ledger.count("sync request answered before");
                return self.ledger.answered_truly(&at, &key.body_hash, &result, None);
            }
        }
        let (waiter, _) = Waiter::new();
        let row = Arc::new(row);
        let (lease, _) = self.behind.put(Arc::clone(&row), self.owner, self.monotonic);
        let ask = Ask {
            waiter: Arc::clone(&waiter),
            starts: 0,
            conflicts: 0,
            hung_up: false,
            answers: Vec::new(),
            lost: false,
            request,
        };
        self.asks.insert(row.id, ask);
        let run = Run::new(Claim { row, lease }, self.monotonic);
        self.ready.push(Run { waiter: Some(waiter), ..run });
        Ok(())
    }

    fn post(&mut self, app: AppId, key: Option<u64>) {
        let row = self.request(app, key, Work::Async);
        let command = Command::Accept(Accept { row: Arc::new(row), lease: None });
        self.pending.push(Pending { noted: Noted { command, means: Means::Accept }, run: None });
    }

    async fn edit(&mut self, app: AppId) {
        let id = self.id();
        let mut reads = Vec::new();
        if self.chance.below(3) == 0 {
            for key in script::reads(&mut self.chance) {
                reads.push(self.read(app, &key).await.0);
            }
        }
        let effects = script::edit(id, &mut self.chance);
        let command = Command::Mutate(Mutate { id, app, principal: apps::OWNER, reads, effects });
        self.pending.push(Pending { noted: Noted { command, means: Means::Edit }, run: None });
    }

    fn linger(&mut self) {
        self.monotonic += FLUSH_AFTER;
        for accept in self.behind.flush(self.monotonic).0 {
            let command = Command::Accept(accept);
            self.pending
                .push(Pending { noted: Noted { command, means: Means::Behind }, run: None });
        }
    }

    fn hang_up(&mut self) {
        let waiting: Vec<Id> = self
            .asks
            .iter()
            .filter(|(_, ask)| ask.answers.is_empty() && !ask.lost && !ask.hung_up)
            .map(|(id, _)| *id)
            .collect();
        if waiting.is_empty() {
            return;
        }
        let id = waiting[pick(&mut self.chance, waiting.len())];
        let ask = self.asks.get_mut(&id).expect("it waits");
        ask.hung_up = true;
        ask.waiter.hang_up();
    }

    // What runs.

    async fn read(&mut self, app: AppId, key: &Key) -> (Read, Option<Value>) {
        let at = EntryKey { app, key: key.clone() };
        let entry = self.reader.entry(&at, self.time()).await.expect("the store can be read");
        let version = entry.as_ref().map_or(0, |entry| entry.version);
        let value = entry.map(|entry| serde_json::from_str(&entry.value).expect("it is JSON"));
        (Read { key: key.clone(), version }, value)
    }

    async fn read_next(&mut self, place: usize) {
        let app = self.executing[place].run.claim.row.app;
        let Some(key) = self.executing[place].wanted.pop() else { return };
        let (read, value) = self.read(app, &key).await;
        let executing = &mut self.executing[place];
        executing.reads.push(read);
        executing.values.insert(key, value);
    }

    async fn start(&mut self, runs: u64) -> Checked {
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
                    self.settle(run, action, End::Abandoned("caller_gone"), Vec::new(), Vec::new());
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

    async fn begin_run(&mut self, run: Run) -> Checked {
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
    fn fate(&mut self, id: Id) -> Fate {
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

    async fn finish(&mut self, runs: u64) -> Checked {
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

    fn outcome(
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

    // What comes of a run.

    async fn conclude(
        &mut self,
        run: Run,
        outcome: Outcome,
        mut effects: Vec<Effect>,
        reads: Vec<Read>,
    ) -> Checked {
        let row = Arc::clone(&run.claim.row);
        if effects.is_empty() && reads.len() > 1 && !self.is_unchanged(&row, &reads).await {
            self.again(run);
            return Ok(());
        }
        let action = decide(&row, outcome.clone(), self.time());
        let end = end_of(&row, &outcome, self.now);
        if !row.is_sync() {
            self.settle(run, action, end, effects, reads);
            return Ok(());
        }
        let keeps =
            row.idempotency.is_some() && matches!(action, Action::Answer(InboxResult::Answered(_)));
        if effects.is_empty() && !keeps {
            return self.answer_at_once(run, action, end);
        }
        let waits = match run.waiter.as_ref().map_or(Caller::Gone, |waiter| waiter.commit()) {
            Caller::Waits if self.now > row.reply_by.map_or(0, |at| at.0) => Caller::Expired,
            caller => caller,
        };
        match waits {
            Caller::Waits => self.settle(run, action, end, effects, reads),
            Caller::Gone => {
                let action = Action::Abandon { reason: AbandonReason::CallerGone };
                self.settle(run, action, End::Abandoned("caller_gone"), effects, reads);
            }
            Caller::Expired => {
                effects.clear();
                let failure = Failure::new(FailureKind::TimedOut, "too late");
                let action = decide(&row, Outcome::Failed(failure), self.time());
                return self.answer_at_once(run, action, End::Gone);
            }
        }
        Ok(())
    }

    async fn is_unchanged(&mut self, row: &OutboxRow, reads: &[Read]) -> bool {
        let keys: Vec<EntryKey> =
            reads.iter().map(|read| EntryKey { app: row.app, key: read.key.clone() }).collect();
        let versions = self.reader.versions(&keys, self.time()).await;
        let versions = versions.expect("the store can be read");
        reads.iter().map(|read| read.version).eq(versions)
    }

    fn again(&mut self, mut run: Run) {
        if let Some(waiter) = &run.waiter {
            waiter.take_back();
        }
        if let Some(ask) = self.asks.get_mut(&run.id()) {
            ask.conflicts += 1;
        }
        run.conflicts += 1;
        let id = run.id();
        self.ready.push(run);
        self.ready.turn_over(id);
    }

    fn answer_at_once(&mut self, run: Run, action: Action, end: End) -> Checked {
        let stored = self.behind.elide(run.id());
        if let Action::Answer(result) = &action {
            self.answer(run.id(), result.clone())?;
        }
        match stored {
            Stored::Yes => self.submit(run, action, end, (Vec::new(), Vec::new()), stored),
            Stored::No => self.ready.turn_over(run.id()),
        }
        Ok(())
    }

    fn settle(
        &mut self,
        run: Run,
        action: Action,
        end: End,
        effects: Vec<Effect>,
        reads: Vec<Read>,
    ) {
        let stored = match run.work() {
            Work::Sync => self.behind.elide(run.id()),
            Work::Async => Stored::Yes,
        };
        let is_nothing = effects.is_empty() && matches!(action, Action::Abandon { .. });
        if stored == Stored::No && is_nothing {
            self.ready.turn_over(run.id());
            return;
        }
        self.submit(run, action, end, (effects, reads), stored);
    }

    fn submit(
        &mut self,
        run: Run,
        action: Action,
        end: End,
        (effects, reads): (Vec<Effect>, Vec<Read>),
        stored: Stored,
    ) {
        let result = match &action {
            Action::Answer(InboxResult::Answered(result)) => Some(Arc::clone(result)),
            _ => None,
        };
        let writes = !effects.is_empty() || result.is_some();
        let settle = Settle {
            claim: run.claim.clone(),
            stored,
            action,
            reads: if writes { reads } else { Vec::new() },
            effects,
            result,
            script_version: 1,
            fresh: self.id(),
        };
        let noted = Noted { command: Command::Settle(settle), means: Means::End(end) };
        self.pending.push(Pending { noted, run: Some(run) });
    }

    /// An answer leaves. It must be the only one, and what it says must be true.
    fn answer(&mut self, id: Id, result: InboxResult) -> Checked {
        let Some(ask) = self.asks.get_mut(&id) else {
            return Err(broken("P5", format!("an answer to {id}, which nobody asked")));
        };
        ensure!(ask.answers.is_empty(), "P5", "request {id} is answered twice");
        let app = id_app(&self.ledger, id);
        let mark = app
            .iter()
            .any(|app| self.ledger.entries.contains_key(&ledger::mark_of(*app, &id.to_string())));
        if let InboxResult::Failed(InboxFailure { changed: Changed::Nothing, .. }) = &result {
            ensure!(!mark, "P5", "request {id} was told that nothing changed");
        }
        ask.answers.push(result);
        Ok(())
    }

    // What is committed.

    fn room(&self) -> Room {
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
                    let used = ledger::held(&self.ledger.rows, queue.0);
                    room.queue_rows.insert(queue, (max as usize).saturating_sub(used));
                }
            }
        }
        room
    }

    async fn commit(&mut self) -> Checked {
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
        self.acknowledge(pending, report).await?;
        self.check_leases()?;
        if !commands.is_empty() && self.faults.crashes(CrashPoint::AfterAck) {
            return self.die(None).await;
        }
        Ok(())
    }

    async fn look(
        &mut self,
        batch: &[Noted],
        known: &Known<'_>,
        whole: Whole,
        moment: &Moment,
    ) -> Checked {
        let from = if whole == Whole::Yes { 0 } else { self.ledger.version_max };
        let found = self.looker.look(from).await;
        self.ledger.take(batch, known, found, whole, moment)?;
        if let Some(batcher) = &self.batcher {
            for app in apps::APPS {
                let used = batcher.usage(app);
                let counted = ledger::usage(&self.ledger.rows, app);
                ensure!(
                    (used.rows, used.bytes, used.delayed) == counted,
                    "usage",
                    "app {app} is said to have {used:?} waiting, counted are {counted:?}"
                );
            }
        }
        ledger::check_concurrency(&self.ledger.rows)
    }

    async fn acknowledge(&mut self, pending: Vec<Pending>, report: BatchReport) -> Checked {
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
                Command::Accept(_) | Command::Mutate(_) => {}
                Command::Settle(settle) => {
                    let settle = settle.clone();
                    self.settled(settle, run, outcome, noted.means).await?;
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

    async fn settled(
        &mut self,
        settle: Settle,
        run: Option<Run>,
        outcome: Result<(), Refusal>,
        means: Means,
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
                let _ = means;
                self.fail(run, Failure::new(FailureKind::Threw, other.to_string()), settle.stored)
            }
        }
    }

    /// The effects could not be applied: the run fails.
    fn fail(&mut self, run: Run, failure: Failure, stored: Stored) -> Checked {
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
        self.submit(run, action, end, (Vec::new(), Vec::new()), stored);
        Ok(())
    }

    /// What the file says is claimed is what the dispatcher holds.
    fn check_leases(&self) -> Checked {
        let leased: BTreeSet<(String, i64)> = self
            .ledger
            .rows
            .values()
            .filter_map(|row| row.lease().map(|(_, token)| (row.id.clone(), token)))
            .collect();
        ensure!(leased == self.held, "leases", "claimed are {leased:?}, held are {:?}", self.held);
        Ok(())
    }

    // Trouble.

    fn disk(&mut self, free: u64) {
        self.batcher().note_free_bytes(free, FREE_BYTES_MIN);
        self.ledger.storage_low = free == 0;
    }

    /// Another owner takes a row away that runs here, and gives it back.
    fn steal(&mut self) {
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

    fn bare(&self, claim: Claim, action: Action, effects: Vec<Effect>) -> Settle {
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

    fn note_former(&mut self, executing: &Executing) {
        let claim = executing.run.claim.clone();
        if !claim.row.is_sync() && self.former.len() < FORMER_RUNS_MAX {
            let effects = vec![script::mark(claim.row.id)];
            let settle = self.bare(claim, Action::Complete, effects);
            self.former.push(settle);
        }
    }

    fn late_settle(&mut self) {
        let Some(mut settle) = self.former.pop() else { return };
        settle.fresh = self.id();
        let noted = Noted { command: Command::Settle(settle), means: Means::End(End::Gone) };
        self.pending.push(Pending { noted, run: None });
    }

    /// The daemon dies; what it had in memory is gone. Then it starts again.
    async fn die(&mut self, doubt: Option<Doubt>) -> Checked {
        let running = std::mem::take(&mut self.executing);
        self.evidence = running.iter().map(|one| one.run.id()).collect();
        for executing in &running {
            self.note_former(executing);
        }
        self.forget();
        self.boot(doubt).await
    }

    fn forget(&mut self) {
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
    async fn boot(&mut self, mut doubt: Option<Doubt>) -> Checked {
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
    async fn change_folder(&mut self) {
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

    async fn try_boot(&mut self, doubt: Option<Doubt>) -> Result<Booted, Violation> {
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
                    | CrashPoint::InDeploy => Known::Nothing,
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

    async fn take_over(&mut self, evidence: &[Id]) -> Result<Option<Booted>, Violation> {
        let mut after = None;
        loop {
            let orphans = self.reader.orphans(self.owner, after, TAKE_OVER_ROWS).await;
            let orphans = orphans.map_err(|error| broken("P1", error.to_string()))?;
            let Some((_, last)) = orphans.last() else { return Ok(None) };
            after = Some(last.token);
            let claims: Vec<Claim> = orphans
                .into_iter()
                .map(|(row, lease)| Claim { row: Arc::new(row), lease })
                .collect();
            let now = self.time();
            let settles = takeover::settles(claims.clone(), evidence, &self.ids, now);
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
    fn orphan_end(&self, row: &OutboxRow, evidence: &[Id]) -> End {
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

    fn check_charge(&self, command: &Command, end: &End) -> Checked {
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
    async fn restart(&mut self) -> Checked {
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

    async fn until_due(&mut self) -> Checked {
        let due = self.ledger.rows.values().filter(|row| row.lease_token.is_none());
        let due = due.map(|row| row.available_at).filter(|at| *at > self.now);
        if let Some(at) = due.min().filter(|at| *at < Timestamp::NEVER.0) {
            self.now = at;
        }
        Ok(())
    }

    // Configuration.

    async fn configure(&mut self, changes: Vec<CatalogChange>) -> Result<Configured, Violation> {
        let now = self.time();
        let plan = |_: &_, next, _| Ok::<_, std::convert::Infallible>((changes, next));
        match self.batcher().configure(plan, now).await {
            Ok(_) => Ok(Configured::Yes),
            Err(ConfigureError::StorageLow) => {
                ensure!(self.ledger.storage_low, "P7", "refused for a full disk that is not full");
                Ok(Configured::No)
            }
            Err(ConfigureError::Fatal(BatchError::Crashed(_))) => {
                self.die(None).await?;
                Ok(Configured::No)
            }
            Err(error) => Err(broken("P1", format!("no change of configuration: {error}"))),
        }
    }

    async fn pause(&mut self) -> Checked {
        let app = apps::APPS[pick(&mut self.chance, 2)];
        let place = pick(&mut self.chance, apps::WATCHES.len());
        let target = [0, app.0, apps::watch_trigger(app, place).0][pick(&mut self.chance, 3)];
        let pause = Pause { reason: "simulated".into(), since: self.time(), by: Some(apps::OWNER) };
        if self.configure(vec![CatalogChange::Pause { target, pause }]).await? == Configured::Yes {
            self.ledger.pauses.insert(target);
        }
        self.look_at_configuration().await
    }

    async fn resume(&mut self) -> Checked {
        let targets: Vec<i64> = self.ledger.pauses.iter().copied().collect();
        let changes = targets.iter().map(|target| CatalogChange::Resume { target: *target });
        if self.configure(changes.collect()).await? == Configured::Yes {
            self.ledger.pauses.clear();
        }
        self.look_at_configuration().await
    }

    /// Switches one trigger on or off and gives the script a new version: both or neither.
    async fn deploy(&mut self) -> Checked {
        let app = apps::APPS[pick(&mut self.chance, 2)];
        let place = pick(&mut self.chance, apps::WATCHES.len());
        let id = apps::watch_trigger(app, place).0;
        let enabled = if self.ledger.disabled.contains(&id) { Enabled::Yes } else { Enabled::No };
        self.script_version += 1;
        let changes = vec![
            CatalogChange::PutTrigger(apps::trigger(app, place, enabled)),
            CatalogChange::PutScript(apps::script(
                apps::work(app),
                app,
                "work",
                self.script_version,
            )),
        ];
        if self.configure(changes).await? == Configured::Yes {
            match enabled {
                Enabled::Yes => self.ledger.disabled.remove(&id),
                Enabled::No => self.ledger.disabled.insert(id),
            };
        }
        self.look_at_configuration().await
    }

    async fn look_at_configuration(&mut self) -> Checked {
        self.look(&[], &Known::Nothing, Whole::No, &self.moment()).await
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
