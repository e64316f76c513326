//! Events, in both directions. A kind that this version does not know still has its code, severity and text.

mod schemas;

use jiff::Timestamp;
use model::{
    event::{
        Accepted, Blocker, ChainCompleted, DatabaseSwapped, Event, EventKind, Finished, Progress, Queued,
        RevisionApplied,
    },
    fault::{Fault, Reason, SqlSite, Status},
    finding::Severity,
    operation::Outcome,
    validation::Validation,
};
use uuid::Uuid;
use v1::operation_event::Payload;

use crate::{
    gateway,
    operation::{
        decode_holder, decode_outcome, decode_timestamp, decode_verb, encode_holder, encode_outcome,
        encode_verb, some, timestamp,
    },
    plan::{decode_finding, decode_plan, encode_finding, encode_plan},
    request::DecodeError,
    v1,
    window::{decode_window, encode_window},
};

use schemas::{decode_schema_reset, decode_schema_returned, encode_schema_reset, encode_schema_returned};

/// An event as a client receives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// 1, 2, 3… for milestones, 0 for ephemeral events.
    pub sequence: u64,
    /// The operation.
    pub operation: Uuid,
    /// When.
    pub at: Timestamp,
    /// Stable name of the kind.
    pub code: String,
    /// How much a person should care.
    pub severity: Severity,
    /// One line for a person.
    pub text: String,
    /// The typed facts; `None` for a kind of a newer daemon.
    pub kind: Option<EventKind>,
    /// The exit code, on the last event.
    pub exit_code: Option<u8>,
}

/// An event as the contract sends it.
#[must_use]
pub fn encode_event(event: &Event) -> v1::OperationEvent {
    v1::OperationEvent {
        sequence: event.sequence,
        operation: event.operation.to_string(),
        occurred_at: Some(timestamp(event.at)),
        code: event.kind.code().to_owned(),
        severity: match event.kind.severity() {
            Severity::Info => v1::Severity::Info,
            Severity::Warning => v1::Severity::Warning,
            Severity::Error => v1::Severity::Error,
        }
        .into(),
        text: event.kind.text(),
        payload: Some(encode_kind(&event.kind)),
    }
}

/// An event from the contract.
///
/// # Errors
/// The operation's id or the time is missing or malformed.
pub fn decode_event(event: v1::OperationEvent) -> Result<Received, DecodeError> {
    let severity = match event.severity() {
        v1::Severity::Error => Severity::Error,
        v1::Severity::Warning => Severity::Warning,
        _ => Severity::Info,
    };
    let exit_code = match &event.payload {
        Some(Payload::Finished(end)) => {
            Some(u8::try_from(end.exit_code).unwrap_or(model::fault::exit::FAILED))
        }
        _ => None,
    };
    Ok(Received {
        sequence: event.sequence,
        operation: crate::parse_operation_id(&event.operation)?,
        at: decode_timestamp(event.occurred_at).ok_or_else(|| DecodeError::missing("occurred_at"))?,
        code: event.code,
        severity,
        text: event.text,
        kind: event.payload.and_then(decode_kind),
        exit_code,
    })
}

fn encode_kind(kind: &EventKind) -> Payload {
    match kind {
        EventKind::Accepted(it) => Payload::Accepted(encode_accepted(it)),
        EventKind::Queued(it) => Payload::Queued(v1::Queued {
            position: it.position,
            holder: it.holder.as_ref().map(encode_holder),
            window: it.window.as_ref().map(encode_window),
        }),
        EventKind::LockAcquired { shared, pid } => {
            Payload::LockAcquired(v1::LockAcquired { shared: *shared, pid: *pid })
        }
        EventKind::Planned { plan } => Payload::Planned(v1::Planned { plan: Some(encode_plan(plan)) }),
        EventKind::FindingReported { finding } => {
            Payload::FindingReported(v1::FindingReported { finding: Some(encode_finding(finding)) })
        }
        EventKind::SchemaReset(it) => Payload::SchemaReset(encode_schema_reset(it)),
        EventKind::SchemaReturned(it) => Payload::SchemaReturned(encode_schema_returned(it)),
        EventKind::RevisionApplied(it) => Payload::RevisionApplied(encode_revision(it)),
        EventKind::ChainCompleted(it) => Payload::ChainCompleted(encode_chain(it)),
        EventKind::Validated { validation } => Payload::Validated(encode_validation(validation)),
        EventKind::CommitPrepared { transaction_id } => {
            Payload::CommitPrepared(v1::CommitPrepared { transaction_id: transaction_id.clone() })
        }
        EventKind::CancelRequested { principal, reason } => Payload::CancelRequested(v1::CancelRequested {
            principal: principal.clone(),
            reason: reason.clone(),
        }),
        EventKind::DatabaseBuilt { database, oid } => {
            Payload::DatabaseBuilt(v1::DatabaseBuilt { database: database.clone(), oid: *oid })
        }
        EventKind::DatabaseSwapped(it) => Payload::DatabaseSwapped(encode_swapped(it)),
        EventKind::ToolStarted(it) => gateway::encode_started(it),
        EventKind::ToolConnected { application_name } => gateway::encode_connected(application_name),
        EventKind::ToolEnded(it) => gateway::encode_ended(it),
        EventKind::Finished(it) => Payload::Finished(encode_finished(it)),
        EventKind::Progress(it) => Payload::Progress(v1::Progress {
            phase: it.phase.clone(),
            done: it.done,
            total: it.total,
            current: it.current.clone(),
        }),
        EventKind::Blocked { waiting, blockers } => Payload::Blocked(v1::Blocked {
            waiting: waiting.clone(),
            blockers: blockers.iter().map(encode_blocker).collect(),
        }),
        EventKind::Heartbeat => Payload::Heartbeat(v1::Heartbeat {}),
    }
}

