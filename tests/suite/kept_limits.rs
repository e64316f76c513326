//! How many previous databases and sets of schemas are kept, and how much they may take: what goes early is told by the plan, and the newest
//! never goes.

use harness::{
    Output, Setup, TestTarget,
    commands::UNDO,
    database::{RESET, RUN, generated, oid},
    eventually,
};

fn ending_early(out: &Output) -> Vec<String> {
    let findings = out.list("/plan/findings").iter().filter(|f| f["code"] == "KEPT_ENDS_EARLY");
    findings
        .map(|f| format!("{}: {}", f["object"].as_str().unwrap(), f["message"].as_str().unwrap()))
        .collect()
}

/// The names of the kept databases that an undo could bring back, newest first.
async fn kept(target: &TestTarget) -> Vec<String> {
    let rows = target
        .control_rows(
            "SELECT name FROM resetd.kept_database WHERE expires_at > clock_timestamp() ORDER BY kept_at DESC",
        )
        .await;
    rows.into_iter().map(|row| row[0].clone()).collect()
}

#[tokio::test]
async fn more_than_so_many_are_not_kept() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with("[profile.local]\nkeep_count = \"2\"\n").start().await;
    let mut all = Vec::new();
    for n in 0..4 {
        let goes = all.get(n as usize - 2.min(n as usize)).filter(|_| n >= 2).cloned();
        let dry = daemon.ctl("reset --scope database --dry-run").await;
        let told = ending_early(dry.expect(0));
        let now = kept(&target).await;
        let out = daemon.ctl(RESET).await;
        assert_eq!(ending_early(out.expect(0)), told, "{out}");
        all.push(out.text("/details/reset/kept_as").to_owned());
        match goes {
            None => assert_eq!(told, [""; 0], "{dry}"),
            Some(name) => {
                assert_eq!(told.len(), 1, "{dry}");
                assert!(told[0].contains(&name) && told[0].contains("keep_count = 2"), "{dry}");
                assert!(dry.stdout.contains(&name), "{dry}");
                assert!(now.contains(&name));
                eventually("it is dropped", || async { !generated(&target, "kept").await.contains(&name) })
                    .await;
            }
        }
        let newest: Vec<String> = all.iter().rev().take(2).cloned().collect();
        assert_eq!(kept(&target).await, newest, "after {n}");
    }
    // An undo takes one out and puts one in: nothing has to go.
    let before = oid(&target).await;
    let out = daemon.ctl(UNDO).await;
    assert_eq!(ending_early(out.expect(0)), [""; 0], "{out}");
    assert_ne!(before, oid(&target).await);
    assert_eq!(kept(&target).await.len(), 2);
    daemon.ctl(UNDO).await.expect(0);
    assert_eq!(before, oid(&target).await);
}

#[tokio::test]
async fn they_take_no_more_than_so_much_and_the_newest_stays() {
    let target = TestTarget::migrated().await;
    // Less than any database: only the newest is kept, which no limit takes.
    let daemon = Setup::of(&target).with("[profile.local]\nkeep_bytes = \"1M\"\n").start().await;
    let out = daemon.ctl(RUN).await;
    assert_eq!(ending_early(out.expect(0)), [""; 0], "{out}");
    let first = out.text("/details/reset/kept_as").to_owned();
    let out = daemon.ctl(RUN).await;
    let told = ending_early(out.expect(0));
    assert!(told.len() == 1 && told[0].contains(&first) && told[0].contains("keep_bytes = 1000000"), "{out}");
    assert_eq!(kept(&target).await, [out.text("/details/reset/kept_as")]);
    eventually("it is dropped", || async { generated(&target, "kept").await.len() == 1 }).await;
    daemon.ctl(UNDO).await.expect(0);
    daemon.stop().await;

    // Room for both.
    let daemon = Setup::of(&target).with("[profile.local]\nkeep_bytes = \"1G\"\n").start().await;
    let out = daemon.ctl(RUN).await;
    assert_eq!(ending_early(out.expect(0)), [""; 0], "{out}");
    assert_eq!(kept(&target).await.len(), 2);
}

