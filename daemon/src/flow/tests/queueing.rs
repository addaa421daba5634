//! Who waits for whom: lines, keys, claims, suspects.

use super::*;

#[test]
fn dedupe_drops_a_task_while_one_waits_for_its_first_start() {
    let mut facts = facts(Vec::new());
    let once = || task(0, None, Some("d"));
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
fn a_row_that_left_its_line_makes_way_for_each_that_comes_after_it() {
    let mut facts = facts(Vec::new());
    let line = LineKey { queue: row().queue, key: "k".into() };
    let standing = |id| OutboxRow {
        id: Id(id),
        order: Some(OrderKey { key: "k".into(), version: 1 }),
        ..row()
    };
    let waiting = VecDeque::from([(Id(1), NOW), (Id(2), NOW.held()), (Id(3), NOW.held())]);
    facts.lines.insert(line, waiting);
    facts.leases.insert(Id(1), LEASE);
    for (ends, due) in [(1, 2), (2, 3)] {
        let writes = plan(&settle(standing(ends), Vec::new()), &facts).expect("planned");
        let RowWrite::Update(next) = &writes.rows[&Id(due)] else { panic!("{writes:?}") };
        assert_eq!(next.available_at, NOW);
        facts.absorb(&writes);
        facts.leases.insert(Id(due), LEASE);
    }
}

#[test]
fn a_task_that_was_put_off_keeps_its_delay_behind_another_of_its_key() {
    let mut facts = facts(Vec::new());
    let ordered = |delay_ms| task(delay_ms, Some("k"), None);
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
    let claims = claim::plan(rows, &mut facts);
    let ids: Vec<Id> = claims.iter().map(|claim| claim.row.id).collect();
    assert_eq!(ids, [Id(1), Id(3)]);
    assert_eq!(claim::plan(vec![suspect(2)], &mut facts).len(), 0);
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
    let mut writes = plan(&settle(row(), vec![task(1, None, None)]), &facts).expect("planned");
    assert_eq!(claim::place(&mut writes, &mut facts).len(), 0);
}

#[test]
fn rows_of_different_keys_do_not_wait_for_each_other() {
    let facts = facts(Vec::new());
    let ordered = |key: &str| task(0, Some(key), None);
    let run = settle(row(), vec![ordered("a"), ordered("b"), ordered("a")]);
    let writes = plan(&run, &facts).expect("planned");
    let due: Vec<Timestamp> = inserted(&writes).iter().map(|row| row.available_at).collect();
    assert_eq!(due, [NOW, NOW, NOW.held()]);
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
