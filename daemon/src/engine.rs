//! The engine: store and dispatcher put together, without any listener.
//!
//! The order of a start is what makes it safe: the store is opened and locked, what a dead owner held is taken over,
//! and only then does anything run.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use picloud_scripts_runtime::runtime::Runtime;

use crate::backups::Backups;
use crate::catalog::{Catalog, INSTANCE, Pause};
use crate::config::SyncDurability;
use crate::dispatcher::executor::{Programs, ScriptExecutor};
use crate::dispatcher::slots::Slots;
use crate::dispatcher::{Dispatcher, Parts, slots, takeover};
use crate::faults::{CrashPoint, Faults};
use crate::flow::Refusal;
use crate::flow::configure::CatalogChange;
use crate::flow::facts::Room;
use crate::gate::Permits;
use crate::groups::Groups;
use crate::ids::{Id, Ids};
use crate::limits::Limits;
use crate::log::{field, message};
use crate::outbox::row::Claim;
use crate::outgoing::Outgoing;
use crate::store::batch::{BatchError, Batcher, Seen};
use crate::store::configure::ConfigureError;
use crate::store::open::{Store, StoreConfig, StoreError};
use crate::store::read::Reader;
use crate::store::upgrade::Upgraded;
use crate::store::writer::{Ended, Writer, WriterError};
use crate::time::{Clock, Timestamp};
use crate::vault::{self, Vault};

/// How an engine is started.
pub struct Setup {
    pub store: PathBuf,
    /// Where the note of what runs lies: memory that outlives the process.
    pub runtime_directory: PathBuf,
    /// The key that secrets are sealed with; made when it is needed first.
    pub key_file: PathBuf,
    /// Where backups lie; made when the first is taken.
    pub backup_folder: PathBuf,
    /// Where the daemon itself serves routes: scripts do not call it. The first is the configured one.
    pub own_addresses: Vec<SocketAddr>,
    pub durability: SyncDurability,
    pub limits: Limits,
    pub pausing: Pausing,
    pub cores: usize,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    /// What the groups of this machine's users give them.
    pub groups: Arc<Groups>,
    pub faults: Faults,
}

/// Whether the instance starts paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pausing {
    AsStored,
    FromTheStart,
}

/// A running engine.
pub struct Engine {
    pub dispatcher: Arc<Dispatcher>,
    pub writer: Writer,
    pub writer_ended: Ended,
    pub reader: Reader,
    pub catalog: Arc<ArcSwap<Catalog>>,
    /// What is waiting, as of the last commit.
    pub seen: Arc<Seen>,
    pub runtime: Arc<Runtime>,
    pub vault: Arc<Vault>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    pub groups: Arc<Groups>,
    pub limits: Limits,
    /// This start of the daemon.
    pub owner: Id,
    /// Whether the file is known to be whole; set by whoever has looked through it.
    pub whole: Arc<AtomicBool>,
    pub began: Began,
    pub places: Places,
    pub backups: Arc<Backups>,
}

/// Where things of this daemon are.
#[derive(Clone, Debug)]
pub struct Places {
    pub store: PathBuf,
    pub key_file: PathBuf,
    /// Where routes are served.
    pub address: Option<SocketAddr>,
}

impl Places {
    fn of(setup: &Setup) -> Places {
        Places {
            store: setup.store.clone(),
            key_file: setup.key_file.clone(),
            address: setup.own_addresses.first().copied(),
        }
    }
}

/// How this start came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    pub why: Why,
    /// Rows that the last daemon held when it died.
    pub taken_up: usize,
    /// When its store was upgraded last, if it ever was.
    pub upgraded: Option<Upgraded>,
}

