//! What people put into schemas that are set aside, hang on them, or keep in `public`, is theirs: it is neither dropped with
//! them, nor lost with the database without being told.

use harness::{
    Daemon, Make, Setup, TestTarget,
    aside::{kept, ledger},
    commands::{RUN, UNDO},
    eventually,
};

use serde_json::json;

const DRY: &str = "run --scope database --dry-run";

/// Everything that is kept has had its time.
const EXPIRE: &str = "UPDATE resetd.kept_schemas SET expires_at = clock_timestamp() - interval '1 minute'";

/// A run, and the schema that it set aside.
async fn set_aside(target: &TestTarget, daemon: &Daemon) -> String {
    daemon.ctl(RUN).await.expect(0);
    kept(target).await.into_iter().find(|name| name.ends_with("_general")).unwrap()
}

/// What the ledger says of it, as soon as that holds something; each look is woken up.
async fn told(target: &TestTarget, daemon: &Daemon, what: &str) {
    eventually(what, || async {
        daemon.ctl("validate").await.expect(0);
        let rows =
            target.control_rows("SELECT concat(given_up, left_because) FROM resetd.kept_schemas").await;
        assert!(!rows.is_empty(), "it was dropped");
        rows[0][0].contains(what)
    })
    .await;
}

/// Somebody uses what was set aside: a replacement of the whole database would take it away, and the plan says so.
#[tokio::test]
async fn what_somebody_took_over_is_outside_of_a_replacement() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let general = set_aside(&target, &daemon).await;
    for (change, back) in [
        (
            format!("GRANT USAGE ON SCHEMA {general} TO PUBLIC"),
            format!("REVOKE ALL ON SCHEMA {general} FROM PUBLIC"),
        ),
        (format!("CREATE TABLE {general}.mine AS SELECT 1 AS a"), format!("DROP TABLE {general}.mine")),
    ] {
        target.sql(&change).await;
        let dry = daemon.ctl(DRY).await;
        assert!(dry.expect(0).at("/plan/outside").to_string().contains(&general), "{change}: {dry}");
        target.sql(&back).await;
    }
    assert_eq!(daemon.ctl(DRY).await.at("/plan/outside"), &json!([]));
}

/// Functions and types in `public` are as much outside as tables there.
#[tokio::test]
async fn functions_and_types_in_public_are_outside_of_a_replacement() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for (make, drop) in [
        (
            "CREATE FUNCTION public.precious() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "DROP FUNCTION public.precious",
        ),
        ("CREATE TYPE public.mood AS ENUM ('good')", "DROP TYPE public.mood"),
    ] {
        target.sql(make).await;
        let dry = daemon.ctl(DRY).await;
        assert_eq!(dry.expect(0).text("/plan/outside/0/identity"), "public", "{make}: {dry}");
        target.sql(drop).await;
    }
    assert_eq!(daemon.ctl(DRY).await.at("/plan/outside"), &json!([]));
}

/// It was left, because a view hung on it; then somebody kept a table of theirs in it.
#[tokio::test]
async fn what_was_left_and_then_changed_is_not_dropped() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let general = set_aside(&target, &daemon).await;
    target.sql(&format!("CREATE VIEW public.v AS SELECT * FROM {general}.state")).await;
    target.control_sql(EXPIRE).await;
    told(&target, &daemon, "view public.v").await;
    target.sql(&format!("CREATE TABLE {general}.mine AS SELECT 1 AS a; DROP VIEW public.v")).await;
    told(&target, &daemon, "were changed").await;
    assert_eq!(ledger(&target).await, [["given_up", "1"]]);
    assert_eq!(target.value(&format!("SELECT a FROM {general}.mine")).await, "1");
    assert_eq!(kept(&target).await.len(), 6);
}

