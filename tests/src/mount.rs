//! File systems that a test may fill and break: mounted in a mount namespace of their own, gone with the test.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A small file system. Whoever wants to see it has to [`Mount::enter`], or to look through [`Mount::seen`].
pub struct Mount {
    /// Keeps the namespace alive until its standard input closes.
    keeper: Child,
    point: TempDir,
}

/// Mounts of root need the real root; a user namespace is enough for a tmpfs.
const AS_ROOT: &[&str] = &["unshare", "--mount"];
const AS_USER: &[&str] = &["unshare", "--mount", "--map-root-user"];

impl Mount {
    /// A file system in memory. `Err` says why there can be none here.
    pub fn tmpfs(mib: u32) -> Result<Mount, String> {
        let script = format!("mount -t tmpfs -o size={mib}m,mode=0777 picloud-test \"$1\"");
        Mount::with(&script)
    }

    /// A file system on a device, which can break. `Err` says why there can be none here.
    pub fn ext4(mib: u32) -> Result<Mount, String> {
        let script = format!(
            "mount -t tmpfs -o size={}m picloud-test \"$1\" && truncate -s {mib}m \"$1/image\" \
             && PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q \"$1/image\" \
             && mount -t ext4 -o loop,errors=remount-ro \"$1/image\" \"$1\"",
            mib + 8
        );
        Mount::with(&script)
    }

    fn with(script: &str) -> Result<Mount, String> {
        let namespace = if rustix::process::geteuid().is_root() { AS_ROOT } else { AS_USER };
        let point = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut keeper = Command::new(namespace[0])
            .args(&namespace[1..])
            .args(["sh", "-c", &format!("{{ {script} ; }} 2>&1 && echo mounted && exec cat"), "sh"])
            .arg(point.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let mut output = BufReader::new(keeper.stdout.take().expect("it was asked for"));
        output.read_line(&mut said).map_err(|error| error.to_string())?;
        if said.trim() == "mounted" {
            return Ok(Mount { keeper, point });
        }
        keeper.wait().map_err(|error| error.to_string())?;
        Err(format!("cannot mount: {}", said.trim()))
    }

    /// The folder that it is mounted on, for those who have entered.
    pub fn path(&self) -> &Path {
        self.point.path()
    }

    /// The same folder for everybody else.
    pub fn seen(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.path().strip_prefix("/").expect("a temporary folder has a full path"))
    }

    /// What to put before a command so that it runs inside.
    pub fn enter(&self) -> Vec<String> {
        let keeper = format!("--target={}", self.keeper.id());
        let mut words = vec!["nsenter".to_owned(), keeper, "--mount".to_owned()];
        if !rustix::process::geteuid().is_root() {
            words.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        words.push("--".to_owned());
        words
    }

    /// Runs a command inside, which must succeed.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> Output {
        let words = self.enter();
        let output = Command::new(&words[0]).args(&words[1..]).args(command).output();
        let output = output.expect("nsenter is part of every Debian");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {said}", command.join(" "));
        output
    }

    /// Turns read-only as a file system does on which an error was found, also under open files. Only for `ext4`.
    pub fn break_down(&self) {
        self.run(&["mount", "-o", "remount,abort", &self.path().display().to_string()]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ended = self.keeper.wait();
    }
}

/// Says on the terminal, past the capture of the test, that something was not tested here, and why.
pub fn skipped(test: &str, reason: &str) {
    let _closed = writeln!(std::io::stderr(), "skipped {test}: {reason}");
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_mount_is_small_unseen_from_outside_and_can_break() {
        let mount = match Mount::tmpfs(1) {
            Ok(mount) => mount,
            Err(reason) => return skipped("mounts", &reason),
        };
        fs::write(mount.seen().join("small"), [0; 1_000]).unwrap();
        assert!(fs::write(mount.seen().join("large"), [0; 2_000_000]).is_err());
        assert!(!mount.path().join("small").exists());
        mount.run(&["test", "-f", &mount.path().join("small").display().to_string()]);

        let mount = match Mount::ext4(8) {
            Ok(mount) => mount,
            Err(reason) => return skipped("mounts that break", &reason),
        };
        let open = fs::File::create(mount.seen().join("open")).unwrap();
        mount.break_down();
        assert!((&open).write_all(b"late").is_err());
    }
}
