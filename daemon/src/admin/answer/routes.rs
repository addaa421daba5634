//! Routes: listed, shown, made, changed, deleted.

use std::sync::Arc;

use axum::response::Response;
use picloud_api::list::{Page, PageQuery};
use picloud_api::manifest::RouteEntry;
use picloud_api::problem::{Code, Problem};
use picloud_api::routes::{RouteAnswer, RouteDeleted, RouteItem};
use picloud_api::text;
use serde_json::{Map, Value};

use crate::admin::answer::{by, json, limit, tagged};
use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::admin::refuse;
use crate::catalog::{App, Catalog, INSTANCE};
use crate::flow::configure::pause::shown;
use crate::flow::configure::routes::{Named, Touched, find, plan_change, plan_create, plan_delete};
use crate::ids::AppId;
use crate::manifest::{access, export};
use crate::route::{DispatchMode, Route};

/// The routes of an app by path and method; the cursor is `PATH METHOD` of the one before.
pub(super) fn list(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let query: PageQuery = request.query()?;
    let limit = limit(&query)?;
    let app = request.app()?;
    let after = query.after.unwrap_or_default();
    let place = |route: &Route| format!("{} {}", route.path, route.method);
    let mut routes: Vec<(String, &Arc<Route>)> =
        app.routes.iter().map(|route| (place(route), route)).collect();
    routes.retain(|(place, _)| *place > after);
    routes.sort_by(|(a, _), (b, _)| a.cmp(b));
    let next = (routes.len() > limit).then(|| routes[limit - 1].0.clone());
    let items = routes.iter().take(limit).map(|(_, route)| item(&request.catalog, app, route));
    json(&Page { items: items.collect(), next, now: engine.clock.now().0 })
}

pub(super) fn show(request: &Request) -> Result<Response, Problem> {
    let which = named(request)?;
    let (app, route) = find(&request.catalog, &which).map_err(|unfit| refuse::unfit(&unfit))?;
    tagged(&item(&request.catalog, app, route), app.revision)
}

pub(super) async fn create(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let entry: RouteEntry = request.body(Code::BadRoute)?;
    let (app, by) = (request.app()?.id, by(engine, request)?);
    let plan = move |catalog: &Catalog, next| plan_create(catalog, app, &entry, by, next);
    let touched = engine.configure(plan).await?;
    answer(engine, app, touched)
}

/// The body need not repeat what the path says.
pub(super) async fn change(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let (which, by) = (named(request)?, by(engine, request)?);
    let mut fields: Map<String, Value> = request.body(Code::BadRoute)?;
    fields.entry("method").or_insert_with(|| which.method.as_str().into());
    fields.entry("path").or_insert_with(|| which.path.as_str().into());
    let entry: RouteEntry = serde_json::from_value(Value::Object(fields)).map_err(|error| {
        let message = text::explain(&error.to_string());
        Problem::new(Code::BadRoute, format!("the body: {message}"))
    })?;
    let app = which.app;
    let plan = move |catalog: &Catalog, _| plan_change(catalog, &which, &entry, by);
    let touched = engine.configure(plan).await?;
    answer(engine, app, touched)
}

pub(super) async fn delete(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    request.no_body()?;
    let (which, by) = (named(request)?, by(engine, request)?);
    let deleted = format!("{}/{} {}", request.app()?.slug, which.method, which.path);
    let plan = move |catalog: &Catalog, _| plan_delete(catalog, &which, by);
    engine.configure(plan).await?;
    json(&RouteDeleted { deleted })
}

/// What a route is called by.
pub(super) fn method_and_path(name: &str) -> Result<(&str, &str), Problem> {
    name.split_once(' ').ok_or_else(|| {
        Problem::new(
            Code::BadRequest,
            format!("\"{name}\" is no route; name it by method and path, such as POST /readings"),
        )
    })
}

fn named(request: &Request) -> Result<Named, Problem> {
    let (method, path) = method_and_path(request.segment("name")?)?;
    let (method, path) = (method.to_owned(), path.to_owned());
    Ok(Named { app: request.app()?.id, method, path })
}

/// The route as it is now, after a change.
fn answer(engine: &Engine, app: AppId, touched: Touched) -> Result<Response, Problem> {
    let catalog = engine.catalog();
    let found = catalog.apps.get(&app).and_then(|app| {
        let route = app.routes.iter().find(|route| route.id == touched.id)?;
        Some(item(&catalog, app, route))
    });
    let route = found.ok_or_else(|| {
        Problem::new(Code::Conflict, "somebody else has deleted the route meanwhile")
    })?;
    let revision = route.revision;
    tagged(&RouteAnswer { changed: touched.changed, route, warnings: touched.warnings }, revision)
}

fn item(catalog: &Catalog, app: &App, route: &Route) -> RouteItem {
    let own = format!("/{}{}", app.slug, route.path);
    let at_host = app.host.as_ref().map(|host| format!("//{host}{}", route.path));
    let pauses = [route.id.queue().0, app.id.0, INSTANCE];
    let pause = pauses.iter().find_map(|target| Some((*target, catalog.pauses.get(target)?)));
    let is_retried = route.dispatch_mode == DispatchMode::Async;
    RouteItem {
        app: app.slug.to_string(),
        revision: app.revision,
        method: route.method.to_string(),
        path: route.path.to_string(),
        dispatch_mode: route.dispatch_mode.as_str().to_owned(),
        script: route.script.to_string(),
        auth: access::text(route.access.auth(&app.access)),
        rate: route.access.rate(&app.access).to_string(),
        entry: export::route_entry(route),
        retry: is_retried.then(|| export::whole_retry(&route.retry)),
        runs_as: catalog.principals.get(&route.principal).map(|principal| principal.name.clone()),
        urls: std::iter::once(own).chain(at_host).collect(),
        paused: pause.map(|(target, pause)| shown(catalog, target, pause)),
    }
}
