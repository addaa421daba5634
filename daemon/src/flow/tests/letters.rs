//! Dead letters, their handlers and replays.

use super::*;

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

#[test]
fn a_letter_is_replayed_once_by_a_new_row() {
    let mut facts = facts(Vec::new());
    facts.letters.extend([letter(600, true), letter(601, false)]);
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
    facts.root_replays.insert(row().root, 3);
    let refusal = plan(&settle(handler, vec![replay(600, None)]), &facts).expect_err("refused");
    assert!(refusal.to_string().contains("3 times already"), "{refusal}");
}

#[test]
fn p8_a_letter_of_another_app_is_not_known() {
    let mut facts = facts(Vec::new());
    let (id, mut letter) = letter(600, true);
    letter.app = AppId(2);
    facts.letters.insert(id, letter);
    let refusal = plan(&settle(row(), vec![discard(600)]), &facts).expect_err("refused");
    assert!(refusal.to_string().ends_with("is not known in this app"));
}

#[test]
fn a_replay_is_the_row_as_it_died_made_fresh_at_the_end_of_its_line() {
    let mut facts = facts(Vec::new());
    let dead = OutboxRow { id: Id(500), reply_by: None, idempotency: None, ..laden() };
    let known = LetterFacts { app: APP, open: true, end: None, row: Arc::new(dead.clone()) };
    facts.root_replays.insert(dead.root, 2);
    facts.letters.insert(Id(600), known);
    let handler = OutboxRow { depth: 5, ..row() };
    for (payload, event) in [(None, &*dead.event), (Some(r#"{"body":2}"#), r#"{"body":2}"#)] {
        let run = settle(handler.clone(), vec![replay(600, payload)]);
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
        let known = LetterFacts { app: APP, open: true, end: None, row };
        facts.letters.insert(Id(id), known);
    }
    facts.root_replays = [(Id(7), 2), (Id(8), 2)].into();
    let fits = |effects| plan(&settle(row(), effects), &facts).is_ok();
    assert!(fits(vec![replay(600, None), replay(602, None)]));
    assert!(!fits(vec![replay(600, None), replay(601, None)]));
    assert!(fits(vec![discard(600), replay(601, None)]));
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
        first: made.id,
        letter: Some(writes.letters[0].id),
        ..row()
    };
    assert_eq!(**made, expected);
}

#[test]
fn p3_a_letter_that_one_handler_replays_is_not_opened_again_by_another_that_fails() {
    let marked = |mark| Writes { letter_marks: [(Id(5), mark)].into(), ..Writes::default() };
    let replayed = LetterWrite::Replayed { by: Id(6), at: NOW };
    let mut writes = marked(replayed.clone());
    writes.merge(marked(LetterWrite::HandlerFailed { failure: Failure::owner_died() }));
    assert_eq!(writes.letter_marks, [(Id(5), replayed)].into());
}

#[test]
fn the_next_command_sees_which_letters_are_open_and_what_was_replayed() {
    let mut facts = facts(Vec::new());
    for (id, root) in [(600, 7), (601, 7), (602, 8), (603, 8)] {
        let dead = Arc::new(OutboxRow { id: Id(id + 1_000), root: Id(root), ..row() });
        let known = LetterFacts { app: APP, open: true, end: None, row: dead };
        facts.letters.insert(Id(id), known);
    }
    facts.letters_open.insert(row().queue, 5);
    facts.root_replays = [(Id(7), 1), (Id(8), 1)].into();
    let handler = OutboxRow { letter: Some(Id(603)), ..row() };
    let failure = || Failure::new(FailureKind::Threw, "no");
    let replay = Effect::ReplayDeadLetter { id: Id(600).to_string().into(), payload: None };
    let discard = Effect::DiscardDeadLetter { id: Id(602).to_string().into(), reason: "x".into() };
    let fails = Action::FailHandler { failure: failure() };
    let dies = Action::DeadLetter { failure: failure() };
    for (run, open) in [
        (settle(row(), vec![replay, discard]), 3),
        (Settle { action: fails, ..settle(handler, Vec::new()) }, 3),
        (Settle { action: dies, ..settle(row(), Vec::new()) }, 4),
    ] {
        facts.leases.insert(row().id, LEASE);
        let writes = plan(&run, &facts).expect("planned");
        facts.absorb(&writes);
        assert_eq!(facts.letters_open[&row().queue], open, "{:?}", run.action);
    }
    assert_eq!(
        [600, 601, 602, 603].map(|id| facts.letters[&Id(id)].open),
        [false, true, false, true]
    );
    assert_eq!(facts.root_replays, [(Id(7), 2), (Id(8), 1)].into());
}
