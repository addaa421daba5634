//! Everything that is known of a row, name by name.

use picloud_api::audit::AuditItem;
use picloud_api::backups::BackupItem;
use picloud_api::data::EntryItem;
use picloud_api::executions::AbandonedItem;
use picloud_api::letters::LetterGroup;
use picloud_api::nodes::NodeItem;
use picloud_api::routes::RouteItem;
use picloud_api::triggers::TriggerItem;

use crate::columns;
use crate::item::{self, Item, Row, cause};
use crate::model::Model;
use crate::part::{self, Key, Loaded};
use crate::reply::Part;
use crate::source;
use crate::text::{Line, Role};
use crate::view::detail::fact;
use crate::view::pieces;
use crate::when;

/// Everything that is known of it.
pub(super) fn of(model: &Model, item: &Item, parts: &[(Key, Loaded)]) -> Vec<Line> {
    match item {
        Item::Group(one) => group(model, one),
        Item::Outbox(one) => outbox(model, one),
        Item::Letter(_) => letter(parts, |at| clock(model, at)),
        Item::Abandoned(one) => abandoned(model, one),
        Item::App(app) => app_facts(app, parts),
        Item::Route(one) => route(model, one, parts),
        Item::Trigger(one) => trigger(model, one),
        Item::Entry(one) => entry(model, one),
        Item::Log(line) => log(model, line),
        Item::Check(check) => {
            let remedy = check.remedy.iter().flat_map(|remedy| remedy.lines());
            let says = Line::from(check.text.as_str());
            std::iter::once(says).chain(remedy.map(|line| fact("do", line))).collect()
        }
        Item::Door(door) => vec![Line::from(door.says), Line::of(Role::Dim, "⏎ opens it")],
        Item::Backup(one) => backup(one),
        Item::Node(one) => node(model, one),
        Item::Principal(one) => one
            .grants
            .iter()
            .map(|grant| fact(grant.app.as_deref().unwrap_or("all apps"), &grant.capability))
            .chain(one.by_group.iter().map(|capability| fact("by group", capability)))
            .collect(),
        Item::Token(one) => {
            let mut lines = vec![fact("stands for", &one.principal), fact("state", &one.state)];
            lines.extend(one.revoked_at.map(|at| fact("revoked", &clock(model, at))));
            lines
        }
        Item::Audit(one) => audit(model, one),
        Item::Traffic(_)
        | Item::Script(_)
        | Item::Version(_)
        | Item::Secret(_)
        | Item::Run(_)
        | Item::Collection(_) => Vec::new(),
    }
}

fn clock(model: &Model, at: i64) -> String {
    when::day_clock(at, &model.fixed.zone, model.now)
}

fn group(model: &Model, group: &LetterGroup) -> Vec<Line> {
    let clock = |at: i64| clock(model, at);
    vec![
        fact("letters", &group.count.to_string()),
        fact("first", &clock(group.first_at)),
        fact("last", &clock(group.last_at)),
        fact("kind", &group.kind),
        fact(
            "versions",
            &columns::versions(group.version_min, group.version_max, group.current_version),
        ),
        fact("error", &group.error),
    ]
}

fn outbox(model: &Model, row: &Row) -> Vec<Line> {
    let clock = |at: i64| clock(model, at);
    let some = |name: &str, value: Option<&str>| value.map(|value| fact(name, value));
    let one = &row.row;
    let mut lines = vec![
        fact("state", &one.state),
        fact("cause", &cause(&one.source, one.origin.as_deref())),
        fact("tries", &format!("{} of {}", one.attempt, one.max_attempts)),
        fact("depth", &one.depth.to_string()),
        fact("root", &one.root_id),
        fact("made", &clock(one.created_at)),
    ];
    lines.extend(some("key", one.key.as_deref()));
    lines
}

fn abandoned(model: &Model, one: &AbandonedItem) -> Vec<Line> {
    let clock = |at: i64| clock(model, at);
    let some = |name: &str, value: Option<&str>| value.map(|value| fact(name, value));
    let mut lines = vec![
        fact("reason", &one.reason),
        fact("at", &clock(one.at)),
        fact("cause", &cause(&one.source, one.origin.as_deref())),
        fact("depth", &one.depth.to_string()),
        fact("root", &one.root_id),
    ];
    lines.extend(some("caused by", one.cause_id.as_deref()));
    lines
}

fn route(model: &Model, route: &RouteItem, parts: &[(Key, Loaded)]) -> Vec<Line> {
    let clock = |at: i64| clock(model, at);
    let some = |name: &str, value: Option<&str>| value.map(|value| fact(name, value));
    let mut lines = vec![
        fact("script", &route.script),
        fact("mode", &route.dispatch_mode),
        fact("auth", &route.auth),
        fact("rate", &route.rate),
    ];
    lines.extend(route.urls.iter().map(|url| fact("served at", url)));
    lines.extend(some("runs as", route.runs_as.as_deref()));
    lines.extend(paused(route.paused.as_ref()));
    lines.extend(last_run(parts, clock));
    lines
}

