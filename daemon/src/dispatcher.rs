//! The dispatcher: rows become runs, outcomes become settles.
//!
//! The writer hands over rows that are claimed already; requests hand over their own. Runs wait in [`ready`], executor
//! threads take them, and what a run returns goes to the writer as one settle. Nothing polls: a timer is set for what
//! is due later, and the writer is woken when there is room again for a backlog.

pub mod attempt;
pub mod call;
pub mod conclude;
pub mod ends;
pub mod executor;
pub mod history;
pub mod host;
pub mod inbox;
pub mod invoke;
pub mod live;
pub mod lookup;
pub mod pulse;
pub mod ready;
pub mod rehearse;
pub mod slots;
pub mod takeover;
pub mod tally;
pub mod threads;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use picloud_scripts_runtime::bounds;
use tokio::sync::watch;

use crate::catalog::Catalog;
use crate::config::SyncDurability;
use crate::flow::facts::Room;
use crate::gate::{Permits, Work};
use crate::ids::{AppId, Id, Ids, QueueId, TriggerId};
use crate::limits::{AdminLimits, OutboxLimits};
use crate::outbox::decide::SUSPECT_AFTER;
use crate::outbox::row::Claim;
use crate::store::backlog::Left;
use crate::store::read::Reader;
use crate::store::told::{Became, Told};
use crate::store::writer::{Handover, Writer};
use crate::time::{Clock, Timestamp, step};

use executor::ScriptExecutor;
use history::History;
use inbox::InFlight;
use live::{Live, Move, Moved, What};
use pulse::{Asking, Deadlines};
use ready::{Ready, Run};
use slots::Slots;
use tally::Tally;
use threads::{Calling, LOOK_EVERY, Threads};

/// Rows that the dispatcher holds at most, and what they may weigh but for the last one.
pub const HELD_ROWS_MAX: usize = 4_096;
/// Rows that it holds at most while people wait for answers: a large batch of a backlog would keep a core for longer
/// than a short request takes.
const HELD_ROWS_BESIDE_CALLERS_MAX: usize = 1_024;
pub const HELD_BYTES_MAX: i64 = 8 << 20;

/// What an executor thread needs of its stack beside what the sandbox asks for.
const OWN_STACK_BYTES: usize = 256 << 10;

/// What the dispatcher is made of.
pub struct Parts {
    /// This start of the daemon: the owner of its leases.
    pub owner: Id,
    pub executor: ScriptExecutor,
    pub reader: Reader,
    pub catalog: Arc<ArcSwap<Catalog>>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    pub slots: Slots,
    pub permits: Permits,
    /// Executor threads that are called at once; more only when runs turn out to be long.
    pub awake_max: usize,
    /// Sync requests that may wait for a permit; one app may take half.
    pub sync_waiting_max: usize,
    /// What is remembered of what happened, and for whom.
    pub admin_limits: AdminLimits,
    /// Whether anybody looks on, as the store sees it.
    pub watched: Arc<AtomicBool>,
    pub limits: Arc<OutboxLimits>,
    pub durability: SyncDurability,
    /// Where reads of the store are waited for.
    pub tokio: tokio::runtime::Handle,
}

/// One for each daemon.
pub struct Dispatcher {
    parts: Parts,
    writer: OnceLock<Writer>,
    state: Mutex<State>,
    /// One for each executor thread, by its slot.
    calls: Box<[Condvar]>,
    lookout: Condvar,
    due: watch::Sender<Option<Timestamp>>,
    asking: Asking,
    deadlines: Deadlines,
    requests: InFlight,
    pub history: History,
    pub live: Arc<Live>,
    pub tally: Tally,
    /// Set when the daemon can wait for runs no longer.
    cancelled: Arc<AtomicBool>,
}

/// How full the dispatcher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Runs that hold a permit.
    pub running: usize,
    pub running_async: usize,
    /// Runs that wait for one.
    pub in_line: usize,
    /// Rows of the store that are here.
    pub held: usize,
    pub stopping: bool,
}

struct State {
    ready: Ready,
    held: Held,
    threads: Threads,
    stopping: bool,
    /// Claims whose settle the store could not write; released when it writes again.
    stuck: Vec<Claim>,
}

