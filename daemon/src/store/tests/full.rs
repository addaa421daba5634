//! A full disk.

use crate::flow::Refusal;
use crate::flow::facts::Room;
use crate::outbox::decide::Action;
use crate::outbox::row::OutboxRow;
use crate::store::tests::{
    APP, accept, mutate, put, room, scratch_with_app, settle, store_failed, task,
};

/// Lets the file grow by so many pages only.
async fn allow_pages(scratch: &mut crate::store::tests::Scratch, more: i64) {
    let pages: i64 =
        sqlx::query_scalar("PRAGMA page_count").fetch_one(scratch.conn()).await.expect("counts");
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + more));
    sqlx::query(limit).execute(scratch.conn()).await.expect("limits");
}

fn large(number: u128) -> OutboxRow {
    OutboxRow { event: format!("\"{}\"", "x".repeat(100_000)).into(), ..task(number) }
}

#[tokio::test]
async fn p7_a_full_disk_refuses_what_comes_in_and_settles_what_runs() {
    let mut scratch = scratch_with_app().await;
    let claim = scratch.run(&[accept(task(1))], room(1)).await.claims.remove(0);
    allow_pages(&mut scratch, 2).await;
    let before = scratch.batcher().usage(APP);
    let batch = [
        accept(large(2)),
        settle(&claim, Action::Complete, vec![]),
        mutate(3, vec![put("a", "1")]),
    ];
    let report = scratch.run(&batch, room(5)).await;
    assert_eq!(
        report.outcomes,
        [Err(Refusal::StorageLow), Ok(()), Err(Refusal::StorageLow)],
        "{report:?}"
    );
    assert!(scratch.batcher().is_storage_low());
    assert_eq!(scratch.batcher().usage(APP).rows, before.rows - 1);
    assert_eq!(scratch.count("outbox").await, 0);
}

#[tokio::test]
async fn p7_of_many_settles_those_that_fit_come_about() {
    let mut scratch = scratch_with_app().await;
    let rows: Vec<_> = (1..=20).map(|number| accept(task(number))).collect();
    let claims = scratch.run(&rows, room(20)).await.claims;
    allow_pages(&mut scratch, 2).await;
    let large = format!("\"{}\"", "x".repeat(100_000));
    let batch: Vec<_> = claims
        .iter()
        .enumerate()
        .map(|(place, claim)| {
            let effects = if place == 7 { vec![put("a", &large)] } else { vec![] };
            settle(claim, Action::Complete, effects)
        })
        .collect();
    let report = scratch.run(&batch, room(5)).await;
    let refused = report.outcomes.iter().map(store_failed).collect::<Vec<_>>();
    assert_eq!(refused, (0..20).map(|place| place == 7).collect::<Vec<_>>(), "{report:?}");
    assert!(report.committed);
    assert_eq!(scratch.count("outbox").await, 1);
}

#[tokio::test]
async fn p7_nothing_of_a_batch_that_did_not_fit_is_there_and_the_next_one_passes() {
    let mut scratch = scratch_with_app().await;
    allow_pages(&mut scratch, 2).await;
    let report = scratch.run(&[accept(large(1)), accept(large(2))], room(5)).await;
    assert!(report.outcomes.iter().all(store_failed), "{report:?}");
    assert!(report.claims.is_empty());
    assert_eq!(scratch.count("outbox").await, 0);
    allow_pages(&mut scratch, 1_000).await;
    scratch.batcher().note_free_bytes(1 << 40, 64 << 20);
    let report = scratch.run(&[accept(large(1))], Room::default()).await;
    assert_eq!(report.outcomes, [Ok(())]);
}

#[tokio::test]
async fn nearly_full_is_one_state_that_ends_only_when_there_is_clearly_space_again() {
    let mut scratch = scratch_with_app().await;
    let min = 64 << 20;
    let mut low = |free: u64| {
        scratch.batcher().note_free_bytes(free, min);
        // Shown at once, though nothing is committed meanwhile.
        assert_eq!(scratch.batcher().seen().now().storage_low, scratch.batcher().is_storage_low());
        scratch.batcher().is_storage_low()
    };
    let states = [min + 1, min - 1, min + 1, min + min / 4].map(&mut low);
    assert_eq!(states, [false, true, true, false]);
}

/// SQLite learns of a full disk only when it writes its log, at the commit. That needs a real file system.
#[tokio::test]
async fn p7_a_full_file_system_fails_the_commit_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=600k", "tmpfs"])
        .arg(folder.path())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        // Mounting takes rights that not everybody has; `max_page_count` above stands in.
        return;
    }
    let outcome = fill(folder.path()).await;
    let unmounted = std::process::Command::new("umount").arg("-l").arg(folder.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    let (acknowledged, refused, found) = outcome;
    assert!(refused > 0, "the file system was filled");
    assert_eq!(found, acknowledged);
}

async fn fill(folder: &std::path::Path) -> (i64, i64, i64) {
    use crate::store::batch::Batcher;
    use crate::store::open::{Store, StoreConfig};
    let config = StoreConfig::at(folder.join("store.db"));
    let store = Store::open(config, crate::ids::Id(1)).await.expect("opens");
    let limits = std::sync::Arc::new(crate::limits::OutboxLimits::default());
    let faults = crate::faults::Faults::default();
    let mut batcher = Batcher::start(store, limits, faults).await.expect("starts");
    let (mut acknowledged, mut refused) = (0, 0);
    for number in 0..200 {
        batcher.note_free_bytes(1 << 40, 1);
        let row = OutboxRow { event: format!("\"{}\"", "x".repeat(5_000)).into(), ..task(number) };
        let report = batcher.run(&[accept(row)], crate::store::tests::NOW, Room::default()).await;
        match report.expect("a full disk is not the end").outcomes[..] {
            [Ok(())] => acknowledged += 1,
            _ => refused += 1,
        }
    }
    let found = sqlx::query_scalar("SELECT count(*) FROM outbox");
    let found: i64 = found.fetch_one(batcher.conn.sqlite()).await.expect("counts");
    (acknowledged, refused, found)
}
