//! The writer's thread: takes what is waiting, commits it as a batch, tells everybody, and is silent when idle.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};

use crate::catalog::Catalog;
use crate::flow::facts::Room;
use crate::flow::manage::Wish;
use crate::flow::settle::Stored;
use crate::flow::{Command, Lane, Refusal};
use crate::ids::{Id, Ids};
use crate::limits::StoreLimits;
use crate::outbox::row::{Claim, Lease, OutboxRow};
use crate::store::backlog::Left;
use crate::store::batch::{BatchError, Batcher};
use crate::store::behind::{Behind, Timer};
use crate::store::configure::{ConfigureError, Plan};
use crate::store::desk::Desk;
use crate::store::open::StoreError;
use crate::store::told::Told;
use crate::time::{Clock, Timestamp};

/// Whoever runs what was claimed.
pub trait Handover: Send + Sync {
    /// How many rows may be handed over now.
    fn room(&self) -> Room;

    /// Takes rows that are durable and claimed.
    fn take(&self, claims: Vec<Claim>);

    /// Says when the next row becomes due that is not due yet, and whether due rows are left for lack of room. It has to
    /// call [`Writer::wake`] at that time, which may have passed by now, and when it has room again.
    fn next_due(&self, at: Option<Timestamp>, left: Left);

    /// The store can be written again after it could not.
    fn writable(&self);

    /// Says what became of rows that have not run, before anything of the batch runs. Only while somebody looks on.
    fn told(&self, told: Vec<Told>) {
        drop(told);
    }
}

/// Told once what became of a command. Dropped untold when the process has to end and nobody can know.
pub type Done = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

/// Bytes of the commands that wait in the lanes of accepts and of bulk work, unless one alone has more.
const WAITING_BYTES_MAX: usize = 32 << 20;

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

/// Completes when the writer has ended: in order after [`Writer::stop`], or because the process has to end.
pub type Ended = oneshot::Receiver<Result<(), WriterError>>;

pub(crate) struct Shared {
    pub(crate) lanes: Mutex<Lanes>,
    pub(crate) something: Notify,
    pub(crate) behind: Behind,
    pub(crate) owner: Id,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) limits: StoreLimits,
}

impl Shared {
    /// Lets go of everything in line: whoever waits learns that nobody can tell.
    fn close(&self) {
        let mut lanes = self.lanes.lock().expect("no panic while held");
        *lanes = Lanes { stopping: true, closed: true, ..Lanes::default() };
    }
}

#[derive(Default)]
pub(crate) struct Lanes {
    pub(crate) settle: VecDeque<Waiting>,
    pub(crate) accept: VecDeque<Waiting>,
    pub(crate) bulk: VecDeque<Waiting>,
    /// Bytes in `accept` and `bulk`.
    pub(crate) bytes: usize,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) woken: bool,
    pub(crate) stopping: bool,
    /// The thread has ended.
    pub(crate) closed: bool,
}

pub(crate) struct Waiting {
    pub(crate) command: Command,
    pub(crate) bytes: usize,
    pub(crate) done: Done,
}

/// A change of configuration, with whom to tell inside.
pub(crate) type Job = Box<
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
        ids: Arc<Ids>,
        limits: StoreLimits,
    ) -> Result<(Writer, Ended), StoreError> {
        let path = batcher.path().to_owned();
        let fail = |doing| move |source| StoreError::Io { path, doing, source };
        let shared = Arc::new(Shared {
            lanes: Mutex::default(),
            something: Notify::new(),
            behind: Behind::default(),
            owner: batcher.owner(),
            clock,
            ids,
            limits,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(fail.clone()("starting the writer"))?;
        let (tell, ended) = oneshot::channel();
        let desk = Desk::new(batcher, Arc::clone(&shared), handover);
        let thread = std::thread::Builder::new().name("picloud-writer".to_owned());
        let started = thread.spawn(move || {
            let line = Arc::clone(&desk.shared);
            let end = runtime.block_on(desk.work());
            line.close();
            // Whoever started the thread may have lost interest.
            drop(tell.send(end));
        });
        started.map_err(fail("starting the writer"))?;
        Ok((Writer { shared }, ended))
    }

    /// Puts a command in line; `done` is told after its commit, on the writer's thread, so it must not block.
    /// Settles are always taken while the thread runs: there are never more of them than claims.
    pub fn submit(&self, command: Command, done: Done) -> Result<(), NotTaken> {
        let bytes = weight(&command);
        let lane = command.lane();
        let mut lanes = self.shared.lanes.lock().expect("no panic while held");
        if lanes.closed || (lanes.stopping && lane != Lane::Settle) {
            return Err(NotTaken::Stopping);
        }
        if lane != Lane::Settle {
            let waiting = lanes.accept.len() + lanes.bulk.len();
            let bytes_left = WAITING_BYTES_MAX.saturating_sub(lanes.bytes);
            if waiting >= self.shared.limits.waiting_max || (waiting > 0 && bytes > bytes_left) {
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
        told.await.unwrap_or(Err(ConfigureError::Unknown))
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
        Command::Fire(_) => 0,
        Command::Manage(manage) => match &manage.wish {
            Wish::Replay(replay) => replay.payload.as_ref().map_or(0, |payload| payload.len()),
            Wish::TakeBack(_)
            | Wish::Discard(_)
            | Wish::Reopen(_)
            | Wish::RunNow(_)
            | Wish::Cancel(_)
            | Wish::Many { .. } => 0,
        },
    }
}
