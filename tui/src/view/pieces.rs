//! The views of a row, each as lines.

use picloud_api::executions::{AttemptDetail, Chain, ExecutionDetail, Link};
use picloud_api::list::{ExecutionItem, FailureItem};
use picloud_api::script::{DryRunAnswer, WriteItem};

use crate::columns::{self, Writing};
use crate::diff;
use crate::item::{Item, cause};
use crate::model::Model;
use crate::part::{self, Key, Loaded, Tab};
use crate::reply::Part;
use crate::source;
use crate::symbols::{self, Symbol};
use crate::text::{Line, Role};
use crate::view::detail::{fact, here};
use crate::when;

/// Lines around a change that are shown with it.
const CONTEXT_LINES: usize = 3;
/// Causes lie so deep at most.
const DEPTH_MAX: usize = 32;
/// Links of a chain that are drawn.
const LINKS_MAX: usize = 500;

/// What else is said of it in the title of the pane.
pub(super) fn about(item: &Item, parts: &[(Key, Loaded)], model: &Model) -> String {
    let clock = |at| when::day_clock(at, &model.fixed.zone, model.now);
    let first = part::find(parts, Some);
    match (item, first) {
        (Item::Letter(one), _) => format!(
            "  {}/{} v{}  {} tries {}-{}",
            one.app,
            one.script,
            one.script_version,
            one.attempts,
            clock(one.first_at),
            clock(one.last_at)
        ),
        (Item::Group(group), Some(Part::Letter(detail))) => {
            format!(
                "  1/{}  {}  {}",
                group.count,
                group.example,
                cause(&detail.letter.source, detail.letter.origin.as_deref())
            )
        }
        (Item::Outbox(row), Some(Part::Outbox(detail))) => {
            let version = detail.current_version.map_or(String::new(), |v| format!(" v{v}"));
            format!("  {}/{}{version}", row.row.app, row.row.script)
        }
        (Item::Outbox(row), _) => format!("  {}/{}", row.row.app, row.row.script),
        (Item::Run(run), _) => {
            format!("  {}/{} v{}  try {}", run.app, run.script, run.script_version, run.attempt)
        }
        (Item::Script(one), _) => format!("  v{}", one.version),
        (Item::Entry(one), _) => {
            format!("  version {}  {}", one.version, columns::writer(&one.written_by))
        }
        _ => String::new(),
    }
}

pub(super) fn lines(model: &Model, item: &Item, tab: Tab) -> Vec<Line> {
    let parts = &model.level().parts;
    match (item, tab) {
        (Item::Letter(_) | Item::Group(_) | Item::Outbox(_) | Item::Abandoned(_), Tab::Event) => {
            event(model, item, parts)
        }
        (_, Tab::Chain) => chain(model, parts),
        (_, Tab::Script) => failed_script(item, parts),
        (_, Tab::Source) => source_lines(item, parts),
        (_, Tab::Tries) => tries(model, parts),
        (_, Tab::Log) => log(parts),
        (_, Tab::Runs) => runs(model, parts),
        (Item::Script(script), Tab::Uses) => {
            let mut lines = vec![Line::of(Role::Dim, "routes")];
            lines.extend(script.routes.iter().map(|one| Line::from(format!("  {one}"))));
            lines.push(Line::of(Role::Dim, "triggers"));
            lines.extend(script.triggers.iter().map(|one| Line::from(format!("  {one}"))));
            lines
        }
        (_, Tab::Versions) => versions(model, parts),
        (Item::Version(version), Tab::Change) => change(version.version, parts),
        (Item::Entry(entry), Tab::Value) => source::json_lines(entry.value.get()),
        (_, Tab::Manifest) => manifest(parts),
        (item, _) => facts(model, item, parts),
    }
}

/// An error with its place.
pub(super) fn failure(error: &FailureItem) -> Vec<Line> {
    if let (Some(place), Some(source_line)) = (place(error), &error.source_line) {
        return source::listing(source_line, place.0, Some(place));
    }
    let line = |(n, line): (usize, &str)| match n {
        0 => Line::of(Role::Bad, format!("{}: {line}", error.kind)),
        _ => Line::of(Role::Bad, line),
    };
    error.message.lines().enumerate().map(line).collect()
}

/// Line and column of an error, and what it says.
fn place(error: &FailureItem) -> Option<(usize, usize, &str)> {
    let line = usize::try_from(error.line?).ok()?;
    let column = usize::try_from(error.column.unwrap_or_default()).ok()?;
    Some((line, column, error.message.as_str()))
}

