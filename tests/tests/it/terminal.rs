//! The console leaves the terminal as it found it, whatever befalls it.

use std::process::{Command, Stdio};

use picloud_tests::daemon::program;
use picloud_tests::terminal::Console;
use rustix::process::Signal;
use tempfile::TempDir;
use vt100::MouseProtocolMode;

/// The program that takes the terminal, and a folder for its editor's files.
struct Guard {
    console: Console,
    folder: TempDir,
}

impl Guard {
    fn new(editor: &str) -> Guard {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().to_str().expect("it is text").to_owned();
        let console = Console::open(&program("terminal-guard"), &[editor, &path], &[], (60, 8));
        let mut guard = Guard { console, folder };
        guard.is_taken("ready");
        guard
    }

    #[track_caller]
    fn is_taken(&mut self, says: &str) {
        self.console.shows(|text| text.starts_with(says), says);
        self.console.shows_state(
            |screen| {
                screen.alternate_screen()
                    && screen.bracketed_paste()
                    && screen.mouse_protocol_mode() == MouseProtocolMode::PressRelease
                    && !screen.hide_cursor()
            },
            "that the terminal is taken",
        );
        assert!(self.console.left_behind().contains(&"settings"));
    }

    #[track_caller]
    fn is_left(&mut self) {
        assert_eq!(self.console.left_behind(), [""; 0]);
        let raw = String::from_utf8_lossy(self.console.raw()).into_owned();
        for question in ["\x1b[6n", "\x1b[5n", "\x1b[c", "\x1b[0c", "\x1b[?u"] {
            assert!(!raw.contains(question), "{question:?} asks the terminal");
        }
        assert_eq!(self.folder.path().read_dir().expect("it is there").count(), 0);
    }
}

#[test]
fn it_is_left_when_the_user_quits() {
    let mut guard = Guard::new("true");
    guard.console.keys("x");
    guard.is_taken("key 120");
    guard.console.keys("q");
    assert_eq!(guard.console.ended(), 0);
    guard.is_left();
    assert_eq!(guard.console.screen().trim(), "");
}

#[test]
fn it_is_left_before_a_panic_is_printed() {
    let mut guard = Guard::new("true");
    guard.console.keys("p");
    assert_eq!(guard.console.ended(), 101);
    guard.is_left();
    let screen = guard.console.screen();
    assert!(screen.contains("a panic on purpose"), "{screen}");
}

#[test]
fn it_is_left_on_each_signal_to_end() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut guard = Guard::new("true");
        guard.console.signal(signal);
        assert_eq!(guard.console.ended(), 0, "{signal:?}");
        guard.is_left();
    }
}

#[test]
fn it_is_left_while_suspended_and_taken_again() {
    let mut guard = Guard::new("true");
    for _ in 0..3 {
        guard.console.keys("z");
        guard.console.stopped();
        guard.is_left();
        guard.console.resize(50, 7);
        guard.console.go_on();
        guard.is_taken("resumed\n50 x 7");
        guard.console.signal(Signal::TSTP);
        guard.console.stopped();
        guard.is_left();
        guard.console.resize(60, 8);
        guard.console.go_on();
        guard.is_taken("resumed\n60 x 8");
    }
    guard.console.keys("q");
    assert_eq!(guard.console.ended(), 0);
    guard.is_left();
}

#[test]
fn a_stop_that_it_did_not_see_changes_nothing() {
    let mut guard = Guard::new("true");
    guard.console.signal(Signal::STOP);
    guard.console.stopped();
    guard.console.go_on();
    guard.is_taken("ready, resumed");
    guard.console.keys("q");
    assert_eq!(guard.console.ended(), 0);
    guard.is_left();
}

#[test]
fn it_is_not_suspended_where_nobody_would_let_it_go_on() {
    let program = program("terminal-guard");
    let program = program.to_str().expect("it is text");
    // In a session of its own.
    let script = ["-c", "setsid --wait \"$0\" true /tmp", program];
    let mut console = Console::open("/bin/sh".as_ref(), &script, &[], (60, 8));
    console.shows(|text| text.starts_with("ready"), "that it is ready");
    console.keys("z");
    console.shows(|text| text.starts_with("no shell"), "why it is not suspended");
    console.keys("q");
    assert_eq!(console.ended(), 0);
    assert_eq!(console.left_behind(), [""; 0]);
}

#[test]
fn an_editor_has_the_terminal_as_it_was_found() {
    let mut guard = Guard::new("stty -a | tr ' ;' '\\n\\n' | grep -x -e icanon -e echo >");
    guard.console.keys("e");
    // A row is a line: what follows a line feed is not shown by one string.
    guard.is_taken("edited icanonecho");
    guard.console.keys("q");
    assert_eq!(guard.console.ended(), 0);
    guard.is_left();
}

#[test]
fn an_editor_that_is_suspended_takes_the_console_along() {
    let mut guard = Guard::new("kill -TSTP 0; echo after >");
    guard.console.keys("e");
    guard.console.stopped();
    assert_eq!(guard.console.left_behind(), [""; 0]);
    guard.console.go_on();
    guard.is_taken("edited after");
    guard.console.keys("q");
    assert_eq!(guard.console.ended(), 0);
    guard.is_left();
}

#[test]
fn an_editor_that_fails_is_told_and_leaves_nothing() {
    let mut guard = Guard::new("false");
    guard.console.keys("e");
    guard.is_taken("the editor `false` failed (exit status: 1)");
    guard.console.signal(Signal::TERM);
    assert_eq!(guard.console.ended(), 0);
    guard.is_left();
}

#[test]
fn without_a_terminal_it_says_what_to_take_instead() {
    let output = Command::new(program("terminal-guard"))
        .args(["true", "/tmp"])
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    assert!(!output.status.success() && output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("picloud-tui needs a terminal; `picloud` prints for pipes"),
        "{errors}"
    );
}
