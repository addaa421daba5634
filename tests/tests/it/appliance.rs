//! The daemon as a service of systemd: what it says, which sockets it takes, and what it writes to the journal.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use picloud_daemon::limits::HttpLimits;
use picloud_daemon::log::message;
use picloud_tests::client::{Connection, Request};
use picloud_tests::daemon::{Daemon, InlineApp, Launch, Site};
use picloud_tests::failing_card::{FailingCard, Fault};
use picloud_tests::mount::{Mount, skipped};
use picloud_tests::systemd::{Entry, Journal, Systemd, values};
use picloud_tests::{ledger, store_file, wait};
use rustix::process::Signal;

fn started(site: &Site, systemd: &Systemd) -> Daemon {
    let mut daemon = site.launch(Launch { by: Some(systemd), ..Launch::default() });
    assert!(daemon.comes_up(), "{}", site.log());
    daemon
}

/// A start asks for more time each ten seconds.
const START_STALL: Duration = Duration::from_secs(11);

#[test]
fn a_start_that_takes_long_because_an_older_store_is_migrated_asks_systemd_for_time() {
    let site = Site::new();
    site.start().stop();
    store_file::back_to_schema_7(&site.store);
    let card = FailingCard::new(site.path(), &site.store);
    card.set(Fault::SyncStall(START_STALL));
    let systemd = Systemd::new();
    let launch = Launch { by: Some(&systemd), card: Some(&card), ..Launch::default() };
    let mut daemon = site.launch(launch);
    let heard = systemd.hears("EXTEND_TIMEOUT_USEC=60000000\n");
    assert!(heard.iter().all(|message| !message.contains("READY=1")), "{heard:?}");
    card.set(Fault::None);
    systemd.hears("READY=1");
    assert!(daemon.comes_up(), "{}", site.log());
    let schema = site.picloudd(&["schema"]).stdout;
    assert_eq!(site.picloudd(&["schema", "--store"]).stdout, schema, "it is migrated");
    daemon.stop();
}

/// A port that nobody has, and that is in use again only when a daemon listens there.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it is bound")
}

#[test]
fn systemd_is_told_when_the_daemon_is_ready_what_it_does_that_it_lives_and_that_it_stops() {
    let site = Site::new();
    let mut systemd = Systemd::new();
    systemd.watchdog = Some(Duration::from_millis(400));
    let daemon = started(&site, &systemd);
    let status =
        |apps| format!("STATUS=listening on {}, {apps} apps, 0 waiting\n", daemon.address());
    assert_eq!(systemd.hears("READY=1"), [format!("READY=1\n{}", status(0))]);
    systemd.hears("WATCHDOG=1\n");
    for slug in ["one", "two"] {
        site.deploy_app(&InlineApp { slug, scripts: &[("a", "1")], ..InlineApp::default() });
    }
    let mut heard = systemd.hears(&status(2));
    daemon.signal(Signal::TERM);
    heard.extend(systemd.hears("STOPPING=1\n"));
    // Runs and answers each have their time, and ten seconds are left for the rest.
    let stop_ms = 2 * HttpLimits::default().stop_ms + 10_000;
    let stopping = format!("STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC={stop_ms}000\n");
    assert_eq!(heard.last(), Some(&stopping));
    assert!(heard.iter().any(|message| message.contains("WATCHDOG=1")), "{heard:?}");
    let statuses: Vec<_> = heard.iter().filter(|message| message.contains("STATUS=")).collect();
    assert!(statuses.windows(2).all(|two| two[0] != two[1]), "only what is new: {statuses:?}");
    assert_eq!(daemon.ended().code(), Some(0), "{}", site.log());
}

