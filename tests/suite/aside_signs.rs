//! Schemas that are set aside are the daemon's only while every sign of it fits, as kept databases are; whatever the end of
//! their operation was, and with the least privileges.

use harness::{
    Make, Migrations, Newer, Setup, TestTarget,
    aside::{kept, ledger},
    commands::{RESET, RUN, UNDO},
    eventually,
};

/// Everything that is kept has had its time.
const EXPIRE: &str = "UPDATE resetd.kept_schemas SET expires_at = clock_timestamp() - interval '1 minute'";

fn general(names: &[String]) -> String {
    names.iter().find(|name| name.ends_with("_general")).cloned().expect("a schema general")
}

/// Each sign by itself is enough to leave it alone and to tell of it; what has them all is dropped.
#[tokio::test]
async fn what_lacks_any_sign_is_left_alone_and_told() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with("[profile.local]\nkeep_count = \"none\"\n").start().await;
    let (mut sets, mut operations) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let before = kept(&target).await;
        operations.push(daemon.ctl(RESET).await.text("/operation").to_owned());
        let names: Vec<String> = kept(&target).await.into_iter().filter(|n| !before.contains(n)).collect();
        sets.push(names);
    }
    daemon.stop().await;
    let [renamed, opened, unmarked, replaced, elsewhere, whole] = <[Vec<String>; 6]>::try_from(sets).unwrap();
    target
        .sql(&format!(
            "ALTER SCHEMA {} RENAME TO renamed; GRANT USAGE ON SCHEMA {} TO PUBLIC; COMMENT ON SCHEMA {} IS 'ours';
             ALTER SCHEMA {replaced} RENAME TO theirs; CREATE SCHEMA {replaced}",
            general(&renamed),
            general(&opened),
            general(&unmarked),
            replaced = general(&replaced),
        ))
        .await;
    target
        .control_sql(&format!(
            "{EXPIRE}; UPDATE resetd.kept_schemas SET system_identifier = '1' WHERE operation = '{}'",
            operations[4]
        ))
        .await;
    let daemon = Setup::of(&target).spawn().await;
    eventually("what is whole is dropped", || async {
        kept(&target).await.iter().all(|name| !whole.contains(name))
    })
    .await;
    let waiting = "SELECT count(*) FROM resetd.kept_schemas WHERE state IN ('kept', 'dropping') AND system_identifier <> '1'";
    eventually("the janitor looked", || async { target.control_rows(waiting).await == [["0"]] }).await;
    // Nothing of them is gone, not even the schemas beside the one that was changed.
    let there = kept(&target).await;
    for set in [&opened, &unmarked, &replaced, &elsewhere] {
        assert!(set.iter().all(|name| there.contains(name)), "{set:?} of {there:?}");
    }
    assert!(renamed.iter().filter(|n| !n.ends_with("_general")).all(|name| there.contains(name)));
    assert_eq!(
        target.value("SELECT count(*) FROM pg_namespace WHERE nspname IN ('renamed', 'theirs')").await,
        "2"
    );
    let status = daemon.ctl("status").await;
    for (operation, why) in [
        (&operations[0], "is called renamed now"),
        (&operations[1], "rights on it were granted"),
        (&operations[2], "its comment was changed"),
        (&operations[3], "is called theirs now"),
    ] {
        let told = status.expect(0).stdout.lines().any(|line| {
            line.starts_with("warning") && line.contains(operation.as_str()) && line.contains(why)
        });
        assert!(told, "{operation}: {why}\n{status}");
    }
    Setup::of(&target).resetd(&["check"]).await.says("is called renamed now");
    let warned = daemon.log().lines().filter(|l| l.contains("WARN") && l.contains(&operations[0])).count();
    assert_eq!(warned, 1, "{}", daemon.log());
    daemon.ctl(UNDO).await.refused("NOTHING_TO_UNDO");
}

/// Committed, and then not what it was validated as: what it set aside is kept, and comes back.
#[tokio::test]
async fn a_run_that_its_own_commit_made_invalid_can_be_undone() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    chains.revision("core/core_002.sql", "core_002", "core_001", harness::migrations::SLEEPER);
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let old = target.state().await;
    let out = daemon.ctl(RUN).await;
    out.expect(7).refused("VALID_THEN_CHANGED");
    assert_eq!(ledger(&target).await, [["kept", "1"]]);
    let shown = daemon.ctl(&format!("operations show {}", out.text("/operation"))).await;
    assert!(shown.expect(0).stdout.contains("undo until"), "{shown}");
    daemon.ctl(UNDO).await.expect(0);
    target.sql(&format!("DROP SCHEMA {} CASCADE", kept(&target).await.join(", "))).await;
    assert_eq!(old, target.state().await);
}

/// Neither the control role nor the target's is a superuser.
#[tokio::test]
async fn with_the_least_privileges() {
    set_aside_and_back(&TestTarget::make(Make::least()).await).await;
}

#[tokio::test]
async fn with_the_least_privileges_on_a_newer_server() {
    let newer = Newer::start().await;
    set_aside_and_back(&TestTarget::make_on(&newer.postgres, Make::least()).await).await;
}

/// Reset, run, undo, undo of it, the janitor and `kept drop`.
async fn set_aside_and_back(target: &TestTarget) {
    let (d, role) = (&target.database, &target.role);
    target
        .sql(&format!(
            "CREATE ROLE reader_{d}; SET ROLE {role};
             GRANT USAGE ON SCHEMA general TO reader_{d}; GRANT SELECT ON general.state TO reader_{d};
             ALTER DEFAULT PRIVILEGES IN SCHEMA general GRANT SELECT ON TABLES TO reader_{d};
             COMMENT ON SCHEMA general IS 'ours'; CREATE PUBLICATION one FOR TABLE general.state"
        ))
        .await;
    let daemon = Setup::of(target).start().await;
    for verb in [RUN, RESET] {
        let old = target.dump().await;
        let out = daemon.ctl(verb).await;
        out.expect(0);
        assert_eq!(kept(target).await.len(), 6, "{out}");
        daemon.ctl(UNDO).await.expect(0);
        // And there and back once more.
        daemon.ctl(UNDO).await.expect(0);
        daemon.ctl(UNDO).await.expect(0);
        let aside = kept(target).await;
        let operation =
            target.control_rows("SELECT operation FROM resetd.kept_schemas WHERE state = 'kept'").await;
        daemon.ctl(&format!("kept drop {}", operation[0][0])).await.expect(0);
        eventually("it is dropped", || async { kept(target).await.is_empty() }).await;
        assert_eq!(aside.len(), 6);
        assert_eq!(old, target.dump().await, "{verb}");
        // No table of a reset alone takes its place.
        target.sql("DROP PUBLICATION IF EXISTS one").await;
    }
    daemon.ctl(RUN).await.expect(0);
    target.control_sql(EXPIRE).await;
    daemon.ctl("validate").await.expect(0);
    eventually("the janitor dropped it", || async { kept(target).await.is_empty() }).await;
    eventually("it is forgotten", || async { ledger(target).await.is_empty() }).await;
    daemon.stop().await;
}
