//! Changes of configuration: rare, each a transaction of its own; then the catalog is loaded anew and published.

use std::sync::Arc;

use crate::catalog::{Catalog, Script};
use crate::faults::CrashPoint;
use crate::flow::configure::secrets::Secret;
use crate::flow::configure::{AppFields, Audit, CatalogChange};
use crate::limits::OutboxLimits;
use crate::principal::{Principal, Token};
use crate::route::Route;
use crate::store::batch::{BatchError, Batcher};
use crate::store::engine::trouble::{self, Stage, Trouble};
use crate::store::engine::{self, Connection};
use crate::store::open::{self, named};
use crate::store::purge;
use crate::store::rows::json;
use crate::store::{details, sql};
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// Why a change of configuration was not made. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError<E> {
    /// The plan refused.
    #[error("{0}")]
    Refused(E),
    /// Somebody else changed the app since.
    #[error("app \"{slug}\" was changed by somebody else meanwhile: look again, then repeat")]
    Conflict { slug: Arc<str> },
    #[error("the disk is nearly full")]
    StorageLow,
    #[error("the store failed: {0}")]
    Store(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// The process is ending; the change may be durable or not.
    #[error("the store stopped before it could tell")]
    Unknown,
    #[error(transparent)]
    Fatal(#[from] BatchError),
}

/// What a plan makes of the catalog: the changes in order, and the counter after them.
pub type Plan = (Vec<CatalogChange>, i64);

enum Undone {
    Conflict(Arc<str>),
    Crash,
    Statement(sqlx::Error),
    Commit(sqlx::Error),
}

impl From<sqlx::Error> for Undone {
    fn from(error: sqlx::Error) -> Undone {
        Undone::Statement(error)
    }
}

impl Batcher {
    /// Lets `plan` look at what is configured and commits what it says. It is given the next number of the counter.
    pub async fn configure<E>(
        &mut self,
        plan: impl FnOnce(&Catalog, i64, Timestamp) -> Result<Plan, E>,
        now: Timestamp,
    ) -> Result<Arc<Catalog>, ConfigureError<E>> {
        let before = self.catalog.load_full();
        let (changes, next) =
            plan(&before, self.standing.next, now).map_err(ConfigureError::Refused)?;
        if changes.is_empty() {
            return Ok(before);
        }
        if self.is_storage_low() {
            return Err(ConfigureError::StorageLow);
        }
        match self.commit_changes(&changes, next, now).await {
            Ok(()) => {
                let loaded = self.reload_catalog().await;
                loaded.map_err(|error| BatchError::Fatal(error.to_string()))?;
                let deletes =
                    |change: &CatalogChange| matches!(change, CatalogChange::DeleteApp { .. });
                if changes.iter().any(deletes) {
                    let purging = purge::load(&mut self.conn).await;
                    self.purging = purging.map_err(|error| BatchError::Fatal(error.to_string()))?;
                }
                Ok(self.catalog.load_full())
            }
            Err(undone) => Err(self.undo_changes(undone).await),
        }
    }

    async fn commit_changes(
        &mut self,
        changes: &[CatalogChange],
        next: i64,
        now: Timestamp,
    ) -> Result<(), Undone> {
        let next = next.max(self.standing.next);
        let ceiling = self.standing.ceiling.max(next);
        self.conn.begin().await?;
        if ceiling > self.standing.ceiling {
            engine::query(sql::COUNTER_RAISE).bind(ceiling).execute(&mut self.conn).await?;
        }
        for change in changes {
            apply(&mut self.conn, change, &self.limits, now).await?;
            if self.faults.crashes(CrashPoint::InDeploy) {
                return Err(Undone::Crash);
            }
        }
        self.conn.commit().await.map_err(Undone::Commit)?;
        self.standing.next = next;
        self.standing.ceiling = ceiling;
        Ok(())
    }

    async fn undo_changes<E>(&mut self, undone: Undone) -> ConfigureError<E> {
        let (error, stage) = match undone {
            Undone::Crash => return BatchError::Crashed(CrashPoint::InDeploy).into(),
            Undone::Conflict(slug) => {
                let rolled_back = self.conn.rollback().await;
                return match rolled_back {
                    Ok(_) => ConfigureError::Conflict { slug },
                    Err(error) => BatchError::Fatal(error.to_string()).into(),
                };
            }
            Undone::Statement(error) => (error, Stage::Statement),
            Undone::Commit(error) => (error, Stage::Commit),
        };
        let trouble = trouble::of(&error, stage);
        if trouble == Trouble::Fatal && !open::goes_on_reading(&self.config.path, &error) {
            return BatchError::Fatal(error.to_string()).into();
        }
        // After some errors SQLite has rolled back by itself; then this fails, and that is well.
        drop(self.conn.rollback().await);
        if trouble == Trouble::Full {
            return ConfigureError::StorageLow;
        }
        ConfigureError::Store(
            named(&self.config.path, "changing the configuration", error).to_string(),
        )
    }
}

async fn apply(
    conn: &mut Connection,
    change: &CatalogChange,
    limits: &OutboxLimits,
    now: Timestamp,
) -> Result<(), Undone> {
    match change {
        CatalogChange::PutApp(app) => return put_app(conn, app).await,
        CatalogChange::DeleteApp { id, slug, by } => {
            let query =
                engine::query(sql::DELETED_APP_PUT).bind(id.0).bind(&**slug).bind(now.0).bind(by.0);
            query.execute(&mut *conn).await?;
            delete(conn, sql::GRANTS_OF_APP_DELETE, id.0).await?;
            delete(conn, sql::APP_DELETE, id.0).await?;
        }
        CatalogChange::PutScript(script) => put_script(conn, script, limits, now).await?,
        CatalogChange::DeleteScript(id) => delete(conn, sql::SCRIPT_DELETE, id.0).await?,
        CatalogChange::PutRoute(route) => put_route(conn, route).await?,
        CatalogChange::DeleteRoute(id) => delete(conn, sql::ROUTE_DELETE, id.0).await?,
        CatalogChange::PutTrigger(trigger) => put_trigger(conn, trigger, now).await?,
        CatalogChange::DeleteTrigger(id) => delete(conn, sql::TRIGGER_DELETE, id.0).await?,
        CatalogChange::Pause { target, pause } => {
            let query = engine::query(sql::PAUSE_PUT)
                .bind(*target)
                .bind(&*pause.reason)
                .bind(pause.since.0)
                .bind(pause.by.map(|by| by.0));
            query.execute(conn).await?;
        }
        CatalogChange::Resume { target } => delete(conn, sql::PAUSE_DELETE, *target).await?,
        CatalogChange::PutPrincipal(principal) => put_principal(conn, principal).await?,
        CatalogChange::PutSecret(secret) => put_secret(conn, secret).await?,
        CatalogChange::DeleteSecret { app, name } => {
            engine::query(sql::SECRET_DELETE).bind(app.0).bind(&**name).execute(conn).await?;
        }
        CatalogChange::DeletePrincipal(id) => delete(conn, sql::PRINCIPAL_DELETE, id.0).await?,
        CatalogChange::PutToken(token) => put_token(conn, token).await?,
        CatalogChange::DeleteToken(id) => delete(conn, sql::TOKEN_DELETE, id.0).await?,
        CatalogChange::Audit(audit) => put_audit(conn, audit, limits).await?,
    }
    Ok(())
}

async fn delete(
    conn: &mut Connection,
    statement: &'static str,
    id: i64,
) -> Result<(), sqlx::Error> {
    engine::query(statement).bind(id).execute(conn).await.map(drop)
}

async fn put_app(conn: &mut Connection, app: &AppFields) -> Result<(), Undone> {
    let hosts: Vec<&str> = app.allow_hosts.iter().map(|host| &**host).collect();
    let query = engine::query(sql::APP_PUT)
        .bind(app.id.0)
        .bind(&*app.slug)
        .bind(app.host.as_deref())
        .bind(json(&hosts))
        .bind(i64::from(app.expose_errors))
        .bind(app.revision)
        .bind(json(&app.access));
    if query.execute(conn).await? == 0 {
        return Err(Undone::Conflict(Arc::clone(&app.slug)));
    }
    Ok(())
}

async fn put_script(
    conn: &mut Connection,
    script: &Script,
    limits: &OutboxLimits,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let lowered = json(&script.limits);
    let query = engine::query(sql::SCRIPT_PUT)
        .bind(script.id.0)
        .bind(script.app.0)
        .bind(&*script.name)
        .bind(script.version)
        .bind(&*script.source)
        .bind(&*lowered);
    query.execute(&mut *conn).await?;
    let query = engine::query(sql::SCRIPT_VERSION_PUT)
        .bind(script.id.0)
        .bind(script.version)
        .bind(&*script.source)
        .bind(&*lowered)
        .bind(now.0);
    query.execute(&mut *conn).await?;
    let query = engine::query(sql::SWEEP_SCRIPT_VERSIONS)
        .bind(script.id.0)
        .bind(limits.kept_script_versions_max);
    query.execute(conn).await.map(drop)
}

async fn put_route(conn: &mut Connection, route: &Route) -> Result<(), sqlx::Error> {
    let query = engine::query(sql::ROUTE_PUT)
        .bind(route.id.0)
        .bind(route.app.0)
        .bind(&*route.method)
        .bind(&*route.path)
        .bind(&*route.script)
        .bind(route.dispatch_mode.as_str())
        .bind(json(&route.retry))
        .bind(route.principal.0)
        .bind(json(&route.access));
    query.execute(conn).await.map(drop)
}

async fn put_trigger(
    conn: &mut Connection,
    trigger: &Trigger,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let kept = details::kept(conn, trigger).await?;
    let query = engine::query(sql::TRIGGER_PUT)
        .bind(trigger.id.0)
        .bind(trigger.app.0)
        .bind(&*trigger.name)
        .bind(trigger.details.kind().as_str())
        .bind(&*trigger.script)
        .bind(i64::from(trigger.enabled))
        .bind(json(&trigger.retry))
        .bind(trigger.ordering.as_str())
        .bind(trigger.concurrency.map(i64::from))
        .bind(trigger.registered_by.0);
    query.execute(&mut *conn).await?;
    details::put(conn, trigger, kept, now).await
}

async fn put_principal(conn: &mut Connection, principal: &Principal) -> Result<(), sqlx::Error> {
    let query = engine::query(sql::PRINCIPAL_PUT)
        .bind(principal.id.0)
        .bind(&*principal.name)
        .bind(principal.uid.map(i64::from));
    query.execute(&mut *conn).await?;
    delete(conn, sql::GRANTS_DELETE, principal.id.0).await?;
    for grant in &principal.grants {
        let query = engine::query(sql::GRANT_PUT)
            .bind(principal.id.0)
            .bind(json(&grant.capability).trim_matches('"').to_owned())
            .bind(grant.app.map_or(0, |app| app.0));
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

async fn put_secret(conn: &mut Connection, secret: &Secret) -> Result<(), sqlx::Error> {
    let query = engine::query(sql::SECRET_PUT)
        .bind(secret.app.0)
        .bind(&*secret.name)
        .bind(&secret.sealed[..])
        .bind(secret.set_at.0)
        .bind(secret.set_by.0);
    query.execute(conn).await.map(drop)
}

async fn put_token(conn: &mut Connection, token: &Token) -> Result<(), sqlx::Error> {
    let query = engine::query(sql::TOKEN_PUT)
        .bind(token.id.0)
        .bind(&*token.name)
        .bind(&*token.hash.0)
        .bind(token.principal.0)
        .bind(token.created_at.0)
        .bind(token.expires_at.map(|at| at.0))
        .bind(token.revoked_at.map(|at| at.0));
    query.execute(conn).await.map(drop)
}

pub(crate) async fn put_audit(
    conn: &mut Connection,
    audit: &Audit,
    limits: &OutboxLimits,
) -> Result<(), sqlx::Error> {
    let query = engine::query(sql::AUDIT_INSERT)
        .bind(audit.at.0)
        .bind(audit.principal.0)
        .bind(&*audit.action)
        .bind(&*audit.object)
        .bind(&*audit.detail);
    query.execute(&mut *conn).await?;
    engine::query(sql::SWEEP_AUDIT).bind(limits.kept_audit_max).execute(conn).await.map(drop)
}
