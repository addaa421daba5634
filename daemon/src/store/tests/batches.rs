//! What a batch commits, and what it does not.

use std::sync::Arc;

use picloud_scripts_runtime::effect::{Amount, Effect, Read};

use crate::failure::{Failure, FailureKind};
use crate::flow::accept::Accept;
use crate::flow::configure::CatalogChange;
use crate::flow::facts::Room;
use crate::flow::settle::{Settle, Stored};
use crate::flow::{Command, Refusal};
use crate::ids::{PrincipalId, QueueId};
use crate::inbox::InboxResult;
use crate::outbox::decide::Action;
use crate::outbox::row::{Claim, IdempotencyKey, Lease, OrderKey, OutboxRow};
use crate::store::backlog::Left;
use crate::store::lists::Letters;
use crate::store::tests::{
    APP, NOW, QUEUE, accept, entry_key, id, kv_trigger, mutate, put, room, scratch_with_app,
    settle, task,
};
use crate::time::Timestamp;
use crate::trigger::Ordering;

#[tokio::test]
async fn a_row_comes_back_as_it_was_stored() {
    let mut scratch = scratch_with_app().await;
    let full = OutboxRow {
        origin: Some(7),
        order: Some(OrderKey { key: "a/b\0c".into(), version: 77 }),
        dedupe: Some("once".into()),
        available_at: NOW.plus_ms(60_000),
        attempt: 2,
        orphaned: 1,
        depth: 3,
        root: id(1),
        cause: Some(id(2)),
        letter: Some(id(3)),
        replay_of: Some(id(4)),
        idempotency: Some(IdempotencyKey {
            app: APP,
            route: 7,
            principal: PrincipalId(9),
            key: "key \u{1F600} \"x\"".into(),
            body_hash: "ab12".into(),
        }),
        ..task(5)
    };
    let report = scratch.run(&[accept(full.clone()), accept(task(6))], Room::default()).await;
    assert_eq!(report.outcomes, [Ok(()), Ok(())]);
    let reader = scratch.reader();
    let stored = reader.outbox_row(full.id).await.expect("reads").expect("is there");
    assert_eq!((stored.row, stored.lease, stored.failure), (full, None, None));
    let plain = reader.outbox_row(id(6)).await.expect("reads").expect("is there");
    assert_eq!(plain.row, task(6));
}

#[tokio::test]
async fn many_commands_are_one_commit() {
    let mut scratch = scratch_with_app().await;
    let commands: Vec<Command> = (0..500).map(|number| accept(task(number))).collect();
    let before = scratch.batcher().log_bytes().await.expect("counts");
    let report = scratch.run(&commands, Room::default()).await;
    assert!(report.outcomes.iter().all(Result::is_ok));
    assert_eq!(scratch.count("outbox").await, 500);
    let after = scratch.batcher().log_bytes().await.expect("counts");
    // One commit writes each page once: 500 rows in well under 500 pages.
    assert!((after - before) / 4_096 < 120, "{} pages", (after - before) / 4_096);
}

#[tokio::test]
async fn a_refused_command_fails_alone() {
    let mut scratch = scratch_with_app().await;
    scratch.run(&[mutate(1, vec![put("text", "\"a\"")])], Room::default()).await;
    let add = Effect::Increment { key: crate::store::tests::key("text"), by: Amount::Integer(1) };
    let batch = [
        mutate(2, vec![put("one", "1")]),
        mutate(3, vec![put("gone", "1"), add]),
        mutate(4, vec![put("two", "2")]),
    ];
    let report = scratch.run(&batch, Room::default()).await;
    assert!(matches!(report.outcomes[..], [Ok(()), Err(Refusal::NotApplicable { .. }), Ok(())]));
    assert_eq!(scratch.count("entries").await, 3);
}

#[tokio::test]
async fn a_command_that_the_database_refuses_fails_alone() {
    let mut scratch = scratch_with_app().await;
    scratch.run(&[accept(task(2))], Room::default()).await;
    let before = scratch.batcher().usage(APP);
    // The same id a second time: no plan looks for that, the table does.
    let batch = [accept(task(1)), accept(task(2)), accept(task(3))];
    let report = scratch.run(&batch, Room::default()).await;
    assert!(
        matches!(report.outcomes[..], [Ok(()), Err(Refusal::CommandFailed(_)), Ok(())]),
        "{:?}",
        report.outcomes
    );
    assert_eq!(scratch.count("outbox").await, 3);
    assert_eq!(scratch.batcher().usage(APP).rows, before.rows + 2);
}