/// Why the daemon started, as far as the store and the memory of this machine tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There was no store.
    First,
    /// The last daemon had stopped in order.
    Stopped,
    /// The last daemon died, the machine did not.
    Died,
    /// Both did.
    PowerCut,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first_start",
            Self::Stopped => "stopped_in_order",
            Self::Died => "daemon_died",
            Self::PowerCut => "power_cut",
        }
    }

    /// `notes` are what the last daemon noted in memory that outlives it, but not the machine.
    fn of(store: &Store, notes: &Path) -> Why {
        if store.is_new() {
            Why::First
        } else if store.was_clean {
            Why::Stopped
        } else if notes.exists() {
            Why::Died
        } else {
            Why::PowerCut
        }
    }
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("what the last daemon held could not be taken over")]
    TakeOver(#[source] BatchError),
    #[error(
        "what the last daemon held could not be taken over; make room on the disk, then start again"
    )]
    NotEnded(#[source] Refusal),
    #[error("the instance cannot be paused")]
    Pause(#[source] ConfigureError<Infallible>),
    #[error("{path}: the file that notes what runs cannot be written; correct [runtime] directory")]
    Slots { path: String, source: std::io::Error },
    #[error("the threads that run scripts could not be started")]
    Threads(#[source] std::io::Error),
}

/// Orphans that are taken over in one commit.
const TAKE_OVER_ROWS: usize = 1_000;

/// For how long a stop waits for queries that run: looking for damage in a large file takes minutes.
const CLOSE_READERS_MAX: Duration = Duration::from_secs(2);

/// Starts an engine. Must be called within a runtime, whose threads read the store for scripts.
pub async fn start(setup: Setup) -> Result<Engine, EngineError> {
    let owner = setup.ids.next(setup.clock.now());
    let slots_path = setup.runtime_directory.join("running");
    let (batcher, reader, began) = open(&setup, owner, &slots_path).await?;
    // Only now that the store is locked: what runs in another daemon is no rest.
    let (places, backups) = (Places::of(&setup), backups(&setup));
    let Setup { clock, ids, groups, limits, own_addresses: own, .. } = setup;
    let permits = Permits::of(&limits.gate, setup.cores);
    let slots = slots_in(&slots_path, &permits)?;
    let runtime = Arc::new(Runtime::new(&limits.run, limits.gate.memory_bytes_max));
    let (tokio, vault) = (tokio::runtime::Handle::current(), Arc::new(Vault::at(setup.key_file)));
    tell_lost_secrets(&batcher.catalog().load(), &reader, &vault).await?;
    let outgoing = Outgoing::new(limits.outgoing.clone(), own, Arc::clone(&clock));
    let executor = ScriptExecutor {
        runtime: Arc::clone(&runtime),
        reader: reader.clone(),
        vault: Arc::clone(&vault),
        outgoing: Arc::new(outgoing),
        clock: Arc::clone(&clock),
        groups: Arc::clone(&groups),
        programs: Programs::default(),
        tokio: tokio.clone(),
    };
    let (catalog, seen, whole) = (batcher.catalog(), batcher.seen(), batcher.whole());
    let dispatcher = Dispatcher::new(Parts {
        owner,
        executor,
        reader: reader.clone(),
        catalog: Arc::clone(&catalog),
        clock: Arc::clone(&clock),
        ids: Arc::clone(&ids),
        slots,
        permits,
        awake_max: setup.cores.max(1),
        sync_waiting_max: limits.gate.sync_waiting_max,
        admin_limits: limits.admin.clone(),
        watched: batcher.watched(),
        limits: Arc::clone(&batcher.limits),
        durability: setup.durability,
        tokio,
    });
    let handover = Arc::new(Arc::clone(&dispatcher));
    let (writer, writer_ended) = Writer::start(
        batcher,
        handover,
        Arc::clone(&clock),
        Arc::clone(&ids),
        limits.store.clone(),
    )?;
    dispatcher.start(writer.clone()).map_err(EngineError::Threads)?;
    Ok(Engine {
        dispatcher,
        writer,
        writer_ended,
        reader,
        catalog,
        seen,
        runtime,
        vault,
        clock,
        ids,
        groups,
        limits,
        owner,
        whole,
        began,
        places,
        backups,
    })
}

fn slots_in(path: &Path, permits: &Permits) -> Result<Slots, EngineError> {
    let failed = |source| EngineError::Slots { path: path.display().to_string(), source };
    Slots::create(path, permits.all).map_err(failed)
}

fn store_config(setup: &Setup) -> StoreConfig {
    StoreConfig {
        path: setup.store.clone(),
        wal_bytes_max: setup.limits.store.log_bytes_max,
        run: setup.limits.run.clone(),
        backups: setup.backup_folder.clone(),
        free_bytes_min: setup.limits.store.free_bytes_min,
        faults: setup.faults.clone(),
    }
}

fn backups(setup: &Setup) -> Arc<Backups> {
    Backups::open(
        store_config(setup),
        setup.backup_folder.clone(),
        setup.limits.store.clone(),
        Arc::clone(&setup.clock),
        setup.faults.clone(),
    )
}

/// Opens the store and puts in order what the last daemon left.
async fn open(
    setup: &Setup,
    owner: Id,
    notes: &Path,
) -> Result<(Batcher, Reader, Began), EngineError> {
    let Setup { clock, ids, limits, .. } = setup;
    let store = store_config(setup);
    let opened = Store::open(store.clone(), owner).await?;
    clock.not_before(opened.newest);
    let (why, upgraded) = (Why::of(&opened, notes), opened.upgraded);
    let outbox = Arc::new(limits.outbox.clone());
    let mut batcher = Batcher::start(opened, outbox, setup.faults.clone()).await?;
    let reader = Reader::new(&store);
    let running = slots::read(notes);
    let taken_up = take_over(&mut batcher, &reader, &running, ids, &**clock).await?;
    if setup.pausing == Pausing::FromTheStart {
        pause(&mut batcher, clock.now()).await.map_err(EngineError::Pause)?;
    }
    Ok((batcher, reader, Began { why, taken_up, upgraded }))
}

/// Ends the claims of owners that died, page by page. Returns how many there were.
async fn take_over(
    batcher: &mut Batcher,
    reader: &Reader,
    running: &[Id],
    ids: &Ids,
    clock: &dyn Clock,
) -> Result<usize, EngineError> {
    let mut taken_up = 0;
    loop {
        let orphans = reader.orphans(batcher.owner(), TAKE_OVER_ROWS).await?;
        if orphans.is_empty() {
            return Ok(taken_up);
        }
        taken_up += orphans.len();
        let claims =
            orphans.into_iter().map(|(row, lease)| Claim { row: Arc::new(row), lease }).collect();
        let catalog = batcher.catalog().load_full();
        let settles = takeover::settles(claims, running, &catalog, ids, clock.now());
        let ended = batcher.run(&settles, clock.now(), Room::default()).await;
        let report = ended.map_err(EngineError::TakeOver)?;
        // A row that stayed in a dead owner's hands would wait for the next start, unseen.
        if let Some(Err(refusal)) = report.outcomes.into_iter().find(Result::is_err) {
            return Err(EngineError::NotEnded(refusal));
        }
        if batcher.faults.crashes(CrashPoint::InTakeover) {
            return Err(EngineError::TakeOver(BatchError::Crashed(CrashPoint::InTakeover)));
        }
    }
}

/// Says which secrets have to be set again since their key is gone; everything else works all the same.
async fn tell_lost_secrets(
    catalog: &Catalog,
    reader: &Reader,
    vault: &Vault,
) -> Result<(), EngineError> {
    if !catalog.has_secrets() {
        return Ok(());
    }
    let mut apps: Vec<_> = catalog.apps.values().collect();
    apps.sort_by(|a, b| a.slug.cmp(&b.slug));
    for app in apps {
        let mut lost = Vec::new();
        let mut why = String::new();
        for (name, sealed) in reader.secrets_sealed(app.id).await? {
            if let Err(error) = vault.open(app.id, &name, &sealed) {
                why = vault::told(&error);
                lost.push(name);
            }
        }
        if !lost.is_empty() {
            let lost = lost.join(", ");
            tracing::error!(
                { field::MESSAGE_ID } = message::SECRETS_LOST.0,
                { field::APP } = &*app.slug,
                { field::ERROR } = why,
                "secrets have to be set again, scripts that read them fail: {lost}"
            );
        }
    }
    Ok(())
}

/// Before anything runs: what waits may be what the last daemon died of.
async fn pause(batcher: &mut Batcher, now: Timestamp) -> Result<(), ConfigureError<Infallible>> {
    let plan = |catalog: &Catalog, next, now| {
        let pause = Pause { reason: "started with --paused".into(), since: now, by: None };
        let changes = match catalog.pauses.contains_key(&INSTANCE) {
            true => Vec::new(),
            false => vec![CatalogChange::Pause { target: INSTANCE, pause }],
        };
        Ok((changes, next))
    };
    batcher.configure(plan, now).await.map(drop)
}

impl Engine {
    /// Stops in order: runs may end for as long as `drain`, then the store is closed.
    pub async fn stop(mut self, drain: Duration) -> Result<(), String> {
        let told = |ended: Result<Result<(), WriterError>, _>| match ended {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(_) => Err("the writer has ended without a word".to_owned()),
        };
        self.backups.give_up();
        tokio::select! {
            () = self.dispatcher.stop(drain) => {}
            // What runs can be settled no more.
            ended = &mut self.writer_ended => return told(ended),
        }
        // A query that lasts must not hold up the end; the log is then cut after the next start.
        let read = async {
            self.backups.ended().await;
            self.reader.close().await;
        };
        let _ = tokio::time::timeout(CLOSE_READERS_MAX, read).await;
        self.writer.stop();
        told(self.writer_ended.await)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::flow::Command;
    use crate::flow::accept::Accept;
    use crate::outbox::row::{Lease, OutboxRow};
    use crate::store::tests::{NOW, accept, id, mutate, put, scratch_with_app, task};
    use crate::time::SystemClock;

    #[tokio::test]
    async fn p4_orphans_that_share_a_token_are_all_taken_over_however_many_there_are() {
        let mut scratch = scratch_with_app().await;
        // As sync rows do that are on record before they run.
        let lease = Lease { owner: scratch.owner(), token: 0 };
        let accept = |number| {
            let row = OutboxRow { reply_by: Some(NOW), ..task(number) };
            Command::Accept(Accept { row: Arc::new(row), lease: Some(lease) })
        };
        let commands: Vec<Command> = (0..=TAKE_OVER_ROWS as u128).map(accept).collect();
        scratch.run(&commands, Room::default()).await;
        scratch.restart().await;
        let reader = scratch.reader();
        let (ids, clock) = (Ids::random(), SystemClock::start());
        let taken = take_over(scratch.batcher(), &reader, &[], &ids, &clock).await;
        taken.expect("they are taken over");
        assert_eq!(scratch.count("outbox").await, 0);
    }

    pub(crate) fn setup(folder: &tempfile::TempDir) -> Setup {
        Setup {
            store: folder.path().join("store.db"),
            runtime_directory: folder.path().to_owned(),
            key_file: folder.path().join("secrets.key"),
            backup_folder: folder.path().join("backups"),
            own_addresses: Vec::new(),
            durability: SyncDurability::WithEffects,
            limits: Limits::default(),
            pausing: Pausing::AsStored,
            cores: 1,
            clock: Arc::new(SystemClock::start()),
            ids: Arc::new(Ids::random()),
            groups: Arc::new(Groups::none()),
            faults: Faults::default(),
        }
    }

    #[cfg(feature = "faults")]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_stop_does_not_wait_for_what_a_writer_that_died_cannot_settle() {
        let mut scratch = scratch_with_app().await;
        scratch.run(&[accept(task(1))], Room::default()).await;
        let (folder, batcher) = scratch.into_parts();
        batcher.stop().await.expect("stops in order");
        let dies = Arc::new(|point: CrashPoint| point == CrashPoint::AfterAck);
        let faults = Faults::default().with_hook(dies);
        let engine = start(Setup { faults, ..setup(&folder) }).await.expect("it starts");
        // Once this is told, whatever it is told, the writer is at its end.
        let _ = engine.writer.commit(mutate(2, vec![put("a", "1")])).await;
        let drain = Duration::from_secs(3_600);
        let stopped = tokio::time::timeout(Duration::from_secs(60), engine.stop(drain)).await;
        assert!(stopped.expect("it does not wait").is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_does_not_run_when_the_daemon_starts_paused() {
        let mut scratch = scratch_with_app().await;
        scratch.run(&[accept(task(1))], Room::default()).await;
        let (folder, batcher) = scratch.into_parts();
        batcher.stop().await.expect("stops in order");
        let engine = start(Setup { pausing: Pausing::FromTheStart, ..setup(&folder) })
            .await
            .expect("it starts");
        // By then the writer has looked for what is due.
        engine.writer.commit(mutate(2, vec![put("a", "1")])).await.expect("is durable");
        let row = engine.reader.outbox_row(id(1)).await.expect("reads");
        assert_eq!(row.expect("it waits").lease, None);
        engine.stop(Duration::from_secs(10)).await.expect("stops in order");
    }
}
