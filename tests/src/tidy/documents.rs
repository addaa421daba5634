//! What the documents claim about the code: functions, files, tests and commands that they name exist.
//!
//! In backticks, `flow/settle.rs::plan` is a function (or type, or `Type::method`) in a file, `store/` or
//! `store/writer.rs` a place. Both count from `daemon/src`, or from the root of the repository.
//! `p1_...` is a test.

use std::path::Path;

use super::Complaint;
use super::crates::Metadata;
use crate::source::{Source, line_at};

/// A document: its path from the root of the repository, and its text.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    pub path: &'a str,
    pub text: &'a str,
}

impl<'a> Document<'a> {
    /// Text in backticks, outside of code blocks, each with its line.
    fn spans(self) -> Vec<(&'a str, usize)> {
        let mut spans = Vec::new();
        for (line, number) in self.prose() {
            spans.extend(line.split('`').skip(1).step_by(2).map(|span| (span, number)));
        }
        spans
    }

    fn prose(self) -> impl Iterator<Item = (&'a str, usize)> {
        self.lines().filter_map(|(line, number, block)| block.is_none().then_some((line, number)))
    }

    /// Commands in code blocks marked `sh` or `console`; in a `console` block they follow a `$`.
    pub fn commands(self) -> Vec<(&'a str, usize)> {
        let lines = self.lines().filter_map(|(line, number, block)| match block {
            Some("sh") => Some((line.trim(), number)),
            Some("console") => line.trim().strip_prefix("$ ").map(|command| (command, number)),
            _ => None,
        });
        lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')).collect()
    }

    /// Each line with its number and the mark of the code block that it stands in. Fences stand in their block.
    fn lines(self) -> impl Iterator<Item = (&'a str, usize, Option<&'a str>)> {
        let mut block = None;
        self.text.lines().zip(1..).map(move |(line, number)| {
            let fence = line.trim_start().strip_prefix("```");
            let before = block;
            if let Some(mark) = fence {
                block = if before.is_some() { None } else { Some(mark.trim()) };
                return (line, number, Some("fence"));
            }
            (line, number, before)
        })
    }
}

/// Files, folders, functions and tests that a document names and that are not there.
pub fn missing_names(document: Document<'_>, files: &[Source], root: &Path) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (span, line) in document.spans() {
        let reason = if let Some((path, item)) = span.split_once(".rs::") {
            missing_item(&format!("{path}.rs"), item, files)
        } else if is_place(span) {
            missing_place(span, root)
        } else if is_promise_test(span) {
            let known = files.iter().any(|file| file.tests().contains(&span));
            (!known).then(|| format!("no test is named {span}"))
        } else {
            None
        };
        complaints.extend(reason.map(|reason| Complaint::new(document.path, line, reason)));
    }
    complaints
}

fn missing_item(path: &str, item: &str, files: &[Source]) -> Option<String> {
    let below_daemon = format!("daemon/src/{path}");
    let Some(file) = files.iter().find(|file| file.path == path || file.path == below_daemon)
    else {
        return Some(format!("no file {path}"));
    };
    // A type's functions may stand in another file than the type.
    let is_there =
        |name: &str| file.declares(name) || file.code.contains(&format!("impl {name} {{"));
    let mut names = item.trim_end_matches("()").split("::");
    names.find(|name| !is_there(name)).map(|name| format!("{} declares no {name}", file.path))
}

fn is_place(span: &str) -> bool {
    let plain = !span.starts_with('/') && !span.contains([' ', '{', '*', ':']);
    plain && (span.ends_with(".rs") || span.ends_with('/'))
}

fn missing_place(span: &str, root: &Path) -> Option<String> {
    let there = root.join(span).exists() || root.join("daemon/src").join(span).exists();
    (!there).then(|| format!("no {span} under daemon/src or at the root"))
}

