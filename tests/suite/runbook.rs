//! The runbook, section by section, with nothing but `BUTLERS_DATABASE_URL` and the chains in `./migrations`: the commands that
//! people type, the keys that scripts read.

use harness::{Because, Daemon, Make, Output, Setup, TestTarget};
use serde_json::{Value, json};

const MANAGED: [&str; 6] = ["shared", "general", "health", "messenger", "relationship", "switchboard"];
const BUTLERS: [&str; 5] = ["general", "health", "messenger", "relationship", "switchboard"];
const MEMORY: [&str; 4] = ["general", "health", "relationship", "switchboard"];

async fn daemon(target: &TestTarget) -> Daemon {
    Setup::of(target).plain().env("BUTLERS_DATABASE_URL", &target.tcp_url()).spawn().await
}

/// What every report has at its top, whatever came of it.
#[track_caller]
fn head(out: &Output, command: &str, target: &TestTarget, status: &str) {
    assert!(out.text("/generated_at").ends_with('Z'), "{out}");
    out.text("/generated_at").parse::<jiff::Timestamp>().expect("RFC 3339");
    assert_eq!(out.text("/command"), command, "{out}");
    assert_eq!(out.text("/target_db"), target.database, "{out}");
    assert_eq!(out.text("/status"), status, "{out}");
    assert_eq!(out.at("/target_env_var"), "BUTLERS_DATABASE_URL", "{out}");
    assert_eq!(out.at("/error").is_null(), status != "error", "{out}");
    assert_eq!(out.at("/report_version"), 1, "{out}");
    assert_eq!(out.text("/target"), target.name, "{out}");
    assert_eq!(out.text("/principal/name"), "loopback:anonymous", "{out}");
    for key in ["operation", "labels", "daemon", "chains", "plan", "timings", "revisions", "error_detail"] {
        assert!(out.report().get(key).is_some(), "{key}\n{out}");
    }
    let secret = target.postgres.password.as_str();
    for (place, text) in
        [("stdout", &out.stdout), ("stderr", &out.stderr), ("report", &out.report().to_string())]
    {
        assert!(!text.contains(secret), "the password is in {place}");
    }
}

#[track_caller]
fn column<'a>(out: &'a Output, list: &str, key: &str) -> Vec<&'a str> {
    out.list(list).iter().map(|entry| entry[key].as_str().unwrap_or_else(|| panic!("{key}\n{out}"))).collect()
}

#[track_caller]
fn resets(out: &Output, existed: bool, status: &str) {
    assert_eq!(column(out, "/details/reset", "schema"), MANAGED, "{out}");
    for entry in out.list("/details/reset") {
        assert_eq!(entry["scope"], "managed-schema", "{out}");
        assert_eq!(entry["status"], status, "{out}");
        assert_eq!(entry["schema_exists_before"], existed, "{out}");
        assert_eq!(entry["schema_exists_after"], existed || status == "reset", "{out}");
        assert!(entry["table_count_before"].is_u64() && entry["table_count_after"].is_u64(), "{out}");
    }
}

#[track_caller]
fn migrations(out: &Output, applied: bool) {
    let found: Vec<Value> = out.list("/details/migrations").clone();
    let of = |chain: &str, head: &str, schema: &&str| {
        let applied = if applied { json!([head]) } else { json!([]) };
        json!({"schema": schema, "chain": chain, "expected_revision": head, "status": "ok", "applied": applied})
    };
    let core = BUTLERS.iter().map(|schema| of("core", "core_001", schema));
    let memory = MEMORY.iter().map(|schema| of("memory", "mem_001", schema));
    assert_eq!(found, core.chain(memory).collect::<Vec<_>>(), "{out}");
}

