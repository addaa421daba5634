//! Triggers one at a time: made, changed, switched on and off, deleted. What a deploy does to all of an app.

use std::sync::Arc;

use picloud_api::manifest::{TRIGGERS_MAX, TriggerEntry};
use picloud_api::problem::EntryError;

use crate::catalog::{App, Catalog};
use crate::flow::configure::{AppFields, Audit, By, CatalogChange, Planned, Unfit, app_at};
use crate::ids::{AppId, PrincipalId, TriggerId};
use crate::manifest::{self, WantedTrigger, export};
use crate::trigger::{GLOBS_BYTES_MAX, Trigger, fit_the_matcher};

/// Which trigger of which app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub app: AppId,
    pub name: String,
}

/// A trigger after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    pub id: TriggerId,
    pub changed: bool,
}

/// Whether a trigger matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

/// Makes a trigger that there is not yet. It runs as who makes it.
pub fn plan_create(
    catalog: &Catalog,
    app: AppId,
    entry: &TriggerEntry,
    by: By,
    next: i64,
) -> Result<Planned<Touched>, Unfit> {
    let app = app_at(catalog, app, by.expected)?;
    let wanted = check(catalog, app, entry)?;
    let of_app = || catalog.triggers.values().filter(|one| one.app == app.id);
    if of_app().any(|one| *one.name == *entry.name) {
        return Err(Unfit::PartTaken {
            app: app.slug.to_string(),
            kind: "trigger",
            name: entry.name.clone(),
        });
    }
    if of_app().count() >= TRIGGERS_MAX {
        return Err(wrong(
            entry,
            format!("the app has {TRIGGERS_MAX} triggers, which is the most"),
        ));
    }
    let trigger = trigger(TriggerId(next), app.id, entry, wanted, by.principal);
    check_matcher(catalog, &trigger, entry)?;
    let id = trigger.id;
    let changes = vec![CatalogChange::PutTrigger(trigger)];
    let answer = Touched { id, changed: true };
    let noted = Noted { action: "create trigger", name: &entry.name, by };
    Ok(planned(app, noted, changes, answer, next + 1))
}

/// Makes a trigger what the entry says. It keeps its number, and runs from now on as who changes it; one that is so
/// already stays as it is.
pub fn plan_change(
    catalog: &Catalog,
    which: &Named,
    entry: &TriggerEntry,
    by: By,
) -> Result<Planned<Touched>, Unfit> {
    let (app, before) = find_at(catalog, which, by.expected)?;
    if entry.name != which.name {
        return Err(wrong(entry, format!("is called \"{}\"; its name stays", which.name)));
    }
    if entry.kind != before.details.kind().as_str() {
        return Err(wrong(entry, "its kind stays: delete it, and make another one".to_owned()));
    }
    let wanted = check(catalog, app, entry)?;
    let after = trigger(before.id, app.id, entry, wanted, before.registered_by);
    if after == **before {
        let answer = Touched { id: before.id, changed: false };
        return Ok(Planned { changes: Vec::new(), answer, next: 0 });
    }
    check_matcher(catalog, &after, entry)?;
    let after = Trigger { registered_by: by.principal, ..after };
    let answer = Touched { id: before.id, changed: true };
    let changes = vec![CatalogChange::PutTrigger(after)];
    let noted = Noted { action: "change trigger", name: &which.name, by };
    Ok(planned(app, noted, changes, answer, 0))
}

/// Refuses a trigger whose glob is too much for what matches those of its app.
fn check_matcher(catalog: &Catalog, trigger: &Trigger, entry: &TriggerEntry) -> Result<(), Unfit> {
    let of_app = catalog.triggers.values().filter(|one| one.app == trigger.app);
    let others = of_app.filter(|one| one.id != trigger.id).map(|one| &one.details);
    if fit_the_matcher(others.chain([&trigger.details]), trigger.details.kind()) {
        return Ok(());
    }
    let kind = trigger.details.kind().as_str();
    Err(wrong(
        entry,
        format!(
            "with it all collection_globs of the app's {kind} triggers together are too large to be matched, at most \
             {GLOBS_BYTES_MAX} bytes are allowed; make them shorter or fewer"
        ),
    ))
}

/// Switches a trigger on or off. It goes on running as who registered it; rows that it made run in any case.
pub fn plan_switch(
    catalog: &Catalog,
    which: &Named,
    switch: Switch,
    by: By,
) -> Result<Planned<Touched>, Unfit> {
    let (app, before) = find_at(catalog, which, by.expected)?;
    let enabled = switch == Switch::On;
    if before.enabled == enabled {
        let answer = Touched { id: before.id, changed: false };
        return Ok(Planned { changes: Vec::new(), answer, next: 0 });
    }
    let action = match switch {
        Switch::On => "enable trigger",
        Switch::Off => "disable trigger",
    };
    let after = Trigger { enabled, ..Trigger::clone(before) };
    let answer = Touched { id: before.id, changed: true };
    let noted = Noted { action, name: &which.name, by };
    Ok(planned(app, noted, vec![CatalogChange::PutTrigger(after)], answer, 0))
}

