-- Who calls from elsewhere than the socket. A secret is shown once and kept nowhere: only its SHA-256, in hexadecimal
-- digits, is here. A token that is revoked stays for a while, so that whoever still uses it is told why.
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL UNIQUE,
    principal_id INTEGER NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    -- Null: never.
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

CREATE INDEX tokens_principal ON tokens (principal_id);

-- The name that the principal had then: it may be gone when somebody reads this.
ALTER TABLE audit ADD COLUMN principal TEXT;

UPDATE meta SET schema_version = schema_version + 1;
