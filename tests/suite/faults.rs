//! Daemons and PostgreSQL that die at the worst moment: what is told afterwards is what happened, and the lock is free.

use std::path::PathBuf;

use harness::{
    Daemon, Event, Gate, Make, Migrations, Output, Postgres, Session, Setup, TestTarget, collect,
    commands::RUN,
    eventually,
    operations::{asleep, lock_is_free, nobody_left, sleeping},
    request,
};
use model::{
    event::{EventKind, Finished},
    operation::Verb,
};
use resetd::embedded::StopMode;
use tempfile::TempDir;
use uuid::Uuid;

/// A place where one daemon after the other listens, so that a client finds the next one.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("resetd.sock")
    }

    fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// A daemon here, with these bare keys at the top of its configuration.
    fn setup(&self, target: &TestTarget, keys: &str) -> Setup {
        let text = format!(
            "{keys}\n{}[target.{}]\ndatabase_url_env = \"TARGET\"\n",
            target.control_section(),
            target.name
        );
        Setup::of(target).config(&text).env("TARGET", &target.url()).listen(&self.address())
    }
}

/// The only operation.
async fn operation(target: &TestTarget) -> Uuid {
    let rows = target.control_rows("SELECT id FROM resetd.operation").await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0][0].parse().unwrap()
}

/// Its events up to the end: numbered without a gap, with one end.
async fn story(daemon: &Daemon, id: Uuid) -> (Vec<Event>, Finished) {
    let events = collect(daemon.api().await.watch(id, 1).await.unwrap()).await;
    let events: Vec<Event> = events.into_iter().filter(|e| e.sequence > 0).collect();
    let numbers: Vec<u64> = events.iter().map(|e| e.sequence).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "{events:#?}");
    assert_eq!(events.iter().filter(|e| e.is_terminal()).count(), 1, "{events:#?}");
    match events.last().and_then(|e| e.kind.clone()) {
        Some(EventKind::Finished(end)) => (events, *end),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn report_says(out: &Output, status: &str, outcome: &str) {
    assert_eq!((out.text("/status"), out.text("/outcome")), (status, outcome), "{out}");
}

/// SIGKILL in the middle of a revision: the next daemon says that it was abandoned, and nothing changed.
#[tokio::test]
async fn killed_before_the_commit_everything_is_rolled_back() {
    for line in [RUN, "migrate"] {
        let (target, chains, place) = (TestTarget::migrated().await, sleeping(), Place::new());
        let daemon = place.setup(&target, "").migrations(&chains).spawn().await;
        let before = target.state().await;
        let client = daemon.ctl_spawn(line);
        asleep(&target).await;
        daemon.kill().await;
        let next = place.setup(&target, "").spawn().await;
        let out = client.finish().await;
        out.expect(12).refused("ABANDONED");
        report_says(&out, "error", "abandoned");
        let (_, end) = story(&next, operation(&target).await).await;
        assert_eq!(end.exit_code(), 12);
        nobody_left(&target).await;
        lock_is_free(&target).await;
        assert_eq!(before, target.state().await, "{line}");
        next.ctl(RUN).await.expect(0);
    }
}

/// SIGKILL after the target's COMMIT and before the end was written: the next daemon says that it succeeded, with the
/// report that was prepared.
#[tokio::test]
async fn killed_after_the_commit_it_has_succeeded() {
    for line in [RUN, "reset --confirm-destructive-reset RESET", "migrate"] {
        let (target, chains, place) = (TestTarget::migrated().await, Migrations::shipped(), Place::new());
        chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE late (n int);");
        let daemon = place.setup(&target, "").migrations(&chains).spawn().await;
        let gate = Gate::before(&target, "FINISHED").await;
        let client = daemon.ctl_spawn(line);
        gate.reached().await;
        let id = operation(&target).await;
        let row = "SELECT state, pg_xact_status(work_xid), prepared_report FROM resetd.operation";
        let prepared = target.control_rows(row).await.remove(0);
        assert_eq!(prepared[..2], ["committing", "committed"]);
        daemon.kill().await;
        gate.open().await;
        assert!(
            target
                .holds(
                    "SELECT to_regclass('general.state') IS NULL OR to_regclass('general.late') IS NOT NULL"
                )
                .await
        );
        let next = place.setup(&target, "").migrations(&chains).spawn().await;
        let out = client.finish().await;
        out.expect(0);
        report_says(&out, "ok", "succeeded");
        let on_disk = std::fs::read_to_string(out.report_path.as_ref().unwrap()).unwrap();
        assert_eq!(on_disk, prepared[2], "the report that was prepared");
        let (events, end) = story(&next, id).await;
        assert_eq!(end.error, None, "{events:#?}");
        lock_is_free(&target).await;
        next.ctl(RUN).await.expect(0);
    }
}

/// Before the plan nothing was begun; a waiting operation is abandoned as well.
#[tokio::test]
async fn killed_with_operations_that_wait() {
    let (target, chains, place) = (TestTarget::migrated().await, sleeping(), Place::new());
    let daemon = place.setup(&target, "").migrations(&chains).spawn().await;
    let before = target.state().await;
    let runs = daemon.ctl_spawn(RUN);
    asleep(&target).await;
    let waits = daemon.ctl_spawn("migrate --wait");
    waits.said("queued (position").await;
    daemon.kill().await;
    let next = place.setup(&target, "").spawn().await;
    let (runs, waits) = tokio::join!(runs.finish(), waits.finish());
    for out in [&runs, &waits] {
        out.expect(12).refused("ABANDONED");
    }
    nobody_left(&target).await;
    assert_eq!(before, target.state().await);
    next.ctl(RUN).await.expect(0);
}

/// Another daemon on the same cluster takes over without a restart of anything.
#[tokio::test]
async fn a_second_daemon_takes_over() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let there = Setup::of(&target).start().await;
    let here = Setup::of(&target).migrations(&chains).spawn().await;
    let before = target.state().await;
    let mut stream = here.api().await.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = stream.until("PLANNED").await.operation;
    asleep(&target).await;
    let watched = tokio::spawn({
        let mut api = there.api().await;
        async move { collect(api.watch(id, 1).await.unwrap()).await }
    });
    here.kill().await;
    let events = watched.await.unwrap();
    assert!(events.last().is_some_and(Event::is_terminal), "{events:#?}");
    let (_, end) = story(&there, id).await;
    assert_eq!(end.exit_code(), 12);
    assert_eq!(before, target.state().await);
    there.ctl(RUN).await.expect(0);
}