fn trigger(model: &Model, one: &TriggerItem) -> Vec<Line> {
    let clock = |at: i64| clock(model, at);
    let some = |name: &str, value: Option<&str>| value.map(|value| fact(name, value));
    let mut lines = vec![
        fact("kind", &one.kind),
        fact("matches", &one.matches),
        fact("script", &one.script),
        fact("runs as", one.registered_by.as_deref().unwrap_or("nobody: it is gone")),
    ];
    if let Some(due) = one.next_due {
        let local = one.next_due_local.as_deref().unwrap_or_default();
        let utc = when::day_clock(due, &when::Zone::utc(), model.now);
        lines.push(fact(
            "next due",
            &format!("{local}  ({utc} UTC, {})", when::until(due, model.now)),
        ));
    }
    lines.extend(one.last_fired.map(|at| fact("last fired", &clock(at))));
    lines.extend(some("problem", one.problem.as_deref()));
    lines.extend(paused(one.paused.as_ref()));
    let entry = serde_json::to_string(&one.entry).unwrap_or_default();
    lines.push(Line::of(Role::Dim, "as a manifest has it"));
    lines.extend(source::json_lines(&entry));
    lines
}

fn entry(model: &Model, one: &EntryItem) -> Vec<Line> {
    let some = |name: &str, value: Option<&str>| value.map(|value| fact(name, value));
    let by = &one.written_by;
    let mut lines =
        vec![fact("version", &one.version.to_string()), fact("written by", &columns::writer(by))];
    lines.extend(some("in the run", by.cause_id.as_deref()));
    lines.extend(some("root", by.root_id.as_deref()));
    lines.extend(one.expires_at.map(|at| fact("expires", &when::until(at, model.now))));
    lines
}

fn log(model: &Model, line: &item::Line) -> Vec<Line> {
    let mut lines = vec![
        fact("at", &when::clock_seconds(line.entry.at, &model.fixed.zone)),
        fact("execution", &line.entry.execution_id),
    ];
    lines.extend(line.entry.message.lines().map(|line| Line::of(Role::Text, line)));
    if let Some(fields) = &line.entry.fields {
        lines.extend(source::json_lines(fields));
    }
    lines
}

fn backup(one: &BackupItem) -> Vec<Line> {
    let some = |name: &str, value: Option<&str>| value.map(|value| fact(name, value));
    let mut lines = vec![fact("file", &one.path), fact("state", &one.state)];
    lines.push(fact("verified", if one.verified { "yes" } else { "no" }));
    lines.extend(some("error", one.error.as_deref()));
    lines.push(fact("restore", "sudo picloudd restore FILE, with the daemon stopped"));
    lines
}

fn node(model: &Model, one: &NodeItem) -> Vec<Line> {
    let clock = |at: i64| clock(model, at);
    vec![
        fact("id", &one.id),
        fact("started", &format!("{} ({})", clock(one.started_at), super::overview::why(&one.why))),
        fact("seen", &clock(one.seen_at)),
    ]
}

fn audit(model: &Model, one: &AuditItem) -> Vec<Line> {
    let clock = |at: i64| clock(model, at);
    let mut lines = vec![
        fact("at", &clock(one.at)),
        fact("who", &one.principal),
        fact("did", &one.action),
        fact("to", &one.object),
    ];
    lines.extend(source::json_lines(&one.detail.to_string()));
    lines
}

fn paused(paused: Option<&picloud_api::instance::Paused>) -> Option<Line> {
    let paused = paused?;
    let what = match paused.target.as_str() {
        "" => "with everything",
        target => target,
    };
    Some(Line::of(Role::Warn, format!("paused {what}: {}", paused.reason)))
}

fn last_run(parts: &[(Key, Loaded)], clock: impl Fn(i64) -> String) -> Option<Line> {
    part::find(parts, |part| match part {
        Part::Runs(runs) => runs
            .first()
            .map(|run| fact("last run", &format!("{} {}", clock(run.started_at), run.outcome))),
        _ => None,
    })
}

fn letter(parts: &[(Key, Loaded)], clock: impl Fn(i64) -> String) -> Vec<Line> {
    let detail = part::find(parts, |part| match part {
        Part::Letter(detail) => Some(detail),
        _ => None,
    });
    let Some(detail) = detail else { return Vec::new() };
    let one = &detail.letter;
    let now = detail.current_version.map_or("gone".to_owned(), |v| format!("v{v}"));
    let mut lines = vec![
        fact("cause", &cause(&one.source, one.origin.as_deref())),
        fact("tries", &format!("{} of {}", one.attempts, detail.max_attempts)),
        fact("failed", &format!("v{}, now {now}", one.script_version)),
        fact("first", &clock(one.first_at)),
        fact("last", &clock(one.last_at)),
        fact("row", &detail.row_id),
        fact("root", &detail.root_id),
        fact("depth", &detail.depth.to_string()),
    ];
    let more = [
        ("key", &detail.key),
        ("caused by", &detail.cause_id),
        ("replay of", &detail.replay_of),
        ("replayed by", &detail.replayed_by),
        ("reason", &detail.reason),
    ];
    lines.extend(more.iter().filter_map(|(name, value)| Some(fact(name, value.as_deref()?))));
    lines
}

fn app_facts(item: &picloud_api::list::AppItem, parts: &[(Key, Loaded)]) -> Vec<Line> {
    let Some(app) = pieces::app(parts, &item.slug) else { return Vec::new() };
    let mut lines = vec![
        fact("routes at", &format!("/{}/…", app.slug)),
        fact("auth", &app.auth),
        fact("rate", &app.rate),
        fact(
            "may call",
            &if app.allow_hosts.is_empty() {
                "nobody outside".to_owned()
            } else {
                app.allow_hosts.join(", ")
            },
        ),
        fact(
            "errors",
            if app.expose_errors {
                "callers see what scripts say"
            } else {
                "callers see the execution's id only"
            },
        ),
        fact("revision", &app.revision.to_string()),
    ];
    lines.extend(app.host.as_ref().map(|host| fact("host", host)));
    lines.extend(paused(app.paused.as_ref()));
    lines.push(Line::of(Role::Dim, "⏎ its routes"));
    lines
}
