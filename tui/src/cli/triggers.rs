//! `picloud triggers`: what sets scripts off, switched on and off, and set off by hand.

use std::io::Write;

use clap::{Args, Subcommand};
use picloud_api::manifest::TriggerEntry;
use picloud_api::triggers::{FireAnswer, FireRequest, TriggerAnswer, TriggerDeleted, TriggerItem};

use crate::cli::CliError;
use crate::cli::ask::{pair, text_of};
use crate::cli::confirm::{self, Asking, Consent};
use crate::cli::list::{self, OfAppArgs, fetch_of_apps};
use crate::cli::show::field;
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative, utc};

#[derive(Subcommand)]
pub(super) enum Triggers {
    /// The triggers of an app, or of all.
    List(OfAppArgs),
    /// All about one.
    Show {
        #[arg(value_name = "APP/TRIGGER")]
        trigger: String,
    },
    /// Make a trigger; its script runs as you.
    Create(Box<New>),
    /// Let it match again.
    Enable {
        #[arg(value_name = "APP/TRIGGER")]
        trigger: String,
        /// Only if the app is still at this revision.
        #[arg(long, value_name = "N")]
        if_revision: Option<i64>,
    },
    /// Let it match no more; what it has set off already still runs.
    Disable {
        #[arg(value_name = "APP/TRIGGER")]
        trigger: String,
        /// Only if the app is still at this revision.
        #[arg(long, value_name = "N")]
        if_revision: Option<i64>,
    },
    /// Set it off once, as yourself.
    Fire {
        #[arg(value_name = "APP/TRIGGER")]
        trigger: String,
        /// The event as JSON: a file, or - for standard input; without it an event is made up
        #[arg(value_hint = clap::ValueHint::FilePath)]
        event: Option<String>,
    },
    /// Remove it; what it has set off already still runs.
    Delete {
        #[arg(value_name = "APP/TRIGGER")]
        trigger: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Only if the app is still at this revision.
        #[arg(long, value_name = "N")]
        if_revision: Option<i64>,
    },
}

#[derive(Args)]
pub(super) struct New {
    #[arg(value_name = "APP/TRIGGER")]
    trigger: String,
    /// What sets it off: kv, docs, dead-letter or schedule
    #[arg(value_name = "KIND")]
    kind: String,
    /// The script that it runs.
    #[arg(long, value_name = "NAME")]
    script: String,
    /// Of kv and docs: the collections whose changes match, such as 'readings*'.
    #[arg(long, value_name = "GLOB")]
    collection_glob: Option<String>,
    /// Of kv and docs: only this change, create, update or delete; may be given several times.
    #[arg(long = "op", value_name = "OP")]
    ops: Vec<String>,
    /// Of a schedule: minute, hour, day, month, weekday.
    #[arg(long, value_name = "CRON")]
    cron: Option<String>,
    /// Of a schedule: such as Europe/Berlin; without it the machine's.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Of a schedule: what becomes of times missed while the power was off: none, once or all.
    #[arg(long, value_name = "HOW")]
    catch_up: Option<String>,
    /// Of dead-letter: only letters of this source: http, kv, docs, task or schedule.
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Of dead-letter: only letters of this trigger of the app.
    #[arg(long, value_name = "NAME")]
    of: Option<String>,
    /// One after another for each key: by_key.
    #[arg(long, value_name = "ORDERING")]
    ordering: Option<String>,
    /// At most this many of its runs at a time.
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// It matches nothing until it is enabled.
    #[arg(long)]
    disabled: bool,
}

pub(super) async fn run(
    command: Triggers,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    asking: Asking,
) -> Result<(), CliError> {
    match command {
        Triggers::List(args) => print_list(client, output, errors, args).await,
        Triggers::Show { trigger } => show(client, output, &trigger).await,
        Triggers::Create(new) => create(client, output, *new).await,
        Triggers::Enable { trigger, if_revision } => {
            switch(client, output, &trigger, ("enable", if_revision)).await
        }
        Triggers::Disable { trigger, if_revision } => {
            switch(client, output, &trigger, ("disable", if_revision)).await
        }
        Triggers::Fire { trigger, event } => fire(client, output, &trigger, event.as_deref()).await,
        Triggers::Delete { trigger, yes, if_revision } => {
            let path = path(&trigger)?;
            confirm::ask(errors, asking, Consent::of(yes), &format!("delete trigger {trigger}"))?;
            let answer: TriggerDeleted = client.delete(&path, if_revision).await?;
            match output.form {
                Form::Json => output.json(&answer)?,
                Form::Text => output.line(&format!("{} deleted", answer.deleted))?,
            }
            Ok(())
        }
    }
}

async fn print_list(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    args: OfAppArgs,
) -> Result<(), CliError> {
    let found = fetch_of_apps::<TriggerItem>(client, "triggers", args).await?;
    let headings = ["TRIGGER", "KIND", "MATCHES", "SCRIPT", "STATE", "NEXT", "LAST"];
    list::print(output, errors, &found, &headings, |(_, one), now| {
        let when = |at: Option<i64>| at.map_or_else(String::new, |at| relative(at, now));
        vec![
            format!("{}/{}", one.app, one.name),
            one.kind.clone(),
            one.matches.clone(),
            one.script.clone(),
            state(one),
            when(one.next_due),
            when(one.last_fired),
        ]
    })
}

