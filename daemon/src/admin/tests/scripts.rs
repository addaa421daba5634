//! Scripts: edited by two, rolled back, tried without a trace, run as who asks.

use picloud_api::list::Page;
use picloud_api::script::{
    DryRunAnswer, InvokeAnswer, Script, ScriptChanged, ScriptItem, Version, VersionItem,
};
use serde_json::json;

use super::*;
use crate::flow::Command;
use crate::flow::accept::Accept;
use crate::outbox::row::OutboxRow;

const WARN: &str = "/apps/greenhouse/scripts/warn";

async fn put(admin: &Admin, name: &str, source: &str) -> ScriptChanged {
    let body = json!({ "source": source }).to_string();
    ok(admin, 0, "PUT", &format!("/apps/greenhouse/scripts/{name}"), &body).await
}

/// Makes somebody known who may do this in the greenhouse.
async fn let_in(admin: &Admin, uid: u32, capabilities: &'static [Capability]) {
    let app = admin.engine.catalog.load().app("greenhouse").expect("it is deployed").id;
    let made = admin.engine.writer.configure(move |_, next, _now| {
        let grant = |capability: &Capability| Grant { capability: *capability, app: Some(app) };
        let grants = capabilities.iter().map(grant).collect();
        let name = format!("uid {uid}");
        let known = Principal { id: PrincipalId(next), name, uid: Some(uid), grants };
        Ok::<_, Unfit>((vec![CatalogChange::PutPrincipal(known)], next + 1))
    });
    made.await.expect("principals can be made");
}

#[tokio::test]
async fn a_script_shows_its_source_its_limits_and_who_runs_it() {
    let admin = admin().await;
    let page: Page<ScriptItem> = ok(&admin, 1000, "GET", "/apps/greenhouse/scripts", "").await;
    let names: Vec<&str> = page.items.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["record", "warn"]);
    assert_eq!(page.items[0].routes, ["POST /readings/{sensor}", "POST /reports"]);
    let script: Script = ok(&admin, 1000, "GET", WARN, "").await;
    assert_eq!((script.version, script.source.as_str()), (1, "42"));
    assert_eq!(script.triggers, ["keep", "warn-when-dry"]);
    assert_eq!(script.limits["timeout_ms"], 10_000);
    let page: Page<ScriptItem> = ok(&admin, 0, "GET", "/apps/greenhouse/scripts?limit=1", "").await;
    assert_eq!(page.next.as_deref(), Some("record"));
    admin.stop().await;
}

#[tokio::test]
async fn of_two_who_edit_the_same_version_one_is_told() {
    let admin = admin().await;
    let body = json!({ "source": "43" }).to_string();
    assert_eq!(if_match(&admin, "PUT", WARN, 1, &body).await, 200);
    let other = json!({ "source": "44" }).to_string();
    assert_eq!(if_match(&admin, "PUT", WARN, 1, &other).await, 412);
    let script: Script = ok(&admin, 0, "GET", WARN, "").await;
    assert_eq!((script.version, script.source.as_str()), (2, "43"));
    let request = axum::extract::Request::builder().method("PUT").uri(at(WARN));
    let (status, _) = send(&admin, 0, request.header("if-match", "two"), &other).await;
    assert_eq!(status, 400);
    admin.stop().await;
}

