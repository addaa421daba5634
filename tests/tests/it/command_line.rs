//! `picloud` against a daemon that gives prepared answers.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use picloud_api::{VERSION, VERSION_HEADER};
use picloud_tui::cli::confirm::Asking;
use picloud_tui::cli::surroundings::Surroundings;
use picloud_tui::cli::{Exit, run};
use picloud_tui::client::Waiting;
use picloud_tui::output::Colours;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::Notify;

/// What a run printed, and how it ended.
struct Printed {
    exit: Exit,
    results: String,
    errors: String,
}

fn surroundings(socket: &Path, arguments: &[&str]) -> Surroundings {
    Surroundings {
        arguments: ["picloud"].iter().chain(arguments).map(OsString::from).collect(),
        socket: Some(socket.into()),
        url: None,
        token: None,
        asking: Asking::Impossible,
        columns: None,
        colours: Colours::Off,
        waiting: Waiting::default(),
        complete: None,
    }
}

async fn picloud_at(socket: &Path, arguments: &[&str]) -> Printed {
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    let exit = run(&surroundings(socket, arguments), &mut results, &mut errors).await;
    let text = |bytes| String::from_utf8(bytes).expect("what is printed is text");
    Printed { exit, results: text(results), errors: text(errors) }
}

/// Runs `picloud` against a daemon that answers every request with `status` and `answer`; `{request}` in it stands for
/// method and target.
async fn picloud(status: u16, answer: &'static str, arguments: &[&str]) -> Printed {
    let answer = move |asked: &str| (status, answer.replace("{request}", asked));
    picloud_told(answer, arguments).await
}

/// Runs `picloud` against a daemon that answers method and target so.
async fn picloud_told(
    answer: impl Fn(&str) -> (u16, String) + Clone + Send + Sync + 'static,
    arguments: &[&str],
) -> Printed {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let socket = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&socket).expect("the socket can be made");
    let router = Router::new().fallback(async move |request: Request| {
        let (status, answer) = answer(&format!("{} {}", request.method(), request.uri()));
        let status = StatusCode::from_u16(status).expect("the status is right");
        (status, [(VERSION_HEADER, VERSION.to_string())], answer).into_response()
    });
    tokio::select! {
        ended = async { axum::serve(listener, router).await } => panic!("the daemon ended: {ended:?}"),
        printed = picloud_at(&socket, arguments) => printed,
    }
}

const NO_APPS: &str = r#"{"items": [], "next": null, "now": 0}"#;

#[tokio::test]
async fn the_exit_code_says_what_kind_of_failure_it_was() {
    for (status, exit) in [
        (400, Exit::Failed),
        (403, Exit::NotAllowed),
        (404, Exit::NotFound),
        (409, Exit::Conflict),
        (422, Exit::Failed),
        (503, Exit::Failed),
    ] {
        let answer =
            r#"{"status": 1, "code": "x", "title": "t", "detail": "d: {request}", "hint": "h"}"#
                .replace("\"status\": 1", &format!("\"status\": {status}"));
        let printed = picloud(status, answer.leak(), &["apps", "list"]).await;
        assert_eq!(printed.exit, exit, "{status}");
        assert_eq!(printed.results, "");
        assert_eq!(printed.errors, "picloud: d: GET /api/v1/admin/apps?limit=100\nhint: h\n");
    }
}

#[tokio::test]
async fn without_a_daemon_the_error_says_how_to_start_one() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let socket = folder.path().join("none.sock");
    let printed = picloud_at(&socket, &["apps", "list"]).await;
    assert_eq!(printed.exit, Exit::NoDaemon);
    assert!(printed.errors.contains("no daemon answers at "), "{}", printed.errors);
    assert!(printed.errors.contains("\nhint: sudo systemctl start picloud"), "{}", printed.errors);
    let printed = picloud_at(&socket, &["--url", "http://127.0.0.1:1", "apps", "list"]).await;
    assert_eq!(printed.exit, Exit::NoDaemon);
    assert!(printed.errors.contains("`[admin] listen`"), "{}", printed.errors);
}

