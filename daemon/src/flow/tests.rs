//! What each command writes, and what it refuses: whole values, without a store.

mod firing;
mod letters;
mod limits;
mod queueing;
mod settling;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use picloud_scripts_runtime::effect::{Amount, Effect, Key, Read, Space};
use picloud_scripts_runtime::limits::RunLimits;

use crate::catalog::{App, Catalog, CatalogRows, Script};
use crate::entry::{ChangeOp, Entry, EntryKey};
use crate::failure::{Failure, FailureKind};
use crate::faults::Faults;
use crate::flow::accept::Accept;
use crate::flow::facts::{
    Facts, KeptRequest, Keys, LetterEnd, LetterFacts, LineKey, RequestKey, Room, Usage,
};
use crate::flow::mutate::Mutate;
use crate::flow::settle::{Settle, Stored};
use crate::flow::writes::{EntryWrite, LetterWrite, RowWrite, Writes};
use crate::flow::{Command, Kept, Lane, Refusal, claim};
use crate::ids::{AppId, Id, PrincipalId, QueueId, ScriptId, TriggerId};
use crate::limits::OutboxLimits;
use crate::outbox::decide::Action;
use crate::outbox::row::tests::row;
use crate::outbox::row::{AbandonReason, Claim, IdempotencyKey, Lease, OrderKey, OutboxRow};
use crate::outbox::source::{OutboxSourceKind, TriggerDetails};
use crate::retry::RetryPolicy;
use crate::time::Timestamp;
use crate::trigger::{Ordering, Trigger};

pub(super) const NOW: Timestamp = Timestamp(5_000_000);
pub(super) const APP: AppId = AppId(1);
const OWNER: Id = Id(77);
const LEASE: Lease = Lease { owner: OWNER, token: 3 };
pub(super) const FRESH: Id = Id(1 << 90);

fn trigger(id: i64, name: &str, details: TriggerDetails) -> Trigger {
    Trigger {
        id: TriggerId(id),
        app: APP,
        name: name.into(),
        script: "work".into(),
        enabled: true,
        retry: RetryPolicy::default(),
        ordering: Ordering::Any,
        concurrency: None,
        registered_by: PrincipalId(9),
        details,
    }
}

fn docs_trigger(id: i64, glob: &str, ops: &[ChangeOp]) -> Trigger {
    let details = TriggerDetails::Docs { collection_glob: glob.into(), ops: ops.to_vec() };
    trigger(id, &format!("t{id}"), details)
}

fn kv_trigger(id: i64, glob: &str) -> Trigger {
    let details = TriggerDetails::Kv { collection_glob: glob.into(), ops: Vec::new() };
    trigger(id, &format!("t{id}"), details)
}

fn catalog(triggers: Vec<Trigger>) -> Arc<Catalog> {
    let script = Script {
        id: ScriptId(30),
        app: APP,
        name: "work".into(),
        version: 1,
        source: "1".into(),
        limits: RunLimits::default(),
    };
    let app = App {
        id: APP,
        slug: "app".into(),
        host: None,
        allow_hosts: Vec::new(),
        expose_errors: false,
        access: Default::default(),
        revision: 1,
        scripts: HashMap::from([("work".into(), Arc::new(script))]),
        routes: Vec::new(),
    };
    Arc::new(Catalog::build(CatalogRows { apps: vec![app], triggers, ..Default::default() }))
}

pub(super) fn facts(triggers: Vec<Trigger>) -> Facts {
    Facts {
        now: NOW,
        owner: OWNER,
        catalog: catalog(triggers),
        limits: Arc::new(OutboxLimits::default()),
        value_bytes_max: RunLimits::default().value_bytes_max,
        faults: Faults::default(),
        next: 100,
        storage_low: false,
        room: Room { rows: 10, bytes: 1 << 20, app_rows_max: 10, ..Room::default() },
        usage: HashMap::new(),
        letters_open: HashMap::new(),
        entries: HashMap::new(),
        leases: HashMap::from([(row().id, LEASE)]),
        dedupe: HashSet::new(),
        requests: HashMap::new(),
        lines: HashMap::new(),
        letters: HashMap::new(),
        root_replays: HashMap::new(),
        waiting: HashMap::new(),
    }
}

