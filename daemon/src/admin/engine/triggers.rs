//! What calls about triggers ask of store and writer.

use std::collections::HashMap;
use std::sync::Arc;

use picloud_api::problem::{Code, Problem};

use crate::admin::engine::Engine;
use crate::flow::accept::Accept;
use crate::flow::{Command, Refusal};
use crate::ids::TriggerId;
use crate::outbox::row::OutboxRow;
use crate::schedule::Mark;
use crate::store::writer::{CommitError, NotTaken};

impl Engine {
    /// What schedules have fired for.
    pub async fn schedule_marks(&self) -> Result<HashMap<TriggerId, Mark>, Problem> {
        let found = self.reader.schedule_marks().await;
        let marks = found.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        Ok(marks.into_iter().collect())
    }

    /// Puts a row into the outbox; it is durable afterwards.
    pub async fn accept(&self, row: OutboxRow) -> Result<(), Problem> {
        let accept = Command::Accept(Accept { row: Arc::new(row), lease: None });
        self.writer.commit(accept).await.map_err(|error| {
            let code = match &error {
                CommitError::Refused(Refusal::StorageLow) => Code::StorageLow,
                CommitError::Refused(Refusal::AppFull { .. })
                | CommitError::NotTaken(NotTaken::Full) => Code::OutboxFull,
                CommitError::NotTaken(NotTaken::Stopping) => Code::Stopping,
                CommitError::Refused(_) | CommitError::Unknown => Code::Internal,
            };
            Problem::new(code, error.to_string())
        })
    }
}
