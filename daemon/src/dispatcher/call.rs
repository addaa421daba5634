//! What the HTTP edge asks of the engine, and what it gets.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::catalog::App;
use crate::config::SyncDurability;
use crate::flow::accept::{Accept, answered};
use crate::flow::facts::RequestKey;
use crate::flow::{Command, Kept, Refusal};
use crate::ids::Id;
use crate::inbox::{Changed, InboxFailure, InboxFailureKind, InboxResult};
use crate::outbox::row::{Claim, IdempotencyKey, Lease, OutboxRow};
use crate::outbox::source::OutboxSourceKind;
use crate::route::access::Caller;
use crate::route::{DispatchMode, Route};
use crate::store::writer::{CommitError, NotTaken};
use crate::time::Timestamp;

use super::Dispatcher;
use super::inbox::{Progress, Waiter};
use super::ready::Run;
use super::tally::Replied;

/// A request that has found its route and whose body is in order.
#[derive(Clone, Debug)]
pub struct Call {
    pub app: Arc<App>,
    pub route: Arc<Route>,
    /// `event` as JSON text: method, path, params, query, headers, body, remote, auth.
    pub event: Arc<str>,
    /// Who has called.
    pub caller: Caller,
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

/// How much longer a caller waits for a commit that has begun.
pub const COMMIT_GRACE: Duration = Duration::from_secs(2);

/// The token of a sync row's lease: it is claimed once, by who accepted it, so the row's id tells all.
const SYNC_TOKEN: i64 = 0;

impl Dispatcher {
    /// Answers a request. When the future is dropped the caller is gone.
    pub async fn call(self: &Arc<Self>, call: Call) -> Reply {
        let (app, began) = (call.app.id, self.parts.clock.monotonic());
        self.tally.requested(app, began);
        let reply = self.reply_to(&call).await;
        let replied = match &reply {
            Reply::Accepted { .. } => Replied::Accepted,
            Reply::Answered { result: InboxResult::Answered(_), .. } => Replied::Answered,
            Reply::Answered { result: InboxResult::Failed(failure), .. } => {
                Replied::Failed(failure.kind)
            }
        };
        let took = self.parts.clock.monotonic().saturating_sub(began);
        self.tally.replied(app, replied, took);
        reply
    }

    async fn reply_to(self: &Arc<Self>, call: &Call) -> Reply {
        let now = self.parts.clock.now();
        let execution = self.parts.ids.next(now);
        let row = row_of(call, execution, now);
        let result = match call.route.dispatch_mode {
            DispatchMode::Async => match self.accept(row).await {
                Ok(Kept::Accepted { execution, at }) => return Reply::Accepted { execution, at },
                Ok(Kept::Result(result)) => InboxResult::Answered(result),
                Err(failure) => InboxResult::Failed(failure),
            },
            DispatchMode::Sync => match self.once(row).await {
                Ok(result) => result,
                Err(failure) => InboxResult::Failed(failure),
            },
        };
        Reply::Answered { execution, result }
    }

    pub(super) async fn accept(&self, row: OutboxRow) -> Result<Kept, InboxFailure> {
        let (execution, at) = (row.id, row.created_at());
        let command = Command::Accept(Accept { row: Arc::new(row), lease: None });
        match self.writer().commit(command).await {
            Ok(()) => Ok(Kept::Accepted { execution, at }),
            Err(CommitError::Refused(refusal)) => first_answer(refusal),
            Err(error) => Err(not_accepted(&error)),
        }
    }

    /// Runs a sync request, unless one with the same key was answered before or is under way.
    async fn once(self: &Arc<Self>, row: OutboxRow) -> Result<InboxResult, InboxFailure> {
        let Some(key) = row.idempotency.clone() else { return self.wait_for(row).await };
        let request = RequestKey::of(&key);
        if !self.requests.enter(request.clone()) {
            let message = "a request with this key is running: ask again later";
            return Err(failure(InboxFailureKind::InFlight, message));
        }
        let _leaves = Leave { dispatcher: self, request: &request };
        let known = self.parts.reader.request(&request, self.parts.clock.now()).await;
        match known {
            Err(error) => Err(failure(InboxFailureKind::Internal, &error.to_string())),
            Ok(Some(known)) => match first_answer(answered(&known, &key))? {
                Kept::Result(result) => Ok(InboxResult::Answered(result)),
                Kept::Accepted { .. } => {
                    Err(failure(InboxFailureKind::AnswerNotKept, "the first answer was not kept"))
                }
            },
            Ok(None) => self.wait_for(row).await,
        }
    }

