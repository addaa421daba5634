//! What the store's file says, read beside the daemon's own code.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

/// An outbox row. Ids stay texts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Row {
    pub id: String,
    pub app: i64,
    pub queue: i64,
    pub source: String,
    pub script: String,
    pub event: String,
    pub order_key: Option<String>,
    pub order_version: Option<i64>,
    pub dedupe: Option<String>,
    pub available_at: i64,
    pub attempt: i64,
    pub orphaned: i64,
    pub depth: i64,
    pub root: Option<String>,
    pub cause: Option<String>,
    pub reply_by: Option<i64>,
    pub letter: Option<String>,
    pub replay_of: Option<String>,
    pub bytes: i64,
    pub lease_owner: Option<String>,
    pub lease_token: Option<i64>,
    pub max_attempts: i64,
}

impl Row {
    pub fn root(&self) -> &str {
        self.root.as_deref().unwrap_or(&self.id)
    }

    /// The line that it stands in: queue and key.
    pub fn line(&self) -> Option<(i64, &str)> {
        self.order_key.as_deref().map(|key| (self.queue, key))
    }

    /// Claimed by whom, with which token.
    pub fn lease(&self) -> Option<(&str, i64)> {
        self.lease_owner.as_deref().zip(self.lease_token)
    }
}

/// App, space, collection and key of an entry.
pub type EntryAt = (i64, String, String, String);

#[derive(Debug, Deserialize)]
struct Entry {
    app: i64,
    space: String,
    collection: String,
    key: String,
    value: String,
    version: i64,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Letter {
    pub id: String,
    pub row: String,
    pub attempts: i64,
    pub resolution: Option<String>,
    pub resolved_by: Option<String>,
    pub resolved: i64,
}

/// A request whose answer is kept.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Request {
    pub app: i64,
    pub route: i64,
    pub key: String,
    pub body_hash: String,
    pub result: Option<String>,
    pub execution: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Read {
    rows: Vec<Row>,
    entries: Vec<Entry>,
    entries_count: usize,
    letters: Vec<Letter>,
    abandoned: Vec<(String, String)>,
    requests: Vec<Request>,
    pauses: Vec<i64>,
    triggers: Vec<(i64, i64)>,
    ceiling: i64,
}

/// The whole store at one moment; of the entries only those that have changed.
#[derive(Debug)]
pub struct Snapshot {
    pub rows: BTreeMap<String, Row>,
    /// Value and version.
    pub entries: BTreeMap<EntryAt, (String, i64)>,
    /// Entries up to this version were not read.
    pub entries_from: i64,
    pub entries_count: usize,
    pub letters: BTreeMap<String, Letter>,
    /// With the reason.
    pub abandoned: BTreeMap<String, String>,
    pub requests: Vec<Request>,
    pub pauses: Vec<i64>,
    /// Triggers that are switched off.
    pub disabled: Vec<i64>,
    pub ceiling: i64,
}

const READ: &str = "SELECT json_object(
    'rows', (SELECT json_group_array(json_object('id', id, 'app', app_id, 'queue', queue_id, 'source', source,
        'script', script, 'event', event, 'order_key', order_key, 'order_version', order_version, 'dedupe', dedupe,
        'available_at', available_at, 'attempt', attempt, 'orphaned', orphaned, 'depth', depth, 'root', root_id,
        'cause', cause_id, 'reply_by', reply_by, 'letter', letter_id, 'replay_of', replay_of, 'bytes', bytes,
        'lease_owner', lease_owner, 'lease_token', lease_token, 'max_attempts', retry ->> 'max_attempts'))
        FROM outbox),
    'entries', (SELECT json_group_array(json_object('app', app_id, 'space', space, 'collection', collection,
        'key', key, 'value', value, 'version', version)) FROM entries WHERE version > $1),
    'entries_count', (SELECT count(*) FROM entries),
    'letters', (SELECT json_group_array(json_object('id', id, 'row', row_id, 'attempts', attempts,
        'resolution', resolution, 'resolved_by', resolved_by, 'resolved', resolved_at IS NOT NULL))
        FROM dead_letters),
    'abandoned', (SELECT json_group_array(json_array(id, reason)) FROM abandoned_executions),
    'requests', (SELECT json_group_array(json_object('app', app_id, 'route', route_id, 'key', key,
        'body_hash', body_hash, 'result', result, 'execution', execution_id)) FROM requests),
    'pauses', (SELECT json_group_array(target) FROM pauses),
    'triggers', (SELECT json_group_array(json_array(id, enabled)) FROM triggers),
    'ceiling', (SELECT counter_ceiling FROM meta))";

/// A connection that only looks.
pub struct Looker {
    conn: SqliteConnection,
}

impl Looker {
    pub async fn open(path: &Path) -> Looker {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let conn = options.disable_statement_logging().connect().await;
        Looker { conn: conn.expect("the store's file can be read") }
    }

    /// Everything, and the entries whose version is greater than `known`.
    pub async fn look(&mut self, known: i64) -> Snapshot {
        let query = sqlx::query_scalar::<_, String>(READ).bind(known);
        let text = query.fetch_one(&mut self.conn).await.expect("the store can be read");
        let read: Read = serde_json::from_str(&text).expect("the statement makes this shape");
        let at = |entry: &Entry| {
            (entry.app, entry.space.clone(), entry.collection.clone(), entry.key.clone())
        };
        Snapshot {
            rows: read.rows.into_iter().map(|row| (row.id.clone(), row)).collect(),
            entries: read
                .entries
                .into_iter()
                .map(|entry| (at(&entry), (entry.value, entry.version)))
                .collect(),
            entries_from: known,
            entries_count: read.entries_count,
            letters: read.letters.into_iter().map(|letter| (letter.id.clone(), letter)).collect(),
            abandoned: read.abandoned.into_iter().collect(),
            requests: read.requests,
            pauses: read.pauses,
            disabled: read.triggers.iter().filter(|(_, on)| *on == 0).map(|(id, _)| *id).collect(),
            ceiling: read.ceiling,
        }
    }
}
