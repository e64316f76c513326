-- revision: core_001
-- revises: none
-- summary: state, scheduled tasks, sessions, routing inbox and secrets of one butler

-- Replayed once per butler schema: unqualified names land in that schema, the first of the search path.

CREATE TABLE state (
    key        text        NOT NULL,
    value      jsonb       NOT NULL DEFAULT '{}'::jsonb,
    updated_at timestamptz NOT NULL DEFAULT now(),
    version    integer     NOT NULL DEFAULT 1,
    CONSTRAINT state_pkey PRIMARY KEY (key)
);

CREATE TABLE scheduled_tasks (
    id          uuid        NOT NULL DEFAULT gen_random_uuid(),
    name        text        NOT NULL,
    cron        text        NOT NULL,
    prompt      text        NOT NULL,
    source      text        NOT NULL DEFAULT 'db',
    enabled     boolean     NOT NULL DEFAULT true,
    next_run_at timestamptz,
    last_run_at timestamptz,
    last_result jsonb,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT scheduled_tasks_pkey PRIMARY KEY (id),
    CONSTRAINT scheduled_tasks_name_key UNIQUE (name)
);

CREATE TABLE sessions (
    id                uuid        NOT NULL DEFAULT gen_random_uuid(),
    prompt            text        NOT NULL,
    trigger_source    text        NOT NULL,
    model             text,
    success           boolean,
    error             text,
    result            text,
    tool_calls        jsonb       NOT NULL DEFAULT '[]'::jsonb,
    duration_ms       integer,
    trace_id          text,
    request_id        text,
    cost              jsonb,
    input_tokens      integer,
    output_tokens     integer,
    parent_session_id uuid,
    started_at        timestamptz NOT NULL DEFAULT now(),
    completed_at      timestamptz,
    CONSTRAINT sessions_pkey PRIMARY KEY (id)
);

CREATE INDEX idx_sessions_request_id ON sessions (request_id);

CREATE TABLE route_inbox (
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    received_at     timestamptz NOT NULL DEFAULT now(),
    route_envelope  jsonb       NOT NULL,
    lifecycle_state text        NOT NULL DEFAULT 'accepted',
    processed_at    timestamptz,
    session_id      uuid,
    error           text,
    CONSTRAINT route_inbox_pkey PRIMARY KEY (id)
);

CREATE INDEX idx_route_inbox_lifecycle_state ON route_inbox (lifecycle_state, received_at);

CREATE TABLE butler_secrets (
    secret_key   text        NOT NULL,
    secret_value text        NOT NULL,
    category     text        NOT NULL DEFAULT 'general',
    description  text,
    is_sensitive boolean     NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    CONSTRAINT butler_secrets_pkey PRIMARY KEY (secret_key)
);

CREATE INDEX ix_butler_secrets_category ON butler_secrets (category);
