//! `picloud pause` and `picloud resume`.

use picloud_api::instance::{PauseAnswer, PauseRequest};

use crate::cli::CliError;
use crate::client::{Client, segment};
use crate::output::{Form, Output};

pub(super) async fn pause(
    client: &Client,
    output: &mut Output<'_>,
    target: Option<&str>,
    reason: Option<String>,
) -> Result<(), CliError> {
    let path = format!("{}/pause", path(target)?);
    let answer: PauseAnswer = client.post(&path, &PauseRequest { reason }).await?;
    if output.form == Form::Json {
        return Ok(output.json(&answer)?);
    }
    let reason = answer.paused.map(|paused| paused.reason).unwrap_or_default();
    let how = if answer.changed { "paused" } else { "was paused already" };
    output.line(&format!("{} {how}: {reason}", name(target)))?;
    let way_out = target.map_or_else(String::new, |target| format!(" {}", quoted(target)));
    output.line(&format!("picloud resume{way_out} lets it run again"))?;
    Ok(())
}

pub(super) async fn resume(
    client: &Client,
    output: &mut Output<'_>,
    target: Option<&str>,
) -> Result<(), CliError> {
    let path = format!("{}/resume", path(target)?);
    let answer: PauseAnswer = client.post(&path, &serde_json::json!({})).await?;
    if output.form == Form::Json {
        return Ok(output.json(&answer)?);
    }
    let how = if answer.changed { "runs again" } else { "was not paused" };
    output.line(&format!("{} {how}", name(target)))?;
    Ok(())
}

fn name(target: Option<&str>) -> &str {
    target.unwrap_or("the instance")
}

fn quoted(target: &str) -> String {
    if target.contains(' ') { format!("'{target}'") } else { target.to_owned() }
}

/// Where a target is paused: `APP`, `APP/TRIGGER`, `APP/METHOD /path`, `APP/script:NAME`, or nothing.
fn path(target: Option<&str>) -> Result<String, CliError> {
    let Some(target) = target else { return Ok(String::new()) };
    let (app, part) =
        target.split_once('/').map_or((target, None), |(app, part)| (app, Some(part)));
    if app.is_empty() || part == Some("") {
        return Err(CliError::Usage(format!("\"{target}\" is neither APP nor APP/TRIGGER")));
    }
    let app = segment(app);
    Ok(match part {
        None => format!("/apps/{app}"),
        Some(part) => match part.strip_prefix("script:") {
            Some(script) => format!("/apps/{app}/scripts/{}", segment(script)),
            None if part.contains(' ') => format!("/apps/{app}/routes/{}", segment(part)),
            None => format!("/apps/{app}/triggers/{}", segment(part)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_its_place() {
        for (target, expected) in [
            (None, ""),
            (Some("greenhouse"), "/apps/greenhouse"),
            (Some("greenhouse/warn"), "/apps/greenhouse/triggers/warn"),
            (
                Some("greenhouse/POST /readings/{id}"),
                "/apps/greenhouse/routes/POST%20%2Freadings%2F%7Bid%7D",
            ),
            (Some("greenhouse/script:notify"), "/apps/greenhouse/scripts/notify"),
            (Some("a b/../x"), "/apps/a%20b/triggers/..%2Fx"),
        ] {
            assert_eq!(path(target).expect("it is a target"), expected);
        }
        assert!(matches!(path(Some("/warn")), Err(CliError::Usage(_))));
        assert!(matches!(path(Some("greenhouse/")), Err(CliError::Usage(_))));
    }
}
