-- Apps that were deleted and whose rows and data go step by step. Kept as long as what they abandoned.

CREATE TABLE deleted_apps (
    id INTEGER PRIMARY KEY,
    slug TEXT NOT NULL,
    deleted_at INTEGER NOT NULL,
    by_principal INTEGER NOT NULL,
    -- JSON: the queues in which its rows still wait. None are added: nothing of a deleted app is accepted.
    queues TEXT NOT NULL,
    -- What went so far: rows that were abandoned, of these the ones on record, entries, dead letters.
    rows_abandoned INTEGER NOT NULL DEFAULT 0,
    rows_kept INTEGER NOT NULL DEFAULT 0,
    entries INTEGER NOT NULL DEFAULT 0,
    letters INTEGER NOT NULL DEFAULT 0,
    -- Null while something is left.
    emptied_at INTEGER
) STRICT;

-- An older daemon would run what waits, and find neither app nor script.
UPDATE meta SET schema_version = schema_version + 1, oldest_daemon = schema_version + 1;
