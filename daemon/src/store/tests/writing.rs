//! The writer's thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::flow::Refusal;
use crate::flow::facts::Room;
use crate::flow::settle::Stored;
use crate::ids::Ids;
use crate::inbox::InboxResult;
use crate::limits::StoreLimits;
use crate::outbox::decide::Action;
use crate::outbox::row::{Claim, OutboxRow};
use crate::store::backlog::Left;
use crate::store::open::Store;
use crate::store::tests::{
    Scratch, accept, config, entry_key, id, mutate, put, room, scratch_with_app, settle, task,
};
use crate::store::writer::{CommitError, Ended, Handover, NotTaken, Writer};
use crate::time::{Clock, SystemClock, Timestamp};

/// A dispatcher that only keeps what it is given.
struct Desk {
    room: Mutex<Room>,
    claims: Mutex<Vec<Claim>>,
    due: Mutex<Option<Timestamp>>,
    writable: AtomicUsize,
    took: Notify,
}

impl Desk {
    fn with(room: Room) -> Arc<Desk> {
        Arc::new(Desk {
            room: Mutex::new(room),
            claims: Mutex::default(),
            due: Mutex::default(),
            writable: AtomicUsize::new(0),
            took: Notify::new(),
        })
    }

    async fn next_claims(&self) -> Vec<Claim> {
        loop {
            let told = self.took.notified();
            let claims = std::mem::take(&mut *self.claims.lock().expect("is whole"));
            if !claims.is_empty() {
                return claims;
            }
            told.await;
        }
    }
}

impl Handover for Desk {
    fn room(&self) -> Room {
        self.room.lock().expect("is whole").clone()
    }

    fn take(&self, claims: Vec<Claim>) {
        self.claims.lock().expect("is whole").extend(claims);
        self.took.notify_one();
    }

    fn next_due(&self, at: Option<Timestamp>, _left: Left) {
        *self.due.lock().expect("is whole") = at;
    }

    fn writable(&self) {
        self.writable.fetch_add(1, Ordering::SeqCst);
        self.took.notify_one();
    }
}

/// Time that stands still for the rows; the threads' timers are real.
struct Frozen(SystemClock);

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        crate::store::tests::NOW
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

async fn start(desk: &Arc<Desk>) -> (tempfile::TempDir, Writer, Ended) {
    start_with(scratch_with_app().await, desk, StoreLimits::default())
}

fn start_with(
    scratch: Scratch,
    desk: &Arc<Desk>,
    limits: StoreLimits,
) -> (tempfile::TempDir, Writer, Ended) {
    let (folder, batcher) = scratch.into_parts();
    let clock = Arc::new(Frozen(SystemClock::start()));
    let handover = Arc::clone(desk) as Arc<dyn Handover>;
    let ids = Arc::new(Ids::random());
    let (writer, ended) = Writer::start(batcher, handover, clock, ids, limits).expect("starts");
    (folder, writer, ended)
}

async fn end(writer: &Writer, ended: Ended) {
    writer.stop();
    ended.await.expect("tells").expect("ends in order");
}

#[tokio::test]
async fn a_row_is_accepted_handed_over_settled_and_gone() {
    let desk = Desk::with(room(10));
    let (folder, writer, ended) = start(&desk).await;
    writer.commit(accept(task(1))).await.expect("is durable");
    let claims = desk.next_claims().await;
    let done = settle(&claims[0], Action::Complete, vec![put("a", "1")]);
    writer.commit(done).await.expect("is durable");
    end(&writer, ended).await;
    let store = Store::open(config(&folder), id(5)).await.expect("opens");
    assert!(store.was_clean);
    let reader = crate::store::read::Reader::new(&config(&folder));
    assert!(reader.entry(&entry_key("a"), Timestamp(0)).await.expect("reads").is_some());
    assert!(reader.outbox_row(id(1)).await.expect("reads").is_none());
}

#[tokio::test]
async fn what_is_in_line_at_the_stop_is_still_committed_and_nothing_new_is_taken() {
    let desk = Desk::with(Room::default());
    let (folder, writer, ended) = start(&desk).await;
    let told = Arc::new(AtomicUsize::new(0));
    for number in 0..1_000 {
        let told = Arc::clone(&told);
        let done = move |outcome: Result<(), Refusal>| {
            outcome.expect("is durable");
            told.fetch_add(1, Ordering::SeqCst);
        };
        writer.submit(accept(task(number)), Box::new(done)).expect("is taken");
    }
    writer.stop();
    let refused = writer.commit(accept(task(5_000))).await;
    assert_eq!(refused, Err(CommitError::NotTaken(NotTaken::Stopping)));
    ended.await.expect("tells").expect("ends in order");
    assert_eq!(told.load(Ordering::SeqCst), 1_000);
    let store = Store::open(config(&folder), id(5)).await;
    let mut conn = store.expect("opens").conn;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox")
        .fetch_one(conn.sqlite())
        .await
        .expect("counts");
    assert_eq!(rows, 1_000);
}

