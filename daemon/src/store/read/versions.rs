//! The versions of a script that are kept.

use picloud_scripts_runtime::limits::RunLimits;

use std::sync::Arc;

use crate::ids::ScriptId;
use crate::store::engine;
use crate::store::open::StoreError;
use crate::store::read::Reader;
use crate::store::{rows, sql};
use crate::time::Timestamp;

/// A version in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionRow {
    pub version: i64,
    pub created_at: Timestamp,
    pub bytes: i64,
}

/// A version as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptVersion {
    pub version: i64,
    pub created_at: Timestamp,
    pub source: Arc<str>,
    pub limits: RunLimits,
}

impl Reader {
    /// The newest first, only those before `before`.
    pub async fn script_versions(
        &self,
        script: ScriptId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<VersionRow>, StoreError> {
        let query = engine::query(sql::SCRIPT_VERSIONS_PAGE)
            .bind(script.0)
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let found = query.fetch_all(&self.pool).await.map_err(self.failed())?;
        let read = |row| {
            Ok(VersionRow {
                version: rows::int(row, 0)?,
                created_at: Timestamp(rows::int(row, 1)?),
                bytes: rows::int(row, 2)?,
            })
        };
        found.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(self.failed())
    }

    pub async fn script_version(
        &self,
        script: ScriptId,
        version: i64,
    ) -> Result<Option<KeptVersion>, StoreError> {
        let query = engine::query(sql::SCRIPT_VERSION_ONE).bind(script.0).bind(version);
        let found = query.fetch_optional(&self.pool).await.map_err(self.failed())?;
        let read = |row| {
            Ok(KeptVersion {
                version: rows::int(&row, 0)?,
                created_at: Timestamp(rows::int(&row, 1)?),
                source: rows::text(&row, 2)?,
                limits: rows::parsed(&row, 3)?,
            })
        };
        found.map(read).transpose().map_err(self.failed())
    }
}
