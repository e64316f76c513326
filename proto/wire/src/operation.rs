//! Operations, holders, enums and times.

use jiff::Timestamp;
use model::{
    fault::Reason,
    lock::Holder,
    operation::{End, Operation, Outcome, State, Verb},
};

use crate::{
    request::{DecodeError, parse_operation_id},
    v1,
};

/// A string that is there; proto3 has no other way to say that it is not.
pub(crate) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A point in time as the contract sends it.
#[must_use]
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

/// A point in time from the contract; `None` when it is absent or out of range.
#[must_use]
pub fn decode_timestamp(at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
}

pub(crate) fn encode_verb(verb: Verb) -> v1::Verb {
    match verb {
        Verb::Reset => v1::Verb::Reset,
        Verb::Migrate => v1::Verb::Migrate,
        Verb::Validate => v1::Verb::Validate,
        Verb::Run => v1::Verb::Run,
        Verb::Undo => v1::Verb::Undo,
    }
}

pub(crate) fn decode_verb(verb: v1::Verb) -> Option<Verb> {
    Verb::ALL.into_iter().find(|v| encode_verb(*v) == verb)
}

pub(crate) fn encode_outcome(outcome: Outcome) -> v1::Outcome {
    match outcome {
        Outcome::Succeeded => v1::Outcome::Succeeded,
        Outcome::Failed => v1::Outcome::Failed,
        Outcome::Differences => v1::Outcome::Differences,
        Outcome::Refused => v1::Outcome::Refused,
        Outcome::Cancelled => v1::Outcome::Cancelled,
        Outcome::Abandoned => v1::Outcome::Abandoned,
    }
}

pub(crate) fn decode_outcome(outcome: v1::Outcome) -> Option<Outcome> {
    Outcome::ALL.into_iter().find(|o| encode_outcome(*o) == outcome)
}

fn encode_state(state: State) -> v1::OperationState {
    match state {
        State::Waiting => v1::OperationState::Waiting,
        State::Running => v1::OperationState::Running,
        State::Committing => v1::OperationState::Committing,
        State::Finished => v1::OperationState::Finished,
    }
}

/// Who holds a lock.
#[must_use]
pub fn encode_holder(holder: &Holder) -> v1::LockHolder {
    v1::LockHolder {
        operation: holder.operation.map(|id| id.to_string()).unwrap_or_default(),
        verb: holder.verb.map(encode_verb).unwrap_or(v1::Verb::Unspecified).into(),
        principal: holder.principal.clone().unwrap_or_default(),
        since: holder.since.map(timestamp),
        pid: holder.pid,
        user: holder.user.clone(),
        application_name: holder.application_name.clone(),
    }
}

/// Who holds a lock, as the model knows it.
#[must_use]
pub fn decode_holder(holder: v1::LockHolder) -> Holder {
    Holder {
        operation: holder.operation.parse().ok(),
        verb: decode_verb(holder.verb()),
        since: decode_timestamp(holder.since),
        principal: some(holder.principal),
        pid: holder.pid,
        user: holder.user,
        application_name: holder.application_name,
    }
}

/// An operation as the contract sends it.
#[must_use]
pub fn encode_operation(it: &Operation) -> v1::Operation {
    let end = it.end.as_ref();
    v1::Operation {
        id: it.id.to_string(),
        request_id: it.request_id.to_string(),
        verb: encode_verb(it.verb).into(),
        target: it.target.clone(),
        database: it.database.clone(),
        scope: it.scope.map(|s| s.to_string()).unwrap_or_default(),
        dry_run: it.dry_run,
        principal: it.principal.clone(),
        auth_method: it.auth_method.clone(),
        labels: it.labels.clone().into_iter().collect(),
        state: encode_state(it.state).into(),
        outcome: end.map_or(v1::Outcome::Unspecified, |e| encode_outcome(e.outcome)).into(),
        reason: end.and_then(|e| e.reason).map(|r| r.name().to_owned()).unwrap_or_default(),
        summary: end.map(|e| e.summary.clone()).unwrap_or_default(),
        last_sequence: it.last_sequence,
        created_at: Some(timestamp(it.created_at)),
        started_at: it.started_at.map(timestamp),
        finished_at: end.map(|e| timestamp(e.at)),
        report_sha256: end.map(|e| e.report_sha256.clone()).unwrap_or_default(),
        exit_code: end.map_or(0, |e| i32::from(e.exit_code())),
        undoable_until: it.undoable_until.map(timestamp),
    }
}

/// An operation as the model knows it.
///
/// # Errors
/// A field that the contract promises is missing or malformed.
pub fn decode_operation(it: v1::Operation) -> Result<Operation, DecodeError> {
    let state = State::ALL.into_iter().find(|s| encode_state(*s) == it.state());
    let created_at = decode_timestamp(it.created_at).ok_or_else(|| DecodeError::missing("created_at"))?;
    let end = decode_outcome(it.outcome()).map(|outcome| End {
        outcome,
        reason: some(it.reason.clone()).map(|r| r.parse().unwrap_or(Reason::Internal)),
        summary: it.summary.clone(),
        at: decode_timestamp(it.finished_at).unwrap_or(created_at),
        report_sha256: it.report_sha256.clone(),
    });
    Ok(Operation {
        id: parse_operation_id(&it.id)?,
        request_id: it
            .request_id
            .parse()
            .map_err(|_| DecodeError::malformed("request_id", &it.request_id))?,
        verb: decode_verb(it.verb()).ok_or_else(|| DecodeError::missing("verb"))?,
        state: state.ok_or_else(|| DecodeError::missing("state"))?,
        scope: it.scope.parse().ok(),
        target: it.target,
        database: it.database,
        dry_run: it.dry_run,
        principal: it.principal,
        auth_method: it.auth_method,
        labels: it.labels.into_iter().collect(),
        end,
        last_sequence: it.last_sequence,
        created_at,
        started_at: decode_timestamp(it.started_at),
        undoable_until: decode_timestamp(it.undoable_until),
    })
}