#[tokio::test]
async fn a_batch_that_is_undone_leaves_what_outlives_it_as_it_was() {
    let mut scratch = scratch_with_app().await;
    scratch.run(&[accept(task(1))], Room::default()).await;
    let before = format!("{:?}", scratch.batcher().standing);
    let report = scratch.run(&[accept(task(1))], room(10)).await;
    assert!(matches!(report.outcomes[..], [Err(Refusal::CommandFailed(_))]), "{report:?}");
    assert!(report.claims.is_empty());
    assert_eq!(format!("{:?}", scratch.batcher().standing), before);
}

#[tokio::test]
async fn rows_are_inserted_claimed_while_there_is_room_and_claimed_later_by_update() {
    let mut scratch = scratch_with_app().await;
    let commands: Vec<Command> = (0..5).map(|number| accept(task(number))).collect();
    let report = scratch.run(&commands, room(2)).await;
    assert_eq!(report.claims.len(), 2);
    let owner = scratch.owner();
    for claim in &report.claims {
        let stored = scratch.reader().outbox_row(claim.row.id).await.expect("reads");
        assert_eq!(stored.expect("is there").lease, Some(claim.lease));
        assert_eq!(claim.lease.owner, owner);
    }
    let settles: Vec<Command> =
        report.claims.iter().map(|claim| settle(claim, Action::Complete, vec![])).collect();
    let report = scratch.run(&settles, room(2)).await;
    assert_eq!(report.outcomes, [Ok(()), Ok(())]);
    assert_eq!(report.claims.len(), 2, "the next rows ride on the settle");
    assert!(
        report.claims.iter().all(|claim| claim.row.event == task(claim.row.id.0 >> 20 & 7).event)
    );
    assert_eq!(scratch.count("outbox").await, 3);
    let report = scratch.run(&[], room(9)).await;
    assert_eq!((report.claims.len(), report.more, report.next_due), (1, false, None));
    assert!(!scratch.run(&[], room(9)).await.committed);
}

#[tokio::test]
async fn due_rows_that_are_left_for_lack_of_room_are_told_of() {
    let mut scratch = scratch_with_app().await;
    let later = OutboxRow { available_at: NOW.plus_ms(9), ..task(3) };
    let report = scratch.run(&[accept(task(1)), accept(task(2)), accept(later)], room(1)).await;
    assert_eq!((report.claims.len(), report.more, report.left), (1, false, Left::Some));
    // Also by a round without commands.
    assert_eq!(scratch.run(&[], Room::default()).await.left, Left::Some);
    let report = scratch.run(&[], room(1)).await;
    assert_eq!((report.claims.len(), report.left), (1, Left::None));
    assert_eq!(report.next_due, Some(NOW.plus_ms(9)));
}

#[tokio::test]
async fn p3_a_settle_without_the_lease_writes_nothing() {
    let mut scratch = scratch_with_app().await;
    let claim = scratch.run(&[accept(task(1))], room(1)).await.claims.remove(0);
    let stale =
        Claim { lease: Lease { token: claim.lease.token - 1, ..claim.lease }, ..claim.clone() };
    let thief = Claim { lease: Lease { owner: id(77), ..claim.lease }, ..claim.clone() };
    let late = settle(&stale, Action::Complete, vec![put("x", "1")]);
    let foreign = settle(&thief, Action::Complete, vec![put("w", "1")]);
    let good = settle(&claim, Action::Complete, vec![put("y", "1")]);
    let twice = settle(&claim, Action::Complete, vec![put("z", "1")]);
    let report = scratch.run(&[late, foreign, good, twice], Room::default()).await;
    let lost = Err(Refusal::LeaseLost);
    assert_eq!(report.outcomes, [lost.clone(), lost.clone(), Ok(()), lost]);
    assert_eq!((scratch.count("entries").await, scratch.count("outbox").await), (1, 0));
}

