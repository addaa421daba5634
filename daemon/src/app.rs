//! The composition: engine and listeners put together, and taken apart again when the process is told to stop.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use picloud_api::health::Check;
use picloud_api::problem::Problem;
use picloud_api::text;
use picloud_scripts_runtime::{bounds, memory};
use sd_notify::NotifyState;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::deploy::{self, Mode};
use crate::admin::door::{self, Door};
use crate::admin::engine as admin_engine;
use crate::admin::peer::{self, OWNERS, Peer, owner_name};
use crate::admin::socket;
use crate::appliance::notify::Manager;
use crate::appliance::sockets::Listeners;
use crate::appliance::{self, Given, Streams, status, watch};
use crate::backups::offline;
use crate::config::Config;
use crate::doctor::{self, Visit};
use crate::engine::{self, Engine, Pausing, Setup};
use crate::faults::Faults;
use crate::flow::configure::Unfit;
use crate::flow::configure::people::plan_uid;
use crate::groups::Groups;
use crate::http::callers::{Callers, Secrets};
use crate::http::listener;
use crate::http::request::{Edge, Names};
use crate::ids::Ids;
use crate::limits::HttpLimits;
use crate::log::{Look, field, message};
use crate::store::look;
use crate::store::migrate::{Found, SCHEMA_VERSION};
use crate::store::open::{StoreConfig, StoreError};
use crate::store::upgrade::{self, Upgrade};
use crate::time::{Clock, SystemClock};
use crate::{admin, catalog, demo, machine};

/// How to start.
pub struct Start {
    pub config: Config,
    pub pausing: Pausing,
    pub faults: Faults,
    pub clock: Arc<dyn Clock>,
    pub given: Given,
}

/// A daemon that ran has ended, and not because it was told to.
#[derive(Debug, thiserror::Error)]
#[error("the store cannot go on: {0}")]
pub struct CannotGoOn(String);

/// Threads that wait for sockets and timers; scripts and the store have their own.
const WORKERS_MAX: usize = 4;
/// Threads for what blocks: looking up a name, reading a file.
const BLOCKING_MAX: usize = 4;
/// Heaps that all threads share.
const HEAPS_MAX: i32 = 2;
/// A deploy compiles scripts on one of them.
const WORKER_STACK_BYTES: usize = bounds::STACK_BYTES + (256 << 10);

/// Runs the daemon until it is told to stop.
pub fn run(start: Start) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        // From the first moment on: whoever stops it while it starts gets a stop in order, too.
        let signals = Signals::watch()?;
        let daemon = Daemon::start(start).await?;
        let announced = daemon.announce();
        daemon.serve_after(announced, signals).await
    })
}

/// Runs the daemon with the example app, on this machine's own address and in a folder of its own. Without `dir` the
/// folder is a new one that goes at the end.
pub fn demo(port: u16, dir: Option<&Path>, look: Look, faults: Faults) -> anyhow::Result<()> {
    let folder = match dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)
                .with_context(|| format!("cannot make the folder {}", dir.display()))?;
            DemoFolder::Kept(dir.to_owned())
        }
        None => DemoFolder::throw_away()?,
    };
    let mut config = Config::default();
    config.http.listen = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    config.store.path = folder.path().join("picloud.db");
    config.admin.socket = folder.path().join("admin.sock");
    config.runtime.directory = folder.path().join("run");
    let socket = config.admin.socket.clone();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let log = appliance::Log::start(&config.log, Streams::Elsewhere, look, &clock);
    let ended = runtime()?.block_on(async {
        let signals = Signals::watch()?;
        let given = Given::default();
        let start = Start { config, pausing: Pausing::AsStored, faults, clock, given };
        let daemon = Daemon::start(start)
            .await
            .context("the demo cannot start (--port N and --dir DIR take others)")?;
        let deployed = daemon.deploy_demo().await;
        let invited = deployed.and_then(|()| say(&demo::invitation(daemon.address(), &socket)));
        daemon.serve_after(invited, signals).await
    });
    log.flush();
    ended
}

