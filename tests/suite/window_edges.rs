//! What happens at a window's edge: a change that would run into it is rolled back, whole, whenever the edge comes.

use harness::{
    EventStream, Gate, Migrations, Setup, TestTarget,
    operations::{asleep, lock_is_free, sleeping},
    request,
    windows::{Two, extend, refused, release, reserve, wish},
};
use jiff::Timestamp;
use model::{
    event::EventKind,
    operation::{Outcome, Request, Verb},
    profile::Scope,
    window::Window,
};

struct End {
    reason: String,
    message: String,
    outcome: Outcome,
    at: Timestamp,
}

async fn end(stream: &mut EventStream) -> End {
    let event = stream.until("FINISHED").await;
    let at = wire::decode_timestamp(event.raw.occurred_at).unwrap();
    let Some(EventKind::Finished(end)) = event.kind else { panic!("{event:?}") };
    let (reason, message) =
        end.error.map_or(("OK".to_owned(), String::new()), |e| (e.reason.name().to_owned(), e.message));
    End { reason, message, outcome: end.outcome, at }
}

/// Waits until the database's clock is past a point in time.
async fn past(target: &TestTarget, at: Timestamp) {
    target.until(&format!("SELECT clock_timestamp() > '{at}'")).await;
}

fn run(target: &TestTarget, scope: Scope) -> Request {
    Request { scope: Some(scope), scope_named: true, ..request(Verb::Run, target) }
}

#[tokio::test]
async fn a_change_that_runs_into_a_foreign_window_is_rolled_back_at_its_start() {
    for scope in [Scope::ManagedSchemas, Scope::Database] {
        let chains = sleeping();
        let target = TestTarget::migrated().await;
        let setup = Setup::of(&target).migrations(&chains);
        let mut two = Two::with(target, setup).await;
        let before = two.target.state().await;
        let window = reserve(&mut two.owner, wish(&two.target, 4, 60)).await.unwrap();
        let mut stream = two.guest.begin(&run(&two.target, scope)).await.unwrap();
        let end = end(&mut stream).await;
        assert_eq!((end.reason.as_str(), end.outcome), ("WINDOW_HELD", Outcome::Refused), "{}", end.message);
        assert!(end.message.contains(&two.me) && end.message.contains("rolled back"), "{}", end.message);
        assert!(end.at >= window.starts_at, "not before its start");
        lock_is_free(&two.target).await;
        assert_eq!(before, two.target.state().await, "{scope}");
        two.daemon.stop().await;
    }
}

#[tokio::test]
async fn a_change_ends_with_the_window_that_it_needs_unless_that_is_extended() {
    let chains = sleeping();
    let target = TestTarget::migrated().await;
    let setup = Setup::of(&target).with("[profile.local]\nwindow = \"required\"\n").migrations(&chains);
    let mut two = Two::with(target, setup).await;
    let before = two.target.state().await;
    let window = reserve(&mut two.guest, wish(&two.target, 0, 4)).await.unwrap();
    let mut stream = two.guest.begin(&request(Verb::Run, &two.target)).await.unwrap();
    let first = end(&mut stream).await;
    assert_eq!((first.reason.as_str(), first.outcome), ("WINDOW_REQUIRED", Outcome::Refused));
    assert!(first.at >= window.ends_at);
    assert_eq!(before, two.target.state().await);

    let window = reserve(&mut two.guest, wish(&two.target, 0, 6)).await.unwrap();
    let mut stream = two.guest.begin(&request(Verb::Run, &two.target)).await.unwrap();
    asleep(&two.target).await;
    let hour = jiff::SignedDuration::from_hours(1);
    let window = extend(&mut two.guest, &window, window.ends_at + hour).await.unwrap();
    past(&two.target, window.ends_at - hour + jiff::SignedDuration::from_millis(1500)).await;
    asleep(&two.target).await;
    // The ground is not taken from under one's own change: not by shortening it, nor by letting it go.
    let sooner = window.ends_at - jiff::SignedDuration::from_mins(30);
    assert_eq!(refused(extend(&mut two.guest, &window, sooner).await).0, "TARGET_LOCKED");
    assert_eq!(refused(release(&mut two.guest, &window, false, "").await).0, "TARGET_LOCKED");
    let id = two.target.control_rows("SELECT id FROM resetd.operation WHERE state = 'running'").await;
    two.daemon.ctl(&format!("operations cancel {}", id[0][0])).await.expect(0);
    assert_eq!(end(&mut stream).await.reason, "CANCELLED");
    assert_eq!(before, two.target.state().await);
    release(&mut two.guest, &window, false, "").await.unwrap();
    two.daemon.stop().await;
}

