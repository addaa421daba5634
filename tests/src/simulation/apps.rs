//! The two apps of the simulation: what is configured in them, and a store that holds it.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use picloud_daemon::catalog::Script;
use picloud_daemon::entry::ChangeOp;
use picloud_daemon::faults::Faults;
use picloud_daemon::flow::configure::{AppFields, CatalogChange};
use picloud_daemon::ids::{AppId, Id, PrincipalId, RouteId, ScriptId, TriggerId};
use picloud_daemon::limits::OutboxLimits;
use picloud_daemon::outbox::source::{OutboxSourceKind, TriggerDetails};
use picloud_daemon::retry::{Backoff, RetryPolicy};
use picloud_daemon::store::batch::Batcher;
use picloud_daemon::store::open::{Store, StoreConfig};
use picloud_daemon::time::Timestamp;
use picloud_daemon::trigger::{Ordering, Trigger};
use picloud_scripts_runtime::effect::Space;
use picloud_scripts_runtime::limits::RunLimits;

/// When the simulated world begins.
pub const BEGIN: Timestamp = Timestamp(1_700_000_000_000);
/// How many numbers of the counter one app takes.
const APP_NUMBERS: i64 = 20;
/// Apps in the world.
pub const APPS: [AppId; 2] = [AppId(1), AppId(1 + APP_NUMBERS)];
/// Whoever deployed them.
pub const OWNER: PrincipalId = PrincipalId(900);

/// A trigger on changes, as the simulation itself understands it.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    pub space: Space,
    pub collection: &'static str,
    /// Empty: any.
    pub ops: &'static [ChangeOp],
    pub ordering: Ordering,
    pub concurrency: Option<u32>,
}

/// The triggers of each app. Place in this list is the offset of their numbers.
pub const WATCHES: [Watch; 6] = [
    Watch {
        space: Space::Kv,
        collection: "kv",
        ops: &[],
        ordering: Ordering::Any,
        concurrency: None,
    },
    Watch {
        space: Space::Kv,
        collection: "line",
        ops: &[],
        ordering: Ordering::ByKey,
        concurrency: None,
    },
    Watch {
        space: Space::Docs,
        collection: "docs",
        ops: &[ChangeOp::Create, ChangeOp::Delete],
        ordering: Ordering::Any,
        concurrency: None,
    },
    Watch {
        space: Space::Docs,
        collection: "docs",
        ops: &[],
        ordering: Ordering::ByKey,
        concurrency: None,
    },
    Watch {
        space: Space::Kv,
        collection: "one",
        ops: &[],
        ordering: Ordering::Any,
        concurrency: Some(1),
    },
    Watch {
        space: Space::Kv,
        collection: "deep",
        ops: &[ChangeOp::Set],
        ordering: Ordering::Any,
        concurrency: None,
    },
];

pub fn sync_route(app: AppId) -> RouteId {
    RouteId(app.0 + 1)
}

pub fn async_route(app: AppId) -> RouteId {
    RouteId(app.0 + 2)
}

pub fn work(app: AppId) -> ScriptId {
    ScriptId(app.0 + 3)
}

fn handle(app: AppId) -> ScriptId {
    ScriptId(app.0 + 4)
}

/// The handler of dead letters: in the first app of all, in the second of tasks only.
pub fn letter_trigger(app: AppId) -> TriggerId {
    TriggerId(app.0 + 5)
}

pub fn handles(app: AppId, source: &str) -> bool {
    app == APPS[0] || source == OutboxSourceKind::Task.as_str()
}

pub fn watch_trigger(app: AppId, place: usize) -> TriggerId {
    TriggerId(app.0 + 6 + i64::try_from(place).expect("few triggers"))
}

/// Small limits, so that the simulation meets them.
pub fn limits() -> OutboxLimits {
    OutboxLimits {
        app_rows_max: 24,
        app_delayed_max: 2,
        settle_rows_max: 5,
        trigger_depth_max: 5,
        open_letters_max: 6,
        ..OutboxLimits::default()
    }
}

pub fn policy(backoff: Backoff, max_attempts: u32) -> RetryPolicy {
    RetryPolicy { max_attempts, backoff, base_ms: 1_000, max_delay_ms: 3_000, jitter: 0.2 }
}

/// A trigger as it is deployed; `enabled` is what the simulation switches.
pub fn trigger(app: AppId, place: usize, enabled: Enabled) -> Trigger {
    let watch = WATCHES[place];
    let details = match watch.space {
        Space::Kv => {
            TriggerDetails::Kv { collection_glob: watch.collection.into(), ops: watch.ops.to_vec() }
        }
        Space::Docs => TriggerDetails::Docs {
            collection_glob: watch.collection.into(),
            ops: watch.ops.to_vec(),
        },
    };
    Trigger {
        id: watch_trigger(app, place),
        app,
        name: format!("watch-{place}").into(),
        script: "work".into(),
        enabled: enabled == Enabled::Yes,
        retry: policy(Backoff::Exponential, 3),
        ordering: watch.ordering,
        concurrency: watch.concurrency,
        registered_by: OWNER,
        details,
    }
}

/// Whether a trigger matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    Yes,
    No,
}

fn deploy(app: AppId, changes: &mut Vec<CatalogChange>) {
    changes.push(CatalogChange::PutApp(AppFields {
        id: app,
        slug: format!("app-{app}").into(),
        host: None,
        allow_hosts: Vec::new(),
        expose_errors: false,
        access: Default::default(),
        revision: 0,
    }));
    for (id, name) in [(work(app), "work"), (handle(app), "handle")] {
        changes.push(CatalogChange::PutScript(script(id, app, name, 1)));
    }
    let handler = Trigger {
        id: letter_trigger(app),
        name: "letters".into(),
        script: "handle".into(),
        ordering: Ordering::Any,
        concurrency: None,
        details: TriggerDetails::DeadLetter {
            source: (app != APPS[0]).then_some(OutboxSourceKind::Task),
            trigger: None,
        },
        ..trigger(app, 0, Enabled::Yes)
    };
    changes.push(CatalogChange::PutTrigger(handler));
    for place in 0..WATCHES.len() {
        changes.push(CatalogChange::PutTrigger(trigger(app, place, Enabled::Yes)));
    }
}

pub fn script(id: ScriptId, app: AppId, name: &str, version: i64) -> Script {
    Script { id, app, name: name.into(), version, source: "1".into(), limits: RunLimits::default() }
}

/// The bytes of a store in which both apps are deployed, made once for all seeds.
pub async fn store_image(folder: &Path) -> Vec<u8> {
    let path = folder.join("image.db");
    let store = Store::open(StoreConfig::at(&path), Id(1)).await.expect("a new store opens");
    let limits = Arc::new(limits());
    let mut batcher = Batcher::start(store, limits, Faults::default()).await.expect("it starts");
    let plan = |_: &_, _: i64, _| {
        let mut changes = Vec::new();
        for app in APPS {
            deploy(app, &mut changes);
        }
        Ok::<_, Infallible>((changes, 1_000))
    };
    batcher.configure(plan, BEGIN).await.expect("both apps can be deployed");
    batcher.stop().await.expect("it stops");
    std::fs::read(&path).expect("the store is a file")
}
