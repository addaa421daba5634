//! A daemon under measurement: the real binary as a process, and the admin calls that the cases need.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use picloud_api::BASE;
use picloud_tests::measure::load::{
    self, ANSWER_MAX, Address, Answers, Load, Pace, Request, Until,
};
use picloud_tests::measure::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::base::{self, CONNECTIONS};
use crate::ground::Ground;
use crate::profile;
use crate::shim::Disk;

/// A store's file within its folder.
pub const STORE: &str = "store.sqlite";
/// The longest that one admin call may take: a bulk call is as long as its letters are many.
const BULK_MAX: Duration = Duration::from_secs(300);
const SOCKET: &str = "admin.sock";
const READY_MAX: Duration = Duration::from_secs(60);
const EMPTY_MAX: Duration = Duration::from_secs(300);
const STOP_MAX: Duration = Duration::from_secs(30);

pub struct Daemon<'a> {
    ground: &'a Ground,
    child: Child,
    store: PathBuf,
    runtime_folder: PathBuf,
    pub public: Address,
    admin: Address,
    /// From exec to the first answer of the public listener.
    pub ready_after: Duration,
    perf: RefCell<Option<Child>>,
}

/// Makes admin calls.
pub struct Caller(Address);

impl Caller {
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string);
        let request = Request::new(method, &format!("{BASE}{path}"), body.as_deref());
        let (status, text) = load::ask(&self.0, &request, BULK_MAX)
            .with_context(|| format!("{method} {path} had no answer"))?;
        if !(200..300).contains(&status) {
            bail!("{method} {path} was answered {status}: {text:.300}");
        }
        serde_json::from_str(&text).with_context(|| format!("{method} {path} gave no JSON"))
    }
}

