//! Invoking a script by hand: a task like any other, whose caller may wait for the answer.

use std::sync::Arc;

use crate::catalog::Script;
use crate::flow::Kept;
use crate::ids::{Id, PrincipalId};
use crate::inbox::InboxResult;
use crate::outbox::row::OutboxRow;
use crate::outbox::source::OutboxSourceKind;
use crate::retry::RetryPolicy;
use crate::route::DispatchMode;
use crate::time::Timestamp;

use super::Dispatcher;
use super::call::Reply;

/// A run that somebody asks for.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub script: Arc<Script>,
    /// Whoever asks: the run may do what they may.
    pub principal: PrincipalId,
    /// JSON text of a map.
    pub event: Arc<str>,
    pub mode: DispatchMode,
}

impl Dispatcher {
    /// Runs a script and answers what it answers, or keeps it to be run soon. When the future is dropped the caller is gone.
    pub async fn invoke(self: &Arc<Self>, invocation: &Invocation) -> Reply {
        let now = self.parts.clock.now();
        let execution = self.parts.ids.next(now);
        let row = row_of(invocation, execution, now);
        let answered = match invocation.mode {
            DispatchMode::Sync => self.wait_for(row).await,
            DispatchMode::Async => match self.accept(row).await {
                Ok(Kept::Accepted { execution, at }) => return Reply::Accepted { execution, at },
                Ok(Kept::Result(result)) => Ok(InboxResult::Answered(result)),
                Err(failure) => Err(failure),
            },
        };
        let result = answered.unwrap_or_else(InboxResult::Failed);
        Reply::Answered { execution, result }
    }
}

/// The row of an invocation: the first of its chain.
pub(super) fn row_of(invocation: &Invocation, id: Id, now: Timestamp) -> OutboxRow {
    let script = &invocation.script;
    let timeout_ms = i64::try_from(script.limits.timeout_ms).unwrap_or(i64::MAX);
    OutboxRow {
        id,
        app: script.app,
        queue: script.id.queue(),
        source: OutboxSourceKind::Task,
        origin: None,
        script: Arc::clone(&script.name),
        principal: invocation.principal,
        event: Arc::clone(&invocation.event),
        retry: RetryPolicy::default(),
        order: None,
        dedupe: None,
        available_at: now,
        attempt: 0,
        orphaned: 0,
        depth: 0,
        root: id,
        cause: None,
        reply_by: (invocation.mode == DispatchMode::Sync).then(|| now.plus_ms(timeout_ms)),
        letter: None,
        replay_of: None,
        first: id,
        idempotency: None,
    }
}
