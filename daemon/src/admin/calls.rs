//! The calls of the admin API, and the capability that each one asks for.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Query;
use axum::http::Uri;
use picloud_api::problem::{Code, Problem};
use picloud_api::text;
use picloud_scripts_runtime::effect::Space;
use serde::de::DeserializeOwned;

use crate::admin::peer::Peer;
use crate::catalog::{App, Catalog};
use crate::flow::configure::triggers::Switch;
use crate::ids::AppId;
use crate::principal::{Capability, Principal};

/// One call. There is no other way to an answer than through its row.
#[derive(Debug)]
pub struct Call {
    pub method: Method,
    /// Below the base; `{app}` is a slug or a number.
    pub path: &'static str,
    /// `None`: whoever is known may.
    pub capability: Option<Capability>,
    pub does: Does,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    ShowInstance,
    ListApps,
    Deploy,
    Export,
    ListOutbox,
    ShowOutboxRow,
    RunNow,
    Cancel,
    ListDeadLetters,
    GroupDeadLetters,
    PreviewDeadLetters,
    ShowDeadLetter,
    ReplayDeadLetter,
    TakeBackDeadLetter,
    DiscardDeadLetter,
    ReopenDeadLetter,
    ReplayDeadLetters,
    DiscardDeadLetters,
    TakeBackDeadLetters,
    ListAbandoned,
    ShowAbandoned,
    ListExecutions,
    ListTriggers,
    ShowTrigger,
    /// The last segment of its path is the kind.
    CreateTrigger,
    ChangeTrigger,
    SwitchTrigger(Switch),
    /// Asks for `AppInvoke` besides.
    FireTrigger,
    DeleteTrigger,
    ListSecrets,
    SetSecret,
    DeleteSecret,
    ShowExecution,
    ShowChain,
    Pause(Part),
    Resume(Part),
    CreateApp,
    ShowApp,
    ChangeApp,
    DeleteApp,
    ListRoutes,
    ListScripts,
    ShowScript,
    PutScript,
    DeleteScript,
    ListVersions,
    ShowVersion,
    RollBack,
    DryRun,
    Invoke,
    ListCollections(Space),
    ListEntries(Space),
    ShowEntry(Space),
    PutEntry(Space),
    DeleteEntry(Space),
    CreateDocument,
}

impl Does {
    /// Whether the app that a call is about is known only once what its path or body names is found. The answer then
    /// checks the capability in that app.
    pub fn finds_its_app(self) -> bool {
        match self {
            Self::ShowOutboxRow
            | Self::RunNow
            | Self::Cancel
            | Self::ShowDeadLetter
            | Self::ReplayDeadLetter
            | Self::TakeBackDeadLetter
            | Self::DiscardDeadLetter
            | Self::ReopenDeadLetter
            | Self::ReplayDeadLetters
            | Self::DiscardDeadLetters
            | Self::TakeBackDeadLetters
            | Self::ShowAbandoned
            | Self::ShowExecution
            | Self::ShowChain => true,
            Self::ShowInstance
            | Self::ListApps
            | Self::Deploy
            | Self::Export
            | Self::ListOutbox
            | Self::ListDeadLetters
            | Self::GroupDeadLetters
            | Self::PreviewDeadLetters
            | Self::ListAbandoned
            | Self::ListExecutions
            | Self::ListTriggers
            | Self::ShowTrigger
            | Self::CreateTrigger
            | Self::ChangeTrigger
            | Self::SwitchTrigger(_)
            | Self::FireTrigger
            | Self::DeleteTrigger
            | Self::ListSecrets
            | Self::SetSecret
            | Self::DeleteSecret
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::CreateApp
            | Self::ShowApp
            | Self::ChangeApp
            | Self::DeleteApp
            | Self::ListRoutes
            | Self::ListScripts
            | Self::ShowScript
            | Self::PutScript
            | Self::DeleteScript
            | Self::ListVersions
            | Self::ShowVersion
            | Self::RollBack
            | Self::DryRun
            | Self::Invoke
            | Self::ListCollections(_)
            | Self::ListEntries(_)
            | Self::ShowEntry(_)
            | Self::PutEntry(_)
            | Self::DeleteEntry(_)
            | Self::CreateDocument => false,
        }
    }
}

/// What a pause is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Instance,
    App,
    Trigger,
    Route,
    Tasks,
}

const fn call(
    method: Method,
    path: &'static str,
    capability: Option<Capability>,
    does: Does,
) -> Call {
    Call { method, path, capability, does }
}

use Capability::{
    AppData, AppInvoke, AppManageRoutes, AppManageScripts, AppManageTriggers, AppRead, AppSecrets,
    AppWrite, DeadLettersResolve, InstanceAdmin, OutboxManage,
};
use Method::{Delete, Get, Patch, Post, Put};
use Space::{Docs, Kv};

