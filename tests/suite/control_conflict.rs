//! Two daemons with different control databases on one cluster: neither ends the other's work, and each names the other.

use harness::{Daemon, Gate, Hold, Setup, TestTarget, commands::RUN, eventually};

/// The same target as a daemon with another control database sees it.
fn beside(target: &TestTarget) -> TestTarget {
    let mut other = target.clone();
    other.control = format!("{}_beside", target.control);
    other
}

/// Two daemons, and the second one's view of the target.
async fn two() -> (TestTarget, Daemon, TestTarget, Daemon) {
    let target = TestTarget::migrated().await;
    let other = beside(&target);
    let (one, two) = (Setup::of(&target).start().await, Setup::of(&other).start().await);
    (target, one, other, two)
}

/// While the other one works, whatever changes the target is refused, waiting or not, and the one at work ends well.
#[tokio::test]
async fn a_run_under_another_control_database_is_not_ended() {
    let (target, one, other, two) = two().await;
    let gate = Gate::before(&target, "REVISION_APPLIED").await;
    let running = one.ctl_spawn(RUN);
    gate.reached().await;
    for line in [RUN, "run --wait=30s --confirm-destructive-reset RESET", "run --dry-run", "validate"] {
        let out = two.ctl(line).await;
        assert!(out.stderr.contains("CONTROL_CONFLICT"), "{out}");
        out.expect(4);
        assert!(out.stderr.contains(&target.control), "it names the other control database\n{out}");
    }
    let replace = two.ctl("run --scope database --confirm-destructive-reset RESET").await;
    assert!(replace.stderr.contains("CONTROL_CONFLICT"), "{replace}");
    gate.open().await;
    running.finish().await.expect(0);
    // Idle, it is in nobody's way; and it holds in the other direction.
    two.ctl(RUN).await.expect(0);
    let gate = Gate::before(&other, "REVISION_APPLIED").await;
    let running = two.ctl_spawn(RUN);
    gate.reached().await;
    one.ctl(RUN).await.expect(4);
    gate.open().await;
    running.finish().await.expect(0);
}

/// The lock alone is seen, before there is any session in the target.
#[tokio::test]
async fn a_lock_of_another_control_database_is_seen_before_work_begins() {
    let target = TestTarget::migrated().await;
    let hold = Hold::new();
    let one = hold.setup(Setup::of(&target)).spawn().await;
    let other = beside(&target);
    let two = Setup::of(&other).start().await;
    hold.at("recorded");
    let running = one.ctl_spawn(RUN);
    hold.reached().await;
    let nobody = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", target.database);
    assert_eq!(target.control_rows(&nobody).await, [["0"]]);
    let out = two.ctl(RUN).await;
    assert!(out.stderr.contains("CONTROL_CONFLICT") && out.stderr.contains(&target.control), "{out}");
    let status = two.ctl("status").await;
    assert!(status.expect(0).stdout.contains(&target.control), "status tells of it\n{status}");
    hold.open("recorded");
    running.finish().await.expect(0);
    two.ctl("validate").await.expect(0);
}

/// Who only reads is in no reader's way.
#[tokio::test]
async fn readers_share_a_target_across_control_databases() {
    let (target, one, _other, two) = two().await;
    let gate = Gate::before(&target, "VALIDATED").await;
    let running = one.ctl_spawn("validate");
    gate.reached().await;
    two.ctl("validate").await.expect(0);
    two.ctl("run --dry-run").await.expect(0);
    let out = two.ctl(RUN).await;
    assert!(out.stderr.contains("CONTROL_CONFLICT"), "{out}");
    gate.open().await;
    running.finish().await.expect(0);
}

/// What takes up a dead daemon's operation waits for the other one's, and ends nobody.
#[tokio::test]
async fn recovery_ends_no_work_of_another_control_database() {
    let target = TestTarget::migrated().await;
    let other = beside(&target);
    let one = Setup::of(&target).start().await;
    let dying = Setup::of(&other).spawn().await;
    let gate = Gate::before(&other, "REVISION_APPLIED").await;
    let lost = dying.ctl_spawn(&format!("{RUN} --reconnect-timeout 1s"));
    gate.reached().await;
    dying.kill().await;
    lost.finish().await;
    gate.open().await;
    let held = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'resetd %op=%' AND datname IN ('{}', '{}')",
        other.control, other.database
    );
    eventually("its sessions end", || async { target.control_rows(&held).await == [["0"]] }).await;

    let gate = Gate::before(&target, "REVISION_APPLIED").await;
    let running = one.ctl_spawn(RUN);
    gate.reached().await;
    let next = Setup::of(&other).env("RESETD_LOG", "resetd=debug,warn").spawn().await;
    let ends = async || other.control_rows("SELECT outcome FROM resetd.operation").await;
    eventually("recovery looked", || async {
        next.log().contains("another control database") || ends().await == [["abandoned"]]
    })
    .await;
    gate.open().await;
    running.finish().await.expect(0);
    eventually("then the operation gets its end", || async { ends().await == [["abandoned"]] }).await;
}

/// Every control database of the cluster says that it is one, and `check` lists them, with those that share a target.
#[tokio::test]
async fn check_lists_every_control_database_of_the_cluster() {
    let (target, _one, other, two) = two().await;
    let said = Setup::of(&target).resetd(&["check"]).await;
    said.expect(0).says(&format!("control database {} (this one)", target.control));
    said.says(&format!("control database {}", other.control)).says(&format!("serves {}", target.database));
    let comment = format!(
        "SELECT shobj_description(oid, 'pg_database') LIKE 'resetd: %' FROM pg_database WHERE datname = '{}'",
        other.control
    );
    assert_eq!(target.control_rows(&comment).await, [["t"]]);
    // Also while no daemon runs on it.
    two.stop().await;
    let said = Setup::of(&target).resetd(&["check"]).await;
    said.says(&format!("control database {}", other.control));
    assert!(!said.stdout.contains(&format!("serves {}", target.database)), "{said}");
}