#[tokio::test]
async fn wrong_arguments_are_a_usage_error_and_help_is_none() {
    let nowhere = Path::new("/nowhere");
    for arguments in [
        &[][..],
        &["aps"],
        &["apps"],
        &["apps", "list", "--limit", "x"],
        &["apps", "list", "--limit", "0"],
        &["deploy"],
        &["pause", "/trigger"],
        &["pause", "app/"],
        &["dead-letters", "replay"],
        &["dead-letters", "replay", "01", "--filter", "x"],
        &["dead-letters", "replay", "01", "--yes"],
        &["dead-letters", "list", "--group", "app"],
        &["dead-letters", "take-back"],
        &["outbox", "cancel"],
        &["apps", "list", "--filter", "x"],
        &["outbox", "list", "--all", "--limit", "1"],
    ] {
        let printed = picloud_at(nowhere, arguments).await;
        assert_eq!(printed.exit, Exit::Usage, "{arguments:?}");
        assert!(printed.results.is_empty() && !printed.errors.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"], &["--version"]] {
        let printed = picloud_at(nowhere, arguments).await;
        assert_eq!(printed.exit, Exit::Done);
        assert!(!printed.results.is_empty() && printed.errors.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_socket_of_the_argument_wins_over_that_of_the_environment() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let named = folder.path().join("named.sock");
    let named_text = named.to_str().expect("the path is text");
    let printed =
        picloud_at(Path::new("/environment.sock"), &["--socket", named_text, "apps", "list"]).await;
    assert!(printed.errors.contains("named.sock"), "{}", printed.errors);
    let printed = picloud_at(Path::new("/environment.sock"), &["apps", "list"]).await;
    assert!(printed.errors.contains("/environment.sock"), "{}", printed.errors);
}

#[tokio::test]
async fn an_empty_list_prints_nothing_for_programs() {
    let printed = picloud(200, NO_APPS, &["--json", "apps", "list"]).await;
    assert_eq!((printed.exit, printed.results.as_str()), (Exit::Done, ""));
    assert_eq!(printed.errors, "");
}

#[tokio::test]
async fn a_list_is_a_table_or_a_line_of_json_for_each_item() {
    let page = r#"{"items": [{"id": "01", "app": "a\u001b[2J", "script": "s", "source": "kv", "origin": "t",
        "state": "retry", "available_at": 5000, "created_at": 0, "attempt": 1, "max_attempts": 5, "key": null,
        "depth": 1, "root_id": "01", "error": {"kind": "threw", "message": "no\u0007", "line": 3},
        "of_a_newer_daemon": true}], "next": "01", "now": 1000}"#;
    let printed = picloud(200, page, &["outbox", "list", "--limit", "1"]).await;
    assert_eq!(printed.exit, Exit::Done, "{}", printed.errors);
    assert_eq!(
        printed.results,
        "STATE  WHEN    APP/SCRIPT  CAUSE  TRY  KEY  LAST ERROR      ID\n\
         retry  in 4 s  a␛[2J/s     kv t   1/5       line 3: no\\x07  01\n"
    );
    assert_eq!(printed.errors, "there are more: --all, or --after 01\n");
    let printed = picloud(200, page, &["--json", "outbox", "list", "--limit", "1"]).await;
    assert!(printed.results.starts_with(r#"{"id":"01","app":"a\u001b[2J""#), "{}", printed.results);
    assert_eq!(printed.results.lines().count(), 1);
}

#[tokio::test]
async fn all_goes_on_until_the_last_page() {
    let page = |asked: &str| {
        let next = match asked.split_once("after=").map(|(_, after)| after) {
            None => "\"one\"",
            Some("one") => "\"two\"",
            Some(_) => "null",
        };
        let item = r#"{"id": 1, "name": "t", "principal": "p", "state": "valid", "created_at": 0}"#;
        (200, format!("{{\"items\": [{item}], \"next\": {next}, \"now\": 0}}"))
    };
    let printed = picloud_told(page, &["tokens", "list", "--all", "--json"]).await;
    assert_eq!((printed.exit, printed.results.lines().count()), (Exit::Done, 3));
    assert_eq!(printed.errors, "");
    let printed = picloud_told(page, &["tokens", "list", "--limit", "2", "--json"]).await;
    assert_eq!(printed.results.lines().count(), 2);
    assert_eq!(printed.errors, "there are more: --all, or --after two\n");
}

#[tokio::test]
async fn colour_is_for_who_asks_for_it() {
    let page = r#"{"items": [{"name": "t", "principal": "p", "id": 1, "state": "valid", "created_at": 0,
        "expires_at": null, "revoked_at": null}], "next": null, "now": 0}"#;
    let arguments = ["tokens", "list", "--color", "always"];
    let printed = picloud(200, page, &arguments).await;
    assert!(printed.results.starts_with("\u{1b}[1mTOKEN"), "{:?}", printed.results);
    for arguments in [&arguments[..2], &["tokens", "list", "--color", "never"]] {
        let printed = picloud(200, page, arguments).await;
        assert!(printed.results.starts_with("TOKEN"), "{:?}", printed.results);
    }
}

