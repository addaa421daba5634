//! Changing one script: a new version, an old one again, or none.
//!
//! Each change raises the app's revision too, so that a deploy which was made for the revision before is told.

use std::sync::Arc;

use picloud_api::manifest::{BUNDLE_BYTES_MAX, SCRIPTS_MAX};
use picloud_api::script::ScriptChanged;
use picloud_scripts_runtime::limits::RunLimits;
use serde_json::json;

use crate::catalog::{App, Catalog, Script};
use crate::flow::configure::{AppFields, Audit, CatalogChange, Planned, Unfit, app_of};
use crate::ids::{AppId, PrincipalId, ScriptId};
use crate::time::Timestamp;

/// A script that shall have a new version.
#[derive(Clone, Debug)]
pub struct PutScript {
    pub app: AppId,
    pub name: Arc<str>,
    pub source: Arc<str>,
    /// `None`: as they are, or the instance's for a new one.
    pub limits: Option<RunLimits>,
    pub instance: RunLimits,
    /// The version that the editor saw.
    pub expected: Option<i64>,
    /// The version that it takes over again.
    pub rolls_back_to: Option<(ScriptId, i64)>,
    pub by: PrincipalId,
}

/// The script with its new version; nothing when source and limits are what they were.
pub fn plan_put(
    catalog: &Catalog,
    put: &PutScript,
    next: i64,
    now: Timestamp,
) -> Result<Planned<ScriptChanged>, Unfit> {
    let app = app_of(catalog, put.app)?;
    let before = app.scripts.get(&put.name);
    as_expected(&put.name, before, put.expected)?;
    if let Some((id, _)) = put.rolls_back_to
        && before.is_none_or(|before| before.id != id)
    {
        return Err(missing(app, &put.name));
    }
    let limits = put.limits.clone().unwrap_or_else(|| {
        before.map_or_else(|| put.instance.clone(), |before| before.limits.clone())
    });
    let version_before = before.map_or(0, |before| before.version);
    let mut answer = ScriptChanged {
        app: app.slug.to_string(),
        name: put.name.to_string(),
        changed: false,
        version_before,
        version: version_before,
    };
    if before.is_some_and(|before| before.source == put.source && before.limits == limits) {
        return Ok(Planned { changes: Vec::new(), answer, next });
    }
    has_room(app, put)?;
    (answer.changed, answer.version) = (true, version_before + 1);
    let (id, next) = before.map_or((ScriptId(next), next + 1), |before| (before.id, next));
    let action = if put.rolls_back_to.is_some() { "roll_back_script" } else { "put_script" };
    let detail = json!({
        "version": answer.version, "from_version": put.rolls_back_to.map(|(_, version)| version),
    });
    let script = Script {
        id,
        app: app.id,
        name: Arc::clone(&put.name),
        version: answer.version,
        source: Arc::clone(&put.source),
        limits,
    };
    let changes = vec![
        CatalogChange::PutApp(AppFields::of(app)),
        CatalogChange::PutScript(script),
        audit(app, &put.name, (action, detail.to_string()), put.by, now),
    ];
    Ok(Planned { changes, answer, next })
}

/// The app without the script; refused while a route or a trigger runs it. Its tasks that wait become dead letters.
pub fn plan_delete(
    catalog: &Catalog,
    (app, name): (AppId, &str),
    expected: Option<i64>,
    by: PrincipalId,
    now: Timestamp,
) -> Result<Planned<ScriptChanged>, Unfit> {
    let app = app_of(catalog, app)?;
    let script = app.scripts.get(name).ok_or_else(|| missing(app, name))?;
    as_expected(name, Some(script), expected)?;
    let (routes, triggers) = users(catalog, app, name);
    if !routes.is_empty() || !triggers.is_empty() {
        let routes = routes.into_iter().map(|route| format!("route {route}"));
        let triggers = triggers.into_iter().map(|trigger| format!("trigger \"{trigger}\""));
        let by = routes.chain(triggers).collect();
        return Err(Unfit::InUse { thing: format!("script \"{name}\""), by });
    }
    let mut changes = vec![
        CatalogChange::PutApp(AppFields::of(app)),
        CatalogChange::DeleteScript(script.id),
        audit(app, name, ("delete_script", "{}".to_owned()), by, now),
    ];
    let target = script.id.queue().0;
    if catalog.pauses.contains_key(&target) {
        changes.push(CatalogChange::Resume { target });
    }
    let answer = ScriptChanged {
        app: app.slug.to_string(),
        name: name.to_owned(),
        changed: true,
        version_before: script.version,
        version: 0,
    };
    Ok(Planned { changes, answer, next: 0 })
}

/// Who runs a script: routes as `METHOD /path`, triggers by name, both sorted.
pub fn users(catalog: &Catalog, app: &App, script: &str) -> (Vec<String>, Vec<String>) {
    let routes = app.routes.iter().filter(|route| &*route.script == script);
    let mut routes: Vec<String> =
        routes.map(|route| format!("{} {}", route.method, route.path)).collect();
    let triggers = catalog.triggers.values();
    let triggers = triggers.filter(|one| one.app == app.id && &*one.script == script);
    let mut triggers: Vec<String> = triggers.map(|one| one.name.to_string()).collect();
    routes.sort();
    triggers.sort();
    (routes, triggers)
}

fn as_expected(
    name: &str,
    before: Option<&Arc<Script>>,
    expected: Option<i64>,
) -> Result<(), Unfit> {
    let found = before.map_or(0, |before| before.version);
    match expected {
        Some(expected) if expected != found => {
            Err(Unfit::Changed { thing: format!("script \"{name}\""), expected, found })
        }
        Some(_) | None => Ok(()),
    }
}

