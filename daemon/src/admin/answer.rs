//! The answers: one function for each thing that calls do.

mod apps;
mod backups;
mod data;
mod events;
mod logs;
mod nodes;
mod people;
mod routes;
mod scripts;
mod secrets;
mod stats;
mod triggers;

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use picloud_api::deploy::Difference;
use picloud_api::instance::{Caller, Instance, PauseAnswer, PauseRequest};
use picloud_api::list::{AppItem, PAGE_ITEMS, PAGE_ITEMS_MAX, Page, PageQuery};
use picloud_api::manifest::Bundle;
use picloud_api::problem::{Code, Problem};
use serde::{Deserialize, Serialize};

use crate::admin::calls::{Does, Part, Request};
use crate::admin::deploy::{self, Mode};
use crate::admin::engine::{AppCounts, Engine};
use crate::catalog::{App, Catalog};
use crate::flow::configure::By;
use crate::flow::configure::pause::{Target, plan_pause, plan_resume, shown};
use crate::manifest::export;
use crate::principal::Capability;
use crate::store::migrate::SCHEMA_VERSION;

mod bulk;
mod executions;
mod letters;
mod outbox;
mod page;

/// The answer to a request.
/// As `admin/openapi.rs` makes it.
const OPENAPI: &str = include_str!("../../../docs/openapi.json");

#[expect(clippy::too_many_lines, reason = "a line for each call")]
pub(super) async fn to(engine: &Arc<Engine>, request: Request) -> Result<Response, Problem> {
    match request.call.does {
        Does::ShowInstance => json(&instance(engine, &request)),
        Does::ShowOpenApi => Ok(json_text(OPENAPI)),
        Does::ListApps => json(&apps(engine, &request)?),
        Does::Deploy => {
            let difference = put_manifest(engine, &request).await?;
            tagged(&difference, difference.revision)
        }
        Does::Export => tagged(&bundle(engine, &request)?, request.app()?.revision),
        Does::ListOutbox => json(&outbox::list(engine, &request).await?),
        Does::ShowOutboxRow => json(&outbox::show(engine, &request).await?),
        Does::RunNow => json(&outbox::run_now(engine, &request).await?),
        Does::Cancel => json(&outbox::cancel(engine, &request).await?),
        Does::ListDeadLetters => json(&letters::list(engine, &request).await?),
        Does::GroupDeadLetters => json(&letters::groups(engine, &request).await?),
        Does::ShowDeadLetter => json(&letters::show(engine, &request).await?),
        Does::ReplayDeadLetter => json(&letters::replay(engine, &request).await?),
        Does::TakeBackDeadLetter => json(&letters::take_back(engine, &request).await?),
        Does::DiscardDeadLetter => json(&letters::discard(engine, &request).await?),
        Does::ReopenDeadLetter => json(&letters::reopen(engine, &request).await?),
        Does::PreviewDeadLetters => json(&bulk::preview(engine, &request).await?),
        Does::ReplayDeadLetters => json(&bulk::replay(engine, &request).await?),
        Does::DiscardDeadLetters => json(&bulk::discard(engine, &request).await?),
        Does::TakeBackDeadLetters => json(&bulk::take_back(engine, &request).await?),
        Does::ListAbandoned => json(&executions::abandoned(engine, &request).await?),
        Does::ShowAbandoned => json(&executions::show_abandoned(engine, &request).await?),
        Does::ListExecutions => json(&executions::list(engine, &request)?),
        Does::ShowExecution => json(&executions::show(engine, &request)?),
        Does::ShowChain => json(&executions::chain(engine, &request).await?),
        Does::ListTriggers => json(&triggers::list(engine, &request).await?),
        Does::ShowTrigger => triggers::show(engine, &request).await,
        Does::CreateTrigger => triggers::create(engine, &request).await,
        Does::ChangeTrigger => triggers::change(engine, &request).await,
        Does::SwitchTrigger(to) => triggers::switch(engine, &request, to).await,
        Does::FireTrigger => json(&triggers::fire(engine, &request).await?),
        Does::DeleteTrigger => json(&triggers::delete(engine, &request).await?),
        Does::ListSecrets => json(&secrets::list(engine, &request).await?),
        Does::SetSecret => json(&secrets::set(engine, &request).await?),
        Does::DeleteSecret => json(&secrets::delete(engine, &request).await?),
        Does::Pause(part) => json(&pause(engine, &request, part).await?),
        Does::Resume(part) => json(&resume(engine, &request, part).await?),
        Does::CreateApp => apps::create(engine, &request).await,
        Does::ShowApp => apps::show(engine, &request),
        Does::ChangeApp => apps::change(engine, &request).await,
        Does::DeleteApp => apps::delete(engine, &request).await,
        Does::ListRoutes => routes::list(engine, &request),
        Does::ShowRoute => routes::show(&request),
        Does::CreateRoute => routes::create(engine, &request).await,
        Does::ChangeRoute => routes::change(engine, &request).await,
        Does::DeleteRoute => routes::delete(engine, &request).await,
        Does::ListCollections(space) => data::collections(engine, &request, space).await,
        Does::ListEntries(space) => data::list(engine, &request, space).await,
        Does::ShowEntry(space) => data::show(engine, &request, space).await,
        Does::PutEntry(space) => data::put(engine, &request, space).await,
        Does::DeleteEntry(space) => data::delete(engine, &request, space).await,
        Does::CreateDocument => data::create(engine, &request).await,
        Does::ListScripts => scripts::list(engine, &request),
        Does::ShowScript => scripts::show(&request),
        Does::PutScript => scripts::put(engine, &request).await,
        Does::DeleteScript => scripts::delete(engine, &request).await,
        Does::ListVersions => scripts::versions(engine, &request).await,
        Does::ShowVersion => scripts::version(engine, &request).await,
        Does::RollBack => scripts::roll_back(engine, &request).await,
        Does::DryRun => scripts::dry_run(engine, &request).await,
        Does::Invoke => scripts::invoke(engine, &request).await,
        Does::ListPrincipals => json(&people::principals(engine, &request)?),
        Does::ShowPrincipal => json(&people::principal(engine, &request)?),
        Does::CreatePrincipal => json(&people::create_principal(engine, &request).await?),
        Does::DeletePrincipal => json(&people::delete_principal(engine, &request).await?),
        Does::Grant => json(&people::grant(engine, &request).await?),
        Does::Revoke => json(&people::revoke(engine, &request).await?),
        Does::ListTokens => json(&people::tokens(engine, &request)?),
        Does::CreateToken => json(&people::create_token(engine, &request).await?),
        Does::RevokeToken => json(&people::revoke_token(engine, &request).await?),
        Does::ListAudit => json(&people::audit(engine, &request).await?),
        Does::ListLogs => json(&logs::list(engine, &request)?),
        Does::StreamEvents => events::stream(engine, &request),
        Does::ShowStats => json(&stats::stats(engine, &request).await?),
        Does::ShowMetrics => stats::metrics(engine).await,
        Does::ShowDoctor => json(&stats::doctor(engine).await?),
        Does::ListBackups => json(&backups::list(engine, &request).await?),
        Does::StartBackup => backups::start(engine, &request).await,
        Does::ListNodes => json(&nodes::list(engine, &request)?),
        Does::ShowHealth => json(&stats::healthy()),
        Does::ShowReadiness => json(&stats::ready(engine)?),
    }
}

