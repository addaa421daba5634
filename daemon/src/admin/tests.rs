//! The calls of the admin API, on an engine with a store of its own.

mod backups;
mod data;
mod live;
mod people;
mod routes;
mod scripts;
mod work;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::MockConnectInfo;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use picloud_api::deploy::Difference;
use picloud_api::instance::{Instance, PauseAnswer};
use picloud_api::list::{AppItem, Page};
use picloud_api::manifest::Bundle;
use picloud_api::triggers::{FireAnswer, TriggerAnswer, TriggerDeleted, TriggerItem};
use picloud_api::{VERSION, VERSION_HEADER};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::backups::Backups;
use crate::config::SyncDurability;
use crate::engine::{Engine, Pausing, Setup};
use crate::faults::Faults;
use crate::flow::configure::people::plan_uid;
use crate::flow::configure::{CatalogChange, Unfit};
use crate::flow::facts::Usage;
use crate::groups::Groups;
use crate::ids::{Ids, PrincipalId, QueueId};
use crate::limits::Limits;
use crate::manifest::tests::{GREENHOUSE, bundle};
use crate::principal::{Capability, Grant, Principal};
use crate::store::batch::Waiting;
use crate::store::open::StoreConfig;
use crate::time::{Clock, Timestamp};

/// A clock that stands where a test puts it.
struct Stopped(AtomicI64);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A daemon on a store of its own, in which root (uid 0) has deployed the greenhouse and a reader (uid 1000) is known.
struct Admin {
    router: Router,
    engine: Engine,
    clock: Arc<Stopped>,
    /// Where the store is, and `passwd` and `group` for who wants to write them.
    folder: TempDir,
}

async fn admin() -> Admin {
    admin_with(Limits::default()).await
}

async fn admin_with(mut limits: Limits) -> Admin {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    limits.admin.body_bytes_max = 200_000;
    let clock = Arc::new(Stopped(AtomicI64::new(7)));
    let engine = crate::engine::start(Setup {
        store: folder.path().join("picloud.db"),
        runtime_directory: folder.path().to_owned(),
        key_file: folder.path().join("secrets.key"),
        backup_folder: folder.path().join("backups"),
        own_addresses: Vec::new(),
        durability: SyncDurability::WithEffects,
        limits,
        pausing: Pausing::AsStored,
        cores: 1,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ids: Arc::new(Ids::random()),
        groups: Arc::new(Groups::in_files(
            folder.path().join("passwd"),
            folder.path().join("group"),
        )),
        faults: Faults::default(),
    });
    let engine = engine.await.expect("an engine starts on a new store");
    for (uid, name, capability) in
        [(0, "root", Capability::InstanceAdmin), (1000, "reader", Capability::AppRead)]
    {
        let made = engine.writer.configure(move |catalog, next, _now| {
            let planned = plan_uid(catalog, uid, name, &[capability], next);
            Ok::<_, Unfit>((planned.changes, planned.next))
        });
        made.await.expect("principals can be made");
    }
    let router = router(Arc::new(crate::admin::engine::Engine::of(&engine)));
    let admin = Admin { router, engine, clock, folder };
    let body = serde_json::to_string(&bundle(GREENHOUSE)).expect("a bundle is JSON");
    let _made: Difference = ok(&admin, 0, "PUT", "/apps/greenhouse/manifest", &body).await;
    admin
}

impl Admin {
    async fn stop(self) {
        self.engine.stop(Duration::ZERO).await.expect("it stops in order");
    }
}

async fn call(admin: &Admin, uid: u32, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
    send(admin, uid, axum::extract::Request::builder().method(method).uri(at(path)), body).await
}

fn at(path: &str) -> String {
    format!("{BASE}{path}")
}

