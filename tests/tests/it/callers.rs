//! Routes that ask who calls and how often, with the real daemon, its command line and a plain HTTP client.

use std::fs;
use std::path::Path;

use picloud_tests::client::{Request, Response};
use picloud_tests::daemon::{Daemon, InlineApp, Site};
use picloud_tests::wait;

const GUARDED: InlineApp<'_> = InlineApp {
    slug: "guarded",
    scripts: &[("who", "#{ auth: event.auth, id: event.execution_id }"), ("fail", r#"throw "no""#)],
    routes: &[
        ("POST /token", "who", "auth = \"token\""),
        ("POST /done", "who", "auth = \"token\"\ndispatch_mode = \"async\""),
        (
            "POST /failed",
            "fail",
            "auth = \"token\"\ndispatch_mode = \"async\"\nretry = { max_attempts = 1 }",
        ),
        (
            "POST /again",
            "fail",
            "auth = \"token\"\ndispatch_mode = \"async\"\nretry = { base = \"1h\" }",
        ),
        ("POST /hook", "who", "auth = \"hmac\"\nhmac = { secret = \"HOOK\" }"),
        ("POST /rare", "who", "dispatch_mode = \"async\"\nrate = \"1/h\""),
    ],
    manifest: "",
};

const OTHER: InlineApp<'_> = InlineApp {
    slug: "other",
    scripts: &[("who", "1")],
    routes: &[("POST /", "who", "")],
    manifest: "",
};

/// From GitHub's documentation: how to check one's own way of signing.
const HOOK: &str = "It's a Secret to Everybody";
const HOOK_BODY: &str = "Hello, World!";
const HOOK_SIGNATURE: &str =
    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

/// The secret of a new token that may call routes of an app.
#[track_caller]
fn token(site: &Site, name: &str, app: &str) -> String {
    let made = site.picloud(&["tokens", "create", name, "--grant", "AppInvoke", "--app", app]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8_lossy(&made.stdout).trim().to_owned()
}

fn bearer(request: Request, secret: &str) -> Request {
    request.header("Authorization", format!("Bearer {secret}"))
}

fn hook(daemon: &Daemon, signature: &str) -> Response {
    let request =
        Request { method: "POST", body: HOOK_BODY.into(), ..Request::get("/guarded/hook") };
    daemon.send(&request.header("X-Hub-Signature-256", signature))
}

/// Files below a folder that hold these bytes.
fn holding(folder: &Path, bytes: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, bytes));
        } else if let Ok(held) = fs::read(&path)
            && held.windows(bytes.len()).any(|window| window == bytes.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn p8_a_route_lets_in_who_it_asks_for_and_keeps_nothing_of_what_they_sign_in_with() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&OTHER);
    let folder = GUARDED.write_below(site.path());
    let deployed = site.picloud(&["deploy", &folder.display().to_string()]);
    let said = format!("{deployed:?}");
    assert!(deployed.status.success() && said.contains("no secret"), "{said}");

    assert_eq!(hook(&daemon, HOOK_SIGNATURE).problem(), (500, "internal".to_owned()));
    assert_eq!(hook(&daemon, HOOK_SIGNATURE).problem().0, 500);
    let set_it = "picloud secrets set guarded/HOOK -";
    assert_eq!(site.log().matches(set_it).count(), 1, "{}", site.log());
    let set = site.picloud_given(&["secrets", "set", "guarded/HOOK", "-"], HOOK);
    assert!(set.status.success(), "{set:?}");
    let answer = hook(&daemon, HOOK_SIGNATURE);
    assert_eq!(answer.json()["auth"]["secret"], "HOOK", "{answer:?}");
    let wrong = HOOK_SIGNATURE.replace("757107", "757108");
    assert_eq!(hook(&daemon, &wrong).problem(), (401, "not_signed".to_owned()));

    let (phone, tablet) = (token(&site, "phone", "guarded"), token(&site, "tablet", "guarded"));
    let stranger = token(&site, "stranger", "other");
    let post = |secret: &str, key: &str| {
        let request = Request::post("/guarded/token", "{}").header("Idempotency-Key", key);
        daemon.send(&bearer(request, secret))
    };
    assert_eq!(daemon.post("/guarded/token", "{}").problem(), (401, "not_known".to_owned()));
    assert_eq!(post(&stranger, "a").problem(), (403, "not_allowed".to_owned()));
    let first = post(&phone, "a").json();
    assert_eq!(first["auth"]["principal"], "phone");
    assert_eq!(post(&phone, "a").json(), first, "the same again");
    let others = post(&tablet, "a").json();
    assert_eq!(others["auth"]["principal"], "tablet", "the key of somebody else");

    let revoked = site.picloud(&["tokens", "revoke", "phone", "--yes"]);
    assert!(revoked.status.success(), "{revoked:?}");
    assert_eq!(post(&phone, "a").problem(), (401, "not_known".to_owned()));
    let routes = site.picloud(&["routes", "list", "--app", "guarded"]);
    let routes = String::from_utf8_lossy(&routes.stdout).into_owned();
    assert!(routes.contains("hmac with HOOK") && routes.contains("1/h"), "{routes}");
    daemon.works_everything_off();
    daemon.stop();
    for secret in [phone.as_str(), &tablet, &stranger, &HOOK_SIGNATURE[7..], HOOK] {
        assert_eq!(holding(site.path(), secret), Vec::<String>::new());
    }
}

