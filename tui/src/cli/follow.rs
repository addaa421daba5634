//! What `--watch` and `-f` print: events as they come, until somebody stops it.

use std::io::Write;

use picloud_api::events::{Begin, Missed, kind};
use picloud_api::text;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::CliError;
use crate::client::{Client, segment};
use crate::output::{Form, Output};
use crate::sse::{Follower, News};

/// Which events.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted<'a> {
    pub(super) kind: &'a str,
    pub(super) app: Option<&'a str>,
    pub(super) filter: Option<&'a str>,
}

impl Wanted<'_> {
    fn path(&self) -> String {
        let filter = format!("kind:{} {}", self.kind, self.filter.unwrap_or_default());
        let app = self.app.map_or(String::new(), |app| format!("&app={}", segment(app)));
        format!("/events?filter={}{app}", segment(filter.trim_end()))
    }
}

/// Prints each event: as JSON, or as the line that `line` makes of it.
pub(super) async fn follow<T: DeserializeOwned + Serialize>(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    wanted: Wanted<'_>,
    line: impl Fn(&T) -> String,
) -> Result<(), CliError> {
    let mut follower = Follower::open(client, &wanted.path()).await?;
    loop {
        let event = match follower.next().await? {
            News::Event(event) => event,
            News::Lost => {
                writeln!(errors, "the connection is lost; trying again")?;
                continue;
            }
        };
        match event.kind.as_str() {
            kind::CONNECTED => {}
            kind::RESTARTED => {
                let begin: Begin = event.read()?;
                let why = text::visible(&begin.why);
                writeln!(errors, "the daemon was started again ({why}); what came before is gone")?;
            }
            kind::MISSED => match event.read::<Missed>()?.events {
                Some(events) => writeln!(errors, "{events} events missed")?,
                None => writeln!(errors, "events missed; nobody knows how many")?,
            },
            found if found == wanted.kind => {
                let item: T = event.read()?;
                match output.form {
                    Form::Json => output.json(&item)?,
                    Form::Text => output.line(&line(&item))?,
                }
                // Whoever reads is to see it now.
                output.results.flush()?;
            }
            // A newer daemon may have more to say.
            _ => {}
        }
    }
}

/// Cells as a line, each as wide as it usually is.
pub(super) fn cells(cells: &[(&str, usize)]) -> String {
    let mut line = String::new();
    for (cell, width) in cells {
        line.push_str(&format!("{cell:width$}  "));
    }
    line.truncate(line.trim_end().len());
    line
}
