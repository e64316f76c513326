//! Migration tools within the operation's own transaction: what they leave is what a direct run leaves, nothing escapes, and
//! whatever goes wrong changes nothing.

use harness::{Daemon, Make, Output, Roles, Running, Setup, TestTarget, database::oid, eventually};
use nix::sys::signal::Signal;

use crate::gateway::{alembic, directly_in, dump, program, project};

/// In schemas of its own.
const APP: &str = "matrix = \"tooled\"\n[matrix.tooled.tool]\nschemas = [\"app\"]\n";

/// A database whose daemon works as a plain role.
async fn target() -> TestTarget {
    TestTarget::make(Make { roles: Roles::Least, ..Make::default() }).await
}

fn setup(target: &TestTarget, matrix: &str) -> Setup {
    Setup::of(target).with(matrix)
}

fn words(command: &str) -> Vec<&str> {
    vec!["run", "--confirm-destructive-reset", "RESET", "--with", command]
}

async fn run(daemon: &Daemon, command: &str) -> Output {
    daemon.ctl_args(&words(command)).await
}

fn spawn(daemon: &Daemon, command: &str) -> Running {
    daemon.ctl_at(0, &words(command))
}

fn python(script: &str) -> String {
    format!("PYTHONDONTWRITEBYTECODE=1 {} {}", program("python"), project(script))
}

#[tokio::test]
async fn alembic_leaves_what_a_direct_run_leaves() {
    let (target, model) = tokio::join!(target(), target());
    model.sql(&format!("CREATE SCHEMA app AUTHORIZATION {}", model.role)).await;
    directly_in(&model, "app", &alembic("together")).await;
    let daemon = setup(&target, &format!("{APP}tables = [\"orders\", \"alembic_version\"]\n")).start().await;
    let before = oid(&target).await;
    let out = run(&daemon, &alembic("together")).await;
    out.expect(0);
    assert_eq!(dump(&target).await, dump(&model).await);
    assert_eq!(oid(&target).await, before, "it is the same database");
    assert_eq!(target.column("SELECT version_num FROM app.alembic_version").await, ["t004"]);
    assert_eq!(out.at("/tool/exit_code"), 0);
    assert_eq!(out.at("/tool/connections"), 1);
    assert!(out.text("/tool/output").contains("Running upgrade t003 -> t004"), "{out}");
    assert_eq!(out.at("/details/validation/summary/tables_checked"), 2);

    // Once more over what is there now, and back again.
    target.sql("INSERT INTO app.customer VALUES (7000, 'mine')").await;
    run(&daemon, &alembic("together")).await.expect(0);
    assert_eq!(target.column("SELECT count(*) FROM app.customer WHERE id = 7000").await, ["0"]);
    daemon.ctl("undo --confirm-destructive-reset RESET").await.expect(0);
    assert_eq!(target.column("SELECT count(*) FROM app.customer WHERE id = 7000").await, ["1"]);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_everything_as_it_was() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    run(&daemon, &alembic("together")).await.expect(0);
    let before = target.state().await;
    let out = run(&daemon, &alembic("together_broken")).await;
    out.refused("TOOL_FAILED");
    assert_eq!(out.text("/error_detail/sqlstate"), "42P01");
    assert!(out.text("/error_detail/statement").contains("INSERT INTO no_such_table"), "{out}");
    assert_eq!(before, target.state().await);
    // A value of an enum that is used in the transaction that made it: PostgreSQL refuses that.
    run(&daemon, &alembic("alembic")).await.refused("TOOL_FAILED");
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn a_driver_finds_what_it_would_find_in_sessions_of_its_own() {
    let (target, model) = tokio::join!(target(), target());
    model.sql(&format!("CREATE SCHEMA app AUTHORIZATION {}", model.role)).await;
    let expected = directly_in(&model, "app", &python("together.py")).await;
    let daemon = setup(&target, APP).start().await;
    let out = run(&daemon, &python("together.py")).await;
    out.expect(0);
    assert_eq!(out.text("/tool/output"), expected);
    assert_eq!(dump(&target).await, dump(&model).await);
}

#[tokio::test]
async fn nothing_that_ends_a_transaction_gets_out() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    run(&daemon, &alembic("together")).await.expect(0);
    let before = target.state().await;
    let out = run(&daemon, &python("escapes.py")).await;
    out.refused("TOOL_FAILED");
    assert_eq!(out.at("/tool/exit_code"), 3, "{out}");
    // Most of the tables were made, and so could have been left.
    let made =
        out.text("/tool/output").lines().find_map(|line| line.strip_prefix("made ")).map(str::to_owned);
    assert!(made.as_deref().and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n >= 10), "{out}");
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn one_connection_writes_at_a_time() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    let out = run(&daemon, &python("writers.py")).await;
    out.expect(0);
    let refused = "25006 Another connection of the migration tool has a transaction open: within resetd's transaction one writes at a time.\n";
    let expected = format!("reads 2\n{}left [1, 2, 4]\n", refused.repeat(4));
    assert_eq!(out.text("/tool/output"), expected);
    assert_eq!(target.column("SELECT i FROM app.t ORDER BY i").await, ["1", "2", "4"]);
}

