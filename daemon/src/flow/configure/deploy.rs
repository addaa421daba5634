//! Deploying: an app becomes what a manifest says, in one transaction. Stored data is never touched.

mod difference;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use picloud_api::deploy::{Changed, Difference};

use crate::catalog::{App, Catalog, Script};
use crate::flow::configure::routes::{always_signed_alike, secret_to_set};
use crate::flow::configure::{AppFields, Audit, CatalogChange, Planned, Unfit};
use crate::ids::{AppId, RouteId, ScriptId, TriggerId};
use crate::manifest::Wanted;
use crate::outbox::source::TriggerDetails;
use crate::principal::{Capability, Principal};
use crate::route::Route;
use crate::route::access::Auth;
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// What has to be done so that the app is what is wanted; nothing when it is so already.
///
/// A script is known by its name, a route by method and path, a trigger by its name. What is unchanged keeps its
/// number and its principal; what changes runs as who deploys it from then on.
pub fn plan_deploy(
    catalog: &Catalog,
    wanted: &Wanted,
    principal: &Principal,
    next: i64,
    now: Timestamp,
) -> Result<Planned<Difference>, Unfit> {
    let app = catalog.app(&wanted.slug);
    let mut plan = Plan::new(catalog, app, principal, next);
    plan.ask(Capability::AppWrite, &wanted.slug)?;
    plan.app(wanted)?;
    plan.scripts(wanted)?;
    plan.routes(wanted)?;
    plan.triggers(wanted)?;
    Ok(plan.finish(wanted, now))
}

struct Plan<'a> {
    catalog: &'a Catalog,
    app: Option<&'a Arc<App>>,
    principal: &'a Principal,
    id: AppId,
    next: i64,
    changes: Vec<CatalogChange>,
    changed: Vec<Changed>,
}

