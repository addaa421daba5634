//! The collections that an app has.

use std::sync::Arc;

use picloud_scripts_runtime::effect::Space;

use crate::ids::AppId;
use crate::store::engine;
use crate::store::open::StoreError;
use crate::store::read::Reader;
use crate::store::{bulk, rows, sql};

impl Reader {
    /// Names in ascending order of their bytes, only those after `after`: one search for each, whatever they hold.
    pub async fn collections(
        &self,
        app: AppId,
        space: Space,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, StoreError> {
        let query = engine::query(sql::COLLECTIONS_PAGE)
            .bind(app.0)
            .bind(bulk::space_text(space))
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let found = query.fetch_all(&self.pool).await.map_err(self.failed())?;
        let names = found.iter().map(|row| rows::text(row, 0));
        names.collect::<Result<_, sqlx::Error>>().map_err(self.failed())
    }
}
