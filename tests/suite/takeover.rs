//! Locks that are lost, sessions that do not end, daemons that are gone: who is told what, and who takes over.

use harness::{
    Frozen, Gate, Hold, Postgres, Setup, TestTarget, collect,
    commands::RUN,
    database, eventually,
    operations::{asleep, lock_is_free, nobody_left, sleeping},
    request,
};
use model::{
    event::EventKind,
    lock::LockKey,
    operation::{Request, Verb, Wait},
};
use resetd::embedded::StopMode;

/// Who takes the target while a session of an earlier owner does not end fails, and says which one.
#[tokio::test]
async fn a_session_that_does_not_end_is_named_and_nothing_is_changed() {
    // A frozen backend is in the way of every database that is made or dropped on its server.
    let (cluster, postgres) = Postgres::private().await;
    let target = TestTarget::make_on(&postgres, harness::Make::migrated()).await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;
    let mut earlier = target.role_session().await;
    earlier.sql(&format!("SELECT pg_advisory_lock({})", LockKey::target(&target.database).0)).await;
    let frozen = Frozen::new(&earlier.pid.to_string());
    let out = daemon.ctl(RUN).await;
    out.expect(1).refused("ZOMBIE_BACKEND");
    assert_eq!(out.text("/error_detail/metadata/pid"), earlier.pid.to_string(), "{out}");
    for told in [out.text("/error"), &out.stderr] {
        assert!(told.contains(&format!("pid {}", earlier.pid)), "{out}");
    }
    lock_is_free(&target).await;
    assert_eq!(before, target.state().await);
    drop(frozen);
    daemon.ctl(RUN).await.expect(0);
    daemon.stop().await;
    cluster.stop(StopMode::Fast).await.unwrap();
}

/// The same for who recovers: it says so, and ends the operation only when that session is gone.
#[tokio::test]
async fn recovery_waits_for_a_session_that_does_not_end_and_says_so() {
    let (cluster, postgres) = Postgres::private().await;
    let (target, chains) = (TestTarget::make_on(&postgres, harness::Make::migrated()).await, sleeping());
    let there = Setup::of(&target).spawn().await;
    let here = Setup::of(&target).migrations(&chains).spawn().await;
    let before = target.state().await;
    let client = here.ctl_spawn(&format!("{RUN} --reconnect-timeout 1s"));
    asleep(&target).await;
    let pid = target.control_rows("SELECT work_pid FROM resetd.operation").await[0][0].clone();
    let frozen = Frozen::new(&pid);
    here.kill().await;
    eventually("the other daemon names the session", || async {
        let log = there.log();
        log.lines().any(|line| line.contains("not recovered yet") && line.contains(&format!("pid {pid}")))
    })
    .await;
    client.finish().await.expect(10);
    assert_eq!(target.control_rows("SELECT state FROM resetd.operation").await, [["running"]]);
    drop(frozen);
    eventually("the operation ends", || async {
        target.control_rows("SELECT outcome FROM resetd.operation").await == [["abandoned"]]
    })
    .await;
    nobody_left(&target).await;
    assert_eq!(before, target.state().await);
    there.ctl(RUN).await.expect(0);
    cluster.stop(StopMode::Immediate).await.unwrap();
}

/// The end of the lock's session is told as that, whatever the daemon was about to ask of it.
#[tokio::test]
async fn a_lock_that_is_lost_while_an_event_is_stored_is_told_as_lost() {
    for (line, code) in [
        (RUN, "SCHEMA_RESET"),
        (RUN, "COMMIT_PREPARED"),
        (database::RUN, "DATABASE_BUILT"),
        (database::RUN, "DATABASE_SWAPPED"),
    ] {
        let target = TestTarget::migrated().await;
        let daemon = Setup::of(&target).start().await;
        let before = target.state().await;
        let gate = Gate::before(&target, code).await;
        let client = daemon.ctl_spawn(line);
        database::reached(&target).await;
        target.control_sql("SELECT pg_terminate_backend(lock_pid) FROM resetd.operation").await;
        let out = client.finish().await;
        out.expect(1).refused("LOCK_LOST");
        assert!(out.text("/error").contains("holds the lock was lost"), "{code}\n{out}");
        gate.open().await;
        lock_is_free(&target).await;
        assert_eq!(before, target.state().await, "{code}");
        daemon.ctl(line).await.expect(0);
    }
}

#[tokio::test]
async fn a_place_in_the_queue_that_is_lost_is_told_as_lost() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let gate = Gate::before(&target, "SCHEMA_RESET").await;
    let mut api = daemon.api().await;
    let first = api.begin(&request(Verb::Run, &target)).await.unwrap();
    gate.reached().await;
    let client = daemon.ctl_spawn("migrate --wait");
    client.said("queued (position").await;
    target
        .control_sql("SELECT pg_terminate_backend(waiter_pid) FROM resetd.operation WHERE state = 'waiting'")
        .await;
    let out = client.finish().await;
    out.expect(1).refused("LOCK_LOST");
    gate.open().await;
    collect(first).await;
    daemon.ctl("validate").await.expect(0);
}