#[tokio::test]
async fn a_retry_waits_until_it_is_due_and_keeps_its_failure() {
    let mut scratch = scratch_with_app().await;
    let claim = scratch.run(&[accept(task(1))], room(1)).await.claims.remove(0);
    let failure = Failure::new(FailureKind::Threw, "no");
    let at = NOW.plus_ms(1_000);
    let retry = Action::Retry { available_at: at, failure: failure.clone() };
    let report = scratch.run(&[settle(&claim, retry, vec![])], room(1)).await;
    assert_eq!((report.claims.len(), report.next_due), (0, Some(at)));
    let report = scratch.run_at(&[], room(1), at).await;
    assert_eq!(report.claims[0].row.attempt, 1);
    let stored = scratch.reader().outbox_row(claim.row.id).await.expect("reads");
    assert_eq!(stored.expect("is there").failure, Some(failure), "a claim does not forget it");
}

#[tokio::test]
async fn a_dead_letter_holds_the_row_as_it_died() {
    let mut scratch = scratch_with_app().await;
    let row = OutboxRow { dedupe: Some("d".into()), depth: 2, cause: Some(id(9)), ..task(1) };
    let claim = scratch.run(&[accept(row.clone())], room(1)).await.claims.remove(0);
    let failure = Failure::new(FailureKind::Threw, "no");
    let dead = settle(&claim, Action::DeadLetter { failure: failure.clone() }, vec![]);
    scratch.run(&[dead], Room::default()).await;
    let found = scratch.reader().scan_letters(Letters::Open, Some(APP), None, 10).await;
    let found = scratch.reader().letter(found.expect("reads")[0].id).await;
    let letter = &found.expect("reads").expect("is there").letter;
    assert_eq!(*letter.row, row);
    assert_eq!((letter.attempts, letter.script_version, &letter.failure), (1, 1, &failure));
    assert_eq!(scratch.batcher().standing.letters_open.get(&QUEUE), Some(&1));
    scratch.restart().await;
    assert_eq!(
        scratch.batcher().standing.letters_open.get(&QUEUE),
        Some(&1),
        "is counted at start"
    );
}

#[tokio::test]
async fn p1_what_was_acknowledged_is_there_after_a_restart_and_no_number_is_used_twice() {
    let mut scratch = scratch_with_app().await;
    let first = scratch.run(&[mutate(1, vec![put("a", "1")])], Room::default()).await;
    assert_eq!(first.outcomes, [Ok(())]);
    let before = scratch.batcher().standing.next;
    scratch.run(&[accept(task(1)), accept(task(2))], room(1)).await;
    let usage = scratch.batcher().usage(APP);
    scratch.restart().await;
    assert!(scratch.batcher().standing.next > before);
    assert_eq!(scratch.batcher().usage(APP), usage, "is counted at start");
    let reader = scratch.reader();
    let orphans = reader.orphans(scratch.owner(), 10).await.expect("reads");
    assert_eq!(orphans.len(), 1);
    assert_eq!(scratch.run(&[], room(5)).await.claims.len(), 1, "the pending one");
}

#[tokio::test]
async fn a_changed_value_sets_off_its_trigger_and_a_conflict_writes_nothing() {
    let mut scratch = scratch_with_app().await;
    scratch.configure(vec![CatalogChange::PutTrigger(kv_trigger(50, Ordering::Any))], 100).await;
    let report = scratch.run(&[mutate(1, vec![put("a", "1")])], room(5)).await;
    assert_eq!(report.claims.len(), 1);
    let claim = &report.claims[0];
    let read = Read { key: crate::store::tests::key("a"), version: 1 };
    let Command::Settle(settle) = settle(claim, Action::Complete, vec![put("b", "1")]) else {
        unreachable!()
    };
    let stale = Command::Settle(Settle { reads: vec![read], ..settle });
    let report = scratch.run(&[stale], Room::default()).await;
    assert_eq!(report.outcomes, [Err(Refusal::Conflict)]);
    assert!(!report.committed);
    assert_eq!((scratch.count("entries").await, scratch.count("outbox").await), (1, 1));
}

