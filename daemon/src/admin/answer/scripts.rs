//! Scripts: shown, edited, rolled back, tried and run.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use picloud_api::list::{Page, PageQuery};
use picloud_api::manifest::{SCRIPT_BYTES_MAX, ScriptEntry};
use picloud_api::problem::{Code, Problem};
use picloud_api::script::{
    DryRun, Invoke, RollBack, Script, ScriptChanged, ScriptItem, ScriptLimits, ScriptPut, Version,
    VersionItem,
};
use picloud_api::text;
use picloud_scripts_runtime::limits::RunLimits;
use serde_json::value::RawValue;

use crate::admin::answer::{accepted, json, limit, tagged};
use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::catalog::{self, App};
use crate::dispatcher::invoke::Invocation;
use crate::dispatcher::rehearse::{Event, Rehearsal, Saved};
use crate::flow::configure::pause::shown;
use crate::flow::configure::scripts::{PutScript, plan_delete, plan_put, users};
use crate::ids::Id;
use crate::limits::{self, Limits};
use crate::payload;
use crate::principal::Capability;
use crate::route::DispatchMode;

/// The scripts of an app by name; the cursor is the name before.
pub(super) fn list(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let query: PageQuery = request.query()?;
    let limit = limit(&query)?;
    let app = request.app()?;
    let after = query.after.unwrap_or_default();
    let mut scripts: Vec<&Arc<catalog::Script>> =
        app.scripts.values().filter(|script| *script.name > *after).collect();
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    let next = (scripts.len() > limit).then(|| scripts[limit - 1].name.to_string());
    let items = scripts.into_iter().take(limit).map(|script| {
        let (routes, triggers) = users(&request.catalog, app, &script.name);
        let queue = script.id.queue().0;
        let pause = request.catalog.pauses.get(&queue);
        ScriptItem {
            app: app.slug.to_string(),
            name: script.name.to_string(),
            version: script.version,
            bytes: i64::try_from(script.source.len()).unwrap_or(i64::MAX),
            routes,
            triggers,
            paused: pause.map(|pause| shown(&request.catalog, queue, pause)),
        }
    });
    json(&Page { items: items.collect(), next, now: engine.clock.now().0 })
}

pub(super) fn show(request: &Request) -> Result<Response, Problem> {
    let (app, script) = script(request)?;
    let (routes, triggers) = users(&request.catalog, app, &script.name);
    let queue = script.id.queue().0;
    let pause = request.catalog.pauses.get(&queue);
    let shown = Script {
        app: app.slug.to_string(),
        name: script.name.to_string(),
        version: script.version,
        source: script.source.to_string(),
        limits: limit_map(&script.limits),
        routes,
        triggers,
        paused: pause.map(|pause| shown(&request.catalog, queue, pause)),
    };
    tagged(&shown, script.version)
}

pub(super) async fn put(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let body: ScriptPut = request.body(Code::Unfit)?;
    let app = request.app()?;
    let entry = entry(request.segment("name")?, body.limits.clone().unwrap_or_default());
    let (name, wanted) = engine.check_script(entry, body.source).await?;
    let put = PutScript {
        app: app.id,
        name,
        source: wanted.source,
        limits: body.limits.map(|_| wanted.limits),
        instance: engine.run_limits.clone(),
        expected: request.expected()?,
        rolls_back_to: None,
        by: request.principal.id,
    };
    commit(engine, put).await
}

pub(super) async fn roll_back(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let body: RollBack = request.body(Code::BadRequest)?;
    let (app, script) = script(request)?;
    let kept = engine.script_version(script.id, body.version).await?;
    let kept = kept.ok_or_else(|| no_version(script, body.version))?;
    // What compiled once need not do so with every later daemon.
    let entry = entry(&script.name, ScriptLimits::default());
    let (name, wanted) = engine.check_script(entry, kept.source.to_string()).await?;
    let put = PutScript {
        app: app.id,
        name,
        source: wanted.source,
        limits: Some(kept.limits.at_most(&engine.run_limits)),
        instance: engine.run_limits.clone(),
        expected: request.expected()?,
        rolls_back_to: Some((script.id, kept.version)),
        by: request.principal.id,
    };
    commit(engine, put).await
}

