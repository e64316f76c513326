//! One value of everything that an event can carry, with every field set to something that is not its default.

use model::{
    blast::{Activity, ExtensionMove, OutsideObject, Reference, SchemaProperty, TableGrant},
    event::{
        Accepted, Blocker, ChainCompleted, DatabaseSwapped, EventKind, Finished, Progress, Queued,
        RevisionApplied, SchemaReset, SchemaReturned, ToolStarted,
    },
    fault::{Fault, Reason, SqlSite, Status},
    finding::Finding,
    lock::Holder,
    operation::{Outcome, Verb},
    plan::{Plan, PlannedChain, PlannedSchema, PlannedSession, Refusal, ReturningSchema, ReturningSchemas},
    profile::Scope,
    tool::{Exit, ServerError, Tool, ToolEnded},
    validation::{Missing, RevisionCheck, SchemaResult, Summary, TableCheck, Validation},
    window::Window,
};
use uuid::Uuid;

use crate::{at, map, text};

pub(crate) fn fault() -> Fault {
    Fault::new(Reason::RevisionFailed, "core_002 failed in general")
        .hint("mend the revision")
        .with("revision", "core_002")
        .at(SqlSite {
            sqlstate: Some(text("42P01")),
            schema: Some(text("general")),
            file: Some(text("core/core_002.sql")),
            line: Some(7),
            statement: Some(text("ALTER TABLE nowhere …")),
        })
}

pub(crate) fn finding() -> Finding {
    Finding::warning("SOMETHING", "table general.state", "is odd", "look at it")
}

pub(crate) fn plan() -> Plan {
    Plan {
        digest: text("sha256:abc"),
        target: text("staging"),
        database: text("butlers"),
        database_oid: 16_384,
        scope: Some(Scope::Database),
        schemas: vec![PlannedSchema {
            schema: text("general"),
            exists: true,
            owner: Some(text("app")),
            tables: 8,
            objects: 40,
            estimated_rows: -1,
            bytes: 65_536,
            kinds: [(text("table"), 8)].into(),
            written: 12,
        }],
        outside: vec![OutsideObject {
            kind: text("view"),
            identity: text("reporting.v"),
            owner: Some(text("reporter")),
            estimated_rows: Some(0),
        }],
        references: vec![Reference { kind: text("role"), identity: text("reader"), text: text("reads") }],
        grants: vec![TableGrant {
            schema: text("general"),
            role: text("reader"),
            privileges: vec![text("SELECT*")],
            objects: vec![text("state")],
        }],
        schema_properties: vec![SchemaProperty {
            schema: text("general"),
            kind: text("owner"),
            text: text("app"),
        }],
        extension_moves: vec![ExtensionMove {
            extension: text("hstore"),
            from: text("general"),
            to: text("extensions"),
        }],
        created_extensions: vec![text("vector")],
        activity: Activity { since: Some(at(3)), commits: 1, inserted: 2, updated: 3, deleted: 4 },
        data_limit: Some(text("about 9 rows")),
        tool_command: Some(text("sha256:1f")),
        created_schemas: vec![text("shared")],
        chains: vec![PlannedChain {
            schema: text("general"),
            chain: text("core"),
            from: Some(text("core_001")),
            to: text("core_003"),
            revisions: vec![text("core_002"), text("core_003")],
        }],
        findings: vec![finding()],
        refusal: Some(Refusal { reason: Reason::BlastRadius, text: text("1 object would be lost") }),
        sessions: vec![PlannedSession {
            pid: 7,
            user: text("app"),
            application_name: text("pool"),
            address: text("10.0.0.1"),
            state: text("idle"),
            query_age_seconds: 5,
            in_transaction: true,
            would_end: true,
        }],
        keep_previous_seconds: 86_400,
        brings_back: Some(model::plan::Returning {
            name: "resetd_kept_1".into(),
            oid: 77,
            operation: Uuid::from_u128(4),
            kept_since: at(5),
            kept_until: at(6),
        }),
        brings_back_schemas: Some(ReturningSchemas {
            operation: Uuid::from_u128(8),
            kept_since: at(7),
            kept_until: at(8),
            schemas: vec![
                ReturningSchema {
                    schema: "general".into(),
                    kept_as: Some("resetd_kept_1_general".into()),
                    oid: Some(17),
                    tables: 3,
                    estimated_rows: 4,
                    bytes: 5,
                },
                ReturningSchema { schema: "health".into(), ..ReturningSchema::default() },
            ],
        }),
    }
}

