//! Batches: what is waiting becomes one transaction, and the next claims ride on it.
//!
//! No thread and no clock in here: the writer calls [`Batcher::run`] in a loop, and so does a simulation. What
//! outlives a batch changes only after its commit.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use tracing::{error, info};

use crate::catalog::Catalog;
use crate::faults::{Bug, CrashPoint, Faults};
use crate::flow::facts::{Facts, Keys, Room, Usage};
use crate::flow::writes::{RowWrite, Writes};
use crate::flow::{Command, Refusal, claim};
use crate::ids::{AppId, Id, QueueId};
use crate::limits::OutboxLimits;
use crate::log::{field, message};
use crate::outbox::row::Claim;
use crate::schedule::Timetable;
use crate::store::apply::{self, ApplyError};
use crate::store::backlog::{self, Backlog, Left};
use crate::store::commits::Commits;
use crate::store::engine::trouble::{self, Stage, Trouble};
use crate::store::engine::{self, Connection};
use crate::store::open::{Lock, Store, StoreConfig, StoreError, named};
use crate::store::purge::{self, DeletedApp};
use crate::store::rows::RetryCache;
use crate::store::sweep::Sweep;
use crate::store::told::{self, Told, Watched};
use crate::store::{catalog, facts, open, sql};
use crate::time::Timestamp;

/// Rows that one batch holds, unless one command alone has more.
pub const BATCH_ROWS_MAX: usize = 10_000;

/// By how much the counter's ceiling is raised: one write for so many numbers.
const COUNTER_STEP: i64 = 10_000;

/// What became of a batch.
#[derive(Debug, Default)]
pub struct BatchReport {
    /// In the order of the commands. `Ok` is durable.
    pub outcomes: Vec<Result<(), Refusal>>,
    /// Rows that the dispatcher holds from now on.
    pub claims: Vec<Claim>,
    /// When the next row becomes due that is not due already.
    pub next_due: Option<Timestamp>,
    /// Whether due rows are left for which there was no room.
    pub left: Left,
    /// Whether due rows are left for which there was room.
    pub more: bool,
    /// Whether anything was written.
    pub committed: bool,
    /// What became of rows that have not run; empty while nobody looks on.
    pub told: Vec<Told>,
}

/// Why no batch can follow.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// What the file holds is only known after recovery: end the process and start again.
    #[error("the store has to be recovered by a new start: {0}")]
    Fatal(String),
    /// A test stops here as if the process had died.
    #[error("crashed at {}", .0.as_str())]
    Crashed(CrashPoint),
}

/// Why a transaction was undone.
#[derive(Debug)]
pub(crate) enum Undone {
    Apply(ApplyError),
    Commit(sqlx::Error),
    /// The waiting rows of this queue could not be read; the commands are not to blame.
    Unreadable {
        app: AppId,
        queue: QueueId,
        error: sqlx::Error,
    },
    /// Not undone at all: it is committed, but what came of it could not be read.
    Afterwards(sqlx::Error),
    Crash(CrashPoint),
}

impl From<sqlx::Error> for Undone {
    fn from(error: sqlx::Error) -> Undone {
        Undone::Apply(ApplyError::Sql(error))
    }
}

impl From<ApplyError> for Undone {
    fn from(error: ApplyError) -> Undone {
        Undone::Apply(error)
    }
}

/// What a batch learns and the next one starts from.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The next number of the counter, and the first that is not reserved in the file.
    pub(crate) next: i64,
    pub(crate) ceiling: i64,
    pub(crate) usage: HashMap<AppId, Usage>,
    pub(crate) letters_open: HashMap<QueueId, i64>,
    pub(crate) backlog: Backlog,
}

impl Standing {
    /// Rows and open dead letters of a deleted app are gone.
    pub(crate) fn forget(&mut self, app: AppId, rows: i64, bytes: i64, open_letters: &[QueueId]) {
        if let Some(usage) = self.usage.get_mut(&app) {
            usage.add(&Usage { rows: -rows, bytes: -bytes, delayed: 0 });
            // What still runs of it was never delayed, or is so no more.
            usage.delayed = 0;
        }
        for queue in open_letters {
            if let Some(open) = self.letters_open.get_mut(queue) {
                *open -= 1;
            }
        }
        self.letters_open.retain(|_, open| *open > 0);
    }
}

