-- What the lists of resolved dead letters and the chains of causes are found by.

CREATE INDEX dead_letters_resolved_id ON dead_letters (id) WHERE resolved_at IS NOT NULL;
CREATE INDEX dead_letters_resolved_app ON dead_letters (app_id, id) WHERE resolved_at IS NOT NULL;
CREATE INDEX dead_letters_root ON dead_letters (root_id, id);
CREATE INDEX dead_letters_row ON dead_letters (row_id);
CREATE INDEX abandoned_root ON abandoned_executions (root_id, id);

UPDATE meta SET schema_version = schema_version + 1;
