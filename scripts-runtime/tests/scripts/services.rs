//! Every function that scripts can call, and what its effects are.

use std::sync::Arc;

use picloud_scripts_runtime::effect::{Amount, Effect, Key, Space};
use picloud_scripts_runtime::exec::ExecErrorKind;
use picloud_scripts_runtime::host::{Level, LogLine};

use crate::harness::{MemoryHost, NOW_MS, error, run, run_on, run_with, value, value_on};

fn key(space: Space, key: &str) -> Key {
    Key { space, collection: "c".into(), key: key.into() }
}

#[test]
fn services_work_inside_of_functions_and_closures() {
    let host = Arc::new(MemoryHost::default().kv("c", "n", "5"));
    assert_eq!(
        value_on(
            &host,
            r#"
        fn read(key) { kv::collection("c").get(key) }
        fn outer(keys) { keys.map(|k| read(k)) }
        outer(["n", "none"])
    "#
        ),
        "[5,null]"
    );
}

#[test]
fn every_write_becomes_an_effect_in_order() {
    let report = run(r#"
        let c = kv::collection("c");
        c.set("a", 1);
        c.set("b", [1.5], #{ttl: "1.5h"});
        c.incr("n", 2);
        c.incr("f", 0.5);
        c.delete("a");
        let d = docs::collection("c");
        d.put("x", #{a: 1});
        d.update("x", #{b: 2});
        d.update("y", #{b: ()});
        d.delete("x");
        outbox::enqueue("work", #{n: 1});
        outbox::enqueue("work", 2, #{delay: "5m", key: "k", dedupe: "d"});
        dead_letters::replay("L1");
        dead_letters::replay("L2", #{fixed: true});
        dead_letters::discard("L3", "known");
    "#);
    assert_eq!(report.result.as_deref(), Ok("null"));
    assert_eq!(
        report.effects,
        [
            Effect::Put { key: key(Space::Kv, "a"), value: "1".into(), ttl_ms: None },
            Effect::Put {
                key: key(Space::Kv, "b"),
                value: "[1.5]".into(),
                ttl_ms: Some(5_400_000)
            },
            Effect::Increment { key: key(Space::Kv, "n"), by: Amount::Integer(2) },
            Effect::Increment { key: key(Space::Kv, "f"), by: Amount::Float(0.5) },
            Effect::Delete { key: key(Space::Kv, "a") },
            Effect::Put { key: key(Space::Docs, "x"), value: r#"{"a":1}"#.into(), ttl_ms: None },
            Effect::Patch { key: key(Space::Docs, "x"), patch: r#"{"b":2}"#.into() },
            Effect::Patch { key: key(Space::Docs, "y"), patch: r#"{"b":null}"#.into() },
            Effect::Delete { key: key(Space::Docs, "x") },
            Effect::Enqueue {
                script: "work".into(),
                payload: r#"{"n":1}"#.into(),
                delay_ms: 0,
                order_key: None,
                dedupe: None
            },
            Effect::Enqueue {
                script: "work".into(),
                payload: "2".into(),
                delay_ms: 300_000,
                order_key: Some("k".into()),
                dedupe: Some("d".into())
            },
            Effect::ReplayDeadLetter { id: "L1".into(), payload: None },
            Effect::ReplayDeadLetter { id: "L2".into(), payload: Some(r#"{"fixed":true}"#.into()) },
            Effect::DiscardDeadLetter { id: "L3".into(), reason: "known".into() },
        ]
    );
    assert_eq!(report.reads, []);
}

#[test]
fn lists_are_merged_with_the_runs_own_writes() {
    let mut host = MemoryHost::default();
    for i in 0..1_200 {
        host = host.kv("c", &format!("k{i:04}"), &i.to_string());
    }
    let host = Arc::new(host.kv("c", "other", "0"));
    let source = r#"
        let c = kv::collection("c");
        let seen = c.get("k0005");
        c.set("k0000a", "new"); c.delete("k0001"); c.incr("k0002", 40); c.incr("k9999", 7); c.set("j", 0);
        let keys = c.keys("k");
        #{count: keys.len(), list: c.list("k000", 4).map(|e| [e.key, e.value]), last: c.list("k9", 5), all: c.keys("").len()}
    "#;
    assert_eq!(
        value_on(&host, source),
        concat!(
            r#"{"all":1203,"count":1201,"last":[{"key":"k9999","value":7}],"#,
            r#""list":[["k0000",0],["k0000a","new"],["k0002",42],["k0003",3]]}"#
        )
    );
    let calls = host.calls.lock().unwrap().clone();
    assert_eq!(calls.iter().filter(|call| call.starts_with("read")).count(), 1);
    assert!(
        calls.contains(&"list c 32".to_owned()) && calls.contains(&"list c 500".to_owned()),
        "{calls:?}"
    );
    assert_eq!(run_on(&host, source).reads.len(), 1, "lists are not validated");
}

#[test]
fn a_list_shows_what_was_read_before_not_what_the_store_has_now() {
    let host = Arc::new(MemoryHost::default().kv("c", "b", "1"));
    let source = r#"let c = kv::collection("c"); let a = c.get("a"); outbox::enqueue("s", 0); c.list("", 9)"#;
    assert_eq!(value_on(&host, source), r#"[{"key":"b","value":1}]"#);
}

#[test]
fn an_increment_of_what_is_no_number_fails_as_soon_as_it_is_known() {
    let host = Arc::new(MemoryHost::default().kv("c", "t", "\"text\""));
    let report = run_on(
        &host,
        r#"let c = kv::collection("c"); c.incr("t", 1); try { c.get("t"); } catch (e) { return e; }"#,
    );
    assert_eq!(
        report.result.as_deref(),
        Ok(r#""kv \"c\", \"t\" holds no number, so nothing can be added to it""#)
    );
    let report = run_on(
        &host,
        r#"let c = kv::collection("c"); c.get("t"); try { c.incr("t", 1); } catch {} 1"#,
    );
    assert_eq!((report.result.is_ok(), report.effects.len()), (true, 0));
    assert_eq!(
        error(r#"kv::collection("c").incr("t", 0.0/0.0)"#).message,
        "incr takes a finite number"
    );
}

#[test]
fn a_document_that_is_known_to_be_absent_cannot_be_updated() {
    let absent = error(r#"let d = docs::collection("c"); d.get("x"); d.update("x", #{})"#);
    assert_eq!(absent.message, r#"docs "c", "x" does not exist, so it cannot be updated"#);
    let no_document = error(r#"docs::collection("c").put("x", [1])"#);
    assert_eq!(no_document.kind, ExecErrorKind::Thrown);
}

#[test]
fn created_documents_sort_in_the_order_of_their_creation() {
    let ids = value(
        r#"let d = docs::collection("c"); let ids = []; for i in 0..50 { ids.push(d.create(#{i: i})); } let s = ids; s.sort(); [s == ids, d.find(#{}, #{limit: 3}).map(|f| f.data.i), ids[0]]"#,
    );
    assert!(ids.starts_with("[true,[0,1,2],\"01KG9"), "{ids}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let source = r#"
        let d = docs::collection("c"); let id = d.create(#{});
        #{id: id, int: random::int(1, 6), float: random::float(), uuid: random::uuid(), bytes: random::bytes(5),
          choice: random::choice([1, 2, 3]), shuffle: random::shuffle([1, 2, 3, 4, 5]), flip: random::bool(), now: time::now(), iso: time::now_iso()}
    "#;
    let (first, second) = (run(source), run(source));
    assert!(first.result.is_ok(), "{:?}", first.result);
    assert_eq!(first, second);
    let other = run_with(&Arc::default(), source, |request| request.seed = 43);
    assert_ne!(first.result, other.result);
}

#[test]
fn random_values_are_in_their_ranges() {
    assert_eq!(
        value(
            r#"
        let ok = true; let seen = [];
        for i in 0..500 {
            let n = random::int(-2, 3);
            if n < -2 || n > 3 { ok = false; }
            if !seen.contains(n) { seen.push(n); }
            let f = random::float();
            if f < 0.0 || f >= 1.0 { ok = false; }
        }
        let all = random::int(-9223372036854775808, 9223372036854775807);
        [ok, seen.len(), random::int(7, 7), random::bytes(0).len(), random::uuid().len(), random::shuffle([1,2,3]).len()]
    "#
        ),
        "[true,6,7,0,36,3]"
    );
    assert_eq!(error("random::int(2, 1)").message, "random::int: 2 is greater than 1");
    assert_eq!(error("random::choice([])").message, "random::choice: the array is empty");
    assert_eq!(error("random::bytes(-1)").message, "random::bytes takes a count from 0 to 100000");
}

#[test]
fn times_are_formatted_and_read() {
    assert_eq!(value("time::now()"), NOW_MS.to_string());
    assert_eq!(
        value(
            r#"[
        time::now_iso(),
        time::format(0),
        time::format(0, "%Y-%m-%d %H:%M"),
        time::format(time::parse("2026-07-01T12:00:00Z"), "%H:%M %Z", "Europe/Berlin"),
        time::parse("1970-01-02"),
        time::parse("2026-01-31T13:00:00+01:00") == time::now(),
        time::duration("1.5h"),
        time::parts(time::now(), "Europe/Berlin"),
        time::parts(time::now()).hour,
        time::format(time::start_of_day(time::now(), "Europe/Berlin")),
    ]"#
        ),
        concat!(
            r#"["2026-01-31T12:00:00Z","1970-01-01T00:00:00Z","1970-01-01 00:00","14:00 CEST",86400000,true,5400000,"#,
            r#"{"day":31,"hour":13,"millisecond":0,"minute":0,"month":1,"offset_minutes":60,"second":0,"weekday":6,"year":2026},12,"#,
            r#""2026-01-30T23:00:00Z"]"#
        )
    );
    for (source, part) in [
        (r#"time::parse("yesterday")"#, "\"yesterday\" is no time"),
        (r#"time::parse("2026-02-30")"#, "\"2026-02-30\" is no time"),
        (r#"time::format(9223372036854775807)"#, "is no time from year -9999 to 9999"),
        (r#"time::parts(0, "Mars/Base")"#, "there is no time zone \"Mars/Base\""),
        (r#"time::format(0, "%!")"#, "the pattern is wrong"),
        (
            r#"let s = ""; s.pad(200, '%'); time::format(0, s)"#,
            "the pattern has more than 128 bytes",
        ),
        (r#"time::duration("soon")"#, "is not a duration"),
    ] {
        let error = error(source);
        assert!(error.message.contains(part), "{error}: {source}");
    }
}

#[test]
fn bytes_are_encoded_hashed_and_compared() {
    assert_eq!(
        value(
            r#"[
        base64::encode("hällo"), base64::decode("aMOkbGxv").as_string(), base64::encode_url(blob(2, 255)),
        base64::decode_url("__8").len(), hex::encode("AZ"), hex::decode("415a").as_string(),
        hash::sha256("abc"), hash::hmac_sha256("key", "The quick brown fox jumps over the lazy dog"),
        hash::sha512("").len(), hash::equal("a", "a"), hash::equal("a", "b"), hash::equal("a", "aa"),
    ]"#
        ),
        concat!(
            r#"["aMOkbGxv","hällo","__8",2,"415a","AZ","#,
            r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","#,
            r#""f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",128,true,false,false]"#
        )
    );
    assert_eq!(error(r#"base64::decode("!")"#).message, "the text is not base64");
    assert_eq!(error(r#"hex::decode("4g")"#).message, "the text is not hexadecimal");
    assert_eq!(error(r#"hex::decode("äö")"#).message, "the text is not hexadecimal");
    assert_eq!(error("hash::sha256(5)").message, "takes a string or a blob, not an int");
}

#[test]
fn blobs_survive_as_json() {
    assert_eq!(
        value(r#"#{status: 200, body: base64::decode("AP8=")}"#),
        r#"{"body":{"$base64":"AP8="},"status":200}"#
    );
    let host = Arc::new(MemoryHost::default().kv("c", "b", r#"{"$base64":"AP8="}"#).kv(
        "c",
        "m",
        r#"{"$base64":"no!"}"#,
    ));
    assert_eq!(
        value_on(
            &host,
            r#"
        let c = kv::collection("c");
        [type_of(c.get("b")), c.get("b").len(), type_of(c.get("m")), type_of(json::parse(`{"$base64":"AP8="}`))]
    "#
        ),
        r#"["blob",2,"map","map"]"#
    );
    let event =
        run_with(&host, "event.body.len()", |r| r.event = r#"{"body":{"$base64":"AP8A"}}"#.into());
    assert_eq!(event.result.as_deref(), Ok("3"));
}

#[test]
fn log_lines_reach_the_host() {
    let host: Arc<MemoryHost> = Arc::default();
    run_on(
        &host,
        r#"
        log::debug("d"); log::info("i", #{n: 1, s: "x"}); log::warn([1, #{a: 2}]); log::error(());
        print("p"); print([1, "a", #{b: 'c'}]); debug("q");
    "#,
    )
    .result
    .unwrap();
    let line = |level, message: &str, fields: Option<&str>| LogLine {
        level,
        message: message.to_owned(),
        fields: fields.map(str::to_owned),
    };
    assert_eq!(
        *host.log.lock().unwrap(),
        [
            line(Level::Debug, "d", None),
            line(Level::Info, "i", Some(r#"{"n":1,"s":"x"}"#)),
            line(Level::Warn, r#"[1,{"a":2}]"#, None),
            line(Level::Error, "null", None),
            line(Level::Info, "p", None),
            line(Level::Info, r#"[1, "a", #{"b": 'c'}]"#, None),
            line(Level::Debug, "\"q\"", None),
        ]
    );
    assert_eq!(
        error(r#"log::info("x", #{f: |x| x})"#).message,
        "log: f is a function, which cannot be JSON"
    );
}

#[test]
fn the_event_has_what_every_event_has() {
    let report = run_with(
        &Arc::default(),
        "[event.method, event.execution_id, event.attempt, event.depth, event.root_id]",
        |r| {
            r.attempt = 3;
            r.depth = 2;
        },
    );
    assert_eq!(report.result.as_deref(), Ok(r#"["GET","01EXECUTION",3,2,"01ROOT"]"#));
    let report = run_with(&Arc::default(), "event.body", |r| r.event = r#"{"body":[1,2"#.into());
    assert!(
        report.result.unwrap_err().message.starts_with("the event cannot be read as JSON: EOF")
    );
}

#[test]
fn texts_and_arrays_split_and_replace_as_rhai_says() {
    assert_eq!(
        value(
            r#"[
        "a b  c".split(), "a,b,c".split(","), "a,b,c".split(','), "a,b,c".split(",", 2), "a,b,c".split(',', 2),
        "a,b,c".split_rev(","), "a,b,c".split_rev(',', 2), "abc".split(1), "äb".to_chars(),
    ]"#
        ),
        r#"[["a","b","c"],["a","b","c"],["a","b","c"],["a","b,c"],["a","b,c"],["c","b","a"],["c","a,b"],["a","bc"],["ä","b"]]"#
    );
    assert_eq!(
        value(
            r#"let s = "hello"; s.replace("l", "LL"); s.replace('h', 'J'); s.replace('o', "0!"); s.replace("!", '?'); s"#
        ),
        "\"JeLLLL0?\""
    );
    assert_eq!(
        value(r#"#{b: 1, a: [1.0, "x", ()]}.to_json()"#),
        r#""{\"a\":[1.0,\"x\",null],\"b\":1}""#
    );
    assert_eq!(value(r#"`${[1, |x| x, #{a: 1..3}]}`"#), r#""[1, Fn(|…|), #{\"a\": a range}]""#);
}
