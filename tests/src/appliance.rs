//! The daemon on a card that fails, in little memory, among strangers, and for a day: what `tests/appliance/` runs.

pub mod attack;
pub mod card;
pub mod card_faults;
pub mod home_use;
pub mod hostile_lan;
pub mod limits;
pub mod power_cut;
pub mod record;
pub mod slow_card;
pub mod stage;
