//! `time::`: milliseconds since 1970, and texts of them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use rhai::{Dynamic, Engine, ImmutableString, Map, Module};

use crate::duration;
use crate::fault::Fault;
use crate::run;

/// Bytes of a pattern; with it the length of what is formatted is bounded.
const PATTERN_BYTES_MAX: usize = 128;

pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    functions!(module:
        "now" () => run::with(|run| Ok(run.now_ms));
        "now_iso" () => run::with(|run| iso(run.now_ms));
        "format" (ms: i64) => run::with(|_| iso(ms));
        "format" (ms: i64, pattern: ImmutableString) => run::with(|_| format(ms, &pattern, "UTC"));
        "format" (ms: i64, pattern: ImmutableString, zone: ImmutableString) => {
            run::with(|_| format(ms, &pattern, &zone))
        };
        "parse" (text: ImmutableString) => run::with(|_| parse(&text));
        "parts" (ms: i64) => run::with(|_| parts(ms, "UTC"));
        "parts" (ms: i64, zone: ImmutableString) => run::with(|_| parts(ms, &zone));
        "start_of_day" (ms: i64, zone: ImmutableString) => run::with(|_| start_of_day(ms, &zone));
        "duration" (text: ImmutableString) => run::with(|_| duration_of(&text));
    );
    engine.register_static_module("time", module.into());
}

fn duration_of(text: &str) -> Result<i64, Fault> {
    duration::parse_ms(text).map_err(|error| Fault::Thrown(error.to_string()))
}

fn timestamp(ms: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_millisecond(ms).map_err(|_| {
        Fault::Thrown(format!("{ms} ms since 1970 is no time from year -9999 to 9999"))
    })
}

fn zoned(ms: i64, zone: &str) -> Result<Zoned, Fault> {
    let shown: String = zone.chars().take(60).collect();
    let zone = if zone == "UTC" {
        TimeZone::UTC
    } else {
        TimeZone::get(zone).map_err(|_| {
            Fault::Thrown(format!(
                "there is no time zone \"{shown}\"; names are like \"Europe/Berlin\" or \"UTC\""
            ))
        })?
    };
    Ok(timestamp(ms)?.to_zoned(zone))
}

fn iso(ms: i64) -> Result<ImmutableString, Fault> {
    Ok(timestamp(ms)?.to_string().into())
}

fn format(ms: i64, pattern: &str, zone: &str) -> Result<ImmutableString, Fault> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(Fault::Thrown(format!("the pattern has more than {PATTERN_BYTES_MAX} bytes")));
    }
    let text = jiff::fmt::strtime::format(pattern, &zoned(ms, zone)?);
    let text = text.map_err(|error| Fault::Thrown(format!("the pattern is wrong: {error}")))?;
    Ok(text.into())
}

/// With an offset or `Z`; a date alone is its midnight in UTC.
fn parse(text: &str) -> Result<i64, Fault> {
    let shown: String = text.chars().take(60).collect();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.as_millisecond());
    }
    if text.len() == "2026-01-31".len()
        && let Ok(date) = text.parse::<Date>()
        && let Ok(midnight) = date.to_zoned(TimeZone::UTC)
    {
        return Ok(midnight.timestamp().as_millisecond());
    }
    Err(Fault::Thrown(format!(
        "\"{shown}\" is no time; write it like \"2026-01-31T12:00:00Z\", \"2026-01-31T12:00:00+02:00\" or \"2026-01-31\""
    )))
}

fn parts(ms: i64, zone: &str) -> Result<Map, Fault> {
    let time = zoned(ms, zone)?;
    let parts: [(&str, i64); 9] = [
        ("year", time.year().into()),
        ("month", time.month().into()),
        ("day", time.day().into()),
        ("hour", time.hour().into()),
        ("minute", time.minute().into()),
        ("second", time.second().into()),
        ("millisecond", time.millisecond().into()),
        ("weekday", time.weekday().to_monday_one_offset().into()),
        ("offset_minutes", i64::from(time.offset().seconds()) / 60),
    ];
    Ok(parts.into_iter().map(|(name, value)| (name.into(), Dynamic::from(value))).collect())
}

fn start_of_day(ms: i64, zone: &str) -> Result<i64, Fault> {
    let midnight = zoned(ms, zone)?.start_of_day();
    let midnight =
        midnight.map_err(|_| Fault::thrown("the day begins outside of the years -9999 to 9999"))?;
    Ok(midnight.timestamp().as_millisecond())
}