fn key(space: Space, collection: &str, key: &str) -> Key {
    Key { space, collection: collection.into(), key: key.into() }
}

fn at(space: Space, collection: &str, name: &str) -> EntryKey {
    EntryKey { app: APP, key: key(space, collection, name) }
}

fn entry(version: i64, value: &str) -> Entry {
    Entry { version, value: value.into(), expires_at: None, written_by: "".into() }
}

fn settle(row: OutboxRow, effects: Vec<Effect>) -> Settle {
    Settle {
        claim: Claim { row: Arc::new(row), lease: LEASE },
        stored: Stored::Yes,
        action: Action::Complete,
        reads: Vec::new(),
        effects,
        result: None,
        script_version: 2,
        fresh: FRESH,
    }
}

fn plan(settle: &Settle, facts: &Facts) -> Result<Writes, Refusal> {
    Command::Settle(settle.clone()).plan(facts)
}

pub(super) fn inserted(writes: &Writes) -> Vec<&Arc<OutboxRow>> {
    let mut rows: Vec<&Arc<OutboxRow>> = writes
        .rows
        .values()
        .filter_map(|write| match write {
            RowWrite::Insert(row, _) => Some(row),
            RowWrite::Update(_) | RowWrite::Delete => None,
        })
        .collect();
    rows.sort_by_key(|row| row.id);
    rows
}

fn put(space: Space, name: &str, value: &str) -> Effect {
    Effect::Put { key: key(space, "c", name), value: value.into(), ttl_ms: None }
}

fn enqueue(script: &str) -> Effect {
    Effect::Enqueue {
        script: script.into(),
        payload: "7".into(),
        delay_ms: 0,
        order_key: None,
        dedupe: None,
    }
}

/// A task of the script that there is.
fn task(delay_ms: i64, order_key: Option<&str>, dedupe: Option<&str>) -> Effect {
    Effect::Enqueue {
        script: "work".into(),
        payload: "7".into(),
        delay_ms,
        order_key: order_key.map(Into::into),
        dedupe: dedupe.map(Into::into),
    }
}

fn replay(id: u128, payload: Option<&str>) -> Effect {
    let payload = payload.map(Into::into);
    Effect::ReplayDeadLetter { id: Id(id).to_string().into(), payload }
}

fn discard(id: u128) -> Effect {
    Effect::DiscardDeadLetter { id: Id(id).to_string().into(), reason: "x".into() }
}

pub(super) fn letter(id: u128, open: bool) -> (Id, LetterFacts) {
    let dead = OutboxRow { id: Id(500), event: r#"{"payload":1}"#.into(), attempt: 4, ..row() };
    let end = (!open).then_some(LetterEnd::Discarded);
    (Id(id), LetterFacts { app: APP, open, end, row: Arc::new(dead) })
}

fn request() -> IdempotencyKey {
    IdempotencyKey {
        app: APP,
        route: 40,
        principal: PrincipalId(9),
        key: "k".into(),
        body_hash: "h".into(),
    }
}

/// A row with every field set, so that what is made of it shows what it took over.
pub(super) fn laden() -> OutboxRow {
    OutboxRow {
        source: OutboxSourceKind::Http,
        origin: Some(40),
        script: "cause".into(),
        event: r#"{"body":1}"#.into(),
        retry: RetryPolicy { max_attempts: 9, ..RetryPolicy::default() },
        order: Some(OrderKey { key: "line".into(), version: 1 }),
        dedupe: Some("d".into()),
        attempt: 2,
        orphaned: 1,
        depth: 3,
        root: Id(8 << 80),
        cause: Some(Id(9 << 80)),
        reply_by: Some(NOW),
        letter: Some(Id(600)),
        replay_of: Some(Id(601)),
        idempotency: Some(request()),
        ..row()
    }
}
