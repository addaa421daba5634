//! Who is known: a principal for each uid that may do something.

use crate::catalog::Catalog;
use crate::flow::configure::{CatalogChange, Planned};
use crate::ids::PrincipalId;
use crate::principal::{Capability, Grant, Principal};

/// The principal of a uid, made or changed so that it has exactly these capabilities for all apps.
pub fn plan_uid(
    catalog: &Catalog,
    uid: u32,
    name: &str,
    capabilities: &[Capability],
    next: i64,
) -> Planned<PrincipalId> {
    let grants = capabilities
        .iter()
        .map(|capability| Grant { capability: *capability, app: None })
        .collect();
    let known = of_uid(catalog, uid);
    let (id, next) = known.map_or((PrincipalId(next), next + 1), |known| (known.id, next));
    let wanted = Principal { id, name: name.to_owned(), uid: Some(uid), grants };
    let changes =
        if known == Some(&wanted) { Vec::new() } else { vec![CatalogChange::PutPrincipal(wanted)] };
    Planned { changes, answer: id, next }
}

/// The principal that the socket knows by this uid.
pub fn of_uid(catalog: &Catalog, uid: u32) -> Option<&Principal> {
    catalog.principals.values().map(|one| &**one).find(|one| one.uid == Some(uid))
}
