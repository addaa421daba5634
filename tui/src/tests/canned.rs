//! What the daemon of the tests knows: two apps, their scripts, and 41 letters of three errors.

use picloud_api::app::App;
use picloud_api::audit::AuditItem;
use picloud_api::backups::BackupItem;
use picloud_api::data::{CollectionItem, Writer};
use picloud_api::events::LogEntry;
use picloud_api::executions::{
    AbandonedItem, AttemptDetail, Chain, EffectItem, ExecutionDetail, Link, LogLine,
};
use picloud_api::health::{Check, Checks};
use picloud_api::instance::{Caller, Instance};
use picloud_api::letters::LetterGroup;
use picloud_api::list::{AppItem, DeadLetterItem, ExecutionItem, FailureItem, OutboxItem};
use picloud_api::manifest::{RetryEntry, RouteEntry, TriggerEntry};
use picloud_api::nodes::NodeItem;
use picloud_api::principals::{GrantItem, PrincipalItem};
use picloud_api::routes::RouteItem;
use picloud_api::script::{Script, ScriptItem, Version, VersionItem};
use picloud_api::secrets::SecretItem;
use picloud_api::stats::{
    AllStats, AppStats, Counts, Gate, InstanceStats, ProcessStats, Queue, ScriptStats, Stats,
    StoreStats, Times, Trouble,
};
use picloud_api::tokens::TokenItem;
use picloud_api::triggers::TriggerItem;
use serde_json::{Value, json};

/// 2026-11-29 14:02:31.250 UTC
pub(super) const NOW: i64 = 1_795_960_951_250;
pub(super) const SECOND: i64 = 1_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// This night at 03:04, when it happened.
const NIGHT: i64 = NOW - 10 * HOUR - 58 * MINUTE;
pub(super) const REFUSED: &str = "http: connection refused (api.example.org)";

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// An id as the daemon makes them; what is made later is greater.
pub(super) fn id(kind: &str, n: usize) -> String {
    format!("01J9ZK{kind:0<10}{n:0>10}")
}

pub(super) fn instance(capabilities: &[&str]) -> Instance {
    Instance {
        version: "1.4.0".to_owned(),
        instance_id: id("START", 1),
        started_at: NOW - 12 * DAY,
        now: NOW,
        apps: 2,
        waiting: 47,
        running: 4,
        dead_letters: 41,
        caller: Caller {
            name: "pi".to_owned(),
            uid: Some(1_000),
            capabilities: capabilities.iter().map(|one| (*one).to_owned()).collect(),
        },
        ..Instance::default()
    }
}

fn counts(requests: u64, runs: u64, failures: u64) -> Counts {
    Counts { requests, runs, failures }
}

/// A day in five minutes: quiet, a rush, quiet again.
fn series() -> Vec<Counts> {
    (0..300_u64)
        .map(|second| {
            let rush = 41 - (second.abs_diff(200) / 4).min(41);
            counts(rush, rush * 9 / 10, u64::from(second % 97 == 0))
        })
        .collect()
}

