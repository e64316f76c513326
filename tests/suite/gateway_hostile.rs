//! A migration tool that tries what it must not, and the roles that tools may have.

use harness::{
    Because, Make, Setup, TestTarget,
    database::{generated, oid},
    eventually,
};
use nix::sys::signal::Signal;

use crate::gateway::{alembic, nothing_is_left, owner, program, project, run, setup, spawn, target};

/// In a schema of its own that the matrix names.
const APP: &str = "matrix = \"tooled\"\n[matrix.tooled.tool]\nschemas = [\"app\", \"public\"]\n";

/// What comes of each attempt: `docs/security.md` has the same list in words.
const OUTCOMES: &[(&str, &str)] = &[
    ("database postgres", "database \"postgres\" cannot be reached through the gateway of resetd"),
    ("database template1", "database \"template1\" cannot be reached through the gateway of resetd"),
    ("another user", "role \"postgres\" cannot be used through the gateway of resetd"),
    ("another password", "password authentication failed for user \"TOOL\""),
    ("replication", "the gateway of resetd takes no replication connections"),
    ("logical replication", "the gateway of resetd takes no replication connections"),
    ("the server itself", "password authentication failed for user \"TOOL\""),
    ("COPY PROGRAM", "42501"),
    ("COPY PROGRAM in DO", "42501"),
    ("COPY FROM file", "42501"),
    ("pg_read_file", "42501"),
    ("lo_import", "42501"),
    ("terminate others", "42501"),
    ("cancel others", "42501"),
    ("reload", "42501"),
    ("SET ROLE", "42501"),
    ("SESSION AUTHORIZATION", "42501"),
    ("be a superuser", "42501"),
    ("read everything", "42501"),
    ("make a role", "42501"),
    ("make a database", "42501"),
    ("rename the target", "42501"),
    ("set the target", "42501"),
    ("drop the target", "42501"),
    ("ALTER SYSTEM", "42501"),
    ("a C function", "42501"),
    ("an event trigger", "42501"),
    ("a subscription", "42501"),
    ("read the passwords", "42501"),
    ("session_replication_role", "42501"),
];

#[tokio::test]
async fn a_hostile_tool_gets_nowhere() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    let mut victim = target.control_session().await;
    let pid = victim.rows("SELECT pg_backend_pid()").await[0][0].clone();
    let server =
        target.postgres.tcp_url_of("nobody", "x", "postgres").replace("postgres://", "postgresql://");
    let cluster =
        "SELECT (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
          WHERE d.datname = current_database()),
        (SELECT count(*) FROM pg_roles WHERE rolname = 'resetd_hostile'),
        (SELECT count(*) FROM pg_database WHERE datname = 'resetd_hostile'),
        (SELECT setting FROM pg_settings WHERE name = 'work_mem')";
    let before = target.rows(cluster).await;
    let command =
        format!("{} {} '{server}' {} {pid}", program("python"), project("hostile.py"), target.database);
    let out = run(&daemon, &command).await;
    out.expect(0);
    let tool = out.text("/tool/role").to_owned();
    for (attempt, state) in OUTCOMES {
        assert!(
            out.stderr.contains(&format!("{attempt}: {}\n", state.replace("TOOL", &tool))),
            "{attempt}: {state}\n{}",
            out.stderr
        );
    }
    let attempts = out.text("/tool/output").lines().filter(|line| line.contains(": ")).count();
    assert_eq!(attempts, OUTCOMES.len() + 1, "each attempt has its outcome\n{out}");
    assert!(out.stderr.contains("tokens seen: 0"), "{out}");
    assert_eq!(target.rows(cluster).await, before);
    assert_eq!(victim.rows("SELECT 1").await, [["1"]]);
    nothing_is_left(&target, &out).await;
}

#[tokio::test]
async fn drivers_find_what_they_know() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    let out = run(&daemon, &format!("{} {}", program("python"), project("fidelity.py"))).await;
    out.expect(0);
    assert_eq!(out.text("/tool/output"), "search_path \"app\",\"public\"\n");
    assert!(target.holds("SELECT count(*) = 20000 FROM app.copied").await);
    let owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace IN ('app'::regnamespace, 'public'::regnamespace)";
    assert_eq!(target.column(owners).await, [owner(&target)]);
}

