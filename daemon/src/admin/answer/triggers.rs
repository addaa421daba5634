//! Triggers: listed, shown, made, changed, switched, set off, deleted.

use std::collections::HashMap;
use std::sync::Arc;

use axum::response::Response;
use picloud_api::list::{Page, PageQuery};
use picloud_api::manifest::TriggerEntry;
use picloud_api::problem::{Code, Problem};
use picloud_api::text;
use picloud_api::triggers::{FireAnswer, FireRequest, TriggerAnswer, TriggerDeleted, TriggerItem};
use serde_json::{Map, Value};

use crate::admin::answer::{by, tagged};
use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::admin::refuse;
use crate::catalog::{Catalog, INSTANCE};
use crate::flow::configure::pause::shown;
use crate::flow::configure::triggers::{
    Named, Switch, Touched, find, plan_change, plan_create, plan_delete, plan_fire, plan_switch,
};
use crate::flow::fire::row_for;
use crate::ids::TriggerId;
use crate::manifest::export;
use crate::outbox::row::OutboxRow;
use crate::outbox::source::{TriggerKind, schedule_of};
use crate::payload;
use crate::principal::Capability;
use crate::schedule::{Mark, next_due};
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// The triggers of an app, by name; the cursor is the name before.
pub(super) async fn list(engine: &Engine, request: &Request) -> Result<Page<TriggerItem>, Problem> {
    let query: PageQuery = request.query()?;
    let limit = super::limit(&query)?;
    let app = request.app()?.id;
    let after = query.after.unwrap_or_default();
    let triggers = request.catalog.triggers.values();
    let mut triggers: Vec<&Arc<Trigger>> =
        triggers.filter(|one| one.app == app && *one.name > *after).collect();
    triggers.sort_by(|a, b| a.name.cmp(&b.name));
    let next = (triggers.len() > limit).then(|| triggers[limit - 1].name.to_string());
    let (marks, now) = (engine.schedule_marks().await?, engine.clock.now());
    let shown = |one: &Arc<Trigger>| item(&request.catalog, one, &marks, now);
    Ok(Page { items: triggers.into_iter().take(limit).map(shown).collect(), next, now: now.0 })
}

pub(super) async fn show(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let which = named(request)?;
    let (app, trigger) = find(&request.catalog, &which).map_err(|unfit| refuse::unfit(&unfit))?;
    let marks = engine.schedule_marks().await?;
    tagged(&item(&request.catalog, trigger, &marks, engine.clock.now()), app.revision)
}

/// The last segment of the path is the kind.
pub(super) async fn create(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let named = request.segment("name")?;
    let Some(kind) = TriggerKind::ALL.into_iter().find(|kind| kind.in_a_path() == named) else {
        let known = TriggerKind::ALL.map(TriggerKind::in_a_path).join(", ");
        return Err(Problem::new(
            Code::NotFound,
            format!("there is no kind of trigger \"{named}\"; POST to one of {known}"),
        ));
    };
    let entry = entry(request, kind.as_str())?;
    let (app, by) = (request.app()?.id, by(engine, request)?);
    let plan = move |catalog: &Catalog, next| plan_create(catalog, app, &entry, by, next);
    answer(engine, engine.configure(plan).await?).await
}

pub(super) async fn change(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let (which, by) = (named(request)?, by(engine, request)?);
    let (_, before) = find(&request.catalog, &which).map_err(|unfit| refuse::unfit(&unfit))?;
    let entry = entry(request, before.details.kind().as_str())?;
    let plan = move |catalog: &Catalog, _| plan_change(catalog, &which, &entry, by);
    answer(engine, engine.configure(plan).await?).await
}

pub(super) async fn switch(
    engine: &Engine,
    request: &Request,
    switch: Switch,
) -> Result<Response, Problem> {
    request.no_body()?;
    let (which, by) = (named(request)?, by(engine, request)?);
    let plan = move |catalog: &Catalog, _| plan_switch(catalog, &which, switch, by);
    answer(engine, engine.configure(plan).await?).await
}

pub(super) async fn delete(engine: &Engine, request: &Request) -> Result<TriggerDeleted, Problem> {
    request.no_body()?;
    let (which, by) = (named(request)?, by(engine, request)?);
    let deleted = format!("{}/{}", request.app()?.slug, which.name);
    let plan = move |catalog: &Catalog, _| plan_delete(catalog, &which, by);
    engine.configure(plan).await?;
    Ok(TriggerDeleted { deleted })
}

