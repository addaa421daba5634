//! Calls to servers on this machine that say what the test wants.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};

use super::*;
use crate::time::SystemClock;

/// A server that gives each connection the next of its answers; what it was asked comes out of `asked`. An empty answer
/// stands for one that never comes.
struct Server {
    address: SocketAddr,
    asked: Receiver<String>,
}

impl Server {
    fn new(answers: &[&str]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
        let (tell, asked) = mpsc::channel();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a caller comes");
                let request = request(&mut stream);
                if tell.send(request).is_err() {
                    return;
                }
                if answer.is_empty() {
                    silent.push(stream);
                } else {
                    // A caller that has heard enough goes.
                    let _gone = stream.write_all(
                        answer.replace("{port}", &address.port().to_string()).as_bytes(),
                    );
                }
            }
            // Held open until the test's end is seen.
            for mut stream in silent {
                let _ended = stream.read(&mut [0]);
            }
        });
        Server { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> String {
        self.asked.recv_timeout(Duration::from_secs(20)).expect("it was asked").to_ascii_lowercase()
    }
}

/// A request's head, and its body where its length is told.
fn request(stream: &mut std::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&bytes).into_owned(),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi";

fn outgoing(change: impl FnOnce(&mut OutgoingLimits)) -> Outgoing {
    let mut limits = OutgoingLimits::default();
    change(&mut limits);
    Outgoing::new(limits, Vec::new(), Arc::new(SystemClock::start()))
}

fn get(url: &str) -> OutsideCall {
    OutsideCall {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: None,
        timeout_ms: None,
        number: 1,
    }
}

fn call_with(
    outgoing: &Outgoing,
    allow_hosts: &[&str],
    call: &OutsideCall,
) -> Result<OutsideAnswer, String> {
    let allow_hosts: Vec<Arc<str>> = allow_hosts.iter().map(|host| Arc::from(*host)).collect();
    let deadline = outgoing.clock.monotonic() + Duration::from_secs(20);
    let caller = Caller { allow_hosts: &allow_hosts, key: "the-key".to_owned(), deadline };
    outgoing.call(call, &caller).map_err(|error| error.to_string())
}

fn call(server: &Server, call: &OutsideCall) -> Result<OutsideAnswer, String> {
    call_with(&outgoing(|_| ()), &[&server.address.to_string()], call)
}

#[track_caller]
fn assert_refused(answer: Result<OutsideAnswer, String>, expected: &str) {
    let refused = answer.expect_err("it is refused");
    assert!(refused.contains(expected), "{refused:?} lacks {expected:?}");
}

#[test]
fn a_request_arrives_as_it_was_made_and_its_answer_comes_back() {
    let server = Server::new(&[OK, OK]);
    let post = OutsideCall {
        method: "POST".to_owned(),
        headers: vec![("x-key".to_owned(), "secret".to_owned())],
        body: Some(b"{\"n\":1}".to_vec()),
        ..get(&server.url("/a?b=c"))
    };
    let answer = call(&server, &post).expect("it answers");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"hi".as_slice()));
    assert!(answer.headers.contains(&("x-a".to_owned(), "b".to_owned())), "{answer:?}");
    let asked = server.asked();
    assert!(asked.starts_with("post /a?b=c http/1.1\r\n"), "{asked}");
    for line in ["x-key: secret", "idempotency-key: the-key", "user-agent: picloud/"] {
        assert!(asked.contains(&format!("\r\n{line}")), "no {line} in {asked}");
    }
    assert!(asked.ends_with("{\"n\":1}"), "{asked}");

    let own = vec![("idempotency-key".to_owned(), "mine".to_owned())];
    call(&server, &OutsideCall { headers: own, ..get(&server.url("/")) }).expect("it answers");
    let asked = server.asked();
    assert!(asked.contains("idempotency-key: mine") && !asked.contains("the-key"), "{asked}");
}

