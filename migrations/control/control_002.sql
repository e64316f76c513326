-- revision: control_002
-- revises: control_001
-- summary: databases that are built aside, and those that are kept for undo

-- The name under which an operation builds; stored before the database is made, so that whoever recovers the operation
-- knows what to look for.
ALTER TABLE operation ADD COLUMN build_database text;

-- Databases that were swapped away and can come back. Known by oid: names change with every swap.
CREATE TABLE kept_database (
    oid        oid         NOT NULL,
    name       text        NOT NULL,
    database   text        NOT NULL,
    operation  uuid        NOT NULL,
    state      text        NOT NULL DEFAULT 'kept',
    used_by    uuid,
    kept_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT kept_database_pkey PRIMARY KEY (oid),
    CONSTRAINT kept_database_state_check CHECK (state IN ('kept', 'undoing', 'dropping'))
);

CREATE INDEX kept_database_database_idx ON kept_database (database, kept_at DESC);
