//! What the daemon that runs has to say to the doctor.

use std::sync::atomic::Ordering;

use picloud_api::health::Check;
use picloud_api::stats::Stats;

use crate::admin::engine::Engine;
use crate::doctor::running::{self, Seen};

/// All checks.
pub async fn checks(engine: &Engine, stats: &Stats) -> Vec<Check> {
    let seen = Seen {
        is_whole: engine.whole.load(Ordering::Relaxed),
        standing: engine.clock.standing(),
        upgraded: engine.began.upgraded,
        places: engine.places.clone(),
        backups: engine.all_backups().await.unwrap_or_default(),
    };
    running::checks(stats, seen).await
}
