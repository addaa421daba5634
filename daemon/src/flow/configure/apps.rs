//! Apps one by one: made and changed without a manifest, and deleted.

use std::sync::Arc;

use serde_json::json;

use crate::catalog::{App, Catalog};
use crate::flow::configure::{AppFields, Audit, CatalogChange, Planned, Unfit, app_of};
use crate::ids::{AppId, PrincipalId};
use crate::route::access::Access;
use crate::time::Timestamp;

/// An app that shall be made, with nothing in it.
#[derive(Clone, Debug)]
pub struct CreateApp {
    pub slug: Arc<str>,
    pub host: Option<Arc<str>>,
    pub allow_hosts: Vec<Arc<str>>,
    pub expose_errors: bool,
    pub by: PrincipalId,
}

/// What shall be different about an app. What is `None` stays.
#[derive(Clone, Debug)]
pub struct ChangeApp {
    pub app: AppId,
    pub slug: Option<Arc<str>>,
    pub host: Option<Option<Arc<str>>>,
    pub allow_hosts: Option<Vec<Arc<str>>>,
    pub expose_errors: Option<bool>,
    /// The revision that the editor saw.
    pub expected: Option<i64>,
    pub by: PrincipalId,
}

pub fn plan_create(
    catalog: &Catalog,
    create: &CreateApp,
    next: i64,
    now: Timestamp,
) -> Result<Planned<AppId>, Unfit> {
    let fields = AppFields {
        id: AppId(next),
        slug: Arc::clone(&create.slug),
        host: create.host.clone(),
        allow_hosts: create.allow_hosts.clone(),
        expose_errors: create.expose_errors,
        access: Access::default(),
        revision: 0,
    };
    names_are_free(catalog, &fields)?;
    let audit = audit(&fields, "create_app", create.by, now);
    let changes = vec![CatalogChange::PutApp(fields), audit];
    Ok(Planned { changes, answer: AppId(next), next: next + 1 })
}

/// The app as it shall be; nothing when it is so already.
pub fn plan_change(
    catalog: &Catalog,
    change: &ChangeApp,
    now: Timestamp,
) -> Result<Planned<AppId>, Unfit> {
    let app = app_of(catalog, change.app)?;
    as_expected(Some(app), &app.slug, change.expected)?;
    let before = AppFields::of(app);
    let after = AppFields {
        slug: change.slug.clone().unwrap_or_else(|| Arc::clone(&app.slug)),
        host: change.host.clone().unwrap_or_else(|| app.host.clone()),
        allow_hosts: change.allow_hosts.clone().unwrap_or_else(|| app.allow_hosts.clone()),
        expose_errors: change.expose_errors.unwrap_or(app.expose_errors),
        ..before.clone()
    };
    if before == after {
        return Ok(Planned { changes: Vec::new(), answer: app.id, next: 0 });
    }
    names_are_free(catalog, &after)?;
    let audit = audit(&after, "change_app", change.by, now);
    Ok(Planned { changes: vec![CatalogChange::PutApp(after), audit], answer: app.id, next: 0 })
}

/// What an app was made of when it was deleted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deleted {
    pub scripts: usize,
    pub routes: usize,
    pub triggers: usize,
}

/// Nothing of the app is accepted from then on; its slug and host are free. Pauses of what it had go with it.
pub fn plan_delete(
    catalog: &Catalog,
    app: AppId,
    expected: Option<i64>,
    by: PrincipalId,
    now: Timestamp,
) -> Result<Planned<Deleted>, Unfit> {
    let app = app_of(catalog, app)?;
    as_expected(Some(app), &app.slug, expected)?;
    let triggers: Vec<_> = catalog.triggers.values().filter(|one| one.app == app.id).collect();
    let queues = app.routes.iter().map(|route| route.id.queue().0);
    let queues = queues.chain(app.scripts.values().map(|script| script.id.queue().0));
    let queues = queues.chain(triggers.iter().map(|trigger| trigger.id.queue().0));
    let targets = std::iter::once(app.id.0).chain(queues);
    let paused = targets.filter(|target| catalog.pauses.contains_key(target));
    let mut changes: Vec<CatalogChange> =
        paused.map(|target| CatalogChange::Resume { target }).collect();
    changes.push(CatalogChange::DeleteApp { id: app.id, slug: Arc::clone(&app.slug), by });
    changes.push(audit(&AppFields::of(app), "delete_app", by, now));
    let answer =
        Deleted { scripts: app.scripts.len(), routes: app.routes.len(), triggers: triggers.len() };
    Ok(Planned { changes, answer, next: 0 })
}

