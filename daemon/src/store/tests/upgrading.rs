//! Older stores: what is kept of them, what they become, and what is refused and left alone.

use std::fs;
use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::ids::{Id, Ids};
use crate::store::backup::{self, Halt};
use crate::store::look;
use crate::store::making::NotMade;
use crate::store::migrate::{Found, MIGRATIONS, SCHEMA_VERSION};
use crate::store::naming::{self, Kind};
use crate::store::open::{Store, StoreConfig, StoreError, beside, connect_options};
use crate::store::tests::{NOW, config, scratch, scratch_with_app};
use crate::store::upgrade::{self, KEPT_MAX, Upgraded};

/// The settings without a claim on the disk of whoever runs this.
fn roomy(folder: &TempDir) -> StoreConfig {
    StoreConfig { free_bytes_min: 0, ..config(folder) }
}

/// A store as the daemons of that schema made it, with an app and two entries.
async fn old_store(folder: &TempDir, schema: usize) -> StoreConfig {
    let config = roomy(folder);
    let mut conn = opened(&config.path).await;
    let set_up = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;";
    sqlx::raw_sql(set_up).execute(&mut conn).await.expect("is set up");
    for migration in &MIGRATIONS[..schema] {
        sqlx::raw_sql(*migration).execute(&mut conn).await.expect("is migrated");
    }
    let data = "INSERT INTO apps (id, slug, allow_hosts, expose_errors, revision) VALUES (1, 'stuff', '[]', 0, 1);
        INSERT INTO entries (app_id, space, collection, key, value, version, written_by)
        VALUES (1, 'kv', 'stuff', 'a', '1', 1, ''), (1, 'kv', 'stuff', 'b', '2', 1, '');
        UPDATE meta SET counter_ceiling = 2, clean = 1;";
    sqlx::raw_sql(data).execute(&mut conn).await.expect("is filled");
    conn.close().await.expect("is closed");
    config
}

async fn opened(path: &Path) -> SqliteConnection {
    let options = connect_options(&StoreConfig::at(path)).create_if_missing(true);
    options.connect().await.expect("is opened")
}

fn start() -> Id {
    Ids::random().next(NOW)
}

async fn refusal(config: &StoreConfig) -> StoreError {
    Store::open(config.clone(), start()).await.err().expect("is refused")
}

/// What the backups are called, the oldest first.
fn kept(config: &StoreConfig) -> Vec<String> {
    let mut names = naming::names_in(&config.backups);
    names.sort();
    names
}

/// Everything that a store is.
fn bytes(config: &StoreConfig) -> [Option<Vec<u8>>; 2] {
    [config.path.clone(), beside(&config.path, "-wal")].map(|path| fs::read(path).ok())
}

async fn tables(path: &Path) -> Vec<String> {
    let mut conn = opened(path).await;
    let query = "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name";
    sqlx::query_scalar(query).fetch_all(&mut conn).await.expect("are listed")
}

#[tokio::test]
async fn a_store_of_every_older_schema_is_copied_and_becomes_what_a_new_one_is() {
    let (new, batcher) = scratch().await.into_parts();
    batcher.stop().await.expect("stops");
    for schema in 1..MIGRATIONS.len() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = old_store(&folder, schema).await;
        let from = i64::try_from(schema).expect("is small");
        let store = Store::open(config.clone(), start()).await.expect("is opened");
        assert_eq!(store.upgraded, Some(Upgraded { from, at: NOW }));
        assert!(store.was_clean, "an upgrade is no crash");
        store.let_go().await;
        assert_eq!(tables(&config.path).await, tables(&new.path().join("store.db")).await);

        let name = format!("picloud-20231114T221320.000Z-before-schema-{SCHEMA_VERSION}.db");
        assert_eq!(kept(&config), [name.as_str()]);
        let copy = config.backups.join(name);
        let found = backup::verify(&copy, &Halt::default()).await.expect("is whole");
        assert_eq!((found.schema, found.entries), (from, 2));
        let now = backup::verify(&config.path, &Halt::default()).await.expect("is whole");
        assert_eq!((now.schema, now.entries), (SCHEMA_VERSION, 2));

        // The next start has nothing to do, and knows it all the same.
        let store = Store::open(config.clone(), start()).await.expect("is opened");
        assert_eq!((store.upgraded, kept(&config).len()), (Some(Upgraded { from, at: NOW }), 1));
    }
}

#[tokio::test]
async fn a_new_store_was_never_upgraded_and_nothing_is_copied() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = roomy(&folder);
    let store = Store::open(config.clone(), start()).await.expect("is made");
    assert_eq!((store.upgraded, config.backups.exists()), (None, false));
}