const HANGS: &str =
    "psql -Xqc 'CREATE TABLE half_done (id int)' && echo stands && exec psql -Xqc 'SELECT pg_sleep(600)'";

#[tokio::test]
async fn a_tool_that_is_killed_changes_nothing() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    run(&daemon, &alembic("together")).await.expect(0);
    let before = target.state().await;
    let command = HANGS.replace("exec psql -Xqc 'SELECT pg_sleep(600)'", "kill -9 $$");
    let out = run(&daemon, &command).await;
    out.refused("TOOL_FAILED");
    assert_eq!(out.at("/tool/signal"), 9);
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn a_client_that_goes_away_changes_nothing() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    run(&daemon, &alembic("together")).await.expect(0);
    let before = target.state().await;
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let running = spawn(&daemon, HANGS);
        running.said("stands").await;
        running.signal(signal);
        let out = running.finish().await;
        if signal != Signal::SIGKILL {
            out.refused("GATEWAY_LOST");
        }
        let ended = "SELECT bool_and(state = 'finished') FROM resetd.operation";
        eventually("the operation ends", || async { target.control_rows(ended).await == [["t"]] }).await;
        assert_eq!(before, target.state().await, "{signal}");
    }
}

#[tokio::test]
async fn a_daemon_that_dies_under_a_tool_changes_nothing() {
    let target = target().await;
    let daemon = setup(&target, APP).spawn().await;
    run(&daemon, &alembic("together")).await.expect(0);
    let before = target.state().await;
    let running = spawn(&daemon, HANGS);
    running.said("stands").await;
    daemon.kill().await;
    let next = setup(&target, APP).spawn().await;
    let ended = "SELECT count(*) FROM resetd.operation WHERE outcome = 'abandoned'";
    eventually("the operation ends", || async { target.control_rows(ended).await == [["1"]] }).await;
    running.signal(Signal::SIGKILL);
    assert_eq!(before, target.state().await);
    run(&next, &alembic("together")).await.expect(0);
}

#[tokio::test]
async fn two_tools_at_once_are_refused() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    let running = spawn(&daemon, HANGS);
    running.said("stands").await;
    run(&daemon, "true").await.refused("TARGET_LOCKED");
    running.signal(Signal::SIGINT);
    running.finish().await.refused("GATEWAY_LOST");
}

/// The tool is there before anything is locked: one that never comes holds nobody up.
#[tokio::test]
async fn nothing_is_locked_before_the_tool_has_connected() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    run(&daemon, &alembic("together")).await.expect(0);
    let before = target.state().await;
    let running = spawn(&daemon, "echo thinks; read never </dev/zero; exit 4");
    running.said("thinks").await;
    let locks = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
        WHERE c.relnamespace = 'app'::regnamespace AND l.pid <> pg_backend_pid()";
    assert_eq!(target.column(locks).await, ["0"]);
    running.signal(Signal::SIGINT);
    running.finish().await.refused("GATEWAY_LOST");
    let out = run(&daemon, "exit 4").await;
    out.refused("TOOL_FAILED");
    run(&daemon, "true").await.refused("TOOL_FAILED");
    assert_eq!(before, target.state().await);
}

