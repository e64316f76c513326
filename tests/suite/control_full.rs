//! The control database's disk is full when an operation's end is to be written: its client is told at once what happened,
//! and nobody is told that the target is free. When there is room again, the end is written.

use harness::{Output, Setup, TestTarget, commands::RUN, database, eventually};

/// From here on PostgreSQL has no room for events of these kinds.
async fn fill(target: &TestTarget, codes: &str) {
    target
        .control_sql(&format!(
            "CREATE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'could not extend file \"base/1/2\": No space left on device' USING ERRCODE = '53100';
             END $$;
             CREATE TRIGGER full_disk BEFORE INSERT ON resetd.event FOR EACH ROW WHEN (NEW.code IN ({codes}))
                 EXECUTE FUNCTION public.full()"
        ))
        .await;
}

fn told(out: &Output, words: &[&str]) {
    out.expect(10);
    for words in ["END_NOT_RECORDED", "No space left on device"].iter().chain(words) {
        assert!(out.stderr.contains(words), "`{words}` is not in\n{out}");
    }
}

/// Empties the disk, and gives how the operation ended.
async fn ended(target: &TestTarget) -> Vec<Vec<String>> {
    target.control_sql("DROP TRIGGER full_disk ON resetd.event").await;
    eventually("the end is written", || async {
        target.control_rows("SELECT bool_and(state = 'finished') FROM resetd.operation").await == [["t"]]
    })
    .await;
    target.control_rows("SELECT outcome FROM resetd.operation ORDER BY id DESC LIMIT 1").await
}

#[tokio::test]
async fn what_was_rolled_back_is_told_where_its_end_cannot_be_written() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;
    fill(&target, "'COMMIT_PREPARED', 'FINISHED'").await;
    let out = daemon.ctl(RUN).await;
    told(&out, &["rolled back"]);
    assert_eq!(before, target.state().await);
    // The operation has no end yet, and holds its lock.
    let id = target.control_rows("SELECT id FROM resetd.operation").await[0][0].clone();
    let status = daemon.ctl("status").await;
    assert!(!status.expect(0).stdout.contains("lock       free"), "{status}");
    assert!(status.stdout.contains(&id), "{status}");
    // Who attaches now is told the same.
    told(&daemon.ctl(&format!("operations watch {id}")).await, &["rolled back"]);
    assert_eq!(ended(&target).await, [["failed"]]);
    daemon.ctl(RUN).await.expect(0);
}

#[tokio::test]
async fn what_was_committed_is_told_where_its_end_cannot_be_written() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    fill(&target, "'FINISHED'").await;
    let out = daemon.ctl(RUN).await;
    told(&out, &["committed"]);
    assert_eq!(target.value("SELECT count(*) FROM general.state").await, "0", "it is");
    let id = target.control_rows("SELECT id FROM resetd.operation").await[0][0].clone();
    assert_eq!(ended(&target).await, [["succeeded"]]);
    daemon.ctl(&format!("operations watch {id}")).await.expect(0);
}

#[tokio::test]
async fn a_swap_whose_end_cannot_be_written_does_not_happen() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let before = database::oid(&target).await;
    fill(&target, "'FINISHED'").await;
    let out = daemon.ctl(database::RUN).await;
    told(&out, &[]);
    assert_eq!(before, database::oid(&target).await);
    assert!(!out.stderr.contains("is committed"), "{out}");
    assert_eq!(ended(&target).await, [["failed"]]);
    eventually("what was built is dropped", || async {
        database::generated(&target, "new").await.is_empty()
    })
    .await;
}

/// Its lock's session is gone, and nobody has written its end: it is no reason to say that nobody works on the target.
#[tokio::test]
async fn a_target_of_an_operation_without_an_end_is_not_called_free() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    fill(&target, "'COMMIT_PREPARED', 'FINISHED'").await;
    told(&daemon.ctl(RUN).await, &[]);
    let lock = "SELECT pg_terminate_backend(lock_pid) FROM resetd.operation WHERE state <> 'finished'";
    target.control_rows(lock).await;
    let gone =
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity a JOIN resetd.operation o ON o.lock_pid = a.pid)";
    eventually("its session is gone", || async { target.control_rows(gone).await == [["t"]] }).await;
    let status = daemon.ctl("status").await;
    assert!(!status.expect(0).stdout.contains("lock       free"), "{status}");
    assert_eq!(ended(&target).await, [["failed"]]);
    let status = daemon.ctl("status").await;
    assert!(status.expect(0).stdout.contains("lock       free"), "{status}");
}