#[tokio::test]
async fn without_room_for_the_copy_an_older_store_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = StoreConfig { free_bytes_min: 1 << 60, ..old_store(&folder, 7).await };
    let before = bytes(&config);
    let refused = refusal(&config).await;
    assert!(matches!(refused, StoreError::NoRoom { version: 7, .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("make room") && said.contains("[backups] directory"), "{said}");
    assert_eq!((bytes(&config), kept(&config)), (before, Vec::new()));
}

#[tokio::test]
async fn an_older_store_that_is_damaged_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = old_store(&folder, 7).await;
    let query = "SELECT rootpage FROM sqlite_schema WHERE name = 'entries'";
    let mut conn = opened(&config.path).await;
    let page: i64 = sqlx::query_scalar(query).fetch_one(&mut conn).await.expect("is there");
    conn.close().await.expect("is closed");
    let mut content = fs::read(&config.path).expect("is read");
    let at = usize::try_from(page - 1).expect("is small") * 4_096;
    content[at..at + 100].fill(0xA5);
    fs::write(&config.path, &content).expect("is ours");
    let refused = refusal(&config).await;
    let made = match &refused {
        StoreError::NotCopied { source, .. } => matches!(**source, NotMade::Copy(_)),
        _ => false,
    };
    assert!(made, "{refused:?}");
    assert_eq!(fs::read(&config.path).expect("is read"), content);
    assert_eq!(kept(&config), Vec::<String>::new());
}

#[tokio::test]
async fn only_the_newest_copies_of_before_an_upgrade_are_kept_and_no_other_file_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = old_store(&folder, 7).await;
    fs::create_dir(&config.backups).expect("is new");
    let ordinary = ["picloud-20200101T000000.000Z.db", "picloud-20990101T000000.000Z.db", "own.db"];
    let older = [
        "picloud-20210101T000000.000Z-before-schema-5.db",
        "picloud-20220101T000000.000Z-before-schema-6.db",
    ];
    let rest = "picloud-20230101T000000.000Z-before-schema-8.db.part";
    for name in ordinary.iter().chain(&older).chain([&rest]) {
        fs::write(config.backups.join(name), "x").expect("is ours");
    }
    drop(Store::open(config.clone(), start()).await.expect("is opened"));
    let kept = kept(&config);
    let is_before = |name: &&String| {
        naming::named(name).is_some_and(|named| matches!(named.kind, Kind::BeforeSchema(_)))
    };
    assert_eq!(kept.iter().filter(is_before).count(), KEPT_MAX, "{kept:?}");
    assert!(ordinary.iter().all(|name| kept.iter().any(|kept| kept == name)), "{kept:?}");
    assert!(!kept.iter().any(|name| name == older[0] || name == rest), "{kept:?}");
}

/// Makes a store one of a newer daemon, and leaves that in its log as a crash does.
async fn make_newer(path: &Path) -> SqliteConnection {
    let mut conn = opened(path).await;
    let newer =
        "PRAGMA wal_autocheckpoint = 0; UPDATE meta SET schema_version = 907, oldest_daemon = 907";
    sqlx::raw_sql(newer).execute(&mut conn).await.expect("is changed");
    conn
}

#[tokio::test]
async fn a_newer_store_is_refused_byte_for_byte_as_it_was_with_the_backup_that_fits() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = old_store(&folder, 7).await;
    let upgrade = upgrade::offline(&config, NOW).await.expect("goes").expect("is older");
    let _log = make_newer(&config.path).await;
    let before = bytes(&config);
    assert!(before[1].as_ref().is_some_and(|log| !log.is_empty()), "it is still in the log");
    // One from before a later upgrade is of no use to this daemon.
    let later = config.backups.join("picloud-20990101T000000.000Z-before-schema-908.db");
    fs::copy(&upgrade.backup, &later).expect("is copied");
    make_newer(&later).await.close().await.expect("is closed");
    let refused = refusal(&config).await.to_string();
    for part in ["has schema 907", "install a newer picloud", &upgrade.backup.display().to_string()]
    {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    assert_eq!(bytes(&config), before);

    fs::remove_file(&upgrade.backup).expect("is there");
    let refused = refusal(&config).await.to_string();
    assert!(refused.contains("has none"), "{refused}");
    assert_eq!(bytes(&config), before);
}

#[tokio::test]
async fn without_a_daemon_it_says_what_it_did_and_a_daemon_keeps_it_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = upgrade::offline(&roomy(&folder), NOW).await.expect_err("there is none");
    assert!(matches!(missing, StoreError::NoStore(_)), "{missing}");
    assert_eq!(fs::read_dir(folder.path()).expect("is read").count(), 0);

    let config = old_store(&folder, 5).await;
    let upgrade = upgrade::offline(&config, NOW).await.expect("goes").expect("is older");
    assert_eq!((upgrade.from, upgrade.backup.is_file()), (5, true));
    assert_eq!(upgrade::offline(&config, NOW).await.expect("goes"), None);
    let store = Store::open(config.clone(), start()).await.expect("is opened");
    assert!(store.was_clean, "an upgrade is no crash");
    let in_use = upgrade::offline(&config, NOW).await.expect_err("is in use");
    assert!(matches!(in_use, StoreError::InUse(_)), "{in_use}");
}

#[tokio::test]
async fn the_schema_is_read_whether_a_daemon_runs_or_not_and_nothing_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    assert_eq!(look::schema(&path).await.expect("is read"), Found::Empty);
    let found = |version| Found::Schema { version, oldest_daemon: 7 };
    old_store(&folder, 7).await;
    assert_eq!(look::schema(&path).await.expect("is read"), found(7));
    assert_eq!(fs::read_dir(folder.path()).expect("is read").count(), 1);

    // Nothing of it is in the file yet, all in the log.
    let scratch = scratch_with_app().await;
    let path: PathBuf = scratch.folder.path().join("store.db");
    assert_eq!(look::schema(&path).await.expect("is read"), found(SCHEMA_VERSION));
}
