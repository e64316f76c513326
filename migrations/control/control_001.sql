-- revision: control_001
-- revises: none
-- summary: operations, events, targets, windows, tokens and the audit record of the daemon itself

-- Replayed in schema resetd of the control database. Instances are runs of a daemon: each holds an advisory lock
-- derived from its id for as long as it lives.
CREATE TABLE instance (
    id         uuid        NOT NULL,
    version    text        NOT NULL,
    host       text        NOT NULL,
    pid        integer     NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT instance_pkey PRIMARY KEY (id)
);

-- Databases that were enrolled; the identity is the cluster's system identifier and the database's name.
CREATE TABLE target (
    id                integer     NOT NULL GENERATED ALWAYS AS IDENTITY,
    database          text        NOT NULL,
    system_identifier text        NOT NULL,
    database_oid      oid         NOT NULL,
    enrolled_by       text        NOT NULL,
    enrolled_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT target_pkey PRIMARY KEY (id),
    CONSTRAINT target_database_key UNIQUE (database)
);

CREATE TABLE operation (
    id                  uuid        NOT NULL,
    request_id          uuid        NOT NULL,
    request_hash        text        NOT NULL,
    verb                text        NOT NULL,
    target              text        NOT NULL,
    database            text        NOT NULL,
    scope               text,
    dry_run             boolean     NOT NULL,
    principal           text        NOT NULL,
    proof               text        NOT NULL,
    labels              json        NOT NULL,
    instance            uuid        NOT NULL,
    state               text        NOT NULL,
    reads_only          boolean     NOT NULL,
    -- The backend that holds the target's lock, and the one that works in the target.
    lock_pid            integer,
    work_pid            integer,
    -- Stored before COMMIT is sent; pg_xact_status of it decides whether the operation happened.
    work_xid            xid8,
    prepared_report     text,
    prepared_end        json,
    cancel_requested_at timestamptz,
    outcome             text,
    reason              text,
    summary             text,
    report              text,
    report_sha256       text,
    last_sequence       bigint      NOT NULL DEFAULT 0,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at          timestamptz,
    finished_at         timestamptz,
    CONSTRAINT operation_pkey PRIMARY KEY (id),
    CONSTRAINT operation_request_id_key UNIQUE (request_id),
    CONSTRAINT operation_instance_fkey FOREIGN KEY (instance) REFERENCES instance (id),
    CONSTRAINT operation_state_check CHECK (state IN ('waiting', 'running', 'committing', 'finished')),
    CONSTRAINT operation_end_check CHECK (
        (state = 'finished') = (outcome IS NOT NULL AND finished_at IS NOT NULL AND report IS NOT NULL)
    )
);

CREATE INDEX operation_target_idx ON operation (target, id DESC);
CREATE INDEX operation_active_idx ON operation (id) WHERE state <> 'finished';

CREATE TABLE event (
    operation uuid        NOT NULL,
    sequence  bigint      NOT NULL,
    at        timestamptz NOT NULL,
    code      text        NOT NULL,
    terminal  boolean     NOT NULL,
    body      json        NOT NULL,
    CONSTRAINT event_pkey PRIMARY KEY (operation, sequence),
    CONSTRAINT event_operation_fkey FOREIGN KEY (operation) REFERENCES operation (id) ON DELETE CASCADE,
    CONSTRAINT event_sequence_check CHECK (sequence > 0)
);

CREATE UNIQUE INDEX event_terminal_key ON event (operation) WHERE terminal;

-- Reservations: half-open ranges, kept apart by the database itself.
CREATE TABLE reset_window (
    id          uuid        NOT NULL,
    request_id  uuid        NOT NULL,
    target_id   integer     NOT NULL,
    principal   text        NOT NULL,
    reason      text        NOT NULL,
    period      tstzrange   NOT NULL,
    etag        uuid        NOT NULL DEFAULT gen_random_uuid(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    released_at timestamptz,
    CONSTRAINT reset_window_pkey PRIMARY KEY (id),
    CONSTRAINT reset_window_request_id_key UNIQUE (request_id),
    CONSTRAINT reset_window_target_fkey FOREIGN KEY (target_id) REFERENCES target (id),
    CONSTRAINT reset_window_period_check CHECK (NOT isempty(period) AND lower_inc(period) AND NOT upper_inc(period)),
    CONSTRAINT reset_window_overlap EXCLUDE USING gist (
        int4range(target_id, target_id, '[]') WITH &&,
        period WITH &&
    ) WHERE (released_at IS NULL)
);

-- Bearer tokens: only the hash of a secret is kept.
CREATE TABLE token (
    id            text        NOT NULL,
    name          text        NOT NULL,
    secret_sha256 bytea       NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz NOT NULL,
    last_used_at  timestamptz,
    revoked_at    timestamptz,
    CONSTRAINT token_pkey PRIMARY KEY (id)
);

-- Decisions, each chained to the one before by its hash.
CREATE TABLE audit_record (
    sequence  bigint      NOT NULL,
    at        timestamptz NOT NULL,
    body      text        NOT NULL,
    hash      text        NOT NULL,
    CONSTRAINT audit_record_pkey PRIMARY KEY (sequence)
);