#[tokio::test]
async fn whoever_waits_long_is_told_so_until_the_answer_is_there() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let socket = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&socket).expect("the socket can be made");
    let told = Arc::new(Mutex::new(Vec::<String>::new()));
    let enough = Arc::new(Notify::new());
    let router = Router::new().fallback({
        let enough = Arc::clone(&enough);
        // It answers once the caller has been told twice.
        async move || {
            enough.notified().await;
            ([(VERSION_HEADER, VERSION.to_string())], NO_APPS)
        }
    });
    let tell = {
        let told = Arc::clone(&told);
        move |text: &str| {
            let mut told = told.lock().expect("no panic");
            told.push(text.to_owned());
            if told.len() == 2 {
                enough.notify_one();
            }
        }
    };
    let mut surroundings = surroundings(&socket, &["apps", "list"]);
    surroundings.waiting = Waiting { every: Duration::from_millis(1), tell: Some(Arc::new(tell)) };
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    tokio::select! {
        ended = async { axum::serve(listener, router).await } => panic!("the daemon ended: {ended:?}"),
        exit = run(&surroundings, &mut results, &mut errors) => assert_eq!(exit, Exit::Done),
    }
    let told = told.lock().expect("no panic");
    assert!(told[0].starts_with("waiting for the daemon"), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some(""), "the line is wiped");
}

#[tokio::test]
async fn an_answer_of_nobody_knows_what_is_an_error() {
    let printed = picloud(200, "<html>", &["apps", "list"]).await;
    assert_eq!(printed.exit, Exit::Failed);
    assert!(printed.errors.contains("cannot be understood"), "{}", printed.errors);
    let printed = picloud(502, "<html>", &["apps", "list"]).await;
    assert!(printed.errors.contains("status 502"), "{}", printed.errors);
}

#[tokio::test]
async fn a_daemon_of_another_major_version_is_told_with_the_package_to_upgrade() {
    let newer = (VERSION + 1).to_string();
    for (theirs, text, hint) in [
        (Some(newer.as_str()), "speaks version 2", "upgrade picloud on this machine"),
        (Some("0"), "speaks version 0", "upgrade picloud on the daemon's machine"),
        (None, "does not say which version", "upgrade picloud on the daemon's machine"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let socket = folder.path().join("admin.sock");
        let listener = UnixListener::bind(&socket).expect("the socket can be made");
        let header = theirs.map(str::to_owned);
        let router = Router::new().fallback(async move || {
            let mut answer = NO_APPS.into_response();
            if let Some(version) = header {
                let version = version.parse().expect("a header can have it");
                answer.headers_mut().insert(VERSION_HEADER, version);
            }
            answer
        });
        tokio::select! {
            ended = async { axum::serve(listener, router).await } => panic!("the daemon ended: {ended:?}"),
            printed = picloud_at(&socket, &["apps", "list"]) => {
                assert_eq!(printed.exit, Exit::Failed);
                assert!(printed.errors.contains(text), "{}", printed.errors);
                assert!(printed.errors.contains(hint), "{}", printed.errors);
            }
        }
    }
}

fn app_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let manifest = "[app]\nslug = \"a\"\n[[scripts]]\nname = \"s\"\nfile = \"s.rhai\"\n";
    std::fs::write(folder.path().join("picloud.toml"), manifest).expect("it can be written");
    std::fs::write(folder.path().join("s.rhai"), "42").expect("it can be written");
    folder
}

