//! Apps one by one.

use std::sync::Arc;

use axum::response::Response;
use picloud_api::app::{App, AppChange, AppCreate, AppDeleted};
use picloud_api::problem::{Code, Problem};

use crate::admin::answer::{app_item, count, json, tagged};
use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::catalog::{self, Catalog};
use crate::flow::configure::apps::{ChangeApp, CreateApp, plan_change, plan_create, plan_delete};
use crate::ids::AppId;
use crate::manifest::{access, words};
use crate::principal::Capability;

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
    let app = request.app()?;
    let auth = body.auth.as_ref().and_then(Option::as_deref);
    let rate = body.rate.as_ref().and_then(Option::as_deref);
    let said = access::read(auth, body.hmac.as_ref(), rate).map_err(unfit)?;
    if body.auth.is_some() || body.rate.is_some() {
        // It is a change of all routes that do not say it themselves.
        request.ask(Capability::AppManageRoutes, app)?;
    }
    let change = ChangeApp {
        app: app.id,
        slug: body.slug.as_deref().map(words::slug).transpose().map_err(unfit)?,
        host: match &body.host {
            None => None,
            Some(None) => Some(None),
            Some(Some(named)) => Some(Some(host(named)?)),
        },
        allow_hosts: body.allow_hosts.as_deref().map(allow_hosts).transpose()?,
        expose_errors: body.expose_errors,
        auth: body.auth.is_some().then_some(said.auth),
        rate: body.rate.is_some().then_some(said.rate),
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

fn host(text: &str) -> Result<Arc<str>, Problem> {
    words::host("host", text).map_err(unfit)
}

fn allow_hosts(hosts: &[String]) -> Result<Vec<Arc<str>>, Problem> {
    hosts.iter().map(|host| words::host("allow_hosts", host).map_err(unfit)).collect()
}

fn unfit(detail: String) -> Problem {
    Problem::new(Code::Unfit, detail)
}