async fn end_backend(target: &TestTarget, column: &str) {
    let pid = &target.control_rows(&format!("SELECT {column} FROM resetd.operation")).await[0][0];
    target.sql(&format!("SELECT pg_terminate_backend({pid})")).await;
}

/// Somebody ends one of the operation's sessions: it fails, everything is rolled back, and the next one runs.
#[tokio::test]
async fn a_session_of_the_operation_that_is_ended_fails_it() {
    for (column, reasons) in
        [("work_pid", ["TARGET_UNREACHABLE", "REVISION_FAILED"]), ("lock_pid", ["LOCK_LOST", "LOCK_LOST"])]
    {
        let (target, chains) = (TestTarget::migrated().await, sleeping());
        let daemon = Setup::of(&target).migrations(&chains).start().await;
        let before = target.state().await;
        let client = daemon.ctl_spawn(RUN);
        asleep(&target).await;
        end_backend(&target, column).await;
        let out = client.finish().await;
        out.expect(1);
        report_says(&out, "error", "failed");
        assert!(reasons.contains(&out.text("/error_detail/reason")), "{column}\n{out}");
        let (_, end) = story(&daemon, operation(&target).await).await;
        assert_eq!(end.exit_code(), 1);
        nobody_left(&target).await;
        lock_is_free(&target).await;
        assert_eq!(before, target.state().await, "{column}");
        std::fs::remove_file(chains.path().join("core/core_002.sql")).unwrap();
        daemon.ctl(RUN).await.expect(0);
    }
}

/// The lock's session is ended after the commit: it has succeeded all the same.
#[tokio::test]
async fn a_lock_that_is_lost_after_the_commit_changes_nothing() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let gate = Gate::before(&target, "FINISHED").await;
    let client = daemon.ctl_spawn(RUN);
    gate.reached().await;
    end_backend(&target, "lock_pid").await;
    gate.open().await;
    let out = client.finish().await;
    out.expect(0);
    report_says(&out, "ok", "succeeded");
    lock_is_free(&target).await;
    assert!(target.holds("SELECT count(*) = 0 FROM general.state").await);
}

