//! The real daemon as a process: started, talked to, killed, and started again on the same store.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;
use std::{env, io};

use io::BufRead;
use picloud_api::BASE;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{Connection, Request, Response};
use crate::failing_card::FailingCard;
use crate::mount::Mount;
use crate::systemd::Systemd;
use crate::wait::{self, PATIENCE};

/// What the daemon prints once it can be reached.
const ANNOUNCEMENT: &str = "listening on http://";
/// What it prints before, if its admin API is to be had over TCP.
const ADMIN_ANNOUNCEMENT: &str = "admin API on http://";

/// A program of the workspace as it is built for tests: with fault points. `PICLOUD_PROGRAMS` names another folder, which may
/// have those that ship instead.
pub fn program(name: &str) -> PathBuf {
    let own = env::current_exe().expect("a test is a file");
    // Tests are in a folder of the target's, programs beside each other.
    let beside = own.parent().expect("a file is in a folder");
    let folder = if beside.ends_with("deps") { beside.parent() } else { Some(beside) };
    #[allow(clippy::disallowed_methods, reason = "the configuration of the tests")]
    let named = env::var_os("PICLOUD_PROGRAMS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| folder.expect("the target is a folder").to_owned());
    let under_test = folder.join(format!("{name}-under-test"));
    if under_test.exists() { under_test } else { folder.join(name) }
}

/// A place for a daemon: its configuration, store and socket. It outlives the daemons that are started in it.
pub struct Site {
    folder: TempDir,
    /// In memory, as on a real machine: what runs is noted there without a byte to the card.
    _runtime: TempDir,
    pub store: PathBuf,
    /// `[http] listen`.
    pub listen: String,
    /// `[admin] listen`: empty, nowhere.
    pub admin_listen: String,
    /// More lines of the configuration, with their sections.
    pub settings: String,
}

/// How a daemon is started.
#[derive(Clone, Copy, Default)]
pub struct Launch<'a> {
    /// `point:count`: it aborts when it comes to that point for the `count`-th time.
    pub fault: Option<&'a str>,
    /// It sees the file systems that are mounted there.
    pub within: Option<&'a Mount>,
    /// Its store lies on a card that can fail.
    pub card: Option<&'a FailingCard>,
    pub as_nobody: Option<Nobody>,
    /// Systemd has started it.
    pub by: Option<&'a Systemd>,
    /// A command that starts it in other surroundings.
    pub through: &'a [String],
}

/// Asks for a process without any privilege. Only root can start one.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

/// Uid and gid of such a process.
pub const NOBODY: u32 = 65_534;

impl Site {
    pub fn new() -> Site {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let store = folder.path().join("store").join("picloud.db");
        fs::create_dir(folder.path().join("store")).expect("the folder is new");
        let runtime = tempfile::tempdir_in("/dev/shm").or_else(|_no_such| tempfile::tempdir());
        let runtime = runtime.expect("the temporary folder can be written");
        std::os::unix::fs::symlink(runtime.path(), folder.path().join("run")).expect("it is new");
        let (admin_listen, settings) = (String::new(), String::new());
        let listen = "127.0.0.1:0".to_owned();
        Site { folder, _runtime: runtime, store, listen, admin_listen, settings }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("admin.sock")
    }