fn event(model: &Model, item: &Item, parts: &[(Key, Loaded)]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut text = None;
    for (_, part) in parts {
        let Loaded::Here(part) = part else { continue };
        match &**part {
            Part::Letter(detail) => {
                lines.extend(failure(&detail.letter.error));
                let clock = |at| when::day_clock(at, &model.fixed.zone, model.now);
                if let Some(error) = &detail.handler_error {
                    let says = format!("its handler failed: {}", error.message);
                    lines.push(Line::of(Role::Warn, &says));
                }
                match detail.letter.resolution.as_deref() {
                    Some("replayed") => {
                        let by = detail.replayed_by.as_deref().unwrap_or_default();
                        let at = detail.resolved_at.map(clock).unwrap_or_default();
                        lines.push(Line::of(Role::Ok, format!("replayed {at} by {by}")));
                    }
                    Some("discarded") => {
                        let why = detail.reason.as_deref().unwrap_or_default();
                        let at = detail.resolved_at.map(clock).unwrap_or_default();
                        let says = format!("discarded {at}: {why}");
                        lines.push(Line::of(Role::Dim, &says));
                    }
                    Some(_) | None => {}
                }
                text = Some(detail.event.get());
            }
            Part::Outbox(detail) => {
                if let Some(error) = &detail.row.error {
                    lines.extend(failure(error));
                }
                text = Some(detail.event.get());
            }
            Part::Abandoned(detail) => {
                text = detail.event.as_ref().map(|event| event.get());
                if text.is_none() {
                    lines.push(Line::of(Role::Dim, "Its event was too large to keep."));
                }
            }
            Part::Execution(detail) => lines.extend(attempts(model, detail)),
            _ => {}
        }
    }
    if let Item::Outbox(row) = item {
        lines.insert(0, fact("cause", &cause(&row.row.source, row.row.origin.as_deref())));
    }
    if let Some(text) = text {
        lines.push(Line::of(Role::Dim, "event"));
        lines.extend(source::json_lines(text));
    }
    lines
}

fn writing(model: &Model) -> Writing<'_> {
    Writing { now: model.now, zone: &model.fixed.zone, charset: model.fixed.charset }
}

fn tries(model: &Model, parts: &[(Key, Loaded)]) -> Vec<Line> {
    let found = executions(parts);
    found.map(|detail| attempts(model, detail)).unwrap_or_default()
}

fn executions(parts: &[(Key, Loaded)]) -> Option<&ExecutionDetail> {
    parts.iter().find_map(|(key, part)| match (key, part) {
        (Key::Execution(_), Loaded::Here(part)) => match &**part {
            Part::Execution(detail) => Some(detail),
            _ => None,
        },
        _ => None,
    })
}

fn attempts(model: &Model, detail: &ExecutionDetail) -> Vec<Line> {
    let mut lines = Vec::new();
    for attempt in &detail.attempts {
        if !lines.is_empty() {
            lines.push(Line::new());
        }
        lines.extend(one_attempt(model, attempt));
    }
    lines
}

fn one_attempt(model: &Model, attempt: &AttemptDetail) -> Vec<Line> {
    let run = &attempt.run;
    let (symbol, role) = symbols::state(&run.outcome);
    let mut lines =
        vec![Line::of(role, format!("{} {}", symbol.text(model.fixed.charset), run.outcome)).and(
            Role::Text,
            format!(
                "  try {}  {}  took {}  in line {}",
                run.attempt,
                when::clock_seconds(run.started_at, &model.fixed.zone),
                when::micros(run.took_us),
                when::micros(run.queued_us)
            ),
        )];
    if let Some(error) = &run.error {
        lines.extend(failure(error));
    }
    lines.extend(attempt.effects.iter().map(|effect| fact(&effect.does, &effect.to)));
    let shown = u32::try_from(attempt.effects.len()).unwrap_or(u32::MAX);
    if run.effects > shown {
        lines.push(Line::of(Role::Dim, format!("{} more writes", run.effects - shown)));
    }
    lines.extend(attempt.log.iter().map(log_line));
    lines
}

fn log_line(line: &picloud_api::executions::LogLine) -> Line {
    let role = match line.level.as_str() {
        "error" => Role::Bad,
        "warn" => Role::Warn,
        _ => Role::Dim,
    };
    let fields = line.fields.as_ref().map(|fields| format!("  {fields}")).unwrap_or_default();
    Line::of(role, format!("{:<5}  ", line.level))
        .and(Role::Text, &line.message)
        .and(Role::Dim, &fields)
}

fn log(parts: &[(Key, Loaded)]) -> Vec<Line> {
    let Some(detail) = executions(parts) else { return Vec::new() };
    let mut lines = Vec::new();
    for attempt in &detail.attempts {
        if detail.attempts.len() > 1 {
            lines.push(Line::of(Role::Dim, format!("try {}", attempt.run.attempt)));
        }
        lines.extend(attempt.log.iter().map(log_line));
    }
    if lines.is_empty() {
        lines.push(Line::of(Role::Dim, "It logged nothing."));
    }
    lines
}

