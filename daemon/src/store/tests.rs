//! Tests of the store on real files. What they share stands here.

use std::sync::Arc;

use picloud_scripts_runtime::effect::{Effect, Key, Space};
use picloud_scripts_runtime::limits::RunLimits;
use sqlx::SqliteConnection;
use tempfile::TempDir;

use crate::catalog::Script;
use crate::entry::EntryKey;
use crate::faults::Faults;
use crate::flow::accept::Accept;
use crate::flow::configure::{AppFields, CatalogChange};
use crate::flow::facts::Room;
use crate::flow::mutate::Mutate;
use crate::flow::settle::{Settle, Stored};
use crate::flow::{Command, Refusal};
use crate::ids::{AppId, Id, PrincipalId, QueueId, ScriptId, TriggerId};
use crate::limits::OutboxLimits;
use crate::outbox::decide::Action;
use crate::outbox::row::{Claim, OutboxRow};
use crate::outbox::source::TriggerDetails;
use crate::retry::RetryPolicy;
use crate::route::access::Access;
use crate::store::batch::{BatchReport, Batcher};
use crate::store::open::{Store, StoreConfig};
use crate::store::read::Reader;
use crate::time::Timestamp;
use crate::trigger::{Ordering, Trigger};

mod batches;
mod both;
mod configuring;
#[cfg(feature = "faults")]
mod crashing;
mod full;
mod managing;
mod opening;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "in its own crate it is public, and others use more of it"
)]
#[path = "../../../tests/src/postgres.rs"]
mod postgres;
mod purging;
mod reading;
mod schedules;
mod showing;
mod timing;
mod upgrading;
mod writing;

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);
pub(crate) const APP: AppId = AppId(1);
pub(crate) const SCRIPT: ScriptId = ScriptId(2);
pub(crate) const QUEUE: QueueId = QueueId(2);

/// A store in a folder of its own that goes when the test ends.
pub(crate) struct Scratch {
    pub(crate) folder: TempDir,
    batcher: Option<Batcher>,
    pub(crate) faults: Faults,
    /// The instance's limits from the next start on.
    pub(crate) run_limits: RunLimits,
    starts: u128,
}

pub(crate) fn config(folder: &TempDir) -> StoreConfig {
    StoreConfig::at(folder.path().join("store.db"))
}

pub(crate) async fn scratch() -> Scratch {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut scratch = Scratch {
        folder,
        batcher: None,
        faults: Faults::default(),
        run_limits: RunLimits::default(),
        starts: 0,
    };
    scratch.start().await;
    scratch
}

/// A scratch store with an app that has one script.
pub(crate) async fn scratch_with_app() -> Scratch {
    let mut scratch = scratch().await;
    let changes = vec![
        CatalogChange::PutApp(AppFields {
            id: APP,
            slug: "greenhouse".into(),
            host: None,
            allow_hosts: vec!["api.example.org".into()],
            expose_errors: false,
            access: Access { auth: None, rate: "10/s".parse().ok() },
            revision: 0,
        }),
        CatalogChange::PutScript(Script {
            id: SCRIPT,
            app: APP,
            name: "work".into(),
            version: 1,
            source: "1".into(),
            limits: RunLimits::default(),
        }),
    ];
    scratch.configure(changes, 100).await;
    scratch
}

impl Scratch {
    pub(crate) fn batcher(&mut self) -> &mut Batcher {
        self.batcher.as_mut().expect("is started")
    }

    pub(crate) fn into_parts(mut self) -> (TempDir, Batcher) {
        (self.folder, self.batcher.take().expect("is started"))
    }

    pub(crate) fn conn(&mut self) -> &mut SqliteConnection {
        self.batcher().conn.sqlite()
    }

    pub(crate) fn owner(&self) -> Id {
        Id(self.starts)
    }

    async fn start(&mut self) {
        self.starts += 1;
        let config = StoreConfig { run: self.run_limits.clone(), ..config(&self.folder) };
        let store = Store::open(config, self.owner()).await.expect("opens");
        let limits = Arc::new(OutboxLimits::default());
        let batcher = Batcher::start(store, limits, self.faults.clone()).await;
        self.batcher = Some(batcher.expect("starts"));
    }

