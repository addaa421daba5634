//! What the person who wrote a script is told.

use std::sync::Arc;

use picloud_scripts_runtime::exec::{ExecErrorKind, Position};

use crate::harness::{MemoryHost, compile, error, run_on, run_with, value};

fn at(line: u32, column: u32, source_line: &str) -> Option<Position> {
    Some(Position { line, column, source_line: source_line.to_owned() })
}

#[test]
fn errors_name_the_place_and_speak_no_rust() {
    for (source, message, position) in [
        ("nope::f(1)", "there is no module nope", at(1, 1, "nope::f(1)")),
        ("let a = 1;\nnope + a", "there is no variable nope", at(2, 1, "nope + a")),
        ("let a = ;", "unexpected ';'", at(1, 9, "let a = ;")),
        ("eval(\"1\")", "reserved keyword 'eval' is disabled", at(1, 1, "eval(\"1\")")),
        ("import \"x\" as x;", "import cannot be used in scripts", at(1, 1, "import \"x\" as x;")),
    ] {
        let error = compile(source).expect_err(source);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ExecErrorKind::Compile, message),
            "{source}"
        );
        assert_eq!(error.position, position, "{source}");
    }
    for (source, message, position) in [
        (
            "let a = 1;\n  nope(a, 1.5, \"x\")",
            "there is no function nope (int, float, string)",
            at(2, 3, "  nope(a, 1.5, \"x\")"),
        ),
        ("throw \"no water\"", "no water", at(1, 1, "throw \"no water\"")),
        ("throw #{code: 7}", "{\"code\":7}", at(1, 1, "throw #{code: 7}")),
        ("throw", "threw without a value", at(1, 1, "throw")),
        ("[1][5]", "array index 5 out of bounds: only 1 element in array", at(1, 5, "[1][5]")),
        ("1 / 0", "division by zero: 1 / 0", at(1, 3, "1 / 0")),
        (
            "let x = 1; x.y",
            "unknown property 'y' - a getter is not registered for type 'int'",
            at(1, 14, "let x = 1; x.y"),
        ),
        ("let b = 1; if b { 2 }", "takes bool, not int", at(1, 15, "let b = 1; if b { 2 }")),
        (
            "kv::collection(\"\")",
            "the collection's name is empty",
            at(1, 5, "kv::collection(\"\")"),
        ),
        ("kv::nope(1)", "there is no function kv::nope (int)", at(1, 5, "kv::nope(1)")),
    ] {
        let error = error(source);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ExecErrorKind::Thrown, message),
            "{source}"
        );
        assert_eq!(error.position, position, "{source}");
    }
}

#[test]
fn an_error_in_a_function_has_the_place_within_it() {
    let source = "fn inner(x) {\n    x.missing()\n}\nfn outer(x) {\n    inner(x)\n}\nouter(1)";
    let error = error(source);
    assert_eq!(error.message, "there is no function missing (int)");
    assert_eq!(error.position, at(2, 7, "    x.missing()"));
}

#[test]
fn an_uncatchable_error_has_a_place_too() {
    let failed = error("let c = kv::collection(\"c\");\nif true {\n    c.get(\"\");\n}");
    assert_eq!(failed.position, at(3, 7, "    c.get(\"\");"));
    let host = Arc::new(MemoryHost { broken: true, ..Default::default() });
    let error = run_on(&host, "let a = 1;\nkv::collection(\"c\").get(\"k\")").result.unwrap_err();
    assert_eq!(error.kind, ExecErrorKind::HostFailed);
    assert_eq!(error.message, "the store could not answer: disk on fire");
    assert_eq!(error.position.map(|p| p.line), Some(2));
}

#[test]
fn errors_and_lines_are_cut() {
    let error = error(&format!("/*{}*/ let s = \"\"; s.pad(5000, 'ä'); throw s", "x".repeat(500)));
    assert!(error.message.len() <= 1_024 && error.message.ends_with('…'));
    assert_eq!(error.position.unwrap().source_line.chars().count(), 200);
}

#[test]
fn arithmetic_that_cannot_be_done_is_an_error_to_catch() {
    for source in [
        "let a = -9223372036854775808; a / -1",
        "let a = -9223372036854775808; a % -1",
        "let a = -9223372036854775808; -a",
        "let a = -9223372036854775808; abs(a)",
        "9223372036854775807 + 1",
        "let a = 9223372036854775807; a += 1; a",
        "9223372036854775807 * 2",
        "-9223372036854775807 - 2",
        "2 ** 64",
        "2 ** 9223372036854775807",
        "2 ** -1",
        "1 / 0",
        "1 % 0",
        "parse_int(\"9223372036854775808\")",
    ] {
        assert_eq!(error(source).kind, ExecErrorKind::Thrown, "{source}");
        let caught = format!("let r = 1; try {{ {source}; }} catch {{ r = 2 }} r");
        assert_eq!(value(&caught), "2", "{source}");
    }
    assert_eq!(
        value("[1 << 64, 1 << -1, 1 >> 100, -1 >> 100, 1 << 9223372036854775807].len()"),
        "5"
    );
}

