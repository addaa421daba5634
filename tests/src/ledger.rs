//! A load on the app `ledger` that remembers what it was told, while daemons come and go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::chance::Chance;
use crate::client::{Connection, Request, Response};
use crate::daemon::Daemon;
use crate::history::{Answer, Counts, Found, Operation, Work};
use crate::source;

/// The folder to deploy.
pub fn app() -> PathBuf {
    source::root().join("tests/apps/ledger")
}

/// Requests that may be on their way at a time.
pub const CLIENTS: u64 = 4;

/// Ids that the app counts in one request.
const IDS_A_REQUEST: usize = 50;

/// All that the clients were told so far.
#[derive(Default)]
pub struct Ledger {
    history: Mutex<BTreeMap<String, Operation>>,
    answered: AtomicU64,
}

/// One life of a daemon, as the clients see it.
pub struct Life<'a> {
    pub address: SocketAddr,
    /// From this come the ids and the work of this life.
    pub chance: Chance,
    pub number: u64,
    /// Clients stop after the answer that they are waiting for.
    pub stop: &'a AtomicBool,
}

impl Ledger {
    pub fn history(&self) -> Vec<Operation> {
        let history = self.history.lock().expect("no client panics");
        history.values().cloned().collect()
    }

    /// Answers in all lives.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// One client: request after request until the daemon is gone or it is told to stop.
    pub fn run_client(&self, life: &Life<'_>, client: u64) {
        let Ok(mut connection) = Connection::tcp(life.address) else { return };
        let mut chance = Chance::new(life.chance.clone().number(), client);
        let mut again = self.in_doubt(client).into_iter();
        for number in 0.. {
            if life.stop.load(Ordering::SeqCst) {
                return;
            }
            let fresh = || Operation {
                id: format!("{}-{client}-{number}", life.number),
                work: draw(&mut chance),
                keyed: chance.below(2) == 0,
                answer: Answer::Unknown,
            };
            let mut operation = again.next().unwrap_or_else(fresh);
            // It is remembered before it is sent: the daemon may die with the answer on its way.
            self.remember(&operation);
            let Ok(response) = connection.send(&request(&operation)) else { return };
            operation.answer = answer(&operation, &response);
            self.remember(&operation);
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// What this client may send again: it has an idempotency key, and nobody knows whether it was done.
    fn in_doubt(&self, client: u64) -> Vec<Operation> {
        let history = self.history.lock().expect("no client panics");
        let mine = format!("-{client}-");
        let doubtful = history.values().filter(|operation| {
            operation.keyed && operation.answer == Answer::Unknown && operation.id.contains(&mine)
        });
        doubtful.cloned().collect()
    }

    fn remember(&self, operation: &Operation) {
        let mut history = self.history.lock().expect("no client panics");
        history.insert(operation.id.clone(), operation.clone());
    }

    /// What the store holds, once everything is worked off.
    #[track_caller]
    pub fn found(&self, daemon: &Daemon) -> Found {
        daemon.works_everything_off();
        let ids: Vec<String> = self.history().into_iter().map(|operation| operation.id).collect();
        let mut found = Found::default();
        for some in ids.chunks(IDS_A_REQUEST) {
            let (counts, total) = counts(daemon, some);
            found.counts.extend(counts);
            found.total = total;
        }
        for letter in daemon.list("dead-letters") {
            let text = |pointer: &str| {
                letter
                    .pointer(pointer)
                    .and_then(|text| text.as_str())
                    .unwrap_or_default()
                    .to_owned()
            };
            found.letters.push((text("/script"), text("/error/message")));
        }
        found
    }
}

/// What the app counted for some ids, and the total.
#[track_caller]
pub fn counts(daemon: &Daemon, ids: &[String]) -> (BTreeMap<String, Counts>, i64) {
    let body = serde_json::to_vec(ids).expect("texts are JSON");
    let answer = daemon.send(&Request::post("/ledger/counts", body));
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut body = answer.json();
    let counts = serde_json::from_value(body["counts"].take());
    let total = body["total"].as_i64();
    (counts.expect("the script makes these counts"), total.expect("the script makes a total"))
}

fn draw(chance: &mut Chance) -> Work {
    match chance.below(24) {
        0 => Work::FailingLater,
        1 | 2 => Work::Failing,
        3..=7 => Work::HandedOn,
        8..=15 => Work::Later,
        _ => Work::Now,
    }
}

fn request(operation: &Operation) -> Request {
    let target = format!("/ledger/{}/{}", operation.work.path(), operation.id);
    let request = Request::post(target, "{}");
    if operation.keyed { request.header("Idempotency-Key", &*operation.id) } else { request }
}

fn answer(operation: &Operation, response: &Response) -> Answer {
    if response.status == operation.work.success() {
        return Answer::Done;
    }
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    match (response.status, problem["outcome"].as_str()) {
        // The first attempt with this key is not over yet.
        (409, _) | (503 | 504, Some("unknown")) => Answer::Unknown,
        // The daemon ends in the middle of a commit.
        (500, Some("unknown")) => Answer::Unknown,
        // 504: the run was stopped at its deadline; 507: the disk is nearly full.
        (503 | 504 | 507, Some("nothing_changed")) => Answer::NothingChanged,
        _ => Answer::Strange(format!("{response:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(work: Work, status: u16, body: &str) -> Answer {
        let operation =
            Operation { id: "a".to_owned(), work, keyed: true, answer: Answer::Unknown };
        let response = Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() };
        answer(&operation, &response)
    }

    #[test]
    fn an_answer_is_taken_for_what_it_says() {
        assert_eq!(told(Work::Now, 200, "{}"), Answer::Done);
        assert_eq!(told(Work::Later, 202, "{}"), Answer::Done);
        assert_eq!(told(Work::Failing, 502, "{}"), Answer::Done);
        let nothing = r#"{"outcome": "nothing_changed"}"#;
        assert_eq!(told(Work::Now, 503, nothing), Answer::NothingChanged);
        assert_eq!(told(Work::Now, 504, nothing), Answer::NothingChanged);
        assert_eq!(told(Work::Now, 507, nothing), Answer::NothingChanged);
        for status in [500, 503, 504] {
            assert_eq!(told(Work::Now, status, r#"{"outcome": "unknown"}"#), Answer::Unknown);
        }
        assert!(matches!(told(Work::Now, 500, nothing), Answer::Strange(_)));
        assert!(matches!(told(Work::Now, 502, nothing), Answer::Strange(_)));
        assert!(matches!(told(Work::Now, 503, "<html>"), Answer::Strange(_)));
    }

    #[test]
    fn what_is_in_doubt_is_sent_again_only_with_a_key_and_by_the_same_client() {
        let ledger = Ledger::default();
        for (id, keyed, answer) in [
            ("1-0-1", true, Answer::Unknown),
            ("1-0-2", false, Answer::Unknown),
            ("1-0-3", true, Answer::Done),
            ("1-1-4", true, Answer::Unknown),
        ] {
            let (id, work) = (id.to_owned(), Work::Now);
            ledger.remember(&Operation { id, work, keyed, answer });
        }
        let ids: Vec<String> = ledger.in_doubt(0).into_iter().map(|one| one.id).collect();
        assert_eq!(ids, ["1-0-1"]);
    }
}
