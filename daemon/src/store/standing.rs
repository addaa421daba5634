//! How much waits for what, counted in the index and only up to a limit: it costs the same whatever is waiting.

use crate::ids::{AppId, QueueId};
use crate::store::engine::{self, Row};
use crate::store::open::StoreError;
use crate::store::read::Reader;
use crate::store::{rows, sql};
use crate::time::Timestamp;

/// Rows of one queue and state that are counted.
pub const COUNTED_MAX: i64 = 1_000;
/// Queues that are looked at.
pub const QUEUES_MAX: i64 = 1_000;

/// The rows of one queue that nobody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStanding {
    pub queue: QueueId,
    pub app: AppId,
    pub due: i64,
    /// When the first of all may run, which may be over.
    pub first: Option<Timestamp>,
    /// Those that have been tried are in here too.
    pub later: i64,
    pub retry: i64,
    pub behind: i64,
}

impl Reader {
    /// Each queue in which something waits.
    pub async fn standing(&self, now: Timestamp) -> Result<Vec<QueueStanding>, StoreError> {
        let query = engine::query(sql::QUEUES_STANDING).bind(now.0).bind(Timestamp::HELD);
        let query = query.bind(COUNTED_MAX).bind(QUEUES_MAX);
        let found = query.fetch_all(&self.pool).await.map_err(self.failed())?;
        found.iter().map(standing).collect::<Result<_, _>>().map_err(self.failed())
    }
}

fn standing(row: &Row) -> Result<QueueStanding, sqlx::Error> {
    let first = rows::opt_time(row, 3)?;
    Ok(QueueStanding {
        queue: QueueId(rows::int(row, 0)?),
        app: AppId(rows::int(row, 1)?),
        due: rows::int(row, 2)?,
        first: first.filter(|at| !at.is_held()),
        later: rows::int(row, 4)?,
        retry: rows::int(row, 5)?,
        behind: rows::int(row, 6)?,
    })
}
