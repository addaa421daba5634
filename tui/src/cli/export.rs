//! `picloud export`: an app as a folder that can be deployed again.

use std::path::Path;

use picloud_api::manifest::{Bundle, FILE_NAME, Manifest};
use serde::Serialize;

use crate::cli::{CliError, folder};
use crate::client::{Client, segment};
use crate::output::{Form, Output};

pub(super) async fn run(
    client: &Client,
    output: &mut Output<'_>,
    app: &str,
    dir: &Path,
) -> Result<(), CliError> {
    let bundle: Bundle = client.get(&format!("/apps/{}/manifest", segment(app))).await?;
    let manifest = to_toml(&bundle.manifest);
    let mut files = vec![(FILE_NAME, manifest.as_str())];
    files.extend(bundle.sources.iter().map(|(file, source)| (file.as_str(), source.as_str())));
    let count = folder::write(dir, &files)?;
    match output.form {
        Form::Json => output.json(&serde_json::json!({ "app": app, "files": count }))?,
        Form::Text => output.line(&format!("{app}: {count} files written to {}", dir.display()))?,
    }
    Ok(())
}

/// The manifest as a person would write it: sections of lines, policies on one line, nothing that is a default.
fn to_toml(manifest: &Manifest) -> String {
    let mut text = "[app]\n".to_owned();
    let app = &manifest.app;
    line(&mut text, "slug", Some(&app.slug));
    line(&mut text, "host", app.host.as_ref());
    line(&mut text, "allow_hosts", (!app.allow_hosts.is_empty()).then_some(&app.allow_hosts));
    line(&mut text, "expose_errors", app.expose_errors.as_ref());
    line(&mut text, "auth", app.auth.as_ref());
    line(&mut text, "hmac", app.hmac.as_ref());
    line(&mut text, "rate", app.rate.as_ref());
    for script in &manifest.scripts {
        text.push_str("\n[[scripts]]\n");
        line(&mut text, "name", Some(&script.name));
        line(&mut text, "file", Some(&script.file));
        line(&mut text, "timeout", script.timeout.as_ref());
        for (name, limit) in [
            ("operations_max", script.operations_max),
            ("memory_bytes_max", script.memory_bytes_max),
            ("value_bytes_max", script.value_bytes_max),
            ("response_bytes_max", script.response_bytes_max),
            ("log_lines_max", script.log_lines_max),
            ("log_line_bytes_max", script.log_line_bytes_max),
            ("effects_max", script.effects_max),
        ] {
            line(&mut text, name, limit.as_ref());
        }
    }
    for route in &manifest.routes {
        text.push_str("\n[[routes]]\n");
        line(&mut text, "method", Some(&route.method));
        line(&mut text, "path", Some(&route.path));
        line(&mut text, "script", Some(&route.script));
        line(&mut text, "dispatch_mode", route.dispatch_mode.as_ref());
        line(&mut text, "retry", route.retry.as_ref());
        line(&mut text, "auth", route.auth.as_ref());
        line(&mut text, "hmac", route.hmac.as_ref());
        line(&mut text, "rate", route.rate.as_ref());
    }
    for trigger in &manifest.triggers {
        text.push_str("\n[[triggers]]\n");
        line(&mut text, "kind", Some(&trigger.kind));
        line(&mut text, "name", Some(&trigger.name));
        for (key, value) in trigger.own_keys() {
            line(&mut text, key, value.as_ref());
        }
        line(&mut text, "script", Some(&trigger.script));
        line(&mut text, "enabled", trigger.enabled.as_ref());
        line(&mut text, "ordering", trigger.ordering.as_ref());
        line(&mut text, "concurrency", trigger.concurrency.as_ref());
        line(&mut text, "retry", trigger.retry.as_ref());
    }
    text
}

fn line<T: Serialize>(text: &mut String, key: &str, value: Option<&T>) {
    let Some(value) = value else { return };
    let mut written = String::new();
    value
        .serialize(toml::ser::ValueSerializer::new(&mut written))
        .expect("texts, numbers, lists and tables of them are TOML");
    text.push_str(&format!("{key} = {written}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_from_what_is_written() {
        let text = r#"[app]
slug = "greenhouse"
host = "plants.local"
allow_hosts = ["api.example.org"]
expose_errors = true
auth = "hmac"
hmac = { secret = "GITHUB" }
rate = "100/m"

[[scripts]]
name = "record"
file = "record.rhai"
timeout = "5s"
operations_max = 1000
memory_bytes_max = 1001
value_bytes_max = 102
response_bytes_max = 103
log_lines_max = 104
log_line_bytes_max = 105
effects_max = 106

[[routes]]
method = "POST"
path = "/readings/{sensor}"
script = "record"
dispatch_mode = "async"
retry = { max_attempts = 5, backoff = "linear", base = "1s", max_delay = "15m", jitter = 0.2 }
auth = "hmac"
hmac = { secret = "SLACK", header = "x-slack-signature", timestamp_header = "x-slack-request-timestamp", signed = "v0:{timestamp}:{body}", tolerance = "5m" }
rate = "none"

[[triggers]]
kind = "docs"
name = "warn"
collection_glob = "readings*"
ops = ["create", "update"]
script = "record"
enabled = false
ordering = "by_key"
concurrency = 2

[[triggers]]
kind = "dead_letter"
name = "keep"
source = "docs"
trigger = "warn"
script = "record"

[[triggers]]
kind = "schedule"
name = "report"
cron = "0 6 * * *"
time_zone = "Europe/Berlin"
catch_up = "once"
script = "record"
"#;
        let manifest: Manifest = toml::from_str(text).expect("the manifest is right");
        assert_eq!(to_toml(&manifest), text);
    }

    #[test]
    fn odd_characters_come_back_as_they_were() {
        let mut manifest = Manifest::default();
        manifest.app.slug = "a\"\n\\\u{1b}'\u{7f}".to_owned();
        let read: Manifest = toml::from_str(&to_toml(&manifest)).expect("it is TOML");
        assert_eq!(read, manifest);
    }
}
