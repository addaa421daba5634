//! The calls of the admin API, and the capability that each one asks for.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Query;
use axum::http::Uri;
use picloud_api::problem::{Code, Problem};
use picloud_api::text;
use serde::de::DeserializeOwned;

use crate::admin::peer::{HINT, Peer};
use crate::catalog::{App, Catalog};
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
    Delete,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    ShowInstance,
    ListApps,
    Deploy,
    Export,
    ListOutbox,
    ListDeadLetters,
    ListExecutions,
    Pause(Part),
    Resume(Part),
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

use Capability::{
    AppManageRoutes, AppManageScripts, AppManageTriggers, AppRead, AppWrite, InstanceAdmin,
    PrincipalsManage,
};
use Method::{Delete, Get, Post, Put};

/// Every call. A capability is asked for in the app that the path or the query names, or else for all apps; a deploy
/// asks for more, depending on what it changes.
#[rustfmt::skip]
pub const CALLS: &[Call] = &[
    call(Get, "/instance", None, Does::ShowInstance, "The instance: what waits, what is paused, who you are."),
    call(Post, "/pause", Some(InstanceAdmin), Does::Pause(Part::Instance), "Let nothing run; what comes in is kept."),
    call(Post, "/resume", Some(InstanceAdmin), Does::Resume(Part::Instance), "Let everything run again that is not paused itself."),
    call(Get, "/apps", None, Does::ListApps, "The apps that you may read, by slug.").asking(PAGE_OF_APP),
    call(Put, "/apps/{app}/manifest", Some(AppWrite), Does::Deploy, "Make the app what the manifest says; with `dry_run=true` only say what would change. Changed scripts, routes and triggers ask for their own capabilities, too.").asking(&["dry_run"]),
    call(Get, "/apps/{app}/manifest", Some(AppRead), Does::Export, "The app as a manifest with its scripts."),
    call(Post, "/apps/{app}/pause", Some(AppWrite), Does::Pause(Part::App), "Let nothing of the app run."),
    call(Post, "/apps/{app}/resume", Some(AppWrite), Does::Resume(Part::App), "Let the app run again."),
    call(Post, "/apps/{app}/triggers/{name}/pause", Some(AppManageTriggers), Does::Pause(Part::Trigger), "Let the trigger match, but its rows wait."),
    call(Post, "/apps/{app}/triggers/{name}/resume", Some(AppManageTriggers), Does::Resume(Part::Trigger), "Let the trigger's rows run again."),
    call(Post, "/apps/{app}/routes/{name}/pause", Some(AppManageRoutes), Does::Pause(Part::Route), "Keep the route from running; `{name}` is method and path, `POST /readings`."),
    call(Post, "/apps/{app}/routes/{name}/resume", Some(AppManageRoutes), Does::Resume(Part::Route), "Let the route run again."),
    call(Post, "/apps/{app}/scripts/{name}/pause", Some(AppManageScripts), Does::Pause(Part::Tasks), "Let the tasks wait that run the script."),
    call(Post, "/apps/{app}/scripts/{name}/resume", Some(AppManageScripts), Does::Resume(Part::Tasks), "Let the script's tasks run again."),
    call(Get, "/outbox", Some(AppRead), Does::ListOutbox, "What waits or runs, the newest first.").asking(PAGE_OF_APP),
    call(Get, "/dead-letters", Some(AppRead), Does::ListDeadLetters, "What could not be done and is open, the newest first.").asking(PAGE_OF_APP),
    call(Get, "/executions", Some(AppRead), Does::ListExecutions, "Runs that ended lately, as memory has them, the newest first.").asking(PAGE_OF_APP),
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

    /// Whether the caller may do this in an app.
    pub fn may(&self, capability: Capability, app: AppId) -> bool {
        self.principal.may(capability, Some(app))
    }
}

/// An app by its slug or its number.
fn find_app<'a>(catalog: &'a Catalog, name: &str) -> Option<&'a Arc<App>> {
    catalog.app(name).or_else(|| catalog.apps.get(&AppId(name.parse().ok()?)))
}
