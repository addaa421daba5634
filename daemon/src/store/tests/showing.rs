//! What is shown of the store to those who look on.

use std::sync::atomic::Ordering;

use crate::flow::Command;
use crate::flow::facts::Room;
use crate::flow::manage::cancel::Cancel;
use crate::flow::manage::run_now::RunNow;
use crate::flow::manage::{Manage, Record, Wish};
use crate::ids::PrincipalId;
use crate::outbox::row::{OrderKey, OutboxRow};
use crate::store::standing::{COUNTED_MAX, QueueStanding};
use crate::store::tests::{APP, NOW, QUEUE, accept, id, room, scratch_with_app, task};
use crate::store::told::Became;

#[tokio::test]
async fn rows_are_counted_by_what_they_wait_for() {
    let mut scratch = scratch_with_app().await;
    let later = NOW.plus_ms(5_000);
    let line = |version| Some(OrderKey { key: "a".into(), version });
    let rows = [
        OutboxRow { available_at: NOW.plus_ms(-70), ..task(1) },
        task(2),
        OutboxRow { available_at: later, ..task(3) },
        OutboxRow { available_at: later, attempt: 2, ..task(4) },
        OutboxRow { order: line(1), available_at: later, ..task(5) },
        OutboxRow { order: line(2), available_at: NOW.held(), ..task(6) },
    ];
    scratch.run(&rows.map(accept), Room::default()).await;
    let standing = scratch.reader().standing(NOW).await.expect("reads");
    let expected = QueueStanding {
        queue: QUEUE,
        app: APP,
        due: 2,
        first: Some(NOW.plus_ms(-70)),
        later: 3,
        retry: 1,
        behind: 1,
    };
    assert_eq!(standing, [expected]);
    scratch.run(&[], room(10)).await;
    let standing = scratch.reader().standing(NOW).await.expect("reads");
    assert_eq!(standing, [QueueStanding { due: 0, first: Some(later), ..expected }]);
}

#[tokio::test]
async fn p7_a_large_backlog_is_counted_no_further_than_its_limit() {
    let mut scratch = scratch_with_app().await;
    let many = u128::try_from(COUNTED_MAX).expect("it is positive") + 50;
    let rows: Vec<Command> = (1..=many).map(|number| accept(task(number))).collect();
    scratch.run(&rows, Room::default()).await;
    let standing = scratch.reader().standing(NOW).await.expect("reads");
    assert_eq!(standing.first().map(|one| one.due), Some(COUNTED_MAX));
}

#[tokio::test]
async fn rows_that_come_and_that_people_move_are_told_only_while_somebody_looks_on() {
    let mut scratch = scratch_with_app().await;
    let later = NOW.plus_ms(5_000);
    let row = |number| OutboxRow { available_at: later, ..task(number) };
    let wish = |number, wish| {
        let (by, fresh) = (PrincipalId(9), id(number));
        Command::Manage(Manage { by, record: Record::Alone, fresh, wish })
    };
    let unseen = scratch.run(&[accept(row(1))], Room::default()).await;
    assert_eq!(unseen.told, []);
    scratch.batcher().watched().store(true, Ordering::Relaxed);
    let mut told = async |commands: &[Command]| {
        let report = scratch.run(commands, Room::default()).await;
        let told = report.told.into_iter();
        told.map(|one| (one.row.id, one.became)).collect::<Vec<_>>()
    };
    assert_eq!(told(&[accept(row(2))]).await, [(id(2), Became::Pending(later))]);
    let run_now = wish(10, Wish::RunNow(RunNow { row: id(1) }));
    assert_eq!(told(&[run_now]).await, [(id(1), Became::Pending(NOW))]);
    let cancel = wish(11, Wish::Cancel(Cancel { row: id(2), reason: "no".to_owned() }));
    assert_eq!(told(&[cancel]).await, [(id(2), Became::DeadLetter)]);
}