/// Every call. A capability is asked for in the app that the path or the query names, or else for all apps; a deploy
/// asks for more, depending on what it changes.
#[rustfmt::skip]
pub const CALLS: &[Call] = &[
    call(Get, "/instance", None, Does::ShowInstance),
    call(Post, "/pause", Some(InstanceAdmin), Does::Pause(Part::Instance)),
    call(Post, "/resume", Some(InstanceAdmin), Does::Resume(Part::Instance)),
    call(Get, "/apps", None, Does::ListApps),
    call(Post, "/apps", Some(AppWrite), Does::CreateApp),
    call(Get, "/apps/{app}", Some(AppRead), Does::ShowApp),
    call(Patch, "/apps/{app}", Some(AppWrite), Does::ChangeApp),
    call(Delete, "/apps/{app}", Some(AppWrite), Does::DeleteApp),
    call(Put, "/apps/{app}/manifest", Some(AppWrite), Does::Deploy),
    call(Get, "/apps/{app}/manifest", Some(AppRead), Does::Export),
    call(Post, "/apps/{app}/pause", Some(AppWrite), Does::Pause(Part::App)),
    call(Post, "/apps/{app}/resume", Some(AppWrite), Does::Resume(Part::App)),
    call(Get, "/apps/{app}/triggers", Some(AppRead), Does::ListTriggers),
    call(Get, "/apps/{app}/triggers/{name}", Some(AppRead), Does::ShowTrigger),
    call(Post, "/apps/{app}/triggers/{name}", Some(AppManageTriggers), Does::CreateTrigger),
    call(Put, "/apps/{app}/triggers/{name}", Some(AppManageTriggers), Does::ChangeTrigger),
    call(Delete, "/apps/{app}/triggers/{name}", Some(AppManageTriggers), Does::DeleteTrigger),
    call(Post, "/apps/{app}/triggers/{name}/enable", Some(AppManageTriggers), Does::SwitchTrigger(Switch::On)),
    call(Post, "/apps/{app}/triggers/{name}/disable", Some(AppManageTriggers), Does::SwitchTrigger(Switch::Off)),
    call(Post, "/apps/{app}/triggers/{name}/fire", Some(AppManageTriggers), Does::FireTrigger),
    call(Post, "/apps/{app}/triggers/{name}/pause", Some(AppManageTriggers), Does::Pause(Part::Trigger)),
    call(Post, "/apps/{app}/triggers/{name}/resume", Some(AppManageTriggers), Does::Resume(Part::Trigger)),
    call(Post, "/apps/{app}/routes/{name}/pause", Some(AppManageRoutes), Does::Pause(Part::Route)),
    call(Post, "/apps/{app}/routes/{name}/resume", Some(AppManageRoutes), Does::Resume(Part::Route)),
    call(Post, "/apps/{app}/scripts/{name}/pause", Some(AppManageScripts), Does::Pause(Part::Tasks)),
    call(Post, "/apps/{app}/scripts/{name}/resume", Some(AppManageScripts), Does::Resume(Part::Tasks)),
    call(Get, "/apps/{app}/secrets", Some(AppSecrets), Does::ListSecrets),
    call(Put, "/apps/{app}/secrets/{name}", Some(AppSecrets), Does::SetSecret),
    call(Delete, "/apps/{app}/secrets/{name}", Some(AppSecrets), Does::DeleteSecret),
    call(Get, "/apps/{app}/routes", Some(AppRead), Does::ListRoutes),
    call(Get, "/apps/{app}/kv", Some(AppData), Does::ListCollections(Kv)),
    call(Get, "/apps/{app}/kv/{collection}", Some(AppData), Does::ListEntries(Kv)),
    call(Get, "/apps/{app}/kv/{collection}/{key}", Some(AppData), Does::ShowEntry(Kv)),
    call(Put, "/apps/{app}/kv/{collection}/{key}", Some(AppData), Does::PutEntry(Kv)),
    call(Delete, "/apps/{app}/kv/{collection}/{key}", Some(AppData), Does::DeleteEntry(Kv)),
    call(Get, "/apps/{app}/docs", Some(AppData), Does::ListCollections(Docs)),
    call(Get, "/apps/{app}/docs/{collection}", Some(AppData), Does::ListEntries(Docs)),
    call(Post, "/apps/{app}/docs/{collection}", Some(AppData), Does::CreateDocument),
    call(Get, "/apps/{app}/docs/{collection}/{key}", Some(AppData), Does::ShowEntry(Docs)),
    call(Put, "/apps/{app}/docs/{collection}/{key}", Some(AppData), Does::PutEntry(Docs)),
    call(Delete, "/apps/{app}/docs/{collection}/{key}", Some(AppData), Does::DeleteEntry(Docs)),
    call(Get, "/apps/{app}/scripts", Some(AppRead), Does::ListScripts),
    call(Get, "/apps/{app}/scripts/{name}", Some(AppRead), Does::ShowScript),
    call(Put, "/apps/{app}/scripts/{name}", Some(AppManageScripts), Does::PutScript),
    call(Delete, "/apps/{app}/scripts/{name}", Some(AppManageScripts), Does::DeleteScript),
    call(Get, "/apps/{app}/scripts/{name}/versions", Some(AppRead), Does::ListVersions),
    call(Get, "/apps/{app}/scripts/{name}/versions/{version}", Some(AppRead), Does::ShowVersion),
    call(Post, "/apps/{app}/scripts/{name}/roll-back", Some(AppManageScripts), Does::RollBack),
    call(Post, "/apps/{app}/scripts/{name}/dry-run", Some(AppInvoke), Does::DryRun),
    call(Post, "/apps/{app}/scripts/{name}/invoke", Some(AppInvoke), Does::Invoke),
    call(Get, "/outbox", Some(AppRead), Does::ListOutbox),
    call(Get, "/outbox/{id}", Some(AppRead), Does::ShowOutboxRow),
    call(Post, "/outbox/{id}/run-now", Some(OutboxManage), Does::RunNow),
    call(Post, "/outbox/{id}/cancel", Some(OutboxManage), Does::Cancel),
    call(Get, "/dead-letters", Some(AppRead), Does::ListDeadLetters),
    call(Get, "/dead-letters/groups", Some(AppRead), Does::GroupDeadLetters),
    call(Get, "/dead-letters/preview", Some(AppRead), Does::PreviewDeadLetters),
    call(Post, "/dead-letters/replay", Some(DeadLettersResolve), Does::ReplayDeadLetters),
    call(Post, "/dead-letters/discard", Some(DeadLettersResolve), Does::DiscardDeadLetters),
    call(Post, "/dead-letters/take-back", Some(DeadLettersResolve), Does::TakeBackDeadLetters),
    call(Get, "/dead-letters/{id}", Some(AppRead), Does::ShowDeadLetter),
    call(Post, "/dead-letters/{id}/replay", Some(DeadLettersResolve), Does::ReplayDeadLetter),
    call(Post, "/dead-letters/{id}/take-back", Some(DeadLettersResolve), Does::TakeBackDeadLetter),
    call(Post, "/dead-letters/{id}/discard", Some(DeadLettersResolve), Does::DiscardDeadLetter),
    call(Post, "/dead-letters/{id}/reopen", Some(DeadLettersResolve), Does::ReopenDeadLetter),
    call(Get, "/abandoned", Some(AppRead), Does::ListAbandoned),
    call(Get, "/abandoned/{id}", Some(AppRead), Does::ShowAbandoned),
    call(Get, "/executions", Some(AppRead), Does::ListExecutions),
    call(Get, "/executions/{id}", Some(AppRead), Does::ShowExecution),
    call(Get, "/executions/{id}/chain", Some(AppRead), Does::ShowChain),
];