pub(crate) fn validation() -> Validation {
    Validation {
        status: text("failed"),
        schema_results: vec![SchemaResult { schema: text("general"), exists: true }],
        table_checks: vec![TableCheck {
            schema: text("general"),
            table: text("state"),
            group: text("core"),
            exists: true,
        }],
        revision_checks: vec![RevisionCheck {
            schema: text("general"),
            expected_revision: text("core_001"),
            versions: vec![text("core_000")],
            present: false,
        }],
        summary: Summary {
            schemas_checked: 1,
            tables_checked: 2,
            revisions_checked: 3,
            missing_schemas: 4,
            missing_tables: 5,
            missing_revisions: 6,
        },
        missing: Missing {
            schemas: vec![SchemaResult { schema: text("shared"), exists: false }],
            tables: vec![TableCheck {
                schema: text("general"),
                table: text("facts"),
                group: text("memory"),
                exists: false,
            }],
            revisions: vec![RevisionCheck {
                schema: text("general"),
                expected_revision: text("core_001"),
                versions: vec![],
                present: false,
            }],
        },
        unknown_revisions: vec![text("general:core_000")],
        tool_schemas: vec![text("app")],
    }
}

pub(crate) fn holder() -> Holder {
    Holder {
        operation: Some(Uuid::from_u128(9)),
        verb: Some(Verb::Undo),
        principal: Some(text("cert:deploy")),
        since: Some(at(1)),
        pid: 4_711,
        user: text("resetd"),
        application_name: text("resetd staging op=9"),
    }
}

pub(crate) fn accepted() -> Accepted {
    Accepted {
        verb: Verb::Run,
        target: text("staging"),
        database: text("butlers"),
        scope: Some(Scope::ManagedSchemas),
        dry_run: true,
        principal: text("unix:alice"),
        auth_method: text("peer credentials"),
        labels: map("commit", "abc"),
        instance: Uuid::from_u128(3),
        version: text("0.1.0"),
        chains: map("core", "sha256:def"),
        client_chains: true,
        phased: true,
        report_required: true,
        target_env_var: Some(text("STAGING_URL")),
    }
}

pub(crate) fn revision_applied() -> RevisionApplied {
    RevisionApplied {
        schema: text("general"),
        chain: text("core"),
        revision: text("core_002"),
        checksum: text("ab12"),
        statements: 17,
        duration_us: 3_500,
    }
}

pub(crate) fn finished() -> Finished {
    Finished {
        outcome: Outcome::Failed,
        status: Status::Error,
        summary: text("core_002 failed"),
        report_sha256: text("ff00"),
        error: Some(fault()),
    }
}

pub(crate) fn window() -> Window {
    Window {
        id: Uuid::from_u128(21),
        target: text("staging"),
        principal: text("unix:alice"),
        reason: text("rehearsal"),
        starts_at: at(4),
        ends_at: at(5),
        etag: Uuid::from_u128(22),
        released_at: Some(at(6)),
    }
}

pub(crate) fn blocker() -> Blocker {
    Blocker {
        pid: 12,
        user: text("app"),
        application_name: text("psql"),
        state: text("idle in transaction"),
        query: text("SELECT 1"),
        since: Some(at(2)),
        query_since: Some(at(3)),
        gid: text("prepared"),
    }
}

pub(crate) fn tool() -> Tool {
    Tool {
        commit: Some(text("1a2b3c")),
        clean: Some(false),
        files_sha256: Some(format!("sha256:{}", "1f".repeat(32))),
        ..Tool::of("alembic upgrade head")
    }
}

