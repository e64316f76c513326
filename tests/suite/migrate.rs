//! Replays: a chain that grows, what a revision may do to its session, and that one which fails, wherever it fails, leaves
//! everything as it was.

use harness::{Migrations, Output, Scene, Setup, TestTarget, commands::RUN};
use serde_json::json;

const BUTLERS: [&str; 5] = ["general", "health", "messenger", "relationship", "switchboard"];

/// Where and how it failed: file, line, the statement itself, SQLSTATE, schema; a person sees the same.
#[track_caller]
fn failed_at(out: &Output, file: &str, line: u32, statement: &str, sqlstate: &str, schema: &str) {
    assert_eq!(out.text("/error_detail/file"), file, "{out}");
    assert_eq!(out.at("/error_detail/line"), line, "{out}");
    assert!(out.text("/error_detail/statement").starts_with(statement), "{out}");
    assert_eq!(out.text("/error_detail/sqlstate"), sqlstate, "{out}");
    assert_eq!(out.text("/error_detail/schema"), schema, "{out}");
    assert!(out.text("/error_detail/message").contains(&format!("{file}:{line}")), "{out}");
    for word in [file, sqlstate, statement] {
        assert!(out.stderr.contains(word), "a person sees {word}\n{out}");
    }
}

#[tokio::test]
async fn a_statement_that_fails_anywhere_leaves_no_trace() {
    let good = |n: u32| format!("CREATE TABLE made_{n} AS SELECT {n} AS n;");
    let scene = Scene::new().await;
    for place in 1..=3_u32 {
        let lines: Vec<String> =
            (1..=3).map(|n| if n == place { "SELECT 1 / 0;".to_owned() } else { good(n) }).collect();
        scene.second(&lines.join("\n"));
        let out = scene.no_trace("REVISION_FAILED").await;
        failed_at(&out, "core/core_002.sql", 3 + place, "SELECT 1 / 0", "22012", "general");
        assert!(out.text("/error_detail/message").contains(&format!("statement {place} of 3")), "{out}");
    }
}

#[tokio::test]
async fn the_last_revision_of_the_last_schema_that_fails_leaves_no_trace() {
    let scene = Scene::new().await;
    scene.second("ALTER TABLE state ADD more text;");
    scene.chains.revision(
        "memory/mem_002.sql",
        "mem_002",
        "mem_001",
        "CREATE TABLE late (schema text CHECK (schema <> 'switchboard'));\n\n\
         -- fails in the last schema only: ünïcödé before it\nINSERT INTO late VALUES (current_schema());",
    );
    let out = scene.no_trace("REVISION_FAILED").await;
    failed_at(&out, "memory/mem_002.sql", 7, "INSERT INTO late", "23514", "switchboard");
    // All but the last were there before it failed: 9 first revisions, 5 of core, 3 of memory.
    assert_eq!(out.list("/revisions").len(), 17, "{out}");
}

/// PostgreSQL's position inside a statement of several lines, and in a function's body, is the file's line.
#[tokio::test]
async fn the_line_is_the_one_postgresql_points_at() {
    let scene = Scene::new().await;
    scene.second(
        "CREATE TABLE fine (n int);\nCREATE VIEW wrong AS\n  SELECT n,\n         nosuch\n    FROM fine;",
    );
    let out = scene.no_trace("REVISION_FAILED").await;
    failed_at(&out, "core/core_002.sql", 7, "CREATE VIEW wrong", "42703", "general");
}

/// Deferred constraints fire while the revision that broke them can still be blamed.
#[tokio::test]
async fn deferred_constraints_that_are_violated_fail_their_own_revision() {
    let scene = Scene::new().await;
    scene.second(
        "CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node DEFERRABLE INITIALLY DEFERRED);\n\
         INSERT INTO node VALUES (1, 99);",
    );
    scene.chains.revision("core/core_003.sql", "core_003", "core_002", "CREATE TABLE innocent (n int);");
    let out = scene.no_trace("REVISION_FAILED").await;
    assert_eq!(out.text("/error_detail/file"), "core/core_002.sql", "{out}");
    assert_eq!(out.text("/error_detail/sqlstate"), "23503", "{out}");
}

/// Deferred events that hold leave nothing behind that the next revision's ALTER TABLE would trip over.
#[tokio::test]
async fn deferred_constraints_that_hold_do_not_hinder_the_next_revision() {
    let Scene { target, chains, daemon, .. } = Scene::new().await;
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node DEFERRABLE INITIALLY DEFERRED);\n\
         INSERT INTO node VALUES (1, 2); INSERT INTO node VALUES (2, 1);",
    );
    chains.revision(
        "core/core_003.sql",
        "core_003",
        "core_002",
        "ALTER TABLE node ADD label text NOT NULL DEFAULT '';",
    );
    daemon.ctl(RUN).await.expect(0);
    assert_eq!(target.value("SELECT count(*) FROM general.node WHERE label = ''").await, "2");
}

