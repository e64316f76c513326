//! `migrate` beside somebody else's migration tool: no revision is applied twice, and what is recorded is what was planned.

use harness::{Migrations, Setup, TestTarget, commands::RUN};

/// A revision that does not mind being applied twice.
const REVISION: &str = "INSERT INTO public.applied VALUES (current_schema());";

/// A target with `core_002` pending.
async fn pending() -> (TestTarget, Migrations) {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    target.role_sql("CREATE TABLE public.applied (schema text)").await;
    chains.revision("core/core_002.sql", "core_002", "core_001", REVISION);
    (target, chains)
}

/// What `alembic upgrade` does, in one transaction: the revision, then the version.
const ALEMBIC: &str = "BEGIN; SET LOCAL search_path TO general;
    INSERT INTO public.applied VALUES (current_schema());
    UPDATE general.alembic_version SET version_num = 'core_002' WHERE version_num = 'core_001';";

const VERSIONS: &str =
    "SELECT string_agg(version_num, ' ' ORDER BY version_num) FROM general.alembic_version";

/// Where the revision was applied, as often as it was.
async fn applied(target: &TestTarget) -> String {
    target.value("SELECT string_agg(schema, ' ' ORDER BY schema) FROM public.applied").await
}

#[tokio::test]
async fn a_revision_that_somebody_else_applies_meanwhile_is_not_applied_twice() {
    for line in ["migrate", "migrate --allow-phased"] {
        let (target, chains) = pending().await;
        let daemon = Setup::of(&target).migrations(&chains).start().await;
        let mut alembic = target.session().await;
        alembic.sql(ALEMBIC).await;
        let client = daemon.ctl_spawn(line);
        target.until_blocked_by(alembic.pid).await;
        alembic.sql("COMMIT").await;
        let out = client.finish().await;
        out.expect(0);
        assert_eq!(applied(&target).await, "general health messenger relationship switchboard", "{out}");
        assert_eq!(target.value(VERSIONS).await, "core_002 mem_001", "{out}");
        // The others had it pending still.
        let ran = |schema: &str| out.list("/revisions").iter().any(|r| r["schema"] == schema);
        assert!(!ran("general") && ran("health"), "{out}");
    }
}

/// The other way round: once `migrate` has looked, nobody moves the versions until it is done.
#[tokio::test]
async fn nobody_moves_the_versions_while_a_migration_runs() {
    let (target, chains) = pending().await;
    chains.revision("core/core_003.sql", "core_003", "core_002", "LOCK TABLE public.wall;");
    target.role_sql("CREATE TABLE public.wall ()").await;
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let mut wall = target.session().await;
    wall.sql("BEGIN; LOCK TABLE public.wall").await;
    let client = daemon.ctl_spawn("migrate");
    target.until_blocked_by(wall.pid).await;
    // `switchboard` comes last: the migration has not come there yet.
    let mut other = target.session().await;
    other.sql("SET lock_timeout = '100ms'").await;
    let moved = other
        .try_sql(
            "UPDATE switchboard.alembic_version SET version_num = 'core_002' WHERE version_num = 'core_001'",
        )
        .await;
    assert!(moved.is_err_and(|e| e.to_string().contains("lock timeout")), "it waits for the migration");
    // Reading it is nobody's hindrance.
    other.sql("SELECT * FROM switchboard.alembic_version").await;
    wall.sql("ROLLBACK").await;
    client.finish().await.expect(0);
    assert_eq!(applied(&target).await, "general health messenger relationship switchboard");
}

/// A version that is not the planned one any more when it is recorded: whoever moved it, the end is not "applied".
#[tokio::test]
async fn a_version_that_moved_is_no_success() {
    for sql in [
        // A chain may not name the table; this one hides that it does.
        "DO $$ BEGIN EXECUTE 'UPDATE alembic' || '_version SET version_num = ''stray'' WHERE version_num = ''core_001'''; END $$;",
        "DO $$ BEGIN EXECUTE 'DELETE FROM alembic' || '_version'; END $$;",
    ] {
        let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
        chains.revision("core/core_002.sql", "core_002", "core_001", sql);
        let daemon = Setup::of(&target).migrations(&chains).start().await;
        let before = target.state().await;
        for line in ["migrate", RUN] {
            let out = daemon.ctl(line).await;
            out.refused("REVISION_FAILED");
            for word in ["alembic_version", "core_001", "core/core_002.sql"] {
                assert!(out.text("/error").contains(word), "{word}\n{out}");
            }
            assert_eq!(before, target.state().await, "{sql}\n{out}");
        }
    }
}
