//! The console beside a daemon that has much to do, and on a line that takes little.

use std::time::Duration;

use picloud_tests::daemon::{Daemon, InlineApp, Site};
use picloud_tests::measure::load::{self, Address, Answers, Load, Pace, Until};
use picloud_tests::measure::process::Process;
use picloud_tests::terminal::Console;
use picloud_tests::wait::{self, Since};

use crate::console::{get, live, quits, shows};

const LOAD_TIME: Duration = Duration::from_secs(8);
/// Of this build, beside a daemon of this build that takes all that the machine has; `cargo bench` has the real figures.
const KEY_TO_FRAME_MAX: Duration = Duration::from_millis(200);
const GROWN_BYTES_MAX: u64 = 24 << 20;

/// Writes that set off so many rows each, none of which does much.
fn flood(site: &Site, triggers: usize, writes: usize) {
    let write = format!(r#"for n in 0..{writes} {{ kv::collection("c").set(`k${{n}}`, n); }}"#);
    let trigger = |n| {
        format!(
            "[[triggers]]\nkind = \"kv\"\nname = \"t{n}\"\ncollection_glob = \"c\"\nscript = \"count\"\n"
        )
    };
    site.deploy_app(&InlineApp {
        slug: "flood",
        scripts: &[("write", &write), ("count", "1")],
        routes: &[("POST /", "write", "dispatch_mode = \"async\"")],
        manifest: &(0..triggers).map(trigger).collect::<String>(),
    });
}

/// Requests from a thread of their own. Each sets off forty rows with four transitions each: some 5,000 a second.
fn applied(daemon: &Daemon) -> std::thread::JoinHandle<Answers> {
    let load = Load {
        address: Address::Tcp(daemon.address()),
        connections: 2,
        pace: Pace::PerSecond(30),
        until: Until::Passed(LOAD_TIME),
        first_number: 0,
    };
    std::thread::spawn(move || {
        load::run(&load, &load::Request::post("/flood/", "{}")).expect("the daemon answers")
    })
}

fn memory(console: &Console) -> u64 {
    let id = u32::try_from(console.id().as_raw_nonzero().get()).expect("it is a process");
    Process(id).pss_bytes().expect("it runs")
}

/// From a key to the frame that it asks for.
#[track_caller]
fn key_to_frame(console: &mut Console, key: &str, is_shown: impl Fn(&str) -> bool) -> Duration {
    let begin = Since::now();
    console.keys(key);
    console.shows(is_shown, key);
    begin.elapsed()
}

#[test]
fn keys_are_answered_at_once_while_thousands_of_rows_come_and_go() {
    let site = Site::new();
    let daemon = site.start();
    flood(&site, 20, 2);
    let mut console = live(&site);
    console.keys("2");
    shows(&mut console, &["Nothing waits and nothing runs"]);
    let before = memory(&console);
    let begin = Since::now();
    let load = applied(&daemon);
    shows(&mut console, &["flood/count"]);
    let mut times = Vec::new();
    while begin.elapsed() < LOAD_TIME {
        for key in ["?", "\x1b"] {
            let is_help = |text: &str| text.contains("Help  Outbox");
            times.push(key_to_frame(&mut console, key, |text| is_help(text) == (key == "?")));
        }
        console.keys("jk");
    }
    times.sort_unstable();
    let slow = times[times.len() * 99 / 100];
    let stats = get(&daemon, "/stats");
    let runs = stats["all"]["total"]["runs"].as_u64().expect("they are counted");
    let middle = times[times.len() / 2];
    assert!(slow <= KEY_TO_FRAME_MAX, "{} keys: {middle:?}, {slow:?}", times.len());
    assert!(runs > 1_000, "{stats}");
    load.join().expect("it ends").all(202).expect("all were accepted");
    let grown = memory(&console).saturating_sub(before);
    assert!(grown < GROWN_BYTES_MAX, "it grew by {grown} bytes");
    quits(console);
    daemon.kill();
}

#[test]
fn a_line_that_takes_a_thousand_bytes_a_second_does_not_keep_anybody_from_leaving() {
    let site = Site::new();
    let daemon = site.start();
    flood(&site, 20, 2);
    let mut console = live(&site);
    console.keys("2");
    shows(&mut console, &["Nothing waits and nothing runs"]);
    let load = applied(&daemon);
    shows(&mut console, &["flood/count"]);
    console.read_slowly(1_000);
    // Each asks for a screen that is painted whole.
    for _ in 0..8 {
        console.keys("\x0c");
        wait::pass(Duration::from_millis(200));
    }
    let begin = Since::now();
    console.keys("q");
    let id = console.id();
    wait::until("the console has ended", || {
        rustix::process::test_kill_process(id).is_err().then_some(())
    });
    let took = begin.elapsed();
    console.read_slowly(0);
    assert_eq!(console.ended(), 0);
    assert_eq!(console.left_behind(), [""; 0]);
    assert!(took < Duration::from_secs(1), "{took:?}");
    load.join().expect("it ends").all(202).expect("all were accepted");
    daemon.kill();
}

#[test]
fn of_many_thousand_rows_a_thousand_are_held() {
    let site = Site::new();
    let daemon = site.start();
    flood(&site, 10, 1_000);
    (0..10).for_each(|n| daemon.order(&format!("/apps/flood/triggers/t{n}/pause")));
    for _ in 0..2 {
        assert_eq!(daemon.post("/flood/", "{}").status, 202);
    }
    wait::until("all rows are there", || {
        let stats = get(&daemon, "/stats");
        (stats["all"]["queue"]["rows"].as_u64() == Some(20_000)).then_some(())
    });
    let mut console = live(&site);
    console.keys("2");
    shows(&mut console, &["2 Outbox 20,000", "10,000+ paused", "1/100 "]);
    let before = memory(&console);
    for count in (200..=1_000).step_by(100) {
        let frame = key_to_frame(&mut console, "G", |text| text.contains(&format!("/{count} ")));
        assert!(frame < wait::PATIENCE, "{frame:?}");
    }
    console.keys("G");
    shows(&mut console, &["1000/1000 "]);
    for _ in 0..10 {
        console.keys("\x04G\x15\x04");
    }
    console.keys("g");
    shows(&mut console, &["1/1000 "]);
    let grown = memory(&console).saturating_sub(before);
    assert!(grown < GROWN_BYTES_MAX, "it grew by {grown} bytes");
    quits(console);
    daemon.kill();
}
