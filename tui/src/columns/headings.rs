//! The columns that each list has.

use crate::listing::Listing;
use crate::table::Column;

/// Wider than any terminal: as much as there is room for.
const WIDE: usize = 200;

const TRAFFIC: &[Column] = &[
    Column::left("App", 0, 6, 24),
    Column::right("req/min", 4, 7, 9),
    Column::right("runs/min", 3, 8, 9),
    Column::right("failed", 2, 6, 8),
    Column::right("waiting", 1, 7, 9),
    Column::right("dead", 0, 4, 7),
    Column::left("last trouble", 5, 12, WIDE),
];

const OUTBOX: &[Column] = &[
    Column::left("state", 0, 8, 10),
    Column::left("when", 1, 6, 9),
    Column::left("app/script", 0, 18, 28).keeping_end(),
    Column::left("cause", 4, 10, 28),
    Column::left("try", 3, 3, 5),
    Column::left("key", 6, 3, 14),
    Column::left("last error", 5, 10, WIDE),
];

const GROUPS: &[Column] = &[
    Column::right("count", 0, 5, 7),
    Column::left("last", 2, 5, 12),
    Column::left("app/script", 1, 18, 26).keeping_end(),
    Column::left("error", 0, 12, WIDE),
    Column::left("failed → now", 4, 12, 18),
];

const LETTERS: &[Column] = &[
    Column::left("last", 1, 5, 12),
    Column::left("app/script", 0, 18, 26).keeping_end(),
    Column::left("cause", 3, 10, 26),
    Column::right("tries", 4, 5, 5),
    Column::left("error", 0, 12, WIDE),
    Column::left("id", 6, 10, 26),
];

const RUNS: &[Column] = &[
    Column::left("outcome", 0, 10, 16),
    Column::left("at", 1, 8, 12),
    Column::left("app/script", 0, 18, 28).keeping_end(),
    Column::left("cause", 3, 10, 28),
    Column::right("try", 5, 3, 4),
    Column::right("took", 2, 6, 8),
    Column::right("writes", 6, 6, 6),
    Column::left("error", 4, 8, WIDE),
];

const ABANDONED: &[Column] = &[
    Column::left("reason", 0, 11, 12),
    Column::left("at", 1, 8, 12),
    Column::left("app/script", 0, 18, 28).keeping_end(),
    Column::left("cause", 2, 10, 28),
    Column::right("depth", 4, 5, 5),
    Column::left("id", 3, 10, 26),
];

const APPS: &[Column] = &[
    Column::left("app", 0, 8, 24),
    Column::left("state", 0, 6, 10),
    Column::right("scripts", 3, 7, 7),
    Column::right("routes", 3, 6, 6),
    Column::right("triggers", 3, 8, 8),
    Column::right("waiting", 1, 7, 9),
    Column::right("dead", 1, 4, 7),
    Column::right("revision", 5, 8, 8),
    Column::left("host", 4, 6, WIDE),
];

const ROUTES: &[Column] = &[
    Column::left("method", 0, 6, 7),
    Column::left("path", 0, 12, 40),
    Column::left("script", 1, 8, 20),
    Column::left("mode", 2, 5, 6),
    Column::left("auth", 3, 5, 16),
    Column::left("rate", 4, 5, 8),
    Column::left("state", 1, 6, WIDE),
];

const SCRIPTS: &[Column] = &[
    Column::left("app/script", 0, 14, 34).keeping_end(),
    Column::right("version", 1, 7, 7),
    Column::right("bytes", 4, 5, 8),
    Column::left("called by", 2, 10, WIDE),
];

const VERSIONS: &[Column] = &[
    Column::right("version", 0, 7, 7),
    Column::left("written", 0, 8, 18),
    Column::right("bytes", 1, 5, 8),
    Column::left("", 1, 0, WIDE),
];

