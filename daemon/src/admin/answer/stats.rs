//! Statistics, metrics, and whether all is well.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use picloud_api::health::{Checks, Healthy};
use picloud_api::problem::{Code, Problem};
use picloud_api::stats::{Stats, StatsQuery};

use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::admin::engine::stats::Detail;
use crate::admin::{doctor, metrics};

pub(super) async fn stats(engine: &Engine, request: &Request) -> Result<Stats, Problem> {
    let query: StatsQuery = request.query()?;
    let app = query.app.as_deref().map(|name| request.app_called(name)).transpose()?;
    let stats = engine.stats(Detail::WithSeries).await?;
    Ok(app.map_or_else(|| stats.clone(), |app| stats.of_app(&app.slug)))
}

pub(super) async fn metrics(engine: &Engine) -> Result<Response, Problem> {
    let stats = engine.stats(Detail::Brief).await?;
    let page = metrics::page(&stats, &engine.counted());
    Ok(([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], page).into_response())
}

pub(super) fn healthy() -> Healthy {
    Healthy { is: "ok".to_owned() }
}

/// Who asks while the daemon starts finds nobody, since the socket is the last to open.
pub(super) fn ready(engine: &Engine) -> Result<Healthy, Problem> {
    let mut reasons = Vec::new();
    if engine.load().stopping {
        reasons.push("the daemon is stopping");
    }
    if engine.is_storage_low() {
        reasons.push("the disk is nearly full, or cannot be written: nothing new is taken in");
    }
    if reasons.is_empty() {
        return Ok(Healthy { is: "ready".to_owned() });
    }
    Err(Problem::new(Code::NotReady, reasons.join("; ")).with_hint("`picloud doctor` says more"))
}

pub(super) async fn doctor(engine: &Engine) -> Result<Checks, Problem> {
    let stats = engine.stats(Detail::Brief).await?;
    Ok(Checks { checks: doctor::checks(engine, &stats).await, now: stats.now })
}
