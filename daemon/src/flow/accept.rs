//! Accepting: a request becomes a row.

use std::sync::Arc;

use crate::outbox::row::OutboxRow;

/// A row from outside. An async one is acknowledged after the commit; a sync one is written behind its run.
#[derive(Clone, Debug)]
pub struct Accept {
    pub row: Arc<OutboxRow>,
}

pub fn needs(_command: &Accept, _keys: &mut crate::flow::facts::Keys) {}

pub fn plan(
    _command: &Accept,
    _facts: &crate::flow::facts::Facts,
) -> Result<crate::flow::writes::Writes, crate::flow::Refusal> {
    unimplemented!("being written")
}
