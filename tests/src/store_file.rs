//! A look into the store's file while no daemon has it open, for what no daemon would do to it.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

/// Executes statements on the file at `path`.
#[track_caller]
pub fn execute(path: &Path, statements: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.expect("a runtime of one thread").block_on(async {
        let options = SqliteConnectOptions::new().filename(path);
        let mut connection: SqliteConnection = options.connect().await?;
        connection.execute(AssertSqlSafe(statements.to_owned())).await?;
        connection.close().await
    });
    done.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
