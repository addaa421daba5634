//! Backups of a store that is in use.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::flow::facts::Room as Free;
use crate::ids::Id;
use crate::store::backup::{self, Content, CopyError, Halt};
use crate::store::migrate::SCHEMA_VERSION;
use crate::store::open::Store;
use crate::store::tests::{Scratch, accept, config, mutate, put, scratch_with_app, task};

struct At(AtomicI64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// 2026-11-28T21:17:18.123Z.
const BEGUN: i64 = 1_795_900_638_123;
const NAME: &str = "picloud-20261128T211718.123Z.db";

fn backups_with(scratch: &Scratch, limits: StoreLimits) -> Arc<Backups> {
    let folder = scratch.folder.path().join("backups");
    let clock = Arc::new(At(AtomicI64::new(BEGUN)));
    Backups::open(config(&scratch.folder), folder, limits, clock, Faults::default())
}

fn limits() -> StoreLimits {
    StoreLimits { free_bytes_min: 0, ..StoreLimits::default() }
}

async fn taken(backups: &Arc<Backups>) -> Vec<Backup> {
    let turn = backups.take_turn().expect("nobody is before");
    backups.begin(turn);
    backups.tracker.close();
    backups.ended().await;
    backups.tracker.reopen();
    backups.list()
}

fn files(scratch: &Scratch) -> BTreeSet<String> {
    names_in(&scratch.folder.path().join("backups")).into_iter().collect()
}

/// The name of an ordinary one.
fn name_of(begun_at: Timestamp) -> String {
    naming::name_of(Named { begun_at, kind: Kind::Ordinary })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_a_whole_store_with_all_that_was_accepted_before() {
    let mut scratch = scratch_with_app().await;
    let commands = [accept(task(1)), accept(task(2)), mutate(3, vec![put("a", "1")])];
    scratch.run(&commands, Free::default()).await;
    let listed = taken(&backups_with(&scratch, limits())).await;
    let bytes = match &listed[..] {
        [Backup { name, state: State::Done { bytes, took_ms: 0 }, .. }] if name == NAME => *bytes,
        other => panic!("{other:?}"),
    };
    let path = scratch.folder.path().join("backups").join(NAME);
    assert_eq!(fs::metadata(&path).expect("it is there").len(), bytes);
    let content = backup::verify(&path, &Halt::default()).await.expect("it is whole");
    assert_eq!(content, Content { schema: SCHEMA_VERSION, rows: 2, entries: 1 });
    // It opens as a store of its own, and takes what the other one does.
    let store = Store::open(StoreConfig::at(&path), Id(9)).await.expect("it opens");
    assert!(!store.is_new());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_are_kept_and_files_of_others_stay() {
    let scratch = scratch_with_app().await;
    let backups = backups_with(&scratch, StoreLimits { kept_backups_max: 2, ..limits() });
    let folder = scratch.folder.path().join("backups");
    fs::create_dir(&folder).expect("the folder is new");
    let own = "picloud-before-the-move.db";
    fs::write(folder.join(own), "x").expect("the folder is ours");
    for _ in 0..3 {
        taken(&backups).await;
    }
    let left: Vec<String> = files(&scratch).into_iter().collect();
    let after = |ms| name_of(Timestamp(BEGUN + ms));
    // The clock stands, and yet each has a name of its own.
    assert_eq!(left, [after(1), after(2), own.to_owned()]);
    let listed: Vec<String> = backups.list().into_iter().map(|one| one.name).collect();
    assert_eq!(listed, [after(2), after(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_at_a_time_and_whoever_gives_up_the_turn_makes_way() {
    let scratch = scratch_with_app().await;
    let backups = backups_with(&scratch, limits());
    let turn = backups.take_turn().expect("nobody is before");
    let second = backups.take_turn().err();
    assert_eq!(second, Some(NotBegun::Running(NAME.to_owned())));
    assert_eq!(backups.list()[0].state, State::Running { bytes: 0 });
    drop(turn);
    assert!(backups.list().is_empty());
    assert!(backups.take_turn().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_more_room_than_there_is_writes_nothing() {
    let scratch = scratch_with_app().await;
    let all = StoreLimits { free_bytes_min: u64::MAX >> 1, ..limits() };
    let backups = backups_with(&scratch, all);
    assert!(matches!(backups.take_turn().err(), Some(NotBegun::NoRoom { .. })));
    assert!(!scratch.folder.path().join("backups").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_leaves_no_file_and_is_shown_with_its_error() {
    let scratch = scratch_with_app().await;
    // Half of the store is gone, which only who reads all of it finds out.
    let mut scratch = scratch;
    scratch.batcher().checkpoint_and_cut().await.expect("is cut");
    let path = scratch.folder.path().join("store.db");
    let bytes = fs::metadata(&path).expect("it is there").len();
    let file = fs::File::options().write(true).open(&path).expect("it is ours");
    file.set_len(bytes / 2 / 4096 * 4096).expect("it can be cut");
    let backups = backups_with(&scratch, limits());
    let listed = taken(&backups).await;
    assert!(
        matches!(&listed[..], [Backup { state: State::Failed { error, .. }, .. }] if error.contains("damaged")),
        "{listed:?}"
    );
    assert!(files(&scratch).is_empty());
    assert!(backups.take_turn().is_ok(), "the next one may try");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_removes_what_was_broken_off_and_nothing_else() {
    let scratch = scratch_with_app().await;
    let folder = scratch.folder.path().join("backups");
    fs::create_dir(&folder).expect("the folder is new");
    let stay = [NAME, "picloud.db.part", "notes.part", "picloud-x.db.part"];
    let go = [format!("{NAME}.part"), format!("{NAME}.part-journal")];
    for name in stay.iter().copied().chain(go.iter().map(String::as_str)) {
        fs::write(folder.join(name), "x").expect("the folder is ours");
    }
    backups_with(&scratch, limits());
    assert_eq!(files(&scratch), stay.iter().map(|name| (*name).to_owned()).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_gives_up_what_runs_and_begins_nothing_any_more() {
    let scratch = scratch_with_app().await;
    let backups = backups_with(&scratch, limits());
    let turn = backups.take_turn().expect("nobody is before");
    backups.give_up();
    backups.begin(turn);
    backups.ended().await;
    assert_eq!((files(&scratch), backups.list()), (BTreeSet::new(), Vec::new()));
    assert_eq!(backups.take_turn().err(), Some(NotBegun::Stopping));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_by_hand_is_restored_only_where_no_store_is() {
    let mut scratch = scratch_with_app().await;
    scratch.run(&[mutate(3, vec![put("a", "1")])], Free::default()).await;
    let folder = scratch.folder.path().to_owned();
    let (store, to) = (folder.join("store.db"), folder.join("copy.db"));
    let now = Timestamp(BEGUN);
    let (target, made) = offline::back_up(&store, &to, &limits(), now).await.expect("is copied");
    assert_eq!((target, made.content.entries), (to.clone(), 1));
    let taken = offline::back_up(&store, &to, &limits(), now).await;
    assert!(matches!(taken, Err(offline::NotDone::FileTaken(_))), "{taken:?}");
    let (dated, _) = offline::back_up(&store, &folder, &limits(), now).await.expect("is copied");
    assert_eq!(dated, folder.join(NAME));

    let in_use = offline::restore(&store, &to, &limits(), now).await.expect_err("a daemon has it");
    assert!(in_use.to_string().contains("in use"), "{in_use}");
    let (folder, batcher) = scratch.into_parts();
    batcher.stop().await.expect("stops in order");
    let there = offline::restore(&store, &to, &limits(), now).await.expect_err("it is there");
    assert!(matches!(there, offline::NotDone::StoreTaken(_)), "{there}");
    let other = folder.path().join("other.db");
    let restored = offline::restore(&other, &to, &limits(), now).await.expect("is restored");
    assert_eq!(restored.content, made.content);
    assert!(Store::open(StoreConfig::at(&other), Id(9)).await.is_ok());

    // Nothing that is no store becomes one.
    fs::write(&to, "x".repeat(10_000)).expect("it is ours");
    let third = folder.path().join("third.db");
    assert!(offline::restore(&third, &to, &limits(), now).await.is_err());
    assert!(!third.exists() && !folder.path().join("third.db.part").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_and_the_look_through_it_can_be_halted() {
    let mut scratch = scratch_with_app().await;
    for batch in 0..4 {
        let effects = (0..1_000).map(|n| put(&format!("{batch}-{n}"), "1")).collect();
        scratch.run(&[mutate(1 + batch, effects)], Free::default()).await;
    }
    let halted = Halt::default();
    halted.now();
    let (whole, half) = (scratch.folder.path().join("whole"), scratch.folder.path().join("half"));
    let copied = backup::copy(&config(&scratch.folder), &half, &halted).await;
    assert!(matches!(copied, Err(CopyError::Halted)), "{copied:?}");
    backup::copy(&config(&scratch.folder), &whole, &Halt::default()).await.expect("is copied");
    let looked = backup::verify(&whole, &halted).await;
    assert!(matches!(looked, Err(CopyError::Halted)), "{looked:?}");
    let looked = backup::verify(&whole, &Halt::default()).await.expect("it is whole");
    assert_eq!(looked.entries, 4_000);
}

/// What becomes of a copy that lasts until it is halted.
async fn watched(scratch: &Scratch, limits: &StoreLimits) -> NotMade {
    let making = Making {
        store: config(&scratch.folder),
        part: scratch.folder.path().join("part"),
        target: scratch.folder.path().join("target"),
        log_bytes_max: limits.backup_log_bytes_max,
        free_bytes_min: limits.free_bytes_min,
        faults: Faults::default(),
    };
    let halt = Halt::default();
    let log = scratch.folder.path().join("store.db-wal");
    let lasting = async {
        // More is written while it reads.
        fs::File::options().append(true).open(log).and_then(|log| log.set_len(1 << 20))?;
        while !halt.is_said() {
            tokio::task::yield_now().await;
        }
        Ok::<(), io::Error>(())
    };
    let reading = async {
        lasting.await.expect("the log is there");
        Err::<(), _>(CopyError::Halted)
    };
    let stop = CancellationToken::new();
    making.watched(reading, &halt, &stop).await.expect_err("it is halted")
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_copy_is_given_up_when_the_log_grows_or_the_disk_fills_up_meanwhile() {
    let scratch = scratch_with_app().await;
    let of_the_log = StoreLimits { backup_log_bytes_max: 1 << 19, ..limits() };
    let given_up = watched(&scratch, &of_the_log).await;
    assert!(matches!(given_up, NotMade::LogGrew(bytes) if bytes == 1 << 20), "{given_up:?}");
    let scratch = scratch_with_app().await;
    let of_the_disk = StoreLimits { free_bytes_min: u64::MAX >> 1, ..limits() };
    let given_up = watched(&scratch, &of_the_disk).await;
    assert!(matches!(given_up, NotMade::DiskFull(_)), "{given_up:?}");
}
