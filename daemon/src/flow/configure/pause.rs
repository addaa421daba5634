//! Pausing and resuming: the instance, an app, or a queue of one.

use std::sync::Arc;

use picloud_api::instance::{PauseAnswer, Paused};

use crate::catalog::{App, Catalog, INSTANCE, Pause};
use crate::flow::configure::{Audit, CatalogChange, Planned, Unfit};
use crate::ids::PrincipalId;
use crate::time::Timestamp;

/// Characters of a reason; what is beyond is cut.
pub const REASON_CHARACTERS_MAX: usize = 200;

/// What can be paused, by the names that people use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Instance,
    App {
        app: String,
    },
    Trigger {
        app: String,
        name: String,
    },
    Route {
        app: String,
        method: String,
        path: String,
    },
    /// The tasks that run this script.
    Tasks {
        app: String,
        script: String,
    },
}

impl Target {
    /// The number under which a pause is stored.
    pub fn number(&self, catalog: &Catalog) -> Result<i64, Unfit> {
        let app_of = |slug: &str| {
            catalog.app(slug).cloned().ok_or_else(|| Unfit::NoSuchApp(slug.to_owned()))
        };
        let missing = |app: &App, kind: &'static str, name: String| Unfit::NoSuchPart {
            app: app.slug.to_string(),
            kind,
            name,
        };
        match self {
            Self::Instance => Ok(INSTANCE),
            Self::App { app } => Ok(app_of(app)?.id.0),
            Self::Trigger { app, name } => {
                let app = app_of(app)?;
                let mut triggers = catalog.triggers.values();
                let found = triggers.find(|one| one.app == app.id && &*one.name == name.as_str());
                let found = found.ok_or_else(|| missing(&app, "trigger", name.clone()))?;
                Ok(found.id.queue().0)
            }
            Self::Route { app, method, path } => {
                let app = app_of(app)?;
                let mut routes = app.routes.iter();
                let found = routes
                    .find(|one| &*one.method == method.as_str() && &*one.path == path.as_str());
                let found =
                    found.ok_or_else(|| missing(&app, "route", format!("{method} {path}")))?;
                Ok(found.id.queue().0)
            }
            Self::Tasks { app, script } => {
                let app = app_of(app)?;
                let found = app.scripts.get(script.as_str());
                let found = found.ok_or_else(|| missing(&app, "script", script.clone()))?;
                Ok(found.id.queue().0)
            }
        }
    }
}

/// Pauses the target. What is paused stays paused since it was, with the new reason if there is one.
pub fn plan_pause(
    catalog: &Catalog,
    target: &Target,
    reason: Option<&str>,
    by: PrincipalId,
    now: Timestamp,
) -> Result<Planned<PauseAnswer>, Unfit> {
    let number = target.number(catalog)?;
    let before = catalog.pauses.get(&number);
    let reason: Option<String> =
        reason.map(|reason| reason.chars().take(REASON_CHARACTERS_MAX).collect());
    if let Some(before) = before
        && reason.as_deref().is_none_or(|reason| *before.reason == *reason)
    {
        let answer = PauseAnswer { changed: false, paused: Some(shown(catalog, number, before)) };
        return Ok(Planned { changes: Vec::new(), answer, next: 0 });
    }
    let pause = Pause {
        reason: Arc::from(reason.unwrap_or_else(|| "no reason given".to_owned())),
        since: before.map_or(now, |before| before.since),
        by: Some(by),
    };
    let paused = shown(catalog, number, &pause);
    let audit = audit(catalog, number, "pause", by, now);
    let changes = vec![CatalogChange::Pause { target: number, pause }, audit];
    Ok(Planned { changes, answer: PauseAnswer { changed: true, paused: Some(paused) }, next: 0 })
}

/// Ends a pause. What is not paused stays as it is.
pub fn plan_resume(
    catalog: &Catalog,
    target: &Target,
    by: PrincipalId,
    now: Timestamp,
) -> Result<Planned<PauseAnswer>, Unfit> {
    let number = target.number(catalog)?;
    let changed = catalog.pauses.contains_key(&number);
    let changes = if changed {
        let audit = audit(catalog, number, "resume", by, now);
        vec![CatalogChange::Resume { target: number }, audit]
    } else {
        Vec::new()
    };
    Ok(Planned { changes, answer: PauseAnswer { changed, paused: None }, next: 0 })
}

fn audit(
    catalog: &Catalog,
    number: i64,
    action: &str,
    principal: PrincipalId,
    at: Timestamp,
) -> CatalogChange {
    CatalogChange::Audit(Audit {
        at,
        principal,
        action: action.to_owned(),
        object: name_of(catalog, number),
        detail: "{}".to_owned(),
    })
}

