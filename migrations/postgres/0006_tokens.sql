-- Who calls from elsewhere than the socket. A secret is shown once and kept nowhere: only its SHA-256, in hexadecimal
-- digits, is here. A token that is revoked stays for a while, so that whoever still uses it is told why.
CREATE TABLE tokens (
    id BIGINT PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    hash TEXT COLLATE "C" NOT NULL UNIQUE,
    principal_id BIGINT NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    -- Null: never.
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE INDEX tokens_principal ON tokens (principal_id);

-- The name that the principal had then: it may be gone when somebody reads this.
ALTER TABLE audit ADD COLUMN principal TEXT COLLATE "C";

UPDATE meta SET schema_version = schema_version + 1;
