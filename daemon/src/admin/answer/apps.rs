//! Apps one by one, and their routes.

use std::sync::Arc;

use axum::response::Response;
use picloud_api::app::{App, AppChange, AppCreate, AppDeleted, RouteItem};
use picloud_api::list::{Page, PageQuery};
use picloud_api::problem::{Code, Problem};

use crate::admin::answer::{app_item, count, json, limit, tagged};
use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::catalog::{self, Catalog, INSTANCE};
use crate::flow::configure::apps::{ChangeApp, CreateApp, plan_change, plan_create, plan_delete};
use crate::flow::configure::pause::shown;
use crate::ids::AppId;
use crate::manifest::{access, words};
use crate::route::Route;

pub(super) async fn create(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let body: AppCreate = request.body(Code::Unfit)?;
    let create = CreateApp {
        slug: words::slug(&body.slug).map_err(unfit)?,
        host: body.host.as_deref().map(host).transpose()?,
        allow_hosts: allow_hosts(&body.allow_hosts)?,
        expose_errors: body.expose_errors,
        by: request.principal.id,
    };
    let now = engine.clock.now();
    let made =
        engine.configure(move |catalog, next| plan_create(catalog, &create, next, now)).await?;
    answer(engine, made)
}

pub(super) fn show(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let app = request.app()?;
    tagged(&app_of(engine, &request.catalog, app), app.revision)
}

pub(super) async fn change(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let body: AppChange = request.body(Code::Unfit)?;
    let change = ChangeApp {
        app: request.app()?.id,
        slug: body.slug.as_deref().map(words::slug).transpose().map_err(unfit)?,
        host: match &body.host {
            None => None,
            Some(None) => Some(None),
            Some(Some(named)) => Some(Some(host(named)?)),
        },
        allow_hosts: body.allow_hosts.as_deref().map(allow_hosts).transpose()?,
        expose_errors: body.expose_errors,
        expected: request.expected()?,
        by: request.principal.id,
    };
    let now = engine.clock.now();
    let changed = engine.configure(move |catalog, _| plan_change(catalog, &change, now)).await?;
    answer(engine, changed)
}

pub(super) async fn delete(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let app = request.app()?;
    let (id, expected) = (app.id, request.expected()?);
    let counts = engine.counts_by_app(&request.catalog).get(&id).copied().unwrap_or_default();
    let (by, now) = (request.principal.id, engine.clock.now());
    let plan = move |catalog: &Catalog, _| plan_delete(catalog, id, expected, by, now);
    let deleted = engine.configure(plan).await?;
    json(&AppDeleted {
        id: id.0,
        slug: app.slug.to_string(),
        scripts: count(deleted.scripts),
        routes: count(deleted.routes),
        triggers: count(deleted.triggers),
        waiting: counts.waiting,
        dead_letters: counts.dead_letters,
    })
}

/// The app as it is now, after a change.
fn answer(engine: &Engine, id: AppId) -> Result<Response, Problem> {
    let catalog = engine.catalog();
    let app = catalog.apps.get(&id).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("app {id} was removed by somebody else meanwhile"))
    })?;
    tagged(&app_of(engine, &catalog, app), app.revision)
}

fn app_of(engine: &Engine, catalog: &Catalog, app: &catalog::App) -> App {
    let counts = engine.counts_by_app(catalog).get(&app.id).copied().unwrap_or_default();
    let item = app_item(catalog, app, counts);
    App {
        id: item.id,
        slug: item.slug,
        host: item.host,
        allow_hosts: app.allow_hosts.iter().map(ToString::to_string).collect(),
        expose_errors: app.expose_errors,
        auth: access::text(app.access.auth(&app.access)),
        rate: app.access.rate(&app.access).to_string(),
        revision: item.revision,
        scripts: item.scripts,
        routes: item.routes,
        triggers: item.triggers,
        waiting: item.waiting,
        dead_letters: item.dead_letters,
        paused: item.paused,
    }
}

/// The routes of an app by path and method; the cursor is `PATH METHOD` of the one before.
pub(super) fn routes(engine: &Engine, request: &Request) -> Result<Response, Problem> {
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
    let items =
        routes.iter().take(limit).map(|(_, route)| route_item(&request.catalog, app, route));
    json(&Page { items: items.collect(), next, now: engine.clock.now().0 })
}

fn route_item(catalog: &Catalog, app: &catalog::App, route: &Route) -> RouteItem {
    let own = format!("/{}{}", app.slug, route.path);
    let at_host = app.host.as_ref().map(|host| format!("//{host}{}", route.path));
    let pauses = [INSTANCE, app.id.0, route.id.queue().0];
    let pause = pauses.iter().find_map(|target| Some((*target, catalog.pauses.get(target)?)));
    RouteItem {
        app: app.slug.to_string(),
        method: route.method.to_string(),
        path: route.path.to_string(),
        dispatch_mode: route.dispatch_mode.as_str().to_owned(),
        script: route.script.to_string(),
        auth: access::text(route.access.auth(&app.access)),
        rate: route.access.rate(&app.access).to_string(),
        urls: std::iter::once(own).chain(at_host).collect(),
        paused: pause.map(|(target, pause)| shown(catalog, target, pause)),
    }
}

fn host(text: &str) -> Result<Arc<str>, Problem> {
    words::host("host", text).map_err(unfit)
}

fn allow_hosts(hosts: &[String]) -> Result<Vec<Arc<str>>, Problem> {
    hosts.iter().map(|host| words::host("allow_hosts", host).map_err(unfit)).collect()
}

fn unfit(detail: String) -> Problem {
    Problem::new(Code::Unfit, detail)
}
