//! The writer's thread: takes what is waiting, commits it as a batch, tells everybody, and is silent when idle.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::catalog::Catalog;
use crate::faults::CrashPoint;
use crate::flow::facts::Room;
use crate::flow::settle::Stored;
use crate::flow::{Command, Lane, Refusal};
use crate::ids::Id;
use crate::outbox::row::{Claim, Lease, OutboxRow};
use crate::store::batch::{BATCH_ROWS_MAX, BatchError, BatchReport, Batcher, FREE_BYTES_MIN};
use crate::store::behind::{Behind, Timer};
use crate::store::configure::{ConfigureError, Plan};
use crate::store::open::{StoreError, free_bytes};
use crate::time::{Clock, Timestamp};

/// Whoever runs what was claimed.
pub trait Handover: Send + Sync {
    /// How many rows may be handed over now.
    fn room(&self) -> Room;

    /// Takes rows that are durable and claimed.
    fn take(&self, claims: Vec<Claim>);

    /// Says when the next row becomes due; it has to call [`Writer::wake`] then, and when it has room again.
    fn next_due(&self, at: Option<Timestamp>);

    /// The store can be written again after it could not.
    fn writable(&self);
}

/// Told once what became of a command. Dropped untold when the process has to end and nobody can know.
pub type Done = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

/// How the writer is set up.
#[derive(Clone, Debug)]
pub struct WriterConfig {
    /// Commands that wait in the lanes of accepts and of bulk work, and their bytes.
    pub waiting_max: usize,
    pub waiting_bytes_max: usize,
    /// Bytes on the file system below which the disk counts as nearly full.
    pub free_bytes_min: u64,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self { waiting_max: 10_000, waiting_bytes_max: 32 << 20, free_bytes_min: FREE_BYTES_MIN }
    }
}

/// Why a command did not even get in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    #[error("too much is waiting to be written")]
    Full,
    #[error("the daemon is stopping")]
    Stopping,
}

/// What came of a command that somebody waited for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CommitError {
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The process is ending; the command may be durable or not.
    #[error("the store stopped before it could tell")]
    Unknown,
}

/// Why the writer ended out of order.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The way to the writer. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
}

/// The writer's thread.
pub struct WriterThread {
    join: std::thread::JoinHandle<()>,
    /// Completes when the writer has ended: in order after [`Writer::stop`], or because the process has to end.
    pub ended: oneshot::Receiver<Result<(), WriterError>>,
}

impl WriterThread {
    /// Blocks until the thread is gone.
    pub fn join(self) {
        self.join.join().expect("the writer does not panic");
    }
}

struct Shared {
    lanes: Mutex<Lanes>,
    something: Notify,
    behind: Behind,
    owner: Id,
    clock: Arc<dyn Clock>,
    config: WriterConfig,
    catalog: Arc<arc_swap::ArcSwap<Catalog>>,
}

#[derive(Default)]
struct Lanes {
    settle: VecDeque<Waiting>,
    accept: VecDeque<Waiting>,
    bulk: VecDeque<Waiting>,
    /// Bytes in `accept` and `bulk`.
    bytes: usize,
    jobs: VecDeque<Job>,
    woken: bool,
    stopping: bool,
}

struct Waiting {
    command: Command,
    bytes: usize,
    done: Done,
}

/// A change of configuration, with whom to tell inside.
type Job = Box<
    dyn for<'a> FnOnce(
            &'a mut Batcher,
            Timestamp,
        ) -> Pin<Box<dyn Future<Output = Result<(), BatchError>> + 'a>>
        + Send,
>;

/// Changes of configuration that may wait.
const JOBS_MAX: usize = 64;

