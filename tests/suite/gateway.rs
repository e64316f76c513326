//! Migration tools of teams, unmodified, through the real client and daemon: what they leave is what a direct run leaves, and
//! whatever goes wrong changes nothing.

use std::path::PathBuf;

use harness::{
    Daemon, Output, Running, Setup, TestTarget,
    database::{generated, oid},
    eventually, test_venv,
};
use nix::sys::signal::Signal;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// What a matrix says that a tool alone fills.
const PUBLIC: &str = "matrix = \"tooled\"\n[matrix.tooled.tool]\nschemas = [\"public\"]\n";

/// The folder of a project of `tests/tools`.
pub(crate) fn project(name: &str) -> String {
    PathBuf::from(HERE).join("tools").join(name).display().to_string()
}

/// A program of the test's Python.
pub(crate) fn program(name: &str) -> String {
    let path = test_venv().join("bin").join(name);
    assert!(path.is_file(), "{name} is not there: run `make setup-tests` first ({})", path.display());
    path.display().to_string()
}

/// `alembic upgrade head` of the project, as a team types it.
pub(crate) fn alembic(section: &str) -> String {
    format!(
        "PYTHONDONTWRITEBYTECODE=1 {} -c {}/alembic.ini --name {section} upgrade head",
        program("alembic"),
        project("alembic")
    )
}

/// A database that a plain role owns, whose daemon may make roles.
pub(crate) async fn target() -> TestTarget {
    let target = TestTarget::empty().await;
    match &target.control_role {
        Some(control) => target.sql(&format!("ALTER ROLE {control} CREATEROLE")).await,
        None => {
            let (role, database) = (owner(&target), &target.database);
            target.sql(&format!("CREATE ROLE {role}; ALTER DATABASE {database} OWNER TO {role}")).await;
        }
    }
    target
}

/// The role that owns the database.
pub(crate) fn owner(target: &TestTarget) -> String {
    match target.control_role {
        Some(_) => target.role.clone(),
        None => format!("owner_of_{}", target.database),
    }
}

pub(crate) fn setup(target: &TestTarget, matrix: &str) -> Setup {
    Setup::of(target).with(matrix)
}

/// The words of a run that a command fills.
pub(crate) fn words(command: &str) -> Vec<String> {
    let words = ["run", "--scope", "database", "--confirm-destructive-reset", "RESET", "--with", command];
    words.map(str::to_owned).to_vec()
}

pub(crate) async fn run(daemon: &Daemon, command: &str) -> Output {
    let words = words(command);
    daemon.ctl_args(&words.iter().map(String::as_str).collect::<Vec<_>>()).await
}

