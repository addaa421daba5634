//! The writer's thread and the clock: schedules wait until it is believed, and fire then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::flow::configure::CatalogChange;
use crate::flow::facts::Room;
use crate::ids::Ids;
use crate::limits::StoreLimits;
use crate::outbox::row::Claim;
use crate::schedule::CatchUp;
use crate::store::backlog::Left;
use crate::store::tests::{NOW, kv_trigger, room, scratch_with_app};
use crate::store::writer::{Handover, Writer};
use crate::time::{Clock, Standing, Timestamp};
use crate::trigger::{Ordering as Order, Trigger, TriggerDetails};

const HOUR_MS: i64 = 3_600_000;

/// A clock that stands still, and is believed when the test says so.
#[derive(Default)]
struct Doubted {
    believed: AtomicBool,
}

impl Clock for Doubted {
    fn now(&self) -> Timestamp {
        NOW.plus_ms(HOUR_MS)
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

impl Handover for Told {
    fn room(&self) -> Room {
        room(10)
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

#[tokio::test]
async fn schedules_wait_while_the_clock_is_doubted_and_fire_once_it_is_believed() {
    let mut scratch = scratch_with_app().await;
    let details = TriggerDetails::Schedule {
        cron: "*/5 * * * *".into(),
        time_zone: "UTC".into(),
        catch_up: CatchUp::Once,
    };
    let trigger = Trigger { details, ..kv_trigger(50, Order::Any) };
    scratch.configure(vec![CatalogChange::PutTrigger(trigger)], 200).await;
    let (_folder, batcher) = scratch.into_parts();
    let (clock, told) = (Arc::new(Doubted::default()), Arc::new(Told::default()));
    let (writer, ended) = Writer::start(
        batcher,
        Arc::clone(&told) as Arc<dyn Handover>,
        Arc::clone(&clock) as Arc<dyn Clock>,
        Arc::new(Ids::random()),
        StoreLimits::default(),
    )
    .expect("starts");
    told.rounds.notified().await;
    assert!(told.claims.lock().expect("is whole").is_empty(), "an hour is missed, but who knows");
    let again = *told.due.lock().expect("is whole");
    assert_eq!(again, Some(clock.now().plus_ms(1_000)), "it is looked at again soon");

    clock.believed.store(true, Ordering::SeqCst);
    writer.wake();
    told.rounds.notified().await;
    assert_eq!(told.claims.lock().expect("is whole").len(), 1);
    let next = told.due.lock().expect("is whole").expect("it is enabled");
    assert!(next > clock.now() && next.ms_since(clock.now()) <= 300_000);
    writer.stop();
    ended.await.expect("tells").expect("ends in order");
}