/// What a revision sets for its session is gone before the next one, and the lock on the target is not its to give away.
#[tokio::test]
async fn a_revision_cannot_leave_its_session_changed() {
    let Scene { target, chains, daemon, .. } = Scene::new().await;
    let guest = format!("guest_{}", target.database);
    target.sql(&format!("CREATE ROLE {guest}")).await;
    target.let_act_as(&[&guest]).await;
    let leavings = [
        format!("SET ROLE {guest};"),
        format!("SET SESSION AUTHORIZATION {guest};"),
        "SET search_path TO nowhere;".to_owned(),
        "SET LOCAL search_path TO nowhere;".to_owned(),
        "SELECT set_config('search_path', 'nowhere', false);".to_owned(),
        "SELECT pg_advisory_unlock_all();".to_owned(),
        "SET lock_timeout = '1ms';".to_owned(),
        "RESET ALL;".to_owned(),
        "SET check_function_bodies = off; SET default_transaction_read_only = on;".to_owned(),
        "SET TIME ZONE 'Asia/Tokyo'; SET row_security = off; SET session_replication_role = replica;"
            .to_owned(),
        "SET application_name = 'nobody'; SET client_encoding = 'LATIN1';".to_owned(),
        "SET standard_conforming_strings = off;".to_owned(),
        "SET CONSTRAINTS ALL IMMEDIATE;".to_owned(),
    ];
    // What only a superuser may set is refused to anybody else.
    let guarded =
        |leaving: &str| leaving.contains("AUTHORIZATION") || leaving.contains("session_replication_role");
    let may = |leaving: &&String| target.control_role.is_none() || !guarded(leaving);
    let leavings: Vec<&String> = leavings.iter().filter(may).collect();
    let mut before = "core_001".to_owned();
    for (n, leaving) in leavings.iter().enumerate() {
        let id = format!("core_{:03}", n + 2);
        let sql = format!("CREATE TABLE made_{n} (text text DEFAULT 'é \\ back');\n{leaving}");
        chains.revision(&format!("core/{id}.sql"), &id, &before, &sql);
        before = id;
    }
    let key = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
               THEN RAISE 'the key of the target is gone'; END IF; END $$;";
    chains.revision(
        "core/core_900.sql",
        "core_900",
        &before,
        &format!("CREATE TABLE the_last (n int); {key}"),
    );

    let out = daemon.ctl(RUN).await;

    out.expect(0);
    let made = (leavings.len() * BUTLERS.len()).to_string();
    assert_eq!(target.value("SELECT count(*) FROM pg_tables WHERE tablename ~ '^made_'").await, made);
    let where_and_whose = "SELECT DISTINCT schemaname, tableowner FROM pg_tables WHERE tablename ~ '^(made_|the_last)' ORDER BY 1";
    let expected: Vec<Vec<String>> =
        BUTLERS.iter().map(|s| vec![(*s).to_owned(), target.role.clone()]).collect();
    assert_eq!(target.rows(where_and_whose).await, expected);
    let defaults =
        "SELECT DISTINCT column_default FROM information_schema.columns WHERE table_name ~ '^made_'";
    assert_eq!(target.column(defaults).await, ["'é \\ back'::text"]);
    daemon.ctl("validate").await.expect(0);
}

/// A time limit of a revision is not one of what the daemon does after it: deferred triggers are fired without it.
#[tokio::test]
async fn a_time_limit_that_a_revision_sets_ends_with_it() {
    let scene = Scene::new().await;
    scene.second(
        "CREATE TABLE slow (n int);
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow();
         INSERT INTO slow VALUES (1);
         SET statement_timeout = '20ms';",
    );
    scene.daemon.ctl(RUN).await.expect(0);
}

/// The role of a schema's owner makes its tables, also after a revision that went back to the login role.
#[tokio::test]
async fn tables_belong_to_the_owner_of_their_schema() {
    let Scene { target, chains, daemon, .. } = Scene::new().await;
    let owner = format!("owner_{}", target.database);
    target.sql(&format!("CREATE ROLE {owner}; ALTER SCHEMA health OWNER TO {owner}; GRANT USAGE ON SCHEMA shared TO {owner}")).await;
    target.sql(&format!("GRANT CREATE ON DATABASE {} TO {owner}", target.database)).await;
    target.let_act_as(&[&owner]).await;
    chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE a (n int); RESET ROLE;");
    chains.revision("core/core_003.sql", "core_003", "core_002", "CREATE TABLE b (n int);");
    daemon.ctl(RUN).await.expect(0);
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'health' AND tablename <> 'alembic_version'";
    assert_eq!(target.column(owners).await, [owner]);
}

