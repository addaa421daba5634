//! What each command writes, and what it refuses: whole values, without a store.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use picloud_scripts_runtime::effect::{Amount, Effect, Key, Read, Space};
use picloud_scripts_runtime::limits::RunLimits;

use crate::catalog::{App, Catalog, CatalogRows, Script};
use crate::entry::{ChangeOp, Entry, EntryKey};
use crate::failure::{Failure, FailureKind};
use crate::faults::Faults;
use crate::flow::accept::Accept;
use crate::flow::facts::{Facts, KeptRequest, Keys, LetterFacts, LineKey, RequestKey, Room, Usage};
use crate::flow::mutate::Mutate;
use crate::flow::settle::{Settle, Stored};
use crate::flow::writes::{EntryWrite, LetterWrite, RowWrite, Writes};
use crate::flow::{Command, Kept, Lane, Refusal, claim};
use crate::ids::{AppId, Id, PrincipalId, QueueId, ScriptId, TriggerId};
use crate::limits::OutboxLimits;
use crate::outbox::decide::Action;
use crate::outbox::row::tests::row;
use crate::outbox::row::{
    AbandonReason, Claim, IdempotencyKey, Lease, OrderKey, OutboxRow, OutboxSourceKind,
};
use crate::retry::RetryPolicy;
use crate::time::Timestamp;
use crate::trigger::{Ordering, Trigger, TriggerDetails};

const NOW: Timestamp = Timestamp(5_000_000);
const APP: AppId = AppId(1);
const OWNER: Id = Id(77);
const LEASE: Lease = Lease { owner: OWNER, token: 3 };
const FRESH: Id = Id(1 << 90);

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
        revision: 1,
        scripts: HashMap::from([("work".into(), Arc::new(script))]),
        routes: Vec::new(),
    };
    Arc::new(Catalog::build(CatalogRows { apps: vec![app], triggers, ..Default::default() }))
}

