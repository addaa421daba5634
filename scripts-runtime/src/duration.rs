//! Durations as people write them: `500ms`, `10s`, `1.5h`, `2d`.

/// The longest duration: a hundred years.
pub const DURATION_MS_MAX: i64 = 100 * 365 * 86_400_000;

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error(
        "\"{0}\" is not a duration: write a number and a unit, like \"500ms\", \"10s\", \"5m\", \"1.5h\" or \"2d\""
    )]
    NotADuration(String),
    #[error("\"{0}\" is too long for a duration: at most 100 years are possible")]
    TooLong(String),
}

/// Reads a duration in milliseconds. A fraction of a millisecond is cut off.
pub fn parse_ms(text: &str) -> Result<i64, DurationError> {
    let not_one = || DurationError::NotADuration(shown(text));
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(not_one)?;
    let (number, unit) = text.split_at(unit_at);
    let unit_ms: i64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(not_one()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(not_one());
    }
    let too_long = || DurationError::TooLong(shown(text));
    let whole: i64 = whole.parse().map_err(|_| too_long())?;
    let scale = 10_i64.pow(u32::try_from(fraction.len()).expect("at most 9 digits"));
    let fraction: i64 = fraction.parse().expect("at most 9 digits fit");
    whole
        .checked_mul(unit_ms)
        .and_then(|ms| ms.checked_add(fraction * unit_ms / scale))
        .filter(|ms| *ms <= DURATION_MS_MAX)
        .ok_or_else(too_long)
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1.5h", 5_400_000),
            ("2d", 172_800_000),
            ("0s", 0),
            ("0.0015s", 1),
            ("36500d", DURATION_MS_MAX),
        ] {
            assert_eq!(parse_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "10", "m", "-5m", "+5m", "5 m", "1e3s", "5M", "1.s", ".5s", "1.2.3s", "5mm", "٣s"]
        {
            assert_eq!(parse_ms(text), Err(DurationError::NotADuration(text.to_owned())), "{text}");
        }
        for text in ["36501d", "9223372036854775807d", "99999999999999999999s"] {
            assert_eq!(parse_ms(text), Err(DurationError::TooLong(text.to_owned())), "{text}");
        }
    }
}