/// Sets a trigger off by hand, once. The run acts as the caller, who may have made up its event; so the caller needs to
/// be allowed both to manage triggers and to invoke scripts.
pub(super) async fn fire(engine: &Engine, request: &Request) -> Result<FireAnswer, Problem> {
    let body: FireRequest = request.body(Code::BadRequest)?;
    let (which, by) = (named(request)?, by(engine, request)?);
    let app = request.app()?;
    if !request.may(Capability::AppInvoke, app.id) {
        let who = &request.principal.name;
        let lacks = format!("{who} lacks AppInvoke for app \"{}\"", app.slug);
        return Err(Problem::new(Code::NotAllowed, lacks));
    }
    let (_, trigger) = find(&request.catalog, &which).map_err(|unfit| refuse::unfit(&unfit))?;
    let event = match &body.event {
        Some(event) => given_event(event, engine.run_limits.value_bytes_max)?,
        None => trigger.details.example(by.now),
    };
    let Some(event) = event.filter(|_| !handles_letters(trigger)) else {
        return Err(Problem::new(Code::BadRequest, "a dead-letter handler runs for a dead letter")
            .with_hint("let the work that it handles fail, or replay a letter"));
    };
    let id = engine.ids.next(by.now);
    let execution_id = id.to_string();
    let noted = execution_id.clone();
    let plan = move |catalog: &Catalog, _| plan_fire(catalog, &which, &noted, by);
    let trigger = engine.configure(plan).await?;
    let row = row_for(&trigger, id, event);
    engine.accept(OutboxRow { principal: by.principal, available_at: by.now, ..row }).await?;
    Ok(FireAnswer { execution_id })
}

fn handles_letters(trigger: &Trigger) -> bool {
    trigger.details.kind() == TriggerKind::DeadLetter
}

fn given_event(event: &Value, bytes_max: usize) -> Result<Option<Arc<str>>, Problem> {
    if !event.is_object() {
        return Err(Problem::new(Code::BadRequest, "event is no map"));
    }
    let text = event.to_string();
    if text.len() > bytes_max {
        let bytes = text.len();
        let detail = format!("event has {bytes} bytes as JSON, at most {bytes_max} are allowed");
        return Err(Problem::new(Code::TooLarge, detail));
    }
    payload::check(text.as_bytes())
        .map_err(|error| Problem::new(Code::BadRequest, format!("event: {}", error.reason)))?;
    Ok(Some(text.into()))
}

fn named(request: &Request) -> Result<Named, Problem> {
    Ok(Named { app: request.app()?.id, name: request.segment("name")?.to_owned() })
}

/// The body as an entry, in which the kind need not stand.
fn entry(request: &Request, kind: &str) -> Result<TriggerEntry, Problem> {
    let mut fields: Map<String, Value> = request.body(Code::BadTrigger)?;
    fields.entry("kind").or_insert_with(|| kind.into());
    let entry: TriggerEntry = serde_json::from_value(Value::Object(fields)).map_err(|error| {
        let message = text::explain(&error.to_string());
        Problem::new(Code::BadTrigger, format!("the body: {message}"))
    })?;
    if entry.kind != kind {
        let detail = format!("the body is of kind \"{}\", not \"{kind}\"", entry.kind);
        return Err(Problem::new(Code::BadTrigger, detail));
    }
    Ok(entry)
}

async fn answer(engine: &Engine, touched: Touched) -> Result<Response, Problem> {
    let (catalog, marks) = (engine.catalog(), engine.schedule_marks().await?);
    let trigger = catalog.triggers.get(&touched.id).ok_or_else(|| {
        Problem::new(Code::Conflict, "somebody else has deleted the trigger meanwhile")
    })?;
    let trigger = item(&catalog, trigger, &marks, engine.clock.now());
    let revision = trigger.revision;
    tagged(&TriggerAnswer { changed: touched.changed, trigger }, revision)
}

fn item(
    catalog: &Catalog,
    trigger: &Trigger,
    marks: &HashMap<TriggerId, Mark>,
    now: Timestamp,
) -> TriggerItem {
    let app = catalog.apps.get(&trigger.app);
    let targets = [trigger.id.queue().0, trigger.app.0, INSTANCE];
    let paused = targets
        .iter()
        .find_map(|target| catalog.pauses.get(target).map(|pause| shown(catalog, *target, pause)));
    let registered_by = catalog.principals.get(&trigger.registered_by);
    let mark = marks.get(&trigger.id);
    let mut item = TriggerItem {
        id: trigger.id.0,
        app: app.map_or_else(String::new, |app| app.slug.to_string()),
        revision: app.map_or(0, |app| app.revision),
        name: trigger.name.to_string(),
        kind: trigger.details.kind().as_str().to_owned(),
        script: trigger.script.to_string(),
        enabled: trigger.enabled,
        matches: trigger.details.text(),
        entry: export::trigger_entry(trigger),
        retry: export::whole_retry(&trigger.retry),
        registered_by: registered_by.map(|principal| principal.name.clone()),
        paused,
        last_fired: mark.and_then(|mark| mark.last_fired).map(|at| at.0),
        ..TriggerItem::default()
    };
    match schedule_of(&trigger.details) {
        Some(Ok(schedule)) if trigger.enabled => {
            let fired_until = mark.map_or(now, |mark| mark.fired_until);
            let next = next_due(&schedule, fired_until.max(now));
            item.next_due = next.map(|at| at.0);
            item.next_due_local = next.and_then(|at| schedule.local(at));
        }
        Some(Err(error)) => item.problem = Some(error.to_string()),
        Some(Ok(_)) | None => {}
    }
    item
}
