//! Times, spans and sizes as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The time zone that clocks are shown in.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// That of this machine.
    pub fn system() -> Zone {
        Zone(TimeZone::system())
    }

    pub fn utc() -> Zone {
        Zone(TimeZone::UTC)
    }
}

fn formatted(at_ms: i64, zone: &Zone, format: &str) -> String {
    let Ok(at) = Timestamp::from_millisecond(at_ms) else { return "?".to_owned() };
    at.to_zoned(zone.0.clone()).strftime(format).to_string()
}

/// `14:02`
pub fn clock(at_ms: i64, zone: &Zone) -> String {
    formatted(at_ms, zone, "%H:%M")
}

/// `14:02:31`
pub fn clock_seconds(at_ms: i64, zone: &Zone) -> String {
    formatted(at_ms, zone, "%H:%M:%S")
}

/// `14:02` of today, otherwise with the day, and of another year with that.
pub fn day_clock(at_ms: i64, zone: &Zone, now: i64) -> String {
    let day = |at| formatted(at, zone, "%F");
    let year = |at| formatted(at, zone, "%Y");
    let format = if day(at_ms) == day(now) {
        "%H:%M"
    } else if year(at_ms) == year(now) {
        "%b %d %H:%M"
    } else {
        "%F %H:%M"
    };
    formatted(at_ms, zone, format)
}

/// A length of time: `31 ms`, `0.4 s`, `4 s`, `12 m`, `3 h`, `12 d`.
pub fn span(ms: i64) -> String {
    match ms.max(0) {
        ms @ 0..100 => format!("{ms} ms"),
        ms @ 100..10_000 if ms % 1_000 >= 100 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        ms @ 100..120_000 => format!("{} s", ms / 1_000),
        ms @ 120_000..7_200_000 => format!("{} m", ms / 60_000),
        ms @ 7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        ms => format!("{} d", ms / 86_400_000),
    }
}

/// `in 4 s`; of what is past the time since.
pub fn until(at_ms: i64, now: i64) -> String {
    let left = at_ms.saturating_sub(now);
    if left > 0 { format!("in {}", span(left.max(100))) } else { span(now.saturating_sub(at_ms)) }
}

/// A length in microseconds: `0.3 ms`, `5 ms`, `1.2 s`.
pub fn micros(us: i64) -> String {
    match us.max(0) {
        us @ 0..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        us @ 10_000..1_000_000 => format!("{} ms", us / 1_000),
        us => span(us / 1_000),
    }
}

/// `212 MB`, in powers of a thousand.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// `41`, `1,234`, `1.2 M`.
pub fn count(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{},{:03}", count / 1_000, count % 1_000),
        _ => format!("{}.{} M", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29 14:02:31.250 UTC
    const NOW: i64 = 1_795_960_951_250;

    #[test]
    fn a_clock_shows_the_day_only_when_it_is_another_one() {
        let utc = Zone::utc();
        assert_eq!(clock(NOW, &utc), "14:02");
        assert_eq!(clock_seconds(NOW, &utc), "14:02:31");
        assert_eq!(day_clock(NOW - 3_600_000, &utc, NOW), "13:02");
        assert_eq!(day_clock(NOW - 86_400_000, &utc, NOW), "Nov 28 14:02");
        assert_eq!(day_clock(NOW - 400 * 86_400_000, &utc, NOW), "2025-10-25 14:02");
        assert_eq!(clock(i64::MAX, &utc), "?");
    }

    #[test]
    fn spans_are_as_exact_as_they_need_to_be() {
        for (ms, expected) in [
            (-5, "0 ms"),
            (31, "31 ms"),
            (400, "0.4 s"),
            (1_250, "1.2 s"),
            (4_000, "4 s"),
            (59_999, "59 s"),
            (130_000, "2 m"),
            (10_800_000, "3 h"),
            (12 * 86_400_000, "12 d"),
        ] {
            assert_eq!(span(ms), expected, "{ms}");
        }
        assert_eq!(until(NOW + 4_000, NOW), "in 4 s");
        assert_eq!(until(NOW - 1_200, NOW), "1.2 s");
        assert_eq!(until(NOW, NOW), "0 ms");
        assert_eq!(until(i64::MIN, i64::MAX), "106751991167 d");
        for (us, expected) in
            [(310, "0.3 ms"), (5_400, "5.4 ms"), (31_000, "31 ms"), (1_250_000, "1.2 s")]
        {
            assert_eq!(micros(us), expected);
        }
    }

    #[test]
    fn sizes_and_counts_are_short() {
        assert_eq!(
            [bytes(0), bytes(212_000_000), bytes(12_000_000_000)],
            ["0 B", "212 MB", "12 GB"]
        );
        assert_eq!([count(41), count(1_234), count(1_250_000)], ["41", "1,234", "1.2 M"]);
    }
}
