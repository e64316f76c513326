//! A run and a session of somebody else that wait for each other: the run gives way and tries again.

use harness::{Make, Migrations, Session, Setup, TestTarget};

/// Takes a lock, waits until somebody has waited for it for so long that their look for deadlocks is near, and then
/// asks for what that one holds. Whoever looks first after that is the victim.
const CROSSING: &str = "
LOCK TABLE public.first IN ACCESS EXCLUSIVE MODE;
DO $$ BEGIN
  IF current_schema() = 'general' THEN
    FOR n IN 1..1000 LOOP
      EXIT WHEN EXISTS (SELECT FROM pg_stat_activity a WHERE pg_backend_pid() = ANY (pg_blocking_pids(a.pid)));
      PERFORM pg_sleep(0.01);
      PERFORM pg_stat_clear_snapshot();
    END LOOP;
    PERFORM pg_sleep(0.6);
  END IF;
END $$;
LOCK TABLE public.second IN ACCESS EXCLUSIVE MODE;
";

/// The run, and what became of the other session's transaction.
async fn cross(target: &TestTarget, line: &str) {
    let chains = Migrations::shipped();
    chains.revision("core/core_002.sql", "core_002", "core_001", CROSSING);
    target.sql("CREATE TABLE public.first (n int); CREATE TABLE public.second (n int)").await;
    let owner = &target.role;
    target
        .sql(&format!(
            "ALTER TABLE public.first OWNER TO {owner}; ALTER TABLE public.second OWNER TO {owner}"
        ))
        .await;
    let daemon = Setup::of(target).migrations(&chains).start().await;
    let mut other: Session = target.session().await;
    other.sql("BEGIN; INSERT INTO public.second VALUES (1)").await;
    let running = daemon.ctl_spawn(line);
    // It waits behind the run, and the run will come to wait behind it.
    target
        .until("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'public.first'::regclass AND mode = 'AccessExclusiveLock' AND granted)")
        .await;
    let wrote = other.try_sql("INSERT INTO public.first VALUES (1); COMMIT").await;
    assert!(wrote.is_ok(), "{line}: somebody else's work was thrown away: {wrote:?}");
    assert_eq!(
        target.rows("SELECT (SELECT count(*) FROM public.first), (SELECT count(*) FROM public.second)").await,
        [["1", "1"]]
    );
    running.finish().await.expect(0);
    daemon.ctl("validate").await.expect(0);
}

#[tokio::test]
async fn a_run_is_the_victim_of_a_deadlock_not_somebody_else() {
    cross(&TestTarget::migrated().await, "migrate").await;
}

#[tokio::test]
async fn a_phased_step_is_the_victim_of_a_deadlock_not_somebody_else() {
    cross(&TestTarget::migrated().await, "migrate --allow-phased").await;
}

/// A role that may not set `deadlock_timeout` waits shortly for each lock, and so gives way as well.
#[tokio::test]
async fn a_plain_role_gives_way() {
    cross(&TestTarget::make(Make { restricted: true, ..Make::migrated() }).await, "migrate").await;
}

/// One that was granted the setting uses it.
#[tokio::test]
async fn a_plain_role_that_may_looks_for_deadlocks_first() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    // Before version 15 nobody but a superuser can be let.
    let setting = match target.major().await {
        ..15 => "1s",
        _ => {
            target.sql(&format!("GRANT SET ON PARAMETER deadlock_timeout TO {}", target.role)).await;
            "1ms"
        }
    };
    let chains = Migrations::shipped();
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "CREATE TABLE IF NOT EXISTS public.seen AS SELECT current_setting('deadlock_timeout') AS setting;",
    );
    target.sql(&format!("GRANT CREATE ON SCHEMA public TO {}", target.role)).await;
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    daemon.ctl("migrate").await.expect(0);
    assert_eq!(target.value("SELECT setting FROM public.seen").await, setting);
}
