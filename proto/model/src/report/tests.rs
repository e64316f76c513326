//! The fold of events into a report, and the report's text.

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{
    event::{DatabaseSwapped, Progress, Queued},
    matrix::Matrix,
    plan::Observation,
    testing,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn accepted(verb: Verb, dry_run: bool) -> EventKind {
    EventKind::Accepted(Accepted {
        verb,
        target: "staging".to_owned(),
        database: "butlers".to_owned(),
        scope: verb.resets().then_some(Scope::ManagedSchemas),
        dry_run,
        principal: "unix:alice".to_owned(),
        auth_method: "peer credentials".to_owned(),
        labels: [("commit".to_owned(), "1a2b3c".to_owned())].into(),
        instance: Uuid::from_u128(9),
        version: "0.1.0".to_owned(),
        chains: [("core".to_owned(), "sha256:c".to_owned())].into(),
        client_chains: false,
        phased: false,
        report_required: false,
        target_env_var: Some("BUTLERS_DATABASE_URL".to_owned()),
    })
}

fn planned(verb: Verb, observed: &Observation) -> EventKind {
    let (request, matrix) = (testing::request(verb), Matrix::builtin_default());
    EventKind::Planned {
        plan: Box::new(Plan::compute(&request, "butlers", &matrix, &testing::chains(), observed)),
    }
}

fn validated(observed: &Observation) -> EventKind {
    let validation = Validation::compute(&Matrix::builtin_default(), &testing::chains(), observed);
    EventKind::Validated { validation: Box::new(validation) }
}

fn schema_reset() -> EventKind {
    EventKind::SchemaReset(SchemaReset {
        schema: "general".to_owned(),
        existed_before: true,
        tables_before: 8,
        exists_after: true,
        tables_after: 0,
        kept_as: None,
        kept_until: None,
    })
}

fn revision_applied() -> EventKind {
    EventKind::RevisionApplied(RevisionApplied {
        schema: "general".to_owned(),
        chain: "core".to_owned(),
        revision: "core_001".to_owned(),
        checksum: "ab".to_owned(),
        statements: 8,
        duration_us: 12_500,
    })
}

fn chain_completed() -> EventKind {
    EventKind::ChainCompleted(ChainCompleted {
        schema: "general".to_owned(),
        chain: "core".to_owned(),
        head: "core_001".to_owned(),
        applied: vec!["core_001".to_owned()],
    })
}

/// One event a second, from second 0.
fn fold(kinds: Vec<EventKind>) -> Report {
    let mut report = Report::new(Verb::Validate, "", at(0));
    for (n, kind) in kinds.into_iter().enumerate() {
        let sequence = if kind.is_ephemeral() { 0 } else { n as u64 + 1 };
        let second = i64::try_from(n).expect("small");
        report.absorb(&Event { sequence, operation: Uuid::from_u128(7), at: at(second), kind });
    }
    report
}

/// A `run` up to the point where it ends.
fn run_to_the_commit() -> Report {
    fold(vec![
        accepted(Verb::Run, false),
        EventKind::LockAcquired { shared: false, pid: 1 },
        planned(Verb::Run, &testing::healthy()),
        schema_reset(),
        revision_applied(),
        chain_completed(),
        validated(&testing::healthy()),
        EventKind::CommitPrepared { transaction_id: "795".to_owned() },
    ])
}

fn text(report: &Report) -> Value {
    serde_json::from_str(&report.to_text()).expect("JSON")
}

#[test]
fn a_successful_run_is_folded() {
    let report = run_to_the_commit().finish(Outcome::Succeeded, None, at(9));
    let it = text(&report);
    let expected = [
        ("/generated_at", json!("1970-01-01T00:00:09Z")),
        ("/command", json!("run")),
        ("/target_db", json!("butlers")),
        ("/status", json!("ok")),
        ("/error", Value::Null),
        ("/details/scope", json!("managed-schemas")),
        ("/details/dry_run", json!(false)),
        ("/details/reset/0/status", json!("reset")),
        ("/details/reset/0/scope", json!("managed-schema")),
        ("/details/reset/0/schema", json!("general")),
        ("/details/reset/0/schema_exists_before", json!(true)),
        ("/details/reset/0/table_count_before", json!(8)),
        ("/details/reset/0/schema_exists_after", json!(true)),
        ("/details/reset/0/table_count_after", json!(0)),
        ("/details/migrations/0/schema", json!("general")),
        ("/details/migrations/0/chain", json!("core")),
        ("/details/migrations/0/expected_revision", json!("core_001")),
        ("/details/migrations/0/status", json!("ok")),
        ("/details/migrations/0/applied", json!(["core_001"])),
        ("/details/validation/status", json!("ok")),
        ("/details/validation/summary/schemas_checked", json!(6)),
        ("/details/validation/summary/tables_checked", json!(36)),
        ("/details/validation/summary/revisions_checked", json!(9)),
        ("/details/validation/missing", json!({"schemas": [], "tables": [], "revisions": []})),
        ("/details/validation/revision_checks/0/versions", json!(["core_001", "mem_001"])),
        ("/report_version", json!(1)),
        ("/operation", json!(Uuid::from_u128(7).to_string())),
        ("/outcome", json!("succeeded")),
        ("/target", json!("staging")),
        ("/principal", json!({"name": "unix:alice", "auth_method": "peer credentials"})),
        ("/labels", json!({"commit": "1a2b3c"})),
        ("/daemon/version", json!("0.1.0")),
        ("/chains", json!({"core": "sha256:c"})),
        ("/plan/scope", json!("managed-schemas")),
        ("/findings", json!([])),
        ("/revisions/0/status", json!("applied")),
        ("/revisions/0/duration_ms", json!(12.5)),
        ("/error_detail", Value::Null),
    ];
    for (path, value) in expected {
        assert_eq!(it.pointer(path), Some(&value), "{path}");
    }
}

#[test]
fn timings_are_those_of_the_phases() {
    let report = run_to_the_commit().finish(Outcome::Succeeded, None, at(90));
    let t = &report.timings;
    assert_eq!((t.accepted_at, t.started_at, t.finished_at), (Some(at(0)), Some(at(1)), Some(at(90))));
    let phases = [t.waited_ms, t.plan_ms, t.reset_ms, t.migrate_ms, t.validate_ms, t.total_ms];
    assert_eq!(phases, [1000, 1000, 1000, 2000, 1000, 90_000].map(Some));
}

#[test]
fn ephemeral_events_leave_no_trace() {
    let mut report = run_to_the_commit();
    let before = report.clone();
    let progress = Progress { phase: "reset".to_owned(), done: 1, total: 2, current: "general".to_owned() };
    let kinds = [
        EventKind::Progress(progress),
        EventKind::Blocked { waiting: "backend 1".to_owned(), blockers: Vec::new() },
        EventKind::Heartbeat,
    ];
    for kind in kinds {
        report.absorb(&Event { sequence: 0, operation: Uuid::from_u128(7), at: at(50), kind });
    }
    assert_eq!(report, before);
}

#[test]
fn a_failed_run_says_that_what_it_did_was_rolled_back() {
    let fault = Fault::new(Reason::RevisionFailed, "mem_001 failed")
        .hint("mend it")
        .with("revision", "mem_001")
        .at(crate::fault::SqlSite {
            sqlstate: Some("42601".to_owned()),
            schema: Some("general".to_owned()),
            file: Some("memory/mem_001.sql".to_owned()),
            line: Some(12),
            statement: Some("create tabel".to_owned()),
        });
    let report = run_to_the_commit().finish(Outcome::Failed, Some(&fault), at(9));
    let it = text(&report);
    let expected = [
        ("/status", json!("error")),
        ("/outcome", json!("failed")),
        ("/error", json!("mem_001 failed")),
        ("/details/reset/0/status", json!("rolled-back")),
        ("/details/reset/0/schema_exists_after", json!(true)),
        ("/details/reset/0/table_count_after", json!(8)),
        ("/details/migrations/0/status", json!("rolled-back")),
        ("/revisions/0/status", json!("rolled-back")),
        ("/error_detail/reason", json!("REVISION_FAILED")),
        ("/error_detail/hint", json!("mend it")),
        ("/error_detail/sqlstate", json!("42601")),
        ("/error_detail/file", json!("memory/mem_001.sql")),
        ("/error_detail/line", json!(12)),
        ("/error_detail/metadata", json!({"revision": "mem_001"})),
    ];
    for (path, value) in expected {
        assert_eq!(it.pointer(path), Some(&value), "{path}");
    }
}

#[test]
fn only_differences_are_failed() {
    let fault = Fault::new(Reason::ValidationDifferences, "missing table general.state");
    let report = fold(vec![accepted(Verb::Validate, false), validated(&testing::empty())]);
    let it = text(&report.finish(Outcome::Differences, Some(&fault), at(9)));
    assert_eq!((&it["status"], &it["outcome"]), (&json!("failed"), &json!("differences")));
    assert_eq!(it.pointer("/details/validation/status"), Some(&json!("failed")));
    assert_eq!(it.pointer("/details/validation/summary/missing_tables"), Some(&json!(36)));
    assert_eq!((&it["details"]["reset"], &it["details"]["scope"]), (&Value::Null, &Value::Null));
}

#[test]
fn where_nobody_knows_whether_it_stayed_the_report_says_unknown() {
    for reason in [Reason::OutcomeUnknown, Reason::TransactionEscaped] {
        let report = run_to_the_commit().finish(Outcome::Failed, Some(&Fault::new(reason, "lost")), at(9));
        assert_eq!(text(&report)["details"]["reset"][0]["status"], "unknown", "{reason}");
        assert_eq!(report.details.migrations.as_ref().map(|m| m[0].status.as_str()), Some("unknown"));
        assert_eq!(report.revisions[0].status, "unknown");
    }
}

#[test]
fn a_dry_run_lists_what_is_planned() {
    let events = || {
        vec![
            accepted(Verb::Run, true),
            EventKind::LockAcquired { shared: true, pid: 1 },
            planned(Verb::Run, &testing::healthy()),
        ]
    };
    let it = text(&fold(events()).finish(Outcome::Succeeded, None, at(9)));
    assert_eq!((&it["status"], &it["details"]["dry_run"]), (&json!("ok"), &json!(true)));
    let reset = it["details"]["reset"].as_array().expect("a list");
    assert_eq!(reset.len(), 6);
    assert!(reset.iter().all(|e| e["status"] == "planned" && e["schema_exists_after"] == true));
    let migrations = it["details"]["migrations"].as_array().expect("a list");
    assert_eq!(migrations.len(), 9);
    assert!(migrations.iter().all(|e| e["status"] == "planned"));
    assert_eq!(it["details"]["validation"], Value::Null);
    assert_eq!(it["revisions"], json!([]));
    // Nothing was done, so nothing is rolled back either.
    let fault = Fault::new(Reason::Cancelled, "cancelled");
    let cancelled = fold(events()).finish(Outcome::Cancelled, Some(&fault), at(9));
    assert_eq!(text(&cancelled)["details"]["reset"][0]["status"], "planned");
}

#[test]
fn a_real_run_that_never_came_to_the_reset_lists_nothing() {
    let fault = Fault::new(Reason::BlastRadius, "1 object outside");
    let events = vec![accepted(Verb::Run, false), planned(Verb::Run, &testing::healthy())];
    let it = text(&fold(events).finish(Outcome::Refused, Some(&fault), at(9)));
    assert_eq!((&it["details"]["reset"], &it["details"]["migrations"]), (&Value::Null, &Value::Null));
    assert_eq!((&it["status"], &it["outcome"]), (&json!("error"), &json!("refused")));
    assert_eq!(it["plan"]["schemas"].as_array().map(Vec::len), Some(6));
}

#[test]
fn a_report_of_no_operation_has_its_keys_with_null() {
    let fault = Fault::new(Reason::TargetLocked, "held").hint("wait");
    let report = Report::new(Verb::Reset, "staging", at(0)).refused(Some(Scope::Database), true, &fault);
    let it = text(&report);
    for key in ["operation", "outcome", "principal", "daemon", "plan", "target_db"] {
        assert_eq!(it.get(key), Some(&Value::Null), "{key}");
    }
    for key in ["reset", "migrations", "validation"] {
        assert_eq!(it["details"].get(key), Some(&Value::Null), "{key}");
    }
    for key in ["accepted_at", "waited_ms", "total_ms"] {
        assert_eq!(it["timings"].get(key), Some(&Value::Null), "{key}");
    }
    for key in ["sqlstate", "file", "line", "statement"] {
        assert_eq!(it["error_detail"].get(key), Some(&Value::Null), "{key}");
    }
    assert_eq!(
        (&it["command"], &it["target"], &it["status"]),
        (&json!("reset"), &json!("staging"), &json!("error"))
    );
    assert_eq!((&it["details"]["scope"], &it["details"]["dry_run"]), (&json!("database"), &json!(true)));
    assert_eq!((&it["error"], &it["error_detail"]["hint"]), (&json!("held"), &json!("wait")));
}

#[test]
fn a_wait_is_measured_and_nothing_else_is_kept_of_it() {
    let queued = EventKind::Queued(Queued { position: 1, holder: None, window: None });
    let lock = EventKind::LockAcquired { shared: false, pid: 1 };
    let report =
        fold(vec![accepted(Verb::Reset, false), queued, lock, planned(Verb::Reset, &testing::empty())]);
    assert_eq!((report.timings.waited_ms, report.timings.plan_ms), (Some(2000), Some(1000)));
}

/// What took long before a failure has often left no event: a minute before a lock that did not come, a wait that expired.
#[test]
fn the_times_of_a_failure_go_to_its_end() {
    let fault = Fault::new(Reason::Blocked, "blocked");
    let lock = EventKind::LockAcquired { shared: false, pid: 1 };
    let started = vec![accepted(Verb::Run, false), lock.clone(), planned(Verb::Run, &testing::healthy())];
    let t = fold(started).finish(Outcome::Failed, Some(&fault), at(62)).timings;
    assert_eq!((t.waited_ms, t.plan_ms, t.reset_ms), (Some(1000), Some(1000), None));
    assert_eq!((t.finished_at, t.total_ms), (Some(at(62)), Some(62_000)));

    let queued = EventKind::Queued(Queued { position: 1, holder: None, window: None });
    let expired = fold(vec![accepted(Verb::Run, false), queued]);
    let t = expired.finish(Outcome::Refused, Some(&fault), at(3)).timings;
    assert_eq!((t.waited_ms, t.started_at, t.total_ms), (Some(3000), None, Some(3000)));

    let locked = fold(vec![accepted(Verb::Run, false), lock]);
    let t = locked.finish(Outcome::Failed, Some(&fault), at(5)).timings;
    assert_eq!((t.waited_ms, t.plan_ms, t.total_ms), (Some(1000), None, Some(5000)));
}

#[test]
fn the_text_is_the_same_each_time_and_reads_back() {
    let report = run_to_the_commit().finish(Outcome::Succeeded, None, at(9));
    let text = report.to_text();
    assert_eq!(text, report.to_text());
    assert!(
        text.starts_with("{\n  \"generated_at\": \"1970-01-01T00:00:09Z\",\n  \"command\": \"run\","),
        "{text}"
    );
    assert!(text.ends_with("}\n") && !text.contains("+00:00"));
    assert_eq!(serde_json::from_str::<Report>(&text).ok(), Some(report));
    assert_eq!(crate::hex_sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

fn swapped() -> EventKind {
    EventKind::DatabaseSwapped(DatabaseSwapped {
        database: "butlers".to_owned(),
        new_oid: 2,
        old_oid: Some(1),
        connections_before: 3,
        kept_as: Some("butlers_old".to_owned()),
        kept_until: Some(at(86_400)),
        unavailable_us: 1_500,
    })
}

#[test]
fn a_replaced_database_is_one_entry() {
    let report = fold(vec![accepted(Verb::Reset, false), swapped()]);
    let it = text(&report.clone().finish(Outcome::Succeeded, None, at(9)));
    let expected = json!({
        "scope": "database",
        "database": "butlers",
        "db_exists_before": true,
        "active_connections_before": 3,
        "db_exists_after": true,
        "status": "reset",
        "kept_as": "butlers_old",
        "kept_until": "1970-01-02T00:00:00Z",
    });
    assert_eq!(it["details"]["reset"], expected);
    assert_eq!(it["timings"]["unavailable_ms"], 1.5);
    let fault = Fault::new(Reason::Cancelled, "cancelled");
    let failed = text(&report.finish(Outcome::Cancelled, Some(&fault), at(9)));
    assert_eq!(failed["details"]["reset"]["status"], "rolled-back");
}