#[tokio::test]
async fn a_postgres_that_restarts_fails_the_run_and_loses_nothing() {
    for mode in [StopMode::Fast, StopMode::Immediate] {
        let (mut cluster, postgres) = Postgres::private().await;
        let (target, chains) = (TestTarget::make_on(&postgres, Make::migrated()).await, sleeping());
        let daemon = Setup::of(&target).migrations(&chains).start().await;
        let before = target.state().await;
        let client = daemon.ctl_spawn(RUN);
        asleep(&target).await;
        let id = operation(&target).await;
        cluster.restart(mode).await.unwrap();
        let out = client.finish().await;
        assert!([1, 12].contains(&out.code), "{mode:?}\n{out}");
        assert_eq!(out.text("/status"), "error", "{mode:?}\n{out}");
        let (_, end) = story(&daemon, id).await;
        assert_eq!(i32::from(end.exit_code()), out.code, "{mode:?}\n{out}");
        nobody_left(&target).await;
        assert_eq!(before, target.state().await, "{mode:?}");
        std::fs::remove_file(chains.path().join("core/core_002.sql")).unwrap();
        daemon.ctl(RUN).await.expect(0);
        daemon.stop().await;
        cluster.stop(StopMode::Fast).await.unwrap();
    }
}

#[tokio::test]
async fn a_cluster_that_is_down_is_told() {
    let (cluster, postgres) = Postgres::private().await;
    let target = TestTarget::make_on(&postgres, Make::migrated()).await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl("validate").await.expect(0);
    cluster.stop(StopMode::Fast).await.unwrap();
    let out = daemon.ctl(RUN).await;
    assert!([1, 11].contains(&out.code), "{out}");
    assert!(
        ["CONTROL_UNAVAILABLE", "TARGET_UNREACHABLE"].contains(&out.text("/error_detail/reason")),
        "{out}"
    );
    // One that starts meanwhile says what is wrong, and ends.
    let late = tokio::process::Command::new(harness::binary("resetd"))
        .args(["serve", "--listen", "127.0.0.1:0", "--insecure-loopback"])
        .env("BUTLERS_DATABASE_URL", target.url())
        .current_dir(daemon.folder())
        .kill_on_drop(true)
        .output();
    let late = harness::soon("the end of a daemon without a cluster", late).await.unwrap();
    let said = String::from_utf8_lossy(&late.stderr).into_owned();
    assert_eq!(late.status.code(), Some(1), "{said}");
    assert!(said.contains("what to do:") && !said.contains(&target.postgres.password), "{said}");
}

/// A daemon whose own database is the superuser's, and whose target is a restricted role's over TCP, where its password
/// is proved.
fn apart(target: &TestTarget) -> Setup {
    let text = format!(
        "[control]\ndatabase_url_env = \"CONTROL\"\n[target.{}]\ndatabase_url_env = \"TARGET\"\n",
        target.name
    );
    let control = target.postgres.tcp_url_of("postgres", &target.postgres.password, &target.control);
    Setup::of(target).config(&text).env("CONTROL", &control).env("TARGET", &target.tcp_url())
}

#[tokio::test]
async fn a_target_that_cannot_be_had_says_why_in_postgres_own_code() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    let daemon = apart(&target).start().await;
    daemon.ctl("validate").await.expect(0);
    let admin = target.postgres.url("postgres");
    let told = async |sqlstate: &str, hint: &str| {
        for line in [RUN, "validate", "run --dry-run"] {
            let out = daemon.ctl(line).await;
            out.expect(1).refused("TARGET_UNREACHABLE");
            assert_eq!(out.text("/error_detail/sqlstate"), sqlstate, "{out}");
            assert!(out.stderr.contains(hint), "{hint}\n{out}");
            assert!(!out.to_string().contains("restricted-secret"), "the password is told\n{out}");
        }
    };
    target.sql(&format!("ALTER ROLE {} PASSWORD 'another'", target.role)).await;
    told("28P01", "password").await;
    target.sql(&format!("ALTER ROLE {} PASSWORD 'restricted-secret' NOLOGIN", target.role)).await;
    told("28000", "role").await;
    target.sql(&format!("ALTER ROLE {} LOGIN", target.role)).await;
    daemon.ctl("validate").await.expect(0);
    let mut session = Session::open(&admin).await;
    session.sql(&format!("ALTER DATABASE {0} RENAME TO {0}_away", target.database)).await;
    told("3D000", "database").await;
    session.sql(&format!("ALTER DATABASE {0}_away RENAME TO {0}", target.database)).await;
    daemon.ctl(RUN).await.expect(0);
}

/// A role that may drop its schemas and not make new ones would lose them: it is told before.
#[tokio::test]
async fn a_role_without_the_right_to_create_is_refused_before_anything_is_dropped() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    let daemon = Setup::of(&target).start().await;
    target.sql(&format!("ALTER DATABASE {} OWNER TO postgres", target.database)).await;
    let before = target.state().await;
    for line in [RUN, "reset --confirm-destructive-reset RESET"] {
        let out = daemon.ctl(line).await;
        out.expect(4).refused("PREFLIGHT_FAILED");
        assert!(out.to_string().contains("GRANT CREATE ON DATABASE"), "it says what mends it\n{out}");
    }
    assert_eq!(before, target.state().await);
    target.sql(&format!("GRANT CREATE ON DATABASE {} TO {}", target.database, target.role)).await;
    daemon.ctl(RUN).await.expect(0);
}

