//! From an app back to a bundle that, deployed again, changes nothing.

use std::sync::Arc;

use picloud_api::manifest::{
    AppEntry, Bundle, Manifest, RetryEntry, RouteEntry, ScriptEntry, TriggerEntry,
};
use picloud_scripts_runtime::limits::RunLimits;

use crate::catalog::{App, Script};
use crate::limits::{self, Limits};
use crate::manifest::{access, words};
use crate::retry::RetryPolicy;
use crate::route::{DispatchMode, Route};
use crate::trigger::{Ordering, Trigger};

/// The app as a bundle, everything by name. `instance` are the limits that need not be written down.
pub fn bundle<'a>(
    app: &App,
    triggers: impl IntoIterator<Item = &'a Arc<Trigger>>,
    instance: &RunLimits,
) -> Bundle {
    let mut scripts: Vec<&Arc<Script>> = app.scripts.values().collect();
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    let mut routes: Vec<&Arc<Route>> = app.routes.iter().collect();
    routes.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
    let mut triggers: Vec<&Arc<Trigger>> =
        triggers.into_iter().filter(|trigger| trigger.app == app.id).collect();
    triggers.sort_by(|a, b| a.name.cmp(&b.name));
    Bundle {
        sources: scripts
            .iter()
            .map(|script| (file(&script.name), script.source.to_string()))
            .collect(),
        manifest: Manifest {
            app: AppEntry {
                slug: app.slug.to_string(),
                host: app.host.as_ref().map(ToString::to_string),
                allow_hosts: app.allow_hosts.iter().map(ToString::to_string).collect(),
                expose_errors: app.expose_errors.then_some(true),
                auth: access::auth(&app.access),
                hmac: access::hmac(&app.access),
                rate: access::rate(&app.access),
            },
            scripts: scripts.iter().map(|script| script_entry(script, instance)).collect(),
            routes: routes.iter().map(|route| route_entry(route)).collect(),
            triggers: triggers.iter().map(|trigger| trigger_entry(trigger)).collect(),
        },
    }
}

fn file(script: &str) -> String {
    format!("{script}.rhai")
}

fn script_entry(script: &Script, instance: &RunLimits) -> ScriptEntry {
    let own = Limits { run: script.limits.clone(), ..Limits::default() };
    let most = Limits { run: instance.clone(), ..Limits::default() };
    // Only what the script lowers; what the instance allows less of by now holds anyway.
    let lowered = |name: &str| {
        let limit = limits::of_a_run().iter().find(|limit| limit.name == name)?;
        let value = (limit.get)(&own);
        (value < (limit.get)(&most)).then_some(value)
    };
    let timeout =
        lowered("timeout_ms").map(|ms| words::duration_text(i64::try_from(ms).unwrap_or(i64::MAX)));
    ScriptEntry {
        name: script.name.to_string(),
        file: file(&script.name),
        timeout,
        operations_max: lowered("operations_max"),
        memory_bytes_max: lowered("memory_bytes_max"),
        value_bytes_max: lowered("value_bytes_max"),
        response_bytes_max: lowered("response_bytes_max"),
        log_lines_max: lowered("log_lines_max"),
        log_line_bytes_max: lowered("log_line_bytes_max"),
        effects_max: lowered("effects_max"),
    }
}

/// A route as an entry of a manifest.
pub fn route_entry(route: &Route) -> RouteEntry {
    RouteEntry {
        method: route.method.to_string(),
        path: route.path.to_string(),
        script: route.script.to_string(),
        dispatch_mode: Some(route.dispatch_mode.as_str().to_owned()),
        retry: match route.dispatch_mode {
            DispatchMode::Sync => None,
            DispatchMode::Async => retry_entry(&route.retry),
        },
        auth: access::auth(&route.access),
        hmac: access::hmac(&route.access),
        rate: access::rate(&route.access),
    }
}

/// A trigger as an entry of a manifest.
pub fn trigger_entry(trigger: &Trigger) -> TriggerEntry {
    let mut entry = TriggerEntry {
        kind: trigger.details.kind().as_str().to_owned(),
        name: trigger.name.to_string(),
        script: trigger.script.to_string(),
        enabled: (!trigger.enabled).then_some(false),
        ordering: (trigger.ordering != Ordering::Any).then(|| trigger.ordering.as_str().to_owned()),
        concurrency: trigger.concurrency,
        retry: retry_entry(&trigger.retry),
        ..TriggerEntry::default()
    };
    trigger.details.write(&mut entry);
    entry
}

/// All of a policy, so that it stays when a later version has another default; nothing of the default one.
fn retry_entry(policy: &RetryPolicy) -> Option<RetryEntry> {
    (*policy != RetryPolicy::default()).then(|| whole_retry(policy))
}

/// A policy with everything in it.
pub fn whole_retry(policy: &RetryPolicy) -> RetryEntry {
    RetryEntry {
        max_attempts: Some(policy.max_attempts),
        backoff: Some(policy.backoff.as_str().to_owned()),
        base: Some(words::duration_text(policy.base_ms)),
        max_delay: Some(words::duration_text(policy.max_delay_ms)),
        jitter: Some(policy.jitter),
    }
}
