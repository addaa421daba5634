//! What is printed: tables for people, one line of JSON for programs, errors with their hints.

use std::io::{self, Write};

use picloud_api::problem::Problem;
use picloud_api::text;
use serde::Serialize;

/// Where results go.
pub struct Output<'a> {
    pub results: &'a mut dyn Write,
    /// Columns of the terminal that results go to; `None` in a pipe, where nothing is cut.
    pub columns: Option<usize>,
    pub colours: Colours,
    pub form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For programs: the API's types.
    Json,
}

impl Output<'_> {
    /// A line of text; whatever a terminal would obey is shown instead.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.results, "{}", text::visible(line))
    }

    /// A script's source. In a pipe it is what it is; a terminal is shown what it would obey.
    pub fn source(&mut self, source: &str) -> io::Result<()> {
        match self.columns {
            Some(_) => writeln!(self.results, "{}", text::visible_lines(source.trim_end())),
            None if source.ends_with('\n') => write!(self.results, "{source}"),
            None => writeln!(self.results, "{source}"),
        }
    }

    /// One value as one line of JSON, with escapes for whatever a terminal would obey or hide.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_string(value)?;
        let mut safe = String::with_capacity(line.len());
        for c in line.chars() {
            if text::is_plain(c) {
                safe.push(c);
            } else {
                let units = c.encode_utf16(&mut [0; 2]).to_vec();
                safe.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
        writeln!(self.results, "{safe}")
    }

    /// Rows below their headings. On a terminal columns without any value are left out if the table is too wide, and then
    /// cells are cut: the widest column gives most, ids give nothing.
    pub fn table(&mut self, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let mut headings: Vec<String> = headings.iter().map(|one| (*one).to_owned()).collect();
        let mut rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| text::visible(cell)).collect()).collect();
        let mut columns = columns_of(&headings, &rows);
        if let Some(most) = self.columns {
            if total(&columns) > most {
                let kept: Vec<bool> = columns.iter().map(|column| column.has_values).collect();
                for line in rows.iter_mut().chain([&mut headings]) {
                    let mut kept = kept.iter();
                    line.retain(|_| kept.next() == Some(&true));
                }
                columns.retain(|column| column.has_values);
            }
            fit(&mut columns, most);
        }
        let (bold, off) = match self.colours {
            Colours::On => ("\x1b[1m", "\x1b[0m"),
            Colours::Off => ("", ""),
        };
        writeln!(self.results, "{bold}{}{off}", aligned(&headings, &columns))?;
        for row in &rows {
            writeln!(self.results, "{}", aligned(row, &columns))?;
        }
        Ok(())
    }
}

const GAP: usize = 2;
/// No column is cut to less.
const COLUMN_WIDTH_MIN: usize = 8;

/// What is known of a column before it is printed.
#[derive(Clone, Copy, Debug)]
struct Column {
    width: usize,
    has_values: bool,
    /// Half an id is none: it can be neither copied nor found.
    has_ids_only: bool,
    cut: Cut,
}

/// What goes when a cell is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    End,
    /// Of `APP/SCRIPT`, most rows have the same app.
    Beginning,
}

fn columns_of(headings: &[String], rows: &[Vec<String>]) -> Vec<Column> {
    let column = |(at, heading): (usize, &String)| {
        let cells = || rows.iter().filter_map(|row| row.get(at)).filter(|cell| !cell.is_empty());
        Column {
            width: cells().map(|cell| width(cell)).max().unwrap_or_default().max(width(heading)),
            has_values: cells().next().is_some(),
            has_ids_only: cells().all(|cell| is_id(cell)),
            cut: if heading.starts_with("APP/") { Cut::Beginning } else { Cut::End },
        }
    };
    headings.iter().enumerate().map(column).collect()
}

