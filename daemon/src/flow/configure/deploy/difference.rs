//! What is different between what is there and what is wanted, in sentences for people.

use std::sync::Arc;

use picloud_scripts_runtime::limits::RunLimits;

use crate::catalog::Script;
use crate::limits::{self, Limits};
use crate::manifest::{self, WantedRoute, WantedScript, WantedTrigger, words};
use crate::retry::RetryPolicy;
use crate::route::Route;
use crate::route::access::Access;
use crate::trigger::Trigger;

/// Sentences about what is different.
#[derive(Default)]
pub(super) struct Details(pub(super) Vec<String>);

impl Details {
    pub(super) fn compare<T: Copy + PartialEq + std::fmt::Display>(
        &mut self,
        what: &str,
        before: T,
        after: T,
    ) {
        if before != after {
            self.0.push(format!("{what}: {before} -> {after}"));
        }
    }
}

pub(super) fn option(text: Option<&Arc<str>>) -> &str {
    text.map_or("none", |text| text)
}

pub(super) fn script(before: &Script, after: &WantedScript) -> Vec<String> {
    let mut details = Details::default();
    details.compare("version", before.version, before.version + 1);
    if before.source != after.source {
        let (old, new) = (before.source.lines().count(), after.source.lines().count());
        details.0.push(format!("source: {old} lines -> {new} lines"));
    }
    let all = |run: &RunLimits| Limits { run: run.clone(), ..Limits::default() };
    let (old, new) = (all(&before.limits), all(&after.limits));
    for limit in limits::of_a_run() {
        details.compare(limit.name, (limit.get)(&old), (limit.get)(&new));
    }
    details.0
}

pub(super) fn route(before: &Route, after: &WantedRoute) -> Vec<String> {
    let mut details = Details::default();
    details.compare("script", &before.script, &after.script);
    details.compare("dispatch_mode", before.dispatch_mode.as_str(), after.dispatch_mode.as_str());
    details.compare("retry", &*retry_text(&before.retry), &*retry_text(&after.retry));
    access(&mut details, &before.access, &after.access);
    details.0
}

pub(super) fn access(details: &mut Details, before: &Access, after: &Access) {
    let auth = |access: &Access| {
        access.auth.as_ref().map_or_else(|| "unsaid".to_owned(), manifest::access::text)
    };
    let rate =
        |access: &Access| manifest::access::rate(access).unwrap_or_else(|| "unsaid".to_owned());
    details.compare("auth", &*auth(before), &*auth(after));
    details.compare("rate", &*rate(before), &*rate(after));
}

pub(super) fn trigger(before: &Trigger, after: &WantedTrigger) -> Vec<String> {
    let mut details = Details::default();
    details.compare("kind", before.details.kind().as_str(), after.details.kind().as_str());
    details.compare("script", &before.script, &after.script);
    details.compare("matches", &*before.details.text(), &*after.details.text());
    details.compare("enabled", before.enabled, after.enabled);
    details.compare("ordering", before.ordering.as_str(), after.ordering.as_str());
    let most = |limit: Option<u32>| limit.map_or_else(|| "no limit".to_owned(), |n| n.to_string());
    details.compare("concurrency", &*most(before.concurrency), &*most(after.concurrency));
    details.compare("retry", &*retry_text(&before.retry), &*retry_text(&after.retry));
    details.0
}

fn retry_text(policy: &RetryPolicy) -> String {
    format!(
        "{} attempts, {} from {} to {}, jitter {}",
        policy.max_attempts,
        policy.backoff.as_str(),
        words::duration_text(policy.base_ms),
        words::duration_text(policy.max_delay_ms),
        policy.jitter
    )
}
