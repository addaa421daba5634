//! The one file that knows which engine it is: connections, statements with their parameters, rows. Beside it, what errors mean.
//!
//! What is about SQLite's file (opening, looking into and copying it) names SQLite itself.

pub(super) mod trouble;

use std::future::poll_fn;
use std::ops::ControlFlow;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Connection as _, Error, Row as _, Sqlite};

/// A connection of one's own, or one that goes back to its pool.
pub(crate) struct Connection(Held);

enum Held {
    Own(SqliteConnection),
    Pooled(PoolConnection<Sqlite>),
}

impl Connection {
    /// Begins a transaction that writes: it waits for its turn now, and never in the middle.
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        query("BEGIN IMMEDIATE").execute(self).await.map(drop)
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        query("COMMIT").execute(self).await.map(drop)
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), Error> {
        query("ROLLBACK").execute(self).await.map(drop)
    }

    /// Executes several statements, which have no parameters.
    pub(crate) async fn script(&mut self, statements: &'static str) -> Result<(), Error> {
        sqlx::raw_sql(statements).execute(self.inner()).await.map(drop)
    }

    pub(crate) async fn close(self) -> Result<(), Error> {
        match self.0 {
            Held::Own(conn) => conn.close().await,
            Held::Pooled(conn) => conn.close().await,
        }
    }

    /// Lets go of it as a process does that is killed.
    #[cfg(feature = "faults")]
    pub(crate) async fn close_hard(self) -> Result<(), Error> {
        match self.0 {
            Held::Own(conn) => conn.close_hard().await,
            Held::Pooled(conn) => conn.close().await,
        }
    }

    #[cfg(test)]
    pub(crate) fn sqlite(&mut self) -> &mut SqliteConnection {
        self.inner()
    }

    fn inner(&mut self) -> &mut SqliteConnection {
        match &mut self.0 {
            Held::Own(conn) => conn,
            Held::Pooled(conn) => conn,
        }
    }
}

impl From<SqliteConnection> for Connection {
    fn from(conn: SqliteConnection) -> Connection {
        Connection(Held::Own(conn))
    }
}

/// Connections that are opened when they are needed first. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pool(SqlitePool);

impl Pool {
    pub(crate) async fn acquire(&self) -> Result<Connection, Error> {
        Ok(Connection(Held::Pooled(self.0.acquire().await?)))
    }

    pub(crate) async fn close(&self) {
        self.0.close().await;
    }
}

impl From<SqlitePool> for Pool {
    fn from(pool: SqlitePool) -> Pool {
        Pool(pool)
    }
}

/// Where a statement runs.
pub(crate) enum On<'c> {
    Connection(&'c mut Connection),
    Pool(&'c Pool),
}

impl<'c> From<&'c mut Connection> for On<'c> {
    fn from(conn: &'c mut Connection) -> On<'c> {
        On::Connection(conn)
    }
}

impl<'c> From<&'c Pool> for On<'c> {
    fn from(pool: &'c Pool) -> On<'c> {
        On::Pool(pool)
    }
}

enum Lent<'c> {
    By(&'c mut Connection),
    Own(Connection),
}

impl<'c> On<'c> {
    async fn lend(self) -> Result<Lent<'c>, Error> {
        match self {
            On::Connection(conn) => Ok(Lent::By(conn)),
            On::Pool(pool) => Ok(Lent::Own(pool.acquire().await?)),
        }
    }
}

impl Lent<'_> {
    fn inner(&mut self) -> &mut SqliteConnection {
        match self {
            Lent::By(conn) => conn.inner(),
            Lent::Own(conn) => conn.inner(),
        }
    }
}

/// A statement and its parameters so far.
pub(crate) struct Query {
    sql: &'static str,
    values: Vec<Value>,
}

/// A parameter.
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
}

pub(crate) fn query(sql: &'static str) -> Query {
    Query { sql, values: Vec::new() }
}

impl Query {
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Query {
        self.values.push(value.into());
        self
    }

    /// How many rows it has changed.
    pub(crate) async fn execute<'c>(self, on: impl Into<On<'c>>) -> Result<u64, Error> {
        let mut lent = on.into().lend().await?;
        Ok(self.bound().execute(lent.inner()).await?.rows_affected())
    }

    pub(crate) async fn fetch_one<'c>(self, on: impl Into<On<'c>>) -> Result<Row, Error> {
        let mut lent = on.into().lend().await?;
        self.bound().fetch_one(lent.inner()).await.map(Row)
    }

    pub(crate) async fn fetch_optional<'c>(
        self,
        on: impl Into<On<'c>>,
    ) -> Result<Option<Row>, Error> {
        let mut lent = on.into().lend().await?;
        Ok(self.bound().fetch_optional(lent.inner()).await?.map(Row))
    }

    pub(crate) async fn fetch_all<'c>(self, on: impl Into<On<'c>>) -> Result<Vec<Row>, Error> {
        let mut lent = on.into().lend().await?;
        let rows = self.bound().fetch_all(lent.inner()).await?;
        Ok(rows.into_iter().map(Row).collect())
    }

    /// Hands over one row after the other until `take` has enough.
    pub(crate) async fn fetch_until<'c>(
        self,
        on: impl Into<On<'c>>,
        mut take: impl FnMut(&Row) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        let mut lent = on.into().lend().await?;
        let mut rows = self.bound().fetch(lent.inner());
        while let Some(row) = poll_fn(|context| rows.as_mut().poll_next(context)).await {
            if take(&Row(row?))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn bound(self) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
        let query = sqlx::query(self.sql);
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Value {
        Value::Int(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(Some(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(Some(value.to_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Value {
        Value::Text(value.map(str::to_owned))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Value {
        Value::Bytes(value.to_owned())
    }
}

/// A row of a result.
pub(crate) struct Row(SqliteRow);

impl Row {
    pub(crate) fn int(&self, index: usize) -> Result<i64, Error> {
        self.0.try_get(index)
    }

    pub(crate) fn opt_int(&self, index: usize) -> Result<Option<i64>, Error> {
        self.0.try_get(index)
    }

    pub(crate) fn text(&self, index: usize) -> Result<&str, Error> {
        self.0.try_get(index)
    }

    pub(crate) fn opt_text(&self, index: usize) -> Result<Option<&str>, Error> {
        self.0.try_get(index)
    }

    pub(crate) fn bytes(&self, index: usize) -> Result<Vec<u8>, Error> {
        self.0.try_get(index)
    }
}
