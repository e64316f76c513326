//! `BLOCKED` says who: in the error, in the report's findings and to whoever watches later, with the statement that ends it.

use harness::{
    Gate, Make, Migrations, Output, Postgres, Session, Setup, TestTarget,
    commands::RUN,
    database::{self, generated, oid, reached},
};
use model::event::EventKind;

const SOON: &str = "[profile.local]\nlock_wait_limit = \"1s\"\n";

/// A session of the application that did not go on.
async fn lunch_break(url: &str, what: &str) -> Session {
    let mut session = Session::open(url).await;
    session.sql(&format!("SET application_name = 'lunch break'; {what}")).await;
    session
}

/// Everything that somebody needs to know about a session in the way is in the text.
#[track_caller]
fn names(text: &str, session: &Session, user: &str, words: &[&str], out: &Output) {
    let pid = format!("session {} ", session.pid);
    for word in [pid.as_str(), &format!("of {user} "), "lunch break", "since 20"].iter().chain(words) {
        assert!(text.contains(word), "no {word:?} in {text:?}\n{out}");
    }
}

/// The operation ended `BLOCKED` and says by whom, wherever it says it.
async fn told_everywhere(
    daemon: &harness::Daemon,
    out: &Output,
    session: &Session,
    user: &str,
    words: &[&str],
) {
    out.expect(1).refused("BLOCKED");
    names(out.text("/error"), session, user, words, out);
    let end = format!("SELECT pg_terminate_backend({});", session.pid);
    assert!(out.text("/error_detail/hint").contains(&end), "{out}");
    let findings = out.list("/findings");
    let finding = findings.iter().find(|f| f["code"] == "BLOCKED_BY").unwrap_or_else(|| panic!("{out}"));
    let told = format!("{} {}", finding["object"].as_str().unwrap(), finding["message"].as_str().unwrap());
    names(&told, session, user, words, out);
    assert_eq!(finding["hint"], end, "{out}");
    // Whoever looks later sees it as well.
    let mut api = daemon.api().await;
    let operation = out.text("/operation").parse().unwrap();
    let mut stream = api.watch(operation, 0).await.unwrap();
    // Other tests make roles in the same cluster: that is told of a failed build, too.
    loop {
        let event = stream.until("FINDING").await;
        let Some(EventKind::FindingReported { finding }) = &event.kind else { panic!("{event:?}") };
        if finding.code != "CLUSTER_CHANGED" {
            assert!(finding.code == "BLOCKED_BY" && event.text.contains("lunch break"), "{event:?}");
            break;
        }
    }
    let shown = daemon.ctl(&format!("operations show {}", out.text("/operation"))).await;
    assert!(shown.expect(0).stdout.contains("lunch break"), "{shown}");
}

#[tokio::test]
async fn a_change_in_place_names_who_holds_its_locks() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with(SOON).start().await;
    let before = target.state().await;
    let mut session = lunch_break(&target.admin_url(), "BEGIN; SELECT FROM general.state").await;
    for line in [RUN, "reset --confirm-destructive-reset RESET"] {
        let out = daemon.ctl(line).await;
        let words = ["idle in transaction", "SELECT FROM general.state"];
        told_everywhere(&daemon, &out, &session, "postgres", &words).await;
    }
    session.sql("COMMIT").await;
    assert_eq!(before, target.state().await);
    daemon.ctl(RUN).await.expect(0);
}

/// A revision in its own transaction, and one that refuses any.
#[tokio::test]
async fn a_phased_step_names_who_holds_its_locks() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    let bare = "-- revision: core_002\n-- revises: core_001\n-- summary: x\n-- transaction: none\n\n\
                CREATE INDEX CONCURRENTLY state_late ON state (key);\n";
    let daemon = Setup::of(&target).with(SOON).migrations(&chains).start().await;
    let mut session = lunch_break(&target.admin_url(), "BEGIN; LOCK TABLE general.state").await;
    for text in [
        "-- revision: core_002\n-- revises: core_001\n-- summary: x\n\nALTER TABLE state ADD late int;\n",
        bare,
    ] {
        chains.write("core/core_002.sql", text);
        let out = daemon.ctl("migrate --allow-phased").await;
        let words = ["idle in transaction", "LOCK TABLE general.state"];
        told_everywhere(&daemon, &out, &session, "postgres", &words).await;
    }
    session.sql("COMMIT").await;
}

