//! Random databases with data, reset and undone: `pg_dump` of everything is the same to the byte, and every row that was
//! acknowledged while schemas came and went is in exactly one of the copies.
//!
//! `RESETD_TEST_SEED` reproduces one run, and `RESETD_TEST_DATABASES` sets how many there are (`make undo-worlds`: 500).

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use harness::{
    Migrations, Setup, TestTarget,
    aside::kept,
    commands::{RESET, RUN, UNDO},
    eventually,
    world::World,
};
use resetd::config::process_env;

/// Databases, unless the environment says otherwise.
const DATABASES: u64 = 25;

/// All four schemas of the random databases are managed: nothing that hangs on one of them is outside.
const MATRIX: &str = "
[matrix.default]
shared_schemas = [\"m1\", \"m2\", \"u1\", \"u2\"]
";

/// What the generator makes that lives in no schema, or that a reset moves for good.
const ELSEWHERE: [&str; 4] = ["EVENT TRIGGER", "EXTENSION", "FOREIGN", "CREATE SCHEMA"];

/// Rows, grants, comments, statistics targets, parameters, row security and positions for whatever is there.
const DECORATE: &str = "
DO $$ DECLARE it record; n int := 0; BEGIN
  FOR it IN SELECT c.oid, c.oid::regclass AS name, c.relkind, c.relname, s.nspname FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
             WHERE s.nspname IN ('m1', 'm2', 'u1', 'u2') AND c.relkind IN ('r', 'p', 'v', 'm', 'S') ORDER BY c.oid LOOP
    n := n + 1;
    BEGIN
      CASE it.relkind
        WHEN 'S' THEN PERFORM setval(it.name, 10 + n % 90, n % 2 = 0);
        WHEN 'm' THEN EXECUTE format('REFRESH MATERIALIZED VIEW %s', it.name);
        WHEN 'v' THEN EXECUTE format('COMMENT ON VIEW %s IS %L', it.name, 'view ' || n);
        ELSE
          EXECUTE format('ALTER TABLE %s ALTER note SET STATISTICS %s', it.name, n);
          EXECUTE format('COMMENT ON COLUMN %s.note IS %L', it.name, 'column ' || n);
          EXECUTE format('GRANT SELECT (note), INSERT ON %s TO pg_monitor WITH GRANT OPTION', it.name);
          IF it.relkind = 'r' THEN
            EXECUTE format('ALTER TABLE %s SET (fillfactor = %s, autovacuum_enabled = off)', it.name, 50 + n % 50);
          END IF;
          IF n % 3 = 0 THEN EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', it.name); END IF;
          IF n % 5 = 0 THEN EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', it.name); END IF;
          IF n % 4 = 0 THEN EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', it.name); END IF;
      END CASE;
    EXCEPTION WHEN OTHERS THEN NULL; END;
    IF it.relkind = 'r' THEN
      FOR i IN 1..5 LOOP BEGIN
        EXECUTE format('INSERT INTO %s (id, ref, note) OVERRIDING SYSTEM VALUE VALUES (%s, %s, %L)', it.name, i, i, 'n' || i);
      EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP;
    END IF;
  END LOOP;
  ALTER DEFAULT PRIVILEGES IN SCHEMA m1 GRANT SELECT ON TABLES TO pg_monitor;
  GRANT USAGE ON SCHEMA m1 TO PUBLIC; GRANT USAGE, CREATE ON SCHEMA u2 TO pg_monitor WITH GRANT OPTION;
  COMMENT ON SCHEMA m2 IS 'the second';
END $$";

#[tokio::test]
async fn undo_of_a_reset_gives_the_dump_of_before() {
    reset_and_undo(DATABASES).await;
}

#[tokio::test]
#[ignore = "make undo-worlds: 500 databases take about 15 minutes"]
async fn undo_of_a_reset_gives_the_dump_of_before_in_500_databases() {
    reset_and_undo(500).await;
}

async fn reset_and_undo(databases: u64) {
    let number = |name: &str, usual: u64| process_env(name).and_then(|n| n.parse().ok()).unwrap_or(usual);
    let (seed, databases) = (number("RESETD_TEST_SEED", 4_711), number("RESETD_TEST_DATABASES", databases));
    let target = TestTarget::empty().await;
    let daemon = Setup::of(&target).with(MATRIX).migrations(&Migrations::none()).start().await;
    let (mut objects, mut rows) = (0_u64, 0_u64);
    for index in 0..databases {
        let seed = seed.wrapping_add(index);
        make(&target, seed).await;
        objects +=
            target.value("SELECT count(*) FROM pg_depend WHERE objid >= 16384").await.parse::<u64>().unwrap();
        let before = (target.dump().await, target.snapshot().await);
        rows += before.1.iter().filter_map(|r| r.rows.parse::<u64>().ok()).sum::<u64>();
        let dry = daemon.ctl("reset --dry-run").await;
        dry.expect(0);
        assert!(
            dry.at("/plan/keep_previous_seconds").as_u64() > Some(0),
            "seed {seed}: it cannot be undone\n{dry}"
        );
        // Single tables in publications go only with the digest: nothing takes their place.
        let digest = dry.text("/plan/digest").to_owned();
        daemon.ctl(&format!("{RESET} --plan-digest {digest}")).await.expect(0);
        assert_eq!(kept(&target).await.len(), 4, "seed {seed}");
        let undone = daemon.ctl(UNDO).await;
        assert_eq!(undone.code, 0, "seed {seed}: {undone}");
        // What was empty is dropped by hand: it is in a dump as well.
        target.sql(&format!("DROP SCHEMA {} CASCADE", kept(&target).await.join(", "))).await;
        target.control_sql("DELETE FROM resetd.kept_schemas").await;
        let after = (target.dump().await, target.snapshot().await);
        assert_eq!(before.0, after.0, "seed {seed}");
        assert_eq!(before.1, after.1, "seed {seed}: the very same relations");
    }
    let said = format!(
        "reset and undo: {databases} databases (seed {seed}), {objects} dependencies, {rows} rows, every dump the same\n"
    );
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    assert!(rows > databases * 10, "{said}");
}

/// Empties the target, and makes the random database of a seed in it.
async fn make(target: &TestTarget, seed: u64) {
    let mut session = target.role_session().await;
    let clear = "DO $$ DECLARE it record; BEGIN
        FOR it IN SELECT pubname FROM pg_publication LOOP EXECUTE format('DROP PUBLICATION %I', it.pubname); END LOOP;
        DROP SCHEMA IF EXISTS m1, m2, u1, u2 CASCADE; END $$; CREATE SCHEMA m1; CREATE SCHEMA m2; CREATE SCHEMA u1; CREATE SCHEMA u2";
    session.sql("SET client_min_messages = error").await;
    session.sql(clear).await;
    let mut world = World::new(seed);
    for _ in 0..world.size() + 30 {
        let Some(step) = world.step() else { continue };
        if step.sql.starts_with("CREATE SCHEMA") || !ELSEWHERE.iter().any(|words| step.sql.contains(words)) {
            let made = step.sql.starts_with("CREATE SCHEMA") || session.try_sql(&step.sql).await.is_ok();
            if made {
                world.keep(step);
            }
        }
    }
    session.sql(DECORATE).await;
    session.close().await;
}

/// Writers go on while the schemas are reset, undone, and undone again: what was acknowledged is in exactly one copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_row_is_in_exactly_one_of_the_copies() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (target, ended) = (target.clone(), Arc::clone(&ended));
            tokio::spawn(async move {
                let (mut session, mut acknowledged, mut number) = (target.session().await, Vec::new(), 0);
                while !ended.load(Ordering::SeqCst) {
                    number += 1;
                    let key = format!("w{writer}-{number}");
                    // Now and then the table is not there yet, or the key is in the copy that is back.
                    let insert = format!("INSERT INTO general.state (key) VALUES ('{key}')");
                    if session.try_sql(&insert).await.is_ok() {
                        acknowledged.push(key);
                    }
                }
                acknowledged
            })
        })
        .collect();
    let written = "SELECT count(*) > 20 FROM general.state";
    for line in [RUN, UNDO, UNDO, UNDO, RUN] {
        eventually("the writers write", || async { target.holds(written).await }).await;
        daemon.ctl(line).await.expect(0);
    }
    eventually("the writers write", || async { target.holds(written).await }).await;
    ended.store(true, Ordering::SeqCst);
    let mut copies: BTreeMap<String, u32> = BTreeMap::new();
    let schemas = target
        .column("SELECT nspname FROM pg_namespace WHERE nspname = 'general' OR nspname LIKE 'resetd\\_kept\\_%\\_general'")
        .await;
    assert_eq!(schemas.len(), 3);
    let mut all = Vec::new();
    for writer in writers {
        all.extend(writer.await.unwrap());
    }
    for schema in schemas {
        for key in target.column(&format!("SELECT key FROM {schema}.state WHERE key LIKE 'w%'")).await {
            *copies.entry(key).or_default() += 1;
        }
    }
    assert!(all.len() > 100, "{} rows", all.len());
    let wrong: Vec<&String> = all.iter().filter(|key| copies.get(*key) != Some(&1)).collect();
    assert!(wrong.is_empty(), "of {} acknowledged rows: {wrong:?}", all.len());
}
