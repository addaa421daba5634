//! Texts that are not the console's own reach the terminal as text, whatever is in them.

use picloud_tests::daemon::{Daemon, InlineApp, Site};
use serde_json::json;

use crate::console::{ENTER, ESCAPE, ONCE, live, open, quits, shows};

/// What would move the cursor, ring, rename the window, fill the clipboard, print, reset, or turn text round.
const HOSTILE: &[&str] = &[
    "\x1b[99;99Hmoved",
    "\x1b]52;c;SEFDS0VE\x07clip",
    "\x1b]0;title\x1b\\named",
    "\x1bP+q544e\x1b\\asked",
    "\x1bcreset",
    "\x1b[?1049lleft",
    "\x1b[6n\x1b[5i",
    "\u{9b}31mc1\u{9d}0;c1\u{9c}\u{85}",
    "\u{202e}desrever\u{2066}\u{200b}\u{feff}\u{ad}",
    "a\r\nb\tc\x08\x7fd\0e\x0ef\x0f",
    "漢字かな한글 👩‍👩‍👧‍👦 🇩🇪 e\u{301} ｗｉｄｅ",
];

fn hostile(site: &Site) {
    site.deploy_app(&InlineApp {
        slug: "foe",
        scripts: &[
            (
                "say",
                r#"
                log::warn(event.body.text, #{text: event.body.text});
                kv::collection("said").set(event.body.key, event.body.text);
                "#,
            ),
            ("fail", "throw event.body.text;"),
        ],
        routes: &[("POST /say", "say", ""), ("POST /fail", "fail", ONCE)],
        manifest: "",
    });
}

#[track_caller]
fn says(daemon: &Daemon, key: &str, text: &str) {
    let body = json!({ "key": key, "text": text }).to_string();
    assert_eq!(daemon.post("/foe/say", &body).status, 200);
    assert_eq!(daemon.post("/foe/fail", &body).status, 202);
}

/// The first byte that is none of the few sequences that the console writes, with what follows it.
fn foreign(raw: &[u8], rows: usize) -> Option<String> {
    let own_modes = ["?1049", "?2004", "?25", "?1000", "?1006"];
    let text = String::from_utf8(raw.to_vec()).expect("all of it is UTF-8");
    let mut rest = text.as_str();
    while let Some(at) =
        rest.find(|c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))
    {
        let found = &rest[at..];
        let Some(sequence) = found.strip_prefix("\x1b[") else {
            return Some(found.chars().take(40).collect());
        };
        let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        let (parameters, last) = (&sequence[..end], &sequence[end..=end]);
        let row = parameters.split(';').next().and_then(|row| row.parse::<usize>().ok());
        let is_own = match last {
            "H" => row.unwrap_or(1) <= rows,
            "m" => parameters.bytes().all(|c| c.is_ascii_digit() || c == b';'),
            "h" | "l" => own_modes.contains(&parameters),
            "J" => parameters == "2",
            "K" => parameters.is_empty(),
            _ => false,
        };
        if !is_own {
            return Some(found.chars().take(40).collect());
        }
        rest = &sequence[end + 1..];
    }
    None
}

#[test]
fn no_sequence_of_a_payload_an_error_or_a_log_line_reaches_the_terminal() {
    let site = Site::new();
    let daemon = site.start();
    hostile(&site);
    for (n, text) in HOSTILE.iter().enumerate() {
        says(&daemon, &format!("k{n:02}"), text);
    }
    picloud_tests::wait::until("all are dead letters", || {
        (daemon.list("dead-letters").len() == HOSTILE.len()).then_some(())
    });
    let mut console = live(&site);
    for (keys, sees) in [
        ("1", &["11 dead letters wait"][..]),
        ("3", &["11 open"]),
        (ENTER, &["Dead letters  1", "ｗｉｄｅ"]),
        ("4", &["foe/fail"]),
        ("8", &["said"]),
        (ENTER, &["k00", "\\u001b[99;99Hmoved"]),
        ("9", &["␛[99;99Hmoved", "␛]52;c;SEFDS0VE", "␛creset", "漢字かな한글"]),
        ("b", &["there is no other view of this"]),
    ] {
        console.keys(keys);
        shows(&mut console, sees);
        // From row to row, each with its detail.
        for _ in 0..HOSTILE.len() {
            console.keys("j");
        }
        console.keys("g");
        is_aligned(&mut console);
    }
    assert_eq!(foreign(console.raw(), 30), None);
    quits(console);
    daemon.stop();
}

/// What was drawn bit by bit looks as what is drawn at once.
#[track_caller]
fn is_aligned(console: &mut picloud_tests::terminal::Console) {
    let marked = console.raw_bytes();
    console.keys("\x0c");
    picloud_tests::wait::until("it is painted anew", || {
        let raw = &console.raw()[marked..];
        raw.windows(4).any(|bytes| bytes == b"\x1b[2J").then_some(())
    });
    let is_whole = |text: &str| text.lines().last().is_some_and(|last| last.contains("? help"));
    console.shows(is_whole, "the whole screen");
    let screen = console.screen();
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[0].starts_with("picloud ") && lines[1].starts_with("1 Overview"), "{screen}");
    assert_eq!(lines[2], "─".repeat(100), "{screen}");
    assert_eq!(lines.len(), 30, "{screen}");
}

#[test]
fn lines_without_end_and_wide_characters_are_cut_at_the_edge() {
    let site = Site::new();
    let daemon = site.start();
    hostile(&site);
    says(&daemon, "long", &"x".repeat(200_000));
    says(&daemon, "wide", &"漢".repeat(20_000));
    says(&daemon, "deep", &format!("{}1{}", "[".repeat(500), "]".repeat(500)));
    picloud_tests::wait::until("all are dead letters", || {
        (daemon.list("dead-letters").len() == 3).then_some(())
    });
    let mut console = live(&site);
    for (keys, sees) in [
        ("9", &["xxxxxxxx", "漢漢漢漢"][..]),
        ("3", &["3 open"]),
        (ENTER, &["foe/fail"]),
        (ENTER, &["foe/fail"]),
        ("8", &["said"]),
        (ENTER, &["wide", "long", "deep"]),
    ] {
        console.keys(keys);
        shows(&mut console, sees);
        is_aligned(&mut console);
    }
    assert_eq!(foreign(console.raw(), 30), None);
    console.keys(ESCAPE);
    shows(&mut console, &["Data  1"]);
    quits(console);
    daemon.stop();
}

#[test]
fn a_paste_is_not_obeyed_and_an_id_of_the_command_line_is_no_sequence() {
    let site = Site::new();
    let daemon = site.start();
    let mut console = live(&site);
    console.keys("\x1b[200~q\x03:q\r\x1b[201~");
    shows(&mut console, &["a paste is taken in fields only"]);
    console.keys("/\x1b[200~foe\x1b[99;99H\nq\x1b[201~");
    shows(&mut console, &["/foe"]);
    assert_eq!(foreign(console.raw(), 30), None);
    console.keys("\x03");
    assert_eq!(console.ended(), 0);
    let mut console = open(&site, &["\x1b[99;99Hx"], &[]);
    assert_eq!(console.ended(), 1);
    let screen = console.screen();
    assert!(screen.contains("nothing has the id"), "{screen}");
    assert!(!console.raw().contains(&0x1b));
    daemon.stop();
}
