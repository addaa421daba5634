//! Deploys against catalogs that are built by hand.

use picloud_scripts_runtime::limits::RunLimits;

use super::*;
use crate::catalog::{CatalogRows, Pause, SecretNote};
use crate::flow::configure::people;
use crate::ids::PrincipalId;
use crate::manifest::tests::{GREENHOUSE, bundle, compile};
use crate::manifest::{check, export};
use crate::principal::Token;

const NOW: Timestamp = Timestamp(5);

/// What the store does with changes, without the store.
pub(crate) fn apply(catalog: Catalog, changes: Vec<CatalogChange>) -> Catalog {
    let mut rows = CatalogRows {
        apps: catalog.apps.values().map(|app| copy(app)).collect(),
        triggers: catalog.triggers.values().map(|one| Trigger::clone(one)).collect(),
        principals: catalog.principals.values().map(|one| Principal::clone(one)).collect(),
        secrets: apps_secrets(&catalog),
        tokens: catalog.tokens.values().map(|one| Token::clone(one)).collect(),
        pauses: catalog.pauses.into_iter().collect(),
        deleted: catalog.deleted.into_iter().collect(),
    };
    for change in changes {
        apply_one(&mut rows, change);
    }
    Catalog::build(rows)
}

fn apps_secrets(catalog: &Catalog) -> Vec<((AppId, Arc<str>), SecretNote)> {
    let of = |app: &AppId| {
        let app = *app;
        let own = catalog.secrets_of(app);
        own.map(|(name, note)| ((app, Arc::clone(name)), *note)).collect::<Vec<_>>()
    };
    catalog.apps.keys().flat_map(of).collect()
}

fn copy(app: &App) -> App {
    App {
        id: app.id,
        slug: Arc::clone(&app.slug),
        host: app.host.clone(),
        allow_hosts: app.allow_hosts.clone(),
        expose_errors: app.expose_errors,
        access: app.access.clone(),
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
            let (scripts, routes) = before.map(|app| (app.scripts, app.routes)).unwrap_or_default();
            rows.apps.push(App {
                id: fields.id,
                slug: fields.slug,
                host: fields.host,
                allow_hosts: fields.allow_hosts,
                expose_errors: fields.expose_errors,
                access: fields.access.clone(),
                revision: fields.revision + 1,
                scripts,
                routes,
            });
        }
        CatalogChange::DeleteApp { id, .. } => {
            rows.apps.retain(|app| app.id != id);
            rows.triggers.retain(|trigger| trigger.app != id);
            rows.deleted.push(id);
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
        CatalogChange::PutSecret(secret) => {
            let note = SecretNote { set_at: secret.set_at, set_by: secret.set_by };
            rows.secrets.retain(|(key, _)| *key != (secret.app, Arc::clone(&secret.name)));
            rows.secrets.push(((secret.app, secret.name), note));
        }
        CatalogChange::DeleteSecret { app, name } => {
            rows.secrets.retain(|(key, _)| *key != (app, Arc::clone(&name)));
        }
        CatalogChange::DeletePrincipal(id) => {
            rows.principals.retain(|one| one.id != id);
            rows.tokens.retain(|one| one.principal != id);
        }
        CatalogChange::PutToken(token) => {
            rows.tokens.retain(|one| one.id != token.id);
            rows.tokens.push(token);
        }
        CatalogChange::DeleteToken(id) => rows.tokens.retain(|one| one.id != id),
        CatalogChange::Audit(_) => {}
    }
}

fn wanted(manifest: &str) -> Wanted {
    check(&bundle(manifest), &RunLimits::default(), &compile).expect("nothing is wrong")
}

