//! What people do with rows and dead letters, as the store keeps it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::failure::{Failure, FailureKind};
use crate::flow::Command;
use crate::flow::Refusal;
use crate::flow::facts::{Facts, Keys, LineKey, Room};
use crate::flow::manage::cancel::Cancel;
use crate::flow::manage::discard::Discard;
use crate::flow::manage::reopen::Reopen;
use crate::flow::manage::replay::{Again, Replay};
use crate::flow::manage::run_now::RunNow;
use crate::flow::manage::take_back::TakeBack;
use crate::flow::manage::{Declined, Manage, Record, Wish};
use crate::ids::{Id, PrincipalId};
use crate::limits::OutboxLimits;
use crate::outbox::row::{OrderKey, OutboxRow};
use crate::store::facts;
use crate::store::lists::{Letters, Rows};
use crate::store::tests::{APP, NOW, QUEUE, Scratch, accept, id, room, scratch_with_app, task};

fn manage(number: u128, wish: Wish) -> Command {
    let (by, fresh) = (PrincipalId(9), id(number));
    Command::Manage(Manage { by, record: Record::Alone, fresh, wish })
}

fn cancel(row: Id, number: u128) -> Command {
    manage(number, Wish::Cancel(Cancel { row, reason: "no".to_owned() }))
}

fn replay(letter: Id, number: u128, again: Again) -> Command {
    manage(number, Wish::Replay(Replay { letter, payload: None, hold_ms: 1_000, again }))
}

fn discard(letter: Id, number: u128) -> Command {
    manage(number, Wish::Discard(Discard { letter, reason: "old".to_owned() }))
}

fn reopen(letter: Id, number: u128) -> Command {
    manage(number, Wish::Reopen(Reopen { letter }))
}

/// The id of what the command with this number made.
fn made(number: u128) -> Id {
    id(number).derived(1)
}

async fn done(scratch: &mut Scratch, commands: &[Command]) {
    let report = scratch.run(commands, Room::default()).await;
    assert!(report.outcomes.iter().all(Result::is_ok), "{:?}", report.outcomes);
}

async fn resolution(scratch: &Scratch, letter: Id) -> (Option<String>, Option<Id>) {
    let stored = scratch.reader().letter(letter).await.expect("reads").expect("is there");
    (stored.resolution.as_ref().map(ToString::to_string), stored.resolved_by)
}

#[tokio::test]
async fn a_letter_goes_through_all_that_people_do_with_it() {
    let mut scratch = scratch_with_app().await;
    done(&mut scratch, &[accept(task(1))]).await;
    done(&mut scratch, &[cancel(id(1), 10)]).await;
    let letter = made(10);
    assert_eq!((scratch.count("outbox").await, scratch.count("dead_letters").await), (0, 1));
    let stored = scratch.reader().letter(letter).await.expect("reads").expect("is there");
    assert_eq!(*stored.letter.row, task(1));
    assert_eq!(stored.letter.failure, Failure::new(FailureKind::Cancelled, "cancelled: no"));

    done(&mut scratch, &[replay(letter, 11, Again::No)]).await;
    assert_eq!(resolution(&scratch, letter).await, (Some("replayed".to_owned()), Some(made(11))));
    done(&mut scratch, &[replay(letter, 12, Again::Yes)]).await;
    assert_eq!(resolution(&scratch, letter).await, (Some("replayed".to_owned()), Some(made(12))));
    let back = Wish::TakeBack(TakeBack { letter, row: made(12) });
    done(&mut scratch, &[manage(13, back)]).await;
    assert_eq!(resolution(&scratch, letter).await, (None, None));
    assert_eq!(scratch.count("outbox").await, 1, "the first replay stays");
    done(&mut scratch, &[discard(letter, 14)]).await;
    assert_eq!(resolution(&scratch, letter).await, (Some("discarded".to_owned()), None));
    done(&mut scratch, &[reopen(letter, 15)]).await;
    assert_eq!(resolution(&scratch, letter).await, (None, None));
    assert_eq!(scratch.count("audit").await, 6);
}