/// The same of schemas that are set aside: they count for themselves.
#[tokio::test]
async fn schemas_are_not_kept_beyond_the_limits_either() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with("[profile.local]\nkeep_count = \"2\"\n").start().await;
    let reset = "reset --confirm-destructive-reset RESET";
    let operations = "SELECT operation FROM resetd.kept_schemas WHERE expires_at > clock_timestamp() ORDER BY kept_at DESC";
    daemon.ctl(RUN).await.expect(0);
    let mut all = Vec::new();
    for n in 0..4 {
        let dry = daemon.ctl("reset --dry-run").await;
        let told = ending_early(dry.expect(0));
        let out = daemon.ctl(reset).await;
        assert_eq!(ending_early(out.expect(0)), told, "{out}");
        all.push(vec![out.text("/operation").to_owned()]);
        match n {
            0 | 1 => assert_eq!(told, [""; 0], "{dry}"),
            _ => {
                let goes = &all[n - 2][0];
                assert!(
                    told.len() == 1 && told[0].contains(goes) && told[0].contains("keep_count = 2"),
                    "{dry}"
                );
                assert!(dry.stdout.contains(goes), "{dry}");
            }
        }
        let newest: Vec<_> = all.iter().rev().take(2).cloned().collect();
        assert_eq!(target.control_rows(operations).await, newest, "after {n}");
    }
    eventually("what went early is dropped", || async {
        target.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'resetd\\_kept\\_%'").await == "12"
    })
    .await;
    // An undo takes one out and puts one in: nothing has to go. The database is still kept.
    let out = daemon.ctl(UNDO).await;
    assert_eq!(ending_early(out.expect(0)), [""; 0], "{out}");
    assert_eq!(target.control_rows(operations).await.len(), 2);
    assert_eq!(kept(&target).await.len(), 1);
    // A reset that fails ends nothing early.
    let before = target.control_rows(operations).await;
    target.role_sql("CREATE TABLE general.held (n int)").await;
    let mut holder = target.session().await;
    holder.sql("BEGIN; LOCK TABLE general.held IN ACCESS SHARE MODE").await;
    let waiting = daemon.ctl_spawn(reset);
    target.until_blocked_by(holder.pid).await;
    let operation = target.control_rows("SELECT id FROM resetd.operation WHERE state = 'running'").await;
    daemon.ctl(&format!("operations cancel {}", operation[0][0])).await.expect(0);
    waiting.finish().await.refused("CANCELLED");
    assert_eq!(target.control_rows(operations).await, before);
}

/// A swap that fails takes nothing away early.
#[tokio::test]
async fn a_failed_swap_ends_nothing_early() {
    let target = TestTarget::migrated().await;
    let limits = "[profile.local]\nkeep_count = \"1\"\nsessions = \"refuse\"\n";
    let daemon = Setup::of(&target).with(limits).start().await;
    daemon.ctl(RUN).await.expect(0);
    let before = kept(&target).await;
    assert_eq!(before.len(), 1);
    let gate = harness::Gate::before(&target, "DATABASE_BUILT").await;
    let running = daemon.ctl_spawn(RUN);
    harness::database::reached(&target).await;
    let late = target.session().await;
    gate.open().await;
    running.finish().await.refused("BLOCKED");
    late.close().await;
    assert_eq!(kept(&target).await, before);
    daemon.ctl(UNDO).await.expect(0);
}

/// None at all is what `keep_previous` says; a limit that keeps nothing would be one by accident.
#[tokio::test]
async fn a_limit_of_none_is_refused() {
    let target = TestTarget::empty().await;
    let problems =
        Setup::of(&target).with("[profile.local]\nkeep_count = \"0\"\n").load().err().unwrap_or_default();
    assert!(
        problems.iter().any(|p| p.contains("keep_count") && p.contains("keep_previous = \"0s\"")),
        "{problems:?}"
    );
}
