//! Routes one at a time: made, changed, deleted. What a deploy does to all of an app.

use std::sync::Arc;

use picloud_api::manifest::{ROUTES_MAX, RouteEntry};
use picloud_api::problem::EntryError;

use crate::catalog::{App, Catalog};
use crate::flow::configure::{AppFields, Audit, By, CatalogChange, Planned, Unfit, app_at};
use crate::ids::{AppId, PrincipalId, RouteId};
use crate::manifest::{self, CheckedRoute, export};
use crate::route::access::Auth;
use crate::route::{Pattern, Route};

/// Which route of which app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub app: AppId,
    /// Upper case.
    pub method: String,
    pub path: String,
}

/// A route after a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    pub id: RouteId,
    pub changed: bool,
    /// What is allowed but hardly meant, and what is still missing.
    pub warnings: Vec<String>,
}

/// Makes a route that there is not yet. It runs as who makes it.
pub fn plan_create(
    catalog: &Catalog,
    app: AppId,
    entry: &RouteEntry,
    by: By,
    next: i64,
) -> Result<Planned<Touched>, Unfit> {
    let app = app_at(catalog, app, by.expected)?;
    let route = route(RouteId(next), app, check(app, entry)?, by.principal);
    if let Some(other) = app.routes.iter().find(|other| match_the_same(other, &route)) {
        if other.path == route.path {
            return Err(Unfit::PartTaken {
                app: app.slug.to_string(),
                kind: "route",
                name: name_of(&route),
            });
        }
        let message = format!("matches the same requests as {}", name_of(other));
        return Err(wrong(&route, message));
    }
    let count = app.routes.len() + 1;
    if count > ROUTES_MAX {
        let app = app.slug.to_string();
        return Err(Unfit::TooMany { app, what: "routes", count, most: ROUTES_MAX });
    }
    Ok(put(catalog, app, route, ("create route", by), next + 1))
}

/// Makes a route what the entry says. It keeps its number, and with it its pause and what waits, and runs from now on as
/// who changes it; one that is so already stays as it is.
pub fn plan_change(
    catalog: &Catalog,
    which: &Named,
    entry: &RouteEntry,
    by: By,
) -> Result<Planned<Touched>, Unfit> {
    let (app, before) = find_at(catalog, which, by.expected)?;
    let after = route(before.id, app, check(app, entry)?, before.principal);
    if (&after.method, &after.path) != (&before.method, &before.path) {
        let message = format!("is called {}; its method and path stay", name_of(before));
        return Err(wrong(&after, message));
    }
    if after == **before {
        let warnings = warnings(catalog, app, before);
        let answer = Touched { id: before.id, changed: false, warnings };
        return Ok(Planned { changes: Vec::new(), answer, next: 0 });
    }
    let after = Route { principal: by.principal, ..after };
    Ok(put(catalog, app, after, ("change route", by), 0))
}

/// Deletes a route. What it has accepted still runs, also if it was paused: nobody could resume it by its name.
pub fn plan_delete(catalog: &Catalog, which: &Named, by: By) -> Result<Planned<()>, Unfit> {
    let (app, before) = find_at(catalog, which, by.expected)?;
    let mut changes = vec![
        CatalogChange::PutApp(AppFields::of(app)),
        CatalogChange::DeleteRoute(before.id),
        audit(app, before, ("delete route", by), "{}".to_owned()),
    ];
    let target = before.id.queue().0;
    if catalog.pauses.contains_key(&target) {
        changes.push(CatalogChange::Resume { target });
    }
    Ok(Planned { changes, answer: (), next: 0 })
}

/// The route and its app.
pub fn find<'a>(
    catalog: &'a Catalog,
    which: &Named,
) -> Result<(&'a Arc<App>, &'a Arc<Route>), Unfit> {
    find_at(catalog, which, None)
}

