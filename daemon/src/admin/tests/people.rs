//! Who calls: groups, principals, tokens; and what is written down of what they change.

use picloud_api::audit::AuditItem;
use picloud_api::principals::{PrincipalAnswer, PrincipalItem};
use picloud_api::tokens::{TokenAnswer, TokenItem, TokenMade};

use super::*;

/// A call on the listener that knows nobody by their uid.
async fn over_tcp(
    admin: &Admin,
    authorization: Option<&str>,
    method: &str,
    path: &str,
) -> (u16, Option<String>, Vec<u8>) {
    let mut request = axum::extract::Request::builder()
        .method(method)
        .uri(format!("{BASE}{path}"))
        .header("content-type", "application/json");
    if let Some(text) = authorization {
        request = request.header("authorization", text);
    }
    let request = request.body(Body::empty()).expect("the request is right");
    let response = admin.router.clone().oneshot(request).await.expect("a router always answers");
    let status = response.status().as_u16();
    let scheme = response.headers().get("www-authenticate");
    let scheme = scheme.map(|value| value.to_str().expect("it is text").to_owned());
    let body = response.into_body().collect().await.expect("the body is in memory").to_bytes();
    (status, scheme, body.to_vec())
}

async fn refused(admin: &Admin, secret: &str, method: &str, path: &str) -> (u16, String) {
    let (status, _, body) = over_tcp(admin, Some(&format!("Bearer {secret}")), method, path).await;
    let problem: Problem = serde_json::from_slice(&body).expect("a problem is JSON");
    (status, problem.detail)
}

async fn token(admin: &Admin, body: &str) -> TokenMade {
    ok(admin, 0, "POST", "/tokens", body).await
}

async fn audit(admin: &Admin) -> Vec<(String, String, String)> {
    let page: Page<AuditItem> = ok(admin, 0, "GET", "/audit", "").await;
    page.items.into_iter().map(|one| (one.principal, one.action, one.object)).collect()
}

fn entry(principal: &str, action: &str, object: &str) -> (String, String, String) {
    (principal.to_owned(), action.to_owned(), object.to_owned())
}

/// Makes uid 1500, anna, a member of these groups of the machine.
fn member_of(admin: &Admin, groups: &[&str]) {
    let lines: String = groups.iter().map(|name| format!("{name}:x:99:anna\n")).collect();
    let write = |name, text: &str| std::fs::write(admin.folder.path().join(name), text);
    write("passwd", "anna:x:1500:1500::/:/bin/sh\n").expect("it can be written");
    write("group.new", &lines).expect("it can be written");
    let [from, to] = ["group.new", "group"].map(|name| admin.folder.path().join(name));
    std::fs::rename(from, to).expect("it can be renamed");
}

#[tokio::test]
async fn p8_a_change_of_groups_holds_from_the_next_call_on() {
    let admin = admin().await;
    let pause = async || call(&admin, 1500, "POST", "/pause", "").await.0;
    let list = async || call(&admin, 1500, "GET", "/outbox", "").await.0;
    assert_eq!((list().await, pause().await), (403, 403));
    member_of(&admin, &["picloud"]);
    assert_eq!((list().await, pause().await), (200, 403));
    member_of(&admin, &["picloud", "picloud-admin"]);
    assert_eq!((list().await, pause().await), (200, 200));
    member_of(&admin, &["picloud-admins"]);
    assert_eq!((list().await, pause().await), (403, 403));
    admin.stop().await;
}

#[tokio::test]
async fn p9_who_is_let_in_by_a_group_becomes_a_principal_only_by_a_change() {
    let admin = admin().await;
    member_of(&admin, &["picloud-admin"]);
    let caller = async || ok::<Instance>(&admin, 1500, "GET", "/instance", "").await.caller;
    let known = async || {
        let page: Page<PrincipalItem> = ok(&admin, 1500, "GET", "/principals", "").await;
        page.items.into_iter().find(|one| one.name == "anna")
    };
    let anna = caller().await;
    assert_eq!((anna.name.as_str(), anna.uid), ("anna", Some(1500)));
    assert_eq!(anna.capabilities.len(), Capability::ALL.len());
    assert_eq!(known().await, None);
    let _paused: PauseAnswer = ok(&admin, 1500, "POST", "/pause", "").await;
    let item = known().await.expect("she has changed something");
    assert_eq!((item.grants.len(), item.by_group), (0, vec!["InstanceAdmin".to_owned()]));
    assert_eq!(audit(&admin).await[0], entry("anna", "pause", ""));
    admin.stop().await;
}

