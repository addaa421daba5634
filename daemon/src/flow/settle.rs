//! Settling: what a finished run writes, and the end of the row that started it. One transaction.

use picloud_scripts_runtime::effect::{Effect, Read};

use crate::ids::Id;
use crate::outbox::decide::Action;
use crate::outbox::row::Claim;

/// A run has ended. `effects` is empty unless it succeeded.
#[derive(Clone, Debug)]
pub struct Settle {
    pub claim: Claim,
    pub stored: Stored,
    pub action: Action,
    pub reads: Vec<Read>,
    pub effects: Vec<Effect>,
    /// Version of the script that ran; 0 when none did.
    pub script_version: i64,
    /// Drawn outside, so that planning stays pure: what this command makes gets ids derived from it.
    pub fresh: Id,
}

/// Whether the row's insert has reached the writer: a sync row's may not have, and then there is nothing to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Yes,
    No,
}

pub fn needs(_command: &Settle, _keys: &mut crate::flow::facts::Keys) {}

pub fn plan(
    _command: &Settle,
    _facts: &crate::flow::facts::Facts,
) -> Result<crate::flow::writes::Writes, crate::flow::Refusal> {
    unimplemented!("being written")
}