    pub(super) async fn wait_for(
        self: &Arc<Self>,
        row: OutboxRow,
    ) -> Result<InboxResult, InboxFailure> {
        self.may_enter(&row)?;
        let timeout_ms = row.reply_by.map_or(0, |by| by.ms_since(row.available_at));
        let timeout = Duration::from_millis(timeout_ms.unsigned_abs());
        let row = Arc::new(row);
        let lease = match self.parts.durability {
            SyncDurability::WithEffects => self.writer().behind(Arc::clone(&row)),
            SyncDurability::BeforeRun => Lease { owner: self.parts.owner, token: SYNC_TOKEN },
        };
        let (waiter, answer) = Waiter::new();
        let _hangs_up = HangUp(Arc::clone(&waiter));
        let run = Run::new(Claim { row, lease }, self.parts.clock.monotonic());
        let run = Run { waiter: Some(Arc::clone(&waiter)), ..run };
        match self.parts.durability {
            SyncDurability::WithEffects => self.enter(run),
            SyncDurability::BeforeRun => self.record(run)?,
        }
        Ok(wait(&waiter, answer, timeout).await)
    }

    /// Whether a sync request may wait for a permit at all.
    fn may_enter(&self, row: &OutboxRow) -> Result<(), InboxFailure> {
        let catalog = self.parts.catalog.load();
        if let Some(pause) = catalog.pause(row.app, row.queue) {
            let message = format!("paused: {}", pause.reason);
            return Err(failure(InboxFailureKind::Paused, &message));
        }
        let state = self.lock();
        if state.stopping {
            return Err(failure(InboxFailureKind::Stopping, "the daemon is stopping"));
        }
        let (all, of_app) = state.ready.sync_waiting(row.app);
        let max = self.parts.sync_waiting_max;
        if all >= max || of_app >= max.div_ceil(2) {
            let message = "too many requests wait already: ask again later";
            return Err(failure(InboxFailureKind::Busy, message));
        }
        Ok(())
    }

