//! Plots of one row.

use crate::symbols::Charset;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII_BARS: [char; 8] = [' ', '.', ':', '-', '=', '+', '*', '#'];

/// The values as bars, the newest at the right; of several that share a bar the greatest counts.
pub fn spark(values: &[u64], columns: usize, charset: Charset) -> String {
    if columns == 0 {
        return String::new();
    }
    let shown = resampled(values, columns);
    let most = shown.iter().max().copied().unwrap_or_default();
    let bars = match charset {
        Charset::Unicode => BARS,
        Charset::Ascii => ASCII_BARS,
    };
    let bar = |value: &u64| {
        let step: u128 = match (*value, most) {
            (0, _) | (_, 0) => 0,
            // Whatever is not nothing is seen.
            (value, most) => (u128::from(value) * 7).div_ceil(u128::from(most)).clamp(1, 7),
        };
        bars[usize::try_from(step).unwrap_or_default()]
    };
    let blank = columns.saturating_sub(shown.len());
    std::iter::repeat_n(bars[0], blank).chain(shown.iter().map(bar)).collect()
}

fn resampled(values: &[u64], columns: usize) -> Vec<u64> {
    if values.len() <= columns {
        return values.to_vec();
    }
    let count = values.len();
    (0..columns)
        .map(|column| {
            let (from, to) = (column * count / columns, (column + 1) * count / columns);
            values[from..to].iter().max().copied().unwrap_or_default()
        })
        .collect()
}

/// How much of it is taken.
pub fn gauge(value: u64, most: u64, columns: usize, charset: Charset) -> String {
    let whole = u64::try_from(columns).unwrap_or(u64::MAX);
    let filled = if most == 0 { 0 } else { (value.min(most) * whole).div_ceil(most) };
    let (full, empty) = match charset {
        Charset::Unicode => ('█', '░'),
        Charset::Ascii => ('#', '.'),
    };
    (0..whole).map(|at| if at < filled { full } else { empty }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bars_of_the_greatest_and_the_newest_is_at_the_right() {
        assert_eq!(spark(&[0, 1, 4, 8], 6, Charset::Unicode), "▁▁▁▂▅█");
        assert_eq!(spark(&[0, 1, 4, 8], 4, Charset::Ascii), " .=#");
        assert_eq!(spark(&[], 3, Charset::Unicode), "▁▁▁");
        assert_eq!(spark(&[0, 0], 2, Charset::Unicode), "▁▁");
        assert_eq!(spark(&[1, u64::MAX], 2, Charset::Unicode), "▂█");
        assert_eq!(spark(&[5], 0, Charset::Unicode), "");
    }

    #[test]
    fn of_values_that_share_a_bar_the_greatest_counts() {
        assert_eq!(spark(&[1, 8, 0, 0], 2, Charset::Unicode), "█▁");
    }

    #[test]
    fn a_gauge_is_full_when_all_is_taken_and_never_more() {
        for (value, most, expected) in [
            (0, 8, "░░░░"),
            (1, 8, "█░░░"),
            (4, 8, "██░░"),
            (8, 8, "████"),
            (9, 8, "████"),
            (1, 0, "░░░░"),
        ] {
            assert_eq!(gauge(value, most, 4, Charset::Unicode), expected);
        }
        assert_eq!(gauge(1, 2, 4, Charset::Ascii), "##..");
    }
}