/// The drop waits for a lock; meanwhile something outside comes to hang on what it is about to drop.
#[tokio::test]
async fn what_comes_to_hang_on_it_while_the_drop_waits_stays() {
    let target = TestTarget::migrated().await;
    target.sql("CREATE VIEW general.seen AS SELECT 'row' AS it").await;
    let daemon = Setup::of(&target).start().await;
    let general = set_aside(&target, &daemon).await;
    let mut holder = target.session().await;
    holder.sql(&format!("BEGIN; LOCK TABLE {general}.seen IN ACCESS SHARE MODE")).await;
    target.control_sql(EXPIRE).await;
    let waking = daemon.ctl_spawn("validate");
    target.until_blocked_by(holder.pid).await;
    holder
        .sql(&format!("CREATE MATERIALIZED VIEW public.mine AS SELECT * FROM {general}.seen; COMMIT"))
        .await;
    waking.finish().await.expect(0);
    told(&target, &daemon, "materialized view public.mine").await;
    assert_eq!(target.value("SELECT it FROM public.mine").await, "row");
    target.sql("DROP MATERIALIZED VIEW public.mine").await;
    daemon.ctl("validate").await.expect(0);
    eventually("it is dropped", || async { ledger(&target).await.is_empty() }).await;
    assert_eq!(kept(&target).await, [""; 0]);
}

/// A schema that was given to somebody is theirs, and an undo says before that it does not bring it back.
#[tokio::test]
async fn another_owner_makes_it_theirs() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let general = set_aside(&target, &daemon).await;
    let dba = format!("dba_{}", target.database);
    target.sql(&format!("CREATE ROLE {dba}; ALTER SCHEMA {general} OWNER TO {dba}")).await;
    let dry = daemon.ctl("undo --dry-run").await;
    assert!(dry.expect(0).at("/plan/refusal").to_string().contains(&format!("belongs to {dba}")), "{dry}");
    daemon.ctl(UNDO).await.refused("PREFLIGHT_FAILED");
    target.control_sql(EXPIRE).await;
    told(&target, &daemon, &format!("it belongs to {dba} now")).await;
    assert_eq!(kept(&target).await.len(), 6);
    target.sql(&format!("DROP OWNED BY {dba} CASCADE; DROP ROLE {dba}")).await;
}

/// A table of somebody else's in it: the schema's owner drops it, though they may not lock it.
#[tokio::test]
async fn tables_of_others_go_with_what_was_set_aside() {
    let target = TestTarget::make(Make::least()).await;
    let other = format!("other_{}", target.database);
    target
        .sql(&format!(
            "CREATE ROLE {other}; GRANT CREATE, USAGE ON SCHEMA general TO {other};
             SET ROLE {other}; CREATE TABLE general.theirs (a int)"
        ))
        .await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(RUN).await.expect(0);
    target.control_sql(EXPIRE).await;
    daemon.ctl("validate").await.expect(0);
    eventually("it is dropped", || async { ledger(&target).await.is_empty() }).await;
    assert_eq!(kept(&target).await, [""; 0]);
    target.sql(&format!("DROP OWNED BY {other} CASCADE; DROP ROLE {other}")).await;
}

/// What an undo needs and does not find is told before, not when it fails.
#[tokio::test]
async fn an_undo_says_before_what_it_lacks() {
    let target = TestTarget::migrated().await;
    let reader = format!("lacking_{}", target.database);
    target.sql(&format!("CREATE ROLE {reader}; GRANT USAGE ON SCHEMA general TO {reader}")).await;
    target.role_sql("CREATE PUBLICATION one FOR TABLE general.state").await;
    let daemon = Setup::of(&target).start().await;
    set_aside(&target, &daemon).await;
    target.sql(&format!("DROP PUBLICATION one; DROP OWNED BY {reader}; DROP ROLE {reader}")).await;
    let dry = daemon.ctl("undo --dry-run").await;
    for what in ["publication one", &format!("role {reader}")] {
        assert!(dry.expect(0).at("/plan/refusal").to_string().contains(what), "{what}: {dry}");
    }
    daemon.ctl(UNDO).await.refused("PREFLIGHT_FAILED");
    target.sql(&format!("CREATE ROLE {reader}")).await;
    target.role_sql("CREATE PUBLICATION one").await;
    daemon.ctl(UNDO).await.expect(0);
    let published = "SELECT count(*) FROM pg_publication_tables WHERE pubname = 'one'";
    assert_eq!(target.value(published).await, "1");
    target.sql(&format!("DROP OWNED BY {reader}; DROP ROLE {reader}")).await;
}
