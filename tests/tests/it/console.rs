//! The console in a real terminal, against a real daemon.

mod foreign;
mod frame;
mod jobs;
mod leaving;
mod link;
mod load;
mod quiet;
mod size;

use std::ffi::OsString;
use std::time::Duration;

use picloud_tests::client::Request;
use picloud_tests::daemon::{Daemon, InlineApp, Site, program};
use picloud_tests::terminal::Console;
use picloud_tests::wait;
use serde_json::Value;

/// Columns and rows of most tests' terminals.
const SIZE: (u16, u16) = (100, 30);
const ENTER: &str = "\r";
const ESCAPE: &str = "\x1b";

/// A console at this site's socket.
fn open(site: &Site, arguments: &[&str], environment: &[(&str, &str)]) -> Console {
    open_at(site, arguments, environment, SIZE)
}

fn open_at(
    site: &Site,
    arguments: &[&str],
    environment: &[(&str, &str)],
    size: (u16, u16),
) -> Console {
    let mut all: Vec<(&str, OsString)> =
        vec![("PICLOUD_SOCKET", site.socket().into()), ("TMPDIR", site.path().into())];
    all.extend(environment.iter().map(|(name, value)| (*name, OsString::from(value))));
    Console::open(&program("picloud-tui"), arguments, &all, size)
}

/// Waits until all of these are on the screen.
#[track_caller]
fn shows(console: &mut Console, parts: &[&str]) {
    console.shows(|text| parts.iter().all(|part| text.contains(part)), &format!("{parts:?}"));
}

/// A console that is connected.
#[track_caller]
fn live(site: &Site) -> Console {
    let mut console = open(site, &[], &[]);
    shows(&mut console, &["● live"]);
    console
}

/// Ends it with `q`, and looks at what it leaves.
#[track_caller]
fn quits(mut console: Console) {
    console.keys("q");
    assert_eq!(console.ended(), 0, "{}", console.screen());
    assert_eq!(console.left_behind(), [""; 0]);
}

/// A GET of the admin API.
#[track_caller]
fn get(daemon: &Daemon, target: &str) -> Value {
    let answer = daemon.admin(&Request::get(target)).expect("the admin socket answers");
    assert_eq!(answer.status, 200, "{target}: {answer:?}");
    answer.json()
}

const ONCE: &str = "dispatch_mode = \"async\"\nretry = { max_attempts = 1, backoff = \"constant\", base = \"10ms\", jitter = 0.0 }";

/// An app whose script fails from ten on.
fn garden(site: &Site) {
    site.deploy_app(&InlineApp {
        slug: "garden",
        scripts: &[
            (
                "water",
                r#"
                log::info("looks at the sensor", #{n: event.body.n});
                if event.body.n > 9 { throw `sensor ${event.body.n} is silent`; }
                kv::collection("beds").set("b1", event.body.n);
                "#,
            ),
            ("note", r#"kv::collection("notes").incr("n", 1)"#),
        ],
        routes: &[("POST /", "water", ONCE)],
        manifest: "[[triggers]]\nkind = \"kv\"\nname = \"after\"\ncollection_glob = \"beds\"\nscript = \"note\"\n",
    });
}

/// Accepted requests with these numbers.
#[track_caller]
fn water(daemon: &Daemon, numbers: impl IntoIterator<Item = usize>) {
    for n in numbers {
        let accepted = daemon.post("/garden/", &format!("{{\"n\": {n}}}"));
        assert_eq!(accepted.status, 202, "{accepted:?}");
    }
}

/// So many dead letters from one trouble.
#[track_caller]
fn letters(daemon: &Daemon, count: usize) -> Vec<Value> {
    water(daemon, 10..10 + count);
    wait::until("all are dead letters", || {
        let letters = daemon.list("dead-letters");
        (letters.len() == count).then_some(letters)
    })
}

/// A time in which nothing is to happen.
const A_WHILE: Duration = Duration::from_secs(5);
