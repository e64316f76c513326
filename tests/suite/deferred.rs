//! Constraints that are checked late: whose they are, when they fire, and what a commit is worth after them.

use harness::{
    Daemon, Gate, Hold, Make, Migrations, Session, Setup, TestTarget, commands::RUN, eventually,
    migrations::SLEEPER,
};
use sqlx::Connection as _;

const SWAP: &str = "run --scope database --confirm-destructive-reset RESET";

/// Those in what serves; what is set aside has them still.
const LEFT: &str = "SELECT count(*) FROM pg_tables WHERE tablename = 'route_inbox' AND schemaname NOT LIKE 'resetd\\_kept\\_%'";

fn sleeper() -> Migrations {
    let chains = Migrations::shipped();
    chains.revision("core/core_002.sql", "core_002", "core_001", SLEEPER);
    chains
}

fn findings(out: &harness::Output, code: &str) -> Vec<String> {
    let with = out.list("/findings").iter().filter(|f| f["code"] == code);
    with.map(|f| f["object"].as_str().unwrap_or_default().to_owned()).collect()
}

/// It was proven valid, and its own commit made it invalid: that is told as what it is.
#[tokio::test]
async fn what_fires_inside_the_commit_and_breaks_the_target_is_told() {
    let (target, chains) = (TestTarget::migrated().await, sleeper());
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let out = daemon.ctl(RUN).await;
    assert_eq!(target.value(LEFT).await, "0", "the test strikes\n{out}");
    out.expect(7).refused("VALID_THEN_CHANGED");
    assert_eq!(out.text("/outcome"), "differences", "{out}");
    for word in ["committed", "general.route_inbox"] {
        assert!(out.text("/error_detail/message").contains(word), "{word}\n{out}");
    }
    assert!(!format!("{out}").contains("rolled back"), "{out}");
    // What stayed is not told as undone, and what differs is listed.
    assert!(out.list("/details/reset").iter().all(|e| e["status"] == "reset"), "{out}");
    assert!(out.list("/revisions").iter().all(|e| e["status"] == "applied"), "{out}");
    assert_eq!(out.list("/details/validation/missing/tables").len(), 5, "{out}");
    assert_eq!(out.text("/details/validation/status"), "failed", "{out}");
    assert_eq!(findings(&out, "DEFERRED_TRIGGER").len(), 5, "{out}");
    assert!(findings(&out, "DEFERRED_TRIGGER")[0].contains("later on table general.sleeper"), "{out}");
    daemon.ctl("validate").await.expect(7);
}

/// Scope database: what is built aside is committed long before it is swapped in, and only what is valid then is.
#[tokio::test]
async fn what_fires_inside_a_commit_never_gets_into_a_swap() {
    let (target, chains) = (TestTarget::migrated().await, sleeper());
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let before = target.state().await;
    let out = daemon.ctl(SWAP).await;
    out.expect(7).refused("VALIDATION_DIFFERENCES");
    assert_eq!(before, target.state().await, "{out}");
}

/// Between the look at what was built and the swap, nobody is in it and nobody gets in: what is swapped in is what was
/// proven valid.
#[tokio::test]
async fn nobody_changes_what_was_built_between_its_validation_and_the_swap() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let go = format!("go_{}", target.database);
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        &format!(
            "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{go}') LOOP
                 PERFORM pg_sleep(0.01);
             END LOOP; END $$;"
        ),
    );
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let gate = Gate::before(&target, "DATABASE_BUILT").await;
    let client = daemon.ctl_spawn(SWAP);
    let built = "SELECT build_database FROM resetd.operation WHERE build_database IS NOT NULL";
    eventually("its name", || async { !target.control_rows(built).await.is_empty() }).await;
    let built = target.control_rows(built).await[0][0].clone();
    target.until(&format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '{built}')")).await;
    let mut there = target.clone();
    there.database = built;
    let url = there.url();
    let mut early = Session::open(&url).await;
    target.sql(&format!("CREATE ROLE {go}")).await;
    gate.reached().await;
    let late = "DROP TABLE general.route_inbox";
    assert!(early.try_sql(late).await.is_err(), "who was in it is out");
    let refused = sqlx::PgConnection::connect(&url).await.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("not currently accepting connections"), "{refused}");
    gate.open().await;
    client.finish().await.expect(0);
    daemon.ctl("validate").await.expect(0);
    assert!(target.holds("SELECT datallowconn FROM pg_database WHERE datname = current_database()").await);
}

