//! What requests ask and what they get.

use serde_json::json;

use crate::server::{body, header, json, problem, server, status};

#[tokio::test]
async fn a_script_sees_its_request() {
    let server = server().await;
    let response = server
        .exchange(
            "POST /demo/echo?a=1&a=2&b=%C3%A9 HTTP/1.1\r\nHost: Berry.local:8080\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: 11\r\nX-Forwarded-For: 1.2.3.4\r\n\
             Forwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n\r\n{\"t\": 21.5}",
        )
        .await;
    assert_eq!(status(&response), 200);
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    let event = json(&response);
    assert_eq!(event["method"], "POST");
    assert_eq!(event["path"], "/echo");
    assert_eq!(event["query"], json!({"a": ["1", "2"], "b": "é"}));
    assert_eq!(event["body"], json!({"t": 21.5}));
    assert_eq!(event["remote"], "127.0.0.1");
    assert_eq!(event["auth"], json!(null));
    assert_eq!(event["headers"]["x-forwarded-for"], "1.2.3.4");
}

#[tokio::test]
async fn a_path_leads_to_its_route_and_nowhere_else() {
    let server = server().await;
    for (path, expected) in
        [("/demo", json!("root")), ("/demo/", json!("root")), ("/%64emo/number", json!(17))]
    {
        assert_eq!(json(&server.get(path).await), expected, "{path}");
    }
    for (path, params) in [
        ("/demo/echo/a%2Fb", json!({"name": "a/b"})),
        ("/demo/echo/%2e%2e%2fother", json!({"name": "../other"})),
        ("/demo/files/a/b%20c", json!({"rest": "a/b c"})),
    ] {
        let event = json(&server.get(path).await);
        assert_eq!(event["params"], params, "{path}");
        assert_eq!(event["path"], path["/demo".len()..], "{path}");
    }
    let calls = server.engine.calls.lock().unwrap().clone();
    assert!(calls.iter().all(|call| &*call.app.slug == "demo"));
    drop(calls);
    for (path, status, code) in [
        ("/", 404, "no_such_app"),
        ("/nobody/echo", 404, "no_such_app"),
        ("/_demo/echo", 404, "no_such_app"),
        ("/_picloud", 404, "no_such_route"),
        ("/_picloud/x", 404, "no_such_route"),
        ("/demo/nothing", 404, "no_such_route"),
        ("/demo/number/", 404, "no_such_route"),
        ("/demo%2Fnumber", 404, "no_such_app"),
        ("/demo/../other/number", 400, "bad_path"),
        ("/demo/%2e%2e/other/number", 400, "bad_path"),
        ("/demo/.%2E/other/number", 400, "bad_path"),
        ("//other/number", 400, "bad_path"),
        ("/demo//number", 400, "bad_path"),
        ("/demo/echo/%00", 400, "bad_path"),
        ("/demo/echo/%c0%ae%c0%ae", 400, "bad_path"),
        ("/demo/echo/%zz", 400, "bad_path"),
        ("/demo/echo?a=%ff", 400, "bad_query"),
        ("/demo/echo/<b>", 400, "bad_request"),
        ("http://", 400, "bad_request"),
        ("nothing", 400, "bad_request"),
        ("?a", 400, "bad_request"),
    ] {
        assert_eq!(problem(&server.get(path).await), (status, code.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_host_must_be_meant_for_this_machine() {
    let server = server().await;
    let get = async |path: &str, host: &str| {
        let response = server
            .exchange(format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"))
            .await;
        (status(&response), response)
    };
    for host in [
        "localhost",
        "LOCALHOST:80",
        "127.0.0.1",
        "10.1.2.3:8080",
        "[::1]:8080",
        "berry",
        "berry.local",
        "Berry.Local.",
        "pi.example",
    ] {
        let (status, response) = get("/demo/number", &format!("Host: {host}\r\n")).await;
        assert_eq!(status, 200, "{host}: {response}");
    }
    let (_, response) = get("/number", "Host: claimed.EXAMPLE:8080\r\n").await;
    assert_eq!(json(&response), json!(17));
    let (_, response) = get("/demo/number", "Host: claimed.example\r\n").await;
    assert_eq!(problem(&response), (404, "no_such_route".to_owned()));
    let (_, response) = get("http://claimed.example/number", "Host: localhost\r\n").await;
    assert_eq!(json(&response), json!(17));

    for host in
        ["evil.example", "localhost.evil.example", "berry.lan", "127.1", "sub.claimed.example"]
    {
        let (_, response) = get("/demo/number", &format!("Host: {host}\r\n")).await;
        assert_eq!(problem(&response), (421, "foreign_host".to_owned()), "{host}");
        assert!(json(&response)["hint"].is_string());
    }
    let (_, response) = get("http://evil.example/demo/number", "Host: localhost\r\n").await;
    assert_eq!(problem(&response), (421, "foreign_host".to_owned()));
    for host in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host:\r\n",
        "Host: a@b\r\n",
        "Host: a b\r\n",
    ] {
        let (_, response) = get("/demo/number", host).await;
        assert_eq!(problem(&response), (400, "bad_host".to_owned()), "{host:?}");
    }
}

#[tokio::test]
async fn methods_are_as_http_expects() {
    let server = server().await;
    let ask = async |method: &str, path: &str| {
        server
            .exchange(format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            ))
            .await
    };
    let response = ask("HEAD", "/demo/number").await;
    assert_eq!((status(&response), body(&response)), (200, ""));
    assert_eq!(header(&response, "content-length"), Some("2"));
    assert_eq!(header(&response, "content-type"), Some("application/json"));

    let response = ask("OPTIONS", "/demo/echo").await;
    assert_eq!((status(&response), body(&response)), (204, ""));
    assert_eq!(header(&response, "allow"), Some("GET, HEAD, OPTIONS, POST"));
    assert_eq!(status(&ask("OPTIONS", "*").await), 204);

    let response = ask("DELETE", "/demo/echo").await;
    assert_eq!(problem(&response), (405, "method_not_allowed".to_owned()));
    assert_eq!(header(&response, "allow"), Some("GET, HEAD, OPTIONS, POST"));
    for (method, target) in
        [("TRACE", "/demo/echo"), ("CONNECT", "localhost:80"), ("get", "/demo/echo")]
    {
        let response = ask(method, target).await;
        assert_eq!(problem(&response), (405, "method_not_allowed".to_owned()), "{method}");
        assert!(header(&response, "allow").is_some());
    }
}

#[tokio::test]
async fn a_body_that_is_not_taken_says_why() {
    let server = server().await;
    let json_type = "Content-Type: application/json\r\n";
    let deep = "[".repeat(10_000);
    let large = vec![b'a'; (1 << 20) + 1];
    for (headers, body, expected) in [
        (json_type, &b"{nope}"[..], (415, "bad_body")),
        (json_type, b"\"\xff\"", (415, "bad_body")),
        (json_type, deep.as_bytes(), (400, "json_too_big")),
        (json_type, b"[1e400]", (400, "json_too_big")),
        (json_type, b"9223372036854775808", (400, "json_too_big")),
        ("Content-Type: text/plain;charset=koi8-r\r\n", b"a", (415, "bad_body")),
        ("Content-Type: text/plain\r\nContent-Type: a/b\r\n", b"a", (415, "bad_body")),
        ("Content-Encoding: gzip\r\n", b"\x1f\x8b", (415, "bad_body")),
        ("Content-Encoding: br\r\nContent-Type: application/json\r\n", b"1", (415, "bad_body")),
        ("", &large, (413, "body_too_large")),
    ] {
        let response = server.post("/demo/echo", headers, body).await;
        let (status, code) = problem(&response);
        assert_eq!((status, &*code), expected, "{headers}");
    }
    let chunk = format!("20000\r\n{}\r\n", "a".repeat(0x20000)).repeat(9);
    let response = server
        .exchange(format!(
            "POST /demo/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
        ))
        .await;
    assert_eq!(problem(&response), (413, "body_too_large".to_owned()));
    assert_eq!(server.engine.call_count(), 0);
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_taken() {
    let server = server().await;
    let text = "b".repeat(1 << 20);
    let response = server.post("/demo/echo", "Content-Type: text/plain\r\n", &text).await;
    assert_eq!(json(&response)["body"], text);
    let chunk = format!("20000\r\n{}\r\n", "b".repeat(0x20000)).repeat(8);
    let response = server
        .exchange(format!(
            "POST /demo/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
        ))
        .await;
    assert_eq!(json(&response)["body"], text);
}

#[tokio::test]
async fn a_result_becomes_a_response() {
    let server = server().await;
    let response = server.get("/demo/text").await;
    assert_eq!((status(&response), body(&response)), (201, "héllo"));
    assert_eq!(header(&response, "content-type"), Some("text/plain; charset=utf-8"));
    assert!(response.contains("x-a: 1\r\nx-a: 2\r\n"), "{response}");
    let response = server.get("/demo/html").await;
    assert_eq!(header(&response, "content-type"), Some("text/html"));
    assert_eq!(response.matches("content-type").count(), 1);
    let response = server.get("/demo/binary").await;
    assert_eq!(header(&response, "content-type"), Some("application/octet-stream"));
    assert_eq!(header(&response, "content-length"), Some("2"));
    let response = server.get("/demo/none").await;
    assert_eq!((status(&response), body(&response)), (204, ""));
    let response = server.get("/demo/big").await;
    assert_eq!(body(&response).len(), (1 << 20) + 2);
    let response = server.get("/demo/split").await;
    assert_eq!(problem(&response), (422, "not_a_response".to_owned()));
    assert!(!response.contains("\r\nb: c"));
}

#[tokio::test]
async fn a_failure_says_what_its_caller_may_know() {
    let server = server().await;
    let response = server.get("/demo/fail/script").await;
    assert_eq!(problem(&response), (502, "script_failed".to_owned()));
    assert!(!response.contains("the inner reason"));
    assert_eq!(json(&response)["execution_id"], "00000000000000000000000007");
    assert_eq!(json(&response)["outcome"], "nothing_changed");
    let response = server.get("/other/fail/script").await;
    assert_eq!(json(&response)["detail"], "the inner reason");
    let response = server.get("/demo/fail/late").await;
    assert_eq!(problem(&response), (504, "timed_out".to_owned()));
    assert_eq!(json(&response)["outcome"], "unknown");
    let response = server.get("/demo/fail/busy").await;
    assert_eq!(problem(&response), (503, "busy".to_owned()));
    assert_eq!(header(&response, "retry-after"), Some("1"));
    assert_eq!(json(&response)["detail"], "the inner reason");
}

#[tokio::test]
async fn an_async_call_is_accepted_and_can_be_asked_about() {
    let server = server().await;
    let response = server.post("/demo/later", "", "x").await;
    assert_eq!(status(&response), 202);
    let expected = json!({"accepted_at": "2023-11-14T22:13:20.123Z", "execution_id": "00000000000000000000000007"});
    assert_eq!(json(&response), expected);
    let location = header(&response, "location").unwrap();
    assert_eq!(location, "/_picloud/executions/00000000000000000000000007");
    let known =
        json!({"execution_id": "00000000000000000000000007", "state": "retrying", "attempts": 2});
    assert_eq!(json(&server.get(location).await), known);
    for id in ["0000000000000000000000000A", "nonsense"] {
        let response = server.get(&format!("/_picloud/executions/{id}")).await;
        assert_eq!(problem(&response), (404, "not_kept".to_owned()));
    }
    assert_eq!(problem(&server.post("/_picloud/healthz", "", "").await).0, 405);
    assert_eq!(body(&server.get("/_picloud/healthz").await), "ok\n");
}

#[tokio::test]
async fn an_idempotency_key_goes_with_the_hash_of_the_body() {
    let server = server().await;
    server.post("/demo/later", "Idempotency-Key: a-1\r\n", "abc").await;
    let call = server.engine.calls.lock().unwrap()[0].clone();
    let (key, hash) = call.idempotency.unwrap();
    assert_eq!(&*key, "a-1");
    assert_eq!(&*hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let long = format!("Idempotency-Key: {}\r\n", "k".repeat(256));
    for headers in [
        "Idempotency-Key:\r\n",
        "Idempotency-Key: a b\r\n",
        "Idempotency-Key: \u{e9}\r\n",
        "Idempotency-Key: a\r\nIdempotency-Key: a\r\n",
        &long,
    ] {
        let response = server.post("/demo/later", headers, "abc").await;
        assert_eq!(problem(&response), (400, "bad_idempotency_key".to_owned()), "{headers}");
    }
    assert_eq!(server.engine.call_count(), 1);
}
