//! The process as its supervisor sees it: it says when it is ready, stops when told to, and comes back.

use picloud_tests::client::{Connection, Request};
use picloud_tests::daemon::{InlineApp, Site, program};
use picloud_tests::source;
use picloud_tests::tidy::documents::{self, Document};
use picloud_tests::{ledger, wait};
use rustix::process::Signal;

#[test]
fn a_daemon_that_is_told_to_stop_ends_with_0_and_comes_back_with_everything() {
    let site = Site::new();
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = site.start();
        site.deploy(&ledger::app());
        let answer = daemon.send(&Request::post(format!("/ledger/now/{signal:?}"), "{}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        daemon.signal(signal);
        assert_eq!(daemon.ended().code(), Some(0), "{}", site.log());
    }
    let daemon = site.start();
    let ids = [Signal::TERM, Signal::INT].map(|signal| format!("{signal:?}"));
    let (counts, _) = ledger::counts(&daemon, &ids);
    assert!(counts.values().all(|counts| counts.applied == 1), "{counts:?}");
}

#[test]
fn a_run_that_is_going_on_when_the_daemon_stops_is_finished_or_run_again() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy(&ledger::app());
    for number in 0..10 {
        let accepted = daemon.send(&Request::post(format!("/ledger/slowly/{number}"), "{}"));
        assert_eq!(accepted.status, 202, "{accepted:?}");
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().code(), Some(0), "{}", site.log());
    let daemon = site.start();
    daemon.works_everything_off();
    let ids: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    let (counts, _) = ledger::counts(&daemon, &ids);
    for (id, counts) in counts {
        assert_eq!((counts.applied, counts.attempt), (1, 1), "{id}: a stop costs no attempt");
    }
}

#[test]
fn p5_a_caller_whose_script_runs_when_the_daemon_stops_gets_an_answer() {
    let mut site = Site::new();
    // As long as a drain lasts; the script would run for longer.
    site.settings = "[limits.http]\nstop_ms = 200".to_owned();
    let daemon = site.start();
    site.deploy_app(&InlineApp {
        slug: "long",
        scripts: &[
            (
                "short",
                r#"let n = 0; while n < 50_000 { n += 1; } kv::collection("c").set("short", 1)"#,
            ),
            ("long", r#"kv::collection("c").set("long", 1); loop {}"#),
            ("look", r#"kv::collection("c").keys("")"#),
        ],
        routes: &[("POST /short", "short", ""), ("POST /long", "long", ""), ("GET /", "look", "")],
        manifest: "",
    });
    let callers: Vec<_> = ["/long/short", "/long/long"]
        .into_iter()
        .map(|target| {
            let mut connection = Connection::tcp(daemon.address()).expect("it listens");
            std::thread::spawn(move || connection.send(&Request::post(target, "{}")))
        })
        .collect();
    wait::until("the long one runs", || (!site.running().is_empty()).then_some(()));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().code(), Some(0), "{}", site.log());
    let answers = callers.into_iter().map(|caller| caller.join().expect("no caller panics"));
    let answers: Vec<_> = answers.collect();
    let daemon = site.start();
    let kept = daemon.send(&Request::get("/long/")).json();
    for (name, answer) in ["short", "long"].into_iter().zip(answers) {
        // One that had not been read yet when the daemon stopped may find its connection closed.
        let Ok(answer) = answer else { continue };
        let is_kept = kept.as_array().expect("a list").contains(&name.into());
        match answer.status {
            200 => assert!(is_kept, "{name}: {answer:?}, {kept}"),
            503 | 504 | 507 => {
                assert_eq!(answer.json()["outcome"], "nothing_changed", "{answer:?}");
                assert!(!is_kept, "{name}: {answer:?}, {kept}");
            }
            _ => panic!("{name}: {answer:?}"),
        }
    }
}

#[test]
fn every_command_in_the_documents_is_one_that_the_programs_know() {
    for path in ["README.md", "CONTRIBUTING.md"] {
        let text = source::read(path);
        let calls = documents::calls(Document { path, text: &text });
        for (name, arguments) in calls {
            let subcommands: Vec<&str> =
                arguments.into_iter().take_while(|word| !word.starts_with('-')).take(1).collect();
            let output = std::process::Command::new(program(name))
                .args(&subcommands)
                .arg("--help")
                .output()
                .expect("our programs are built with the tests");
            assert!(output.status.success(), "{path}: {name} {subcommands:?}: {output:?}");
        }
    }
}