    /// As after a crash: nothing is put in order before.
    pub(crate) async fn restart(&mut self) {
        drop(self.batcher.take());
        self.start().await;
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::new(&config(&self.folder))
    }

    pub(crate) async fn configure(&mut self, changes: Vec<CatalogChange>, next: i64) {
        let plan = |_: &_, _, _| Ok::<_, std::convert::Infallible>((changes, next));
        self.batcher().configure(plan, NOW).await.expect("is configured");
    }

    pub(crate) async fn run(&mut self, commands: &[Command], room: Room) -> BatchReport {
        self.run_at(commands, room, NOW).await
    }

    pub(crate) async fn run_at(
        &mut self,
        commands: &[Command],
        room: Room,
        now: Timestamp,
    ) -> BatchReport {
        self.batcher().run(commands, now, room).await.expect("is no fatal error")
    }

    pub(crate) async fn count(&mut self, table: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(sql).fetch_one(self.conn()).await.expect("counts")
    }

    /// Sizes of the files, to see that nothing is written.
    pub(crate) fn file_bytes(&self) -> Vec<(u64, std::time::SystemTime)> {
        let found = |name: &str| {
            let found = std::fs::metadata(self.folder.path().join(name)).expect("is there");
            (found.len(), found.modified().expect("has a time"))
        };
        vec![found("store.db"), found("store.db-wal")]
    }
}

pub(crate) fn room(rows: usize) -> Room {
    Room { rows, bytes: 64 << 20, app_rows_max: rows, ..Room::default() }
}

pub(crate) fn id(number: u128) -> Id {
    Id(((u128::from(NOW.0.unsigned_abs())) << 80) + (number << 20))
}

pub(crate) fn task(number: u128) -> OutboxRow {
    OutboxRow {
        id: id(number),
        app: APP,
        queue: QUEUE,
        root: id(number),
        first: id(number),
        event: format!(r#"{{"payload":{{"n":{number},"text":"a \"quoted\" \u00fc"}}}}"#).into(),
        available_at: NOW,
        ..crate::outbox::row::tests::row()
    }
}

pub(crate) fn accept(row: OutboxRow) -> Command {
    Command::Accept(Accept { row: Arc::new(row), lease: None })
}

pub(crate) fn settle(claim: &Claim, action: Action, effects: Vec<Effect>) -> Command {
    Command::Settle(Settle {
        claim: claim.clone(),
        stored: Stored::Yes,
        action,
        reads: Vec::new(),
        effects,
        result: None,
        script_version: 1,
        fresh: Id(claim.row.id.0 + (1 << 100)),
    })
}

pub(crate) fn key(name: &str) -> Key {
    Key { space: Space::Kv, collection: "readings".into(), key: name.into() }
}

pub(crate) fn entry_key(name: &str) -> EntryKey {
    EntryKey { app: APP, key: key(name) }
}

pub(crate) fn put(name: &str, value: &str) -> Effect {
    Effect::Put { key: key(name), value: value.into(), ttl_ms: None }
}

pub(crate) fn mutate(number: u128, effects: Vec<Effect>) -> Command {
    Command::Mutate(Mutate {
        id: id(number),
        app: APP,
        principal: PrincipalId(9),
        reads: Vec::new(),
        effects,
    })
}

pub(crate) fn kv_trigger(number: i64, ordering: Ordering) -> Trigger {
    Trigger {
        id: TriggerId(number),
        app: APP,
        name: format!("trigger-{number}").into(),
        script: "work".into(),
        enabled: true,
        retry: RetryPolicy::default(),
        ordering,
        concurrency: None,
        registered_by: PrincipalId(9),
        details: TriggerDetails::Kv { collection_glob: "read*".into(), ops: Vec::new() },
    }
}

pub(crate) fn store_failed(outcome: &Result<(), Refusal>) -> bool {
    matches!(outcome, Err(Refusal::StoreFailed(_)))
}

/// Action and object of what is on record in a store that nobody has open, the oldest first.
pub(crate) async fn audit_of(path: &std::path::Path) -> Vec<(String, String)> {
    use sqlx::Connection as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut conn = SqliteConnection::connect_with(&options).await.expect("opens");
    let query = sqlx::query_as("SELECT action, object FROM audit ORDER BY id");
    query.fetch_all(&mut conn).await.expect("reads")
}