async fn send(
    admin: &Admin,
    uid: u32,
    request: axum::http::request::Builder,
    body: &str,
) -> (u16, Vec<u8>) {
    let request = request
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .expect("the request is right");
    let router = admin.router.clone().layer(MockConnectInfo(Peer { uid }));
    let response = router.oneshot(request).await.expect("a router always answers");
    // Whatever is asked, however it ends: whoever reads on knows that they understand it.
    assert_eq!(response.headers()[VERSION_HEADER], VERSION.to_string());
    let status = response.status().as_u16();
    if response.headers()["content-type"] == "text/event-stream" {
        // It has no end.
        return (status, Vec::new());
    }
    let body = response.into_body().collect().await.expect("the body is in memory").to_bytes();
    (status, body.to_vec())
}

/// The status of a change that is made only if the thing is still at this version.
async fn if_match(admin: &Admin, method: &str, path: &str, version: i64, body: &str) -> u16 {
    let request = axum::extract::Request::builder().method(method).uri(at(path));
    send(admin, 0, request.header("if-match", format!("\"{version}\"")), body).await.0
}

async fn ok<T: DeserializeOwned>(
    admin: &Admin,
    uid: u32,
    method: &str,
    path: &str,
    body: &str,
) -> T {
    let (status, body) = call(admin, uid, method, path, body).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("the answer is JSON")
}

async fn problem(admin: &Admin, uid: u32, method: &str, path: &str, body: &str) -> Problem {
    let (status, body) = call(admin, uid, method, path, body).await;
    let problem: Problem = serde_json::from_slice(&body).expect("a problem is JSON");
    assert_eq!(problem.status, status);
    problem
}

#[tokio::test]
async fn apps_are_listed_with_what_they_are_made_of() {
    let admin = admin().await;
    let page: Page<AppItem> = ok(&admin, 0, "GET", "/apps", "").await;
    assert_eq!((page.next, page.now), (None, 7));
    let app = &page.items[0];
    assert_eq!((app.slug.as_str(), app.scripts, app.routes, app.triggers), ("greenhouse", 2, 2, 2));
    admin.stop().await;
}

#[tokio::test]
async fn dead_letters_of_a_route_a_script_and_a_trigger_count_for_their_app() {
    let admin = admin().await;
    let catalog = admin.engine.catalog.load_full();
    let app = catalog.app("greenhouse").expect("it is deployed");
    let script = app.scripts.values().next().expect("has scripts").id.0;
    let trigger = *catalog.triggers.keys().next().expect("has triggers");
    let queues = [app.routes[0].id.0, script, trigger.0, i64::MAX];
    let waiting = Waiting {
        usage: HashMap::from([(app.id, Usage { rows: 5, bytes: 9, delayed: 0 })]),
        letters_open: queues
            .into_iter()
            .zip([1, 20, 300, 4_000])
            .map(|(id, open)| (QueueId(id), open))
            .collect(),
        storage_low: false,
    };
    let counts = engine::count_by_app(&catalog, &waiting);
    let expected = engine::AppCounts { triggers: 2, waiting: 5, dead_letters: 321 };
    assert_eq!(counts, HashMap::from([(app.id, expected)]));
    admin.stop().await;
}

#[tokio::test]
async fn an_export_can_be_deployed_again_and_changes_nothing() {
    let admin = admin().await;
    let exported: Bundle = ok(&admin, 0, "GET", "/apps/greenhouse/manifest", "").await;
    let body = serde_json::to_string(&exported).expect("a bundle is JSON");
    let difference: Difference = ok(&admin, 0, "PUT", "/apps/greenhouse/manifest", &body).await;
    assert!(difference.changes.is_empty(), "{difference:?}");
    admin.stop().await;
}

#[tokio::test]
async fn a_dry_run_shows_what_a_deploy_would_change() {
    let admin = admin().await;
    let mut changed = bundle(GREENHOUSE);
    changed.manifest.triggers.pop();
    let body = serde_json::to_string(&changed).expect("a bundle is JSON");
    let path = "/apps/greenhouse/manifest?dry_run=true";
    let difference: Difference = ok(&admin, 0, "PUT", path, &body).await;
    assert_eq!(difference.changes[0].name, "keep");
    assert_eq!((difference.revision_before, difference.revision), (1, 2));
    admin.stop().await;
}

