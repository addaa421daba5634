//! A host in memory, and one call that compiles and runs a script on a thread with the stack that is promised.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use picloud_scripts_runtime::bounds::STACK_BYTES;
use picloud_scripts_runtime::effect::{Key, Space, Stored};
use picloud_scripts_runtime::exec::{ExecError, ExecReport, ExecRequest};
use picloud_scripts_runtime::host::{Host, HostError, Interrupt, LogLine, Need, NoSecret, Page};
use picloud_scripts_runtime::limits::RunLimits;
use picloud_scripts_runtime::outside::{Outgoing, OutsideAnswer, OutsideCall, OutsideError};
use picloud_scripts_runtime::runtime::Runtime;

/// 2026-01-31T12:00:00Z.
pub(crate) const NOW_MS: i64 = 1_769_860_800_000;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new(&RunLimits::default(), 1 << 30));

#[derive(Default)]
pub(crate) struct MemoryHost {
    pub(crate) entries: Mutex<BTreeMap<(Space, String, String), Stored>>,
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) log: Mutex<Vec<LogLine>>,
    pub(crate) refused: Option<Need>,
    /// From this many questions on, the host interrupts.
    pub(crate) interrupt: Option<(u64, Interrupt)>,
    pub(crate) questions: AtomicU64,
    pub(crate) broken: bool,
    /// What was called, each with an answer of its own body.
    pub(crate) outside: Mutex<Vec<OutsideCall>>,
}

/// The secrets that the host has.
pub(crate) const SECRETS: &[(&str, &str)] =
    &[("API_KEY", "hunter2-hunter2"), ("PIN", "1234"), ("QUOTED", "a\"b\\c")];

impl MemoryHost {
    pub(crate) fn with(self, space: Space, collection: &str, key: &str, value: &str) -> Self {
        {
            let mut entries = self.entries.lock().unwrap();
            let version = 1 + entries.len() as i64;
            entries.insert(
                (space, collection.to_owned(), key.to_owned()),
                Stored { version, value: value.into() },
            );
        }
        self
    }

    pub(crate) fn kv(self, collection: &str, key: &str, value: &str) -> Self {
        self.with(Space::Kv, collection, key, value)
    }

    pub(crate) fn doc(self, collection: &str, id: &str, value: &str) -> Self {
        self.with(Space::Docs, collection, id, value)
    }
}

impl Host for MemoryHost {
    fn read(&self, key: &Key) -> Result<Option<Stored>, HostError> {
        self.calls.lock().unwrap().push(format!("read {}/{}", key.collection, key.key));
        if self.broken {
            return Err(HostError("disk on fire".to_owned()));
        }
        let at = (key.space, key.collection.to_string(), key.key.to_string());
        Ok(self.entries.lock().unwrap().get(&at).cloned())
    }

    fn list(&self, page: &Page) -> Result<Vec<(Arc<str>, Stored)>, HostError> {
        self.calls.lock().unwrap().push(format!("list {} {}", page.collection, page.limit));
        if self.broken {
            return Err(HostError("disk on fire".to_owned()));
        }
        let entries = self.entries.lock().unwrap();
        let (mut rows, mut bytes) = (0, 0);
        Ok(entries
            .iter()
            .filter(|((space, collection, key), _)| {
                *space == page.space
                    && **collection == *page.collection
                    && key.starts_with(&*page.prefix)
                    && page.after.as_ref().is_none_or(|after| **key > **after)
            })
            .take_while(|((_, _, key), stored)| {
                let is_full = page.is_full(rows, bytes);
                (rows, bytes) = (rows + 1, bytes + key.len() + stored.value.len());
                !is_full
            })
            .map(|((_, _, key), stored)| (Arc::from(key.as_str()), stored.clone()))
            .collect())
    }

    fn secret(&self, name: &str) -> Result<Result<Arc<str>, NoSecret>, HostError> {
        if self.broken {
            return Err(HostError("disk on fire".to_owned()));
        }
        let found = SECRETS.iter().find(|(known, _)| *known == name);
        Ok(found
            .map(|(_, value)| Arc::from(*value))
            .ok_or_else(|| NoSecret(format!("there is no secret \"{name}\""))))
    }

    fn call_outside(&self, call: &OutsideCall) -> Result<OutsideAnswer, OutsideError> {
        self.outside.lock().unwrap().push(call.clone());
        if call.url.contains("down.example/") {
            return Err(OutsideError("nobody answers".to_owned()));
        }
        let body = match call.url.as_str() {
            "https://api.example.org/binary" => vec![0xFF, 0],
            _ => br#"{"temperature":21.5}"#.to_vec(),
        };
        let headers = [("content-type", "application/json"), ("x-a", "1"), ("x-a", "2")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Ok(OutsideAnswer { status: 200, headers, body, url: call.url.clone() })
    }

    fn permits(&self, need: Need) -> bool {
        self.refused != Some(need)
    }

    fn log(&self, line: LogLine) {
        self.log.lock().unwrap().push(line);
    }

    fn panicked(&self, place: &str) {
        self.calls.lock().unwrap().push(format!("panicked {place}"));
    }

    fn interrupted(&self) -> Option<Interrupt> {
        let question = self.questions.fetch_add(1, Ordering::Relaxed);
        self.interrupt.and_then(|(from, interrupt)| (question >= from).then_some(interrupt))
    }
}

pub(crate) fn request(host: &Arc<MemoryHost>) -> ExecRequest {
    ExecRequest {
        event: r#"{"method":"GET","body":{"n":1}}"#.into(),
        execution_id: "01EXECUTION".into(),
        attempt: 1,
        depth: 0,
        root_id: "01ROOT".into(),
        limits: RunLimits::default(),
        now_ms: NOW_MS,
        seed: 42,
        outgoing: Outgoing::Sent,
        host: Arc::clone(host) as Arc<dyn Host>,
    }
}

/// Runs a script that compiles, with a change to the usual request.
pub(crate) fn run_with(
    host: &Arc<MemoryHost>,
    source: &str,
    change: impl FnOnce(&mut ExecRequest) + Send,
) -> ExecReport {
    let mut request = request(host);
    change(&mut request);
    on_promised_stack(|| {
        let program = RUNTIME.compile(source).unwrap_or_else(|error| panic!("{error:?}: {source}"));
        RUNTIME.run(&program, &request)
    })
}

pub(crate) fn run_on(host: &Arc<MemoryHost>, source: &str) -> ExecReport {
    run_with(host, source, |_| ())
}

pub(crate) fn run(source: &str) -> ExecReport {
    run_on(&Arc::default(), source)
}

/// The result of a script that succeeds.
pub(crate) fn value(source: &str) -> String {
    value_on(&Arc::default(), source)
}

pub(crate) fn value_on(host: &Arc<MemoryHost>, source: &str) -> String {
    match run_on(host, source).result {
        Ok(text) => text.to_string(),
        Err(error) => panic!("{error:?}: {source}"),
    }
}

/// The error of a script that fails.
pub(crate) fn error(source: &str) -> ExecError {
    match run(source).result {
        Ok(value) => panic!("gave {value}: {source}"),
        Err(error) => error,
    }
}

pub(crate) fn compile(source: &str) -> Result<(), ExecError> {
    on_promised_stack(|| RUNTIME.compile(source).map(drop))
}

/// A thread with exactly the stack that the crate promises to be content with (and its start-up's few kilobytes).
pub(crate) fn on_promised_stack<T: Send>(part: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, part)
            .unwrap()
            .join()
            .unwrap()
    })
}