/// A pause as people see it.
pub fn shown(catalog: &Catalog, number: i64, pause: &Pause) -> Paused {
    let by = pause.by.and_then(|by| catalog.principals.get(&by));
    Paused {
        target: name_of(catalog, number),
        reason: pause.reason.to_string(),
        since: pause.since.0,
        by: by.map(|principal| principal.name.clone()),
    }
}

/// The name of what has this number, as `picloud resume` takes it: empty for the instance.
pub fn name_of(catalog: &Catalog, number: i64) -> String {
    if number == INSTANCE {
        return String::new();
    }
    let slug = |app| catalog.apps.get(&app).map_or("?", |app: &Arc<App>| &*app.slug);
    let trigger = catalog.triggers.values().find(|trigger| trigger.id.queue().0 == number);
    if let Some(trigger) = trigger {
        return format!("{}/{}", slug(trigger.app), trigger.name);
    }
    for app in catalog.apps.values() {
        if app.id.0 == number {
            return app.slug.to_string();
        }
        if let Some(route) = app.routes.iter().find(|route| route.id.queue().0 == number) {
            return format!("{}/{} {}", app.slug, route.method, route.path);
        }
        if let Some(script) = app.scripts.values().find(|script| script.id.queue().0 == number) {
            return format!("{}/script:{}", app.slug, script.name);
        }
    }
    format!("number {number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::configure::deploy::tests::{apply, deployed};

    const NOW: Timestamp = Timestamp(1_000);

    fn every_target() -> Vec<(Target, &'static str)> {
        let app = || "greenhouse".to_owned();
        vec![
            (Target::Instance, ""),
            (Target::App { app: app() }, "greenhouse"),
            (
                Target::Trigger { app: app(), name: "warn-when-dry".to_owned() },
                "greenhouse/warn-when-dry",
            ),
            (
                Target::Route {
                    app: app(),
                    method: "POST".to_owned(),
                    path: "/reports".to_owned(),
                },
                "greenhouse/POST /reports",
            ),
            (Target::Tasks { app: app(), script: "warn".to_owned() }, "greenhouse/script:warn"),
        ]
    }

    #[test]
    fn everything_that_can_be_paused_is_paused_once_and_resumed_once() {
        for (target, name) in every_target() {
            let (catalog, who) = deployed();
            let pause = |catalog: &Catalog, reason| {
                plan_pause(catalog, &target, reason, who, NOW).expect("it is there")
            };
            let first = pause(&catalog, Some("rebuilt"));
            let paused = first.answer.paused.clone().expect("it is paused");
            assert_eq!((paused.target.as_str(), paused.reason.as_str()), (name, "rebuilt"));
            assert_eq!((paused.since, paused.by.as_deref()), (1_000, Some("root")));

            let catalog = apply(catalog, first.changes);
            assert!(catalog.pauses.contains_key(&target.number(&catalog).expect("it is there")));
            for reason in [None, Some("rebuilt")] {
                let again = pause(&catalog, reason);
                assert!(!again.answer.changed && again.changes.is_empty());
            }
            let resume = plan_resume(&catalog, &target, who, NOW).expect("it is there");
            assert!(resume.answer.changed);
            let catalog = apply(catalog, resume.changes);
            assert!(catalog.pauses.is_empty());
            let again = plan_resume(&catalog, &target, who, NOW).expect("it is there");
            assert!(!again.answer.changed && again.changes.is_empty());
        }
    }

    #[test]
    fn another_reason_replaces_the_old_one_but_not_the_time() {
        let (catalog, who) = deployed();
        let first = plan_pause(&catalog, &Target::Instance, None, who, NOW).expect("it is there");
        let catalog = apply(catalog, first.changes);
        let later = Timestamp(9_000);
        let second = plan_pause(&catalog, &Target::Instance, Some("disk"), who, later);
        let paused = second.expect("it is there").answer.paused.expect("it is paused");
        assert_eq!((paused.reason.as_str(), paused.since), ("disk", 1_000));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (catalog, who) = deployed();
        let app = |app: &str| Target::App { app: app.to_owned() };
        let refused = |target: &Target| {
            plan_pause(&catalog, target, None, who, NOW).expect_err("it is not there").to_string()
        };
        assert_eq!(refused(&app("garden")), "there is no app \"garden\"");
        let trigger = Target::Trigger { app: "greenhouse".to_owned(), name: "x".to_owned() };
        assert_eq!(refused(&trigger), "app \"greenhouse\" has no trigger \"x\"");
    }
}
