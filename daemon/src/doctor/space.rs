//! Room on the disk of the store.

use picloud_api::health::Check;

use crate::doctor::{State, check};

pub(super) fn left(free: Option<u64>, min: u64) -> Check {
    const MIB: u64 = 1 << 20;
    let Some(free) = free else {
        let text = "the free space of the disk cannot be read";
        return check("disk", State::Warn, text, Some("look at it with df -h"));
    };
    let remedy = "make room: df -h and du -xh / | sort -h show where";
    let text = format!("{} MiB free, at least {} MiB are needed", free / MIB, min / MIB);
    let state = if free < min {
        State::Bad
    } else if free < min.saturating_mul(2) {
        State::Warn
    } else {
        State::Ok
    };
    check("disk", state, text, (state != State::Ok).then_some(remedy))
}
