//! The manifest: from the words that a person wrote to an app that can be run, and back.
//!
//! Pure. [`check`] finds everything that is wrong with a bundle and names the entry; what it returns holds, and
//! `flow::configure` compares it with what is there. [`export::bundle`] is the way back.

pub mod access;
pub mod export;
pub mod words;

mod entries;

use std::collections::BTreeMap;
use std::sync::Arc;

use picloud_api::manifest::{
    BUNDLE_BYTES_MAX, Bundle, Manifest, ROUTES_MAX, RouteEntry, SCRIPT_BYTES_MAX, SCRIPTS_MAX,
    ScriptEntry, TRIGGERS_MAX, TriggerEntry,
};
use picloud_api::problem::EntryError;
use picloud_api::text;
use picloud_scripts_runtime::exec::ExecError;
use picloud_scripts_runtime::limits::RunLimits;

use crate::outbox::source::{TriggerDetails, TriggerKind};
use crate::retry::RetryPolicy;
use crate::route::DispatchMode;
use crate::route::access::Access;
use crate::trigger::{GLOBS_BYTES_MAX, Ordering, fit_the_matcher};

/// Errors that are shown of one manifest.
pub const ERRORS_MAX: usize = 50;

/// What an app shall be. Everything in it has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub slug: Arc<str>,
    pub host: Option<Arc<str>>,
    pub allow_hosts: Vec<Arc<str>>,
    pub expose_errors: bool,
    pub access: Access,
    /// By name.
    pub scripts: BTreeMap<Arc<str>, WantedScript>,
    /// By path and method.
    pub routes: BTreeMap<(Arc<str>, Arc<str>), WantedRoute>,
    /// By name.
    pub triggers: BTreeMap<Arc<str>, WantedTrigger>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct WantedScript {
    pub source: Arc<str>,
    pub limits: RunLimits,
}

#[derive(Clone, Debug, PartialEq)]
pub struct WantedRoute {
    pub script: Arc<str>,
    pub dispatch_mode: DispatchMode,
    pub retry: RetryPolicy,
    pub access: Access,
}

#[derive(Clone, Debug, PartialEq)]
pub struct WantedTrigger {
    pub script: Arc<str>,
    pub enabled: bool,
    pub retry: RetryPolicy,
    pub ordering: Ordering,
    pub concurrency: Option<u32>,
    pub details: TriggerDetails,
}

/// Compiles a script without running it.
pub type Compile<'a> = &'a dyn Fn(&str) -> Result<(), ExecError>;

/// What is wrong so far.
#[derive(Debug, Default)]
struct Errors {
    found: Vec<EntryError>,
}

impl Errors {
    fn add(&mut self, entry: &str, message: impl Into<String>) {
        self.add_with_excerpt(entry, message, None);
    }

    fn add_with_excerpt(
        &mut self,
        entry: &str,
        message: impl Into<String>,
        excerpt: Option<String>,
    ) {
        if self.found.len() < ERRORS_MAX {
            self.found.push(EntryError {
                entry: entry.to_owned(),
                message: message.into(),
                excerpt,
            });
        }
    }

    /// The value, or nothing and an error.
    fn take<T>(&mut self, entry: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(entry, message)).ok()
    }
}

/// Checks a bundle: all that is wrong with it, or what the app shall be. `instance` are the limits that a script may
/// lower for itself.
pub fn check(
    bundle: &Bundle,
    instance: &RunLimits,
    compile: Compile<'_>,
) -> Result<Wanted, Vec<EntryError>> {
    let mut errors = Errors::default();
    check_sizes(bundle, &mut errors);
    if !errors.found.is_empty() {
        return Err(errors.found);
    }
    let app = &bundle.manifest.app;
    let slug = errors.take("app", words::slug(&app.slug)).unwrap_or_default();
    let host = app.host.as_deref().and_then(|host| errors.take("app", words::host("host", host)));
    let allow_hosts = app
        .allow_hosts
        .iter()
        .filter_map(|host| errors.take("app", words::allowed_host(host)))
        .collect();
    let access = access::read(app.auth.as_deref(), app.hmac.as_ref(), app.rate.as_deref());
    let access = errors.take("app", access).unwrap_or_default();
    let scripts = check_scripts(bundle, instance, compile, &mut errors);
    let manifest = &bundle.manifest;
    let names: Vec<&str> = manifest.scripts.iter().map(|script| script.name.as_str()).collect();
    let others: Vec<&str> = manifest.triggers.iter().map(|one| one.name.as_str()).collect();
    let known = entries::Known { scripts: &names, triggers: &others };
    let routes = entries::routes(manifest, known, &mut errors);
    let triggers = entries::triggers(manifest, known, &mut errors);
    check_matchers(&triggers, &mut errors);
    if !errors.found.is_empty() {
        return Err(errors.found);
    }
    let expose_errors = app.expose_errors.unwrap_or(false);
    Ok(Wanted { slug, host, allow_hosts, expose_errors, access, scripts, routes, triggers })
}

