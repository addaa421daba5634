//! What the system screen leads to.

use crate::item::{Door, Item};
use crate::listing::Listing;

/// A row for each.
pub fn all() -> Vec<Item> {
    let door = |name, says, to| Item::Door(Door { name, says, to });
    vec![
        door("backups", "copies of the store: list them, take one", Listing::Backups),
        door("nodes", "the daemons that share the work", Listing::Nodes),
        door("principals", "who is known, and what they may do", Listing::Principals),
        door("tokens", "with which callers from elsewhere are known", Listing::Tokens),
        door("audit", "who changed what", Listing::Audit),
    ]
}