/// The healthy matrix: 6 schemas, 36 tables, 9 revisions, nothing missing.
#[track_caller]
fn valid(out: &Output) {
    let validation = out.at("/details/validation");
    assert_eq!(validation["status"], "ok", "{out}");
    let summary = json!({
        "schemas_checked": 6, "tables_checked": 36, "revisions_checked": 9,
        "missing_schemas": 0, "missing_tables": 0, "missing_revisions": 0,
    });
    assert_eq!(validation["summary"], summary, "{out}");
    assert_eq!(validation["missing"], json!({"schemas": [], "tables": [], "revisions": []}), "{out}");
    assert_eq!(column(out, "/details/validation/schema_results", "schema"), MANAGED, "{out}");
    let tables: Vec<(String, String)> = out
        .list("/details/validation/table_checks")
        .iter()
        .map(|c| {
            assert_eq!(c["exists"], true, "{out}");
            (
                c["group"].to_string(),
                format!("{}.{}", c["schema"].as_str().unwrap(), c["table"].as_str().unwrap()),
            )
        })
        .collect();
    assert!(tables.contains(&("\"core\"".to_owned(), "messenger.route_inbox".to_owned())), "{out}");
    assert!(tables.contains(&("\"memory\"".to_owned(), "health.memory_links".to_owned())), "{out}");
    for check in out.list("/details/validation/revision_checks") {
        assert_eq!(check["present"], true, "{out}");
        let versions = check["versions"].as_array().unwrap();
        assert!(versions.contains(&check["expected_revision"]), "{out}");
    }
}

#[tokio::test]
async fn precheck_lists_what_would_be_dropped_and_changes_nothing() {
    let target = TestTarget::make(Make::superuser(Because::ItHasOneRole)).await;
    let daemon = daemon(&target).await;
    let before = target.state().await;

    let out = daemon.ctl("reset --dry-run").await;

    out.expect(0);
    head(&out, "reset", &target, "ok");
    assert_eq!(out.text("/details/scope"), "managed-schemas");
    assert_eq!(out.at("/details/dry_run"), true);
    resets(&out, true, "planned");
    let counts = target.rows(
        "SELECT schemaname, count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1",
    );
    for row in counts.await {
        let entry = out.list("/details/reset").iter().find(|e| e["schema"] == row[0].as_str()).unwrap();
        assert_eq!(entry["table_count_before"].to_string(), row[1], "{out}");
        assert_eq!(entry["table_count_after"].to_string(), row[1], "{out}");
    }
    assert!(out.text("/plan/digest").starts_with("sha256:"), "{out}");
    assert!(out.at("/plan/refusal").is_null(), "{out}");
    for schema in MANAGED {
        assert!(out.stdout.contains(schema), "a person sees {schema}\n{out}");
    }
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn the_whole_runbook_on_one_database() {
    let target = TestTarget::make(Make::superuser(Because::ItHasOneRole)).await;
    let daemon = daemon(&target).await;

    let out = daemon.ctl("reset --confirm-destructive-reset RESET").await;
    out.expect(0);
    head(&out, "reset", &target, "ok");
    assert_eq!(out.text("/details/scope"), "managed-schemas");
    assert_eq!(out.at("/details/dry_run"), false);
    resets(&out, true, "reset");
    for entry in out.list("/details/reset") {
        assert_eq!(entry["table_count_after"], 0, "{out}");
        assert_eq!(entry["table_count_before"] != json!(0), entry["schema"] != "shared", "{out}");
    }
    let schemas = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg|resetd_kept)_' AND nspname <> 'information_schema' ORDER BY 1";
    let mut expected: Vec<&str> = MANAGED.into_iter().chain(["public"]).collect();
    expected.sort_unstable();
    assert_eq!(target.column(schemas).await, expected);
    assert!(target.snapshot().await.iter().all(|it| it.name.starts_with("resetd_kept_")));

    let out = daemon.ctl("validate").await;
    out.expect(7).refused("VALIDATION_DIFFERENCES");
    head(&out, "validate", &target, "failed");
    assert_eq!(out.at("/details/validation/summary/missing_tables"), 36);
    assert_eq!(out.at("/details/validation/summary/missing_revisions"), 9);
    assert_eq!(out.at("/details/validation/summary/missing_schemas"), 0);

    let out = daemon.ctl("migrate").await;
    out.expect(0);
    head(&out, "migrate", &target, "ok");
    migrations(&out, true);

    let out = daemon.ctl("validate").await;
    out.expect(0);
    head(&out, "validate", &target, "ok");
    valid(&out);

    let out = daemon.ctl("run --confirm-destructive-reset RESET --label commit=1a2b3c").await;
    out.expect(0);
    head(&out, "run", &target, "ok");
    resets(&out, true, "reset");
    migrations(&out, true);
    valid(&out);
    assert_eq!(out.text("/labels/commit"), "1a2b3c");
    assert_eq!(out.list("/revisions").len(), 9);

    let out = daemon.ctl("migrate").await;
    out.expect(0);
    migrations(&out, false);
}

