//! KV entries, documents, apps and routes: edited as a script would, by two, and with names as they are.

use picloud_api::app::{App, AppDeleted, RouteItem};
use picloud_api::data::{CollectionItem, Edited, EntryItem};
use picloud_api::list::Page;
use serde_json::json;

use super::*;

const DRY: &str = "/apps/greenhouse/kv/limits/dry";

async fn put(admin: &Admin, path: &str, value: &str) -> Edited {
    ok(admin, 0, "PUT", path, &format!(r#"{{"value": {value}}}"#)).await
}

/// What is on record of who did what, the newest last.
async fn audit(admin: Admin) -> Vec<(String, String)> {
    let path = admin.folder.path().join("picloud.db");
    let Admin { engine, folder, .. } = admin;
    engine.stop(Duration::ZERO).await.expect("it stops in order");
    let found = crate::store::tests::audit_of(&path).await;
    drop(folder);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_sets_off_triggers_and_says_so_before_and_after() {
    let admin = admin().await;
    let path = "/apps/greenhouse/docs/readings-1/a";
    let body = r#"{"value": {"t": 4}, "dry_run": true}"#;
    let before: Edited = ok(&admin, 0, "PUT", path, body).await;
    assert_eq!((before.dry_run, before.version), (true, None));
    assert_eq!(before.triggers[0].trigger, "warn-when-dry");
    assert_eq!(problem(&admin, 0, "GET", path, "").await.status, 404);
    let after = put(&admin, path, r#"{"t": 4}"#).await;
    assert_eq!(after.triggers, before.triggers);
    assert_eq!(after.write.expect("it was written").op, "create");
    let entry: EntryItem = ok(&admin, 0, "GET", path, "").await;
    assert_eq!((entry.value.get(), Some(entry.version)), ("{\"t\":4}", after.version));
    assert_eq!(entry.written_by.principal.as_deref(), Some("root"));
    assert_eq!((entry.written_by.root_id, after.root_id.is_some()), (after.root_id.clone(), true));
    let ran = async {
        loop {
            if let [(_, execution)] = &admin.engine.dispatcher.history.newest(None, None, 1)[..] {
                return execution.script.to_string();
            }
            tokio::task::yield_now().await;
        }
    };
    let ran = tokio::time::timeout(Duration::from_secs(20), ran).await;
    assert_eq!(ran.expect("the trigger's script runs"), "warn");
    assert_eq!(
        audit(admin).await.last().map(|(action, object)| (action.as_str(), object.as_str())),
        Some(("put_entry", "greenhouse/docs/readings-1/a"))
    );
}

#[tokio::test]
async fn of_two_who_saw_the_same_entry_one_is_told() {
    let admin = admin().await;
    let version = put(&admin, DRY, "20").await.version.expect("it was written");
    let body = r#"{"value": 21}"#;
    assert_eq!(if_match(&admin, "PUT", DRY, version, body).await, 200);
    assert_eq!(if_match(&admin, "PUT", DRY, version, r#"{"value": 22}"#).await, 412);
    assert_eq!(if_match(&admin, "DELETE", DRY, version, "").await, 412);
    let entry: EntryItem = ok(&admin, 0, "GET", DRY, "").await;
    assert_eq!(entry.value.get(), "21");
    assert_eq!(if_match(&admin, "PUT", "/apps/greenhouse/kv/limits/new", 0, body).await, 200);
    assert_eq!(if_match(&admin, "PUT", "/apps/greenhouse/kv/limits/new", 0, body).await, 412);
    let version = entry.version;
    let at_once = |value: i64| {
        let body = format!(r#"{{"value": {value}}}"#);
        let admin = &admin;
        async move { if_match(admin, "PUT", DRY, version, &body).await }
    };
    let (one, other) = tokio::join!(at_once(30), at_once(31));
    assert_eq!((one.min(other), one.max(other)), (200, 412));
    let gone: Edited = ok(&admin, 0, "DELETE", &format!("{DRY}?dry_run=true"), "").await;
    assert!(gone.dry_run && gone.write.is_some());
    let gone: Edited = ok(&admin, 0, "DELETE", DRY, "").await;
    assert_eq!(gone.write.expect("it was there").op, "delete");
    let again: Edited = ok(&admin, 0, "DELETE", DRY, "").await;
    assert!(again.write.is_none() && again.root_id.is_none());
    admin.stop().await;
}

#[tokio::test]
async fn names_are_taken_to_the_byte_or_refused() {
    let admin = admin().await;
    for (sent, key) in [
        ("a%2Fb", "a/b"),
        ("..%2F..%2Fx", "../../x"),
        ("%2e%2e", ".."),
        ("100%25", "100%"),
        ("e%CC%81", "e\u{301}"),
        ("%C3%A9", "\u{e9}"),
        ("a+b%20c", "a+b c"),
    ] {
        put(&admin, &format!("/apps/greenhouse/kv/c%2Fd/{sent}"), "1").await;
        let path = format!("/apps/greenhouse/kv/c%2Fd/{sent}");
        let entry: EntryItem = ok(&admin, 0, "GET", &path, "").await;
        assert_eq!((entry.collection.as_str(), entry.key.as_str()), ("c/d", key));
    }
    let page: Page<EntryItem> = ok(&admin, 0, "GET", "/apps/greenhouse/kv/c%2Fd", "").await;
    assert_eq!(page.items.len(), 7);
    let long = "x".repeat(513);
    for (sent, status, detail) in [
        ("a%00b", 422, "control character \\u{0}"),
        ("a%1b", 422, "control character \\u{1b}"),
        ("%FF", 400, "the path cannot be read"),
        (long.as_str(), 422, "513 bytes, at most 512"),
    ] {
        let path = format!("/apps/greenhouse/kv/limits/{sent}");
        for (method, body) in [("GET", ""), ("PUT", r#"{"value": 1}"#), ("DELETE", "")] {
            let refused = problem(&admin, 0, method, &path, body).await;
            assert!(
                refused.status == status && refused.detail.contains(detail),
                "{method} {sent}\n{refused:?}"
            );
        }
    }
    admin.stop().await;
}

#[tokio::test]
async fn collections_and_entries_are_listed_page_by_page() {
    let admin = admin().await;
    for place in ["a/1", "a/2", "a/x3", "b/1", "c/1"] {
        put(&admin, &format!("/apps/greenhouse/kv/{place}"), "1").await;
    }
    let mut names = Vec::new();
    let mut path = "/apps/greenhouse/kv?limit=2".to_owned();
    loop {
        let page: Page<CollectionItem> = ok(&admin, 0, "GET", &path, "").await;
        names.extend(page.items.into_iter().map(|one| one.collection));
        let Some(next) = page.next else { break };
        path = format!("/apps/greenhouse/kv?limit=2&after={next}");
    }
    assert_eq!(names, ["a", "b", "c"]);
    let page: Page<EntryItem> = ok(&admin, 0, "GET", "/apps/greenhouse/kv/a?limit=2", "").await;
    assert_eq!((page.items.len(), page.next.as_deref()), (2, Some("2")));
    let page: Page<EntryItem> =
        ok(&admin, 0, "GET", "/apps/greenhouse/kv/a?limit=2&after=2", "").await;
    assert_eq!((page.items[0].key.as_str(), page.next), ("x3", None));
    let page: Page<EntryItem> = ok(&admin, 0, "GET", "/apps/greenhouse/kv/a?prefix=x", "").await;
    assert_eq!(page.items.len(), 1);
    let page: Page<CollectionItem> = ok(&admin, 0, "GET", "/apps/greenhouse/docs", "").await;
    assert!(page.items.is_empty());
    admin.stop().await;
}

#[tokio::test]
async fn p7_a_page_of_large_values_ends_early_and_goes_on_at_its_cursor() {
    let admin = admin().await;
    let value = json!("x".repeat(150_000)).to_string();
    for key in 10..50 {
        put(&admin, &format!("/apps/greenhouse/kv/large/{key}"), &value).await;
    }
    let path = "/apps/greenhouse/kv/large?limit=1000";
    let page: Page<EntryItem> = ok(&admin, 0, "GET", path, "").await;
    assert_eq!(page.items.len(), 28);
    let next = page.next.expect("there are more");
    let page: Page<EntryItem> = ok(&admin, 0, "GET", &format!("{path}&after={next}"), "").await;
    assert_eq!((page.items.len(), page.next), (12, None));
    admin.stop().await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_a_document_gets_an_id() {
    let admin = admin().await;
    let doc = "/apps/greenhouse/docs/readings/a";
    for (path, body, status, detail) in [
        (DRY, r#"{"value": 1e999}"#, 422, "value, line 1"),
        (DRY, r#"{"value": 9223372036854775808}"#, 422, "beyond 64 bits"),
        (DRY, r#"{"value": 1, "ttl": "soon"}"#, 422, "ttl"),
        (DRY, r#"{"value": 1, "ttl": "0s"}"#, 422, "no time at all"),
        (DRY, r#"{"valeu": 1}"#, 400, "did you mean \"value\""),
        (doc, r#"{"value": 1}"#, 422, "a document is a map"),
        (doc, r#"{"value": {}, "ttl": "1s"}"#, 422, "documents do not expire"),
    ] {
        let refused = problem(&admin, 0, "PUT", path, body).await;
        assert!(refused.status == status && refused.detail.contains(detail), "{body}\n{refused:?}");
    }
    let created: Edited =
        ok(&admin, 0, "POST", "/apps/greenhouse/docs/notes", r#"{"value": {"a": 1}}"#).await;
    assert_eq!(created.write.expect("it was written").key.len(), 26);
    let kept: Edited = ok(&admin, 0, "PUT", DRY, r#"{"value": 1, "ttl": "10m"}"#).await;
    assert_eq!(kept.write.expect("it was written").expires_at, Some(600_007));
    admin.stop().await;
}

#[tokio::test]
async fn an_app_is_made_shown_changed_and_renamed_and_of_two_at_once_one_is_told() {
    let admin = admin().await;
    let body = r#"{"slug": "garden", "allow_hosts": ["api.example.org"]}"#;
    let made: App = ok(&admin, 0, "POST", "/apps", body).await;
    assert_eq!((made.slug.as_str(), made.revision, made.scripts), ("garden", 1, 0));
    let taken = problem(&admin, 0, "POST", "/apps", body).await;
    assert_eq!((taken.status, taken.detail.as_str()), (409, "there is an app \"garden\" already"));
    let wrong = problem(&admin, 0, "POST", "/apps", r#"{"slug": "_x"}"#).await;
    assert_eq!(wrong.status, 422);
    let open = r#"{"expose_errors": true, "host": "garden.lan"}"#;
    assert_eq!(if_match(&admin, "PATCH", "/apps/garden", 1, open).await, 200);
    let late = r#"{"host": null}"#;
    assert_eq!(if_match(&admin, "PATCH", "/apps/garden", 1, late).await, 412);
    let changed: App = ok(&admin, 0, "PATCH", "/apps/garden", late).await;
    assert_eq!((changed.host, changed.expose_errors, changed.revision), (None, true, 3));
    assert_eq!(changed.allow_hosts, ["api.example.org"]);
    let renamed: App = ok(&admin, 0, "PATCH", "/apps/garden", r#"{"slug": "patio"}"#).await;
    assert_eq!((renamed.id, renamed.slug.as_str()), (made.id, "patio"));
    let gone = problem(&admin, 0, "GET", "/apps/garden", "").await;
    assert_eq!(gone.status, 404);
    admin.stop().await;
}

#[tokio::test]
async fn of_two_deploys_that_saw_the_same_revision_one_is_told() {
    let admin = admin().await;
    let mut changed = bundle(GREENHOUSE);
    changed.manifest.triggers.pop();
    let first = serde_json::to_string(&changed).expect("a bundle is JSON");
    changed.manifest.routes.pop();
    let second = serde_json::to_string(&changed).expect("a bundle is JSON");
    let path = "/apps/greenhouse/manifest";
    let ((one, _), (other, _)) =
        tokio::join!(async { (if_match(&admin, "PUT", path, 1, &first).await, ()) }, async {
            (if_match(&admin, "PUT", path, 1, &second).await, ())
        },);
    let mut statuses = [one, other];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let new = json!({"manifest": {"app": {"slug": "new"}}, "sources": {}}).to_string();
    assert_eq!(if_match(&admin, "PUT", "/apps/new/manifest", 3, &new).await, 412);
    assert_eq!(if_match(&admin, "PUT", "/apps/new/manifest", 0, &new).await, 200);
    admin.stop().await;
}

#[tokio::test]
async fn a_route_shows_its_script_where_it_is_served_and_what_pauses_it() {
    let admin = admin().await;
    let host = r#"{"host": "greenhouse.lan"}"#;
    let _changed: App = ok(&admin, 0, "PATCH", "/apps/greenhouse", host).await;
    let _paused: PauseAnswer = ok(&admin, 0, "POST", "/apps/greenhouse/pause", "").await;
    let page: Page<RouteItem> =
        ok(&admin, 1000, "GET", "/apps/greenhouse/routes?limit=1", "").await;
    let route = &page.items[0];
    assert_eq!((route.method.as_str(), route.dispatch_mode.as_str()), ("POST", "sync"));
    assert_eq!(route.urls, ["/greenhouse/readings/{sensor}", "//greenhouse.lan/readings/{sensor}"]);
    assert_eq!(route.paused.as_ref().expect("its app is").target, "greenhouse");
    assert_eq!((route.auth.as_str(), route.rate.as_str()), ("none", "none"));
    let next = page.next.expect("there are more").replace(' ', "%20");
    let path = format!("/apps/greenhouse/routes?after={next}");
    let page: Page<RouteItem> = ok(&admin, 0, "GET", &path, "").await;
    assert_eq!((page.items.len(), page.items[0].dispatch_mode.as_str()), (1, "async"));
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_deleted_is_gone_with_its_data_and_its_slug_is_free() {
    let admin = admin().await;
    put(&admin, DRY, "1").await;
    let _paused: PauseAnswer =
        ok(&admin, 0, "POST", "/apps/greenhouse/triggers/keep/pause", "").await;
    assert_eq!(if_match(&admin, "DELETE", "/apps/greenhouse", 7, "").await, 412);
    let gone: AppDeleted = ok(&admin, 0, "DELETE", "/apps/greenhouse", "").await;
    assert_eq!((gone.scripts, gone.routes, gone.triggers), (2, 2, 2));
    for (method, path) in [("DELETE", "/apps/greenhouse"), ("GET", DRY)] {
        assert_eq!(problem(&admin, 0, method, path, "").await.status, 404);
    }
    let instance: Instance = ok(&admin, 0, "GET", "/instance", "").await;
    assert_eq!((instance.apps, instance.pauses.len()), (0, 0));
    let again: App = ok(&admin, 0, "POST", "/apps", r#"{"slug": "greenhouse"}"#).await;
    assert_ne!(again.id, gone.id);
    assert_eq!(problem(&admin, 0, "GET", DRY, "").await.status, 404);
    let found = audit(admin).await;
    let actions: Vec<&str> = found.iter().map(|(action, _)| action.as_str()).collect();
    assert!(actions.contains(&"delete_app"), "{actions:?}");
}