#[test]
fn a_card_that_stalls_does_not_trip_the_watchdog() {
    let site = Site::new();
    let card = FailingCard::new(site.path(), &site.store);
    let mut systemd = Systemd::new();
    systemd.watchdog = Some(Duration::from_millis(400));
    let launch = Launch { by: Some(&systemd), card: Some(&card), ..Launch::default() };
    let mut daemon = site.launch(launch);
    assert!(daemon.comes_up(), "{}", site.log());
    site.deploy(&ledger::app());
    card.set(Fault::SyncStall(Duration::from_secs(3)));
    let mut connection = Connection::tcp(daemon.address()).expect("it listens");
    let asked = std::thread::spawn(move || connection.send(&Request::post("/ledger/now/1", "{}")));
    systemd.hears("READY=1");
    let mut signs = 0;
    while !asked.is_finished() {
        let message = systemd.hears_within(Duration::from_secs(20)).expect("it lives");
        signs += usize::from(message.contains("WATCHDOG=1"));
    }
    let answer = asked.join().expect("no caller panics").expect("it is answered");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(signs > 5, "the watchdog would have waited in vain: {signs}");
    card.set(Fault::None);
}

#[test]
fn no_connection_is_refused_while_the_daemon_is_restarted() {
    let mut site = Site::new();
    site.listen = free_address().to_string();
    let systemd = Systemd::new();
    let daemon = started(&site, &systemd);
    let address = daemon.address();
    site.deploy(&ledger::app());
    assert_eq!(systemd.keeps(), ["listen-http"]);
    daemon.stop();
    let mut early = Connection::tcp(address).expect("systemd has the socket");
    early.write(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is taken");

    let daemon = started(&site, &systemd);
    assert_eq!(early.read_response().expect("it is answered").status, 404);
    assert_eq!(daemon.post("/ledger/now/1", "{}").status, 200);
    assert_eq!(systemd.keeps(), ["listen-http"], "it is not put there twice");
    daemon.kill();
    let mut early = Connection::tcp(address).expect("systemd has the socket");
    let daemon = started(&site, &systemd);
    let answer = early.send(&Request::post("/ledger/now/2", "{}"));
    assert_eq!(answer.expect("it is answered").status, 200);
    daemon.stop();
}

#[test]
fn a_kept_socket_whose_address_is_not_wanted_any_more_makes_room_for_the_new_one() {
    let mut site = Site::new();
    let address = free_address();
    site.listen = address.to_string();
    let systemd = Systemd::new();
    started(&site, &systemd).stop();
    // The same port: as long as somebody has the old one it cannot be bound.
    site.listen = format!("0.0.0.0:{}", address.port());
    let daemon = started(&site, &systemd);
    assert_eq!(daemon.address().to_string(), site.listen);
    let heard = systemd.hears("BARRIER=1");
    assert!(heard.iter().any(|message| message.contains("FDSTOREREMOVE=1\n")), "{heard:?}");
    assert_eq!(systemd.keeps(), ["listen-http"]);
    assert_eq!(daemon.send(&Request::get("/nowhere")).status, 404);
    daemon.stop();
}

#[test]
fn sockets_of_systemd_are_served_and_its_admin_socket_outlives_the_daemon() {
    let site = Site::new();
    let mut systemd = Systemd::new();
    let admin = UnixListener::bind(site.socket()).expect("the folder is ours");
    let http = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let more = http.local_addr().expect("it is bound");
    systemd.sockets = vec![("admin", admin.into()), ("http", http.into())];
    for _start in 0..2 {
        let mut daemon = site.launch(Launch { by: Some(&systemd), ..Launch::default() });
        let heard = systemd.hears("READY=1").pop().unwrap_or_default();
        let places = heard.lines().find_map(|line| line.strip_prefix("STATUS=listening on "));
        let places = places.and_then(|places| places.split_once(", ")).map(|(places, _)| places);
        let (own, other) = places.and_then(|both| both.split_once(" and ")).expect("there are two");
        assert_eq!(other, more.to_string());
        daemon.set_address(own.parse().expect("it is an address"));
        for address in [daemon.address(), more] {
            let answer = Connection::tcp(address).and_then(|mut one| one.send(&Request::get("/x")));
            assert_eq!(answer.expect("it is answered").status, 404, "{address}");
        }
        let answer = daemon.admin(&Request::get("/healthz")).expect("the admin socket answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        daemon.stop();
        Connection::unix(&site.socket()).expect("the socket is systemd's, and still there");
    }
}

#[test]
fn a_socket_that_is_not_for_the_daemon_is_closed_and_named() {
    let site = Site::new();
    let mut systemd = Systemd::new();
    let stray = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let address = stray.local_addr().expect("it is bound");
    systemd.sockets = vec![("metrics", stray.into())];
    let daemon = started(&site, &systemd);
    systemd.sockets.clear();
    assert!(site.log().contains("socket=metrics"), "{}", site.log());
    assert!(TcpStream::connect(address).is_err(), "nobody has it any more");
    daemon.stop();
}

/// A journal, and the file system in which the daemon finds it. `Err` says why there can be none here.
fn journal() -> Result<(Journal, Mount), String> {
    if !Path::new("/run/systemd").is_dir() {
        return Err("there is no folder /run/systemd".to_owned());
    }
    let mount = Mount::tmpfs(8)?;
    let journal = Journal::in_folder(&mount.seen());
    mount.run(&["mount", "--bind", &mount.path().display().to_string(), "/run/systemd"]);
    Ok((journal, mount))
}

fn has_id(entry: &Entry, id: message::MessageId) -> bool {
    values(entry, "MESSAGE_ID") == [id.0]
}

#[test]
fn the_journal_has_a_field_for_each_value_and_scripts_cannot_forge_any() {
    let (journal, mount) = match journal() {
        Ok(made) => made,
        Err(reason) => return skipped("the log in the journal", &reason),
    };
    let mut site = Site::new();
    site.settings = "[log]\nto = \"journal\"\n".to_owned();
    let launch = Launch { within: Some(&mount), ..Launch::default() };
    let mut daemon = site.launch(launch);
    assert!(daemon.comes_up(), "{}", site.log());
    let ready = journal.entries(|entry| has_id(entry, message::READY)).pop().expect("the last");
    assert_eq!(values(&ready, "PRIORITY"), ["6"]);
    assert_eq!(values(&ready, "PICLOUD_LISTEN"), [daemon.address().to_string()]);
    assert_eq!(values(&ready, "SYSLOG_IDENTIFIER"), ["picloud"]);
    site.deploy_app(&InlineApp {
        slug: "greenhouse",
        scripts: &[
            ("write", r#"docs::collection("beds").put("1", #{ dry: true })"#),
            (
                "warn",
                r#"log::warn("dry\nMESSAGE=forged", #{ MESSAGE: "x", PRIORITY: 0, _UID: 0, message_id: "x" });
                   throw "no water""#,
            ),
        ],
        routes: &[("POST /", "write", "")],
        manifest: "[[triggers]]\nkind = \"docs\"\nname = \"dry\"\ncollection_glob = \"*\"\nscript = \"warn\"\n\
                   retry = { max_attempts = 1 }\n",
    });
    assert_eq!(daemon.post("/greenhouse/", "{}").status, 200);
    let letter = |entry: &Entry| has_id(entry, message::DEAD_LETTER);
    let entries = journal.entries(letter);
    let line = entries.iter().find(|entry| !values(entry, "PICLOUD_FIELDS").is_empty());
    let line = line.expect("the script has logged");
    assert_eq!(values(line, "PRIORITY"), ["4"]);
    assert_eq!(values(line, "MESSAGE").len(), 1);
    assert!(values(line, "MESSAGE")[0].starts_with("greenhouse/warn  dry"), "{line:?}");
    assert!(values(line, "MESSAGE_ID").is_empty() && values(line, "_UID").is_empty(), "{line:?}");
    let names = |entry: &Entry| {
        let ids = ["PICLOUD_APP", "PICLOUD_SCRIPT", "PICLOUD_EXECUTION_ID", "PICLOUD_OUTBOX_ID"];
        ids.map(|name| values(entry, name).join(" "))
    };
    let letter = entries.last().expect("the last");
    assert_eq!(names(line), names(letter), "both are of the same run");
    assert_eq!(names(line)[..2], ["greenhouse", "warn"]);
    assert_eq!(names(line)[2], names(line)[3]);
    let trigger = daemon.list("apps/greenhouse/triggers")[0]["id"].to_string();
    assert_eq!(values(letter, "PICLOUD_TRIGGER_ID"), [trigger.trim_matches('"')]);
    let kept = daemon.list("dead-letters");
    assert_eq!(
        values(letter, "PICLOUD_LETTER_ID"),
        [kept[0]["id"].as_str().expect("it has an id")]
    );
    assert!(values(letter, "PICLOUD_ERROR")[0].contains("no water"), "{letter:?}");
    daemon.signal(Signal::TERM);
    journal.entries(|entry| has_id(entry, message::STOPPING));
    assert_eq!(daemon.ended().code(), Some(0));
    assert_eq!(site.log(), "", "the log goes to one place");
}

#[test]
fn a_journal_that_stands_still_does_not_hold_up_the_daemon_and_is_told_what_it_missed() {
    let (journal, mount) = match journal() {
        Ok(made) => made,
        Err(reason) => return skipped("a journal that stands still", &reason),
    };
    let mut site = Site::new();
    site.settings = "[log]\nto = \"journal\"\n".to_owned();
    let launch = Launch { within: Some(&mount), ..Launch::default() };
    let mut daemon = site.launch(launch);
    assert!(daemon.comes_up(), "{}", site.log());
    site.deploy_app(&InlineApp {
        slug: "loud",
        scripts: &[("log", r#"for n in 0..100 { log::info("a line of some length " + n); } 1"#)],
        routes: &[("POST /", "log", "")],
        manifest: "",
    });
    let mut connection = Connection::tcp(daemon.address()).expect("it listens");
    for _ in 0..200 {
        let answer = connection.send(&Request::post("/loud/", "{}")).expect("it answers");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let told = journal.entries(|entry| has_id(entry, message::LINES_DROPPED)).pop();
    let told = told.expect("the last");
    assert_eq!(values(&told, "PRIORITY"), ["4"]);
    let text = values(&told, "MESSAGE")[0].to_owned();
    let count = text.split(' ').next().and_then(|count| count.parse::<usize>().ok());
    assert!(
        count.is_some_and(|count| count > 1_000) && text.contains("lines were dropped"),
        "{text}"
    );

    // It stands still again: the daemon stops all the same.
    for _ in 0..200 {
        connection.send(&Request::post("/loud/", "{}")).expect("it answers");
    }
    let stopping = wait::Since::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().code(), Some(0));
    assert!(stopping.elapsed() < Duration::from_secs(20), "{:?}", stopping.elapsed());
}

#[test]
fn why_the_daemon_does_not_start_is_in_the_journal() {
    let (journal, mount) = match journal() {
        Ok(made) => made,
        Err(reason) => return skipped("a start that is refused, in the journal", &reason),
    };
    let taken = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let mut site = Site::new();
    site.settings = "[log]\nto = \"journal\"\n".to_owned();
    site.listen = taken.local_addr().expect("it is bound").to_string();
    let (code, said) = site.refuses_to_start(Launch { within: Some(&mount), ..Launch::default() });
    assert_eq!(code, 1);
    assert!(said.contains("in use"), "whoever looks on is told as well: {said}");
    let refused = journal.entries(|entry| has_id(entry, message::START_REFUSED)).pop();
    let refused = refused.expect("the last");
    assert_eq!(values(&refused, "PRIORITY"), ["3"]);
    assert!(values(&refused, "PICLOUD_ERROR")[0].contains(&site.listen), "{refused:?}");
    assert!(values(&refused, "MESSAGE")[0].contains(&site.listen), "{refused:?}");
    assert!(!fs::exists(&site.store).expect("the folder is ours"), "the store was not touched");
}
