//! Rows as parameters: domain values to the JSON arrays that bulk statements take.

use picloud_scripts_runtime::effect::Space;

use crate::entry::EntryKey;
use crate::flow::writes::{Abandoned, DeadLetter};
use crate::ids::Id;
use crate::outbox::row::{Lease, OutboxRow};
use crate::store::rows::json;

/// The rows of one bulk statement: a JSON array of arrays, or of plain values.
pub(crate) struct Bulk {
    text: Vec<u8>,
    pub(crate) rows: u64,
    in_row: bool,
    first: bool,
}

impl Bulk {
    pub(crate) fn new() -> Bulk {
        Bulk { text: vec![b'['], rows: 0, in_row: false, first: true }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Begins a row; its values follow.
    pub(crate) fn row(&mut self) -> &mut Self {
        self.close_row();
        if self.rows > 0 {
            self.text.push(b',');
        }
        self.text.push(b'[');
        self.rows += 1;
        self.in_row = true;
        self.first = true;
        self
    }

    /// Adds a plain value in the place of a row.
    pub(crate) fn id_alone(&mut self, id: Id) {
        if self.rows > 0 {
            self.text.push(b',');
        }
        self.rows += 1;
        self.write_id(id);
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.comma();
        serde_json::to_writer(&mut self.text, value).expect("a text goes into a buffer");
        self
    }

    pub(crate) fn int(&mut self, value: i64) -> &mut Self {
        self.comma();
        serde_json::to_writer(&mut self.text, &value).expect("a number goes into a buffer");
        self
    }

    pub(crate) fn id(&mut self, value: Id) -> &mut Self {
        self.comma();
        self.write_id(value);
        self
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.comma();
        self.text.extend_from_slice(b"null");
        self
    }

    pub(crate) fn opt_text(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    pub(crate) fn opt_int(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.int(value),
            None => self.null(),
        }
    }

    pub(crate) fn opt_id(&mut self, value: Option<Id>) -> &mut Self {
        match value {
            Some(value) => self.id(value),
            None => self.null(),
        }
    }

    pub(crate) fn finish(mut self) -> String {
        self.close_row();
        self.text.push(b']');
        String::from_utf8(self.text).expect("JSON is UTF-8")
    }

    fn close_row(&mut self) {
        if self.in_row {
            self.text.push(b']');
            self.in_row = false;
        }
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.text.push(b',');
        }
    }

    fn write_id(&mut self, id: Id) {
        use std::io::Write;
        write!(self.text, "\"{id}\"").expect("an id goes into a buffer");
    }
}

pub(crate) fn space_text(space: Space) -> &'static str {
    match space {
        Space::Kv => "kv",
        Space::Docs => "docs",
    }
}

pub(crate) fn put_entry_key(bulk: &mut Bulk, key: &EntryKey) {
    bulk.row()
        .int(key.app.0)
        .text(space_text(key.key.space))
        .text(&key.key.collection)
        .text(&key.key.key);
}

/// In the order of the statement `outbox_insert`.
pub(crate) fn put_outbox(bulk: &mut Bulk, row: &OutboxRow, lease: Option<Lease>) {
    let root = (row.root != row.id).then_some(row.root);
    put_row(bulk, row, root);
    bulk.opt_int(row.reply_by.map(|at| at.0))
        .int(row.bytes())
        .opt_id(lease.map(|lease| lease.owner))
        .opt_int(lease.map(|lease| lease.token))
        .opt_id(first_of(row));
}

/// In the order of the statement `letters_insert`.
pub(crate) fn put_letter(bulk: &mut Bulk, letter: &DeadLetter) {
    put_row(bulk, &letter.row, Some(letter.row.root));
    bulk.id(letter.id)
        .text(&json(&letter.failure))
        .int(i64::from(letter.attempts))
        .int(letter.first_at.0)
        .int(letter.last_at.0)
        .int(letter.script_version)
        .opt_id(first_of(&letter.row));
}

/// Null: the row itself.
fn first_of(row: &OutboxRow) -> Option<Id> {
    (row.first != row.id).then_some(row.first)
}

/// What the outbox and the dead letters have in common.
fn put_row(bulk: &mut Bulk, row: &OutboxRow, root: Option<Id>) {
    bulk.row()
        .id(row.id)
        .int(row.app.0)
        .int(row.queue.0)
        .text(row.source.as_str())
        .opt_int(row.origin)
        .text(&row.script)
        .int(row.principal.0)
        .text(&row.event)
        .text(&json(&row.retry))
        .opt_text(row.order.as_ref().map(|order| &*order.key))
        .opt_int(row.order.as_ref().map(|order| order.version))
        .opt_text(row.dedupe.as_deref())
        .int(row.available_at.0)
        .int(i64::from(row.attempt))
        .int(i64::from(row.orphaned))
        .int(i64::from(row.depth))
        .opt_id(root)
        .opt_id(row.cause)
        .opt_id(row.letter)
        .opt_id(row.replay_of);
    match &row.idempotency {
        Some(key) => {
            bulk.text(&json(&(key.route, key.principal.0, &*key.key, &*key.body_hash)));
        }
        None => {
            bulk.null();
        }
    }
}

/// Bytes of an event that are kept with an abandoned execution.
pub(crate) const ABANDONED_EVENT_BYTES_MAX: usize = 16 << 10;

/// In the order of the statement `abandoned_insert`.
pub(crate) fn put_abandoned(bulk: &mut Bulk, abandoned: &Abandoned) {
    let row = &abandoned.row;
    let event = Some(&*row.event).filter(|event| event.len() <= ABANDONED_EVENT_BYTES_MAX);
    bulk.row()
        .id(row.id)
        .int(row.app.0)
        .int(row.queue.0)
        .text(row.source.as_str())
        .opt_int(row.origin)
        .text(&row.script)
        .int(row.principal.0)
        .opt_text(event)
        .int(i64::from(row.depth))
        .id(row.root)
        .opt_id(row.cause)
        .text(abandoned.reason.as_str())
        .int(abandoned.at.0);
}
