//! The previous database is kept for a while: undo brings it back, and after that time it is dropped.

use harness::{
    Setup, TestTarget,
    commands::UNDO,
    database::{RESET, RUN, generated, oid},
    eventually,
};
use serde_json::json;

#[tokio::test]
async fn undo_brings_the_rows_back_and_undo_after_undo_takes_them_again() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(UNDO).await.refused("NOTHING_TO_UNDO");
    let nothing = daemon.ctl("undo --dry-run").await;
    nothing.expect(0);
    assert_eq!(nothing.text("/plan/refusal/reason"), "NOTHING_TO_UNDO", "{nothing}");
    let old = (target.state().await, oid(&target).await);
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    assert_eq!(out.at("/plan/keep_previous_seconds"), &json!(24 * 3600), "{out}");
    let new = (target.state().await, oid(&target).await);
    assert_ne!(old.1, new.1);
    assert_eq!(target.value("SELECT count(*) FROM general.state").await, "0");

    // It is shown, with its deadline.
    let operation = out.text("/operation").to_owned();
    let kept = out.text("/details/reset/kept_as").to_owned();
    assert_eq!(generated(&target, "kept").await, [kept.as_str()]);
    let shown = daemon.ctl(&format!("operations show {operation}")).await;
    assert!(shown.expect(0).stdout.contains("undo until"), "{shown}");
    for verb in ["status", "targets"] {
        let shown = daemon.ctl(verb).await;
        shown.expect(0);
        assert!(verb == "targets" || shown.stdout.contains(&kept), "{shown}");
    }

    let dry = daemon.ctl("undo --dry-run").await;
    dry.expect(0);
    assert_eq!(dry.text("/details/scope"), "database", "{dry}");
    assert_eq!(dry.text("/plan/brings_back/operation"), operation, "{dry}");
    assert_eq!(dry.at("/plan/brings_back/oid").to_string(), old.1, "{dry}");
    assert!(dry.stdout.contains(&format!("brings back {kept}")), "{dry}");
    assert_eq!(new, (target.state().await, oid(&target).await));
    let approved = dry.text("/plan/digest").to_owned();
    for (n, (before, after)) in [(&new, &old), (&old, &new), (&new, &old)].into_iter().enumerate() {
        assert_eq!(before, &(target.state().await, oid(&target).await), "undo {n}");
        let out = daemon.ctl(UNDO).await;
        out.expect(0);
        assert!(out.at("/timings/unavailable_ms").as_f64().is_some(), "{out}");
        assert_eq!(after, &(target.state().await, oid(&target).await), "undo {n}");
        assert_eq!(generated(&target, "kept").await.len(), 1, "undo {n}");
    }
    // Another one would come back now than the one that was approved.
    let stale = daemon.ctl(&format!("{UNDO} --plan-digest {approved}")).await;
    stale.refused("PLAN_CHANGED");
    assert!(stale.text("/error").contains("brings back database oid"), "{stale}");
    // What that operation took away is back already.
    daemon
        .ctl(&format!("undo {operation} --confirm-destructive-reset RESET"))
        .await
        .refused("NOTHING_TO_UNDO");
    assert_eq!(old, (target.state().await, oid(&target).await));
}

#[tokio::test]
async fn an_operation_can_be_named() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let first = (target.state().await, oid(&target).await);
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    let operation = out.text("/operation").to_owned();
    daemon.ctl(RESET).await.expect(0);
    daemon.ctl(RUN).await.expect(0);
    assert_eq!(generated(&target, "kept").await.len(), 3);
    daemon.ctl(&format!("undo {operation} --confirm-destructive-reset RESET")).await.expect(0);
    assert_eq!(first, (target.state().await, oid(&target).await));
    assert_eq!(generated(&target, "kept").await.len(), 3);
}