impl Writer {
    /// Starts the thread.
    pub fn start(
        batcher: Batcher,
        handover: Arc<dyn Handover>,
        clock: Arc<dyn Clock>,
        config: WriterConfig,
    ) -> Result<(Writer, WriterThread), StoreError> {
        let path = batcher.path().to_owned();
        let fail = |doing| move |source| StoreError::Io { path, doing, source };
        let shared = Arc::new(Shared {
            lanes: Mutex::default(),
            something: Notify::new(),
            behind: Behind::default(),
            owner: batcher.owner(),
            clock,
            config,
            catalog: batcher.catalog(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(fail.clone()("starting the writer"))?;
        let (tell, ended) = oneshot::channel();
        let desk = Desk::new(batcher, Arc::clone(&shared), handover);
        let thread = std::thread::Builder::new().name("picloud-writer".to_owned());
        let join = thread.spawn(move || {
            let end = runtime.block_on(desk.work());
            // Whoever started the thread may have lost interest.
            drop(tell.send(end));
        });
        let join = join.map_err(fail("starting the writer"))?;
        Ok((Writer { shared }, WriterThread { join, ended }))
    }

    /// Puts a command in line; `done` is told after its commit, on the writer's thread, so it must not block.
    /// Settles are always taken: there are never more of them than claims.
    pub fn submit(&self, command: Command, done: Done) -> Result<(), NotTaken> {
        let bytes = weight(&command);
        let lane = command.lane();
        let mut lanes = self.shared.lanes.lock().expect("no panic while held");
        if lane != Lane::Settle {
            if lanes.stopping {
                return Err(NotTaken::Stopping);
            }
            let waiting = lanes.accept.len() + lanes.bulk.len();
            let bytes_left = self.shared.config.waiting_bytes_max.saturating_sub(lanes.bytes);
            if waiting >= self.shared.config.waiting_max || (waiting > 0 && bytes > bytes_left) {
                return Err(NotTaken::Full);
            }
            lanes.bytes += bytes;
        }
        let waiting = Waiting { command, bytes, done };
        match lane {
            Lane::Settle => lanes.settle.push_back(waiting),
            Lane::Accept => lanes.accept.push_back(waiting),
            Lane::Bulk => lanes.bulk.push_back(waiting),
        }
        drop(lanes);
        self.shared.something.notify_one();
        Ok(())
    }

    /// Puts a command in line and waits for its commit. Whoever stops waiting does not stop the command.
    pub async fn commit(&self, command: Command) -> Result<(), CommitError> {
        let (tell, told) = oneshot::channel();
        // The waiter may be gone by then.
        self.submit(command, Box::new(move |outcome| drop(tell.send(outcome))))?;
        Ok(told.await.map_err(|_| CommitError::Unknown)??)
    }

    /// Changes the configuration: `plan` sees the catalog and the next number of the counter.
    pub async fn configure<E: Send + 'static>(
        &self,
        plan: impl FnOnce(&Catalog, i64, Timestamp) -> Result<Plan, E> + Send + 'static,
    ) -> Result<Arc<Catalog>, ConfigureError<E>> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |batcher, now| {
            Box::pin(async move {
                match batcher.configure(plan, now).await {
                    Err(ConfigureError::Fatal(error)) => Err(error),
                    outcome => {
                        // The waiter may be gone by now.
                        drop(tell.send(outcome));
                        Ok(())
                    }
                }
            })
        });
        {
            let mut lanes = self.shared.lanes.lock().expect("no panic while held");
            if lanes.stopping {
                return Err(ConfigureError::Stopping);
            }
            if lanes.jobs.len() >= JOBS_MAX {
                return Err(ConfigureError::Store(NotTaken::Full.to_string()));
            }
            lanes.jobs.push_back(job);
        }
        self.shared.something.notify_one();
        told.await.unwrap_or(Err(ConfigureError::Stopping))
    }

    /// Keeps a sync row in memory while it runs; see [`Behind`].
    pub fn behind(&self, row: Arc<OutboxRow>) -> Lease {
        let monotonic = self.shared.clock.monotonic();
        let (lease, timer) = self.shared.behind.put(row, self.shared.owner, monotonic);
        if timer == Timer::Start {
            self.shared.something.notify_one();
        }
        lease
    }

    /// Takes a row out that was kept by [`Writer::behind`], because its run has ended.
    pub fn elide(&self, id: Id) -> Stored {
        self.shared.behind.elide(id)
    }

    /// Looks for due rows: some have become due, or there is room again.
    pub fn wake(&self) {
        self.shared.lanes.lock().expect("no panic while held").woken = true;
        self.shared.something.notify_one();
    }

    /// What is configured now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog.load_full()
    }

    /// Lets the writer finish what is in line and end. New accepts and changes are refused from now on.
    pub fn stop(&self) {
        self.shared.lanes.lock().expect("no panic while held").stopping = true;
        self.shared.something.notify_one();
    }
}

/// Roughly the bytes that a command holds.
fn weight(command: &Command) -> usize {
    use picloud_scripts_runtime::effect::Effect;
    let effect = |effect: &Effect| match effect {
        Effect::Put { value, .. } => value.len(),
        Effect::Patch { patch, .. } => patch.len(),
        Effect::Enqueue { payload, .. } => payload.len(),
        Effect::Increment { .. }
        | Effect::Delete { .. }
        | Effect::ReplayDeadLetter { .. }
        | Effect::DiscardDeadLetter { .. } => 0,
    };
    match command {
        Command::Accept(accept) => usize::try_from(accept.row.bytes()).unwrap_or(usize::MAX),
        Command::Settle(settle) => settle.effects.iter().map(effect).sum(),
        Command::Mutate(mutate) => mutate.effects.iter().map(effect).sum(),
    }
}