/// A request whose caller is known and may do what it asks for.
pub struct Request {
    pub call: &'static Call,
    pub principal: Arc<Principal>,
    pub peer: Peer,
    pub path: HashMap<String, String>,
    pub uri: Uri,
    /// The `If-Match` header.
    pub if_match: Option<String>,
    pub body: Bytes,
    pub catalog: Arc<Catalog>,
}

impl Request {
    /// Says no to who lacks the call's capability.
    pub fn check_capability(&self) -> Result<(), Problem> {
        let Some(capability) = self.call.capability else { return Ok(()) };
        let named = self.app_name()?;
        let app = named.as_deref().and_then(|name| find_app(&self.catalog, name));
        if self.principal.may(capability, app.map(|app| app.id)) {
            return Ok(());
        }
        if self.call.does.finds_its_app() && self.principal.may_somewhere(capability) {
            return Ok(());
        }
        let scope = match named {
            Some(name) => format!("for app \"{name}\""),
            None if self.call.method == Method::Get => {
                "for all apps; name one with app=".to_owned()
            }
            None => "for all apps".to_owned(),
        };
        Err(Problem::new(
            Code::NotAllowed,
            format!("{} lacks {} {scope}", self.principal.name, capability.as_str()),
        )
        .with_hint("call as root, or as the user that the daemon runs as"))
    }

    /// The app that the path or a list's query names.
    fn app_name(&self) -> Result<Option<String>, Problem> {
        if let Some(name) = self.path.get("app") {
            return Ok(Some(name.clone()));
        }
        // What changes something changes what its path says, whatever its query names.
        if self.call.method != Method::Get {
            return Ok(None);
        }
        #[derive(serde::Deserialize)]
        struct Named {
            app: Option<String>,
        }
        Ok(self.query::<Named>()?.app)
    }