/// A deferred trigger that does no harm is told of, and hinders nothing.
#[tokio::test]
async fn a_deferred_trigger_is_a_finding() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON state DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION look();",
    );
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    assert_eq!(findings(&out, "DEFERRED_TRIGGER").len(), 5, "{out}");
    assert_eq!(findings(&out, "EVENT_TRIGGER"), Vec::<String>::new(), "{out}");
    let out = daemon.ctl("validate").await;
    out.expect(0);
    assert_eq!(findings(&out, "DEFERRED_TRIGGER").len(), 5, "{out}");
}

/// The daemon ends between the commit and the second look: whoever takes the operation up looks in its place.
#[tokio::test]
async fn a_crash_before_the_second_look_never_says_valid_untruthfully() {
    for (chains, reason) in [(sleeper(), "VALID_THEN_CHANGED"), (Migrations::shipped(), "")] {
        let (target, hold) = (TestTarget::migrated().await, Hold::new());
        let daemon = hold.setup(Setup::of(&target).migrations(&chains)).spawn().await;
        hold.at("committed");
        let client = daemon.ctl_spawn(&format!("{RUN} --reconnect-timeout 0s"));
        let operation = hold.reached().await;
        daemon.kill().await;
        client.finish().await.expect(10);
        let next = Setup::of(&target).migrations(&chains).spawn().await;
        let end = ended(&target, operation).await;
        let expected = if reason.is_empty() { "succeeded" } else { "differences" };
        assert_eq!(end, [expected, reason]);
        let out = next.ctl(&format!("operations watch {operation}")).await;
        out.expect(if reason.is_empty() { 0 } else { 7 });
    }
}

/// Whoever takes it up needs neither its chains nor its matrix to look; after somebody else's change nothing is claimed.
#[tokio::test]
async fn a_crash_before_the_second_look_claims_nothing_that_nobody_can_look_up() {
    for changed in [false, true] {
        let (target, hold) = (TestTarget::migrated().await, Hold::new());
        let chains = Migrations::shipped();
        let daemon = hold.setup(Setup::of(&target).migrations(&chains)).spawn().await;
        hold.at("committed");
        let client = daemon.ctl_spawn(&format!("{RUN} --reconnect-timeout 0s"));
        let operation = hold.reached().await;
        daemon.kill().await;
        client.finish().await.expect(10);
        chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE late (n int);");
        if changed {
            let other = uuid::Uuid::now_v7();
            let columns = "request_id, request_hash, verb, target, database, dry_run, principal, auth_method, labels, instance,
                reads_only, created_at";
            target
                .control_sql(&format!(
                    "INSERT INTO resetd.operation (id, state, started_at, finished_at, outcome, report, {columns})
                     SELECT '{other}', 'finished', clock_timestamp(), clock_timestamp(), 'succeeded', '',
                            {columns} FROM (
                         SELECT gen_random_uuid() AS request_id, request_hash, verb, target, database, dry_run, principal,
                                auth_method, labels, instance, reads_only, created_at FROM resetd.operation) o"
                ))
                .await;
        }
        let next = Setup::of(&target).migrations(&chains).spawn().await;
        let end = ended(&target, operation).await;
        let out = next.ctl(&format!("operations watch {operation}")).await;
        if !changed {
            assert_eq!(end, ["succeeded", ""]);
            out.expect(0);
            continue;
        }
        assert_eq!(end, ["failed", "VALIDITY_UNKNOWN"]);
        out.expect(10).refused("VALIDITY_UNKNOWN");
        assert!(out.text("/error_detail/message").contains("committed"), "{out}");
        assert!(out.list("/details/reset").iter().all(|e| e["status"] == "reset"), "{out}");
    }
}