fn is_promise_test(span: &str) -> bool {
    let mut bytes = span.bytes();
    bytes.next() == Some(b'p')
        && bytes.next().is_some_and(|digit| digit.is_ascii_digit())
        && bytes.next() == Some(b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Commands that a document shows and that cannot be run.
pub fn wrong_commands(document: Document<'_>, metadata: &Metadata, root: &Path) -> Vec<Complaint> {
    const CARGO: [&str; 8] = ["build", "run", "test", "clippy", "fmt", "doc", "deny", "bench"];
    let programs = metadata.programs();
    let mut complaints = Vec::new();
    for (command, line) in document.commands() {
        let words: Vec<&str> = command.split_whitespace().filter(|word| *word != "sudo").collect();
        let wrong = match words.as_slice() {
            ["cargo", known, ..] if !CARGO.contains(known) => Some(format!("cargo has no {known}")),
            ["cargo", rest @ ..] => {
                let after =
                    rest.iter().position(|word| *word == "--bin").and_then(|at| rest.get(at + 1));
                after
                    .filter(|name| !programs.contains(*name))
                    .map(|name| format!("no program {name}"))
            }
            [script, ..] if script.contains('/') && !script.starts_with('/') => {
                (!root.join(script).is_file()).then(|| format!("no file {script}"))
            }
            [name, ..] if name.starts_with("picloud") && !programs.contains(name) => {
                Some(format!("no program {name}"))
            }
            _ => None,
        };
        complaints.extend(wrong.map(|reason| Complaint::new(document.path, line, reason)));
    }
    complaints
}

/// Our programs as a document calls them: the program and its arguments.
pub fn calls(document: Document<'_>) -> Vec<(&str, Vec<&str>)> {
    let mut calls = Vec::new();
    for (command, _) in document.commands() {
        let words: Vec<&str> = command.split_whitespace().filter(|word| *word != "sudo").collect();
        let call = match words.as_slice() {
            ["cargo", "run", rest @ ..] => {
                let program = rest.iter().position(|word| *word == "--bin");
                program.map_or(&[][..], |at| &rest[at + 1..])
            }
            [program, ..] if program.starts_with("picloud") => &words,
            _ => &[],
        };
        if let [program, arguments @ ..] = call {
            let arguments = arguments.iter().filter(|word| **word != "--");
            calls.push((*program, arguments.copied().collect()));
        }
    }
    calls
}

/// A change log in the form of <https://keepachangelog.com>.
pub fn malformed_changelog(document: Document<'_>) -> Vec<Complaint> {
    const KINDS: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let mut complaints = Vec::new();
    if !document.text.contains("\n## [Unreleased]\n") {
        complaints.push(Complaint::new(document.path, 1, "no section `## [Unreleased]`"));
    }
    for (at, heading) in document.text.match_indices("\n### ") {
        let title = document.text[at + heading.len()..].lines().next().unwrap_or_default();
        if !KINDS.contains(&title) {
            let reason = format!("section {title} is none of {}", KINDS.join(", "));
            complaints.push(Complaint::new(document.path, line_at(document.text, at + 1), reason));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::crates::{Package, Target};

    fn document(text: &str) -> Document<'_> {
        Document { path: "A.md", text }
    }

    fn places(complaints: &[Complaint]) -> Vec<(usize, &str)> {
        complaints.iter().map(|complaint| (complaint.line, &*complaint.reason)).collect()
    }

    #[test]
    fn names_of_what_is_not_there_are_found() {
        let text = "`flow/a.rs::plan`, `flow/a.rs::Elsewhere::work`, `flow/a.rs::Row::end()`, `flow/a.rs::gone`\n`flow/b.rs::plan` `p1_it_holds`\n\
            `p2_it_does_not` `nowhere/` `/nowhere/` `a b.rs`\n```sh\n`flow/c.rs::plan`\n```\n";
        let file = Source::parse(
            "daemon/src/flow/a.rs",
            "fn plan() {} struct Row; impl Row { fn end() {} } impl Elsewhere { fn work() {} }\n#[test]\nfn p1_it_holds() {}\n",
        );
        let found = missing_names(document(text), &[file], Path::new("/"));
        assert_eq!(
            places(&found),
            [
                (1, "daemon/src/flow/a.rs declares no gone"),
                (2, "no file flow/b.rs"),
                (3, "no test is named p2_it_does_not"),
                (3, "no nowhere/ under daemon/src or at the root"),
            ]
        );
    }

    #[test]
    fn commands_that_cannot_be_run_are_found() {
        let target = Target { name: "picloudd".to_owned(), kind: vec!["bin".to_owned()] };
        let package = Package {
            name: "picloud-daemon".to_owned(),
            license: None,
            dependencies: Vec::new(),
            targets: vec![target],
        };
        let metadata = Metadata { packages: vec![package] };
        let text = "```sh\ncargo run --release --bin picloudd -- demo\ncargo run --bin nothing\ncargo tset\n\
            sudo picloud deploy x\n.ci/nothing\n```\n```console\n$ cargo tset\ncargo tset\n```\n";
        let found = wrong_commands(document(text), &metadata, Path::new("/"));
        assert_eq!(
            places(&found),
            [
                (3, "no program nothing"),
                (4, "cargo has no tset"),
                (5, "no program picloud"),
                (6, "no file .ci/nothing"),
                (9, "cargo has no tset"),
            ]
        );
        assert_eq!(
            calls(document(text)),
            [("picloudd", vec!["demo"]), ("nothing", vec![]), ("picloud", vec!["deploy", "x"])]
        );
    }

    #[test]
    fn a_change_log_without_unreleased_or_with_an_unknown_section_is_found() {
        assert_eq!(
            malformed_changelog(document("# Changelog\n\n## [Unreleased]\n\n### Added\n")),
            []
        );
        let found = malformed_changelog(document("# Changelog\n\n### News\n"));
        assert_eq!(found.iter().map(|complaint| complaint.line).collect::<Vec<_>>(), [1, 3]);
    }
}
