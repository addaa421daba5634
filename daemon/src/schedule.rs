//! Schedules: when a cron expression is due in a time zone, and what is made up for after a while without power.
//!
//! Pure: the time comes in as a value. What a zone is, is read once, when the expression is. `docs/schedules.md` has the
//! rules for the two nights of the year in which the clock is changed; the tests below are the same table.

use std::collections::BTreeMap;
use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Zoned};

use crate::ids::TriggerId;
use crate::payload::MapWriter;
use crate::time::Timestamp;

/// Bytes of a cron expression.
pub const CRON_BYTES_MAX: usize = 200;
/// Bytes of a time zone's name.
pub const ZONE_BYTES_MAX: usize = 100;
/// Rows that `catch_up = "all"` makes at once; what is beyond is counted.
pub const CATCH_UP_MAX: usize = 100;
/// Later than this a due time was missed. Below, it is only late: a restart is no reason to leave a run out.
pub const LATE_MS_MAX: i64 = 60_000;
/// What could not be made a row, since the app or the disk is full, is tried again after this.
pub const RETRY_MS: i64 = 60_000;

/// The name that stands for the time zone of this machine.
pub const LOCAL: &str = "local";

/// Missed due times are counted hour by hour, up to so many hours in which there are any.
const COUNTED_HOURS_MAX: usize = 20_000;
const HOUR_MS: i64 = 3_600_000;

/// What becomes of due times that were missed while the power was off. The texts are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CatchUp {
    /// Nothing: the next one is the next one.
    #[default]
    None,
    /// One run for all of them.
    Once,
    /// One run each, the newest [`CATCH_UP_MAX`].
    All,
}

impl CatchUp {
    pub const ALL: [CatchUp; 3] = [Self::None, Self::Once, Self::All];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Once => "once",
            Self::All => "all",
        }
    }
}

/// The text is no schedule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    #[error("cron \"{cron}\": {reason}")]
    Cron { cron: String, reason: String },
    #[error("cron \"{0}\" never comes due")]
    Never(String),
    #[error(
        "time_zone \"{0}\" is not known on this machine; write it like Europe/Berlin, UTC, or local"
    )]
    Zone(String),
}

/// A cron expression in a time zone, ready to be asked.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
    catch_up: CatchUp,
    /// Due times within an hour in which there are any.
    an_hour: u64,
}

impl Schedule {
    /// Reads minute, hour, day, month and weekday, with seconds before them if there are six fields.
    pub fn parse(cron: &str, zone: &str, catch_up: CatchUp) -> Result<Schedule, ScheduleError> {
        let fail = |reason: String| ScheduleError::Cron { cron: cron.to_owned(), reason };
        if cron.len() > CRON_BYTES_MAX {
            return Err(fail(format!("has {} bytes, at most {CRON_BYTES_MAX}", cron.len())));
        }
        let fields = cron.split_whitespace().count();
        if !(5..=6).contains(&fields) && !cron.trim_start().starts_with('@') {
            return Err(fail(format!(
                "has {fields} fields; five are minute, hour, day, month, weekday, and before them may stand seconds"
            )));
        }
        let parser =
            CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let parsed = parser.parse(cron).map_err(|error| fail(explained(&error.to_string())))?;
        let (seconds, minutes) = (&parsed.pattern.seconds, &parsed.pattern.minutes);
        let an_hour = seconds.values().len() as u64 * minutes.values().len() as u64;
        let schedule = Schedule { cron: parsed, zone: zone_named(zone)?, catch_up, an_hour };
        // Some time in which every day of a calendar lies ahead.
        match next_due(&schedule, Timestamp(0)) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never(cron.to_owned())),
        }
    }

    /// The zone's name as scripts can use it.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The event of a run as JSON text.
    pub fn event(&self, scheduled_at: Timestamp, missed: u64) -> Arc<str> {
        let mut event = String::new();
        let mut map = MapWriter::open(&mut event);
        map.json("scheduled_at", &scheduled_at.0.to_string());
        map.json("missed", &missed.to_string());
        map.text("time_zone", self.zone_name());
        map.close();
        event.into()
    }

    /// A moment as the clock on the wall shows it in the schedule's zone.
    pub fn local(&self, at: Timestamp) -> Option<String> {
        let local = self.zoned(at)?;
        Some(local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
    }

    fn zoned(&self, at: Timestamp) -> Option<Zoned> {
        let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }
}