/// A chain whose matrix lists a table that no revision makes: the run is not proven valid, so it did not happen.
#[tokio::test]
async fn a_run_that_does_not_validate_is_rolled_back() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let matrix = "
[matrix.default]
shared_schemas = [\"shared\"]
[[matrix.default.chain]]
name = \"core\"
schemas = [\"general\", \"health\", \"messenger\", \"relationship\", \"switchboard\"]
tables = [\"state\", \"never_made\"]
";
    let daemon = Setup::of(&target).migrations(&chains).with(matrix).start().await;
    // The revisions of `memory`, which this matrix does not know, go with the reset.
    let before = target.state().await;
    let out = daemon.ctl(RUN).await;
    out.refused("VALIDATION_DIFFERENCES").expect(7);
    assert_eq!(out.text("/status"), "failed", "{out}");
    let missing =
        BUTLERS.map(|s| json!({"schema": s, "table": "never_made", "group": "core", "exists": false}));
    assert_eq!(out.at("/details/validation/missing/tables"), &json!(missing), "{out}");
    assert_eq!(out.at("/details/validation/missing/revisions"), &json!([]), "{out}");
    assert_eq!(out.list("/details/reset").len(), 6, "{out}");
    assert!(out.list("/details/reset").iter().all(|e| e["status"] == "rolled-back"), "{out}");
    assert_eq!(before, target.state().await);
    // `migrate` promises no validity.
    target.sql("DROP SCHEMA shared, general, health, messenger, relationship, switchboard CASCADE").await;
    daemon.ctl("migrate").await.expect(0);
    daemon.ctl("validate").await.expect(7);
}

/// A chain that grows: validation says what is behind, `migrate` goes from the first revision to the second and keeps the rows.
#[tokio::test]
async fn a_second_revision_migrates_from_the_first() {
    let Scene { target, chains, daemon, .. } = Scene::new().await;
    let before = target.snapshot().await;
    chains.revision(
        "core/a_name_that_sorts_first.sql",
        "core_002",
        "core_001",
        "ALTER TABLE state ADD seen boolean NOT NULL DEFAULT true; CREATE TABLE added (n int);",
    );

    let out = daemon.ctl("validate").await;
    out.expect(7);
    let behind =
        out.list("/details/validation/revision_checks").iter().filter(|check| check["present"] == false);
    let behind: Vec<_> = behind.inspect(|check| assert_eq!(check["expected_revision"], "core_002")).collect();
    assert_eq!(behind.len(), BUTLERS.len(), "{out}");
    assert_eq!(out.at("/details/validation/missing/revisions"), &json!(behind), "{out}");
    assert_eq!(out.at("/details/validation/summary/missing_tables"), 0, "{out}");

    let out = daemon.ctl("migrate").await;
    out.expect(0);
    let migrations = out.list("/details/migrations");
    assert_eq!(migrations.len(), 9, "{out}");
    for entry in migrations {
        let expected = if entry["chain"] == "core" { json!(["core_002"]) } else { json!([]) };
        assert_eq!(entry["applied"], expected, "{out}");
    }
    for schema in BUTLERS {
        assert_eq!(target.value(&format!("SELECT count(*) FROM {schema}.state WHERE seen")).await, "3");
    }
    let after = target.snapshot().await;
    assert!(before.iter().all(|old| after.iter().any(|new| (&new.name, &new.oid) == (&old.name, &old.oid))));
    let heads = target.column("SELECT version_num FROM health.alembic_version ORDER BY 1").await;
    assert_eq!(heads, ["core_002", "mem_001"]);

    let out = daemon.ctl("validate").await;
    out.expect(0);
    assert_eq!(out.at("/details/validation/summary/revisions_checked"), 9, "{out}");

    // From nothing, and with a third one at once.
    chains.revision("core/core_003.sql", "core_003", "core_002", "DROP TABLE added;");
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    assert_eq!(out.list("/revisions").len(), 19, "{out}");
    assert_eq!(target.column("SELECT version_num FROM messenger.alembic_version").await, ["core_003"]);
    let out = daemon.ctl("migrate --dry-run").await;
    assert!(out.list("/plan/chains").iter().all(|c| c["revisions"] == json!([])), "{out}");
}

/// Chains are read at each operation, and a revision that fails does not stop the others from having been planned in full.
#[tokio::test]
async fn a_mended_revision_goes_through_without_a_restart() {
    let Scene { target, chains, daemon, .. } = Scene::new().await;
    chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE t (n nosuchtype);");
    daemon.ctl("migrate").await.refused("REVISION_FAILED");
    chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE t (n int);");
    daemon.ctl("migrate").await.expect(0);
    assert_eq!(target.value("SELECT count(*) FROM pg_tables WHERE tablename = 't'").await, "5");
}
