//! What the admin API asks of the rest of the daemon: everything that touches store or dispatcher is in this file.

use std::sync::Arc;

use arc_swap::ArcSwap;
use picloud_api::list::{DeadLetterItem, ExecutionItem, OutboxItem};
use picloud_api::problem::{Code, Problem};
use picloud_scripts_runtime::exec::ExecError;
use picloud_scripts_runtime::limits::RunLimits;

use crate::catalog::Catalog;
use crate::flow::configure::{Planned, Unfit};
use crate::ids::{AppId, Id};
use crate::time::{Clock, Timestamp};

/// Compiles a script without running it.
pub type Compiler = Arc<dyn Fn(&str) -> Result<(), ExecError> + Send + Sync>;

/// The daemon as the admin API sees it.
pub struct Engine {
    pub catalog: Arc<ArcSwap<Catalog>>,
    pub clock: Arc<dyn Clock>,
    /// New with each start.
    pub instance: Id,
    pub started_at: Timestamp,
    pub run_limits: RunLimits,
    pub body_bytes_max: usize,
    pub compile: Compiler,
}

/// Which items of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub app: Option<AppId>,
    /// `next` of the page before.
    pub after: Option<Id>,
    pub limit: usize,
}

/// Items, and where the next page begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Items<T> {
    pub items: Vec<T>,
    pub next: Option<Id>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub waiting: i64,
    pub running: i64,
    pub dead_letters: i64,
}

impl Engine {
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Plans a change against the catalog as it is when the change's turn comes, and commits it. `plan` gets the
    /// catalog and the counter; a plan without changes writes nothing.
    pub async fn configure<T, P>(&self, plan: P) -> Result<T, Problem>
    where
        T: Send + 'static,
        P: FnOnce(&Catalog, i64) -> Result<Planned<T>, Unfit> + Send + 'static,
    {
        let planned =
            plan(&self.catalog(), 0).map_err(|unfit| crate::admin::refuse::unfit(&unfit))?;
        if planned.changes.is_empty() {
            return Ok(planned.answer);
        }
        Err(Problem::new(Code::Internal, "being written"))
    }

    /// Counts of one app, or of all.
    pub fn counts(&self, _app: Option<AppId>) -> Counts {
        Counts::default()
    }

    pub fn is_storage_low(&self) -> bool {
        false
    }

    pub async fn outbox(&self, _window: &Window) -> Result<Items<OutboxItem>, Problem> {
        Ok(Items { items: Vec::new(), next: None })
    }

    pub async fn dead_letters(&self, _window: &Window) -> Result<Items<DeadLetterItem>, Problem> {
        Ok(Items { items: Vec::new(), next: None })
    }

    /// Runs that ended lately, as memory has them.
    pub fn executions(&self, _window: &Window) -> Items<ExecutionItem> {
        Items { items: Vec::new(), next: None }
    }
}
