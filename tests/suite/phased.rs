//! `migrate --allow-phased` and databases that are built aside, revision by revision: what stays is told as that.

use harness::{Migrations, Setup, TestTarget, database};

const PHASED: &str = "migrate --allow-phased";

/// A revision that refuses a transaction.
fn bare(id: &str, revises: &str, sql: &str) -> String {
    format!("-- revision: {id}\n-- revises: {revises}\n-- summary: x\n-- transaction: none\n\n{sql}\n")
}

#[tokio::test]
async fn what_was_applied_before_a_failure_stays_and_is_told_so() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE late (n int);");
    chains.revision("core/core_003.sql", "core_003", "core_002", "SELECT 1 / 0;");
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let out = daemon.ctl(PHASED).await;
    out.expect(1).refused("REVISION_FAILED");
    let revisions = out.list("/revisions");
    assert_eq!(revisions.len(), 1, "{out}");
    assert_eq!(
        (revisions[0]["revision"].as_str(), revisions[0]["status"].as_str()),
        (Some("core_002"), Some("applied"))
    );
    let schema = revisions[0]["schema"].as_str().unwrap();
    assert!(target.holds(&format!("SELECT to_regclass('{schema}.late') IS NOT NULL")).await);
    assert!(out.text("/error_detail/hint").contains("stays"), "{out}");
    assert!(!format!("{}{}", out.text("/error"), out.at("/error_detail")).contains("rolled back"), "{out}");
    // It goes on where it was.
    chains.revision("core/core_003.sql", "core_003", "core_002", "SELECT 1;");
    daemon.ctl(PHASED).await.expect(0);
    daemon.ctl("validate").await.expect(0);
}

#[tokio::test]
async fn an_index_is_built_concurrently_in_a_target_that_serves() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let index = "CREATE INDEX CONCURRENTLY state_late ON state (key);";
    chains.write("core/core_002.sql", &bare("core_002", "core_001", index));
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    daemon.ctl("migrate").await.expect(4).refused("NOT_TRANSACTIONAL");
    daemon.ctl(PHASED).await.expect(0);
    let valid = "SELECT count(*) = 5 AND bool_and(indisvalid) FROM pg_index WHERE indexrelid::regclass::text LIKE '%state_late'";
    assert!(target.holds(valid).await);
}

/// Schemas take turns at what refuses a transaction. One that waits long for its turn has not lost its daemon.
#[tokio::test]
async fn who_waits_long_for_its_turn_is_not_taken_for_lost() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let slow = "SELECT CASE WHEN current_schema() = 'general' THEN pg_sleep(16) END;";
    chains.write("core/core_002.sql", &bare("core_002", "core_001", slow));
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    daemon.ctl(database::RUN).await.expect(0);
}
