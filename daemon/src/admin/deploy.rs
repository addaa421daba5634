//! Deploying a bundle: checked on a thread of its own, planned and committed by the writer.

use std::sync::Arc;

use picloud_api::deploy::Difference;
use picloud_api::manifest::Bundle;
use picloud_api::problem::{Code, Problem};

use crate::admin::engine::Engine;
use crate::admin::refuse;
use crate::catalog::Catalog;
use crate::flow::configure::apps::as_expected;
use crate::flow::configure::deploy::plan_deploy;
use crate::manifest::{self, Wanted};
use crate::principal::Principal;

/// Whether the plan is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    ForReal,
    DryRun,
}

/// Makes an app what the bundle says, or says what that would change; only if it is still at the revision that is
/// expected.
pub async fn deploy(
    engine: &Engine,
    bundle: Bundle,
    principal: Arc<Principal>,
    mode: Mode,
    expected: Option<i64>,
) -> Result<Difference, Problem> {
    let wanted = check(engine, bundle).await?;
    let now = engine.clock.now();
    let plan = move |catalog: &Catalog, next| {
        as_expected(catalog.app(&wanted.slug), &wanted.slug, expected)?;
        plan_deploy(catalog, &wanted, &principal, next, now)
    };
    match mode {
        Mode::ForReal => engine.configure(plan).await,
        Mode::DryRun => {
            let planned = plan(&engine.catalog(), 0).map_err(|unfit| refuse::unfit(&unfit))?;
            Ok(planned.answer)
        }
    }
}

/// Compiles up to four MiB of scripts, so it must not stand in the way of other calls.
async fn check(engine: &Engine, bundle: Bundle) -> Result<Wanted, Problem> {
    let (compile, limits) = (Arc::clone(&engine.compile), engine.run_limits.clone());
    let checked =
        tokio::task::spawn_blocking(move || manifest::check(&bundle, &limits, &*compile)).await;
    let checked =
        checked.map_err(|_| Problem::new(Code::Internal, "checking the manifest failed"))?;
    checked.map_err(|errors| {
        let count = errors.len();
        let things = if count == 1 { "thing is" } else { "things are" };
        let mut problem =
            Problem::new(Code::BadManifest, format!("{count} {things} wrong; nothing was changed"));
        problem.errors = errors;
        problem
    })
}