fn runs(model: &Model, parts: &[(Key, Loaded)]) -> Vec<Line> {
    let runs = part::find(parts, |part| match part {
        Part::Runs(runs) => Some(runs),
        _ => None,
    });
    let Some(runs) = runs else { return Vec::new() };
    if runs.is_empty() {
        return vec![Line::of(Role::Dim, "It has not run lately.")];
    }
    runs.iter().map(|run| run_line(model, run)).collect()
}

fn run_line(model: &Model, run: &ExecutionItem) -> Line {
    let cells = columns::run(run, writing(model));
    let gap = |line: Line, cell: &Line, columns: usize| {
        let cell = cell.cut(columns).padded(columns);
        cell.spans
            .into_iter()
            .fold(line.and(Role::Text, "  "), |line, span| line.and(span.role, span.text))
    };
    let line = gap(Line::new(), &cells[0], 15);
    let line = gap(line, &cells[1], 8);
    let line = gap(line, &cells[3], 26);
    let line = gap(line, &cells[5], 8);
    match &run.error {
        Some(error) => line.and(Role::Bad, format!("  {}", &columns::error(error))),
        None => line,
    }
}

/// The source that failed, with the error in its place.
fn failed_script(item: &Item, parts: &[(Key, Loaded)]) -> Vec<Line> {
    let letter = part::find(parts, |part| match part {
        Part::Letter(letter) => Some(&letter.letter.error),
        _ => None,
    });
    code(parts, item.error().or(letter))
}

fn source_lines(item: &Item, parts: &[(Key, Loaded)]) -> Vec<Line> {
    code(parts, item.error())
}

fn code(parts: &[(Key, Loaded)], error: Option<&FailureItem>) -> Vec<Line> {
    let text = part::find(parts, |part| match part {
        Part::Script(script) => Some(&script.source),
        Part::Version(version) => Some(&version.source),
        _ => None,
    });
    let Some(text) = text else { return Vec::new() };
    source::listing(text, 1, error.and_then(place))
}

fn versions(model: &Model, parts: &[(Key, Loaded)]) -> Vec<Line> {
    let versions = part::find(parts, |part| match part {
        Part::Versions(versions) => Some(versions),
        _ => None,
    });
    let mut lines: Vec<Line> = versions
        .into_iter()
        .flatten()
        .map(|one| {
            let at = when::day_clock(one.created_at, &model.fixed.zone, model.now);
            let line =
                Line::of(Role::Text, format!("v{:<6} {at:>12}  {} bytes", one.version, one.bytes));
            if one.current { line.and(Role::Ok, "  current") } else { line }
        })
        .collect();
    lines.push(Line::of(Role::Dim, "v opens them: what changed, and back to one"));
    lines
}

/// What changed from that version to the current one.
fn change(version: i64, parts: &[(Key, Loaded)]) -> Vec<Line> {
    let mut old = None;
    let mut current = None;
    for (key, part) in parts {
        let Loaded::Here(part) = part else { continue };
        match (key, &**part) {
            (Key::Version(.., of), Part::Version(one)) if *of == version => old = Some(&one.source),
            (Key::Script(..), Part::Script(script)) => current = Some(&script.source),
            _ => {}
        }
    }
    let (Some(old), Some(current)) = (old, current) else { return Vec::new() };
    if old == current {
        return vec![Line::of(Role::Dim, "The same as the current version.")];
    }
    let mut lines = vec![Line::of(Role::Dim, "from this version (-) to the current one (+)")];
    lines.extend(diff::shown(&diff::lines(old, current, CONTEXT_LINES)));
    lines
}

fn manifest(parts: &[(Key, Loaded)]) -> Vec<Line> {
    let bundle = part::find(parts, |part| match part {
        Part::Manifest(bundle) => Some(bundle),
        _ => None,
    });
    let Some(bundle) = bundle else { return Vec::new() };
    let text = toml::to_string(&bundle.manifest).unwrap_or_default();
    text.lines().map(Line::from).collect()
}

/// The tree of causes and consequences.
fn chain(model: &Model, parts: &[(Key, Loaded)]) -> Vec<Line> {
    let chain = part::find(parts, |part| match part {
        Part::Chain(chain) => Some(chain),
        _ => None,
    });
    let Some(chain) = chain else { return Vec::new() };
    let mut lines = Vec::new();
    let known = |id: Option<&String>| id.is_some_and(|id| chain.links.iter().any(|l| l.id == *id));
    for root in chain.links.iter().filter(|link| !known(link.cause_id.as_ref())) {
        branch(model, chain, root, 0, &mut lines);
    }
    if !chain.complete {
        lines.push(Line::of(Role::Dim, "… and more, which is left out"));
    }
    if lines.is_empty() {
        lines.push(Line::of(Role::Dim, "Nothing of it is kept."));
    }
    lines
}