pub(super) fn stats(now: i64) -> Stats {
    let times = |p50, p99| Times { p50_us: Some(p50), p99_us: Some(p99), ..Times::default() };
    let all = AllStats {
        total: counts(81_204, 90_113, 120),
        second: counts(17, 14, 0),
        minute: counts(930, 850, 2),
        series: Some(series()),
        answer: times(6_100, 41_200),
        queued: times(300, 2_000),
        run: times(3_100, 22_000),
        gate: Gate { running: 8, permits: 16, ..Gate::default() },
        queue: Queue {
            rows: 47,
            running: 4,
            due: 31,
            later: 10,
            retry: 2,
            oldest_due_ms: Some(1_200),
            ..Queue::default()
        },
        store: StoreStats { free_bytes: Some(21_300_000_000), ..StoreStats::default() },
        process: ProcessStats {
            memory_bytes: Some(31_400_000),
            memory_bytes_max: Some(128_000_000),
            written_bytes: Some(212_000_000),
            ..ProcessStats::default()
        },
        dead_letters: 41,
        ..AllStats::default()
    };
    let trouble = |at, script: &str, message: &str| {
        Some(Trouble { at, script: script.to_owned(), message: message.to_owned() })
    };
    let script = |app: &str, script: &str| ScriptStats {
        app: some(app),
        script: some(script),
        ..ScriptStats::default()
    };
    Stats {
        now,
        instance: InstanceStats {
            id: id("START", 1),
            version: "1.4.0".to_owned(),
            started_at: NOW - 12 * DAY,
            why: "power_cut".to_owned(),
            taken_up: 3,
        },
        all: Some(all),
        apps: vec![
            AppStats {
                app: "energy".to_owned(),
                minute: counts(118, 213, 0),
                waiting: 3,
                dead_letters: 2,
                trouble: trouble(NIGHT - 54 * MINUTE, "tariff", "timeout: ran past 10 s"),
                ..AppStats::default()
            },
            AppStats {
                app: "greenhouse".to_owned(),
                minute: counts(812, 637, 13),
                waiting: 44,
                dead_letters: 39,
                trouble: trouble(NIGHT, "warn", REFUSED),
                ..AppStats::default()
            },
        ],
        scripts: vec![script("greenhouse", "record"), script("energy", "tariff")],
    }
}

pub(super) fn failure(kind: &str, message: &str) -> FailureItem {
    FailureItem { kind: kind.to_owned(), message: message.to_owned(), ..FailureItem::default() }
}

/// With its place in [`SOURCE`].
fn refused() -> FailureItem {
    FailureItem {
        line: Some(4),
        column: Some(1),
        source_line: some("http::post(url, #{ m: m });"),
        ..failure("runtime", REFUSED)
    }
}

/// Rows of every state that one can have, the newest first.
pub(super) fn outbox() -> Vec<OutboxItem> {
    let row = |n: usize, state: &str, script: &str, (source, origin): (&str, &str)| OutboxItem {
        id: id("ROW", n),
        app: "greenhouse".to_owned(),
        script: script.to_owned(),
        source: source.to_owned(),
        origin: some(origin),
        state: state.to_owned(),
        available_at: Some(NOW - 1_200),
        created_at: NOW - 2 * SECOND,
        attempt: 0,
        max_attempts: 5,
        root_id: id("ROW", n),
        ..OutboxItem::default()
    };
    let post = ("http", "POST /readings/{sensor}");
    vec![
        OutboxItem {
            attempt: 1,
            available_at: Some(NOW - 400),
            ..row(47, "running", "record", post)
        },
        OutboxItem {
            attempt: 2,
            available_at: Some(NOW + 4 * SECOND),
            key: some("a3"),
            error: Some(refused()),
            ..row(46, "retry", "warn", ("docs", "on-reading"))
        },
        OutboxItem {
            app: "energy".to_owned(),
            ..row(45, "due", "tariff", ("kv", "on-price-of-the-next-day"))
        },
        OutboxItem {
            available_at: None,
            key: some("a3"),
            ..row(44, "behind", "warn", ("docs", "on-reading"))
        },
        OutboxItem {
            available_at: Some(NOW + 58 * MINUTE),
            max_attempts: 3,
            ..row(43, "later", "nightly", ("schedule", "every-night"))
        },
        row(42, "paused", "warn", ("docs", "on-reading")),
        OutboxItem { source: "task".to_owned(), origin: None, ..row(41, "due", "report", post) },
        row(40, "hibernating", "record", post),
    ]
}

