-- When the store was brought to a newer schema last, and from which. Null in a store that never was.

ALTER TABLE meta ADD COLUMN migrated_from BIGINT;
ALTER TABLE meta ADD COLUMN migrated_at BIGINT;

UPDATE meta SET schema_version = schema_version + 1;