/// The daemon's role sees neither state nor query of others: it says who, and claims nothing else.
#[tokio::test]
async fn what_the_role_may_not_see_is_not_made_up() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    let daemon = Setup::of(&target).with(SOON).start().await;
    let _session = lunch_break(&target.admin_url(), "BEGIN; SELECT FROM general.state").await;
    let out = daemon.ctl(RUN).await;
    out.expect(1).refused("BLOCKED");
    let error = out.text("/error");
    assert!(error.contains(&format!("session {} of postgres", _session.pid)), "{out}");
    assert!(error.contains("hidden") && !error.contains("prepared"), "{out}");
}

#[tokio::test]
async fn a_swap_names_the_session_that_came_later() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with("[profile.local]\nsessions = \"refuse\"\n").start().await;
    let before = (target.state().await, oid(&target).await);
    let gate = Gate::before(&target, "DATABASE_BUILT").await;
    let running = daemon.ctl_spawn(database::RUN);
    reached(&target).await;
    let late = lunch_break(&target.admin_url(), "SELECT 4711").await;
    gate.open().await;
    let out = running.finish().await;
    told_everywhere(&daemon, &out, &late, "postgres", &["idle", "SELECT 4711"]).await;
    late.close().await;
    assert_eq!(before, (target.state().await, oid(&target).await));
    assert_eq!(generated(&target, "new").await, [""; 0]);
}

/// A lock on the database itself: the swap waits as long as everything else does, and says for whom.
#[tokio::test]
async fn a_swap_that_waits_for_a_lock_on_the_database_has_its_limit() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with(SOON).start().await;
    let before = (target.state().await, oid(&target).await);
    let holds = format!("BEGIN; COMMENT ON DATABASE {} IS NULL", target.database);
    let control = target.postgres.url(&target.control);
    let mut session = lunch_break(&control, &holds).await;
    let out = daemon.ctl(database::RUN).await;
    told_everywhere(&daemon, &out, &session, "postgres", &["idle in transaction", "COMMENT ON DATABASE"])
        .await;
    session.sql("ROLLBACK").await;
    assert_eq!(before, (target.state().await, oid(&target).await));
    assert_eq!(generated(&target, "new").await, [""; 0]);
    daemon.ctl(database::RUN).await.expect(0);
}

/// A prepared transaction is nobody's session: it has a name, and another statement ends it.
#[tokio::test]
async fn a_prepared_transaction_in_the_way_is_named() {
    // Others' prepared transactions would be in the way of nobody; the server is its own all the same.
    let (_cluster, postgres) = Postgres::private().await;
    let target = TestTarget::make_on(&postgres, Make::migrated()).await;
    let chains = Migrations::shipped();
    target.role_sql("CREATE TABLE public.counters (n int)").await;
    chains.revision("core/core_002.sql", "core_002", "core_001", "ALTER TABLE public.counters ADD m int;");
    let daemon = Setup::of(&target).with(SOON).migrations(&chains).start().await;
    target.sql("BEGIN; INSERT INTO public.counters VALUES (1); PREPARE TRANSACTION 'it''s left'").await;
    let out = daemon.ctl("migrate").await;
    out.expect(1).refused("BLOCKED");
    assert!(out.text("/error").contains("prepared transaction it's left of postgres"), "{out}");
    let end = "ROLLBACK PREPARED 'it''s left';";
    assert!(out.text("/error_detail/hint").contains(end), "{out}");
    let finding = out.list("/findings").iter().find(|f| f["code"] == "BLOCKED_BY").unwrap();
    assert!(finding["hint"].as_str().unwrap().contains(end), "{out}");
}
