//! A newer daemon has migrated the control database: this version neither starts on it nor goes on with it.

use harness::{Gate, Setup, TestTarget, commands::RUN, eventually};

const NEWER: &str = "UPDATE resetd.alembic_version SET version_num = 'control_999'";

#[tokio::test]
async fn check_refuses_a_newer_control_schema_as_serve_does() {
    let target = TestTarget::migrated().await;
    Setup::of(&target).start().await.stop().await;
    let setup = Setup::of(&target);
    setup.resetd(&["check"]).await.expect(0);
    target.control_sql(NEWER).await;
    for words in [&["check"][..], &["serve", "--listen", "127.0.0.1:0", "--insecure-loopback"]] {
        setup.resetd(words).await.expect(1).says("control_999").says("start that version");
    }
}

/// It takes no new operations, says so, and drops nothing; what was under way ends well.
#[tokio::test]
async fn a_running_daemon_notices_a_newer_control_schema() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    daemon.ctl("reset --scope database --confirm-destructive-reset RESET").await.expect(0);
    let gate = Gate::before(&target, "REVISION_APPLIED").await;
    let running = daemon.ctl_spawn(RUN);
    gate.reached().await;
    target
        .control_sql(&format!(
            "{NEWER}; UPDATE resetd.kept_database SET expires_at = clock_timestamp() - interval '1 minute'"
        ))
        .await;
    let out = daemon.ctl("run --wait=30s --confirm-destructive-reset RESET").await;
    assert!(out.stderr.contains("CONTROL_NEWER") && out.stderr.contains("control_999"), "{out}");
    out.expect(4);
    let status = daemon.ctl("status").await;
    assert!(status.expect(0).stdout.contains("control_999"), "{status}");
    gate.open().await;
    // Its end wakes the janitor.
    running.finish().await.expect(0);
    eventually("the log tells", || async { daemon.log().contains("control_999") }).await;
    let kept =
        "SELECT count(*) FROM resetd.kept_database k JOIN pg_database d USING (oid) WHERE k.state = 'kept'";
    assert_eq!(target.control_rows(kept).await, [["1"]], "a database was dropped\n{}", daemon.log());
}
