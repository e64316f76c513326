//! What a build aside does beyond its own database: what stays in the cluster is told, and the database that serves is out of
//! its reach.

use harness::{
    Migrations, Setup, TestTarget,
    database::{RUN, generated, oid},
};

#[tokio::test]
async fn what_a_failed_build_leaves_in_the_cluster_is_told() {
    let target = TestTarget::migrated().await;
    let d = target.database.clone();
    target.sql(&format!("CREATE ROLE old_{d}")).await;
    target.let_act_as(&[&format!("old_{d}")]).await;
    if target.control_role.is_some() {
        target.sql(&format!("ALTER ROLE {} CREATEROLE", target.role)).await;
    }
    let chains = Migrations::shipped();
    let once = "DO $$ BEGIN IF current_schema() = 'general' THEN";
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        &format!(
            "{once} CREATE ROLE left_{d}; GRANT old_{d} TO left_{d}; ALTER ROLE old_{d} SET work_mem = '9MB';
             ALTER ROLE old_{d} CONNECTION LIMIT 7; END IF; END $$"
        ),
    );
    // In a later cell: what a cell did is committed when it is complete.
    let fails = "DO $$ BEGIN IF current_schema() = 'health' THEN PERFORM 1 / 0; END IF; END $$";
    chains.revision("core/core_003.sql", "core_003", "core_002", fails);
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let before = (target.state().await, oid(&target).await);
    let out = daemon.ctl(RUN).await;
    assert_eq!(out.text("/error_detail/reason"), "REVISION_FAILED", "{out}");
    assert_eq!(before, (target.state().await, oid(&target).await));
    assert_eq!(generated(&target, "new").await, [""; 0]);
    let told: Vec<String> = out
        .list("/findings")
        .iter()
        .filter(|f| f["code"] == "CLUSTER_CHANGED" && f["object"].as_str().is_some_and(|o| o.contains(&d)))
        .map(|f| format!("{}: {}", f["object"].as_str().unwrap(), f["hint"].as_str().unwrap()))
        .collect();
    let limit =
        |line: &String| line.starts_with(&format!("role old_{d}: it was: ")) && line.contains("LIMIT -1");
    assert!(told.iter().any(limit), "{told:#?}\n{out}");
    for line in [
        format!("role left_{d}: if a revision made it: DROP ROLE left_{d}"),
        format!("membership of left_{d} in old_{d}: if a revision made it: REVOKE old_{d} FROM left_{d}"),
        format!("setting work_mem of role old_{d}: if a revision made it: ALTER ROLE old_{d} RESET work_mem"),
    ] {
        assert!(told.contains(&line), "{line}\n{told:#?}\n{out}");
    }
    assert!(!out.stderr.contains("everything was rolled back"), "{out}");
    assert!(out.text("/error_detail/hint").contains("stay"), "{out}");
    // What it says takes it away.
    target.sql(&format!("REVOKE old_{d} FROM left_{d}; DROP ROLE left_{d}")).await;
}

/// It would change the database that serves, from within the one that is built.
#[tokio::test]
async fn a_revision_that_names_the_live_database_is_refused_beforehand() {
    let target = TestTarget::migrated().await;
    let d = target.database.clone();
    for (sql, line) in [
        (format!("SELECT 1;\nGRANT CONNECT ON DATABASE {d} TO PUBLIC"), 5),
        (format!("ALTER DATABASE \"{d}\" SET work_mem = '8MB'"), 4),
        (format!("DO $$\nBEGIN\n  EXECUTE 'COMMENT ON DATABASE {d} IS ''x''';\nEND $$"), 6),
        (format!("ALTER ROLE CURRENT_USER IN DATABASE {d} SET work_mem = '8MB'"), 4),
    ] {
        let chains = Migrations::shipped();
        chains.revision("core/core_002.sql", "core_002", "core_001", &sql);
        let daemon = Setup::of(&target).migrations(&chains).start().await;
        let before = (target.state().await, oid(&target).await);
        let out = daemon.ctl(RUN).await;
        out.refused("PREFLIGHT_FAILED");
        let findings = out.list("/plan/findings");
        let named =
            findings.iter().find(|f| f["code"] == "DATABASE_NAMED").unwrap_or_else(|| panic!("{out}"));
        assert_eq!(named["object"], format!("core/core_002.sql:{line}"), "{out}");
        assert!(named["hint"].to_string().contains("current_database()"), "{out}");
        assert_eq!(before, (target.state().await, oid(&target).await), "{sql}");
    }
    // In place it is the same database.
    let chains = Migrations::shipped();
    let grant = format!("GRANT CONNECT ON DATABASE {d} TO pg_monitor");
    chains.revision("core/core_002.sql", "core_002", "core_001", &grant);
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    daemon.ctl("run --scope managed-schemas --confirm-destructive-reset RESET").await.expect(0);
}