#[tokio::test]
async fn a_batch_in_which_a_letter_is_resolved_and_opened_again_ends_as_its_last_command_says() {
    let mut scratch = scratch_with_app().await;
    done(&mut scratch, &[accept(task(1))]).await;
    done(&mut scratch, &[cancel(id(1), 10)]).await;
    let letter = made(10);
    done(&mut scratch, &[discard(letter, 11), reopen(letter, 12)]).await;
    assert_eq!(resolution(&scratch, letter).await, (None, None));
    done(&mut scratch, &[discard(letter, 13), reopen(letter, 14), discard(letter, 15)]).await;
    assert_eq!(resolution(&scratch, letter).await.0.as_deref(), Some("discarded"));
    done(&mut scratch, &[reopen(letter, 16), replay(letter, 17, Again::No)]).await;
    assert_eq!(resolution(&scratch, letter).await.1, Some(made(17)));
    let again = [replay(letter, 18, Again::Yes), replay(letter, 19, Again::Yes)];
    done(&mut scratch, &again).await;
    assert_eq!(resolution(&scratch, letter).await.1, Some(made(19)));
}

#[tokio::test]
async fn p3_of_two_replays_in_one_batch_one_is_told_that_it_came_second() {
    let mut scratch = scratch_with_app().await;
    done(&mut scratch, &[accept(task(1))]).await;
    done(&mut scratch, &[cancel(id(1), 10)]).await;
    let letter = made(10);
    let both = [replay(letter, 11, Again::No), replay(letter, 12, Again::No)];
    let report = scratch.run(&both, Room::default()).await;
    let second = Declined::Replayed { id: letter, by: made(11) };
    assert_eq!(report.outcomes, [Ok(()), Err(Refusal::Declined(second))]);
    assert_eq!(scratch.count("outbox").await, 1);
}

#[tokio::test]
async fn p7_replays_of_one_root_are_counted_only_as_far_as_scripts_may_replay() {
    let mut scratch = scratch_with_app().await;
    let rows = (1..=5).map(|number| accept(OutboxRow { root: id(1), ..task(number) }));
    done(&mut scratch, &rows.collect::<Vec<_>>()).await;
    let cancels: Vec<Command> = (1..=5).map(|number| cancel(id(number), 10 + number)).collect();
    done(&mut scratch, &cancels).await;
    let limits = Arc::new(OutboxLimits::default());
    for (replayed, counted) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (5, 3)] {
        if replayed > 0 {
            let letter = made(10 + replayed);
            done(&mut scratch, &[replay(letter, 20 + replayed, Again::No)]).await;
        }
        let catalog = scratch.batcher().catalog().load_full();
        let mut facts = Facts::of_rehearsal(catalog, Arc::clone(&limits), 0, NOW);
        let keys = Keys { letters: [made(15)].into(), ..Keys::default() };
        facts::read(&mut scratch.batcher().conn, keys, &mut facts).await.expect("reads");
        assert_eq!(facts.root_replays, [(id(1), counted)].into());
    }
}

#[tokio::test]
async fn a_row_that_is_to_run_now_is_claimed_at_once_and_then_left_alone() {
    let mut scratch = scratch_with_app().await;
    let later = OutboxRow { available_at: NOW.plus_ms(60_000), ..task(1) };
    done(&mut scratch, &[accept(later)]).await;
    let wish = || Wish::RunNow(RunNow { row: id(1) });
    let report = scratch.run(&[manage(2, wish())], room(10)).await;
    assert_eq!(report.outcomes, [Ok(())]);
    assert_eq!(report.claims.iter().map(|claim| claim.row.id).collect::<Vec<_>>(), [id(1)]);
    let report = scratch.run(&[manage(3, wish()), cancel(id(1), 4)], room(10)).await;
    let running = || Err(Refusal::Declined(Declined::Running(id(1))));
    assert_eq!(report.outcomes, [running(), running()]);
}

#[tokio::test]
async fn the_front_of_a_line_is_found_in_order_however_long_it_is_and_also_where_versions_are_equal()
 {
    let mut scratch = scratch_with_app().await;
    let in_line = |number, key: &str, version| {
        let order = Some(OrderKey { key: key.into(), version });
        accept(OutboxRow { order, ..task(number) })
    };
    let long =
        (1_u8..=9).map(|number| in_line(u128::from(number), "long", 100 - i64::from(number)));
    let equal = (11_u128..=19).map(|number| in_line(number, "equal", 5));
    let rows: Vec<Command> = long.chain(equal).chain([in_line(20, "short", 1)]).collect();
    done(&mut scratch, &rows).await;
    let catalog = scratch.batcher().catalog().load_full();
    let mut facts = Facts::of_rehearsal(catalog, Arc::default(), 0, NOW);
    let line = |key: &str| LineKey { queue: QUEUE, key: key.into() };
    let lines = ["long", "equal", "short", "none"].map(line);
    let keys = Keys { lines: lines.into(), ..Keys::default() };
    facts::read(&mut scratch.batcher().conn, keys, &mut facts).await.expect("reads");
    let found = |key: &str| facts.lines.get(&line(key)).map(|rows| rows.iter().map(|row| row.0));
    let front: Vec<Id> = found("long").expect("is there").collect();
    assert_eq!(front, [id(9), id(8), id(7), id(6)]);
    assert_eq!(found("equal").map(Iterator::count), Some(9));
    assert_eq!(found("short").map(Iterator::count), Some(1));
    assert!(found("none").is_none());
}

