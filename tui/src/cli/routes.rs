//! `picloud routes`: what an app is reached by, one at a time.

use std::io::Write;

use clap::{Args, Subcommand};
use picloud_api::manifest::{HmacEntry, RouteEntry};
use picloud_api::routes::{RouteAnswer, RouteDeleted, RouteItem};
use picloud_api::text;

use crate::cli::CliError;
use crate::cli::ask::pair;
use crate::cli::confirm::{self, Asking, Consent};
use crate::cli::list::{self, OfAppArgs, fetch_of_apps};
use crate::cli::show::field;
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative};

/// What a route says that leaves the matter to its app.
const AS_APP: &str = "app";

#[derive(Subcommand)]
pub(super) enum Routes {
    /// The routes of an app, or of all.
    List(OfAppArgs),
    /// All about one.
    Show {
        #[arg(value_name = "APP/ROUTE")]
        route: String,
    },
    /// Make a route; its script runs as you.
    Create {
        #[arg(value_name = "APP/ROUTE")]
        route: String,
        /// The script that answers.
        #[arg(long, value_name = "NAME")]
        script: String,
        #[command(flatten)]
        said: Said,
    },
    /// Change a route; what is not named stays. Its script runs as you from then on.
    Change {
        #[arg(value_name = "APP/ROUTE")]
        route: String,
        /// The script that answers.
        #[arg(long, value_name = "NAME")]
        script: Option<String>,
        #[command(flatten)]
        said: Said,
    },
    /// Remove it; what it has accepted already still runs.
    Delete {
        #[arg(value_name = "APP/ROUTE")]
        route: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Only if the app is still at this revision.
        #[arg(long, value_name = "N")]
        if_revision: Option<i64>,
    },
}

/// What may be said of a route that is made or changed.
#[derive(Args)]
pub(super) struct Said {
    /// Whether the caller waits for the script: sync, as without it, or async.
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Who may call: none, token or hmac; app: as its app says.
    #[arg(long, value_name = "AUTH")]
    auth: Option<String>,
    /// With hmac: the app's secret that requests are signed with.
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// How often each caller may call: such as 10/s, or none; app: as its app says.
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// Only if the app is still at this revision.
    #[arg(long, value_name = "N")]
    if_revision: Option<i64>,
}

impl Said {
    fn apply(self, entry: &mut RouteEntry) {
        let own = |word: String| (word != AS_APP).then_some(word);
        if let Some(mode) = self.mode {
            if mode == "sync" {
                // Only async routes are retried.
                entry.retry = None;
            }
            entry.dispatch_mode = Some(mode);
        }
        if let Some(auth) = self.auth {
            if auth != "hmac" {
                entry.hmac = None;
            }
            entry.auth = own(auth);
        }
        if let Some(secret) = self.secret {
            entry.hmac = Some(HmacEntry { secret, ..entry.hmac.take().unwrap_or_default() });
        }
        if let Some(rate) = self.rate {
            entry.rate = own(rate);
        }
    }
}