fn json(answer: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(answer)
        .map_err(|error| Problem::new(Code::Internal, format!("the answer is no JSON: {error}")))?;
    Ok(json_text(body))
}

fn json_text(body: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// An answer with the version of what it shows, which `If-Match` takes.
fn tagged(answer: &impl Serialize, version: i64) -> Result<Response, Problem> {
    let mut response = json(answer)?;
    response.headers_mut().insert(header::ETAG, etag(version));
    Ok(response)
}

fn etag(version: i64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\""))
        .expect("a number in quotes is a header's value")
}

/// An answer to what is done later.
fn accepted(answer: &impl Serialize) -> Result<Response, Problem> {
    let mut response = json(answer)?;
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

fn instance(engine: &Engine, request: &Request) -> Instance {
    let catalog = &request.catalog;
    let counts = engine.counts();
    let capabilities = Capability::ALL.into_iter().filter(|one| request.principal.may(*one, None));
    Instance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance_id: engine.instance.to_string(),
        started_at: engine.started_at.0,
        schema: SCHEMA_VERSION,
        migrated_from: engine.began.upgraded.map(|upgraded| upgraded.from),
        migrated_at: engine.began.upgraded.map(|upgraded| upgraded.at.0),
        now: engine.clock.now().0,
        apps: count(catalog.apps.len()),
        waiting: counts.waiting,
        running: counts.running,
        dead_letters: counts.dead_letters,
        storage_low: engine.is_storage_low(),
        pauses: engine.pauses(catalog),
        caller: Caller {
            name: request.principal.name.clone(),
            uid: request.principal.uid,
            capabilities: capabilities.map(|one| one.as_str().to_owned()).collect(),
        },
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The apps that the caller may read, by slug; the cursor is the slug before.
fn apps(engine: &Engine, request: &Request) -> Result<Page<AppItem>, Problem> {
    let query: PageQuery = request.query()?;
    let limit = limit(&query)?;
    let after = query.after.unwrap_or_default();
    let only = query.app.as_deref().map(|name| request.app_called(name)).transpose()?;
    let mut apps: Vec<&Arc<App>> = request
        .catalog
        .apps
        .values()
        .filter(|app| request.may(Capability::AppRead, app.id) && *app.slug > *after)
        .filter(|app| only.is_none_or(|only| app.id == only.id))
        .collect();
    apps.sort_by(|a, b| a.slug.cmp(&b.slug));
    let next = (apps.len() > limit).then(|| apps[limit - 1].slug.to_string());
    let counts = engine.counts_by_app(&request.catalog);
    let item = |app: &Arc<App>| {
        app_item(&request.catalog, app, counts.get(&app.id).copied().unwrap_or_default())
    };
    let items = apps.into_iter().take(limit).map(item).collect();
    Ok(Page { items, next, now: engine.clock.now().0 })
}

fn app_item(catalog: &Catalog, app: &App, counts: AppCounts) -> AppItem {
    let pause = catalog.pauses.get(&app.id.0);
    AppItem {
        id: app.id.0,
        slug: app.slug.to_string(),
        host: app.host.as_ref().map(ToString::to_string),
        revision: app.revision,
        scripts: count(app.scripts.len()),
        routes: count(app.routes.len()),
        triggers: counts.triggers,
        waiting: counts.waiting,
        dead_letters: counts.dead_letters,
        paused: pause.map(|pause| shown(catalog, app.id.0, pause)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeployQuery {
    #[serde(default)]
    dry_run: bool,
}

async fn put_manifest(engine: &Engine, request: &Request) -> Result<Difference, Problem> {
    let query: DeployQuery = request.query()?;
    let bundle: Bundle = request.body(Code::BadManifest)?;
    let slug = request.segment("app")?;
    if bundle.manifest.app.slug != slug {
        let named = &bundle.manifest.app.slug;
        return Err(Problem::new(
            Code::BadManifest,
            format!("the manifest is of app \"{named}\", the path of \"{slug}\""),
        ));
    }
    let mode = if query.dry_run { Mode::DryRun } else { Mode::ForReal };
    let expected = request.expected()?;
    deploy::deploy(engine, bundle, Arc::clone(&request.principal), mode, expected).await
}

fn bundle(engine: &Engine, request: &Request) -> Result<Bundle, Problem> {
    let app = request.app()?;
    Ok(export::bundle(app, request.catalog.triggers.values(), &engine.run_limits))
}

async fn pause(engine: &Engine, request: &Request, part: Part) -> Result<PauseAnswer, Problem> {
    let body: PauseRequest = request.body(Code::BadRequest)?;
    let target = target(request, part)?;
    let (by, now) = (request.principal.id, engine.clock.now());
    engine
        .configure(move |catalog, _| plan_pause(catalog, &target, body.reason.as_deref(), by, now))
        .await
}

async fn resume(engine: &Engine, request: &Request, part: Part) -> Result<PauseAnswer, Problem> {
    request.no_body()?;
    let target = target(request, part)?;
    let (by, now) = (request.principal.id, engine.clock.now());
    engine.configure(move |catalog, _| plan_resume(catalog, &target, by, now)).await
}

fn target(request: &Request, part: Part) -> Result<Target, Problem> {
    if part == Part::Instance {
        return Ok(Target::Instance);
    }
    let app = request.app()?.slug.to_string();
    if part == Part::App {
        return Ok(Target::App { app });
    }
    let name = request.segment("name")?.to_owned();
    Ok(match part {
        Part::Instance | Part::App => unreachable!("answered above"),
        Part::Trigger => Target::Trigger { app, name },
        Part::Tasks => Target::Tasks { app, script: name },
        Part::Route => {
            let (method, path) = routes::method_and_path(&name)?;
            Target::Route { app, method: method.to_owned(), path: path.to_owned() }
        }
    })
}

/// Who changes a part of an app, and what `If-Match` says about that.
fn by(engine: &Engine, request: &Request) -> Result<By, Problem> {
    let expected = request.expected()?;
    Ok(By { principal: request.principal.id, now: engine.clock.now(), expected })
}

fn limit(query: &PageQuery) -> Result<usize, Problem> {
    page_limit(query.limit)
}

fn page_limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(PAGE_ITEMS) {
        limit if (1..=PAGE_ITEMS_MAX).contains(&limit) => Ok(limit),
        limit => Err(Problem::new(
            Code::BadRequest,
            format!("limit is {limit}; 1 to {PAGE_ITEMS_MAX} are allowed"),
        )),
    }
}