fn explained(error: &str) -> String {
    let plain = error.split_once(": ").map_or(error, |(_, plain)| plain);
    plain.trim_end_matches('.').replace("CronPattern", "the expression")
}

fn zone_named(name: &str) -> Result<TimeZone, ScheduleError> {
    if name == LOCAL {
        return Ok(TimeZone::system());
    }
    let known = name.len() <= ZONE_BYTES_MAX;
    let found = known.then(|| TimeZone::get(name).ok()).flatten();
    found.ok_or_else(|| ScheduleError::Zone(name.chars().take(ZONE_BYTES_MAX).collect()))
}

/// The first due time after a moment. `None` when there is none in any calendar.
pub fn next_due(schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    let from = schedule.zoned(after)?;
    let next = schedule.cron.find_next_occurrence(&from, false).ok()?;
    let next = Timestamp(next.timestamp().as_millisecond());
    // Whole seconds only, so a moment within one may give the second that it lies in.
    if next > after {
        return Some(next);
    }
    let from = from.checked_add(SignedDuration::from_secs(1)).ok()?;
    let next = schedule.cron.find_next_occurrence(&from, true).ok()?;
    Some(Timestamp(next.timestamp().as_millisecond()))
}

/// The last due time after one moment and up to another. It is searched for by halves, and forward only: so it agrees
/// with [`next_due`] also in the nights in which the clock is changed.
fn last_due(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
    let due = |after| next_due(schedule, after).filter(|found| *found <= until);
    let mut last = due(after)?;
    let mut beyond = until;
    while let Some(next) = due(last) {
        let middle = last.plus_ms(beyond.ms_since(last) / 2);
        match due(middle) {
            Some(found) => last = found,
            None => (last, beyond) = (next, middle),
        }
    }
    Some(last)
}

/// The rows that a schedule makes at one moment, and what was left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fires {
    /// The due times that get a row, the oldest first.
    pub times: Vec<Timestamp>,
    /// Due times before them that get none.
    pub missed: u64,
}

/// What fires now of a schedule that has fired for everything up to `fired_until`. Empty when nothing does.
pub fn fires(schedule: &Schedule, fired_until: Timestamp, now: Timestamp) -> Fires {
    let times = firing(schedule, fired_until, now);
    let missed =
        times.first().map_or(0, |oldest| count(schedule, fired_until, *oldest).saturating_sub(1));
    Fires { times, missed }
}

/// The due times that get a row now, the oldest first.
fn firing(schedule: &Schedule, fired_until: Timestamp, now: Timestamp) -> Vec<Timestamp> {
    let Some(newest) = last_due(schedule, fired_until, now) else { return Vec::new() };
    let is_missed = now.ms_since(newest) > LATE_MS_MAX;
    let most = match schedule.catch_up {
        CatchUp::None if is_missed => return Vec::new(),
        CatchUp::None | CatchUp::Once => 1,
        CatchUp::All => CATCH_UP_MAX,
    };
    let mut times = vec![newest];
    while times.len() < most {
        let before = times[times.len() - 1].plus_ms(-1);
        let Some(earlier) = last_due(schedule, fired_until, before) else { break };
        times.push(earlier);
    }
    times.reverse();
    times
}

/// How many due times lie after one moment and up to another. Whole hours are counted by their pattern, but not those
/// near a change of the clock.
fn count(schedule: &Schedule, after: Timestamp, until: Timestamp) -> u64 {
    let mut counted = 0;
    let mut at = after;
    for _ in 0..COUNTED_HOURS_MAX {
        let Some(next) = next_due(schedule, at).filter(|next| *next <= until) else { break };
        let Some(hour) = local_hour(schedule, next) else { break };
        let last = Timestamp((hour.end.0 - 1).min(until.0));
        let whole = at < hour.begin && hour.end.0 - 1_000 <= until.0;
        counted += match hour.clock {
            Wall::Steady if whole => schedule.an_hour,
            Wall::Steady | Wall::Changed => one_by_one(schedule, at, last),
        };
        at = last;
    }
    counted
}