pub(super) async fn run(
    command: Routes,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    asking: Asking,
) -> Result<(), CliError> {
    match command {
        Routes::List(args) => print_list(client, output, errors, args).await,
        Routes::Show { route } => show(client, output, &route).await,
        Routes::Create { route, script, said } => {
            let (app, method, path) = parts(&route)?;
            let (method, path) = (method.to_owned(), path.to_owned());
            let mut entry = RouteEntry { method, path, script, ..RouteEntry::default() };
            let if_revision = said.if_revision;
            said.apply(&mut entry);
            let place = format!("/apps/{}/routes", segment(app));
            let answer = client.post_if(&place, &entry, if_revision).await?;
            done(output, errors, &answer, "made")
        }
        Routes::Change { route, script, said } => {
            let place = place(&route)?;
            let RouteItem { revision, mut entry, .. } = client.get(&place).await?;
            entry.script = script.unwrap_or(entry.script);
            // What is not named stays as it is now.
            let revision = said.if_revision.unwrap_or(revision);
            said.apply(&mut entry);
            let answer = client.put_if(&place, &entry, Some(revision)).await?;
            done(output, errors, &answer, "changed")
        }
        Routes::Delete { route, yes, if_revision } => {
            let place = place(&route)?;
            confirm::ask(errors, asking, Consent::of(yes), &format!("delete route {route}"))?;
            let answer: RouteDeleted = client.delete(&place, if_revision).await?;
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
    let list = fetch_of_apps::<RouteItem>(client, "routes", args).await?;
    let headings = ["APP", "METHOD", "PATH", "MODE", "SCRIPT", "AUTH", "RATE", "URL", "PAUSED"];
    list::print(output, errors, &list, &headings, |(app, route), now| {
        vec![
            app.clone(),
            route.method.clone(),
            route.path.clone(),
            route.dispatch_mode.clone(),
            route.script.clone(),
            route.auth.clone(),
            route.rate.clone(),
            route.urls.join(" "),
            route.paused.as_ref().map_or_else(String::new, |pause| {
                format!("{}: {}", relative(pause.since, now), pause.reason)
            }),
        ]
    })
}

async fn show(client: &Client, output: &mut Output<'_>, route: &str) -> Result<(), CliError> {
    let item: RouteItem = client.get(&place(route)?).await?;
    if output.form == Form::Json {
        return Ok(output.json(&item)?);
    }
    let retry = item.retry.as_ref().map_or_else(String::new, |retry| {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        format!(
            "{} attempts, {} from {} to {}",
            retry.max_attempts.unwrap_or_default(),
            text(&retry.backoff),
            text(&retry.base),
            text(&retry.max_delay),
        )
    });
    for (name, value) in [
        ("route", name(&item)),
        ("script", item.script),
        ("mode", item.dispatch_mode),
        ("auth", item.auth),
        ("rate", item.rate),
        ("retry", retry),
        ("urls", item.urls.join(" ")),
        ("paused", item.paused.map(|pause| pause.reason).unwrap_or_default()),
        ("runs as", item.runs_as.unwrap_or_else(|| "-".to_owned())),
        ("revision", item.revision.to_string()),
    ] {
        field(output, name, &value)?;
    }
    Ok(())
}

fn done(
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    answer: &RouteAnswer,
    how: &str,
) -> Result<(), CliError> {
    match output.form {
        Form::Json => output.json(answer)?,
        Form::Text => {
            let how = if answer.changed { how } else { "is so already" };
            output.line(&format!("{}: {how}", name(&answer.route)))?;
        }
    }
    for warning in &answer.warnings {
        writeln!(errors, "warning: {}", text::visible(warning))?;
    }
    Ok(())
}

fn name(item: &RouteItem) -> String {
    format!("{}/{} {}", item.app, item.method, item.path)
}

/// `APP/METHOD /path`, taken apart.
fn parts(route: &str) -> Result<(&str, &str, &str), CliError> {
    let (app, name) = pair(route, "METHOD /path")?;
    let (method, path) = name.split_once(' ').ok_or_else(|| {
        CliError::Usage(format!("\"{route}\" is no route such as 'greenhouse/POST /readings'"))
    })?;
    Ok((app, method, path))
}

/// Where a route is found.
fn place(route: &str) -> Result<String, CliError> {
    let (app, method, path) = parts(route)?;
    let name = format!("{} {path}", method.to_ascii_uppercase());
    Ok(format!("/apps/{}/routes/{}", segment(app), segment(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_named_as_it_is_for_a_pause() {
        let found = place("greenhouse/post /readings/{id}").expect("it is a route");
        assert_eq!(found, "/apps/greenhouse/routes/POST%20%2Freadings%2F%7Bid%7D");
        for wrong in ["greenhouse", "greenhouse/warn", "/POST /readings"] {
            assert!(matches!(place(wrong), Err(CliError::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_named_stays_and_what_no_longer_fits_goes() {
        let text = "method = \"POST\"\npath = \"/\"\nscript = \"s\"\ndispatch_mode = \"async\"\nretry = { max_attempts = 2 }\n\
             auth = \"hmac\"\nhmac = { secret = \"A\", header = \"X-B\" }\nrate = \"1/s\"";
        let before: RouteEntry = toml::from_str(text).expect("the keys are right");
        let nothing =
            || Said { mode: None, auth: None, secret: None, rate: None, if_revision: None };
        let after = |said: Said| {
            let mut entry = before.clone();
            said.apply(&mut entry);
            entry
        };
        assert_eq!(after(nothing()), before);
        let secret = after(Said { secret: Some("C".to_owned()), ..nothing() }).hmac;
        let secret = secret.expect("it is there");
        assert_eq!((secret.secret.as_str(), secret.header.as_deref()), ("C", Some("X-B")));
        let said =
            Said { mode: Some("sync".to_owned()), auth: Some("app".to_owned()), ..nothing() };
        let plain = after(said);
        assert_eq!((plain.auth, plain.hmac, plain.retry), (None, None, None));
        assert_eq!(plain.rate.as_deref(), Some("1/s"));
    }
}
