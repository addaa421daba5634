//! The doctor: checks of everything that an owner can put right, each with what to do.
//!
//! What only the daemon knows of itself is in [`running`], and `GET /doctor` answers it. `picloudd doctor` looks from outside, at
//! what is there whether a daemon runs or not, and asks one that does.

pub mod running;

mod asked;
mod card;
mod files;
mod mount;
mod port;
mod rehearsal;
mod space;
mod stored;
mod units;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use picloud_api::health::{self, Check};

use crate::backups;
use crate::config::Config;
use crate::doctor::asked::Asked;
use crate::store::migrate::Found;
use crate::store::open::folder_of;
use crate::time::{Clock, Standing};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ok,
    Warn,
    Bad,
}

fn check(name: &str, state: State, text: impl Into<String>, remedy: Option<&str>) -> Check {
    let state = match state {
        State::Ok => health::OK,
        State::Warn => health::WARN,
        State::Bad => health::BAD,
    };
    Check {
        name: name.to_owned(),
        state: state.to_owned(),
        text: text.into(),
        remedy: remedy.map(str::to_owned),
    }
}

/// What to do where only root may look.
const AS_ROOT: &str = "sudo picloudd doctor sees it";

/// Where this machine says what it is.
#[derive(Clone, Debug)]
pub struct Machine {
    pub proc: PathBuf,
    pub sys: PathBuf,
    /// Is there where systemd has started the machine.
    pub systemd: PathBuf,
    pub systemctl: PathBuf,
}

impl Machine {
    pub fn this() -> Machine {
        Machine {
            proc: PathBuf::from("/proc"),
            sys: PathBuf::from("/sys"),
            systemd: PathBuf::from("/run/systemd/system"),
            systemctl: PathBuf::from("systemctl"),
        }
    }
}

/// Whether a backup is restored to see that it can be. That writes as many bytes as the store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    Yes,
    No,
}

/// What is looked at.
pub struct Visit {
    /// What holds, or why the file of the configuration does not.
    pub config: Result<Config, String>,
    pub config_file: PathBuf,
    /// Whether it is the one that the service reads.
    pub is_of_service: bool,
    pub machine: Machine,
    pub clock: Arc<dyn Clock>,
    pub rehearsal: Rehearsal,
}

/// All checks, the worst first.
pub async fn visit(visit: Visit) -> Vec<Check> {
    let mut own = Vec::new();
    if visit.is_of_service {
        own.extend(units::checks(&visit.machine).await);
    }
    let file = visit.config_file.clone();
    let error = visit.config.as_ref().err().cloned();
    own.extend(in_background(move || vec![files::configuration(&file, error.as_deref())]).await);
    let mut all = match &visit.config {
        Ok(config) => {
            let asked = ask(config, &visit.machine.proc).await;
            own.push(asked.check(&config.admin.socket));
            own.extend(from_outside(&visit, config, &asked).await);
            match asked {
                Asked::Answered(answered) => merged(answered, own),
                Asked::Nobody | Asked::Silent(_) => own,
            }
        }
        Err(_) => own,
    };
    health::worst_first(&mut all);
    all
}

/// Nobody is asked where nobody is: a socket of systemd would start the daemon.
async fn ask(config: &Config, proc: &Path) -> Asked {
    let (store, proc) = (config.store.path.clone(), proc.to_owned());
    let is_held = tokio::task::spawn_blocking(move || stored::is_held(&store, &proc)).await;
    match is_held {
        Ok(Some(false)) => Asked::Nobody,
        // Who cannot see whether one runs finds out by asking.
        Ok(Some(true) | None) | Err(_) => asked::ask(&config.admin.socket).await,
    }
}

/// Whatever can be seen without the daemon.
async fn from_outside(visit: &Visit, config: &Config, asked: &Asked) -> Vec<Check> {
    let (machine, standing) = (visit.machine.clone(), visit.clock.standing());
    let (looked, is_free) = (config.clone(), matches!(asked, Asked::Nobody));
    // Files and sockets may hang.
    let mut checks = in_background(move || looked_at(&looked, &machine, standing)).await;
    let (found, schema) = stored::schema(config).await;
    checks.push(schema);
    let is_store = matches!(found, Some(Found::Schema { .. }));
    if is_free {
        let (looked, now) = (config.clone(), visit.clock.now());
        checks.extend(in_background(move || without_a_daemon(&looked, now.0)).await);
        if is_store {
            checks.push(stored::file(&config.store.path).await);
        }
    }
    if visit.rehearsal == Rehearsal::Yes && is_store {
        checks.push(rehearsal::play(config, &*visit.clock).await);
    }
    checks
}

fn looked_at(config: &Config, machine: &Machine, standing: Standing) -> Vec<Check> {
    let store = &config.store.path;
    let folder = folder_of(store);
    let mut checks = vec![
        space::left(crate::store::open::free_bytes(store), config.limits.store.free_bytes_min),
        running::clock(standing),
    ];
    checks.extend(mount::look(folder, machine));
    checks.extend(card::look(folder, machine));
    checks.extend(files::of_store(config));
    checks
}

/// What a daemon that runs would say better.
fn without_a_daemon(config: &Config, now: i64) -> Vec<Check> {
    let mut backups = backups::done_in(&config.backup_folder());
    backups.reverse();
    vec![running::backups(&backups, now), port::is_free(config.http.listen)]
}

async fn in_background(look: impl FnOnce() -> Vec<Check> + Send + 'static) -> Vec<Check> {
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// The daemon's checks and the others. Of two about the same the worse one counts.
fn merged(mut answered: Vec<Check>, own: Vec<Check>) -> Vec<Check> {
    for check in own {
        match answered.iter_mut().find(|other| other.name == check.name) {
            Some(other) if check.badness() > other.badness() => *other = check,
            Some(_) => {}
            None => answered.push(check),
        }
    }
    answered
}

#[cfg(test)]
mod tests;
