//! Deleting an app: what waits is abandoned, what is stored goes, what runs leaves nothing.

use std::sync::Arc;

use crate::failure::{Failure, FailureKind};
use crate::flow::accept::Accept;
use crate::flow::configure::CatalogChange;
use crate::flow::facts::Room;
use crate::flow::{Command, Refusal};
use crate::ids::{AppId, PrincipalId, QueueId};
use crate::limits::OutboxLimits;
use crate::outbox::decide::Action;
use crate::outbox::row::{AbandonReason, Lease, OutboxRow};
use crate::store::purge::Purged;
use crate::store::tests::{
    APP, NOW, Scratch, accept, mutate, put, room, scratch_with_app, settle, task,
};

async fn delete(scratch: &mut Scratch) {
    let change =
        CatalogChange::DeleteApp { id: APP, slug: "greenhouse".into(), by: PrincipalId(9) };
    scratch.configure(vec![change], 200).await;
}

async fn purge(scratch: &mut Scratch) -> usize {
    let mut steps = 1;
    while scratch.batcher().purge_step(NOW).await.expect("is no fatal error") == Purged::More {
        steps += 1;
    }
    steps
}

#[tokio::test]
async fn p4_what_waits_in_a_deleted_app_is_abandoned_on_record_and_nothing_of_it_is_left() {
    let mut scratch = scratch_with_app().await;
    let other = OutboxRow { app: AppId(7), queue: QueueId(70), ..task(9_000) };
    let mut commands: Vec<Command> = (1..=1_200).map(|number| accept(task(number))).collect();
    commands.push(accept(other));
    commands.push(mutate(8_000, (0..20).map(|n| put(&format!("k{n}"), "1")).collect()));
    scratch.run(&commands, Room::default()).await;
    delete(&mut scratch).await;
    assert_eq!(scratch.count("apps").await + scratch.count("scripts").await, 0);
    assert!(purge(&mut scratch).await > 3, "it goes in steps");
    let kept = OutboxLimits::default().kept_abandoned_max;
    assert_eq!(scratch.count("abandoned_executions").await, kept);
    assert_eq!(scratch.count("entries").await, 0);
    assert_eq!(scratch.count("outbox").await, 1, "that of the other app waits");
    let usage = scratch.batcher().usage(APP);
    assert_eq!((usage.rows, usage.bytes), (0, 0));
    assert_eq!(scratch.batcher().usage(AppId(7)).rows, 1);
    let counted = "SELECT count(*) FROM deleted_apps WHERE rows_abandoned = 1200 AND entries = 20";
    let counted: i64 = sqlx::query_scalar(counted).fetch_one(scratch.conn()).await.expect("counts");
    assert_eq!(counted, 1);
    assert!(!scratch.batcher().has_to_purge());
}

#[tokio::test]
async fn p1_a_deletion_goes_on_where_it_was_when_the_daemon_died() {
    let mut scratch = scratch_with_app().await;
    let commands: Vec<Command> = (1..=700).map(|number| accept(task(number))).collect();
    scratch.run(&commands, Room::default()).await;
    delete(&mut scratch).await;
    let step = scratch.batcher().purge_step(NOW).await.expect("is no fatal error");
    assert_eq!((step, scratch.count("outbox").await), (Purged::More, 200));
    scratch.restart().await;
    let report = scratch.run(&[], room(10)).await;
    assert!(report.claims.is_empty(), "nothing of a deleted app runs");
    purge(&mut scratch).await;
    assert_eq!(scratch.count("outbox").await, 0);
    assert_eq!(scratch.count("abandoned_executions").await, 700);
}

#[tokio::test]
async fn p2_a_run_in_flight_when_its_app_is_deleted_leaves_nothing_and_ends_on_record() {
    let mut scratch = scratch_with_app().await;
    let claims = scratch.run(&[accept(task(1)), accept(task(2))], room(10)).await.claims;
    let [one, two] = &claims[..] else { panic!("both are claimed") };
    delete(&mut scratch).await;
    let failure = Failure::new(FailureKind::ScriptGone, "gone");
    let refused = scratch
        .run(
            &[
                settle(one, Action::Complete, vec![put("late", "1")]),
                settle(two, Action::DeadLetter { failure }, Vec::new()),
                accept(task(3)),
                mutate(4, vec![put("k", "1")]),
            ],
            room(10),
        )
        .await;
    assert_eq!(refused.outcomes, vec![Err(Refusal::AppDeleted); 4]);
    let end = Action::Abandon { reason: AbandonReason::AppDeleted };
    let ends = [one, two].map(|claim| settle(claim, end.clone(), Vec::new()));
    let ended = scratch.run(&ends, room(10)).await;
    assert_eq!(ended.outcomes, [Ok(()), Ok(())]);
    purge(&mut scratch).await;
    for (table, rows) in
        [("outbox", 0), ("entries", 0), ("dead_letters", 0), ("abandoned_executions", 2)]
    {
        assert_eq!(scratch.count(table).await, rows, "{table}");
    }
    assert_eq!(scratch.batcher().usage(APP).rows, 0);
}

#[tokio::test]
async fn a_sync_run_that_began_before_may_be_put_on_record_so_that_it_can_end() {
    let mut scratch = scratch_with_app().await;
    delete(&mut scratch).await;
    let row = OutboxRow { reply_by: Some(NOW), ..task(1) };
    let lease = Lease { owner: scratch.owner(), token: -1 };
    let put = Command::Accept(Accept { row: Arc::new(row), lease: Some(lease) });
    let report = scratch.run(&[put], room(10)).await;
    assert_eq!(report.outcomes, [Ok(())]);
}