/// Rows that a command touches at least.
fn rows(command: &Command) -> usize {
    match command {
        Command::Accept(_) => 1,
        Command::Settle(settle) => 1 + settle.effects.len(),
        Command::Mutate(mutate) => mutate.effects.len(),
    }
}

/// A commit that took longer than this opens the window before the next batch.
const SLOW_COMMIT: Duration = Duration::from_millis(3);
/// The window: two groups that would take turns waiting for each other's fsync become one.
const WINDOW: Duration = Duration::from_millis(1);
/// How often the free space is looked at while batches come.
const FREE_SPACE_EVERY: Duration = Duration::from_secs(1);
/// How often a store that cannot be written is tried again.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// After so long without a commit the log is copied into the file and cut.
const QUIET: Duration = Duration::from_secs(5);
/// Commits between two looks at the length of the log.
const COMMITS_A_LOOK: u32 = 8;
/// Bytes of commands in one batch, unless one command alone has more.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What the thread works with.
struct Desk {
    batcher: Batcher,
    shared: Arc<Shared>,
    handover: Arc<dyn Handover>,
    last_commit_took: Duration,
    looked_at_space: Option<Duration>,
    commits_since_look: u32,
    /// When the log is to be cut, in monotonic time.
    cut_at: Option<Duration>,
    flush_at: Option<Duration>,
    /// When to try again a store that could not be written.
    probe_at: Option<Duration>,
    told_due: Option<Timestamp>,
}

impl Desk {
    fn new(batcher: Batcher, shared: Arc<Shared>, handover: Arc<dyn Handover>) -> Desk {
        // What the last daemon left in the log is cut like anything else.
        let cut_at = Some(shared.clock.monotonic() + QUIET);
        Desk {
            batcher,
            shared,
            handover,
            last_commit_took: Duration::ZERO,
            looked_at_space: None,
            commits_since_look: 0,
            cut_at,
            flush_at: None,
            probe_at: None,
            told_due: None,
        }
    }

    async fn work(mut self) -> Result<(), WriterError> {
        // The first pass takes up what was left by the last daemon.
        let mut woken = true;
        loop {
            self.flush_behind();
            if self.last_commit_took > SLOW_COMMIT && self.has_commands() {
                tokio::time::sleep(WINDOW).await;
            }
            let (batch, jobs, stopping) = self.take(&mut woken);
            for job in jobs {
                job(&mut self.batcher, self.shared.clock.now()).await?;
                self.cut_at = Some(self.shared.clock.monotonic() + QUIET);
                woken = true;
            }
            if !batch.is_empty() || woken {
                woken = self.run(batch).await?;
                continue;
            }
            if stopping {
                return Ok(self.batcher.stop().await?);
            }
            self.tend().await?;
            self.wait().await;
        }
    }

    fn has_commands(&self) -> bool {
        let lanes = self.shared.lanes.lock().expect("no panic while held");
        !(lanes.settle.is_empty() && lanes.accept.is_empty() && lanes.bulk.is_empty())
    }

    /// Puts sync rows in line whose runs last long.
    fn flush_behind(&mut self) {
        let monotonic = self.shared.clock.monotonic();
        let (flushed, again) = self.shared.behind.flush(monotonic);
        self.flush_at = again.map(|after| monotonic + after);
        if flushed.is_empty() {
            return;
        }
        let mut lanes = self.shared.lanes.lock().expect("no panic while held");
        for accept in flushed {
            let (shared, row, lease) =
                (Arc::clone(&self.shared), Arc::clone(&accept.row), accept.lease);
            let done: Done = Box::new(move |outcome| {
                if let (Err(_), Some(lease)) = (outcome, lease) {
                    shared.behind.put_back(row, lease);
                }
            });
            lanes.settle.push_back(Waiting { command: Command::Accept(accept), bytes: 0, done });
        }
    }

