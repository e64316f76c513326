//! `migrate --allow-phased` leaves no extension in a managed schema, as nothing else does.

use harness::{Migrations, Setup, TestTarget};

const PHASED: &str = "migrate --allow-phased";
/// The parser takes a plain CREATE EXTENSION out of a revision; this one it does not see.
const HIDDEN: &str =
    "DO $$ BEGIN IF current_schema() = 'health' THEN CREATE EXTENSION hstore; END IF; END $$;";

#[tokio::test]
async fn a_step_that_leaves_an_extension_in_a_managed_schema_is_taken_back() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        &format!("CREATE TABLE late (n int); {HIDDEN}"),
    );
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    daemon.ctl("migrate").await.refused("EXTENSION_MISPLACED");
    let out = daemon.ctl(PHASED).await;
    out.refused("EXTENSION_MISPLACED");
    assert!(out.text("/error").contains("hstore") && out.text("/error").contains("health"), "{out}");
    assert!(out.text("/error_detail/hint").contains("requires-extension"), "{out}");
    let there = "SELECT count(*) FROM pg_extension WHERE extname = 'hstore'";
    assert_eq!(target.value(there).await, "0");
    // The schema before it is done, this one is where it was.
    let at = |schema: &str| {
        format!("SELECT version_num FROM {schema}.alembic_version WHERE version_num LIKE 'core%'")
    };
    assert_eq!(target.value(&at("general")).await, "core_002");
    assert_eq!(target.value(&at("health")).await, "core_001");
    assert!(!target.holds("SELECT to_regclass('health.late') IS NOT NULL").await);

    chains.write(
        "core/core_002.sql",
        "-- revision: core_002\n-- revises: core_001\n-- summary: x\n-- requires-extension: hstore\n\nCREATE TABLE late (n hstore);\n",
    );
    daemon.ctl(PHASED).await.expect(0);
    daemon.ctl("validate").await.expect(0);
    let place = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'hstore'";
    assert_eq!(target.value(place).await, "extensions");
}

/// Outside a transaction nothing can be taken back: it is told, and the revision does not count as applied.
#[tokio::test]
async fn a_bare_step_that_leaves_an_extension_is_told_and_not_counted() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let header = "-- revision: core_002\n-- revises: core_001\n-- summary: x\n-- transaction: none\n\n";
    chains.write(
        "core/core_002.sql",
        &format!("{header}{HIDDEN}\nCREATE INDEX CONCURRENTLY late ON state (key);\n"),
    );
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let out = daemon.ctl(PHASED).await;
    out.refused("EXTENSION_MISPLACED");
    assert!(out.text("/error").contains("hstore") && out.text("/error").contains("health"), "{out}");
    let told = format!("{}{}", out.text("/error"), out.at("/error_detail"));
    assert!(!told.contains("rolled back"), "{out}");
    let health = "SELECT version_num FROM health.alembic_version WHERE version_num LIKE 'core%'";
    assert_eq!(target.value(health).await, "core_001");
}
