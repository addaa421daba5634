//! The house rules that the compiler and clippy do not know, as functions from text to complaints.

pub mod crates;
pub mod documents;
pub mod layers;

use std::fmt;

use crate::source::{Source, line_at, words};

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Complaint {
    pub path: String,
    pub line: usize,
    pub reason: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.reason)
    }
}

impl Complaint {
    pub fn new(path: &str, line: usize, reason: impl Into<String>) -> Complaint {
        Complaint { path: path.to_owned(), line, reason: reason.into() }
    }
}

/// The one file that may be `unsafe`: the allocator that counts what a run holds.
pub const UNSAFE_FILE: &str = "scripts-runtime/src/memory.rs";

/// Lines that a file may have before its unit tests.
pub const FILE_LINES_MAX: usize = 600;

/// The one file in which a test may wait for time to pass.
pub const WAITING_FILE: &str = "tests/src/wait.rs";

pub fn begins_with_its_purpose(file: &Source) -> Vec<Complaint> {
    if file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![Complaint::new(&file.path, 1, "begin with `//! ` and what the file is for")]
}

pub fn unfinished(file: &Source) -> Vec<Complaint> {
    let notes = ["TODO", "FIXME", "XXX", "HACK"].into_iter().flat_map(|note| {
        words(&file.comments, note).map(move |at| (line_at(&file.comments, at), note))
    });
    let macros = ["todo", "unimplemented"].into_iter().flat_map(|name| {
        let calls =
            words(&file.code, name).filter(|at| file.code[at + name.len()..].starts_with('!'));
        calls.map(move |at| (line_at(&file.code, at), name))
    });
    let found = notes.chain(macros);
    found
        .map(|(line, word)| {
            Complaint::new(&file.path, line, format!("{word}: finish it, or say why not"))
        })
        .collect()
}

pub fn unsafe_code(file: &Source) -> Vec<Complaint> {
    if file.path == UNSAFE_FILE {
        return Vec::new();
    }
    let places = words(&file.code, "unsafe").map(|at| line_at(&file.code, at));
    places
        .map(|line| {
            Complaint::new(&file.path, line, format!("unsafe, which only {UNSAFE_FILE} may be"))
        })
        .collect()
}

pub fn too_long(file: &Source) -> Vec<Complaint> {
    let lines = file.lines_before_tests();
    if lines <= FILE_LINES_MAX || is_unit_tests(&file.path) {
        return Vec::new();
    }
    let reason = format!(
        "{lines} lines before its tests, at most {FILE_LINES_MAX}: split it by what it does"
    );
    vec![Complaint::new(&file.path, 1, reason)]
}

/// Unit tests that have a file of their own.
fn is_unit_tests(path: &str) -> bool {
    path.contains("src/") && (path.ends_with("/tests.rs") || path.contains("/tests/"))
}

/// What only benchmarks use, though it stands beside what they measure.
fn is_of_benchmarks(path: &str) -> bool {
    path.ends_with("/bench.rs")
}

/// A statement without its name in front cannot be found in a trace or a slow-query log.
pub fn nameless_sql(file: &Source) -> Vec<Complaint> {
    const VERBS: [&str; 6] =
        ["SELECT ", "INSERT ", "UPDATE ", "DELETE FROM", "REPLACE INTO", "WITH "];
    let is_product = file.path.starts_with("daemon/src/")
        && !is_unit_tests(&file.path)
        && !is_of_benchmarks(&file.path);
    let literals = file.literals.iter().filter(|_| is_product);
    let statements = literals.filter(|literal| {
        let start = literal.text.trim_start_matches(['\\', '\n', ' ']);
        VERBS.iter().any(|verb| start.starts_with(verb))
    });
    statements
        .map(|literal| {
            let reason = "begin the statement with its name: `-- outbox_claim`";
            Complaint::new(&file.path, literal.line, reason)
        })
        .collect()
}

const MAY_LAST: [&str; 2] = ["tests/benches/", "tests/src/appliance/attack.rs"];