fn facts(triggers: Vec<Trigger>) -> Facts {
    Facts {
        now: NOW,
        owner: OWNER,
        catalog: catalog(triggers),
        limits: Arc::new(OutboxLimits::default()),
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

fn inserted(writes: &Writes) -> Vec<&Arc<OutboxRow>> {
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

#[test]
fn p2_effects_the_rows_they_trigger_and_the_rows_end_are_one_write() {
    let facts = facts(vec![docs_trigger(20, "c*", &[])]);
    let writes = plan(&settle(row(), vec![put(Space::Docs, "a", "1")]), &facts).expect("planned");
    let written = &writes.entries[&at(Space::Docs, "c", "a")];
    let EntryWrite::Put(written) = written else { panic!("{written:?}") };
    assert_eq!((written.version, &*written.value), (100, "1"));
    assert!(matches!(writes.rows[&row().id], RowWrite::Delete));
    let [made] = inserted(&writes)[..] else { panic!("{writes:?}") };
    assert_eq!(
        (made.queue, made.source, made.depth, made.cause, made.root, made.principal),
        (QueueId(20), OutboxSourceKind::Docs, 1, Some(row().id), row().root, PrincipalId(9)),
    );
    assert_eq!(
        &*made.event,
        r#"{"op":"create","collection":"c","id":"a","data":1,"prev_data":null}"#
    );
    assert_eq!(writes.usage[&APP].rows, 0, "one row more, one less");
}

#[test]
fn p3_a_settle_without_the_lease_writes_nothing() {
    let mut facts = facts(Vec::new());
    facts.leases.insert(row().id, Lease { token: 4, ..LEASE });
    let late = settle(row(), vec![put(Space::Kv, "a", "1")]);
    assert_eq!(plan(&late, &facts).map(drop), Err(Refusal::LeaseLost));
    facts.leases.clear();
    assert_eq!(plan(&late, &facts).map(drop), Err(Refusal::LeaseLost));
}

#[test]
fn p2_a_run_that_read_what_has_changed_since_writes_nothing() {
    let mut facts = facts(Vec::new());
    facts.entries.insert(at(Space::Kv, "c", "a"), entry(7, "1"));
    let read = |version| Read { key: key(Space::Kv, "c", "a"), version };
    for (version, expected) in
        [(7, Ok(())), (6, Err(Refusal::Conflict)), (0, Err(Refusal::Conflict))]
    {
        let run =
            Settle { reads: vec![read(version)], ..settle(row(), vec![put(Space::Kv, "b", "1")]) };
        assert_eq!(plan(&run, &facts).map(drop), expected, "version {version}");
    }
    facts.entries.clear();
    let run = Settle { reads: vec![read(0)], ..settle(row(), Vec::new()) };
    assert_eq!(plan(&run, &facts).map(drop), Ok(()), "absent is 0");
}

#[test]
fn an_expired_entry_is_absent() {
    let mut facts = facts(Vec::new());
    let expired = Entry { expires_at: Some(NOW), ..entry(7, "41") };
    facts.entries.insert(at(Space::Kv, "c", "a"), expired);
    let by = Amount::Integer(1);
    let effect = Effect::Increment { key: key(Space::Kv, "c", "a"), by };
    let writes = plan(&settle(row(), vec![effect]), &facts).expect("planned");
    let EntryWrite::Put(entry) = &writes.entries[&at(Space::Kv, "c", "a")] else { panic!() };
    assert_eq!((&*entry.value, entry.expires_at), ("1", None));
}

#[test]
fn values_before_and_after_are_those_of_the_commit() {
    let mut facts = facts(vec![kv_trigger(20, "c")]);
    facts.entries.insert(at(Space::Kv, "c", "n"), entry(7, "40"));
    let add = |by| Effect::Increment { key: key(Space::Kv, "c", "n"), by };
    let effects = vec![add(Amount::Integer(1)), add(Amount::Integer(1)), add(Amount::Float(0.5))];
    let writes = plan(&settle(row(), effects), &facts).expect("planned");
    let events: Vec<&str> = inserted(&writes).iter().map(|row| &*row.event).collect();
    let event = |value, prev| {
        format!(r#"{{"op":"set","collection":"c","key":"n","value":{value},"prev_value":{prev}}}"#)
    };
    assert_eq!(events, [event("41", "40"), event("42", "41"), event("42.5", "42")]);
}

#[test]
fn what_cannot_be_applied_fails_the_whole_run_and_says_where() {
    let mut facts = facts(Vec::new());
    facts.entries.insert(at(Space::Kv, "c", "text"), entry(7, "\"x\""));
    facts.entries.insert(at(Space::Kv, "c", "max"), entry(8, "9223372036854775807"));
    let add = |name| Effect::Increment { key: key(Space::Kv, "c", name), by: Amount::Integer(1) };
    let patch =
        |patch: &str| Effect::Patch { key: key(Space::Docs, "c", "gone"), patch: patch.into() };
    let big = format!("\"{}\"", "x".repeat(300 << 10));
    for (effect, expected) in [
        (add("text"), "c/text holds no number, so nothing can be added to it"),
        (add("max"), "c/max would leave the range of 64-bit integers"),
        (patch("{}"), "c/gone is gone, nothing to update"),
        (put(Space::Docs, "big", &big), "c/big would have more than 262144 bytes"),
        (enqueue("nobody"), "app has no script \"nobody\""),
    ] {
        let refusal = plan(&settle(row(), vec![effect]), &facts).expect_err("refused");
        assert_eq!(refusal.to_string(), expected);
    }
}

#[test]
fn a_patch_merges_as_rfc_7396_says() {
    let cases = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
        (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ];
    for (old, patch, expected) in cases {
        let mut facts = facts(Vec::new());
        facts.entries.insert(at(Space::Docs, "c", "a"), entry(7, old));
        let effect = Effect::Patch { key: key(Space::Docs, "c", "a"), patch: patch.into() };
        let writes = plan(&settle(row(), vec![effect]), &facts).expect("planned");
        let EntryWrite::Put(entry) = &writes.entries[&at(Space::Docs, "c", "a")] else { panic!() };
        assert_eq!(&*entry.value, expected, "{old} with {patch}");
    }
}

#[test]
fn deleting_what_is_absent_is_no_change() {
    let facts = facts(vec![kv_trigger(20, "*")]);
    let effect = Effect::Delete { key: key(Space::Kv, "c", "a") };
    let writes = plan(&settle(row(), vec![effect]), &facts).expect("planned");
    assert!(writes.entries.is_empty() && inserted(&writes).is_empty());
}

#[test]
fn a_change_makes_one_row_for_each_trigger_that_fits() {
    let facts = facts(vec![
        docs_trigger(20, "c", &[]),
        docs_trigger(21, "c", &[ChangeOp::Create]),
        docs_trigger(22, "c", &[ChangeOp::Update, ChangeOp::Delete]),
        docs_trigger(23, "other", &[]),
        kv_trigger(24, "c"),
        Trigger { enabled: false, ..docs_trigger(25, "c", &[]) },
    ]);
    let writes = plan(&settle(row(), vec![put(Space::Docs, "a", "1")]), &facts).expect("planned");
    let mut queues: Vec<i64> = inserted(&writes).iter().map(|row| row.queue.0).collect();
    queues.sort_unstable();
    assert_eq!(queues, [20, 21]);
}

#[test]
fn p7_a_run_that_would_make_too_many_rows_fails_whole() {
    let triggers = (0..1_000).map(|id| docs_trigger(1_000 + id, "*", &[])).collect();
    let facts = facts(triggers);
    let effects = |count: usize| {
        (0..count).map(|n| put(Space::Docs, &format!("d{n}"), "1")).collect::<Vec<_>>()
    };
    assert_eq!(
        inserted(&plan(&settle(row(), effects(10)), &facts).expect("planned")).len(),
        10_000
    );
    let refusal = plan(&settle(row(), effects(11)), &facts).expect_err("refused");
    assert!(matches!(refusal, Refusal::FanOut { rows: 10_001, .. }), "{refusal:?}");
    let heavy = vec![put(Space::Docs, "a", &format!("\"{}\"", "x".repeat(20_000)))];
    let refusal = plan(&settle(row(), heavy), &facts).expect_err("refused");
    assert!(matches!(refusal, Refusal::FanOut { bytes: 16_777_217.., .. }), "{refusal:?}");
}

#[test]
fn p7_a_full_app_accepts_nothing_more_and_its_runs_that_add_rows_fail_whole() {
    let mut facts = facts(Vec::new());
    facts.usage.insert(APP, Usage { rows: 1_000_000, bytes: 5, delayed: 0 });
    let full = Refusal::AppFull { rows: 1_000_000, bytes: 5 };
    let accept = Accept { row: Arc::new(OutboxRow { id: Id(5), ..row() }), lease: None };
    assert_eq!(Command::Accept(accept).plan(&facts).map(drop), Err(full.clone()));
    let run = settle(row(), vec![enqueue("work"), enqueue("work")]);
    assert_eq!(plan(&run, &facts).map(drop), Err(full));
    assert_eq!(plan(&settle(row(), Vec::new()), &facts).map(drop), Ok(()), "ending rows goes on");
}

#[test]
fn a_delayed_task_begins_a_chain_of_its_own_and_is_counted() {
    let mut facts = facts(Vec::new());
    let deep = || OutboxRow { depth: 9, ..row() };
    let delayed = |delay_ms| {
        let Effect::Enqueue { script, payload, order_key, dedupe, .. } = enqueue("work") else {
            panic!()
        };
        Effect::Enqueue { script, payload, delay_ms, order_key, dedupe }
    };
    let writes =
        plan(&settle(deep(), vec![delayed(999), delayed(1_000)]), &facts).expect("planned");
    let made: Vec<(u32, Timestamp)> =
        inserted(&writes).iter().map(|row| (row.depth, row.available_at)).collect();
    assert_eq!(made, [(10, NOW.plus_ms(999)), (0, NOW.plus_ms(1_000))]);
    assert_eq!(writes.usage[&APP].delayed, 1);
    facts.usage.insert(APP, Usage { rows: 1_000, bytes: 0, delayed: 1_000 });
    let refusal = plan(&settle(deep(), vec![delayed(1_000)]), &facts).expect_err("refused");
    assert_eq!(refusal, Refusal::TooManyDelayed { max: 1_000 });
}

#[test]
fn dedupe_drops_a_task_while_one_waits_for_its_first_start() {
    let mut facts = facts(Vec::new());
    let once = || Effect::Enqueue {
        script: "work".into(),
        payload: "7".into(),
        delay_ms: 0,
        order_key: None,
        dedupe: Some("d".into()),
    };
    let writes = plan(&settle(row(), vec![once(), once()]), &facts).expect("planned");
    assert_eq!(inserted(&writes).len(), 1, "the second of one run is dropped");
    facts.absorb(&writes);
    let other = OutboxRow { id: Id(2 << 80), ..row() };
    facts.leases.insert(other.id, LEASE);
    let writes = plan(&settle(other, vec![once()]), &facts).expect("planned");
    assert_eq!(inserted(&writes).len(), 0, "the next command of the batch sees it");
}

#[test]
fn rows_of_one_key_stand_in_line_and_the_next_becomes_due_when_the_first_ends() {
    let mut facts =
        facts(vec![Trigger { ordering: Ordering::ByKey, ..docs_trigger(20, "c", &[]) }]);
    let writes =
        plan(&settle(row(), vec![put(Space::Docs, "a", "1"), put(Space::Docs, "a", "2")]), &facts)
            .expect("planned");
    let made: Vec<OutboxRow> = inserted(&writes).iter().map(|row| OutboxRow::clone(row)).collect();
    assert_eq!((made[0].available_at, made[1].available_at), (NOW, NOW.held()));
    facts.absorb(&writes);
    facts.leases.insert(made[0].id, LEASE);
    let writes = plan(&settle(made[0].clone(), Vec::new()), &facts).expect("planned");
    let RowWrite::Update(next) = &writes.rows[&made[1].id] else { panic!("{writes:?}") };
    assert_eq!((next.available_at, next.lease), (NOW, None));
}

#[test]
fn a_task_that_was_put_off_keeps_its_delay_behind_another_of_its_key() {
    let mut facts = facts(Vec::new());
    let ordered = |delay_ms| Effect::Enqueue {
        script: "work".into(),
        payload: "7".into(),
        delay_ms,
        order_key: Some("k".into()),
        dedupe: None,
    };
    let writes = plan(&settle(row(), vec![ordered(0), ordered(60_000)]), &facts).expect("planned");
    let made: Vec<OutboxRow> = inserted(&writes).iter().map(|row| OutboxRow::clone(row)).collect();
    facts.absorb(&writes);
    facts.leases.insert(made[0].id, LEASE);
    let writes = plan(&settle(made[0].clone(), Vec::new()), &facts).expect("planned");
    let RowWrite::Update(next) = &writes.rows[&made[1].id] else { panic!("{writes:?}") };
    assert_eq!(next.available_at, NOW.plus_ms(60_000));
}

#[test]
fn p6_one_suspect_is_claimed_at_a_time() {
    let mut facts = facts(Vec::new());
    let suspect = |id| Arc::new(OutboxRow { id: Id(id), orphaned: 4, ..row() });
    let innocent = Arc::new(OutboxRow { id: Id(3), ..row() });
    let rows = vec![suspect(1), suspect(2), Arc::clone(&innocent)];
    let (_, claims) = claim::plan(rows, &mut facts);
    let ids: Vec<Id> = claims.iter().map(|claim| claim.row.id).collect();
    assert_eq!(ids, [Id(1), Id(3)]);
    assert_eq!(claim::plan(vec![suspect(2)], &mut facts).1.len(), 0);
}

#[test]
fn a_row_that_was_not_the_first_of_its_line_leaves_it_quietly() {
    let mut facts = facts(Vec::new());
    let line = LineKey { queue: row().queue, key: "k".into() };
    let second = OutboxRow { order: Some(OrderKey { key: "k".into(), version: 2 }), ..row() };
    facts
        .lines
        .insert(line, VecDeque::from([(Id(1), NOW), (second.id, NOW.held()), (Id(3), NOW.held())]));
    let writes = plan(&settle(second, Vec::new()), &facts).expect("planned");
    assert_eq!(writes.rows.len(), 1, "the first one may be running: {writes:?}");
}

#[test]
fn p4_a_dead_letter_is_made_with_a_row_for_each_of_its_handlers() {
    let details = |source, trigger: Option<&str>| TriggerDetails::DeadLetter {
        source,
        trigger: trigger.map(Into::into),
    };
    let facts = facts(vec![
        docs_trigger(20, "c", &[]),
        trigger(21, "any", details(None, None)),
        trigger(22, "docs", details(Some(OutboxSourceKind::Docs), None)),
        trigger(23, "kv", details(Some(OutboxSourceKind::Kv), None)),
        trigger(24, "t20", details(None, Some("t20"))),
        trigger(25, "other", details(None, Some("other"))),
    ]);
    let dead = OutboxRow {
        source: OutboxSourceKind::Docs,
        origin: Some(20),
        event: r#"{"id":"a"}"#.into(),
        attempt: 4,
        ..row()
    };
    let failure = Failure::new(FailureKind::Threw, "no");
    let action = Action::DeadLetter { failure: failure.clone() };
    let writes =
        plan(&Settle { action, ..settle(dead.clone(), Vec::new()) }, &facts).expect("planned");
    let [letter] = &writes.letters[..] else { panic!("{writes:?}") };
    assert_eq!((&*letter.row, &letter.failure, letter.attempts), (&dead, &failure, 5));
    assert_eq!(letter.script_version, 2);
    let handlers = inserted(&writes);
    let mut queues: Vec<i64> = handlers.iter().map(|row| row.queue.0).collect();
    queues.sort_unstable();
    assert_eq!(queues, [21, 22, 24]);
    assert!(handlers.iter().all(|row| row.letter == Some(letter.id) && row.depth == 1));
    let event: serde_json::Value = serde_json::from_str(&handlers[0].event).expect("JSON");
    assert_eq!(
        event,
        serde_json::json!({
            "id": letter.id.to_string(), "source": "docs", "event": {"id": "a"}, "attempts": 5,
            "error": {"kind": "threw", "message": "no"}, "first_at": dead.created_at().0, "last_at": NOW.0,
        })
    );
}

#[test]
fn p4_a_row_of_a_full_app_can_die_and_its_handler_is_kept() {
    let details = TriggerDetails::DeadLetter { source: None, trigger: None };
    let mut facts = facts(vec![trigger(40, "handler", details)]);
    facts.limits = Arc::new(OutboxLimits { app_rows_max: 1, ..OutboxLimits::default() });
    facts.usage.insert(APP, Usage { rows: 1, bytes: 200, delayed: 0 });
    let action = Action::DeadLetter { failure: Failure::new(FailureKind::Threw, "no") };
    let writes = plan(&Settle { action, ..settle(row(), Vec::new()) }, &facts).expect("planned");
    assert_eq!((writes.letters.len(), writes.rows.len()), (1, 2));
}

#[test]
fn p7_a_queue_full_of_dead_letters_is_paused() {
    let mut facts = facts(Vec::new());
    let action = Action::DeadLetter { failure: Failure::new(FailureKind::Threw, "no") };
    let dies = Settle { action, ..settle(row(), Vec::new()) };
    facts.letters_open.insert(row().queue, 998);
    assert!(plan(&dies, &facts).expect("planned").pauses.is_empty());
    facts.letters_open.insert(row().queue, 999);
    let writes = plan(&dies, &facts).expect("planned");
    assert_eq!(
        writes.pauses[&row().queue],
        "1000 dead letters are open: resolve them, then resume"
    );
}

fn letter(id: u128, open: bool) -> (Id, LetterFacts) {
    let dead = OutboxRow { id: Id(500), event: r#"{"payload":1}"#.into(), attempt: 4, ..row() };
    (Id(id), LetterFacts { app: APP, open, replays_of_root: 0, row: Arc::new(dead) })
}

#[test]
fn a_letter_is_replayed_once_by_a_new_row() {
    let mut facts = facts(Vec::new());
    facts.letters.extend([letter(600, true), letter(601, false)]);
    let replay = |id: u128, payload: Option<&str>| Effect::ReplayDeadLetter {
        id: Id(id).to_string().into(),
        payload: payload.map(Into::into),
    };
    let handler = OutboxRow { depth: 3, letter: Some(Id(600)), ..row() };
    let writes =
        plan(&settle(handler.clone(), vec![replay(600, Some("2"))]), &facts).expect("planned");
    let [made] = inserted(&writes)[..] else { panic!("{writes:?}") };
    assert_eq!(
        (&*made.event, made.attempt, made.depth, made.replay_of),
        (r#"{"payload":2}"#, 0, 4, Some(Id(600)))
    );
    assert_eq!(writes.letter_marks[&Id(600)], LetterWrite::Replayed { by: made.id, at: NOW });
    for (effects, reason) in [
        (vec![replay(601, None)], "was resolved already"),
        (vec![replay(600, None), replay(600, None)], "was resolved already"),
        (vec![replay(999, None)], "is not known in this app"),
    ] {
        let refusal = plan(&settle(handler.clone(), effects), &facts).expect_err("refused");
        assert!(refusal.to_string().ends_with(reason), "{refusal}");
    }
    facts.letters.get_mut(&Id(600)).expect("known").replays_of_root = 3;
    let refusal = plan(&settle(handler, vec![replay(600, None)]), &facts).expect_err("refused");
    assert!(refusal.to_string().contains("3 times already"), "{refusal}");
}

#[test]
fn p8_a_letter_of_another_app_is_not_known() {
    let mut facts = facts(Vec::new());
    let (id, mut letter) = letter(600, true);
    letter.app = AppId(2);
    facts.letters.insert(id, letter);
    let effect = Effect::DiscardDeadLetter { id: id.to_string().into(), reason: "x".into() };
    let refusal = plan(&settle(row(), vec![effect]), &facts).expect_err("refused");
    assert!(refusal.to_string().ends_with("is not known in this app"));
}

#[test]
fn each_action_ends_the_row_in_its_own_way() {
    let facts = facts(Vec::new());
    let failure = || Failure::new(FailureKind::Threw, "no");
    let end = |action| {
        let writes =
            plan(&Settle { action, ..settle(row(), Vec::new()) }, &facts).expect("planned");
        (writes.rows[&row().id].clone(), writes)
    };
    let (RowWrite::Update(update), _) =
        end(Action::Retry { available_at: NOW.plus_ms(9), failure: failure() })
    else {
        panic!()
    };
    assert_eq!((update.attempt, update.available_at, update.lease), (1, NOW.plus_ms(9), None));
    let (RowWrite::Update(update), _) = end(Action::Release { available_at: NOW, orphaned: 2 })
    else {
        panic!()
    };
    assert_eq!((update.attempt, update.orphaned, update.lease), (0, 2, None));
    let (deleted, writes) = end(Action::Abandon { reason: AbandonReason::DepthLimit });
    assert!(matches!(deleted, RowWrite::Delete));
    assert_eq!(writes.abandoned[0].reason, AbandonReason::DepthLimit);
    let action = Action::FailHandler { failure: failure() };
    let handler = OutboxRow { letter: Some(Id(600)), ..row() };
    let writes = plan(&Settle { action, ..settle(handler, Vec::new()) }, &facts).expect("planned");
    assert_eq!(writes.letter_marks[&Id(600)], LetterWrite::HandlerFailed { failure: failure() });
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

#[test]
fn p3_the_loser_of_two_requests_with_one_key_gets_the_first_answer_and_writes_nothing() {
    let mut facts = facts(Vec::new());
    let sync =
        || OutboxRow { idempotency: Some(request()), reply_by: Some(NOW.plus_ms(1)), ..row() };
    let run = Settle { result: Some("1".into()), ..settle(sync(), vec![put(Space::Kv, "a", "1")]) };
    let writes = plan(&run, &facts).expect("planned");
    facts.absorb(&writes);
    facts.leases.insert(row().id, LEASE);
    let second = Settle { result: Some("2".into()), ..run };
    let first = Refusal::Answered(Some(Kept::Result("1".into())));
    assert_eq!(plan(&second, &facts).map(drop), Err(first));
    facts.requests.insert(
        RequestKey::of(&request()),
        KeptRequest { body_hash: "other".into(), answer: None },
    );
    assert_eq!(plan(&second, &facts).map(drop), Err(Refusal::KeyReused));
}

#[test]
fn an_async_request_with_a_key_that_was_used_gets_its_first_acceptance() {
    let mut facts = facts(Vec::new());
    let accept = |id| {
        let row = OutboxRow { id: Id(id), idempotency: Some(request()), ..row() };
        Command::Accept(Accept { row: Arc::new(row), lease: None })
    };
    let writes = accept(7 << 80).plan(&facts).expect("planned");
    facts.absorb(&writes);
    let first = Kept::Accepted { execution: Id(7 << 80), at: Timestamp(7) };
    assert_eq!(accept(8 << 80).plan(&facts).map(drop), Err(Refusal::Answered(Some(first))));
}

#[test]
fn p7_a_disk_that_is_nearly_full_refuses_what_is_new_and_lets_work_end() {
    let facts = Facts { storage_low: true, ..facts(Vec::new()) };
    let accept = Accept { row: Arc::new(OutboxRow { id: Id(5), ..row() }), lease: None };
    assert_eq!(Command::Accept(accept).plan(&facts).map(drop), Err(Refusal::StorageLow));
    let edit = Mutate {
        id: FRESH,
        app: APP,
        principal: PrincipalId(9),
        reads: Vec::new(),
        effects: vec![put(Space::Kv, "a", "1")],
    };
    assert_eq!(Command::Mutate(edit).plan(&facts).map(drop), Err(Refusal::StorageLow));
    let sync = OutboxRow { reply_by: Some(NOW), ..row() };
    let run = settle(sync.clone(), vec![put(Space::Kv, "a", "1")]);
    assert_eq!(plan(&run, &facts).map(drop), Err(Refusal::StorageLow));
    assert_eq!(plan(&settle(sync, Vec::new()), &facts).map(drop), Ok(()));
    assert_eq!(plan(&settle(row(), vec![put(Space::Kv, "a", "1")]), &facts).map(drop), Ok(()));
}

#[test]
fn what_is_inserted_while_there_is_room_is_inserted_already_claimed() {
    let mut facts = facts(Vec::new());
    facts.room.rows = 2;
    let run = settle(row(), vec![enqueue("work"), enqueue("work"), enqueue("work")]);
    let mut writes = plan(&run, &facts).expect("planned");
    let ids: Vec<Id> = inserted(&writes).iter().map(|row| row.id).collect();
    facts.absorb(&writes);
    let claims = claim::place(&mut writes, &mut facts);
    assert_eq!(claims.iter().map(|claim| claim.row.id).collect::<Vec<_>>(), ids[..2]);
    let leased = |id| matches!(writes.rows[&id], RowWrite::Insert(_, Some(_)));
    assert_eq!(ids.iter().map(|id| leased(*id)).collect::<Vec<_>>(), [true, true, false]);
    assert!(claims[0].lease.token != claims[1].lease.token);
}

#[test]
fn an_edit_from_outside_goes_the_way_of_every_change() {
    let facts = facts(vec![kv_trigger(20, "c")]);
    let edit = Mutate {
        id: FRESH,
        app: APP,
        principal: PrincipalId(9),
        reads: vec![Read { key: key(Space::Kv, "c", "a"), version: 0 }],
        effects: vec![put(Space::Kv, "a", "1")],
    };
    let writes = Command::Mutate(edit.clone()).plan(&facts).expect("planned");
    assert_eq!(inserted(&writes).len(), 1);
    let stale = vec![Read { key: key(Space::Kv, "c", "a"), version: 3 }];
    let refusal = Command::Mutate(Mutate { reads: stale, ..edit }).plan(&facts);
    assert_eq!(refusal.map(drop), Err(Refusal::Conflict));
}

#[test]
fn settles_come_before_what_is_new_and_a_sync_row_is_not_overtaken_by_its_settle() {
    let accept = |reply_by| {
        let row = OutboxRow { reply_by, ..row() };
        Command::Accept(Accept { row: Arc::new(row), lease: None })
    };
    let settle = Command::Settle(settle(row(), Vec::new()));
    assert_eq!(settle.lane(), Lane::Settle);
    assert_eq!(accept(Some(NOW)).lane(), Lane::Settle);
    assert_eq!(accept(None).lane(), Lane::Accept);
    assert!(Lane::Settle < Lane::Accept && Lane::Accept < Lane::Bulk);
}

#[test]
fn a_command_names_every_fact_that_its_plan_asks_for() {
    let ordered = |id| Trigger { ordering: Ordering::ByKey, ..kv_trigger(id, "c") };
    let facts = facts(vec![ordered(20)]);
    let sync = OutboxRow {
        order: Some(OrderKey { key: "line".into(), version: 1 }),
        letter: Some(Id(600)),
        idempotency: Some(request()),
        ..row()
    };
    let task = Effect::Enqueue {
        script: "work".into(),
        payload: "7".into(),
        delay_ms: 0,
        order_key: Some("o".into()),
        dedupe: Some("d".into()),
    };
    let discard = Effect::DiscardDeadLetter { id: Id(601).to_string().into(), reason: "x".into() };
    let run = Settle {
        reads: vec![Read { key: key(Space::Kv, "c", "read"), version: 0 }],
        result: Some("1".into()),
        ..settle(sync, vec![put(Space::Kv, "written", "1"), task, discard])
    };
    let mut keys = Keys::default();
    Command::Settle(run).needs(&facts, &mut keys);
    let line = |queue, key: &str| LineKey { queue: QueueId(queue), key: key.into() };
    let entries = [at(Space::Kv, "c", "read"), at(Space::Kv, "c", "written")];
    assert_eq!(keys.entries, HashSet::from(entries));
    assert_eq!(keys.rows, HashSet::from([row().id]));
    assert_eq!(keys.dedupe, HashSet::from([(APP, "d".into())]));
    assert_eq!(keys.requests, HashSet::from([RequestKey::of(&request())]));
    assert_eq!(keys.letters, HashSet::from([Id(600), Id(601)]));
    let lines = [line(row().queue.0, "line"), line(20, "c/written"), line(30, "o")];
    assert_eq!(keys.lines, HashSet::from(lines));
}

#[test]
fn an_async_request_asks_for_the_answer_of_its_key_and_a_sync_one_does_not() {
    let facts = facts(Vec::new());
    let asked = |reply_by| {
        let row = OutboxRow { idempotency: Some(request()), reply_by, ..row() };
        let mut keys = Keys::default();
        Command::Accept(Accept { row: Arc::new(row), lease: None }).needs(&facts, &mut keys);
        keys.requests
    };
    assert_eq!(asked(None), HashSet::from([RequestKey::of(&request())]));
    assert_eq!(asked(Some(NOW)), HashSet::new());
}

#[test]
fn what_is_for_later_is_not_claimed_when_it_is_inserted() {
    let mut facts = facts(Vec::new());
    let later = Effect::Enqueue {
        script: "work".into(),
        payload: "7".into(),
        delay_ms: 1,
        order_key: None,
        dedupe: None,
    };
    let mut writes = plan(&settle(row(), vec![later]), &facts).expect("planned");
    assert_eq!(claim::place(&mut writes, &mut facts).len(), 0);
}

#[test]
fn a_claim_of_the_backlog_keeps_what_the_row_counts_and_draws_a_new_token() {
    let mut facts = facts(Vec::new());
    let tried = Arc::new(OutboxRow { id: Id(3), attempt: 2, orphaned: 1, ..row() });
    let (writes, claims) = claim::plan(vec![Arc::clone(&tried)], &mut facts);
    let lease = Lease { owner: OWNER, token: 100 };
    assert_eq!((claims[0].lease, writes.next, facts.next), (lease, 101, 101));
    let RowWrite::Update(update) = &writes.rows[&Id(3)] else { panic!("{writes:?}") };
    assert_eq!((update.attempt, update.orphaned, update.lease), (2, 1, Some(lease)));
}

#[test]
fn p7_limits_hold_to_the_row_and_to_the_byte() {
    let weight = OutboxRow { event: r#"{"payload":7}"#.into(), ..row() }.bytes();
    let two = || vec![enqueue("work"), enqueue("work")];
    // The settle ends one row, which the app's limits count only once it has gone.
    let with = |limits: OutboxLimits, used: Usage| {
        let mut facts = facts(Vec::new());
        facts.limits = Arc::new(limits);
        facts.usage.insert(APP, used);
        plan(&settle(row(), two()), &facts).is_ok()
    };
    let used = Usage { rows: 5, bytes: 1_000, delayed: 0 };
    let rows = |app_rows_max| OutboxLimits { app_rows_max, ..OutboxLimits::default() };
    assert_eq!([with(rows(7), used), with(rows(6), used)], [true, false]);
    let bytes = |app_bytes_max| OutboxLimits { app_bytes_max, ..OutboxLimits::default() };
    let exact = 1_000 + 2 * weight;
    assert_eq!([with(bytes(exact), used), with(bytes(exact - 1), used)], [true, false]);
    let made = |settle_bytes_max| OutboxLimits { settle_bytes_max, ..OutboxLimits::default() };
    assert_eq!([with(made(2 * weight), used), with(made(2 * weight - 1), used)], [true, false]);
    let count = |settle_rows_max| OutboxLimits { settle_rows_max, ..OutboxLimits::default() };
    assert_eq!([with(count(2), used), with(count(1), used)], [true, false]);
}

#[test]
fn what_an_app_has_waiting_goes_up_and_down_with_its_rows() {
    let facts = facts(Vec::new());
    let writes = plan(&settle(row(), vec![enqueue("work")]), &facts).expect("planned");
    let made = inserted(&writes)[0].bytes();
    let usage = Usage { rows: 0, bytes: made - row().bytes(), delayed: 0 };
    assert_eq!(writes.usage[&APP], usage);
    let delayed = OutboxRow { cause: Some(Id(9)), depth: 0, ..row() };
    let writes = plan(&settle(delayed.clone(), Vec::new()), &facts).expect("planned");
    let usage = Usage { rows: -1, bytes: -delayed.bytes(), delayed: -1 };
    assert_eq!(writes.usage[&APP], usage);
}

#[test]
fn a_sync_row_that_runs_long_is_written_with_the_lease_it_runs_under_also_in_a_full_app() {
    let mut facts = facts(Vec::new());
    facts.usage.insert(APP, Usage { rows: 1_000_000, bytes: 0, delayed: 0 });
    let sync = Arc::new(OutboxRow { reply_by: Some(NOW), ..row() });
    let accept = Accept { row: Arc::clone(&sync), lease: Some(LEASE) };
    let writes = Command::Accept(accept).plan(&facts).expect("planned");
    let RowWrite::Insert(written, Some(LEASE)) = &writes.rows[&sync.id] else {
        panic!("{writes:?}")
    };
    assert_eq!((written, writes.usage[&APP].rows), (&sync, 1));
}

#[test]
fn rows_of_different_keys_do_not_wait_for_each_other() {
    let facts = facts(Vec::new());
    let ordered = |key: &str| Effect::Enqueue {
        script: "work".into(),
        payload: "7".into(),
        delay_ms: 0,
        order_key: Some(key.into()),
        dedupe: None,
    };
    let run = settle(row(), vec![ordered("a"), ordered("b"), ordered("a")]);
    let writes = plan(&run, &facts).expect("planned");
    let due: Vec<Timestamp> = inserted(&writes).iter().map(|row| row.available_at).collect();
    assert_eq!(due, [NOW, NOW, NOW.held()]);
}

#[test]
fn p7_as_many_tasks_may_be_delayed_as_the_limit_says() {
    let mut facts = facts(Vec::new());
    let later = Effect::Enqueue {
        script: "work".into(),
        payload: "7".into(),
        delay_ms: 1_000,
        order_key: None,
        dedupe: None,
    };
    facts.usage.insert(APP, Usage { rows: 999, bytes: 0, delayed: 999 });
    assert!(plan(&settle(row(), vec![later.clone()]), &facts).is_ok());
    assert!(plan(&settle(row(), vec![later.clone(), later]), &facts).is_err());
}

#[test]
fn an_edit_names_what_it_read_what_it_writes_and_the_lines_that_follow() {
    let ordered = Trigger { ordering: Ordering::ByKey, ..kv_trigger(20, "c") };
    let edit = Mutate {
        id: FRESH,
        app: APP,
        principal: PrincipalId(9),
        reads: vec![Read { key: key(Space::Kv, "c", "read"), version: 0 }],
        effects: vec![put(Space::Kv, "written", "1")],
    };
    let mut keys = Keys::default();
    Command::Mutate(edit).needs(&facts(vec![ordered]), &mut keys);
    let entries = [at(Space::Kv, "c", "read"), at(Space::Kv, "c", "written")];
    assert_eq!(keys.entries, HashSet::from(entries));
    let line = LineKey { queue: QueueId(20), key: "c/written".into() };
    assert_eq!(keys.lines, HashSet::from([line]));
}

#[test]
fn p7_a_value_may_have_as_many_bytes_as_the_limit_says() {
    let facts = facts(Vec::new());
    let of = |bytes: usize| {
        let value = format!("\"{}\"", "x".repeat(bytes - 2));
        plan(&settle(row(), vec![put(Space::Docs, "a", &value)]), &facts).is_ok()
    };
    let max = facts.limits.entry_bytes_max;
    assert_eq!([of(max), of(max + 1)], [true, false]);
}

/// A row with every field set, so that what is made of it shows what it took over.
fn laden() -> OutboxRow {
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

#[test]
fn a_task_takes_over_app_principal_and_root_and_nothing_else() {
    let writes =
        plan(&settle(laden(), vec![enqueue("work")]), &facts(Vec::new())).expect("planned");
    let [made] = inserted(&writes)[..] else { panic!("{writes:?}") };
    let expected = OutboxRow {
        id: made.id,
        queue: QueueId(30),
        event: r#"{"payload":7}"#.into(),
        available_at: NOW,
        depth: 4,
        root: Id(8 << 80),
        cause: Some(row().id),
        ..row()
    };
    assert_eq!(**made, expected);
}

#[test]
fn a_replay_is_the_row_as_it_died_made_fresh_at_the_end_of_its_line() {
    let mut facts = facts(Vec::new());
    let dead = OutboxRow { id: Id(500), reply_by: None, idempotency: None, ..laden() };
    let known =
        LetterFacts { app: APP, open: true, replays_of_root: 2, row: Arc::new(dead.clone()) };
    facts.letters.insert(Id(600), known);
    let replay = |payload: Option<&str>| Effect::ReplayDeadLetter {
        id: Id(600).to_string().into(),
        payload: payload.map(Into::into),
    };
    let handler = OutboxRow { depth: 5, ..row() };
    for (payload, event) in [(None, &*dead.event), (Some(r#"{"body":2}"#), r#"{"body":2}"#)] {
        let run = settle(handler.clone(), vec![replay(payload)]);
        let writes = plan(&run, &facts).expect("planned");
        let [made] = inserted(&writes)[..] else { panic!("{writes:?}") };
        let expected = OutboxRow {
            id: made.id,
            event: event.into(),
            order: Some(OrderKey { key: "line".into(), version: 100 }),
            dedupe: None,
            available_at: NOW,
            attempt: 0,
            orphaned: 0,
            depth: 6,
            cause: Some(handler.id),
            replay_of: Some(Id(600)),
            ..dead.clone()
        };
        assert_eq!(**made, expected);
    }
}

#[test]
fn replays_of_one_root_are_counted_within_a_command_and_those_of_others_are_not() {
    let mut facts = facts(Vec::new());
    let dies = |root: u128| OutboxRow { root: Id(root), ..row() };
    for (id, root) in [(600, 7), (601, 7), (602, 8)] {
        let row = Arc::new(OutboxRow { id: Id(id + 1_000), ..dies(root) });
        let known = LetterFacts { app: APP, open: true, replays_of_root: 2, row };
        facts.letters.insert(Id(id), known);
    }
    let replay =
        |id: u128| Effect::ReplayDeadLetter { id: Id(id).to_string().into(), payload: None };
    let discard =
        |id: u128| Effect::DiscardDeadLetter { id: Id(id).to_string().into(), reason: "x".into() };
    let fits = |effects| plan(&settle(row(), effects), &facts).is_ok();
    assert!(fits(vec![replay(600), replay(602)]));
    assert!(!fits(vec![replay(600), replay(601)]));
    assert!(fits(vec![discard(600), replay(601)]));
}

#[test]
fn only_a_sync_run_with_effects_is_refused_on_a_disk_that_is_nearly_full() {
    let sync = || OutboxRow { reply_by: Some(NOW), ..row() };
    let put = || vec![put(Space::Kv, "a", "1")];
    for (storage_low, row, effects, expected) in [
        (true, sync(), put(), Err(Refusal::StorageLow)),
        (false, sync(), put(), Ok(())),
        (true, sync(), Vec::new(), Ok(())),
        (true, row(), put(), Ok(())),
    ] {
        let facts = Facts { storage_low, ..facts(Vec::new()) };
        assert_eq!(plan(&settle(row, effects), &facts).map(drop), expected);
    }
}

#[test]
fn p2_the_effects_of_a_sync_row_that_was_never_written_are_and_no_row_is_looked_for() {
    let mut facts = facts(Vec::new());
    facts.leases.clear();
    let sync = OutboxRow { reply_by: Some(NOW), ..row() };
    let run = Settle { stored: Stored::No, ..settle(sync, vec![put(Space::Kv, "a", "1")]) };
    let writes = plan(&run, &facts).expect("planned");
    assert!(writes.entries.contains_key(&at(Space::Kv, "c", "a")));
    assert!(writes.rows.is_empty(), "{writes:?}");
}

#[test]
fn a_handlers_row_is_its_own_and_stands_in_no_line() {
    let details = TriggerDetails::DeadLetter { source: None, trigger: None };
    let retry = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
    let facts = facts(vec![Trigger {
        script: "mend".into(),
        registered_by: PrincipalId(10),
        retry: retry.clone(),
        ..trigger(21, "any", details)
    }]);
    let dead = OutboxRow { reply_by: None, letter: None, available_at: Timestamp(3), ..laden() };
    let action = Action::DeadLetter { failure: Failure::new(FailureKind::Threw, "no") };
    let run = Settle { action, ..settle(dead, Vec::new()) };
    let writes = plan(&run, &facts).expect("planned");
    let [made] = inserted(&writes)[..] else { panic!("{writes:?}") };
    let expected = OutboxRow {
        id: made.id,
        queue: QueueId(21),
        source: OutboxSourceKind::DeadLetter,
        origin: Some(21),
        script: "mend".into(),
        principal: PrincipalId(10),
        retry,
        event: Arc::clone(&made.event),
        available_at: NOW,
        depth: 4,
        root: Id(8 << 80),
        cause: Some(row().id),
        letter: Some(writes.letters[0].id),
        ..row()
    };
    assert_eq!(**made, expected);
}

#[test]
fn p6_suspicion_stays_with_a_row_that_killed_the_daemon_and_leaves_one_that_merely_failed() {
    let facts = facts(Vec::new());
    let suspect = || OutboxRow { orphaned: 4, ..row() };
    for (failure, orphaned) in
        [(Failure::owner_died(), 4), (Failure::new(FailureKind::Threw, "no"), 0)]
    {
        let action = Action::Retry { available_at: NOW, failure };
        let run = Settle { action, ..settle(suspect(), Vec::new()) };
        let writes = plan(&run, &facts).expect("planned");
        let RowWrite::Update(update) = &writes.rows[&row().id] else { panic!("{writes:?}") };
        assert_eq!(update.orphaned, orphaned);
    }
}