#[tokio::test]
async fn deploy_prints_the_difference() {
    let folder = app_folder();
    let dir = folder.path().to_str().expect("the path is text");
    let difference = r#"{"app": "a", "revision_before": 1, "revision": 2, "warnings": ["hm"], "changes": [
        {"change": "add", "kind": "script", "name": "s", "details": []},
        {"change": "change", "kind": "trigger", "name": "t", "details": ["enabled: true -> false"]},
        {"change": "remove", "kind": "route", "name": "GET /", "details": []}]}"#;
    let printed = picloud(200, difference, &["deploy", dir]).await;
    assert_eq!(
        printed.results,
        "+ script   s\n~ trigger  t\n    enabled: true -> false\n- route    GET /\na: deployed, revision 2\n"
    );
    assert_eq!(printed.errors, "warning: hm\n");
    let printed = picloud(200, difference, &["deploy", dir, "--dry-run"]).await;
    assert!(printed.results.ends_with("a: nothing was changed, this was a dry run\n"));
    let same =
        r#"{"app": "a", "revision_before": 2, "revision": 2, "warnings": [], "changes": []}"#;
    let printed = picloud(200, same, &["deploy", dir]).await;
    assert_eq!(printed.results, "a: nothing to do, it is at revision 2\n");
}

#[tokio::test]
async fn a_refused_manifest_is_shown_entry_by_entry() {
    let folder = app_folder();
    let dir = folder.path().to_str().expect("the path is text");
    let problem = r#"{"status": 422, "code": "bad_manifest", "title": "t", "detail": "1 thing is wrong", "errors": [
        {"entry": "script \"s\"", "message": "does not compile: s.rhai, line 1, column 9: no",
         "excerpt": "1 | let x = ;\n  |         ^"}]}"#;
    let printed = picloud(422, problem, &["deploy", dir]).await;
    assert_eq!(printed.exit, Exit::Failed);
    assert_eq!(
        printed.errors,
        "picloud: 1 thing is wrong\n  script \"s\": does not compile: s.rhai, line 1, column 9: no\n    \
         1 | let x = ;\n      |         ^\n"
    );
}

#[tokio::test]
async fn a_folder_without_a_manifest_is_not_found() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dir = folder.path().to_str().expect("the path is text");
    let printed = picloud_at(Path::new("/nowhere"), &["deploy", dir]).await;
    assert_eq!(printed.exit, Exit::NotFound);
    assert!(printed.errors.contains("picloud.toml is not there\nhint: "), "{}", printed.errors);
}

#[tokio::test]
async fn export_never_writes_outside_its_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dir = folder.path().join("new");
    let dir = dir.to_str().expect("the path is text");
    let hostile = r#"{"manifest": {"app": {"slug": "a"}}, "sources": {"../evil.rhai": "1"}}"#;
    let printed = picloud(200, hostile, &["export", "a", dir]).await;
    assert_eq!(printed.exit, Exit::Failed);
    assert!(!folder.path().join("evil.rhai").exists());
    let right = r#"{"manifest": {"app": {"slug": "a"}}, "sources": {"s.rhai": "1"}}"#;
    let printed = picloud(200, right, &["export", "a", dir]).await;
    assert_eq!(printed.exit, Exit::Done, "{}", printed.errors);
    let printed = picloud(200, right, &["export", "a", dir]).await;
    assert_eq!(printed.exit, Exit::Conflict);
}

#[tokio::test]
async fn a_pause_says_the_way_out() {
    let paused = r#"{"changed": true, "paused": {"target": "a/t", "reason": "rebuilt", "since": 0, "by": null}}"#;
    let printed = picloud(200, paused, &["pause", "a/t", "--reason", "rebuilt"]).await;
    assert_eq!(printed.results, "a/t paused: rebuilt\npicloud resume a/t lets it run again\n");
    let resumed = r#"{"changed": false, "paused": null}"#;
    let printed = picloud(200, resumed, &["resume"]).await;
    assert_eq!(printed.results, "the instance was not paused\n");
}

