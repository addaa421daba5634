//! Rehearsing a command: its facts are read and its plan is made as the writer would, and nothing is written.

use crate::flow::facts::{Facts, Keys};
use crate::flow::writes::Writes;
use crate::flow::{Command, Refusal};
use crate::store::facts;
use crate::store::open::StoreError;
use crate::store::read::Reader;

impl Reader {
    /// What the command would write now, or why it would be refused. `standing` are the facts that are not in the store;
    /// the others are added to them.
    pub async fn rehearse(
        &self,
        command: &Command,
        standing: &mut Facts,
    ) -> Result<Result<Writes, Refusal>, StoreError> {
        let mut keys = Keys::default();
        command.needs(standing, &mut keys);
        if !facts::is_empty(&keys) {
            let mut connection = self.pool.acquire().await.map_err(self.failed())?;
            facts::read(&mut connection, keys, standing).await.map_err(self.failed())?;
        }
        Ok(command.plan(standing))
    }
}