/// 38 of one outage, two of another error, and one without a script.
pub(super) fn letters() -> Vec<DeadLetterItem> {
    let letter = |n: usize| DeadLetterItem {
        id: id("DEAD", n),
        app: "greenhouse".to_owned(),
        script: "warn".to_owned(),
        script_version: 12,
        source: "docs".to_owned(),
        origin: some("on-reading"),
        error: refused(),
        attempts: 5,
        first_at: NIGHT - 15 * MINUTE,
        last_at: NIGHT,
        resolution: None,
    };
    let mut letters = vec![DeadLetterItem {
        script: "gone".to_owned(),
        script_version: 0,
        source: "task".to_owned(),
        origin: None,
        error: failure("no_such_script", "script \"gone\" is not there"),
        attempts: 1,
        first_at: NIGHT - 3 * HOUR,
        last_at: NIGHT - 3 * HOUR,
        ..letter(41)
    }];
    letters.extend((39..=40).rev().map(|n| DeadLetterItem {
        app: "energy".to_owned(),
        script: "tariff".to_owned(),
        script_version: 4,
        source: "kv".to_owned(),
        origin: some("on-price"),
        error: failure("timeout", "timeout: ran past 10 s"),
        last_at: NIGHT - 54 * MINUTE,
        ..letter(n)
    }));
    letters.extend((1..=38).rev().map(letter));
    letters
}