/// Copies the store into a new file, whether a daemon runs or not.
pub fn back_up(config: &Config, to: &Path) -> anyhow::Result<()> {
    let (store, limits) = (&config.store.path, &config.limits.store);
    let now = SystemClock::start().now();
    let done = runtime()?.block_on(offline::back_up(store, to, limits, now));
    let (target, made) = done.context("there is no backup")?;
    let key = config.key_file();
    say(&format!(
        "{}: {} bytes, found to be whole\nthe key of the secrets is not in it: keep {} elsewhere, too\n",
        target.display(),
        made.bytes,
        key.display()
    ))
}

/// Makes the store what a backup has.
pub fn restore(config: &Config, from: &Path) -> anyhow::Result<()> {
    let (store, limits) = (&config.store.path, &config.limits.store);
    let now = SystemClock::start().now();
    let done = runtime()?.block_on(offline::restore(store, from, limits, now));
    let made = done.context("nothing was restored")?;
    say(&format!(
        "{}: {} entries and documents, {} rows that wait\nits secrets can be read with the key that they were sealed with, in {}\n",
        store.display(),
        made.content.entries,
        made.content.rows,
        config.key_file().display()
    ))
}

/// Brings the store up to date without a daemon.
pub fn migrate(config: &Config, faults: Faults) -> anyhow::Result<()> {
    let now = SystemClock::start().now();
    let store = StoreConfig {
        backups: config.backup_folder(),
        free_bytes_min: config.limits.store.free_bytes_min,
        faults,
        ..StoreConfig::at(&config.store.path)
    };
    let done = runtime()?.block_on(upgrade::offline(&store, now));
    say(&match done.context("nothing was migrated")? {
        Some(Upgrade { from, backup }) => {
            format!("schema {from} -> {SCHEMA_VERSION}, backup at {}\n", backup.display())
        }
        None => "nothing to do\n".to_owned(),
    })
}

/// Prints the version of the schema that this daemon was built for, or the one that the store has: 0 if there is none.
pub fn schema(of_store: Option<&Config>) -> anyhow::Result<()> {
    let Some(config) = of_store else { return say(&format!("{SCHEMA_VERSION}\n")) };
    let path = &config.store.path;
    match runtime()?.block_on(look::schema(path))? {
        Found::Schema { version, .. } => say(&format!("{version}\n")),
        Found::Empty => say("0\n"),
        Found::Foreign => Err(StoreError::Foreign(path.clone()).into()),
    }
}

/// Whether the checks found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    Well,
    Warned,
    Ill,
}

/// How checks are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// For people.
    Text,
    /// For programs: a line of JSON for each.
    Json,
}

/// Prints all checks, the worst first.
pub fn doctor(visit: Visit, shape: Shape) -> anyhow::Result<Diagnosis> {
    let checks = runtime()?.block_on(doctor::visit(visit));
    for check in &checks {
        match shape {
            Shape::Json => say(&format!("{}\n", serde_json::to_string(check)?))?,
            Shape::Text => {
                for line in check.lines() {
                    say(&format!("{}\n", text::visible(&line)))?;
                }
            }
        }
    }
    Ok(match checks.iter().map(Check::badness).max() {
        None | Some(0) => Diagnosis::Well,
        Some(1) => Diagnosis::Warned,
        Some(_) => Diagnosis::Ill,
    })
}

/// Where the demo keeps its store.
enum DemoFolder {
    Kept(PathBuf),
    ThrownAway(PathBuf),
}

impl DemoFolder {
    fn throw_away() -> anyhow::Result<DemoFolder> {
        let name = format!("picloud-demo-{}", Ids::random().next(SystemClock::start().now()));
        let path = std::env::temp_dir().join(name);
        // It fails if somebody has made it before, and nobody else may look into it.
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(DemoFolder::ThrownAway(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) | Self::ThrownAway(path) => path,
        }
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        if let Self::ThrownAway(path) = self {
            let _left_over = std::fs::remove_dir_all(path);
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    memory::share_heaps(HEAPS_MAX);
    let cores = cores();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(WORKERS_MAX))
        .max_blocking_threads(BLOCKING_MAX)
        .thread_stack_size(WORKER_STACK_BYTES)
        .enable_all()
        .build()
        .context("cannot start the threads of the daemon")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot print")
}

/// What tells the daemon to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn watch() -> anyhow::Result<Signals> {
        let watch = |kind| signal(kind).context("cannot wait for signals");
        Ok(Signals {
            terminate: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
        })
    }
}