/// PostgreSQL as a whole goes away: the operation's lock went with it, and that is its end.
#[tokio::test]
async fn a_postgres_that_goes_away_takes_the_lock_with_it() {
    for (line, fast) in [(RUN, true), (database::RUN, true), (RUN, false), (database::RUN, false)] {
        let (mut cluster, postgres) = Postgres::private().await;
        let target = TestTarget::make_on(&postgres, harness::Make::migrated()).await;
        let daemon = Setup::of(&target).start().await;
        let before = target.state().await;
        let code = if line == RUN { "SCHEMA_RESET" } else { "DATABASE_BUILT" };
        // The gate goes with its session.
        let _gate = Gate::before(&target, code).await;
        let client = daemon.ctl_spawn(line);
        database::reached(&target).await;
        cluster.restart(if fast { StopMode::Fast } else { StopMode::Immediate }).await.unwrap();
        let out = client.finish().await;
        out.expect(1).refused("LOCK_LOST");
        assert_eq!(before, target.state().await);
        daemon.ctl(line).await.expect(0);
        daemon.stop().await;
        cluster.stop(StopMode::Fast).await.unwrap();
    }
}

/// What waits when its daemon dies is ended by one that runs already.
#[tokio::test]
async fn a_second_daemon_ends_what_waited_as_well() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let there = Setup::of(&target).start().await;
    let here = Setup::of(&target).migrations(&chains).spawn().await;
    let before = target.state().await;
    let (mut api, mut other) = (here.api().await, there.api().await);
    let mut runs = api.begin(&request(Verb::Run, &target)).await.unwrap();
    let runs = runs.until("PLANNED").await.operation;
    asleep(&target).await;
    let mut waits = Vec::new();
    for verb in [Verb::Migrate, Verb::Reset, Verb::Validate] {
        let mut stream = api.begin(&Request { wait: Wait::Forever, ..request(verb, &target) }).await.unwrap();
        waits.push(stream.until("QUEUED").await.operation);
    }
    here.kill().await;
    for id in waits.into_iter().chain([runs]) {
        let events = collect(other.watch(id, 1).await.unwrap()).await;
        let Some(EventKind::Finished(end)) = events.last().and_then(|e| e.kind.clone()) else {
            panic!("{events:#?}")
        };
        assert_eq!(end.exit_code(), 12, "{events:#?}");
        there.ctl(&format!("report get {id}")).await.expect(0);
    }
    nobody_left(&target).await;
    lock_is_free(&target).await;
    assert_eq!(before, target.state().await);
    there.ctl(RUN).await.expect(0);
}

/// Settings that end a session's statements soon after its daemon, and keep it otherwise, as every kind of session has them.
const SETTINGS: &str = "client_connection_check_interval,idle_session_timeout,statement_timeout,tcp_keepalives_idle,\
                        tcp_keepalives_interval,tcp_keepalives_count,tcp_user_timeout";

/// Writes down what the session that inserts into a table has.
fn witness(table: &str) -> String {
    let values: Vec<String> = SETTINGS.split(',').map(|name| format!("current_setting('{name}')")).collect();
    format!(
        "CREATE TABLE public.seen (name text, settings text);
         CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.seen VALUES (current_setting('application_name'), concat_ws(',', {}));
             RETURN NULL; END $$;
         CREATE TRIGGER see AFTER INSERT ON {table} EXECUTE FUNCTION public.see()",
        values.join(", ")
    )
}

