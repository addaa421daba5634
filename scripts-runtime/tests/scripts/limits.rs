//! What a bad script can do: fail. All on a thread with the stack that is promised, none larger.

#![allow(
    clippy::disallowed_methods,
    reason = "that a run ends in time is what some of these tests are about"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use picloud_scripts_runtime::exec::ExecErrorKind;
use picloud_scripts_runtime::host::{Interrupt, Need};
use picloud_scripts_runtime::limits::RunLimits;
use picloud_scripts_runtime::memory::held_bytes;
use picloud_scripts_runtime::runtime::Runtime;

use crate::harness::{
    MemoryHost, compile, error, on_promised_stack, request, run, run_on, run_with, value,
};

#[test]
fn p6_a_loop_without_end_ends_by_operations_or_deadline() {
    let spent = run("loop {}");
    let error = spent.result.expect_err("it cannot end");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ExecErrorKind::Budget, "used up its 5000000 operations")
    );
    assert_eq!(spent.usage.operations, 5_000_000);

    let host =
        Arc::new(MemoryHost { interrupt: Some((3, Interrupt::Deadline)), ..Default::default() });
    let late = run_on(&host, "loop {}");
    let error = late.result.expect_err("it was interrupted");
    assert_eq!((error.kind, error.position.map(|p| p.line)), (ExecErrorKind::Timeout, Some(1)));
    assert!(late.usage.operations < 1_000, "{:?}", late.usage);
}

#[test]
fn p6_exactly_the_operations_of_the_limit_are_run() {
    for operations_max in [1, 63, 64, 65, 1_000] {
        let report =
            run_with(&Arc::default(), "loop {}", |r| r.limits.operations_max = operations_max);
        assert_eq!(report.usage.operations, operations_max);
        assert!(report.result.is_err());
    }
    let used = run("let a = 1; a + 1").usage.operations;
    assert!(
        run_with(&Arc::default(), "let a = 1; a + 1", |r| r.limits.operations_max = used)
            .result
            .is_ok()
    );
    assert!(
        run_with(&Arc::default(), "let a = 1; a + 1", |r| r.limits.operations_max = used - 1)
            .result
            .is_err()
    );
}