fn state(one: &TriggerItem) -> String {
    if one.problem.is_some() {
        "never due".to_owned()
    } else if !one.enabled {
        "disabled".to_owned()
    } else if one.paused.is_some() {
        "paused".to_owned()
    } else {
        "enabled".to_owned()
    }
}

async fn show(client: &Client, output: &mut Output<'_>, trigger: &str) -> Result<(), CliError> {
    let item: TriggerItem = client.get(&path(trigger)?).await?;
    if output.form == Form::Json {
        return Ok(output.json(&item)?);
    }
    let retry = &item.retry;
    let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
    let lines = [
        ("trigger", format!("{}/{}", item.app, item.name)),
        ("kind", item.kind.clone()),
        ("matches", item.matches.clone()),
        ("script", item.script.clone()),
        ("state", state(&item)),
        ("paused", item.paused.as_ref().map_or_else(String::new, |pause| pause.reason.clone())),
        ("problem", item.problem.clone().unwrap_or_default()),
        ("due", item.next_due.map(utc).unwrap_or_default()),
        ("by clock", item.next_due_local.clone().unwrap_or_default()),
        ("fired", item.last_fired.map(utc).unwrap_or_default()),
        ("ordering", item.entry.ordering.clone().unwrap_or_default()),
        ("at once", item.entry.concurrency.map_or_else(String::new, |n| n.to_string())),
        (
            "retry",
            format!(
                "{} attempts, {} from {} to {}",
                retry.max_attempts.unwrap_or_default(),
                text(retry.backoff.as_deref()),
                text(retry.base.as_deref()),
                text(retry.max_delay.as_deref()),
            ),
        ),
        ("runs as", text(item.registered_by.as_deref())),
        ("revision", item.revision.to_string()),
    ];
    for (name, value) in lines {
        field(output, name, &value)?;
    }
    Ok(())
}

async fn create(client: &Client, output: &mut Output<'_>, new: New) -> Result<(), CliError> {
    let (app, name) = pair(&new.trigger, "TRIGGER")?;
    let path = format!("/apps/{}/triggers/{}", segment(app), segment(&new.kind));
    let entry = TriggerEntry {
        kind: new.kind.replace('-', "_"),
        name: name.to_owned(),
        script: new.script,
        collection_glob: new.collection_glob,
        ops: (!new.ops.is_empty()).then_some(new.ops),
        source: new.source,
        trigger: new.of,
        cron: new.cron,
        time_zone: new.time_zone,
        catch_up: new.catch_up,
        enabled: new.disabled.then_some(false),
        ordering: new.ordering,
        concurrency: new.concurrency,
        retry: None,
    };
    let answer: TriggerAnswer = client.post(&path, &entry).await?;
    if output.form == Form::Json {
        return Ok(output.json(&answer)?);
    }
    let next = answer.trigger.next_due_local;
    let next = next.map_or_else(String::new, |next| format!(", due {next}"));
    Ok(output.line(&format!("{app}/{name}: made{next}"))?)
}

async fn switch(
    client: &Client,
    output: &mut Output<'_>,
    trigger: &str,
    (verb, if_revision): (&str, Option<i64>),
) -> Result<(), CliError> {
    let path = format!("{}/{verb}", path(trigger)?);
    let answer: TriggerAnswer = client.post_if(&path, &serde_json::json!({}), if_revision).await?;
    if output.form == Form::Json {
        return Ok(output.json(&answer)?);
    }
    let how = if answer.changed { "" } else { " already" };
    let next = answer.trigger.next_due_local.filter(|_| answer.trigger.enabled);
    let next = next.map_or_else(String::new, |next| format!(", due {next}"));
    output.line(&format!("{trigger} is {verb}d{how}{next}"))?;
    Ok(())
}

async fn fire(
    client: &Client,
    output: &mut Output<'_>,
    trigger: &str,
    event: Option<&str>,
) -> Result<(), CliError> {
    let path = format!("{}/fire", path(trigger)?);
    let event = event.map(read_event).transpose()?;
    let answer: FireAnswer = client.post(&path, &FireRequest { event }).await?;
    match output.form {
        Form::Json => output.json(&answer)?,
        Form::Text => output.line(&format!("{trigger} fired: {}", answer.execution_id))?,
    }
    Ok(())
}

/// Bytes of an event's file; the daemon takes far less.
const EVENT_BYTES_MAX: usize = 16 << 20;

fn read_event(file: &str) -> Result<serde_json::Value, CliError> {
    serde_json::from_str(&text_of(file, EVENT_BYTES_MAX)?)
        .map_err(|error| CliError::Usage(format!("event {file}: {error}")))
}

/// Where a trigger is found.
fn path(trigger: &str) -> Result<String, CliError> {
    let (app, name) = pair(trigger, "TRIGGER")?;
    Ok(format!("/apps/{}/triggers/{}", segment(app), segment(name)))
}
