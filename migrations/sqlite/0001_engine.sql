-- The engine's tables. Times are milliseconds since 1970, ids of what happens are 26 characters, numbers of what
-- is configured come from the one counter, JSON is text.

-- One row: what the file itself is.
CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    schema_version INTEGER NOT NULL,
    -- Daemons that know only older schemas than this refuse to open the file.
    oldest_daemon INTEGER NOT NULL,
    -- No number from this one on has been used.
    counter_ceiling INTEGER NOT NULL,
    -- 1 between a clean stop and the next start.
    clean INTEGER NOT NULL
) STRICT;

INSERT INTO meta VALUES (1, 1, 1, 1, 1);

-- What is configured.

CREATE TABLE apps (
    id INTEGER PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    host TEXT UNIQUE,
    allow_hosts TEXT NOT NULL,
    expose_errors INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

CREATE TABLE scripts (
    id INTEGER PRIMARY KEY,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    source TEXT NOT NULL,
    limits TEXT NOT NULL,
    UNIQUE (app_id, name)
) STRICT;

CREATE TABLE script_versions (
    script_id INTEGER NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    source TEXT NOT NULL,
    limits TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (script_id, version)
) STRICT;

CREATE TABLE routes (
    id INTEGER PRIMARY KEY,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    script TEXT NOT NULL,
    dispatch_mode TEXT NOT NULL,
    retry TEXT NOT NULL,
    principal_id INTEGER NOT NULL,
    UNIQUE (app_id, method, path)
) STRICT;

CREATE TABLE triggers (
    id INTEGER PRIMARY KEY,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    script TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    retry TEXT NOT NULL,
    ordering TEXT NOT NULL,
    concurrency INTEGER,
    registered_by_principal INTEGER NOT NULL,
    UNIQUE (app_id, name)
) STRICT;

-- Empty ops: any.
CREATE TABLE kv_trigger_details (
    trigger_id INTEGER PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    collection_glob TEXT NOT NULL,
    ops TEXT NOT NULL
) STRICT;

CREATE TABLE docs_trigger_details (
    trigger_id INTEGER PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    collection_glob TEXT NOT NULL,
    ops TEXT NOT NULL
) STRICT;

-- Null: any.
CREATE TABLE dead_letter_trigger_details (
    trigger_id INTEGER PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    source TEXT,
    trigger_name TEXT
) STRICT;

CREATE TABLE principals (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    uid INTEGER UNIQUE
) STRICT;

-- app_id 0: in all apps.
CREATE TABLE grants (
    principal_id INTEGER NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
    capability TEXT NOT NULL,
    app_id INTEGER NOT NULL,
    PRIMARY KEY (principal_id, capability, app_id)
) STRICT, WITHOUT ROWID;

-- target 0: the instance; otherwise an app or a queue. by_principal null: the daemon itself.
CREATE TABLE pauses (
    target INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL,
    by_principal INTEGER
) STRICT;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    principal_id INTEGER NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

-- What is stored by scripts: KV entries and documents.

CREATE TABLE entries (
    app_id INTEGER NOT NULL,
    space TEXT NOT NULL,
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    version INTEGER NOT NULL,
    expires_at INTEGER,
    written_by TEXT NOT NULL,
    PRIMARY KEY (app_id, space, collection, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX entries_expiring ON entries (expires_at) WHERE expires_at IS NOT NULL;

-- What waits and what runs. A row without a lease is pending, one with a lease is claimed. Not WITHOUT
-- ROWID, since events may be large.

CREATE TABLE outbox (
    id TEXT NOT NULL PRIMARY KEY,
    app_id INTEGER NOT NULL,
    queue_id INTEGER NOT NULL,
    source TEXT NOT NULL,
    origin INTEGER,
    script TEXT NOT NULL,
    principal_id INTEGER NOT NULL,
    event TEXT NOT NULL,
    retry TEXT NOT NULL,
    order_key TEXT,
    order_version INTEGER,
    dedupe TEXT,
    available_at INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    orphaned INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    -- Null: the row itself.
    root_id TEXT,
    cause_id TEXT,
    reply_by INTEGER,
    letter_id TEXT,
    replay_of TEXT,
    -- JSON: route, principal, key, hash of the body.
    idempotency TEXT,
    -- JSON: why the last attempt failed.
    failure TEXT,
    bytes INTEGER NOT NULL,
    lease_owner TEXT,
    lease_token INTEGER
) STRICT;

-- Each index holds only the rows in one state, so that a row which is inserted claimed costs no entry in the first.
CREATE INDEX outbox_due ON outbox (queue_id, available_at, bytes) WHERE lease_token IS NULL;
CREATE INDEX outbox_claimed ON outbox (lease_token) WHERE lease_token IS NOT NULL;
CREATE INDEX outbox_line ON outbox (queue_id, order_key, order_version) WHERE order_key IS NOT NULL;
CREATE INDEX outbox_dedupe ON outbox (app_id, dedupe) WHERE dedupe IS NOT NULL;
CREATE INDEX outbox_delayed ON outbox (app_id) WHERE depth = 0 AND cause_id IS NOT NULL;

-- What could not be done: the row as it died, and what became of it. Open while resolved_at is null.
CREATE TABLE dead_letters (
    id TEXT NOT NULL PRIMARY KEY,
    row_id TEXT NOT NULL,
    app_id INTEGER NOT NULL,
    queue_id INTEGER NOT NULL,
    source TEXT NOT NULL,
    origin INTEGER,
    script TEXT NOT NULL,
    principal_id INTEGER NOT NULL,
    event TEXT NOT NULL,
    retry TEXT NOT NULL,
    order_key TEXT,
    order_version INTEGER,
    dedupe TEXT,
    available_at INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    orphaned INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    root_id TEXT NOT NULL,
    cause_id TEXT,
    letter_id TEXT,
    replay_of TEXT,
    idempotency TEXT,
    failure TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    -- 0: no script.
    script_version INTEGER NOT NULL,
    -- Null, handler_failed (both are open), replayed or discarded.
    resolution TEXT,
    resolved_at INTEGER,
    -- The row that replays it.
    resolved_by TEXT,
    reason TEXT,
    handler_failure TEXT
) STRICT;

CREATE INDEX dead_letters_open ON dead_letters (queue_id, id) WHERE resolved_at IS NULL;
CREATE INDEX dead_letters_open_app ON dead_letters (app_id, id) WHERE resolved_at IS NULL;
CREATE INDEX dead_letters_open_id ON dead_letters (id) WHERE resolved_at IS NULL;
CREATE INDEX dead_letters_resolved ON dead_letters (app_id, resolved_at) WHERE resolved_at IS NOT NULL;
CREATE INDEX dead_letters_replayed ON dead_letters (root_id) WHERE resolution = 'replayed';

CREATE TABLE abandoned_executions (
    id TEXT NOT NULL PRIMARY KEY,
    app_id INTEGER NOT NULL,
    queue_id INTEGER NOT NULL,
    source TEXT NOT NULL,
    origin INTEGER,
    script TEXT NOT NULL,
    principal_id INTEGER NOT NULL,
    -- Null when it was too large to keep.
    event TEXT,
    depth INTEGER NOT NULL,
    root_id TEXT NOT NULL,
    cause_id TEXT,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX abandoned_app ON abandoned_executions (app_id, id);

-- Answers kept for callers that send a request again.
CREATE TABLE requests (
    app_id INTEGER NOT NULL,
    route_id INTEGER NOT NULL,
    principal_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    -- A sync run's result; null for an async one, and when it was too large to keep.
    result TEXT,
    -- An async request's execution, and when it was accepted.
    execution_id TEXT,
    accepted_at INTEGER,
    kept_until INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (app_id, route_id, principal_id, key)
) STRICT;

CREATE INDEX requests_kept ON requests (kept_until);
CREATE INDEX requests_app ON requests (app_id, kept_until, bytes);