fn tool_ended() -> ToolEnded {
    ToolEnded {
        exit: Exit { code: Some(3), signal: Some(9), output: text("Running upgrade") },
        connections: 2,
        statements: 40,
        last_error: Some(ServerError {
            sqlstate: text("42P01"),
            message: text("no such table"),
            statement: Some(text("SELECT * FROM x")),
        }),
    }
}

/// One event of every kind, every field set to something that is not its default. The `match` makes a new kind fail to
/// compile until it is added here.
pub(crate) fn every_kind() -> Vec<EventKind> {
    let counted = |kind: &EventKind| match kind {
        EventKind::Accepted(_)
        | EventKind::Queued(_)
        | EventKind::LockAcquired { .. }
        | EventKind::Planned { .. }
        | EventKind::FindingReported { .. }
        | EventKind::SchemaReset(_)
        | EventKind::SchemaReturned(_)
        | EventKind::RevisionApplied(_)
        | EventKind::ChainCompleted(_)
        | EventKind::Validated { .. }
        | EventKind::CommitPrepared { .. }
        | EventKind::CancelRequested { .. }
        | EventKind::DatabaseBuilt { .. }
        | EventKind::DatabaseSwapped(_)
        | EventKind::ToolStarted(_)
        | EventKind::ToolConnected { .. }
        | EventKind::ToolEnded(_)
        | EventKind::Finished(_)
        | EventKind::Progress(_)
        | EventKind::Blocked { .. }
        | EventKind::Heartbeat => kind.code(),
    };
    let kinds = vec![
        EventKind::Accepted(accepted()),
        EventKind::Queued(Queued { position: 2, holder: Some(holder()), window: Some(window()) }),
        EventKind::LockAcquired { shared: true, pid: 99 },
        EventKind::Planned { plan: Box::new(plan()) },
        EventKind::FindingReported { finding: finding() },
        EventKind::SchemaReset(SchemaReset {
            schema: text("general"),
            existed_before: true,
            tables_before: 8,
            exists_after: true,
            tables_after: 1,
            kept_as: Some(text("aside")),
            kept_until: Some(at(86_400)),
        }),
        EventKind::SchemaReturned(SchemaReturned {
            schema: text("general"),
            undoes: Uuid::from_u128(7),
            came_from: Some(text("aside")),
            tables: 8,
            kept_as: Some(text("aside_too")),
            kept_until: Some(at(86_400)),
        }),
        EventKind::RevisionApplied(revision_applied()),
        EventKind::ChainCompleted(ChainCompleted {
            schema: text("general"),
            chain: text("core"),
            head: text("core_002"),
            applied: vec![text("core_001"), text("core_002")],
        }),
        EventKind::Validated { validation: Box::new(validation()) },
        EventKind::CommitPrepared { transaction_id: text("7654") },
        EventKind::CancelRequested { principal: text("unix:bob"), reason: text("wrong target") },
        EventKind::DatabaseBuilt { database: text("rsd_new_1"), oid: 20_001 },
        EventKind::DatabaseSwapped(DatabaseSwapped {
            new_oid: 20_001,
            old_oid: Some(16_384),
            database: text("butlers"),
            connections_before: 3,
            unavailable_us: 12_345,
            kept_as: Some(text("rsd_old_1")),
            kept_until: Some(at(86_400)),
        }),
        EventKind::ToolStarted(ToolStarted { tool: tool(), role: text("resetd_tool_1") }),
        EventKind::ToolConnected { application_name: text("psql") },
        EventKind::ToolEnded(Box::new(tool_ended())),
        EventKind::Finished(Box::new(finished())),
        EventKind::Progress(Progress { phase: text("migrate"), done: 3, total: 9, current: text("general") }),
        EventKind::Blocked { waiting: text("DROP SCHEMA general"), blockers: vec![blocker()] },
        EventKind::Heartbeat,
    ];
    let mut codes: Vec<_> = kinds.iter().map(counted).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), 21, "one event of each kind");
    kinds
}