    /// Takes a batch in the order of the lanes, and all changes of configuration.
    fn take(&self, woken: &mut bool) -> (Vec<Waiting>, VecDeque<Job>, bool) {
        let mut lanes = self.shared.lanes.lock().expect("no panic while held");
        let (mut batch, mut held, mut bytes) = (Vec::new(), 0, 0);
        let Lanes { settle, accept, bulk, .. } = &mut *lanes;
        for lane in [settle, accept, bulk] {
            while let Some(next) = lane.front() {
                held += rows(&next.command);
                bytes += next.bytes;
                let fits = held <= BATCH_ROWS_MAX && bytes <= BATCH_BYTES_MAX;
                if !fits && !batch.is_empty() {
                    break;
                }
                batch.extend(lane.pop_front());
            }
        }
        let queued = batch.iter().filter(|one| one.command.lane() != Lane::Settle);
        lanes.bytes -= queued.map(|one| one.bytes).sum::<usize>();
        *woken |= std::mem::take(&mut lanes.woken);
        (batch, std::mem::take(&mut lanes.jobs), lanes.stopping)
    }

    /// Commits a batch and tells everybody. Returns whether to look for due rows again at once.
    async fn run(&mut self, batch: Vec<Waiting>) -> Result<bool, WriterError> {
        let before = self.shared.clock.monotonic();
        self.look_at_space(before);
        let (commands, dones): (Vec<Command>, Vec<Done>) =
            batch.into_iter().map(|one| (one.command, one.done)).unzip();
        let (now, room) = (self.shared.clock.now(), self.handover.room());
        let report = self.batcher.run(&commands, now, room).await?;
        let after = self.shared.clock.monotonic();
        let BatchReport { outcomes, claims, next_due, more, committed } = report;
        let failed = outcomes.iter().any(|outcome| matches!(outcome, Err(Refusal::StoreFailed(_))));
        if !claims.is_empty() {
            self.handover.take(claims);
        }
        for (outcome, done) in outcomes.into_iter().zip(dones) {
            done(outcome);
        }
        if next_due != self.told_due {
            self.told_due = next_due;
            self.handover.next_due(next_due);
        }
        if committed {
            self.last_commit_took = after.saturating_sub(before);
            self.cut_at = Some(after + QUIET);
            self.commits_since_look += 1 + u32::try_from(commands.len() / 256).unwrap_or(0);
            self.batcher
                .crash_at(CrashPoint::AfterAck)
                .map_err(|_| WriterError::Batch(BatchError::Crashed(CrashPoint::AfterAck)))?;
            self.look_at_log().await?;
        }
        match (failed, committed) {
            (true, _) => self.probe_at = Some(after + PROBE_EVERY),
            (false, true) if self.probe_at.take().is_some() => self.handover.writable(),
            (false, _) => {}
        }
        Ok(more)
    }

    fn look_at_space(&mut self, monotonic: Duration) {
        let due = self.looked_at_space.is_none_or(|at| monotonic >= at + FREE_SPACE_EVERY);
        if !due {
            return;
        }
        self.looked_at_space = Some(monotonic);
        if let Some(free) = free_bytes(self.batcher.path()) {
            self.batcher.note_free_bytes(free, self.shared.config.free_bytes_min);
        }
    }

    /// Copies the log into the file when it has grown to its limit.
    async fn look_at_log(&mut self) -> Result<(), StoreError> {
        if self.commits_since_look < COMMITS_A_LOOK {
            return Ok(());
        }
        self.commits_since_look = 0;
        if self.batcher.log_bytes().await? >= self.batcher.config.wal_bytes_max {
            self.batcher.checkpoint().await?;
        }
        Ok(())
    }

    /// What is due without commands: cutting the log, trying a store that could not be written.
    async fn tend(&mut self) -> Result<(), StoreError> {
        let monotonic = self.shared.clock.monotonic();
        if self.cut_at.is_some_and(|at| monotonic >= at) {
            self.commits_since_look = 0;
            let is_cut = self.batcher.checkpoint_and_cut().await?;
            self.cut_at = (!is_cut).then(|| monotonic + QUIET);
        }
        if self.probe_at.is_some_and(|at| monotonic >= at) {
            self.looked_at_space = None;
            self.look_at_space(monotonic);
            if self.batcher.probe().await.is_ok() {
                self.probe_at = None;
                self.handover.writable();
            } else {
                self.probe_at = Some(monotonic + PROBE_EVERY);
            }
        }
        Ok(())
    }

    /// Sleeps until there is something to do. Without timers that is for ever.
    async fn wait(&self) {
        let timers = [self.cut_at, self.flush_at, self.probe_at];
        let Some(next) = timers.into_iter().flatten().min() else {
            return self.shared.something.notified().await;
        };
        let left = next.saturating_sub(self.shared.clock.monotonic());
        tokio::select! {
            () = self.shared.something.notified() => {}
            () = tokio::time::sleep(left) => {}
        }
    }
}
