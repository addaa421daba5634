//! What the console writes: nothing when nothing changes, little when much does, and only what the terminal can show.

use std::time::Duration;

use picloud_tests::client::{Connection, Request};
use picloud_tests::daemon::{Daemon, Site};
use picloud_tests::terminal::Console;
use picloud_tests::wait::{self, Since};

use crate::console::{A_WHILE, ENTER, garden, letters, live, open, quits, shows, water};

/// Seconds into a minute.
fn second() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "the clock that the console shows")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is after 1970").as_secs() % 60
}

/// Waits until so long no minute begins, and the last one has long been drawn.
fn within_a_minute(time: Duration) {
    let last = 59 - time.as_secs();
    wait::until("there is room in this minute", || (2..last).contains(&second()).then_some(()));
}

/// Waits until what has just come is drawn, and then sees that nothing more is.
#[track_caller]
fn is_quiet(console: &mut Console, (screen, sees): (&str, &str), bytes: usize) {
    console.keys(screen);
    shows(console, &[sees]);
    wait::until("it has settled", || {
        (console.bytes_within(Duration::from_millis(1_500)) == 0).then_some(())
    });
    within_a_minute(A_WHILE);
    let before = console.screen();
    let written = console.bytes_within(A_WHILE);
    assert!(written <= bytes, "{written} bytes\n{screen}\n{before}\n{}", console.screen());
}

#[test]
fn nothing_is_written_while_nothing_happens() {
    let site = Site::new();
    let daemon = site.start();
    let mut console = live(&site);
    // The memory and the writing of an idle daemon are figures too, and change now and then.
    is_quiet(&mut console, ("1", "Gate"), 60);
    garden(&site);
    letters(&daemon, 1);
    is_quiet(&mut console, ("2", "Nothing waits and nothing runs"), 0);
    quits(console);
    daemon.stop();
}

/// Requests at this rate while the console writes; bytes a second.
fn bytes_under_load(console: &mut Console, daemon: &Daemon, per_second: u32) -> u64 {
    let mut connection = Connection::tcp(daemon.address()).expect("the daemon listens");
    let before = console.raw_bytes();
    let (begin, mut sent) = (Since::now(), 0);
    while begin.elapsed() < A_WHILE {
        let due = begin.elapsed().as_millis() * u128::from(per_second) / 1_000;
        if sent < due {
            let answer = connection.send(&Request::post("/garden/", "{\"n\": 3}"));
            assert_eq!(answer.expect("it answers").status, 202);
            sent += 1;
        } else {
            wait::pass(Duration::from_millis(1));
        }
        let _so_far = console.raw_bytes();
    }
    (console.raw_bytes() - before) as u64 / A_WHILE.as_secs()
}

#[test]
fn under_load_a_screen_takes_no_more_than_a_slow_line_has() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    let mut console = live(&site);
    water(&daemon, [1]);
    shows(&mut console, &["garden/water"]);
    let overview = bytes_under_load(&mut console, &daemon, 100);
    console.keys("2");
    shows(&mut console, &["Outbox", "garden/"]);
    let outbox = bytes_under_load(&mut console, &daemon, 100);
    assert!(overview > 50 && overview < 1_500, "{overview} B/s");
    assert!(outbox > 100 && outbox < 4_000, "{outbox} B/s");
    quits(console);
    daemon.stop();
}

/// The screens, each until it shows something, with a question, help and palette.
#[track_caller]
fn all_screens(console: &mut Console) {
    shows(console, &["live", "1 dead letter waits for you"]);
    for (key, sees) in [
        ("2", "Nothing waits and nothing runs"),
        ("3", "1 open, 1 group"),
        ("d", "Discard"),
        ("\x1b", "not done"),
        (ENTER, "sensor 10 is silent"),
        ("4", "garden/water"),
        ("5", "garden"),
        ("6", "garden/note"),
        ("7", "after"),
        ("8", "No"),
        ("9", "looks at the sensor"),
        ("0", "the store's file is whole"),
        ("?", "Help  System"),
        ("\x1b", "the store's file is whole"),
        (":", "Overview: is everything all right?"),
        ("\x1b", "the store's file is whole"),
    ] {
        console.keys(key);
        shows(console, &[sees]);
    }
}

#[test]
fn without_colour_no_colour_is_written() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 1);
    let has_colour = |raw: &[u8]| {
        let text = String::from_utf8_lossy(raw).into_owned();
        let pieces: Vec<&str> = text.split("\x1b[").collect();
        let graphics = pieces.iter().filter_map(|piece| {
            let end = piece.find(|c: char| c.is_ascii_alphabetic())?;
            piece[end..].starts_with('m').then(|| piece[..end].split(';').collect::<Vec<_>>())
        });
        graphics.flatten().any(|code| {
            let code = code.parse::<u32>().unwrap_or(0);
            (30..=49).contains(&code) && code != 39 && code != 49 || (90..=107).contains(&code)
        })
    };
    for (arguments, environment, expected) in [
        (&[][..], &[("NO_COLOR", "1")][..], false),
        (&["--theme", "mono"], &[], false),
        (&[], &[("NO_COLOR", "")], true),
        (&["--theme", "colours"], &[("NO_COLOR", "1")], true),
    ] {
        let mut console = open(&site, arguments, environment);
        all_screens(&mut console);
        assert_eq!(has_colour(console.raw()), expected, "{arguments:?} {environment:?}");
        quits(console);
    }
    daemon.stop();
}

#[test]
fn a_terminal_without_unicode_gets_ascii_alone() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 1);
    for (arguments, environment) in [
        (&["--ascii"][..], &[][..]),
        (&["--plain"], &[]),
        (&[], &[("LANG", "C")]),
        (&[], &[("LC_ALL", "ja_JP.UTF-8")]),
        (&[], &[("TERM", "linux")]),
    ] {
        let mut console = open(&site, arguments, environment);
        all_screens(&mut console);
        let raw = console.raw();
        let other = raw.iter().position(|byte| !byte.is_ascii());
        let around = other.map(|at| {
            let around = &raw[at.saturating_sub(40)..(at + 20).min(raw.len())];
            String::from_utf8_lossy(around).into_owned()
        });
        assert_eq!(around, None, "{arguments:?} {environment:?}");
        quits(console);
    }
    daemon.stop();
}
