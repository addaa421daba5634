//! Small plots in one line of text.

use crate::symbols::Charset;

/// Heights of a bar, and below each what stands for it in ASCII.
const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const BARS_ASCII: [&str; 8] = [" ", ".", ":", "-", "=", "+", "*", "#"];
const EMPTY: &str = "░";
const FULL_ASCII: &str = "#";
const EMPTY_ASCII: &str = ".";

/// Values as bars, the newest at the right, the largest of what is shown full height; zero and only zero is the lowest
/// bar. Of more values than columns the largest of each column is shown; for fewer the left stays blank.
pub fn spark(values: &[u64], columns: usize, charset: Charset) -> String {
    let bars = match charset {
        Charset::Unicode => BARS,
        Charset::Ascii => BARS_ASCII,
    };
    let shown = columns.min(values.len());
    let column = |n: usize| {
        let part = &values[n * values.len() / shown..(n + 1) * values.len() / shown];
        part.iter().copied().max().unwrap_or_default()
    };
    let values: Vec<u64> = (0..shown).map(column).collect();
    let most = values.iter().copied().max().unwrap_or_default().max(1);
    let top = bars.len() - 1;
    let blanks = " ".repeat(columns - shown);
    values.into_iter().fold(blanks, |text, value| text + bars[share(value, most, top)])
}

/// How much of something is used. Empty is only nothing, full only all of it.
pub fn gauge(value: u64, most: u64, columns: usize, charset: Charset) -> String {
    let (full, empty) = match charset {
        Charset::Unicode => (BARS[7], EMPTY),
        Charset::Ascii => (FULL_ASCII, EMPTY_ASCII),
    };
    let filled = match most {
        0 => 0,
        _ if value >= most => columns,
        most => share(value, most, columns).min(columns.saturating_sub(1)),
    };
    full.repeat(filled) + &empty.repeat(columns - filled)
}

/// What stands for a part of a plot in ASCII.
pub fn plain(c: char) -> Option<&'static str> {
    let is_meant = |bar: &str| bar.chars().eq([c]);
    match BARS.into_iter().position(is_meant) {
        Some(at) => Some(BARS_ASCII[at]),
        None => is_meant(EMPTY).then_some(EMPTY_ASCII),
    }
}

/// So many of `steps` as `value` is of `most`, which is not less and not zero; more than nothing is at least one.
fn share(value: u64, most: u64, steps: usize) -> usize {
    let steps_wide = u128::try_from(steps).unwrap_or(u128::MAX);
    let part = (u128::from(value) * steps_wide).div_ceil(u128::from(most));
    usize::try_from(part).unwrap_or(steps).min(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_bars_with_the_newest_at_the_right() {
        for (values, columns, unicode, ascii) in [
            (&[][..], 3, "   ", "   "),
            (&[0, 0, 0], 3, "▁▁▁", "   "),
            (&[5, 5], 2, "██", "##"),
            (&[0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█", " .:-=+*#"),
            (&[0, 1, 1_000], 3, "▁▂█", " .#"),
            (&[7, 0], 4, "  █▁", "  # "),
            (&[1, 9, 0, 0, 3, 2], 3, "█▁▄", "# -"),
            (&[9, 0, 0, 0, 9], 2, "██", "##"),
            (&[u64::MAX, 0], 2, "█▁", "# "),
            (&[1, 2], 0, "", ""),
        ] {
            assert_eq!(spark(values, columns, Charset::Unicode), unicode, "{values:?}");
            assert_eq!(spark(values, columns, Charset::Ascii), ascii, "{values:?}");
        }
    }

    #[test]
    fn a_gauge_is_empty_for_nothing_and_full_for_all_only() {
        for (value, most, columns, unicode, ascii) in [
            (8, 16, 8, "████░░░░", "####...."),
            (0, 16, 4, "░░░░", "...."),
            (1, 1_000, 4, "█░░░", "#..."),
            (999, 1_000, 4, "███░", "###."),
            (16, 16, 4, "████", "####"),
            (20, 16, 4, "████", "####"),
            (0, 0, 4, "░░░░", "...."),
            (3, 0, 4, "░░░░", "...."),
            (u64::MAX - 1, u64::MAX, 3, "██░", "##."),
            (1, 2, 0, "", ""),
        ] {
            assert_eq!(gauge(value, most, columns, Charset::Unicode), unicode, "{value}/{most}");
            assert_eq!(gauge(value, most, columns, Charset::Ascii), ascii, "{value}/{most}");
        }
    }

    #[test]
    fn a_plot_may_become_ascii_later_on() {
        let values = [0, 1, 2, 3, 4, 5, 6, 7];
        let plain = |text: String| text.chars().filter_map(plain).collect::<String>();
        let drawn = spark(&values, 8, Charset::Unicode);
        assert_eq!(plain(drawn), spark(&values, 8, Charset::Ascii));
        assert_eq!(plain(gauge(1, 2, 8, Charset::Unicode)), gauge(1, 2, 8, Charset::Ascii));
    }
}
