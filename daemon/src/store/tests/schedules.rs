//! Schedules on a real file: fired once each, over restarts and changes, and silent in between.

use crate::flow::configure::CatalogChange;
use crate::flow::facts::Room;
use crate::ids::{Ids, TriggerId};
use crate::outbox::source::{OutboxSourceKind, TriggerDetails};
use crate::schedule::CatchUp;
use crate::store::clock::Between;
use crate::store::tests::{Scratch, accept, id, kv_trigger, room, scratch_with_app, task};
use crate::time::{Step, Timestamp};
use crate::trigger::{Ordering, Trigger};

/// 2026-01-01, midnight in UTC.
const NEW_YEAR: Timestamp = Timestamp(1_767_225_600_000);
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const SCHEDULE: TriggerId = TriggerId(70);

fn schedule(cron: &str, catch_up: CatchUp) -> Trigger {
    let details =
        TriggerDetails::Schedule { cron: cron.into(), time_zone: "Europe/Berlin".into(), catch_up };
    Trigger { id: SCHEDULE, name: "report".into(), details, ..kv_trigger(70, Ordering::Any) }
}

async fn put(scratch: &mut Scratch, trigger: Trigger, now: Timestamp) {
    let plan = |_: &_, next, _| {
        Ok::<_, std::convert::Infallible>((vec![CatalogChange::PutTrigger(trigger)], next))
    };
    scratch.batcher().configure(plan, now).await.expect("is configured");
}

async fn with(trigger: Trigger) -> Scratch {
    let mut scratch = scratch_with_app().await;
    put(&mut scratch, trigger, NEW_YEAR).await;
    scratch
}

/// What the writer does when it is woken; the rows that came of it are claimed. Their number.
async fn wake(scratch: &mut Scratch, now: Timestamp) -> usize {
    let commands = scratch.batcher().due_schedules(&Ids::random(), now);
    let report = scratch.run_at(&commands, room(1_000), now).await;
    assert!(report.outcomes.iter().all(Result::is_ok), "{:?}", report.outcomes);
    assert_eq!(report.committed, !commands.is_empty(), "what fires nothing writes nothing");
    let claims = report.claims;
    assert!(claims.iter().all(|claim| claim.row.source == OutboxSourceKind::Schedule));
    claims.len()
}

#[tokio::test]
async fn a_year_of_days_fires_once_each_and_writes_nothing_in_between() {
    let mut scratch = with(schedule("30 2 * * *", CatchUp::None)).await;
    let (mut now, mut fired) = (NEW_YEAR, 0);
    while let Some(due) = scratch.batcher().next_schedule() {
        if due > NEW_YEAR.plus_ms(365 * DAY_MS) {
            break;
        }
        assert!(due > now);
        assert_eq!(wake(&mut scratch, due.plus_ms(-1)).await, 0);
        fired += wake(&mut scratch, due.plus_ms(2)).await;
        assert_eq!(wake(&mut scratch, due.plus_ms(900)).await, 0);
        now = due;
    }
    assert_eq!((fired, scratch.count("outbox").await), (365, 365));
}

#[tokio::test]
async fn p3_a_due_time_that_has_fired_does_not_fire_again_after_a_restart() {
    let mut scratch = with(schedule("0 * * * *", CatchUp::All)).await;
    let due = NEW_YEAR.plus_ms(HOUR_MS);
    assert_eq!(wake(&mut scratch, due).await, 1);
    scratch.restart().await;
    assert_eq!(wake(&mut scratch, due.plus_ms(5)).await, 0);
    assert_eq!(scratch.batcher().next_schedule(), Some(due.plus_ms(HOUR_MS)));
    let marks = scratch.reader().schedule_marks().await.expect("reads");
    assert_eq!(marks[0].1.last_fired, Some(due));
}

#[tokio::test]
async fn what_was_missed_without_power_is_made_up_for_after_it() {
    for (catch_up, expected) in [(CatchUp::None, 0), (CatchUp::Once, 1), (CatchUp::All, 3)] {
        let mut scratch = with(schedule("0 6 * * *", catch_up)).await;
        scratch.restart().await;
        let on = NEW_YEAR.plus_ms(3 * DAY_MS);
        assert_eq!(wake(&mut scratch, on).await, expected, "{catch_up:?}");
        let next = scratch.batcher().next_schedule();
        assert_eq!(next, Some(on.plus_ms(5 * HOUR_MS)), "{catch_up:?}");
    }
}

#[tokio::test]
async fn a_schedule_begins_when_it_is_made_enabled_or_given_other_times() {
    let hourly = || schedule("0 * * * *", CatchUp::All);
    let mut scratch = with(hourly()).await;
    let at = |hours: i64, minutes: i64| NEW_YEAR.plus_ms(hours * HOUR_MS + minutes * 60_000);
    // The same times with another script: what is due stays due.
    put(&mut scratch, Trigger { script: "other".into(), ..hourly() }, at(1, 1)).await;
    assert_eq!(wake(&mut scratch, at(1, 1)).await, 1);
    // Off for two hours: those were not missed.
    put(&mut scratch, Trigger { enabled: false, ..hourly() }, at(1, 30)).await;
    assert_eq!(scratch.batcher().next_schedule(), None);
    put(&mut scratch, hourly(), at(3, 30)).await;
    assert_eq!(wake(&mut scratch, at(3, 31)).await, 0);
    assert_eq!(scratch.batcher().next_schedule(), Some(at(4, 0)));
    put(&mut scratch, schedule("*/15 * * * *", CatchUp::All), at(3, 50)).await;
    assert_eq!(wake(&mut scratch, at(3, 51)).await, 0);
    let marks = scratch.reader().schedule_marks().await.expect("reads");
    assert_eq!(marks[0].1.last_fired, Some(at(1, 0)), "it is still known");
}