/// A route with the path and method that it is known by.
pub type CheckedRoute = ((Arc<str>, Arc<str>), WantedRoute);

/// Checks one route of an app that has these scripts.
pub fn check_route(entry: &RouteEntry, scripts: &[&str]) -> Result<CheckedRoute, Vec<EntryError>> {
    let alone = Manifest { routes: vec![entry.clone()], ..Manifest::default() };
    let mut errors = Errors::default();
    let known = entries::Known { scripts, triggers: &[] };
    match entries::routes(&alone, known, &mut errors).pop_first() {
        Some(checked) if errors.found.is_empty() => Ok(checked),
        Some(_) | None => Err(errors.found),
    }
}

/// Checks one trigger of an app that has these scripts and triggers.
pub fn check_trigger(
    entry: &TriggerEntry,
    scripts: &[&str],
    triggers: &[&str],
) -> Result<WantedTrigger, Vec<EntryError>> {
    let mut errors = Errors::default();
    let checked = entries::trigger(entry, entries::Known { scripts, triggers }, &mut errors);
    checked.map(|(_, wanted)| wanted).ok_or(errors.found)
}

/// Checks one script as [`check`] does: its name and what it shall be.
pub fn check_script(
    entry: &ScriptEntry,
    source: &str,
    instance: &RunLimits,
    compile: Compile<'_>,
) -> Result<(Arc<str>, WantedScript), Vec<EntryError>> {
    let sources = BTreeMap::from([(entry.file.clone(), source.to_owned())]);
    let bundle = Bundle { sources, ..Bundle::default() };
    let mut errors = Errors::default();
    let label = format!("script \"{}\"", entry.name);
    let name = errors.take(&label, words::name(&entry.name));
    let limits = errors.take(&label, entries::limits(entry, instance));
    match (name, limits, source_of(entry, &bundle, compile, &mut errors)) {
        (Some(name), Some(limits), Some(source)) => Ok((name, WantedScript { source, limits })),
        _ => Err(errors.found),
    }
}

fn check_sizes(bundle: &Bundle, errors: &mut Errors) {
    let manifest = &bundle.manifest;
    for (what, count, most) in [
        ("scripts", manifest.scripts.len(), SCRIPTS_MAX),
        ("routes", manifest.routes.len(), ROUTES_MAX),
        ("triggers", manifest.triggers.len(), TRIGGERS_MAX),
    ] {
        if count > most {
            errors.add("app", format!("has {count} {what}, at most {most} are allowed"));
        }
    }
    let bytes: usize = bundle.sources.values().map(String::len).sum();
    if bytes > BUNDLE_BYTES_MAX {
        errors.add(
            "app",
            format!("its scripts have {bytes} bytes, at most {BUNDLE_BYTES_MAX} are allowed"),
        );
    }
}

fn check_matchers(triggers: &BTreeMap<Arc<str>, WantedTrigger>, errors: &mut Errors) {
    for kind in [TriggerKind::Kv, TriggerKind::Docs] {
        if !fit_the_matcher(triggers.values().map(|trigger| &trigger.details), kind) {
            let kind = kind.as_str();
            errors.add(
                "app",
                format!(
                    "all collection_globs of its {kind} triggers together are too large to be matched, at most \
                     {GLOBS_BYTES_MAX} bytes are allowed; make them shorter or fewer"
                ),
            );
        }
    }
}

