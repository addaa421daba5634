//! Routes one at a time, what two people change at once, and who may call all routes of an app.

use picloud_api::app::App;
use picloud_api::routes::{RouteAnswer, RouteDeleted, RouteItem};

use super::*;

const ROUTES: &str = "/apps/greenhouse/routes";
const LAST: &str = "/apps/greenhouse/routes/GET%20%2Flast";

/// The ETag of what is shown there.
async fn etag(admin: &Admin, path: &str) -> String {
    let request = axum::extract::Request::builder().uri(at(path)).body(Body::empty());
    let router = admin.router.clone().layer(MockConnectInfo(Peer { uid: 0 }));
    let answer = router.oneshot(request.expect("it is right")).await.expect("a router answers");
    answer.headers()["etag"].to_str().expect("it is a text").to_owned()
}

#[tokio::test]
async fn a_route_is_made_shown_changed_and_deleted_and_runs_as_who_did_it_last() {
    let admin = admin().await;
    let body = r#"{"method": "get", "path": "/last", "script": "record", "rate": "10/s"}"#;
    let made: RouteAnswer = ok(&admin, 0, "POST", ROUTES, body).await;
    let last = &made.route;
    assert_eq!((made.changed, last.method.as_str(), last.revision), (true, "GET", 2));
    assert_eq!((last.auth.as_str(), last.rate.as_str()), ("none", "10/s"));
    assert_eq!((last.runs_as.as_deref(), last.retry.as_ref()), (Some("root"), None));
    let shown: RouteItem = ok(&admin, 1000, "GET", LAST, "").await;
    assert_eq!(shown, *last);
    assert_eq!(problem(&admin, 0, "POST", ROUTES, body).await.code, "already_there");

    somebody(&admin, 2000, vec![Capability::AppManageRoutes]).await;
    let _paused: PauseAnswer = ok(&admin, 0, "POST", &format!("{LAST}/pause"), "").await;
    let body = r#"{"script": "warn", "dispatch_mode": "async", "auth": "token"}"#;
    let changed: RouteAnswer = ok(&admin, 2000, "PUT", LAST, body).await;
    let last = &changed.route;
    assert_eq!((last.script.as_str(), last.dispatch_mode.as_str()), ("warn", "async"));
    assert_eq!((last.auth.as_str(), last.rate.as_str()), ("token", "none"));
    assert_eq!(last.retry.as_ref().and_then(|retry| retry.max_attempts), Some(5));
    assert_eq!(last.runs_as.as_deref(), Some("user 2000"));
    assert_eq!(last.paused.as_ref().expect("it stays so").target, "greenhouse/GET /last");
    let again: RouteAnswer = ok(&admin, 0, "PUT", LAST, body).await;
    assert!(!again.changed && again.route == *last);

    let gone: RouteDeleted = ok(&admin, 2000, "DELETE", LAST, "").await;
    assert_eq!(gone.deleted, "greenhouse/GET /last");
    assert_eq!(problem(&admin, 0, "GET", LAST, "").await.status, 404);
    let instance: Instance = ok(&admin, 0, "GET", "/instance", "").await;
    assert_eq!(instance.pauses, []);
    admin.stop().await;
}

