//! Who calls: the uid at the other end of the socket, and the principal that it stands for.

use std::sync::Arc;

use picloud_api::problem::{Code, Problem};

use crate::catalog::Catalog;
use crate::principal::{Capability, Principal};

/// The other end of a connection, as the kernel told when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
}

/// What root and the user that the daemon runs as may do: everything. Both are made known at start.
pub const OWNERS: &[Capability] = &[Capability::InstanceAdmin];

/// The name of an owner's principal.
pub fn owner_name(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("uid {uid}") }
}

/// The principal of a peer.
pub fn principal(peer: Peer, catalog: &Catalog) -> Result<Arc<Principal>, Problem> {
    let mut principals = catalog.principals.values();
    principals.find(|principal| principal.uid == Some(peer.uid)).cloned().ok_or_else(|| {
        Problem::new(Code::NotAllowed, format!("uid {} is not known to this daemon", peer.uid))
            .with_hint("call as root, or as the user that the daemon runs as")
    })
}