fn find_at<'a>(
    catalog: &'a Catalog,
    which: &Named,
    expected: Option<i64>,
) -> Result<(&'a Arc<App>, &'a Arc<Route>), Unfit> {
    let app = app_at(catalog, which.app, expected)?;
    let mut routes = app.routes.iter();
    let found = routes.find(|one| *one.method == *which.method && *one.path == *which.path);
    let found = found.ok_or_else(|| Unfit::NoSuchPart {
        app: app.slug.to_string(),
        kind: "route",
        name: format!("{} {}", which.method, which.path),
    })?;
    Ok((app, found))
}

/// What callers of a GET can show again and again, unless a time is signed as well.
pub(super) fn always_signed_alike(method: &str, path: &str, auth: &Auth) -> Option<String> {
    match auth {
        Auth::Hmac(hmac) if matches!(method, "GET" | "HEAD") && !hmac.is_timed() => Some(format!(
            "route {method} {path}: of a request without a body the signature is always the same; sign a time as well"
        )),
        Auth::Hmac(_) | Auth::None | Auth::Token => None,
    }
}

/// A secret may come later, as in a new app it has to.
pub(super) fn secret_to_set(slug: &str, name: &str) -> String {
    format!(
        "there is no secret \"{name}\" yet, so nobody can call the routes that ask for it; set it: picloud secrets set \
         {slug}/{name} -"
    )
}

fn warnings(catalog: &Catalog, app: &App, route: &Route) -> Vec<String> {
    let auth = route.access.auth(&app.access);
    let to_set = match auth {
        Auth::Hmac(hmac) if catalog.secret(app.id, &hmac.secret).is_none() => {
            Some(secret_to_set(&app.slug, &hmac.secret))
        }
        Auth::Hmac(_) | Auth::None | Auth::Token => None,
    };
    always_signed_alike(&route.method, &route.path, auth).into_iter().chain(to_set).collect()
}

/// Checks the entry as a part of the manifest that the app would have with it.
fn check(app: &App, entry: &RouteEntry) -> Result<CheckedRoute, Unfit> {
    let scripts: Vec<&str> = app.scripts.keys().map(|name| &**name).collect();
    manifest::check_route(entry, &scripts).map_err(Unfit::BadRoute)
}

/// Whether no request could tell one from the other.
fn match_the_same(a: &Route, b: &Route) -> bool {
    let shape = |route: &Route| Pattern::parse(&route.path).map(|pattern| pattern.shape());
    a.method == b.method && shape(a) == shape(b)
}

fn wrong(route: &Route, message: String) -> Unfit {
    let entry = format!("route {}", name_of(route));
    Unfit::BadRoute(vec![EntryError { entry, message, excerpt: None }])
}

fn name_of(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

fn route(id: RouteId, app: &App, checked: CheckedRoute, principal: PrincipalId) -> Route {
    let ((path, method), wanted) = checked;
    Route {
        id,
        app: app.id,
        method,
        path,
        script: wanted.script,
        dispatch_mode: wanted.dispatch_mode,
        retry: wanted.retry,
        principal,
        access: wanted.access,
    }
}

/// The route with what a change of it comes with: a new revision of the app, and a line in the audit log.
fn put(
    catalog: &Catalog,
    app: &App,
    route: Route,
    done: (&str, By),
    next: i64,
) -> Planned<Touched> {
    let detail = serde_json::to_string(&export::route_entry(&route)).unwrap_or_default();
    let audit = audit(app, &route, done, detail);
    let warnings = warnings(catalog, app, &route);
    let answer = Touched { id: route.id, changed: true, warnings };
    let fields = AppFields::of(app);
    let changes = vec![CatalogChange::PutApp(fields), CatalogChange::PutRoute(route), audit];
    Planned { changes, answer, next }
}

/// A line for the audit log: who did what to which route.
fn audit(app: &App, route: &Route, (action, by): (&str, By), detail: String) -> CatalogChange {
    CatalogChange::Audit(Audit {
        at: by.now,
        principal: by.principal,
        action: action.to_owned(),
        object: format!("{}/{}", app.slug, name_of(route)),
        detail,
    })
}

#[cfg(test)]
mod tests;