/// The client stands still, as behind a network that was cut: nobody says goodbye.
#[tokio::test]
async fn a_caller_who_falls_silent_changes_nothing() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    let before = (target.state().await, oid(&target).await);
    let running = spawn(
        &daemon,
        "psql -Xqc 'CREATE TABLE half_done (id int)' && echo stands && exec psql -Xqc 'SELECT pg_sleep(600)'",
    );
    running.said("stands").await;
    running.signal(Signal::SIGSTOP);
    let ended = "SELECT bool_and(state = 'finished' AND reason = 'GATEWAY_LOST') FROM resetd.operation";
    eventually("the operation ends", || async { target.control_rows(ended).await == [["t"]] }).await;
    assert_eq!(before, (target.state().await, oid(&target).await));
    assert_eq!(generated(&target, "new").await, [""; 0]);
    running.signal(Signal::SIGCONT);
    running.finish().await.refused("GATEWAY_LOST");
}

/// A daemon whose admin named the role of tools.
fn named(target: &TestTarget, role: &str) -> Setup {
    let url = target.postgres.tcp_url_of(role, "named-secret", &target.database);
    let url = match target.url().contains("127.0.0.1") {
        true => url,
        false => target.postgres.url_of(role, "named-secret", &target.database),
    };
    setup(target, &format!("tool_url_env = \"TOOL_URL\"\n{APP}")).env("TOOL_URL", &url)
}

#[tokio::test]
async fn a_named_role_that_may_do_more_is_refused() {
    let target = target().await;
    let role = format!("tool_of_{}", target.database);
    let daemon = named(&target, &role).start().await;
    let before = (target.state().await, oid(&target).await);
    run(&daemon, "true").await.refused("GATEWAY_ROLE");
    target.sql(&format!("CREATE ROLE {role} NOLOGIN NOINHERIT PASSWORD 'named-secret'")).await;
    target.let_act_as(&[&role]).await;
    let steps = [
        ("", "may not log in"),
        ("ALTER ROLE {role} LOGIN SUPERUSER", "SUPERUSER"),
        ("ALTER ROLE {role} NOSUPERUSER CREATEROLE", "CREATEROLE"),
        ("ALTER ROLE {role} NOCREATEROLE CREATEDB", "CREATEDB"),
        ("ALTER ROLE {role} NOCREATEDB REPLICATION", "REPLICATION"),
        ("ALTER ROLE {role} NOREPLICATION BYPASSRLS", "BYPASSRLS"),
        ("ALTER ROLE {role} NOBYPASSRLS; GRANT pg_signal_backend TO {role}", "pg_signal_backend"),
        (
            "REVOKE pg_signal_backend FROM {role}; GRANT pg_execute_server_program TO {role}",
            "pg_execute_server_program",
        ),
        ("REVOKE pg_execute_server_program FROM {role}", "does not inherit"),
    ];
    for (sql, word) in steps {
        target.sql(&sql.replace("{role}", &role)).await;
        let out = run(&daemon, "true").await;
        out.refused("GATEWAY_ROLE");
        assert!(out.text("/error").contains(word), "{word}\n{out}");
        assert_eq!(before.1, oid(&target).await);
    }
    target.sql(&format!("ALTER ROLE {role} INHERIT")).await;
    // A plan says so before.
    run(&daemon, &alembic("alembic")).await.expect(0);
    assert!(target.holds("SELECT to_regclass('app.orders') IS NOT NULL").await);
    let owns = format!(
        "SELECT count(*) FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid WHERE r.rolname = '{role}'"
    );
    assert_eq!(target.column(&owns).await, ["0"], "nothing is the tool's");
}

