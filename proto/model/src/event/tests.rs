//! Codes, weights, severities and phrases of every kind of event.

use std::collections::BTreeSet;

use super::*;
use crate::{fault::Reason, matrix::Matrix, testing};

/// One of each kind; a new kind does not compile until it has a number here, and fails until it has a sample.
fn number(kind: &EventKind) -> usize {
    match kind {
        EventKind::Accepted(_) => 0,
        EventKind::Queued(_) => 1,
        EventKind::LockAcquired { .. } => 2,
        EventKind::Planned { .. } => 3,
        EventKind::FindingReported { .. } => 4,
        EventKind::SchemaReset(_) => 5,
        EventKind::RevisionApplied(_) => 6,
        EventKind::ChainCompleted(_) => 7,
        EventKind::Validated { .. } => 8,
        EventKind::CommitPrepared { .. } => 9,
        EventKind::CancelRequested { .. } => 10,
        EventKind::DatabaseBuilt { .. } => 11,
        EventKind::DatabaseSwapped(_) => 12,
        EventKind::Finished(_) => 13,
        EventKind::Progress(_) => 14,
        EventKind::Blocked { .. } => 15,
        EventKind::Heartbeat => 16,
        EventKind::SchemaReturned(_) => 17,
        EventKind::ToolStarted(_) => 18,
        EventKind::ToolConnected { .. } => 19,
        EventKind::ToolEnded(_) => 20,
    }
}

const KINDS: usize = 21;

fn planned(observed: &crate::plan::Observation) -> EventKind {
    let matrix = Matrix::builtin_default();
    let plan = Plan::compute(&testing::request(Verb::Run), "butlers", &matrix, &testing::chains(), observed);
    EventKind::Planned { plan: Box::new(plan) }
}

fn validated(observed: &crate::plan::Observation) -> EventKind {
    let validation = Validation::compute(&Matrix::builtin_default(), &testing::chains(), observed);
    EventKind::Validated { validation: Box::new(validation) }
}

fn holder() -> Holder {
    Holder {
        operation: Some(Uuid::from_u128(1)),
        verb: Some(Verb::Run),
        principal: Some("unix:bob".to_owned()),
        since: Some(Timestamp::UNIX_EPOCH),
        pid: 7,
        user: "resetd".to_owned(),
        application_name: "resetd".to_owned(),
    }
}

fn blocker(pid: i32) -> Blocker {
    Blocker {
        pid,
        user: "app".to_owned(),
        application_name: "worker".to_owned(),
        state: "idle in transaction".to_owned(),
        query: "SELECT 1".to_owned(),
        since: None,
        query_since: None,
        gid: String::new(),
    }
}

fn finished(error: Option<Fault>) -> EventKind {
    let reason = error.as_ref().map(|e| e.reason);
    EventKind::Finished(Box::new(Finished {
        outcome: reason.map_or(Outcome::Succeeded, Outcome::of),
        status: reason.map_or(Status::Ok, Reason::status),
        summary: "6 schemas reset".to_owned(),
        report_sha256: String::new(),
        error,
    }))
}

fn tool_started(commit: Option<&str>, clean: Option<bool>) -> EventKind {
    let tool = Tool { commit: commit.map(str::to_owned), clean, ..Tool::of("alembic upgrade head") };
    EventKind::ToolStarted(ToolStarted { tool, role: "resetd_tool_1".to_owned() })
}

fn tool_ended(code: Option<i32>, signal: Option<i32>) -> EventKind {
    let exit = crate::tool::Exit { code, signal, output: String::new() };
    EventKind::ToolEnded(Box::new(ToolEnded { exit, connections: 1, statements: 12, last_error: None }))
}

