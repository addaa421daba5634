//! What the start of the store lets in, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::faults::Faults;
use crate::ids::Id;
use crate::store::batch::Batcher;
use crate::store::open::{Store, StoreConfig, StoreError};
use crate::store::tests::{config, scratch};

async fn refusal(config: StoreConfig) -> StoreError {
    Store::open(config, Id(99)).await.err().expect("is refused")
}

#[tokio::test]
async fn a_new_store_is_set_up_for_a_card() {
    let mut scratch = scratch().await;
    for (pragma, expected) in [
        ("PRAGMA journal_mode", "wal"),
        ("PRAGMA synchronous", "2"),
        ("PRAGMA auto_vacuum", "2"),
        ("PRAGMA foreign_keys", "1"),
        ("PRAGMA mmap_size", "0"),
        ("PRAGMA wal_autocheckpoint", "0"),
        ("PRAGMA journal_size_limit", "4194304"),
    ] {
        let row = sqlx::query(pragma).fetch_one(scratch.conn()).await.expect("answers");
        let value = sqlx::Row::try_get_unchecked::<String, _>(&row, 0).expect("is text");
        assert_eq!(value, expected, "{pragma}");
    }
}

#[tokio::test]
async fn every_table_is_strict() {
    let mut scratch = scratch().await;
    let loose: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pragma_table_list WHERE type = 'table' AND strict = 0 AND schema = 'main' AND name NOT LIKE 'sqlite_%'",
    )
    .fetch_all(scratch.conn())
    .await
    .expect("lists");
    assert_eq!(loose, Vec::<String>::new());
}

#[tokio::test]
async fn a_second_daemon_is_refused() {
    let scratch = scratch().await;
    assert!(matches!(refusal(config(&scratch.folder)).await, StoreError::InUse(_)));
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let mut scratch = scratch().await;
    sqlx::query("UPDATE meta SET schema_version = 907, oldest_daemon = 907")
        .execute(scratch.conn())
        .await
        .expect("updates");
    let (folder, batcher) = scratch.into_parts();
    drop(batcher);
    let refused = refusal(config(&folder)).await;
    assert!(matches!(refused, StoreError::Newer { version: 907, .. }), "{refused}");
    assert!(refused.to_string().contains("install a newer picloud"), "{refused}");
}

#[tokio::test]
async fn a_newer_schema_that_this_daemon_may_use_is_opened() {
    let mut scratch = scratch().await;
    sqlx::query("UPDATE meta SET schema_version = 907")
        .execute(scratch.conn())
        .await
        .expect("updates");
    scratch.restart().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let garbage = "this is not a database at all, but long enough to be looked at ".repeat(100);
    std::fs::write(&path, &garbage).expect("writes");
    assert!(matches!(refusal(config(&folder)).await, StoreError::NotADatabase(_)));
    assert_eq!(std::fs::read_to_string(&path).expect("reads"), garbage);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_kept() {
    use sqlx::{ConnectOptions, Connection};
    let folder = tempfile::tempdir().expect("a folder");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.path().join("store.db"))
        .create_if_missing(true);
    let mut conn = options.connect().await.expect("connects");
    sqlx::raw_sql("CREATE TABLE theirs (a)").execute(&mut conn).await.expect("creates");
    conn.close().await.expect("closes");
    let before = std::fs::read(folder.path().join("store.db")).expect("reads");
    assert!(matches!(refusal(config(&folder)).await, StoreError::Foreign(_)));
    assert_eq!(std::fs::read(folder.path().join("store.db")).expect("reads"), before);
}

#[tokio::test]
async fn a_missing_folder_and_a_folder_in_place_of_the_file_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = StoreConfig::at(folder.path().join("nowhere/store.db"));
    assert!(matches!(refusal(missing).await, StoreError::NoFolder(_)));
    std::fs::create_dir(folder.path().join("store.db")).expect("creates");
    assert!(matches!(refusal(config(&folder)).await, StoreError::NotAFile(_)));
}

#[tokio::test]
async fn a_page_that_was_flipped_is_found_and_the_file_kept() {
    let mut scratch = crate::store::tests::scratch_with_app().await;
    scratch.batcher().checkpoint_and_cut().await.expect("cuts");
    let (folder, batcher) = scratch.into_parts();
    batcher.stop().await.expect("stops");
    let path = folder.path().join("store.db");
    let mut bytes = std::fs::read(&path).expect("reads");
    let pages = bytes.len() / 4_096;
    for page in 2..pages {
        bytes[page * 4_096..page * 4_096 + 100].fill(0xA5);
    }
    std::fs::write(&path, &bytes).expect("writes");
    let found = match Store::open(config(&folder), Id(5)).await {
        Err(error) => error,
        Ok(store) => {
            let reader = crate::store::read::Reader::new(&config(&folder));
            let found = reader.quick_check().await.expect_err("is damaged");
            drop(store);
            found
        }
    };
    assert!(matches!(found, StoreError::Damaged { .. }), "{found:?}");
    assert!(path.exists());
}

#[tokio::test]
async fn a_stop_in_order_is_known_to_the_next_start() {
    let scratch = scratch().await;
    let (folder, batcher) = scratch.into_parts();
    batcher.stop().await.expect("stops");
    let store = Store::open(config(&folder), Id(5)).await.expect("opens");
    assert!(store.was_clean);
    drop(store);
    let store = Store::open(config(&folder), Id(6)).await.expect("opens");
    assert!(!store.was_clean, "the last one did not stop in order");
}

#[tokio::test]
async fn a_stop_in_order_does_not_hide_that_the_file_was_not_looked_through_yet() {
    let mut scratch = scratch().await;
    scratch.restart().await;
    let (folder, batcher) = scratch.into_parts();
    batcher.stop().await.expect("stops");
    let store = Store::open(config(&folder), Id(5)).await.expect("opens");
    assert!(!store.was_clean);
    let batcher = Batcher::start(store, Arc::default(), Faults::default()).await.expect("starts");
    batcher.whole().store(true, Ordering::Relaxed);
    batcher.stop().await.expect("stops");
    let store = Store::open(config(&folder), Id(6)).await.expect("opens");
    assert!(store.was_clean);
}
