//! What happens, for those who look on: a ring of the newest events that every reader reads at its own pace.
//!
//! Nobody waits for a reader. What publishes looks at one flag first, and while nobody looks on does nothing else; it
//! never formats anything. A reader that is slower than the ring is told how much it has missed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::ids::{AppId, Id};
use crate::limits::AdminLimits;
use crate::outbox::row::{AbandonReason, OutboxRow};
use crate::outbox::source::OutboxSourceKind;
use crate::time::{Clock, Timestamp};

use super::history::Execution;

/// Bytes that an event is taken to need beside its texts.
const EVENT_BYTES: usize = 800;
/// For so long after the last reader has gone events are still kept, so that one whose connection broke can go on.
const LINGER: Duration = Duration::from_secs(15);

/// One for each daemon.
pub struct Live {
    clock: Arc<dyn Clock>,
    /// Whether anybody looks on; shared with the store.
    watched: Arc<AtomicBool>,
    ring: Mutex<Ring>,
    /// Told when there is something new, or a reader has come or gone.
    news: Notify,
    closed: CancellationToken,
    events_max: usize,
    bytes_max: usize,
    readers_max: usize,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    /// Number of the oldest event; numbers have no gaps.
    first: u64,
    /// Nobody knows how much happened before this number that is not here: nobody looked on.
    known_from: u64,
    bytes: usize,
    readers: usize,
    /// When the last reader went, by the monotonic clock.
    left_at: Option<Duration>,
}

/// Something that happened.
#[derive(Debug)]
pub struct Event {
    pub at: Timestamp,
    /// `None`: of no app.
    pub app: Option<AppId>,
    pub what: What,
    /// What readers are sent, made by the first that needs it.
    text: OnceLock<Arc<str>>,
}

#[derive(Clone, Debug)]
pub enum What {
    /// A row has come into the outbox, moved in it, or left it.
    Row(Box<Moved>),
    /// A run has ended.
    Ran(Arc<Execution>),
    /// One line of its log.
    Log(Arc<Execution>, usize),
    /// How everything is; made each second.
    Stats(Arc<picloud_api::stats::Stats>),
}

/// What becomes of a row. The words are those that people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Due,
    Later,
    /// It waits for the row before it of the same key.
    Behind,
    Run,
    Retry,
    Done,
    Dead,
    Abandoned(AbandonReason),
    /// A replay was taken back before it began.
    TakenBack,
    /// Another owner has taken it over.
    Lost,
}

impl Move {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Later => "later",
            Self::Behind => "behind",
            Self::Run => "run",
            Self::Retry => "retry",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Abandoned(_) => "abandoned",
            Self::TakenBack => "taken_back",
            Self::Lost => "lost",
        }
    }

    /// What becomes of a row that is pending until then.
    pub fn pending(available_at: Timestamp, attempt: u32, now: Timestamp) -> Move {
        if available_at.is_held() {
            Move::Behind
        } else if available_at <= now {
            Move::Due
        } else if attempt > 0 {
            Move::Retry
        } else {
            Move::Later
        }
    }
}

/// A row and what becomes of it, without its event.
#[derive(Clone, Debug)]
pub struct Moved {
    pub to: Move,
    pub id: Id,
    pub app: AppId,
    pub source: OutboxSourceKind,
    pub origin: Option<i64>,
    pub script: Arc<str>,
    pub key: Option<Arc<str>>,
    /// Number of the run that begins, runs or has ended; of a row that waits, of its last one.
    pub attempt: u32,
    pub max_attempts: u32,
    pub depth: u32,
    pub root: Id,
    pub cause: Option<Id>,
    /// When it is to run.
    pub available_at: Option<Timestamp>,
    /// The run that led to this.
    pub ran: Option<Arc<Execution>>,
}

impl Moved {
    pub fn of(row: &OutboxRow, to: Move) -> Moved {
        Moved {
            to,
            id: row.id,
            app: row.app,
            source: row.source,
            origin: row.origin,
            script: Arc::clone(&row.script),
            key: row.order.as_ref().map(|order| Arc::clone(&order.key)),
            attempt: row.attempt,
            max_attempts: row.retry.max_attempts,
            depth: row.depth,
            root: row.root,
            cause: row.cause,
            available_at: None,
            ran: None,
        }
    }
}

