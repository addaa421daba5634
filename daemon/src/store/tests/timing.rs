//! The writer's thread and the clock: schedules wait until it is believed, and fire then.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Notify;

use crate::flow::configure::CatalogChange;
use crate::flow::facts::Room;
use crate::ids::Ids;
use crate::limits::StoreLimits;
use crate::outbox::row::Claim;
use crate::outbox::source::TriggerDetails;
use crate::schedule::CatchUp;
use crate::store::backlog::Left;
use crate::store::tests::{NOW, kv_trigger, room, scratch_with_app};
use crate::store::writer::{Ended, Handover, Writer};
use crate::time::{Clock, Standing, Timestamp};
use crate::trigger::{Ordering as Order, Trigger};

const HOUR_MS: i64 = 3_600_000;

/// A clock that stands still until the test sets it, and is believed when the test says so.
struct Hand {
    now: AtomicI64,
    believed: AtomicBool,
}

impl Hand {
    fn at(now: Timestamp) -> Arc<Hand> {
        Arc::new(Hand { now: AtomicI64::new(now.0), believed: AtomicBool::new(false) })
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn standing(&self) -> Standing {
        if self.believed.load(Ordering::SeqCst) { Standing::Believed } else { Standing::Doubted }
    }
}

/// What the writer told.
#[derive(Default)]
struct Told {
    claims: Mutex<Vec<Claim>>,
    due: Mutex<Option<Timestamp>>,
    rounds: Notify,
}

impl Told {
    fn claimed(&self) -> usize {
        self.claims.lock().expect("is whole").len()
    }

    fn due(&self) -> Option<Timestamp> {
        *self.due.lock().expect("is whole")
    }
}

impl Handover for Told {
    fn room(&self) -> Room {
        room(1_000)
    }

    fn take(&self, claims: Vec<Claim>) {
        self.claims.lock().expect("is whole").extend(claims);
    }

    fn next_due(&self, at: Option<Timestamp>, _left: Left) {
        *self.due.lock().expect("is whole") = at;
        self.rounds.notify_one();
    }

    fn writable(&self) {}
}

/// A writer on a store with a schedule for every five minutes, made an hour before the clock's time.
async fn start(clock: &Arc<Hand>, told: &Arc<Told>) -> (TempDir, Writer, Ended) {
    let mut scratch = scratch_with_app().await;
    let details = TriggerDetails::Schedule {
        cron: "*/5 * * * *".into(),
        time_zone: "UTC".into(),
        catch_up: CatchUp::All,
    };
    let trigger = Trigger { details, ..kv_trigger(50, Order::Any) };
    scratch.configure(vec![CatalogChange::PutTrigger(trigger)], 200).await;
    let (folder, batcher) = scratch.into_parts();
    let (writer, ended) = Writer::start(
        batcher,
        Arc::clone(told) as Arc<dyn Handover>,
        Arc::clone(clock) as Arc<dyn Clock>,
        Arc::new(Ids::random()),
        StoreLimits::default(),
    )
    .expect("starts");
    told.rounds.notified().await;
    (folder, writer, ended)
}

#[tokio::test]
async fn schedules_wait_while_the_clock_is_doubted_and_fire_once_it_is_believed() {
    let (clock, told) = (Hand::at(NOW.plus_ms(HOUR_MS)), Arc::new(Told::default()));
    let (_folder, writer, ended) = start(&clock, &told).await;
    assert_eq!(told.claimed(), 0, "an hour is missed, but who knows");
    assert_eq!(told.due(), Some(clock.now().plus_ms(1_000)), "it is looked at again soon");

    clock.believed.store(true, Ordering::SeqCst);
    writer.wake();
    told.rounds.notified().await;
    assert_eq!(told.claimed(), 12);
    let next = told.due().expect("it is enabled");
    assert!(next > clock.now() && next.ms_since(clock.now()) <= 5 * 60_000);
    writer.stop();
    ended.await.expect("tells").expect("ends in order");
}

#[tokio::test]
async fn a_clock_that_is_set_by_years_lets_no_schedule_fire_and_none_fall_silent() {
    for years in [10, -10] {
        let (clock, told) = (Hand::at(NOW), Arc::new(Told::default()));
        clock.believed.store(true, Ordering::SeqCst);
        let (_folder, writer, ended) = start(&clock, &told).await;
        clock.now.fetch_add(years * 365 * 24 * HOUR_MS, Ordering::SeqCst);
        writer.wake();
        told.rounds.notified().await;
        assert_eq!(told.claimed(), 0, "{years} years");
        let next = told.due().expect("it is enabled").ms_since(clock.now());
        assert!((1..=5 * 60_000).contains(&next), "{years} years: {next}");
        writer.stop();
        ended.await.expect("tells").expect("ends in order");
    }
}