#[tokio::test]
async fn a_manifest_that_is_wrong_is_refused_with_every_error() {
    let admin = admin().await;
    let mut wrong = bundle(GREENHOUSE);
    wrong.manifest.routes[0].path = "readings".to_owned();
    wrong.sources.insert("record.rhai".to_owned(), "let x = ;".to_owned());
    let body = serde_json::to_string(&wrong).expect("a bundle is JSON");
    let problem = problem(&admin, 0, "PUT", "/apps/greenhouse/manifest", &body).await;
    assert_eq!((problem.status, problem.code.as_str()), (422, "bad_manifest"));
    let entries: Vec<&str> = problem.errors.iter().map(|error| error.entry.as_str()).collect();
    assert_eq!(entries, ["script \"record\"", "route POST readings"]);
    assert_eq!(problem.errors[0].excerpt.as_deref(), Some("1 | let x = ;\n  |         ^"));
    admin.stop().await;
}

#[tokio::test]
async fn bad_requests_get_an_error_that_says_what_is_wrong() {
    let admin = admin().await;
    let manifest = "/apps/greenhouse/manifest";
    let unknown = r#"{"manifest": {"app": {"slug": "greenhouse", "hots": "a"}}, "sources": {}}"#;
    let other = r#"{"manifest": {"app": {"slug": "garden"}}, "sources": {}}"#;
    let large = " ".repeat(200_001);
    for (method, path, body, status, detail) in [
        ("GET", "/app", "", 404, "there is no call /api/v1/admin/app"),
        ("GET", "/apps?app=garden", "", 404, "there is no app \"garden\""),
        ("DELETE", "/apps", "", 405, "/api/v1/admin/apps has no method DELETE"),
        ("GET", "/apps/garden/manifest", "", 404, "there is no app \"garden\""),
        ("GET", "/apps?limits=1", "", 400, "unknown key \"limits\"; did you mean \"limit\"?"),
        ("GET", "/apps?limit=0", "", 400, "limit is 0; 1 to 1000 are allowed"),
        ("GET", "/apps?limit=many", "", 400, "in the query: "),
        ("GET", "/outbox?after=x", "", 400, "after=\"x\" is no cursor of this list"),
        ("GET", "/outbox?app=garden", "", 404, "there is no app \"garden\""),
        ("PUT", manifest, "{", 400, "the body, line 1, column 1: EOF"),
        ("PUT", manifest, unknown, 422, "unknown key \"hots\"; did you mean \"host\"?"),
        (
            "PUT",
            manifest,
            other,
            422,
            "the manifest is of app \"garden\", the path of \"greenhouse\"",
        ),
        ("PUT", manifest, &large, 413, "the body has more than 200000 bytes"),
        ("POST", "/pause", r#"{"why": "x"}"#, 400, "unknown key \"why\""),
        ("POST", "/apps/greenhouse/triggers/x/pause", "", 404, "has no trigger \"x\""),
        ("POST", "/apps/greenhouse/routes/x/pause", "", 400, "\"x\" is no route"),
    ] {
        let problem = problem(&admin, 0, method, path, body).await;
        assert!(
            problem.status == status && problem.detail.contains(detail),
            "{method} {path}\n{problem:?}"
        );
    }
    admin.stop().await;
}

#[tokio::test]
async fn a_body_that_is_no_map_is_refused_without_a_word_of_the_code() {
    let admin = admin().await;
    for (body, said) in [
        (r#"["at night"]"#, "the body is a list; a map is wanted"),
        ("null", "the body, line 1, column 4: invalid type: null, expected a map"),
    ] {
        let refused = problem(&admin, 0, "POST", "/pause", body).await;
        assert_eq!((refused.status, refused.detail.as_str()), (400, said));
    }
    admin.stop().await;
}

#[tokio::test]
async fn p7_no_list_gives_ten_million_items_and_a_cursor_from_elsewhere_is_refused_or_harmless() {
    let admin = admin().await;
    for one in CALLS.iter().filter(|one| one.query.contains(&"limit")) {
        let path = filled(one.path);
        let many = problem(&admin, 0, "GET", &format!("{path}?limit=10000000"), "").await;
        assert_eq!(many.detail, "limit is 10000000; 1 to 1000 are allowed", "{path}");
        for cursor in ["01J9ZKQ3M8ABCDEFGHJKMNPQRS", "-1", "%00%2F", "%F0%9F%A6%80"] {
            let (status, body) =
                call(&admin, 0, "GET", &format!("{path}?after={cursor}"), "").await;
            let said = String::from_utf8_lossy(&body);
            assert!([200, 400, 404].contains(&status), "{path} {cursor}: {status} {said}");
        }
    }
    admin.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_called_json_is_refused() {
    let admin = admin().await;
    let request = axum::extract::Request::builder()
        .method("POST")
        .uri(format!("{BASE}/pause"))
        .body(Body::from("{}"))
        .expect("the request is right");
    let router = admin.router.clone().layer(MockConnectInfo(Peer { uid: 0 }));
    let response = router.oneshot(request).await.expect("a router always answers");
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    admin.stop().await;
}

#[tokio::test]
async fn resuming_what_runs_changes_nothing_for_every_kind_of_target() {
    let admin = admin().await;
    for path in [
        "/resume",
        "/apps/greenhouse/resume",
        "/apps/greenhouse/triggers/keep/resume",
        "/apps/greenhouse/routes/POST%20%2Freadings%2F%7Bsensor%7D/resume",
        "/apps/greenhouse/scripts/warn/resume",
    ] {
        let answer: PauseAnswer = ok(&admin, 0, "POST", path, "").await;
        assert_eq!(answer, PauseAnswer { changed: false, paused: None }, "{path}");
    }
    admin.stop().await;
}

/// Somebody who may do this in all apps.
async fn somebody(admin: &Admin, uid: u32, capabilities: Vec<Capability>) {
    let made = admin.engine.writer.configure(move |catalog, next, _now| {
        let planned = plan_uid(catalog, uid, &format!("user {uid}"), &capabilities, next);
        Ok::<_, Unfit>((planned.changes, planned.next))
    });
    made.await.expect("principals can be made");
}

const ROUTE: &str = "routes/POST%20%2Freports";

/// A path with everything variable filled in.
fn filled(path: &str) -> String {
    let path = path.replace("routes/{name}", ROUTE);
    let segments = path.split('/').map(|segment| match segment {
        "{app}" => "greenhouse",
        segment if segment.starts_with('{') => "keep",
        segment => segment,
    });
    segments.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn p8_every_call_is_closed_to_the_unknown_and_to_who_lacks_its_capability() {
    let admin = admin().await;
    for one in CALLS {
        let (method, path) = (one.method.as_str(), filled(one.path));
        let unknown = problem(&admin, 4242, method, &path, "").await;
        assert_eq!(unknown.detail, "uid 4242 is not known to this daemon");
        assert_eq!(unknown.status, 403);
    }
    // First who may everything else, so that nothing is changed meanwhile; then who may this alone.
    for lacking in Capability::ALL {
        let others = Capability::ALL.into_iter();
        let others = others.filter(|one| *one != lacking && *one != Capability::InstanceAdmin);
        somebody(&admin, 2000, others.collect()).await;
        for one in CALLS.iter().filter(|one| one.capability == Some(lacking)) {
            let path = filled(one.path);
            let refused = problem(&admin, 2000, one.method.as_str(), &path, "").await;
            let expected = format!("user 2000 lacks {}", lacking.as_str());
            assert!(refused.detail.starts_with(&expected), "{path}: {refused:?}");
            assert_eq!(refused.status, 403);
        }
    }
    for having in Capability::ALL {
        somebody(&admin, 2000, vec![having]).await;
        for one in CALLS.iter().filter(|one| one.capability == Some(having)) {
            let path = filled(one.path);
            let request = axum::extract::Request::builder().method(one.method.as_str());
            // Nothing has this version, so what would be changed is there for the next call.
            let request = request.uri(at(&path)).header("if-match", "\"999\"");
            let (_, body) = send(&admin, 2000, request, "").await;
            let lacks = format!("lacks {}", having.as_str());
            assert!(!String::from_utf8_lossy(&body).contains(&lacks), "{path}");
        }
    }
    admin.stop().await;
}

#[tokio::test]
async fn p8_who_may_read_gets_an_answer_from_every_call_that_reads_and_from_no_other() {
    let admin = admin().await;
    for one in CALLS {
        let id = "01J9ZKQ3M8ABCDEFGHJKMNPQRS";
        let path = one.path.replace("{app}", "greenhouse");
        let path = path.replace("triggers/{name}", "triggers/keep");
        let path = path.replace("routes/{name}", ROUTE).replace("{name}", "warn");
        let path = path.replace("{version}", "1").replace("{id}", id);
        let path = path.replace("{collection}", "limits").replace("{key}", "dry");
        let (status, _) = call(&admin, 1000, one.method.as_str(), &path, "").await;
        let reads = matches!(one.capability, None | Some(Capability::AppRead));
        let answered = if one.path.contains("{id}") { 404 } else { 200 };
        assert_eq!(status, if reads { answered } else { 403 }, "{} {path}", one.method.as_str());
    }
    admin.stop().await;
}

#[tokio::test]
async fn a_query_of_a_call_that_takes_none_is_refused() {
    let admin = admin().await;
    for one in CALLS {
        let path = format!("{}?wrong=1", filled(one.path));
        let problem = problem(&admin, 0, one.method.as_str(), &path, "").await;
        assert_eq!(problem.status, 400, "{path}: {problem:?}");
        let expected = match one.query {
            [] => "takes no query, but there is \"wrong\"",
            _ => "in the query: unknown key \"wrong\"",
        };
        assert!(problem.detail.contains(expected), "{path}: {problem:?}");
    }
    admin.stop().await;
}

#[tokio::test]
async fn a_list_of_apps_can_be_had_for_one_by_slug_or_number() {
    let admin = admin().await;
    let number = admin.engine.catalog.load().app("greenhouse").expect("it is deployed").id;
    for app in ["greenhouse".to_owned(), number.to_string()] {
        let page: Page<AppItem> = ok(&admin, 0, "GET", &format!("/apps?app={app}"), "").await;
        assert_eq!(page.items.len(), 1);
    }
    admin.stop().await;
}

#[tokio::test]
async fn p8_the_body_of_who_may_not_call_is_not_looked_at() {
    let admin = admin().await;
    let large = " ".repeat(200_001);
    for (uid, path) in [(4242, "/pause"), (1000, "/pause"), (1000, "/apps/greenhouse/pause")] {
        let refused = problem(&admin, uid, "POST", path, &large).await;
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    admin.stop().await;
}

#[tokio::test]
async fn p8_who_may_all_in_one_app_may_not_pause_the_instance() {
    let admin = admin().await;
    let app = admin.engine.catalog.load().app("greenhouse").expect("it is deployed").id;
    let made = admin.engine.writer.configure(move |_, next, _now| {
        let grant = Grant { capability: Capability::InstanceAdmin, app: Some(app) };
        let id = PrincipalId(next);
        let gardener =
            Principal { id, name: "gardener".to_owned(), uid: Some(1001), grants: vec![grant] };
        Ok::<_, Unfit>((vec![CatalogChange::PutPrincipal(gardener)], next + 1))
    });
    made.await.expect("principals can be made");
    for path in ["/pause", "/resume"] {
        let refused = problem(&admin, 1001, "POST", path, "").await;
        assert_eq!(refused.detail, "gardener lacks InstanceAdmin for all apps", "{path}");
    }
    let paused: PauseAnswer = ok(&admin, 1001, "POST", "/apps/greenhouse/pause", "").await;
    assert!(paused.changed);
    admin.stop().await;
}

#[tokio::test]
async fn the_instance_says_who_asks_and_what_they_may() {
    let admin = admin().await;
    let instance: Instance = ok(&admin, 1000, "GET", "/instance", "").await;
    assert_eq!(instance.caller.name, "reader");
    assert_eq!(instance.caller.capabilities, ["AppRead"]);
    let instance: Instance = ok(&admin, 0, "GET", "/instance", "").await;
    assert_eq!(instance.caller.capabilities.len(), Capability::ALL.len());
    admin.stop().await;
}

#[tokio::test]
async fn a_pause_holds_until_it_is_resumed_and_is_shown_meanwhile() {
    let admin = admin().await;
    let paused: PauseAnswer =
        ok(&admin, 0, "POST", "/apps/greenhouse/pause", r#"{"reason": "rebuilt"}"#).await;
    assert!(paused.changed);
    let instance: Instance = ok(&admin, 0, "GET", "/instance", "").await;
    assert_eq!(instance.pauses, [paused.paused.expect("it is paused")]);
    let page: Page<AppItem> = ok(&admin, 1000, "GET", "/apps", "").await;
    assert_eq!(page.items[0].paused.as_ref(), Some(&instance.pauses[0]));
    let resumed: PauseAnswer = ok(&admin, 0, "POST", "/apps/greenhouse/resume", "").await;
    assert!(resumed.changed);
    let instance: Instance = ok(&admin, 0, "GET", "/instance", "").await;
    assert!(instance.pauses.is_empty());
    admin.stop().await;
}

#[tokio::test]
async fn a_schedule_is_made_shown_changed_switched_and_deleted() {
    let admin = admin().await;
    let body = r#"{"name": "report", "script": "record", "cron": "0 6 * * *", "time_zone": "Europe/Berlin"}"#;
    let made: TriggerAnswer =
        ok(&admin, 0, "POST", "/apps/greenhouse/triggers/schedule", body).await;
    let report = &made.trigger;
    assert_eq!((made.changed, report.kind.as_str(), report.enabled), (true, "schedule", true));
    assert_eq!(report.matches, "0 6 * * * (Europe/Berlin), catch up none");
    assert_eq!(report.next_due, Some(5 * 3_600_000));
    assert_eq!(report.next_due_local.as_deref(), Some("1970-01-01 06:00:00 CET"));
    assert_eq!((report.last_fired, report.registered_by.as_deref()), (None, Some("root")));
    assert_eq!(report.retry.max_attempts, Some(5));

    let path = "/apps/greenhouse/triggers/report";
    let shown: TriggerItem = ok(&admin, 1000, "GET", path, "").await;
    assert_eq!(shown, *report);
    let body =
        r#"{"name": "report", "script": "record", "cron": "30 6 * * *", "time_zone": "UTC"}"#;
    let changed: TriggerAnswer = ok(&admin, 0, "PUT", path, body).await;
    assert_eq!(changed.trigger.next_due, Some(6 * 3_600_000 + 1_800_000));
    let again: TriggerAnswer = ok(&admin, 0, "PUT", path, body).await;
    assert!(!again.changed);

    let off: TriggerAnswer = ok(&admin, 0, "POST", &format!("{path}/disable"), "").await;
    assert_eq!((off.changed, off.trigger.next_due), (true, None));
    let on: TriggerAnswer = ok(&admin, 0, "POST", &format!("{path}/enable"), "{}").await;
    assert!(on.changed && on.trigger.enabled);
    let page: Page<TriggerItem> =
        ok(&admin, 0, "GET", "/apps/greenhouse/triggers?limit=2", "").await;
    let names: Vec<&str> = page.items.iter().map(|one| one.name.as_str()).collect();
    assert_eq!((names, page.next.as_deref()), (vec!["keep", "report"], Some("report")));
    let rest: Page<TriggerItem> =
        ok(&admin, 0, "GET", "/apps/greenhouse/triggers?limit=2&after=report", "").await;
    assert_eq!((rest.items[0].name.as_str(), rest.next), ("warn-when-dry", None));

    let gone: TriggerDeleted = ok(&admin, 0, "DELETE", path, "").await;
    assert_eq!(gone.deleted, "greenhouse/report");
    assert_eq!(problem(&admin, 0, "GET", path, "").await.status, 404);
    admin.stop().await;
}

#[tokio::test]
async fn a_trigger_that_is_wrong_is_refused_and_nothing_is_made() {
    let admin = admin().await;
    let triggers = "/apps/greenhouse/triggers";
    for (path, body, status, detail) in [
        (
            "/kv",
            r#"{"name": "t", "script": "warn", "collection_glob": ""}"#,
            422,
            "glob \"\": is empty",
        ),
        (
            "/kv",
            r#"{"name": "t", "script": "none", "collection_glob": "*"}"#,
            422,
            "no script \"none\"",
        ),
        (
            "/kv",
            r#"{"name": "a b", "script": "warn", "collection_glob": "*"}"#,
            422,
            "may have only",
        ),
        ("/schedule", r#"{"name": "t", "script": "warn", "cron": "0 6 * *"}"#, 422, "has 4 fields"),
        (
            "/schedule",
            r#"{"name": "t", "script": "warn", "crom": "x"}"#,
            422,
            "did you mean \"cron\"?",
        ),
        ("/schedule", r#"{"kind": "kv", "name": "t", "script": "warn"}"#, 422, "is of kind \"kv\""),
        ("/docs", r#"{"script": "warn"}"#, 422, "missing field `name`"),
        ("/docs", r#"{"name": "keep", "script": "warn", "collection_glob": "*"}"#, 409, "already"),
        ("/hourly", r#"{"name": "t"}"#, 404, "no kind of trigger \"hourly\""),
        ("/keep/fire", "{}", 400, "a dead-letter handler runs for a dead letter"),
        ("/warn-when-dry/fire", r#"{"event": 7}"#, 400, "event is no map"),
        ("/warn-when-dry/enable", r#"{"now": true}"#, 400, "unknown key \"now\""),
        ("/none/enable", "", 404, "has no trigger \"none\""),
    ] {
        let problem = problem(&admin, 0, "POST", &format!("{triggers}{path}"), body).await;
        let said = format!("{} {:?}", problem.detail, problem.errors);
        let said = said.replace("\\\"", "\"");
        assert!(problem.status == status && said.contains(detail), "{path} {body}\n{problem:?}");
    }
    let page: Page<TriggerItem> = ok(&admin, 0, "GET", triggers, "").await;
    assert_eq!(page.items.len(), 2);
    admin.stop().await;
}

#[tokio::test]
async fn p8_a_trigger_is_set_off_by_who_may_manage_it_and_invoke_and_runs_as_they_do() {
    let admin = admin().await;
    // What it does is not looked at here: it waits.
    let _paused: PauseAnswer = ok(&admin, 0, "POST", "/pause", "").await;
    let path = "/apps/greenhouse/triggers/warn-when-dry/fire";
    let made = admin.engine.writer.configure(move |catalog, next, _now| {
        let capabilities = [Capability::AppManageTriggers];
        let planned = plan_uid(catalog, 1001, "gardener", &capabilities, next);
        Ok::<_, Unfit>((planned.changes, planned.next))
    });
    made.await.expect("principals can be made");
    let refused = problem(&admin, 1001, "POST", path, "").await;
    assert_eq!(
        (refused.status, refused.detail.as_str()),
        (403, "gardener lacks AppInvoke for app \"greenhouse\"")
    );
    let body = r#"{"event": {"op": "create", "id": "basil"}}"#;
    for (body, event) in [
        (body, r#"{"id":"basil","op":"create"}"#),
        (
            "{}",
            r#"{"op":"create","collection":"readings*","id":"example","data":null,"prev_data":null}"#,
        ),
    ] {
        let fired: FireAnswer = ok(&admin, 0, "POST", path, body).await;
        let id = fired.execution_id.parse().expect("it is an id");
        let stored = admin.engine.reader.outbox_row(id).await.expect("reads").expect("it waits");
        assert_eq!(&*stored.row.event, event);
        let catalog = admin.engine.catalog.load();
        assert_eq!(catalog.principals[&stored.row.principal].name, "root");
        assert_eq!(stored.row.source.as_str(), "docs");
    }
    admin.stop().await;
}
