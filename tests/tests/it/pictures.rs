//! The frames of the console that stand in the documents are frames of the console, with the example app in it.
//!
//! A block that begins with `text picloud-tui --screenshot ...` is what that command prints. Times, ids and counts are
//! others at each run, so what is compared is what stays: tabs, headings and keys. `PICLOUD_WRITE_DOCS=1` writes the blocks
//! anew.

use std::path::Path;
use std::process::Command;

use picloud_tests::daemon::{Daemon, Site, program};
use picloud_tests::source;

const DOCUMENTS: [&str; 2] = ["README.md", "docs/console.md"];
const BEGINNING: &str = "```text picloud-tui ";
const END: &str = "\n```\n";

/// A greenhouse with a past: readings, alarms, messages that were lost, work that waits.
fn greenhouse(site: &Site) -> Daemon {
    let daemon = site.start();
    site.deploy(&source::root().join("daemon/demo"));
    for n in 0..24 {
        let body = format!(r#"{{"moisture": {}, "temperature": 21.5}}"#, (n * 7) % 40);
        let target = format!("/greenhouse/readings/bed-{}", n % 8 + 1);
        assert_eq!(daemon.post(&target, &body).status, 201);
    }
    assert_eq!(daemon.post("/greenhouse/reports", "{}").status, 202);
    daemon.works_everything_off();
    site.picloud(&["pause", "greenhouse/notify-owner", "--reason", "the messenger is away"]);
    assert_eq!(daemon.post("/greenhouse/readings/bed-9", r#"{"moisture": 3}"#).status, 201);
    daemon
}

fn frame(site: &Site, arguments: &str) -> String {
    let output = Command::new(program("picloud-tui"))
        .args(arguments.split_whitespace())
        .args(["--name", "pi-greenhouse", "--socket"])
        .arg(site.socket())
        .env_clear()
        .envs([("LANG", "C.UTF-8"), ("TERM", "xterm"), ("TZ", "UTC")])
        .output()
        .expect("the console can be started");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("frames are text").trim_end().to_owned()
}

/// What stays of a frame from one run to the next: its tabs, the words of its headings, and its keys.
fn lasting(frame: &str) -> Vec<String> {
    let word = |line: &str| {
        let letters = |c: char| c.is_alphabetic() || " /→".contains(c);
        line.chars().filter(|c| letters(*c)).collect::<String>()
    };
    let words = |line: &str| {
        word(line).split_whitespace().map(str::to_owned).collect::<Vec<String>>().join(" ")
    };
    let lines: Vec<&str> = frame.lines().collect();
    let headings = [
        "  App ",
        "  state ",
        "  count ",
        "  last ",
        "  outcome ",
        "  app",
        "  at ",
        "  key ",
        "  check ",
    ];
    let is_heading = |line: &&&str| headings.iter().any(|heading| line.starts_with(heading));
    let is_tabs = |line: &&&str| line.starts_with("1 Overview");
    let mut kept: Vec<String> = lines.iter().filter(is_tabs).map(|line| words(line)).collect();
    kept.extend(lines.iter().find(is_heading).map(|line| {
        // Columns come and go with what is in them: the first two stay.
        words(line).split(' ').take(2).collect::<Vec<&str>>().join(" ")
    }));
    kept.extend(lines.last().map(|line| words(line)));
    kept
}

#[test]
fn the_frames_in_the_documents_are_those_of_the_console() {
    let site = Site::new();
    let _daemon = greenhouse(&site);
    let mut frames = 0;
    for name in DOCUMENTS {
        let path = source::root().join(name);
        let text = std::fs::read_to_string(&path).expect("the document is there");
        let mut written = String::new();
        let mut rest = text.as_str();
        while let Some((before, block)) = rest.split_once(BEGINNING) {
            let (arguments, block) = block.split_once('\n').expect("a block has lines");
            let (old, after) = block.split_once(END).expect("a block ends");
            let new = frame(&site, arguments);
            if !source::documents_are_to_be_written() {
                assert_eq!(lasting(old), lasting(&new), "{name}: {arguments}");
            }
            written.push_str(&format!("{before}{BEGINNING}{arguments}\n{new}{END}"));
            rest = after;
            frames += 1;
        }
        written.push_str(rest);
        write(&path, &written);
    }
    assert!(frames >= 10, "only {frames} frames were found");
}

fn write(path: &Path, text: &str) {
    if source::documents_are_to_be_written() {
        std::fs::write(path, text).expect("the document can be written");
    }
}
