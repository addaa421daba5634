//! The process as its supervisor sees it: it says when it is ready, stops when told to, and comes back.

use picloud_tests::client::Request;
use picloud_tests::daemon::{Site, program};
use picloud_tests::ledger;
use picloud_tests::source;
use picloud_tests::tidy::documents::{self, Document};
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
