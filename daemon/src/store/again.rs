//! Once more: what becomes of the commands of a batch that was undone.

use crate::flow::facts::Room;
use crate::flow::{Command, Lane, Refusal};
use crate::store::batch::{BatchError, BatchReport, Batcher};
use crate::store::engine::trouble::Trouble;
use crate::time::Timestamp;

/// How often settles are tried in smaller parts on a full disk: enough to come from a full batch to a single one.
const FAILED_PARTS_MAX: usize = 32;

impl Batcher {
    /// The disk is full: what ends work may still fit, what brings work in is refused.
    pub(crate) async fn only_settles(
        &mut self,
        commands: &[Command],
        why: &str,
        now: Timestamp,
    ) -> Result<BatchReport, BatchError> {
        let is_settle = |command: &&Command| command.lane() == Lane::Settle;
        let settles: Vec<Command> = commands.iter().filter(is_settle).cloned().collect();
        let others = commands.len() - settles.len();
        if settles.is_empty() || commands.len() == 1 {
            return Ok(refused(commands, Trouble::Full, why));
        }
        // All of them have just failed where there was nothing else.
        let together = if others == 0 { settles.len().div_ceil(2) } else { settles.len() };
        let report = self.settle_in_parts(&settles, together, now).await?;
        let mut settled = report.outcomes.into_iter();
        let outcomes = commands.iter().map(|command| match command.lane() {
            Lane::Settle => settled.next().expect("one outcome a command"),
            Lane::Accept | Lane::Bulk => Err(Refusal::StorageLow),
        });
        Ok(BatchReport { outcomes: outcomes.collect(), ..report })
    }

    /// Commits settles so many at a time, and half as many whenever these do not fit. One that does not fit alone is
    /// refused; after too many failures, the rest is.
    async fn settle_in_parts(
        &mut self,
        settles: &[Command],
        mut together: usize,
        now: Timestamp,
    ) -> Result<BatchReport, BatchError> {
        let mut whole = BatchReport::default();
        let mut failures = 0;
        let mut rest = settles;
        while !rest.is_empty() {
            let part = &rest[..together.min(rest.len())];
            let report = match self.attempt(part, now, Room::default()).await {
                Ok(report) => report,
                Err(undone) => {
                    failures += 1;
                    match self.undo(undone).await? {
                        (trouble, why) if failures == FAILED_PARTS_MAX => {
                            refused(rest, trouble, &why)
                        }
                        (trouble, why) if part.len() == 1 => refused(part, trouble, &why),
                        (_, _) => {
                            together = part.len().div_ceil(2);
                            continue;
                        }
                    }
                }
            };
            rest = &rest[report.outcomes.len()..];
            whole.outcomes.extend(report.outcomes);
            whole.committed |= report.committed;
            whole.told.extend(report.told);
        }
        Ok(whole)
    }

    /// Without claims, so that a backlog which cannot be read does not keep runs from being settled.
    pub(crate) async fn one_at_a_time(
        &mut self,
        commands: &[Command],
        now: Timestamp,
    ) -> Result<BatchReport, BatchError> {
        let mut whole = BatchReport { more: !commands.is_empty(), ..BatchReport::default() };
        for command in commands {
            let one = std::slice::from_ref(command);
            let report = match self.attempt(one, now, Room::default()).await {
                Ok(report) => report,
                Err(undone) => {
                    let (trouble, why) = self.undo(undone).await?;
                    refused(one, trouble, &why)
                }
            };
            whole.outcomes.extend(report.outcomes);
            whole.committed |= report.committed;
            whole.told.extend(report.told);
        }
        Ok(whole)
    }
}

fn refused(commands: &[Command], trouble: Trouble, why: &str) -> BatchReport {
    let refusal = match trouble {
        Trouble::Full | Trouble::ReadOnly | Trouble::Fatal => Refusal::StoreFailed(why.to_owned()),
        Trouble::Statement => Refusal::CommandFailed(why.to_owned()),
    };
    let outcomes = commands.iter().map(|_| Err(refusal.clone())).collect();
    BatchReport { outcomes, ..BatchReport::default() }
}