    /// What the daemons of this site said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    pub fn write_config(&self) -> PathBuf {
        let text = format!(
            "[http]\nlisten = \"{}\"\n[admin]\nsocket = \"{}\"\nlisten = \"{}\"\n[store]\nurl = \"sqlite://{}\"\n\
             [runtime]\ndirectory = \"{}\"\n{}\n",
            self.listen,
            self.socket().display(),
            self.admin_listen,
            self.store.display(),
            self.path().join("run").display(),
            self.settings,
        );
        let path = self.path().join("picloud.toml");
        fs::write(&path, text).expect("the folder is ours");
        path
    }

    /// A daemon that can be reached.
    #[track_caller]
    pub fn start(&self) -> Daemon {
        let mut daemon = self.launch(Launch::default());
        assert!(daemon.comes_up(), "the daemon ended before it listened:\n{}", self.log());
        daemon
    }

    /// A daemon that may or may not come up.
    pub fn launch(&self, launch: Launch<'_>) -> Daemon {
        let mut words = launch.through.to_vec();
        if let Some(mount) = launch.within {
            words.extend(mount.enter());
        }
        let mut program = program("picloudd");
        if launch.as_nobody.is_some() {
            let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            words.push("setpriv".to_owned());
            words.extend(ids.into_iter().chain(["--clear-groups", "--"].map(str::to_owned)));
            program = self.open_to_all(&program);
        }
        words.extend(launch.by.iter().flat_map(|systemd| systemd.prepare()));
        words.push(program.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("run").arg("--config").arg(self.write_config());
        if let Some(fault) = launch.fault {
            command.env("PICLOUD_FAULT", fault);
        }
        if let Some(card) = launch.card {
            card.apply(&mut command);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(self.log_file());
        if let Some(systemd) = launch.by {
            systemd.apply(&mut command);
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", words[0]));
        let announced = announcements(&mut child);
        Daemon { child, announced, address: None, admin_address: None, socket: self.socket() }
    }

    /// Lets everybody into this site, but for its store; returns a copy of `program` that everybody can reach.
    fn open_to_all(&self, program: &Path) -> PathBuf {
        for folder in [self.path(), &self.path().join("run")] {
            let all = fs::Permissions::from_mode(0o777);
            fs::set_permissions(folder, all).expect("the folder is ours");
        }
        let copy = self.path().join("program");
        fs::copy(program, &copy).expect("the folder is ours");
        copy
    }

    /// The exit code and the message of a daemon that must not come up.
    #[track_caller]
    pub fn refuses_to_start(&self, launch: Launch<'_>) -> (i32, String) {
        let before = self.log().len();
        let mut daemon = self.launch(launch);
        assert!(!daemon.comes_up(), "the daemon came up, which it should not");
        let code = daemon.ended().code();
        let said = self.log()[before..].to_owned();
        (code.unwrap_or_else(|| panic!("the daemon died of a signal:\n{said}")), said)
    }

    /// Deploys an app that stands in the test itself. `manifest` is what follows after the app and its scripts.
    #[track_caller]
    pub fn deploy_app(&self, app: &InlineApp<'_>) {
        let folder = app.write_below(self.path());
        self.deploy(&folder);
    }

    /// What runs at this moment, as the daemon notes it for who comes after it.
    pub fn running(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path().join("run/running")).unwrap_or_default();
        text.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect()
    }

    fn log_file(&self) -> File {
        let path = self.path().join("log");
        OpenOptions::new().create(true).append(true).open(path).expect("the folder is ours")
    }

    /// Runs one of the daemon's own commands with the configuration of this site.
    pub fn picloudd(&self, arguments: &[&str]) -> Output {
        self.picloudd_with(arguments, None)
    }

    /// As [`Site::picloudd`], aborting where `fault` says.
    pub fn picloudd_with(&self, arguments: &[&str], fault: Option<&str>) -> Output {
        let mut command = Command::new(program("picloudd"));
        command.args(arguments).arg("--config").arg(self.write_config()).stdin(Stdio::null());
        if let Some(fault) = fault {
            command.env("PICLOUD_FAULT", fault);
        }
        command.output().expect("the daemon is built with the tests")
    }

    /// Runs the command line against the daemon of this site.
    pub fn picloud(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("picloud"));
        command.arg("--socket").arg(self.socket()).args(arguments).stdin(Stdio::null());
        command.output().expect("the command line is built with the tests")
    }

    /// As [`Site::picloud`], with this on its standard input.
    pub fn picloud_given(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(program("picloud"));
        command.arg("--socket").arg(self.socket()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command line is built with the tests");
        let mut stdin = child.stdin.take().expect("it was asked for");
        stdin.write_all(input.as_bytes()).expect("it is read");
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    /// Deploys the app in a folder.
    #[track_caller]
    pub fn deploy(&self, folder: &Path) {
        let output = self.picloud(&["deploy", &folder.display().to_string()]);
        assert!(output.status.success(), "deploy: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// An app whose scripts are short enough to stand in a test.
#[derive(Clone, Copy, Debug, Default)]
pub struct InlineApp<'a> {
    pub slug: &'a str,
    /// Name and text of each script.
    pub scripts: &'a [(&'a str, &'a str)],
    /// Method and path, script, and further keys of each route.
    pub routes: &'a [(&'a str, &'a str, &'a str)],
    /// Further sections of the manifest.
    pub manifest: &'a str,
}

impl InlineApp<'_> {
    /// Writes the app's folder below `place`.
    pub fn write_below(&self, place: &Path) -> PathBuf {
        let folder = place.join(self.slug);
        fs::create_dir_all(&folder).expect("the folder is ours");
        let mut manifest = format!("[app]\nslug = \"{}\"\nexpose_errors = true\n", self.slug);
        for (name, text) in self.scripts {
            manifest.push_str(&format!("[[scripts]]\nname = \"{name}\"\nfile = \"{name}.rhai\"\n"));
            fs::write(folder.join(format!("{name}.rhai")), text).expect("the folder is ours");
        }
        for (method_and_path, script, keys) in self.routes {
            let (method, path) = method_and_path.split_once(' ').expect("a method and a path");
            manifest.push_str(&format!(
                "[[routes]]\nmethod = \"{method}\"\npath = \"{path}\"\nscript = \"{script}\"\n{keys}\n"
            ));
        }
        manifest.push_str(self.manifest);
        fs::write(folder.join("picloud.toml"), manifest).expect("the folder is ours");
        folder
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// Each announcement up to its address, and the address. The thread ends with the process's output, so that the pipe never fills up.
fn announcements(child: &mut Child) -> Receiver<(&'static str, SocketAddr)> {
    let (sender, receiver) = mpsc::channel();
    // It may have been given a socket instead.
    let Some(stdout) = child.stdout.take() else { return receiver };
    thread::spawn(move || {
        for line in io::BufReader::new(stdout).lines().map_while(Result::ok) {
            for known in [ANNOUNCEMENT, ADMIN_ANNOUNCEMENT] {
                let address = line.trim().strip_prefix(known);
                if let Some(address) = address.and_then(|address| address.parse().ok()) {
                    let _gone = sender.send((known, address));
                }
            }
        }
    });
    receiver
}

/// A running daemon. It is killed when the value goes.
pub struct Daemon {
    child: Child,
    announced: Receiver<(&'static str, SocketAddr)>,
    address: Option<SocketAddr>,
    /// Where its admin API is to be had over TCP.
    pub admin_address: Option<SocketAddr>,
    socket: PathBuf,
}

impl Daemon {
    /// Waits until the daemon says where it listens; `false` when it ends before.
    pub fn comes_up(&mut self) -> bool {
        loop {
            match self.announced.recv_timeout(PATIENCE) {
                Ok((ADMIN_ANNOUNCEMENT, address)) => self.admin_address = Some(address),
                Ok((_, address)) => {
                    self.address = Some(address);
                    return true;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return false,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("no address within {PATIENCE:?}"),
            }
        }
    }

    /// Says where it can be reached, when it cannot say so itself.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.address = Some(address);
    }

    pub fn address(&self) -> SocketAddr {
        self.address.expect("the daemon has come up")
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn send(&self, request: &Request) -> Response {
        let connection = Connection::tcp(self.address());
        let answer = connection.and_then(|mut connection| connection.send(request));
        answer.unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.target))
    }

    /// A POST with a JSON body on a connection of its own.
    #[track_caller]
    pub fn post(&self, target: &str, body: &str) -> Response {
        self.send(&Request::post(target, body))
    }

    /// Asks the admin API for something, which it must do.
    #[track_caller]
    pub fn order(&self, target: &str) {
        let answer = self.admin(&Request::post(target, "{}")).expect("the admin socket answers");
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
    }

    /// One call of the admin API; `target` begins after `/api/v1/admin`.
    pub fn admin(&self, request: &Request) -> io::Result<Response> {
        let target = format!("{BASE}{}", request.target);
        Connection::unix(&self.socket)?.send(&Request { target, ..request.clone() })
    }

    /// All items of a list of the admin API, page by page; `name` may have a query.
    #[track_caller]
    pub fn list(&self, name: &str) -> Vec<serde_json::Value> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let mark = if name.contains('?') { '&' } else { '?' };
            let target = format!("/{name}{mark}limit=1000{after}");
            let answer = self.admin(&Request::get(target)).expect("the admin socket answers");
            assert_eq!(answer.status, 200, "{answer:?}");
            let page = answer.json();
            items.extend(page["items"].as_array().expect("a page has items").iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return items,
            }
        }
    }

    /// The runs whose `key` is `value`, once there are `count` of them: that a run has ended is in the store before it is
    /// among the executions.
    #[track_caller]
    pub fn executions(&self, key: &str, value: &str, count: usize) -> Vec<serde_json::Value> {
        wait::until("the runs are listed", || {
            let mut listed = self.list("executions");
            listed.retain(|one| one[key] == value);
            (listed.len() >= count).then_some(listed)
        })
    }

    /// Waits until nothing is left to run.
    #[track_caller]
    pub fn works_everything_off(&self) {
        wait::until("the outbox is empty", || self.list("outbox").is_empty().then_some(()));
    }

    pub fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.process()).ok().and_then(Pid::from_raw);
        kill_process(process.expect("a process has a number"), signal).expect("it is our child");
    }

    /// Kills it as a power cut would, but for what the kernel holds.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn ended(mut self) -> ExitStatus {
        wait::until("the daemon ends", || self.has_ended())
    }

    /// How it ended, if it does within `limit`.
    pub fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait::within(limit, || self.has_ended())
    }

    /// Stops it in order; its store can be looked into afterwards.
    #[track_caller]
    pub fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().code(), Some(0));
    }

    fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Either fails only when it has ended.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