/// What `run` leaves is what the chains make by themselves, by plain SQL, in a fresh database.
#[tokio::test]
async fn run_on_an_empty_database_makes_exactly_what_the_chains_say() {
    let (target, model) = tokio::join!(
        TestTarget::make(Make { template: None, ..Make::superuser(Because::ItHasOneRole) }),
        TestTarget::make(Make::superuser(Because::ItHasOneRole))
    );
    let daemon = daemon(&target).await;

    let out = daemon.ctl("run --scope managed-schemas --confirm-destructive-reset RESET").await;

    out.expect(0);
    resets(&out, false, "reset");
    valid(&out);
    for schema in BUTLERS {
        model.sql(&format!("TRUNCATE {schema}.state")).await;
    }
    let same_name = |dump: String, it: &TestTarget| dump.replace(&it.database, "DATABASE");
    assert_eq!(same_name(target.dump().await, &target), same_name(model.dump().await, &model));
}

#[tokio::test]
async fn run_with_dry_run_is_the_reset_preview_only() {
    let target = TestTarget::make(Make::superuser(Because::ItHasOneRole)).await;
    let daemon = daemon(&target).await;
    let before = target.state().await;

    let out = daemon.ctl("run --dry-run").await;

    out.expect(0);
    head(&out, "run", &target, "ok");
    resets(&out, true, "planned");
    assert!(out.at("/details/validation").is_null(), "{out}");
    assert_eq!(before, target.state().await);
}

/// `migrate --dry-run` says what is pending, on an empty database and on one that is behind nothing.
#[tokio::test]
async fn migrate_with_dry_run_says_what_is_pending() {
    let target = TestTarget::make(Make { template: None, ..Make::superuser(Because::ItHasOneRole) }).await;
    let daemon = daemon(&target).await;
    let out = daemon.ctl("migrate --dry-run").await;
    out.expect(0);
    assert_eq!(out.at("/plan/created_schemas"), &json!(MANAGED), "{out}");
    assert_eq!(out.list("/plan/chains").len(), 9, "{out}");
    assert!(out.list("/plan/chains").iter().all(|c| c["revisions"].as_array().unwrap().len() == 1), "{out}");
    assert_eq!(target.snapshot().await, []);

    daemon.ctl("migrate").await.expect(0);
    let out = daemon.ctl("migrate --dry-run").await;
    out.expect(0);
    assert!(out.list("/plan/chains").iter().all(|c| c["revisions"] == json!([])), "{out}");
}

/// The report is the same text on disk, from `report get`, and from standard output.
#[tokio::test]
async fn the_evidence_is_kept_by_client_and_daemon() {
    let target = TestTarget::make(Make::superuser(Because::ItHasOneRole)).await;
    let daemon = daemon(&target).await;
    let path = daemon.folder().join("deployments/42/validate.json");
    let path = path.to_str().unwrap();

    daemon.ctl_args(&["validate", "--report-path", path]).await.expect(0);

    let on_disk = std::fs::read_to_string(path).unwrap();
    let id = serde_json::from_str::<Value>(&on_disk).unwrap()["operation"].as_str().unwrap().to_owned();
    let got = daemon.ctl(&format!("report get {id}")).await;
    got.expect(0);
    assert_eq!(got.stdout, on_disk);
    let watched = daemon.ctl(&format!("operations watch {id} --report-path -")).await;
    watched.expect(0);
    assert_eq!(watched.stdout, on_disk);
}