#[test]
fn a_result_that_is_no_json_is_named_with_its_place() {
    for (source, message) in [
        ("|x| x", "result is a function, which cannot be JSON"),
        ("#{items: [1, 2, 3, Fn(\"f\")]}", "result.items[3] is a function, which cannot be JSON"),
        (
            "#{a: #{\"odd key\": 0.0 / 0.0}}",
            "result.a[\"odd key\"] is not a number (NaN), which cannot be JSON",
        ),
        ("[1.0 / 0.0]", "result[0] is infinite, which cannot be JSON"),
        ("[0..5]", "result[0] is a range, which cannot be JSON"),
        ("kv::collection(\"c\")", "result is a KV collection, which cannot be JSON"),
    ] {
        let error = error(source);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ExecErrorKind::BadResult, message),
            "{source}"
        );
    }
    let error =
        run_with(&Arc::default(), "#{a: \"0123456789\"}", |r| r.limits.response_bytes_max = 12);
    let error = error.result.unwrap_err();
    assert_eq!(error.kind, ExecErrorKind::Budget);
    assert_eq!(error.message, "result is larger than 12 bytes as JSON (reached at result.a)");
}

#[test]
fn json_that_scripts_cannot_hold_is_an_error() {
    let deep = r#"let s = ""; s.pad(10000, '['); json::parse(s)"#;
    for (source, part) in [
        (deep, "nested more than 64 levels deep"),
        ("json::parse(\"1e400\")", "number out of range"),
        ("json::parse(\"9223372036854775808\")", "9223372036854775808 does not fit in 64 bits"),
        (
            "json::parse(\"[1, -99999999999999999999]\")",
            "-99999999999999999999, which does not fit in 64 bits",
        ),
        (
            r#"json::parse(`{"a\"1": 18446744073709551616}`)"#,
            "18446744073709551616, which does not fit",
        ),
        ("json::parse(\"NaN\")", "cannot be read as JSON"),
        ("json::parse(\"\")", "cannot be read as JSON"),
        ("json::parse(\"1 2\")", "trailing characters"),
        ("json::stringify(0.0 / 0.0)", "value is not a number (NaN)"),
    ] {
        let error = error(source);
        assert_eq!(error.kind, ExecErrorKind::Thrown, "{source}");
        assert!(error.message.contains(part), "{error}: {source}");
    }
    assert_eq!(
        value(
            "json::parse(\"[1e19, 100000000000000000000.0, 9223372036854775807, -9223372036854775808]\")"
        ),
        "[1e19,1e20,9223372036854775807,-9223372036854775808]"
    );
}

#[test]
fn names_are_exact_bytes_within_bounds() {
    let host: Arc<MemoryHost> = Arc::default();
    let report = run_on(
        &host,
        r#"
        let c = kv::collection("../etc");
        c.set("é", 1); c.set("e\u0301", 2); c.set(" ", 3); c.set("../../x", 4); c.set("%00", 5);
        [c.get("é"), c.get("e\u0301"), c.keys("")]
    "#,
    );
    assert_eq!(
        report.result.as_deref(),
        Ok("[1,2,[\" \",\"%00\",\"../../x\",\"e\u{301}\",\"é\"]]")
    );
    for (source, message) in [
        (r#"kv::collection("c").get("")"#, "the key is empty"),
        (
            r#"kv::collection("c").set("a\x00b", 1)"#,
            "the key has the control character \\u{0}, which is not allowed",
        ),
        (
            r#"kv::collection("a\n")"#,
            "the collection's name has the control character \\u{a}, which is not allowed",
        ),
        (
            r#"let s = ""; s.pad(513, 'x'); kv::collection("c").get(s)"#,
            "the key has 513 bytes, at most 512 are allowed",
        ),
        (r#"docs::collection("c").put("", #{})"#, "the document's id is empty"),
        (r#"outbox::enqueue("", 1)"#, "the script's name is empty"),
        (r#"outbox::enqueue("s", 1, #{key: ""})"#, "key is empty"),
        (r#"outbox::enqueue("s", 1, #{delay: 5})"#, "delay takes a duration like \"10m\""),
        (
            r#"outbox::enqueue("s", 1, #{delay: "5"})"#,
            "delay: \"5\" is not a duration: write a number and a unit, like \"500ms\", \"10s\", \"5m\", \"1.5h\" or \"2d\"",
        ),
        (
            r#"outbox::enqueue("s", 1, #{dealy: "5s"})"#,
            "enqueue has no option \"dealy\", there are delay, key and dedupe",
        ),
        (
            r#"kv::collection("c").set("k", 1, #{tll: "5s"})"#,
            "set has no option \"tll\", there is ttl",
        ),
        (r#"kv::collection("c").set("k", 1, #{ttl: "0s"})"#, "ttl is 0; use delete"),
        (r#"kv::collection("c").list("", 0)"#, "limit takes an integer from 1 to 100000"),
        (
            r#"docs::collection("c").find(#{}, #{limt: 1})"#,
            "find has no option \"limt\", there are sort, limit and after",
        ),
    ] {
        let error = error(source);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ExecErrorKind::Thrown, message),
            "{source}"
        );
    }
}
