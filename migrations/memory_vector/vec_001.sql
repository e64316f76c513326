-- revision: vec_001
-- revises: none
-- summary: embeddings as vectors, with an index to find the nearest
-- requires-extension: vector

-- Replayed after the chain memory. The conversion fails, and nothing changes, where an embedding has not 384 values.

ALTER TABLE episodes ALTER COLUMN embedding TYPE vector(384) USING embedding::vector(384);
ALTER TABLE facts ALTER COLUMN embedding TYPE vector(384) USING embedding::vector(384);
ALTER TABLE rules ALTER COLUMN embedding TYPE vector(384) USING embedding::vector(384);

CREATE INDEX idx_episodes_embedding ON episodes USING ivfflat (embedding vector_cosine_ops) WITH (lists = 20);
CREATE INDEX idx_facts_embedding ON facts USING ivfflat (embedding vector_cosine_ops) WITH (lists = 20);
CREATE INDEX idx_rules_embedding ON rules USING ivfflat (embedding vector_cosine_ops) WITH (lists = 20);
