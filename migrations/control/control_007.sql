-- revision: control_007
-- revises: control_006
-- summary: which cluster and database this control database is, and what tells the daemon's databases from others

-- A control database that finds itself elsewhere, moved by a dump or copied, knows oids that mean other databases here:
-- it is refused until an admin adopts it. One of before that enrolled targets elsewhere is found by that.
CREATE TABLE identity (
    one               boolean     NOT NULL DEFAULT true,
    system_identifier text        NOT NULL,
    database_oid      oid         NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT identity_pkey PRIMARY KEY (one),
    CONSTRAINT identity_one_check CHECK (one)
);

INSERT INTO identity (system_identifier, database_oid)
SELECT coalesce(
           (SELECT t.system_identifier FROM target t ORDER BY t.enrolled_at DESC LIMIT 1),
           s.system_identifier::text
       ), d.oid
  FROM pg_control_system() s, pg_database d
 WHERE d.datname = current_database();

-- A kept database is dropped or brought back only while cluster, oid, name and marker fit and it takes no connections.
-- Those kept before have no marker: their names are random, and they are closed.
ALTER TABLE kept_database ADD COLUMN system_identifier text;
UPDATE kept_database SET system_identifier = (SELECT i.system_identifier FROM identity i);
ALTER TABLE kept_database ALTER COLUMN system_identifier SET NOT NULL;
-- The comment that the daemon put on it, and the one that it had.
ALTER TABLE kept_database ADD COLUMN marker text;
ALTER TABLE kept_database ADD COLUMN comment text;
-- Why it is not the daemon's any more.
ALTER TABLE kept_database ADD COLUMN given_up text;
ALTER TABLE kept_database DROP CONSTRAINT kept_database_state_check;
ALTER TABLE kept_database ADD CONSTRAINT kept_database_state_check
    CHECK (state IN ('kept', 'undoing', 'dropping', 'given_up'));

-- The database that was made under the name in build_database.
ALTER TABLE operation ADD COLUMN build_oid oid;

-- What only who has the daemons' key can make of a record's hash; NULL where they have none.
ALTER TABLE audit_record ADD COLUMN seal text;