    /// The app that the path names. It must be there.
    pub fn app(&self) -> Result<&Arc<App>, Problem> {
        let name = self.segment("app")?;
        self.app_called(name)
    }

    pub fn app_called(&self, name: &str) -> Result<&Arc<App>, Problem> {
        find_app(&self.catalog, name).ok_or_else(|| {
            let slugs = self.catalog.apps.values().map(|app| &*app.slug);
            let problem = Problem::new(Code::NotFound, format!("there is no app \"{name}\""));
            match text::nearest(name, slugs) {
                Some(meant) => problem.with_hint(format!("did you mean {meant}?")),
                None => problem.with_hint("`picloud apps list` shows all"),
            }
        })
    }

    /// A variable part of the path, decoded.
    pub fn segment(&self, name: &str) -> Result<&str, Problem> {
        let segment = self.path.get(name).map(String::as_str);
        segment.ok_or_else(|| Problem::new(Code::BadRequest, format!("the path lacks its {name}")))
    }

    /// The query, which may have only the fields of `T`.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        Query::try_from_uri(&self.uri).map(|Query(query)| query).map_err(|error| {
            let cause = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            // What stands before is serde's name for the place.
            let message = cause.rsplit(": ").next().unwrap_or(&cause);
            Problem::new(
                Code::BadRequest,
                format!("in the query: {}", text::explain_unknown_key(message)),
            )
        })
    }

    /// The body as JSON; an empty one is that of a call that needs none.
    pub fn body<T: DeserializeOwned>(&self, code: Code) -> Result<T, Problem> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let code = if error.is_data() { code } else { Code::BadRequest };
            let message = error.to_string();
            let at = format!(" at line {line} column {column}");
            let message = text::explain_unknown_key(message.strip_suffix(&at).unwrap_or(&message));
            Problem::new(code, format!("the body, line {line}, column {column}: {message}"))
        })
    }

    /// Of a call that asks for nothing: no body, or an empty map.
    pub fn no_body(&self) -> Result<(), Problem> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        self.body::<Nothing>(Code::BadRequest).map(drop)
    }

    /// The version that `If-Match` names, if it is there.
    pub fn expected(&self) -> Result<Option<i64>, Problem> {
        let Some(named) = self.if_match.as_deref() else { return Ok(None) };
        let bare = named.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        bare.and_then(|version| version.parse().ok()).map(Some).ok_or_else(|| {
            Problem::new(
                Code::BadRequest,
                format!("If-Match: {named} is no version; send one ETag as it was answered, such as \"3\""),
            )
        })
    }

    /// Says no to who lacks a further capability in an app.
    pub fn ask(&self, capability: Capability, app: &App) -> Result<(), Problem> {
        if self.may(capability, app.id) {
            return Ok(());
        }
        let (who, what) = (&self.principal.name, capability.as_str());
        let detail = format!("{who} lacks {what} for app \"{}\"", app.slug);
        Err(Problem::new(Code::NotAllowed, detail)
            .with_hint("call as root, or as the user that the daemon runs as"))
    }

    /// Says no to who may not do this in the app of what was found. Who may not even read there does not learn that it
    /// is there.
    pub fn check_found(&self, app: AppId, what: &str) -> Result<(), Problem> {
        let Some(capability) = self.call.capability else { return Ok(()) };
        if self.may(capability, app) {
            return Ok(());
        }
        if !self.may(Capability::AppRead, app) {
            return Err(not_there(what));
        }
        Err(self.lacks(capability, self.catalog.apps.get(&app).map(|app| &*app.slug)))
    }

    /// The problem of who lacks a capability in an app, or in all.
    pub fn lacks(&self, capability: Capability, app: Option<&str>) -> Problem {
        let scope = app.map_or("for all apps".to_owned(), |slug| format!("for app \"{slug}\""));
        let (who, capability) = (&self.principal.name, capability.as_str());
        Problem::new(Code::NotAllowed, format!("{who} lacks {capability} {scope}"))
            .with_hint("call as root, or as the user that the daemon runs as")
    }

    /// Whether the caller may do this in an app.
    pub fn may(&self, capability: Capability, app: AppId) -> bool {
        self.principal.may(capability, Some(app))
    }
}

/// An app by its slug or its number.
fn find_app<'a>(catalog: &'a Catalog, name: &str) -> Option<&'a Arc<App>> {
    catalog.app(name).or_else(|| catalog.apps.get(&AppId(name.parse().ok()?)))
}

/// `what` names it: `dead letter 01J…`.
pub fn not_there(what: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no {what}"))
}