#[tokio::test]
async fn told_to_end_it_lets_an_operation_finish() {
    let (target, place) = (TestTarget::migrated().await, Place::new());
    let daemon = place.setup(&target, "").spawn().await;
    let gate = Gate::before(&target, "SCHEMA_RESET").await;
    let client = daemon.ctl_spawn(RUN);
    gate.reached().await;
    let (status, ()) = tokio::join!(daemon.terminate(), async {
        eventually("the daemon takes no new operations", || async {
            let out = daemon.ctl("validate --wait=1s --reconnect-timeout 1s").await;
            out.stderr.contains("SHUTTING_DOWN")
        })
        .await;
        gate.open().await;
    });
    assert!(status.success(), "{status}\n{}", daemon.log());
    assert!(target.holds("SELECT count(*) = 0 FROM general.state").await, "it went to its end");
    let row = target.control_rows("SELECT outcome FROM resetd.operation WHERE verb = 'run'").await;
    assert_eq!(row, [["succeeded"]]);
    // The client saw the end, or finds it at the next daemon.
    let _next = place.setup(&target, "").spawn().await;
    client.finish().await.expect(0);
}

#[tokio::test]
async fn told_to_end_it_cancels_what_does_not_finish_in_time() {
    let (target, chains, place) = (TestTarget::migrated().await, sleeping(), Place::new());
    let daemon = place.setup(&target, "shutdown_grace = \"1s\"").migrations(&chains).spawn().await;
    let before = target.state().await;
    let client = daemon.ctl_spawn(RUN);
    asleep(&target).await;
    let status = daemon.terminate().await;
    assert!(status.success(), "{status}\n{}", daemon.log());
    assert!(!place.socket().exists(), "its socket is gone");
    nobody_left(&target).await;
    assert_eq!(before, target.state().await);
    let next = place.setup(&target, "").spawn().await;
    let out = client.finish().await;
    out.expect(8).refused("CANCELLED");
    assert!(out.text("/error").contains("shut down"), "{out}");
    next.ctl(RUN).await.expect(0);
}

#[tokio::test]
async fn told_to_end_while_idle_it_goes_and_leaves_nothing() {
    for signal in [harness::Signal::SIGTERM, harness::Signal::SIGINT] {
        let (target, place) = (TestTarget::migrated().await, Place::new());
        let daemon = place.setup(&target, "").spawn().await;
        daemon.ctl("validate").await.expect(0);
        let port = daemon.folder().join("port");
        assert!(place.socket().exists() && port.exists());
        let status = daemon.end_by(signal).await;
        assert_eq!(status.code(), Some(0), "{status}\n{}", daemon.log());
        assert!(!place.socket().exists() && !port.exists(), "{}", daemon.log());
        target
            .until(&format!(
                "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = '{}')",
                target.control
            ))
            .await;
    }
}

#[tokio::test]
async fn two_daemons_that_start_at_once_make_one_control_database() {
    for _ in 0..5 {
        let target = TestTarget::migrated().await;
        let (here, there) = tokio::join!(Setup::of(&target).start(), Setup::of(&target).start());
        let (a, b) = tokio::join!(here.ctl("validate --wait"), there.ctl("validate --wait"));
        a.expect(0);
        b.expect(0);
        assert_eq!(target.control_rows("SELECT count(*) FROM resetd.instance").await, [["2"]]);
        assert_eq!(target.control_rows("SELECT version_num FROM resetd.alembic_version").await.len(), 1);
    }
}

/// A daemon that is stopped, not dead, keeps its lock: nobody takes over from somebody who lives.
#[tokio::test]
async fn a_daemon_that_only_pauses_is_not_taken_over() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let here = Setup::of(&target).migrations(&chains).spawn().await;
    let there = Setup::of(&target).start().await;
    let gate = Gate::before(&target, "SCHEMA_RESET").await;
    let client = here.ctl_spawn(RUN);
    gate.reached().await;
    here.pause().await;
    there.ctl("migrate").await.expect(9).refused("TARGET_LOCKED");
    let state = "SELECT state FROM resetd.operation";
    assert_eq!(target.control_rows(state).await, [["running"]]);
    gate.open().await;
    here.resume().await;
    client.finish().await.expect(0);
}
