//! A card that fails under the running daemon: what was acknowledged stays, and nobody is told a lie.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use picloud_tests::chance::{self, Chance};
use picloud_tests::client::{Connection, Request, Response};
use picloud_tests::daemon::{Daemon, Launch, Site};
use picloud_tests::failing_card::{FailingCard, Fault};
use picloud_tests::history::contradictions;
use picloud_tests::ledger::{self, CLIENTS, Ledger, Life};
use picloud_tests::wait::{self, Since};

/// Answers before the card fails.
const ANSWERS_BEFORE: u64 = 100;

/// A daemon whose store lies on a card that is still well, with the app deployed.
fn scene() -> (Site, FailingCard, Daemon) {
    let site = Site::new();
    let card = FailingCard::new(site.path(), &site.store);
    let daemon = start(&site, &card);
    site.deploy(&ledger::app());
    (site, card, daemon)
}

#[track_caller]
fn start(site: &Site, card: &FailingCard) -> Daemon {
    let mut daemon = site.launch(Launch { card: Some(card), ..Launch::default() });
    assert!(daemon.comes_up(), "{}", site.log());
    daemon
}

fn now(daemon: &Daemon, id: &str) -> Response {
    daemon.post(&format!("/ledger/now/{id}"), "{}")
}

fn later(daemon: &Daemon, id: &str) -> Response {
    daemon.post(&format!("/ledger/later/{id}"), "{}")
}

fn read(daemon: &Daemon, id: &str) -> Response {
    daemon.send(&Request::post("/ledger/counts", format!("[\"{id}\"]")))
}

/// How often each was counted, once nothing is left to run.
#[track_caller]
fn applied(daemon: &Daemon, ids: &[String]) -> Vec<i64> {
    daemon.works_everything_off();
    let (counts, _) = ledger::counts(daemon, ids);
    ids.iter().map(|id| counts[id].applied).collect()
}

/// Status and outcome of an error.
fn error(answer: &Response) -> (u16, String) {
    (answer.status, answer.json()["outcome"].as_str().unwrap_or_default().to_owned())
}

fn nothing_changed(status: u16) -> (u16, String) {
    (status, "nothing_changed".to_owned())
}

#[test]
fn p7_a_card_without_room_refuses_work_reads_on_and_goes_on_when_there_is_room() {
    let (site, card, daemon) = scene();
    assert_eq!(now(&daemon, "before").status, 200);
    let running: Vec<String> = (0..8).map(|number| format!("running-{number}")).collect();
    for id in &running {
        assert_eq!(daemon.post(&format!("/ledger/slowly/{id}"), "{}").status, 202);
    }
    card.set(Fault::WriteEnospc);
    assert_eq!(error(&later(&daemon, "full-later")), nothing_changed(503));
    let refused = now(&daemon, "full-now");
    assert_eq!(error(&refused), nothing_changed(507));
    assert_eq!(refused.problem().1, "storage_low");
    assert_eq!(read(&daemon, "before").json()["counts"]["before"]["applied"], 1);

    // When it has been quiet, the log is to be copied into the file; that needs room too.
    wait::until("a checkpoint finds no room", || (card.hits().store > 0).then_some(()));
    assert_eq!(error(&later(&daemon, "still-full")), nothing_changed(503));
    assert_eq!(read(&daemon, "before").json()["counts"]["before"]["applied"], 1);

    card.set(Fault::None);
    wait::until("it takes work again", || (later(&daemon, "after").status == 202).then_some(()));
    assert_eq!(applied(&daemon, &running), [1; 8]);
    let ids = ["before", "after", "full-later", "full-now", "still-full"].map(str::to_owned);
    assert_eq!(applied(&daemon, &ids), [1, 1, 0, 0, 0]);
    assert!(daemon.list("dead-letters").is_empty());
    assert!(!site.log().contains("panicked"), "{}", site.log());
    daemon.stop();
}

