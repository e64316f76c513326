-- revision: control_003
-- revises: control_002
-- summary: plans under their digests, and how much was written when the last operation ended

-- What a digest is over is kept line by line, so that a changed plan can say what moved.
CREATE TABLE plan (
    digest    text        NOT NULL,
    target    text        NOT NULL,
    operation uuid        NOT NULL,
    body      json        NOT NULL,
    identity  text[]      NOT NULL,
    shown_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT plan_pkey PRIMARY KEY (digest)
);

CREATE INDEX plan_shown_at_idx ON plan (shown_at);

-- The statistics collector's counters of a database when its last operation ended.
CREATE TABLE baseline (
    database     text        NOT NULL,
    database_oid oid         NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    commits      bigint      NOT NULL,
    inserted     bigint      NOT NULL,
    updated      bigint      NOT NULL,
    deleted      bigint      NOT NULL,
    CONSTRAINT baseline_pkey PRIMARY KEY (database)
);
