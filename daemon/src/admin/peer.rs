//! Who calls: the uid at the other end of the socket or the token that is shown, and the principal that it stands for.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use picloud_api::problem::{Code, Problem};

use crate::catalog::Catalog;
use crate::flow::configure::people::of_uid;
use crate::groups::Groups;
use crate::ids::PrincipalId;
use crate::principal::{Capability, Grant, Principal};
use crate::time::Timestamp;

/// The other end of a connection, as the kernel told when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
}

/// What root and the user that the daemon runs as may do: everything. Both are made known at start.
pub const OWNERS: &[Capability] = &[Capability::InstanceAdmin];

/// The principal of somebody who is known by their groups only, until they change something.
pub const NOT_STORED: PrincipalId = PrincipalId(0);

/// What to do for who may not.
pub const HINT: &str = "call as root, or let an administrator grant it: `picloud principals grant`, or group \
                        picloud-admin (all) or picloud (read)";

/// The name of an owner's principal.
pub fn owner_name(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("uid {uid}") }
}

/// The uids of root and of the user that the daemon runs as.
pub fn owners() -> [u32; 2] {
    [0, rustix::process::getuid().as_raw()]
}

/// The principal of a peer, with what its groups give it.
pub fn principal(
    peer: Peer,
    catalog: &Catalog,
    groups: &Groups,
) -> Result<Arc<Principal>, Problem> {
    let Peer { uid } = peer;
    if let Some(known) = of_uid(catalog, uid) {
        return Ok(with_groups(known, groups));
    }
    let member = groups.member(uid);
    if member.capabilities.is_empty() {
        let detail = format!("uid {uid} is not known to this daemon");
        return Err(Problem::new(Code::NotAllowed, detail).with_hint(HINT));
    }
    let name = member.name.unwrap_or_else(|| owner_name(uid));
    let nobody = Principal { id: NOT_STORED, name, uid: Some(uid), grants: Vec::new() };
    Ok(with_groups(&nobody, groups))
}

/// A principal that may do what it was granted, and what its user's groups give it.
fn with_groups(principal: &Principal, groups: &Groups) -> Arc<Principal> {
    let mut all = principal.clone();
    let given = principal.uid.map(|uid| groups.member(uid).capabilities).unwrap_or_default();
    all.grants.extend(given.into_iter().map(|capability| Grant { capability, app: None }));
    Arc::new(all)
}

/// The principal of the token that a request shows; `None` when it shows none.
pub fn bearer(
    headers: &HeaderMap,
    catalog: &Catalog,
    groups: &Groups,
    now: Timestamp,
) -> Result<Option<Arc<Principal>>, Problem> {
    let Some(shown) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let found = catalog.bearer(shown.to_str().unwrap_or_default(), now);
    let (_, principal) = found.map_err(|why| unknown(&why))?;
    Ok(Some(with_groups(principal, groups)))
}

/// Says no to a caller without a token where only tokens count.
pub fn nobody() -> Problem {
    unknown("on this listener every call needs a token")
}

fn unknown(detail: &str) -> Problem {
    Problem::new(Code::NotKnown, detail).with_hint(
        "send `Authorization: Bearer TOKEN`; `picloud tokens create` on the Pi itself makes a token",
    )
}
