//! What people's wishes write, and when they are declined: whole values, without a store.

use super::*;
use crate::failure::Failure;
use crate::flow::Command;
use crate::flow::facts::LineKey;
use crate::flow::manage::cancel::Cancel;
use crate::flow::manage::discard::Discard;
use crate::flow::manage::reopen::Reopen;
use crate::flow::manage::replay::{Again, Replay};
use crate::flow::manage::run_now::RunNow;
use crate::flow::manage::take_back::TakeBack;
use crate::flow::tests::{APP, FRESH, NOW, facts, inserted, laden, letter};
use crate::flow::writes::{LetterWrite, RowUpdate, RowWrite};
use crate::ids::QueueId;
use crate::outbox::row::tests::row;
use crate::outbox::row::{OrderKey, OutboxRow};
use crate::time::Timestamp;

const LETTER: Id = Id(600);

fn plan_of(wish: Wish, facts: &Facts) -> Result<Writes, Refusal> {
    let manage = Manage { by: PrincipalId(9), record: Record::Alone, fresh: FRESH, wish };
    Command::Manage(manage).plan(facts)
}

fn replay_of(again: Again) -> Wish {
    Wish::Replay(Replay { letter: LETTER, payload: None, hold_ms: 10_000, again })
}

fn discard() -> Wish {
    Wish::Discard(Discard { letter: LETTER, reason: "not needed".to_owned() })
}

fn reopen() -> Wish {
    Wish::Reopen(Reopen { letter: LETTER })
}

fn take_back(row: Id) -> Wish {
    Wish::TakeBack(TakeBack { letter: LETTER, row })
}

fn waits(row: OutboxRow) -> (Id, WaitingFacts) {
    (row.id, WaitingFacts { row: Arc::new(row), claimed: false, failure: None })
}

fn with_letter() -> Facts {
    let mut facts = facts(Vec::new());
    facts.letters.extend([letter(LETTER.0, true)]);
    facts.letters_open.insert(row().queue, 1);
    facts
}