pub(super) fn groups(letters: &[DeadLetterItem]) -> Vec<LetterGroup> {
    let mut groups: Vec<LetterGroup> = Vec::new();
    for letter in letters {
        let known = groups.iter_mut().find(|group| group.script == letter.script);
        if let Some(group) = known {
            group.count += 1;
            continue;
        }
        groups.push(LetterGroup {
            app: letter.app.clone(),
            script: letter.script.clone(),
            kind: letter.error.kind.clone(),
            error: letter.error.message.replace("10", "#"),
            count: 1,
            first_at: letter.first_at,
            last_at: letter.last_at,
            version_min: letter.script_version,
            version_max: letter.script_version,
            current_version: match letter.script_version {
                0 => None,
                4 => Some(5),
                version => Some(version),
            },
            example: letter.id.clone(),
        });
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

pub(super) fn letter_detail(letter: &DeadLetterItem) -> Value {
    json!({
        "letter": letter,
        "current_version": 12,
        "event": { "source": "docs", "collection": "readings", "op": "update",
            "data": { "id": "a3", "moisture": "17", "at": 1_795_921_200_000_i64 } },
        "row_id": id("ROW", 7), "root_id": id("ROW", 3), "cause_id": id("ROW", 5),
        "replay_of": null, "key": "a3", "depth": 2, "max_attempts": 5, "resolved_at": null,
        "replayed_by": null, "held_until": null, "reason": null, "handler_error": null, "now": NOW,
    })
}

pub(super) fn outbox_detail(row: &OutboxItem) -> Value {
    json!({
        "row": row, "current_version": 12,
        "event": { "method": "POST", "path": "/readings/a3", "body": { "moisture": 17 } },
        "cause_id": null, "letter_id": null, "dedupe": null, "now": NOW,
    })
}

/// Runs of every outcome, the newest first.
pub(super) fn runs() -> Vec<ExecutionItem> {
    let outcomes = [
        ("answered", "record", None),
        ("completed", "warn", None),
        ("retried", "warn", Some(refused())),
        ("dead_lettered", "tariff", Some(failure("timeout", "timeout: ran past 10 s"))),
        ("handler_failed", "clean-up", Some(failure("runtime", "Function not found: tidy (map)"))),
        ("abandoned", "record", None),
        ("released", "nightly", None),
        ("lease_lost", "nightly", None),
    ];
    let run = |(n, (outcome, script, error)): (usize, &(&str, &str, Option<FailureItem>))| {
        let at = i64::try_from(n).expect("a few runs");
        ExecutionItem {
            id: id("RUN", 90 - n),
            app: if *script == "tariff" { "energy" } else { "greenhouse" }.to_owned(),
            script: (*script).to_owned(),
            script_version: 12,
            source: if *script == "record" { "http" } else { "docs" }.to_owned(),
            origin: some(if *script == "record" { "POST /readings/a3" } else { "on-reading" }),
            attempt: 1,
            outcome: (*outcome).to_owned(),
            started_at: NOW - at * 7 * SECOND,
            queued_us: 400,
            took_us: 5_200 + 910_000 * at,
            effects: 2,
            error: error.clone(),
        }
    };
    outcomes.iter().enumerate().map(run).collect()
}

pub(super) fn execution(run: &ExecutionItem) -> ExecutionDetail {
    let log = |level: &str, message: &str, fields: Option<&str>| LogLine {
        level: level.to_owned(),
        message: message.to_owned(),
        fields: fields.map(str::to_owned),
    };
    let effect = |does: &str, to: &str| EffectItem { does: does.to_owned(), to: to.to_owned() };
    let attempt = |attempt: u32| AttemptDetail {
        run: ExecutionItem { attempt, ..run.clone() },
        log: vec![
            log("info", "moisture is low", Some(r#"{"sensor":"a3"}"#)),
            log("warn", "no answer from the pump", None),
        ],
        effects: vec![effect("put", "docs readings/a3"), effect("enqueue", "notify")],
    };
    ExecutionDetail {
        id: run.id.clone(),
        root_id: run.id.clone(),
        cause_id: None,
        attempts: vec![attempt(run.attempt + 1), attempt(run.attempt)],
        now: NOW,
    }
}

pub(super) fn chain(of: &str) -> Chain {
    let link = |own: &str, cause: Option<&str>, script: &str, state: &str| Link {
        id: own.to_owned(),
        cause_id: cause.map(str::to_owned),
        is: "execution".to_owned(),
        app: "greenhouse".to_owned(),
        script: script.to_owned(),
        source: "docs".to_owned(),
        origin: some("on-reading"),
        state: state.to_owned(),
        at: NOW - 2 * SECOND,
        ..Link::default()
    };
    let (child, dead) = (id("CHILD", 1), id("CHILD", 2));
    Chain {
        root_id: of.to_owned(),
        links: vec![
            Link {
                source: "http".to_owned(),
                origin: some("POST /readings/a3"),
                ..link(of, None, "record", "answered")
            },
            link(&child, Some(of), "warn", "completed"),
            Link {
                error: some(REFUSED),
                letter_id: Some(id("DEAD", 38)),
                is: "dead_letter".to_owned(),
                ..link(&dead, Some(&child), "notify", "open")
            },
            link(&id("CHILD", 3), Some(of), "count", "due"),
        ],
        complete: true,
        now: NOW,
    }
}

pub(super) fn abandoned() -> Vec<AbandonedItem> {
    ["depth_limit", "caller_gone", "owner_died", "app_deleted"]
        .iter()
        .zip(1..)
        .map(|(reason, n)| AbandonedItem {
            id: id("LEFT", 9 - n),
            app: "greenhouse".to_owned(),
            script: "warn".to_owned(),
            source: "docs".to_owned(),
            origin: some("on-reading"),
            reason: (*reason).to_owned(),
            at: NIGHT,
            depth: 16,
            root_id: id("ROW", 3),
            cause_id: None,
        })
        .collect()
}

pub(super) fn apps() -> Vec<AppItem> {
    let app = |number: i64, slug: &str| AppItem {
        id: number,
        slug: slug.to_owned(),
        revision: 7,
        scripts: 4,
        routes: 2,
        triggers: 3,
        waiting: 44,
        dead_letters: 39,
        ..AppItem::default()
    };
    vec![
        AppItem { waiting: 3, dead_letters: 2, ..app(2, "energy") },
        AppItem { host: some("greenhouse.lan"), ..app(1, "greenhouse") },
    ]
}

pub(super) fn app(slug: &str) -> App {
    App {
        id: 1,
        slug: slug.to_owned(),
        host: some("greenhouse.lan"),
        allow_hosts: vec!["api.example.org".to_owned()],
        auth: "none".to_owned(),
        rate: "10/s".to_owned(),
        revision: 7,
        ..App::default()
    }
}

pub(super) fn manifest(slug: &str) -> Value {
    json!({
        "manifest": {
            "app": { "slug": slug, "host": "greenhouse.lan", "allow_hosts": ["api.example.org"] },
            "scripts": [{ "name": "record", "file": "record.rhai" }],
            "routes": [{ "method": "POST", "path": "/readings/{sensor}", "script": "record" }],
        },
        "sources": { "record.rhai": SOURCE },
    })
}

pub(super) fn routes(app: &str) -> Vec<RouteItem> {
    let route = |method: &str, path: &str, mode: &str| RouteItem {
        app: app.to_owned(),
        revision: 7,
        method: method.to_owned(),
        path: path.to_owned(),
        dispatch_mode: mode.to_owned(),
        script: "record".to_owned(),
        auth: "none".to_owned(),
        rate: "10/s".to_owned(),
        entry: RouteEntry {
            method: method.to_owned(),
            path: path.to_owned(),
            script: "record".to_owned(),
            ..RouteEntry::default()
        },
        runs_as: some("pi"),
        urls: vec![format!("/{app}{path}"), format!("//greenhouse.lan{path}")],
        ..RouteItem::default()
    };
    vec![route("GET", "/readings", "sync"), route("POST", "/readings/{sensor}", "async")]
}

pub(super) const SOURCE: &str = "// Warns when it is dry.\nlet m = event.data.moisture;\nlet url = `https://api.example.org/${event.data.id}`;\nhttp::post(url, #{ m: m });\n";

pub(super) fn scripts(app: &str) -> Vec<ScriptItem> {
    let script = |name: &str, version: i64, triggers: &[&str]| ScriptItem {
        app: app.to_owned(),
        name: name.to_owned(),
        version,
        bytes: 1_240,
        triggers: triggers.iter().map(|one| (*one).to_owned()).collect(),
        ..ScriptItem::default()
    };
    match app {
        "energy" => vec![script("tariff", 5, &["on-price"])],
        _ => vec![
            script("nightly", 3, &["every-night"]),
            ScriptItem {
                routes: vec!["GET /readings".to_owned(), "POST /readings/{sensor}".to_owned()],
                ..script("record", 9, &[])
            },
            script("report", 1, &[]),
            script("warn", 12, &["on-reading"]),
        ],
    }
}

pub(super) fn script(app: &str, name: &str, source: &str) -> Script {
    Script {
        app: app.to_owned(),
        name: name.to_owned(),
        version: 12,
        source: source.to_owned(),
        triggers: vec!["on-reading".to_owned()],
        ..Script::default()
    }
}

pub(super) fn versions() -> Vec<VersionItem> {
    let version = |version: i64| VersionItem {
        version,
        created_at: NOW - (13 - version) * 3 * DAY,
        bytes: 1_200 + version,
        current: version == 12,
    };
    (8..=12).rev().map(version).collect()
}

pub(super) fn version(app: &str, name: &str, number: i64) -> Version {
    let source = match number {
        12 => SOURCE.to_owned(),
        _ => SOURCE.replace("#{ m: m }", "#{ moisture: m }"),
    };
    Version {
        app: app.to_owned(),
        name: name.to_owned(),
        version: number,
        created_at: NOW - 3 * DAY,
        current: number == 12,
        source,
        ..Version::default()
    }
}

pub(super) fn triggers(app: &str) -> Vec<TriggerItem> {
    let trigger = |name: &str, kind: &str, script: &str, matches: &str| TriggerItem {
        app: app.to_owned(),
        revision: 7,
        name: name.to_owned(),
        kind: kind.to_owned(),
        script: script.to_owned(),
        enabled: true,
        matches: matches.to_owned(),
        entry: TriggerEntry {
            kind: kind.to_owned(),
            name: name.to_owned(),
            script: script.to_owned(),
            ..TriggerEntry::default()
        },
        retry: RetryEntry::default(),
        registered_by: some("pi"),
        ..TriggerItem::default()
    };
    match app {
        "energy" => vec![trigger("on-price", "kv", "tariff", "set in prices")],
        _ => vec![
            TriggerItem {
                next_due: Some(NOW + 13 * HOUR),
                next_due_local: some("2026-11-30 03:00"),
                last_fired: Some(NIGHT),
                ..trigger("every-night", "schedule", "nightly", "0 3 * * *")
            },
            TriggerItem {
                enabled: false,
                ..trigger("on-dead", "dead_letter", "clean-up", "dead letters of docs")
            },
            trigger("on-reading", "docs", "warn", "create, update in readings"),
        ],
    }
}

pub(super) fn collections(app: &str, space: &str) -> Vec<CollectionItem> {
    let collections: &[&str] = match (app, space) {
        ("energy", "kv") => &["prices"],
        ("energy", _) => &[],
        (_, "kv") => &["limits"],
        _ => &["readings", "warnings"],
    };
    let collection = |collection: &&str| CollectionItem {
        app: app.to_owned(),
        space: space.to_owned(),
        collection: (*collection).to_owned(),
    };
    collections.iter().map(collection).collect()
}

pub(super) fn entry(place: (&str, &str, &str), key: &str, version: i64) -> Value {
    let (app, space, collection) = place;
    let writer = match key {
        "a4" => Writer { principal: some("pi"), ..Writer::default() },
        _ => Writer {
            script: some("record"),
            script_version: Some(9),
            root_id: Some(id("ROW", 3)),
            cause_id: Some(id("ROW", 5)),
            principal: None,
        },
    };
    json!({
        "app": app, "space": space, "collection": collection, "key": key,
        "value": { "id": key, "moisture": 17, "note": "a value with\na second line" },
        "version": version,
        "expires_at": if key == "a5" { Some(NOW + 2 * HOUR) } else { None },
        "written_by": writer,
    })
}

pub(super) fn log() -> Vec<LogEntry> {
    let line = |n: i64, level: &str, message: &str| LogEntry {
        at: NOW - n * 13 * SECOND,
        level: level.to_owned(),
        app: "greenhouse".to_owned(),
        script: "warn".to_owned(),
        execution_id: id("RUN", 90),
        message: message.to_owned(),
        fields: some(r#"{"sensor":"a3"}"#),
    };
    vec![
        line(0, "info", "moisture is low"),
        line(1, "warn", "no answer from the pump"),
        line(2, "error", "the pump is off"),
        line(3, "debug", "asked the pump"),
    ]
}

pub(super) fn checks() -> Checks {
    let check = |name: &str, state: &str, text: &str, remedy: Option<&str>| Check {
        name: name.to_owned(),
        state: state.to_owned(),
        text: text.to_owned(),
        remedy: remedy.map(str::to_owned),
    };
    let checks = vec![
        check("store", "ok", "whole, schema 31", None),
        check("backups", "warn", "the last backup is 9 days old", Some("picloud backups start")),
        check("clock", "bad", "the clock is not set", Some("sudo timedatectl set-ntp true")),
    ];
    Checks { checks, now: NOW }
}

pub(super) fn backups() -> Vec<BackupItem> {
    let backup = |name: &str, state: &str| BackupItem {
        name: name.to_owned(),
        path: format!("/var/lib/picloud/backups/{name}"),
        state: state.to_owned(),
        begun_at: NOW - 9 * DAY,
        took_ms: Some(2_300),
        bytes: Some(41_000_000),
        verified: state == "done",
        error: (state == "failed").then(|| "no space left on device".to_owned()),
    };
    vec![backup("picloud-2026-11-20.db", "done"), backup("picloud-2026-11-13.db", "failed")]
}

pub(super) fn nodes() -> Vec<NodeItem> {
    vec![NodeItem {
        id: id("START", 1),
        name: "pi-greenhouse".to_owned(),
        role: "single".to_owned(),
        state: "running".to_owned(),
        version: "1.4.0".to_owned(),
        started_at: NOW - 12 * DAY,
        why: "power_cut".to_owned(),
        seen_at: NOW,
        address: some("0.0.0.0:8080"),
        store: "sqlite".to_owned(),
        schema: 31,
        executors: 16,
        running: 8,
    }]
}

pub(super) fn principals() -> Vec<PrincipalItem> {
    let grant = GrantItem { capability: "AppRead".to_owned(), app: some("greenhouse") };
    vec![
        PrincipalItem { name: "board".to_owned(), grants: vec![grant], ..PrincipalItem::default() },
        PrincipalItem {
            name: "pi".to_owned(),
            uid: Some(1_000),
            by_group: vec!["InstanceAdmin".to_owned()],
            routes: 2,
            triggers: 3,
            ..PrincipalItem::default()
        },
    ]
}

pub(super) fn tokens() -> Vec<TokenItem> {
    let token = |number: i64, name: &str, state: &str| TokenItem {
        id: number,
        name: name.to_owned(),
        principal: "board".to_owned(),
        state: state.to_owned(),
        created_at: NOW - 90 * DAY,
        expires_at: (state == "expired").then_some(NOW - DAY),
        ..TokenItem::default()
    };
    vec![token(2, "kitchen", "valid"), token(1, "old", "expired")]
}

pub(super) fn audit() -> Vec<AuditItem> {
    let change = |number: i64, action: &str, object: &str| AuditItem {
        id: number,
        at: NOW - (10 - number) * HOUR,
        principal: "pi".to_owned(),
        action: action.to_owned(),
        object: object.to_owned(),
        detail: json!({ "version": 12 }),
    };
    vec![change(9, "deploy", "greenhouse"), change(8, "pause", "greenhouse/on-reading")]
}

pub(super) fn secrets() -> Vec<SecretItem> {
    let secret = |name: &str, lost: Option<&str>| SecretItem {
        name: name.to_owned(),
        set_at: NOW - DAY,
        set_by: some("pi"),
        lost: lost.map(str::to_owned),
    };
    vec![secret("API_KEY", None), secret("OLD_KEY", Some("the key file is another one"))]
}

/// The last thing that a dry run came to is a call to the outside.
pub(super) fn dry_run() -> Value {
    json!({
        "outcome": "unknown", "result": null,
        "error": { "kind": "not_sent", "message": "http::post is not sent in a dry run", "line": 4,
            "column": 1, "source_line": "http::post(url, #{ m: m });" },
        "writes": [
            { "space": "docs", "collection": "warnings", "key": "a3", "op": "update",
              "before": { "count": 1, "id": "a3" }, "after": { "count": 2, "id": "a3" },
              "before_bytes": 21, "after_bytes": 21, "expires_at": null },
            { "space": "kv", "collection": "last", "key": "warned", "op": "set", "before": null,
              "after": 1_795_960_951, "before_bytes": 0, "after_bytes": 10, "expires_at": null },
        ],
        "triggers": [{ "trigger": "on-warning", "script": "notify", "source": "docs",
            "collection": "warnings", "key": "a3" }],
        "tasks": [], "letters": [],
        "calls": [{ "method": "POST", "url": "https://api.example.org/a3", "headers": [],
            "body_bytes": 8 }],
        "log": [{ "level": "info", "message": "it is dry", "fields": { "m": 17 } }],
        "script_version": 12, "operations": 120, "memory_bytes_peak": 4_096, "took_us": 2_400,
    })
}