#[tokio::test]
async fn what_failed_in_part_has_an_exit_code_of_its_own() {
    let answer = r#"{"done": ["01"], "skipped": 1, "failed": 2, "first_failure": "the disk is nearly full"}"#;
    let printed = picloud(200, answer, &["dead-letters", "take-back", "01", "02"]).await;
    assert_eq!(printed.exit, Exit::Partly);
    assert_eq!(printed.results, "1 taken back, 1 skipped, 2 failed\n");
    assert_eq!(
        printed.errors,
        "picloud: 2 failed: the disk is nearly full\nhint: the same command goes on with what is left\n"
    );
}

#[tokio::test]
async fn the_secret_of_a_token_is_alone_on_standard_output() {
    let made = r#"{"secret": "pct_x", "token": {"id": 1, "name": "phone", "principal": "ada", "state": "valid",
        "created_at": 0, "expires_at": null, "revoked_at": null}}"#;
    let printed = picloud(200, made, &["tokens", "create", "phone", "--principal", "ada"]).await;
    assert_eq!(printed.results, "pct_x\n");
    assert_eq!(printed.errors, "token phone of principal ada; its secret is not shown again\n");
}

#[tokio::test]
async fn people_are_listed_and_shown_with_what_they_may_do() {
    let page = r#"{"items": [{"id": 3, "name": "ada", "uid": 1000, "grants": [{"capability": "AppData", "app": "a"},
        {"capability": "AppRead"}], "by_group": ["InstanceAdmin"], "tokens": 1, "routes": 2, "triggers": 0}],
        "next": null, "now": 0}"#;
    let printed = picloud(200, page, &["principals", "list"]).await;
    assert_eq!(
        printed.results,
        "PRINCIPAL  UID   TOKENS  ROUTES  TRIGGERS  MAY\n\
         ada        1000  1       2       0         AppData in a, AppRead, InstanceAdmin by group\n"
    );
    let one = r#"{"id": 3, "name": "ada", "uid": null, "grants": [{"capability": "AppRead"}], "by_group": [],
        "tokens": 0, "routes": 2, "triggers": 1}"#;
    let printed = picloud(200, one, &["principals", "show", "ada"]).await;
    assert_eq!(
        printed.results,
        "principal ada, number 3\nuid       none\ntokens    0\nruns as   2 routes, 1 triggers\nmay       AppRead\n"
    );
}

#[tokio::test]
async fn the_filter_goes_to_the_daemon_as_it_is() {
    let answer = r#"{"status": 400, "code": "x", "title": "t", "detail": "{request}"}"#;
    let printed =
        picloud(400, answer, &["outbox", "list", "--filter", "state:retry \"a b\""]).await;
    assert!(printed.errors.contains("&filter=state%3Aretry%20%22a%20b%22"), "{}", printed.errors);
}

#[tokio::test]
async fn what_destroys_asks_first_and_says_what_it_left_behind() {
    let deleted = r#"{"changed": true, "principal": {"id": 3, "name": "ada", "uid": null, "grants": [],
        "by_group": [], "tokens": 1, "routes": 2, "triggers": 1}}"#;
    let printed = picloud(200, deleted, &["principals", "delete", "ada"]).await;
    assert_eq!((printed.exit, printed.results.as_str()), (Exit::Usage, ""));
    assert!(printed.errors.contains("--yes"), "{}", printed.errors);
    let printed = picloud(200, deleted, &["principals", "delete", "ada", "--yes"]).await;
    assert_eq!((printed.exit, printed.results.as_str()), (Exit::Done, "ada: deleted\n"));
    assert!(printed.errors.contains("2 routes and 1 triggers"), "{}", printed.errors);
}

