//! Who acts, and what they may do.

use serde::{Deserialize, Serialize};

use crate::ids::{AppId, PrincipalId};

/// What a call or a script asks for. Granted for one app or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Capability {
    InstanceAdmin,
    AppRead,
    /// Create, deploy, delete.
    AppWrite,
    AppManageScripts,
    AppManageRoutes,
    AppManageTriggers,
    /// KV and documents.
    AppData,
    AppSecrets,
    AppInvoke,
    OutboxManage,
    DeadLettersResolve,
    PrincipalsManage,
}

impl Capability {
    pub const ALL: [Capability; 12] = [
        Self::InstanceAdmin,
        Self::AppRead,
        Self::AppWrite,
        Self::AppManageScripts,
        Self::AppManageRoutes,
        Self::AppManageTriggers,
        Self::AppData,
        Self::AppSecrets,
        Self::AppInvoke,
        Self::OutboxManage,
        Self::DeadLettersResolve,
        Self::PrincipalsManage,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::InstanceAdmin => "InstanceAdmin",
            Self::AppRead => "AppRead",
            Self::AppWrite => "AppWrite",
            Self::AppManageScripts => "AppManageScripts",
            Self::AppManageRoutes => "AppManageRoutes",
            Self::AppManageTriggers => "AppManageTriggers",
            Self::AppData => "AppData",
            Self::AppSecrets => "AppSecrets",
            Self::AppInvoke => "AppInvoke",
            Self::OutboxManage => "OutboxManage",
            Self::DeadLettersResolve => "DeadLettersResolve",
            Self::PrincipalsManage => "PrincipalsManage",
        }
    }
}

/// Somebody who is known: a uid on the socket, later also a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    pub id: PrincipalId,
    pub name: String,
    /// The uid by which the socket knows this principal.
    pub uid: Option<u32>,
    pub grants: Vec<Grant>,
}

/// One capability, in one app or (`None`) in all.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    pub capability: Capability,
    pub app: Option<AppId>,
}

impl Principal {
    /// In one app at least.
    pub fn may_somewhere(&self, capability: Capability) -> bool {
        self.grants.iter().any(|grant| {
            grant.capability == capability || grant.capability == Capability::InstanceAdmin
        })
    }

    /// `InstanceAdmin` contains every other capability.
    pub fn may(&self, capability: Capability, app: Option<AppId>) -> bool {
        self.grants.iter().any(|grant| {
            (grant.capability == capability || grant.capability == Capability::InstanceAdmin)
                && (grant.app.is_none() || grant.app == app)
        })
    }
}