#[tokio::test]
async fn rows_of_one_key_are_claimed_one_after_the_other() {
    let mut scratch = scratch_with_app().await;
    scratch.configure(vec![CatalogChange::PutTrigger(kv_trigger(50, Ordering::ByKey))], 100).await;
    let mut claims = Vec::new();
    for number in 0..3 {
        let value = number.to_string();
        let report = scratch.run(&[mutate(number, vec![put("a", &value)])], room(5)).await;
        claims.extend(report.claims);
    }
    for number in 0..3 {
        let claim = claims.pop().expect("one is claimed");
        assert!(claims.is_empty(), "only one at a time");
        assert!(claim.row.event.contains(&format!("\"value\":{number}")), "{}", claim.row.event);
        let report = scratch.run(&[settle(&claim, Action::Complete, vec![])], room(5)).await;
        assert_eq!(report.outcomes, [Ok(())]);
        claims = report.claims;
    }
    assert!(claims.is_empty() && scratch.count("outbox").await == 0);
}

#[tokio::test]
async fn a_dead_letter_that_is_replayed_goes_to_the_end_of_its_line() {
    let mut scratch = scratch_with_app().await;
    scratch.configure(vec![CatalogChange::PutTrigger(kv_trigger(50, Ordering::ByKey))], 100).await;
    let first = scratch.run(&[mutate(1, vec![put("a", "1")])], room(5)).await.claims;
    let failure = Failure::new(FailureKind::Threw, "no");
    let dies = settle(&first[0], Action::DeadLetter { failure }, vec![]);
    scratch.run(&[dies], room(5)).await;
    let letter: String = sqlx::query_scalar("SELECT id FROM dead_letters")
        .fetch_one(scratch.conn())
        .await
        .expect("it died");
    // Another row of the key runs, and one waits behind it.
    let changes = [mutate(2, vec![put("a", "2")]), mutate(3, vec![put("a", "3")])];
    assert_eq!(scratch.run(&changes, room(5)).await.claims.len(), 1);
    let replayer = scratch.run(&[accept(task(4))], room(5)).await.claims;
    let replay = Effect::ReplayDeadLetter { id: letter.into(), payload: None };
    let report =
        scratch.run(&[settle(&replayer[0], Action::Complete, vec![replay])], room(5)).await;
    assert_eq!((report.outcomes, report.claims.len()), (vec![Ok(())], 0));
}

#[tokio::test]
async fn a_queue_whose_maker_is_gone_still_runs() {
    let mut scratch = scratch_with_app().await;
    let row = OutboxRow { queue: QueueId(4_711), ..task(1) };
    scratch.run(&[accept(row)], Room::default()).await;
    scratch.restart().await;
    assert_eq!(scratch.run(&[], room(1)).await.claims.len(), 1);
}

#[tokio::test]
async fn each_app_gets_its_turn() {
    let mut scratch = scratch_with_app().await;
    let other = crate::ids::AppId(77);
    let mut commands: Vec<Command> = (0..50).map(|number| accept(task(number))).collect();
    commands.push(accept(OutboxRow { app: other, queue: QueueId(78), ..task(99) }));
    scratch.run(&commands, Room::default()).await;
    let report = scratch.run(&[], room(4)).await;
    assert!(report.claims.iter().any(|claim| claim.row.app == other));
}

#[tokio::test]
async fn p4_a_row_that_cannot_be_read_holds_up_nothing_but_its_queue() {
    let mut scratch = scratch_with_app().await;
    let other = OutboxRow { app: crate::ids::AppId(77), queue: QueueId(78), ..task(2) };
    let claim = scratch.run(&[accept(task(3))], room(1)).await.claims.remove(0);
    scratch.run(&[accept(task(1)), accept(other)], Room::default()).await;
    let source = "UPDATE outbox SET source = $1 WHERE lease_token IS NULL AND queue_id = 2";
    sqlx::query(source).bind("?").execute(scratch.conn()).await.expect("is damaged");
    let report = scratch.run(&[settle(&claim, Action::Complete, vec![])], room(9)).await;
    assert_eq!(report.outcomes, [Ok(())]);
    assert_eq!(report.claims.iter().map(|claim| claim.row.id).collect::<Vec<_>>(), [id(2)]);
    let again = NOW.plus_ms(crate::store::backlog::UNREADABLE_MS);
    assert_eq!((report.next_due, report.left), (Some(again), Left::None));

    sqlx::query(source).bind("task").execute(scratch.conn()).await.expect("is mended");
    assert!(scratch.run(&[accept(task(4))], Room::default()).await.claims.is_empty());
    let report = scratch.run_at(&[], room(9), again).await;
    assert_eq!(report.claims.iter().map(|claim| claim.row.id).collect::<Vec<_>>(), [id(1), id(4)]);
}