/// The edge comes when the commit is prepared and can no longer be cancelled: the message of the commit knows it.
#[tokio::test]
async fn a_commit_that_comes_after_the_edge_does_not_happen() {
    let database = || vec![(Scope::Database, "DATABASE_SWAPPED")];
    for (scope, code) in [vec![(Scope::ManagedSchemas, "COMMIT_PREPARED")], database()].concat() {
        let mut two = Two::new("").await;
        let before = two.target.state().await;
        let gate = Gate::before(&two.target, code).await;
        let window = reserve(&mut two.owner, wish(&two.target, 20, 60)).await.unwrap();
        let mut stream = two.guest.begin(&run(&two.target, scope)).await.unwrap();
        tokio::select! {
            () = gate.reached() => {}
            end = end(&mut stream) => panic!("{scope}: {} {}", end.reason, end.message),
        }
        let early = format!("SELECT clock_timestamp() < '{}'", window.starts_at);
        let early = two.target.control_rows(&early).await;
        assert_eq!(early, [["t"]], "the machine is too slow: the edge came before the gate");
        past_in_control(&two.target, window.starts_at).await;
        gate.open().await;
        let end = end(&mut stream).await;
        assert_eq!((end.reason.as_str(), end.outcome), ("WINDOW_HELD", Outcome::Refused), "{}", end.message);
        lock_is_free(&two.target).await;
        assert_eq!(before, two.target.state().await, "{scope}");
        two.daemon.stop().await;
    }
}

/// As [`past`], where the target's database may be on its way to another name.
async fn past_in_control(target: &TestTarget, at: Timestamp) {
    let mut session = target.control_session().await;
    let cell = tokio::sync::Mutex::new(&mut session);
    harness::eventually("the edge", || async {
        cell.lock().await.rows(&format!("SELECT clock_timestamp() > '{at}'")).await[0][0] == "t"
    })
    .await;
}

#[tokio::test]
async fn a_running_change_is_not_killed_by_surprise() {
    let chains = sleeping();
    let target = TestTarget::migrated().await;
    let setup = Setup::of(&target).migrations(&chains);
    let mut two = Two::with(target, setup).await;
    let before = two.target.state().await;
    let mut stream = two.guest.begin(&request(Verb::Run, &two.target)).await.unwrap();
    let id = stream.until("LOCK_ACQUIRED").await.operation;
    asleep(&two.target).await;
    for ahead in [0, 2] {
        let (reason, message) = refused(reserve(&mut two.owner, wish(&two.target, ahead, 60)).await);
        assert!(reason == "WINDOW_CONFLICT" && message.contains(&id.to_string()), "{reason}: {message}");
    }
    // Its own principal may, and somebody else with notice: then it is a deadline.
    let own = reserve(&mut two.guest, wish(&two.target, 0, 1)).await.unwrap();
    let window: Window = reserve(&mut two.owner, wish(&two.target, 7, 60)).await.unwrap();
    assert!(own.ends_at < window.starts_at);
    let end = end(&mut stream).await;
    assert_eq!(end.reason, "WINDOW_HELD", "{}", end.message);
    assert!(end.at >= window.starts_at);
    assert_eq!(before, two.target.state().await);
    two.daemon.stop().await;
}

#[tokio::test]
async fn no_window_is_made_while_somebody_else_commits() {
    let mut two = Two::new("").await;
    let gate = Gate::before(&two.target, "FINISHED").await;
    let mut stream = two.guest.begin(&request(Verb::Migrate, &two.target)).await.unwrap();
    gate.reached().await;
    let (reason, message) = refused(reserve(&mut two.owner, wish(&two.target, 600, 60)).await);
    assert!(reason == "WINDOW_CONFLICT" && message.contains("commits now"), "{reason}: {message}");
    gate.open().await;
    assert_eq!(end(&mut stream).await.reason, "OK");
    reserve(&mut two.owner, wish(&two.target, 600, 60)).await.unwrap();
    two.daemon.stop().await;
}

