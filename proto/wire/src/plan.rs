//! Plans and findings.

use model::{
    blast::{Activity, ExtensionMove, OutsideObject, Reference, SchemaProperty, TableGrant},
    fault::Reason,
    finding::{Finding, Severity},
    plan::{
        Plan, PlannedChain, PlannedSchema, PlannedSession, Refusal, Returning, ReturningSchema,
        ReturningSchemas,
    },
};

use crate::{
    operation::{decode_timestamp, some, timestamp},
    v1,
};

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
        refusal: plan.refusal.as_ref().map(|r| r.reason.name().to_owned()).unwrap_or_default(),
        refusal_text: plan.refusal.as_ref().map(|r| r.text.clone()).unwrap_or_default(),
        created_schemas: plan.created_schemas.clone(),
        sessions: plan.sessions.iter().map(encode_session).collect(),
        keep_previous_seconds: plan.keep_previous_seconds,
        references: plan.references.iter().map(encode_reference).collect(),
        grants: plan.grants.iter().map(encode_grant).collect(),
        schema_properties: plan.schema_properties.iter().map(encode_schema_property).collect(),
        extension_moves: plan.extension_moves.iter().map(encode_move).collect(),
        created_extensions: plan.created_extensions.clone(),
        activity: Some(encode_activity(&plan.activity)),
        data_limit: plan.data_limit.clone().unwrap_or_default(),
        tool_command: plan.tool_command.clone().unwrap_or_default(),
        brings_back: plan.brings_back.as_ref().map(encode_returning),
        brings_back_schemas: plan.brings_back_schemas.as_ref().map(encode_returning_schemas),
    }
}

pub(crate) fn decode_plan(plan: v1::Plan) -> Plan {
    let reason = some(plan.refusal).map(|r| r.parse().unwrap_or(Reason::Internal));
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
        refusal: reason.map(|reason| Refusal { reason, text: plan.refusal_text }),
        sessions: plan.sessions.into_iter().map(decode_session).collect(),
        keep_previous_seconds: plan.keep_previous_seconds,
        references: plan.references.into_iter().map(decode_reference).collect(),
        grants: plan.grants.into_iter().map(decode_grant).collect(),
        schema_properties: plan.schema_properties.into_iter().map(decode_schema_property).collect(),
        extension_moves: plan.extension_moves.into_iter().map(decode_move).collect(),
        created_extensions: plan.created_extensions,
        activity: plan.activity.map(decode_activity).unwrap_or_default(),
        data_limit: some(plan.data_limit),
        tool_command: some(plan.tool_command),
        brings_back: plan.brings_back.and_then(decode_returning),
        brings_back_schemas: plan.brings_back_schemas.and_then(decode_returning_schemas),
    }
}

fn encode_returning(it: &Returning) -> v1::ReturningDatabase {
    v1::ReturningDatabase {
        name: it.name.clone(),
        oid: it.oid,
        operation: it.operation.to_string(),
        kept_since: Some(timestamp(it.kept_since)),
        kept_until: Some(timestamp(it.kept_until)),
    }
}

/// `None` where something of it is missing: the plan's text says the rest.
fn decode_returning(it: v1::ReturningDatabase) -> Option<Returning> {
    Some(Returning {
        name: it.name,
        oid: it.oid,
        operation: it.operation.parse().ok()?,
        kept_since: decode_timestamp(it.kept_since)?,
        kept_until: decode_timestamp(it.kept_until)?,
    })
}

fn encode_returning_schemas(it: &ReturningSchemas) -> v1::ReturningSchemas {
    let schema = |it: &ReturningSchema| v1::ReturningSchema {
        schema: it.schema.clone(),
        kept_as: it.kept_as.clone().unwrap_or_default(),
        oid: it.oid.unwrap_or_default(),
        tables: it.tables,
        estimated_rows: it.estimated_rows,
        bytes: it.bytes,
    };
    v1::ReturningSchemas {
        operation: it.operation.to_string(),
        kept_since: Some(timestamp(it.kept_since)),
        kept_until: Some(timestamp(it.kept_until)),
        schemas: it.schemas.iter().map(schema).collect(),
    }
}

/// `None` where something of it is missing: the plan's text says the rest.
fn decode_returning_schemas(it: v1::ReturningSchemas) -> Option<ReturningSchemas> {
    let schema = |it: v1::ReturningSchema| ReturningSchema {
        schema: it.schema,
        kept_as: some(it.kept_as),
        oid: (it.oid != 0).then_some(it.oid),
        tables: it.tables,
        estimated_rows: it.estimated_rows,
        bytes: it.bytes,
    };
    Some(ReturningSchemas {
        operation: it.operation.parse().ok()?,
        kept_since: decode_timestamp(it.kept_since)?,
        kept_until: decode_timestamp(it.kept_until)?,
        schemas: it.schemas.into_iter().map(schema).collect(),
    })
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
        kinds: it.kinds.clone().into_iter().collect(),
        written: it.written,
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
        kinds: it.kinds.into_iter().collect(),
        written: it.written,
    }
}

fn encode_outside(it: &OutsideObject) -> v1::OutsideObject {
    v1::OutsideObject {
        kind: it.kind.clone(),
        identity: it.identity.clone(),
        owner: it.owner.clone().unwrap_or_default(),
        estimated_rows: it.estimated_rows.unwrap_or(-1),
    }
}

fn decode_outside(it: v1::OutsideObject) -> OutsideObject {
    OutsideObject {
        kind: it.kind,
        identity: it.identity,
        owner: some(it.owner),
        estimated_rows: (it.estimated_rows >= 0).then_some(it.estimated_rows),
    }
}

fn encode_reference(it: &Reference) -> v1::Reference {
    v1::Reference { kind: it.kind.clone(), identity: it.identity.clone(), text: it.text.clone() }
}

fn decode_reference(it: v1::Reference) -> Reference {
    Reference { kind: it.kind, identity: it.identity, text: it.text }
}

fn encode_grant(it: &TableGrant) -> v1::TableGrant {
    v1::TableGrant {
        schema: it.schema.clone(),
        role: it.role.clone(),
        privileges: it.privileges.clone(),
        objects: it.objects.clone(),
    }
}

fn decode_grant(it: v1::TableGrant) -> TableGrant {
    TableGrant { schema: it.schema, role: it.role, privileges: it.privileges, objects: it.objects }
}

fn encode_schema_property(it: &SchemaProperty) -> v1::SchemaProperty {
    v1::SchemaProperty { schema: it.schema.clone(), kind: it.kind.clone(), text: it.text.clone() }
}

fn decode_schema_property(it: v1::SchemaProperty) -> SchemaProperty {
    SchemaProperty { schema: it.schema, kind: it.kind, text: it.text }
}

fn encode_move(it: &ExtensionMove) -> v1::ExtensionMove {
    v1::ExtensionMove { extension: it.extension.clone(), from: it.from.clone(), to: it.to.clone() }
}

fn decode_move(it: v1::ExtensionMove) -> ExtensionMove {
    ExtensionMove { extension: it.extension, from: it.from, to: it.to }
}

fn encode_activity(it: &Activity) -> v1::Activity {
    v1::Activity {
        since: it.since.map(timestamp),
        commits: it.commits,
        inserted: it.inserted,
        updated: it.updated,
        deleted: it.deleted,
    }
}

fn decode_activity(it: v1::Activity) -> Activity {
    Activity {
        since: decode_timestamp(it.since),
        commits: it.commits,
        inserted: it.inserted,
        updated: it.updated,
        deleted: it.deleted,
    }
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