#[test]
fn p8_what_became_of_an_async_request_is_told_to_who_may_call_its_route() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&OTHER);
    site.deploy_app(&GUARDED);
    let (phone, stranger) = (token(&site, "phone", "guarded"), token(&site, "stranger", "other"));
    let accepted = |target: &str| {
        let answer = daemon.send(&bearer(Request::post(target, "{}"), &phone));
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("location").expect("it says where to ask").to_owned()
    };
    let (done, failed) = (accepted("/guarded/done"), accepted("/guarded/failed"));
    let again = accepted("/guarded/again");
    let state = |daemon: &Daemon, at: &str| {
        let answer = daemon.send(&bearer(Request::get(at), &phone));
        (answer.json()["state"].as_str().map(str::to_owned), answer.problem())
    };
    for (at, expected) in [(&done, "completed"), (&failed, "dead_lettered"), (&again, "retrying")] {
        wait::until("it has ended", || {
            (state(&daemon, at).0.as_deref() == Some(expected)).then_some(())
        });
        assert_eq!(daemon.send(&Request::get(at)).problem().0, 401);
        let others = daemon.send(&bearer(Request::get(at), &stranger));
        assert_eq!(others.problem(), (404, "not_kept".to_owned()));
    }
    daemon.order("/apps/guarded/pause");
    let waits = accepted("/guarded/done");
    assert_eq!(state(&daemon, &waits).0.as_deref(), Some("waiting"));
    daemon.order("/apps/guarded/resume");
    daemon.stop();
    let daemon = site.start();
    assert_eq!(state(&daemon, &again).0.as_deref(), Some("retrying"));
    assert_eq!(state(&daemon, &failed).0.as_deref(), Some("dead_lettered"));
    assert_eq!(state(&daemon, &done).1, (404, "not_kept".to_owned()));
    // A run that a route has not accepted is nobody's.
    let sync = daemon.send(&bearer(Request::post("/guarded/token", "{}"), &phone)).json();
    let id = sync["id"].as_str().expect("the script answers with it");
    assert_eq!(state(&daemon, &format!("/_picloud/executions/{id}")).1.0, 404);
    daemon.stop();
}

#[test]
fn p7_who_calls_too_often_leaves_no_row() {
    let site = Site::new();
    let daemon = site.start();
    site.deploy_app(&GUARDED);
    let forged = |n: usize| {
        let request = Request::post("/guarded/rare", "{}");
        daemon.send(&request.header("X-Forwarded-For", format!("192.0.2.{n}")))
    };
    assert_eq!(forged(1).status, 202);
    for n in 2..5 {
        let answer = forged(n);
        assert_eq!(answer.problem(), (429, "rate_limited".to_owned()));
        let wait = answer.header("retry-after").and_then(|wait| wait.parse::<u32>().ok());
        assert!(wait.is_some_and(|wait| (3_500..=3_600).contains(&wait)), "{answer:?}");
    }
    daemon.works_everything_off();
    assert_eq!(daemon.executions("app", "guarded", 1).len(), 1);
    daemon.stop();
}