/// Samples with the phrases they have.
fn samples() -> Vec<(EventKind, &'static str)> {
    let accepted = Accepted {
        verb: Verb::Run,
        target: "staging".to_owned(),
        database: "butlers".to_owned(),
        scope: Some(Scope::ManagedSchemas),
        dry_run: true,
        principal: "unix:alice".to_owned(),
        auth_method: "peer credentials".to_owned(),
        labels: BTreeMap::new(),
        instance: Uuid::nil(),
        version: "0.1.0".to_owned(),
        chains: BTreeMap::new(),
        client_chains: false,
        phased: false,
        report_required: false,
        target_env_var: None,
    };
    let reset = SchemaReset {
        schema: "general".to_owned(),
        existed_before: true,
        tables_before: 1,
        exists_after: true,
        tables_after: 0,
        kept_as: None,
        kept_until: None,
    };
    let returned = SchemaReturned {
        schema: "general".to_owned(),
        tables: 2,
        came_from: Some("resetd_kept_1_general".to_owned()),
        kept_as: Some("resetd_kept_2_general".to_owned()),
        ..SchemaReturned::default()
    };
    let applied = RevisionApplied {
        schema: "general".to_owned(),
        chain: "core".to_owned(),
        revision: "core_001".to_owned(),
        checksum: String::new(),
        statements: 1,
        duration_us: 12_999,
    };
    let completed = |applied: &[&str]| ChainCompleted {
        schema: "general".to_owned(),
        chain: "core".to_owned(),
        head: "core_001".to_owned(),
        applied: applied.iter().map(ToString::to_string).collect(),
    };
    let swapped = DatabaseSwapped {
        database: "butlers".to_owned(),
        new_oid: 2,
        old_oid: Some(1),
        connections_before: 3,
        kept_as: Some("butlers_old".to_owned()),
        kept_until: None,
        unavailable_us: 1_001,
    };
    let progress = |total| Progress {
        phase: "migrate".to_owned(),
        done: 1,
        total,
        current: "core_001 in general".to_owned(),
    };
    let queued = |position, holder| EventKind::Queued(Queued { position, holder, window: None });
    vec![
        (
            EventKind::Accepted(accepted.clone()),
            "run of staging, scope managed-schemas (dry run), asked by unix:alice",
        ),
        (
            EventKind::Accepted(Accepted { verb: Verb::Migrate, scope: None, dry_run: false, ..accepted }),
            "migrate of staging, asked by unix:alice",
        ),
        (
            queued(0, Some(holder())),
            "queued (position 1), locked by unix:bob (run since 1970-01-01T00:00:00Z, \
             operation 00000000-0000-0000-0000-000000000001)",
        ),
        (queued(2, None), "queued (position 3)"),
        (EventKind::LockAcquired { shared: true, pid: 1 }, "acquired shared lock"),
        (EventKind::LockAcquired { shared: false, pid: 1 }, "acquired exclusive lock"),
        (planned(&testing::healthy()), "plan: recreate 6 schemas, set 36 tables aside, apply 9 revisions"),
        (
            EventKind::FindingReported {
                finding: Finding::warning("C", "schema general", "differs", "look"),
            },
            "schema general: differs",
        ),
        (EventKind::SchemaReset(reset.clone()), "general: dropped with 1 table, recreated"),
        (
            EventKind::SchemaReset(SchemaReset { kept_as: Some("aside".to_owned()), ..reset.clone() }),
            "general: set aside with 1 table as aside, recreated",
        ),
        (EventKind::SchemaReset(SchemaReset { existed_before: false, ..reset }), "general: created"),
        (
            EventKind::SchemaReturned(returned.clone()),
            "general: back with 2 tables; what served is set aside as resetd_kept_2_general",
        ),
        (
            EventKind::SchemaReturned(SchemaReturned { came_from: None, kept_as: None, ..returned }),
            "general: was not there, and is not",
        ),
        (EventKind::RevisionApplied(applied), "general: applied core_001 (1 statement, 12 ms)"),
        (EventKind::ChainCompleted(completed(&["core_001"])), "general: core is at core_001"),
        (EventKind::ChainCompleted(completed(&[])), "general: core was at core_001 already"),
        (validated(&testing::healthy()), "validated: 6 schemas, 36 tables, 9 revisions, nothing missing"),
        (
            validated(&testing::empty()),
            "validated: 6 schemas, 36 tables, 9 revisions; missing schema shared, missing schema general, \
             missing schema health, missing schema messenger, missing schema relationship and 46 more",
        ),
        (EventKind::CommitPrepared { transaction_id: "795".to_owned() }, "commits transaction 795"),
        (
            EventKind::CancelRequested { principal: "unix:bob".to_owned(), reason: String::new() },
            "unix:bob requested cancellation",
        ),
        (
            EventKind::CancelRequested { principal: "unix:bob".to_owned(), reason: "wrong one".to_owned() },
            "unix:bob requested cancellation: wrong one",
        ),
        (EventKind::DatabaseBuilt { database: "new".to_owned(), oid: 2 }, "built new aside (oid 2)"),
        (
            EventKind::DatabaseSwapped(swapped.clone()),
            "butlers: swapped in (oid 2), the previous one is kept as butlers_old; unavailable for 2 ms",
        ),
        (
            EventKind::DatabaseSwapped(DatabaseSwapped { old_oid: None, kept_as: None, ..swapped }),
            "butlers: swapped in (oid 2); unavailable for 2 ms",
        ),
        (tool_started(None, None), "alembic may begin, as role resetd_tool_1"),
        (tool_started(Some("1a2b"), Some(true)), "alembic may begin, as role resetd_tool_1, of commit 1a2b"),
        (
            tool_started(Some("1a2b"), Some(false)),
            "alembic may begin, as role resetd_tool_1, changed since commit 1a2b",
        ),
        (
            EventKind::ToolConnected { application_name: "psql".to_owned() },
            "the migration tool has connected as psql",
        ),
        (EventKind::ToolConnected { application_name: String::new() }, "the migration tool has connected"),
        (tool_ended(Some(0), None), "the migration tool ended with exit code 0: 12 statements, 1 connection"),
        (tool_ended(None, Some(9)), "the migration tool was ended by signal 9: 12 statements, 1 connection"),
        (tool_ended(None, None), "the migration tool could not be run: 12 statements, 1 connection"),
        (finished(None), "6 schemas reset"),
        (finished(Some(Fault::new(Reason::Cancelled, "it"))), "CANCELLED: 6 schemas reset"),
        (EventKind::Progress(progress(9)), "migrate: 1/9 core_001 in general"),
        (EventKind::Progress(progress(0)), "migrate: core_001 in general"),
        (
            EventKind::Blocked { waiting: "backend 1".to_owned(), blockers: (2..7).map(blocker).collect() },
            "backend 1 waits for pid 2 app (worker, idle in transaction), pid 3 app (worker, idle in transaction), \
             pid 4 app (worker, idle in transaction) and 2 more",
        ),
        (EventKind::Heartbeat, "goes on"),
    ]
}