impl<'a> Plan<'a> {
    fn new(
        catalog: &'a Catalog,
        app: Option<&'a Arc<App>>,
        principal: &'a Principal,
        next: i64,
    ) -> Plan<'a> {
        let (id, next) = app.map_or((AppId(next), next + 1), |app| (app.id, next));
        Plan { catalog, app, principal, id, next, changes: Vec::new(), changed: Vec::new() }
    }

    fn draw(&mut self) -> i64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// A new app is nobody's yet: who makes it needs the capability for all apps.
    fn ask(&self, capability: Capability, slug: &str) -> Result<(), Unfit> {
        if self.principal.may(capability, self.app.map(|app| app.id)) {
            return Ok(());
        }
        Err(Unfit::NotAllowed {
            who: self.principal.name.clone(),
            capability,
            app: self.app.map(|_| slug.to_owned()),
        })
    }

    /// Asks only if something was noted since there were `noted` changes.
    fn ask_if_more_than(
        &self,
        noted: usize,
        capability: Capability,
        slug: &str,
    ) -> Result<(), Unfit> {
        if self.changed.len() > noted { self.ask(capability, slug) } else { Ok(()) }
    }

    fn note(&mut self, change: &str, kind: &str, name: &str, details: Vec<String>) {
        self.changed.push(Changed {
            change: change.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            details,
        });
    }

    fn app(&mut self, wanted: &Wanted) -> Result<(), Unfit> {
        if let Some(host) = &wanted.host {
            let mut others = self.catalog.apps.values().filter(|app| app.id != self.id);
            if let Some(other) = others.find(|app| app.host.as_ref() == Some(host)) {
                return Err(Unfit::HostTaken {
                    host: host.to_string(),
                    app: other.slug.to_string(),
                });
            }
        }
        let Some(app) = self.app else {
            self.note("add", "app", &wanted.slug, Vec::new());
            return Ok(());
        };
        let mut details = difference::Details::default();
        details.compare(
            "host",
            difference::option(app.host.as_ref()),
            difference::option(wanted.host.as_ref()),
        );
        let (before, after) = (app.allow_hosts.join(" "), wanted.allow_hosts.join(" "));
        details.compare("allow_hosts", before.as_str(), after.as_str());
        details.compare("expose_errors", app.expose_errors, wanted.expose_errors);
        let others = details.0.len();
        difference::access(&mut details, &app.access, &wanted.access);
        let is_access = details.0.len() > others;
        if !details.0.is_empty() {
            self.note("change", "app", &wanted.slug, details.0);
        }
        // It is a change of all routes that do not say it themselves.
        if is_access { self.ask(Capability::AppManageRoutes, &wanted.slug) } else { Ok(()) }
    }

    fn scripts(&mut self, wanted: &Wanted) -> Result<(), Unfit> {
        let noted = self.changed.len();
        let slug = &wanted.slug;
        let before: BTreeMap<Arc<str>, &Arc<Script>> = self.app.map_or_else(BTreeMap::new, |app| {
            app.scripts.iter().map(|(name, script)| (Arc::clone(name), script)).collect()
        });
        for (name, script) in &before {
            if !wanted.scripts.contains_key(name) {
                self.changes.push(CatalogChange::DeleteScript(script.id));
                self.end_pause(script.id.queue().0);
                self.note("remove", "script", name, Vec::new());
            }
        }
        for (name, wanted) in &wanted.scripts {
            let before = before.get(name);
            let (id, version) = match before {
                None => (ScriptId(self.draw()), 1),
                Some(before)
                    if before.source == wanted.source && before.limits == wanted.limits =>
                {
                    continue;
                }
                Some(before) => (before.id, before.version + 1),
            };
            match before {
                None => self.note("add", "script", name, Vec::new()),
                Some(before) => {
                    self.note("change", "script", name, difference::script(before, wanted))
                }
            }
            self.changes.push(CatalogChange::PutScript(Script {
                id,
                app: self.id,
                name: Arc::clone(name),
                version,
                source: Arc::clone(&wanted.source),
                limits: wanted.limits.clone(),
            }));
        }
        self.ask_if_more_than(noted, Capability::AppManageScripts, slug)
    }

    fn routes(&mut self, wanted: &Wanted) -> Result<(), Unfit> {
        let noted = self.changed.len();
        let slug = &wanted.slug;
        let key = |route: &Route| (Arc::clone(&route.path), Arc::clone(&route.method));
        let before: BTreeMap<_, &Arc<Route>> = self.app.map_or_else(BTreeMap::new, |app| {
            app.routes.iter().map(|route| (key(route), route)).collect()
        });
        for (key, route) in &before {
            if !wanted.routes.contains_key(key) {
                self.changes.push(CatalogChange::DeleteRoute(route.id));
                self.end_pause(route.id.queue().0);
                self.note("remove", "route", &format!("{} {}", key.1, key.0), Vec::new());
            }
        }
        for (key, wanted) in &wanted.routes {
            let name = format!("{} {}", key.1, key.0);
            let before = before.get(key);
            let details =
                before.map(|before| difference::route(before, wanted)).unwrap_or_default();
            let id = match before {
                None => RouteId(self.draw()),
                Some(_) if details.is_empty() => continue,
                Some(before) => before.id,
            };
            self.note(if before.is_some() { "change" } else { "add" }, "route", &name, details);
            self.changes.push(CatalogChange::PutRoute(Route {
                id,
                app: self.id,
                method: Arc::clone(&key.1),
                path: Arc::clone(&key.0),
                script: Arc::clone(&wanted.script),
                dispatch_mode: wanted.dispatch_mode,
                retry: wanted.retry.clone(),
                principal: self.principal.id,
                access: wanted.access.clone(),
            }));
        }
        self.ask_if_more_than(noted, Capability::AppManageRoutes, slug)
    }

    fn triggers(&mut self, wanted: &Wanted) -> Result<(), Unfit> {
        let noted = self.changed.len();
        let slug = &wanted.slug;
        let before: BTreeMap<Arc<str>, &'a Arc<Trigger>> = self
            .catalog
            .triggers
            .values()
            .filter(|trigger| trigger.app == self.id)
            .map(|trigger| (Arc::clone(&trigger.name), trigger))
            .collect();
        for (name, trigger) in &before {
            let after = wanted.triggers.get(name);
            if after.is_none() {
                self.note("remove", "trigger", name, Vec::new());
            }
            // One of another kind is another trigger that happens to have the name.
            if after.is_none_or(|after| after.details.kind() != trigger.details.kind()) {
                self.changes.push(CatalogChange::DeleteTrigger(trigger.id));
                self.end_pause(trigger.id.queue().0);
            }
        }
        for (name, wanted) in &wanted.triggers {
            let before = before.get(name);
            let details =
                before.map(|before| difference::trigger(before, wanted)).unwrap_or_default();
            let id = match before {
                None => TriggerId(self.draw()),
                Some(_) if details.is_empty() => continue,
                Some(before) if before.details.kind() != wanted.details.kind() => {
                    TriggerId(self.draw())
                }
                Some(before) => before.id,
            };
            self.note(if before.is_some() { "change" } else { "add" }, "trigger", name, details);
            self.changes.push(CatalogChange::PutTrigger(Trigger {
                id,
                app: self.id,
                name: Arc::clone(name),
                script: Arc::clone(&wanted.script),
                enabled: wanted.enabled,
                retry: wanted.retry.clone(),
                ordering: wanted.ordering,
                concurrency: wanted.concurrency,
                registered_by: self.principal.id,
                details: wanted.details.clone(),
            }));
        }
        self.ask_if_more_than(noted, Capability::AppManageTriggers, slug)
    }

    /// Rows of what goes must still run: nobody could resume it by a name any more.
    fn end_pause(&mut self, target: i64) {
        if self.catalog.pauses.contains_key(&target) {
            self.changes.push(CatalogChange::Resume { target });
        }
    }

    /// Secrets that routes ask for and that nobody has set yet: these may come later, as in a new app they have to.
    fn secrets_to_set(&self, wanted: &Wanted) -> Vec<String> {
        let of_routes = wanted.routes.values().map(|route| route.access.auth(&wanted.access));
        let names: BTreeSet<&str> = of_routes
            .filter_map(|auth| match auth {
                Auth::Hmac(hmac) => Some(&*hmac.secret),
                Auth::None | Auth::Token => None,
            })
            .filter(|name| self.catalog.secret(self.id, name).is_none())
            .collect();
        let slug = &wanted.slug;
        names.into_iter().map(|name| secret_to_set(slug, name)).collect()
    }

    fn finish(self, wanted: &Wanted, now: Timestamp) -> Planned<Difference> {
        let revision_before = self.app.map_or(0, |app| app.revision);
        let mut answer = Difference {
            app: wanted.slug.to_string(),
            revision_before,
            revision: revision_before,
            warnings: [warnings(wanted), self.secrets_to_set(wanted)].concat(),
            changes: self.changed,
        };
        if answer.changes.is_empty() {
            return Planned { changes: Vec::new(), answer, next: self.next };
        }
        answer.revision += 1;
        let mut changes = vec![CatalogChange::PutApp(AppFields {
            id: self.id,
            slug: Arc::clone(&wanted.slug),
            host: wanted.host.clone(),
            allow_hosts: wanted.allow_hosts.clone(),
            expose_errors: wanted.expose_errors,
            access: wanted.access.clone(),
            revision: revision_before,
        })];
        changes.extend(self.changes);
        changes.push(CatalogChange::Audit(Audit {
            at: now,
            principal: self.principal.id,
            action: "deploy".to_owned(),
            object: wanted.slug.to_string(),
            detail: audit_detail(&answer),
        }));
        Planned { changes, answer, next: self.next }
    }
}