/// Tests wait for conditions, run always, and pass at the first attempt.
pub fn patience(file: &Source) -> Vec<Complaint> {
    if file.path == WAITING_FILE {
        return Vec::new();
    }
    let ignored = file.code.match_indices("#[ignore").map(|(at, _)| (at, "a test that never runs"));
    let sleeps = words(&file.code, "sleep")
        // A measurement may have to last a while, and who attacks by being slow has to be slow.
        .filter(|_| {
            file.path.starts_with("tests/")
                && !MAY_LAST.iter().any(|path| file.path.starts_with(path))
        })
        .map(|at| (at, "wait for a condition, with wait::until"));
    ignored
        .chain(sleeps)
        .map(|(at, reason)| Complaint::new(&file.path, line_at(&file.code, at), reason))
        .collect()
}

/// Every promise of the product has a test that carries its number.
pub fn untested_promises(files: &[Source]) -> Vec<Complaint> {
    let tests: Vec<&str> = files.iter().flat_map(Source::tests).collect();
    let missing = (1..=9).filter(|number| {
        let prefix = format!("p{number}_");
        !tests.iter().any(|test| test.starts_with(&prefix))
    });
    missing
        .map(|number| Complaint::new("README.md", 1, format!("no test is named p{number}_...")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Source {
        Source::parse(path, text)
    }

    fn lines(complaints: &[Complaint]) -> Vec<usize> {
        complaints.iter().map(|complaint| complaint.line).collect()
    }

    #[test]
    fn a_file_without_its_purpose_is_found() {
        assert_eq!(lines(&begins_with_its_purpose(&file("a.rs", "\nfn main() {}\n"))), [1]);
        assert_eq!(begins_with_its_purpose(&file("a.rs", "//! It does.\n")), []);
    }

    #[test]
    fn what_is_unfinished_is_found_in_comments_and_code_but_not_in_texts() {
        let bad = "// TODO: more\nfn f() { todo!() }\nfn g() { unimplemented!(\"x\") } // FIXME\n";
        let mut found = lines(&unfinished(&file("a.rs", bad)));
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3, 3]);
        assert_eq!(unfinished(&file("a.rs", "const A: &str = \"TODO\"; // a todo list\n")), []);
    }

    #[test]
    fn unsafe_is_found_outside_the_allocator() {
        let text = "fn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(lines(&unsafe_code(&file("daemon/src/a.rs", text))), [2]);
        assert_eq!(unsafe_code(&file(UNSAFE_FILE, text)), []);
        assert_eq!(unsafe_code(&file("a.rs", "#![deny(unsafe_code)] // unsafe\n")), []);
    }

    #[test]
    fn long_files_are_found() {
        let long = "fn f() {}\n".repeat(601);
        assert_eq!(lines(&too_long(&file("a.rs", &long))), [1]);
        assert_eq!(too_long(&file("a/src/tests.rs", &long)), []);
        assert_eq!(too_long(&file("a.rs", &"fn f() {}\n".repeat(600))), []);
    }

    #[test]
    fn a_statement_without_a_name_is_found() {
        let bad =
            "const A: &str = \"-- a\\nSELECT 1\";\nconst B: &str = \"\\\n  UPDATE x SET y = 1\";\n";
        assert_eq!(lines(&nameless_sql(&file("daemon/src/store.rs", bad))), [2]);
        assert_eq!(nameless_sql(&file("daemon/src/store/tests/rows.rs", bad)), []);
    }

    #[test]
    fn sleeping_and_ignored_tests_are_found() {
        let text = "#[ignore = \"slow\"]\nfn f() { std::thread::sleep(d) }\n";
        assert_eq!(lines(&patience(&file("tests/tests/it/a.rs", text))), [1, 2]);
        assert_eq!(lines(&patience(&file("daemon/src/a.rs", text))), [1]);
        assert_eq!(patience(&file(WAITING_FILE, text)), []);
    }

    #[test]
    fn a_promise_without_a_test_is_found() {
        let names: String = (1..=8).map(|n| format!("#[test]\nfn p{n}_holds() {{}}\n")).collect();
        let all = file("a.rs", &names);
        let found = untested_promises(std::slice::from_ref(&all));
        assert_eq!(found.len(), 1);
        assert!(found[0].reason.contains("p9_"), "{}", found[0]);
        let not_a_test = file("b.rs", "fn p9_is_no_test() {}\n");
        assert_eq!(untested_promises(&[all, not_a_test]).len(), 1);
    }
}