fn declined(wish: Wish, facts: &Facts) -> Declined {
    match plan_of(wish, facts) {
        Err(Refusal::Declined(declined)) => declined,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_replay_is_held_begins_a_chain_of_its_own_and_is_on_record() {
    let mut facts = with_letter();
    let dead = OutboxRow { id: Id(500), reply_by: None, idempotency: None, ..laden() };
    facts.letters.get_mut(&LETTER).expect("known").row = Arc::new(dead.clone());
    let writes = plan_of(replay_of(Again::No), &facts).expect("planned");
    let [made] = inserted(&writes)[..] else { panic!("{writes:?}") };
    let expected = OutboxRow {
        id: made.id,
        order: Some(OrderKey { key: "line".into(), version: 100 }),
        dedupe: None,
        available_at: NOW.plus_ms(10_000),
        attempt: 0,
        orphaned: 0,
        depth: 0,
        cause: None,
        replay_of: Some(LETTER),
        ..dead
    };
    assert_eq!(**made, expected);
    assert_eq!(writes.letter_marks[&LETTER], LetterWrite::Replayed { by: made.id, at: NOW });
    let [line] = &writes.audits[..] else { panic!("{writes:?}") };
    assert_eq!((line.action.as_str(), line.principal), ("dead-letters replay", PrincipalId(9)));
    assert_eq!(line.object, format!("app/{LETTER}"));
    assert_eq!(line.detail, r#"{"edited":false,"hold_ms":10000}"#);
}

#[test]
fn an_edited_replay_of_a_task_has_the_payload_and_of_anything_else_the_event() {
    let mut facts = with_letter();
    let wish = |payload: &str| {
        let payload = Some(payload.into());
        Wish::Replay(Replay { letter: LETTER, payload, hold_ms: 0, again: Again::No })
    };
    let event = |facts: &Facts| {
        let writes = plan_of(wish("{\"n\":2}"), facts).expect("planned");
        inserted(&writes)[0].event.to_string()
    };
    assert_eq!(event(&facts), r#"{"payload":{"n":2}}"#);
    facts.letters.get_mut(&LETTER).expect("known").row = Arc::new(laden());
    assert_eq!(event(&facts), r#"{"n":2}"#);
}

#[test]
fn p3_of_two_replays_at_once_one_wins_and_the_other_is_told() {
    let mut facts = with_letter();
    let first = plan_of(replay_of(Again::No), &facts).expect("planned");
    let by = inserted(&first)[0].id;
    facts.absorb(&first);
    assert_eq!(declined(replay_of(Again::No), &facts), Declined::Replayed { id: LETTER, by });
    assert_eq!(declined(discard(), &facts), Declined::Replayed { id: LETTER, by });
    assert_eq!(facts.letters_open[&row().queue], 0);

    let again = plan_of(replay_of(Again::Yes), &facts).expect("planned");
    facts.absorb(&again);
    assert_eq!(facts.letters_open[&row().queue], 0);
    assert!(again.letters_reopened.contains(&LETTER));
    let mut both = first;
    both.merge(again);
    assert!(both.letters_reopened.is_empty(), "in the store it is open");
    assert_eq!(both.rows.len(), 1, "both have the same fresh id here");
    assert!(matches!(both.letter_marks[&LETTER], LetterWrite::Replayed { .. }));
}

#[test]
fn what_is_discarded_can_be_reopened_once_and_is_not_replayed() {
    let mut facts = with_letter();
    assert_eq!(declined(reopen(), &facts), Declined::Open(LETTER));
    let discarded = plan_of(discard(), &facts).expect("planned");
    let mark = LetterWrite::Discarded { reason: "not needed".to_owned(), at: NOW };
    assert_eq!(discarded.letter_marks[&LETTER], mark);
    facts.absorb(&discarded);
    assert_eq!(facts.letters_open[&row().queue], 0);
    for wish in [discard(), replay_of(Again::No), replay_of(Again::Yes)] {
        assert_eq!(declined(wish, &facts), Declined::Discarded(LETTER));
    }
    let reopened = plan_of(reopen(), &facts).expect("planned");
    facts.absorb(&reopened);
    assert_eq!((facts.letters[&LETTER].end, facts.letters_open[&row().queue]), (None, 1));
    assert_eq!(declined(reopen(), &facts), Declined::Open(LETTER));

    let mut batch = discarded;
    batch.merge(reopened);
    assert!(batch.letter_marks.is_empty() && batch.letters_reopened.is_empty());
}

#[test]
fn a_replay_is_taken_back_until_its_row_begins() {
    let mut facts = with_letter();
    assert_eq!(declined(take_back(Id(7)), &facts), Declined::Open(LETTER));
    let replayed = plan_of(replay_of(Again::No), &facts).expect("planned");
    let made = OutboxRow::clone(inserted(&replayed)[0]);
    facts.absorb(&replayed);
    assert_eq!(declined(reopen(), &facts), Declined::Replayed { id: LETTER, by: made.id });
    let begun = Declined::Begun { id: LETTER, by: made.id };
    assert_eq!(declined(take_back(made.id), &facts), begun, "it has ended");
    for begun_row in
        [OutboxRow { attempt: 1, ..made.clone() }, OutboxRow { orphaned: 1, ..made.clone() }]
    {
        facts.waiting.extend([waits(begun_row)]);
        assert_eq!(declined(take_back(made.id), &facts), begun);
    }
    facts.waiting.extend([waits(made.clone())]);
    facts.waiting.get_mut(&made.id).expect("known").claimed = true;
    assert_eq!(declined(take_back(made.id), &facts), begun);
    facts.waiting.extend([waits(made.clone())]);
    let other = Declined::Replayed { id: LETTER, by: made.id };
    assert_eq!(declined(take_back(Id(7)), &facts), other);

    let back = plan_of(take_back(made.id), &facts).expect("planned");
    assert!(matches!(back.rows[&made.id], RowWrite::Delete));
    assert!(back.letters_reopened.contains(&LETTER) && back.letter_marks.is_empty());
    facts.absorb(&back);
    assert_eq!((facts.letters[&LETTER].end, facts.letters_open[&row().queue]), (None, 1));
    assert_eq!(facts.usage[&APP].rows, 0);
}

#[test]
fn a_row_that_was_to_run_later_runs_now_and_keeps_its_attempts() {
    let mut facts = facts(Vec::new());
    let later = OutboxRow { available_at: NOW.plus_ms(60_000), attempt: 2, orphaned: 1, ..row() };
    facts.waiting.extend([waits(later)]);
    let run_now = || Wish::RunNow(RunNow { row: row().id });
    let writes = plan_of(run_now(), &facts).expect("planned");
    let RowWrite::Update(update) = &writes.rows[&row().id] else { panic!("{writes:?}") };
    let expected =
        RowUpdate { available_at: NOW, attempt: 2, orphaned: 1, lease: None, failure: None };
    assert_eq!(*update, expected);
    assert_eq!(writes.audits[0].action, "outbox run-now");

    facts.waiting.get_mut(&row().id).expect("known").claimed = true;
    assert_eq!(declined(run_now(), &facts), Declined::Running(row().id));
    facts.waiting.clear();
    assert_eq!(declined(run_now(), &facts), Declined::NoSuchRow(row().id));
}

/// The first row of a line, and one behind it.
fn line_of_two() -> (Facts, OutboxRow, OutboxRow) {
    let mut facts = facts(Vec::new());
    let place = |version| Some(OrderKey { key: "line".into(), version });
    let first = OutboxRow { available_at: NOW.plus_ms(9), order: place(1), ..row() };
    let held = Timestamp(5).held();
    let second = OutboxRow { id: Id(2 << 80), available_at: held, order: place(2), ..row() };
    let line = LineKey { queue: QueueId(2), key: "line".into() };
    let ids = [(first.id, first.available_at), (second.id, held)];
    facts.lines.insert(line, ids.into());
    facts.waiting.extend([waits(first.clone()), waits(second.clone())]);
    (facts, first, second)
}

#[test]
fn a_row_behind_another_of_its_key_does_not_run_before_it() {
    let (facts, first, second) = line_of_two();
    let refused = declined(Wish::RunNow(RunNow { row: second.id }), &facts);
    assert_eq!(refused, Declined::Behind { row: second.id, front: first.id });
}

#[test]
fn p4_a_cancelled_row_becomes_a_dead_letter_and_the_next_of_its_key_goes_on() {
    let (mut facts, first, second) = line_of_two();
    let failure = Failure::new(FailureKind::Threw, "no");
    let waiting = facts.waiting.get_mut(&first.id).expect("known");
    waiting.failure = Some(failure);
    Arc::make_mut(&mut waiting.row).attempt = 2;
    let cancel = |row| Wish::Cancel(Cancel { row, reason: "wrong sensor".to_owned() });
    let writes = plan_of(cancel(first.id), &facts).expect("planned");
    let [letter] = &writes.letters[..] else { panic!("{writes:?}") };
    assert_eq!(letter.failure.kind, FailureKind::Cancelled);
    assert_eq!(letter.failure.message, "cancelled: wrong sensor; last error: no");
    assert_eq!((letter.attempts, letter.last_at, letter.row.id), (2, NOW, first.id));
    assert!(matches!(writes.rows[&first.id], RowWrite::Delete));
    let RowWrite::Update(next) = &writes.rows[&second.id] else { panic!("{writes:?}") };
    assert_eq!(next.available_at, NOW);
    facts.absorb(&writes);
    assert_eq!(declined(cancel(first.id), &facts), Declined::NoSuchRow(first.id));
    assert!(!facts.waiting[&second.id].row.available_at.is_held());
}

#[test]
fn p7_a_full_disk_takes_no_replay_but_every_discard() {
    let mut facts = with_letter();
    facts.storage_low = true;
    assert_eq!(plan_of(replay_of(Again::No), &facts).map(drop), Err(Refusal::StorageLow));
    assert!(plan_of(discard(), &facts).is_ok());
}

#[test]
fn a_bulk_call_is_one_line_of_the_log() {
    let facts = with_letter();
    let wish = Wish::Many { action: "dead-letters replay", filter: "app:a".into(), count: 38 };
    let writes = plan_of(wish, &facts).expect("planned");
    let line = &writes.audits[0];
    assert_eq!((line.object.as_str(), line.detail.as_str()), ("app:a", r#"{"count":38}"#));
    let one = Manage {
        by: PrincipalId(9),
        record: Record::WithMany,
        fresh: FRESH,
        wish: replay_of(Again::No),
    };
    assert!(Command::Manage(one).plan(&facts).expect("planned").audits.is_empty());
}