#[tokio::test]
async fn p4_a_row_that_is_larger_than_all_the_room_is_claimed_all_the_same() {
    let mut scratch = scratch_with_app().await;
    let event: Arc<str> = format!("\"{}\"", "x".repeat(2_000)).into();
    let large = OutboxRow { event, available_at: NOW.plus_ms(-1), ..task(1) };
    let rows = [accept(large), accept(task(2))];
    scratch.run(&rows, Room::default()).await;
    let small = Room { bytes: 1_000, ..room(9) };
    let report = scratch.run(&[], small).await;
    assert_eq!(report.claims.iter().map(|claim| claim.row.id).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(report.left, Left::Some);
}

#[tokio::test]
async fn p7_queues_share_what_one_batch_reads_of_the_backlog() {
    let mut scratch = scratch_with_app().await;
    let event: Arc<str> = format!("\"{}\"", "x".repeat(3 << 20)).into();
    let large = |number, queue| {
        accept(OutboxRow { queue: QueueId(queue), event: Arc::clone(&event), ..task(number) })
    };
    let rows = [large(1, 2), large(2, 2), large(3, 3), large(4, 3)];
    scratch.run(&rows, Room::default()).await;
    let report = scratch.run(&[], room(10)).await;
    assert_eq!((report.claims.len(), report.more), (2, true));
}

fn sync_row(number: u128) -> Arc<OutboxRow> {
    Arc::new(OutboxRow { reply_by: Some(NOW.plus_ms(10_000)), ..task(number) })
}

fn answer() -> Action {
    Action::Answer(InboxResult::Answered("1".into()))
}

fn elided(row: Arc<OutboxRow>, effects: Vec<Effect>) -> Command {
    let lease = Lease { owner: id(1), token: -1 };
    let Command::Settle(settle) = settle(&Claim { row, lease }, answer(), effects) else {
        unreachable!()
    };
    Command::Settle(Settle { stored: Stored::No, ..settle })
}

#[tokio::test]
async fn p9_a_sync_run_without_effects_writes_no_bytes() {
    let mut scratch = scratch_with_app().await;
    let before = scratch.file_bytes();
    for number in 0..100 {
        let report = scratch.run(&[elided(sync_row(number), vec![])], room(5)).await;
        assert_eq!((report.outcomes, report.committed), (vec![Ok(())], false));
    }
    assert_eq!(scratch.file_bytes(), before);
}

#[tokio::test]
async fn p9_an_insert_and_its_end_in_one_batch_write_no_row() {
    let mut scratch = scratch_with_app().await;
    let row = sync_row(1);
    let lease = Lease { owner: scratch.owner(), token: -1 };
    let insert = Command::Accept(Accept { row: Arc::clone(&row), lease: Some(lease) });
    let end = settle(&Claim { row, lease }, answer(), vec![]);
    let before = scratch.file_bytes();
    let report = scratch.run(&[insert, end], room(5)).await;
    assert_eq!((report.outcomes, report.committed), (vec![Ok(()), Ok(())], false));
    assert_eq!(scratch.file_bytes(), before);
}

#[tokio::test]
async fn a_sync_run_with_effects_commits_them_without_its_row() {
    let mut scratch = scratch_with_app().await;
    let report = scratch.run(&[elided(sync_row(1), vec![put("a", "1")])], room(5)).await;
    assert_eq!((report.outcomes, report.committed), (vec![Ok(())], true));
    let entry = scratch.reader().entry(&entry_key("a"), NOW).await.expect("reads");
    assert_eq!(&*entry.expect("is there").value, "1");
    assert_eq!(scratch.count("outbox").await, 0);
}

#[tokio::test]
async fn p9_an_idle_store_writes_nothing() {
    let mut scratch = scratch_with_app().await;
    let later = accept(OutboxRow { available_at: NOW.plus_ms(3_600_000), ..task(1) });
    scratch.run(&[later], room(5)).await;
    let before = scratch.file_bytes();
    for second in 0..100 {
        let now = NOW.plus_ms(second * 1_000);
        let report = scratch.run_at(&[], room(5), now).await;
        assert_eq!(report.next_due, Some(NOW.plus_ms(3_600_000)));
    }
    assert_eq!(scratch.file_bytes(), before);
}

#[tokio::test]
async fn what_expired_is_swept_with_a_batch_that_commits_anyway() {
    let mut scratch = scratch_with_app().await;
    let short =
        Effect::Put { key: crate::store::tests::key("a"), value: "1".into(), ttl_ms: Some(10) };
    scratch.run(&[mutate(1, vec![short])], Room::default()).await;
    let later = Timestamp(NOW.0 + 60_000);
    assert_eq!(scratch.reader().entry(&entry_key("a"), later).await.expect("reads"), None);
    assert_eq!(scratch.count("entries").await, 1);
    scratch.run_at(&[mutate(2, vec![put("b", "1")])], Room::default(), later).await;
    assert_eq!(scratch.count("entries").await, 1);
}

#[tokio::test]
async fn p7_what_a_step_of_the_sweep_leaves_over_goes_with_the_next_batch() {
    let mut scratch = scratch_with_app().await;
    let expired = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700)
         INSERT INTO entries SELECT 1, 'kv', 'c', printf('%d', i), '1', i, 1, 'x' FROM n";
    sqlx::query(expired).execute(scratch.conn()).await.expect("inserts");
    for left in [500, 300, 100, 0] {
        scratch.run(&[mutate(left, vec![put("a", "1")])], Room::default()).await;
        assert_eq!(scratch.count("entries").await, i64::try_from(left).expect("is small") + 1);
    }
}

