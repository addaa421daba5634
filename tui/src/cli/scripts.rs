//! `picloud scripts`.

use std::io::Write;

use clap::Subcommand;
use picloud_api::list::Page;
use picloud_api::manifest::SCRIPT_BYTES_MAX;
use picloud_api::script::{
    DryRun, DryRunAnswer, Invoke, InvokeAnswer, RollBack, Script, ScriptChanged, ScriptItem,
    ScriptPut, Version, VersionItem,
};
use picloud_api::text::excerpt;
use serde_json::value::RawValue;

use crate::cli::CliError;
use crate::cli::ask::{pair, text_of};
use crate::cli::confirm::{self, Asking, Consent};
use crate::cli::ids::{self, List};
use crate::cli::list::{OfAppArgs, PageArgs, fetch_of, fetch_of_apps, print};
use crate::cli::show::field;
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative};

/// Bytes of an event or a payload.
const EVENT_BYTES_MAX: usize = 4 << 20;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// The scripts of an app, or of all.
    List(OfAppArgs),
    /// Its version, what runs it, and its source.
    Show {
        #[arg(value_name = "APP/SCRIPT")]
        script: String,
        /// An older version that is kept.
        #[arg(long, value_name = "N")]
        version: Option<i64>,
        /// The source alone, as it is: to be edited, and put back.
        #[arg(long, conflicts_with = "json")]
        source: bool,
    },
    /// The versions that are kept.
    Versions {
        #[arg(value_name = "APP/SCRIPT")]
        script: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Give it a new source: a file, or - for standard input.
    Put {
        #[arg(value_name = "APP/SCRIPT")]
        script: String,
        file: String,
        /// Only if it is still at this version (0: not there).
        #[arg(long, value_name = "N")]
        if_version: Option<i64>,
    },
    /// Make an old version the current one again.
    RollBack {
        #[arg(value_name = "APP/SCRIPT")]
        script: String,
        version: i64,
        /// Only if it is still at this version.
        #[arg(long, value_name = "N")]
        if_version: Option<i64>,
    },
    /// Remove it; refused while a route or a trigger runs it.
    Delete {
        #[arg(value_name = "APP/SCRIPT")]
        script: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Run it as you and wait for its answer.
    Run {
        #[arg(value_name = "APP/SCRIPT")]
        script: String,
        /// The event as JSON: a file, or - for standard input. Without it the payload counts.
        event: Option<String>,
        /// JSON that the script gets as event.payload.
        #[arg(long, value_name = "JSON", conflicts_with = "event")]
        payload: Option<String>,
        /// Keep it to be run soon, with retries, and do not wait.
        #[arg(long = "async")]
        later: bool,
    },
    /// Show what a run would do; nothing of it is done.
    DryRun {
        #[arg(value_name = "APP/SCRIPT")]
        script: String,
        /// The event as JSON: a file, or - for standard input.
        file: Option<String>,
        /// Take the event of this outbox row, dead letter or recent execution.
        #[arg(long, value_name = "ID", conflicts_with = "file")]
        event: Option<String>,
        /// Try the source in this file instead of the current version.
        #[arg(long, value_name = "FILE")]
        source: Option<String>,
    },
}

pub(super) async fn run(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    asking: Asking,
    verb: Verb,
) -> Result<(), CliError> {
    match verb {
        Verb::List(args) => list(client, output, errors, args).await,
        Verb::Show { script, version, source } => {
            let part = if source { Part::Source } else { Part::All };
            show(client, output, &script, (version, part)).await
        }
        Verb::Versions { script, page } => versions(client, output, errors, &script, page).await,
        Verb::Put { script, file, if_version } => {
            let source = text_of(&file, SCRIPT_BYTES_MAX)?;
            let body = ScriptPut { source, limits: None };
            let changed = client.put_if(&path(&script)?, &body, if_version).await?;
            changed_line(output, &changed)
        }
        Verb::RollBack { script, version, if_version } => {
            let path = format!("{}/roll-back", path(&script)?);
            let changed = client.post_if(&path, &RollBack { version }, if_version).await?;
            changed_line(output, &changed)
        }
        Verb::Delete { script, yes } => {
            let path = path(&script)?;
            let deed = format!("remove script {script}");
            confirm::ask(errors, asking, Consent::of(yes), &deed)?;
            let changed = client.delete(&path, None).await?;
            changed_line(output, &changed)
        }
        Verb::Run { script, event, payload, later } => {
            let event = event.map(|file| json_of(&file)).transpose()?;
            let payload = payload.map(|text| json("--payload", &text)).transpose()?;
            let mode = later.then(|| "async".to_owned());
            invoke(client, output, &script, Invoke { event, payload, mode }).await
        }
        Verb::DryRun { script, file, event, source } => {
            let given = file.map(|file| json_of(&file)).transpose()?;
            let source = source.map(|file| text_of(&file, SCRIPT_BYTES_MAX)).transpose()?;
            let event = match event {
                Some(id) => {
                    let lists = &[List::DeadLetters, List::Executions, List::Outbox];
                    Some(ids::whole(client, &id, lists).await?)
                }
                None => None,
            };
            dry_run(client, output, &script, DryRun { event: given, from: event, source }).await
        }
    }
}

async fn list(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    args: OfAppArgs,
) -> Result<(), CliError> {
    let list = fetch_of_apps::<ScriptItem>(client, "scripts", args).await?;
    let headings = ["SCRIPT", "VERSION", "BYTES", "ROUTES", "TRIGGERS", "PAUSED"];
    print(output, errors, &list, &headings, |(app, script), now| {
        vec![
            format!("{app}/{}", script.name),
            script.version.to_string(),
            script.bytes.to_string(),
            script.routes.join(", "),
            script.triggers.join(", "),
            script.paused.as_ref().map_or_else(String::new, |pause| {
                format!("{}: {}", relative(pause.since, now), pause.reason)
            }),
        ]
    })
}

async fn show(
    client: &Client,
    output: &mut Output<'_>,
    script: &str,
    (version, part): (Option<i64>, Part),
) -> Result<(), CliError> {
    let path = path(script)?;
    if let Some(version) = version {
        let version: Version = client.get(&format!("{path}/versions/{version}")).await?;
        if output.form == Form::Json {
            return Ok(output.json(&version)?);
        }
        if part == Part::All {
            let current = if version.current { ", the current one" } else { "" };
            field(output, "script", script)?;
            field(output, "version", &format!("{}{current}", version.version))?;
            output.line("")?;
        }
        return Ok(output.source(&version.source)?);
    }
    let found: Script = client.get(&path).await?;
    if output.form == Form::Json {
        return Ok(output.json(&found)?);
    }
    if part == Part::All {
        for (name, value) in [
            ("script", format!("{}/{}", found.app, found.name)),
            ("version", found.version.to_string()),
            ("routes", found.routes.join(", ")),
            ("triggers", found.triggers.join(", ")),
            ("paused", found.paused.map(|pause| pause.reason).unwrap_or_default()),
        ] {
            field(output, name, &value)?;
        }
        output.line("")?;
    }
    Ok(output.source(&found.source)?)
}

/// What is shown of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    Source,
}