/// Deletes a trigger. Rows that it made still run, also if it was paused: nobody could resume it by its name.
pub fn plan_delete(catalog: &Catalog, which: &Named, by: By) -> Result<Planned<Touched>, Unfit> {
    let (app, before) = find_at(catalog, which, by.expected)?;
    let mut changes = vec![CatalogChange::DeleteTrigger(before.id)];
    let target = before.id.queue().0;
    if catalog.pauses.contains_key(&target) {
        changes.push(CatalogChange::Resume { target });
    }
    let answer = Touched { id: before.id, changed: true };
    let noted = Noted { action: "delete trigger", name: &which.name, by };
    Ok(planned(app, noted, changes, answer, 0))
}

/// Notes that somebody sets a trigger off by hand; the row itself goes the way of all rows.
pub fn plan_fire(
    catalog: &Catalog,
    which: &Named,
    execution: &str,
    by: By,
) -> Result<Planned<Arc<Trigger>>, Unfit> {
    let (app, trigger) = find(catalog, which)?;
    let detail = serde_json::json!({ "execution_id": execution });
    let noted = Noted { action: "fire trigger", name: &which.name, by };
    let changes = vec![audit(app, noted, detail.to_string())];
    Ok(Planned { changes, answer: Arc::clone(trigger), next: 0 })
}

/// The trigger and its app.
pub fn find<'a>(
    catalog: &'a Catalog,
    which: &Named,
) -> Result<(&'a Arc<App>, &'a Arc<Trigger>), Unfit> {
    find_at(catalog, which, None)
}

fn find_at<'a>(
    catalog: &'a Catalog,
    which: &Named,
    expected: Option<i64>,
) -> Result<(&'a Arc<App>, &'a Arc<Trigger>), Unfit> {
    let app = app_at(catalog, which.app, expected)?;
    let mut triggers = catalog.triggers.values();
    let found = triggers.find(|one| one.app == app.id && *one.name == *which.name);
    let found = found.ok_or_else(|| Unfit::NoSuchPart {
        app: app.slug.to_string(),
        kind: "trigger",
        name: which.name.clone(),
    })?;
    Ok((app, found))
}

/// Checks the entry as a part of the manifest that the app would have with it.
fn check(catalog: &Catalog, app: &App, entry: &TriggerEntry) -> Result<WantedTrigger, Unfit> {
    let others = catalog.triggers.values().filter(|one| one.app == app.id);
    let others = others.filter(|one| *one.name != *entry.name);
    let names: Vec<&str> =
        others.map(|one| &*one.name).chain(std::iter::once(entry.name.as_str())).collect();
    let scripts: Vec<&str> = app.scripts.keys().map(|name| &**name).collect();
    manifest::check_trigger(entry, &scripts, &names).map_err(Unfit::BadTrigger)
}

fn wrong(entry: &TriggerEntry, message: String) -> Unfit {
    let entry = format!("trigger \"{}\"", entry.name);
    Unfit::BadTrigger(vec![EntryError { entry, message, excerpt: None }])
}

fn trigger(
    id: TriggerId,
    app: AppId,
    entry: &TriggerEntry,
    wanted: WantedTrigger,
    registered_by: PrincipalId,
) -> Trigger {
    Trigger {
        id,
        app,
        name: entry.name.as_str().into(),
        script: wanted.script,
        enabled: wanted.enabled,
        retry: wanted.retry,
        ordering: wanted.ordering,
        concurrency: wanted.concurrency,
        registered_by,
        details: wanted.details,
    }
}

/// The changes with what each of them comes with: a new revision of the app, and a line in the audit log.
fn planned(
    app: &App,
    noted: Noted<'_>,
    change: Vec<CatalogChange>,
    answer: Touched,
    next: i64,
) -> Planned<Touched> {
    let detail = change.iter().find_map(|change| match change {
        CatalogChange::PutTrigger(trigger) => {
            serde_json::to_string(&export::trigger_entry(trigger)).ok()
        }
        _ => None,
    });
    let mut all = vec![CatalogChange::PutApp(AppFields::of(app))];
    all.extend(change);
    all.push(audit(app, noted, detail.unwrap_or_else(|| "{}".to_owned())));
    Planned { changes: all, answer, next }
}

/// A line for the audit log: who did what to which trigger.
#[derive(Clone, Copy)]
struct Noted<'a> {
    action: &'a str,
    name: &'a str,
    by: By,
}

fn audit(app: &App, noted: Noted<'_>, detail: String) -> CatalogChange {
    CatalogChange::Audit(Audit {
        at: noted.by.now,
        principal: noted.by.principal,
        action: noted.action.to_owned(),
        object: format!("{}/{}", app.slug, noted.name),
        detail,
    })
}

#[cfg(test)]
mod tests;