impl Event {
    /// The text that readers are sent; `make` is called at most once for each event.
    pub fn text(&self, make: impl FnOnce(&Event) -> String) -> Arc<str> {
        Arc::clone(self.text.get_or_init(|| make(self).into()))
    }

    /// What keeping it costs. A line counts what its run holds of it; the run itself counts no lines.
    fn bytes(&self) -> usize {
        let own = match &self.what {
            What::Row(moved) => moved.key.as_ref().map_or(0, |key| key.len()),
            What::Ran(execution) => {
                execution.failure.as_ref().map_or(0, |failure| failure.message.len())
                    + execution.event.as_ref().map_or(0, |event| event.len())
            }
            // As text and as the line itself.
            What::Log(execution, line) => execution.log.get(*line).map_or(0, |line| {
                2 * (line.message.len() + line.fields.as_ref().map_or(0, String::len))
            }),
            What::Stats(stats) => 8_000 + 500 * (stats.apps.len() + stats.scripts.len()),
        };
        EVENT_BYTES + own
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Now,
    /// Behind the event with this number.
    After(u64),
}

/// What a reader finds.
#[derive(Debug, Default)]
pub struct Found {
    /// How many events are gone that it has not seen. `Some(None)`: nobody knows how many.
    pub missed: Option<Option<u64>>,
    /// With their numbers.
    pub events: Vec<(u64, Arc<Event>)>,
}

/// Why nobody else can look on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    pub readers_max: usize,
}

/// Somebody who looks on. Its place is free again when it goes.
pub struct Reader {
    live: Arc<Live>,
    /// Number of the next event that it has not seen.
    next: u64,
}

impl Live {
    pub fn new(limits: &AdminLimits, watched: Arc<AtomicBool>, clock: Arc<dyn Clock>) -> Live {
        Live {
            watched,
            clock,
            // From 1 on, so that there is a number before each.
            ring: Mutex::new(Ring { first: 1, known_from: 1, ..Ring::default() }),
            news: Notify::new(),
            closed: CancellationToken::new(),
            events_max: limits.events_max,
            bytes_max: limits.events_bytes_max,
            readers_max: limits.event_readers_max,
        }
    }

    /// Whether anything has to be published at all.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect("no panic while held")
    }

    /// Keeps what has happened, in this order. The oldest goes when there is no room.
    pub fn publish(
        &self,
        at: Timestamp,
        happened: impl IntoIterator<Item = (Option<AppId>, What)>,
    ) {
        let mut ring = self.lock();
        // The last reader may have gone meanwhile.
        if !self.is_watched() {
            return;
        }
        for (app, what) in happened {
            let event = Event { at, app, what, text: OnceLock::new() };
            ring.bytes += event.bytes();
            ring.events.push_back(Arc::new(event));
        }
        while ring.events.len() > self.events_max || ring.bytes > self.bytes_max {
            let Some(oldest) = ring.events.pop_front() else { break };
            ring.bytes -= oldest.bytes();
            ring.first += 1;
        }
        drop(ring);
        self.news.notify_waiters();
    }

    /// A row has moved, on the dispatcher's side.
    pub fn moved(&self, moved: Moved) {
        let (now, app) = (self.clock.now(), moved.app);
        self.publish(now, [(Some(app), What::Row(Box::new(moved)))]);
    }

    /// A run has ended: what became of its row, the run, and each line of its log.
    pub fn ended(&self, moved: Moved, execution: &Arc<Execution>) {
        let app = Some(execution.app);
        let row = (app, What::Row(Box::new(moved)));
        let ran = (app, What::Ran(Arc::clone(execution)));
        let lines = 0..execution.log.len();
        let lines = lines.map(|line| (app, What::Log(Arc::clone(execution), line)));
        self.publish(self.clock.now(), [row, ran].into_iter().chain(lines));
    }

    /// Lets somebody look on, if there is room for one more.
    pub fn look(self: &Arc<Self>, from: From) -> Result<Reader, TooMany> {
        let mut ring = self.lock();
        if ring.readers >= self.readers_max {
            return Err(TooMany { readers_max: self.readers_max });
        }
        ring.readers += 1;
        ring.left_at = None;
        self.watched.store(true, Ordering::Relaxed);
        let end = ring.first + ring.events.len() as u64;
        let next = match from {
            From::Now => end,
            From::After(number) => number.saturating_add(1),
        };
        drop(ring);
        self.news.notify_waiters();
        Ok(Reader { live: Arc::clone(self), next })
    }

    pub fn readers(&self) -> usize {
        self.lock().readers
    }

    /// Forgets everything once nobody has looked on for a while. Says whether somebody still may.
    pub fn rest(&self) -> bool {
        let mut ring = self.lock();
        let lingers = ring.left_at.is_none_or(|at| self.clock.monotonic() < at + LINGER);
        if ring.readers > 0 || (lingers && self.is_watched()) {
            return true;
        }
        self.watched.store(false, Ordering::Relaxed);
        // The number in between stands for whatever happens until the next reader comes.
        let next = ring.first + ring.events.len() as u64 + 1;
        *ring = Ring { first: next, known_from: next, ..Ring::default() };
        false
    }

    /// Resolves when somebody looks on.
    pub async fn watched(&self) {
        loop {
            let news = self.news.notified();
            if self.is_watched() {
                return;
            }
            news.await;
        }
    }

    /// The daemon stops: nobody waits for more.
    pub fn close(&self) {
        self.closed.cancel();
    }

    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