const TRIGGERS: &[Column] = &[
    Column::left("state", 0, 6, 9),
    Column::left("app/trigger", 0, 18, 30).keeping_end(),
    Column::left("kind", 3, 4, 11),
    Column::left("script", 2, 8, 18),
    Column::left("next due", 4, 8, 14),
    Column::left("matches", 1, 10, WIDE),
];

const COLLECTIONS: &[Column] = &[
    Column::left("app", 0, 8, 24),
    Column::left("kind", 0, 4, 4),
    Column::left("collection", 0, 10, WIDE),
];

const ENTRIES: &[Column] = &[
    Column::left("key", 0, 10, 36),
    Column::left("expires", 3, 7, 10),
    Column::left("written by", 2, 8, 20),
    Column::left("value", 1, 12, WIDE),
];

const LOG: &[Column] = &[
    Column::left("at", 0, 8, 12),
    Column::left("level", 1, 5, 5),
    Column::left("app/script", 2, 8, 24).keeping_end(),
    Column::left("message", 0, 16, WIDE),
];

const SYSTEM: &[Column] = &[
    Column::left("", 0, 1, 1),
    Column::left("check", 0, 8, 14),
    Column::left("says", 0, 20, WIDE),
];

const BACKUPS: &[Column] = &[
    Column::left("state", 0, 7, 8),
    Column::left("begun", 0, 8, 18),
    Column::right("took", 3, 6, 8),
    Column::right("size", 1, 6, 9),
    Column::left("name", 0, 16, WIDE),
];

const NODES: &[Column] = &[
    Column::left("state", 0, 7, 9),
    Column::left("name", 0, 8, 20),
    Column::left("role", 3, 6, 10),
    Column::left("version", 2, 7, 10),
    Column::left("up", 1, 4, 8),
    Column::right("running", 2, 7, 7),
    Column::left("store", 4, 6, 10),
    Column::left("address", 1, 8, WIDE),
];

const PRINCIPALS: &[Column] = &[
    Column::left("name", 0, 8, 24),
    Column::right("uid", 2, 4, 7),
    Column::right("tokens", 3, 6, 6),
    Column::right("routes", 3, 6, 6),
    Column::right("triggers", 3, 8, 8),
    Column::left("may", 1, 12, WIDE),
];

const TOKENS: &[Column] = &[
    Column::left("state", 0, 7, 8),
    Column::left("name", 0, 8, 28),
    Column::left("principal", 1, 8, 24),
    Column::left("made", 3, 6, 18),
    Column::left("expires", 2, 7, WIDE),
];

const AUDIT: &[Column] = &[
    Column::left("at", 0, 8, 18),
    Column::left("who", 0, 6, 18),
    Column::left("did", 0, 6, 20),
    Column::left("to", 1, 10, WIDE),
];

const SECRETS: &[Column] = &[
    Column::left("name", 0, 8, 32),
    Column::left("set", 1, 8, 18),
    Column::left("by", 2, 4, 20),
    Column::left("", 1, 0, WIDE),
];

pub fn of(listing: &Listing) -> &'static [Column] {
    match listing {
        Listing::Traffic => TRAFFIC,
        Listing::Outbox => OUTBOX,
        Listing::Groups => GROUPS,
        Listing::Letters => LETTERS,
        Listing::Runs => RUNS,
        Listing::Abandoned => ABANDONED,
        Listing::Apps => APPS,
        Listing::Routes { .. } => ROUTES,
        Listing::Secrets { .. } => SECRETS,
        Listing::Scripts => SCRIPTS,
        Listing::Versions { .. } => VERSIONS,
        Listing::Triggers => TRIGGERS,
        Listing::Collections => COLLECTIONS,
        Listing::Entries { .. } => ENTRIES,
        Listing::Log => LOG,
        Listing::System => SYSTEM,
        Listing::Backups => BACKUPS,
        Listing::Nodes => NODES,
        Listing::Principals => PRINCIPALS,
        Listing::Tokens => TOKENS,
        Listing::Audit => AUDIT,
    }
}
