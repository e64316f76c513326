//! Plans and findings.

use model::{
    blast::OutsideObject,
    fault::Reason,
    finding::{Finding, Severity},
    plan::{Plan, PlannedChain, PlannedSchema, PlannedSession, Refusal},
};

use crate::{operation::some, v1};

pub(crate) fn encode_plan(plan: &Plan) -> v1::Plan {
    v1::Plan {
        digest: plan.digest.clone(),
        target: plan.target.clone(),
        database: plan.database.clone(),
        database_oid: plan.database_oid,
        scope: plan.scope.map(|s| s.to_string()).unwrap_or_default(),
        schemas: plan.schemas.iter().map(encode_schema).collect(),
        outside: plan.outside.iter().map(encode_outside).collect(),
        chains: plan.chains.iter().map(encode_chain).collect(),
        findings: plan.findings.iter().map(encode_finding).collect(),
        would_refuse: plan.would_refuse.as_ref().map(|r| r.reason.name().to_owned()).unwrap_or_default(),
        would_refuse_text: plan.would_refuse.as_ref().map(|r| r.text.clone()).unwrap_or_default(),
        created_schemas: plan.created_schemas.clone(),
        sessions: plan.sessions.iter().map(encode_session).collect(),
        keep_previous_seconds: plan.keep_previous_seconds,
    }
}

pub(crate) fn decode_plan(plan: v1::Plan) -> Plan {
    let reason = some(plan.would_refuse).map(|r| r.parse().unwrap_or(Reason::Internal));
    Plan {
        digest: plan.digest,
        target: plan.target,
        database: plan.database,
        database_oid: plan.database_oid,
        scope: plan.scope.parse().ok(),
        schemas: plan.schemas.into_iter().map(decode_schema).collect(),
        outside: plan.outside.into_iter().map(decode_outside).collect(),
        created_schemas: plan.created_schemas,
        chains: plan.chains.into_iter().map(decode_chain).collect(),
        findings: plan.findings.into_iter().map(decode_finding).collect(),
        would_refuse: reason.map(|reason| Refusal { reason, text: plan.would_refuse_text }),
        sessions: plan.sessions.into_iter().map(decode_session).collect(),
        keep_previous_seconds: plan.keep_previous_seconds,
    }
}

fn encode_schema(it: &PlannedSchema) -> v1::PlannedSchema {
    v1::PlannedSchema {
        schema: it.schema.clone(),
        exists: it.exists,
        owner: it.owner.clone().unwrap_or_default(),
        tables: it.tables,
        objects: it.objects,
        estimated_rows: it.estimated_rows,
        bytes: it.bytes,
    }
}

fn decode_schema(it: v1::PlannedSchema) -> PlannedSchema {
    PlannedSchema {
        schema: it.schema,
        exists: it.exists,
        owner: some(it.owner),
        tables: it.tables,
        objects: it.objects,
        estimated_rows: it.estimated_rows,
        bytes: it.bytes,
    }
}

fn encode_outside(it: &OutsideObject) -> v1::OutsideObject {
    v1::OutsideObject { kind: it.kind.clone(), identity: it.identity.clone() }
}

fn decode_outside(it: v1::OutsideObject) -> OutsideObject {
    OutsideObject { kind: it.kind, identity: it.identity }
}

fn encode_chain(it: &PlannedChain) -> v1::PlannedChain {
    v1::PlannedChain {
        schema: it.schema.clone(),
        chain: it.chain.clone(),
        from: it.from.clone().unwrap_or_default(),
        to: it.to.clone(),
        revisions: it.revisions.clone(),
    }
}

fn decode_chain(it: v1::PlannedChain) -> PlannedChain {
    PlannedChain {
        schema: it.schema,
        chain: it.chain,
        from: some(it.from),
        to: it.to,
        revisions: it.revisions,
    }
}

pub(crate) fn encode_finding(it: &Finding) -> v1::Finding {
    v1::Finding {
        code: it.code.clone(),
        severity: it.severity.as_str().to_owned(),
        object: it.object.clone(),
        message: it.message.clone(),
        hint: it.hint.clone(),
    }
}

pub(crate) fn decode_finding(it: v1::Finding) -> Finding {
    let severity = match it.severity.as_str() {
        "info" => Severity::Info,
        "warning" => Severity::Warning,
        _ => Severity::Error,
    };
    Finding { code: it.code, severity, object: it.object, message: it.message, hint: it.hint }
}

fn encode_session(it: &PlannedSession) -> v1::PlannedSession {
    v1::PlannedSession {
        pid: it.pid,
        user: it.user.clone(),
        application_name: it.application_name.clone(),
        address: it.address.clone(),
        state: it.state.clone(),
        query_age_seconds: it.query_age_seconds,
        in_transaction: it.in_transaction,
        would_end: it.would_end,
    }
}

fn decode_session(it: v1::PlannedSession) -> PlannedSession {
    PlannedSession {
        pid: it.pid,
        user: it.user,
        application_name: it.application_name,
        address: it.address,
        state: it.state,
        query_age_seconds: it.query_age_seconds,
        in_transaction: it.in_transaction,
        would_end: it.would_end,
    }
}
