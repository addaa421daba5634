//! `picloud principals`: who is known, and what they may do.

use std::io::Write;

use clap::{Args, Subcommand};
use picloud_api::principals::{
    GrantItem, GrantRequest, PrincipalAnswer, PrincipalItem, PrincipalRequest,
};

use crate::cli::CliError;
use crate::cli::confirm::{self, Asking, Consent};
use crate::cli::list::{self, PageArgs};
use crate::cli::show::field;
use crate::client::{Client, segment};
use crate::output::{Form, Output};

#[derive(Subcommand)]
pub(super) enum Principals {
    /// Who is known.
    List(PageArgs),
    /// One principal, by name or number.
    Show {
        #[arg(value_name = "PRINCIPAL")]
        name: String,
    },
    /// Make one, with a uid by which the socket knows it, or without.
    Create {
        name: String,
        /// The user by whom the socket knows it.
        #[arg(long, value_name = "UID")]
        uid: Option<u32>,
        /// Capabilities that it gets, such as AppRead.
        #[arg(value_name = "CAPABILITY")]
        capabilities: Vec<String>,
        /// Only for this app.
        #[arg(long, value_name = "APP", requires = "capabilities")]
        app: Option<String>,
    },
    /// Delete one with its grants and tokens; what runs as it is refused from then on.
    Delete {
        #[arg(value_name = "PRINCIPAL")]
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Give capabilities that you have yourself.
    Grant(Grants),
    /// Take capabilities away.
    Revoke(Grants),
}

#[derive(Args)]
pub(super) struct Grants {
    #[arg(value_name = "PRINCIPAL")]
    name: String,
    /// Such as AppRead.
    #[arg(required = true, value_name = "CAPABILITY")]
    capabilities: Vec<String>,
    /// For this app; without it, for all.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
}

pub(super) async fn run(
    command: Principals,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    asking: Asking,
) -> Result<(), CliError> {
    match command {
        Principals::List(args) => all(client, output, errors, args).await,
        Principals::Show { name } => {
            let item: PrincipalItem = client.get(&path(&name)).await?;
            if output.form == Form::Json { Ok(output.json(&item)?) } else { show(output, &item) }
        }
        Principals::Create { name, uid, capabilities, app } => {
            let grants = grants(capabilities, app.as_deref());
            let body = PrincipalRequest { name, uid, grants };
            let answer = client.post("/principals", &body).await?;
            say(output, &answer, "made", "")
        }
        Principals::Delete { name, yes } => {
            let deed = format!("delete principal {name} with its grants and tokens");
            confirm::ask(errors, asking, Consent::of(yes), &deed)?;
            let answer: PrincipalAnswer = client.delete(&path(&name), None).await?;
            say(output, &answer, "deleted", "")?;
            let PrincipalItem { routes, triggers, .. } = answer.principal;
            if routes + triggers > 0 {
                writeln!(
                    errors,
                    "warning: {routes} routes and {triggers} triggers ran as it and are refused now; deploy them again"
                )?;
            }
            Ok(())
        }
        Principals::Grant(grants) => {
            let (path, body) = (format!("{}/grant", path(&grants.name)), request(grants));
            let answer = client.post(&path, &body).await?;
            say(output, &answer, "granted", "had that already")
        }
        Principals::Revoke(grants) => {
            let (path, body) = (format!("{}/revoke", path(&grants.name)), request(grants));
            let answer = client.post(&path, &body).await?;
            say(output, &answer, "revoked", "had no such grant of its own")
        }
    }
}

fn path(name: &str) -> String {
    format!("/principals/{}", segment(name))
}

fn request(grants: Grants) -> GrantRequest {
    GrantRequest { capabilities: grants.capabilities, app: grants.app }
}

/// The same capabilities for one app, or for all.
pub(super) fn grants(capabilities: Vec<String>, app: Option<&str>) -> Vec<GrantItem> {
    let item = |capability| GrantItem { capability, app: app.map(str::to_owned) };
    capabilities.into_iter().map(item).collect()
}

async fn all(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    args: PageArgs,
) -> Result<(), CliError> {
    let list = list::fetch_of::<PrincipalItem>(client, "/principals", &[], args).await?;
    let headings = ["PRINCIPAL", "UID", "TOKENS", "ROUTES", "TRIGGERS", "MAY"];
    list::print(output, errors, &list, &headings, |one, _| {
        vec![
            one.name.clone(),
            one.uid.map_or_else(String::new, |uid| uid.to_string()),
            one.tokens.to_string(),
            one.routes.to_string(),
            one.triggers.to_string(),
            may(one).join(", "),
        ]
    })
}

/// What it may do, each as `AppRead`, `AppRead in greenhouse` or `AppRead by group`.
fn may(item: &PrincipalItem) -> Vec<String> {
    let own = item.grants.iter().map(|grant| match &grant.app {
        Some(app) => format!("{} in {app}", grant.capability),
        None => grant.capability.clone(),
    });
    own.chain(item.by_group.iter().map(|one| format!("{one} by group"))).collect()
}

fn show(output: &mut Output<'_>, item: &PrincipalItem) -> Result<(), CliError> {
    let uid = item.uid.map_or_else(|| "none".to_owned(), |uid| uid.to_string());
    field(output, "principal", &format!("{}, number {}", item.name, item.id))?;
    field(output, "uid", &uid)?;
    field(output, "tokens", &item.tokens.to_string())?;
    field(output, "runs as", &format!("{} routes, {} triggers", item.routes, item.triggers))?;
    for (n, one) in may(item).iter().enumerate() {
        field(output, if n == 0 { "may" } else { "" }, one)?;
    }
    Ok(())
}

fn say(
    output: &mut Output<'_>,
    answer: &PrincipalAnswer,
    how: &str,
    otherwise: &str,
) -> Result<(), CliError> {
    if output.form == Form::Json {
        return Ok(output.json(answer)?);
    }
    let how = if answer.changed { how } else { otherwise };
    output.line(&format!("{}: {how}", answer.principal.name))?;
    Ok(())
}
