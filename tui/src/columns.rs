//! The columns of each list, and what its rows have in them.

use std::cmp::Ordering;

use picloud_api::instance::Paused;
use picloud_api::list::{DeadLetterItem, ExecutionItem, FailureItem};
use picloud_api::routes::RouteItem;
use picloud_api::stats::AppStats;
use picloud_api::triggers::TriggerItem;

use crate::item::{Item, Row, cause};
use crate::listing::Listing;
use crate::symbols::{Charset, Symbol, state};
use crate::table::Column;
use crate::text::{Line, Role, harmless};
use crate::when::{self, Zone};

/// With what cells are written.
#[derive(Clone, Copy, Debug)]
pub struct Writing<'a> {
    pub now: i64,
    pub zone: &'a Zone,
    pub charset: Charset,
}

const WIDE: usize = 200;

pub fn of(listing: &Listing) -> &'static [Column] {
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
        Column::left("app/script", 0, 12, 28).keeping_end(),
        Column::left("cause", 4, 10, 28),
        Column::left("try", 3, 3, 5),
        Column::left("key", 6, 3, 14),
        Column::left("last error", 5, 10, WIDE),
    ];
    const GROUPS: &[Column] = &[
        Column::right("count", 0, 5, 7),
        Column::left("last", 2, 5, 12),
        Column::left("app/script", 1, 10, 26).keeping_end(),
        Column::left("error", 0, 12, WIDE),
        Column::left("failed → now", 4, 12, 18),
    ];
    const LETTERS: &[Column] = &[
        Column::left("last", 1, 5, 12),
        Column::left("app/script", 0, 10, 26).keeping_end(),
        Column::left("cause", 3, 10, 26),
        Column::right("tries", 4, 5, 5),
        Column::left("error", 0, 12, WIDE),
        Column::left("id", 6, 10, 26),
    ];
    const RUNS: &[Column] = &[
        Column::left("outcome", 0, 10, 16),
        Column::left("at", 1, 8, 12),
        Column::left("app/script", 0, 12, 28).keeping_end(),
        Column::left("cause", 3, 10, 28),
        Column::right("try", 5, 3, 4),
        Column::right("took", 2, 6, 8),
        Column::right("writes", 6, 6, 6),
        Column::left("error", 4, 8, WIDE),
    ];
    const ABANDONED: &[Column] = &[
        Column::left("reason", 0, 11, 12),
        Column::left("at", 1, 8, 12),
        Column::left("app/script", 0, 12, 28).keeping_end(),
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
        Column::left("app/trigger", 0, 12, 30).keeping_end(),
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

fn text(text: impl AsRef<str>) -> Line {
    Line::of(Role::Text, harmless(text.as_ref()))
}

fn dim(text: impl AsRef<str>) -> Line {
    Line::of(Role::Dim, harmless(text.as_ref()))
}

fn number(number: i64) -> Line {
    Line::of(Role::Text, when::count(u64::try_from(number).unwrap_or_default()))
}

/// A number that should be none.
fn trouble(number: i64) -> Line {
    let count = when::count(u64::try_from(number).unwrap_or_default());
    Line::of(if number > 0 { Role::Bad } else { Role::Text }, count)
}

fn marked(symbol: Symbol, role: Role, word: &str, writing: Writing<'_>) -> Line {
    Line::of(role, format!("{} {}", symbol.text(writing.charset), harmless(word)))
}

fn place(app: &str, script: &str) -> Line {
    text(format!("{app}/{script}"))
}

/// An error in one line.
pub fn error(error: &FailureItem) -> String {
    match error.line {
        Some(line) => format!("line {line}: {}", error.message),
        None => error.message.clone(),
    }
}

/// What stands in the columns of this row.
pub fn cells(item: &Item, writing: Writing<'_>) -> Vec<Line> {
    let at = |at: i64| when::day_clock(at, writing.zone, writing.now);
    match item {
        Item::Traffic(app) => traffic(app, writing),
        Item::Outbox(row) => outbox(row, writing),
        Item::Group(group) => vec![
            number(i64::try_from(group.count).unwrap_or(i64::MAX)),
            text(at(group.last_at)),
            place(&group.app, &group.script),
            Line::of(Role::Bad, harmless(&group.error)),
            text(versions(group.version_min, group.version_max, group.current_version)),
        ],
        Item::Letter(letter) => self::letter(letter, writing),
        Item::Run(run) => self::run(run, writing),
        Item::Abandoned(one) => vec![
            marked(Symbol::Off, Role::Warn, &one.reason, writing),
            text(at(one.at)),
            place(&one.app, &one.script),
            text(cause(&one.source, one.origin.as_deref())),
            number(i64::from(one.depth)),
            dim(&one.id),
        ],
        Item::App(app) => vec![
            text(&app.slug),
            held(app.paused.as_ref(), writing),
            number(app.scripts),
            number(app.routes),
            number(app.triggers),
            number(app.waiting),
            trouble(app.dead_letters),
            number(app.revision),
            text(app.host.as_deref().unwrap_or_default()),
        ],
        Item::Route(route) => self::route(route, writing),
        Item::Script(one) => vec![
            place(&one.app, &one.name),
            text(format!("v{}", one.version)),
            number(one.bytes),
            match &one.paused {
                Some(paused) => {
                    Line::of(Role::Warn, format!("paused: {}", harmless(&paused.reason)))
                }
                None => text([one.routes.join(", "), one.triggers.join(", ")].join("  ").trim()),
            },
        ],
        Item::Version(one) => vec![
            text(format!("v{}", one.version)),
            text(at(one.created_at)),
            number(one.bytes),
            if one.current { Line::of(Role::Ok, "current") } else { Line::new() },
        ],
        Item::Trigger(one) => trigger(one, writing),
        Item::Secret(one) => vec![
            text(&one.name),
            text(at(one.set_at)),
            text(one.set_by.as_deref().unwrap_or_default()),
            match &one.lost {
                Some(lost) => Line::of(Role::Bad, harmless(lost)),
                None => Line::new(),
            },
        ],
        Item::Collection(one) => vec![text(&one.app), text(&one.space), text(&one.collection)],
        Item::Entry(one) => vec![
            text(&one.key),
            text(one.expires_at.map(|at| when::until(at, writing.now)).unwrap_or_default()),
            text(writer(&one.written_by)),
            text(one.value.get()),
        ],
        Item::Log(line) => vec![
            text(when::clock_seconds(line.entry.at, writing.zone)),
            level(&line.entry.level),
            place(&line.entry.app, &line.entry.script),
            text(&line.entry.message),
        ],
        Item::Check(check) => {
            let (symbol, role) = state(&check.state);
            vec![
                Line::of(role, symbol.text(writing.charset)),
                text(&check.name),
                Line::of(
                    if check.state == "ok" { Role::Text } else { role },
                    harmless(&check.text),
                ),
            ]
        }
        Item::Door(door) => vec![
            dim(Symbol::Into.text(writing.charset)),
            Line::of(Role::Accent, door.name),
            dim(door.says),
        ],
        Item::Backup(_) | Item::Node(_) | Item::Principal(_) | Item::Token(_) | Item::Audit(_) => {
            system(item, writing)
        }
    }
}

fn system(item: &Item, writing: Writing<'_>) -> Vec<Line> {
    let at = |at: i64| when::day_clock(at, writing.zone, writing.now);
    match item {
        Item::Backup(one) => vec![
            Line::of(state(&one.state).1, harmless(&one.state)),
            text(at(one.begun_at)),
            text(one.took_ms.map(when::span).unwrap_or_default()),
            text(one.bytes.map(when::bytes).unwrap_or_default()),
            match &one.error {
                Some(error) => Line::of(Role::Bad, harmless(error)),
                None => text(&one.name),
            },
        ],
        Item::Node(one) => vec![
            Line::of(state(&one.state).1, harmless(&one.state)),
            text(&one.name),
            text(&one.role),
            text(&one.version),
            text(when::span(writing.now - one.started_at)),
            text(format!("{}/{}", one.running, one.executors)),
            text(format!("{} {}", one.store, one.schema)),
            text(one.address.as_deref().unwrap_or_default()),
        ],
        Item::Principal(one) => vec![
            text(&one.name),
            text(one.uid.map(|uid| uid.to_string()).unwrap_or_default()),
            number(one.tokens),
            number(one.routes),
            number(one.triggers),
            text(may(one)),
        ],
        Item::Token(one) => vec![
            Line::of(if one.state == "valid" { Role::Ok } else { Role::Dim }, harmless(&one.state)),
            text(&one.name),
            text(&one.principal),
            text(at(one.created_at)),
            text(one.expires_at.map_or("never".to_owned(), at)),
        ],
        Item::Audit(one) => vec![
            text(at(one.at)),
            text(&one.principal),
            Line::of(Role::Accent, harmless(&one.action)),
            text(&one.object),
        ],
        _ => Vec::new(),
    }
}

fn may(one: &picloud_api::principals::PrincipalItem) -> String {
    let grants = one.grants.iter().map(|grant| match &grant.app {
        Some(app) => format!("{} in {app}", grant.capability),
        None => grant.capability.clone(),
    });
    let by_group = one.by_group.iter().map(|capability| format!("{capability} (group)"));
    grants.chain(by_group).collect::<Vec<String>>().join(", ")
}

fn traffic(app: &AppStats, writing: Writing<'_>) -> Vec<Line> {
    let failed = match app.minute.runs {
        0 => String::new(),
        runs => format!("{} %", app.minute.failures * 100 / runs),
    };
    let has_failed = app.minute.failures > 0;
    let said = match (&app.paused, &app.trouble) {
        (Some(paused), _) => Line::of(Role::Warn, format!("paused: {}", harmless(&paused.reason))),
        (None, Some(trouble)) => {
            let at = when::day_clock(trouble.at, writing.zone, writing.now);
            text(format!("{at} {}: {}", trouble.script, trouble.message))
        }
        (None, None) => Line::new(),
    };
    vec![
        text(&app.app),
        Line::of(Role::Text, when::count(app.minute.requests)),
        Line::of(Role::Text, when::count(app.minute.runs)),
        Line::of(if has_failed { Role::Warn } else { Role::Text }, failed),
        number(app.waiting),
        trouble(app.dead_letters),
        said,
    ]
}

fn outbox(row: &Row, writing: Writing<'_>) -> Vec<Line> {
    let (symbol, role) = state(&row.row.state);
    let word = match row.row.state.as_str() {
        "running" => "run",
        other => other,
    };
    let when = match row.gone {
        Some(gone) => gone.took_us.map(when::micros).unwrap_or_default(),
        None => when::until(row.row.available_at.unwrap_or(row.row.created_at), writing.now),
    };
    vec![
        marked(symbol, role, word, writing),
        text(when),
        place(&row.row.app, &row.row.script),
        text(cause(&row.row.source, row.row.origin.as_deref())),
        text(format!("{}/{}", row.row.attempt, row.row.max_attempts)),
        dim(row.row.key.as_deref().unwrap_or_default()),
        Line::of(Role::Bad, harmless(&row.row.error.as_ref().map(error).unwrap_or_default())),
    ]
}

fn letter(letter: &DeadLetterItem, writing: Writing<'_>) -> Vec<Line> {
    let said = match letter.resolution.as_deref() {
        None | Some("handler_failed") => Line::of(Role::Bad, harmless(&error(&letter.error))),
        Some(resolution) => {
            let (_, role) = state(resolution);
            Line::of(role, format!("{}: {}", harmless(resolution), harmless(&letter.error.message)))
        }
    };
    vec![
        text(when::day_clock(letter.last_at, writing.zone, writing.now)),
        place(&letter.app, &letter.script),
        text(cause(&letter.source, letter.origin.as_deref())),
        number(i64::from(letter.attempts)),
        said,
        dim(&letter.id),
    ]
}

/// One run.
pub fn run(run: &ExecutionItem, writing: Writing<'_>) -> Vec<Line> {
    let (symbol, role) = state(&run.outcome);
    vec![
        marked(symbol, role, &run.outcome, writing),
        text(when::clock_seconds(run.started_at, writing.zone)),
        place(&run.app, &run.script),
        text(cause(&run.source, run.origin.as_deref())),
        number(i64::from(run.attempt)),
        text(when::micros(run.took_us)),
        number(i64::from(run.effects)),
        Line::of(Role::Bad, harmless(&run.error.as_ref().map(error).unwrap_or_default())),
    ]
}

fn route(route: &RouteItem, writing: Writing<'_>) -> Vec<Line> {
    vec![
        text(&route.method),
        text(&route.path),
        text(&route.script),
        text(&route.dispatch_mode),
        text(&route.auth),
        text(&route.rate),
        held(route.paused.as_ref(), writing),
    ]
}

fn trigger(one: &TriggerItem, writing: Writing<'_>) -> Vec<Line> {
    let held = match (&one.paused, one.enabled) {
        (Some(_), _) => {
            Line::of(Role::Warn, format!("{} paused", Symbol::Off.text(writing.charset)))
        }
        (None, false) => Line::of(Role::Dim, format!("{} off", Symbol::Off.text(writing.charset))),
        (None, true) => Line::of(Role::Ok, format!("{} on", Symbol::Ok.text(writing.charset))),
    };
    vec![
        held,
        place(&one.app, &one.name),
        text(&one.kind),
        text(&one.script),
        text(one.next_due.map(|at| when::until(at, writing.now)).unwrap_or_default()),
        match &one.problem {
            Some(problem) => Line::of(Role::Bad, harmless(problem)),
            None => text(&one.matches),
        },
    ]
}

fn held(paused: Option<&Paused>, writing: Writing<'_>) -> Line {
    match paused {
        Some(_) => marked(Symbol::Off, Role::Warn, "paused", writing),
        None => marked(Symbol::Ok, Role::Ok, "on", writing),
    }
}

fn level(level: &str) -> Line {
    let role = match level {
        "error" => Role::Bad,
        "warn" => Role::Warn,
        "debug" => Role::Dim,
        _ => Role::Text,
    };
    Line::of(role, harmless(level))
}

/// Who wrote an entry last.
pub fn writer(writer: &picloud_api::data::Writer) -> String {
    match (&writer.script, &writer.principal) {
        (Some(script), _) => match writer.script_version {
            Some(version) => format!("{script} v{version}"),
            None => script.clone(),
        },
        (None, Some(principal)) => format!("by hand: {principal}"),
        (None, None) => String::new(),
    }
}

/// The versions that failed, and the one that would run now.
pub fn versions(least: i64, most: i64, now: Option<i64>) -> String {
    let now = now.map_or("gone".to_owned(), |now| format!("v{now}"));
    if least == most { format!("v{most} → {now}") } else { format!("v{least}-v{most} → {now}") }
}

/// How two rows stand to each other in a column: numbers by what they are, all else as text.
pub fn compare(one: &Item, other: &Item, column: usize) -> Ordering {
    let utc = Zone::utc();
    let writing = Writing { now: 0, zone: &utc, charset: Charset::Ascii };
    let text = |item: &Item| {
        cells(item, writing).get(column).map(Line::text).unwrap_or_default().to_lowercase()
    };
    let (one, other) = (text(one), text(other));
    let number = |text: &str| {
        let digits: String = text.trim_start_matches('v').chars().filter(|c| *c != ',').collect();
        digits.split(' ').next().and_then(|word| word.parse::<f64>().ok())
    };
    match (number(&one), number(&other)) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        _ => one.cmp(&other),
    }
}
