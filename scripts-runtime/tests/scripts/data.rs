//! `kv::` and `docs::`: a run sees its own writes, then what it read, then the store.

use std::sync::Arc;

use picloud_scripts_runtime::effect::{Amount, Effect, Key, Read, Space};

use crate::harness::{MemoryHost, run_on, value, value_on};

fn key(space: Space, collection: &str, key: &str) -> Key {
    Key { space, collection: collection.into(), key: key.into() }
}

#[test]
fn a_script_gives_its_last_value() {
    assert_eq!(value("40 + 2"), "42");
    assert_eq!(
        value(r#"#{status: 201, body: [1, 2.5, "x", true, (), 'c']}"#),
        r#"{"body":[1,2.5,"x",true,null,"c"],"status":201}"#
    );
    assert_eq!(value("event.body.n + event.attempt"), "2");
}

#[test]
fn a_run_reads_each_key_once_and_tells_the_version() {
    let host = Arc::new(MemoryHost::default().kv("c", "a", "41"));
    let report = run_on(
        &host,
        r#"
        let c = kv::collection("c");
        [c.get("a"), c.get("a"), c.get("none"), c.has("none"), c.has("a")]
    "#,
    );
    assert_eq!(report.result.as_deref(), Ok("[41,41,null,false,true]"));
    assert_eq!(
        report.reads,
        [
            Read { key: key(Space::Kv, "c", "a"), version: 1 },
            Read { key: key(Space::Kv, "c", "none"), version: 0 },
        ]
    );
    assert_eq!(*host.calls.lock().unwrap(), ["read c/a", "read c/none"]);
    assert_eq!(report.effects, []);
}

#[test]
fn a_run_sees_its_own_writes_without_asking_the_store() {
    let host = Arc::new(MemoryHost::default().kv("c", "a", "1"));
    let report = run_on(
        &host,
        r#"
        let c = kv::collection("c");
        c.set("a", #{x: 1}, #{ttl: "10m"});
        let after_set = c.get("a").x;
        c.delete("a");
        [after_set, c.get("a"), c.has("a")]
    "#,
    );
    assert_eq!(report.result.as_deref(), Ok("[1,null,false]"));
    assert_eq!(report.reads, []);
    assert_eq!(
        report.effects,
        [
            Effect::Put {
                key: key(Space::Kv, "c", "a"),
                value: r#"{"x":1}"#.into(),
                ttl_ms: Some(600_000)
            },
            Effect::Delete { key: key(Space::Kv, "c", "a") },
        ]
    );
}

#[test]
fn an_increment_is_blind_until_the_key_is_read() {
    let host = Arc::new(MemoryHost::default().kv("c", "n", "40"));
    let blind = run_on(&host, r#"kv::collection("c").incr("n", 2)"#);
    assert_eq!(blind.reads, []);
    assert_eq!(
        blind.effects,
        [Effect::Increment { key: key(Space::Kv, "c", "n"), by: Amount::Integer(2) }]
    );

    let read = run_on(
        &host,
        r#"
        let c = kv::collection("c");
        c.incr("n", 1); c.incr("n", 1);
        let seen = c.get("n");
        c.incr("n", 0.5);
        c.incr("new", 3);
        [seen, c.get("n"), c.get("new")]
    "#,
    );
    assert_eq!(read.result.as_deref(), Ok("[42,42.5,3]"));
    assert_eq!(read.effects.len(), 4);
    assert_eq!(read.reads.len(), 2);
}

#[test]
fn a_value_that_does_not_take_its_changes_is_read_once() {
    let host = Arc::new(MemoryHost::default().kv("c", "n", r#""text""#));
    let source = r#"
        let c = kv::collection("c");
        c.incr("n", 1);
        let failed = 0;
        for i in 0..3 { try { c.get("n"); } catch { failed += 1; } }
        try { c.list("", 9); } catch { failed += 1; }
        c.delete("n");
        [failed, c.get("n")]
    "#;
    let report = run_on(&host, source);
    assert_eq!(report.result.as_deref(), Ok("[4,null]"));
    assert_eq!(report.reads, [Read { key: key(Space::Kv, "c", "n"), version: 1 }]);
}

#[test]
fn documents_are_created_merged_and_found() {
    assert_eq!(
        value(
            r#"
        let d = docs::collection("d");
        let id = d.create(#{a: 1, b: #{c: 2}});
        d.update(id, #{b: #{c: (), e: 3}});
        [id.len(), d.get(id)]
    "#
        ),
        r#"[26,{"a":1,"b":{"e":3}}]"#
    );
    let host = Arc::new(
        MemoryHost::default().doc("d", "1", r#"{"n":1}"#).doc("d", "2", r#"{"n":2}"#).doc(
            "d",
            "3",
            r#"{"n":3}"#,
        ),
    );
    assert_eq!(
        value_on(
            &host,
            r#"
        let d = docs::collection("d");
        d.put("0", #{n: 5});
        d.delete("2");
        d.update("3", #{n: 30});
        d.update("9", #{n: 30});
        d.find(#{n: #{"$gt": 2}})
    "#
        ),
        r#"[{"data":{"n":5},"id":"0"},{"data":{"n":30},"id":"3"}]"#
    );
    assert_eq!(
        value_on(
            &host,
            r#"
        let d = docs::collection("d");
        let page = d.find(#{}, #{sort: "-n", limit: 2});
        let next = d.find(#{}, #{sort: "-n", limit: 2, after: page[1].id});
        [page.map(|p| p.id), next.map(|p| p.id), d.count(#{})]
    "#
        ),
        r#"[["3","2"],["1"],3]"#
    );
}
