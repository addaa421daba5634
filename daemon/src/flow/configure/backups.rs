//! That somebody starts a backup, on record.

use crate::flow::configure::{Audit, CatalogChange};
use crate::ids::PrincipalId;
use crate::time::Timestamp;

/// What a backup leaves in the store: an entry of the audit log, which the backup itself has, too.
pub fn started(name: &str, principal: PrincipalId, at: Timestamp) -> CatalogChange {
    CatalogChange::Audit(Audit {
        at,
        principal,
        action: "start-backup".to_owned(),
        object: name.to_owned(),
        detail: "{}".to_owned(),
    })
}
