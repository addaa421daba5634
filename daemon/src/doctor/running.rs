//! What the daemon that runs knows of itself.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use picloud_api::health::Check;
use picloud_api::instance::Paused;
use picloud_api::stats::{AllStats, Stats, StoreStats};

use crate::backups::{Backup, State as Stands};
use crate::doctor::{State, check, files, space};
use crate::engine::Places;
use crate::store::migrate::SCHEMA_VERSION;
use crate::store::upgrade::Upgraded;
use crate::time::Standing;

/// How long the daemon's own port may take to let somebody in.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Share of the memory from which on it is told.
const MEMORY_PERCENT_MAX: u64 = 90;
/// Bytes that are much for a card: one of 32 GB may be written a few thousand times.
const WRITTEN_A_DAY: u64 = 20_000_000_000;
/// What the first hour writes says nothing of a day.
const WRITTEN_AFTER_MS: i64 = 3_600_000;

/// What the statistics do not tell.
pub struct Seen {
    /// Whether the store's file is known to be whole.
    pub is_whole: bool,
    pub standing: Standing,
    pub upgraded: Option<Upgraded>,
    pub places: Places,
    /// The newest first.
    pub backups: Vec<Backup>,
}

/// All checks.
pub async fn checks(stats: &Stats, seen: Seen) -> Vec<Check> {
    let Some(all) = &stats.all else { return Vec::new() };
    let mut checks = vec![
        store(&all.store, stats.now),
        schema(seen.upgraded),
        file(seen.is_whole),
        space::left(all.store.free_bytes, all.store.free_bytes_min),
        written(all, stats),
        clock(seen.standing),
    ];
    let places = seen.places;
    // Files and sockets may hang.
    let looked_at = tokio::task::spawn_blocking(move || looked_at(&places)).await;
    checks.extend(looked_at.unwrap_or_default());
    checks.push(backups(&seen.backups, stats.now));
    checks.push(memory(all));
    checks.push(start(stats));
    checks.push(dead_letters(all.dead_letters));
    checks.push(pauses(&all.pauses));
    checks
}

fn looked_at(places: &Places) -> Vec<Check> {
    let own = Some(rustix::process::geteuid().as_raw());
    let mut checks = vec![files::folder(&places.store, own), files::key(&places.key_file, own)];
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

fn schema(upgraded: Option<Upgraded>) -> Check {
    let text = match upgraded {
        Some(Upgraded { from, at }) => {
            let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
            format!(
                "{SCHEMA_VERSION}, upgraded from {from} at {}",
                at.strftime("%Y-%m-%dT%H:%M:%SZ")
            )
        }
        None => format!("{SCHEMA_VERSION}, as it was made"),
    };
    check("schema", State::Ok, text, None)
}

/// What wears the card, whoever is to blame.
fn written(all: &AllStats, stats: &Stats) -> Check {
    let Some(bytes) = all.process.written_bytes else {
        return check("written", State::Ok, "the kernel does not say what was written", None);
    };
    let up_ms = stats.now.saturating_sub(stats.instance.started_at).max(0);
    let text = format!("{} MB since the start", bytes / 1_000_000);
    let a_day = u128::from(bytes) * 86_400_000 / u128::try_from(up_ms.max(1)).unwrap_or(1);
    if up_ms > WRITTEN_AFTER_MS && a_day > u128::from(WRITTEN_A_DAY) {
        let text = format!("{text}, {} GB a day: that wears the card", a_day / 1_000_000_000);
        let remedy = "picloud stats shows the apps that have most runs";
        return check("written", State::Warn, text, Some(remedy));
    }
    check("written", State::Ok, text, None)
}

pub(super) fn clock(standing: Standing) -> Check {
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
pub(super) fn backups(newest_first: &[Backup], now: i64) -> Check {
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

#[cfg(test)]
mod tests {
    use picloud_api::stats::{InstanceStats, ProcessStats};

    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_daemon_that_writes_much_for_long_is_told_of() {
        let state = |bytes, hours: i64| {
            let process = ProcessStats { written_bytes: bytes, ..ProcessStats::default() };
            let all = AllStats { process, ..AllStats::default() };
            let instance = InstanceStats { started_at: 1_000, ..InstanceStats::default() };
            let stats = Stats { now: 1_000 + hours * 3_600_000, instance, ..Stats::default() };
            written(&all, &stats).state
        };
        assert_eq!(state(None, 5), "ok");
        assert_eq!(state(Some(5_000_000_000), 0), "ok", "so soon it says nothing");
        assert_eq!(state(Some(5_000_000_000), 2), "warn");
        assert_eq!(state(Some(5_000_000_000), 24), "ok");
    }

    #[test]
    fn an_upgrade_is_told() {
        let at = Timestamp(1_795_900_638_123);
        let text = schema(Some(Upgraded { from: 7, at })).text;
        assert_eq!(text, format!("{SCHEMA_VERSION}, upgraded from 7 at 2026-11-28T21:17:18Z"));
        assert_eq!(schema(None).state, "ok");
    }
}
