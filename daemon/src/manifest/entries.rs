//! Checking the entries of a manifest one by one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use picloud_api::manifest::{Manifest, RetryEntry, RouteEntry, ScriptEntry, TriggerEntry};
use picloud_api::text;
use picloud_scripts_runtime::limits::RunLimits;

use crate::limits::{self, Limit, Limits};
use crate::manifest::{Errors, WantedRoute, WantedTrigger, access, words};
use crate::outbox::source::{TriggerDetails, TriggerKind};
use crate::retry::{Backoff, RetryPolicy};
use crate::route::DispatchMode;
use crate::trigger::Ordering;

const ATTEMPTS_MAX: u32 = 100;
const BASE_MS_MAX: i64 = 24 * 3_600_000;
const DELAY_MS_MAX: i64 = 30 * 24 * 3_600_000;
const CONCURRENCY_MAX: u32 = 1_024;

/// The instance's limits, lowered by the entry.
pub(super) fn limits(entry: &ScriptEntry, instance: &RunLimits) -> Result<RunLimits, String> {
    let most = Limits { run: instance.clone(), ..Limits::default() };
    let mut lowered = most.clone();
    if let Some(text) = &entry.timeout {
        let timeout_ms = words::duration_ms("timeout", text)?;
        let limit = run_limit("timeout_ms");
        let (least, most) = ((limit.least), (limit.get)(&most));
        let show = |ms: u64| words::duration_text(i64::try_from(ms).unwrap_or(i64::MAX));
        match u64::try_from(timeout_ms) {
            Ok(ms) if ms > most => {
                let most = show(most);
                return Err(format!(
                    "timeout {text} is more than the {most} that this instance allows"
                ));
            }
            Ok(ms) if ms >= least => (limit.set)(&mut lowered, ms),
            Ok(_) | Err(_) => return Err(format!("timeout {text} is less than {}", show(least))),
        }
    }
    for (name, value) in named_limits(entry) {
        let Some(value) = value else { continue };
        let limit = run_limit(name);
        let (least, most) = (limit.least, (limit.get)(&most));
        if !(least..=most).contains(&value) {
            return Err(format!(
                "{name} is {value}; {least} to {most} are allowed by this instance"
            ));
        }
        (limit.set)(&mut lowered, value);
    }
    Ok(lowered.run)
}

/// The limits that an entry has by the names of [`RunLimits`]; the timeout, a duration, is apart. Sizes of strings, arrays
/// and maps and the call depth are the instance's, since all scripts share one engine.
fn named_limits(entry: &ScriptEntry) -> [(&'static str, Option<u64>); 7] {
    [
        ("operations_max", entry.operations_max),
        ("memory_bytes_max", entry.memory_bytes_max),
        ("value_bytes_max", entry.value_bytes_max),
        ("response_bytes_max", entry.response_bytes_max),
        ("log_lines_max", entry.log_lines_max),
        ("log_line_bytes_max", entry.log_line_bytes_max),
        ("effects_max", entry.effects_max),
    ]
}

fn run_limit(name: &str) -> &'static Limit {
    limits::of_a_run()
        .iter()
        .find(|limit| limit.name == name)
        .expect("every limit of a script entry is in the table")
}

pub(super) fn routes(
    manifest: &Manifest,
    known: Known<'_>,
    errors: &mut Errors,
) -> BTreeMap<(Arc<str>, Arc<str>), WantedRoute> {
    let mut routes = BTreeMap::new();
    let mut shapes: HashMap<(Arc<str>, String), Arc<str>> = HashMap::new();
    for entry in &manifest.routes {
        let label = format!("route {} {}", entry.method, entry.path);
        let method = errors.take(&label, words::method(&entry.method));
        let path = errors.take(&label, words::path(&entry.path));
        let script = script(known, &entry.script, &label, errors);
        let dispatch_mode = errors.take(&label, dispatch_mode(entry));
        let retry = errors.take(&label, retry(entry.retry.as_ref()));
        let access =
            access::read(entry.auth.as_deref(), entry.hmac.as_ref(), entry.rate.as_deref());
        let access = errors.take(&label, access);
        let (Some(method), Some(path), Some(dispatch_mode)) = (method, path, dispatch_mode) else {
            continue;
        };
        if dispatch_mode == DispatchMode::Sync && entry.retry.is_some() {
            errors.add(
                &label,
                "only async routes are retried; drop retry or set dispatch_mode = \"async\"",
            );
        }
        let shape = (Arc::clone(&method), path.shape());
        let path: Arc<str> = Arc::from(path.to_string());
        if let Some(other) = shapes.insert(shape, Arc::clone(&path)) {
            errors.add(&label, format!("matches the same requests as {method} {other}"));
            continue;
        }
        if let (Some(script), Some(retry), Some(access)) = (script, retry, access) {
            routes.insert((path, method), WantedRoute { script, dispatch_mode, retry, access });
        }
    }
    routes
}

fn dispatch_mode(entry: &RouteEntry) -> Result<DispatchMode, String> {
    match entry.dispatch_mode.as_deref() {
        None | Some("sync") => Ok(DispatchMode::Sync),
        Some("async") => Ok(DispatchMode::Async),
        Some(other) => Err(format!("dispatch_mode \"{other}\" is neither \"sync\" nor \"async\"")),
    }
}