/// What is waiting, for whoever shows it, as of the last commit; and whether the disk is nearly full.
#[derive(Debug, Default)]
pub struct Seen {
    waiting: std::sync::Mutex<Waiting>,
    pub commits: Commits,
}

#[derive(Clone, Debug, Default)]
pub struct Waiting {
    pub usage: HashMap<AppId, Usage>,
    pub letters_open: HashMap<QueueId, i64>,
    pub storage_low: bool,
}

impl Seen {
    pub fn now(&self) -> Waiting {
        self.waiting.lock().expect("no panic while held").clone()
    }
}

/// The one writer's connection, and what it knows.
pub struct Batcher {
    pub(crate) conn: Connection,
    pub(crate) config: StoreConfig,
    pub(crate) owner: Id,
    pub(crate) limits: Arc<OutboxLimits>,
    pub(crate) faults: Faults,
    pub(crate) catalog: Arc<ArcSwap<Catalog>>,
    pub(crate) standing: Standing,
    pub(crate) timetable: Timetable,
    seen: Arc<Seen>,
    /// Whether anybody looks on; set by whoever lets them.
    watched: Arc<AtomicBool>,
    storage_low: bool,
    sweep: Sweep,
    /// Deleted apps that have something left.
    pub(crate) purging: Vec<DeletedApp>,
    pub(crate) retries: RetryCache,
    /// Whether the file is known to be whole: it was stopped in order, or has been looked through since.
    pub(crate) whole: Arc<AtomicBool>,
    _lock: Lock,
}

impl Batcher {
    /// Loads what outlives a batch. Rows of the backlog are searched by queue, not scanned.
    pub async fn start(
        store: Store,
        limits: Arc<OutboxLimits>,
        faults: Faults,
    ) -> Result<Batcher, StoreError> {
        let Store { mut conn, config, owner, counter_ceiling, lock, was_clean, .. } = store;
        let fail = |doing| {
            let path = config.path.clone();
            move |source: sqlx::Error| named(&path, doing, source)
        };
        let catalog = catalog::load(&mut conn, &config.run).await;
        let catalog = catalog.map_err(fail("reading what is configured"))?;
        let (usage, backlog) =
            backlog::load(&mut conn).await.map_err(fail("counting the outbox"))?;
        let letters_open =
            backlog::load_letters_open(&mut conn).await.map_err(fail("counting dead letters"))?;
        let purging = purge::load(&mut conn).await.map_err(fail("looking for deleted apps"))?;
        let standing = Standing {
            next: counter_ceiling,
            ceiling: counter_ceiling,
            usage,
            letters_open,
            backlog,
        };
        let waiting = Waiting {
            usage: standing.usage.clone(),
            letters_open: standing.letters_open.clone(),
            storage_low: false,
        };
        let mut batcher = Batcher {
            timetable: Timetable::default(),
            seen: Arc::new(Seen { waiting: std::sync::Mutex::new(waiting), ..Seen::default() }),
            watched: Arc::default(),
            conn,
            owner,
            limits,
            faults,
            catalog: Arc::new(ArcSwap::from_pointee(catalog)),
            standing,
            storage_low: false,
            sweep: Sweep::default(),
            purging,
            retries: RetryCache::default(),
            whole: Arc::new(AtomicBool::new(was_clean)),
            _lock: lock,
            config,
        };
        let loaded = batcher.load_timetable().await;
        loaded.map_err(|error| named(batcher.path(), "reading the schedules", error))?;
        Ok(batcher)
    }

    /// What is configured now; a change of configuration puts a new one there.
    pub fn catalog(&self) -> Arc<ArcSwap<Catalog>> {
        Arc::clone(&self.catalog)
    }