#[test]
fn a_status_of_failure_is_an_answer_too() {
    let server = Server::new(&["HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"]);
    assert_eq!(call(&server, &get(&server.url("/"))).expect("it answers").status, 503);
}

#[test]
fn p8_a_host_that_the_manifest_does_not_name_is_not_called() {
    let server = Server::new(&[]);
    let port = server.address.port();
    let out = outgoing(|_| ());
    for (allow_hosts, url) in [
        (&[][..], server.url("/")),
        (&["127.0.0.1"], server.url("/")),
        (&["localhost"], server.url("/")),
        (&["api.example.org"], server.url("/")),
        (&["api.example.org"], format!("http://[::ffff:7f00:1]:{port}/")),
        (&["api.example.org"], format!("http://localhost:{port}/")),
    ] {
        assert_refused(call_with(&out, allow_hosts, &get(&url)), "allow_hosts");
    }
    for host in ["127.1", "2130706433", "0x7f.1", "0177.0.0.1"] {
        let url = format!("http://{host}:{port}/");
        let allowed = server.address.to_string();
        assert!(call_with(&out, &[host, &allowed], &get(&url)).is_err(), "{host}");
    }
}

#[test]
fn p8_a_name_of_the_internet_that_leads_into_the_lan_is_refused_at_connect() {
    let rebound: Lookup = |_, port| Ok(vec![([127, 0, 0, 1], port).into()]);
    let clock = Arc::new(SystemClock::start());
    let out = Outgoing::with_lookup(OutgoingLimits::default(), Vec::new(), clock, rebound);
    let server = Server::new(&[OK]);
    let port = server.address.port();
    let name = format!("api.example.org:{port}");
    let url = format!("http://{name}/");
    assert_refused(
        call_with(&out, &[&name], &get(&url)),
        "the address 127.0.0.1, which is not one",
    );
    // Named, it is the owner's wish.
    let address = server.address.to_string();
    call_with(&out, &[&name, &address], &get(&url)).expect("it is allowed");
    assert!(server.asked().contains(&format!("host: {name}")));
}

#[test]
fn p8_the_daemon_itself_is_never_called() {
    let server = Server::new(&[]);
    let clock = Arc::new(SystemClock::start());
    let out = Outgoing::new(OutgoingLimits::default(), vec![server.address], clock);
    let answer = call_with(&out, &[&server.address.to_string()], &get(&server.url("/")));
    assert_refused(answer, "is this daemon itself");
}

#[test]
fn a_redirect_is_followed_only_to_where_it_may_lead() {
    let to = |place: &str| {
        format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {place}\r\n\r\n")
    };
    let keyed = |url: &str| OutsideCall {
        headers: vec![("x-key".to_owned(), "secret".to_owned())],
        ..get(url)
    };
    let server = Server::new(&[&to("/b"), OK]);
    let answer = call(&server, &keyed(&server.url("/a"))).expect("it is followed");
    assert_eq!(answer.url, server.url("/b"));
    assert!(server.asked().contains("x-key") && server.asked().contains("x-key"));

    let second = Server::new(&[OK]);
    let first = Server::new(&[&to(&second.url("/"))]);
    let both = [&*first.address.to_string(), &*second.address.to_string()];
    call_with(&outgoing(|_| ()), &both, &keyed(&first.url("/"))).expect("both are named");
    assert!(first.asked().contains("x-key"));
    let asked = second.asked();
    assert!(!asked.contains("x-key") && asked.contains("idempotency-key"), "{asked}");

    for (place, expected) in [
        ("http://169.254.169.254/", "it was redirected to 169.254.169.254:80, which allow_hosts"),
        ("http://127.1:{port}/", "it was redirected, and the place is refused"),
        ("ftp://x/", "it was redirected, and the place is refused"),
    ] {
        let server = Server::new(&[&to(place)]);
        assert_refused(call(&server, &get(&server.url("/"))), expected);
    }
    let round = to("/again");
    let server = Server::new(&[&*round; 6]);
    assert_refused(call(&server, &get(&server.url("/"))), "more than 5 times");
}

