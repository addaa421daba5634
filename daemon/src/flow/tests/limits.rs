//! What the limits let in, to the row and to the byte.

use super::*;

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
    let delayed = |delay_ms| task(delay_ms, None, None);
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
fn a_claim_of_the_backlog_keeps_what_the_row_counts_and_draws_a_new_token() {
    let mut facts = facts(Vec::new());
    let tried = Arc::new(OutboxRow { id: Id(3), attempt: 2, orphaned: 1, ..row() });
    let claims = claim::plan(vec![Arc::clone(&tried)], &mut facts);
    let lease = Lease { owner: OWNER, token: 100 };
    assert_eq!((claims[0].lease, facts.next), (lease, 101));
    assert_eq!(claims[0].row, tried);
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
fn p7_as_many_tasks_may_be_delayed_as_the_limit_says() {
    let mut facts = facts(Vec::new());
    let later = task(1_000, None, None);
    facts.usage.insert(APP, Usage { rows: 999, bytes: 0, delayed: 999 });
    assert!(plan(&settle(row(), vec![later.clone()]), &facts).is_ok());
    assert!(plan(&settle(row(), vec![later.clone(), later]), &facts).is_err());
}

#[test]
fn p7_a_value_may_have_as_many_bytes_as_the_limit_says() {
    let facts = facts(Vec::new());
    let of = |bytes: usize| {
        let value = format!("\"{}\"", "x".repeat(bytes - 2));
        plan(&settle(row(), vec![put(Space::Docs, "a", &value)]), &facts).is_ok()
    };
    let max = facts.value_bytes_max;
    assert_eq!([of(max), of(max + 1)], [true, false]);
}

#[test]
fn p7_a_row_is_handed_over_while_the_dispatcher_its_app_and_its_queue_have_room() {
    let last = || Room {
        rows: 1,
        bytes: 100,
        app_rows_max: 2,
        app_rows: HashMap::from([(APP, 1)]),
        queue_rows: HashMap::from([(QueueId(2), 1)]),
        suspects: 0,
    };
    let queue_rows = |left| HashMap::from([(QueueId(2), left)]);
    for (room, expected) in [
        (last(), true),
        (Room { rows: 0, ..last() }, false),
        (Room { bytes: 1, ..last() }, true),
        (Room { bytes: 0, ..last() }, false),
        (Room { app_rows_max: 1, ..last() }, false),
        (Room { queue_rows: queue_rows(0), ..last() }, false),
        (Room { app_rows: HashMap::new(), queue_rows: HashMap::new(), ..last() }, true),
    ] {
        assert_eq!(room.has(APP, QueueId(2)), expected, "{room:?}");
    }
}

#[test]
fn each_row_that_is_handed_over_takes_room_from_all_that_it_belongs_to() {
    let mut room = Room {
        rows: 5,
        bytes: 100,
        app_rows_max: 9,
        queue_rows: HashMap::from([(QueueId(2), 3), (QueueId(4), 3)]),
        ..Room::default()
    };
    room.take(APP, QueueId(2), 30);
    room.take(APP, QueueId(3), 20);
    let left = Room {
        rows: 3,
        bytes: 50,
        app_rows_max: 9,
        app_rows: HashMap::from([(APP, 2)]),
        queue_rows: HashMap::from([(QueueId(2), 2), (QueueId(4), 3)]),
        suspects: 0,
    };
    assert_eq!(room, left);
}
