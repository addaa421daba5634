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

use crate::admin::peer::{HINT, Peer};
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
    /// For the documentation: one line.
    pub about: &'static str,
    /// The fields that its query may have.
    pub query: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    ShowInstance,
    ShowOpenApi,
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
    ShowRoute,
    CreateRoute,
    ChangeRoute,
    DeleteRoute,
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
    ListPrincipals,
    ShowPrincipal,
    CreatePrincipal,
    DeletePrincipal,
    Grant,
    Revoke,
    ListTokens,
    CreateToken,
    RevokeToken,
    ListAudit,
    ListLogs,
    StreamEvents,
    ShowStats,
    ShowMetrics,
    ShowDoctor,
    ListBackups,
    StartBackup,
    ListNodes,
    ShowHealth,
    ShowReadiness,
}

impl Does {
    /// Whether the app that a call is about is known only once what its path or body names is found. The answer then
    /// checks the capability in that app.
    #[expect(clippy::too_many_lines, reason = "a line for each call")]
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
            | Self::ShowOpenApi
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
            | Self::ShowRoute
            | Self::CreateRoute
            | Self::ChangeRoute
            | Self::DeleteRoute
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
            | Self::CreateDocument
            | Self::ListPrincipals
            | Self::ShowPrincipal
            | Self::CreatePrincipal
            | Self::DeletePrincipal
            | Self::Grant
            | Self::Revoke
            | Self::ListTokens
            | Self::CreateToken
            | Self::RevokeToken
            | Self::ListAudit
            | Self::ListLogs
            | Self::StreamEvents
            | Self::ShowStats
            | Self::ShowMetrics
            | Self::ShowDoctor
            | Self::ListBackups
            | Self::StartBackup
            | Self::ListNodes
            | Self::ShowHealth
            | Self::ShowReadiness => false,
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
    about: &'static str,
) -> Call {
    Call { method, path, capability, does, about, query: &[] }
}

impl Call {
    /// The same call, with fields that its query may have. One that is named `app` limits the call to that app, and the
    /// capability with it.
    const fn asking(self, query: &'static [&'static str]) -> Call {
        Call { query, ..self }
    }
}

/// The query of a list.
const PAGE: &[&str] = &["after", "limit"];
/// The query of a list that can be had for one app.
const PAGE_OF_APP: &[&str] = &["after", "limit", "app"];
/// The query of a list with a filter.
const FILTERED: &[&str] = &["after", "limit", "app", "filter"];
/// The query of what is about all that passes a filter.
const FILTER: &[&str] = &["app", "filter"];
/// The query of what can be had for one app.
const OF_APP: &[&str] = &["app"];
const ENTRIES: &[&str] = &["prefix", "after", "limit"];
const DRY_RUN: &[&str] = &["dry_run"];

use Capability::{
    AppData, AppInvoke, AppManageRoutes, AppManageScripts, AppManageTriggers, AppRead, AppSecrets,
    AppWrite, DeadLettersResolve, InstanceAdmin, OutboxManage, PrincipalsManage,
};
use Method::{Delete, Get, Patch, Post, Put};
use Space::{Docs, Kv};