async fn versions(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    script: &str,
    page: PageArgs,
) -> Result<(), CliError> {
    let path = format!("{}/versions", path(script)?);
    let list: Page<VersionItem> = fetch_of(client, &path, &[], page).await?;
    print(output, errors, &list, &["VERSION", "MADE", "BYTES", "CURRENT"], |version, now| {
        vec![
            version.version.to_string(),
            relative(version.created_at, now),
            version.bytes.to_string(),
            if version.current { "yes".to_owned() } else { String::new() },
        ]
    })
}

fn changed_line(output: &mut Output<'_>, changed: &ScriptChanged) -> Result<(), CliError> {
    if output.form == Form::Json {
        return Ok(output.json(changed)?);
    }
    let ScriptChanged { app, name, version, version_before, .. } = changed;
    Ok(output.line(&match (changed.changed, version) {
        (false, _) => format!("{app}/{name}: nothing to do, it is at version {version}"),
        (true, 0) => format!("{app}/{name}: removed, it was at version {version_before}"),
        (true, _) => format!("{app}/{name}: version {version}, before {version_before}"),
    })?)
}

async fn invoke(
    client: &Client,
    output: &mut Output<'_>,
    script: &str,
    body: Invoke,
) -> Result<(), CliError> {
    let answer: InvokeAnswer = client.post(&format!("{}/invoke", path(script)?), &body).await?;
    if output.form == Form::Json {
        output.json(&answer)?;
    } else if answer.accepted_at.is_some() {
        output.line(&format!("{script}: accepted as {}", answer.execution_id))?;
    } else if answer.error.is_none() {
        output.line(result(answer.result.as_deref()))?;
    }
    match answer.error {
        Some(error) => {
            let text = format!("{script} failed: {}", error.message);
            let hint = format!("picloud executions show {} shows where", answer.execution_id);
            Err(CliError::Script { text, hint: Some(hint) })
        }
        None => Ok(()),
    }
}