    /// What is waiting, kept up to date with each commit.
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    /// To be set while somebody looks on, who is then told of every row.
    pub fn watched(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.watched)
    }

    /// To be set once the file has been looked through: the next start need not do so after a stop in order.
    pub fn whole(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.whole)
    }

    pub fn owner(&self) -> Id {
        self.owner
    }

    pub fn path(&self) -> &Path {
        &self.config.path
    }

    /// What an app has waiting, as the store counts it.
    pub fn usage(&self, app: AppId) -> Usage {
        self.standing.usage.get(&app).copied().unwrap_or_default()
    }

    /// Takes the bytes that are left on the file system. It counts as nearly full until a quarter more is free again.
    pub fn note_free_bytes(&mut self, free: u64, min: u64) {
        let enough = if self.storage_low { min.saturating_add(min / 4) } else { min };
        self.set_storage_low(free < enough);
    }

    fn set_storage_low(&mut self, is_low: bool) {
        if is_low && !self.storage_low {
            let id = message::STORAGE_LOW.0;
            error!(
                { field::MESSAGE_ID } = id,
                "the disk is nearly full: what brings work in is refused"
            );
        } else if self.storage_low && !is_low {
            info!({ field::MESSAGE_ID } = message::STORAGE_FREE.0, "the disk has room again");
        }
        self.storage_low = is_low;
        self.seen.waiting.lock().expect("no panic while held").storage_low = is_low;
    }

    pub fn is_storage_low(&self) -> bool {
        self.storage_low
    }

    /// Plans and commits the commands and claims what is due, in one transaction. Should that fail, they are
    /// applied one at a time, so that a bad one fails alone.
    pub async fn run(
        &mut self,
        commands: &[Command],
        now: Timestamp,
        room: Room,
    ) -> Result<BatchReport, BatchError> {
        let report = self.commit_or_undo(commands, now, room).await?;
        let (catalog, backlog) = (self.catalog.load(), &self.standing.backlog);
        let (next_due, left) = (backlog.next_due(&catalog, now), backlog.left(&catalog, now));
        Ok(BatchReport { next_due, left, ..report })
    }

    async fn commit_or_undo(
        &mut self,
        commands: &[Command],
        now: Timestamp,
        room: Room,
    ) -> Result<BatchReport, BatchError> {
        loop {
            let undone = match self.attempt(commands, now, room.clone()).await {
                Ok(report) => return Ok(report),
                Err(undone) => undone,
            };
            let unreadable = match undone {
                Undone::Unreadable { app, queue, .. } => Some((app, queue)),
                Undone::Apply(_) | Undone::Commit(_) | Undone::Afterwards(_) | Undone::Crash(_) => {
                    None
                }
            };
            match (self.undo(undone).await?, unreadable) {
                ((Trouble::Full | Trouble::ReadOnly, why), _) => {
                    return self.only_settles(commands, &why, now).await;
                }
                // The same again without this queue: each time there is one less.
                ((Trouble::Statement, why), Some(queue)) => self.set_aside(queue, &why, now),
                ((Trouble::Statement | Trouble::Fatal, _), _) => {
                    return self.one_at_a_time(commands, now).await;
                }
            }
        }
    }

    pub(crate) async fn attempt(
        &mut self,
        commands: &[Command],
        now: Timestamp,
        room: Room,
    ) -> Result<BatchReport, Undone> {
        let mut facts = self.standing_facts(now, room);
        let mut keys = Keys::default();
        for command in commands {
            command.needs(&facts, &mut keys);
        }
        let reads = !facts::is_empty(&keys);
        if reads {
            self.conn.begin().await?;
            facts::read(&mut self.conn, keys, &mut facts).await?;
        }
        let watched = Watched::of(&self.watched);
        let mut batch = Planned::of(commands, &mut facts, &self.standing.backlog, watched);
        if !reads {
            let due = batch.backlog.due(&facts.catalog, &facts.room, facts.now);
            if batch.writes.is_empty() && due.is_empty() {
                return Ok(batch.nothing_to_write());
            }
            self.conn.begin().await?;
        }
        self.crash_at(CrashPoint::BeforeApply)?;
        self.apply(&mut batch, now).await?;
        self.claim_backlog(&mut batch, &mut facts).await?;
        let committed = !batch.writes.is_empty() || !batch.claims.is_empty();
        if committed {
            let next = facts.next.max(batch.writes.next);
            batch.ceiling = self.raise_ceiling(next).await?;
            let apps = facts.catalog.apps.keys();
            self.sweep.ride(&mut self.conn, apps, &self.limits, now).await?;
        }
        self.finish(batch, committed, &facts).await
    }

    /// Commits, and only then lets what outlives the batch change.
    async fn finish(
        &mut self,
        batch: Planned,
        committed: bool,
        facts: &Facts,
    ) -> Result<BatchReport, Undone> {
        let Planned { writes, outcomes, claims, backlog, ceiling, told } = batch;
        let more =
            !claims.is_empty() && !backlog.due(&facts.catalog, &facts.room, facts.now).is_empty();
        let report =
            BatchReport { outcomes, claims, more, committed, told, ..BatchReport::default() };
        let crashed = committed && self.faults.crashes(CrashPoint::BeforeCommit);
        if crashed && self.faults.has(Bug::AckBeforeCommit) {
            self.conn.rollback().await?;
            return Ok(report);
        }
        if crashed {
            return Err(Undone::Crash(CrashPoint::BeforeCommit));
        }
        let ended = match committed {
            true => self.conn.commit().await,
            false => self.conn.rollback().await,
        };
        ended.map_err(Undone::Commit)?;
        self.standing.backlog = backlog;
        if committed {
            self.standing.next = facts.next.max(writes.next);
            self.standing.ceiling = ceiling;
        }
        self.learn(&writes, facts);
        if !writes.pauses.is_empty() {
            told::paused(&writes, &self.catalog.load());
            self.reload_catalog().await.map_err(Undone::Afterwards)?;
        }
        if committed {
            self.crash_at(CrashPoint::AfterCommit)?;
        }
        Ok(report)
    }

    /// Takes over what a committed batch changed of what outlives it.
    fn learn(&mut self, writes: &Writes, facts: &Facts) {
        let mut seen = self.seen.waiting.lock().expect("no panic while held");
        for (app, change) in &writes.usage {
            self.standing.usage.entry(*app).or_default().add(change);
            seen.usage.entry(*app).or_default().add(change);
        }
        if self.standing.letters_open != facts.letters_open {
            self.standing.letters_open.clone_from(&facts.letters_open);
            seen.letters_open.clone_from(&facts.letters_open);
        }
        for (trigger, last) in &writes.fired {
            self.timetable.fired(*trigger, *last);
        }
    }

    /// Shows what waits as it is known here.
    pub(crate) fn see_standing(&self) {
        let mut seen = self.seen.waiting.lock().expect("no panic while held");
        seen.usage.clone_from(&self.standing.usage);
        seen.letters_open.clone_from(&self.standing.letters_open);
    }

    pub(crate) async fn reload_catalog(&mut self) -> Result<(), sqlx::Error> {
        let catalog = catalog::load(&mut self.conn, &self.config.run).await?;
        self.catalog.store(Arc::new(catalog));
        self.load_timetable().await
    }

    fn standing_facts(&self, now: Timestamp, room: Room) -> Facts {
        Facts {
            now,
            owner: self.owner,
            catalog: self.catalog.load_full(),
            limits: Arc::clone(&self.limits),
            value_bytes_max: self.config.run.value_bytes_max,
            next: self.standing.next,
            storage_low: self.storage_low,
            room,
            usage: self.standing.usage.clone(),
            letters_open: self.standing.letters_open.clone(),
            entries: HashMap::new(),
            leases: HashMap::new(),
            dedupe: HashSet::new(),
            requests: HashMap::new(),
            lines: HashMap::new(),
            letters: HashMap::new(),
            root_replays: HashMap::new(),
            waiting: HashMap::new(),
            faults: self.faults.clone(),
        }
    }

    async fn apply(&mut self, batch: &mut Planned, now: Timestamp) -> Result<(), Undone> {
        if self.faults.has(Bug::EffectsOutsideTransaction) && !batch.writes.entries.is_empty() {
            apply::entries(&mut self.conn, &batch.writes).await?;
            self.conn.commit().await?;
            self.conn.begin().await?;
            batch.writes.entries.clear();
        }
        Ok(apply::writes(&mut self.conn, &batch.writes, &self.limits, now).await?)
    }

    /// Reserves numbers in the file before any of them is used.
    async fn raise_ceiling(&mut self, next: i64) -> Result<i64, sqlx::Error> {
        if next <= self.standing.ceiling {
            return Ok(self.standing.ceiling);
        }
        let ceiling = next + COUNTER_STEP;
        engine::query(sql::COUNTER_RAISE).bind(ceiling).execute(&mut self.conn).await?;
        Ok(ceiling)
    }

    pub(crate) fn crash_at(&self, point: CrashPoint) -> Result<(), Crash> {
        if self.faults.crashes(point) { Err(Crash(point)) } else { Ok(()) }
    }

    /// Rolls back, and says how to go on.
    pub(crate) async fn undo(&mut self, undone: Undone) -> Result<(Trouble, String), BatchError> {
        let path = &self.config.path;
        let judged = |error: &sqlx::Error, stage| match trouble::of(error, stage) {
            Trouble::Fatal if open::goes_on_reading(path, error) => Trouble::ReadOnly,
            trouble => trouble,
        };
        let (trouble, why) = match &undone {
            Undone::Crash(point) => return Err(BatchError::Crashed(*point)),
            Undone::Afterwards(error) => return Err(BatchError::Fatal(error.to_string())),
            Undone::Commit(error) => (judged(error, Stage::Commit), error.to_string()),
            Undone::Apply(ApplyError::Sql(error)) | Undone::Unreadable { error, .. } => {
                (judged(error, Stage::Statement), error.to_string())
            }
            Undone::Apply(error @ ApplyError::Count { .. }) => {
                (Trouble::Statement, error.to_string())
            }
        };
        tracing::warn!(error = why, "a batch was undone");
        if trouble == Trouble::Fatal {
            return Err(BatchError::Fatal(why));
        }
        // After some errors SQLite has rolled back by itself; then this fails, and that is well.
        let rolled_back = self.conn.rollback().await;
        if let Err(error) = rolled_back
            && trouble::of(&error, Stage::Commit) == Trouble::Fatal
            && !open::goes_on_reading(&self.config.path, &error)
        {
            return Err(BatchError::Fatal(error.to_string()));
        }
        match trouble {
            Trouble::Fatal | Trouble::ReadOnly => Ok((Trouble::ReadOnly, why)),
            Trouble::Full => {
                self.set_storage_low(true);
                Ok((Trouble::Full, why))
            }
            Trouble::Statement => Ok((Trouble::Statement, why)),
        }
    }
}

