//! What is configured, as one immutable value: a change makes a new catalog.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use picloud_scripts_runtime::limits::RunLimits;

use crate::ids::{AppId, PrincipalId, QueueId, ScriptId, TriggerId};
use crate::principal::{Principal, Token, TokenHash, TokenState};
use crate::route::Route;
use crate::route::access::Access;
use crate::route::table::RouteTable;
use crate::time::Timestamp;
use crate::trigger::{Trigger, TriggerSet};

/// All apps with what belongs to them. Built by [`Catalog::build`] from what the store holds.
#[derive(Debug, Default)]
pub struct Catalog {
    pub apps: HashMap<AppId, Arc<App>>,
    pub triggers: HashMap<TriggerId, Arc<Trigger>>,
    pub matching: TriggerSet,
    pub principals: HashMap<PrincipalId, Arc<Principal>>,
    pub tokens: HashMap<TokenHash, Arc<Token>>,
    /// What is paused: [`INSTANCE`], an app's number, or a queue's.
    pub pauses: HashMap<i64, Pause>,
    /// What is known of the apps' secrets. Their values stay in the store.
    secrets: BTreeMap<(AppId, Arc<str>), SecretNote>,
    /// Apps that were deleted, as long as anything of them is there.
    pub deleted: HashSet<AppId>,
    app_by_slug: HashMap<Arc<str>, AppId>,
    /// Host names in lower case.
    app_by_host: HashMap<Arc<str>, AppId>,
    tables: HashMap<AppId, RouteTable>,
}

/// The pause target that stands for everything.
pub const INSTANCE: i64 = 0;

/// One app.
#[derive(Debug)]
pub struct App {
    pub id: AppId,
    pub slug: Arc<str>,
    /// The host name that it claims beside its path.
    pub host: Option<Arc<str>>,
    pub allow_hosts: Vec<Arc<str>>,
    pub expose_errors: bool,
    /// Who may call its routes, where these do not say it themselves.
    pub access: Access,
    pub revision: i64,
    pub scripts: HashMap<Arc<str>, Arc<Script>>,
    pub routes: Vec<Arc<Route>>,
}

/// The current version of a script.
#[derive(Debug, PartialEq)]
pub struct Script {
    pub id: ScriptId,
    pub app: AppId,
    pub name: Arc<str>,
    /// From 1, counted for each script.
    pub version: i64,
    pub source: Arc<str>,
    /// The instance's limits, lowered by the manifest.
    pub limits: RunLimits,
}

/// Why something does not run, and since when.
#[derive(Clone, Debug, PartialEq)]
pub struct Pause {
    pub reason: Arc<str>,
    pub since: Timestamp,
    /// `None` when the daemon itself paused it.
    pub by: Option<PrincipalId>,
}

/// Who set a secret, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecretNote {
    pub set_at: Timestamp,
    pub set_by: PrincipalId,
}

/// What the store holds, row by row.
#[derive(Debug, Default)]
pub struct CatalogRows {
    pub apps: Vec<App>,
    pub triggers: Vec<Trigger>,
    pub principals: Vec<Principal>,
    pub tokens: Vec<Token>,
    pub pauses: Vec<(i64, Pause)>,
    pub secrets: Vec<((AppId, Arc<str>), SecretNote)>,
    pub deleted: Vec<AppId>,
}

impl Catalog {
    pub fn build(rows: CatalogRows) -> Catalog {
        let triggers: HashMap<TriggerId, Arc<Trigger>> =
            rows.triggers.into_iter().map(|trigger| (trigger.id, Arc::new(trigger))).collect();
        let app_by_slug = rows.apps.iter().map(|app| (Arc::clone(&app.slug), app.id)).collect();
        let app_by_host = rows
            .apps
            .iter()
            .filter_map(|app| Some((app.host.as_ref()?.to_ascii_lowercase().into(), app.id)))
            .collect();
        let tables = rows.apps.iter().map(|app| (app.id, RouteTable::build(&app.routes))).collect();
        Catalog {
            matching: TriggerSet::build(triggers.values().cloned()),
            triggers,
            app_by_slug,
            app_by_host,
            tables,
            apps: rows.apps.into_iter().map(|app| (app.id, Arc::new(app))).collect(),
            principals: rows.principals.into_iter().map(|one| (one.id, Arc::new(one))).collect(),
            tokens: rows.tokens.into_iter().map(|one| (one.hash.clone(), Arc::new(one))).collect(),
            pauses: rows.pauses.into_iter().collect(),
            secrets: rows.secrets.into_iter().collect(),
            deleted: rows.deleted.into_iter().collect(),
        }
    }

    pub fn app(&self, slug: &str) -> Option<&Arc<App>> {
        self.apps.get(self.app_by_slug.get(slug)?)
    }

    /// The token that an `Authorization` header field shows and whom it stands for, or why it lets nobody in.
    pub fn bearer(&self, shown: &str, now: Timestamp) -> Result<(&Token, &Arc<Principal>), String> {
        let secret = match shown.split_once(' ') {
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => secret.trim(),
            Some(_) | None => return Err("the header authorization is no Bearer TOKEN".to_owned()),
        };
        let hash =
            TokenHash::of(secret).ok_or("the token is none of PiCloud's; they begin with pct_")?;
        let token = self.tokens.get(&hash).ok_or("there is no such token")?;
        let ended = |how: &str, at: Timestamp| {
            let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
            Err(format!("token \"{}\" {how} at {at}", token.name))
        };
        match token.state(now) {
            TokenState::Expired { at } => return ended("expired", at),
            TokenState::Revoked { at } => return ended("was revoked", at),
            TokenState::Valid => {}
        }
        let principal = self.principals.get(&token.principal);
        Ok((token, principal.ok_or("the token's principal is gone")?))
    }

    /// The app that claims a host name, which is in lower case.
    pub fn app_of_host(&self, host: &str) -> Option<&Arc<App>> {
        self.apps.get(self.app_by_host.get(host)?)
    }

    /// The routes of an app, ready to be searched.
    pub fn table(&self, app: AppId) -> Option<&RouteTable> {
        self.tables.get(&app)
    }

    /// What is known of a secret, if there is one of that name.
    pub fn secret(&self, app: AppId, name: &str) -> Option<&SecretNote> {
        self.secrets.get(&(app, Arc::from(name)))
    }

    /// The secrets of an app in the order of their names.
    pub fn secrets_of(&self, app: AppId) -> impl Iterator<Item = (&Arc<str>, &SecretNote)> {
        let all = self.secrets.range((app, Arc::from(""))..);
        all.take_while(move |((of, _), _)| *of == app).map(|((_, name), note)| (name, note))
    }

    /// Whether any app has a secret.
    pub fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    pub fn script(&self, app: AppId, name: &str) -> Option<&Arc<Script>> {
        self.apps.get(&app)?.scripts.get(name)
    }

    /// Whether rows of a queue may run: nothing of it is paused, and its app has not been deleted.
    pub fn runs(&self, app: AppId, queue: QueueId) -> bool {
        self.pause(app, queue).is_none() && !self.deleted.contains(&app)
    }

    /// The pause that keeps a queue from running: its own, its app's, or the instance's.
    pub fn pause(&self, app: AppId, queue: QueueId) -> Option<&Pause> {
        [INSTANCE, app.0, queue.0].iter().find_map(|target| self.pauses.get(target))
    }
}