async fn dry_run(
    client: &Client,
    output: &mut Output<'_>,
    script: &str,
    body: DryRun,
) -> Result<(), CliError> {
    let answer: DryRunAnswer = client.post(&format!("{}/dry-run", path(script)?), &body).await?;
    if output.form == Form::Json {
        output.json(&answer)?;
    } else {
        print_dry_run(output, &answer)?;
    }
    let Some(error) = answer.error else { return Ok(()) };
    if answer.outcome == "unknown" {
        return Ok(());
    }
    let mut text = format!("{script} would fail: {}", error.message);
    if let (Some(line), Some(source_line)) = (error.line, error.source_line) {
        let (line, column) = (line as usize, error.column.unwrap_or(0) as usize);
        text.push_str(&format!("\n{}", excerpt(line, column, &source_line).trim_end()));
    }
    Err(CliError::Script { text, hint: None })
}

fn print_dry_run(output: &mut Output<'_>, answer: &DryRunAnswer) -> Result<(), CliError> {
    for line in &answer.log {
        let fields = line.fields.as_ref().map_or_else(String::new, |map| format!(" {}", map.get()));
        output.line(&format!("{:<5} {}{fields}", line.level, line.message))?;
    }
    for write in &answer.writes {
        let after = match (&write.after, write.after_bytes) {
            (Some(after), _) => format!(" {}", after.get()),
            (None, 0) => String::new(),
            (None, bytes) => format!(" ({bytes} bytes)"),
        };
        let (space, collection, key) = (&write.space, &write.collection, &write.key);
        output.line(&format!("would {} {space} {collection}/{key}{after}", write.op))?;
    }
    for fired in &answer.triggers {
        let (collection, key) = (&fired.collection, &fired.key);
        let (trigger, script) = (&fired.trigger, &fired.script);
        output
            .line(&format!("would fire {trigger}, which runs {script}, for {collection}/{key}"))?;
    }
    for task in &answer.tasks {
        let event =
            task.event.as_ref().map_or_else(String::new, |event| format!(" {}", event.get()));
        output.line(&format!("would enqueue {}{event}", task.script))?;
    }
    for letter in &answer.letters {
        output.line(&format!("would have {} {}", letter.resolution, letter.id))?;
    }
    for call in &answer.calls {
        output.line(&format!("would call {} {}", call.method, call.url))?;
    }
    if answer.error.is_none() {
        output.line(&format!("result {}", result(answer.result.as_deref())))?;
    }
    if let ("unknown", Some(error)) = (&*answer.outcome, &answer.error) {
        let line = error.line.map_or_else(String::new, |line| format!(" on line {line}"));
        output.line(&format!("unknown after the call{line}, which was not sent"))?;
    }
    output.line("nothing was changed, this was a dry run")?;
    Ok(())
}

/// A result as JSON text; that of a script which returns nothing is null.
fn result(result: Option<&RawValue>) -> &str {
    result.map_or("null", RawValue::get)
}

fn json_of(file: &str) -> Result<Box<RawValue>, CliError> {
    json(file, &text_of(file, EVENT_BYTES_MAX)?)
}

fn json(what: &str, text: &str) -> Result<Box<RawValue>, CliError> {
    RawValue::from_string(text.trim().to_owned())
        .map_err(|error| CliError::Usage(format!("{what} is no JSON: {error}")))
}

fn path(script: &str) -> Result<String, CliError> {
    let (app, name) = pair(script, "SCRIPT")?;
    Ok(format!("/apps/{}/scripts/{}", segment(app), segment(name)))
}