impl Reader {
    /// What it has not seen, at most so many. Resolves when there is something, or never.
    pub async fn next(&mut self, events_max: usize) -> Found {
        let live = Arc::clone(&self.live);
        loop {
            let news = live.news.notified();
            let mut news = std::pin::pin!(news);
            // From here on nothing is missed.
            news.as_mut().enable();
            if let Some(found) = self.now(events_max) {
                return found;
            }
            news.await;
        }
    }

    /// The same, if there is anything now.
    pub fn now(&mut self, events_max: usize) -> Option<Found> {
        let ring = self.live.lock();
        let mut found = Found::default();
        let end = ring.first + ring.events.len() as u64;
        if self.next < ring.first || self.next > end {
            let is_known = self.next >= ring.known_from && self.next <= end;
            found.missed = Some(is_known.then(|| ring.first - self.next));
            self.next = if self.next > end { end } else { ring.first };
        }
        let from = usize::try_from(self.next - ring.first).unwrap_or(usize::MAX);
        let events = ring.events.iter().skip(from).take(events_max).cloned();
        found.events = (self.next..).zip(events).collect();
        self.next += found.events.len() as u64;
        let is_nothing = found.missed.is_none() && found.events.is_empty();
        (!is_nothing).then_some(found)
    }

    /// Number of the last event that it has been given, or that was there before it came.
    pub fn seen(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    pub async fn closed(&self) {
        self.live.closed().await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut ring = self.live.lock();
        ring.readers -= 1;
        if ring.readers == 0 {
            ring.left_at = Some(self.live.clock.monotonic());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatcher::history::{End, execution_of};
    use crate::outbox::row::tests::row;

    /// A clock that tests move.
    #[derive(Default)]
    struct Hands(std::sync::atomic::AtomicU64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp(7)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    fn live(limits: &AdminLimits) -> (Arc<Live>, Arc<Hands>) {
        let hands = Arc::new(Hands::default());
        let live = Live::new(limits, Arc::default(), Arc::clone(&hands) as _);
        (Arc::new(live), hands)
    }

    fn few(events_max: usize) -> AdminLimits {
        AdminLimits { events_max, event_readers_max: 2, ..AdminLimits::default() }
    }

    fn happen(live: &Live, times: usize) {
        for _ in 0..times {
            live.moved(Moved::of(&row(), Move::Due));
        }
    }

    fn look(live: &Arc<Live>, from: From) -> Reader {
        live.look(from).map_err(|_| "too many").expect("there is room")
    }

    /// What was missed, and the numbers of what was found.
    fn found(reader: &mut Reader) -> (Option<Option<u64>>, Vec<u64>) {
        let found = reader.now(100).unwrap_or_default();
        (found.missed, found.events.iter().map(|(number, _)| *number).collect())
    }

    #[test]
    fn nothing_is_kept_while_nobody_looks_on() {
        let (live, _) = live(&few(10));
        happen(&live, 3);
        assert!(!live.is_watched() && live.lock().events.is_empty());
        let mut reader = look(&live, From::Now);
        assert!(live.is_watched());
        assert!(reader.now(100).is_none());
        happen(&live, 2);
        assert_eq!(found(&mut reader), (None, vec![1, 2]));
        assert!(reader.now(100).is_none());
    }

    #[test]
    fn p7_a_reader_that_never_reads_costs_no_more_than_the_ring_and_is_told_how_much_it_missed() {
        let (live, _) = live(&few(10));
        let mut reader = look(&live, From::Now);
        happen(&live, 1_000);
        assert_eq!(live.lock().events.len(), 10);
        assert_eq!(found(&mut reader), (Some(Some(990)), (991..=1_000).collect()));
        happen(&live, 1);
        assert_eq!(found(&mut reader), (None, vec![1_001]));
    }

    #[test]
    fn p7_large_events_leave_sooner() {
        let (live, _) = live(&AdminLimits { events_bytes_max: 20_000, ..AdminLimits::default() });
        let mut reader = look(&live, From::Now);
        let line = |bytes| picloud_scripts_runtime::host::LogLine {
            level: picloud_scripts_runtime::host::Level::Info,
            message: "x".repeat(bytes),
            fields: None,
        };
        for _ in 0..20 {
            let execution = execution_of(&row(), End::Completed, Timestamp(0));
            let execution = Arc::new(Execution { log: vec![line(4_000)], ..execution });
            live.ended(Moved::of(&row(), Move::Done), &execution);
        }
        assert!(live.lock().bytes <= 20_000);
        let (missed, events) = found(&mut reader);
        assert_eq!(missed, Some(Some(60 - events.len() as u64)));
        assert!(events.len() < 10 && events.last() == Some(&60), "{events:?}");
    }

    #[test]
    fn a_reader_that_comes_back_goes_on_where_it_was() {
        let (live, hands) = live(&few(10));
        let mut reader = look(&live, From::Now);
        happen(&live, 3);
        assert_eq!(found(&mut reader).1, [1, 2, 3]);
        let seen = reader.seen();
        drop(reader);
        happen(&live, 2);
        hands.0.store(14, Ordering::Relaxed);
        assert!(live.rest(), "it may come back");
        let mut back = look(&live, From::After(seen));
        assert_eq!(found(&mut back), (None, vec![4, 5]));
    }

    #[test]
    fn what_happened_while_nobody_looked_on_is_missed_by_who_comes_back_late() {
        let (live, hands) = live(&few(10));
        let mut reader = look(&live, From::Now);
        happen(&live, 3);
        found(&mut reader);
        let seen = reader.seen();
        drop(reader);
        hands.0.store(15, Ordering::Relaxed);
        assert!(!live.rest() && !live.is_watched());
        happen(&live, 5);
        let mut back = look(&live, From::After(seen));
        assert_eq!(found(&mut back), (Some(None), vec![]));
        happen(&live, 1);
        assert_eq!(found(&mut back), (None, vec![5]));
    }

    #[test]
    fn a_number_that_was_never_given_leads_to_the_newest() {
        let (live, _) = live(&few(10));
        let mut first = look(&live, From::Now);
        happen(&live, 3);
        found(&mut first);
        for forged in [4, 17, u64::MAX] {
            let mut reader = look(&live, From::After(forged));
            assert_eq!(found(&mut reader), (Some(None), vec![]), "{forged}");
        }
        let mut reader = look(&live, From::After(3));
        assert_eq!(found(&mut reader), (None, vec![]));
    }

    #[test]
    fn p7_there_is_room_for_so_many_readers_and_a_place_is_free_again_when_one_goes() {
        let (live, _) = live(&few(10));
        let first = look(&live, From::Now);
        let _second = look(&live, From::Now);
        assert_eq!(live.look(From::Now).err(), Some(TooMany { readers_max: 2 }));
        drop(first);
        look(&live, From::Now);
    }

    #[test]
    fn a_text_is_made_once_however_many_read_it() {
        let (live, _) = live(&few(10));
        let mut readers = [look(&live, From::Now), look(&live, From::Now)];
        happen(&live, 1);
        let mut made = 0;
        for reader in &mut readers {
            let found = reader.now(1).expect("it happened");
            let text = found.events[0].1.text(|_| {
                made += 1;
                "once".to_owned()
            });
            assert_eq!(&*text, "once");
        }
        assert_eq!(made, 1);
    }
}