#[tokio::test]
async fn an_address_or_token_that_cannot_be_one_is_a_usage_error() {
    for arguments in [
        &["--url", "pi.local", "apps", "list"][..],
        &["--url", "http://pi:1", "--socket", "/x", "apps", "list"],
        &["--token", "a\nb", "apps", "list"],
        &["tokens", "create", "phone"],
        &["tokens", "create", "phone", "--principal", "ada", "--read"],
        &["principals", "grant", "ada"],
    ] {
        let printed = picloud_at(Path::new("/nowhere"), arguments).await;
        assert_eq!(printed.exit, Exit::Usage, "{arguments:?}: {}", printed.errors);
        assert!(printed.results.is_empty());
    }
}

#[tokio::test]
async fn details_of_the_audit_log_are_told_in_words() {
    let page = r#"{"items": [{"id": 1, "at": 0, "principal": "ada", "action": "put_entry", "object": "",
        "detail": {"revision": 1, "changes": {"add app": 1}}}], "next": null, "now": 3000}"#;
    let printed = picloud(200, page, &["audit", "list"]).await;
    assert_eq!(
        printed.results,
        "WHEN     WHO  ACTION     WHAT          DETAIL\n\
         3 s ago  ada  put entry  the instance  changes (add app 1), revision 1\n",
        "{}",
        printed.errors
    );
}

#[tokio::test]
async fn a_list_of_all_apps_goes_from_app_to_app_until_there_are_enough() {
    let answers = |asked: &str| {
        let items = match asked.split('?').next().and_then(|path| path.rsplit_once('/')) {
            Some((_, "apps")) => {
                let app = |slug: &str| {
                    format!(
                        r#"{{"id": 1, "slug": "{slug}", "host": null, "revision": 1, "scripts": 1, "routes": 1,
                        "triggers": 0, "waiting": 0, "dead_letters": 0, "paused": null}}"#
                    )
                };
                format!("{}, {}", app("a"), app("b"))
            }
            _ => r#"{"name": "KEY", "set_at": 0, "set_by": "ada"}, {"name": "TOKEN", "set_at": 0, "set_by": null}"#
                .to_owned(),
        };
        (200, format!(r#"{{"items": [{items}], "next": null, "now": 0}}"#))
    };
    let printed = picloud_told(answers, &["secrets", "list"]).await;
    assert_eq!(
        printed.results,
        "SECRET   SET  BY   LOST\na/KEY    now  ada\na/TOKEN  now\nb/KEY    now  ada\nb/TOKEN  now\n",
        "{}",
        printed.errors
    );
    let printed = picloud_told(answers, &["secrets", "list", "--limit", "2"]).await;
    assert_eq!(printed.results.lines().count(), 3, "{}", printed.results);
    let printed = picloud_told(answers, &["secrets", "list", "--app", "b"]).await;
    assert_eq!(printed.results.lines().nth(1), Some("b/KEY    now  ada"));
    let printed = picloud_told(answers, &["secrets", "list", "--after", "x"]).await;
    assert_eq!(printed.exit, Exit::Usage);
}

#[tokio::test]
async fn a_forwarded_socket_without_a_daemon_behind_it_is_told_so() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let socket = folder.path().join("pi.sock");
    let listener = UnixListener::bind(&socket).expect("the socket can be made");
    let forwarding = async {
        // As ssh does when nobody listens at the other end.
        loop {
            drop(listener.accept().await);
        }
    };
    tokio::select! {
        () = forwarding => (),
        printed = picloud_at(&socket, &["apps", "list"]) => {
            assert_eq!(printed.exit, Exit::Failed);
            assert!(printed.errors.contains("a forwarded socket"), "{}", printed.errors);
        }
    }
}

/// A disk without any room.
struct Full;

impl std::io::Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn results_that_cannot_be_printed_are_a_failure_with_its_cause() {
    let mut errors = Vec::new();
    let surroundings = surroundings(Path::new("/nowhere"), &["completions", "bash"]);
    let exit = run(&surroundings, &mut Full, &mut errors).await;
    let errors = String::from_utf8(errors).expect("errors are text");
    assert_eq!(exit, Exit::Failed);
    assert!(errors.starts_with("picloud: cannot print the result: no storage"), "{errors}");
}