/// Whether an app, which may be absent, still has the revision that an editor saw: 0 when it was not there.
pub fn as_expected(app: Option<&Arc<App>>, slug: &str, expected: Option<i64>) -> Result<(), Unfit> {
    let found = app.map_or(0, |app| app.revision);
    match expected {
        Some(expected) if expected != found => {
            Err(Unfit::Changed { thing: format!("app \"{slug}\""), expected, found })
        }
        Some(_) | None => Ok(()),
    }
}

fn names_are_free(catalog: &Catalog, wanted: &AppFields) -> Result<(), Unfit> {
    if catalog.app(&wanted.slug).is_some_and(|other| other.id != wanted.id) {
        return Err(Unfit::SlugTaken(wanted.slug.to_string()));
    }
    let Some(host) = &wanted.host else { return Ok(()) };
    match catalog.app_of_host(&host.to_ascii_lowercase()).filter(|other| other.id != wanted.id) {
        Some(other) => {
            Err(Unfit::HostTaken { host: host.to_string(), app: other.slug.to_string() })
        }
        None => Ok(()),
    }
}

fn audit(app: &AppFields, action: &str, principal: PrincipalId, at: Timestamp) -> CatalogChange {
    let detail = json!({
        "revision": app.revision + 1,
        "host": app.host.as_deref(),
        "allow_hosts": app.allow_hosts.iter().map(|host| &**host).collect::<Vec<_>>(),
        "expose_errors": app.expose_errors,
    });
    CatalogChange::Audit(Audit {
        at,
        principal,
        action: action.to_owned(),
        object: app.slug.to_string(),
        detail: detail.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::configure::deploy::tests::{apply, deployed};

    const NOW: Timestamp = Timestamp(5);

    fn create(slug: &str, host: Option<&str>) -> CreateApp {
        CreateApp {
            slug: slug.into(),
            host: host.map(Into::into),
            allow_hosts: Vec::new(),
            expose_errors: false,
            by: PrincipalId(1),
        }
    }

    fn change(app: AppId) -> ChangeApp {
        ChangeApp {
            app,
            slug: None,
            host: None,
            allow_hosts: None,
            expose_errors: None,
            expected: None,
            by: PrincipalId(1),
        }
    }

    #[test]
    fn a_name_that_another_app_has_is_taken_and_its_own_is_not() {
        let (catalog, _) = deployed();
        let taken = plan_create(&catalog, &create("greenhouse", None), 90, NOW);
        assert!(matches!(taken, Err(Unfit::SlugTaken(_))));
        let made = plan_create(&catalog, &create("garden", Some("garden.lan")), 90, NOW);
        let made = made.expect("it is free");
        let catalog = apply(catalog, made.changes);
        assert_eq!(catalog.apps[&made.answer].revision, 1);
        let taken = plan_create(&catalog, &create("other", Some("garden.lan")), 95, NOW);
        assert!(matches!(taken, Err(Unfit::HostTaken { .. })));
        let rename = ChangeApp {
            slug: Some("patio".into()),
            host: Some(Some("garden.lan".into())),
            ..change(made.answer)
        };
        let renamed = plan_change(&catalog, &rename, NOW).expect("the host is its own");
        let catalog = apply(catalog, renamed.changes);
        assert_eq!(catalog.app("patio").map(|app| app.id), Some(made.answer));
    }

    #[test]
    fn what_is_not_named_stays_and_no_change_is_none() {
        let (catalog, _) = deployed();
        let app = catalog.app("greenhouse").expect("it is deployed");
        let none = plan_change(&catalog, &change(app.id), NOW).expect("it is there");
        assert!(none.changes.is_empty());
        let open = ChangeApp { expose_errors: Some(true), expected: Some(1), ..change(app.id) };
        let planned = plan_change(&catalog, &open, NOW).expect("it is there");
        let id = app.id;
        let catalog = apply(catalog, planned.changes);
        let app = &catalog.apps[&id];
        assert!(app.expose_errors && app.revision == 2);
        assert_eq!(&*app.allow_hosts[0], "api.example.org");
        let late = plan_change(&catalog, &open, NOW).expect_err("it was changed");
        assert_eq!(
            late.to_string(),
            "app \"greenhouse\" was changed meanwhile: it is at 2, not at 1"
        );
    }
}
