//! What other sessions see when schemas are set aside and come back: statements in flight, prepared ones, cached plans,
//! cursors, older snapshots.

use harness::{
    Session, Setup, TestTarget,
    aside::kept,
    commands::{RUN, UNDO},
};

const OLD: &str = "DELETE FROM general.state; INSERT INTO general.state (key) VALUES ('old')";
const PREPARE: &str = "PREPARE keys AS SELECT count(*) FROM general.state; PREPARE add(text) AS INSERT INTO general.state (key) VALUES ($1)";
/// Named, and found anew on the path.
const FUNCTION: &str = "CREATE FUNCTION public.keys() RETURNS bigint LANGUAGE plpgsql STABLE AS
    $$ BEGIN RETURN (SELECT count(*) FROM general.state); END $$";

async fn value(session: &mut Session, sql: &str) -> String {
    session.rows(sql).await[0][0].clone()
}

/// Names are looked up anew after each commit: a prepared statement and a cached plan in a function see what serves then.
#[tokio::test]
async fn prepared_statements_and_cached_plans_go_with_the_names() {
    let target = TestTarget::migrated().await;
    target.sql(OLD).await;
    target.sql(FUNCTION).await;
    let daemon = Setup::of(&target).start().await;
    let mut there = target.session().await;
    there.sql(PREPARE).await;
    for (line, rows) in [(RUN, "0"), (UNDO, "1"), (UNDO, "0"), (UNDO, "1")] {
        // Planned, cached, and used more often than a custom plan is.
        for _ in 0..7 {
            there.rows("EXECUTE keys").await;
            there.rows("SELECT public.keys()").await;
        }
        daemon.ctl(line).await.expect(0);
        assert_eq!(value(&mut there, "EXECUTE keys").await, rows, "{line}");
        assert_eq!(value(&mut there, "SELECT public.keys()").await, rows, "{line}");
    }
    there.sql("EXECUTE add('late')").await;
    assert_eq!(target.value("SELECT string_agg(key, ' ' ORDER BY key) FROM general.state").await, "late old");
}

/// A statement that waits for the reset's lock goes on in the new tables, and in the old ones after an undo.
#[tokio::test]
async fn a_statement_that_waits_lands_in_what_serves_after_the_commit() {
    let target = TestTarget::migrated().await;
    target.sql(OLD).await;
    let daemon = Setup::of(&target).start().await;
    for (line, expected) in [(RUN, "new"), (UNDO, "back old")] {
        // Somebody holds a table that is locked after general.state, so that the operation has that one and waits.
        let mut holder = target.session().await;
        holder.sql("BEGIN; LOCK TABLE switchboard.route_inbox IN ACCESS SHARE MODE").await;
        let client = daemon.ctl_spawn(line);
        target.until_blocked_by(holder.pid).await;
        let key = expected.split(' ').next().unwrap().to_owned();
        let mut waiting = target.session().await;
        let pid = waiting.pid;
        let insert = tokio::spawn(async move {
            waiting.try_sql(&format!("INSERT INTO general.state (key) VALUES ('{key}')")).await
        });
        let waits = format!("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = {pid} AND NOT granted)");
        target.until(&waits).await;
        holder.sql("ROLLBACK").await;
        client.finish().await.expect(0);
        insert.await.unwrap().unwrap_or_else(|error| panic!("{line}: {error}"));
        let keys = "SELECT string_agg(key, ' ' ORDER BY key) FROM general.state";
        assert_eq!(target.value(keys).await, expected, "{line}");
    }
}

/// Who reads in a cursor, or has read in a transaction, holds its tables: the operation waits for it, and is refused after
/// its patience; nothing is taken from under anybody.
#[tokio::test]
async fn a_cursor_and_an_open_transaction_keep_what_they_read() {
    let target = TestTarget::migrated().await;
    target.sql(OLD).await;
    let soon = "[profile.local]\nlock_wait_limit = \"1s\"\n";
    let daemon = Setup::of(&target).with(soon).start().await;
    daemon.ctl(RUN).await.expect(0);
    target.sql(OLD).await;
    for reader in [
        "BEGIN; DECLARE c CURSOR FOR SELECT key FROM general.state; FETCH 1 FROM c",
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM general.state",
    ] {
        let mut there = target.session().await;
        there.sql(reader).await;
        let before = target.state().await;
        for line in [RUN, UNDO] {
            daemon.ctl(line).await.refused("BLOCKED");
            assert_eq!(before, target.state().await, "{reader}: {line}");
        }
        there.sql("COMMIT").await;
    }
    daemon.ctl(UNDO).await.expect(0);
    assert_eq!(target.value("SELECT key FROM general.state").await, "old");
}

/// An older snapshot that has touched none of the tables yet sees the new ones without rows that came after it, and the old
/// ones with the rows that it may see.
#[tokio::test]
async fn an_older_snapshot_sees_the_tables_that_serve_and_the_rows_of_its_time() {
    let target = TestTarget::migrated().await;
    target.sql(OLD).await;
    target.sql("CREATE TABLE public.other (n int)").await;
    let daemon = Setup::of(&target).start().await;
    let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM public.other";
    let read = "SELECT count(*) FROM general.state";
    let mut early = target.session().await;
    early.sql(snapshot).await;
    daemon.ctl(RUN).await.expect(0);
    target.sql("INSERT INTO general.state (key) VALUES ('new'), ('newer')").await;
    assert_eq!(value(&mut early, read).await, "0", "not the rows of the new tables, nor those of the old");
    early.sql("COMMIT").await;
    assert_eq!(value(&mut early, read).await, "2");
    early.sql(snapshot).await;
    daemon.ctl(UNDO).await.expect(0);
    assert_eq!(value(&mut early, read).await, "1", "those of the old tables, which were there");
    early.sql("COMMIT").await;
    assert_eq!(kept(&target).await.len(), 6);
}
