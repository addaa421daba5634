//! The outbox, dead letters and executions through the API. The instance is paused, so that rows stay where they are.

use picloud_api::executions::{Chain, OutboxDetail};
use picloud_api::letters::{BulkAnswer, Done, LetterDetail, LetterGroups, Preview};
use picloud_api::list::{DeadLetterItem, ExecutionItem, OutboxItem};
use serde_json::{Value, json};

use super::*;
use crate::flow::Command;
use crate::flow::accept::Accept;
use crate::flow::manage::cancel::Cancel;
use crate::flow::manage::{Manage, Record, Wish};
use crate::ids::{AppId, Id};
use crate::outbox::row::OutboxRow;
use crate::outbox::source::OutboxSourceKind;

async fn paused() -> Admin {
    let admin = admin().await;
    let _paused: PauseAnswer = ok(&admin, 0, "POST", "/pause", "{}").await;
    admin
}

fn app_id(admin: &Admin) -> AppId {
    admin.engine.catalog.load().app("greenhouse").expect("it is deployed").id
}

/// A row of the app that waits, changed as the test wants it.
async fn waits(admin: &Admin, change: impl FnOnce(OutboxRow) -> OutboxRow) -> Id {
    let app = app_id(admin);
    let script = admin.engine.catalog.load().script(app, "record").expect("it is there").id;
    let id = admin.engine.ids.next(Timestamp(7));
    let row = OutboxRow {
        id,
        app,
        queue: script.queue(),
        script: "record".into(),
        root: id,
        event: r#"{"payload":{"moisture":17}}"#.into(),
        ..crate::outbox::row::tests::row()
    };
    let row = std::sync::Arc::new(change(row));
    let accepted = admin.engine.writer.commit(Command::Accept(Accept { row, lease: None })).await;
    accepted.expect("there is room");
    id
}

/// A dead letter: a row that was cancelled.
async fn letter(admin: &Admin, change: impl FnOnce(OutboxRow) -> OutboxRow, why: &str) -> String {
    let row = waits(admin, change).await;
    let body = json!({"reason": why}).to_string();
    let done: Done = ok(admin, 0, "POST", &format!("/outbox/{row}/cancel"), &body).await;
    done.letter_id.expect("it became a letter")
}

async fn ids<T: DeserializeOwned>(admin: &Admin, path: &str, id: fn(&T) -> &str) -> Vec<String> {
    let page: Page<T> = ok(admin, 0, "GET", path, "").await;
    page.items.iter().map(|item| id(item).to_owned()).collect()
}