/// How many things of each kind were touched; the difference itself may be large.
fn audit_detail(difference: &Difference) -> String {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for one in &difference.changes {
        *counts.entry(format!("{} {}", one.change, one.kind)).or_default() += 1;
    }
    serde_json::json!({ "revision": difference.revision, "changes": counts }).to_string()
}

/// What is allowed but hardly meant.
fn warnings(wanted: &Wanted) -> Vec<String> {
    let mut warnings = Vec::new();
    if wanted.routes.is_empty() && wanted.triggers.is_empty() && !wanted.scripts.is_empty() {
        warnings.push("nothing runs these scripts: there is no route and no trigger".to_owned());
    }
    for ((path, method), route) in &wanted.routes {
        warnings.extend(always_signed_alike(method, path, route.access.auth(&wanted.access)));
    }
    for (name, trigger) in &wanted.triggers {
        if let TriggerDetails::DeadLetter { trigger: Some(of), .. } = &trigger.details
            && wanted
                .triggers
                .get(of)
                .is_some_and(|of| matches!(of.details, TriggerDetails::DeadLetter { .. }))
        {
            warnings.push(format!(
                "trigger \"{name}\" never fires: \"{of}\" is a dead-letter handler, whose failures make no dead letters"
            ));
        }
    }
    warnings
}

#[cfg(test)]
pub(crate) mod tests;
