//! Deploying: an app becomes what a manifest says, in one transaction. Stored data is never touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use picloud_api::deploy::{Changed, Difference};
use picloud_scripts_runtime::limits::RunLimits;

use crate::catalog::{App, Catalog, Script};
use crate::entry::ChangeOp;
use crate::flow::configure::{AppFields, Audit, CatalogChange, Planned, Unfit};
use crate::ids::{AppId, RouteId, ScriptId, TriggerId};
use crate::limits::{self, Limits};
use crate::manifest::{Wanted, WantedRoute, WantedScript, WantedTrigger, words};
use crate::principal::{Capability, Principal};
use crate::retry::{Backoff, RetryPolicy};
use crate::route::Route;
use crate::time::Timestamp;
use crate::trigger::{Ordering, Trigger, TriggerDetails};

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
        let mut details = Details::default();
        details.compare("host", option(app.host.as_ref()), option(wanted.host.as_ref()));
        details.compare("allow_hosts", app.allow_hosts.join(" "), wanted.allow_hosts.join(" "));
        details.compare("expose_errors", app.expose_errors, wanted.expose_errors);
        if !details.0.is_empty() {
            self.note("change", "app", &wanted.slug, details.0);
        }
        Ok(())
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
                Some(before) => self.note("change", "script", name, script_details(before, wanted)),
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
            let details = before.map(|before| route_details(before, wanted)).unwrap_or_default();
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
            let details = before.map(|before| trigger_details(before, wanted)).unwrap_or_default();
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

    fn finish(self, wanted: &Wanted, now: Timestamp) -> Planned<Difference> {
        let revision_before = self.app.map_or(0, |app| app.revision);
        let mut answer = Difference {
            app: wanted.slug.to_string(),
            revision_before,
            revision: revision_before,
            changes: self.changed,
            warnings: warnings(wanted),
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

/// Sentences about what is different.
#[derive(Default)]
struct Details(Vec<String>);

impl Details {
    fn compare<T: PartialEq + std::fmt::Display>(&mut self, what: &str, before: T, after: T) {
        if before != after {
            self.0.push(format!("{what}: {before} -> {after}"));
        }
    }
}

fn option(text: Option<&Arc<str>>) -> &str {
    text.map_or("none", |text| text)
}

fn script_details(before: &Script, after: &WantedScript) -> Vec<String> {
    let mut details = Details::default();
    details.compare("version", before.version, before.version + 1);
    if before.source != after.source {
        let (old, new) = (before.source.lines().count(), after.source.lines().count());
        details.0.push(format!("source: {old} lines -> {new} lines"));
    }
    let all = |run: &RunLimits| Limits { run: run.clone(), ..Limits::default() };
    let (old, new) = (all(&before.limits), all(&after.limits));
    for limit in limits::of_a_run() {
        details.compare(limit.name, (limit.get)(&old), (limit.get)(&new));
    }
    details.0
}

fn route_details(before: &Route, after: &WantedRoute) -> Vec<String> {
    let mut details = Details::default();
    details.compare("script", &before.script, &after.script);
    details.compare("dispatch_mode", before.dispatch_mode.as_str(), after.dispatch_mode.as_str());
    details.compare("retry", retry_text(&before.retry), retry_text(&after.retry));
    details.0
}

fn trigger_details(before: &Trigger, after: &WantedTrigger) -> Vec<String> {
    let mut details = Details::default();
    details.compare("kind", before.details.kind().as_str(), after.details.kind().as_str());
    details.compare("script", &before.script, &after.script);
    details.compare("matches", details_text(&before.details), details_text(&after.details));
    details.compare("enabled", before.enabled, after.enabled);
    details.compare("ordering", ordering_text(before.ordering), ordering_text(after.ordering));
    let most = |limit: Option<u32>| limit.map_or_else(|| "no limit".to_owned(), |n| n.to_string());
    details.compare("concurrency", most(before.concurrency), most(after.concurrency));
    details.compare("retry", retry_text(&before.retry), retry_text(&after.retry));
    details.0
}

fn ordering_text(ordering: Ordering) -> &'static str {
    match ordering {
        Ordering::Any => "any",
        Ordering::ByKey => "by_key",
    }
}

fn details_text(details: &TriggerDetails) -> String {
    match details {
        TriggerDetails::Kv { collection_glob, ops }
        | TriggerDetails::Docs { collection_glob, ops } => {
            let ops: Vec<&str> = ops.iter().copied().map(ChangeOp::as_str).collect();
            let ops = if ops.is_empty() { "any op".to_owned() } else { ops.join(", ") };
            format!("{collection_glob} ({ops})")
        }
        TriggerDetails::DeadLetter { source, trigger } => {
            let source = source.map_or("any source", |source| source.as_str());
            let trigger = trigger.as_deref().unwrap_or("any trigger");
            format!("{source}, {trigger}")
        }
    }
}

fn retry_text(policy: &RetryPolicy) -> String {
    let backoff = match policy.backoff {
        Backoff::Exponential => "exponential",
        Backoff::Linear => "linear",
        Backoff::Constant => "constant",
    };
    format!(
        "{} attempts, {backoff} from {} to {}, jitter {}",
        policy.max_attempts,
        words::duration_text(policy.base_ms),
        words::duration_text(policy.max_delay_ms),
        policy.jitter
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::catalog::{CatalogRows, Pause};
    use crate::flow::configure::people;
    use crate::ids::PrincipalId;
    use crate::manifest::tests::{GREENHOUSE, bundle, compile};
    use crate::manifest::{check, export};

    const NOW: Timestamp = Timestamp(5);

    /// What the store does with changes, without the store.
    pub(crate) fn apply(catalog: Catalog, changes: Vec<CatalogChange>) -> Catalog {
        let mut rows = CatalogRows {
            apps: catalog.apps.values().map(|app| copy(app)).collect(),
            triggers: catalog.triggers.values().map(|one| Trigger::clone(one)).collect(),
            principals: catalog.principals.values().map(|one| Principal::clone(one)).collect(),
            pauses: catalog.pauses.into_iter().collect(),
        };
        for change in changes {
            apply_one(&mut rows, change);
        }
        Catalog::build(rows)
    }

    fn copy(app: &App) -> App {
        App {
            id: app.id,
            slug: Arc::clone(&app.slug),
            host: app.host.clone(),
            allow_hosts: app.allow_hosts.clone(),
            expose_errors: app.expose_errors,
            revision: app.revision,
            scripts: app.scripts.clone(),
            routes: app.routes.clone(),
        }
    }

    fn apply_one(rows: &mut CatalogRows, change: CatalogChange) {
        let first = rows.apps.len() == 1;
        match change {
            CatalogChange::PutApp(fields) => {
                let before = rows.apps.iter().position(|app| app.id == fields.id);
                let before = before.map(|at| rows.apps.remove(at));
                let (scripts, routes) =
                    before.map(|app| (app.scripts, app.routes)).unwrap_or_default();
                rows.apps.push(App {
                    id: fields.id,
                    slug: fields.slug,
                    host: fields.host,
                    allow_hosts: fields.allow_hosts,
                    expose_errors: fields.expose_errors,
                    revision: fields.revision + 1,
                    scripts,
                    routes,
                });
            }
            CatalogChange::PutScript(script) => {
                assert!(first, "the tests have one app");
                rows.apps[0].scripts.insert(Arc::clone(&script.name), Arc::new(script));
            }
            CatalogChange::DeleteScript(id) => {
                rows.apps[0].scripts.retain(|_, script| script.id != id);
            }
            CatalogChange::PutRoute(route) => {
                rows.apps[0].routes.retain(|one| one.id != route.id);
                rows.apps[0].routes.push(Arc::new(route));
            }
            CatalogChange::DeleteRoute(id) => rows.apps[0].routes.retain(|one| one.id != id),
            CatalogChange::PutTrigger(trigger) => {
                rows.triggers.retain(|one| one.id != trigger.id);
                rows.triggers.push(trigger);
            }
            CatalogChange::DeleteTrigger(id) => rows.triggers.retain(|one| one.id != id),
            CatalogChange::Pause { target, pause } => {
                rows.pauses.retain(|(number, _)| *number != target);
                rows.pauses.push((target, pause));
            }
            CatalogChange::Resume { target } => {
                rows.pauses.retain(|(number, _)| *number != target);
            }
            CatalogChange::PutPrincipal(principal) => {
                rows.principals.retain(|one| one.id != principal.id);
                rows.principals.push(principal);
            }
            CatalogChange::Audit(_) => {}
        }
    }

    fn wanted(manifest: &str) -> Wanted {
        check(&bundle(manifest), &RunLimits::default(), &compile).expect("nothing is wrong")
    }

    /// A catalog with root in it, and root.
    fn empty() -> (Catalog, Arc<Principal>) {
        let planned =
            people::plan_uid(&Catalog::default(), 0, "root", &[Capability::InstanceAdmin], 1);
        let catalog = apply(Catalog::default(), planned.changes);
        let root = Arc::clone(&catalog.principals[&planned.answer]);
        (catalog, root)
    }

    /// A catalog with the greenhouse in it, and who deployed it.
    pub(crate) fn deployed() -> (Catalog, PrincipalId) {
        let (catalog, root) = empty();
        let planned =
            plan_deploy(&catalog, &wanted(GREENHOUSE), &root, 10, NOW).expect("root may deploy");
        (apply(catalog, planned.changes), root.id)
    }

    fn redeploy(catalog: &Catalog, wanted: &Wanted, next: i64) -> Planned<Difference> {
        let root = people::of_uid(catalog, 0).expect("root is known");
        plan_deploy(catalog, wanted, root, next, NOW).expect("root may deploy")
    }

    fn lines(difference: &Difference) -> Vec<String> {
        let line = |one: &Changed| {
            let details = one.details.join("; ");
            format!("{} {} {} {details}", one.change, one.kind, one.name).trim_end().to_owned()
        };
        difference.changes.iter().map(line).collect()
    }

    #[test]
    fn a_new_app_is_made_whole_with_numbers_of_its_own() {
        let (catalog, root) = empty();
        let planned =
            plan_deploy(&catalog, &wanted(GREENHOUSE), &root, 10, NOW).expect("root may deploy");
        assert_eq!(
            lines(&planned.answer),
            [
                "add app greenhouse",
                "add script record",
                "add script warn",
                "add route POST /readings/{sensor}",
                "add route POST /reports",
                "add trigger keep",
                "add trigger warn-when-dry",
            ]
        );
        assert_eq!((planned.answer.revision_before, planned.answer.revision), (0, 1));
        assert_eq!(planned.next, 17);
        let catalog = apply(catalog, planned.changes);
        let app = catalog.app("greenhouse").expect("it was deployed");
        assert_eq!((app.revision, app.scripts.len(), app.routes.len()), (1, 2, 2));
        assert_eq!(app.scripts["record"].version, 1);
        assert!(app.routes.iter().all(|route| route.principal == root.id));
        assert!(catalog.triggers.values().all(|trigger| trigger.registered_by == root.id));
    }

    #[test]
    fn the_same_manifest_again_changes_nothing() {
        let (catalog, _) = deployed();
        let planned = redeploy(&catalog, &wanted(GREENHOUSE), 100);
        assert!(planned.changes.is_empty());
        assert_eq!((planned.answer.changes, planned.answer.revision), (Vec::new(), 1));
        assert_eq!(planned.next, 100);
    }

    #[test]
    fn what_is_exported_and_deployed_again_changes_nothing() {
        let (catalog, _) = deployed();
        let app = catalog.app("greenhouse").expect("it was deployed");
        let instance = RunLimits::default();
        let exported = export::bundle(app, catalog.triggers.values(), &instance);
        let toml = toml::to_string(&exported.manifest).expect("a manifest can be written");
        let read = toml::from_str(&toml).expect("what was written can be read");
        assert_eq!(exported.manifest, read);
        let again = check(&exported, &instance, &compile).expect("what is exported is right");
        assert!(redeploy(&catalog, &again, 100).changes.is_empty());
        assert_eq!(again, wanted(GREENHOUSE));
    }

    #[test]
    fn a_change_says_what_is_different_and_leaves_the_rest_alone() {
        let (catalog, root) = deployed();
        let mut after = wanted(&GREENHOUSE.replace("timeout = \"5s\"", "timeout = \"4s\""));
        after.scripts.get_mut("warn").expect("it is there").source = "1;\n2".into();
        after.triggers.get_mut("warn-when-dry").expect("it is there").concurrency = None;
        after.expose_errors = true;
        let planned = redeploy(&catalog, &after, 100);
        assert_eq!(
            lines(&planned.answer),
            [
                "change app greenhouse expose_errors: false -> true",
                "change script record version: 1 -> 2; timeout_ms: 5000 -> 4000",
                "change script warn version: 1 -> 2; source: 1 lines -> 2 lines",
                "change trigger warn-when-dry concurrency: 2 -> no limit",
            ]
        );
        assert_eq!(planned.next, 100, "nothing new needs a number");
        let ids = |catalog: &Catalog| {
            let mut ids: Vec<_> = catalog.triggers.keys().copied().collect();
            ids.sort_unstable();
            ids
        };
        let before = ids(&catalog);
        let catalog = apply(catalog, planned.changes);
        assert_eq!(ids(&catalog), before);
        assert!(catalog.triggers.values().all(|trigger| trigger.registered_by == root));
        assert!(redeploy(&catalog, &after, 100).changes.is_empty());
    }

    #[test]
    fn what_is_no_longer_named_goes_and_with_it_its_pause() {
        let (mut catalog, _) = deployed();
        let keep = catalog.triggers.values().find(|one| &*one.name == "keep").expect("it is there");
        let target = keep.id.queue().0;
        let pause = Pause { reason: "full".into(), since: NOW, by: None };
        catalog.pauses.insert(target, pause);
        let mut after = wanted(GREENHOUSE);
        after.triggers.remove("keep");
        after.routes.retain(|(path, _), _| &**path == "/reports");
        let planned = redeploy(&catalog, &after, 100);
        assert_eq!(
            lines(&planned.answer),
            ["remove route POST /readings/{sensor}", "remove trigger keep"]
        );
        let catalog = apply(catalog, planned.changes);
        assert!(catalog.pauses.is_empty());
        assert_eq!(catalog.triggers.len(), 1);
        assert_eq!(catalog.app("greenhouse").expect("it is there").routes.len(), 1);
    }

    #[test]
    fn a_trigger_of_another_kind_is_another_trigger() {
        let (catalog, _) = deployed();
        let mut after = wanted(GREENHOUSE);
        after.triggers.get_mut("warn-when-dry").expect("it is there").details =
            TriggerDetails::Kv { collection_glob: "readings*".into(), ops: Vec::new() };
        let planned = redeploy(&catalog, &after, 100);
        assert_eq!(planned.next, 101);
        let catalog = apply(catalog, planned.changes);
        assert_eq!(catalog.triggers.len(), 2);
        assert!(catalog.triggers.contains_key(&TriggerId(100)));
    }

    #[test]
    fn what_another_principal_changes_runs_as_that_principal_and_the_rest_as_before() {
        let (catalog, root) = deployed();
        let made = people::plan_uid(&catalog, 1000, "ada", &[Capability::InstanceAdmin], 50);
        let catalog = apply(catalog, made.changes);
        let ada = Arc::clone(&catalog.principals[&made.answer]);
        let mut after = wanted(GREENHOUSE);
        after.triggers.get_mut("keep").expect("it is there").enabled = true;
        let planned = plan_deploy(&catalog, &after, &ada, 100, NOW).expect("ada may deploy");
        let catalog = apply(catalog, planned.changes);
        let by = |name: &str| {
            let mut triggers = catalog.triggers.values();
            triggers.find(|one| &*one.name == name).expect("it is there").registered_by
        };
        assert_eq!((by("keep"), by("warn-when-dry")), (ada.id, root));
    }

    #[test]
    fn p8_who_lacks_a_capability_deploys_nothing() {
        let (catalog, _) = deployed();
        let app = catalog.app("greenhouse").expect("it was deployed").id;
        let may = |capabilities: &[Capability]| Principal {
            id: PrincipalId(60),
            name: "ada".to_owned(),
            uid: Some(1000),
            grants: capabilities
                .iter()
                .map(|one| crate::principal::Grant { capability: *one, app: Some(app) })
                .collect(),
        };
        let mut after = wanted(GREENHOUSE);
        after.scripts.get_mut("warn").expect("it is there").source = "1".into();
        let refused = |who: &Principal, wanted: &Wanted| {
            plan_deploy(&catalog, wanted, who, 100, NOW).expect_err("ada may not").to_string()
        };
        assert_eq!(refused(&may(&[]), &after), "ada lacks AppWrite for app \"greenhouse\"");
        let writer = may(&[Capability::AppWrite]);
        assert_eq!(refused(&writer, &after), "ada lacks AppManageScripts for app \"greenhouse\"");
        let both = may(&[Capability::AppWrite, Capability::AppManageScripts]);
        assert!(plan_deploy(&catalog, &after, &both, 100, NOW).is_ok());
        after.slug = "garden".into();
        assert_eq!(refused(&both, &after), "ada lacks AppWrite for all apps");
    }

    #[test]
    fn a_host_belongs_to_one_app() {
        let (catalog, root) = empty();
        let mut first = wanted("[app]\nslug = \"one\"\nhost = \"plants.local\"");
        let planned = plan_deploy(&catalog, &first, &root, 10, NOW).expect("root may deploy");
        let catalog = apply(catalog, planned.changes);
        first.slug = "two".into();
        let error = plan_deploy(&catalog, &first, &root, 20, NOW).expect_err("the host is taken");
        assert_eq!(error.to_string(), "host plants.local is claimed by app \"one\"");
    }

    #[test]
    fn what_is_hardly_meant_is_warned_of() {
        let (catalog, root) = empty();
        let alone = wanted("[app]\nslug = \"a\"\n[[scripts]]\nname = \"s\"\nfile = \"s.rhai\"");
        let planned = plan_deploy(&catalog, &alone, &root, 10, NOW).expect("root may deploy");
        assert!(planned.answer.warnings[0].starts_with("nothing runs these scripts"));
    }
}