async fn commit(engine: &Engine, put: PutScript) -> Result<Response, Problem> {
    let now = engine.clock.now();
    let changed: ScriptChanged =
        engine.configure(move |catalog, next| plan_put(catalog, &put, next, now)).await?;
    tagged(&changed, changed.version)
}

pub(super) async fn delete(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let (app, script) = script(request)?;
    let (app, name, expected) = (app.id, Arc::clone(&script.name), request.expected()?);
    let (by, now) = (request.principal.id, engine.clock.now());
    let plan = move |catalog: &_, _| plan_delete(catalog, (app, &name), expected, by, now);
    json(&engine.configure(plan).await?)
}

/// The versions that are kept, the newest first; the cursor is the version before.
pub(super) async fn versions(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let query: PageQuery = request.query()?;
    let limit = limit(&query)?;
    let before = query.after.as_deref().map(number).transpose()?;
    let (_, script) = script(request)?;
    let found = engine.script_versions(script.id, before, limit).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.version.to_string());
    let items = found.iter().map(|row| VersionItem {
        version: row.version,
        created_at: row.created_at.0,
        bytes: row.bytes,
        current: row.version == script.version,
    });
    json(&Page { items: items.collect(), next, now: engine.clock.now().0 })
}

pub(super) async fn version(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let (app, script) = script(request)?;
    let version = number(request.segment("version")?)?;
    let kept = engine.script_version(script.id, version).await?;
    let kept = kept.ok_or_else(|| no_version(script, version))?;
    json(&Version {
        app: app.slug.to_string(),
        name: script.name.to_string(),
        version,
        created_at: kept.created_at.0,
        current: version == script.version,
        source: kept.source.to_string(),
        limits: limit_map(&kept.limits),
    })
}

pub(super) async fn dry_run(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let body: DryRun = request.body(Code::BadRequest)?;
    let (app, script) = script(request)?;
    let event = match (body.event, body.from) {
        (Some(_), Some(_)) => return Err(exclude("event", "from")),
        (Some(event), None) => Event::Given(map("event", &event)?),
        (None, Some(id)) => {
            request.ask(Capability::AppRead, app)?;
            event_of(engine, app, &id).await?
        }
        (None, None) => Event::Given("{}".into()),
    };
    let (script, saved) = match body.source {
        None => (Arc::clone(script), Saved::Yes),
        Some(source) => {
            request.ask(Capability::AppManageScripts, app)?;
            if source.len() > SCRIPT_BYTES_MAX {
                let bytes = source.len();
                let detail =
                    format!("source has {bytes} bytes, at most {SCRIPT_BYTES_MAX} are allowed");
                return Err(Problem::new(Code::Unfit, detail));
            }
            let unsaved = catalog::Script {
                id: script.id,
                app: script.app,
                name: Arc::clone(&script.name),
                version: script.version,
                source: source.into(),
                limits: script.limits.clone(),
            };
            (Arc::new(unsaved), Saved::No)
        }
    };
    let (app, principal) = (Arc::clone(app), Arc::clone(&request.principal));
    json(&engine.dry_run(Rehearsal { app, script, saved, principal, event }).await?)
}

/// The event of a row, a dead letter or an execution of the app.
async fn event_of(engine: &Engine, app: &App, text: &str) -> Result<Event, Problem> {
    let id: Id = text.parse().map_err(|error| {
        Problem::new(Code::BadRequest, format!("from \"{text}\" is no id: {error}"))
    })?;
    if let Some(event) = engine.event_behind(id, app.id).await? {
        return Ok(event);
    }
    let detail = format!("app \"{}\" has no row, dead letter or execution {id}", app.slug);
    Err(Problem::new(Code::NotFound, detail).with_hint(
        "of runs that have ended only the latest small events are kept; send the event itself",
    ))
}