fn one_by_one(schedule: &Schedule, mut at: Timestamp, until: Timestamp) -> u64 {
    let mut counted = 0;
    while let Some(next) = next_due(schedule, at).filter(|next| *next <= until) {
        (counted, at) = (counted + 1, next);
    }
    counted
}

/// An hour of the wall clock.
struct Hour {
    begin: Timestamp,
    end: Timestamp,
    clock: Wall,
}

/// Whether the wall clock is changed within some hours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wall {
    Steady,
    Changed,
}

/// The hour in which a moment lies.
fn local_hour(schedule: &Schedule, at: Timestamp) -> Option<Hour> {
    let local = schedule.zoned(at)?;
    let offset = |at: Timestamp| schedule.zoned(at).map(|zoned| zoned.offset());
    let steady = offset(at.plus_ms(-3 * HOUR_MS)) == offset(at.plus_ms(3 * HOUR_MS));
    let into = i64::from(local.minute()) * 60_000 + i64::from(local.second()) * 1_000;
    let begin = Timestamp(at.0 - at.0.rem_euclid(1_000) - into);
    let clock = if steady { Wall::Steady } else { Wall::Changed };
    Some(Hour { begin, end: begin.plus_ms(HOUR_MS), clock })
}

/// What the store knows of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Every due time up to here has its row, or was left out for good.
    pub fired_until: Timestamp,
    /// The due time that it fired for last.
    pub last_fired: Option<Timestamp>,
}

/// The schedules that are enabled, and when each is due next.
#[derive(Clone, Debug, Default)]
pub struct Timetable {
    lines: BTreeMap<TriggerId, Line>,
}

#[derive(Clone, Debug)]
struct Line {
    schedule: Arc<Schedule>,
    mark: Mark,
    /// When to look at it again.
    next: Option<Timestamp>,
}

impl Timetable {
    /// Everything is looked at from its mark on.
    pub fn build(lines: impl IntoIterator<Item = (TriggerId, Arc<Schedule>, Mark)>) -> Timetable {
        let line = |(id, schedule, mark): (TriggerId, Arc<Schedule>, Mark)| {
            let next = next_due(&schedule, mark.fired_until);
            (id, Line { schedule, mark, next })
        };
        Timetable { lines: lines.into_iter().map(line).collect() }
    }

    /// When the first of all schedules is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.lines.values().filter_map(|line| line.next).min()
    }

    /// At most so many of the schedules that fire now, each with the moment up to which it has fired. What is due but does
    /// not fire, since it was missed and is not made up for, is put off to its next time.
    pub fn take_due(&mut self, most: usize, now: Timestamp) -> Vec<(TriggerId, Timestamp)> {
        let mut due = Vec::new();
        for (id, line) in &mut self.lines {
            if line.next.is_none_or(|next| next > now) || due.len() == most {
                continue;
            }
            if firing(&line.schedule, line.mark.fired_until, now).is_empty() {
                line.next = next_due(&line.schedule, now);
            } else {
                due.push((*id, line.mark.fired_until));
            }
        }
        due
    }

    /// Its rows are durable.
    pub fn fired(&mut self, id: TriggerId, last: Timestamp) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.mark = Mark { fired_until: last, last_fired: Some(last) };
            line.next = next_due(&line.schedule, last);
        }
    }

    /// Its rows were refused: it is tried again later.
    pub fn put_off(&mut self, id: TriggerId, now: Timestamp) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.next = Some(now.plus_ms(RETRY_MS));
        }
    }

    /// Lets each schedule that has fired for times after `above` go on from now instead; how many there are.
    pub fn go_on_from(&mut self, now: Timestamp, above: Timestamp) -> usize {
        let mut changed = 0;
        for line in self.lines.values_mut().filter(|line| line.mark.fired_until > above) {
            line.mark.fired_until = now;
            line.next = next_due(&line.schedule, now);
            changed += 1;
        }
        changed
    }
}

#[cfg(test)]
mod tests;
