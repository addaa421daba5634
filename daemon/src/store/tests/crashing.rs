//! Crash points reach the store.

use std::sync::Arc;

use crate::faults::{CrashPoint, Faults};
use crate::flow::configure::CatalogChange;
use crate::flow::facts::Room;
use crate::ids::Ids;
use crate::outbox::source::TriggerDetails;
use crate::schedule::CatchUp;
use crate::store::batch::BatchError;
use crate::store::configure::ConfigureError;
use crate::store::tests::{NOW, Scratch, accept, kv_trigger, scratch_with_app, task};
use crate::trigger::{Ordering, Trigger};

async fn dying_at(point: CrashPoint) -> Scratch {
    let mut scratch = scratch_with_app().await;
    scratch.batcher().faults = Faults::default().with_hook(Arc::new(move |here| here == point));
    scratch
}

#[tokio::test]
async fn p1_a_crash_before_the_commit_leaves_nothing_and_one_after_it_leaves_all() {
    for (point, rows) in
        [(CrashPoint::BeforeApply, 0), (CrashPoint::BeforeCommit, 0), (CrashPoint::AfterCommit, 2)]
    {
        let mut scratch = dying_at(point).await;
        let commands = [accept(task(1)), accept(task(2))];
        let outcome = scratch.batcher().run(&commands, NOW, Room::default()).await;
        assert!(matches!(outcome, Err(BatchError::Crashed(here)) if here == point), "{outcome:?}");
        scratch.restart().await;
        assert_eq!(scratch.count("outbox").await, rows, "{}", point.as_str());
    }
}

#[tokio::test]
async fn a_crash_in_a_deploy_leaves_the_old_configuration() {
    let mut scratch = dying_at(CrashPoint::InDeploy).await;
    let changes = vec![CatalogChange::PutTrigger(kv_trigger(50, Ordering::Any))];
    let plan = |_: &_, next, _| Ok::<_, std::convert::Infallible>((changes, next));
    let outcome = scratch.batcher().configure(plan, NOW).await;
    assert!(matches!(outcome, Err(ConfigureError::Fatal(BatchError::Crashed(_)))));
    scratch.restart().await;
    assert_eq!(scratch.count("triggers").await, 0);
}

#[tokio::test]
async fn p3_a_crash_around_the_commit_of_a_schedule_neither_loses_nor_repeats_its_row() {
    let point_and_rows =
        [(CrashPoint::BeforeApply, 0), (CrashPoint::BeforeCommit, 0), (CrashPoint::AfterCommit, 1)];
    for (point, rows) in point_and_rows {
        let mut scratch = scratch_with_app().await;
        let details = TriggerDetails::Schedule {
            cron: "0 * * * *".into(),
            time_zone: "UTC".into(),
            catch_up: CatchUp::All,
        };
        let hourly = Trigger { details, ..kv_trigger(50, Ordering::Any) };
        scratch.configure(vec![CatalogChange::PutTrigger(hourly)], 200).await;
        let due = scratch.batcher().next_schedule().expect("it is enabled");
        scratch.batcher().faults = Faults::default().with_hook(Arc::new(move |here| here == point));
        let commands = scratch.batcher().due_schedules(&Ids::random(), due);
        let outcome = scratch.batcher().run(&commands, due, Room::default()).await;
        assert!(matches!(outcome, Err(BatchError::Crashed(here)) if here == point), "{outcome:?}");
        scratch.restart().await;
        assert_eq!(scratch.count("outbox").await, rows, "{}", point.as_str());
        let commands = scratch.batcher().due_schedules(&Ids::random(), due);
        scratch.run_at(&commands, Room::default(), due).await;
        assert_eq!(scratch.count("outbox").await, 1, "{}", point.as_str());
    }
}
