//! Loading what is configured.

use std::collections::HashMap;
use std::sync::Arc;

use picloud_scripts_runtime::limits::RunLimits;

use crate::catalog::{App, Catalog, CatalogRows, Pause, Script, SecretNote};
use crate::ids::{AppId, PrincipalId, RouteId, ScriptId, TokenId, TriggerId};
use crate::principal::{Grant, Principal, Token, TokenHash};
use crate::route::{DispatchMode, Route};
use crate::store::engine::{self, Connection, Row};
use crate::store::rows::{int, odd, opt_int, opt_text, opt_time, parsed, text};
use crate::store::{details, sql};
use crate::time::Timestamp;
use crate::trigger::{Ordering, Trigger};

/// All that is configured. `instance` is the most that a script may use, also where more was allowed when it was deployed.
pub(crate) async fn load(
    conn: &mut Connection,
    instance: &RunLimits,
) -> Result<Catalog, sqlx::Error> {
    let mut apps = Vec::new();
    for row in &engine::query(sql::APPS).fetch_all(&mut *conn).await? {
        apps.push(app(row)?);
    }
    let place: HashMap<AppId, usize> =
        apps.iter().enumerate().map(|(place, app)| (app.id, place)).collect();
    let of = |id: AppId| place.get(&id).copied().ok_or_else(|| odd("app_id", &id));
    for row in &engine::query(sql::SCRIPTS).fetch_all(&mut *conn).await? {
        let script = script(row, instance)?;
        let place = of(script.app)?;
        apps[place].scripts.insert(Arc::clone(&script.name), Arc::new(script));
    }
    for row in &engine::query(sql::ROUTES).fetch_all(&mut *conn).await? {
        let route = route(row)?;
        let place = of(route.app)?;
        apps[place].routes.push(Arc::new(route));
    }
    let mut catalog = CatalogRows { apps, ..CatalogRows::default() };
    for row in &engine::query(details::TRIGGERS).fetch_all(&mut *conn).await? {
        catalog.triggers.push(trigger(row)?);
    }
    catalog.principals = principals(&mut *conn).await?;
    for row in &engine::query(sql::TOKENS).fetch_all(&mut *conn).await? {
        catalog.tokens.push(token(row)?);
    }
    for row in &engine::query(sql::PAUSES).fetch_all(&mut *conn).await? {
        let pause = Pause {
            reason: text(row, 1)?,
            since: Timestamp(int(row, 2)?),
            by: opt_int(row, 3)?.map(PrincipalId),
        };
        catalog.pauses.push((int(row, 0)?, pause));
    }
    for row in &engine::query(sql::SECRETS).fetch_all(&mut *conn).await? {
        let note =
            SecretNote { set_at: Timestamp(int(row, 2)?), set_by: PrincipalId(int(row, 3)?) };
        catalog.secrets.push(((AppId(int(row, 0)?), text(row, 1)?), note));
    }
    for row in &engine::query(sql::DELETED_IDS).fetch_all(&mut *conn).await? {
        catalog.deleted.push(AppId(int(row, 0)?));
    }
    Ok(Catalog::build(catalog))
}

fn app(row: &Row) -> Result<App, sqlx::Error> {
    let allow_hosts: Vec<String> = parsed(row, 3)?;
    Ok(App {
        id: AppId(int(row, 0)?),
        slug: text(row, 1)?,
        host: opt_text(row, 2)?,
        allow_hosts: allow_hosts.into_iter().map(Arc::from).collect(),
        expose_errors: int(row, 4)? != 0,
        revision: int(row, 5)?,
        access: parsed(row, 6)?,
        scripts: HashMap::new(),
        routes: Vec::new(),
    })
}

fn script(row: &Row, instance: &RunLimits) -> Result<Script, sqlx::Error> {
    let deployed: RunLimits = parsed(row, 5)?;
    Ok(Script {
        id: ScriptId(int(row, 0)?),
        app: AppId(int(row, 1)?),
        name: text(row, 2)?,
        version: int(row, 3)?,
        source: text(row, 4)?,
        limits: deployed.at_most(instance),
    })
}

fn route(row: &Row) -> Result<Route, sqlx::Error> {
    let mode = row.text(5)?;
    let known = [DispatchMode::Sync, DispatchMode::Async];
    Ok(Route {
        id: RouteId(int(row, 0)?),
        app: AppId(int(row, 1)?),
        method: text(row, 2)?,
        path: text(row, 3)?,
        script: text(row, 4)?,
        dispatch_mode: known
            .into_iter()
            .find(|one| one.as_str() == mode)
            .ok_or_else(|| odd("dispatch_mode", &mode))?,
        retry: parsed(row, 6)?,
        principal: PrincipalId(int(row, 7)?),
        access: parsed(row, 8)?,
    })
}

fn trigger(row: &Row) -> Result<Trigger, sqlx::Error> {
    let concurrency = opt_int(row, 8)?;
    let concurrency =
        concurrency.map(u32::try_from).transpose().map_err(|_| odd("concurrency", &concurrency))?;
    let ordering = row.text(7)?;
    Ok(Trigger {
        id: TriggerId(int(row, 0)?),
        app: AppId(int(row, 1)?),
        name: text(row, 2)?,
        script: text(row, 4)?,
        enabled: int(row, 5)? != 0,
        retry: parsed(row, 6)?,
        ordering: match ordering {
            "any" => Ordering::Any,
            "by_key" => Ordering::ByKey,
            other => return Err(odd("ordering", &other)),
        },
        concurrency,
        registered_by: PrincipalId(int(row, 9)?),
        details: details::read(row)?,
    })
}

fn token(row: &Row) -> Result<Token, sqlx::Error> {
    Ok(Token {
        id: TokenId(int(row, 0)?),
        name: row.text(1)?.to_owned(),
        hash: TokenHash(row.text(2)?.into()),
        principal: PrincipalId(int(row, 3)?),
        created_at: Timestamp(int(row, 4)?),
        expires_at: opt_time(row, 5)?,
        revoked_at: opt_time(row, 6)?,
    })
}

async fn principals(conn: &mut Connection) -> Result<Vec<Principal>, sqlx::Error> {
    let mut grants: HashMap<i64, Vec<Grant>> = HashMap::new();
    for row in &engine::query(sql::GRANTS).fetch_all(&mut *conn).await? {
        let (capability, app) = (text(row, 1)?, int(row, 2)?);
        let known = serde_json::from_value(serde_json::Value::from(&*capability));
        let grant = Grant {
            capability: known.map_err(|_| odd("capability", &capability))?,
            app: (app != 0).then_some(AppId(app)),
        };
        grants.entry(int(row, 0)?).or_default().push(grant);
    }
    let mut principals = Vec::new();
    for row in &engine::query(sql::PRINCIPALS).fetch_all(conn).await? {
        let (id, uid) = (int(row, 0)?, opt_int(row, 2)?);
        principals.push(Principal {
            id: PrincipalId(id),
            name: row.text(1)?.to_owned(),
            uid: uid.map(u32::try_from).transpose().map_err(|_| odd("uid", &uid))?,
            grants: grants.remove(&id).unwrap_or_default(),
        });
    }
    Ok(principals)
}
