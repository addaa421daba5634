-- When the store was brought to a newer schema last, and from which. Null in a store that never was.

ALTER TABLE meta ADD COLUMN migrated_from INTEGER;
ALTER TABLE meta ADD COLUMN migrated_at INTEGER;

UPDATE meta SET schema_version = schema_version + 1;
