//! What differs between two texts, line by line.

use similar::{ChangeTag, TextDiff};

use crate::text::{Line, Role, harmless};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Same,
    Added,
    Removed,
    /// Lines that are the same and not shown.
    Skipped,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DiffLine {
    pub change: Change,
    pub text: String,
}

/// The changes with so many lines around each.
pub fn lines(before: &str, after: &str, context: usize) -> Vec<DiffLine> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    let mut shown_to = 0;
    let groups = diff.grouped_ops(context);
    for group in &groups {
        let begins = group.first().map_or(0, |op| op.old_range().start);
        skip(&mut lines, begins - shown_to);
        for op in group {
            for change in diff.iter_changes(op) {
                let kind = match change.tag() {
                    ChangeTag::Equal => Change::Same,
                    ChangeTag::Insert => Change::Added,
                    ChangeTag::Delete => Change::Removed,
                };
                let text = change.value().trim_end_matches(['\n', '\r']).to_owned();
                lines.push(DiffLine { change: kind, text });
            }
        }
        shown_to = group.last().map_or(shown_to, |op| op.old_range().end);
    }
    if !groups.is_empty() {
        skip(&mut lines, diff.old_len() - shown_to);
    }
    lines
}

fn skip(lines: &mut Vec<DiffLine>, count: usize) {
    if count > 0 {
        let text = if count == 1 {
            "1 line the same".to_owned()
        } else {
            format!("{count} lines the same")
        };
        lines.push(DiffLine { change: Change::Skipped, text: format!("… {text}") });
    }
}

/// Places at which they differ.
pub fn changes(before: &str, after: &str) -> usize {
    TextDiff::from_lines(before, after).grouped_ops(0).len()
}

/// The same to be read.
pub fn shown(lines: &[DiffLine]) -> Vec<Line> {
    let line = |line: &DiffLine| {
        let (sign, role) = match line.change {
            Change::Same => ("  ", Role::Text),
            Change::Added => ("+ ", Role::Added),
            Change::Removed => ("- ", Role::Removed),
            Change::Skipped => ("  ", Role::Dim),
        };
        Line::of(role, format!("{sign}{}", harmless(&line.text.replace('\t', "    "))))
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(before: &str, after: &str) -> Vec<String> {
        shown(&lines(before, after, 1)).iter().map(Line::text).collect()
    }

    #[test]
    fn changes_stand_with_what_is_around_them() {
        assert_eq!(
            text("a\nb\nc\nd\ne\n", "a\nb\nC\nd\ne\n"),
            ["  … 1 line the same", "  b", "- c", "+ C", "  d", "  … 1 line the same"]
        );
        assert_eq!(changes("a\nb\nc\nd\ne\n", "a\nX\nc\nd\nY\n"), 2);
    }

    #[test]
    fn what_is_new_is_all_added_and_what_is_the_same_is_nothing() {
        assert_eq!(text("", "x\ny"), ["+ x", "+ y"]);
        assert_eq!(text("x\n", "x\n"), Vec::<String>::new());
    }
}