/// Everything that runs.
struct Daemon {
    engine: Engine,
    admin: Arc<admin_engine::Engine>,
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Where routes are served: the ports are the real ones, also when 0 was asked for. The first is the configured one.
    addresses: Vec<SocketAddr>,
    /// The same for the admin API, if it is to be had over TCP.
    admin_address: Option<SocketAddr>,
    /// Removed at the end; absent when it is systemd's.
    socket: Option<PathBuf>,
    drain: Duration,
    manager: Manager,
    announce: Announce,
}

/// Where it is said that the daemon is ready.
#[derive(Clone, Copy, Debug)]
struct Announce {
    in_the_log: bool,
    on_stdout: bool,
}

impl Announce {
    fn of(config: &Config, streams: Streams) -> Announce {
        let is_journal = streams == Streams::ToTheJournal;
        let in_the_log = is_journal || appliance::is_for_the_journal(config.log.to, streams);
        // There it would be the same line once more.
        Announce { in_the_log, on_stdout: !is_journal }
    }
}

impl Daemon {
    async fn start(start: Start) -> anyhow::Result<Daemon> {
        let Start { config, pausing, faults, clock, given } = start;
        let manager = Manager::at(given.notify_socket.as_deref());
        let mut asking = JoinSet::new();
        let asked = manager.clone();
        asking.spawn(async move { asked.ask_for_time().await });
        std::fs::create_dir_all(&config.runtime.directory).with_context(|| {
            format!("cannot make [runtime] directory {}", config.runtime.directory.display())
        })?;
        // The port first: whoever started a second daemon is told so before the store is touched.
        let listeners = Listeners::open(&config, given.sockets, &manager).await?;
        let Listeners { http, admin_tcp, admin } = listeners;
        let addresses = http.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>();
        let addresses = addresses.context("a listener has no address")?;
        let admin_address = admin_tcp.as_ref().map(TcpListener::local_addr).transpose();
        let admin_address = admin_address.context("the admin listener has no address")?;
        let engine = engine::start(Setup {
            store: config.store.path.clone(),
            runtime_directory: config.runtime.directory.clone(),
            key_file: config.key_file(),
            backup_folder: config.backup_folder(),
            own_addresses: addresses.clone(),
            durability: config.outbox.sync_durability,
            limits: config.limits.clone(),
            pausing,
            cores: cores(),
            clock,
            ids: Arc::new(Ids::random()),
            groups: Arc::new(Groups::of_this_machine()),
            faults,
        })
        .await?;
        let drain = Duration::from_millis(config.limits.http.stop_ms);
        let socket = admin.is_none().then(|| config.admin.socket.clone());
        let unix = match prepare(&engine, admin, &config.admin.socket).await {
            Ok(unix) => unix,
            Err(error) => {
                // Otherwise the next start would take this one for a crash.
                if let Err(why) = engine.stop(drain).await {
                    tracing::error!(why, "the store did not end in order");
                }
                return Err(error);
            }
        };
        let daemon = Daemon {
            admin: Arc::new(admin_engine::Engine::of(&engine)),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            addresses,
            admin_address,
            socket,
            drain,
            manager,
            announce: Announce::of(&config, given.streams),
            engine,
        };
        daemon.listen(http, &config);
        daemon.open_doors([Some(door::Listener::Unix(unix)), admin_tcp.map(door::Listener::Tcp)]);
        daemon.show_life(given.watchdog).await;
        Ok(daemon)
    }

    fn address(&self) -> SocketAddr {
        *self.addresses.first().expect("the configured one is always there")
    }