#[tokio::test]
async fn p4_a_row_that_is_cancelled_is_found_among_the_dead_letters_with_all_it_had() {
    let admin = paused().await;
    let row = waits(&admin, |row| row).await;
    let shown: OutboxDetail = ok(&admin, 1000, "GET", &format!("/outbox/{row}"), "").await;
    assert_eq!((shown.row.state.as_str(), shown.current_version), ("paused", Some(1)));
    assert_eq!(shown.event.get(), r#"{"payload":{"moisture":17}}"#);
    let path = format!("/outbox/{row}/cancel");
    let refused = problem(&admin, 0, "POST", &path, r#"{"reason": " "}"#).await;
    assert_eq!((refused.status, refused.detail.as_str()), (400, "a reason is missing"));
    let done: Done = ok(&admin, 0, "POST", &path, r#"{"reason": "wrong sensor"}"#).await;
    let gone = problem(&admin, 0, "POST", &path, r#"{"reason": "again"}"#).await;
    assert_eq!(gone.status, 404, "{gone:?}");

    let letter = done.letter_id.expect("it became a letter");
    let shown: LetterDetail = ok(&admin, 1000, "GET", &format!("/dead-letters/{letter}"), "").await;
    assert_eq!(shown.letter.error.message, "cancelled: wrong sensor");
    assert_eq!((shown.row_id, shown.current_version), (row.to_string(), Some(1)));
    assert_eq!(shown.event.get(), r#"{"payload":{"moisture":17}}"#);
    admin.stop().await;
}

#[tokio::test]
async fn p3_a_letter_is_replayed_once_and_taken_back_until_its_row_begins() {
    let admin = paused().await;
    let letter = letter(&admin, |row| row, "no").await;
    let path = format!("/dead-letters/{letter}");
    let replay = format!("{path}/replay");
    let held: Done = ok(&admin, 0, "POST", &replay, r#"{"hold_ms": 10000}"#).await;
    assert_eq!(held.held_until, Some(10_007));
    let shown: LetterDetail = ok(&admin, 0, "GET", &path, "").await;
    assert_eq!((&shown.replayed_by, shown.held_until), (&held.row_id, Some(10_007)));
    let refused = problem(&admin, 0, "POST", &replay, "{}").await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "conflict"));
    assert!(refused.detail.contains("was replayed already"), "{refused:?}");
    let reopen = problem(&admin, 0, "POST", &format!("{path}/reopen"), "").await;
    assert_eq!(reopen.status, 409);

    let back = format!("{path}/take-back");
    let _back: Done = ok(&admin, 0, "POST", &back, "").await;
    assert!(ids(&admin, "/outbox", |row: &OutboxItem| &row.id).await.is_empty());
    let again = problem(&admin, 0, "POST", &back, "").await;
    assert_eq!((again.status, again.detail), (409, format!("dead letter {letter} is open")));

    let edited = r#"{"payload": {"moisture": 18}, "again": false}"#;
    let done: Done = ok(&admin, 0, "POST", &replay, edited).await;
    let row = done.row_id.expect("a row replays it");
    let shown: OutboxDetail = ok(&admin, 0, "GET", &format!("/outbox/{row}"), "").await;
    assert_eq!(shown.event.get(), r#"{"payload":{"moisture": 18}}"#);
    assert_eq!(shown.letter_id.as_deref(), Some(letter.as_str()));
    let _again: Done = ok(&admin, 0, "POST", &replay, r#"{"again": true}"#).await;
    assert_eq!(ids(&admin, "/outbox", |row: &OutboxItem| &row.id).await.len(), 2);
    admin.stop().await;
}

#[tokio::test]
async fn a_letter_is_discarded_with_a_reason_and_reopened() {
    let admin = paused().await;
    let letter = letter(&admin, |row| row, "no").await;
    let path = format!("/dead-letters/{letter}");
    let refused = problem(&admin, 0, "POST", &format!("{path}/discard"), "{}").await;
    assert_eq!(refused.status, 400);
    let body = r#"{"reason": "sensor is gone"}"#;
    let _done: Done = ok(&admin, 0, "POST", &format!("{path}/discard"), body).await;
    let shown: LetterDetail = ok(&admin, 0, "GET", &path, "").await;
    assert_eq!(shown.letter.resolution.as_deref(), Some("discarded"));
    assert_eq!((shown.reason.as_deref(), shown.resolved_at), (Some("sensor is gone"), Some(7)));
    let refused = problem(&admin, 0, "POST", &format!("{path}/replay"), "{}").await;
    assert_eq!((refused.status, refused.hint.as_deref()), (409, Some("reopen it first")));
    assert!(ids(&admin, "/dead-letters", |one: &DeadLetterItem| &one.id).await.is_empty());
    let found = ids(&admin, "/dead-letters?filter=is:discarded", |one: &DeadLetterItem| &one.id);
    assert_eq!(found.await, [letter.as_str()]);
    let _done: Done = ok(&admin, 0, "POST", &format!("{path}/reopen"), "").await;
    assert_eq!(ids(&admin, "/dead-letters", |one: &DeadLetterItem| &one.id).await, [letter]);
    admin.stop().await;
}

#[tokio::test]
async fn a_payload_that_cannot_be_an_event_is_refused() {
    let admin = paused().await;
    let kv =
        |row| OutboxRow { source: OutboxSourceKind::Kv, event: r#"{"op":"set"}"#.into(), ..row };
    let letter = letter(&admin, kv, "no").await;
    let path = format!("/dead-letters/{letter}/replay");
    for (body, detail) in [
        (r#"{"payload": [1]}"#, "the payload cannot be used: it is the whole event"),
        (r#"{"payload": {"a": 1e400}}"#, "1e400"),
        (r#"{"hold_ms": 600001}"#, "hold_ms is 600001; 0 to 600000 are allowed"),
        (r#"{"hold": 1}"#, "unknown key \"hold\"; known are payload, hold_ms, again"),
    ] {
        let refused = problem(&admin, 0, "POST", &path, body).await;
        let fits = refused.status == 400 && (refused.detail.contains(detail) || detail == "1e400");
        assert!(fits, "{body}: {refused:?}");
    }
    let missing = problem(&admin, 0, "POST", "/dead-letters/nonsense/replay", "{}").await;
    assert_eq!(missing.status, 404);
    admin.stop().await;
}

#[tokio::test]
async fn what_a_caller_signed_in_with_is_not_shown_but_replayed() {
    let admin = paused().await;
    let event = r#"{"method":"POST","headers":{"authorization":"Bearer x"},"body":1}"#;
    let http = |row| OutboxRow { source: OutboxSourceKind::Http, event: event.into(), ..row };
    let letter = letter(&admin, http, "no").await;
    let path = format!("/dead-letters/{letter}");
    let (_, shown) = call(&admin, 0, "GET", &path, "").await;
    let shown: Value = serde_json::from_slice(&shown).expect("it is JSON");
    assert_eq!(shown["event"]["headers"]["authorization"], "(hidden)");
    let mut edited = shown["event"].clone();
    edited["body"] = json!(2);
    let body = json!({"payload": edited}).to_string();
    let done: Done = ok(&admin, 0, "POST", &format!("{path}/replay"), &body).await;
    let row = done.row_id.expect("a row replays it").parse().expect("it is an id");
    let stored = admin.engine.reader.outbox_row(row).await.expect("reads").expect("it is there");
    let event: Value = serde_json::from_str(&stored.row.event).expect("it is JSON");
    assert_eq!(
        (&event["headers"]["authorization"], &event["body"]),
        (&"Bearer x".into(), &2.into())
    );
    admin.stop().await;
}

#[tokio::test]
async fn lists_show_what_their_filter_lets_through() {
    let admin = paused().await;
    let later = waits(&admin, |row| OutboxRow { attempt: 3, ..row }).await;
    let other = waits(&admin, |row| OutboxRow { script: "warn".into(), ..row }).await;
    for (filter, expected) in [
        ("", vec![other, later]),
        ("state:paused", vec![other, later]),
        ("try:%3E=3", vec![later]),
        ("-script:warn", vec![later]),
        ("app:greenhouse+warn", vec![other]),
        ("app:garden", vec![]),
        ("state:running", vec![]),
        ("age:%3E1h", vec![]),
    ] {
        let path = format!("/outbox?filter={filter}");
        let found = ids(&admin, &path, |row: &OutboxItem| &row.id).await;
        let expected: Vec<String> = expected.iter().map(Id::to_string).collect();
        assert_eq!(found, expected, "{filter}");
    }
    let found =
        ids(&admin, "/outbox?filter=warn&app=greenhouse&limit=1", |row: &OutboxItem| &row.id);
    assert_eq!(found.await, [other.to_string()]);
    for (path, detail) in [
        ("/outbox?filter=scirpt:x", "did you mean \"script\"?"),
        ("/executions?filter=is:open", "unknown key \"is\""),
        ("/abandoned?filter=reason:x", "none of caller_gone"),
        ("/dead-letters?filter=%22x", "is not closed"),
        ("/dead-letters/preview?filter=is:replayed", "only open dead letters"),
        ("/apps?filter=x", "unknown key \"filter\""),
    ] {
        let refused = problem(&admin, 0, "GET", path, "").await;
        assert!(refused.status == 400 && refused.detail.contains(detail), "{path}: {refused:?}");
    }
    admin.stop().await;
}

#[tokio::test]
async fn letters_are_grouped_by_error_with_numbers_aside() {
    let admin = paused().await;
    for why in ["sensor 1 is silent", "sensor 22 is silent", "no power"] {
        letter(&admin, |row| row, why).await;
    }
    let found: LetterGroups = ok(&admin, 1000, "GET", "/dead-letters/groups", "").await;
    let groups: Vec<(&str, usize)> =
        found.groups.iter().map(|group| (group.error.as_str(), group.count)).collect();
    assert_eq!(groups, [("cancelled: sensor # is silent", 2), ("cancelled: no power", 1)]);
    assert!(found.complete && found.groups[0].current_version == Some(1));
    let path = "/dead-letters/groups?filter=power&app=greenhouse";
    let found: LetterGroups = ok(&admin, 0, "GET", path, "").await;
    assert_eq!(found.groups.len(), 1);
    admin.stop().await;
}

#[tokio::test]
async fn a_bulk_call_does_what_its_preview_saw_and_can_be_taken_back() {
    let admin = paused().await;
    let mut letters = Vec::new();
    for why in ["sensor 1", "sensor 2", "power", "sensor 3"] {
        letters.push(letter(&admin, |row| row, why).await);
    }
    let seen: Preview = ok(&admin, 1000, "GET", "/dead-letters/preview?filter=sensor", "").await;
    assert_eq!((seen.count, seen.examples.len(), seen.apps.len()), (3, 3, 1));
    assert_eq!((seen.apps[0].app.as_str(), seen.apps[0].count), ("greenhouse", 3));
    assert_eq!(seen.up_to.as_ref(), Some(&letters[3]));

    // What came later is not hit.
    letter(&admin, |row| row, "sensor 4").await;
    let body = |expect: usize| {
        json!({"filter": "sensor", "up_to": seen.up_to, "expect": expect, "as_of": seen.as_of, "hold_ms": 5000})
            .to_string()
    };
    let refused = problem(&admin, 0, "POST", "/dead-letters/replay", &body(4)).await;
    assert_eq!((refused.status, refused.detail.as_str()), (409, "3 dead letters match, not 4"));
    let done: BulkAnswer = ok(&admin, 0, "POST", "/dead-letters/replay", &body(3)).await;
    assert_eq!((done.done.len(), done.skipped, done.failed), (3, 0, 0));
    assert_eq!(ids(&admin, "/outbox", |row: &OutboxItem| &row.id).await.len(), 3);

    let body = json!({"ids": [letters[0], letters[2], letters[3]]}).to_string();
    let back: BulkAnswer = ok(&admin, 0, "POST", "/dead-letters/take-back", &body).await;
    assert_eq!((back.done.len(), back.skipped), (2, 1), "one was open all the time");
    let body = json!({"filter": "", "up_to": letters[3], "expect": 3, "as_of": 7, "reason": "old"});
    let path = "/dead-letters/discard";
    let done: BulkAnswer = ok(&admin, 0, "POST", path, &body.to_string()).await;
    assert_eq!(done.done.len(), 3);
    assert_eq!(ids(&admin, "/dead-letters", |one: &DeadLetterItem| &one.id).await.len(), 1);
    admin.stop().await;
}

#[tokio::test]
async fn p7_a_bulk_call_of_more_than_a_batch_is_done_whole() {
    const LETTERS: usize = 600;
    let admin = paused().await;
    let edge = crate::admin::engine::Engine::of(&admin.engine);
    let mut cancels = Vec::new();
    for _ in 0..LETTERS {
        let wish =
            Wish::Cancel(Cancel { row: waits(&admin, |row| row).await, reason: "no".to_owned() });
        let (by, fresh) = (PrincipalId(1), edge.fresh());
        cancels.push(Manage { by, record: Record::WithMany, fresh, wish });
    }
    assert!(edge.manage_all(cancels).await.iter().all(Result::is_ok));
    let seen: Preview = ok(&admin, 0, "GET", "/dead-letters/preview", "").await;
    assert_eq!((seen.count, seen.examples.len()), (LETTERS, 3));
    let body = json!({"filter": "", "up_to": seen.up_to, "expect": LETTERS, "as_of": seen.as_of});
    let done: BulkAnswer = ok(&admin, 0, "POST", "/dead-letters/replay", &body.to_string()).await;
    assert_eq!((done.done.len(), done.skipped, done.failed), (LETTERS, 0, 0));
    let page: Page<OutboxItem> =
        ok(&admin, 0, "GET", "/outbox?limit=1000&filter=app:greenhouse", "").await;
    assert_eq!((page.items.len(), page.next), (LETTERS, None));
    let page: Page<OutboxItem> = ok(&admin, 0, "GET", "/outbox?filter=nothing&limit=10", "").await;
    assert_eq!((page.items.len(), page.next), (0, None));
    admin.stop().await;
}

#[tokio::test]
async fn a_row_that_is_to_run_later_is_made_due() {
    let admin = paused().await;
    let row = waits(&admin, |row| OutboxRow { available_at: Timestamp(90_000), ..row }).await;
    let _done: Done = ok(&admin, 0, "POST", &format!("/outbox/{row}/run-now"), "").await;
    let shown: OutboxDetail = ok(&admin, 0, "GET", &format!("/outbox/{row}"), "").await;
    assert_eq!(shown.row.available_at, Some(7));
    admin.stop().await;
}

#[tokio::test]
async fn a_chain_has_every_place_where_its_rows_are() {
    let admin = paused().await;
    let root = waits(&admin, |row| row).await;
    let child = |row: OutboxRow| OutboxRow { root, cause: Some(root), depth: 1, ..row };
    let waiting = waits(&admin, child).await;
    let letter = letter(&admin, child, "no").await;
    let stranger = waits(&admin, |row| row).await;
    for from in [root.to_string(), waiting.to_string(), letter.clone()] {
        let chain: Chain = ok(&admin, 1000, "GET", &format!("/executions/{from}/chain"), "").await;
        assert_eq!((chain.root_id, chain.complete), (root.to_string(), true));
        let links: Vec<(&str, &str)> =
            chain.links.iter().map(|link| (link.is.as_str(), link.state.as_str())).collect();
        assert_eq!(links, [("outbox", "paused"), ("outbox", "paused"), ("dead_letter", "open")]);
        assert_eq!(chain.links[2].letter_id.as_ref(), Some(&letter));
        assert!(chain.links.iter().all(|link| link.id != stranger.to_string()));
    }
    let runs: Page<ExecutionItem> =
        ok(&admin, 0, "GET", "/executions?filter=script:record", "").await;
    assert!(runs.items.is_empty());
    admin.stop().await;
}

#[tokio::test]
async fn p8_who_may_resolve_in_one_app_may_not_in_another_and_does_not_learn_what_is_there() {
    let admin = paused().await;
    let letter = letter(&admin, |row| row, "no").await;
    let app = app_id(&admin);
    for (uid, name, grants) in [
        (1001, "gardener", vec![(Capability::DeadLettersResolve, app)]),
        (1002, "stranger", vec![(Capability::DeadLettersResolve, AppId(999))]),
        (
            1003,
            "onlooker",
            vec![(Capability::DeadLettersResolve, AppId(999)), (Capability::AppRead, app)],
        ),
    ] {
        let made = admin.engine.writer.configure(move |_, next, _now| {
            let grants = grants.into_iter();
            let grants = grants.map(|(capability, app)| Grant { capability, app: Some(app) });
            let principal = Principal {
                id: PrincipalId(next),
                name: name.to_owned(),
                uid: Some(uid),
                grants: grants.collect(),
            };
            Ok::<_, Unfit>((vec![CatalogChange::PutPrincipal(principal)], next + 1))
        });
        made.await.expect("principals can be made");
    }
    let path = format!("/dead-letters/{letter}/discard");
    let body = r#"{"reason": "x"}"#;
    let hidden = problem(&admin, 1002, "POST", &path, body).await;
    assert_eq!((hidden.status, hidden.detail), (404, format!("there is no dead letter {letter}")));
    let refused = problem(&admin, 1003, "POST", &path, body).await;
    let expected = "onlooker lacks DeadLettersResolve for app \"greenhouse\"";
    assert_eq!((refused.status, refused.detail.as_str()), (403, expected));
    let all = json!({"filter": "", "up_to": letter, "expect": 1, "as_of": 7, "reason": "x"});
    for uid in [1001, 1002, 1003] {
        let refused = problem(&admin, uid, "POST", "/dead-letters/discard", &all.to_string()).await;
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    let _done: Done = ok(&admin, 1001, "POST", &path, body).await;
    admin.stop().await;
}