#[tokio::test]
async fn phase_by_phase_what_was_committed_before_the_edge_stays() {
    let chains = Migrations::shipped();
    chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE early (n int);");
    chains.revision("core/core_003.sql", "core_003", "core_002", "SELECT pg_sleep(3600);");
    let target = TestTarget::migrated().await;
    let setup = Setup::of(&target).migrations(&chains);
    let mut two = Two::with(target, setup).await;
    let window = reserve(&mut two.owner, wish(&two.target, 5, 60)).await.unwrap();
    let asked = Request { allow_phased: true, ..request(Verb::Migrate, &two.target) };
    let mut stream = two.guest.begin(&asked).await.unwrap();
    let end = end(&mut stream).await;
    assert_eq!(end.reason, "WINDOW_HELD", "{}", end.message);
    assert!(end.at >= window.starts_at);
    let version = "SELECT string_agg(version_num, ',') FROM general.alembic_version";
    let found = two.target.value(version).await;
    assert!(found.contains("core_002") && !found.contains("core_003"), "{found}");
    two.daemon.stop().await;
}

#[tokio::test]
async fn a_revision_without_a_transaction_sends_nothing_after_the_edge() {
    let chains = Migrations::shipped();
    // Statements that take no notice of the first cancel.
    let deaf = |seconds, then| {
        format!(
            "DO $$ BEGIN BEGIN PERFORM pg_sleep({seconds}); EXCEPTION WHEN query_canceled THEN NULL; END; {then} END $$;"
        )
    };
    let sql = [
        "CREATE INDEX CONCURRENTLY nice ON state (version);".to_owned(),
        deaf(3600, ""),
        deaf(1, "CREATE TABLE late (n int);"),
    ];
    let head = "-- revision: core_002\n-- revises: core_001\n-- summary: x\n-- transaction: none\n";
    chains.write("core/core_002.sql", &format!("{head}{}\n", sql.join("\n")));
    let target = TestTarget::migrated().await;
    let setup = Setup::of(&target).migrations(&chains);
    let mut two = Two::with(target, setup).await;
    reserve(&mut two.owner, wish(&two.target, 6, 60)).await.unwrap();
    let asked = Request { allow_phased: true, ..request(Verb::Migrate, &two.target) };
    let mut stream = two.guest.begin(&asked).await.unwrap();
    let end = end(&mut stream).await;
    assert_eq!(end.reason, "WINDOW_HELD", "{}", end.message);
    lock_is_free(&two.target).await;
    let found =
        "SELECT count(*) FILTER (WHERE relname = 'nice') || ' ' || count(*) FILTER (WHERE relname = 'late')
                   FROM pg_class";
    let found = two.target.value(found).await;
    assert!(!found.starts_with('0') && found.ends_with(" 0"), "index and table: {found}");
    two.daemon.stop().await;
}

#[tokio::test]
async fn an_edge_that_is_known_holds_when_the_windows_cannot_be_looked_at() {
    let chains = sleeping();
    let target = TestTarget::migrated().await;
    let setup = Setup::of(&target).migrations(&chains);
    let mut two = Two::with(target, setup).await;
    let before = two.target.state().await;
    reserve(&mut two.owner, wish(&two.target, 8, 60)).await.unwrap();
    let mut stream = two.guest.begin(&request(Verb::Run, &two.target)).await.unwrap();
    asleep(&two.target).await;
    let mut session = two.target.control_session().await;
    session.sql("BEGIN; LOCK TABLE resetd.reset_window IN ACCESS EXCLUSIVE MODE").await;
    let end = end(&mut stream).await;
    assert_eq!(end.reason, "WINDOW_HELD", "{}", end.message);
    session.close().await;
    lock_is_free(&two.target).await;
    assert_eq!(before, two.target.state().await);
    two.daemon.stop().await;
}
