//! What callers do to a connection.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{header, json, problem, server, server_with, status, within};

const GET: &str = "GET /demo/number HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn who_says_nothing_is_closed() {
    let server = server_with(|limits| limits.head_ms = 50).await;
    assert_eq!(server.exchange("").await, "");
}

#[tokio::test]
async fn a_head_that_does_not_come_whole_is_a_408() {
    let server = server_with(|limits| limits.head_ms = 50).await;
    let response = server.exchange("GET /demo/number HTTP/1.1\r\nHost: lo").await;
    assert_eq!(problem(&response), (408, "request_timeout".to_owned()));
    assert_eq!(header(&response, "connection"), Some("close"));
}

#[tokio::test]
async fn the_next_head_has_the_same_time() {
    let server = server_with(|limits| limits.head_ms = 50).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    assert_eq!(status(&client.response().await), 200);
    client.send("GET /").await;
    assert_eq!(problem(&client.rest().await).0, 408);
}

#[tokio::test]
async fn a_body_that_does_not_come_whole_is_a_408() {
    let server = server_with(|limits| limits.body_ms = 50).await;
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"] {
        let request = format!("POST /demo/echo HTTP/1.1\r\nHost: localhost\r\n{framing}");
        let response = server.exchange(request).await;
        assert_eq!(problem(&response), (408, "request_timeout".to_owned()));
        assert_eq!(header(&response, "connection"), Some("close"));
    }
    assert_eq!(server.engine.call_count(), 0);
}

#[tokio::test]
async fn single_bytes_buy_no_time() {
    let server = server_with(|limits| (limits.head_ms, limits.body_ms) = (50, 50)).await;
    let body = "POST /demo/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    for start in ["GET /", body] {
        let mut client = server.connect().await;
        client.send(start).await;
        let mut drip = tokio::time::interval(std::time::Duration::from_millis(5));
        let answered = async {
            let mut first = [0; 12];
            loop {
                tokio::select! {
                    read = client.stream.read(&mut first) => break (read.unwrap(), first),
                    _ = drip.tick() => {}
                }
                let _ = client.stream.try_write(b"a");
            }
        };
        assert_eq!(within(answered).await, (12, *b"HTTP/1.1 408"));
    }
}

#[tokio::test]
async fn empty_lines_buy_no_time() {
    let server = server_with(|limits| limits.head_ms = 50).await;
    assert_eq!(server.exchange("\r\n\r\n").await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = server_with(|limits| (limits.idle_ms, limits.head_ms) = (50, 600_000)).await;
    // Also one that has sent its whole request at once, and one that has not.
    let mut slow = server.connect().await;
    slow.send(&GET[..9]).await;
    tokio::task::yield_now().await;
    slow.send(&GET[9..]).await;
    assert_eq!(status(&slow.response().await), 200);
    assert_eq!(slow.rest().await, "");
    let mut client = server.connect().await;
    client.send(GET).await;
    assert_eq!(status(&client.response().await), 200);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn connections_are_counted_in_all_and_by_address() {
    for (max, per_ip_max) in [(3, 99), (99, 3)] {
        let server = server_with(|limits| {
            limits.connections_max = max;
            limits.connections_per_ip_max = per_ip_max;
        })
        .await;
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut client = server.connect().await;
            client.send(GET).await;
            assert_eq!(status(&client.response().await), 200);
            open.push(client);
        }
        let refused = server.connect().await.rest().await;
        assert_eq!(problem(&refused), (503, "too_many_connections".to_owned()));
        assert_eq!(header(&refused, "retry-after"), Some("1"));
        open.clear();
        server.is_quiet().await;
        assert_eq!(status(&server.get("/demo/number").await), 200);
    }
}

#[tokio::test]
async fn a_flood_of_headers_is_cut() {
    let server = server().await;
    let line = "A: b\r\n";
    let start = "GET /demo/number HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    for (request, expected) in [
        (format!("{start}{}\r\n", line.repeat(98)), 200),
        (format!("{start}{}\r\n", line.repeat(99)), 431),
        (format!("{start}A: {}\r\n\r\n", "b".repeat(64 << 10)), 431),
        (format!("{start}A: {}", "b".repeat(64 << 10)), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(9_000)), 414),
        (format!("GET /{}", "a".repeat(64 << 10)), 414),
    ] {
        let response = server.exchange(request).await;
        assert_eq!(status(&response), expected);
        assert_eq!(header(&response, "connection"), Some("close"));
        if expected != 200 {
            problem(&response);
        }
    }
    assert_eq!(server.engine.call_count(), 1);
}