#[tokio::test]
async fn only_so_many_resolved_letters_and_abandoned_executions_are_kept() {
    let mut scratch = scratch_with_app().await;
    for statement in [
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1300)
         INSERT INTO abandoned_executions SELECT printf('%026d', i), 1, 2, 'task', NULL, 's', 9, '{}', 0, '0', NULL, 'caller_gone', i FROM n",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1300)
         INSERT INTO dead_letters (id, row_id, app_id, queue_id, source, script, principal_id, event, retry, available_at, attempt, orphaned, depth, root_id, failure, attempts, first_at, last_at, script_version, resolution, resolved_at)
         SELECT printf('%026d', i), '0', 1, 2, 'task', 's', 9, '{}', '{}', 0, 0, 0, 0, '0', '{}', 1, 0, 0, 0, 'discarded', 1700000000000 + i FROM n",
        "INSERT INTO dead_letters (id, row_id, app_id, queue_id, source, script, principal_id, event, retry, available_at, attempt, orphaned, depth, root_id, failure, attempts, first_at, last_at, script_version)
         VALUES ('open', '0', 1, 2, 'task', 's', 9, '{}', '{}', 0, 0, 0, 0, '0', '{}', 1, 0, 0, 0)",
    ] {
        sqlx::query(statement).execute(scratch.conn()).await.expect("inserts");
    }
    // The oldest, but its replay still waits.
    scratch.run(&[accept(task(50))], Room::default()).await;
    let held = "UPDATE dead_letters SET resolved_by = $1 WHERE id = printf('%026d', 1)";
    sqlx::query(held).bind(id(50).to_string()).execute(scratch.conn()).await.expect("updates");
    for step in 0..4 {
        let change = mutate(step, vec![put("a", &step.to_string())]);
        let now = NOW.plus_ms(i64::try_from(step).expect("is small") * 60_000 + 60_000);
        scratch.run_at(&[change], Room::default(), now).await;
    }
    assert_eq!(scratch.count("abandoned_executions").await, 1_000);
    assert_eq!(scratch.count("dead_letters").await, 1_002, "neither the open one nor the held one");
    let oldest: i64 = sqlx::query_scalar("SELECT min(at) FROM abandoned_executions")
        .fetch_one(scratch.conn())
        .await
        .expect("reads");
    assert_eq!(oldest, 301);
}