#[test]
fn a_post_that_is_redirected_becomes_a_get_or_stays_what_it_was() {
    for (status, method, has_body) in [("303 See", "get", false), ("307 Again", "post", true)] {
        let first = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nLocation: /next\r\n\r\n");
        let server = Server::new(&[&first, OK]);
        let post = OutsideCall {
            method: "POST".to_owned(),
            body: Some(b"the body".to_vec()),
            ..get(&server.url("/"))
        };
        call(&server, &post).expect("it is followed");
        server.asked();
        let asked = server.asked();
        assert!(asked.starts_with(&format!("{method} /next")), "{asked}");
        assert_eq!(asked.ends_with("the body"), has_body, "{asked}");
    }
}

#[test]
fn p7_what_is_too_large_is_not_sent_and_not_taken() {
    let small = |limits: &mut OutgoingLimits| {
        limits.request_bytes_max = 10;
        limits.response_bytes_max = 10;
    };
    let server = Server::new(&["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n01234567890"]);
    let allowed = server.address.to_string();
    let post = OutsideCall { body: Some(vec![0; 11]), ..get(&server.url("/")) };
    assert_refused(call_with(&outgoing(small), &[&allowed], &post), "more than 10 bytes");
    let answer = call_with(&outgoing(small), &[&allowed], &get(&server.url("/")));
    assert_refused(answer, "the answer has more than 10 bytes");
    let server = Server::new(&[&format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000))]);
    assert_refused(call(&server, &get(&server.url("/"))), "header fields have more than");
    assert_refused(
        call_with(
            &outgoing(|limits| limits.lookups_max = 0),
            &["nas.lan"],
            &get("http://nas.lan/"),
        ),
        "too many names",
    );
}

#[test]
fn a_server_that_never_answers_is_given_up_in_time() {
    let server = Server::new(&[""]);
    let hasty = OutsideCall { timeout_ms: Some(30), ..get(&server.url("/")) };
    assert_refused(call(&server, &hasty), "no answer in time");
}

#[test]
fn a_stop_ends_the_call_that_waits_and_none_begins_any_more() {
    let server = Server::new(&[""]);
    let out = outgoing(|_| ());
    let allowed = server.address.to_string();
    let request = get(&server.url("/"));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| call_with(&out, &[&allowed], &request));
        server.asked();
        out.stop();
        assert!(waiting.join().expect("no panic").is_err());
    });
    assert!(call_with(&out, &[&allowed], &get(&server.url("/"))).is_err());
}

#[test]
fn what_cannot_be_sent_is_said_before_anything_is() {
    let server = Server::new(&[]);
    let header = |name: &str, value: &str| OutsideCall {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..get(&server.url("/"))
    };
    for (call_of, expected) in [
        (header("host", "a"), "host is set by PiCloud alone"),
        (header("content-length", "1"), "content-length is set by PiCloud alone"),
        (header("a b", "c"), "is no header's name"),
        (header("a", "b\r\nc: d"), "is no line of text"),
        (OutsideCall { method: "CONNECT".to_owned(), ..get(&server.url("/")) }, "not allowed"),
        (OutsideCall { method: "A B".to_owned(), ..get(&server.url("/")) }, "there is no method"),
    ] {
        assert_refused(call(&server, &call_of), expected);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = nobody.local_addr().expect("it has an address");
    drop(nobody);
    let url = format!("http://{address}/");
    assert!(call_with(&outgoing(|_| ()), &[&address.to_string()], &get(&url)).is_err());
}

#[test]
fn a_server_without_tls_is_no_secure_one() {
    let server = Server::new(&[OK]);
    let url = format!("https://{}/", server.address);
    assert!(call(&server, &get(&url)).is_err());
}
