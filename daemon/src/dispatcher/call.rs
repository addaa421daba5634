//! What the HTTP edge asks of the engine, and what it gets.

use std::sync::Arc;

use crate::catalog::App;
use crate::ids::Id;
use crate::inbox::InboxResult;
use crate::route::Route;
use crate::time::Timestamp;

/// A request that has found its route and whose body is in order.
#[derive(Clone, Debug)]
pub struct Call {
    pub app: Arc<App>,
    pub route: Arc<Route>,
    /// `event` as JSON text: method, path, params, query, headers, body, remote, auth.
    pub event: Arc<str>,
    /// The `Idempotency-Key` header and the SHA-256 of the body, hexadecimal.
    pub idempotency: Option<(Arc<str>, Arc<str>)>,
}

/// How the engine answered a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A sync route: the script's answer or a failure of the status table.
    Answered { execution: Id, result: InboxResult },
    /// An async route: the row is durable.
    Accepted { execution: Id, at: Timestamp },
}