/// Rows of the writer that are here, running or not, until their settle is known.
#[derive(Default)]
struct Held {
    rows: usize,
    /// How many there may be, as the writer was told last.
    rows_max: usize,
    /// Whether a request has come since.
    called: bool,
    bytes: i64,
    by_app: HashMap<AppId, usize>,
    /// Of triggers with a limit of their own.
    by_queue: HashMap<QueueId, usize>,
    /// That have to run alone.
    suspects: usize,
    /// Whether due rows wait in the store for room here.
    left: Left,
}

impl Dispatcher {
    pub fn new(parts: Parts) -> Arc<Dispatcher> {
        let state = State {
            ready: Ready::new(parts.permits.clone()),
            held: Held::default(),
            threads: Threads::default(),
            stopping: false,
            stuck: Vec::new(),
        };
        Arc::new(Dispatcher {
            history: History::new(parts.admin_limits.executions_max),
            live: Arc::new(Live::new(
                &parts.admin_limits,
                Arc::clone(&parts.watched),
                Arc::clone(&parts.clock),
            )),
            tally: Tally::default(),
            asking: Asking::default(),
            deadlines: Deadlines::of(parts.permits.all),
            calls: (0..parts.permits.all).map(|_| Condvar::new()).collect(),
            parts,
            writer: OnceLock::new(),
            state: Mutex::new(state),
            lookout: Condvar::new(),
            due: watch::Sender::new(None),
            requests: InFlight::default(),
            cancelled: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Connects the writer and starts the executor threads. Called once.
    pub fn start(self: &Arc<Self>, writer: Writer) -> std::io::Result<()> {
        let first = self.writer.set(writer).is_ok();
        debug_assert!(first, "a dispatcher is started once");
        for slot in 0..self.parts.permits.all {
            let dispatcher = Arc::clone(self);
            self.lock().threads.all += 1;
            std::thread::Builder::new()
                .name(format!("script-{slot}"))
                .stack_size(bounds::STACK_BYTES + OWN_STACK_BYTES)
                .spawn(move || dispatcher.execute(slot))?;
        }
        Ok(())
    }

    /// Wakes the writer when something becomes due, and shows life. Ends with the task that it runs in.
    pub async fn keep_time(self: Arc<Self>) {
        let mut due = self.due.subscribe();
        let mut questions = self.asking.questions();
        let mut looked_at: Option<(Timestamp, Duration)> = None;
        loop {
            let at = *due.borrow_and_update();
            let clocks = (self.parts.clock.now(), self.parts.clock.monotonic());
            let wait_ms = at.map(|at| at.ms_since(clocks.0));
            // Set back, the clock would let what is due soon wait for as long again: the writer puts that right.
            let was_set = looked_at.is_some_and(|before| step(before, clocks).is_some());
            looked_at = Some(clocks);
            if wait_ms.is_some_and(|ms| ms <= 0) || was_set {
                self.due.send_replace(None);
                self.writer().wake();
                continue;
            }
            tokio::select! {
                _ = due.changed() => {}
                () = sleep_ms(wait_ms, &*self.parts.clock) => {}
                _ = questions.changed() => {
                    let number = *questions.borrow_and_update();
                    self.show_life(number);
                }
            }
        }
    }

    /// Runs that hold a permit.
    pub fn running(&self) -> usize {
        self.lock().ready.in_use()
    }

    /// How full it is.
    pub fn load(&self) -> Load {
        let state = self.lock();
        let (running, running_async) = state.ready.in_use_of();
        Load {
            running,
            running_async,
            in_line: state.ready.len(),
            held: state.held.rows,
            stopping: state.stopping,
        }
    }

    pub fn permits(&self) -> &Permits {
        &self.parts.permits
    }

    /// Stops: what has not started goes back, what runs may finish until `drain` is over, then it is cancelled.
    pub async fn stop(self: &Arc<Self>, drain: Duration) {
        self.live.close();
        let waiting = {
            let mut state = self.lock();
            state.stopping = true;
            state.ready.drain()
        };
        self.calls.iter().for_each(Condvar::notify_one);
        self.lookout.notify_all();
        for run in waiting {
            self.give_back(run);
        }
        let half = drain / 2;
        if tokio::time::timeout(half, self.idle()).await.is_err() {
            self.cancelled.store(true, Ordering::Relaxed);
            // Whoever waits for somebody outside does not look at the mark.
            self.parts.executor.outgoing.stop();
            let _ = tokio::time::timeout(half, self.idle()).await;
        }
    }

    /// Resolves once no thread has anything left to send to the store, and nothing waits to be settled.
    async fn idle(&self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while !self.is_idle() {
            ticks.tick().await;
        }
    }

    fn is_idle(&self) -> bool {
        let state = self.lock();
        // A run that has given its permit back may not have been settled yet: its thread ends only after that.
        state.threads.all == 0 && state.held.rows == 0
    }

    fn writer(&self) -> &Writer {
        self.writer.get().expect("start connects the writer before anything runs")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    /// Puts a run in line, and calls a thread if one is idle. Its turn, if it had one, is over. When the daemon stops, it
    /// goes back instead.
    fn enter(self: &Arc<Self>, run: Run) {
        let mut state = self.lock();
        if state.stopping {
            drop(state);
            return self.give_back(run);
        }
        state.held.called |= run.work() == Work::Sync;
        let id = run.id();
        state.ready.push(run);
        state.ready.turn_over(id);
        self.call_thread(&mut state);
    }

    /// One call is enough: the thread that comes calls the next one if there is more to do.
    fn call_thread(&self, state: &mut State) {
        if let Some(slot) = state.threads.call(self.parts.awake_max) {
            self.calls[slot].notify_one();
        }
    }

    /// The life of an executor thread.
    fn execute(self: Arc<Self>, slot: usize) {
        while let Some(run) = self.next(slot) {
            self.run(run, slot);
        }
        self.lock().threads.all -= 1;
    }

    fn next(&self, slot: usize) -> Option<Run> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(run) = state.ready.admit_next() {
                state.threads.taken += 1;
                if !state.ready.is_empty() {
                    self.call_thread(&mut state);
                }
                return Some(run);
            }
            state = self.rest(slot, state);
        }
    }

    /// Waits to be called.
    fn rest<'a>(&'a self, slot: usize, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.threads.rest(slot);
        loop {
            state = self.calls[slot].wait(state).expect("no panic while held");
            match state.threads.answer(slot) {
                Some(Calling::Lookout) => return self.watch(state),
                Some(Calling::Worker) => return state,
                None if state.stopping => return state,
                None => {}
            }
        }
    }

    /// Looks on while others work the runs off, and comes to help when these take long: they may be waiting for something.
    fn watch<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        loop {
            state.threads.taken = 0;
            let waited = self.lookout.wait_timeout(state, LOOK_EVERY);
            state = waited.expect("no panic while held").0;
            let goes_well = state.threads.goes_well(self.parts.awake_max);
            if state.stopping || state.ready.is_empty() || !goes_well {
                state.threads.looks_away();
                return state;
            }
        }
    }

