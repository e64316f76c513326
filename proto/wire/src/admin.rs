//! Tokens and audit records.

use model::{
    audit::{AuditVerdict, Break, Chained, Head, Record, Wrong},
    token::{self, Entry},
};

use crate::{
    operation::{decode_timestamp, some, timestamp},
    request::{DecodeError, duration},
    v1,
};

/// What a token is asked with, as the contract sends it.
#[must_use]
pub fn encode_new_token(new: &token::New) -> v1::CreateTokenRequest {
    v1::CreateTokenRequest {
        request_id: new.request_id.to_string(),
        name: new.name.clone(),
        lifetime: prost_types::Duration::try_from(new.lifetime).ok(),
    }
}

/// What a token is asked with, as the model knows it.
///
/// # Errors
/// The first field that is malformed.
pub fn decode_new_token(it: v1::CreateTokenRequest) -> Result<token::New, DecodeError> {
    let lifetime = it.lifetime.map(|l| duration("lifetime", l)).transpose()?;
    Ok(token::New {
        request_id: request_id(&it.request_id)?,
        name: it.name,
        lifetime: lifetime.unwrap_or(token::DEFAULT_LIFETIME),
    })
}

/// Which token is to be revoked. The request id is only checked: revoking again changes nothing.
///
/// # Errors
/// The first field that is malformed.
pub fn decode_revoke_token(it: v1::RevokeTokenRequest) -> Result<String, DecodeError> {
    request_id(&it.request_id)?;
    match token::is_id(&it.id) {
        true => Ok(it.id),
        // What was pasted here may be a whole token.
        false => Err(DecodeError::wrong("id", "is not a token's id: 11 letters and digits")),
    }
}

fn request_id(text: &str) -> Result<uuid::Uuid, DecodeError> {
    text.parse().map_err(|_| DecodeError::malformed("request_id", text))
}

/// A token as the contract sends it.
#[must_use]
pub fn encode_token(it: &Entry) -> v1::Token {
    v1::Token {
        id: it.id.clone(),
        name: it.name.clone(),
        created_at: Some(timestamp(it.created_at)),
        expires_at: Some(timestamp(it.expires_at)),
        last_used_at: it.last_used_at.map(timestamp),
        revoked_at: it.revoked_at.map(timestamp),
        created_by: it.created_by.clone(),
        revoked_by: it.revoked_by.clone(),
        expired: it.expired,
    }
}

/// A token as the model knows it.
///
/// # Errors
/// A field that the contract promises is missing.
pub fn decode_token(it: v1::Token) -> Result<Entry, DecodeError> {
    Ok(Entry {
        created_at: decode_timestamp(it.created_at).ok_or_else(|| DecodeError::missing("created_at"))?,
        expires_at: decode_timestamp(it.expires_at).ok_or_else(|| DecodeError::missing("expires_at"))?,
        last_used_at: decode_timestamp(it.last_used_at),
        revoked_at: decode_timestamp(it.revoked_at),
        id: it.id,
        name: it.name,
        created_by: it.created_by,
        revoked_by: it.revoked_by,
        expired: it.expired,
    })
}

/// A record as the contract sends it. One whose text is no record has only its place, its time and its hash.
#[must_use]
pub fn encode_audit_record(kept: &Chained) -> v1::AuditRecord {
    let place = v1::AuditRecord {
        sequence: kept.sequence,
        occurred_at: Some(timestamp(kept.at)),
        hash: kept.hash.clone(),
        ..v1::AuditRecord::default()
    };
    let Some(it) = Record::read(&kept.body) else { return place };
    v1::AuditRecord {
        principal: it.principal.unwrap_or_default(),
        auth_method: it.auth_method.unwrap_or_default(),
        peer: it.peer,
        method: it.method,
        target: it.target.unwrap_or_default(),
        allowed: it.allowed,
        reason: it.reason.unwrap_or_default(),
        operation: it.operation.map(|id| id.to_string()).unwrap_or_default(),
        detail: it.detail.unwrap_or_default(),
        count: it.count,
        ..place
    }
}

/// A record with its hash, as the model knows it.
///
/// # Errors
/// A field that the contract promises is missing.
pub fn decode_audit_record(it: v1::AuditRecord) -> Result<(Record, String), DecodeError> {
    let at = decode_timestamp(it.occurred_at).ok_or_else(|| DecodeError::missing("occurred_at"))?;
    let record = Record {
        sequence: it.sequence,
        at,
        principal: some(it.principal),
        auth_method: some(it.auth_method),
        peer: it.peer,
        method: it.method,
        target: some(it.target),
        allowed: it.allowed,
        reason: some(it.reason),
        operation: it.operation.parse().ok(),
        detail: some(it.detail),
        count: it.count,
    };
    Ok((record, it.hash))
}

/// What is remembered of an earlier verification, as the contract sends it.
#[must_use]
pub fn encode_expected(expected: Option<&Head>) -> v1::VerifyAuditRequest {
    let (expected_sequence, expected_hash) =
        expected.map(|head| (head.sequence, head.hash.clone())).unwrap_or_default();
    v1::VerifyAuditRequest { expected_sequence, expected_hash }
}

/// What is remembered of an earlier verification.
///
/// # Errors
/// The hash is none.
pub fn decode_expected(it: &v1::VerifyAuditRequest) -> Result<Option<Head>, DecodeError> {
    let v1::VerifyAuditRequest { expected_sequence, expected_hash } = it;
    if *expected_sequence == 0 {
        return Ok(None);
    }
    let head = Head::read(&format!("{expected_sequence}:{expected_hash}"));
    head.map(Some).ok_or_else(|| DecodeError::malformed("expected_hash", expected_hash))
}

/// A verdict as the contract sends it.
#[must_use]
pub fn encode_verdict(it: &AuditVerdict) -> v1::VerifyAuditResponse {
    let broken = it.broken.as_ref();
    v1::VerifyAuditResponse {
        records: it.records,
        intact: broken.is_none(),
        first_broken_sequence: broken.map_or(0, |b| b.sequence),
        wrong: broken.map(|b| b.wrong.as_str().to_owned()).unwrap_or_default(),
        text: broken.map(|b| b.text.clone()).unwrap_or_default(),
        last_sequence: it.head.sequence,
        last_hash: it.head.hash.clone(),
        guard: it.guard.clone().unwrap_or_default(),
    }
}

/// A verdict as the model knows it. What is broken in a way that this version has no word for is changed.
#[must_use]
pub fn decode_verdict(it: v1::VerifyAuditResponse) -> AuditVerdict {
    let wrong = Wrong::ALL.into_iter().find(|w| w.as_str() == it.wrong).unwrap_or(Wrong::Changed);
    let broken = Break { sequence: it.first_broken_sequence, wrong, text: it.text };
    AuditVerdict {
        records: it.records,
        head: Head { sequence: it.last_sequence, hash: it.last_hash },
        broken: (!it.intact).then_some(broken),
        guard: some(it.guard),
    }
}
