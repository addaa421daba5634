//! Live events over the real socket, and what `picloud` makes of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use picloud_api::BASE;
use picloud_tests::client::{Connection, Request};
use picloud_tests::daemon::{Daemon, InlineApp, Site, program};
use picloud_tests::measure::process::Process;
use picloud_tests::wait::{self, PATIENCE};
use serde_json::Value;

fn app(site: &Site) {
    let once = "dispatch_mode = \"async\"\nretry = { max_attempts = 1 }";
    site.deploy_app(&InlineApp {
        slug: "garden",
        scripts: &[
            ("look", r#"log::warn("looks", #{n: event.body.n}); event.body.n"#),
            (
                "tell",
                r#"
                let key = secrets::get("KEY");
                log::info("the key is " + key);
                throw "no luck with " + key;
                "#,
            ),
        ],
        routes: &[("POST /look", "look", ""), ("POST /tell", "tell", once)],
        manifest: "",
    });
}

/// A reader of events on a connection of its own.
struct Events {
    lines: BufReader<UnixStream>,
}

impl Events {
    fn open(site: &Site, query: &str) -> Events {
        let mut stream = UnixStream::connect(site.socket()).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time is set");
        let head = format!("GET {BASE}/events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the daemon reads");
        Events { lines: BufReader::new(stream) }
    }

    /// Reads until a line contains this; returns everything up to there.
    #[track_caller]
    fn until(&mut self, wanted: &str) -> String {
        let mut read = String::new();
        loop {
            let begin = read.len();
            let count = self.lines.read_line(&mut read).expect("the daemon sends");
            assert!(count > 0, "the stream ended before {wanted}:\n{read}");
            if read[begin..].contains(wanted) {
                return read;
            }
        }
    }
}

#[test]
fn p7_a_reader_that_never_reads_slows_nobody_grows_nothing_and_is_given_up() {
    let mut site = Site::new();
    site.settings =
        "[limits.admin]\nevents_max = 100\nevents_bytes_max = 65_536\nwrite_ms = 200\n".to_owned();
    let daemon = site.start();
    app(&site);
    let mut never_reads = Events::open(&site, "");
    never_reads.until("event: connected");
    let process = Process(daemon.process());
    let before = process.pss_bytes().expect("it runs");
    let stuff = |n: i32| {
        let answer = daemon.post("/garden/look", &format!("{{\"n\": {n}}}"));
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    // Far more than the ring and a socket's buffer hold.
    (0..3_000).for_each(stuff);
    // It is given up for the time that it has taken nothing, and a fast machine has come so far before that.
    wait::until("it is given up and its place is free", || {
        (0..100).for_each(stuff);
        let stats = daemon.admin(&Request::get("/stats")).expect("the socket answers").json();
        (stats["all"]["event_readers"] == 0).then_some(())
    });
    let grown = process.pss_bytes().expect("it runs").saturating_sub(before);
    assert!(grown < 24 << 20, "it grew by {grown} bytes");
    // There is no more than what the socket's buffer held.
    let mut rest = Vec::new();
    let _broken = never_reads.lines.read_to_end(&mut rest);
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.len() < 8 << 20, "{} bytes were kept for it", rest.len());
    daemon.stop();
}

#[test]
fn p7_a_reader_that_was_slow_is_told_what_it_missed_and_goes_on() {
    let mut site = Site::new();
    site.settings = "[limits.admin]\nevents_max = 50\n".to_owned();
    let daemon = site.start();
    app(&site);
    let mut events = Events::open(&site, "?filter=kind:outbox");
    events.until("event: connected");
    let is_told = Arc::new(AtomicBool::new(false));
    let (address, until) = (daemon.address(), Arc::clone(&is_told));
    // The daemon rests between two pieces for a reader: what one caller asks meanwhile is far more than fifty events.
    let asks = std::thread::spawn(move || {
        let mut connection = Connection::tcp(address).expect("the daemon listens");
        while !until.load(Ordering::Relaxed) {
            let answer = connection.send(&Request::post("/garden/look", "{\"n\": 1}"));
            assert_eq!(answer.expect("it answers").status, 200);
        }
    });
    events.until("event: missed");
    is_told.store(true, Ordering::Relaxed);
    let missed = events.until("data: ");
    let missed: Value = serde_json::from_str(missed.trim_start_matches("data: ")).expect("JSON");
    assert!(missed["events"].as_u64() > Some(0), "{missed}");
    asks.join().expect("all were answered");
    look(&daemon);
    events.until("\"state\":\"done\"");
    daemon.stop();
}

#[test]
fn p8_no_secret_is_in_events_logs_and_statistics() {
    let site = Site::new();
    let daemon = site.start();
    app(&site);
    let mut set = picloud(&site, &["secrets", "set", "garden/KEY", "-"]);
    set.stdin.take().expect("it is piped").write_all(b"hunter2-hunter2").expect("it reads");
    assert!(set.wait().expect("it ends").success());
    let mut events = Events::open(&site, "");
    events.until("event: connected");
    assert_eq!(daemon.post("/garden/tell", "{}").status, 202);
    let seen = events.until("\"message\":\"the key is ***\"");
    assert!(seen.contains("no luck with ***") && seen.contains("\"state\":\"dead\""), "{seen}");
    let logs = site.picloud(&["logs", "--app", "garden"]);
    let logs = String::from_utf8(logs.stdout).expect("a log is text");
    assert!(logs.contains("garden/tell  the key is ***"), "{logs}");
    let stats = site.picloud(&["stats"]);
    let stats = String::from_utf8(stats.stdout).expect("statistics are text");
    assert!(stats.contains("tell: no luck with ***"), "{stats}");
    for text in [&seen, &logs, &stats] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    daemon.stop();
}

/// `picloud` on its way; it is killed when the value goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only when it has ended.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

fn picloud(site: &Site, arguments: &[&str]) -> Child {
    let mut command = Command::new(program("picloud"));
    command.arg("--socket").arg(site.socket()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the command line is built with the tests")
}

/// Sets something off until the command, which follows, says this.
#[track_caller]
fn says(running: &mut Running, wanted: &str, mut set_off: impl FnMut()) -> String {
    let stdout = running.0.stdout.take().expect("it is piped");
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
            if tell.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    wait::until(wanted, || {
        set_off();
        let line = told.recv_timeout(Duration::from_millis(50)).ok()?;
        line.contains(wanted).then_some(line)
    })
}

fn look(daemon: &Daemon) {
    assert_eq!(daemon.post("/garden/look", "{\"n\": 7}").status, 200);
}

#[test]
fn what_picloud_follows_it_prints_as_it_happens() {
    let site = Site::new();
    let daemon = site.start();
    app(&site);
    for (arguments, wanted) in [
        (
            &["logs", "-f", "--app", "garden", "--filter", "level:warn"][..],
            "garden/look  looks {\"n\":7}",
        ),
        (&["executions", "list", "--watch"], "answered       garden/look v"),
        (&["outbox", "list", "--watch", "--filter", "state:done"], "done       "),
        (&["stats", "--watch"], "running"),
        (&["stats", "--watch", "--app", "garden"], "garden: "),
    ] {
        let mut running = Running(picloud(&site, arguments));
        says(&mut running, wanted, || look(&daemon));
    }
    let mut running = Running(picloud(&site, &["--json", "executions", "list", "--watch"]));
    let line = says(&mut running, "answered", || look(&daemon));
    let item: Value = serde_json::from_str(&line).expect("a line is JSON");
    assert_eq!((&item["app"], &item["script"]), (&"garden".into(), &"look".into()));
    daemon.stop();
}

#[test]
fn what_follows_a_daemon_goes_on_after_its_restart() {
    let site = Site::new();
    let daemon = site.start();
    app(&site);
    let mut running = Running(picloud(&site, &["executions", "list", "--watch"]));
    let mut errors = BufReader::new(running.0.stderr.take().expect("it is piped"));
    // It is there once it has printed something.
    let stdout = running.0.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout);
    let mut reads = std::thread::spawn(move || {
        let mut line = String::new();
        lines.read_line(&mut line).map(|_| lines)
    });
    wait::until("it prints", || {
        look(&daemon);
        reads.is_finished().then_some(())
    });
    let mut lines = reads.join().expect("it reads").expect("it reads");
    daemon.stop();
    let daemon = site.start();
    let mut said = String::new();
    while !said.contains("the daemon was started again (stopped_in_order)") {
        assert!(errors.read_line(&mut said).expect("it says") > 0, "{said}");
    }
    assert!(said.contains("the connection is lost; trying again"), "{said}");
    look(&daemon);
    reads = std::thread::spawn(move || {
        let mut line = String::new();
        while !line.contains("garden/look") {
            line.clear();
            lines.read_line(&mut line)?;
        }
        Ok(lines)
    });
    reads.join().expect("it reads").expect("it goes on");
    daemon.stop();
}

#[test]
fn the_doctor_finds_a_new_daemon_well() {
    let site = Site::new();
    let daemon = site.start();
    let output = site.picloud(&["doctor"]);
    let text = String::from_utf8(output.stdout).expect("checks are text");
    for check in ["✓ store ", "✓ file ", "✓ folder ", "✓ key ", "✓ port ", "✓ pauses "]
    {
        assert!(text.contains(check), "{check} in\n{text}");
    }
    daemon.stop();
}

#[test]
fn why_the_daemon_started_is_told() {
    let site = Site::new();
    let why = |daemon: &Daemon| {
        let stats = daemon.admin(&Request::get("/stats")).expect("the socket answers").json();
        stats["instance"]["why"].as_str().expect("it is told").to_owned()
    };
    let daemon = site.start();
    assert_eq!(why(&daemon), "first_start");
    daemon.stop();
    let daemon = site.start();
    assert_eq!(why(&daemon), "stopped_in_order");
    daemon.kill();
    let daemon = site.start();
    assert_eq!(why(&daemon), "daemon_died");
    daemon.kill();
    // What a power cut takes: memory.
    std::fs::remove_file(site.path().join("run/running")).expect("it was noted there");
    let daemon = site.start();
    assert_eq!(why(&daemon), "power_cut");
    daemon.stop();
}
