//! Routes: which script answers a request.

use std::sync::Arc;

use crate::ids::{AppId, PrincipalId, RouteId};
use crate::retry::RetryPolicy;

/// One route of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub id: RouteId,
    pub app: AppId,
    /// Upper case.
    pub method: Arc<str>,
    /// As in the manifest: `/readings/{sensor}`, `/files/{*rest}`.
    pub path: Arc<str>,
    pub script: Arc<str>,
    pub dispatch_mode: DispatchMode,
    /// Only async rows are retried.
    pub retry: RetryPolicy,
    /// Runs execute as who deployed it.
    pub principal: PrincipalId,
}

/// Whether the caller waits. The texts are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchMode {
    Sync,
    Async,
}

impl DispatchMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }
}
