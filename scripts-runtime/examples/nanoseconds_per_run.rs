//! Prints what a run costs, all in: `cargo run --release -p picloud-scripts-runtime --example nanoseconds_per_run`.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::sync::Arc;
use std::time::Instant;

use picloud_scripts_runtime::effect::{Key, Stored};
use picloud_scripts_runtime::exec::ExecRequest;
use picloud_scripts_runtime::host::{Host, HostError, Interrupt, LogLine, Need, NoSecret, Page};
use picloud_scripts_runtime::limits::RunLimits;
use picloud_scripts_runtime::memory::CountingAllocator;
use picloud_scripts_runtime::outside::{Outgoing, OutsideAnswer, OutsideCall, OutsideError};
use picloud_scripts_runtime::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Holds the number 41 under every key.
struct Constant(Stored);

impl Host for Constant {
    fn read(&self, _: &Key) -> Result<Option<Stored>, HostError> {
        Ok(Some(self.0.clone()))
    }

    fn list(&self, _: &Page) -> Result<Vec<(Arc<str>, Stored)>, HostError> {
        Ok(Vec::new())
    }

    fn secret(&self, _: &str) -> Result<Result<Arc<str>, NoSecret>, HostError> {
        Ok(Err(NoSecret("there is none".to_owned())))
    }

    fn call_outside(&self, _: &OutsideCall) -> Result<OutsideAnswer, OutsideError> {
        Err(OutsideError("nobody is called".to_owned()))
    }

    fn permits(&self, _: Need) -> bool {
        true
    }

    fn log(&self, _: LogLine) {}

    fn panicked(&self, _: &str) {}

    fn interrupted(&self) -> Option<Interrupt> {
        None
    }
}

const EVENT: &str = r#"{"source":"http","method":"GET","path":"/hello/world","params":{"name":"world"},"query":{},
    "headers":{"accept":"*/*","host":"127.0.0.1:8080","user-agent":"curl/8.14.1"},"body":null,"remote":"127.0.0.1","auth":null}"#;

const CASES: &[(&str, &str)] = &[
    ("constant", "42"),
    ("response map", r#"#{status: 200, body: "hello"}"#),
    ("one line with the event", r#"#{body: #{hello: event.params.name}}"#),
    ("one read", r#"kv::collection("c").get("n")"#),
    ("one read and one write", r#"let c = kv::collection("c"); c.set("n", c.get("n") + 1)"#),
    ("1,000 turns of a loop", "let n = 0; for i in 0..1000 { n += i; } n"),
    ("closure over 1,000 items", "let k = 2; let a = []; a.pad(1000, 1); a.map(|x| x * k).len()"),
    ("1,000 pushes", "let a = []; for i in 0..1000 { a.push(i); } a.len()"),
];

fn main() {
    let limits = RunLimits::default();
    let runtime = Runtime::new(&limits, 64 << 20);
    let host = Arc::new(Constant(Stored { version: 1, value: "41".into() }));
    let request = ExecRequest {
        event: EVENT.into(),
        execution_id: "01J9Z3V6W5Q4R8T2Y7N0M1K3HB".into(),
        attempt: 1,
        depth: 0,
        root_id: "01J9Z3V6W5Q4R8T2Y7N0M1K3HB".into(),
        limits,
        now_ms: 0,
        seed: 1,
        outgoing: Outgoing::Sent,
        host,
    };
    for (name, source) in CASES {
        let program = runtime.compile(source).expect("the case compiles");
        let mut best_ns = u128::MAX;
        for _ in 0..5 {
            let started = Instant::now();
            for _ in 0..2_000 {
                let report = runtime.run(&program, &request);
                assert!(report.result.is_ok(), "{:?}", report.result);
            }
            best_ns = best_ns.min(started.elapsed().as_nanos() / 2_000);
        }
        println!("{name:28} {best_ns:>9} ns");
    }
}
