//! What comes in: requests, edits, callers that hang up.

use std::sync::Arc;

use picloud_daemon::dispatcher::inbox::Waiter;
use picloud_daemon::dispatcher::ready::Run;
use picloud_daemon::flow::accept::Accept;
use picloud_daemon::flow::facts::RequestKey;
use picloud_daemon::flow::mutate::Mutate;
use picloud_daemon::flow::{Command, Kept};
use picloud_daemon::gate::Work;
use picloud_daemon::ids::{AppId, Id};
use picloud_daemon::outbox::row::{Claim, IdempotencyKey, OutboxRow};
use picloud_daemon::outbox::source::OutboxSourceKind;
use picloud_daemon::retry::Backoff;
use picloud_daemon::store::behind::FLUSH_AFTER;

use crate::simulation::apps::{self};
use crate::simulation::ledger::{Checked, Means, Noted, broken};
use crate::simulation::script::{self, pick};

use super::{Ask, Pending, TIMEOUT_MS, World};

impl World {
    pub(super) fn request(&mut self, app: AppId, key: Option<u64>, sync: Work) -> OutboxRow {
        let id = self.id();
        let route = if sync == Work::Sync { apps::sync_route(app) } else { apps::async_route(app) };
        OutboxRow {
            id,
            app,
            queue: route.queue(),
            source: OutboxSourceKind::Http,
            origin: Some(route.0),
            script: "work".into(),
            principal: apps::OWNER,
            event: format!(r#"{{"path":"/{id}"}}"#).into(),
            retry: apps::policy(Backoff::Linear, 4),
            order: None,
            dedupe: None,
            available_at: self.time(),
            attempt: 0,
            orphaned: 0,
            depth: 0,
            root: id,
            cause: None,
            reply_by: (sync == Work::Sync).then(|| self.time().plus_ms(TIMEOUT_MS)),
            letter: None,
            replay_of: None,
            first: id,
            idempotency: key.map(|key| IdempotencyKey {
                app,
                route: route.0,
                principal: apps::OWNER,
                key: format!("key-{key}").into(),
                body_hash: "same".into(),
            }),
        }
    }

    pub(super) async fn ask(&mut self, app: AppId, key: Option<u64>) -> Checked {
        let row = self.request(app, key, Work::Sync);
        if self.batcher().catalog().load().pause(app, row.queue).is_some() {
            return Ok(());
        }
        let request = row.idempotency.as_ref().map(RequestKey::of);
        if let (Some(request), Some(key)) = (&request, &row.idempotency) {
            let in_flight = self.asks.values().any(|ask| {
                ask.request.as_ref() == Some(request) && ask.answers.is_empty() && !ask.lost
            });
            if in_flight {
                return Ok(());
            }
            let known = self.reader.request(request, self.time()).await;
            if let Some(known) = known.map_err(|error| broken("P1", error.to_string()))? {
                let Some(Kept::Result(result)) = known.answer else {
                    return Err(broken("P5", "a sync request got another kind of answer"));
                };
                let at = (key.app.0, key.route, key.key.to_string());
                self.ledger.count("sync request answered before");
                return self.ledger.answered_truly(&at, &key.body_hash, &result, None);
            }
        }
        let (waiter, _) = Waiter::new();
        let row = Arc::new(row);
        let (lease, _) = self.behind.put(Arc::clone(&row), self.owner, self.monotonic);
        let ask = Ask {
            waiter: Arc::clone(&waiter),
            starts: 0,
            conflicts: 0,
            hung_up: false,
            answers: Vec::new(),
            lost: false,
            request,
        };
        self.asks.insert(row.id, ask);
        let run = Run::new(Claim { row, lease }, self.monotonic);
        self.ready.push(Run { waiter: Some(waiter), ..run });
        Ok(())
    }

    pub(super) fn post(&mut self, app: AppId, key: Option<u64>) {
        let row = self.request(app, key, Work::Async);
        let command = Command::Accept(Accept { row: Arc::new(row), lease: None });
        self.pending.push(Pending { noted: Noted { command, means: Means::Accept }, run: None });
    }

    pub(super) async fn edit(&mut self, app: AppId) {
        let id = self.id();
        let mut reads = Vec::new();
        if self.chance.below(3) == 0 {
            for key in script::reads(&mut self.chance) {
                reads.push(self.read(app, &key).await.0);
            }
        }
        let effects = script::edit(id, &mut self.chance);
        let command = Command::Mutate(Mutate { id, app, principal: apps::OWNER, reads, effects });
        self.pending.push(Pending { noted: Noted { command, means: Means::Edit }, run: None });
    }

    pub(super) fn linger(&mut self) {
        self.monotonic += FLUSH_AFTER;
        for accept in self.behind.flush(self.monotonic).0 {
            let command = Command::Accept(accept);
            self.pending
                .push(Pending { noted: Noted { command, means: Means::Behind }, run: None });
        }
    }

    pub(super) fn hang_up(&mut self) {
        let waiting: Vec<Id> = self
            .asks
            .iter()
            .filter(|(_, ask)| ask.answers.is_empty() && !ask.lost && !ask.hung_up)
            .map(|(id, _)| *id)
            .collect();
        if waiting.is_empty() {
            return;
        }
        let id = waiting[pick(&mut self.chance, waiting.len())];
        let ask = self.asks.get_mut(&id).expect("it waits");
        ask.hung_up = true;
        ask.waiter.hang_up();
    }
}
