//! The doctor: checks of everything that an owner can put right, each with what to do.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use picloud_api::health::Check;
use picloud_api::instance::Paused;
use picloud_api::stats::{AllStats, Stats, StoreStats};

use crate::admin::engine::Engine;
use crate::backups::{Backup, State as Stands};
use crate::engine::Places;
use crate::time::Standing;

/// How long the daemon's own port may take to let somebody in.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Share of the memory from which on it is told.
const MEMORY_PERCENT_MAX: u64 = 90;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    Warn,
    Bad,
}

fn check(name: &str, state: State, text: impl Into<String>, remedy: Option<&str>) -> Check {
    let state = match state {
        State::Ok => "ok",
        State::Warn => "warn",
        State::Bad => "bad",
    };
    Check {
        name: name.to_owned(),
        state: state.to_owned(),
        text: text.into(),
        remedy: remedy.map(str::to_owned),
    }
}

/// All checks.
pub async fn checks(engine: &Engine, stats: &Stats) -> Vec<Check> {
    let Some(all) = &stats.all else { return Vec::new() };
    let mut checks = vec![
        store(&all.store, stats.now),
        file(engine.whole.load(Ordering::Relaxed)),
        disk(&all.store),
        clock(engine.clock.standing()),
    ];
    let places = engine.places.clone();
    // Files and sockets may hang.
    let looked_at = tokio::task::spawn_blocking(move || looked_at(&places)).await;
    checks.extend(looked_at.unwrap_or_default());
    checks.push(backups(&engine.all_backups().await.unwrap_or_default(), stats.now));
    checks.push(memory(all));
    checks.push(start(stats));
    checks.push(dead_letters(all.dead_letters));
    checks.push(pauses(&all.pauses));
    checks
}

fn looked_at(places: &Places) -> Vec<Check> {
    let own = rustix::process::geteuid().as_raw();
    let mut checks = vec![folder(&places.store, own), key(&places.key_file, own)];
    checks.extend(places.address.map(port));
    checks
}

fn store(store: &StoreStats, now: i64) -> Check {
    if store.storage_low {
        let text =
            "the store cannot be written, or the disk is nearly full: nothing new is taken in";
        let remedy =
            "make room on the disk; if there is room, journalctl -u picloud says what failed";
        return check("store", State::Bad, text, Some(remedy));
    }
    let text = match store.last_commit_at {
        Some(at) => format!(
            "{} commits since the start, the last {} s ago",
            store.commits,
            now.saturating_sub(at).max(0) / 1_000
        ),
        None => "open; nothing had to be written since the start".to_owned(),
    };
    check("store", State::Ok, text, None)
}

fn file(is_whole: bool) -> Check {
    if is_whole {
        return check("file", State::Ok, "the store's file is whole", None);
    }
    let text = "the store's file is being looked through, or was found to be damaged";
    let remedy =
        "if it stays like that, journalctl -u picloud says what was found; restore a backup then";
    check("file", State::Warn, text, Some(remedy))
}

fn disk(store: &StoreStats) -> Check {
    const MIB: u64 = 1 << 20;
    let Some(free) = store.free_bytes else {
        let text = "the free space of the disk cannot be read";
        return check("disk", State::Warn, text, Some("look at it with df -h"));
    };
    let (min, remedy) =
        (store.free_bytes_min, "make room: df -h and du -xh / | sort -h show where");
    let text = format!("{} MiB free, at least {} MiB are needed", free / MIB, min / MIB);
    if free < min {
        check("disk", State::Bad, text, Some(remedy))
    } else if free < min.saturating_mul(2) {
        check("disk", State::Warn, text, Some(remedy))
    } else {
        check("disk", State::Ok, text, None)
    }
}

fn clock(standing: Standing) -> Check {
    let remedy = "look at timedatectl; a time server has to be within reach";
    match standing {
        Standing::Believed => check("clock", State::Ok, "believed", None),
        Standing::Assumed => {
            let text = "no time server has answered: schedules run by whatever the clock shows";
            check("clock", State::Warn, text, Some(remedy))
        }
        Standing::Doubted => {
            let text = "not synchronised yet: schedules wait, two minutes after the start at most";
            check("clock", State::Warn, text, Some(remedy))
        }
    }
}

/// The folder of the store holds everything that scripts keep.
fn folder(store: &Path, own: u32) -> Check {
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let shown = folder.display();
    match std::fs::metadata(folder) {
        Err(error) => {
            let text = format!("{shown} cannot be looked at: {error}");
            check("folder", State::Bad, text, Some("give it to the daemon's user"))
        }
        Ok(found) if found.permissions().mode() & 0o002 != 0 => {
            let text = format!("{shown} can be written by everybody");
            check("folder", State::Bad, text, Some(&format!("sudo chmod o-w {shown}")))
        }
        Ok(found) if found.uid() != own && own != 0 => {
            let text = format!("{shown} belongs to uid {}, the daemon is uid {own}", found.uid());
            check("folder", State::Warn, text, Some(&format!("sudo chown {own} {shown}")))
        }
        Ok(_) => check("folder", State::Ok, format!("{shown} is the daemon's own"), None),
    }
}