pub(crate) fn spawn(daemon: &Daemon, command: &str) -> Running {
    let words = words(command);
    daemon.ctl_at(0, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Roles of tools that are there.
pub(crate) async fn tool_roles(target: &TestTarget, operation: &str) -> Vec<String> {
    let mark = format!("resetd: migration tool of operation {operation}");
    let query = format!(
        "SELECT r.rolname FROM pg_roles r WHERE shobj_description(r.oid, 'pg_authid') LIKE '{mark}%'"
    );
    target.column(&query).await
}

/// Everything of a database that must be the same when nothing was changed, and that nothing is left of the attempt.
pub(crate) async fn nothing_is_left(target: &TestTarget, output: &Output) {
    assert_eq!(generated(target, "new").await, [""; 0], "{output}");
    let operation = output.text("/operation").to_owned();
    eventually("the role of the tool goes", || async { tool_roles(target, &operation).await.is_empty() })
        .await;
}

/// A dump with the names of this database and its owner taken out.
pub(crate) async fn dump(target: &TestTarget) -> String {
    let dump = target.dump().await;
    dump.replace(&owner(target), "OWNER").replace(&target.database, "DATABASE")
}

/// The same command, directly, as the role that owns the database.
async fn directly(target: &TestTarget, command: &str) {
    directly_in(target, "", command).await;
}

/// The same with a schema that it finds first; what it printed.
pub(crate) async fn directly_in(target: &TestTarget, schema: &str, command: &str) -> String {
    let role = owner(target);
    target.sql(&format!("ALTER ROLE {role} LOGIN PASSWORD 'direct'")).await;
    let url =
        target.postgres.tcp_url_of(&role, "direct", &target.database).replace("postgres://", "postgresql://");
    if !schema.is_empty() {
        target.sql(&format!("ALTER ROLE {role} SET search_path = {schema}, public")).await;
    }
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.args(["-c", command]).env("DATABASE_URL", url).kill_on_drop(true);
    let output = harness::soon("the direct run", shell.output()).await.expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.sql(&format!("ALTER ROLE {role} RESET search_path")).await;
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn alembic_leaves_what_a_direct_run_leaves() {
    let (target, model) = tokio::join!(target(), target());
    directly(&model, &alembic("alembic")).await;
    let daemon =
        setup(&target, &format!("{PUBLIC}tables = [\"orders\", \"alembic_version\"]\n")).start().await;
    let before = oid(&target).await;
    let out = run(&daemon, &alembic("alembic")).await;
    out.expect(0);
    assert_eq!(dump(&target).await, dump(&model).await);
    assert_ne!(oid(&target).await, before);
    assert_eq!(target.column("SELECT version_num FROM alembic_version").await, ["a004"]);
    assert_eq!(out.text("/tool/program"), "alembic");
    assert_eq!(out.at("/tool/exit_code"), 0);
    assert_eq!(out.at("/tool/connections"), 1);
    assert!(out.text("/tool/output").contains("Running upgrade a003 -> a004"), "{out}");
    assert!(out.at("/tool/statements").as_u64().is_some_and(|n| n > 20), "{out}");
    assert_eq!(out.at("/details/validation/summary/tables_checked"), 2);
    nothing_is_left(&target, &out).await;

    // Once more over what is there now, and back again.
    let first = oid(&target).await;
    run(&daemon, &alembic("alembic")).await.expect(0);
    assert_eq!(dump(&target).await, dump(&model).await);
    daemon.ctl("undo --confirm-destructive-reset RESET").await.expect(0);
    assert_eq!(oid(&target).await, first);
}

#[tokio::test]
async fn a_migration_that_fails_changes_nothing() {
    let target = target().await;
    let daemon = setup(&target, PUBLIC).start().await;
    run(&daemon, &alembic("alembic")).await.expect(0);
    let before = (target.state().await, oid(&target).await);
    let out = run(&daemon, &alembic("broken")).await;
    out.refused("TOOL_FAILED");
    assert_eq!(out.text("/error_detail/sqlstate"), "42P01");
    assert!(out.text("/error_detail/statement").contains("INSERT INTO no_such_table"), "{out}");
    assert!(out.text("/tool/output").contains("no_such_table"), "{out}");
    assert_eq!(before, (target.state().await, oid(&target).await));
    nothing_is_left(&target, &out).await;
}

/// What the tool left is not what the matrix says: nothing is swapped.
#[tokio::test]
async fn what_the_tool_did_is_validated() {
    let target = target().await;
    let daemon = setup(&target, &format!("{PUBLIC}tables = [\"orders\", \"invoice\"]\n")).start().await;
    let before = (target.state().await, oid(&target).await);
    let out = run(&daemon, &alembic("alembic")).await;
    out.refused("VALIDATION_DIFFERENCES");
    assert!(out.text("/error_detail/message").contains("missing table public.invoice"), "{out}");
    assert_eq!(before, (target.state().await, oid(&target).await));
    nothing_is_left(&target, &out).await;
}

#[tokio::test]
async fn a_tool_that_never_connects_has_failed() {
    let target = target().await;
    let daemon = setup(&target, PUBLIC).start().await;
    for (command, words) in
        [("true", "never connected"), ("exit 4", "exit code 4"), ("/no/such/tool", "exit code 127")]
    {
        let out = run(&daemon, command).await;
        out.refused("TOOL_FAILED");
        assert!(out.text("/error").contains(words), "{command}\n{out}");
        nothing_is_left(&target, &out).await;
    }
}

/// A tool that has changed something, has not ended, and says so.
const HANGS: &str =
    "psql -Xqc 'CREATE TABLE half_done (id int)' && echo stands && exec psql -Xqc 'SELECT pg_sleep(600)'";

#[tokio::test]
async fn a_tool_that_is_killed_changes_nothing() {
    let target = target().await;
    let daemon = setup(&target, PUBLIC).start().await;
    let before = (target.state().await, oid(&target).await);
    let command = HANGS.replace("exec psql -Xqc 'SELECT pg_sleep(600)'", "kill -9 $$");
    let out = run(&daemon, &command).await;
    out.refused("TOOL_FAILED");
    assert_eq!((out.at("/tool/signal").as_i64(), out.at("/tool/exit_code").as_i64()), (Some(9), None));
    assert_eq!(before, (target.state().await, oid(&target).await));
    nothing_is_left(&target, &out).await;
}

/// The client, and with it the stream, ends by a signal, in order and at once.
#[tokio::test]
async fn a_client_that_goes_away_changes_nothing() {
    let target = target().await;
    let daemon = setup(&target, PUBLIC).start().await;
    let before = (target.state().await, oid(&target).await);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let running = spawn(&daemon, HANGS);
        running.said("stands").await;
        running.signal(signal);
        let out = running.finish().await;
        if signal != Signal::SIGKILL {
            out.refused("GATEWAY_LOST");
        }
        let ended = "SELECT bool_and(state = 'finished' AND reason = 'GATEWAY_LOST') FROM resetd.operation";
        eventually("the operation ends", || async { target.control_rows(ended).await == [["t"]] }).await;
        assert_eq!(before, (target.state().await, oid(&target).await), "{signal}");
        assert_eq!(generated(&target, "new").await, [""; 0], "{signal}");
    }
    eventually("the roles go", || async {
        let roles =
            target.column("SELECT rolname FROM pg_roles WHERE rolname LIKE 'resetd\\_tool\\_%'").await;
        let mine =
            target.control_rows("SELECT right(replace(id::text, '-', ''), 16) FROM resetd.operation").await;
        !mine.iter().flatten().any(|id| roles.contains(&format!("resetd_tool_{id}")))
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_dies_under_a_tool_changes_nothing() {
    let target = target().await;
    let daemon = setup(&target, PUBLIC).spawn().await;
    let before = (target.state().await, oid(&target).await);
    let running = spawn(&daemon, HANGS);
    running.said("stands").await;
    daemon.kill().await;
    let next = setup(&target, PUBLIC).spawn().await;
    let ended = "SELECT bool_and(state = 'finished' AND outcome = 'abandoned') FROM resetd.operation";
    eventually("the operation ends", || async { target.control_rows(ended).await == [["t"]] }).await;
    running.signal(Signal::SIGKILL);
    assert_eq!(before, (target.state().await, oid(&target).await));
    eventually("nothing is left of it", || async {
        let ids = target.control_rows("SELECT id FROM resetd.operation").await;
        generated(&target, "new").await.is_empty() && tool_roles(&target, &ids[0][0]).await.is_empty()
    })
    .await;
    run(&next, &alembic("alembic")).await.expect(0);
}

/// What a tool left running when it said that it had succeeded is ended, and is nobody's afterwards.
#[tokio::test]
async fn what_a_tool_leaves_running_is_ended() {
    let target = target().await;
    let daemon = setup(&target, PUBLIC).start().await;
    let command = "psql -Xqc 'CREATE TABLE done (id int)'; \
        psql -Xqc 'BEGIN; CREATE TABLE late (id int); SELECT pg_sleep(600); COMMIT' >/dev/null 2>&1 & \
        until psql -XAtc \"SELECT 'r' FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'\" \
        | grep -q r; do :; done";
    let out = run(&daemon, command).await;
    out.expect(0);
    let made =
        "SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(target.rows(made).await, [["done".to_owned(), owner(&target)]]);
    nothing_is_left(&target, &out).await;
}

#[tokio::test]
async fn two_tools_at_once_are_refused() {
    let target = target().await;
    let daemon = setup(&target, PUBLIC).start().await;
    let running = spawn(&daemon, HANGS);
    running.said("stands").await;
    run(&daemon, "true").await.refused("TARGET_LOCKED");
    running.signal(Signal::SIGINT);
    running.finish().await.refused("GATEWAY_LOST");
}

#[tokio::test]
async fn a_tool_and_its_matrix_belong_together() {
    let (target, plain) = tokio::join!(target(), target());
    let daemon = setup(&target, PUBLIC).start().await;
    let out = daemon.ctl("run --scope database --confirm-destructive-reset RESET").await;
    out.refused("INVALID_REQUEST");
    assert!(out.text("/error").contains("filled by a migration tool"), "{out}");
    daemon
        .ctl_args(&["run", "--with", "true", "--confirm-destructive-reset", "RESET"])
        .await
        .refused("INVALID_REQUEST");
    let other = Setup::of(&plain).start().await;
    let out = run(&other, "true").await;
    out.refused("INVALID_REQUEST");
    assert!(out.text("/error").contains("is not filled by a migration tool"), "{out}");
}
