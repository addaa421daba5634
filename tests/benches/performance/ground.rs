//! What all cases stand on: options, folders, the binaries, and what was made once and is used again.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use picloud_daemon::store::bench::multiply;
use picloud_tests::appliance::limits::Limits;
use picloud_tests::measure::figure::{Base, BaseSample};

use crate::base;
use crate::cases::Case;
use crate::daemon::{self, Daemon};
use crate::options::{Extent, Options};
use crate::profile;
use crate::shim::{Disk, Shim};

pub struct Ground {
    pub options: Options,
    /// Stores and all else that is written; gone at the end.
    pub folder: PathBuf,
    /// For what a daemon keeps in memory while it runs: sockets and the like.
    pub runtime_folder: PathBuf,
    pub shim: Shim,
    /// Of the daemon and the base lines.
    pub limits: Limits,
    /// Where the next daemon's profile goes, if one is wanted.
    pub profile: RefCell<Option<PathBuf>>,
    binaries: OnceCell<PathBuf>,
    backlogs: RefCell<BTreeMap<(i64, i64), PathBuf>>,
    notes: RefCell<Vec<String>>,
    number: Cell<u64>,
}

impl Ground {
    pub fn prepare(options: Options) -> Result<Ground> {
        let own = format!("run-{}", std::process::id());
        let folder = options.folder.join(&own);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let runtime_folder = above.join(format!("picloud-bench-{own}"));
        fs::create_dir_all(&runtime_folder)?;
        Ok(Ground {
            shim: Shim::build(&folder)?,
            limits: Limits::of(&options.groups),
            options,
            folder,
            runtime_folder,
            profile: RefCell::new(None),
            binaries: OnceCell::new(),
            backlogs: RefCell::default(),
            notes: RefCell::default(),
            number: Cell::new(0),
        })
    }

    /// A number that was not given out before.
    pub fn number(&self) -> u64 {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    /// Says something beside the figures of the case that runs; a sentence that was said is not said again.
    pub fn note(&self, sentence: String) {
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&sentence) {
            notes.push(sentence);
        }
    }

    pub fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }

    pub fn base_lines(&self, wanted: &[Base]) -> Result<BaseSample> {
        let mut sample = BaseSample::new();
        if wanted.iter().any(|base| matches!(base, Base::AxumAnswers | Base::AxumCpu)) {
            let (answers, micros) = base::axum(&self.limits, self.options.time)?;
            sample.extend([(Base::AxumAnswers, answers), (Base::AxumCpu, micros)]);
        }
        for (base, disk) in [(Base::Fdatasync, Disk::AsItIs), (Base::SlowFdatasync, Disk::Slow)] {
            if wanted.contains(&base) {
                sample.push((base, base::fdatasync(self, disk)?));
            }
        }
        if wanted.contains(&Base::Sqlite) {
            sample.push((Base::Sqlite, base::sqlite(self)?));
        }
        Ok(sample)
    }

    /// The folder with the binaries, copied so that no build changes them meanwhile: those that were asked for, or the workspace's
    /// in the profile that this program is of, built without the features of the tests.
    pub fn binaries(&self) -> Result<&Path> {
        if let Some(folder) = self.binaries.get() {
            return Ok(folder);
        }
        let folder = self.folder.join("bin");
        fs::create_dir_all(&folder)?;
        let built = match &self.options.picloudd {
            Some(picloudd) => {
                fs::copy(picloudd, folder.join("picloudd"))
                    .with_context(|| format!("cannot copy {}", picloudd.display()))?;
                picloudd.parent().context("a program is in a folder")?.to_owned()
            }
            None => build()?,
        };
        for name in ["picloudd", "picloud", "picloud-tui"] {
            let (from, to) = (built.join(name), folder.join(name));
            if from.exists() && !to.exists() {
                fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
            }
            if to.exists() {
                fs::File::open(to)?.sync_all()?;
            }
        }
        Ok(self.binaries.get_or_init(|| folder))
    }

    /// A store whose app `bench` is paused and has this many rows waiting, and this many open dead letters.
    /// Copy it before a daemon changes it.
    pub fn backlog(&self, rows: i64, letters: i64) -> Result<PathBuf> {
        if let Some(file) = self.backlogs.borrow().get(&(rows, letters)) {
            return Ok(file.clone());
        }
        let daemon = Daemon::start(self, Disk::AsItIs)?;
        daemon.deploy(&daemon::bench_app())?;
        if letters > 0 {
            daemon.post_async("/bench/fail", r#"{"n":{number}}"#)?;
            daemon.wait_until_empty()?;
        }
        daemon.pause("bench")?;
        daemon.post_async("/bench/backlog", r#"{"n":{number}}"#)?;
        let file = daemon.stop_and_keep()?;
        block_on(async {
            multiply(&file, "outbox", rows).await?;
            if letters > 0 { multiply(&file, "dead_letters", letters).await } else { Ok(()) }
        })??;
        self.backlogs.borrow_mut().insert((rows, letters), file.clone());
        Ok(file)
    }

    /// Copies a store into a folder of its own. What the system has yet to write of the copy would be written during the
    /// commits that are measured.
    pub fn copy_of(&self, store: &Path) -> Result<PathBuf> {
        let folder = self.new_folder()?;
        let copy = folder.join(daemon::STORE);
        fs::copy(store, &copy).with_context(|| format!("cannot copy {}", store.display()))?;
        fs::File::open(&copy)?.sync_all()?;
        Ok(copy)
    }

    pub fn new_folder(&self) -> Result<PathBuf> {
        let folder = self.folder.join(format!("store-{}", self.number()));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// One more round of a case under the profiler. Its figures do not count.
    pub fn profile_of(&self, case: &Case) -> Vec<(f64, String)> {
        if self.options.extent == Extent::Quick || !self.options.groups.is_empty() {
            return Vec::new();
        }
        let file = self.folder.join("profile");
        self.profile.replace(Some(file.clone()));
        let round = (case.round)(self);
        self.profile.replace(None);
        match round.and_then(|_| profile::hottest(&file)) {
            Ok(functions) => functions,
            Err(error) => {
                self.note(format!("No profile: {error:#}."));
                Vec::new()
            }
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Leftovers in a folder of our own harm nobody.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_dir_all(&self.runtime_folder);
    }
}

/// Builds the workspace's programs; the folder that they are in.
fn build() -> Result<PathBuf> {
    // It lies in target/PROFILE/deps.
    let own = std::env::current_exe()?;
    let built = own.ancestors().nth(2).context("this program lies in no target folder")?;
    let profile = built.file_name().context("the profile's folder has a name")?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo has told this program of its package would have build scripts, ring's for one, run anew each time.
    for (name, _) in std::env::vars_os() {
        let is_of_package = |name: &str| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|begin| name.starts_with(begin))
        };
        if name.to_str().is_some_and(is_of_package) {
            build.env_remove(name);
        }
    }
    let build = build
        .arg("build")
        .arg("--profile")
        .arg(profile)
        .args(["-p", "picloud-daemon", "-p", "picloud-tui", "--bins"])
        .status()
        .context("cannot start cargo")?;
    if !build.success() {
        bail!("the daemon does not build");
    }
    Ok(built.to_owned())
}

pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}
