//! What changed between two texts, line by line.

use similar::{ChangeTag, TextDiff};

use crate::text::{Line, Role, harmless_source};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Same,
    Added,
    Removed,
    /// Stands for lines that are the same.
    Skipped,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DiffLine {
    pub change: Change,
    /// The line as it is, without its end; for what is skipped how many lines those are.
    pub text: String,
}

/// The lines of both texts. Of a run of more than twice `context` lines that are the same, `context` stay beside each
/// change.
pub fn lines(before: &str, after: &str, context: usize) -> Vec<DiffLine> {
    let all = compared(before, after);
    let (mut lines, mut seen) = (Vec::new(), 0);
    let is_same = |line: &DiffLine| line.change == Change::Same;
    for run in all.chunk_by(|one, next| is_same(one) == is_same(next)) {
        let (is_first, is_last) = (seen == 0, seen + run.len() == all.len());
        seen += run.len();
        if !is_same(&run[0]) || run.len() <= 2 * context {
            lines.extend_from_slice(run);
            continue;
        }
        let head = if is_first { 0 } else { context };
        let tail = if is_last { 0 } else { context };
        lines.extend_from_slice(&run[..head]);
        lines.push(skipped(run.len() - head - tail));
        lines.extend_from_slice(&run[run.len() - tail..]);
    }
    lines
}

/// How many places of the text changed.
pub fn changes(before: &str, after: &str) -> usize {
    let all = compared(before, after);
    let is_same = |line: &DiffLine| line.change == Change::Same;
    let runs = all.chunk_by(|one, next| is_same(one) == is_same(next));
    runs.filter(|run| !is_same(&run[0])).count()
}

/// The lines as they are shown, each behind its sign.
pub fn shown(lines: &[DiffLine]) -> Vec<Line> {
    let show = |line: &DiffLine| {
        let (sign, role) = match line.change {
            Change::Same => ("  ", Role::Text),
            Change::Added => ("+ ", Role::Added),
            Change::Removed => ("- ", Role::Removed),
            Change::Skipped => ("  ", Role::Dim),
        };
        Line::of(role, format!("{sign}{}", harmless_source(&line.text)))
    };
    lines.iter().map(show).collect()
}

fn skipped(count: usize) -> DiffLine {
    let noun = if count == 1 { "line" } else { "lines" };
    DiffLine { change: Change::Skipped, text: format!("… {count} {noun} the same") }
}

fn compared(before: &str, after: &str) -> Vec<DiffLine> {
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.lines().collect(), after.lines().collect());
    let diff = TextDiff::from_slices(&before, &after);
    let line = |change: similar::Change<&str>| DiffLine {
        change: match change.tag() {
            ChangeTag::Equal => Change::Same,
            ChangeTag::Insert => Change::Added,
            ChangeTag::Delete => Change::Removed,
        },
        text: change.value().to_owned(),
    };
    diff.iter_all_changes().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(range: std::ops::Range<u32>) -> String {
        range.map(|n| format!("{n}\n")).collect()
    }

    fn drawn(before: &str, after: &str, context: usize) -> Vec<String> {
        shown(&lines(before, after, context)).iter().map(Line::text).collect()
    }

    #[test]
    fn changed_lines_stand_between_a_few_that_are_the_same() {
        let before = numbers(0..10);
        let after = before.replace("5\n", "five\n");
        for (context, expected) in [
            (0, &["  … 5 lines the same", "- 5", "+ five", "  … 4 lines the same"][..]),
            (1, &["  … 4 lines the same", "  4", "- 5", "+ five", "  6", "  … 3 lines the same"]),
            (
                2,
                &[
                    "  … 3 lines the same",
                    "  3",
                    "  4",
                    "- 5",
                    "+ five",
                    "  6",
                    "  7",
                    "  8",
                    "  9",
                ],
            ),
        ] {
            assert_eq!(drawn(&before, &after, context), expected, "{context}");
        }
    }

    #[test]
    fn a_run_between_two_changes_keeps_lines_at_both_of_its_ends() {
        let before = format!("a\n{}b\n", numbers(0..5));
        let after = format!("x\n{}y\n", numbers(0..5));
        let expected =
            ["- a", "+ x", "  0", "  1", "  … 1 line the same", "  3", "  4", "- b", "+ y"];
        assert_eq!(drawn(&before, &after, 2), expected);
        assert_eq!(lines(&before, &after, 3).len(), 9);
        assert_eq!(changes(&before, &after), 2);
    }

    #[test]
    fn texts_that_are_the_same_have_no_change() {
        assert_eq!(drawn(&numbers(0..9), &numbers(0..9), 3), ["  … 9 lines the same"]);
        assert_eq!(drawn("a\n", "a", 3), ["  a"]);
        assert!(lines("", "", 3).is_empty());
        assert_eq!((changes("a\nb", "a\nb\n"), changes("", "")), (0, 0));
    }

    #[test]
    fn adding_and_removing_are_one_change_each() {
        for (before, after, expected, count) in [
            ("", "a\nb", &["+ a", "+ b"][..], 1),
            ("a\nb", "", &["- a", "- b"], 1),
            ("a\nc", "a\nb\nc", &["  a", "+ b", "  c"], 1),
            ("a\na\na", "a\na", &["  a", "  a", "- a"], 1),
            ("a\nb\nc", "x\nb\nz", &["- a", "+ x", "  b", "- c", "+ z"], 2),
        ] {
            assert_eq!(drawn(before, after, 3), expected);
            assert_eq!(changes(before, after), count, "{before:?} {after:?}");
        }
    }

    #[test]
    fn lines_are_shown_in_their_roles_and_harmless() {
        let shown = shown(&lines("\ta\u{1b}", "\tb\nc", 3));
        assert_eq!(
            shown,
            [
                Line::of(Role::Removed, "-     a␛"),
                Line::of(Role::Added, "+     b"),
                Line::of(Role::Added, "+ c"),
            ]
        );
    }
}
