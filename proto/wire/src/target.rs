//! Targets as the contract sends them.

use model::target::{KeptDatabase, KeptSchemas, TargetStatus};

use crate::{
    operation::{
        decode_holder, decode_operation, decode_timestamp, encode_holder, encode_operation, some, timestamp,
    },
    request::{DecodeError, parse_operation_id},
    v1,
    window::{decode_window, encode_window},
};

/// A target as the contract sends it.
#[must_use]
pub fn encode_target(it: &TargetStatus) -> v1::Target {
    let kept = |kept: &KeptDatabase| v1::KeptDatabase {
        name: kept.name.clone(),
        operation: kept.operation.to_string(),
        kept_until: Some(timestamp(kept.until)),
    };
    v1::Target {
        name: it.name.clone(),
        database: it.database.clone(),
        profile: it.profile.clone(),
        matrix: it.matrix.clone(),
        managed_schemas: it.managed_schemas.clone(),
        protected: it.protected,
        enrolled: it.enrolled,
        holder: it.holder.as_ref().map(encode_holder),
        queue: it.queue.iter().map(encode_operation).collect(),
        window: it.window.as_ref().map(encode_window),
        next_windows: it.next_windows.iter().map(encode_window).collect(),
        last_operation: it.last.as_ref().map(encode_operation),
        kept: it.kept.iter().map(kept).collect(),
        warnings: it.warnings.clone(),
        kept_schemas: it.kept_schemas.iter().map(encode_schemas).collect(),
    }
}

/// A target as the model knows it.
///
/// # Errors
/// A field that the contract promises is missing or malformed.
pub fn decode_target(it: v1::Target) -> Result<TargetStatus, DecodeError> {
    Ok(TargetStatus {
        name: it.name,
        database: it.database,
        profile: it.profile,
        matrix: it.matrix,
        managed_schemas: it.managed_schemas,
        protected: it.protected,
        enrolled: it.enrolled,
        holder: it.holder.map(decode_holder),
        queue: it.queue.into_iter().map(decode_operation).collect::<Result<_, _>>()?,
        window: it.window.map(decode_window).transpose()?,
        next_windows: it.next_windows.into_iter().map(decode_window).collect::<Result<_, _>>()?,
        last: it.last_operation.map(decode_operation).transpose()?,
        kept: it.kept.into_iter().map(decode_kept).collect::<Result<_, _>>()?,
        warnings: it.warnings,
        kept_schemas: it.kept_schemas.into_iter().map(decode_schemas).collect::<Result<_, _>>()?,
    })
}

fn encode_schemas(it: &KeptSchemas) -> v1::KeptSchemas {
    v1::KeptSchemas {
        operation: it.operation.to_string(),
        names: it.names.clone(),
        kept_until: Some(timestamp(it.until)),
        left_because: it.left_because.clone().unwrap_or_default(),
    }
}

fn decode_schemas(it: v1::KeptSchemas) -> Result<KeptSchemas, DecodeError> {
    Ok(KeptSchemas {
        operation: parse_operation_id(&it.operation)?,
        names: it.names,
        until: decode_timestamp(it.kept_until).ok_or_else(|| DecodeError::missing("kept_until"))?,
        left_because: some(it.left_because),
    })
}

fn decode_kept(it: v1::KeptDatabase) -> Result<KeptDatabase, DecodeError> {
    Ok(KeptDatabase {
        name: it.name,
        operation: parse_operation_id(&it.operation)?,
        until: decode_timestamp(it.kept_until).ok_or_else(|| DecodeError::missing("kept_until"))?,
    })
}