/// What holds for a manifest holds for an app that is changed script by script.
fn has_room(app: &App, put: &PutScript) -> Result<(), Unfit> {
    let others = app.scripts.values().filter(|script| script.name != put.name);
    let (count, bytes) =
        others.fold((1, put.source.len()), |(n, bytes), one| (n + 1, bytes + one.source.len()));
    let too_many =
        |what, count, most| Unfit::TooMany { app: app.slug.to_string(), what, count, most };
    if count > SCRIPTS_MAX {
        Err(too_many("scripts", count, SCRIPTS_MAX))
    } else if bytes > BUNDLE_BYTES_MAX {
        Err(too_many("bytes of scripts", bytes, BUNDLE_BYTES_MAX))
    } else {
        Ok(())
    }
}

fn missing(app: &App, name: &str) -> Unfit {
    Unfit::NoSuchPart { app: app.slug.to_string(), kind: "script", name: name.to_owned() }
}

fn audit(
    app: &App,
    name: &str,
    (action, detail): (&str, String),
    principal: PrincipalId,
    at: Timestamp,
) -> CatalogChange {
    let (action, object) = (action.to_owned(), format!("{}/{name}", app.slug));
    CatalogChange::Audit(Audit { at, principal, action, object, detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::configure::deploy::tests::{apply, deployed};

    const NOW: Timestamp = Timestamp(5);

    fn put(catalog: &Catalog, name: &str, source: &str, expected: Option<i64>) -> PutScript {
        PutScript {
            app: catalog.app("greenhouse").expect("it is deployed").id,
            name: name.into(),
            source: source.into(),
            limits: None,
            instance: RunLimits::default(),
            expected,
            rolls_back_to: None,
            by: PrincipalId(1),
        }
    }

    #[test]
    fn a_put_makes_a_new_version_and_keeps_the_limits_that_the_manifest_lowered() {
        let (catalog, _) = deployed();
        let planned =
            plan_put(&catalog, &put(&catalog, "record", "43", Some(1)), 90, NOW).expect("it fits");
        assert_eq!((planned.answer.version_before, planned.answer.version), (1, 2));
        let catalog = apply(catalog, planned.changes);
        let app = catalog.app("greenhouse").expect("it is still there");
        let script = &app.scripts["record"];
        assert_eq!((&*script.source, script.limits.timeout_ms, app.revision), ("43", 5_000, 2));
        let again =
            plan_put(&catalog, &put(&catalog, "record", "43", None), 90, NOW).expect("it fits");
        assert!(!again.answer.changed && again.changes.is_empty());
    }

    #[test]
    fn of_two_who_saw_the_same_version_the_second_is_refused() {
        let (catalog, _) = deployed();
        let first = plan_put(&catalog, &put(&catalog, "warn", "1", Some(1)), 90, NOW);
        let catalog = apply(catalog, first.expect("it is the first").changes);
        let second = put(&catalog, "warn", "2", Some(1));
        let refused = plan_put(&catalog, &second, 90, NOW).expect_err("it is the second");
        assert_eq!(
            refused.to_string(),
            "script \"warn\" was changed meanwhile: it is at 2, not at 1"
        );
        let new = put(&catalog, "new", "2", Some(1));
        assert!(matches!(plan_put(&catalog, &new, 90, NOW), Err(Unfit::Changed { found: 0, .. })));
    }

    #[test]
    fn p7_an_app_that_is_changed_script_by_script_stays_within_the_limits_of_a_manifest() {
        let (mut catalog, _) = deployed();
        for n in 2..SCRIPTS_MAX {
            let one = plan_put(&catalog, &put(&catalog, &format!("s{n}"), "1", None), 900, NOW);
            let mut changes = one.expect("there is room").changes;
            changes.remove(0);
            catalog = apply(catalog, changes);
        }
        let more = put(&catalog, "more", "1", None);
        let refused = plan_put(&catalog, &more, 900, NOW).expect_err("there is no room");
        assert_eq!(
            refused.to_string(),
            "app \"greenhouse\" would have 201 scripts, at most 200 are allowed"
        );
        let large = put(&catalog, "warn", &"1".repeat(BUNDLE_BYTES_MAX), None);
        assert!(matches!(plan_put(&catalog, &large, 900, NOW), Err(Unfit::TooMany { .. })));
    }

    #[test]
    fn a_script_goes_only_when_nothing_runs_it_any_more() {
        let (catalog, who) = deployed();
        let app = catalog.app("greenhouse").expect("it is deployed").id;
        let refused = plan_delete(&catalog, (app, "warn"), None, who, NOW).expect_err("it is used");
        assert_eq!(
            refused.to_string(),
            "script \"warn\" is used by trigger \"keep\", trigger \"warn-when-dry\""
        );
        let free = plan_put(&catalog, &put(&catalog, "free", "1", None), 90, NOW);
        let catalog = apply(catalog, free.expect("it fits").changes);
        let gone = plan_delete(&catalog, (app, "free"), Some(1), who, NOW).expect("nobody runs it");
        let catalog = apply(catalog, gone.changes);
        assert!(catalog.script(app, "free").is_none());
        let again = plan_delete(&catalog, (app, "free"), None, who, NOW).expect_err("it is gone");
        assert_eq!(again.to_string(), "app \"greenhouse\" has no script \"free\"");
    }
}