/// A test stops here.
pub(crate) struct Crash(pub(crate) CrashPoint);

impl From<Crash> for Undone {
    fn from(Crash(point): Crash) -> Undone {
        Undone::Crash(point)
    }
}

/// Everything that a batch will write, before anything is written.
pub(crate) struct Planned {
    pub(crate) writes: Writes,
    outcomes: Vec<Result<(), Refusal>>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) backlog: Backlog,
    /// The counter's ceiling after the batch; 0 when it has not been asked for.
    ceiling: i64,
    told: Vec<Told>,
}

impl Planned {
    /// Plans command by command; each sees what those before it write.
    fn of(commands: &[Command], facts: &mut Facts, backlog: &Backlog, watched: Watched) -> Planned {
        let mut told = Vec::new();
        let mut writes = Writes { next: facts.next, ..Writes::default() };
        let mut backlog = backlog.clone();
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            match command.plan(facts) {
                Ok(planned) => {
                    lower_by_updates(command, &planned, facts, &mut backlog);
                    if watched == Watched::Yes {
                        told.extend(told::of(&planned, facts));
                    }
                    if !facts.faults.has(Bug::BatchNotAbsorbed) {
                        facts.absorb(&planned);
                    }
                    writes.merge(planned);
                    outcomes.push(Ok(()));
                }
                Err(refusal) => outcomes.push(Err(refusal)),
            }
        }
        let claims = claim::place(&mut writes, facts);
        for write in writes.rows.values() {
            if let RowWrite::Insert(row, None) = write {
                backlog.lower(row.app, row.queue, row.available_at);
            }
        }
        Planned { writes, outcomes, claims, backlog, ceiling: 0, told }
    }

    /// Neither facts nor writes: the database need not be asked at all.
    fn nothing_to_write(self) -> BatchReport {
        BatchReport { outcomes: self.outcomes, ..BatchReport::default() }
    }
}

/// What a command makes pending stands in the queue of its row: the row itself, or the next of its line.
fn lower_by_updates(command: &Command, planned: &Writes, facts: &Facts, backlog: &mut Backlog) {
    let row = match command {
        Command::Settle(settle) => Some(&settle.claim.row),
        Command::Manage(manage) => {
            manage.row().and_then(|id| facts.waiting.get(&id)).map(|waiting| &waiting.row)
        }
        Command::Accept(_) | Command::Mutate(_) | Command::Fire(_) => None,
    };
    let Some(row) = row else { return };
    for write in planned.rows.values() {
        if let RowWrite::Update(update) = write
            && update.lease.is_none()
        {
            backlog.lower(row.app, row.queue, update.available_at);
        }
    }
}
