//! `picloud deploy`.

use std::io::Write;
use std::path::Path;

use picloud_api::deploy::Difference;

use crate::cli::{CliError, folder};
use crate::client::{Client, segment};
use crate::output::{Form, Output};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    ForReal,
    DryRun,
}

pub(super) async fn run(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    dir: &Path,
    (mode, if_revision): (Mode, Option<i64>),
) -> Result<(), CliError> {
    let bundle = folder::read(dir)?;
    let query = match mode {
        Mode::ForReal => "",
        Mode::DryRun => "?dry_run=true",
    };
    let path = format!("/apps/{}/manifest{query}", segment(&bundle.manifest.app.slug));
    let difference: Difference = client.put_if(&path, &bundle, if_revision).await?;
    if output.form == Form::Json {
        output.json(&difference)?;
    } else {
        print(output, &difference, mode)?;
    }
    for warning in &difference.warnings {
        writeln!(errors, "warning: {}", picloud_api::text::visible(warning))?;
    }
    Ok(())
}

fn print(output: &mut Output<'_>, difference: &Difference, mode: Mode) -> Result<(), CliError> {
    let app = &difference.app;
    if difference.changes.is_empty() {
        let revision = difference.revision;
        output.line(&format!("{app}: nothing to do, it is at revision {revision}"))?;
        return Ok(());
    }
    for one in &difference.changes {
        let sign = match one.change.as_str() {
            "add" => "+",
            "remove" => "-",
            _ => "~",
        };
        output.line(&format!("{sign} {:<8} {}", one.kind, one.name))?;
        for detail in &one.details {
            output.line(&format!("    {detail}"))?;
        }
    }
    let end = match mode {
        Mode::ForReal => format!("{app}: deployed, revision {}", difference.revision),
        Mode::DryRun => format!("{app}: nothing was changed, this was a dry run"),
    };
    output.line(&end)?;
    Ok(())
}