fn key(file: &Path, own: u32) -> Check {
    let shown = file.display();
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            check("key", State::Ok, "no secret has been set on this machine", None)
        }
        Err(error) => {
            let text = format!("{shown} cannot be looked at: {error}");
            check("key", State::Bad, text, Some("give it to the daemon's user"))
        }
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            let text = format!("{shown} can be read by others: secrets are sealed with it");
            check("key", State::Bad, text, Some(&format!("sudo chmod 600 {shown}")))
        }
        Ok(found) if found.uid() != own && own != 0 => {
            let text = format!("{shown} belongs to uid {}, the daemon is uid {own}", found.uid());
            check("key", State::Bad, text, Some(&format!("sudo chown {own} {shown}")))
        }
        Ok(_) => check("key", State::Ok, format!("{shown} is readable by the daemon alone"), None),
    }
}

fn port(address: SocketAddr) -> Check {
    let mut reached = address;
    if address.ip().is_unspecified() {
        reached.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    match TcpStream::connect_timeout(&reached, CONNECT_MAX) {
        Ok(_) => check("port", State::Ok, format!("routes are served at {address}"), None),
        Err(error) => {
            let text = format!("nobody gets in at {address}: {error}");
            let remedy = "look for a firewall; sudo systemctl restart picloud";
            check("port", State::Bad, text, Some(remedy))
        }
    }
}

/// A hint: who has no backup, or keeps it elsewhere, has nothing to put right here.
fn backups(newest_first: &[Backup], now: i64) -> Check {
    let done = |backup: &&Backup| matches!(backup.state, Stands::Done { .. });
    let text = match newest_first.iter().find(done) {
        None => "none is in the daemon's folder; picloud backups start takes one".to_owned(),
        Some(last) => {
            const DAY_MS: i64 = 24 * 3_600_000;
            let ago = match now.saturating_sub(last.begun_at.0).max(0) {
                ms @ ..DAY_MS => format!("{} h", ms / 3_600_000),
                ms => format!("{} d", ms / DAY_MS),
            };
            format!("the last good one is {}, {ago} ago", last.name)
        }
    };
    let ended = |backup: &&Backup| !matches!(backup.state, Stands::Running { .. });
    match newest_first.iter().find(ended).map(|backup| &backup.state) {
        Some(Stands::Failed { error, .. }) => {
            let text = format!("{text}; the one after it failed: {error}");
            check("backups", State::Warn, text, Some("picloud backups start"))
        }
        Some(Stands::Done { .. } | Stands::Running { .. }) | None => {
            check("backups", State::Ok, text, None)
        }
    }
}

fn memory(all: &AllStats) -> Check {
    const MIB: u64 = 1 << 20;
    let process = &all.process;
    let (Some(used), Some(max)) = (process.memory_bytes, process.memory_bytes_max) else {
        return check("memory", State::Warn, "the memory of the daemon cannot be read", None);
    };
    let text = format!("{} of {} MiB", used / MIB, max / MIB);
    if used.saturating_mul(100) > max.saturating_mul(MEMORY_PERCENT_MAX) {
        let remedy = "lower permits or memory_bytes_max in [limits.gate], or give the service more";
        return check("memory", State::Warn, text, Some(remedy));
    }
    check("memory", State::Ok, text, None)
}

fn start(stats: &Stats) -> Check {
    let instance = &stats.instance;
    let taken_up = match instance.taken_up {
        0 => "nothing had been running".to_owned(),
        1 => "1 run was taken up".to_owned(),
        more => format!("{more} runs were taken up"),
    };
    match instance.why.as_str() {
        "power_cut" => check("start", State::Ok, format!("since a power cut: {taken_up}"), None),
        "daemon_died" => {
            let text = format!("the last daemon died: {taken_up}");
            check("start", State::Warn, text, Some("journalctl -u picloud shows its last words"))
        }
        _ => check(
            "start",
            State::Ok,
            "the last daemon had stopped in order, or this is the first",
            None,
        ),
    }
}

fn dead_letters(open: i64) -> Check {
    match open {
        0 => check("dead-letters", State::Ok, "none is open", None),
        open => {
            let text = format!("{open} wait for you");
            let remedy = "picloud dead-letters list --group error";
            check("dead-letters", State::Warn, text, Some(remedy))
        }
    }
}

fn pauses(pauses: &[Paused]) -> Check {
    let Some(first) = pauses.first() else {
        return check("pauses", State::Ok, "nothing is paused", None);
    };
    let target = if first.target.is_empty() { "the instance" } else { &first.target };
    let text = match pauses.len() {
        1 => format!("{target} is paused: {}", first.reason),
        more => format!("{target} and {} more are paused: {}", more - 1, first.reason),
    };
    let remedy = format!("picloud resume {}", first.target);
    check("pauses", State::Warn, text, Some(remedy.trim_end()))
}
