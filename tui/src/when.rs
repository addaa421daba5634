//! Times, spans and amounts as the console writes them. Times are milliseconds since 1970; `now` is handed in.

use jiff::Zoned;
use jiff::tz::TimeZone;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Where the reader's clock hangs.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of this machine and user; UTC when it cannot be found.
    pub fn system() -> Zone {
        Zone(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    pub fn utc() -> Zone {
        Zone(TimeZone::UTC)
    }
}

/// `14:02`
pub fn clock(at: i64, zone: &Zone) -> String {
    zoned(at, zone).strftime("%H:%M").to_string()
}

/// `14:02:31`
pub fn clock_seconds(at: i64, zone: &Zone) -> String {
    zoned(at, zone).strftime("%H:%M:%S").to_string()
}

/// `03:04` on the day of `now`, otherwise `Nov 28 03:04`, in another year `Nov 28 2025 03:04`.
pub fn day_clock(at: i64, zone: &Zone, now: i64) -> String {
    let (at, now) = (zoned(at, zone), zoned(now, zone));
    let pattern = if at.date() == now.date() {
        "%H:%M"
    } else if at.year() == now.year() {
        "%b %-d %H:%M"
    } else {
        "%b %-d %Y %H:%M"
    };
    at.strftime(pattern).to_string()
}

/// A time beyond the calendar is shown as its beginning in 1970.
fn zoned(at: i64, zone: &Zone) -> Zoned {
    jiff::Timestamp::from_millisecond(at).unwrap_or_default().to_zoned(zone.0.clone())
}

/// Milliseconds: `31 ms`, `0.4 s`, `4 s`, `12 m`, `3 h`, `12 d`, never more than has passed.
pub fn span(ms: i64) -> String {
    let ms = u64::try_from(ms).unwrap_or_default();
    if ms < 100 { format!("{ms} ms") } else { coarse(ms) }
}

/// `in 4 s`, or for what has passed how long ago that was: `1.2 s`.
pub fn until(at: i64, now: i64) -> String {
    let Ok(ahead @ 1..) = u64::try_from(at.saturating_sub(now)) else {
        return span(now.saturating_sub(at));
    };
    // Whole seconds, never less than is left: they count down to 1, not to 0.
    let ms = if ahead < 2 * MINUTE { ahead.div_ceil(SECOND) * SECOND } else { ahead };
    format!("in {}", coarse(ms))
}

/// How long ago, in minutes of the clock, so that it changes when the clock does: `0 m`, `12 m`, `3 h`, `12 d`.
pub fn minutes_since(at: i64, now: i64) -> String {
    let minute = |at: i64| at.div_euclid(60_000);
    match u64::try_from(minute(now).saturating_sub(minute(at))).unwrap_or_default() {
        minutes @ ..2 => format!("{minutes} m"),
        minutes => coarse(minutes * MINUTE),
    }
}

fn coarse(ms: u64) -> String {
    match ms {
        ..SECOND => format!("0.{} s", ms / 100),
        ms if ms < 10 * SECOND => format!("{} s", tenths(ms, SECOND)),
        ms if ms < 2 * MINUTE => format!("{} s", ms / SECOND),
        ms if ms < 2 * HOUR => format!("{} m", ms / MINUTE),
        ms if ms < 2 * DAY => format!("{} h", ms / HOUR),
        ms => format!("{} d", ms / DAY),
    }
}

/// Microseconds: `0.3 ms`, `5 ms`, `412 ms`, `1.2 s`.
pub fn micros(us: i64) -> String {
    match u64::try_from(us).unwrap_or_default() {
        0 => "0 ms".to_owned(),
        us @ ..950 => format!("0.{} ms", us.div_ceil(100).clamp(1, 9)),
        us => match (us + 500) / 1_000 {
            ms @ ..SECOND => format!("{ms} ms"),
            ms => coarse(ms),
        },
    }
}

/// `812 B`, `1.4 kB`, `212 MB`, of thousands.
pub fn bytes(bytes: u64) -> String {
    scaled(
        bytes,
        &[(1, "B"), (1_000, "kB"), (1_000_000, "MB"), (1_000_000_000, "GB"), (TERA, "TB")],
    )
}

const TERA: u64 = 1_000_000_000_000;

/// `41`, `1,234`, `1.2 M`.
pub fn count(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{},{:03}", count / 1_000, count % 1_000),
        count => scaled(count, &[(1_000_000, "M"), (1_000_000_000, "G"), (TERA, "T")]),
    }
}

/// In the largest unit of which there is one, the units from the smallest.
fn scaled(value: u64, units: &[(u64, &str)]) -> String {
    let fits = units.iter().rev().find(|(size, _)| *size <= value);
    let (size, unit) = fits.or(units.first()).copied().unwrap_or((1, ""));
    format!("{} {unit}", tenths(value, size))
}

/// One decimal below ten, unless it is zero. Never rounded up: 999,950 is not yet a thousand thousands.
fn tenths(value: u64, unit: u64) -> String {
    let whole = value / unit;
    let tenth = if unit < 10 { 0 } else { value % unit / (unit / 10) };
    if whole < 10 && tenth > 0 { format!("{whole}.{tenth}") } else { whole.to_string() }
}

