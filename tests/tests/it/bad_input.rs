//! Rubbish on the admin socket: it gets an answer that says what is wrong, changes nothing and costs nobody anything.

use picloud_api::BASE;
use picloud_tests::client::{Connection, Request};
use picloud_tests::daemon::{InlineApp, Site};

fn notes(site: &Site) {
    site.deploy_app(&InlineApp {
        slug: "notes",
        scripts: &[("keep", r#"kv::collection("kept").set("a", 1)"#)],
        routes: &[("POST /", "keep", "")],
        manifest: "",
    });
}

#[test]
fn names_of_any_bytes_find_what_is_called_so_or_nothing() {
    let site = Site::new();
    let daemon = site.start();
    notes(&site);
    assert_eq!(daemon.post("/notes/", "").status, 200);
    let value = |key: &str| format!("/apps/notes/kv/kept/{key}");
    for (target, status, code) in [
        ("/apps/..%2Fnotes/manifest".to_owned(), 404, "not_found"),
        ("/apps/notes%00/scripts".to_owned(), 404, "not_found"),
        ("/apps/notes/../notes/scripts".to_owned(), 404, "no_such_call"),
        ("/apps//scripts".to_owned(), 404, "not_found"),
        ("/apps/%FF/scripts".to_owned(), 400, "bad_request"),
        ("/apps/%zz/scripts".to_owned(), 404, "not_found"),
        ("/apps/-1/scripts".to_owned(), 404, "not_found"),
        ("/apps/99999999999999999999/scripts".to_owned(), 404, "not_found"),
        ("/apps/notes/scripts/ke%65p".to_owned(), 200, ""),
        ("/apps/notes/scripts/a%2Fb".to_owned(), 404, "not_found"),
        (value("%61"), 200, ""),
        (value("a%00"), 422, "unfit"),
        (value("..%2Fkept%2Fa"), 404, "not_found"),
        (value(&"x".repeat(2_000)), 422, "unfit"),
        ("/outbox/%F0%9F%A6%80".to_owned(), 404, "not_found"),
        ("/outbox/00000000000000000000000000?".to_owned(), 404, "not_found"),
    ] {
        let answer = daemon.admin(&Request::get(&target)).expect("the admin socket answers");
        assert_eq!(answer.problem(), (status, code.to_owned()), "{target}: {answer:?}");
    }
}

#[test]
fn p7_a_name_of_ten_megabytes_is_refused_wherever_it_stands() {
    let site = Site::new();
    let daemon = site.start();
    notes(&site);
    let name = "x".repeat(10 << 20);
    let body = format!(r#"{{"slug": "{name}"}}"#);
    let length = body.len();
    for (bytes, status) in [
        (format!("GET {BASE}/apps/{name}/scripts HTTP/1.1\r\nHost: localhost\r\n\r\n"), 431),
        (
            format!(
                "POST {BASE}/apps HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            ),
            413,
        ),
    ] {
        let mut connection = Connection::unix(&site.socket()).expect("the socket is there");
        // The daemon answers as soon as it knows, and need not take the rest.
        let _sent = connection.write(bytes.as_bytes());
        let answer = connection.read_response().expect("it answers");
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(daemon.list("apps").len(), 1);
}

#[test]
fn p2_a_deploy_while_its_scripts_run_lets_them_end_as_they_began() {
    let site = Site::new();
    let daemon = site.start();
    let app = |answer: &'static str| {
        let slow = format!(
            "let i = 0; while i < 200000 {{ i += 1; }} kv::collection(\"kept\").set(\"by\", {answer}); {answer}"
        );
        site.deploy_app(&InlineApp {
            slug: "notes",
            scripts: &[("slow", &slow)],
            routes: &[("POST /", "slow", "")],
            manifest: "",
        });
    };
    app("1");
    let address = daemon.address();
    let ask = move || {
        let mut connection = Connection::tcp(address).expect("the daemon listens");
        connection.send(&Request::post("/notes/", "")).expect("it answers")
    };
    let asked: Vec<_> = (0..4).map(|_| std::thread::spawn(ask)).collect();
    app("2");
    let ended = asked.into_iter().map(|one| one.join().expect("the client does not panic"));
    let answers: Vec<_> = ended.map(|answer| (answer.status, answer.body)).collect();
    assert!(
        answers.iter().all(|(status, body)| *status == 200 && (body == b"1" || body == b"2")),
        "{answers:?}"
    );
    assert_eq!(daemon.post("/notes/", "").body, b"2");
}
