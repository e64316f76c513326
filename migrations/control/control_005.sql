-- revision: control_005
-- revises: control_004
-- summary: turns in the queue, forced ends, requests about windows

-- The order of coming, across daemons; the backend that waits, which is gone when the waiter is.
CREATE SEQUENCE operation_ticket;
ALTER TABLE operation ADD COLUMN ticket bigint;
ALTER TABLE operation ADD COLUMN waiter_pid integer;
-- Only an active window of the principal's own lets it begin.
ALTER TABLE operation ADD COLUMN needs_window boolean NOT NULL DEFAULT false;
-- An admin broke its lock.
ALTER TABLE operation ADD COLUMN forced_at timestamptz;
ALTER TABLE operation ADD COLUMN forced_by text;
ALTER TABLE operation ADD COLUMN forced_reason text;

CREATE INDEX operation_database_active_idx ON operation (database) WHERE state <> 'finished';

ALTER TABLE reset_window ADD COLUMN released_by text;
ALTER TABLE reset_window ADD COLUMN released_reason text;
CREATE INDEX reset_window_target_idx ON reset_window (target_id, (lower(period)));

-- Each request that changed a window, so that the same one again changes nothing.
CREATE TABLE window_request (
    request_id   uuid        NOT NULL,
    request_hash text        NOT NULL,
    principal    text        NOT NULL,
    window_id    uuid        NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT window_request_pkey PRIMARY KEY (request_id),
    CONSTRAINT window_request_window_fkey FOREIGN KEY (window_id) REFERENCES reset_window (id) ON DELETE CASCADE
);