/// The names that entries may refer to.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) scripts: &'a [&'a str],
    pub(super) triggers: &'a [&'a str],
}

fn script(known: Known<'_>, name: &str, label: &str, errors: &mut Errors) -> Option<Arc<str>> {
    errors.take(label, named("script", name, known.scripts))
}

/// The name, if there is such a thing.
fn named(what: &str, name: &str, names: &[&str]) -> Result<Arc<str>, String> {
    if names.contains(&name) {
        return Ok(Arc::from(name));
    }
    Err(match text::nearest(name, names.iter().copied()) {
        Some(meant) => {
            format!("there is no {what} \"{name}\" in this app; did you mean \"{meant}\"?")
        }
        None => format!("there is no {what} \"{name}\" in this app"),
    })
}

pub(super) fn triggers(
    manifest: &Manifest,
    known: Known<'_>,
    errors: &mut Errors,
) -> BTreeMap<Arc<str>, WantedTrigger> {
    let mut triggers = BTreeMap::new();
    for entry in &manifest.triggers {
        let Some((name, wanted)) = trigger(entry, known, errors) else { continue };
        if triggers.insert(name, wanted).is_some() {
            errors.add(&label_of(entry), "the name is used twice");
        }
    }
    triggers
}

fn label_of(entry: &TriggerEntry) -> String {
    format!("trigger \"{}\"", entry.name)
}

/// One trigger under its name.
pub(super) fn trigger(
    entry: &TriggerEntry,
    known: Known<'_>,
    errors: &mut Errors,
) -> Option<(Arc<str>, WantedTrigger)> {
    let label = label_of(entry);
    let name = errors.take(&label, words::name(&entry.name));
    let script = script(known, &entry.script, &label, errors);
    let wanted = errors.take(&label, without_script(known, entry));
    let (Some(name), Some(script), Some(wanted)) = (name, script, wanted) else { return None };
    Some((name, WantedTrigger { script, ..wanted }))
}

/// Everything of a trigger but its script.
fn without_script(known: Known<'_>, entry: &TriggerEntry) -> Result<WantedTrigger, String> {
    let details = TriggerDetails::read(entry, |name| named("trigger", name, known.triggers))?;
    let handles_letters = details.kind() == TriggerKind::DeadLetter;
    let ordering = match entry.ordering.as_deref() {
        None | Some("any") => Ordering::Any,
        Some("by_key") => match details.kind().keyless() {
            Some(they) => return Err(format!("{they} have no key; drop ordering")),
            None => Ordering::ByKey,
        },
        Some(other) => {
            return Err(format!("ordering \"{other}\" is neither \"any\" nor \"by_key\""));
        }
    };
    if handles_letters && entry.retry.is_some() {
        return Err("dead-letter handlers are never retried; drop retry".to_owned());
    }
    if let Some(concurrency) = entry.concurrency
        && !(1..=CONCURRENCY_MAX).contains(&concurrency)
    {
        return Err(format!("concurrency is {concurrency}; 1 to {CONCURRENCY_MAX} are allowed"));
    }
    Ok(WantedTrigger {
        script: Arc::default(),
        enabled: entry.enabled.unwrap_or(true),
        retry: retry(entry.retry.as_ref())?,
        ordering,
        concurrency: entry.concurrency,
        details,
    })
}

fn retry(entry: Option<&RetryEntry>) -> Result<RetryPolicy, String> {
    let default = RetryPolicy::default();
    let Some(entry) = entry else { return Ok(default) };
    let max_attempts = entry.max_attempts.unwrap_or(default.max_attempts);
    if !(1..=ATTEMPTS_MAX).contains(&max_attempts) {
        return Err(format!("max_attempts is {max_attempts}; 1 to {ATTEMPTS_MAX} are allowed"));
    }
    let backoff = match entry.backoff.as_deref() {
        None => default.backoff,
        Some("exponential") => Backoff::Exponential,
        Some("linear") => Backoff::Linear,
        Some("constant") => Backoff::Constant,
        Some(other) => {
            return Err(format!("backoff \"{other}\" is none of exponential, linear, constant"));
        }
    };
    let base_ms = delay("base", entry.base.as_deref(), default.base_ms, BASE_MS_MAX)?;
    let default_delay = default.max_delay_ms.max(base_ms);
    let max_delay_ms = delay("max_delay", entry.max_delay.as_deref(), default_delay, DELAY_MS_MAX)?;
    if max_delay_ms < base_ms {
        return Err(format!(
            "max_delay {} is shorter than base {}",
            words::duration_text(max_delay_ms),
            words::duration_text(base_ms)
        ));
    }
    let jitter = entry.jitter.unwrap_or(default.jitter);
    if !(0.0..=1.0).contains(&jitter) {
        return Err(format!("jitter is {jitter}; 0 to 1 is allowed"));
    }
    Ok(RetryPolicy { max_attempts, backoff, base_ms, max_delay_ms, jitter })
}

fn delay(key: &str, text: Option<&str>, default: i64, most: i64) -> Result<i64, String> {
    let Some(text) = text else { return Ok(default) };
    let ms = words::duration_ms(key, text)?;
    if ms > most {
        return Err(format!("{key} {text} is more than {}", words::duration_text(most)));
    }
    Ok(ms)
}