/// Everything that a tool can do beside what it is for: refused, and named.
#[tokio::test]
async fn what_is_outside_the_managed_schemas_stays() {
    let target = target().await;
    let role = target.role.clone();
    let daemon = setup(&target, APP).start().await;
    target
        .sql(&format!(
            "CREATE SCHEMA other AUTHORIZATION {role}; GRANT CREATE ON SCHEMA public TO {role}; SET ROLE {role};
             CREATE TABLE other.kept (i int PRIMARY KEY, n int); CREATE VIEW other.seen AS SELECT 1 AS x;
             CREATE FUNCTION other.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SEQUENCE other.s"
        ))
        .await;
    run(&daemon, "psql -Xqc 'CREATE TABLE t (i int)'").await.expect(0);
    let before = target.state().await;
    let database = &target.database;
    let cases = [
        ("INSERT INTO other.kept VALUES (1)".to_owned(), "rows of other.kept were written"),
        ("DO $$ BEGIN DELETE FROM other.kept; END $$".to_owned(), "rows of other.kept were written"),
        ("TRUNCATE other.kept".to_owned(), "relation other.kept was changed"),
        ("ALTER TABLE other.kept ADD COLUMN m int".to_owned(), "column other.kept.m was made"),
        ("DROP TABLE other.kept".to_owned(), "relation other.kept is gone"),
        ("DROP FUNCTION other.f()".to_owned(), "routine other.f() is gone"),
        (
            "CREATE OR REPLACE FUNCTION other.f() RETURNS int LANGUAGE sql AS 'SELECT 2'".to_owned(),
            "routine other.f() was changed",
        ),
        ("CREATE OR REPLACE VIEW other.seen AS SELECT 2 AS x".to_owned(), "view"),
        ("CREATE TABLE public.made (i int)".to_owned(), "relation public.made was made"),
        ("CREATE SCHEMA another".to_owned(), "schema another was made"),
        ("GRANT SELECT ON other.kept TO PUBLIC".to_owned(), "relation other.kept was changed"),
        ("COMMENT ON TABLE other.kept IS 'x'".to_owned(), "comment on other.kept was made"),
        ("SELECT lo_create(4711)".to_owned(), "large object 4711 was made"),
        (format!("ALTER DATABASE {database} SET work_mem = '1MB'"), "settings of role 0 in database"),
        ("ALTER ROLE CURRENT_USER PASSWORD 'mine'".to_owned(), "rows of pg_authid were written"),
        ("CREATE EXTENSION pg_trgm SCHEMA app".to_owned(), "extension pg_trgm was made"),
    ];
    for (sql, word) in cases {
        let out = run(&daemon, &format!("psql -Xqv ON_ERROR_STOP=1 <<'SQL'\n{sql};\nSQL")).await;
        out.refused("TOOL_OUTSIDE");
        let said = if word == "view" { "rule" } else { word };
        assert!(out.text("/error").contains(said), "{sql}: {said}\n{out}");
        assert_eq!(before, target.state().await, "{sql}");
    }
    // A number that a sequence gave is gone, also where everything is rolled back.
    let out = run(&daemon, "psql -Xqc \"SELECT nextval('other.s')\"").await;
    out.refused("TOOL_OUTSIDE");
    assert!(out.text("/error").contains("rows of other.s were written"), "{out}");
    // What only refers to it, or reads it, stays inside.
    let sql = "CREATE TABLE t (i int REFERENCES other.kept); CREATE VIEW v AS SELECT * FROM other.kept; SELECT * FROM other.kept";
    run(&daemon, &format!("psql -Xqv ON_ERROR_STOP=1 -c '{sql}'")).await.expect(0);
}

#[tokio::test]
async fn a_role_that_may_do_more_is_refused() {
    let (target, plain) = tokio::join!(
        TestTarget::make(Make {
            roles: Roles::Superuser(harness::Because::ItIsAboutSuperusers),
            ..Make::default()
        }),
        target()
    );
    let daemon = setup(&target, APP).start().await;
    let before = target.state().await;
    let out = run(&daemon, "true").await;
    out.refused("GATEWAY_ROLE");
    assert!(out.text("/error").contains("is a superuser"), "{out}");
    let dry = daemon.ctl_args(&["run", "--dry-run", "--with", "true"]).await;
    dry.expect(0);
    assert_eq!(dry.text("/plan/refusal/reason"), "GATEWAY_ROLE", "{dry}");
    assert_eq!(before, target.state().await);
    let daemon = setup(&plain, APP).start().await;
    plain.sql(&format!("GRANT pg_execute_server_program TO {}", plain.role)).await;
    let out = run(&daemon, "true").await;
    out.refused("GATEWAY_ROLE");
    assert!(out.text("/error").contains("pg_execute_server_program"), "{out}");
}