fn decode_kind(payload: Payload) -> Option<EventKind> {
    Some(match payload {
        Payload::Accepted(it) => EventKind::Accepted(decode_accepted(it)?),
        Payload::Queued(it) => EventKind::Queued(Queued {
            position: it.position,
            holder: it.holder.map(decode_holder),
            window: it.window.and_then(|window| decode_window(window).ok()),
        }),
        Payload::LockAcquired(it) => EventKind::LockAcquired { shared: it.shared, pid: it.pid },
        Payload::Planned(it) => EventKind::Planned { plan: Box::new(decode_plan(it.plan?)) },
        Payload::FindingReported(it) => EventKind::FindingReported { finding: decode_finding(it.finding?) },
        Payload::SchemaReset(it) => EventKind::SchemaReset(decode_schema_reset(it)),
        Payload::SchemaReturned(it) => EventKind::SchemaReturned(decode_schema_returned(it)?),
        Payload::RevisionApplied(it) => EventKind::RevisionApplied(decode_revision(it)),
        Payload::ChainCompleted(it) => EventKind::ChainCompleted(decode_chain(it)),
        Payload::Validated(it) => EventKind::Validated { validation: Box::new(decode_validation(&it)?) },
        Payload::CommitPrepared(it) => EventKind::CommitPrepared { transaction_id: it.transaction_id },
        Payload::CancelRequested(it) => {
            EventKind::CancelRequested { principal: it.principal, reason: it.reason }
        }
        Payload::DatabaseBuilt(it) => EventKind::DatabaseBuilt { database: it.database, oid: it.oid },
        Payload::DatabaseSwapped(it) => EventKind::DatabaseSwapped(decode_swapped(it)),
        Payload::ToolStarted(it) => gateway::decode_started(it)?,
        Payload::ToolConnected(it) => EventKind::ToolConnected { application_name: it.application_name },
        Payload::ToolEnded(it) => gateway::decode_ended(it)?,
        Payload::Finished(it) => EventKind::Finished(Box::new(decode_finished(it)?)),
        Payload::Progress(it) => EventKind::Progress(Progress {
            phase: it.phase,
            done: it.done,
            total: it.total,
            current: it.current,
        }),
        Payload::Blocked(it) => EventKind::Blocked {
            waiting: it.waiting,
            blockers: it.blockers.into_iter().map(decode_blocker).collect(),
        },
        Payload::Heartbeat(_) => EventKind::Heartbeat,
    })
}

fn encode_accepted(it: &Accepted) -> v1::Accepted {
    v1::Accepted {
        verb: encode_verb(it.verb).into(),
        target: it.target.clone(),
        database: it.database.clone(),
        scope: it.scope.map(|s| s.to_string()).unwrap_or_default(),
        dry_run: it.dry_run,
        principal: it.principal.clone(),
        auth_method: it.auth_method.clone(),
        labels: it.labels.clone().into_iter().collect(),
        instance: it.instance.to_string(),
        version: it.version.clone(),
        chains: it.chains.clone().into_iter().collect(),
        client_chains: it.client_chains,
        phased: it.phased,
        report_required: it.report_required,
        target_env_var: it.target_env_var.clone().unwrap_or_default(),
    }
}

fn decode_accepted(it: v1::Accepted) -> Option<Accepted> {
    Some(Accepted {
        verb: decode_verb(it.verb())?,
        scope: it.scope.parse().ok(),
        target: it.target,
        database: it.database,
        dry_run: it.dry_run,
        principal: it.principal,
        auth_method: it.auth_method,
        labels: it.labels.into_iter().collect(),
        instance: it.instance.parse().ok()?,
        version: it.version,
        chains: it.chains.into_iter().collect(),
        client_chains: it.client_chains,
        phased: it.phased,
        report_required: it.report_required,
        target_env_var: (!it.target_env_var.is_empty()).then_some(it.target_env_var),
    })
}

fn encode_revision(it: &RevisionApplied) -> v1::RevisionApplied {
    v1::RevisionApplied {
        schema: it.schema.clone(),
        chain: it.chain.clone(),
        revision: it.revision.clone(),
        checksum: it.checksum.clone(),
        statements: it.statements,
        duration_us: it.duration_us,
    }
}

