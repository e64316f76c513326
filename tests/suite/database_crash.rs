//! Scope database, ended at any stage: by SIGKILL, by a cancel. Afterwards the old database serves or the swap is done, and
//! nothing is left over.

use harness::{
    Gate, Migrations, Setup, TestTarget,
    database::{RUN, generated, oid, reached},
    eventually, request,
};
use model::{operation::Verb, profile::Scope};

/// Kills the daemon before it stores an event, lets another one take over, and gives what became of the operation.
async fn killed_before(code: &str, undo: bool) {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    if undo {
        daemon.ctl(RUN).await.expect(0);
    }
    let before = (target.state().await, oid(&target).await);
    let kept = generated(&target, "kept").await;
    let gate = Gate::before(&target, code).await;
    let verb = if undo { Verb::Undo } else { Verb::Run };
    let mut wanted = request(verb, &target);
    if !undo {
        wanted.scope = Some(Scope::Database);
        wanted.scope_named = true;
    }
    let mut api = daemon.api().await;
    let events = api.begin(&wanted).await.expect("accepted");
    reached(&target).await;
    daemon.kill().await;
    drop(events);
    gate.open().await;

    let next = Setup::of(&target).spawn().await;
    eventually("the operation has its end", || async {
        target.control_rows("SELECT bool_and(state = 'finished') FROM resetd.operation").await == [["t"]]
    })
    .await;
    let ends = "SELECT outcome, (SELECT count(*) FROM resetd.event e WHERE e.operation = o.id AND e.terminal)
        FROM resetd.operation o ORDER BY created_at DESC LIMIT 1";
    let ends = target.control_rows(ends).await;
    assert_eq!(ends, [["abandoned", "1"]], "{code}");
    assert_eq!(before, (target.state().await, oid(&target).await), "{code}");
    assert_eq!(generated(&target, "new").await, [""; 0], "{code}");
    assert_eq!(generated(&target, "kept").await, kept, "{code}");
    let states = target.control_rows("SELECT DISTINCT state FROM resetd.kept_database").await;
    assert!(states.is_empty() || states == [["kept"]], "{code}: {states:?}");
    // The lock is free, and it works now.
    let line = if undo { "undo --confirm-destructive-reset RESET" } else { RUN };
    next.ctl(line).await.expect(0);
    assert_ne!(before.1, oid(&target).await, "{code}");
}

macro_rules! killed {
    ($($name:ident $code:literal $undo:literal)+) => { $(
        #[tokio::test]
        async fn $name() {
            killed_before($code, $undo).await;
        }
    )+ };
}

killed! {
    killed_before_the_plan "PLANNED" false
    killed_before_a_revision "REVISION_APPLIED" false
    killed_before_a_chains_end "CHAIN_COMPLETED" false
    killed_before_the_validation "VALIDATED" false
    killed_before_the_database_is_built "DATABASE_BUILT" false
    killed_in_the_swap "DATABASE_SWAPPED" false
    killed_before_the_end "FINISHED" false
    killed_before_the_plan_of_an_undo "PLANNED" true
    killed_in_the_swap_of_an_undo "DATABASE_SWAPPED" true
}

/// Killed as soon as an event is seen, wherever the daemon is by then.
#[tokio::test]
async fn killed_after_any_event_it_is_done_or_not() {
    for code in ["ACCEPTED", "PLANNED", "DATABASE_BUILT", "DATABASE_SWAPPED", "FINISHED"] {
        let target = TestTarget::migrated().await;
        let daemon = Setup::of(&target).spawn().await;
        let before = (target.state().await, oid(&target).await);
        let mut wanted = request(Verb::Run, &target);
        wanted.scope = Some(Scope::Database);
        wanted.scope_named = true;
        let mut api = daemon.api().await;
        let mut events = api.begin(&wanted).await.expect("accepted");
        events.until(code).await;
        daemon.kill().await;
        let next = Setup::of(&target).spawn().await;
        eventually("the operation has its end", || async {
            target.control_rows("SELECT bool_and(state = 'finished') FROM resetd.operation").await == [["t"]]
        })
        .await;
        let outcome = target
            .control_rows(
                "SELECT outcome, (SELECT count(*) FROM resetd.event WHERE terminal) FROM resetd.operation",
            )
            .await;
        let now = oid(&target).await;
        match outcome[0][0].as_str() {
            "succeeded" => {
                assert_ne!(before.1, now, "{code}");
                assert_eq!(generated(&target, "kept").await.len(), 1, "{code}");
                next.ctl("validate").await.expect(0);
            }
            _ => {
                assert_eq!(outcome, [["abandoned", "1"]], "{code}");
                assert_eq!(before, (target.state().await, now), "{code}");
                assert_eq!(generated(&target, "kept").await, [""; 0], "{code}");
            }
        }
        assert_eq!(outcome[0][1], "1", "{code}");
        assert_eq!(generated(&target, "new").await, [""; 0], "{code}");
        next.ctl(RUN).await.expect(0);
    }
}

#[tokio::test]
async fn a_cancel_during_the_build_leaves_nothing_over() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    chains.revision("core/core_002.sql", "core_002", "core_001", "SELECT pg_sleep(3600)");
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let before = (target.state().await, oid(&target).await);
    let running = daemon.ctl_spawn(&format!("{RUN} --jobs 4"));
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname IN
        (SELECT build_database FROM resetd.operation)";
    eventually("four schemas sleep", || async { target.control_rows(sleeps).await == [["4"]] }).await;
    let id = target.control_rows("SELECT id::text FROM resetd.operation").await[0][0].clone();
    daemon.ctl(&format!("operations cancel {id}")).await.expect(0);
    let out = running.finish().await;
    out.refused("CANCELLED").expect(8);
    assert_eq!(before, (target.state().await, oid(&target).await));
    assert_eq!(generated(&target, "new").await, [""; 0]);
    assert_eq!(target.control_rows(sleeps).await, [["0"]]);
    chains.restore();
    daemon.ctl(RUN).await.expect(0);
}

/// The lock's session is ended while the database is being built: nothing may be left of it.
#[tokio::test]
async fn a_lost_lock_leaves_nothing_over() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let before = (target.state().await, oid(&target).await);
    let gate = Gate::before(&target, "DATABASE_BUILT").await;
    let running = daemon.ctl_spawn(RUN);
    reached(&target).await;
    let ended = "SELECT pg_terminate_backend(lock_pid) FROM resetd.operation WHERE state <> 'finished'";
    assert_eq!(target.control_rows(ended).await, [["t"]]);
    let out = running.finish().await;
    let reason = out.text("/error_detail/reason");
    assert!(["LOCK_LOST", "CONTROL_UNAVAILABLE"].contains(&reason), "{out}");
    gate.open().await;
    assert_eq!(before, (target.state().await, oid(&target).await));
    eventually("what was built is dropped", || async { generated(&target, "new").await.is_empty() }).await;
    daemon.ctl(RUN).await.expect(0);
}
