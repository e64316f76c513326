-- revision: control_004
-- revises: control_003
-- summary: the audit record is only appended to and its end is noted; who made and revoked a token

-- The end of the audit record. Daemons take turns on this row, so that one chain comes of all of them; it also tells
-- when the newest records were taken away. The first hash is the one a chain without records has.
CREATE TABLE audit_head (
    one      boolean NOT NULL DEFAULT true,
    sequence bigint  NOT NULL,
    hash     text    NOT NULL,
    CONSTRAINT audit_head_pkey PRIMARY KEY (one),
    CONSTRAINT audit_head_one_check CHECK (one)
);

INSERT INTO audit_head (sequence, hash) VALUES (0, '9c380477dd536557356a1b94f0549f9672968471f39272e5b7b99c6a83cf55a8');

-- Keeps slips and stolen sessions of lesser roles away. Who owns the table can take the trigger off: that is what the
-- chain of hashes is for.
CREATE FUNCTION audit_record_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit record is only appended to' USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_record_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_record
    FOR EACH STATEMENT EXECUTE FUNCTION audit_record_keep();

ALTER TABLE token
    ADD COLUMN request_id uuid,
    ADD COLUMN created_by text,
    ADD COLUMN revoked_by text;

CREATE UNIQUE INDEX token_request_id_key ON token (request_id);
CREATE INDEX token_name_idx ON token (name);
