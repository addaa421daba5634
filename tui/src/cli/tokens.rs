//! `picloud tokens`: who calls from elsewhere than the socket.

use std::io::Write;

use clap::{Args, Subcommand};
use picloud_api::tokens::{TokenAnswer, TokenItem, TokenMade, TokenRequest};

use crate::cli::CliError;
use crate::cli::confirm::{self, Asking, Consent};
use crate::cli::list::{self, PageArgs};
use crate::cli::principals::grants;
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative};

#[derive(Subcommand)]
pub(super) enum Tokens {
    /// The tokens, without their secrets.
    List(PageArgs),
    /// Make one, and print its secret: this once and never again.
    Create(Create),
    /// End one, by name or number.
    Revoke {
        #[arg(value_name = "TOKEN")]
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub(super) struct Create {
    /// Its name [default: a new one]
    name: Option<String>,
    /// The principal that it stands for [default: a new one, with the grants that follow]
    #[arg(long, value_name = "PRINCIPAL", conflicts_with_all = ["read", "grants", "app"])]
    principal: Option<String>,
    /// It may read.
    #[arg(long)]
    read: bool,
    /// It may do this, such as AppData; may be given several times.
    #[arg(long = "grant", value_name = "CAPABILITY")]
    grants: Vec<String>,
    /// Only in this app.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// How long it is valid, such as 30d [default: until it is revoked]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

pub(super) async fn run(
    command: Tokens,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    asking: Asking,
) -> Result<(), CliError> {
    match command {
        Tokens::List(args) => all(client, output, errors, args).await,
        Tokens::Create(wanted) => create(client, output, errors, wanted).await,
        Tokens::Revoke { name, yes } => {
            let deed = format!("revoke token {name}, so that whoever uses it is refused at once");
            confirm::ask(errors, asking, Consent::of(yes), &deed)?;
            let path = format!("/tokens/{}/revoke", segment(&name));
            let answer: TokenAnswer = client.post(&path, &serde_json::json!({})).await?;
            if output.form == Form::Json {
                return Ok(output.json(&answer)?);
            }
            let how = if answer.changed { "revoked" } else { "was revoked already" };
            output.line(&format!("{}: {how}", answer.token.name))?;
            Ok(())
        }
    }
}

async fn create(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    wanted: Create,
) -> Result<(), CliError> {
    let mut capabilities = wanted.grants;
    if wanted.read {
        capabilities.insert(0, "AppRead".to_owned());
    }
    if capabilities.is_empty() && wanted.principal.is_none() {
        let text = "say what it may do: --read, --grant CAPABILITY, or --principal NAME";
        return Err(CliError::Usage(text.to_owned()));
    }
    let body = TokenRequest {
        name: wanted.name,
        principal: wanted.principal,
        grants: grants(capabilities, wanted.app.as_deref()),
        expires: wanted.expires,
    };
    let made: TokenMade = client.post("/tokens", &body).await?;
    if output.form == Form::Json {
        return Ok(output.json(&made)?);
    }
    // The secret alone, so that it can be piped to where it belongs.
    output.line(&made.secret)?;
    let TokenItem { name, principal, .. } = made.token;
    let text = format!("token {name} of principal {principal}; its secret is not shown again");
    writeln!(errors, "{}", picloud_api::text::visible(&text))?;
    Ok(())
}

async fn all(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    args: PageArgs,
) -> Result<(), CliError> {
    let list = list::fetch_of::<TokenItem>(client, "/tokens", &[], args).await?;
    let headings = ["TOKEN", "PRINCIPAL", "STATE", "MADE", "EXPIRES"];
    list::print(output, errors, &list, &headings, |one, now| {
        vec![
            one.name.clone(),
            one.principal.clone(),
            one.state.clone(),
            relative(one.created_at, now),
            one.expires_at.map_or_else(|| "never".to_owned(), |at| relative(at, now)),
        ]
    })
}