/// The lock's session ends right after the commit: nobody may look under it, and nothing is claimed.
#[tokio::test]
async fn a_lock_that_is_lost_after_the_commit_leaves_the_validity_unknown() {
    let (target, hold) = (TestTarget::migrated().await, Hold::new());
    let daemon = hold.setup(Setup::of(&target)).spawn().await;
    hold.at("committed");
    let client = daemon.ctl_spawn(RUN);
    hold.reached().await;
    target.control_sql("SELECT pg_terminate_backend(lock_pid, 5000) FROM resetd.operation").await;
    hold.open("committed");
    let out = client.finish().await;
    out.expect(10).refused("VALIDITY_UNKNOWN");
    assert!(out.text("/error_detail/message").contains("committed"), "{out}");
    assert!(out.list("/revisions").iter().all(|e| e["status"] == "applied"), "{out}");
    daemon.ctl("validate").await.expect(0);
}

async fn ended(target: &TestTarget, operation: uuid::Uuid) -> [String; 2] {
    let sql = format!(
        "SELECT outcome, coalesce(reason, '') FROM resetd.operation WHERE id = '{operation}' AND state = 'finished'"
    );
    eventually("the operation is taken up", || async { !target.control_rows(&sql).await.is_empty() }).await;
    target.control_rows(&sql).await.remove(0).try_into().unwrap()
}

// --- constraints elsewhere ----------------------------------------------------------------------------------------

/// A schema that is nobody's business but its owner's, with a deferrable constraint.
const ELSEWHERE: &str = "CREATE SCHEMA elsewhere;
    CREATE TABLE elsewhere.node (id int PRIMARY KEY, up int REFERENCES elsewhere.node DEFERRABLE INITIALLY DEFERRED);";

async fn restricted() -> TestTarget {
    TestTarget::make(Make { restricted: true, ..Make::migrated() }).await
}

async fn runs(daemon: &Daemon) {
    for line in [RUN, "migrate", SWAP] {
        daemon.ctl(line).await.expect(0);
    }
}

/// A role without rights on the schema resets beside it.
#[tokio::test]
async fn a_deferrable_constraint_of_another_schema_is_no_hindrance() {
    let target = restricted().await;
    target.sql(ELSEWHERE).await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(RUN).await.expect(0);
}

/// Where a revision writes there, it is still blamed for what it breaks.
#[tokio::test]
async fn a_revision_is_blamed_for_what_it_breaks_in_another_schema() {
    let (target, chains) = (restricted().await, Migrations::shipped());
    target
        .sql(&format!(
            "{ELSEWHERE} GRANT USAGE ON SCHEMA elsewhere TO {0}; GRANT ALL ON elsewhere.node TO {0}",
            target.role
        ))
        .await;
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "INSERT INTO elsewhere.node VALUES (1, 99) ON CONFLICT DO NOTHING;",
    );
    chains.revision("core/core_003.sql", "core_003", "core_002", "CREATE TABLE innocent (n int);");
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let before = target.state().await;
    let out = daemon.ctl(RUN).await;
    out.refused("REVISION_FAILED");
    assert_eq!(out.text("/error_detail/file"), "core/core_002.sql", "{out}");
    assert_eq!(out.text("/error_detail/sqlstate"), "23503", "{out}");
    assert_eq!(before, target.state().await);
}

/// What a revision puts off, it puts off for itself only; and a deferred trigger finds what its chain's search path finds.
#[tokio::test]
async fn what_a_revision_defers_fires_at_its_end_on_its_own_path() {
    let (target, chains) = (restricted().await, Migrations::shipped());
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node DEFERRABLE INITIALLY IMMEDIATE);
         CREATE TABLE log (said text);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('fired'); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON node DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
         SET CONSTRAINTS ALL DEFERRED;
         INSERT INTO node VALUES (1, 2); INSERT INTO node VALUES (2, 1);",
    );
    chains.revision(
        "core/core_003.sql",
        "core_003",
        "core_002",
        "DO $$ BEGIN
             IF (SELECT count(*) FROM log) <> 2 THEN RAISE 'it did not fire'; END IF;
             BEGIN INSERT INTO node VALUES (3, 99); RAISE 'it was deferred';
             EXCEPTION WHEN foreign_key_violation THEN NULL; END;
         END $$;",
    );
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    runs(&daemon).await;
}