    /// Puts a sync row on record, and lets it run then: also when its caller goes meanwhile, since it has to end.
    fn record(self: &Arc<Self>, run: Run) -> Result<(), InboxFailure> {
        let (row, lease) = (Arc::clone(&run.claim.row), Some(run.claim.lease));
        let dispatcher = Arc::clone(self);
        let done = move |outcome| match outcome {
            Ok(()) => dispatcher.enter(run),
            Err(refusal) => {
                dispatcher.deliver(&run, InboxResult::Failed(refused(&refusal)));
            }
        };
        let taken = self.writer().submit(Command::Accept(Accept { row, lease }), Box::new(done));
        taken.map_err(|error| not_accepted(&error.into()))
    }
}

/// Waits for the answer until the deadline, and longer only for a commit that has begun.
async fn wait(
    waiter: &Waiter,
    mut answer: oneshot::Receiver<InboxResult>,
    timeout: Duration,
) -> InboxResult {
    let lost = || InboxResult::Failed(failure(InboxFailureKind::Internal, "the run was lost"));
    if let Ok(result) = tokio::time::timeout(timeout, &mut answer).await {
        return result.unwrap_or_else(|_| lost());
    }
    match waiter.expire() {
        Progress::NotStarted => InboxResult::Failed(failure(
            InboxFailureKind::Busy,
            "the request could not be started before its deadline",
        )),
        Progress::Running => InboxResult::Failed(failure(
            InboxFailureKind::TimedOut,
            "the script was running at its deadline",
        )),
        Progress::Committing | Progress::Ended => {
            match tokio::time::timeout(COMMIT_GRACE, answer).await {
                Ok(result) => result.unwrap_or_else(|_| lost()),
                Err(_) => InboxResult::Failed(InboxFailure {
                    kind: InboxFailureKind::TimedOut,
                    message: "the commit is late; whether it comes about is not known".to_owned(),
                    changed: Changed::Unknown,
                }),
            }
        }
    }
}

fn row_of(call: &Call, id: Id, now: Timestamp) -> OutboxRow {
    let (app, route) = (&call.app, &call.route);
    let timeout_ms =
        app.scripts.get(&route.script).map_or(10_000, |script| script.limits.timeout_ms);
    let reply_by = now.plus_ms(i64::try_from(timeout_ms).unwrap_or(i64::MAX));
    let idempotency = call.idempotency.as_ref().map(|(key, body_hash)| IdempotencyKey {
        app: app.id,
        route: route.id.0,
        principal: call.caller.principal(),
        key: Arc::clone(key),
        body_hash: Arc::clone(body_hash),
    });
    OutboxRow {
        id,
        app: app.id,
        queue: route.id.queue(),
        source: OutboxSourceKind::Http,
        origin: Some(route.id.0),
        script: Arc::clone(&route.script),
        principal: route.principal,
        event: Arc::clone(&call.event),
        retry: route.retry.clone(),
        order: None,
        dedupe: None,
        available_at: now,
        attempt: 0,
        orphaned: 0,
        depth: 0,
        root: id,
        cause: None,
        reply_by: (route.dispatch_mode == DispatchMode::Sync).then_some(reply_by),
        letter: None,
        replay_of: None,
        first: id,
        idempotency,
    }
}

fn failure(kind: InboxFailureKind, message: &str) -> InboxFailure {
    InboxFailure { kind, message: message.to_owned(), changed: Changed::Nothing }
}

/// The answer of the first request with a key, or why there is none.
fn first_answer(refusal: Refusal) -> Result<Kept, InboxFailure> {
    match refusal {
        Refusal::Answered(Some(kept)) => Ok(kept),
        other => Err(refused(&other)),
    }
}

/// What a caller is told whose row was not written.
fn not_accepted(error: &CommitError) -> InboxFailure {
    match error {
        CommitError::Refused(refusal) => refused(refusal),
        CommitError::NotTaken(NotTaken::Full) => {
            failure(InboxFailureKind::Busy, &error.to_string())
        }
        CommitError::NotTaken(NotTaken::Stopping) => {
            failure(InboxFailureKind::Stopping, &error.to_string())
        }
        CommitError::Unknown => InboxFailure {
            changed: Changed::Unknown,
            ..failure(InboxFailureKind::Internal, &error.to_string())
        },
    }
}

/// What a caller is told whose row was refused.
fn refused(refusal: &Refusal) -> InboxFailure {
    let kind = match refusal {
        Refusal::Answered(_) => InboxFailureKind::AnswerNotKept,
        Refusal::KeyReused => InboxFailureKind::KeyReused,
        Refusal::AppFull { .. } => InboxFailureKind::Busy,
        Refusal::StorageLow | Refusal::StoreFailed(_) => InboxFailureKind::DiskFull,
        Refusal::Conflict
        | Refusal::LeaseLost
        | Refusal::AppDeleted
        | Refusal::FanOut { .. }
        | Refusal::TooManyDelayed { .. }
        | Refusal::NotApplicable { .. }
        | Refusal::NoSuchScript(_)
        | Refusal::Letter { .. }
        | Refusal::Declined(_)
        | Refusal::CommandFailed(_) => InboxFailureKind::Internal,
    };
    failure(kind, &refusal.to_string())
}

/// The caller is gone when its future is dropped.
struct HangUp(Arc<Waiter>);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

/// Forgets that a request is under way, however it ends.
struct Leave<'a> {
    dispatcher: &'a Dispatcher,
    request: &'a RequestKey,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.dispatcher.requests.leave(self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatcher::conclude::tests::start;
    use crate::dispatcher::history::End;
    use crate::ids::{PrincipalId, RouteId};
    use crate::retry::RetryPolicy;
    use crate::store::tests::APP;

    #[tokio::test(flavor = "multi_thread")]
    async fn p4_a_caller_that_goes_while_its_row_is_put_on_record_leaves_no_row_behind() {
        let (_folder, dispatcher, writer, ended) = start(SyncDurability::BeforeRun).await;
        let route = Route {
            id: RouteId(40),
            app: APP,
            method: "POST".into(),
            path: "/".into(),
            script: "work".into(),
            dispatch_mode: DispatchMode::Sync,
            retry: RetryPolicy::default(),
            principal: PrincipalId(9),
            access: Default::default(),
        };
        let app = Arc::clone(&dispatcher.parts.catalog.load().apps[&APP]);
        let (route, event) = (Arc::new(route), "{}".into());
        let call = Call { app, route, event, caller: Caller::Anybody, idempotency: None };
        tokio::select! {
            biased;
            reply = dispatcher.call(call) => panic!("{reply:?} came before the caller went"),
            () = std::future::ready(()) => {}
        }
        let row_ended = async {
            loop {
                if let [(_, execution)] = &dispatcher.history.newest(None, None, 1)[..] {
                    return (execution.id, execution.end);
                }
                tokio::task::yield_now().await;
            }
        };
        let known = tokio::time::timeout(Duration::from_secs(20), row_ended).await;
        let (id, end) = known.expect("the row ends");
        assert_eq!(end, End::Abandoned);
        assert_eq!(dispatcher.parts.reader.outbox_row(id).await.expect("reads"), None);
        dispatcher.stop(Duration::ZERO).await;
        writer.stop();
        ended.await.expect("tells").expect("ends in order");
    }
}