/// Every call. A capability is asked for in the app that the path or the query names, or else for all apps; a deploy
/// asks for more, depending on what it changes.
#[rustfmt::skip]
pub const CALLS: &[Call] = &[
    call(Get, "/instance", None, Does::ShowInstance, "The instance: what waits, what is paused, who you are."),
    call(Get, "/openapi.json", None, Does::ShowOpenApi, "This API as an OpenAPI document."),
    call(Post, "/pause", Some(InstanceAdmin), Does::Pause(Part::Instance), "Let nothing run; what comes in is kept."),
    call(Post, "/resume", Some(InstanceAdmin), Does::Resume(Part::Instance), "Let everything run again that is not paused itself."),
    call(Get, "/apps", None, Does::ListApps, "The apps that you may read, by slug.").asking(PAGE_OF_APP),
    call(Post, "/apps", Some(AppWrite), Does::CreateApp, "Make an app with nothing in it."),
    call(Get, "/apps/{app}", Some(AppRead), Does::ShowApp, "One app, with its revision as `ETag`."),
    call(Patch, "/apps/{app}", Some(AppWrite), Does::ChangeApp, "Change slug, host or settings of an app; what is left out stays as it is. `auth` and `rate` ask for `AppManageRoutes`, too."),
    call(Delete, "/apps/{app}", Some(AppWrite), Does::DeleteApp, "Delete an app with everything in it. What waits is abandoned on record, and grants for it go."),
    call(Put, "/apps/{app}/manifest", Some(AppWrite), Does::Deploy, "Make the app what the manifest says; with `dry_run=true` only say what would change. Changed scripts, routes and triggers ask for their own capabilities, too.").asking(DRY_RUN),
    call(Get, "/apps/{app}/manifest", Some(AppRead), Does::Export, "The app as a manifest with its scripts."),
    call(Post, "/apps/{app}/pause", Some(AppWrite), Does::Pause(Part::App), "Let nothing of the app run."),
    call(Post, "/apps/{app}/resume", Some(AppWrite), Does::Resume(Part::App), "Let the app run again."),
    call(Get, "/apps/{app}/triggers", Some(AppRead), Does::ListTriggers, "The app's triggers, by name: what they match, and when schedules are due.").asking(PAGE),
    call(Get, "/apps/{app}/triggers/{name}", Some(AppRead), Does::ShowTrigger, "One trigger, with the app's revision as `ETag`."),
    call(Post, "/apps/{app}/triggers/{name}", Some(AppManageTriggers), Does::CreateTrigger, "Make a trigger; here `{name}` is its kind, with a dash for the underscore of `dead_letter`. It runs as you."),
    call(Put, "/apps/{app}/triggers/{name}", Some(AppManageTriggers), Does::ChangeTrigger, "Change a trigger, all of it. It runs as you from then on."),
    call(Delete, "/apps/{app}/triggers/{name}", Some(AppManageTriggers), Does::DeleteTrigger, "Delete a trigger. What it has set off still runs."),
    call(Post, "/apps/{app}/triggers/{name}/enable", Some(AppManageTriggers), Does::SwitchTrigger(Switch::On), "Let a trigger match again."),
    call(Post, "/apps/{app}/triggers/{name}/disable", Some(AppManageTriggers), Does::SwitchTrigger(Switch::Off), "Let a trigger match no more. What it has set off still runs."),
    call(Post, "/apps/{app}/triggers/{name}/fire", Some(AppManageTriggers), Does::FireTrigger, "Set a trigger off once, with an event that you give or a made-up one. The run is yours, so this asks for `AppInvoke`, too."),
    call(Post, "/apps/{app}/triggers/{name}/pause", Some(AppManageTriggers), Does::Pause(Part::Trigger), "Let the trigger match, but its rows wait."),
    call(Post, "/apps/{app}/triggers/{name}/resume", Some(AppManageTriggers), Does::Resume(Part::Trigger), "Let the trigger's rows run again."),
    call(Post, "/apps/{app}/routes/{name}/pause", Some(AppManageRoutes), Does::Pause(Part::Route), "Keep the route from running; `{name}` is method and path, `POST /readings`."),
    call(Post, "/apps/{app}/routes/{name}/resume", Some(AppManageRoutes), Does::Resume(Part::Route), "Let the route run again."),
    call(Post, "/apps/{app}/scripts/{name}/pause", Some(AppManageScripts), Does::Pause(Part::Tasks), "Let the tasks wait that run the script."),
    call(Post, "/apps/{app}/scripts/{name}/resume", Some(AppManageScripts), Does::Resume(Part::Tasks), "Let the script's tasks run again."),
    call(Get, "/apps/{app}/secrets", Some(AppSecrets), Does::ListSecrets, "The names of the app's secrets, with who set them when. Values are never shown.").asking(PAGE),
    call(Put, "/apps/{app}/secrets/{name}", Some(AppSecrets), Does::SetSecret, "Set a secret, new or not."),
    call(Delete, "/apps/{app}/secrets/{name}", Some(AppSecrets), Does::DeleteSecret, "Delete a secret. Scripts that read it fail from then on."),
    call(Get, "/apps/{app}/routes", Some(AppRead), Does::ListRoutes, "The app's routes, by path and method, with where they are reached.").asking(PAGE),
    call(Post, "/apps/{app}/routes", Some(AppManageRoutes), Does::CreateRoute, "Make a route, from an entry as a manifest has it. It runs as you."),
    call(Get, "/apps/{app}/routes/{name}", Some(AppRead), Does::ShowRoute, "One route, with the app's revision as `ETag`; `{name}` is method and path, `POST /readings`."),
    call(Put, "/apps/{app}/routes/{name}", Some(AppManageRoutes), Does::ChangeRoute, "Change a route, all of it but method and path. It runs as you from then on; it stays paused if it is."),
    call(Delete, "/apps/{app}/routes/{name}", Some(AppManageRoutes), Does::DeleteRoute, "Delete a route. What it has accepted still runs."),
    call(Get, "/apps/{app}/kv", Some(AppData), Does::ListCollections(Kv), "The names of the app's KV collections.").asking(PAGE),
    call(Get, "/apps/{app}/kv/{collection}", Some(AppData), Does::ListEntries(Kv), "The entries of a collection, by key.").asking(ENTRIES),
    call(Get, "/apps/{app}/kv/{collection}/{key}", Some(AppData), Does::ShowEntry(Kv), "One entry, with who wrote it last, and its version as `ETag`."),
    call(Put, "/apps/{app}/kv/{collection}/{key}", Some(AppData), Does::PutEntry(Kv), "Write an entry as a script would: triggers fire. With `dry_run` in the body only say what would happen."),
    call(Delete, "/apps/{app}/kv/{collection}/{key}", Some(AppData), Does::DeleteEntry(Kv), "Delete an entry as a script would: triggers fire.").asking(DRY_RUN),
    call(Get, "/apps/{app}/docs", Some(AppData), Does::ListCollections(Docs), "The names of the app's collections of documents.").asking(PAGE),
    call(Get, "/apps/{app}/docs/{collection}", Some(AppData), Does::ListEntries(Docs), "The documents of a collection, by id.").asking(ENTRIES),
    call(Post, "/apps/{app}/docs/{collection}", Some(AppData), Does::CreateDocument, "Store a document under a new id; triggers fire. With `dry_run` in the body only say what would happen."),
    call(Get, "/apps/{app}/docs/{collection}/{key}", Some(AppData), Does::ShowEntry(Docs), "One document, with who wrote it last, and its version as `ETag`."),
    call(Put, "/apps/{app}/docs/{collection}/{key}", Some(AppData), Does::PutEntry(Docs), "Write a document as a script would: triggers fire. With `dry_run` in the body only say what would happen."),
    call(Delete, "/apps/{app}/docs/{collection}/{key}", Some(AppData), Does::DeleteEntry(Docs), "Delete a document as a script would: triggers fire.").asking(DRY_RUN),
    call(Get, "/apps/{app}/scripts", Some(AppRead), Does::ListScripts, "The app's scripts, by name, with what uses them.").asking(PAGE),
    call(Get, "/apps/{app}/scripts/{name}", Some(AppRead), Does::ShowScript, "One script with its source, and its version as `ETag`."),
    call(Put, "/apps/{app}/scripts/{name}", Some(AppManageScripts), Does::PutScript, "Write a script, new or as its next version. One that does not compile is refused."),
    call(Delete, "/apps/{app}/scripts/{name}", Some(AppManageScripts), Does::DeleteScript, "Delete a script that no route and no trigger runs."),
    call(Get, "/apps/{app}/scripts/{name}/versions", Some(AppRead), Does::ListVersions, "The versions of a script that are kept, the newest first.").asking(PAGE),
    call(Get, "/apps/{app}/scripts/{name}/versions/{version}", Some(AppRead), Does::ShowVersion, "One version of a script with its source."),
    call(Post, "/apps/{app}/scripts/{name}/roll-back", Some(AppManageScripts), Does::RollBack, "Make an earlier version the script's next one."),
    call(Post, "/apps/{app}/scripts/{name}/dry-run", Some(AppInvoke), Does::DryRun, "Run a script without committing, and show what it would write and start. An unsaved source asks for `AppManageScripts`, an event of the app's for `AppRead`, too."),
    call(Post, "/apps/{app}/scripts/{name}/invoke", Some(AppInvoke), Does::Invoke, "Run a script as you, and wait for its result, or have it run later."),
    call(Get, "/outbox", Some(AppRead), Does::ListOutbox, "What waits or runs, the newest first.").asking(FILTERED),
    call(Get, "/outbox/{id}", Some(AppRead), Does::ShowOutboxRow, "One row of the outbox with its event."),
    call(Post, "/outbox/{id}/run-now", Some(OutboxManage), Does::RunNow, "Let a waiting row run at once."),
    call(Post, "/outbox/{id}/cancel", Some(OutboxManage), Does::Cancel, "Make a dead letter of a waiting row, with a reason."),
    call(Get, "/dead-letters", Some(AppRead), Does::ListDeadLetters, "What could not be done, the newest first; only what is open, unless the filter says otherwise.").asking(FILTERED),
    call(Get, "/dead-letters/groups", Some(AppRead), Does::GroupDeadLetters, "Dead letters counted by app, script and error.").asking(FILTER),
    call(Get, "/dead-letters/preview", Some(AppRead), Does::PreviewDeadLetters, "What a call in bulk with this filter would be about.").asking(FILTER),
    call(Post, "/dead-letters/replay", Some(DeadLettersResolve), Does::ReplayDeadLetters, "Replay all that a preview saw, if there are still as many."),
    call(Post, "/dead-letters/discard", Some(DeadLettersResolve), Does::DiscardDeadLetters, "Discard all that a preview saw, if there are still as many, with a reason."),
    call(Post, "/dead-letters/take-back", Some(DeadLettersResolve), Does::TakeBackDeadLetters, "Undo replays that have not begun, by the letters' ids."),
    call(Get, "/dead-letters/{id}", Some(AppRead), Does::ShowDeadLetter, "One dead letter with its event."),
    call(Post, "/dead-letters/{id}/replay", Some(DeadLettersResolve), Does::ReplayDeadLetter, "Replay a dead letter as it was or with another payload; `hold_ms` leaves time to take it back."),
    call(Post, "/dead-letters/{id}/take-back", Some(DeadLettersResolve), Does::TakeBackDeadLetter, "Undo a replay that has not begun."),
    call(Post, "/dead-letters/{id}/discard", Some(DeadLettersResolve), Does::DiscardDeadLetter, "Discard a dead letter, with a reason."),
    call(Post, "/dead-letters/{id}/reopen", Some(DeadLettersResolve), Does::ReopenDeadLetter, "Make a discarded dead letter an open one again."),
    call(Get, "/abandoned", Some(AppRead), Does::ListAbandoned, "What ended without success and without a dead letter, the newest first.").asking(FILTERED),
    call(Get, "/abandoned/{id}", Some(AppRead), Does::ShowAbandoned, "One abandoned execution, with its event where it is kept."),
    call(Get, "/executions", Some(AppRead), Does::ListExecutions, "Runs that ended lately, as memory has them, the newest first.").asking(FILTERED),
    call(Get, "/executions/{id}", Some(AppRead), Does::ShowExecution, "One execution: its attempts with their log lines and what they wrote, as memory has them."),
    call(Get, "/executions/{id}/chain", Some(AppRead), Does::ShowChain, "Everything that is known of the causes and consequences of an execution."),
    call(Get, "/logs", Some(AppRead), Does::ListLogs, "Lines that scripts logged lately, as memory has them with their runs, the newest first.").asking(FILTERED),
    call(Get, "/events", Some(AppRead), Does::StreamEvents, "What happens, as server-sent events: moves of outbox rows, ended runs, log lines, statistics each second. `Last-Event-ID` goes on behind that event; who is too slow is told how much it missed.").asking(FILTER),
    call(Get, "/stats", Some(AppRead), Does::ShowStats, "Rates, times, what waits and runs, store, memory; of one app or of all.").asking(OF_APP),
    call(Get, "/metrics", Some(AppRead), Does::ShowMetrics, "The same for Prometheus, in its text format, version 0.0.4."),
    call(Get, "/doctor", Some(AppRead), Does::ShowDoctor, "Checks of everything that an owner can put right, each with what to do."),
    call(Get, "/backups", Some(AppRead), Does::ListBackups, "Backups of the store, the newest first: those that are kept, the one that runs, and those that failed since the start.").asking(PAGE),
    call(Post, "/backups", Some(InstanceAdmin), Does::StartBackup, "Begin a backup of the whole store in the daemon's folder for them; one at a time. The key of the secrets is not in it."),
    call(Get, "/nodes", Some(AppRead), Does::ListNodes, "The daemons that share the work: this one.").asking(PAGE),
    call(Get, "/healthz", None, Does::ShowHealth, "Whether the daemon answers."),
    call(Get, "/readyz", None, Does::ShowReadiness, "Whether it can do its work; otherwise 503 with the reasons."),
    call(Get, "/principals", Some(PrincipalsManage), Does::ListPrincipals, "Who is known, and what they may do.").asking(PAGE),
    call(Post, "/principals", Some(PrincipalsManage), Does::CreatePrincipal, "Make a principal, with a uid or without, and with grants that you have yourself."),
    call(Get, "/principals/{name}", Some(PrincipalsManage), Does::ShowPrincipal, "One principal, by name or number."),
    call(Delete, "/principals/{name}", Some(PrincipalsManage), Does::DeletePrincipal, "Delete a principal with its grants and tokens. What runs as it is refused from then on."),
    call(Post, "/principals/{name}/grant", Some(PrincipalsManage), Does::Grant, "Give a principal capabilities that you have yourself, for one app or for all."),
    call(Post, "/principals/{name}/revoke", Some(PrincipalsManage), Does::Revoke, "Take capabilities away. The next run that needs one is refused."),
    call(Get, "/tokens", Some(PrincipalsManage), Does::ListTokens, "The tokens, without their secrets; those that ended are shown for 30 days.").asking(PAGE),
    call(Post, "/tokens", Some(PrincipalsManage), Does::CreateToken, "Make a token for a principal, or for a new one with grants that you have yourself. The answer alone has the secret."),
    call(Post, "/tokens/{name}/revoke", Some(PrincipalsManage), Does::RevokeToken, "End a token, by name or number."),
    call(Get, "/audit", Some(PrincipalsManage), Does::ListAudit, "Who changed what, the newest first.").asking(PAGE),
];

