//! The house rules, applied to the repository. What each rule finds is tested beside it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use picloud_tests::source::{self, Source};
use picloud_tests::tidy::{self, Complaint, crates, documents, layers};

#[track_caller]
fn assert_tidy(complaints: &[Complaint]) {
    let list: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
    assert!(list.is_empty(), "{}", list.join("\n"));
}

#[track_caller]
fn assert_each_tidy(rule: impl Fn(&Source) -> Vec<Complaint>) {
    let files = source::rust_files();
    assert!(files.len() > 30, "the walk found only {} files", files.len());
    assert_tidy(&files.iter().flat_map(rule).collect::<Vec<_>>());
}

#[test]
fn every_file_begins_with_its_purpose() {
    assert_each_tidy(tidy::begins_with_its_purpose);
}

#[test]
fn nothing_is_unfinished() {
    assert_each_tidy(tidy::unfinished);
}

#[test]
fn only_the_allocator_is_unsafe() {
    assert_each_tidy(tidy::unsafe_code);
}

#[test]
fn files_are_short() {
    assert_each_tidy(tidy::too_long);
}

#[test]
fn every_statement_begins_with_its_name() {
    assert_each_tidy(tidy::nameless_sql);
}

#[test]
fn tests_neither_sleep_nor_are_ignored() {
    assert_each_tidy(tidy::patience);
}

#[test]
fn every_promise_has_a_test() {
    assert_tidy(&tidy::untested_promises(&source::rust_files()));
}

#[test]
fn crates_depend_on_each_other_only_along_the_arrows() {
    let metadata = crates::metadata();
    assert_eq!(metadata.packages.len(), crates::ARROWS.len());
    assert_tidy(&crates::wrong_arrows(&metadata));
    assert_tidy(&crates::wrong_licences(&metadata));
}

#[test]
fn imports_in_the_daemon_run_downward() {
    let files = source::rust_files();
    let modules =
        layers::modules(&source::read("daemon/src/lib.rs")).expect("every module has a layer");
    assert_tidy(&layers::upward_imports(&files, &modules));
    assert_tidy(&layers::circles(&files, &modules));
}

#[test]
fn pure_layers_name_no_runtime_and_only_the_store_names_sql() {
    let files = source::rust_files();
    let modules =
        layers::modules(&source::read("daemon/src/lib.rs")).expect("every module has a layer");
    assert_tidy(&layers::impure(&files, &modules));
}

#[test]
fn which_engine_it_is_one_file_knows() {
    assert_each_tidy(layers::engine_known);
    for path in layers::ENGINE_PATHS.iter().chain(&layers::FILE_PATHS) {
        assert!(source::root().join(path).exists(), "{path}");
    }
}

#[test]
fn what_the_documents_name_is_there() {
    let files = source::rust_files();
    for path in ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"] {
        let text = source::read(path);
        let document = documents::Document { path, text: &text };
        assert_tidy(&documents::missing_names(document, &files, &source::root()));
        assert_tidy(&documents::wrong_commands(document, &crates::metadata(), &source::root()));
    }
}

#[test]
fn the_architecture_fits_on_a_few_pages() {
    let text = source::read("ARCHITECTURE.md");
    assert!(text.lines().count() <= 250);
    let path = section(&text, "## A request, followed through");
    assert!(
        path.lines().count() <= 40,
        "the way of one request has {} lines",
        path.lines().count()
    );
}

/// The text below a heading, up to the next one of the same level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, after) = text.split_once(heading).expect("the document has this section");
    after.split("\n## ").next().unwrap_or_default().trim()
}

#[test]
fn the_change_log_and_the_licences_are_in_place() {
    let text = source::read("CHANGELOG.md");
    let document = documents::Document { path: "CHANGELOG.md", text: &text };
    assert_tidy(&documents::malformed_changelog(document));
    assert!(source::read("LICENSE-MIT").contains("Permission is hereby granted"));
    assert!(source::read("LICENSE-APACHE").contains("Version 2.0, January 2004"));
}

#[test]
fn one_script_runs_all_checks() {
    let script = source::read(".ci/run");
    for command in
        ["cargo fmt --all --check", "clippy --workspace --all-targets", "cargo test --workspace"]
    {
        assert!(script.contains(command), "{command}");
    }
    let mode =
        fs::metadata(source::root().join(".ci/run")).expect("it was read").permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
}
