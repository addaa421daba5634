-- Who may call a route, and how often. JSON; what a route does not say is its app's, and what neither says is open.

ALTER TABLE apps ADD COLUMN access TEXT COLLATE "C" NOT NULL DEFAULT '{}';
ALTER TABLE routes ADD COLUMN access TEXT COLLATE "C" NOT NULL DEFAULT '{}';

-- An older daemon would let everybody in.
UPDATE meta SET schema_version = schema_version + 1, oldest_daemon = schema_version + 1;
