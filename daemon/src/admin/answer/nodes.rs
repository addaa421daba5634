//! Nodes: the one that is asked.

use picloud_api::list::{Page, PageQuery};
use picloud_api::nodes::NodeItem;
use picloud_api::problem::Problem;

use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::catalog::INSTANCE;
use crate::machine;
use crate::store::migrate::SCHEMA_VERSION;

/// In the order of their ids; the cursor is the id before.
pub(super) fn list(engine: &Engine, request: &Request) -> Result<Page<NodeItem>, Problem> {
    let query: PageQuery = request.query()?;
    super::limit(&query)?;
    let now = engine.clock.now().0;
    let mut items = vec![this_one(engine, request, now)];
    if let Some(after) = &query.after {
        items.retain(|node| node.id > *after);
    }
    Ok(Page { items, next: None, now })
}

fn this_one(engine: &Engine, request: &Request, now: i64) -> NodeItem {
    let (load, gate) = (engine.load(), engine.gate());
    let state = if load.stopping {
        "stopping"
    } else if request.catalog.pauses.contains_key(&INSTANCE) {
        "paused"
    } else {
        "running"
    };
    NodeItem {
        id: engine.instance.to_string(),
        name: machine::name().unwrap_or_default(),
        role: "single".to_owned(),
        state: state.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: engine.started_at.0,
        why: engine.began.why.as_str().to_owned(),
        seen_at: now,
        address: engine.places.address.map(|address| address.to_string()),
        store: "sqlite".to_owned(),
        schema: SCHEMA_VERSION,
        executors: gate.permits,
        running: gate.running,
    }
}
