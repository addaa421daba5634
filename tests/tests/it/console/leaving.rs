//! However the console ends, the terminal is left as it was found.

use picloud_tests::daemon::Site;
use picloud_tests::terminal::Console;
use rustix::process::Signal;

use crate::console::{garden, live, open, shows};

#[track_caller]
fn is_taken(console: &mut Console) {
    console.shows_state(
        |screen| screen.alternate_screen() && screen.bracketed_paste(),
        "that the terminal is taken",
    );
    assert!(console.left_behind().contains(&"settings"));
}

#[test]
fn it_is_left_by_a_key_and_by_each_signal_to_end() {
    let site = Site::new();
    let daemon = site.start();
    let ends: [fn(&mut Console); 6] = [
        |console| console.keys("q"),
        |console| console.keys("\x03"),
        // From within a question as well.
        |console| console.keys(":\x03"),
        |console| console.signal(Signal::TERM),
        |console| console.signal(Signal::HUP),
        |console| console.signal(Signal::INT),
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let mut console = live(&site);
        is_taken(&mut console);
        end(&mut console);
        assert_eq!(console.ended(), 0, "end {n}");
        assert_eq!(console.left_behind(), [""; 0], "end {n}");
        assert_eq!(console.screen().trim(), "", "end {n}");
    }
    daemon.stop();
}

#[test]
fn suspended_it_lets_go_of_the_terminal_and_takes_it_again_with_what_it_has() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    let mut console = live(&site);
    console.keys("6");
    shows(&mut console, &["garden/water", "garden/note"]);
    for _ in 0..2 {
        console.keys("\x1a");
        console.stopped();
        assert_eq!(console.left_behind(), [""; 0]);
        console.resize(90, 28);
        console.go_on();
        is_taken(&mut console);
        shows(&mut console, &["● live", "garden/water", "garden/note", "? help"]);
        console.resize(100, 30);
    }
    console.keys("q");
    assert_eq!(console.ended(), 0);
    assert_eq!(console.left_behind(), [""; 0]);
    daemon.stop();
}

#[test]
fn it_asks_the_terminal_nothing() {
    let site = Site::new();
    let daemon = site.start();
    let mut console = open(&site, &[], &[]);
    shows(&mut console, &["● live"]);
    console.keys("\x0c");
    console.resize(80, 24);
    shows(&mut console, &["● live"]);
    console.keys("q");
    assert_eq!(console.ended(), 0);
    let raw = String::from_utf8_lossy(console.raw()).into_owned();
    for question in ["\x1b[6n", "\x1b[5n", "\x1b[c", "\x1b[0c", "\x1b[?u", "\x1b]", "\x1bP"] {
        assert!(!raw.contains(question), "{question:?} asks the terminal");
    }
    daemon.stop();
}