    /// Runs beside everything else, until the daemon stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Tells systemd that everything is ready, and from then on how it is.
    async fn show_life(&self, watchdog: Option<Duration>) {
        let look = status::Look {
            addresses: self.addresses.clone(),
            catalog: Arc::clone(&self.engine.catalog),
            seen: Arc::clone(&self.engine.seen),
        };
        let line = look.line();
        self.manager.say(&[NotifyState::Ready, NotifyState::Status(&line)]).await;
        self.spawn(status::keep(look, self.manager.clone(), line));
        if let Some(interval) = watchdog {
            let dispatcher = Arc::clone(&self.engine.dispatcher);
            self.spawn(watch::keep(dispatcher, self.manager.clone(), interval));
        }
    }

    fn listen(&self, listeners: Vec<TcpListener>, config: &Config) {
        let dispatcher = Arc::clone(&self.engine.dispatcher);
        self.spawn(Arc::clone(&dispatcher).keep_time());
        let names = Names { machine: machine::name(), hosts: config.http.hosts.clone() };
        let caller = Arc::clone(&dispatcher);
        let call = move |call| {
            let dispatcher = Arc::clone(&caller);
            async move { dispatcher.call(call).await }
        };
        let lookup = move |id| {
            let dispatcher = Arc::clone(&dispatcher);
            async move { dispatcher.look_up(id).await }
        };
        let limits = config.limits.http.clone();
        let (catalog, callers) = (Arc::clone(&self.engine.catalog), self.callers(&limits));
        let places = listener::places(&limits);
        let edge = Arc::new(Edge::new(catalog, (limits, names), callers, call, lookup));
        self.spawn(admin::pulse::beat(Arc::clone(&self.admin)));
        for listener in listeners {
            let (places, edge) = (places.clone(), Arc::clone(&edge));
            let (tracker, stop) = (self.tracker.clone(), self.stop.clone());
            self.tracker.spawn(listener::serve(listener, places, edge, tracker, stop));
        }
        if !self.engine.whole.load(Ordering::Relaxed) {
            self.check_in_background();
        }
    }

    /// Who routes are called by, with what they sign in with.
    fn callers(&self, limits: &HttpLimits) -> Callers {
        let (reader, vault) = (self.engine.reader.clone(), Arc::clone(&self.engine.vault));
        let secrets: Secrets = Box::new(move |app, name| {
            let (reader, vault) = (reader.clone(), Arc::clone(&vault));
            Box::pin(async move {
                let sealed = reader.secret(app.id, &name).await;
                let sealed = sealed.map_err(|error| error.to_string())?;
                vault.secret_of(&app, &name, sealed.as_deref())
            })
        });
        let (clock, groups) = (Arc::clone(&self.engine.clock), Arc::clone(&self.engine.groups));
        Callers::new(clock, groups, limits.rate_callers_max, secrets)
    }

    fn open_doors(&self, listeners: [Option<door::Listener>; 2]) {
        let router = admin::router(Arc::clone(&self.admin));
        for listener in listeners.into_iter().flatten() {
            let (limits, groups) = (&self.engine.limits.admin, Arc::clone(&self.engine.groups));
            let door = Door::new(listener, limits, &self.admin.owners, groups);
            let serve = door.serve(router.clone(), self.tracker.clone(), self.stop.clone());
            self.tracker.spawn(serve);
        }
    }

