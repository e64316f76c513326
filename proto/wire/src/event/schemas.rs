//! What became of single schemas: recreated, brought back.

use model::event::{SchemaReset, SchemaReturned};

use crate::{
    operation::{decode_timestamp, some, timestamp},
    v1,
};

pub(super) fn encode_schema_reset(it: &SchemaReset) -> v1::SchemaReset {
    v1::SchemaReset {
        schema: it.schema.clone(),
        existed_before: it.existed_before,
        tables_before: it.tables_before,
        exists_after: it.exists_after,
        tables_after: it.tables_after,
        kept_as: it.kept_as.clone().unwrap_or_default(),
        kept_until: it.kept_until.map(timestamp),
    }
}

pub(super) fn decode_schema_reset(it: v1::SchemaReset) -> SchemaReset {
    SchemaReset {
        schema: it.schema,
        existed_before: it.existed_before,
        tables_before: it.tables_before,
        exists_after: it.exists_after,
        tables_after: it.tables_after,
        kept_as: some(it.kept_as),
        kept_until: decode_timestamp(it.kept_until),
    }
}

pub(super) fn encode_schema_returned(it: &SchemaReturned) -> v1::SchemaReturned {
    v1::SchemaReturned {
        schema: it.schema.clone(),
        undoes: it.undoes.to_string(),
        came_from: it.came_from.clone().unwrap_or_default(),
        tables: it.tables,
        kept_as: it.kept_as.clone().unwrap_or_default(),
        kept_until: it.kept_until.map(timestamp),
    }
}

pub(super) fn decode_schema_returned(it: v1::SchemaReturned) -> Option<SchemaReturned> {
    Some(SchemaReturned {
        schema: it.schema,
        undoes: it.undoes.parse().ok()?,
        came_from: some(it.came_from),
        tables: it.tables,
        kept_as: some(it.kept_as),
        kept_until: decode_timestamp(it.kept_until),
    })
}