#[tokio::test]
async fn what_a_superuser_would_own_is_refused_before_anything_is_built() {
    let target =
        TestTarget::make(Make { template: None, ..Make::superuser(Because::ItIsAboutSuperusers) }).await;
    let daemon = setup(&target, APP).start().await;
    let out = run(&daemon, "true").await;
    out.refused("GATEWAY_ROLE");
    assert!(out.text("/error").contains("a superuser"), "{out}");
    let dry = daemon.ctl_args(&["run", "--scope", "database", "--dry-run", "--with", "true"]).await;
    dry.expect(0);
    assert_eq!(dry.text("/plan/refusal/reason"), "GATEWAY_ROLE", "{dry}");
}

/// The digest of what was approved is the digest of what is run, and on the audit record.
#[tokio::test]
async fn the_command_is_part_of_the_plan_and_on_the_record() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    let dry =
        daemon.ctl_args(&["run", "--scope", "database", "--dry-run", "--with", "psql -c 'SELECT 1'"]).await;
    dry.expect(0);
    let digest = dry.text("/plan/digest").to_owned();
    let with = |command: &'static str| {
        let digest = digest.clone();
        let daemon = &daemon;
        async move {
            let words =
                ["run", "--scope", "database", "--confirm-destructive-reset", "RESET", "--plan-digest"];
            let words: Vec<&str> = words.into_iter().chain([digest.as_str(), "--with", command]).collect();
            daemon.ctl_args(&words).await
        }
    };
    with("psql -c 'SELECT 2'").await.refused("PLAN_CHANGED");
    let out = with("psql -c 'SELECT 1'").await;
    out.expect(0);
    let command = out.text("/tool/command_sha256");
    assert_eq!(dry.text("/plan/tool_command"), command);
    let recorded = format!(
        "SELECT count(*)::text FROM resetd.audit_record
          WHERE body::json ->> 'operation' = '{}' AND body::json ->> 'detail' = 'command {command}'",
        out.text("/operation")
    );
    assert_eq!(target.control_rows(&recorded).await, [["1"]]);
    assert!(!daemon.log().contains("SELECT 1"), "no command is in the log");
}

/// A tool that reaches the server past the daemon leaves something of its role's in another database: the role stays, and
/// nobody logs in as it any more.
#[tokio::test]
async fn a_role_that_cannot_be_dropped_cannot_log_in() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    let direct =
        target.postgres.tcp_url_of("WHO", "hello", &target.database).replace("postgres://", "postgresql://");
    let command = format!(
        "psql -qc \"ALTER ROLE CURRENT_USER PASSWORD 'hello'\" && \
         psql \"$(echo '{direct}' | sed \"s/WHO/$PGUSER/\")\" -qc 'SELECT lo_create(0)'; exit 1"
    );
    let out = run(&daemon, &command).await;
    out.refused("TOOL_FAILED");
    let logs_in = "SELECT rolname || ' ' || rolcanlogin FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
        WHERE d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND rolname LIKE 'resetd\\_tool\\_%'";
    eventually("the role is locked out", || async {
        let roles = target.column(logs_in).await;
        assert_eq!(roles.len(), 1, "{out}");
        roles[0].ends_with(" false")
    })
    .await;
    target.sql("SELECT lo_unlink(oid) FROM pg_largeobject_metadata").await;
    daemon.ctl("validate").await;
    nothing_is_left(&target, &out).await;
}

/// What a tool prepares for a two-phase commit and leaves holds locks that nobody's end lets go.
#[tokio::test]
async fn what_a_tool_leaves_prepared_is_rolled_back() {
    let target = target().await;
    let daemon = setup(&target, APP).start().await;
    for end in ["", "; exit 3"] {
        let command = format!(
            "psql -qc \"BEGIN; CREATE TABLE app.more (id int); PREPARE TRANSACTION 'of {}'\"{end}",
            target.database
        );
        let out = run(&daemon, &command).await;
        out.refused("TOOL_FAILED");
        assert_eq!(out.text("/error").contains("left transactions prepared"), end.is_empty(), "{out}");
        let prepared = format!("SELECT gid FROM pg_prepared_xacts WHERE gid = 'of {}'", target.database);
        assert_eq!(target.column(&prepared).await, [""; 0]);
        nothing_is_left(&target, &out).await;
    }
}
