-- revision: vec_001
-- revises: none
-- summary: embeddings as vectors, with their indexes
-- requires-extension: vector

-- Comes after chain memory in the matrix. An ivfflat index is built from the rows that are there: on an empty table it is
-- quick, and worth a REINDEX once the table is filled.

ALTER TABLE episodes ALTER COLUMN embedding TYPE vector(384) USING embedding::vector(384);
ALTER TABLE facts    ALTER COLUMN embedding TYPE vector(384) USING embedding::vector(384);
ALTER TABLE rules    ALTER COLUMN embedding TYPE vector(384) USING embedding::vector(384);

CREATE INDEX idx_episodes_embedding ON episodes USING ivfflat (embedding vector_cosine_ops) WITH (lists = 20);
CREATE INDEX idx_facts_embedding    ON facts    USING ivfflat (embedding vector_cosine_ops) WITH (lists = 20);
CREATE INDEX idx_rules_embedding    ON rules    USING ivfflat (embedding vector_cosine_ops) WITH (lists = 20);