/// A catalog with root in it, and root.
fn empty() -> (Catalog, Arc<Principal>) {
    let planned = people::plan_uid(&Catalog::default(), 0, "root", &[Capability::InstanceAdmin], 1);
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
    assert_eq!(catalog.app("greenhouse").expect("it is there").scripts["record"].version, 2);
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
fn a_schedule_is_deployed_compared_and_exported_as_it_was_written() {
    let (catalog, root) = empty();
    let manifest = |keys: &str| {
        format!(
            "[app]\nslug = \"a\"\n[[scripts]]\nname = \"s\"\nfile = \"s.rhai\"\n[[triggers]]\n\
             kind = \"schedule\"\nname = \"t\"\nscript = \"s\"\n{keys}"
        )
    };
    let first = wanted(&manifest("cron = \"0 6 * * *\""));
    let planned = plan_deploy(&catalog, &first, &root, 10, NOW).expect("root may deploy");
    let catalog = apply(catalog, planned.changes);
    let second =
        wanted(&manifest("cron = \"@daily\"\ntime_zone = \"Asia/Tokyo\"\ncatch_up = \"all\""));
    let planned = redeploy(&catalog, &second, 100);
    assert_eq!(
        lines(&planned.answer),
        [
            "change trigger t matches: 0 6 * * * (local), catch up none -> @daily (Asia/Tokyo), catch up all"
        ]
    );
    for (wanted, zone, catch_up) in
        [(&first, None, None), (&second, Some("Asia/Tokyo"), Some("all"))]
    {
        let catalog = apply(empty().0, redeploy(&empty().0, wanted, 10).changes);
        let app = catalog.app("a").expect("it was deployed");
        let exported = export::bundle(app, catalog.triggers.values(), &RunLimits::default());
        let entry = &exported.manifest.triggers[0];
        assert_eq!((entry.time_zone.as_deref(), entry.catch_up.as_deref()), (zone, catch_up));
        let again = check(&exported, &RunLimits::default(), &compile).expect("it is right");
        assert_eq!(again, *wanted);
    }
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
fn p8_who_may_call_an_apps_routes_is_changed_only_by_who_manages_routes() {
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
    let writer = may(&[Capability::AppWrite]);
    for line in ["auth = \"token\"", "rate = \"1/s\""] {
        let after = wanted(&GREENHOUSE.replace("[app]", &format!("[app]\n{line}")));
        let refused = plan_deploy(&catalog, &after, &writer, 100, NOW).expect_err("ada may not");
        assert_eq!(refused.to_string(), "ada lacks AppManageRoutes for app \"greenhouse\"");
        let both = may(&[Capability::AppWrite, Capability::AppManageRoutes]);
        assert!(plan_deploy(&catalog, &after, &both, 100, NOW).is_ok());
    }
}

#[test]
fn who_may_call_is_deployed_compared_and_exported_as_it_was_written() {
    let (catalog, _) = deployed();
    let guarded = GREENHOUSE.replace("[app]", "[app]\nauth = \"token\"\nrate = \"100/m\"").replace(
        "path = \"/reports\"",
        "path = \"/reports\"\nauth = \"hmac\"\nhmac = { secret = \"GITHUB\" }\nrate = \"none\"",
    );
    let after = wanted(&guarded);
    let planned = redeploy(&catalog, &after, 100);
    assert_eq!(
        lines(&planned.answer),
        [
            "change app greenhouse auth: unsaid -> token; rate: unsaid -> 100/m",
            "change route POST /reports auth: unsaid -> hmac with GITHUB in x-hub-signature-256; \
             rate: unsaid -> none",
        ]
    );
    let [warning] = &planned.answer.warnings[..] else { panic!("{:?}", planned.answer.warnings) };
    assert!(warning.contains("picloud secrets set greenhouse/GITHUB -"), "{warning}");
    let mut catalog = apply(catalog, planned.changes);
    let app = catalog.app("greenhouse").expect("it was deployed");
    let id = app.id;
    let exported = export::bundle(app, catalog.triggers.values(), &RunLimits::default());
    let again = check(&exported, &RunLimits::default(), &compile).expect("it is right");
    assert_eq!(again, after);
    let sealed = CatalogChange::PutSecret(crate::flow::configure::secrets::Secret {
        app: id,
        name: "GITHUB".into(),
        sealed: Vec::new(),
        set_at: NOW,
        set_by: PrincipalId(1),
    });
    catalog = apply(catalog, vec![sealed]);
    let planned = redeploy(&catalog, &after, 100);
    assert!(planned.changes.is_empty() && planned.answer.warnings.is_empty());
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
    for (method, keys, warnings) in
        [("GET", "", 2), ("POST", "", 1), ("GET", ", tolerance = \"5m\"", 1)]
    {
        let signed = wanted(&format!(
            "[app]\nslug = \"a\"\n[[scripts]]\nname = \"s\"\nfile = \"s.rhai\"\n[[routes]]\nmethod = \"{method}\"\n\
             path = \"/x\"\nscript = \"s\"\nauth = \"hmac\"\nhmac = {{ secret = \"A\"{keys} }}\n"
        ));
        let planned = plan_deploy(&catalog, &signed, &root, 10, NOW).expect("root may deploy");
        let found = planned.answer.warnings;
        assert_eq!(found.len(), warnings, "{found:?}");
        assert_eq!(found.iter().any(|one| one.starts_with("route GET /x: ")), warnings == 2);
    }
}
