//! Effects, events and the ends of rows.

use super::*;

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
fn a_patch_is_merged_into_what_is_stored() {
    let mut facts = facts(Vec::new());
    facts.entries.insert(at(Space::Docs, "c", "a"), entry(7, r#"{"a":"b","e":null}"#));
    let patch = r#"{"a":null,"n":{"bb":{"ccc":null}}}"#.into();
    let effect = Effect::Patch { key: key(Space::Docs, "c", "a"), patch };
    let writes = plan(&settle(row(), vec![effect]), &facts).expect("planned");
    let EntryWrite::Put(entry) = &writes.entries[&at(Space::Docs, "c", "a")] else { panic!() };
    assert_eq!(&*entry.value, r#"{"e":null,"n":{"bb":{}}}"#);
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
    let work = [put(Space::Kv, "written", "1"), task(0, Some("o"), Some("d")), discard(601)];
    let run = Settle {
        reads: vec![Read { key: key(Space::Kv, "c", "read"), version: 0 }],
        result: Some("1".into()),
        ..settle(sync, work.to_vec())
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
        first: made.id,
        ..row()
    };
    assert_eq!(**made, expected);
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
