//! Who may call, and how often.

use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::json;

use crate::server::{
    NOW_S, SECRET, body, header, json, problem, secret_of, server, server_with, status,
};

/// What somebody with this secret signs.
fn signature(secret: &str, signed: impl AsRef<[u8]>) -> String {
    let tag = sign(&Key::new(HMAC_SHA256, secret.as_bytes()), signed.as_ref());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hub(secret: &str, body: &[u8]) -> String {
    format!("X-Hub-Signature-256: sha256={}\r\n", signature(secret, body))
}

fn bearer(secret: &str) -> String {
    format!("Authorization: Bearer {secret}\r\n")
}

#[tokio::test]
async fn p8_a_route_that_asks_for_a_token_takes_those_of_its_app_and_no_others() {
    let server = server().await;
    let phone = secret_of("phone");
    let unknown = secret_of("nobody");
    for (headers, expected, detail) in [
        (String::new(), 401, "asks for a token"),
        ("Authorization: \r\n".to_owned(), 401, "is no Bearer TOKEN"),
        (format!("Authorization: {phone}\r\n"), 401, "is no Bearer TOKEN"),
        (format!("Authorization: Basic {phone}\r\n"), 401, "is no Bearer TOKEN"),
        (format!("Cookie: token={phone}\r\n"), 401, "asks for a token"),
        (bearer(&phone).repeat(2), 401, "shown once"),
        (bearer("x"), 401, "none of PiCloud's"),
        (bearer(&phone[..phone.len() - 1]), 401, "none of PiCloud's"),
        (bearer(&unknown), 401, "there is no such token"),
        (bearer(&secret_of("old")), 401, "token \"old\" expired at 2023-11-14T22:13:20Z"),
        (bearer(&secret_of("lost")), 401, "token \"lost\" was revoked at 1970-01-01T"),
        (bearer(&secret_of("stranger")), 403, "may not call routes of app \"doors\""),
        (bearer(&secret_of("reader")), 403, "may not call routes of app \"doors\""),
    ] {
        let response = server.post("/doors/echo", &headers, "hi").await;
        let code = if expected == 401 { "not_known" } else { "not_allowed" };
        assert_eq!(problem(&response), (expected, code.to_owned()), "{headers}");
        let challenge = (expected == 401).then_some("Bearer realm=\"doors\"");
        assert_eq!(header(&response, "www-authenticate"), challenge, "{headers}");
        assert!(json(&response)["detail"].as_str().unwrap().contains(detail), "{response}");
    }
    assert_eq!(server.engine.call_count(), 0);
    for name in ["phone", "tablet", "root"] {
        let secret = secret_of(name);
        let response = server.post("/doors/echo", &bearer(&secret), "hi").await;
        let expected = json!({"kind": "token", "principal": name, "token": name});
        assert_eq!((status(&response), &json(&response)["auth"]), (200, &expected));
        assert_eq!(json(&response)["headers"]["authorization"], "(hidden)");
        assert!(!response.contains(&secret), "{response}");
    }
    let second = server.post("/doors/echo", &bearer(&secret_of("second")), "hi").await;
    let expected = json!({"kind": "token", "principal": "phone", "token": "second"});
    assert_eq!(json(&second)["auth"], expected);
}

#[tokio::test]
async fn p8_a_token_does_not_reach_a_script_that_did_not_ask_for_it() {
    let server = server().await;
    let headers = bearer(&secret_of("root"));
    let event = json(&server.post("/doors/open", &headers, "hi").await);
    assert_eq!(event["headers"]["authorization"], "(hidden)");
    assert_eq!(event["auth"], json!(null));
    // What the script checks itself is left to it.
    let event = json(&server.post("/doors/open", "Authorization: Basic YTpi\r\n", "hi").await);
    assert_eq!(event["headers"]["authorization"], "Basic YTpi");
}

#[tokio::test]
async fn p8_whose_key_an_idempotency_key_is_depends_on_who_shows_which_token() {
    let server = server().await;
    for (path, headers) in [
        ("/doors/later", bearer(&secret_of("phone"))),
        ("/doors/later", bearer(&secret_of("second"))),
        ("/doors/later", bearer(&secret_of("tablet"))),
        ("/demo/later", String::new()),
    ] {
        let headers = format!("{headers}Idempotency-Key: a-1\r\n");
        assert_eq!(status(&server.post(path, &headers, "hi").await), 202);
    }
    let calls = server.engine.calls.lock().unwrap();
    let principals: Vec<i64> = calls.iter().map(|call| call.caller.principal().0).collect();
    assert_eq!(principals, [11, 11, 12, 0]);
}

#[tokio::test]
async fn callers_with_tokens_are_counted_by_principal_and_do_not_disturb_each_other() {
    let server = server().await;
    let post = async |token: &str| {
        status(&server.post("/doors/seldom", &bearer(&secret_of(token)), "hi").await)
    };
    assert_eq!([post("phone").await, post("second").await, post("phone").await], [200, 200, 429]);
    assert_eq!([post("tablet").await, post("tablet").await, post("tablet").await], [200, 200, 429]);
    assert_eq!(post("stranger").await, 403, "who may not call is told that, however often");
    server.clock.forward(30_000);
    assert_eq!([post("phone").await, post("phone").await], [200, 429]);
}

#[tokio::test]
async fn p8_a_request_is_taken_only_with_the_right_signature_of_its_body() {
    let server = server().await;
    let body = b"{\"payload\": 17}".as_slice();
    for (headers, expected) in [
        (String::new(), "the request has no signature in x-hub-signature-256"),
        ("X-Hub-Signature-256: sha256=\r\n".to_owned(), "has no signature"),
        (
            "X-Hub-Signature-256: sha1=0000000000000000000000000000000000000000\r\n".to_owned(),
            "has no",
        ),
        (hub("another secret", body), "is not that of this body"),
        (hub("", body), "is not that of this body"),
        (hub(SECRET, b"{\"payload\": 18}"), "is not that of this body"),
        (hub(SECRET, b""), "is not that of this body"),
        (hub(SECRET, body).replace("-256", ""), "has no signature"),
    ] {
        let response = server.post("/hooks/echo", &headers, body).await;
        assert_eq!(problem(&response), (401, "not_signed".to_owned()), "{headers}");
        assert_eq!(
            header(&response, "www-authenticate"),
            Some("HMAC-SHA256 header=\"x-hub-signature-256\"")
        );
        assert!(json(&response)["detail"].as_str().unwrap().contains(expected), "{response}");
    }
    assert_eq!(server.engine.call_count(), 0);
    let headers = format!("Content-Type: application/json\r\n{}", hub(SECRET, body));
    let event = json(&server.post("/hooks/echo", &headers, body).await);
    assert_eq!(event["auth"], json!({"kind": "hmac", "secret": "KEY"}));
    assert_eq!(event["headers"]["x-hub-signature-256"], "(hidden)");
    assert_eq!(event["body"], json!({"payload": 17}));
    let open = server.post("/hooks/open", &hub("another secret", body), body).await;
    assert_eq!((status(&open), &json(&open)["auth"]), (200, &json!(null)));
}

#[tokio::test]
async fn p8_what_is_signed_is_the_body_byte_by_byte_also_when_it_comes_in_chunks() {
    let server = server().await;
    let send = async |signed: &[u8], chunks: &str| {
        let head = "POST /hooks/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                    Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n";
        let request = format!("{head}{}\r\n{chunks}", hub(SECRET, signed));
        server.exchange(request).await
    };
    let chunks = "5\r\n { \"a\r\n3;x=y\r\n\": \r\n1\r\n}\r\n0\r\n\r\n";
    let response = send(b" { \"a\": }", chunks).await;
    assert_eq!((status(&response), &json(&response)["body"]), (200, &json!(" { \"a\": }")));
    for signed in [&b"{\"a\": }"[..], b" { \"a\": }\n", chunks.as_bytes()] {
        assert_eq!(status(&send(signed, chunks).await), 401);
    }
}

#[tokio::test]
async fn p8_a_signature_that_covers_a_time_is_good_for_a_while_only() {
    let server = server().await;
    let post = async |sent_at: i64, signed_at: i64| {
        let signature = signature(SECRET, format!("{signed_at}.hi"));
        let headers = format!("X-Timed: t={sent_at},v1={},v1={signature}\r\n", "0".repeat(64));
        problem_or_ok(&server.post("/hooks/timed", &headers, "hi").await)
    };
    assert_eq!(post(NOW_S, NOW_S).await, 200);
    assert_eq!(post(NOW_S - 1, NOW_S).await, 401, "the time itself is signed");
    server.clock.forward(300_000);
    assert_eq!(post(NOW_S, NOW_S).await, 200);
    server.clock.forward(1);
    assert_eq!(post(NOW_S, NOW_S).await, 401);
    assert_eq!(post(NOW_S + 700, NOW_S + 700).await, 401);
    assert_eq!(server.engine.call_count(), 2);
}

/// The status; a refusal is checked to be a problem.
fn problem_or_ok(response: &str) -> u16 {
    if status(response) == 200 { 200 } else { problem(response).0 }
}

#[tokio::test]
async fn p8_without_its_secret_a_route_takes_nothing_and_tells_no_caller_why() {
    let server = server().await;
    for signed_with in ["", "GONE", SECRET] {
        let response = server.post("/hooks/gone", &hub(signed_with, b"hi"), "hi").await;
        assert_eq!(problem(&response), (500, "internal".to_owned()));
        assert!(!response.contains("GONE") && !response.contains("ecret"), "{response}");
    }
    assert_eq!(server.engine.call_count(), 0);
}

#[tokio::test]
async fn p8_who_may_not_call_is_told_before_its_body_is_read() {
    let server = server().await;
    for path in ["/hooks/echo", "/doors/echo"] {
        let mut client = server.connect().await;
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n");
        client.send(head).await;
        assert_eq!(problem(&client.response().await).0, 401);
    }
}

#[tokio::test]
async fn a_caller_that_calls_too_often_is_told_when_to_come_again() {
    let server = server().await;
    let post = async || server.post("/hooks/twice", "", "hi").await;
    assert_eq!([status(&post().await), status(&post().await)], [200, 200]);
    let response = post().await;
    assert_eq!(problem(&response), (429, "rate_limited".to_owned()));
    assert_eq!(header(&response, "retry-after"), Some("30"));
    assert_eq!(json(&response)["detail"], "this route takes 2/m from each caller");
    assert_eq!(server.engine.call_count(), 2, "it does not become a call");
    assert_eq!(status(&server.post("/hooks/open", "", "hi").await), 200, "another route");
    server.clock.forward(29_999);
    assert_eq!(header(&post().await, "retry-after"), Some("1"));
    server.clock.forward(1);
    assert_eq!(status(&post().await), 200);
    // What is refused for something else counts as well: it was a request.
    server.clock.forward(60_000);
    assert_eq!(status(&server.post("/hooks/twice", "Idempotency-Key: \r\n", "").await), 400);
    assert_eq!([status(&post().await), status(&post().await)], [200, 429]);
}

#[tokio::test]
async fn p8_a_forged_forwarded_for_does_not_make_another_caller() {
    let server = server().await;
    let mut statuses = Vec::new();
    for n in 1..=3 {
        let headers = format!(
            "X-Forwarded-For: 192.0.2.{n}\r\nForwarded: for=192.0.2.{n}\r\nX-Real-IP: 192.0.2.{n}\r\n"
        );
        statuses.push(status(&server.post("/hooks/twice", &headers, "hi").await));
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn who_is_refused_for_its_rate_is_told_before_its_body_is_read() {
    let server = server().await;
    let mut client = server.connect().await;
    let head = |length: usize| {
        format!("POST /hooks/twice HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
    };
    for _ in 0..2 {
        client.send(head(2) + "hi").await;
        assert_eq!(status(&client.response().await), 200);
    }
    client.send(head(1_000)).await;
    assert_eq!(problem(&client.response().await), (429, "rate_limited".to_owned()));
}

#[tokio::test]
async fn p7_callers_beyond_the_limit_share_one_count() {
    let server = server_with(|limits| limits.rate_callers_max = 1).await;
    for (path, expected) in [
        ("/hooks/twice", [200, 200, 429]),
        // The only place is taken, by the same address on another route.
        ("/hooks/seldom", [200, 200, 429]),
    ] {
        for status in expected {
            let response = server.post(path, &hub(SECRET, b"hi"), "hi").await;
            assert_eq!(crate::server::status(&response), status, "{path}");
        }
    }
}

#[tokio::test]
async fn p8_an_execution_is_known_to_who_may_call_its_route_and_to_nobody_else() {
    let server = server().await;
    let get = async |host: &str, id: &str, headers: &str| {
        let id = format!("{id:0>26}");
        let request = format!(
            "GET /_picloud/executions/{id} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
        );
        server.exchange(request).await
    };
    for (host, id) in [("localhost", "1"), ("localhost", "2"), ("claimed.example", "1")] {
        let response = get(host, id, "").await;
        let known =
            json!({"execution_id": format!("{id:0>26}"), "state": "retrying", "attempts": 2});
        assert_eq!((status(&response), json(&response)), (200, known));
    }
    // Of another app, of an app or a route that is gone, and of nothing.
    let nothing = problem(&get("localhost", "Z", "").await);
    assert_eq!(nothing, (404, "not_kept".to_owned()));
    for (host, id) in [
        ("claimed.example", "2"),
        ("claimed.example", "3"),
        ("localhost", "5"),
        ("localhost", "2T"),
    ] {
        assert_eq!(problem(&get(host, id, "").await), nothing, "{host} {id}");
    }
    let unsigned = get("localhost", "3", "").await;
    assert_eq!(problem(&unsigned), (401, "not_signed".to_owned()));
    assert!(!body(&unsigned).contains("retrying"));
    assert_eq!(status(&get("localhost", "3", &hub("another secret", b"")).await), 401);
    assert_eq!(status(&get("localhost", "3", &hub(SECRET, b"")).await), 200);
    let without = get("localhost", "4", "").await;
    assert_eq!(problem(&without), (401, "not_known".to_owned()));
    let stranger = get("localhost", "4", &bearer(&secret_of("stranger"))).await;
    assert_eq!(problem(&stranger), nothing, "a token for another app");
    let ended = get("localhost", "4", &bearer(&secret_of("old"))).await;
    assert_eq!(problem(&ended), (401, "not_known".to_owned()));
    assert_eq!(status(&get("localhost", "4", &bearer(&secret_of("phone"))).await), 200);
}