fn branch(model: &Model, chain: &Chain, link: &Link, depth: usize, lines: &mut Vec<Line>) {
    if depth > DEPTH_MAX || lines.len() > LINKS_MAX {
        return;
    }
    let (symbol, role) = symbols::state(&link.state);
    let here = model.level().cursor.as_deref().is_some_and(|id| {
        id == link.id || link.letter_id.as_deref() == Some(id) || id.starts_with(&link.id)
    });
    let indent = "  ".repeat(depth);
    let charset = model.fixed.charset;
    let arrow = if depth == 0 { String::new() } else { format!("{} ", Symbol::Into.text(charset)) };
    let name = format!("{}/{}", link.app, link.script);
    let mut line = Line::of(Role::Dim, format!("{indent}{arrow}"))
        .and(role, format!("{} {}", symbol.text(charset), &link.state))
        .and(if here { Role::Strong } else { Role::Text }, format!("  {}", &name))
        .and(Role::Text, format!("  {}", &cause(&link.source, link.origin.as_deref())))
        .and(Role::Dim, format!("  {}", when::clock_seconds(link.at, &model.fixed.zone)));
    if here {
        line = line.and(Role::Accent, "  this");
    }
    if let Some(error) = &link.error {
        line = line.and(Role::Bad, format!("  {error}"));
    }
    lines.push(line);
    let caused = chain
        .links
        .iter()
        .filter(|one| one.id != link.id && one.cause_id.as_deref() == Some(link.id.as_str()));
    for one in caused {
        branch(model, chain, one, depth + 1, lines);
    }
}

/// What a dry run has shown.
pub(super) fn dry_run(answer: &DryRunAnswer, on: &str) -> Vec<Line> {
    let version = match answer.script_version {
        0 => String::new(),
        version => format!(" v{version}"),
    };
    let role = match answer.outcome.as_str() {
        "succeeded" => Role::Ok,
        "failed" => Role::Bad,
        _ => Role::Warn,
    };
    let writes = when::counted(answer.writes.len(), "write");
    let mut lines = vec![
        Line::of(Role::Strong, format!("dry run{version}: "))
            .and(role, &answer.outcome)
            .and(Role::Text, format!(", {writes}, took {}", when::micros(answer.took_us)))
            .and(Role::Dim, format!("  {on}")),
    ];
    if let Some(error) = &answer.error {
        lines.extend(failure(error));
    }
    lines.extend(answer.writes.iter().flat_map(write));
    let fires = |one: &picloud_api::script::FiredItem| {
        fact(
            "fires",
            &format!("{} → {}  ({} {})", one.trigger, one.script, one.collection, one.key),
        )
    };
    lines.extend(answer.triggers.iter().map(fires));
    lines.extend(answer.tasks.iter().map(|task| fact("enqueues", &task.script)));
    lines.extend(answer.letters.iter().map(|one| fact(&one.resolution, &one.id)));
    let call = |one: &picloud_api::script::CallItem| {
        fact("not sent", &format!("{} {}, {} bytes", one.method, one.url, one.body_bytes))
    };
    lines.extend(answer.calls.iter().map(call));
    if let Some(result) = &answer.result {
        lines.push(Line::of(Role::Dim, "result"));
        lines.extend(source::json_lines(result.get()));
    }
    for line in &answer.log {
        let fields = line.fields.as_ref().map(|fields| format!("  {}", fields.get()));
        lines.push(
            Line::of(Role::Dim, format!("{:<5}  ", line.level))
                .and(Role::Text, &line.message)
                .and(Role::Dim, fields.unwrap_or_default()),
        );
    }
    lines
}

fn write(write: &WriteItem) -> Vec<Line> {
    let name = format!("{} {}/{}", write.space, write.collection, write.key);
    let mut lines = vec![fact(&write.op, &name)];
    let text = |value: &Option<Box<serde_json::value::RawValue>>| {
        value.as_ref().map(|value| source::json(value.get())).unwrap_or_default()
    };
    let shown = diff::shown(&diff::lines(&text(&write.before), &text(&write.after), 1));
    lines.extend(shown.into_iter().map(|line| Line::from("    ").then(line)));
    lines
}

/// Everything that is known of it, name by name.
fn facts(model: &Model, item: &Item, parts: &[(Key, Loaded)]) -> Vec<Line> {
    crate::view::facts::of(model, item, parts)
}

/// What a part holds, if it is there.
pub(super) fn app<'a>(parts: &'a [(Key, Loaded)], slug: &str) -> Option<&'a picloud_api::app::App> {
    match here(parts, &Key::App(slug.to_owned()))? {
        Part::App(app) => Some(app),
        _ => None,
    }
}
