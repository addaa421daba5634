//! `picloud apps`.

use std::io::Write;

use clap::Subcommand;
use picloud_api::app::{App, AppChange, AppCreate, AppDeleted};
use picloud_api::manifest::HmacEntry;

use crate::cli::CliError;
use crate::cli::confirm::{self, Asking, Consent};
use crate::cli::list::{self, PageArgs};
use crate::cli::show::field;
use crate::client::{Client, segment};
use crate::output::{Form, Output};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// The apps, with what is in them and what waits.
    List(PageArgs),
    /// One app.
    Show { app: String },
    /// Make an app with nothing in it.
    Create {
        slug: String,
        /// A host name that it claims beside its path.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// A host that its scripts may call; may be given several times.
        #[arg(long = "allow-host", value_name = "NAME")]
        allow_hosts: Vec<String>,
        /// Callers see the text of a script's error.
        #[arg(long)]
        expose_errors: bool,
    },
    /// Change an app without deploying it; what is not named stays.
    Change {
        app: String,
        /// Another name in URLs.
        #[arg(long, value_name = "SLUG")]
        slug: Option<String>,
        /// A host name that it claims beside its path.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// It claims no host name any more.
        #[arg(long, conflicts_with = "host")]
        no_host: bool,
        /// The hosts that its scripts may call, all of them; may be given several times.
        #[arg(long = "allow-host", value_name = "NAME")]
        allow_hosts: Vec<String>,
        /// Its scripts may call no host any more.
        #[arg(long, conflicts_with = "allow_hosts")]
        allow_no_host: bool,
        /// Whether callers see the text of a script's error.
        #[arg(long, value_name = "BOOL")]
        expose_errors: Option<bool>,
        /// Who may call the routes that do not say it themselves: none, token or hmac.
        #[arg(long, value_name = "AUTH")]
        auth: Option<String>,
        /// With hmac: the app's secret that requests are signed with.
        #[arg(long, value_name = "NAME")]
        secret: Option<String>,
        /// How often each caller may call each of those routes: such as 10/s, or none.
        #[arg(long, value_name = "RATE")]
        rate: Option<String>,
        /// Only if it is still at this revision.
        #[arg(long, value_name = "N")]
        if_revision: Option<i64>,
    },
    /// Remove an app with everything in it: what waits is abandoned, what is stored goes.
    Delete {
        app: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
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
        Verb::List(args) => list::apps(client, output, errors, args).await,
        Verb::Show { app } => {
            let app: App = client.get(&format!("/apps/{}", segment(&app))).await?;
            show(output, &app)
        }
        Verb::Create { slug, host, allow_hosts, expose_errors } => {
            let create = AppCreate { slug, host, allow_hosts, expose_errors };
            let app: App = client.post("/apps", &create).await?;
            if output.form == Form::Json {
                return Ok(output.json(&app)?);
            }
            Ok(output.line(&format!("{}: made", app.slug))?)
        }
        Verb::Change {
            app,
            slug,
            host,
            no_host,
            allow_hosts,
            allow_no_host,
            expose_errors,
            auth,
            secret,
            rate,
            if_revision,
        } => {
            let host = if no_host { Some(None) } else { host.map(Some) };
            let named = !allow_hosts.is_empty() || allow_no_host;
            let allow_hosts = named.then_some(allow_hosts);
            let hmac = secret.map(|secret| HmacEntry { secret, ..HmacEntry::default() });
            let (auth, rate) = (auth.map(Some), rate.map(Some));
            let change = AppChange { slug, host, allow_hosts, expose_errors, auth, hmac, rate };
            let path = format!("/apps/{}", segment(&app));
            let app: App = client.patch_if(&path, &change, if_revision).await?;
            show(output, &app)
        }
        Verb::Delete { app, yes } => {
            delete(client, output, errors, &app, (asking, Consent::of(yes))).await
        }
    }
}

async fn delete(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    app: &str,
    (asking, consent): (Asking, Consent),
) -> Result<(), CliError> {
    let path = format!("/apps/{}", segment(app));
    let app: App = client.get(&path).await?;
    let (slug, waiting, letters) = (&app.slug, app.waiting, app.dead_letters);
    let deed = format!(
        "delete app {slug} with its {} scripts, all that it has stored, {waiting} rows that wait and {letters} dead letters",
        app.scripts
    );
    confirm::ask(errors, asking, consent, &deed)?;
    // What was not shown is not deleted.
    let deleted: AppDeleted = client.delete(&path, Some(app.revision)).await?;
    if output.form == Form::Json {
        return Ok(output.json(&deleted)?);
    }
    Ok(output.line(&format!("{}: deleted", deleted.slug))?)
}

fn show(output: &mut Output<'_>, app: &App) -> Result<(), CliError> {
    if output.form == Form::Json {
        return Ok(output.json(app)?);
    }
    let (scripts, routes, triggers) = (app.scripts, app.routes, app.triggers);
    let paused = app.paused.as_ref();
    for (name, value) in [
        ("app", app.slug.clone()),
        ("revision", app.revision.to_string()),
        ("host", app.host.clone().unwrap_or_default()),
        ("may call", app.allow_hosts.join(", ")),
        ("errors", if app.expose_errors { "callers see their text" } else { "" }.to_owned()),
        ("auth", if app.auth == "none" { String::new() } else { app.auth.clone() }),
        ("rate", if app.rate == "none" { String::new() } else { app.rate.clone() }),
        ("has", format!("{scripts} scripts, {routes} routes, {triggers} triggers")),
        ("waiting", app.waiting.to_string()),
        ("dead", format!("{} open dead letters", app.dead_letters)),
        ("paused", paused.map(|pause| pause.reason.clone()).unwrap_or_default()),
    ] {
        field(output, name, &value)?;
    }
    Ok(())
}
