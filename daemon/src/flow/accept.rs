//! Accepting: a request becomes a row.

use std::sync::Arc;

use crate::flow::facts::{Facts, KeptRequest, Keys, RequestKey};
use crate::flow::layer::Layer;
use crate::flow::writes::Writes;
use crate::flow::{Kept, Refusal};
use crate::outbox::row::{IdempotencyKey, Lease, OutboxRow};

/// A row from outside. An async one is acknowledged after the commit. A sync one comes here only when its run lasts
/// long, written behind it, with the lease under which it runs already.
#[derive(Clone, Debug)]
pub struct Accept {
    pub row: Arc<OutboxRow>,
    pub lease: Option<Lease>,
}

pub fn needs(accept: &Accept, keys: &mut Keys) {
    if let (None, Some(key)) = (accept.row.reply_by, &accept.row.idempotency) {
        keys.requests.insert(RequestKey::of(key));
    }
}

/// Refused when the app is deleted, when its outbox or the disk is full, or when the request was answered before.
pub fn plan(accept: &Accept, facts: &Facts) -> Result<Writes, Refusal> {
    let row = &accept.row;
    let mut layer = Layer::over(facts, row.id);
    if row.is_sync() {
        layer.insert_running(row, accept.lease);
        return Ok(layer.writes);
    }
    if facts.catalog.deleted.contains(&row.app) {
        return Err(Refusal::AppDeleted);
    }
    if facts.storage_low {
        return Err(Refusal::StorageLow);
    }
    if let Some(key) = &row.idempotency {
        first_of(key, facts)?;
        let kept = Kept::Accepted { execution: row.id, at: row.created_at() };
        let answer = (Arc::clone(&key.body_hash), Some(kept));
        layer.writes.requests.insert(RequestKey::of(key), answer);
    }
    layer.insert(OutboxRow::clone(row))?;
    Ok(layer.writes)
}

/// Refused with the answer of the first request, when this is not the first of its key.
pub fn first_of(key: &IdempotencyKey, facts: &Facts) -> Result<(), Refusal> {
    match facts.requests.get(&RequestKey::of(key)) {
        None => Ok(()),
        Some(known) => Err(answered(known, key)),
    }
}

/// What a request gets whose key was used before.
pub fn answered(known: &KeptRequest, key: &IdempotencyKey) -> Refusal {
    if known.body_hash == key.body_hash {
        Refusal::Answered(known.answer.clone())
    } else {
        Refusal::KeyReused
    }
}
