//! The columns of each list, and what its rows have in them.

mod headings;

use std::cmp::Ordering;

use picloud_api::executions::AbandonedItem;
use picloud_api::instance::Paused;
use picloud_api::letters::LetterGroup;
use picloud_api::list::{AppItem, DeadLetterItem, ExecutionItem, FailureItem};
use picloud_api::routes::RouteItem;
use picloud_api::stats::AppStats;
use picloud_api::triggers::TriggerItem;

use crate::item::{Item, Row, cause};
use crate::listing::Listing;
use crate::symbols::{Charset, Symbol, state};
use crate::text::{Line, Role};
use crate::when::{self, Zone};

pub use headings::of;

/// With what cells are written.
#[derive(Clone, Copy, Debug)]
pub struct Writing<'a> {
    pub now: i64,
    pub zone: &'a Zone,
    pub charset: Charset,
}

fn text(text: impl AsRef<str>) -> Line {
    Line::of(Role::Text, text.as_ref())
}

fn dim(text: impl AsRef<str>) -> Line {
    Line::of(Role::Dim, text.as_ref())
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
    Line::of(role, format!("{} {}", symbol.text(writing.charset), word))
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
    match item {
        Item::Traffic(app) => traffic(app, writing),
        Item::Outbox(row) => outbox(row, writing),
        Item::Group(group) => self::group(group, writing),
        Item::Letter(letter) => self::letter(letter, writing),
        Item::Run(run) => self::run(run, writing),
        Item::Abandoned(one) => abandoned(one, writing),
        Item::App(app) => self::app(app, writing),
        Item::Route(route) => self::route(route, writing),
        Item::Trigger(one) => trigger(one, writing),
        Item::Script(_)
        | Item::Version(_)
        | Item::Secret(_)
        | Item::Collection(_)
        | Item::Entry(_)
        | Item::Log(_) => made(item, writing),
        Item::Check(_)
        | Item::Door(_)
        | Item::Backup(_)
        | Item::Node(_)
        | Item::Principal(_)
        | Item::Token(_)
        | Item::Audit(_) => system(item, writing),
    }
}

fn at(at: i64, writing: Writing<'_>) -> String {
    when::day_clock(at, writing.zone, writing.now)
}

fn group(group: &LetterGroup, writing: Writing<'_>) -> Vec<Line> {
    vec![
        number(i64::try_from(group.count).unwrap_or(i64::MAX)),
        text(at(group.last_at, writing)),
        place(&group.app, &group.script),
        Line::of(Role::Bad, &group.error),
        text(versions(group.version_min, group.version_max, group.current_version)),
    ]
}

fn abandoned(one: &AbandonedItem, writing: Writing<'_>) -> Vec<Line> {
    vec![
        marked(Symbol::Off, Role::Warn, &one.reason, writing),
        text(at(one.at, writing)),
        place(&one.app, &one.script),
        text(cause(&one.source, one.origin.as_deref())),
        number(i64::from(one.depth)),
        dim(&one.id),
    ]
}

fn app(app: &AppItem, writing: Writing<'_>) -> Vec<Line> {
    vec![
        text(&app.slug),
        held(app.paused.as_ref(), writing),
        number(app.scripts),
        number(app.routes),
        number(app.triggers),
        number(app.waiting),
        trouble(app.dead_letters),
        number(app.revision),
        text(app.host.as_deref().unwrap_or_default()),
    ]
}

