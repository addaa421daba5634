//! The statistics that who looks on gets each second.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::admin::engine::Engine;
use crate::admin::engine::stats::Detail;
use crate::dispatcher::live::What;
use crate::log::field;

const EVERY: Duration = Duration::from_secs(1);

/// Beats while somebody looks on, and does nothing otherwise. Ends with the task that it runs in.
pub async fn beat(engine: Arc<Engine>) {
    let live = Arc::clone(&engine.dispatcher.live);
    loop {
        live.watched().await;
        while live.rest() {
            if live.readers() > 0 {
                publish(&engine).await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

async fn publish(engine: &Engine) {
    match engine.stats(Detail::Brief).await {
        Ok(stats) => {
            let live = &engine.dispatcher.live;
            live.publish(engine.clock.now(), [(None, What::Stats(Arc::new(stats)))]);
        }
        Err(problem) => {
            warn!({ field::ERROR } = problem.detail, "the statistics could not be gathered");
        }
    }
}