    /// The run's thread has returned: its permit is free.
    fn returned(&self, run: &Run) {
        let mut state = self.lock();
        state.ready.returned(run);
        if !state.ready.is_empty() {
            self.call_thread(&mut state);
        }
    }

    /// The end of a claim is known: there is room for another.
    fn let_go(&self, claim: &Claim) {
        let wake = {
            let mut state = self.lock();
            state.ready.turn_over(claim.row.id);
            if !state.ready.is_empty() {
                self.call_thread(&mut state);
            }
            !claim.row.is_sync() && state.held.remove(claim)
        };
        if wake {
            self.writer().wake();
        }
    }
}

impl Held {
    fn add(&mut self, claim: &Claim, is_limited: Limited) {
        self.rows += 1;
        self.bytes += claim.row.bytes();
        self.suspects += usize::from(claim.row.orphaned >= SUSPECT_AFTER);
        *self.by_app.entry(claim.row.app).or_default() += 1;
        if is_limited == Limited::Yes {
            *self.by_queue.entry(claim.row.queue).or_default() += 1;
        }
    }

    /// True when the writer should be woken: a backlog waits, and half of the room is free, or the queue's.
    fn remove(&mut self, claim: &Claim) -> bool {
        self.rows = self.rows.saturating_sub(1);
        self.bytes -= claim.row.bytes();
        let was_suspect = claim.row.orphaned >= SUSPECT_AFTER;
        self.suspects -= usize::from(was_suspect);
        if let Some(rows) = self.by_app.get_mut(&claim.row.app) {
            *rows -= 1;
            if *rows == 0 {
                self.by_app.remove(&claim.row.app);
            }
        }
        let was_limited = self.by_queue.get_mut(&claim.row.queue).is_some_and(|rows| {
            *rows = rows.saturating_sub(1);
            true
        });
        self.by_queue.retain(|_, rows| *rows > 0);
        let makes_room = was_limited || was_suspect || self.rows <= self.rows_max / 4;
        let wake = self.left == Left::Some && makes_room;
        if wake {
            self.left = Left::None;
        }
        wake
    }
}

