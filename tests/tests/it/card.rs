//! Kind to the card: what changes nothing writes nothing.

use std::fs;
use std::time::SystemTime;

use picloud_tests::client::{Connection, Request};
use picloud_tests::daemon::{Daemon, InlineApp, Site};
use picloud_tests::{ledger, wait};

/// Looks between which nothing may change.
const LOOKS: usize = 200;

/// Bytes that the process sent to a device, and what its store's files look like.
#[derive(Clone, Debug, PartialEq)]
struct Written {
    bytes: u64,
    files: Vec<(String, u64, SystemTime)>,
}

fn written(site: &Site, daemon: &Daemon) -> Written {
    let io = fs::read_to_string(format!("/proc/{}/io", daemon.process())).expect("it runs");
    let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    let bytes = bytes.and_then(|bytes| bytes.parse().ok()).expect("the kernel counts bytes");
    let folder = site.store.parent().expect("the store is in a folder");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder is ours")
        .map(|entry| {
            let entry = entry.expect("the folder is ours");
            let meta = entry.metadata().expect("nobody removes it");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, meta.len(), meta.modified().expect("Linux knows"))
        })
        .collect();
    files.sort();
    Written { bytes, files }
}

/// Waits until the log has been written back and cut: the last that an idle daemon does.
fn comes_to_rest(site: &Site, daemon: &Daemon) {
    let mut log = site.store.clone().into_os_string();
    log.push("-wal");
    let mut quiet = 0;
    let mut seen = written(site, daemon);
    wait::until("the write-ahead log is cut, and nothing happens any more", || {
        let is_cut = fs::metadata(&log).is_ok_and(|meta| meta.len() == 0);
        let now = written(site, daemon);
        quiet = if is_cut && now == seen { quiet + 1 } else { 0 };
        seen = now;
        (quiet == 20).then_some(())
    });
}

#[test]
fn p9_an_idle_daemon_writes_no_bytes() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy(&ledger::app());
    for number in 0..20 {
        assert_eq!(daemon.post(&format!("/ledger/now/{number}"), "{}").status, 200);
        assert_eq!(daemon.post(&format!("/ledger/later/{number}"), "{}").status, 202);
    }
    daemon.works_everything_off();
    comes_to_rest(&site, &daemon);
    let before = written(&site, &daemon);
    for _ in 0..LOOKS {
        wait::pass(std::time::Duration::from_millis(5));
        assert_eq!(written(&site, &daemon), before);
    }
}

#[test]
fn p9_a_daemon_whose_schedules_are_not_due_writes_no_bytes() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&InlineApp {
        slug: "calendar",
        scripts: &[("leap", "1")],
        routes: &[],
        manifest: "[[triggers]]\nkind = \"schedule\"\nname = \"leap-day\"\ncron = \"0 0 29 2 *\"\n\
                   catch_up = \"all\"\nscript = \"leap\"\n",
    });
    comes_to_rest(&site, &daemon);
    let before = written(&site, &daemon);
    for _ in 0..LOOKS {
        wait::pass(std::time::Duration::from_millis(5));
        assert_eq!(written(&site, &daemon), before);
    }
}

#[test]
fn p9_requests_that_only_read_write_no_bytes() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&InlineApp {
        slug: "reads",
        scripts: &[
            ("write", r#"for n in 0..10 { kv::collection("c").set(`k${n}`, n); }"#),
            (
                "read",
                r#"let c = kv::collection("c"); [c.get("k1"), c.get("k2"), c.keys("").len()]"#,
            ),
            ("fail", r#"kv::collection("c").set("k", 1); throw "no""#),
        ],
        routes: &[
            ("POST /", "write", ""),
            ("GET /", "read", ""),
            ("GET /fail", "fail", ""),
            ("GET /asks", "read", "auth = \"token\""),
            ("GET /rare", "read", "rate = \"1/h\""),
        ],
        manifest: "",
    });
    assert_eq!(daemon.post("/reads/", "{}").status, 200);
    comes_to_rest(&site, &daemon);
    let before = written(&site, &daemon);
    let mut connection = Connection::tcp(daemon.address()).expect("it listens");
    for _ in 0..1_000 {
        let answer = connection.send(&Request::get("/reads/")).expect("it answers");
        assert_eq!(answer.body, b"[1,2,10]", "{answer:?}");
    }
    // What fails, what is not there and who is not let in change nothing either.
    for (target, status) in [
        ("/reads/fail", 502),
        ("/reads/nothing", 404),
        ("/nothing", 404),
        ("/reads/asks", 401),
        ("/reads/rare", 200),
        ("/reads/rare", 429),
    ] {
        let answer = connection.send(&Request::get(target)).expect("it answers");
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let after = written(&site, &daemon);
    assert_eq!(after.files, before.files);
    // The log on standard error is a file here, in the journal on a real machine; nothing else is written.
    assert_eq!(after, before);
}
