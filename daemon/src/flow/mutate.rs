//! Changing entries: write, match triggers, one outbox row for each match.

use picloud_scripts_runtime::effect::{Effect, Read};

use crate::flow::Refusal;
use crate::flow::facts::{Facts, Keys};
use crate::flow::writes::Writes;
use crate::ids::{AppId, Id, PrincipalId};

/// An edit from outside a run. `reads` are the versions that the editor saw.
#[derive(Clone, Debug)]
pub struct Mutate {
    /// Id that the rows it causes name as their root.
    pub id: Id,
    pub app: AppId,
    pub principal: PrincipalId,
    pub reads: Vec<Read>,
    pub effects: Vec<Effect>,
}

pub fn needs(_command: &Mutate, _keys: &mut crate::flow::facts::Keys) {}

pub fn plan(
    _command: &Mutate,
    _facts: &crate::flow::facts::Facts,
) -> Result<crate::flow::writes::Writes, crate::flow::Refusal> {
    unimplemented!("being written")
}
