//! Who may do what, with the real daemon and the real command line.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use picloud_tests::client::{Connection, Request};
use picloud_tests::daemon::{InlineApp, Site, program};
use picloud_tests::wait;

/// Runs `picloud` with a token, on the socket or at an address.
fn with_token(place: [&str; 2], secret: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program("picloud"));
    command.args(place).args(arguments).env("PICLOUD_TOKEN", secret).stdin(Stdio::null());
    command.output().expect("the command line is built with the tests")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The secret of a new token.
fn token(site: &Site, arguments: &[&str]) -> String {
    let made = site.picloud(&[&["tokens", "create"], arguments].concat());
    assert!(made.status.success(), "{}", text(&made.stderr));
    text(&made.stdout).trim().to_owned()
}

fn notes(place: &Path) -> String {
    let app = InlineApp {
        slug: "notes",
        scripts: &[("note", r#"kv::collection("notes").set("last", event.body);"#)],
        routes: &[("POST /", "note", "dispatch_mode = \"async\"")],
        manifest: "",
    };
    app.write_below(place).display().to_string()
}

#[test]
fn p8_a_run_may_do_what_its_principal_may_do_when_it_runs() {
    let site = Site::new();
    let daemon = site.start();
    let mut arguments = vec!["gardener", "--expires", "1d"];
    for one in ["AppWrite", "AppManageScripts", "AppManageRoutes", "AppData"] {
        arguments.extend(["--grant", one]);
    }
    let secret = token(&site, &arguments);
    let socket = site.socket().display().to_string();
    let folder = notes(site.path());
    let deployed = with_token(["--socket", &socket], &secret, &["deploy", &folder]);
    assert!(deployed.status.success(), "{}", text(&deployed.stderr));

    assert_eq!(daemon.post("/notes/", "1").status, 202);
    assert_eq!(daemon.executions("outcome", "completed", 1).len(), 1);
    let revoked = site.picloud(&["principals", "revoke", "gardener", "AppData"]);
    assert_eq!(text(&revoked.stdout), "gardener: revoked\n", "{}", text(&revoked.stderr));
    assert_eq!(daemon.post("/notes/", "2").status, 202);
    let letters = wait::until("the run is refused", || {
        let letters = daemon.list("dead-letters");
        (!letters.is_empty()).then_some(letters)
    });
    assert_eq!(
        (&letters[0]["attempts"], &letters[0]["error"]["kind"]),
        (&1.into(), &"not_allowed".into())
    );
    let message = letters[0]["error"]["message"].as_str().expect("it says why");
    assert!(message.contains("AppData"), "{message}");
    daemon.stop();
}

#[test]
fn p8_over_tcp_a_token_lets_in_and_nothing_else() {
    let mut site = Site::new();
    site.admin_listen = "127.0.0.1:0".to_owned();
    let daemon = site.start();
    let address = daemon.admin_address.expect("it was asked for");
    let url = format!("http://{address}");
    let asked = Connection::tcp(address)
        .and_then(|mut connection| connection.send(&Request::get("/api/v1/admin/instance")));
    assert_eq!(asked.expect("it answers").status, 401);

    let secret = token(&site, &["reader", "--read"]);
    let listed = with_token(["--url", &url], &secret, &["apps", "list"]);
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
    let paused = with_token(["--url", &url], &secret, &["pause"]);
    assert_eq!(paused.status.code(), Some(4));
    assert!(
        text(&paused.stderr).contains("reader lacks InstanceAdmin"),
        "{}",
        text(&paused.stderr)
    );

    let refused = site.picloud(&["tokens", "revoke", "reader"]);
    assert_eq!(refused.status.code(), Some(2), "nobody can be asked");
    let revoked = site.picloud(&["tokens", "revoke", "reader", "--yes"]);
    assert_eq!(text(&revoked.stdout), "reader: revoked\n");
    let listed = with_token(["--url", &url], &secret, &["apps", "list"]);
    assert_eq!(listed.status.code(), Some(4));
    let said = text(&listed.stderr);
    assert!(
        said.contains("token \"reader\" was revoked at ") && said.contains("\nhint: "),
        "{said}"
    );

    let audit = text(&site.picloud(&["audit", "list"]).stdout);
    assert!(audit.contains("revoke") && audit.contains("token reader"), "{audit}");
    assert!(!audit.contains(&secret) && !site.log().contains(&secret));
    daemon.stop();
}

#[test]
fn a_second_daemon_at_the_same_admin_address_is_told_which_key_to_change() {
    let mut first = Site::new();
    first.admin_listen = "127.0.0.1:0".to_owned();
    let daemon = first.start();
    let mut second = Site::new();
    second.admin_listen = daemon.admin_address.expect("it was asked for").to_string();
    let (code, said) = second.refuses_to_start(picloud_tests::daemon::Launch::default());
    assert_eq!(code, 1);
    assert!(said.contains("set another address in [admin] listen"), "{said}");
    daemon.stop();
}

#[test]
fn p7_a_body_that_does_not_come_in_time_gets_408() {
    let mut site = Site::new();
    site.settings = "[limits.admin]\nbody_ms = 30".to_owned();
    let daemon = site.start();
    let mut stream = UnixStream::connect(site.socket()).expect("somebody listens");
    let head = "POST /api/v1/admin/pause HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).expect("somebody reads");
    let mut answer = Vec::new();
    while !text(&answer).contains("too_slow") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).expect("there is an answer");
        assert!(count > 0, "{}", text(&answer));
        answer.extend_from_slice(&bytes[..count]);
    }
    assert!(text(&answer).starts_with("HTTP/1.1 408 "), "{}", text(&answer));
    daemon.stop();
}