fn decode_revision(it: v1::RevisionApplied) -> RevisionApplied {
    RevisionApplied {
        schema: it.schema,
        chain: it.chain,
        revision: it.revision,
        checksum: it.checksum,
        statements: it.statements,
        duration_us: it.duration_us,
    }
}

fn encode_chain(it: &ChainCompleted) -> v1::ChainCompleted {
    v1::ChainCompleted {
        schema: it.schema.clone(),
        chain: it.chain.clone(),
        head: it.head.clone(),
        applied: it.applied.clone(),
    }
}

fn decode_chain(it: v1::ChainCompleted) -> ChainCompleted {
    ChainCompleted { schema: it.schema, chain: it.chain, head: it.head, applied: it.applied }
}

fn encode_validation(it: &Validation) -> v1::Validated {
    let counted = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    v1::Validated {
        result_json: serde_json::to_string(it).unwrap_or_default(),
        ok: it.is_ok(),
        schemas_checked: counted(it.summary.schemas_checked),
        tables_checked: counted(it.summary.tables_checked),
        revisions_checked: counted(it.summary.revisions_checked),
        missing_schemas: it.missing.schema_names(),
        missing_tables: it.missing.table_names(),
        missing_revisions: it.missing.revision_names(),
        unknown_revisions: it.unknown_revisions.clone(),
    }
}

fn decode_validation(it: &v1::Validated) -> Option<Validation> {
    serde_json::from_str(&it.result_json).ok()
}

fn encode_swapped(it: &DatabaseSwapped) -> v1::DatabaseSwapped {
    v1::DatabaseSwapped {
        new_oid: it.new_oid,
        old_oid: it.old_oid.unwrap_or_default(),
        kept_as: it.kept_as.clone().unwrap_or_default(),
        kept_until: it.kept_until.map(timestamp),
        database: it.database.clone(),
        connections_before: it.connections_before,
        unavailable_us: it.unavailable_us,
    }
}

fn decode_swapped(it: v1::DatabaseSwapped) -> DatabaseSwapped {
    DatabaseSwapped {
        new_oid: it.new_oid,
        old_oid: (it.old_oid != 0).then_some(it.old_oid),
        database: it.database,
        connections_before: it.connections_before,
        unavailable_us: it.unavailable_us,
        kept_until: decode_timestamp(it.kept_until),
        kept_as: some(it.kept_as),
    }
}

fn encode_finished(it: &Finished) -> v1::Finished {
    v1::Finished {
        outcome: encode_outcome(it.outcome).into(),
        status: it.status.as_str().to_owned(),
        reason: it.error.as_ref().map(|e| e.reason.name().to_owned()).unwrap_or_default(),
        summary: it.summary.clone(),
        exit_code: i32::from(it.exit_code()),
        report_sha256: it.report_sha256.clone(),
        error: it.error.as_ref().map(encode_error),
    }
}

fn decode_finished(it: v1::Finished) -> Option<Finished> {
    let outcome: Outcome = decode_outcome(it.outcome())?;
    let status = match it.status.as_str() {
        "ok" => Status::Ok,
        "failed" => Status::Failed,
        _ => Status::Error,
    };
    let error = it.error.map(decode_error);
    Some(Finished { outcome, status, summary: it.summary, report_sha256: it.report_sha256, error })
}

fn encode_error(it: &Fault) -> v1::ErrorDetail {
    let sql = it.sql.clone();
    v1::ErrorDetail {
        reason: it.reason.name().to_owned(),
        message: it.message.clone(),
        sqlstate: sql.sqlstate.unwrap_or_default(),
        file: sql.file.unwrap_or_default(),
        line: sql.line.unwrap_or_default(),
        statement: sql.statement.unwrap_or_default(),
        hint: it.hint.clone().unwrap_or_default(),
        metadata: it.metadata.clone().into_iter().collect(),
        schema: sql.schema.unwrap_or_default(),
    }
}

fn decode_error(it: v1::ErrorDetail) -> Fault {
    Fault {
        reason: it.reason.parse().unwrap_or(Reason::Internal),
        message: it.message,
        hint: some(it.hint),
        metadata: it.metadata.into_iter().collect(),
        sql: SqlSite {
            sqlstate: some(it.sqlstate),
            schema: some(it.schema),
            file: some(it.file),
            line: (it.line > 0).then_some(it.line),
            statement: some(it.statement),
        },
    }
}

fn encode_blocker(it: &Blocker) -> v1::Blocker {
    v1::Blocker {
        pid: it.pid,
        user: it.user.clone(),
        application_name: it.application_name.clone(),
        state: it.state.clone(),
        query: it.query.clone(),
        since: it.since.map(timestamp),
        query_since: it.query_since.map(timestamp),
        gid: it.gid.clone(),
    }
}

fn decode_blocker(it: v1::Blocker) -> Blocker {
    Blocker {
        pid: it.pid,
        user: it.user,
        application_name: it.application_name,
        state: it.state,
        query: it.query,
        since: decode_timestamp(it.since),
        query_since: decode_timestamp(it.query_since),
        gid: it.gid,
    }
}