impl<'a> Daemon<'a> {
    /// Starts it on a new store.
    pub fn start(ground: &'a Ground, disk: Disk) -> Result<Daemon<'a>> {
        let store = ground.new_folder()?.join(STORE);
        Self::start_on(ground, store, disk)
    }

    /// Starts it on this store and waits until it answers requests.
    pub fn start_on(ground: &'a Ground, store: PathBuf, disk: Disk) -> Result<Daemon<'a>> {
        let binary = ground.binaries()?.join("picloudd");
        let runtime_folder = ground.runtime_folder.join(format!("{}", ground.number()));
        fs::create_dir_all(&runtime_folder)?;
        let (listen, socket) = (free_address()?, runtime_folder.join(SOCKET));
        let config = runtime_folder.join("picloud.toml");
        fs::write(&config, configuration(listen, &runtime_folder, &store))?;
        let mut command = base::within(&ground.limits, binary.as_os_str(), "run");
        command.arg("--config").arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ground.shim.apply(disk, &mut command)?;
        let started = Instant::now();
        let child =
            command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let mut daemon = Daemon {
            ground,
            child,
            store,
            runtime_folder,
            public: Address::Tcp(listen),
            admin: Address::Unix(socket),
            ready_after: Duration::ZERO,
            perf: RefCell::new(None),
        };
        daemon.wait_until_ready(started)?;
        if let Some(file) = &*ground.profile.borrow() {
            daemon.perf.replace(Some(profile::begin(daemon.child.id(), file)?));
        }
        Ok(daemon)
    }

    fn wait_until_ready(&mut self, started: Instant) -> Result<()> {
        let request = Request::get("/");
        while load::ask(&self.public, &request, ANSWER_MAX).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("picloudd ended before it was ready: {status}");
            }
            if started.elapsed() > READY_MAX {
                bail!("picloudd was not ready within {} s", READY_MAX.as_secs());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        self.ready_after = started.elapsed();
        Ok(())
    }

    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Where the admin API is.
    pub fn admin_socket(&self) -> Result<PathBuf> {
        match &self.admin {
            Address::Unix(socket) => Ok(socket.clone()),
            Address::Tcp(_) => bail!("the admin API is on a socket"),
        }
    }

    pub fn deploy(&self, app: &App) -> Result<()> {
        let path = format!("/apps/{}/manifest", app.slug);
        self.admin("PUT", &path, Some(&app.bundle())).map(drop)
    }

    pub fn pause(&self, app: &str) -> Result<()> {
        self.admin("POST", &format!("/apps/{app}/pause"), Some(&json!({}))).map(drop)
    }

    pub fn resume(&self, app: &str) -> Result<()> {
        self.admin("POST", &format!("/apps/{app}/resume"), Some(&json!({}))).map(drop)
    }

    /// One admin call that must succeed.
    pub fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        self.caller().call(method, path, body)
    }

    /// Who makes admin calls, also on another thread.
    pub fn caller(&self) -> Caller {
        Caller(self.admin.clone())
    }

    /// Rows that wait or run.
    pub fn rows(&self) -> Result<i64> {
        let instance = self.admin("GET", "/instance", None)?;
        let count = |name: &str| {
            instance[name].as_i64().with_context(|| format!("GET /instance has no {name}"))
        };
        Ok(count("waiting")? + count("running")?)
    }

    pub fn wait_until_empty(&self) -> Result<()> {
        let started = Instant::now();
        while self.rows()? > 0 {
            if started.elapsed() > EMPTY_MAX {
                bail!("the outbox was not empty within {} s", EMPTY_MAX.as_secs());
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(())
    }

    pub fn post_async(&self, path: &str, body: &str) -> Result<()> {
        self.load(&Request::post(path, body), Until::Sent(1), 1)?.all(202).map(drop)
    }

    /// A load of closed loops with numbers that no request had before.
    pub fn load(&self, request: &Request, until: Until, connections: u32) -> Result<Answers> {
        self.paced_load(request, until, connections, Pace::Unpaced)
    }

    pub fn paced_load(
        &self,
        request: &Request,
        until: Until,
        connections: u32,
        pace: Pace,
    ) -> Result<Answers> {
        let (address, first_number) = (self.public.clone(), self.ground.number() * 100_000_000);
        load::run(&Load { address, connections, pace, until, first_number }, request)
    }

    /// [`CONNECTIONS`] closed loops for the time of a round, each answered with this status.
    pub fn full_load(&self, request: &Request, status: u16) -> Result<Answers> {
        let until = Until::Passed(self.ground.options.time);
        self.load(request, until, CONNECTIONS)?.all(status)
    }

    /// Stops it as systemd would.
    pub fn stop(mut self) -> Result<()> {
        self.terminate()
    }

    /// Stops it; its store stays as one file.
    pub fn stop_and_keep(mut self) -> Result<PathBuf> {
        self.terminate()?;
        let kept = self.ground.folder.join(format!("kept-{}.sqlite", self.ground.number()));
        let wal = self.store.with_file_name(format!("{STORE}-wal"));
        if fs::metadata(&wal).is_ok_and(|log| log.len() > 0) {
            bail!("picloudd left a write-ahead log behind at its stop");
        }
        fs::rename(&self.store, &kept)?;
        Ok(kept)
    }

    fn terminate(&mut self) -> Result<()> {
        if let Some(perf) = self.perf.take() {
            profile::end(perf)?;
        }
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a child has a number")?;
        kill_process(pid, Signal::TERM)?;
        let started = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("picloudd did not stop cleanly: {status}"),
                None if started.elapsed() > STOP_MAX => {
                    bail!("picloudd did not stop within {} s", STOP_MAX.as_secs())
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // After a stop there is nothing left to end; after an error nothing is left to save.
        if let Some(perf) = self.perf.take() {
            let _ = profile::end(perf);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.runtime_folder);
        if let Some(folder) = self.store.parent() {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn configuration(listen: SocketAddr, runtime_folder: &Path, store: &Path) -> String {
    let (runtime, store) = (runtime_folder.display(), store.display());
    format!(
        "[http]\nlisten = \"{listen}\"\n\n[admin]\nsocket = \"{runtime}/{SOCKET}\"\n\n\
         [store]\nurl = \"sqlite://{store}\"\n\n[runtime]\ndirectory = \"{runtime}\"\n\n\
         [limits.http]\nconnections_per_ip_max = 256\n\n\
         [limits.admin]\nconnections_max = 256\nconnections_per_uid_max = 128\nevent_readers_max = 64\n"
    )
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// An app as it is deployed: a manifest and the texts of its scripts.
pub struct App {
    pub slug: String,
    manifest: Value,
    sources: BTreeMap<String, String>,
}

impl App {
    fn bundle(&self) -> Value {
        json!({ "manifest": self.manifest, "sources": self.sources })
    }

    /// The app in a folder with a `picloud.toml`.
    pub fn from_folder(folder: &Path) -> Result<App> {
        let file = folder.join("picloud.toml");
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let manifest: Value = toml::from_str(&text)?;
        let slug = manifest["app"]["slug"].as_str().context("the app has no slug")?.to_owned();
        let scripts = manifest["scripts"].as_array().context("the app has no scripts")?;
        let mut sources = BTreeMap::new();
        for name in scripts.iter().filter_map(|script| script["file"].as_str()) {
            sources.insert(name.to_owned(), fs::read_to_string(folder.join(name))?);
        }
        Ok(App { slug, manifest, sources })
    }
}

/// A body of 100 bytes with a number of its own.
pub fn body() -> String {
    let frame = r#"{"n":{number},"text":""}"#.len() - "{number}".len() + 12;
    format!(r#"{{"n":{{number}},"text":"{}"}}"#, "x".repeat(100 - frame))
}

/// The app that is measured. Keys repeat after 1,000 requests, values never.
pub fn bench_app() -> App {
    let scripts = [
        ("hello", r#"#{ hello: "world" }"#),
        (
            "write",
            r#"kv::collection("readings").set("k" + event.body.n % 1000, event.body); "kept""#,
        ),
        ("react", "event.value.n"),
        ("work", r#"kv::collection("done").set("k" + event.body.n % 1000, event.body.n)"#),
        (
            "backlog",
            r#"kv::collection("done").set(event.execution_id.sub_string(23), event.execution_id)"#,
        ),
        ("fail", r#"throw "on purpose""#),
    ];
    let route = |method: &str, name: &str, mode: &str| json!({ "method": method, "path": format!("/{name}"), "script": name, "dispatch_mode": mode });
    let mut fail = route("POST", "fail", "async");
    fail["retry"] = json!({ "max_attempts": 1 });
    let routes = [
        route("GET", "hello", "sync"),
        route("POST", "write", "sync"),
        route("POST", "work", "async"),
        route("POST", "backlog", "async"),
        fail,
    ];
    let trigger = json!({ "kind": "kv", "name": "react", "collection_glob": "readings*", "ops": [], "script": "react" });
    app("bench", &scripts, &routes, &[trigger])
}

/// An app with the one-line script, and one that writes.
pub fn other_app() -> App {
    let scripts = [
        ("hello", r#"#{ hello: "world" }"#),
        ("note", r#"kv::collection("notes").set("last", 1)"#),
    ];
    let routes = [
        json!({ "method": "GET", "path": "/hello", "script": "hello" }),
        json!({ "method": "POST", "path": "/note", "script": "note" }),
    ];
    app("other", &scripts, &routes, &[])
}

fn app(slug: &str, scripts: &[(&str, &str)], routes: &[Value], triggers: &[Value]) -> App {
    let file = |name: &str| format!("{name}.rhai");
    let entries: Vec<Value> =
        scripts.iter().map(|(name, _)| json!({ "name": name, "file": file(name) })).collect();
    App {
        slug: slug.to_owned(),
        manifest: json!({ "app": { "slug": slug }, "scripts": entries, "routes": routes, "triggers": triggers }),
        sources: scripts.iter().map(|(name, text)| (file(name), (*text).to_owned())).collect(),
    }
}
