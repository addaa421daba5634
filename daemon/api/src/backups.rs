//! Backups of the store: what is kept, what runs, what failed lately.

use serde::{Deserialize, Serialize};

/// A backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BackupItem {
    /// The name of its file, which says when it was begun.
    pub name: String,
    /// Where that file is on the daemon's machine, or will be.
    pub path: String,
    /// `running`, `done` or `failed`. What failed is known until the daemon ends.
    pub state: String,
    pub begun_at: i64,
    /// Absent while it runs.
    pub took_ms: Option<i64>,
    /// Of the file, as far as it is written. Absent when it failed: nothing is left of it.
    pub bytes: Option<u64>,
    /// Whether it was opened again and found to be whole. Nothing else is ever `done`.
    pub verified: bool,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The answer to `POST /backups`, which does not wait for the backup's end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BackupStarted {
    pub backup: BackupItem,
    /// The file with the key of the secrets, which is in no backup: without it all secrets have to be set again. Absent
    /// as long as there are no secrets.
    pub key_file: Option<String>,
}