#[test]
fn every_kind_has_a_sample() {
    let numbers: BTreeSet<usize> = samples().iter().map(|(kind, _)| number(kind)).collect();
    assert_eq!(numbers, (0..KINDS).collect());
}

#[test]
fn codes_are_unique_upper_snake() {
    let codes: BTreeSet<&str> = samples().iter().map(|(kind, _)| kind.code()).collect();
    assert_eq!(codes.len(), KINDS);
    assert!(codes.iter().all(|c| c.chars().all(|c| c.is_ascii_uppercase() || c == '_')), "{codes:?}");
}

#[test]
fn phrases_are_short_single_lines() {
    for (kind, phrase) in samples() {
        let text = kind.text();
        assert_eq!(text, phrase);
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!((1..=200).contains(&text.chars().count()), "{text}");
    }
}

#[test]
fn a_plan_that_changes_nothing_and_one_that_is_refused_say_so() {
    let matrix = Matrix::builtin_default();
    let mut observed = testing::healthy();
    let plan =
        Plan::compute(&testing::request(Verb::Validate), "butlers", &matrix, &testing::chains(), &observed);
    assert_eq!(EventKind::Planned { plan: Box::new(plan) }.text(), "plan: nothing to change");
    observed.outside = vec![crate::blast::OutsideObject::new("view", "r.v")];
    let refused = planned(&observed);
    let text = refused.text();
    assert!(text.contains("lose 1 object outside — refused: 1 object outside"), "{text}");
    assert_eq!(refused.severity(), Severity::Warning);
}

#[test]
fn three_kinds_may_be_dropped_and_one_is_the_last() {
    let codes = |wanted: fn(&EventKind) -> bool| -> BTreeSet<&'static str> {
        samples().iter().filter(|(kind, _)| wanted(kind)).map(|(kind, _)| kind.code()).collect()
    };
    assert_eq!(codes(EventKind::is_ephemeral), BTreeSet::from(["PROGRESS", "BLOCKED_BY", "HEARTBEAT"]));
    assert_eq!(codes(EventKind::is_terminal), BTreeSet::from(["FINISHED"]));
}

#[test]
fn severities_follow_what_was_found() {
    assert_eq!(validated(&testing::healthy()).severity(), Severity::Info);
    assert_eq!(validated(&testing::empty()).severity(), Severity::Error);
    assert_eq!(finished(None).severity(), Severity::Info);
    assert_eq!(finished(Some(Fault::new(Reason::Cancelled, "it"))).severity(), Severity::Error);
}

#[test]
fn the_exit_code_is_the_reason_s() {
    let code = |kind: EventKind| match kind {
        EventKind::Finished(end) => end.exit_code(),
        _ => unreachable!("it is the end"),
    };
    assert_eq!(code(finished(None)), 0);
    assert_eq!(code(finished(Some(Fault::new(Reason::ValidationDifferences, "it")))), 7);
}

#[test]
fn what_the_journal_stores_reads_back() {
    for (kind, _) in samples() {
        let stored = serde_json::to_string(&kind).expect("JSON");
        assert_eq!(serde_json::from_str::<EventKind>(&stored).ok(), Some(kind), "{stored}");
    }
}