#[tokio::test]
async fn nothing_is_kept_where_the_profile_keeps_nothing() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with("[profile.local]\nkeep_previous = \"0s\"\n").start().await;
    let dry = daemon.ctl("run --scope database --dry-run").await;
    dry.expect(0);
    assert!(dry.stdout.contains("cannot be undone"), "{dry}");
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    assert!(out.list("/plan/findings").iter().any(|f| f["code"] == "CANNOT_BE_UNDONE"), "{out}");
    assert_eq!(out.at("/details/reset/kept_as"), &json!(null), "{out}");
    let new = oid(&target).await;
    let out = daemon.ctl(UNDO).await;
    out.refused("NOTHING_TO_UNDO").expect(6);
    assert_eq!(new, oid(&target).await);
    eventually("the old database is dropped", || async { generated(&target, "kept").await.is_empty() }).await;
}

#[tokio::test]
async fn what_has_had_its_time_is_dropped_in_the_background() {
    let target = TestTarget::migrated().await;
    // A kept database that was somebody's template is dropped all the same.
    target.sql(&format!("ALTER DATABASE {} IS_TEMPLATE true", target.database)).await;
    let daemon = Setup::of(&target).with("[profile.local]\nkeep_previous = \"1s\"\n").start().await;
    daemon.ctl(RUN).await.expect(0);
    daemon.ctl(RUN).await.expect(0);
    eventually("the kept databases are dropped", || async { generated(&target, "kept").await.is_empty() })
        .await;
    eventually("they are forgotten", || async {
        target.control_rows("SELECT count(*) FROM resetd.kept_database").await == [["0"]]
    })
    .await;
    daemon.ctl(UNDO).await.refused("NOTHING_TO_UNDO").expect(6);
    daemon.ctl("validate").await.expect(0);
}

/// The janitor of a second daemon looks while the undo of the first one waits in its swap.
#[tokio::test]
async fn what_an_undo_uses_does_not_expire() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let old = (target.state().await, oid(&target).await);
    daemon.ctl(RUN).await.expect(0);
    let mut holder = target.control_session().await;
    holder.sql(&format!("BEGIN; ALTER DATABASE {} CONNECTION LIMIT 5", target.database)).await;
    let undo = daemon.ctl_spawn(UNDO);
    let waits = format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {} = ANY (pg_blocking_pids(pid)))",
        holder.pid
    );
    eventually("the undo's rename waits", || async { target.control_rows(&waits).await == [["t"]] }).await;
    target
        .control_sql(
            "UPDATE resetd.kept_database SET expires_at = clock_timestamp() - interval '1 hour';
             INSERT INTO resetd.kept_database (oid, name, database, operation, expires_at, system_identifier)
                 VALUES (4294967295, 'gone', 'gone', gen_random_uuid(), clock_timestamp() - interval '1 minute', '1')",
        )
        .await;
    let second = Setup::of(&target).start().await;
    eventually("a janitor looked", || async {
        target.control_rows("SELECT count(*) FROM resetd.kept_database WHERE name = 'gone'").await == [["0"]]
    })
    .await;
    assert_eq!(generated(&target, "kept").await.len(), 1, "it is still there");
    holder.sql("ROLLBACK").await;
    undo.finish().await.expect(0);
    assert_eq!(old, (target.state().await, oid(&target).await));
    second.stop().await;
}

/// Interrupted drops leave invalid databases: recognised, and dropped.
#[tokio::test]
async fn an_invalid_database_is_dropped() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(RUN).await.expect(0);
    let kept = generated(&target, "kept").await;
    daemon.stop().await;
    target
        .control_sql(&format!(
            "UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{}';
             UPDATE resetd.kept_database SET state = 'dropping'",
            kept[0]
        ))
        .await;
    // An operation that ended and could not drop what it had built.
    let built = target.control_rows("SELECT build_database FROM resetd.operation").await[0][0].clone();
    target.control_sql(&format!("CREATE DATABASE {built} OWNER {} TEMPLATE template0", target.role)).await;
    target
        .control_sql(
            "UPDATE resetd.operation SET build_oid = (SELECT oid FROM pg_database WHERE datname = build_database)",
        )
        .await;
    let _daemon = Setup::of(&target).start().await;
    for kind in ["kept", "new"] {
        eventually(kind, || async { generated(&target, kind).await.is_empty() }).await;
    }
}
