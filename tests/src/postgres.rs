//! A PostgreSQL of a test's own: made in a temporary folder, reached by a socket there, gone with the test.
//!
//! The unit tests of the daemon have it too, by the path of this file.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// Who may do anything in it. Nobody is asked for a password.
pub const SUPERUSER: &str = "postgres";

/// Where Debian has the programs, a folder a version, and on no PATH.
const DEBIAN: &str = "/usr/lib/postgresql";
const MISSING: &str = "PostgreSQL's initdb is neither on the PATH nor below /usr/lib/postgresql, and these tests start a \
    PostgreSQL of their own: on Debian, `sudo apt install postgresql`";
/// It refuses to run as root, so there it is this user, which every system has: nobody.
const NOBODY: u32 = 65_534;
/// For how long one may start or end before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines that it may say before it is ready.
const LINES_MAX: usize = 1_000;

/// A server that runs until this is dropped, and no longer than the thread that started it.
pub struct Postgres {
    server: Child,
    /// Whether it has started; closed as soon as the last of its processes has ended.
    log: Receiver<Result<(), String>>,
    folder: TempDir,
}

impl Postgres {
    /// Nothing of it is ever brought to a disk on purpose.
    pub fn start() -> Postgres {
        let programs = programs().expect(MISSING);
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        if geteuid().is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may give it away");
        }
        let data = folder.path().join("data");
        let made = as_somebody(&programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username"])
            .args([SUPERUSER, "--pgdata"])
            .arg(&data)
            .output()
            .expect("initdb can be started");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = as_somebody(&programs.join("postgres"))
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "log_min_messages=log"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", folder.path().display()))
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("postgres can be started");
        let log = read(BufReader::new(server.stderr.take().expect("it is piped")));
        let server = Postgres { server, log, folder };
        match server.log.recv_timeout(PATIENCE) {
            Ok(Ok(())) => server,
            Ok(Err(said)) => panic!("PostgreSQL does not start: {said}"),
            Err(_) => panic!("PostgreSQL did not start within {PATIENCE:?}"),
        }
    }

    /// The folder of its socket.
    pub fn socket(&self) -> &Path {
        self.folder.path()
    }

    pub fn process(&self) -> u32 {
        self.server.id()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may be gone already. At this signal it ends at once and puts nothing in order.
        let _ = kill_process(Pid::from_child(&self.server), Signal::QUIT);
        if self.log.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

/// The folder that has initdb: on the PATH, or the newest of Debian's.
fn programs() -> Option<PathBuf> {
    #[allow(clippy::disallowed_methods, reason = "the configuration of the tests")]
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path()).collect();
    versions.sort_by_key(|version| {
        version.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok())
    });
    let debian = versions.into_iter().rev().map(|version| version.join("bin"));
    env::split_paths(&path).chain(debian).find(|folder| folder.join("initdb").is_file())
}

/// A command that is not root's, and that ends with the thread that starts it, however that ends.
fn as_somebody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if geteuid().is_root() {
        let nobody = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
        command.args(nobody).arg("--clear-groups");
    }
    // It need not be allowed to see the folder that the test was started in.
    command.arg("--").arg(program).current_dir("/");
    command
}

/// Reads to the end of what a server says. Told once: that it is ready, or what it said instead.
fn read(said: impl BufRead + Send + 'static) -> Receiver<Result<(), String>> {
    let (tell, told) = sync_channel(1);
    std::thread::spawn(move || {
        let mut lines = said.lines().map_while(Result::ok);
        let mut before = String::new();
        let is_ready = lines.by_ref().take(LINES_MAX).any(|line| {
            before.push_str(&line);
            before.push('\n');
            line.contains("ready to accept connections")
        });
        // Whoever started it may be gone.
        let _ = tell.send(if is_ready { Ok(()) } else { Err(before) });
        lines.for_each(drop);
    });
    told
}