#[tokio::test]
async fn a_route_that_is_wrong_is_refused_and_nothing_is_made() {
    let admin = admin().await;
    let reports = "/apps/greenhouse/routes/POST%20%2Freports";
    for (method, path, body, status, detail) in [
        ("POST", ROUTES, r#"{"method": "GET", "path": "/x"}"#, 422, "missing field `script`"),
        (
            "POST",
            ROUTES,
            r#"{"method": "GET", "path": "/x", "script": "none"}"#,
            422,
            "there is no script \"none\"",
        ),
        (
            "POST",
            ROUTES,
            r#"{"method": "FETCH", "path": "/x", "script": "warn"}"#,
            422,
            "method \"FETCH\" is none of",
        ),
        (
            "POST",
            ROUTES,
            r#"{"method": "POST", "path": "/readings/{id}", "script": "warn"}"#,
            422,
            "matches the same requests as POST /readings/{sensor}",
        ),
        ("PUT", reports, r#"{"script": "warn", "mode": "sync"}"#, 422, "unknown key \"mode\""),
        ("PUT", reports, r#"{"script": "warn", "path": "/y"}"#, 422, "method and path stay"),
        ("PUT", LAST, r#"{"script": "warn"}"#, 404, "has no route \"GET /last\""),
        ("PUT", "/apps/greenhouse/routes/reports", "{}", 400, "\"reports\" is no route"),
        ("DELETE", reports, r#"{"now": true}"#, 400, "unknown key \"now\""),
    ] {
        let problem = problem(&admin, 0, method, path, body).await;
        let said = format!("{} {:?}", problem.detail, problem.errors).replace("\\\"", "\"");
        assert!(problem.status == status && said.contains(detail), "{path} {body}\n{problem:?}");
    }
    let page: Page<RouteItem> = ok(&admin, 0, "GET", ROUTES, "").await;
    assert_eq!((page.items.len(), page.items[0].revision), (2, 1));
    admin.stop().await;
}

#[tokio::test]
async fn of_two_who_change_a_route_or_a_trigger_at_once_the_second_is_told() {
    let admin = admin().await;
    let (route, trigger) =
        ("/apps/greenhouse/routes/POST%20%2Freports", "/apps/greenhouse/triggers/warn-when-dry");
    let new = r#"{"method": "GET", "path": "/last", "script": "record"}"#;
    let entry = r#"{"name": "warn-when-dry", "script": "warn", "collection_glob": "r*"}"#;
    let schedule = r#"{"name": "daily", "script": "warn", "cron": "@daily"}"#;
    let mut revision = 1;
    for (method, path, body) in [
        ("POST", ROUTES.to_owned(), new),
        ("PUT", route.to_owned(), r#"{"script": "warn"}"#),
        ("DELETE", route.to_owned(), ""),
        ("POST", "/apps/greenhouse/triggers/schedule".to_owned(), schedule),
        ("PUT", trigger.to_owned(), entry),
        ("POST", format!("{trigger}/disable"), ""),
        ("POST", format!("{trigger}/enable"), ""),
        ("DELETE", trigger.to_owned(), ""),
    ] {
        let shown = if method == "POST" { "/apps/greenhouse" } else { path.as_str() };
        assert_eq!(etag(&admin, shown).await, format!("\"{revision}\""));
        assert_eq!(if_match(&admin, method, &path, revision - 1, body).await, 412, "{path}");
        assert_eq!(if_match(&admin, method, &path, revision, body).await, 200, "{path}");
        revision += 1;
    }
    let app: App = ok(&admin, 0, "GET", "/apps/greenhouse", "").await;
    assert_eq!((app.revision, app.routes, app.triggers), (revision, 2, 2));
    admin.stop().await;
}

#[tokio::test]
async fn p8_who_may_call_all_routes_of_an_app_is_changed_by_who_may_manage_its_routes() {
    let admin = admin().await;
    let app = "/apps/greenhouse";
    somebody(&admin, 2000, vec![Capability::AppWrite]).await;
    for body in [r#"{"auth": "token"}"#, r#"{"rate": null}"#] {
        let refused = problem(&admin, 2000, "PATCH", app, body).await;
        assert_eq!(refused.detail, "user 2000 lacks AppManageRoutes for app \"greenhouse\"");
    }
    let changed: App = ok(&admin, 0, "PATCH", app, r#"{"auth": "token", "rate": "10/s"}"#).await;
    assert_eq!((changed.auth.as_str(), changed.rate.as_str()), ("token", "10/s"));
    let page: Page<RouteItem> = ok(&admin, 0, "GET", ROUTES, "").await;
    assert!(page.items.iter().all(|one| (&*one.auth, &*one.rate) == ("token", "10/s")));
    let body = r#"{"auth": "hmac", "hmac": {"secret": "GITHUB"}}"#;
    let changed: App = ok(&admin, 0, "PATCH", app, body).await;
    assert_eq!(changed.auth, "hmac with GITHUB in x-hub-signature-256");
    let changed: App = ok(&admin, 0, "PATCH", app, r#"{"auth": null}"#).await;
    assert_eq!((changed.auth.as_str(), changed.rate.as_str()), ("none", "10/s"));
    for (body, detail) in [
        (r#"{"auth": "basic"}"#, "auth \"basic\" is none of none, token, hmac"),
        (r#"{"hmac": {"secret": "A"}}"#, "hmac is for auth = \"hmac\""),
        (r#"{"rate": "fast"}"#, "rate \"fast\" is neither"),
    ] {
        let refused = problem(&admin, 0, "PATCH", app, body).await;
        assert!(refused.status == 422 && refused.detail.starts_with(detail), "{refused:?}");
    }
    admin.stop().await;
}