#[tokio::test]
async fn p8_over_tcp_only_tokens_count() {
    let admin = admin().await;
    let secret = token(&admin, r#"{"name": "phone", "grants": [{"capability": "AppRead"}]}"#).await;
    let secret = secret.secret;
    for (authorization, detail) in [
        (None, "on this listener every call needs a token"),
        (Some("Basic cm9vdDo="), "is no Bearer TOKEN"),
        (Some("Bearer root"), "the token is none of PiCloud's"),
        (Some("Bearer pct_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), "there is no such token"),
    ] {
        for one in CALLS {
            let path = filled(one.path);
            let (status, scheme, body) =
                over_tcp(&admin, authorization, one.method.as_str(), &path).await;
            assert_eq!((status, scheme.as_deref()), (401, Some("Bearer")), "{path}");
            assert!(String::from_utf8_lossy(&body).contains(detail), "{path}");
        }
    }
    let shown = format!("bearer {secret}");
    let (status, _, body) = over_tcp(&admin, Some(&shown), "GET", "/instance").await;
    assert_eq!(status, 200);
    let instance: Instance = serde_json::from_slice(&body).expect("it is JSON");
    assert_eq!((instance.caller.name.as_str(), instance.caller.uid), ("phone", None));
    let (status, detail) = refused(&admin, &secret, "POST", "/pause").await;
    assert_eq!((status, &*detail), (403, "phone lacks InstanceAdmin for all apps"));
    admin.stop().await;
}

#[tokio::test]
async fn p8_a_token_that_ended_or_is_for_another_app_is_refused_with_the_reason() {
    let admin = admin().await;
    let made = token(
        &admin,
        r#"{"name": "phone", "expires": "1s",
            "grants": [{"capability": "AppRead", "app": "greenhouse"}]}"#,
    );
    let TokenMade { token: made, secret } = made.await;
    assert_eq!((made.state.as_str(), made.expires_at), ("valid", Some(1_007)));
    let shown = format!("Bearer {secret}");
    let asked = async |path| over_tcp(&admin, Some(&shown), "GET", path).await.0;
    assert_eq!(asked("/outbox?app=greenhouse").await, 200);
    let (status, detail) = refused(&admin, &secret, "GET", "/outbox?app=garden").await;
    assert_eq!((status, &*detail), (403, "phone lacks AppRead for app \"garden\""));
    assert_eq!(asked("/outbox").await, 403);

    admin.clock.0.store(1_007, Ordering::Relaxed);
    let (status, detail) = refused(&admin, &secret, "GET", "/instance").await;
    assert_eq!((status, &*detail), (401, "token \"phone\" expired at 1970-01-01T00:00:01.007Z"));
    let again = r#"{"name": "phone", "principal": "phone"}"#;
    let secret = token(&admin, again).await.secret;
    assert_eq!(refused(&admin, &secret, "POST", "/pause").await.0, 403);
    let revoked: TokenAnswer = ok(&admin, 0, "POST", "/tokens/phone/revoke", "").await;
    assert!(revoked.changed);
    let (status, detail) = refused(&admin, &secret, "GET", "/instance").await;
    assert_eq!(
        (status, &*detail),
        (401, "token \"phone\" was revoked at 1970-01-01T00:00:01.007Z")
    );
    let again: TokenAnswer = ok(&admin, 0, "POST", "/tokens/phone/revoke", "").await;
    assert!(!again.changed);
    admin.stop().await;
}

#[tokio::test]
async fn on_the_socket_a_token_counts_before_the_uid() {
    let admin = admin().await;
    let secret = token(&admin, r#"{"grants": [{"capability": "AppRead"}]}"#).await.secret;
    let request = axum::extract::Request::builder()
        .method("POST")
        .uri(format!("{BASE}/pause"))
        .header("authorization", format!("Bearer {secret}"))
        .body(Body::empty())
        .expect("the request is right");
    let router = admin.router.clone().layer(MockConnectInfo(Peer { uid: 0 }));
    let response = router.oneshot(request).await.expect("a router always answers");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    admin.stop().await;
}

#[tokio::test]
async fn p8_the_secret_of_a_token_is_in_one_answer_and_nowhere_else() {
    let admin = admin().await;
    let made = token(&admin, r#"{"name": "phone", "principal": "reader"}"#).await;
    let random = made.secret.strip_prefix("pct_").expect("it says what it is").to_owned();
    assert!(!format!("{made:?}").contains(&random));
    for path in ["/tokens", "/audit", "/principals", "/principals/reader"] {
        let (status, body) = call(&admin, 0, "GET", path, "").await;
        assert_eq!(status, 200);
        assert!(!String::from_utf8_lossy(&body).contains(&random), "{path}");
    }
    for entry in std::fs::read_dir(admin.folder.path()).expect("it is ours") {
        let path = entry.expect("it is ours").path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        let found = bytes.windows(random.len()).any(|window| window == random.as_bytes());
        assert!(!found, "{}", path.display());
    }
    let page: Page<TokenItem> = ok(&admin, 0, "GET", "/tokens", "").await;
    assert_eq!((page.items[0].principal.as_str(), page.items.len()), ("reader", 1));
    admin.stop().await;
}

#[tokio::test]
async fn a_principal_is_made_changed_shown_and_deleted_and_all_of_it_is_written_down() {
    let admin = admin().await;
    let body = r#"{"name": "ada", "uid": 1700, "grants": [{"capability": "AppData"}]}"#;
    let made: PrincipalAnswer = ok(&admin, 0, "POST", "/principals", body).await;
    assert_eq!((made.changed, made.principal.uid), (true, Some(1700)));
    let body = r#"{"capabilities": ["AppInvoke", "AppRead"], "app": "greenhouse"}"#;
    let granted: PrincipalAnswer = ok(&admin, 0, "POST", "/principals/ada/grant", body).await;
    assert_eq!((granted.changed, granted.principal.grants.len()), (true, 3));
    let path = format!("/principals/{}", made.principal.id);
    let shown: PrincipalItem = ok(&admin, 0, "GET", &path, "").await;
    assert_eq!(shown.grants, granted.principal.grants);
    assert_eq!(call(&admin, 1700, "GET", "/outbox?app=greenhouse", "").await.0, 200);
    let revoked: PrincipalAnswer = ok(&admin, 0, "POST", "/principals/ada/revoke", body).await;
    assert_eq!((revoked.changed, revoked.principal.grants.len()), (true, 1));
    assert_eq!(call(&admin, 1700, "GET", "/outbox?app=greenhouse", "").await.0, 403);
    let _token = token(&admin, r#"{"name": "hers", "principal": "ada"}"#).await;
    let deleted: PrincipalAnswer = ok(&admin, 0, "DELETE", "/principals/ada", "").await;
    assert_eq!(deleted.principal.tokens, 1);
    let page: Page<TokenItem> = ok(&admin, 0, "GET", "/tokens", "").await;
    assert!(page.items.is_empty());
    assert_eq!(
        audit(&admin).await[..5],
        [
            entry("root", "delete", "principal ada"),
            entry("root", "create", "token hers"),
            entry("root", "revoke", "principal ada"),
            entry("root", "grant", "principal ada"),
            entry("root", "create", "principal ada"),
        ]
    );
    admin.stop().await;
}

#[tokio::test]
async fn the_audit_log_pages_and_still_names_whoever_is_gone() {
    let admin = admin().await;
    let body = r#"{"name": "ada", "uid": 1700, "grants": [{"capability": "InstanceAdmin"}]}"#;
    let _made: PrincipalAnswer = ok(&admin, 0, "POST", "/principals", body).await;
    let _paused: PauseAnswer = ok(&admin, 1700, "POST", "/pause", "").await;
    // She deletes herself, and is named for that, too.
    let _gone: PrincipalAnswer = ok(&admin, 1700, "DELETE", "/principals/ada", "").await;
    let mut seen = Vec::new();
    let mut path = "/audit?limit=2".to_owned();
    loop {
        let page: Page<AuditItem> = ok(&admin, 0, "GET", &path, "").await;
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|one| (one.principal, one.action)));
        match page.next {
            Some(next) => path = format!("/audit?limit=2&after={next}"),
            None => break,
        }
    }
    let of = |principal: &str, action: &str| (principal.to_owned(), action.to_owned());
    assert_eq!(
        seen,
        [of("ada", "delete"), of("ada", "pause"), of("root", "create"), of("root", "deploy")]
    );
    admin.stop().await;
}

#[tokio::test]
async fn bad_requests_about_people_say_what_is_wrong() {
    let admin = admin().await;
    let _token = token(&admin, r#"{"name": "phone", "principal": "reader"}"#).await;
    let read = r#""grants": [{"capability": "AppRead"}]"#;
    for (method, path, body, status, detail) in [
        ("GET", "/principals/ada", "", 404, "there is no principal \"ada\""),
        ("GET", "/principals?app=greenhouse", "", 400, "unknown key \"app\""),
        ("GET", "/tokens?after=x", "", 400, "after=\"x\" is no cursor of this list"),
        ("POST", "/principals", r#"{"name": "a b"}"#, 400, "name \"a b\" may have only"),
        ("POST", "/principals", r#"{"name": "17"}"#, 400, "name \"17\" needs a letter"),
        (
            "POST",
            "/principals",
            r#"{"name": "root"}"#,
            409,
            "there is a principal \"root\" already",
        ),
        ("POST", "/principals", r#"{"name": "x", "uid": 1000}"#, 409, "uid 1000 is principal"),
        ("POST", "/principals", r#"{"name": "x", "id": 1}"#, 400, "unknown key \"id\""),
        ("DELETE", "/principals/root", "", 409, "is the owner of this daemon"),
        ("POST", "/principals/reader/grant", r#"{"capabilities": []}"#, 400, "name one at least"),
        (
            "POST",
            "/principals/reader/grant",
            r#"{"capabilities": ["AppDate"]}"#,
            400,
            "did you mean AppData?",
        ),
        (
            "POST",
            "/principals/reader/grant",
            r#"{"capabilities": ["AppData"], "app": "garden"}"#,
            404,
            "there is no app \"garden\"",
        ),
        ("POST", "/tokens", "{}", 400, "give either a principal or grants"),
        ("POST", "/tokens", r#"{"principal": "ada"}"#, 404, "there is no principal \"ada\""),
        (
            "POST",
            "/tokens",
            &format!(r#"{{"name": "reader", {read}}}"#),
            409,
            "there is a principal",
        ),
        ("POST", "/tokens", r#"{"name": "phone", "principal": "reader"}"#, 409, "there is a token"),
        ("POST", "/tokens", r#"{"principal": "reader", "expires": "1y"}"#, 400, "expires "),
        ("POST", "/tokens", r#"{"principal": "reader", "expires": "0s"}"#, 400, "not within"),
        ("POST", "/tokens/tablet/revoke", "", 404, "there is no token \"tablet\""),
    ] {
        let problem = problem(&admin, 0, method, path, body).await;
        assert!(
            problem.status == status && problem.detail.contains(detail),
            "{method} {path} {body}\n{problem:?}"
        );
    }
    admin.stop().await;
}

#[tokio::test]
async fn p8_a_token_for_one_app_sees_the_lists_of_that_app_alone_and_its_grants_go_with_the_app() {
    let admin = admin().await;
    let body = r#"{"name": "phone", "grants": [{"capability": "AppRead", "app": "greenhouse"}]}"#;
    let secret = token(&admin, body).await.secret;
    let authorization = format!("Bearer {secret}");
    for path in [
        "/outbox",
        "/dead-letters",
        "/dead-letters/groups",
        "/dead-letters/preview",
        "/abandoned",
        "/executions",
    ] {
        let of_all = refused(&admin, &secret, "GET", path).await;
        let expected = "phone lacks AppRead for all apps; name one with app=";
        assert_eq!(of_all, (403, expected.to_owned()), "{path}");
        let of_one = format!("{path}?app=greenhouse");
        let (status, _, _) = over_tcp(&admin, Some(&authorization), "GET", &of_one).await;
        assert_eq!(status, 200, "{path}");
    }
    let _deleted: serde_json::Value = ok(&admin, 0, "DELETE", "/apps/greenhouse", "").await;
    let phone: PrincipalItem = ok(&admin, 0, "GET", "/principals/phone", "").await;
    assert_eq!(phone.grants, []);
    assert_eq!(refused(&admin, &secret, "GET", "/outbox?app=greenhouse").await.0, 403);
    admin.stop().await;
}
