//! Schedules against calendars: tables of whole values, and a year of both changes of the clock.

use super::*;

const BERLIN: &str = "Europe/Berlin";

fn schedule(cron: &str, zone: &str, catch_up: CatchUp) -> Schedule {
    Schedule::parse(cron, zone, catch_up).unwrap_or_else(|error| panic!("{error}"))
}

fn in_berlin(cron: &str) -> Schedule {
    schedule(cron, BERLIN, CatchUp::None)
}

/// A moment from its text with an offset.
fn at(text: &str) -> Timestamp {
    let at: jiff::Timestamp = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    Timestamp(at.as_millisecond())
}

fn utc(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).expect("within the calendar").to_string()
}

/// All due times after one moment and up to another.
fn between(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let mut found = Vec::new();
    let mut next = next_due(schedule, after);
    while let Some(due) = next.filter(|due| *due <= until) {
        found.push(due);
        next = next_due(schedule, due);
    }
    found
}

#[test]
fn the_next_due_time_is_the_first_one_after_a_moment() {
    for (cron, after, expected) in [
        ("0 6 * * *", "2026-01-31T05:59:59+01:00", "2026-01-31T05:00:00Z"),
        ("0 6 * * *", "2026-01-31T06:00:00+01:00", "2026-02-01T05:00:00Z"),
        ("0 6 * * *", "2026-01-31T06:00:00.001+01:00", "2026-02-01T05:00:00Z"),
        ("0 6 * * *", "2026-07-01T00:00:00Z", "2026-07-01T04:00:00Z"),
        ("*/15 * * * *", "2026-01-31T06:07:00+01:00", "2026-01-31T05:15:00Z"),
        ("30 0 6 * * *", "2026-01-31T00:00:00Z", "2026-01-31T05:00:30Z"),
        ("* * * * * *", "2026-01-31T00:00:00.999Z", "2026-01-31T00:00:01Z"),
        ("0 0 29 2 *", "2026-01-31T00:00:00Z", "2028-02-28T23:00:00Z"),
        ("0 12 * * MON", "2026-01-31T00:00:00Z", "2026-02-02T11:00:00Z"),
        ("0 12 L * *", "2026-02-01T00:00:00Z", "2026-02-28T11:00:00Z"),
        ("@daily", "2026-01-31T12:00:00Z", "2026-01-31T23:00:00Z"),
    ] {
        let next = next_due(&in_berlin(cron), at(after)).expect("there is one");
        assert_eq!(utc(next), expected, "{cron} after {after}");
    }
}

/// In Berlin the clock goes from 2:00 to 3:00 on 29 March 2026, which is 1:00 UTC, and from 3:00 back to 2:00 on
/// 25 October, which is 1:00 UTC as well. The table is the one of `docs/schedules.md`.
#[test]
fn the_two_nights_in_which_the_clock_is_changed_are_as_documented() {
    let gap = ("2026-03-28T23:00:00Z", "2026-03-29T04:00:00Z");
    let fold = ("2026-10-24T22:00:00Z", "2026-10-25T03:00:00Z");
    let (spring, autumn) =
        (|t: &str| format!("2026-03-29T{t}Z"), |t: &str| format!("2026-10-25T{t}Z"));
    for (cron, (after, until), expected) in [
        // A time of day that there is not: at the first moment after the gap.
        ("30 2 * * *", gap, vec![spring("01:00:00")]),
        ("0 3 * * *", gap, vec![spring("01:00:00")]),
        // Several times an hour: those within the gap are left out.
        ("0,30 2 * * *", gap, vec![]),
        (
            "*/30 1-3 * * *",
            gap,
            vec![spring("00:00:00"), spring("00:30:00"), spring("01:00:00"), spring("01:30:00")],
        ),
        (
            "0 * * * *",
            gap,
            vec![
                spring("00:00:00"),
                spring("01:00:00"),
                spring("02:00:00"),
                spring("03:00:00"),
                spring("04:00:00"),
            ],
        ),
        // A time of day that there is twice: the first time only.
        ("30 2 * * *", fold, vec![autumn("00:30:00")]),
        ("0 3 * * *", fold, vec![autumn("02:00:00")]),
        // Several times an hour, or each hour: both times.
        (
            "0,30 2 * * *",
            fold,
            vec![autumn("00:00:00"), autumn("00:30:00"), autumn("01:00:00"), autumn("01:30:00")],
        ),
        (
            "0 * * * *",
            fold,
            vec![
                "2026-10-24T23:00:00Z".to_owned(),
                autumn("00:00:00"),
                autumn("01:00:00"),
                autumn("02:00:00"),
                autumn("03:00:00"),
            ],
        ),
    ] {
        let found: Vec<String> =
            between(&in_berlin(cron), at(after), at(until)).into_iter().map(utc).collect();
        assert_eq!(found, expected, "{cron} after {after}");
    }
}