#[tokio::test]
async fn p7_the_lanes_are_bounded() {
    let desk = Desk::with(Room::default());
    let limits = StoreLimits { waiting_max: 0, ..StoreLimits::default() };
    let (_folder, writer, ended) = start_with(scratch_with_app().await, &desk, limits);
    let refused = writer.commit(mutate(1, vec![put("a", "1")])).await;
    assert_eq!(refused, Err(CommitError::NotTaken(NotTaken::Full)));
    end(&writer, ended).await;
}

#[tokio::test]
async fn a_sync_row_whose_run_lasts_is_written_and_settled_under_its_lease() {
    let desk = Desk::with(Room::default());
    let (folder, writer, ended) = start(&desk).await;
    let row = Arc::new(OutboxRow { reply_by: Some(Timestamp(i64::MAX)), ..task(1) });
    let lease = writer.behind(Arc::clone(&row));
    let reader = crate::store::read::Reader::new(&config(&folder));
    let stored = loop {
        if let Some(stored) = reader.outbox_row(row.id).await.expect("reads") {
            break stored;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((stored.lease, &stored.row), (Some(lease), &*row));
    assert_eq!(writer.elide(row.id), Stored::Yes);
    let answer = Action::Answer(InboxResult::Answered("1".into()));
    writer.commit(settle(&Claim { row, lease }, answer, vec![])).await.expect("holds the lease");
    assert!(reader.outbox_row(id(1)).await.expect("reads").is_none());
    reader.close().await;
    end(&writer, ended).await;
}

#[tokio::test]
async fn the_backlog_is_claimed_when_there_is_room_again() {
    let desk = Desk::with(Room::default());
    let (_folder, writer, ended) = start(&desk).await;
    writer.commit(accept(task(1))).await.expect("is durable");
    assert!(desk.claims.lock().expect("is whole").is_empty());
    *desk.room.lock().expect("is whole") = room(5);
    writer.wake();
    assert_eq!(desk.next_claims().await[0].row.id, id(1));
    end(&writer, ended).await;
}

#[tokio::test]
async fn the_next_due_time_is_told() {
    let desk = Desk::with(room(5));
    let (_folder, writer, ended) = start(&desk).await;
    let at = crate::store::tests::NOW.plus_ms(60_000);
    writer.commit(accept(OutboxRow { available_at: at, ..task(1) })).await.expect("is durable");
    writer.commit(accept(OutboxRow { available_at: at.plus_ms(1), ..task(2) })).await.expect("too");
    assert_eq!(*desk.due.lock().expect("is whole"), Some(at));
    end(&writer, ended).await;
}

#[tokio::test]
async fn a_store_that_can_be_written_again_says_so() {
    let desk = Desk::with(Room::default());
    let mut scratch = scratch_with_app().await;
    let pages: i64 =
        sqlx::query_scalar("PRAGMA page_count").fetch_one(scratch.conn()).await.expect("counts");
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::query(limit).execute(scratch.conn()).await.expect("limits");
    let (_folder, writer, ended) = start_with(scratch, &desk, StoreLimits::default());
    let large = OutboxRow { event: format!("\"{}\"", "x".repeat(100_000)).into(), ..task(1) };
    let refused = writer.commit(accept(large)).await;
    assert!(matches!(refused, Err(CommitError::Refused(Refusal::StoreFailed(_)))), "{refused:?}");
    desk.took.notified().await;
    assert_eq!(desk.writable.load(Ordering::SeqCst), 1);
    end(&writer, ended).await;
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn whoever_changes_the_configuration_as_the_store_dies_is_told_that_nobody_knows() {
    use crate::faults::{CrashPoint, Faults};
    use crate::flow::configure::CatalogChange;
    use crate::store::configure::ConfigureError;
    let desk = Desk::with(Room::default());
    let mut scratch = scratch_with_app().await;
    let dies = Arc::new(|point: CrashPoint| point == CrashPoint::InDeploy);
    scratch.batcher().faults = Faults::default().with_hook(dies);
    let (_folder, writer, ended) = start_with(scratch, &desk, StoreLimits::default());
    let trigger = crate::store::tests::kv_trigger(50, crate::trigger::Ordering::Any);
    let changes = vec![CatalogChange::PutTrigger(trigger)];
    let plan = move |_: &_, next, _| Ok::<_, std::convert::Infallible>((changes, next));
    let outcome = writer.configure(plan).await;
    assert!(matches!(outcome, Err(ConfigureError::Unknown)), "{outcome:?}");
    assert!(ended.await.expect("tells").is_err());
}
