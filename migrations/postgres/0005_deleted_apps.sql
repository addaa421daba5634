-- Apps that were deleted and whose rows and data go step by step. Kept as long as what they abandoned.

CREATE TABLE deleted_apps (
    id BIGINT PRIMARY KEY,
    slug TEXT COLLATE "C" NOT NULL,
    deleted_at BIGINT NOT NULL,
    by_principal BIGINT NOT NULL,
    -- JSON: the queues in which its rows still wait. None are added: nothing of a deleted app is accepted.
    queues TEXT COLLATE "C" NOT NULL,
    -- What went so far: rows that were abandoned, of these the ones on record, entries, dead letters.
    rows_abandoned BIGINT NOT NULL DEFAULT 0,
    rows_kept BIGINT NOT NULL DEFAULT 0,
    entries BIGINT NOT NULL DEFAULT 0,
    letters BIGINT NOT NULL DEFAULT 0,
    -- Null while something is left.
    emptied_at BIGINT
);

-- An older daemon would run what waits, and find neither app nor script.
UPDATE meta SET schema_version = schema_version + 1, oldest_daemon = schema_version + 1;