#[test]
fn every_day_of_a_year_has_its_run_whatever_is_done_to_the_clock() {
    let (begin, end) = (at("2026-01-01T00:00:00+01:00"), at("2026-12-31T23:59:59+01:00"));
    for cron in ["0 6 * * *", "30 2 * * *", "0 2 * * *", "0 3 * * *", "59 1 * * *"] {
        let schedule = in_berlin(cron);
        let due = between(&schedule, begin.plus_ms(-1), end);
        assert_eq!(due.len(), 365, "{cron}");
        let mut days: Vec<String> = due
            .iter()
            .map(|at| schedule.local(*at).expect("within the calendar")[..10].to_owned())
            .collect();
        days.dedup();
        assert_eq!(days.len(), 365, "{cron}");
    }
    // Each hour of the year that there was: one less in spring, one more in autumn.
    assert_eq!(between(&in_berlin("0 * * * *"), begin.plus_ms(-1), end).len(), 365 * 24);
}

#[test]
fn what_is_no_schedule_is_refused_with_the_reason() {
    for (cron, zone, expected) in [
        ("", "UTC", "has 0 fields"),
        ("0 6 * *", "UTC", "has 4 fields; five are minute, hour"),
        ("0 0 6 * * * 2026", "UTC", "has 7 fields"),
        ("61 * * * *", "UTC", "cron \"61 * * * *\": "),
        ("a b c d e", "UTC", "cron \"a b c d e\": "),
        ("@sometimes", "UTC", "cron \"@sometimes\": "),
        ("0 0 30 2 *", "UTC", "cron \"0 0 30 2 *\" never comes due"),
        ("0 6 * * *", "Europe/Berln", "time_zone \"Europe/Berln\" is not known on this machine"),
        ("0 6 * * *", "../../etc/passwd", "is not known on this machine"),
        ("0 6 * * *", "", "is not known on this machine"),
    ] {
        let error = Schedule::parse(cron, zone, CatchUp::None).expect_err("it is wrong");
        assert!(error.to_string().contains(expected), "{cron} {zone}\n{error}");
    }
    let long = "0,".repeat(CRON_BYTES_MAX);
    let error = Schedule::parse(&long, "UTC", CatchUp::None).expect_err("it is too long");
    assert!(error.to_string().contains("has 400 bytes, at most 200"), "{error}");
}

#[test]
fn what_was_missed_is_made_up_for_as_was_asked() {
    let (off, on) = (at("2026-03-01T12:00:00Z"), at("2026-03-08T12:00:00Z"));
    let six = |day: u32| at(&format!("2026-03-{day:02}T06:00:00Z"));
    for (catch_up, expected) in [
        (CatchUp::None, Fires::default()),
        (CatchUp::Once, Fires { times: vec![six(8)], missed: 6 }),
        (CatchUp::All, Fires { times: (2..=8).map(six).collect(), missed: 0 }),
    ] {
        assert_eq!(fires(&schedule("0 6 * * *", "UTC", catch_up), off, on), expected);
    }
}

#[test]
fn a_run_that_is_only_a_little_late_is_not_left_out() {
    let minutely = schedule("* * * * *", "UTC", CatchUp::None);
    let begin = at("2026-03-01T12:00:00Z");
    for (passed_ms, expected) in [
        (59_999, Fires::default()),
        (60_000, Fires { times: vec![begin.plus_ms(60_000)], missed: 0 }),
        (119_000, Fires { times: vec![begin.plus_ms(60_000)], missed: 0 }),
        (180_000, Fires { times: vec![begin.plus_ms(180_000)], missed: 2 }),
    ] {
        assert_eq!(fires(&minutely, begin, begin.plus_ms(passed_ms)), expected, "{passed_ms}");
    }
    let hourly = schedule("0 * * * *", "UTC", CatchUp::None);
    let due = at("2026-03-01T13:00:00Z");
    assert_eq!(fires(&hourly, begin, due.plus_ms(LATE_MS_MAX)).times, [due]);
    assert_eq!(fires(&hourly, begin, due.plus_ms(LATE_MS_MAX + 1)), Fires::default());
}