/// `1 group`, `2 groups`.
pub fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Saturday, 29 November 2025, 14:02:31 UTC.
    const NOW: i64 = 1_764_424_951_000;
    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn what_is_told_in_minutes_changes_with_the_clock() {
        for (at, now, shown) in [
            (59_999, 59_999, "0 m"),
            (59_999, 60_000, "1 m"),
            (60_000, 179_999, "1 m"),
            (60_000, 180_000, "2 m"),
            (0, 12 * 86_400_000, "12 d"),
            (60_000, 0, "0 m"),
        ] {
            assert_eq!(minutes_since(at, now), shown, "{at} {now}");
        }
    }

    #[test]
    fn clocks_are_those_of_the_zone() {
        let berlin = Zone(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("it is a zone"));
        let summer = NOW - 150 * DAY_MS;
        for (at, zone, expected) in [
            (NOW, Zone::utc(), "14:02:31"),
            (NOW, berlin.clone(), "15:02:31"),
            (summer, berlin, "16:02:31"),
            (-1_000, Zone::utc(), "23:59:59"),
            (i64::MAX, Zone::utc(), "00:00:00"),
        ] {
            assert_eq!(clock_seconds(at, &zone), expected);
            assert_eq!(clock(at, &zone), expected[..5]);
        }
    }

    #[test]
    fn the_day_is_named_when_it_is_not_today() {
        let kiritimati = Zone(TimeZone::posix("<+14>-14").expect("it is a zone"));
        for (at, zone, expected) in [
            (NOW - 3_600_000, Zone::utc(), "13:02"),
            (NOW - DAY_MS, Zone::utc(), "Nov 28 14:02"),
            (NOW + 3 * DAY_MS, Zone::utc(), "Dec 2 14:02"),
            (NOW - 365 * DAY_MS, Zone::utc(), "Nov 29 2024 14:02"),
            (NOW - 5 * 3_600_000, kiritimati, "Nov 29 23:02"),
        ] {
            assert_eq!(day_clock(at, &zone, NOW), expected);
        }
    }

    #[test]
    fn spans_have_one_unit_and_are_never_more_than_has_passed() {
        for (ms, expected) in [
            (-5, "0 ms"),
            (0, "0 ms"),
            (31, "31 ms"),
            (99, "99 ms"),
            (100, "0.1 s"),
            (449, "0.4 s"),
            (999, "0.9 s"),
            (1_000, "1 s"),
            (1_299, "1.2 s"),
            (4_000, "4 s"),
            (9_999, "9.9 s"),
            (10_900, "10 s"),
            (119_999, "119 s"),
            (120_000, "2 m"),
            (12 * 60_000, "12 m"),
            (7_199_999, "119 m"),
            (3 * 3_600_000, "3 h"),
            (2 * DAY_MS, "2 d"),
            (12 * DAY_MS, "12 d"),
            (i64::MAX, "106751991167 d"),
        ] {
            assert_eq!(span(ms), expected, "{ms}");
        }
    }

    #[test]
    fn what_comes_is_counted_down_in_whole_seconds_and_what_was_is_a_span() {
        for (away, expected) in [
            (1, "in 1 s"),
            (1_000, "in 1 s"),
            (3_001, "in 4 s"),
            (119_500, "in 2 m"),
            (58 * 60_000, "in 58 m"),
            (5 * DAY_MS, "in 5 d"),
            (0, "0 ms"),
            (-31, "31 ms"),
            (-1_200, "1.2 s"),
        ] {
            assert_eq!(until(NOW + away, NOW), expected, "{away}");
        }
        assert_eq!(until(i64::MIN, i64::MAX), span(i64::MAX));
    }

    #[test]
    fn microseconds_are_shown_as_milliseconds() {
        for (us, expected) in [
            (-1, "0 ms"),
            (0, "0 ms"),
            (1, "0.1 ms"),
            (300, "0.3 ms"),
            (949, "0.9 ms"),
            (950, "1 ms"),
            (5_300, "5 ms"),
            (41_499, "41 ms"),
            (412_000, "412 ms"),
            (999_499, "999 ms"),
            (999_500, "1 s"),
            (1_200_000, "1.2 s"),
            (12_000_000, "12 s"),
        ] {
            assert_eq!(micros(us), expected, "{us}");
        }
    }

    #[test]
    fn amounts_have_at_most_one_decimal() {
        for (amount, as_bytes, as_count) in [
            (0, "0 B", "0"),
            (41, "41 B", "41"),
            (999, "999 B", "999"),
            (1_000, "1 kB", "1,000"),
            (1_234, "1.2 kB", "1,234"),
            (20_005, "20 kB", "20,005"),
            (999_999, "999 kB", "999,999"),
            (1_299_999, "1.2 MB", "1.2 M"),
            (212_000_000, "212 MB", "212 M"),
            (1_400_000_000, "1.4 GB", "1.4 G"),
            (u64::MAX, "18446744 TB", "18446744 T"),
        ] {
            assert_eq!(bytes(amount), as_bytes, "{amount}");
            assert_eq!(count(amount), as_count, "{amount}");
        }
    }
}