#[tokio::test]
async fn a_request_that_two_parsers_read_differently_is_refused() {
    let server = server().await;
    let post = "POST /demo/echo HTTP/1.1\r\nHost: localhost\r\n";
    for request in [
        format!("{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
        format!("{post}Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"),
        format!("{post}Content-Length: 2\r\nContent-Length: 3\r\n\r\nab"),
        format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        "POST /demo/echo HTTP/1.1\nHost: localhost\n\n".to_owned(),
        format!("{post}A: b\n\r\n"),
        format!("{post}A: b\r\r\n\r\n"),
        format!("{post}A\0: b\r\n\r\n"),
    ] {
        // What follows must not be taken for a request.
        let response = server.exchange(format!("{request}{GET}")).await;
        assert_eq!(problem(&response), (400, "bad_request".to_owned()), "{request:?}");
        assert_eq!(header(&response, "connection"), Some("close"));
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{request:?}");
    }
    assert_eq!(server.engine.call_count(), 0);
}

#[tokio::test]
async fn a_refused_request_leaves_those_before_it_answered() {
    let server = server().await;
    let response = server.exchange(format!("{GET}{GET}BAD\r\n\r\n{GET}")).await;
    assert_eq!(response.matches("HTTP/1.1 200").count(), 2);
    assert_eq!(response.matches("HTTP/1.1 400").count(), 1);
    assert_eq!(response.matches("HTTP/1.1 ").count(), 3);
}

#[tokio::test]
async fn a_chunked_body_is_read_and_its_extras_are_dropped() {
    let server = server().await;
    let post = "POST /demo/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = server.connect().await;
    let body = "3;ext=\"1\"\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\nHost: evil\r\n\r\n";
    client.send(format!("{post}{body}{GET}")).await;
    let first = client.response().await;
    assert_eq!(json(&first)["body"], "abcde");
    assert_eq!(json(&first)["headers"]["host"], "localhost");
    assert_eq!(status(&client.response().await), 200);

    for body in [
        format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(64 << 10)),
        format!("0\r\nA: {}\r\n\r\n", "x".repeat(64 << 10)),
        format!("0\r\n{}\r\n", "A: b\r\n".repeat(1_000)),
        "1\nab\n0\n\n".to_owned(),
        "zz\r\n\r\n".to_owned(),
        "ffffffffffffffffff\r\n".to_owned(),
        "-1\r\n".to_owned(),
        "2\r\nabc\r\n0\r\n\r\n".to_owned(),
    ] {
        let response = server.exchange(format!("{post}{body}{GET}")).await;
        assert_eq!(problem(&response).0, 400);
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
    }
    assert_eq!(server.engine.call_count(), 2);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = server().await;
    let mut client = server.connect().await;
    client.send(GET).await;
    client.response().await;
    let requests: String = (0..1_000)
        .map(|n| format!("GET /demo/echo/{n} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    client.send(requests).await;
    for n in 0..1_000 {
        let response = client.response().await;
        assert_eq!(json(&response)["params"]["name"], n.to_string());
    }
}

#[tokio::test]
async fn a_request_in_single_bytes_is_a_request() {
    let server = server().await;
    let mut client = server.connect().await;
    let request = "\r\nPOST /demo/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for byte in request.repeat(2).bytes() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        assert_eq!(json(&client.response().await)["body"], "abc");
    }
}

#[tokio::test]
async fn a_caller_that_has_closed_its_side_is_answered() {
    let server = server().await;
    let client = server.connect().await;
    let mut std = client.stream.into_std().unwrap();
    std.set_nonblocking(false).unwrap();
    let response = within(tokio::task::spawn_blocking(move || {
        use std::io::{Read as _, Write as _};
        std.write_all(GET.as_bytes()).unwrap();
        std.shutdown(std::net::Shutdown::Write).unwrap();
        let mut response = String::new();
        std.read_to_string(&mut response).unwrap();
        response
    }))
    .await
    .unwrap();
    assert_eq!(status(&response), 200);
}

#[tokio::test]
async fn a_caller_that_has_closed_its_side_and_stays_is_answered_late_too() {
    let server = server_with(|limits| limits.half_close_ms = 10).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    client.response().await;
    client.send("GET /demo/held HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.response().await, "HTTP/1.1 100 Continue\r\n\r\n");
    server.engine.gate.add_permits(1);
    let response = client.rest().await;
    assert_eq!(status(&response), 200);
    assert_eq!(crate::server::body(&response), "\"held\"");
    assert_eq!(*server.engine.dropped.borrow(), 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_is_noticed_while_its_script_runs() {
    let server = server_with(|limits| limits.half_close_ms = 10).await;
    let held = "GET /demo/held HTTP/1.1\r\nHost: localhost\r\n\r\n";

    // Closed both ways.
    let mut client = server.connect().await;
    client.send(held).await;
    server.engine.has_waiting(1).await;
    drop(client);
    server.engine.has_dropped(1).await;

    // Reset.
    let mut client = server.connect().await;
    client.send(held).await;
    server.engine.has_waiting(1).await;
    client.stream.set_zero_linger().unwrap();
    drop(client);
    server.engine.has_dropped(2).await;

    // Closed with a request behind it.
    let mut client = server.connect().await;
    client.send(format!("{held}{GET}")).await;
    server.engine.has_waiting(1).await;
    drop(client);
    server.engine.has_dropped(3).await;
    server.is_quiet().await;
    assert_eq!(server.engine.call_count(), 3);
}

#[tokio::test]
async fn a_caller_that_does_not_take_its_answers_is_closed() {
    let server = server_with(|limits| limits.write_ms = 1_000).await;
    let mut client = server.connect().await;
    // More than the buffers of both sockets hold. The first one is taken, so that the rest is known to be under way.
    client.send("GET /demo/big HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(64)).await;
    assert_eq!(status(&client.response().await), 200);
    server.is_quiet().await;
    assert!(server.engine.call_count() < 64);
}

#[tokio::test]
async fn a_refusal_arrives_although_its_caller_sends_on() {
    let server = server().await;
    let head = "POST /demo/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n";
    let mut client = server.connect().await;
    client.send(head).await;
    assert_eq!(problem(&client.response().await), (413, "body_too_large".to_owned()));
    for _ in 0..19 {
        // A connection that is closed altogether would be reset by this.
        within(client.stream.write_all(&[b'a'; 100_000])).await.unwrap();
    }
    assert_eq!(client.rest().await, "");
    server.is_quiet().await;
}

#[tokio::test]
async fn a_body_is_only_asked_for_when_it_is_wanted() {
    let server = server().await;
    let post = |length: usize| {
        format!(
            "POST /demo/echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut client = server.connect().await;
    client.send(post(2)).await;
    assert_eq!(client.response().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("ab").await;
    assert_eq!(json(&client.response().await)["body"]["$base64"], "YWI=");
    client.send(post(2_000_000)).await;
    assert_eq!(problem(&client.rest().await).0, 413);
}

#[tokio::test]
async fn versions_other_than_1_1_and_1_0_are_refused() {
    let server = server().await;
    let preface = server.exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(problem(&preface), (505, "http_version".to_owned()));
    let old = server.exchange("GET /demo/number HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(status(&old), 200);
    let upgrade = "GET /demo/number HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n";
    let mut client = server.connect().await;
    client.send(format!("{upgrade}{GET}")).await;
    assert_eq!(status(&client.response().await), 200);
    assert_eq!(status(&client.response().await), 200);
}

/// How long the first request of a caller may be under way: less than it is waited for at a stop.
const UNDER_WAY: Duration = Duration::from_millis(100);

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "how late the machine has let the caller send")]
async fn a_first_request_that_is_under_way_when_the_daemon_stops_is_answered() {
    for _ in 0..100 {
        let server = server().await;
        let silent = server.connect().await;
        let mut caller = server.connect().await;
        within(async {
            while server.tracker.len() < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let stopped = Instant::now();
        server.stop.cancel();
        // Long enough for the server to close what it does not wait for.
        tokio::time::sleep(UNDER_WAY / 4).await;
        caller.send(GET).await;
        let sent = stopped.elapsed();
        let answer = caller.rest().await;
        assert_eq!(silent.rest().await, "", "who says nothing is not waited for");
        server.is_quiet().await;
        if !answer.is_empty() {
            return assert_eq!(status(&answer), 200);
        }
        // On a machine that has held up this very test, nothing was shown.
        assert!(sent > UNDER_WAY, "sent {sent:?} after the stop, and lost");
    }
    panic!("this machine lets nobody send a request in {UNDER_WAY:?}");
}

#[tokio::test]
async fn stopping_lets_open_requests_end_and_cuts_what_hangs() {
    let server = server().await;
    let mut idle = server.connect().await;
    idle.send(GET).await;
    idle.response().await;
    let mut open = server.connect().await;
    open.send("GET /demo/held HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    server.engine.has_waiting(1).await;

    server.stop.cancel();
    assert_eq!(idle.rest().await, "");
    server.engine.gate.add_permits(1);
    let response = open.rest().await;
    assert_eq!(status(&response), 200);
    assert_eq!(header(&response, "connection"), Some("close"));
    server.is_quiet().await;
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());

    let server = server_with(|limits| limits.stop_ms = 50).await;
    let mut hanging = server.connect().await;
    hanging.send("GET /demo/held HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    server.engine.has_waiting(1).await;
    server.stop.cancel();
    let mut rest = Vec::new();
    let _ = within(hanging.stream.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"");
    server.engine.has_dropped(1).await;
    server.is_quiet().await;
}
