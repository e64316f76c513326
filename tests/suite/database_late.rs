//! What appears while the new database is built and could not follow: looked for again in the swap, when nobody can make
//! more of it. The old database serves on, and nothing is deleted with it.

use harness::{
    Gate, Make, Postgres, Setup, TestTarget,
    commands::UNDO,
    database::{RUN, generated, oid, reached},
};

/// What may appear: the statements that make it, what it is called, and what takes it away.
fn appearances(target: &TestTarget) -> [(String, String, String); 3] {
    let d = &target.database;
    [
        (
            // A copy begins where its original does, and waits for nobody.
            format!("SELECT pg_copy_logical_replication_slot('original', 'slot_{d}')"),
            format!("replication slot slot_{d}"),
            format!("SELECT pg_drop_replication_slot('slot_{d}')"),
        ),
        (
            format!(
                "BEGIN; INSERT INTO general.state (key) VALUES ('prepared'); PREPARE TRANSACTION 'gid of {d}'"
            ),
            format!("prepared transaction gid of {d}"),
            format!("COMMIT PREPARED 'gid of {d}'"),
        ),
        (
            format!(
                "CREATE SUBSCRIPTION sub_{d} CONNECTION 'dbname=nowhere' PUBLICATION p
                    WITH (connect = false, enabled = false, create_slot = false, slot_name = NONE)"
            ),
            format!("subscription sub_{d}"),
            format!("DROP SUBSCRIPTION sub_{d}"),
        ),
    ]
}

/// Lets a swap come to its gate, makes something appear, and sees the swap refused.
async fn refused(target: &TestTarget, daemon: &harness::Daemon, line: &str, code: &str) {
    for (make, name, take_away) in appearances(target) {
        let gate = Gate::before(target, code).await;
        let kept = generated(target, "kept").await;
        let running = daemon.ctl_spawn(line);
        reached(target).await;
        let mut session = target.session().await;
        for statement in make.split("; ") {
            session.sql(statement).await;
        }
        session.close().await;
        let before = (target.snapshot().await, oid(target).await);
        gate.open().await;
        target.control_sql("DROP TRIGGER gate ON resetd.event; DROP FUNCTION public.gate()").await;
        let out = running.finish().await;
        out.refused("PREFLIGHT_FAILED");
        assert!(out.text("/error").contains(&name), "{name}\n{out}");
        let told = out.list("/findings").iter().any(|f| f["object"].as_str().is_some_and(|o| o == name));
        assert!(told, "{name}\n{out}");
        assert_eq!(before, (target.snapshot().await, oid(target).await), "{name}");
        assert_eq!(generated(target, "new").await, [""; 0], "{name}");
        assert_eq!(generated(target, "kept").await, kept, "{name}");
        // It is there, and it is the serving database's.
        target.sql(&take_away).await;
    }
}

async fn with_slots() -> (resetd::embedded::Cluster, TestTarget) {
    // Slots wait for every transaction of the server: a server of its own.
    let (cluster, postgres) = Postgres::private().await;
    let target = TestTarget::make_on(&postgres, Make::migrated()).await;
    let mut elsewhere = target.clone();
    elsewhere.database = "postgres".to_owned();
    elsewhere.sql("SELECT pg_create_logical_replication_slot('original', 'pgoutput')").await;
    (cluster, target)
}

#[tokio::test]
async fn what_appears_during_the_build_stops_the_swap() {
    let (_cluster, target) = with_slots().await;
    let daemon = Setup::of(&target).start().await;
    refused(&target, &daemon, RUN, "DATABASE_BUILT").await;
    daemon.ctl(RUN).await.expect(0);
}

#[tokio::test]
async fn what_appears_before_an_undo_swaps_stops_it() {
    let (_cluster, target) = with_slots().await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(RUN).await.expect(0);
    // The plan is made when its event is stored.
    refused(&target, &daemon, UNDO, "PLANNED").await;
    daemon.ctl(UNDO).await.expect(0);
}
