//! Changes of configuration: rare, each in a transaction of its own, planned as purely as everything else.

pub mod apps;
pub mod backups;
pub mod deploy;
pub mod pause;
pub mod people;
pub mod routes;
pub mod scripts;
pub mod secrets;
pub mod tokens;
pub mod triggers;

use std::sync::Arc;

use picloud_api::problem::EntryError;

use crate::catalog::{App, Catalog, Pause, Script};
use crate::ids::{AppId, PrincipalId, RouteId, ScriptId, TokenId, TriggerId};
use crate::principal::{Capability, Principal, Token};
use crate::route::Route;
use crate::route::access::Access;
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// What a change of configuration comes to. Without changes there is nothing to write.
#[derive(Debug)]
pub struct Planned<T> {
    pub changes: Vec<CatalogChange>,
    /// For whoever asked.
    pub answer: T,
    /// The counter after the numbers that were drawn; 0 when none were.
    pub next: i64,
}

/// Why a change of configuration is not made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unfit {
    #[error("{who} lacks {} {}", capability.as_str(), scope(app.as_deref()))]
    NotAllowed { who: String, capability: Capability, app: Option<String> },
    #[error("there is no app \"{0}\"")]
    NoSuchApp(String),
    #[error("app \"{app}\" has no {kind} \"{name}\"")]
    NoSuchPart { app: String, kind: &'static str, name: String },
    #[error("app \"{app}\" has a {kind} \"{name}\" already")]
    PartTaken { app: String, kind: &'static str, name: String },
    #[error("{}", first(.0))]
    BadRoute(Vec<EntryError>),
    #[error("{}", first(.0))]
    BadTrigger(Vec<EntryError>),
    #[error("host {host} is claimed by app \"{app}\"")]
    HostTaken { host: String, app: String },
    #[error("there is an app \"{0}\" already")]
    SlugTaken(String),
    /// `found` is 0 when it is not there.
    #[error("{thing} was changed meanwhile: it is at {found}, not at {expected}")]
    Changed { thing: String, expected: i64, found: i64 },
    #[error("{thing} is used by {}", by.join(", "))]
    InUse { thing: String, by: Vec<String> },
    #[error("app \"{app}\" would have {count} {what}, at most {most} are allowed")]
    TooMany { app: String, what: &'static str, count: usize, most: usize },
    #[error("there is no principal \"{0}\"")]
    NoSuchPrincipal(String),
    #[error("there is no token \"{0}\"")]
    NoSuchToken(String),
    #[error("there is a {kind} \"{name}\" already")]
    NameTaken { kind: &'static str, name: String },
    #[error("uid {uid} is principal \"{name}\" already")]
    UidTaken { uid: u32, name: String },
    #[error("{who} lacks {} {}, and nobody can give what they do not have", capability.as_str(), scope(app.as_deref()))]
    NotYours { who: String, capability: Capability, app: Option<String> },
    #[error("principal \"{0}\" is the owner of this daemon and may always do everything")]
    IsOwner(String),
    #[error("there are {max} {kind} already; no more are possible")]
    LimitReached { kind: &'static str, max: usize },
}

fn first(errors: &[EntryError]) -> String {
    errors.first().map(|one| format!("{}: {}", one.entry, one.message)).unwrap_or_default()
}

fn scope(app: Option<&str>) -> String {
    app.map_or_else(|| "for all apps".to_owned(), |app| format!("for app \"{app}\""))
}

/// One change of what is configured. The store applies them in order and then loads the catalog anew.
#[derive(Debug)]
pub enum CatalogChange {
    /// Creates the app, or changes it. Raises its revision by one.
    PutApp(AppFields),
    /// The app and what is configured of it. Its rows and its data go afterwards, step by step.
    DeleteApp {
        id: AppId,
        slug: Arc<str>,
        by: PrincipalId,
    },
    /// The script's new current version; the older ones are kept, 20 at most.
    PutScript(Script),
    DeleteScript(ScriptId),
    PutRoute(Route),
    DeleteRoute(RouteId),
    /// Parent row and details row.
    PutTrigger(Trigger),
    DeleteTrigger(TriggerId),
    /// `target` is `catalog::INSTANCE`, an app's number or a queue's.
    Pause {
        target: i64,
        pause: Pause,
    },
    Resume {
        target: i64,
    },
    PutPrincipal(Principal),
    PutSecret(secrets::Secret),
    DeleteSecret {
        app: AppId,
        name: Arc<str>,
    },
    /// With its grants and tokens. What it has registered stays, and can no longer run.
    DeletePrincipal(PrincipalId),
    PutToken(Token),
    DeleteToken(TokenId),
    Audit(Audit),
}

/// An app without what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct AppFields {
    pub id: AppId,
    pub slug: Arc<str>,
    pub host: Option<Arc<str>>,
    pub allow_hosts: Vec<Arc<str>>,
    pub expose_errors: bool,
    pub access: Access,
    /// The revision that the change was made for, 0 for a new app; with the change it becomes one more. Two writers at
    /// once are told apart by it.
    pub revision: i64,
}

impl AppFields {
    /// The app as it is; put again, it gets its next revision.
    pub fn of(app: &App) -> AppFields {
        AppFields {
            id: app.id,
            slug: Arc::clone(&app.slug),
            host: app.host.clone(),
            allow_hosts: app.allow_hosts.clone(),
            expose_errors: app.expose_errors,
            access: app.access.clone(),
            revision: app.revision,
        }
    }
}

/// Who changes a part of an app, when, and at which revision of the app, if that matters to them.
#[derive(Clone, Copy, Debug)]
pub struct By {
    pub principal: PrincipalId,
    pub now: Timestamp,
    /// The revision that the editor saw.
    pub expected: Option<i64>,
}

/// An app that is still at the revision that its editor saw.
fn app_at(catalog: &Catalog, id: AppId, expected: Option<i64>) -> Result<&Arc<App>, Unfit> {
    let app = app_of(catalog, id)?;
    apps::as_expected(Some(app), &app.slug, expected)?;
    Ok(app)
}

/// An app by its number. It may have gone since the number was looked up.
pub fn app_of(catalog: &Catalog, id: AppId) -> Result<&Arc<App>, Unfit> {
    catalog.apps.get(&id).ok_or_else(|| Unfit::NoSuchApp(id.to_string()))
}

/// Who changed what.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    pub at: Timestamp,
    pub principal: PrincipalId,
    /// A word like `deploy` or `pause`.
    pub action: String,
    /// A slug, or slug/name.
    pub object: String,
    /// JSON text.
    pub detail: String,
}