fn is_id(cell: &str) -> bool {
    cell.len() == 26 && cell.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

fn total(columns: &[Column]) -> usize {
    columns.iter().map(|column| column.width + GAP).sum::<usize>().saturating_sub(GAP)
}

/// Makes the widest columns narrower until all fit, as far as they may be cut.
fn fit(columns: &mut [Column], most: usize) {
    while total(columns) > most {
        let may_be_cut = |column: &&mut Column| !column.has_ids_only;
        let widest = columns.iter_mut().filter(may_be_cut).max_by_key(|column| column.width);
        let Some(widest) = widest.filter(|column| column.width > COLUMN_WIDTH_MIN) else { return };
        widest.width -= 1;
    }
}

fn aligned(row: &[String], columns: &[Column]) -> String {
    let mut line = String::new();
    for (n, (cell, column)) in row.iter().zip(columns).enumerate() {
        if n > 0 {
            line.push_str("  ");
        }
        let cell = cut(cell, *column);
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', column.width.saturating_sub(width(&cell))));
    }
    line.truncate(line.trim_end().len());
    line
}

fn cut(cell: &str, column: Column) -> String {
    if width(cell) <= column.width {
        return cell.to_owned();
    }
    let mut left = column.width.saturating_sub(1);
    let mut fits = |c: &char| {
        let fits = char_width(*c) <= left;
        left = left.saturating_sub(char_width(*c));
        fits
    };
    match column.cut {
        Cut::End => {
            let kept: String = cell.chars().take_while(&mut fits).collect();
            format!("{kept}…")
        }
        Cut::Beginning => {
            let kept: Vec<char> = cell.chars().rev().take_while(&mut fits).collect();
            format!("…{}", kept.iter().rev().collect::<String>())
        }
    }
}

fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Columns of a character: two for those of East Asia and pictures, none for marks upon the one before.
fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36F | 0x1AB0..=0x1AFF | 0x20D0..=0x20FF => 0,
        0x1100..=0x115F
        | 0x2E80..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

/// An error with its causes and, on a line of its own, what to do.
pub fn error(errors: &mut dyn Write, cause: &str, hint: Option<&str>) -> io::Result<()> {
    writeln!(errors, "picloud: {}", text::visible_lines(cause))?;
    match hint {
        Some(hint) => writeln!(errors, "hint: {}", text::visible(hint)),
        None => Ok(()),
    }
}

/// The text of a problem: its detail, and each entry that is wrong.
pub fn problem_text(problem: &Problem) -> String {
    let mut text = problem.detail.clone();
    for error in &problem.errors {
        text.push_str(&format!("\n  {}: {}", error.entry, error.message));
        for line in error.excerpt.iter().flat_map(|excerpt| excerpt.lines()) {
            text.push_str("\n    ");
            text.push_str(line);
        }
    }
    text
}

/// A time as ISO 8601 writes it, in UTC and whole seconds.
pub fn utc(at: i64) -> String {
    let (days, second) = (at.div_euclid(86_400_000), at.rem_euclid(86_400_000) / 1_000);
    // Days since 1 March 0000, in eras of 400 years: a leap day is then the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// A time as people say it: `in 4 s`, `12 m ago`.
pub fn relative(at: i64, now: i64) -> String {
    let away = at.saturating_sub(now);
    if away.abs() < 1_000 {
        return "now".to_owned();
    }
    let seconds = away.unsigned_abs() / 1_000;
    // The nearest: what ends in thirty days less a second ends in thirty days.
    let amount = match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} m", (seconds + 30) / 60),
        7_200..=172_799 => format!("{} h", (seconds + 1_800) / 3_600),
        _ => format!("{} d", (seconds + 43_200) / 86_400),
    };
    if away > 0 { format!("in {amount}") } else { format!("{amount} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: Option<usize>, rows: &[&[&str]]) -> String {
        let mut results = Vec::new();
        let mut output =
            Output { results: &mut results, columns, colours: Colours::Off, form: Form::Text };
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        output.table(&["STATE", "ERROR"], &rows).expect("writing to memory does not fail");
        String::from_utf8(results).expect("tables are text")
    }

    #[test]
    fn a_table_is_cut_on_a_terminal_and_whole_in_a_pipe() {
        let rows: &[&[&str]] = &[&["due", "connection refused by the other side"], &["later", ""]];
        assert_eq!(
            table(None, rows),
            "STATE  ERROR\ndue    connection refused by the other side\nlater\n"
        );
        assert_eq!(table(Some(20), rows), "STATE  ERROR\ndue    connection r…\nlater\n");
    }

    #[test]
    fn a_table_that_is_too_wide_loses_its_empty_columns_and_never_half_an_id() {
        let id = "01M87CG4B1E2B8WR7DQ1STY001";
        let rows: &[&[&str]] = &[&["", id], &["", ""]];
        assert_eq!(table(Some(40), rows), format!("STATE  ERROR\n       {id}\n\n"));
        assert_eq!(table(Some(20), rows), format!("ERROR\n{id}\n\n"));
        let rows: &[&[&str]] = &[&["a very long state", id]];
        assert_eq!(table(Some(36), rows), format!("STATE     ERROR\na very …  {id}\n"));
        assert_eq!(table(None, &[&["", id]]), format!("STATE  ERROR\n       {id}\n"));
    }

    #[test]
    fn of_an_app_and_its_script_the_end_is_kept() {
        let headings = ["APP/SCRIPT".to_owned()];
        let mut columns = columns_of(&headings, &[vec!["greenhouse/watch-soil v1".to_owned()]]);
        fit(&mut columns, 14);
        assert_eq!(cut("greenhouse/watch-soil v1", columns[0]), "…watch-soil v1");
        assert_eq!(cut("水水水水水水水水", columns[0]), "…水水水水水水");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let rows: &[&[&str]] = &[&["水水", "x"], &["abcde", "水が足りない水が足りない"]];
        let text = table(Some(20), rows);
        assert_eq!(text, "STATE  ERROR\n水水   x\nabcde  水が足りない…\n");
    }

    #[test]
    fn nothing_foreign_reaches_the_terminal_as_it_is() {
        let hostile = "a\x1b]52;c;x\x07\u{9b}2J\u{202e}b\u{e0041}";
        let text = table(Some(80), &[&[hostile, hostile]]);
        assert!(!text.replace('\n', "").chars().any(char::is_control), "{text:?}");

        let mut results = Vec::new();
        let mut output = Output {
            results: &mut results,
            columns: None,
            colours: Colours::Off,
            form: Form::Json,
        };
        output.json(&hostile).expect("writing to memory does not fail");
        let text = String::from_utf8(results).expect("JSON is text");
        assert!(!text.replace('\n', "").chars().any(char::is_control), "{text:?}");
        assert!(text.contains("\\u202e") && text.contains("\\udb40\\udc41"), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).expect("it is JSON"), hostile);

        let mut results = Vec::new();
        let mut output = Output {
            results: &mut results,
            columns: Some(80),
            colours: Colours::Off,
            form: Form::Text,
        };
        output.source(hostile).expect("writing to memory does not fail");
        let text = String::from_utf8(results).expect("a source is text");
        assert!(!text.replace('\n', "").chars().any(char::is_control), "{text:?}");

        let mut errors = Vec::new();
        error(&mut errors, hostile, Some(hostile)).expect("writing to memory does not fail");
        let text = String::from_utf8(errors).expect("errors are text");
        assert!(!text.replace('\n', "").chars().any(char::is_control), "{text:?}");
    }

    #[test]
    fn times_are_written_as_everywhere() {
        for (at, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_772_427_599_999, "2026-03-02T04:59:59Z"),
            (-1_000, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(at), expected);
        }
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        for (away, expected) in [
            (0, "now"),
            (4_000, "in 4 s"),
            (-4_900, "4 s ago"),
            (-600_000, "10 m ago"),
            (3_600_000 * 5, "in 5 h"),
            (-86_400_000 * 9, "9 d ago"),
            (86_400_000 * 30 - 5, "in 30 d"),
            (-3_600_000 * 5 + 60_000, "5 h ago"),
        ] {
            assert_eq!(relative(1_000_000_000 + away, 1_000_000_000), expected);
        }
    }
}