const DONE: &str = r#"{"items": [{"name": "picloud-1.db", "path": "/b/picloud-1.db", "state": "done", "begun_at": 0, "took_ms": 1500, "bytes": 20000, "verified": true}], "next": null, "now": 60000}"#;

#[tokio::test]
async fn a_backup_is_waited_for_and_its_file_stands_alone_on_standard_output() {
    let started = r#"{"backup": {"name": "picloud-1.db", "path": "/b/picloud-1.db", "state": "running", "begun_at": 0, "took_ms": null, "bytes": 0, "verified": false}, "key_file": "/s/secrets.key"}"#;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let answer = move |asked: &str| {
        let mut heard = heard.lock().expect("no panic while held");
        heard.push(asked.to_owned());
        match (heard.len(), asked.starts_with("POST")) {
            (_, true) => (202, started.to_owned()),
            (2, false) => (200, DONE.replace("done", "running").replace("true", "false")),
            (_, false) => (200, DONE.to_owned()),
        }
    };
    let printed = picloud_told(answer, &["backups", "start"]).await;
    assert_eq!((printed.exit, &*printed.results), (Exit::Done, "/b/picloud-1.db\n"));
    assert!(printed.errors.contains("keep /s/secrets.key elsewhere"), "{}", printed.errors);
    assert_eq!(asked.lock().expect("no panic while held").len(), 3);

    let printed = picloud(202, started, &["backups", "start", "--no-wait", "--json"]).await;
    assert!(printed.results.contains(r#""state":"running""#), "{}", printed.results);
    let printed = picloud(200, DONE, &["backups", "list"]).await;
    let row = "60 s ago  done, verified  1.50 s  20 kB         /b/picloud-1.db";
    assert!(printed.results.contains(row), "{}", printed.results);
}

#[tokio::test]
async fn a_backup_that_failed_that_is_gone_or_that_is_not_the_first_has_its_exit_code() {
    let answers = |list: &'static str| {
        move |asked: &str| {
            let started = r#"{"backup": {"name": "picloud-1.db", "path": "/b", "state": "running", "begun_at": 0, "took_ms": null, "bytes": 0, "verified": false}, "key_file": null}"#;
            if asked.starts_with("POST") {
                (202, started.to_owned())
            } else {
                (200, list.to_owned())
            }
        }
    };
    let failed = r#"{"items": [{"name": "picloud-1.db", "path": "/b", "state": "failed", "begun_at": 0, "took_ms": 5, "bytes": null, "verified": false, "error": "the disk filled up"}], "next": null, "now": 0}"#;
    for (list, said) in [(failed, "failed: the disk filled up"), (NO_APPS, "stopped meanwhile")] {
        let printed = picloud_told(answers(list), &["backups", "start"]).await;
        assert_eq!((printed.exit, &*printed.results), (Exit::Failed, ""));
        assert!(
            printed.errors.contains(said) && printed.errors.contains("hint: "),
            "{}",
            printed.errors
        );
    }
    let running = r#"{"status": 409, "code": "already_running", "title": "", "detail": "backup picloud-1.db is running", "hint": "`picloud backups list` shows how far it is"}"#;
    let printed = picloud(409, running, &["backups", "start"]).await;
    assert_eq!(printed.exit, Exit::Conflict);
    assert!(printed.errors.contains("is running\nhint: "), "{}", printed.errors);
}

#[tokio::test]
async fn nodes_are_a_table_with_what_they_run() {
    let node = r#"{"items": [{"id": "01J9ZKQ3M8ABCDEFGHJKMNPQRS", "name": "pi", "role": "single", "state": "running", "version": "0.1.0", "started_at": 0, "why": "power_cut", "seen_at": 60000, "address": "0.0.0.0:8080", "store": "sqlite", "schema": 7, "executors": 16, "running": 3}], "next": null, "now": 60000}"#;
    let printed = picloud(200, node, &["nodes", "list"]).await;
    let row = "pi    single  running  0.1.0    60 s ago  power cut  0.0.0.0:8080  sqlite, schema 7  3 of 16  01J9ZKQ3M8ABCDEFGHJKMNPQRS";
    assert!(printed.results.contains(row), "{}", printed.results);
}
