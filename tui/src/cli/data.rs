//! `picloud kv` and `picloud docs`.

use std::io::Write;

use clap::{Args, Subcommand};
use picloud_api::data::{CollectionItem, Edited, EntryItem, EntryPut, Writer};
use picloud_api::list::Page;
use serde_json::value::RawValue;

use crate::cli::CliError;
use crate::cli::ask::{pair, text_of};
use crate::cli::confirm::{self, Asking, Consent};
use crate::cli::list::{PageArgs, fetch_of, print};
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative};

/// Bytes of a value, whatever the daemon takes.
const VALUE_BYTES_MAX: usize = 16 << 20;

/// Which of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Kv,
    Docs,
}

impl Space {
    fn word(self) -> &'static str {
        match self {
            Space::Kv => "kv",
            Space::Docs => "docs",
        }
    }
}

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Print what is stored under a key.
    Get {
        #[arg(value_name = "APP/COLLECTION")]
        collection: String,
        key: String,
    },
    /// Store JSON under a key; triggers are set off.
    Set {
        #[arg(value_name = "APP/COLLECTION")]
        collection: String,
        key: String,
        value: String,
        /// The value is a text as it stands, not JSON.
        #[arg(long)]
        text: bool,
        /// Of a KV entry: it counts as absent after this time, such as 10m.
        #[arg(long, value_name = "DURATION")]
        ttl: Option<String>,
        #[command(flatten)]
        edit: EditArgs,
    },
    /// The entries of a collection, or the collections of an app.
    List(EntriesArgs),
    /// Remove what is stored under a key; triggers are set off.
    Delete {
        #[arg(value_name = "APP/COLLECTION")]
        collection: String,
        key: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        edit: EditArgs,
    },
}

#[derive(Args)]
pub(super) struct EditArgs {
    /// Only if it is still at this version (0: not there).
    #[arg(long, value_name = "N")]
    if_version: Option<i64>,
    /// Only say what would be written and which triggers that would set off.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
pub(super) struct EntriesArgs {
    #[arg(value_name = "APP[/COLLECTION]")]
    place: String,
    /// Only keys that begin with this.
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

pub(super) async fn run(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    asking: Asking,
    (space, verb): (Space, Verb),
) -> Result<(), CliError> {
    match verb {
        Verb::Get { collection, key } => {
            let entry: EntryItem = client.get(&path(space, &collection, &key)?).await?;
            match output.form {
                Form::Json => output.json(&entry)?,
                Form::Text => output.line(entry.value.get())?,
            }
            Ok(())
        }
        Verb::Set { collection, key, value, text, ttl, edit } => {
            let value = if value == "-" { text_of("-", VALUE_BYTES_MAX)? } else { value };
            let value = if text { serde_json::json!(value).to_string() } else { value };
            let body = EntryPut { value: json(&value)?, ttl, dry_run: edit.dry_run };
            let path = path(space, &collection, &key)?;
            let edited: Edited = client.put_if(&path, &body, edit.if_version).await?;
            print_edited(output, &edited)
        }
        Verb::List(args) => match args.place.contains('/') {
            true => entries(client, output, errors, space, args).await,
            false => collections(client, output, errors, space, args).await,
        },
        Verb::Delete { collection, key, yes, edit } => {
            let mut path = path(space, &collection, &key)?;
            if edit.dry_run {
                path.push_str("?dry_run=true");
            } else {
                let deed = format!("remove {} {collection} {key}", space.word());
                confirm::ask(errors, asking, Consent::of(yes), &deed)?;
            }
            let edited: Edited = client.delete(&path, edit.if_version).await?;
            print_edited(output, &edited)
        }
    }
}

async fn collections(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    space: Space,
    args: EntriesArgs,
) -> Result<(), CliError> {
    if args.prefix.is_some() {
        return Err(CliError::Usage("--prefix is about keys: name APP/COLLECTION".to_owned()));
    }
    let path = format!("/apps/{}/{}", segment(&args.place), space.word());
    let list: Page<CollectionItem> = fetch_of(client, &path, &[], args.page).await?;
    print(output, errors, &list, &["COLLECTION"], |one, _| {
        vec![format!("{}/{}", one.app, one.collection)]
    })
}

async fn entries(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    space: Space,
    args: EntriesArgs,
) -> Result<(), CliError> {
    let (app, collection) = pair(&args.place, "COLLECTION")?;
    let path = format!("/apps/{}/{}/{}", segment(app), space.word(), segment(collection));
    let list: Page<EntryItem> =
        fetch_of(client, &path, &[("prefix", args.prefix.as_deref())], args.page).await?;
    let headings = ["KEY", "VALUE", "VERSION", "EXPIRES", "WRITTEN BY", "ROOT"];
    print(output, errors, &list, &headings, |entry, now| {
        vec![
            entry.key.clone(),
            entry.value.get().to_owned(),
            entry.version.to_string(),
            entry.expires_at.map_or_else(String::new, |at| relative(at, now)),
            writer(&entry.written_by),
            entry.written_by.root_id.clone().unwrap_or_default(),
        ]
    })
}

/// Who wrote an entry: `record v3`, or somebody by hand.
fn writer(writer: &Writer) -> String {
    match (&writer.principal, &writer.script, writer.script_version) {
        (Some(principal), _, _) => principal.clone(),
        (None, Some(script), Some(version)) => format!("{script} v{version}"),
        (None, Some(script), None) => script.clone(),
        (None, None, _) => String::new(),
    }
}

fn print_edited(output: &mut Output<'_>, edited: &Edited) -> Result<(), CliError> {
    if output.form == Form::Json {
        return Ok(output.json(edited)?);
    }
    let would = if edited.dry_run { "would " } else { "" };
    match &edited.write {
        None => output.line("nothing to do, it is not there")?,
        Some(write) => {
            let (space, collection, key) = (&write.space, &write.collection, &write.key);
            let version = edited.version.map_or_else(String::new, |n| format!(", version {n}"));
            output.line(&format!("{would}{} {space} {collection}/{key}{version}", write.op))?;
        }
    }
    for fired in &edited.triggers {
        let (trigger, script) = (&fired.trigger, &fired.script);
        let fires = if edited.dry_run { "would fire" } else { "fired" };
        output.line(&format!("{fires} {trigger}, which runs {script}"))?;
    }
    if edited.dry_run {
        output.line("nothing was changed, this was a dry run")?;
    }
    Ok(())
}

fn json(text: &str) -> Result<Box<RawValue>, CliError> {
    RawValue::from_string(text.trim().to_owned()).map_err(|error| {
        CliError::Usage(format!("the value is no JSON: {error}; a text as it stands takes --text"))
    })
}

fn path(space: Space, collection: &str, key: &str) -> Result<String, CliError> {
    let (app, collection) = pair(collection, "COLLECTION")?;
    let (app, collection, key) = (segment(app), segment(collection), segment(key));
    Ok(format!("/apps/{app}/{}/{collection}/{key}", space.word()))
}
