//! `docs/report.md` has a row for every key of the report, and for nothing else.

use std::{collections::BTreeSet, fs, path::PathBuf};

use jiff::Timestamp;
use model::{
    blast::{ExtensionMove, OutsideObject, Reference, SchemaProperty, TableGrant},
    fault::{Fault, Reason, Status},
    finding::Finding,
    operation::{Outcome, Verb},
    plan::{Plan, PlannedChain, PlannedSchema, PlannedSession, Refusal},
    profile::Scope,
    report::{
        Details, ErrorDetail, MigrationEntry, Report, ReportDaemon, ReportPrincipal, ResetDatabase,
        ResetDetail, ResetEntry, RevisionEntry, ToolEntry, UndoDetail, UndoEntry,
    },
    validation::{Missing, RevisionCheck, SchemaResult, Summary, TableCheck, Validation},
};
use serde_json::Value;
use uuid::Uuid;

/// Keys whose value is a map with the caller's or the daemon's own keys.
const MAPS: [&str; 4] = ["labels", "chains", "error_detail.metadata", "plan.schemas[].kinds"];

fn finding() -> Finding {
    Finding::warning("CODE", "object", "message", "hint")
}

fn plan() -> Plan {
    Plan {
        database_oid: 1,
        schemas: vec![PlannedSchema::default()],
        outside: vec![OutsideObject::default()],
        chains: vec![PlannedChain {
            schema: String::new(),
            chain: String::new(),
            from: None,
            to: String::new(),
            revisions: Vec::new(),
        }],
        findings: vec![finding()],
        refusal: Some(Refusal { reason: Reason::BlastRadius, text: String::new() }),
        sessions: vec![PlannedSession::default()],
        references: vec![Reference::default()],
        grants: vec![TableGrant::default()],
        schema_properties: vec![SchemaProperty::default()],
        extension_moves: vec![ExtensionMove::default()],
        ..Plan::default()
    }
}

fn validation() -> Validation {
    Validation {
        status: String::new(),
        schema_results: vec![SchemaResult { schema: String::new(), exists: true }],
        table_checks: vec![TableCheck {
            schema: String::new(),
            table: String::new(),
            group: String::new(),
            exists: true,
        }],
        revision_checks: vec![RevisionCheck {
            schema: String::new(),
            expected_revision: String::new(),
            versions: Vec::new(),
            present: true,
        }],
        summary: Summary::default(),
        missing: Missing {
            schemas: vec![SchemaResult { schema: String::new(), exists: false }],
            tables: vec![TableCheck {
                schema: String::new(),
                table: String::new(),
                group: String::new(),
                exists: false,
            }],
            revisions: vec![RevisionCheck {
                schema: String::new(),
                expected_revision: String::new(),
                versions: Vec::new(),
                present: false,
            }],
        },
        unknown_revisions: Vec::new(),
        tool_schemas: Vec::new(),
    }
}

fn details() -> Details {
    Details {
        reset: Some(ResetDetail::Schemas(vec![ResetEntry {
            scope: String::new(),
            schema: String::new(),
            schema_exists_before: true,
            table_count_before: 1,
            schema_exists_after: true,
            table_count_after: 1,
            status: String::new(),
            kept_as: None,
            kept_until: None,
        }])),
        undo: Some(UndoDetail {
            operation: Uuid::nil(),
            scope: Scope::ManagedSchemas,
            status: String::new(),
            schemas: vec![UndoEntry {
                schema: String::new(),
                came_from: None,
                table_count_before: 1,
                table_count_after: 1,
                kept_as: None,
                kept_until: None,
            }],
        }),
        migrations: Some(vec![MigrationEntry {
            schema: String::new(),
            chain: String::new(),
            expected_revision: String::new(),
            status: String::new(),
            applied: Vec::new(),
        }]),
        validation: Some(validation()),
        ..Details::default()
    }
}

/// The other shape of `details.reset`.
fn of_database() -> Report {
    let reset = ResetDetail::Database(ResetDatabase {
        scope: String::new(),
        database: String::new(),
        db_exists_before: true,
        active_connections_before: 1,
        db_exists_after: true,
        status: String::new(),
        kept_as: None,
        kept_until: None,
    });
    Report { details: Details { reset: Some(reset), ..details() }, ..full() }
}

/// A report with something wherever there can be something below.
fn full() -> Report {
    Report {
        status: Status::Error,
        details: details(),
        outcome: Some(Outcome::Failed),
        principal: Some(ReportPrincipal { name: String::new(), auth_method: String::new() }),
        daemon: Some(ReportDaemon { version: String::new(), instance: Uuid::nil() }),
        plan: Some(plan()),
        findings: vec![finding()],
        revisions: vec![RevisionEntry {
            schema: String::new(),
            chain: String::new(),
            revision: String::new(),
            checksum: String::new(),
            statements: 1,
            duration_ms: 1.0,
            status: String::new(),
        }],
        tool: Some(ToolEntry::default()),
        error_detail: Some(ErrorDetail::from(&Fault::new(Reason::Internal, "message"))),
        ..Report::new(Verb::Run, "target", Timestamp::UNIX_EPOCH)
    }
}

fn collect(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    if MAPS.contains(&path) {
        return;
    }
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(&path, member, found);
                found.insert(path);
            }
        }
        Value::Array(entries) => entries.iter().for_each(|entry| collect(&format!("{path}[]"), entry, found)),
        _ => {}
    }
}

fn documented(text: &str) -> Vec<String> {
    let key = |line: &str| Some(line.strip_prefix("| `")?.split_once("` |")?.0.to_owned());
    text.lines().filter_map(key).collect()
}

#[test]
fn every_key_of_the_report_is_documented_once_and_nothing_else_is() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/report.md");
    let rows = documented(&fs::read_to_string(path).unwrap());
    let listed: BTreeSet<String> = rows.iter().cloned().collect();
    let mut keys = BTreeSet::new();
    collect("", &serde_json::to_value(full()).unwrap(), &mut keys);
    collect("", &serde_json::to_value(of_database()).unwrap(), &mut keys);
    assert_eq!(keys.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new(), "not in docs/report.md");
    assert_eq!(listed.difference(&keys).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the report");
    assert_eq!(rows.len(), listed.len(), "a key has two rows");
}
