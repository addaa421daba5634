//! The line that `systemctl status` shows of the daemon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sd_notify::NotifyState;

use crate::appliance::notify::Manager;
use crate::catalog::{Catalog, INSTANCE};
use crate::store::batch::Seen;

/// How often it is looked at. It is told only when it differs.
const EVERY: Duration = Duration::from_secs(3);

/// What it is made of.
pub struct Look {
    pub addresses: Vec<SocketAddr>,
    pub catalog: Arc<ArcSwap<Catalog>>,
    pub seen: Arc<Seen>,
}

/// What it says.
#[derive(Clone, Debug, PartialEq)]
struct Counts {
    apps: i64,
    waiting: i64,
    letters: i64,
    is_paused: bool,
    storage_low: bool,
}

impl Look {
    pub fn line(&self) -> String {
        let (catalog, waiting) = (self.catalog.load(), self.seen.now());
        line(
            &self.addresses,
            &Counts {
                apps: i64::try_from(catalog.apps.len()).unwrap_or(i64::MAX),
                waiting: waiting.usage.values().map(|usage| usage.rows).sum(),
                letters: waiting.letters_open.values().sum(),
                is_paused: catalog.pauses.contains_key(&INSTANCE),
                storage_low: waiting.storage_low,
            },
        )
    }
}

fn line(addresses: &[SocketAddr], counts: &Counts) -> String {
    let places: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let mut parts = Vec::new();
    if counts.is_paused {
        parts.push("paused".to_owned());
    }
    if counts.storage_low {
        parts.push("the disk is nearly full".to_owned());
    }
    parts.push(format!("listening on {}", places.join(" and ")));
    parts.push(number(counts.apps, "app"));
    parts.push(format!("{} waiting", counts.waiting));
    if counts.letters > 0 {
        parts.push(number(counts.letters, "dead letter"));
    }
    parts.join(", ")
}

fn number(count: i64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Tells systemd whenever the line has changed. Ends with the task that it runs in.
pub async fn keep(look: Look, manager: Manager, mut said: String) {
    if !manager.is_there() {
        return;
    }
    loop {
        tokio::time::sleep(EVERY).await;
        let line = look.line();
        if line != said {
            manager.say(&[NotifyState::Status(&line)]).await;
            said = line;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_where_how_much_and_what_is_wrong() {
        let http: SocketAddr = "0.0.0.0:8080".parse().expect("an address");
        let more: SocketAddr = "[::]:80".parse().expect("an address");
        let calm = Counts { apps: 1, waiting: 0, letters: 0, is_paused: false, storage_low: false };
        for (addresses, counts, expected) in [
            (vec![http], calm.clone(), "listening on 0.0.0.0:8080, 1 app, 0 waiting"),
            (
                vec![http, more],
                Counts { apps: 2, waiting: 3, letters: 1, ..calm.clone() },
                "listening on 0.0.0.0:8080 and [::]:80, 2 apps, 3 waiting, 1 dead letter",
            ),
            (
                vec![http],
                Counts { letters: 2, is_paused: true, storage_low: true, ..calm },
                "paused, the disk is nearly full, listening on 0.0.0.0:8080, 1 app, 0 waiting, 2 dead letters",
            ),
        ] {
            assert_eq!(line(&addresses, &counts), expected);
        }
    }
}