#[tokio::test]
async fn a_version_can_be_looked_at_and_taken_back() {
    let admin = admin().await;
    put(&admin, "warn", "43").await;
    assert!(!put(&admin, "warn", "43").await.changed);
    let path = format!("{WARN}/versions");
    let page: Page<VersionItem> = ok(&admin, 0, "GET", &path, "").await;
    let found: Vec<(i64, bool)> = page.items.iter().map(|one| (one.version, one.current)).collect();
    assert_eq!(found, [(2, true), (1, false)]);
    let path = format!("{WARN}/roll-back");
    let back: ScriptChanged = ok(&admin, 0, "POST", &path, r#"{"version": 1}"#).await;
    assert_eq!((back.version_before, back.version), (2, 3));
    let third: Version = ok(&admin, 0, "GET", &format!("{WARN}/versions/3"), "").await;
    assert_eq!((third.source.as_str(), third.current), ("42", true));
    let gone = problem(&admin, 0, "POST", &path, r#"{"version": 9}"#).await;
    assert_eq!(
        (gone.status, gone.detail.as_str()),
        (404, "version 9 of script \"warn\" is not kept")
    );
    admin.stop().await;
}

#[tokio::test]
async fn what_does_not_compile_is_refused_with_its_place() {
    let admin = admin().await;
    let body = json!({ "source": "let x = ;" }).to_string();
    let refused = problem(&admin, 0, "PUT", WARN, &body).await;
    assert_eq!((refused.status, refused.code.as_str()), (422, "unfit"));
    assert_eq!(refused.errors[0].excerpt.as_deref(), Some("1 | let x = ;\n  |         ^"));
    let body = json!({ "source": "1", "limits": {"timeout": "1d"} }).to_string();
    let refused = problem(&admin, 0, "PUT", WARN, &body).await;
    assert!(refused.errors[0].message.contains("more than the 10s"), "{refused:?}");
    admin.stop().await;
}

#[tokio::test]
async fn a_script_in_use_is_not_deleted_and_says_who_uses_it() {
    let admin = admin().await;
    let refused = problem(&admin, 0, "DELETE", WARN, "").await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "in_use"));
    assert!(refused.detail.contains("trigger \"keep\""), "{refused:?}");
    put(&admin, "free", "1").await;
    let gone: ScriptChanged = ok(&admin, 0, "DELETE", "/apps/greenhouse/scripts/free", "").await;
    assert_eq!((gone.version_before, gone.version), (1, 0));
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_a_dry_run_shows_what_would_be_written_and_run_and_leaves_nothing() {
    let admin = admin().await;
    let source = r#"
        log::info("dry", #{at: event.at});
        kv::collection("limits").incr("dry", 2);
        docs::collection("readings-1").put("a", #{t: 4});
        outbox::enqueue("warn", 7);
        event.at + 1
    "#;
    put(&admin, "tried", source).await;
    let path = "/apps/greenhouse/scripts/tried/dry-run";
    let answer: DryRunAnswer = ok(&admin, 0, "POST", path, r#"{"event": {"at": 5}}"#).await;
    assert_eq!(answer.outcome, "succeeded", "{answer:?}");
    assert_eq!(answer.result.expect("it has one").get(), "6");
    let writes: Vec<(&str, &str, &str)> = answer
        .writes
        .iter()
        .map(|one| {
            (one.op.as_str(), one.key.as_str(), one.after.as_ref().expect("it is put").get())
        })
        .collect();
    assert_eq!(writes, [("set", "dry", "2"), ("create", "a", "{\"t\":4}")]);
    assert_eq!(answer.triggers.len(), 1);
    let fired = &answer.triggers[0];
    assert_eq!(
        (fired.trigger.as_str(), fired.collection.as_str(), fired.key.as_str()),
        ("warn-when-dry", "readings-1", "a")
    );
    assert_eq!(answer.tasks[0].event.as_ref().expect("it is small").get(), "{\"payload\":7}");
    assert_eq!(answer.log[0].message, "dry");
    assert!(answer.operations > 0 && answer.script_version == 1);
    let seen = admin.engine.seen.now();
    assert!(seen.usage.values().all(|usage| usage.rows == 0), "{seen:?}");
    assert!(admin.engine.dispatcher.history.newest(None, None, 10).is_empty());
    let again: DryRunAnswer = ok(&admin, 0, "POST", path, r#"{"event": {"at": 5}}"#).await;
    assert!(again.writes[0].before.is_none(), "the first one was not committed");
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_an_unsaved_source_names_the_place_of_its_error() {
    let admin = admin().await;
    let path = format!("{WARN}/dry-run");
    for (source, kind, line) in
        [("let x = ;", "does_not_compile", 1), ("let a = 1;\nthrow \"no\"", "threw", 2)]
    {
        let body = json!({ "source": source }).to_string();
        let answer: DryRunAnswer = ok(&admin, 0, "POST", &path, &body).await;
        let error = answer.error.expect("it fails");
        assert_eq!(answer.outcome, "failed");
        assert_eq!((error.kind.as_str(), error.line), (kind, Some(line)), "{source}");
        assert_eq!(answer.script_version, 0);
    }
    let body = json!({ "source": r#"outbox::enqueue("nobody", 1)"# }).to_string();
    let answer: DryRunAnswer = ok(&admin, 0, "POST", &path, &body).await;
    assert_eq!(answer.error.expect("it would fail").message, "app has no script \"nobody\"");
    let script: Script = ok(&admin, 0, "GET", WARN, "").await;
    assert_eq!((script.version, script.source.as_str()), (1, "42"));
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_takes_the_event_of_what_waits_but_of_no_other_app() {
    let admin = admin().await;
    put(&admin, "warn", "event.payload").await;
    let catalog = admin.engine.catalog.load_full();
    let app = catalog.app("greenhouse").expect("it is deployed");
    let row = OutboxRow {
        app: app.id,
        queue: app.scripts["warn"].id.queue(),
        event: r#"{"payload":"kept"}"#.into(),
        available_at: Timestamp(1_000),
        ..crate::outbox::row::tests::row()
    };
    let of_another =
        OutboxRow { id: crate::ids::Id(5 << 80), app: crate::ids::AppId(9_999), ..row.clone() };
    for row in [&row, &of_another] {
        let accept = Accept { row: Arc::new(row.clone()), lease: None };
        let done = admin.engine.writer.commit(Command::Accept(accept)).await;
        done.expect("it is accepted");
    }
    let path = format!("{WARN}/dry-run");
    let body = json!({ "from": row.id.to_string() }).to_string();
    let answer: DryRunAnswer = ok(&admin, 0, "POST", &path, &body).await;
    assert_eq!(answer.result.expect("it has one").get(), "\"kept\"");
    let body = json!({ "from": of_another.id.to_string() }).to_string();
    let refused = problem(&admin, 0, "POST", &path, &body).await;
    assert_eq!(refused.status, 404, "{refused:?}");
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoked_script_runs_as_its_caller_and_says_how_it_ended() {
    let admin = admin().await;
    let source = r#"kv::collection("c").set("k", event.payload); event.payload"#;
    put(&admin, "run", source).await;
    let path = "/apps/greenhouse/scripts/run/invoke";
    let answer: InvokeAnswer = ok(&admin, 0, "POST", path, r#"{"payload": [1]}"#).await;
    assert_eq!(
        (answer.outcome.as_str(), answer.result.expect("it has one").get()),
        ("answered", "[1]")
    );

    let_in(&admin, 1001, &[Capability::AppInvoke]).await;
    let answer: InvokeAnswer = ok(&admin, 1001, "POST", path, "").await;
    let error = answer.error.expect("it may not write");
    assert_eq!((answer.outcome.as_str(), error.code.as_str()), ("failed", "script_failed"));
    assert!(error.message.contains("AppData"), "{error:?}");
    assert_eq!(error.changed, "nothing_changed");

    put(&admin, "warn", "event.payload").await;
    let id = answer.execution_id.parse().expect("it is an id");
    let recorded = async {
        // An answer leaves a moment before its run is on record.
        while admin.engine.dispatcher.history.last_of(id).is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), recorded).await.expect("the run is on record");
    let from = json!({ "from": answer.execution_id }).to_string();
    let again: DryRunAnswer = ok(&admin, 0, "POST", &format!("{WARN}/dry-run"), &from).await;
    assert_eq!((again.outcome.as_str(), again.result.is_none()), ("succeeded", true));

    let (status, body) = call(&admin, 0, "POST", path, r#"{"mode": "async"}"#).await;
    let answer: InvokeAnswer = serde_json::from_slice(&body).expect("the answer is JSON");
    assert_eq!((status, answer.outcome.as_str(), answer.accepted_at), (202, "accepted", Some(7)));
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_dry_run_lets_nobody_read_or_try_what_they_may_not() {
    let admin = admin().await;
    let_in(&admin, 1001, &[Capability::AppInvoke]).await;
    let path = format!("{WARN}/dry-run");
    let source = json!({ "source": "1" }).to_string();
    let refused = problem(&admin, 1001, "POST", &path, &source).await;
    assert_eq!(refused.detail, "uid 1001 lacks AppManageScripts for app \"greenhouse\"");
    let from = json!({ "from": crate::ids::Id(1).to_string() }).to_string();
    let refused = problem(&admin, 1001, "POST", &path, &from).await;
    assert_eq!(refused.detail, "uid 1001 lacks AppRead for app \"greenhouse\"");
    put(&admin, "warn", r#"kv::collection("c").get("k")"#).await;
    let answer: DryRunAnswer = ok(&admin, 1001, "POST", &path, "").await;
    assert_eq!(answer.error.expect("it may not read").kind, "not_allowed");
    admin.stop().await;
}

#[tokio::test]
async fn a_run_that_is_asked_for_wrongly_is_refused() {
    let admin = admin().await;
    for (verb, body, status, detail) in [
        ("invoke", r#"{"event": 1, "payload": 2}"#, 400, "event and payload exclude each other"),
        ("invoke", r#"{"event": [1]}"#, 422, "event is not a map"),
        ("invoke", r#"{"payload": 1e999}"#, 422, "payload, line 1"),
        ("invoke", r#"{"mode": "later"}"#, 400, "mode \"later\" is neither sync nor async"),
        ("dry-run", r#"{"event": {}, "from": "x"}"#, 400, "event and from exclude each other"),
        ("dry-run", r#"{"from": "x"}"#, 400, "from \"x\" is no id"),
        ("dry-run", r#"{"events": {}}"#, 400, "unknown key \"events\"; did you mean \"event\"?"),
    ] {
        let refused = problem(&admin, 0, "POST", &format!("{WARN}/{verb}"), body).await;
        assert!(refused.status == status && refused.detail.contains(detail), "{body}\n{refused:?}");
    }
    let missing = problem(&admin, 0, "POST", "/apps/greenhouse/scripts/wrn/invoke", "").await;
    assert_eq!((missing.status, missing.hint.as_deref()), (404, Some("did you mean warn?")));
    admin.stop().await;
}
