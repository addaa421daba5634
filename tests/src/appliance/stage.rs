//! What the rigs have in common: a daemon whose store lies on a card, started by the clock, loaded, and looked through.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};

use crate::appliance::card::Card;
use crate::chance::Chance;
use crate::client::{Connection, Request};
use crate::daemon::{Daemon, Launch, Site, program};
use crate::history::contradictions;
use crate::ledger::{Ledger, Life};
use crate::store_file;
use crate::wait::Since;

/// Clients that send at a time, each a request after the other.
pub const CLIENTS: u64 = 8;

/// A daemon is ready within this time of its start, whatever the card has been through.
pub const READY_MAX: Duration = Duration::from_secs(5);

/// A site whose store lies on the card, in a folder of its own, with backups beside it.
pub fn site_on(card: &Card, settings: &str) -> Result<Site> {
    let mut site = Site::new();
    let folder = card.mount().join("store");
    std::fs::create_dir_all(&folder)?;
    site.store = folder.join("picloud.db");
    // What scripts fail at is part of the load.
    site.settings = format!("{settings}\n[log]\nlevel = \"error\"\n");
    Ok(site)
}

/// A daemon that answers, and how long that took from its exec on.
pub fn start(site: &Site, launch: Launch<'_>) -> Result<(Daemon, Duration)> {
    let begin = Since::now();
    let mut daemon = site.launch(launch);
    ensure!(daemon.comes_up(), "the daemon does not come up:\n{}", site.log());
    Connection::tcp(daemon.address())?.send(&Request::get("/"))?;
    Ok((daemon, begin.elapsed()))
}

/// Lets clients work against a daemon until `end` returns.
pub fn under_load<T>(
    ledger: &Ledger,
    daemon: Daemon,
    (chance, number): (Chance, u64),
    end: impl FnOnce(Daemon) -> T,
) -> T {
    let stop = AtomicBool::new(false);
    let life = Life { address: daemon.address(), chance, number, stop: &stop };
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let life = &life;
            scope.spawn(move || ledger.run_client(life, client));
        }
        let ended = end(daemon);
        stop.store(true, Ordering::SeqCst);
        ended
    })
}

/// Plays a case to its end, also if that is a wait in vain: what it has started goes with it.
pub fn played<T>(case: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(case)).unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        Err(anyhow!(why.unwrap_or_else(|| "it panicked, see above".to_owned())))
    })
}

/// Whether the store holds what clients were told, once, and is whole.
pub fn check(site: &Site, ledger: &Ledger, daemon: &Daemon) -> Result<()> {
    let history = ledger.history();
    let wrong = contradictions(&history, &ledger.found(daemon));
    if !wrong.is_empty() {
        let first = wrong[..wrong.len().min(5)].join("\n");
        bail!("{} contradictions among {} requests:\n{first}", wrong.len(), history.len());
    }
    let found = store_file::integrity(&site.store);
    ensure!(found == "ok", "the store is damaged: {found}");
    Ok(())
}

/// Which programs are tested.
pub fn programs() -> String {
    let path = program("picloudd");
    let folder = path.parent().and_then(|folder| folder.file_name());
    let folder = folder.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let name =
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    format!("{folder}/{name}")
}