    /// After a stop out of order the file is looked through, while everything works already.
    fn check_in_background(&self) {
        let (reader, stop) = (self.engine.reader.clone(), self.stop.clone());
        let whole = Arc::clone(&self.engine.whole);
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                checked = reader.quick_check() => match checked {
                    Ok(()) => whole.store(true, Ordering::Relaxed),
                    Err(error) => tracing::error!(
                        { field::MESSAGE_ID } = message::STORE_DAMAGED.0,
                        %error,
                        "the store is damaged"
                    ),
                },
            }
        });
    }

    /// Deploys the example app as the daemon's own user.
    async fn deploy_demo(&self) -> anyhow::Result<()> {
        let peer = Peer { uid: rustix::process::getuid().as_raw() };
        let refused = |problem: Problem| anyhow!("the example app is refused: {problem:?}");
        let catalog = self.engine.catalog.load();
        let principal = peer::principal(peer, &catalog, &self.engine.groups).map_err(refused)?;
        let deployed =
            deploy::deploy(&self.admin, demo::bundle(), principal, Mode::ForReal, None).await;
        deployed.map(drop).map_err(refused)
    }

    fn announce(&self) -> anyhow::Result<()> {
        if self.announce.in_the_log {
            let listen: Vec<String> = self.addresses.iter().map(SocketAddr::to_string).collect();
            tracing::info!(
                { field::MESSAGE_ID } = message::READY.0,
                { field::LISTEN } = listen.join(" "),
                { field::VERSION } = env!("CARGO_PKG_VERSION"),
                "ready"
            );
        }
        if !self.announce.on_stdout {
            return Ok(());
        }
        if let Some(address) = self.admin_address {
            say(&format!("admin API on http://{address}\n"))?;
        }
        self.addresses.iter().try_for_each(|at| say(&format!("listening on http://{at}\n")))
    }

    /// Serves when all that comes before has succeeded, and otherwise stops in order.
    async fn serve_after(self, ready: anyhow::Result<()>, signals: Signals) -> anyhow::Result<()> {
        let Err(error) = ready else { return self.serve(signals).await };
        if let Err(why) = self.end().await {
            tracing::error!(%why, "the daemon did not end in order");
        }
        Err(error)
    }

    /// Waits for the end and brings it about.
    async fn serve(mut self, mut signals: Signals) -> anyhow::Result<()> {
        let ended = tokio::select! {
            _ = signals.terminate.recv() => None,
            _ = signals.interrupt.recv() => None,
            ended = &mut self.engine.writer_ended => Some(ended),
        };
        if let Some(ended) = ended {
            let why = match ended {
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(())) | Err(_) => "it ended without a word".to_owned(),
            };
            remove(self.socket.as_deref());
            // Callers cannot be told what nobody knows; the next start finds out.
            return Err(CannotGoOn(why).into());
        }
        tracing::info!({ field::MESSAGE_ID } = message::STOPPING.0, "stopping");
        // Runs, queries and answers each have their time.
        self.manager.stopping(2 * self.drain + STOP_BESIDE).await;
        self.end().await
    }

    /// No new requests, runs end or go back, the store is closed.
    async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.tracker.close();
        let stopped = self.engine.stop(self.drain).await;
        if stopped.is_ok() {
            let _ = tokio::time::timeout(self.drain, self.tracker.wait()).await;
        }
        remove(self.socket.as_deref());
        stopped.map_err(|why| anyhow!("the store did not end in order: {why}"))
    }
}

/// What a stop may take beside the time that runs and answers get.
const STOP_BESIDE: Duration = Duration::from_secs(10);

fn remove(socket: Option<&Path>) {
    if let Some(socket) = socket {
        let _gone = std::fs::remove_file(socket);
    }
}

/// What can still go wrong between the start of the engine and that of the listeners.
async fn prepare(
    engine: &Engine,
    inherited: Option<UnixListener>,
    path: &Path,
) -> anyhow::Result<UnixListener> {
    let unix = match inherited {
        Some(unix) => unix,
        None => socket::bind(path)?,
    };
    know_the_owners(engine).await?;
    Ok(unix)
}

/// Root and the daemon's own user may do everything, and are principals like any other.
async fn know_the_owners(engine: &Engine) -> anyhow::Result<()> {
    for uid in peer::owners() {
        let plan = |catalog: &catalog::Catalog, next: i64| {
            plan_uid(catalog, uid, &owner_name(uid), OWNERS, next)
        };
        if plan(&engine.catalog.load(), 0).changes.is_empty() {
            continue;
        }
        let planned = engine.writer.configure::<Unfit>(move |catalog, next, _| {
            let planned = plan_uid(catalog, uid, &owner_name(uid), OWNERS, next);
            Ok((planned.changes, planned.next))
        });
        planned.await.context("cannot make the daemon's owner known")?;
    }
    Ok(())
}
