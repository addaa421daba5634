-- Secrets, sealed with a key that is not in here; and by what calls to the outside are told apart.

CREATE TABLE secrets (
    app_id BIGINT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    set_at BIGINT NOT NULL,
    set_by BIGINT NOT NULL,
    PRIMARY KEY (app_id, name)
);

-- The row that this one replays in the end. Null: the row itself.
ALTER TABLE outbox ADD COLUMN first_id TEXT COLLATE "C";
ALTER TABLE dead_letters ADD COLUMN first_id TEXT COLLATE "C";

UPDATE meta SET schema_version = schema_version + 1;
