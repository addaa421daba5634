-- Secrets, sealed with a key that is not in this file; and by what calls to the outside are told apart.

CREATE TABLE secrets (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    set_at INTEGER NOT NULL,
    set_by INTEGER NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT, WITHOUT ROWID;

-- The row that this one replays in the end. Null: the row itself.
ALTER TABLE outbox ADD COLUMN first_id TEXT;
ALTER TABLE dead_letters ADD COLUMN first_id TEXT;

UPDATE meta SET schema_version = schema_version + 1;