#[tokio::test]
async fn a_schedule_that_was_refused_is_due_again_later() {
    let mut scratch = with(schedule("0 * * * *", CatchUp::Once)).await;
    let due = NEW_YEAR.plus_ms(HOUR_MS);
    scratch.batcher().note_free_bytes(0, 1);
    let commands = scratch.batcher().due_schedules(&Ids::random(), due);
    let report = scratch.run_at(&commands, room(5), due).await;
    assert!(report.outcomes[0].is_err() && !report.committed);
    scratch.batcher().schedule_refused(&commands[0], due);
    assert_eq!(scratch.batcher().next_schedule(), Some(due.plus_ms(60_000)));
    scratch.batcher().note_free_bytes(u64::MAX, 1);
    assert_eq!(wake(&mut scratch, due.plus_ms(60_000)).await, 1);
}

#[tokio::test]
async fn a_clock_that_is_set_by_years_makes_no_storm_and_shifts_what_waits() {
    for years in [10, -10] {
        let mut scratch = with(schedule("* * * * *", CatchUp::All)).await;
        let from = NEW_YEAR.plus_ms(30_000);
        let mut later = task(1);
        later.available_at = from.plus_ms(5_000);
        scratch.run_at(&[accept(later)], Room::default(), from).await;
        let step = Step { from, to: from.plus_ms(years * 365 * DAY_MS) };
        scratch.batcher().clock_was_set(step, Between::NeverWas).await.expect("is put right");
        for restarted in [false, true] {
            if restarted {
                scratch.restart().await;
            }
            let next = scratch.batcher().next_schedule().expect("is enabled");
            assert_eq!(next, step.to.plus_ms(30_000), "{years}, {restarted}");
            let report = scratch.run_at(&[], room(0), step.to).await;
            assert_eq!(report.next_due, Some(step.to.plus_ms(5_000)), "{years}, {restarted}");
        }
        let waits = scratch.reader().outbox_row(id(1)).await.expect("reads").expect("waits");
        assert_eq!(waits.row.available_at, step.to.plus_ms(5_000));
    }
}

#[tokio::test]
async fn what_was_missed_before_the_clock_was_right_is_made_up_for() {
    let mut scratch = with(schedule("0 6 * * *", CatchUp::All)).await;
    let from = NEW_YEAR.plus_ms(HOUR_MS);
    let step = Step { from, to: from.plus_ms(2 * DAY_MS) };
    scratch.batcher().clock_was_set(step, Between::Missed).await.expect("is put right");
    assert_eq!(wake(&mut scratch, step.to).await, 2);
}

#[tokio::test]
async fn schedules_that_fired_far_ahead_of_the_clock_go_on_from_now_when_they_begin() {
    let mut scratch = with(schedule("0 * * * *", CatchUp::None)).await;
    let ahead = NEW_YEAR.plus_ms(400 * DAY_MS);
    assert_eq!(wake(&mut scratch, ahead).await, 1);
    scratch.restart().await;
    let now = NEW_YEAR.plus_ms(30 * 60_000);
    scratch.batcher().clock_is_believed(now).await.expect("is put right");
    assert_eq!(scratch.batcher().next_schedule(), Some(NEW_YEAR.plus_ms(HOUR_MS)));
    assert_eq!(wake(&mut scratch, NEW_YEAR.plus_ms(HOUR_MS)).await, 1);
}

#[tokio::test]
async fn a_retry_that_a_clock_far_ahead_put_off_is_due_when_the_clock_is_right() {
    let mut scratch = scratch_with_app().await;
    let now = NEW_YEAR;
    let rows = [(1, 1, 14 * DAY_MS), (2, 1, HOUR_MS / 4), (3, 0, 14 * DAY_MS)];
    for (number, attempt, wait_ms) in rows {
        let mut waits = task(number);
        (waits.attempt, waits.available_at) = (attempt, now.plus_ms(wait_ms));
        scratch.run_at(&[accept(waits)], Room::default(), now).await;
    }
    scratch.restart().await;
    scratch.batcher().clock_is_believed(now).await.expect("is put right");
    for (number, wait_ms) in [(1, 0), (2, HOUR_MS / 4), (3, 14 * DAY_MS)] {
        let stored = scratch.reader().outbox_row(id(number)).await.expect("reads");
        let at = stored.expect("it waits").row.available_at;
        assert_eq!(at, now.plus_ms(wait_ms), "row {number}");
    }
    assert_eq!(scratch.run_at(&[], room(5), now).await.claims.len(), 1);
}

#[tokio::test]
async fn the_newest_time_that_is_stored_is_known_at_the_next_start() {
    let mut scratch = with(schedule("0 * * * *", CatchUp::None)).await;
    let due = NEW_YEAR.plus_ms(HOUR_MS);
    wake(&mut scratch, due).await;
    let (folder, batcher) = scratch.into_parts();
    batcher.stop().await.expect("stops");
    let config = crate::store::tests::config(&folder);
    let store = crate::store::open::Store::open(config, id(9)).await.expect("opens");
    assert_eq!(store.newest, due);
}