/// Whether a queue has a limit of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limited {
    Yes,
    No,
}

impl Handover for Arc<Dispatcher> {
    fn room(&self) -> Room {
        let catalog = self.parts.catalog.load();
        let mut state = self.lock();
        if state.stopping {
            return Room::default();
        }
        let held = &mut state.held;
        held.rows_max = match std::mem::take(&mut held.called) {
            true => HELD_ROWS_BESIDE_CALLERS_MAX,
            false => HELD_ROWS_MAX,
        };
        let left = |trigger: &crate::trigger::Trigger| {
            let queue = trigger.id.queue();
            let used = held.by_queue.get(&queue).copied().unwrap_or(0);
            trigger.concurrency.map(|max| (queue, (max as usize).saturating_sub(used)))
        };
        Room {
            rows: held.rows_max.saturating_sub(held.rows),
            bytes: HELD_BYTES_MAX - held.bytes,
            app_rows_max: held.rows_max / 2,
            app_rows: held.by_app.clone(),
            queue_rows: catalog.triggers.values().filter_map(|one| left(one)).collect(),
            suspects: held.suspects,
        }
    }

    fn take(&self, claims: Vec<Claim>) {
        let catalog = self.parts.catalog.load();
        let at = self.parts.clock.monotonic();
        let mut state = self.lock();
        let mut runs = Vec::new();
        for claim in claims {
            let trigger = catalog.triggers.get(&TriggerId(claim.row.queue.0));
            let queue_max = trigger.and_then(|trigger| trigger.concurrency);
            let limited = if queue_max.is_some() { Limited::Yes } else { Limited::No };
            state.held.add(&claim, limited);
            runs.push(Run { queue_max, ..Run::new(claim, at) });
        }
        if state.stopping {
            drop(state);
            return runs.into_iter().for_each(|run| self.give_back(run));
        }
        runs.into_iter().for_each(|run| state.ready.push(run));
        if !state.ready.is_empty() {
            self.call_thread(&mut state);
        }
    }

    fn next_due(&self, at: Option<Timestamp>, left: Left) {
        self.lock().held.left = left;
        self.due.send_if_modified(|due| std::mem::replace(due, at) != at);
    }

    fn told(&self, told: Vec<Told>) {
        let now = self.parts.clock.now();
        let moved = |told: &Told| {
            let row = &told.row;
            let (to, available_at) = match told.became {
                Became::Pending(at) => (Move::pending(at, row.attempt, now), Some(at)),
                Became::DeadLetter => (Move::Dead, None),
                Became::Nothing => (Move::TakenBack, None),
            };
            let available_at = available_at.filter(|at| !at.is_held());
            let moved = Moved { available_at, ..Moved::of(row, to) };
            (Some(row.app), What::Row(Box::new(moved)))
        };
        self.live.publish(now, told.iter().map(moved));
    }

    fn writable(&self) {
        let stuck = std::mem::take(&mut self.lock().stuck);
        for claim in stuck {
            self.release_stuck(claim);
        }
    }
}

/// Sleeps until a moment of the wall clock, which may jump: so never long without looking at it again.
const SLEEP_MS_MAX: u64 = 60_000;

/// Waits so many milliseconds or until it is time to look at the clock again; for ever when there are none.
async fn sleep_ms(ms: Option<i64>, clock: &dyn Clock) {
    match ms {
        Some(ms) => {
            let ms = ms.max(0).unsigned_abs().min(SLEEP_MS_MAX);
            tokio::time::sleep(clock.sleep_for(Duration::from_millis(ms))).await;
        }
        None => std::future::pending().await,
    }
}