/// What an app is made of and what it has made.
fn made(item: &Item, writing: Writing<'_>) -> Vec<Line> {
    match item {
        Item::Script(one) => vec![
            place(&one.app, &one.name),
            text(format!("v{}", one.version)),
            number(one.bytes),
            match &one.paused {
                Some(paused) => Line::of(Role::Warn, format!("paused: {}", &paused.reason)),
                None => text([one.routes.join(", "), one.triggers.join(", ")].join("  ").trim()),
            },
        ],
        Item::Version(one) => vec![
            text(format!("v{}", one.version)),
            text(at(one.created_at, writing)),
            number(one.bytes),
            if one.current { Line::of(Role::Ok, "current") } else { Line::new() },
        ],
        Item::Secret(one) => vec![
            text(&one.name),
            text(at(one.set_at, writing)),
            text(one.set_by.as_deref().unwrap_or_default()),
            Line::of(Role::Bad, one.lost.as_deref().unwrap_or_default()),
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
        _ => Vec::new(),
    }
}

fn system(item: &Item, writing: Writing<'_>) -> Vec<Line> {
    let word = |word: &str| Line::of(state(word).1, word);
    match item {
        Item::Check(check) => {
            let (symbol, role) = state(&check.state);
            let says = if check.state == "ok" { Role::Text } else { role };
            vec![
                Line::of(role, symbol.text(writing.charset)),
                text(&check.name),
                Line::of(says, &check.text),
            ]
        }
        Item::Door(door) => vec![
            dim(Symbol::Into.text(writing.charset)),
            Line::of(Role::Accent, door.name),
            dim(door.says),
        ],
        Item::Backup(one) => vec![
            word(&one.state),
            text(at(one.begun_at, writing)),
            text(one.took_ms.map(when::span).unwrap_or_default()),
            text(one.bytes.map(when::bytes).unwrap_or_default()),
            match &one.error {
                Some(error) => Line::of(Role::Bad, error),
                None => text(&one.name),
            },
        ],
        Item::Node(one) => vec![
            word(&one.state),
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
            Line::of(if one.state == "valid" { Role::Ok } else { Role::Dim }, &one.state),
            text(&one.name),
            text(&one.principal),
            text(at(one.created_at, writing)),
            text(one.expires_at.map_or("never".to_owned(), |ends| at(ends, writing))),
        ],
        Item::Audit(one) => vec![
            text(at(one.at, writing)),
            text(&one.principal),
            Line::of(Role::Accent, &one.action),
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
        (Some(paused), _) => Line::of(Role::Warn, format!("paused: {}", &paused.reason)),
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
        Line::of(Role::Bad, row.row.error.as_ref().map(error).unwrap_or_default()),
    ]
}

fn letter(letter: &DeadLetterItem, writing: Writing<'_>) -> Vec<Line> {
    let said = match letter.resolution.as_deref() {
        None | Some("handler_failed") => Line::of(Role::Bad, error(&letter.error)),
        Some(resolution) => {
            let (_, role) = state(resolution);
            Line::of(role, format!("{}: {}", resolution, &letter.error.message))
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
        Line::of(Role::Bad, run.error.as_ref().map(error).unwrap_or_default()),
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
            Some(problem) => Line::of(Role::Bad, problem),
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
    Line::of(role, level)
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

/// By what a row is sorted in a column: numbers come before all else.
#[derive(Clone, Debug, PartialEq)]
pub enum SortKey {
    Number(f64),
    Text(String),
}

impl SortKey {
    pub fn compare(&self, other: &SortKey) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
        }
    }
}

pub fn sort_key(item: &Item, listing: &Listing, column: usize) -> SortKey {
    let heading = of(listing).get(column).map_or("", |column| column.heading);
    if let Some(exact) = exact(item, heading) {
        return SortKey::Number(exact as f64);
    }
    let utc = Zone::utc();
    let writing = Writing { now: 0, zone: &utc, charset: Charset::Ascii };
    let text = cells(item, writing).get(column).map(Line::text).unwrap_or_default().to_lowercase();
    let digits: String = text.trim_start_matches('v').chars().filter(|c| *c != ',').collect();
    let number = digits.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    number.map_or(SortKey::Text(text), SortKey::Number)
}

/// Times and sizes, which are written in units of many sizes.
fn exact(item: &Item, heading: &str) -> Option<i64> {
    match (item, heading) {
        (Item::Outbox(row), "when") => Some(row.row.available_at.unwrap_or(row.row.created_at)),
        (Item::Run(run), "at") => Some(run.started_at),
        (Item::Run(run), "took") => Some(run.took_us),
        (Item::Group(group), "last") => Some(group.last_at),
        (Item::Letter(letter), "last") => Some(letter.last_at),
        (Item::Trigger(trigger), "next due") => trigger.next_due,
        (Item::Entry(entry), "expires") => entry.expires_at,
        (Item::Backup(backup), "took") => backup.took_ms,
        (Item::Backup(backup), "size") => backup.bytes.and_then(|bytes| i64::try_from(bytes).ok()),
        _ => None,
    }
}
