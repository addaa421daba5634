-- Schedules: triggers that the clock sets off.

CREATE TABLE schedule_trigger_details (
    trigger_id BIGINT PRIMARY KEY REFERENCES triggers (id) ON DELETE CASCADE,
    cron TEXT COLLATE "C" NOT NULL,
    time_zone TEXT COLLATE "C" NOT NULL,
    catch_up TEXT COLLATE "C" NOT NULL,
    -- Every due time up to here has its rows, or gets none. Moved on in the transaction that inserts them.
    fired_until BIGINT NOT NULL,
    -- The due time that it fired for last; null before the first.
    last_fired BIGINT
);

UPDATE meta SET schema_version = schema_version + 1, oldest_daemon = schema_version + 1;