#[test]
fn p7_a_month_of_missed_seconds_makes_a_hundred_rows_and_the_rest_is_counted() {
    let secondly = schedule("* * * * * *", BERLIN, CatchUp::All);
    let (off, on) = (at("2026-03-15T12:00:00.500Z"), at("2026-04-14T12:00:00.250Z"));
    let Fires { times, missed } = fires(&secondly, off, on);
    assert_eq!((times.len(), utc(times[99])), (CATCH_UP_MAX, "2026-04-14T12:00:00Z".to_owned()));
    assert!(times.windows(2).all(|pair| pair[1].ms_since(pair[0]) == 1_000));
    assert_eq!(missed, 30 * 86_400 - 100);
}

#[test]
fn counting_by_the_hour_comes_to_the_same_as_counting_one_by_one() {
    // Over both changes of the clock, from and to odd moments.
    for cron in ["*/7 * * * *", "0,30 1-3 * * *", "30 2 * * *", "0 12 * * SUN", "15 */7 * * *"] {
        let schedule = in_berlin(cron);
        let (from, to) = (at("2026-03-27T12:34:56.789Z"), at("2026-11-01T01:23:45Z"));
        let expected = between(&schedule, from, to).len() as u64;
        assert_eq!(count(&schedule, from, to), expected, "{cron}");
    }
}

#[test]
fn a_timetable_is_due_when_its_first_schedule_is() {
    let lines = [(1, "0 6 * * *"), (2, "*/10 * * * *")].map(|(id, cron)| {
        let mark = Mark { fired_until: at("2026-03-01T05:51:00Z"), last_fired: None };
        (TriggerId(id), Arc::new(schedule(cron, "UTC", CatchUp::None)), mark)
    });
    let six = at("2026-03-01T06:00:00Z");
    let mut table = Timetable::build(lines);
    assert_eq!(table.next_due(), Some(six));
    assert_eq!(table.take_due(9, six.plus_ms(-1)), []);
    assert_eq!(table.take_due(1, six).len(), 1);
    let due: Vec<TriggerId> = table.take_due(9, six).into_iter().map(|(id, _)| id).collect();
    assert_eq!(due, [TriggerId(1), TriggerId(2)]);
    for id in due {
        table.fired(id, six);
    }
    assert_eq!(table.take_due(9, six), []);
    assert_eq!(table.next_due(), Some(six.plus_ms(600_000)));
    table.put_off(TriggerId(2), six);
    assert_eq!(table.next_due(), Some(six.plus_ms(RETRY_MS)));
}

#[test]
fn what_was_missed_and_is_not_made_up_for_is_due_the_next_time() {
    let mark = Mark { fired_until: at("2026-03-01T00:00:00Z"), last_fired: None };
    let daily = Arc::new(schedule("0 6 * * *", "UTC", CatchUp::None));
    let mut table = Timetable::build([(TriggerId(1), Arc::clone(&daily), mark)]);
    let on = at("2026-03-08T12:00:00Z");
    assert_eq!(table.take_due(9, on), []);
    let next = at("2026-03-09T06:00:00Z");
    assert_eq!(table.next_due(), Some(next));
    let due = table.take_due(9, next);
    assert_eq!(due, [(TriggerId(1), mark.fired_until)]);
    assert_eq!(fires(&daily, due[0].1, next), Fires { times: vec![next], missed: 8 });
}

#[test]
fn a_clock_that_was_set_makes_no_storm_and_no_silence() {
    let now = at("2026-03-01T12:00:30Z");
    let mark = Mark { fired_until: at("2026-03-01T12:00:00Z"), last_fired: None };
    let minutely = Arc::new(schedule("* * * * *", "UTC", CatchUp::All));
    for years in [10, -10] {
        let set = now.plus_ms(years * 365 * 24 * HOUR_MS);
        let mut table = Timetable::build([(TriggerId(1), Arc::clone(&minutely), mark)]);
        assert_eq!(table.go_on_from(set, Timestamp(i64::MIN)), 1);
        assert_eq!(table.take_due(9, set), []);
        let next = table.next_due().expect("there is one");
        assert!(next > set && next.ms_since(set) <= 60_000, "{years}");
    }
}