/// A request whose caller is known and may do what it asks for.
pub struct Request {
    pub call: &'static Call,
    pub principal: Arc<Principal>,
    /// The other end of the socket; absent on the listener that has none.
    pub peer: Option<Peer>,
    pub path: HashMap<String, String>,
    pub uri: Uri,
    /// The `If-Match` header.
    pub if_match: Option<String>,
    /// Of a reader of events that comes back.
    pub last_event_id: Option<String>,
    pub body: Bytes,
    pub catalog: Arc<Catalog>,
}

impl Request {
    /// Says no to who lacks the call's capability.
    pub fn check_capability(&self) -> Result<(), Problem> {
        self.check_query()?;
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
            None if self.call.query.contains(&"app") => {
                "for all apps; name one with app=".to_owned()
            }
            None => "for all apps".to_owned(),
        };
        Err(Problem::new(
            Code::NotAllowed,
            format!("{} lacks {} {scope}", self.principal.name, capability.as_str()),
        )
        .with_hint(HINT))
    }

    /// The query has only fields that this call knows.
    fn check_query(&self) -> Result<(), Problem> {
        let fields: Vec<(String, String)> = self.query()?;
        let unknown = fields.iter().find(|(name, _)| !self.call.query.contains(&name.as_str()));
        let Some((name, _)) = unknown else { return Ok(()) };
        let detail = if self.call.query.is_empty() {
            let Call { method, path, .. } = self.call;
            format!("{} {path} takes no query, but there is \"{name}\"", method.as_str())
        } else {
            format!("in the query: {}", text::unknown_key(name, self.call.query.iter().copied()))
        };
        Err(Problem::new(Code::BadRequest, detail))
    }

    /// The app that the path or a list's query names.
    fn app_name(&self) -> Result<Option<String>, Problem> {
        if let Some(name) = self.path.get("app") {
            return Ok(Some(name.clone()));
        }
        if !self.call.query.contains(&"app") {
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
            Problem::new(Code::BadRequest, format!("in the query: {}", text::explain(message)))
        })
    }

    /// The body as JSON; an empty one is that of a call that needs none.
    pub fn body<T: DeserializeOwned>(&self, code: Code) -> Result<T, Problem> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        // A list would be taken for the fields in their order.
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::new(code, "the body is a list; a map is wanted"));
        }
        serde_json::from_slice(body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let code = if error.is_data() { code } else { Code::BadRequest };
            let message = error.to_string();
            let at = format!(" at line {line} column {column}");
            let message = text::explain(message.strip_suffix(&at).unwrap_or(&message));
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
        Err(Problem::new(Code::NotAllowed, detail).with_hint(HINT))
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
        Problem::new(Code::NotAllowed, format!("{who} lacks {capability} {scope}")).with_hint(HINT)
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