pub(super) async fn invoke(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let body: Invoke = request.body(Code::BadRequest)?;
    let (_, script) = script(request)?;
    let event: Arc<str> = match (body.event, body.payload) {
        (Some(_), Some(_)) => return Err(exclude("event", "payload")),
        (Some(event), None) => map("event", &event)?,
        (None, Some(payload)) => {
            format!(r#"{{"payload":{}}}"#, checked("payload", &payload)?).into()
        }
        (None, None) => r#"{"payload":null}"#.into(),
    };
    let mode = match body.mode.as_deref() {
        None | Some("sync") => DispatchMode::Sync,
        Some("async") => DispatchMode::Async,
        Some(other) => {
            let detail = format!("mode \"{other}\" is neither sync nor async");
            return Err(Problem::new(Code::BadRequest, detail));
        }
    };
    let invocation =
        Invocation { script: Arc::clone(script), principal: request.principal.id, event, mode };
    let answer = engine.invoke(&invocation).await?;
    match mode {
        DispatchMode::Sync => json(&answer),
        DispatchMode::Async => accepted(&answer),
    }
}

/// The script that the path names.
fn script(request: &Request) -> Result<(&Arc<App>, &Arc<catalog::Script>), Problem> {
    let (app, name) = (request.app()?, request.segment("name")?);
    let found = app.scripts.get(name);
    let found = found.ok_or_else(|| {
        let detail = format!("app \"{}\" has no script \"{name}\"", app.slug);
        let problem = Problem::new(Code::NotFound, detail);
        match text::nearest(name, app.scripts.keys().map(|name| &**name)) {
            Some(meant) => problem.with_hint(format!("did you mean {meant}?")),
            None => {
                problem.with_hint(format!("`picloud scripts list --app {}` shows all", app.slug))
            }
        }
    })?;
    Ok((app, found))
}

fn no_version(script: &catalog::Script, version: i64) -> Problem {
    let detail = format!("version {version} of script \"{}\" is not kept", script.name);
    Problem::new(Code::NotFound, detail)
        .with_hint("`picloud scripts versions` shows those that are")
}

fn number(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::new(Code::BadRequest, format!("\"{text}\" is no version")))
}

fn entry(name: &str, limits: ScriptLimits) -> ScriptEntry {
    ScriptEntry {
        name: name.to_owned(),
        file: format!("{name}.rhai"),
        timeout: limits.timeout,
        operations_max: limits.operations_max,
        memory_bytes_max: limits.memory_bytes_max,
        value_bytes_max: limits.value_bytes_max,
        response_bytes_max: limits.response_bytes_max,
        log_lines_max: limits.log_lines_max,
        log_line_bytes_max: limits.log_line_bytes_max,
        effects_max: limits.effects_max,
    }
}

fn limit_map(run: &RunLimits) -> BTreeMap<String, u64> {
    let all = Limits { run: run.clone(), ..Limits::default() };
    limits::of_a_run().iter().map(|limit| (limit.name.to_owned(), (limit.get)(&all))).collect()
}

fn exclude(one: &str, other: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("{one} and {other} exclude each other"))
}

/// JSON that a script can be given.
pub(super) fn checked<'a>(what: &str, value: &'a RawValue) -> Result<&'a str, Problem> {
    payload::check(value.get().as_bytes())
        .map_err(|error| Problem::new(Code::Unfit, format!("{what}, {error}")))
}

fn map(what: &str, value: &RawValue) -> Result<Arc<str>, Problem> {
    let text = checked(what, value)?;
    if text.starts_with('{') {
        Ok(text.into())
    } else {
        Err(Problem::new(Code::Unfit, format!("{what} is not a map")))
    }
}