#[test]
fn p7_a_read_that_fails_fails_its_request_and_nothing_else() {
    let (site, card, daemon) = scene();
    // After each commit readers look into the files again.
    assert_eq!(now(&daemon, "before").status, 200);
    card.set(Fault::ReadEio);
    let answer = read(&daemon, "before");
    assert!(answer.status >= 500, "{answer:?}");
    let written = now(&daemon, "while");
    assert!(written.status == 200 || written.status >= 500, "{written:?}");

    // Nobody asks for anything now: it is the daemon that cannot copy its log.
    let hits = card.hits().all();
    wait::until("a checkpoint cannot read", || (card.hits().all() > hits).then_some(()));
    let answer = read(&daemon, "before");
    assert!(answer.status >= 500, "{answer:?}");

    card.set(Fault::None);
    let answer = read(&daemon, "before");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(now(&daemon, "after").status, 200);
    let ids = ["before", "after", "while"].map(str::to_owned);
    assert_eq!(applied(&daemon, &ids), [1, 1, i64::from(written.status == 200)]);
    assert!(!site.log().contains("panicked"), "{}", site.log());
    daemon.stop();
}

#[test]
fn p1_a_failed_fsync_ends_the_daemon_at_once_and_nothing_acknowledged_is_lost() {
    let (site, card, mut daemon) = scene();
    let ledger = Ledger::default();
    let stop = AtomicBool::new(false);
    let life = Life {
        address: daemon.address(),
        chance: Chance::new(chance::seed(), 5),
        number: 1,
        stop: &stop,
    };
    let before = site.log().len();
    let status = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (ledger, life) = (&ledger, &life);
            scope.spawn(move || ledger.run_client(life, client));
        }
        wait::until("answers", || (ledger.answered() >= ANSWERS_BEFORE).then_some(()));
        card.set(Fault::SyncEio);
        let status = daemon.ends_within(wait::PATIENCE);
        stop.store(true, Ordering::SeqCst);
        status
    });
    let said = site.log()[before..].to_owned();
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{said}");
    assert!(said.contains("disk I/O error"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(card.hits().all(), 1, "what a second fsync says is worth nothing");

    card.set(Fault::None);
    let daemon = start(&site, &card);
    let wrong = contradictions(&ledger.history(), &ledger.found(&daemon));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    daemon.stop();
}

#[test]
fn p3_a_card_that_stalls_keeps_callers_waiting_and_has_nothing_run_twice() {
    const STALL: Duration = Duration::from_secs(3);
    let (site, card, daemon) = scene();
    assert_eq!(now(&daemon, "before").status, 200);
    let begin = Since::now();
    card.set(Fault::SyncStall(STALL));
    let ids: Vec<String> = (0..12).map(|number| format!("stalled-{number}")).collect();
    let answers: Vec<Response> = thread::scope(|scope| {
        let ask = |(number, id): (usize, &String)| {
            let work = if number % 2 == 0 { "now" } else { "later" };
            let request = Request::post(format!("/ledger/{work}/{id}"), "{}");
            let address = daemon.address();
            scope.spawn(move || Connection::tcp(address)?.send(&request))
        };
        let asked: Vec<_> = ids.iter().enumerate().map(ask).collect();
        wait::until("a commit stalls", || (card.hits().all() > 0).then_some(()));
        assert_eq!(read(&daemon, "before").json()["counts"]["before"]["applied"], 1);
        // The call that stalls goes on doing so.
        card.set(Fault::None);
        let answers = asked.into_iter().map(|one| one.join().expect("no client panics"));
        answers.collect::<Result<_, _>>().expect("everybody is answered")
    });
    assert!(begin.elapsed() >= STALL, "nothing has stalled");
    daemon.works_everything_off();
    let (counts, _) = ledger::counts(&daemon, &ids);
    for (id, answer) in ids.iter().zip(&answers) {
        let (counts, unknown) = (counts[id], (504, "unknown".to_owned()));
        match answer.status {
            200 | 202 => assert_eq!((counts.applied, counts.attempt), (1, 1), "{id}: {answer:?}"),
            _ => assert_eq!((error(answer), counts.applied.min(1)), (unknown, counts.applied)),
        }
    }
    assert!(daemon.list("dead-letters").is_empty());
    assert!(!site.log().contains("panicked"), "{}", site.log());
    daemon.stop();
}