#[tokio::test]
async fn every_session_has_the_daemons_settings_over_the_socket_and_over_tcp() {
    for tcp in [false, true] {
        let (target, chains) = (TestTarget::migrated().await, harness::Migrations::shipped());
        let setup = || {
            let setup = Setup::of(&target).migrations(&chains);
            if tcp { setup.over_tcp(&target) } else { setup }
        };
        let first = setup().start().await;
        // What a database says is overruled.
        for database in [&target.database, &target.control] {
            for setting in [
                "idle_session_timeout = 300",
                "client_connection_check_interval = 0",
                "statement_timeout = 20000",
            ] {
                target.sql(&format!("ALTER DATABASE {database} SET {setting}")).await;
            }
        }
        target.control_sql(&witness("resetd.instance")).await;
        target
            .control_sql("GRANT ALL ON public.seen TO PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC")
            .await;
        target
            .control_sql("CREATE TRIGGER see AFTER INSERT ON resetd.event EXECUTE FUNCTION public.see()")
            .await;
        target
            .role_sql(&witness("public.seen_by_a_revision").replace(
                "CREATE TABLE public.seen ",
                "CREATE TABLE public.seen_by_a_revision (); CREATE TABLE public.seen ",
            ))
            .await;
        chains.revision(
            "core/core_002.sql",
            "core_002",
            "core_001",
            "INSERT INTO public.seen_by_a_revision DEFAULT VALUES",
        );
        let daemon = setup().start().await;
        daemon.ctl("migrate").await.expect(0);
        let mut api = daemon.api().await;
        // On a shared session: an operation that waits tells its place.
        let mut holder = target.control_session().await;
        let key = LockKey::target(&target.database).0;
        holder.sql(&format!("SET idle_session_timeout = 0; SELECT pg_advisory_lock({key})")).await;
        let asked = Request { wait: Wait::Forever, ..request(Verb::Validate, &target) };
        api.begin(&asked).await.unwrap().until("QUEUED").await;
        holder.close().await;

        let expected = if tcp { "500ms,0,0,3,1,3,5000" } else { "500ms,0,0,0,0,0,0" };
        let mut names = Vec::new();
        for (place, rows) in [
            ("control", target.control_rows("SELECT DISTINCT name, settings FROM public.seen").await),
            ("target", target.rows("SELECT DISTINCT name, settings FROM public.seen").await),
        ] {
            for row in rows {
                assert_eq!(row[1], expected, "tcp {tcp}: {place} {row:?}");
                names.push(format!("{place} {}", row[0]));
            }
        }
        for kind in [
            "control resetd control",
            "control resetd instance",
            "control resetd butlers",
            "target resetd butlers",
        ] {
            assert!(names.iter().any(|name| name.starts_with(kind)), "{kind} in {names:?}");
        }
        first.stop().await;
    }
}

/// Only the control database knows whether a cancel came before the commit: it is asked in the same update that lets the
/// commit begin, and not a moment before.
#[tokio::test]
async fn a_cancel_between_the_last_statement_and_the_commit_holds() {
    for (line, last) in [(RUN, "VALIDATED"), (database::RUN, "DATABASE_BUILT")] {
        let (target, hold) = (TestTarget::migrated().await, Hold::new());
        let daemon = hold.setup(Setup::of(&target)).spawn().await;
        daemon.ctl(line).await.expect(0);
        let sequence = format!("SELECT sequence FROM resetd.event WHERE code = '{last}'");
        let point = target.control_rows(&sequence).await[0][0].clone();
        let before = target.state().await;
        hold.at(&point);
        let client = daemon.ctl_spawn(line);
        let id = hold.reached().await;
        // Not committed yet: the daemon's own looks for a cancel do not see it, and its commit meets it.
        let mut asked = target.control_session().await;
        asked
            .sql(&format!(
                "BEGIN; UPDATE resetd.operation SET cancel_requested_at = clock_timestamp() WHERE id = '{id}'"
            ))
            .await;
        hold.open(&point);
        let waits = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {} = ANY (pg_blocking_pids(pid)))",
            asked.pid
        );
        eventually("the commit meets it", || async { target.control_rows(&waits).await == [["t"]] }).await;
        asked.sql("COMMIT").await;
        let out = client.finish().await;
        out.expect(8).refused("CANCELLED");
        for _ in 0..2 {
            daemon.ctl(&format!("operations cancel {id}")).await.expect(0);
        }
        lock_is_free(&target).await;
        assert_eq!(before, target.state().await, "{line}");
    }
}

#[tokio::test]
async fn a_cancel_after_the_commit_was_prepared_is_refused_again_and_again() {
    let (target, hold) = (TestTarget::migrated().await, Hold::new());
    let daemon = hold.setup(Setup::of(&target)).spawn().await;
    daemon.ctl("validate").await.expect(0);
    hold.at("prepared");
    let client = daemon.ctl_spawn(RUN);
    let id = hold.reached().await;
    let refused = async || {
        for _ in 0..2 {
            let out = daemon.ctl(&format!("operations cancel {id}")).await;
            assert!(out.expect(4).stderr.contains("NOT_CANCELLABLE"), "{out}");
        }
    };
    refused().await;
    hold.open("prepared");
    client.finish().await.expect(0);
    refused().await;
}

/// A cancel that was accepted is never followed by a success, not even of what only read; nor is it refused later.
#[tokio::test]
async fn what_took_a_cancel_ends_as_cancelled() {
    let (target, hold) = (TestTarget::migrated().await, Hold::new());
    let daemon = hold.setup(Setup::of(&target)).spawn().await;
    for (line, code) in [("validate", "VALIDATED"), ("run --dry-run", "PLANNED")] {
        hold.at("3");
        let client = daemon.ctl_spawn(line);
        let id = hold.reached().await;
        let stored = format!("SELECT code FROM resetd.event WHERE operation = '{id}' AND sequence = 3");
        assert_eq!(target.control_rows(&stored).await, [[code]]);
        daemon.ctl(&format!("operations cancel {id}")).await.expect(0);
        hold.open("3");
        let out = client.finish().await;
        out.expect(8).refused("CANCELLED");
        daemon.ctl(&format!("operations cancel {id}")).await.expect(0);
    }
}
