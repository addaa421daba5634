//! Changes of configuration: rare, each in a transaction of its own, planned as purely as everything else.

pub mod deploy;
pub mod pause;
pub mod people;
pub mod secrets;
pub mod triggers;

use std::sync::Arc;

use picloud_api::problem::EntryError;

use crate::catalog::{Pause, Script};
use crate::ids::{AppId, PrincipalId, RouteId, ScriptId, TriggerId};
use crate::principal::{Capability, Principal};
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
    NameTaken { app: String, kind: &'static str, name: String },
    #[error("{}", first(.0))]
    BadTrigger(Vec<EntryError>),
    #[error("app \"{app}\" has {most} secrets already, the most there may be")]
    TooManySecrets { app: String, most: usize },
    #[error("host {host} is claimed by app \"{app}\"")]
    HostTaken { host: String, app: String },
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