#[tokio::test]
async fn a_line_of_which_many_are_taken_out_at_once_goes_on() {
    let mut scratch = scratch_with_app().await;
    let in_line = |number: u128| {
        let version = i64::try_from(number).expect("is small");
        OutboxRow { order: Some(OrderKey { key: "k".into(), version }), ..task(number) }
    };
    let rows: Vec<Command> = (1..=12).map(|number| accept(in_line(number))).collect();
    done(&mut scratch, &rows).await;
    let all: Vec<Command> = (1..=10).map(|number| cancel(id(number), 100 + number)).collect();
    done(&mut scratch, &all).await;
    let report = scratch.run(&[], room(10)).await;
    assert_eq!(report.claims.iter().map(|claim| claim.row.id).collect::<Vec<_>>(), [id(11)]);
    let last = scratch.reader().outbox_row(id(12)).await.expect("reads").expect("is there");
    assert!(last.row.available_at.is_held());
}

#[tokio::test]
async fn scans_see_what_filters_look_at() {
    let mut scratch = scratch_with_app().await;
    let second = OutboxRow { root: id(1), cause: Some(id(1)), attempt: 2, ..task(2) };
    done(&mut scratch, &[accept(task(1)), accept(second), accept(task(3))]).await;
    let report = scratch.run(&[], room(1)).await;
    assert_eq!(report.claims.len(), 1);
    let reader = scratch.reader();
    let all = reader.scan_outbox(Rows::All, None, 10).await.expect("reads");
    assert_eq!(all.iter().map(|row| row.id).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
    let brief = &all[1];
    assert_eq!((brief.app, brief.queue, brief.attempt), (APP, QUEUE, 2));
    assert_eq!((brief.root, brief.cause), (id(1), Some(id(1))));
    let before = reader.scan_outbox(Rows::All, Some(id(2)), 10).await.expect("reads");
    assert_eq!(before.iter().map(|row| row.id).collect::<Vec<_>>(), [id(1)]);
    let running = reader.scan_outbox(Rows::Running, None, 10).await.expect("reads");
    assert_eq!(running.iter().map(|row| row.id).collect::<Vec<_>>(), [report.claims[0].row.id]);
    let after = reader.outbox_after(id(2), 1).await.expect("reads");
    assert_eq!(after.iter().map(|row| row.id).collect::<Vec<_>>(), [id(2)]);

    let waiting: Vec<Id> =
        all.iter().map(|row| row.id).filter(|id| *id != report.claims[0].row.id).collect();
    done(&mut scratch, &[cancel(waiting[0], 10), cancel(waiting[1], 11)]).await;
    done(&mut scratch, &[discard(made(11), 12)]).await;
    let reader = scratch.reader();
    for (which, expected) in [
        (Letters::Open, vec![made(10)]),
        (Letters::Resolved, vec![made(11)]),
        (Letters::Any, vec![made(11), made(10)]),
    ] {
        for app in [None, Some(APP)] {
            let found = reader.scan_letters(which, app, None, 10).await.expect("reads");
            assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), expected, "{which:?}");
        }
    }
    let found = reader.scan_letters(Letters::Open, None, None, 10).await.expect("reads");
    assert_eq!((&*found[0].error, &*found[0].kind), ("cancelled: no", "cancelled"));
    assert!(found[0].bytes > 10);
    let rows: BTreeSet<Id> = reader
        .letters_of_root(id(1), 10)
        .await
        .expect("reads")
        .iter()
        .map(|one| one.letter.row.id)
        .collect();
    assert!(rows.iter().all(|row| waiting.contains(row)));
}
