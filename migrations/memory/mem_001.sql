-- revision: mem_001
-- revises: none
-- summary: episodes, facts, rules and the links between them

-- An embedding holds 384 values or is null. It is a plain array here, so that any PostgreSQL will do; the chain
-- memory_vector turns it into a vector where the extension is at hand.

CREATE TABLE episodes (
    id                   uuid             NOT NULL DEFAULT gen_random_uuid(),
    butler               text             NOT NULL,
    session_id           uuid,
    content              text             NOT NULL,
    embedding            real[],
    search_vector        tsvector,
    importance           double precision NOT NULL DEFAULT 5.0,
    reference_count      integer          NOT NULL DEFAULT 0,
    consolidated         boolean          NOT NULL DEFAULT false,
    consolidation_status varchar(20)      NOT NULL DEFAULT 'pending',
    retry_count          integer          NOT NULL DEFAULT 0,
    last_error           text,
    created_at           timestamptz      NOT NULL DEFAULT now(),
    last_referenced_at   timestamptz,
    expires_at           timestamptz               DEFAULT (now() + interval '7 days'),
    metadata             jsonb                     DEFAULT '{}'::jsonb,
    CONSTRAINT episodes_pkey PRIMARY KEY (id)
);

CREATE INDEX idx_episodes_butler_created ON episodes (butler, created_at DESC);
CREATE INDEX idx_episodes_expires ON episodes (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX idx_episodes_search ON episodes USING gin (search_vector);
CREATE INDEX idx_episodes_unconsolidated ON episodes (butler, created_at) WHERE consolidation_status = 'pending';

CREATE TABLE facts (
    id                 uuid             NOT NULL DEFAULT gen_random_uuid(),
    subject            text             NOT NULL,
    predicate          text             NOT NULL,
    content            text             NOT NULL,
    embedding          real[],
    search_vector      tsvector,
    importance         double precision NOT NULL DEFAULT 5.0,
    confidence         double precision NOT NULL DEFAULT 1.0,
    decay_rate         double precision NOT NULL DEFAULT 0.008,
    permanence         text             NOT NULL DEFAULT 'standard',
    source_butler      text,
    source_episode_id  uuid,
    supersedes_id      uuid,
    validity           text             NOT NULL DEFAULT 'active',
    scope              text             NOT NULL DEFAULT 'global',
    reference_count    integer          NOT NULL DEFAULT 0,
    created_at         timestamptz      NOT NULL DEFAULT now(),
    last_referenced_at timestamptz,
    last_confirmed_at  timestamptz,
    tags               jsonb                     DEFAULT '[]'::jsonb,
    metadata           jsonb                     DEFAULT '{}'::jsonb,
    CONSTRAINT facts_pkey PRIMARY KEY (id),
    CONSTRAINT facts_source_episode_id_fkey
        FOREIGN KEY (source_episode_id) REFERENCES episodes (id) ON DELETE SET NULL,
    CONSTRAINT facts_supersedes_id_fkey
        FOREIGN KEY (supersedes_id) REFERENCES facts (id) ON DELETE SET NULL
);

CREATE INDEX idx_facts_scope_validity ON facts (scope, validity) WHERE validity = 'active';
CREATE INDEX idx_facts_search ON facts USING gin (search_vector);
CREATE INDEX idx_facts_subject_predicate ON facts (subject, predicate);
CREATE INDEX idx_facts_tags ON facts USING gin (tags);

CREATE TABLE rules (
    id                  uuid             NOT NULL DEFAULT gen_random_uuid(),
    content             text             NOT NULL,
    embedding           real[],
    search_vector       tsvector,
    scope               text             NOT NULL DEFAULT 'global',
    maturity            text             NOT NULL DEFAULT 'candidate',
    confidence          double precision NOT NULL DEFAULT 0.5,
    decay_rate          double precision NOT NULL DEFAULT 0.008,
    permanence          text             NOT NULL DEFAULT 'standard',
    effectiveness_score double precision NOT NULL DEFAULT 0.0,
    applied_count       integer          NOT NULL DEFAULT 0,
    success_count       integer          NOT NULL DEFAULT 0,
    harmful_count       integer          NOT NULL DEFAULT 0,
    source_episode_id   uuid,
    source_butler       text,
    created_at          timestamptz      NOT NULL DEFAULT now(),
    last_applied_at     timestamptz,
    last_evaluated_at   timestamptz,
    last_confirmed_at   timestamptz,
    reference_count     integer          NOT NULL DEFAULT 0,
    last_referenced_at  timestamptz,
    tags                jsonb                     DEFAULT '[]'::jsonb,
    metadata            jsonb                     DEFAULT '{}'::jsonb,
    CONSTRAINT rules_pkey PRIMARY KEY (id),
    CONSTRAINT rules_source_episode_id_fkey
        FOREIGN KEY (source_episode_id) REFERENCES episodes (id) ON DELETE SET NULL
);

CREATE INDEX idx_rules_scope_maturity ON rules (scope, maturity);
CREATE INDEX idx_rules_search ON rules USING gin (search_vector);

CREATE TABLE memory_links (
    source_type text        NOT NULL,
    source_id   uuid        NOT NULL,
    target_type text        NOT NULL,
    target_id   uuid        NOT NULL,
    relation    text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT memory_links_pkey PRIMARY KEY (source_type, source_id, target_type, target_id),
    CONSTRAINT chk_memory_links_relation
        CHECK (relation IN ('derived_from', 'supports', 'contradicts', 'supersedes', 'related_to'))
);

CREATE INDEX idx_memory_links_target ON memory_links (target_type, target_id);