/// Each ends as a used-up budget, also when the script catches what it can.
#[test]
fn p6_what_grows_without_end_is_stopped() {
    for source in [
        // Nesting, by every way to nest.
        "let a = []; loop { a = [a]; }",
        "let a = #{}; loop { a = #{x: a}; }",
        "fn w() { loop { this = [this]; } } let a = []; a.w(); a",
        "let a = []; loop { let b = []; b.push(a); a = b; }",
        "let a = [0]; loop { let b = [0]; b[0] = a; a = b; }",
        "let x = []; x.pad(90000, 0); x.reduce(|acc, v| [acc], [])",
        "let f = || 0; loop { let g = f; f = || g.call(); }",
        "fn into(b) { if this.len() == 0 { this.push(b); } else { this[0].into(b); } }
         let b = []; for i in 0..150 { b = [b]; } let a = [[]]; loop { a.into(b); }",
        // Recursion, also in closures and through functions that call back.
        "fn f(x) { f(x + 1) } f(0)",
        "fn f(x) { 1 + (1 + (1 + (1 + (1 + f(x + 1))))) } f(0)",
        "let f = |g, n| g.call(g, n + 1); f.call(f, 0)",
        "fn s() { let a = [3, 1, 2]; a.sort(|x, y| { s(); 0 }); a } s()",
        "fn s(n) { [1, 2].map(|x| s(n + 1)) } s(0)",
        // Much at once.
        r#"let a = []; let s = ""; s.pad(1000, 'x'); loop { a.push(s + a.len()); }"#,
        r#"let m = #{}; let i = 0; loop { let s = `${i}`; s.pad(900, 'y'); m[s] = i; i += 1; }"#,
        r#"fn f(s) { s += "y"; f(s) + s } let s = ""; s.pad(1000000, 'x'); f(s)"#,
        "let a = [1]; loop { a += a; }",
        "let a = [1]; loop { a.append(a); }",
        "let a = [1]; loop { a = a + a; }",
        r#"let a = "ab"; loop { a += a; }"#,
        "let a = blob(10, 1); loop { a += a; }",
        "let a = []; a.pad(9000000000, 0)",
        "let a = [[1, 2, 3]]; a.pad(90000, a)",
        r#"let a = ""; a.pad(9000000000, 'x')"#,
        r#"let a = ""; a.pad(9000000000, "xyz")"#,
        "blob(9000000000)",
        "let b = blob(10); b.pad(9000000000, 1)",
        r#"let s = ""; s.pad(1000000, 'x'); s.split("")"#,
        r#"let s = ""; s.pad(1000000, 'x'); s.split('x')"#,
        r#"let s = ""; s.pad(1000000, 'x'); s.split_rev("")"#,
        r#"let s = ""; s.pad(1000000, ' '); s.pad(1000000, 'x'); s.split("", 900000)"#,
        r#"let s = ""; s.pad(1000000, 'x'); s.to_chars()"#,
        r#"let s = ""; s.pad(1000000, 'x'); s.replace("x", s)"#,
        r#"let s = ""; s.pad(1000000, 'x'); s.replace('x', "xx")"#,
        r#"let s = ""; s.pad(900000, '"'); let a = [s]; a.to_string()"#,
        r#"let s = ""; s.pad(900000, '"'); json::stringify(s)"#,
        r#"let s = ""; s.pad(900000, '"'); #{s: s}.to_json()"#,
        r#"let s = ""; s.pad(900000, 'x'); hex::encode(s)"#,
        r#"let s = ""; s.pad(999999, '['); s.replace("[", "0,"); json::parse("[" + s.sub_string(0, 999990) + "0]")"#,
    ] {
        let source = format!("{source};");
        let started = Instant::now();
        assert_eq!(error(&source).kind, ExecErrorKind::Budget, "{source}");
        // Functions cannot be defined within a block.
        if !source.contains("fn ") {
            let caught = format!("try {{ {source} }} catch {{}}\n\"went on\"");
            assert_eq!(error(&caught).kind, ExecErrorKind::Budget, "{caught}");
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{source}");
    }
}

#[test]
fn p6_memory_stays_within_the_limit_and_a_step() {
    for source in [
        r#"let m = #{}; let i = 0; loop { let s = `${i}`; s.pad(900, 'y'); m[s] = i; i += 1; }"#,
        "fn leak() { let x = 0; let f = || x; x = f; } loop { leak(); }",
    ] {
        let report = run(source);
        let error = report.result.expect_err("it never ends by itself");
        assert_eq!(error.message, "holds more than 16777216 bytes of memory");
        assert!(report.usage.memory_bytes_peak < (16 << 20) + (2 << 20), "{:?}", report.usage);
    }
}

#[test]
fn p6_closures_that_hold_themselves_leave_no_memory_behind() {
    let source = "fn knot() { let x = 0; let y = 1; let f = || x + y; x = f; y = [f]; }
        for i in 0..2000 { knot(); } 1";
    let (before, after) = on_promised_stack(|| {
        let runtime = Runtime::new(&RunLimits::default(), 64 << 20);
        let program = runtime.compile(source).unwrap();
        let request = request(&Arc::default());
        assert!(runtime.run(&program, &request).result.is_ok());
        let before = held_bytes();
        for _ in 0..3 {
            assert!(runtime.run(&program, &request).result.is_ok());
        }
        (before, held_bytes())
    });
    assert!(after - before < 4_096, "{before} {after}");
}

#[test]
fn p6_deep_data_is_compared_printed_and_dropped_without_harm() {
    assert_eq!(value("let a = []; for i in 0..150 { a = [a]; } let b = a; a == b"), "true");
    assert_eq!(value("let a = #{}; for i in 0..100 { a = #{x: a}; } let b = a; a == b"), "true");
    assert_eq!(value("let a = []; for i in 0..150 { a = [a]; } a.to_string().len() < 500"), "true");
    assert_eq!(value("let a = []; for i in 0..150 { a = [a]; } `${a}`.len() < 500"), "true");
    let error = error("let a = 1; for i in 0..70 { a = #{a: [a]}; } #{deep: a}");
    assert_eq!(error.kind, ExecErrorKind::BadResult);
    assert!(error.message.starts_with("result.deep.a[0].a[0]"), "{error}");
}

#[test]
fn sixty_calls_with_real_work_in_them_fit_on_the_stack() {
    assert_eq!(
        value(
            "fn f(n) { if n == 0 { 0 } else { let a = [1, (2 + (3 * (1 + f(n - 1))))]; #{x: a}.x[1] - 5 - f(0) } } f(40) == 0",
        ),
        "true"
    );
    assert_eq!(
        value("fn f(n) { if n == 0 { 0 } else { [n].map(|x| x + f(n - 1))[0] } } f(20)"),
        "210"
    );
}

#[test]
fn p6_all_runs_together_are_limited() {
    let runtime = Runtime::new(&RunLimits::default(), 4 << 20);
    let blobs = |count: usize| {
        let source =
            format!("let l = #{{}}; for i in 0..{count} {{ l[`${{i}}`] = blob(90000, 1); }} 1");
        on_promised_stack(|| {
            let program = runtime.compile(&source).unwrap();
            runtime.run(&program, &request(&Arc::default())).result
        })
    };
    assert_eq!(blobs(100).unwrap_err().kind, ExecErrorKind::MemoryOfAll);
    assert_eq!(blobs(30).as_deref(), Ok("1"), "what the first one held is given back");
}

/// Every one is refused, or compiles and does no harm when run; none takes long.
#[test]
fn p6_compile_bombs_are_defused() {
    let many = |text: &str, times: usize| text.repeat(times);
    let refused = [
        format!("{}1{}", many("(", 99), many(")", 99)),
        many("(", 100_000),
        many("[", 100_000),
        many("#{a:", 60_000),
        format!("{}1{}", many("{", 99), many("}", 99)),
        format!("{}1{}", many("if true {", 99), many("}", 99)),
        many("|x| ", 20_000),
        format!("{}true", many("!", 200_000)),
        format!("{}1", many("- ", 100_000)),
        format!("{}1", many("1+", 100_000)),
        format!("let a = #{{}}; a{}", many(".b", 100_000)),
        format!("let a = []; a{}", many("[0]", 80_000)),
        format!("let a = []; a{}", many(".len()", 40_000)),
        format!("if true {{}} {}", many("else if true {}", 15_000)),
        format!("{}1{}", many("switch 1 { 1 => ", 90), many("}", 90)),
        format!("{}1", many("1**", 80_000)),
        format!("{}true", many("true&&", 40_000)),
        format!("{}1", many("1??", 80_000)),
        format!("{}1{}", many("`${", 90), many("}`", 90)),
        format!("print({}1)", many("1,", 10_000)),
        format!("fn f({}) {{}}", (0..30_000).map(|i| format!("a{i},")).collect::<String>()),
        format!("|{}x| x", (0..30_000).map(|i| format!("a{i},")).collect::<String>()),
        (0..9_000).map(|i| format!("fn f{i}(){{}}")).collect(),
        format!("[{}1]", many("1,", 100_000)),
        many("x", 300_000),
        format!("\"{}", many("x", 250_000)),
    ];
    for source in &refused {
        let started = Instant::now();
        let error = compile(source).expect_err(&source[..40]);
        assert_eq!(error.kind, ExecErrorKind::Compile);
        assert!(started.elapsed() < Duration::from_secs(2), "{}", &source[..40]);
    }
    let harmless = [
        many("let a=1;", 32_000),
        format!("{}{}", many("let aa=1;", 10_000), many("aa;", 50_000)),
        many("/*", 100_000),
        format!("switch 1 {{ {} }}", (0..20_000).map(|i| format!("{i}=>1,")).collect::<String>()),
        format!("switch 1 {{ {} }}", many("0..9223372036854775807=>1,", 9_000)),
    ];
    for source in &harmless {
        let started = Instant::now();
        assert_eq!(compile(source), Ok(()), "{}", &source[..40]);
        assert!(started.elapsed() < Duration::from_secs(2), "{}", &source[..40]);
    }
    // Folding constants would make a gigabyte of this while compiling.
    let fold = (1..40)
        .fold("const B0 = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\";".to_owned(), |source, i| {
            format!("{source} const B{i} = B{p} + B{p};", p = i - 1)
        });
    assert_eq!(compile(&fold), Ok(()));
    assert_eq!(error(&fold).kind, ExecErrorKind::Budget);
}

#[test]
fn each_limit_of_what_a_run_gives_is_held() {
    let set = |what: &str| format!(r#"let s = ""; s.pad(300000, 'x'); {what}"#);
    for source in [
        set(r#"kv::collection("c").set("k", s)"#),
        set(r#"docs::collection("c").create(#{s: s})"#),
        set(r#"docs::collection("c").put("k", #{s: s})"#),
        set(r#"docs::collection("c").update("k", #{s: s})"#),
        set(r#"outbox::enqueue("s", s)"#),
        set(r#"dead_letters::replay("id", s)"#),
        set("#{a: s, b: [s, s, s]}"),
        r#"let c = kv::collection("c"); for i in 0..1001 { c.set("k", i); }"#.to_owned(),
    ] {
        assert_eq!(error(&source).kind, ExecErrorKind::Budget, "{source}");
        if !source.contains("[s, s, s]") {
            let caught = format!("try {{ {source}; }} catch {{}} 1");
            assert_eq!(error(&caught).kind, ExecErrorKind::Budget, "{caught}");
        }
    }
    assert_eq!(
        error(r#"let s = ""; s.pad(300000, 'x'); kv::collection("c").set("k", [1, #{t: s}])"#)
            .message,
        "value is larger than 262144 bytes as JSON (reached at value[1].t)"
    );
}

/// Each patch is small; what they would make of the document together is not.
#[test]
fn p6_a_document_does_not_outgrow_its_limit_patch_by_patch() {
    let grow = r#"let a = []; a.pad(50000, 0);
        for i in 0..60 { let patch = #{}; patch[`k${i}`] = a; d.update("x", patch); }"#;
    for source in [
        format!(r#"let d = docs::collection("d"); d.put("x", #{{}}); {grow}"#),
        format!(r#"let d = docs::collection("d"); {grow} d.get("x")"#),
    ] {
        let host = Arc::new(MemoryHost::default().doc("d", "x", "{}"));
        let report = run_on(&host, &source);
        assert_eq!(
            report.result.unwrap_err().message,
            r#"docs "d", "x" would be larger than 262144 bytes as JSON"#
        );
        assert!(report.usage.memory_bytes_peak < 18 << 20, "{:?}", report.usage);
    }
}

#[test]
fn log_lines_are_cut_and_counted() {
    let host: Arc<MemoryHost> = Arc::default();
    let report = run_on(
        &host,
        r#"
        for i in 0..1000 { log::info("line " + i, #{i: i}); }
        print("lost"); "done"
    "#,
    );
    assert_eq!(report.result.as_deref(), Ok("\"done\""));
    assert_eq!((host.log.lock().unwrap().len(), report.usage.log_lines_dropped), (200, 801));

    let host: Arc<MemoryHost> = Arc::default();
    run_on(&host, r#"
        let s = ""; s.pad(500000, 'ä');
        log::warn(s); print(s); log::info(#{big: s}); log::info("f", #{a: 1, big: s, c: 2}); debug(s);
    "#).result.unwrap();
    for line in host.log.lock().unwrap().iter() {
        let bytes = line.message.len() + line.fields.as_ref().map_or(0, String::len);
        assert!(bytes <= 4_096, "{bytes}");
        assert!(!line.message.is_empty());
    }
    assert_eq!(host.log.lock().unwrap()[3].fields.as_deref(), Some(r#"{"a":1,"…":true}"#));
}

#[test]
fn p8_a_service_call_needs_its_capability_and_says_which() {
    let calls = [
        (
            Need::Data,
            r#"kv::collection("c").get("k")"#,
            "kv get is not allowed: it needs the capability AppData",
        ),
        (Need::Data, r#"kv::collection("c").set("k", 1)"#, "kv set"),
        (Need::Data, r#"kv::collection("c").set("k", 1, #{ttl: "1s"})"#, "kv set"),
        (Need::Data, r#"kv::collection("c").has("k")"#, "kv has"),
        (Need::Data, r#"kv::collection("c").delete("k")"#, "kv delete"),
        (Need::Data, r#"kv::collection("c").incr("k", 1)"#, "kv incr"),
        (Need::Data, r#"kv::collection("c").incr("k", 1.5)"#, "kv incr"),
        (Need::Data, r#"kv::collection("c").keys("")"#, "kv keys"),
        (Need::Data, r#"kv::collection("c").list("", 1)"#, "kv list"),
        (Need::Data, r#"docs::collection("c").create(#{})"#, "docs create"),
        (Need::Data, r#"docs::collection("c").put("k", #{})"#, "docs put"),
        (Need::Data, r#"docs::collection("c").get("k")"#, "docs get"),
        (Need::Data, r#"docs::collection("c").has("k")"#, "docs has"),
        (Need::Data, r#"docs::collection("c").update("k", #{})"#, "docs update"),
        (Need::Data, r#"docs::collection("c").delete("k")"#, "docs delete"),
        (Need::Data, r#"docs::collection("c").find(#{})"#, "docs find"),
        (Need::Data, r#"docs::collection("c").find(#{}, #{limit: 1})"#, "docs find"),
        (Need::Data, r#"docs::collection("c").count(#{})"#, "docs count"),
        (
            Need::Invoke,
            r#"outbox::enqueue("s", 1)"#,
            "outbox::enqueue is not allowed: it needs the capability AppInvoke",
        ),
        (Need::Invoke, r#"outbox::enqueue("s", 1, #{delay: "1s"})"#, "outbox::enqueue"),
        (Need::ResolveDeadLetters, r#"dead_letters::replay("i")"#, "dead_letters::replay"),
        (Need::ResolveDeadLetters, r#"dead_letters::replay("i", 1)"#, "dead_letters::replay"),
        (Need::ResolveDeadLetters, r#"dead_letters::discard("i", "r")"#, "dead_letters::discard"),
    ];
    for (need, call, message) in calls {
        let host = Arc::new(MemoryHost { refused: Some(need), ..Default::default() });
        for source in [call.to_owned(), format!("try {{ {call}; }} catch {{ }} 1")] {
            let report = run_on(&host, &source);
            let error = report.result.expect_err(&source);
            assert_eq!(error.kind, ExecErrorKind::NotAllowed, "{source}");
            assert!(error.message.starts_with(message), "{error}");
            assert_eq!(report.effects, []);
        }
        assert!(host.calls.lock().unwrap().is_empty(), "{call} reached the store");
    }
}

#[test]
fn p2_what_ends_a_run_cannot_be_caught_and_leaves_nothing() {
    let source = r#"
        let c = kv::collection("c"); c.set("a", 1);
        try { c.get("b"); } catch { }
        try { loop {} } catch { }
        c.set("b", 2); "went on"
    "#;
    for (host, kind) in [
        (MemoryHost { broken: true, ..Default::default() }, ExecErrorKind::HostFailed),
        (
            MemoryHost { interrupt: Some((2, Interrupt::Deadline)), ..Default::default() },
            ExecErrorKind::Timeout,
        ),
        (
            MemoryHost { interrupt: Some((2, Interrupt::Cancelled)), ..Default::default() },
            ExecErrorKind::Cancelled,
        ),
        (
            MemoryHost { interrupt: Some((2, Interrupt::MemoryOfAll)), ..Default::default() },
            ExecErrorKind::MemoryOfAll,
        ),
        (MemoryHost::default(), ExecErrorKind::Budget),
    ] {
        let report = run_on(&Arc::new(host), source);
        assert_eq!(report.result.unwrap_err().kind, kind);
        assert_eq!(report.effects, []);
    }
}

#[test]
fn a_run_that_failed_still_tells_what_it_read() {
    let host = Arc::new(MemoryHost::default().kv("c", "a", "1"));
    let report = run_on(&host, r#"let n = kv::collection("c").get("a"); throw n"#);
    assert_eq!(report.result.unwrap_err().message, "1");
    assert_eq!((report.reads.len(), report.effects.len()), (1, 0));
}

#[test]
fn a_large_event_is_read_as_long_as_the_memory_is_enough() {
    let event: Arc<str> = format!(r#"{{"body":[{}0]}}"#, "[0],".repeat(40_000)).into();
    let count = |memory_bytes_max: u64| {
        run_with(&Arc::default(), "event.body.len", |request| {
            request.event = Arc::clone(&event);
            request.limits.memory_bytes_max = memory_bytes_max;
        })
        .result
    };
    assert_eq!(count(16 << 20).as_deref(), Ok("40001"));
    assert_eq!(
        count(2 << 20).unwrap_err().message,
        "the event has more than the run may still hold in memory"
    );
}

#[test]
fn p6_a_collection_larger_than_memory_is_searched_page_by_page() {
    let mut host = MemoryHost::default();
    for i in 0..32 {
        host = host.doc("big", &format!("!{i}"), r#"{"n":0}"#);
    }
    let text = "x".repeat(100_000);
    for i in 0..400 {
        host = host.doc("big", &format!("{i:03}"), &format!(r#"{{"n":{i},"text":"{text}"}}"#));
    }
    let host = Arc::new(host);
    let found =
        run_on(&host, r#"docs::collection("big").find(#{n: #{"$gt": 397}}).map(|d| d.data.n)"#);
    assert_eq!(found.result.as_deref(), Ok("[398,399]"));
    assert!(found.usage.memory_bytes_peak < 8 << 20, "{:?}", found.usage);
    assert!(found.usage.operations > 400 * 20);
    let all = run_on(&host, r#"docs::collection("big").find(#{})"#);
    assert_eq!(all.result.unwrap_err().kind, ExecErrorKind::Budget);
    assert!(all.usage.memory_bytes_peak < 20 << 20, "{:?}", all.usage);
}