fn check_scripts(
    bundle: &Bundle,
    instance: &RunLimits,
    compile: Compile<'_>,
    errors: &mut Errors,
) -> BTreeMap<Arc<str>, WantedScript> {
    let mut scripts = BTreeMap::new();
    for entry in &bundle.manifest.scripts {
        let label = format!("script \"{}\"", entry.name);
        let name = errors.take(&label, words::name(&entry.name));
        let limits = errors.take(&label, entries::limits(entry, instance));
        let source = source_of(entry, bundle, compile, errors);
        let (Some(name), Some(limits), Some(source)) = (name, limits, source) else { continue };
        if scripts.insert(name, WantedScript { source, limits }).is_some() {
            errors.add(&label, "the name is used twice");
        }
    }
    for file in bundle.sources.keys() {
        if !bundle.manifest.scripts.iter().any(|entry| entry.file == *file) {
            errors.add("app", format!("file \"{file}\" was sent, but no script names it"));
        }
    }
    scripts
}

fn source_of(
    entry: &ScriptEntry,
    bundle: &Bundle,
    compile: Compile<'_>,
    errors: &mut Errors,
) -> Option<Arc<str>> {
    let label = format!("script \"{}\"", entry.name);
    let Some(source) = bundle.sources.get(&entry.file) else {
        errors.add(&label, format!("file \"{}\" is missing", entry.file));
        return None;
    };
    if source.len() > SCRIPT_BYTES_MAX {
        let bytes = source.len();
        errors.add(
            &label,
            format!(
                "file \"{}\" has {bytes} bytes, at most {SCRIPT_BYTES_MAX} are allowed",
                entry.file
            ),
        );
        return None;
    }
    if let Err(error) = compile(source) {
        let (place, excerpt) = match &error.position {
            Some(at) => (
                format!("{}, line {}, column {}: ", entry.file, at.line, at.column),
                Some(text::excerpt(
                    usize::try_from(at.line).unwrap_or(0),
                    usize::try_from(at.column).unwrap_or(0),
                    &at.source_line,
                )),
            ),
            None => (format!("{}: ", entry.file), None),
        };
        let message = format!("does not compile: {place}{}", error.message);
        errors.add_with_excerpt(&label, message, excerpt);
        return None;
    }
    Some(Arc::from(source.as_str()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write as _;

    use picloud_scripts_runtime::exec::{ExecErrorKind, Position};

    use super::*;
    use crate::entry::ChangeOp;

    /// Reads a manifest whose scripts are all `42`, as a deploy does.
    pub(crate) fn bundle(manifest: &str) -> Bundle {
        let manifest: picloud_api::manifest::Manifest =
            toml::from_str(manifest).expect("the manifest has the right keys");
        let files = manifest.scripts.iter().map(|script| script.file.clone());
        Bundle { sources: files.map(|file| (file, "42".to_owned())).collect(), manifest }
    }

    /// A compiler that refuses what contains `???`.
    pub(crate) fn compile(source: &str) -> Result<(), ExecError> {
        let Some(line) = source.lines().position(|line| line.contains("???")) else {
            return Ok(());
        };
        let source_line = source.lines().nth(line).expect("it was found").to_owned();
        let position = Position {
            line: u32::try_from(line + 1).expect("few lines"),
            column: u32::try_from(source_line.find("???").expect("it was found") + 1)
                .expect("short lines"),
            source_line,
        };
        Err(ExecError {
            kind: ExecErrorKind::Compile,
            message: "unexpected ???".to_owned(),
            position: Some(position),
        })
    }

    pub(crate) const GREENHOUSE: &str = r#"
        [app]
        slug = "greenhouse"
        allow_hosts = ["api.example.org"]
        [[scripts]]
        name = "record"
        file = "record.rhai"
        timeout = "5s"
        effects_max = 10
        [[scripts]]
        name = "warn"
        file = "lib/warn.rhai"
        [[routes]]
        method = "POST"
        path = "/readings/{sensor}"
        script = "record"
        [[routes]]
        method = "post"
        path = "/reports"
        script = "record"
        dispatch_mode = "async"
        retry = { max_attempts = 3, backoff = "linear", base = "2s", max_delay = "1m", jitter = 0.0 }
        [[triggers]]
        kind = "docs"
        name = "warn-when-dry"
        collection_glob = "readings*"
        ops = ["create", "update"]
        script = "warn"
        ordering = "by_key"
        concurrency = 2
        [[triggers]]
        kind = "dead_letter"
        name = "keep"
        source = "docs"
        trigger = "warn-when-dry"
        script = "warn"
        enabled = false
    "#;

    /// The only error of a manifest that is right but for `extra`.
    fn refused(extra: &str) -> String {
        let text = format!("{GREENHOUSE}{extra}");
        refused_alone(&text)
    }

    fn refused_alone(manifest: &str) -> String {
        let errors = check(&bundle(manifest), &RunLimits::default(), &compile)
            .expect_err("the manifest is wrong");
        let mut text = String::new();
        for error in errors {
            let gap = if text.is_empty() { "" } else { "; " };
            let _infallible = write!(text, "{gap}{}: {}", error.entry, error.message);
        }
        text
    }

    #[test]
    fn a_right_manifest_becomes_an_app() {
        let wanted =
            check(&bundle(GREENHOUSE), &RunLimits::default(), &compile).expect("nothing is wrong");
        assert_eq!(&*wanted.slug, "greenhouse");
        assert_eq!(wanted.scripts["record"].limits.timeout_ms, 5_000);
        assert_eq!(wanted.scripts["record"].limits.effects_max, 10);
        assert_eq!(wanted.scripts["warn"].limits, RunLimits::default());
        let report = &wanted.routes[&("/reports".into(), "POST".into())];
        assert_eq!(report.dispatch_mode, DispatchMode::Async);
        assert_eq!((report.retry.base_ms, report.retry.max_delay_ms), (2_000, 60_000));
        let warn = &wanted.triggers["warn-when-dry"];
        assert_eq!(warn.ordering, Ordering::ByKey);
        assert_eq!(
            warn.details,
            TriggerDetails::Docs {
                collection_glob: "readings*".into(),
                ops: vec![ChangeOp::Create, ChangeOp::Update]
            }
        );
        assert!(!wanted.triggers["keep"].enabled);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_entry() {
        let text = refused("[[routes]]\nmethod = \"FETCH\"\npath = \"x\"\nscript = \"none\"");
        assert_eq!(
            text,
            "route FETCH x: method \"FETCH\" is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS; \
             route FETCH x: path \"x\" must begin with /; \
             route FETCH x: there is no script \"none\" in this app"
        );
    }

    #[test]
    fn slugs_and_names_are_plain() {
        for (slug, expected) in [
            ("", "app: slug is empty"),
            ("_own", "app: slug \"_own\" may have only lowercase letters, digits and -"),
            ("Green", "app: slug \"Green\" may have only"),
            ("a/b", "app: slug \"a/b\" may have only"),
            ("-a", "app: slug \"-a\" must begin with a letter or a digit"),
            ("grün", "app: slug \"grün\" may have only"),
            (&"a".repeat(64), "has 64 characters, at most 63"),
        ] {
            let text = refused_alone(&format!("[app]\nslug = \"{slug}\""));
            assert!(text.contains(expected), "{text}");
        }
        let text = refused("[[scripts]]\nname = \"a b\"\nfile = \"record.rhai\"");
        assert!(text.contains("script \"a b\": name \"a b\" may have only"), "{text}");
    }

    #[test]
    fn a_missing_script_or_file_is_named() {
        let text = refused(
            "[[triggers]]\nkind = \"kv\"\nname = \"t\"\nscript = \"wran\"\ncollection_glob = \"*\"",
        );
        assert_eq!(
            text,
            "trigger \"t\": there is no script \"wran\" in this app; did you mean \"warn\"?"
        );
        let mut bundle = bundle(GREENHOUSE);
        bundle.sources.remove("lib/warn.rhai");
        bundle.sources.insert("other.rhai".to_owned(), String::new());
        let errors =
            check(&bundle, &RunLimits::default(), &compile).expect_err("the file is missing");
        assert_eq!(errors[0].entry, "script \"warn\"");
        assert_eq!(errors[0].message, "file \"lib/warn.rhai\" is missing");
        assert!(errors[1].message.contains("\"other.rhai\" was sent, but no script names it"));
    }

    #[test]
    fn a_script_that_does_not_compile_is_shown_with_a_caret() {
        let mut bundle = bundle(GREENHOUSE);
        bundle.sources.insert("record.rhai".to_owned(), "let a = 1;\nlet b = ???;".to_owned());
        let errors = check(&bundle, &RunLimits::default(), &compile).expect_err("it is wrong");
        assert_eq!(
            errors,
            [EntryError {
                entry: "script \"record\"".to_owned(),
                message: "does not compile: record.rhai, line 2, column 9: unexpected ???"
                    .to_owned(),
                excerpt: Some("2 | let b = ???;\n  |         ^".to_owned()),
            }]
        );
    }

    #[test]
    fn names_and_routes_are_used_once() {
        let text = refused("[[scripts]]\nname = \"warn\"\nfile = \"x.rhai\"");
        assert_eq!(text, "script \"warn\": the name is used twice");
        let text = refused(
            "[[triggers]]\nkind = \"kv\"\nname = \"keep\"\nscript = \"warn\"\ncollection_glob = \"*\"",
        );
        assert_eq!(text, "trigger \"keep\": the name is used twice");
        for path in ["/readings/{sensor}", "/readings/{id}"] {
            let text = refused(&format!(
                "[[routes]]\nmethod = \"POST\"\npath = \"{path}\"\nscript = \"warn\""
            ));
            assert!(
                text.contains(&format!("route POST {path}: "))
                    && text.contains("/readings/{sensor}"),
                "{text}"
            );
        }
    }

    #[test]
    fn routes_say_what_is_wrong_with_them() {
        for (lines, expected) in [
            ("path = \"/a//b\"", "path \"/a//b\" has an empty segment (//)"),
            ("path = \"/a/\"", "path \"/a/\" must not end with /"),
            (
                "path = \"/a/../b\"",
                "path \"/a/../b\" has the segment .., which no request can reach",
            ),
            ("path = \"/a?b\"", "segment a?b: '?' cannot be in a path"),
            ("path = \"/{a}/{a}\"", "has the parameter {a} twice"),
            (
                "path = \"/{*rest}/b\"",
                "{*rest} takes the rest of the path and can only be the last segment",
            ),
            ("path = \"/x{a}\"", "segment x{a}: a parameter is a whole segment"),
            ("path = \"/{}\"", "{} needs a name of letters"),
            (
                "path = \"/b\"\ndispatch_mode = \"later\"",
                "\"later\" is neither \"sync\" nor \"async\"",
            ),
            ("path = \"/b\"\nretry = {}", "only async routes are retried"),
        ] {
            let text =
                refused(&format!("[[routes]]\nmethod = \"GET\"\nscript = \"warn\"\n{lines}"));
            assert!(text.contains(expected), "{lines}\n{text}");
        }
    }

    #[test]
    fn triggers_say_what_is_wrong_with_them() {
        for (lines, expected) in [
            ("kind = \"kw\"", "kind \"kw\" is none of kv, docs, dead_letter"),
            ("kind = \"kv\"", "needs collection_glob; \"*\" is every collection"),
            ("kind = \"kv\"\ncollection_glob = \"a[\"", "glob \"a[\": "),
            ("kind = \"kv\"\ncollection_glob = \"\"", "glob \"\": is empty"),
            (
                "kind = \"kv\"\ncollection_glob = \"*\"\nops = [\"create\"]",
                "op \"create\" is none of set, delete, which a kv trigger knows",
            ),
            (
                "kind = \"docs\"\ncollection_glob = \"*\"\nops = [\"set\"]",
                "op \"set\" is none of create, update, delete, which a docs trigger knows",
            ),
            (
                "kind = \"docs\"\ncollection_glob = \"*\"\nops = [\"update\", \"update\"]",
                "op \"update\" is named twice",
            ),
            (
                "kind = \"kv\"\ncollection_glob = \"*\"\nsource = \"http\"",
                "source is for dead_letter triggers",
            ),
            ("kind = \"dead_letter\"\nops = []", "ops is for kv and docs triggers"),
            (
                "kind = \"dead_letter\"\ncollection_glob = \"*\"",
                "collection_glob is for kv and docs triggers",
            ),
            (
                "kind = \"dead_letter\"\nsource = \"dead_letter\"",
                "source \"dead_letter\" is none of http, kv, docs, task",
            ),
            (
                "kind = \"dead_letter\"\ntrigger = \"kep\"",
                "there is no trigger \"kep\" in this app; did you mean \"keep\"?",
            ),
            ("kind = \"dead_letter\"\nretry = {}", "dead-letter handlers are never retried"),
            ("kind = \"dead_letter\"\nordering = \"by_key\"", "dead letters have no key"),
            (
                "kind = \"kv\"\ncollection_glob = \"*\"\nordering = \"key\"",
                "ordering \"key\" is neither \"any\" nor \"by_key\"",
            ),
            (
                "kind = \"kv\"\ncollection_glob = \"*\"\nconcurrency = 0",
                "concurrency is 0; 1 to 1024 are allowed",
            ),
        ] {
            let text = refused(&format!("[[triggers]]\nname = \"t\"\nscript = \"warn\"\n{lines}"));
            assert!(
                text.starts_with("trigger \"t\": ") && text.contains(expected),
                "{lines}\n{text}"
            );
        }
    }

    #[test]
    fn retry_policies_have_bounds() {
        for (retry, expected) in [
            ("max_attempts = 0", "max_attempts is 0; 1 to 100 are allowed"),
            ("max_attempts = 101", "max_attempts is 101; 1 to 100 are allowed"),
            ("backoff = \"fast\"", "backoff \"fast\" is none of exponential, linear, constant"),
            ("base = \"soon\"", "base \"soon\" is not a duration"),
            ("base = \"-1s\"", "base \"-1s\" is not a duration"),
            ("base = \"2h\", max_delay = \"1h\"", "max_delay 1h is shorter than base 2h"),
            ("max_delay = \"31d\"", "max_delay 31d is more than 30d"),
            ("jitter = 1.5", "jitter is 1.5; 0 to 1 is allowed"),
            ("jitter = nan", "jitter is NaN; 0 to 1 is allowed"),
        ] {
            let text = refused(&format!(
                "[[triggers]]\nkind = \"kv\"\ncollection_glob = \"*\"\nname = \"t\"\nscript = \"warn\"\nretry = {{ {retry} }}"
            ));
            assert!(text.contains(expected), "{retry}\n{text}");
        }
    }

    #[test]
    fn limits_go_only_downward() {
        for (lines, expected) in [
            ("timeout = \"11s\"", "timeout 11s is more than the 10s that this instance allows"),
            ("timeout = \"5\"", "timeout \"5\" is not a duration"),
            ("timeout = \"1ms\"", "timeout 1ms is less than 10ms"),
            ("effects_max = 1001", "effects_max is 1001; 1 to 1000 are allowed by this instance"),
            ("operations_max = 1", "operations_max is 1; 1000 to 5000000 are allowed"),
        ] {
            let text = refused(&format!("[[scripts]]\nname = \"x\"\nfile = \"x.rhai\"\n{lines}"));
            assert!(text.starts_with("script \"x\": ") && text.contains(expected), "{text}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let mut big = bundle(GREENHOUSE);
        big.sources.insert("record.rhai".to_owned(), " ".repeat(SCRIPT_BYTES_MAX + 1));
        let errors = check(&big, &RunLimits::default(), &compile).expect_err("it is too large");
        assert!(errors[0].message.contains("has 262145 bytes, at most 262144"), "{errors:?}");

        let mut many = bundle(GREENHOUSE);
        let route = many.manifest.routes[0].clone();
        many.manifest.routes = vec![route; ROUTES_MAX + 1];
        let errors = check(&many, &RunLimits::default(), &compile).expect_err("too many");
        assert!(errors[0].message.contains("has 1001 routes, at most 1000"), "{errors:?}");
    }

    #[test]
    fn p4_globs_that_are_together_too_large_for_the_matcher_are_refused() {
        let globs = |count: usize, bytes: usize| {
            let glob = "?".repeat(bytes);
            let text = (0..count).fold(GREENHOUSE.to_owned(), |text, n| {
                format!(
                    "{text}[[triggers]]\nname = \"g{n}\"\nkind = \"docs\"\nscript = \"warn\"\n\
                     collection_glob = \"{glob}\"\n"
                )
            });
            check(&bundle(&text), &RunLimits::default(), &compile)
        };
        assert!(globs(900, 20).is_ok());
        let errors = globs(900, 199).expect_err("they are too large");
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert!(error.message.contains("of its docs triggers together"), "{error:?}");
    }

    #[test]
    fn errors_are_shown_up_to_a_limit() {
        let text = (0..200).fold(GREENHOUSE.to_owned(), |text, n| {
            format!("{text}[[routes]]\nmethod = \"NO\"\npath = \"/{n}\"\nscript = \"warn\"\n")
        });
        let errors = check(&bundle(&text), &RunLimits::default(), &compile).expect_err("wrong");
        assert_eq!(errors.len(), ERRORS_MAX);
    }
}
