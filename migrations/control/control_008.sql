-- revision: control_008
-- revises: control_007
-- summary: schemas that are set aside and can come back

-- What one operation set aside in its target. Written before the target's commit (state entering) and settled by what
-- became of it, in the transaction that writes the operation's end: what is listed is there, and what is there is listed.
-- The body has each schema: its name, its generated name, its oid, its rights and publications; and the structure that
-- they had.
CREATE TABLE kept_schemas (
    operation         uuid        NOT NULL,
    database          text        NOT NULL,
    database_oid      oid         NOT NULL,
    system_identifier text        NOT NULL,
    -- An undo set them aside: they are no reset that is still to be undone.
    by_undo           boolean     NOT NULL,
    state             text        NOT NULL DEFAULT 'entering',
    used_by           uuid,
    -- The comment that the daemon put on each of them.
    marker            text        NOT NULL,
    body              json        NOT NULL,
    kept_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at        timestamptz NOT NULL,
    -- Operations of which the profile's limits do not keep what they set aside beside this.
    ends_early        uuid[]      NOT NULL DEFAULT '{}',
    -- They were looked at, and a part of them may be dropped already.
    drop_begun_at     timestamptz,
    -- Why they are not dropped yet, though they have had their time.
    left_because      text,
    -- Why they are not the daemon's any more.
    given_up          text,
    CONSTRAINT kept_schemas_pkey PRIMARY KEY (operation),
    CONSTRAINT kept_schemas_state_check CHECK (state IN ('entering', 'kept', 'undoing', 'dropping', 'given_up'))
);

CREATE INDEX kept_schemas_database_idx ON kept_schemas (database_oid, kept_at DESC);
