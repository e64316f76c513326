//! The walk against PostgreSQL itself: random databases, and what a really executed `DROP SCHEMA … CASCADE` drops in them.
//!
//! Each database is a transaction that is rolled back. `RESETD_TEST_SEED` reproduces one run, and
//! `RESETD_TEST_DATABASES` sets how many there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use harness::{
    TestTarget,
    world::{MANAGED, World},
};
use resetd::config::process_env;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::types::Oid};

/// The daemon's own query.
const WALK: &str = include_str!("../../server/src/postgres/catalog/dependencies.sql");

/// Databases, unless the environment says otherwise.
const DATABASES: u64 = 520;

/// What each run must have dropped outside the managed schemas, and how often.
const KINDS: [&str; 29] = [
    "partition",
    "heir",
    "typed table",
    "view",
    "materialized view",
    "foreign table",
    "table column",
    "foreign key",
    "check constraint",
    "default value",
    "policy",
    "trigger",
    "rule",
    "index",
    "statistics object",
    "function",
    "procedure",
    "aggregate",
    "operator",
    "cast",
    "type",
    "domain constraint",
    "extension",
    "event trigger",
    "publication relation",
    "publication namespace",
    "text search configuration",
    "operator class",
    "sequence",
];

/// Relations and constraints that PostgreSQL names alike and that hang on others in ways of their own.
const FINER: &str = "
SELECT 'pg_class'::regclass::oid::int8, c.oid::int8,
       CASE WHEN c.relispartition THEN 'partition' WHEN c.reloftype <> 0 THEN 'typed table' ELSE 'heir' END
  FROM pg_class c
 WHERE c.relkind IN ('r', 'p')
   AND (c.reloftype <> 0 OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid))
UNION ALL
SELECT 'pg_constraint'::regclass::oid::int8, oid::int8,
       CASE contype WHEN 'f' THEN 'foreign key' WHEN 'c' THEN 'check constraint' ELSE 'other constraint' END
  FROM pg_constraint WHERE conrelid <> 0";

/// What is captured by the server's own event trigger.
const CAPTURE: &str = "
CREATE SCHEMA capture;
CREATE TABLE capture.dropped (classid oid, objid oid, objsubid int, kind text, identity text);
CREATE FUNCTION capture.take() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO capture.dropped SELECT classid, objid, objsubid, object_type, object_identity
    FROM pg_event_trigger_dropped_objects(); END $$;
CREATE EVENT TRIGGER capture_take ON sql_drop EXECUTE FUNCTION capture.take();";

type Address = (i64, i64, i32);
type WalkRow = (i64, i64, i32, String, String, Option<String>, Option<String>, Option<i64>, Option<String>);

/// What one database gave.
#[derive(Default)]
struct Outcome {
    statements: u64,
    failed: u64,
    crossings: BTreeMap<String, u64>,
    mismatches: Vec<String>,
}

#[tokio::test]
async fn the_walk_is_what_a_drop_drops() {
    let number = |name: &str, usual: u64| process_env(name).and_then(|n| n.parse().ok()).unwrap_or(usual);
    let seed = number("RESETD_TEST_SEED", 20_240_517);
    let databases = number("RESETD_TEST_DATABASES", DATABASES);
    let target = TestTarget::empty().await;
    target.sql(CAPTURE).await;
    let started = std::time::Instant::now();
    let mut connection = PgConnection::connect(&target.admin_url()).await.unwrap();
    run(&mut connection, "SET client_min_messages = error").await.unwrap();
    let mut histogram: BTreeMap<String, u64> = BTreeMap::new();
    let (mut crossing, mut statements, mut failed) = (0, 0, 0);
    let mut mismatches = Vec::new();
    for index in 0..databases {
        let outcome = one(&mut connection, seed.wrapping_add(index)).await;
        crossing += u64::from(!outcome.crossings.is_empty());
        statements += outcome.statements;
        failed += outcome.failed;
        for (kind, count) in outcome.crossings {
            *histogram.entry(kind).or_default() += count;
        }
        mismatches.extend(outcome.mismatches);
    }
    let all: Vec<String> = histogram.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let summary = format!(
        "walk against drop: {databases} databases (seed {seed}), {crossing} with an edge that leaves the managed schemas, \
         {} mismatches; {statements} statements, {failed} not possible; {:.1} s\n  dropped outside: {}\n",
        mismatches.len(),
        started.elapsed().as_secs_f64(),
        all.join(", ")
    );
    // Past the test harness's capture: it is to be read in every run.
    std::io::stderr().write_all(summary.as_bytes()).unwrap();
    assert_eq!(mismatches, Vec::<String>::new());
    assert!(crossing * 10 >= databases * 8, "{summary}");
    assert!(failed * 10 <= statements, "{summary}");
    if databases >= DATABASES {
        for kind in KINDS {
            assert!(
                histogram.get(kind).is_some_and(|count| *count >= 10),
                "{kind} crosses too rarely\n{summary}"
            );
        }
    }
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ())
}

async fn one(connection: &mut PgConnection, seed: u64) -> Outcome {
    let mut outcome = Outcome::default();
    run(connection, "BEGIN").await.unwrap();
    let mut world = World::new(seed);
    for _ in 0..world.size() {
        let Some(step) = world.step() else { continue };
        outcome.statements += 1;
        // Apart: what an older server cannot read takes the rest of its message along.
        run(connection, "SAVEPOINT one").await.unwrap();
        let message = format!("{}; RELEASE SAVEPOINT one", step.sql);
        match run(connection, &message).await {
            Ok(()) => world.keep(step),
            Err(error) => {
                if process_env("RESETD_TEST_VERBOSE").is_some() {
                    let text = format!("{error}: {}\n", step.sql);
                    std::io::stderr().write_all(text.as_bytes()).unwrap();
                }
                outcome.failed += 1;
                run(connection, "ROLLBACK TO SAVEPOINT one").await.unwrap();
            }
        }
    }
    compare(connection, seed, &mut outcome).await;
    run(connection, "ROLLBACK").await.unwrap();
    outcome
}

#[tokio::test]
async fn what_is_dropped_while_the_walk_looks_is_left_out() {
    let target = TestTarget::migrated().await;
    target.sql("CREATE SCHEMA app; CREATE VIEW app.gone AS SELECT * FROM general.state; CREATE VIEW app.there AS SELECT * FROM general.state").await;
    let mut connection = PgConnection::connect(&target.admin_url()).await.unwrap();
    // The snapshot is older than the drop; the names are of now.
    run(&mut connection, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class LIMIT 1")
        .await
        .unwrap();
    target.sql("DROP VIEW app.gone").await;
    let walked: Vec<WalkRow> = sqlx::query_as(WALK)
        .bind(vec!["general".to_owned()])
        .bind(Vec::<Oid>::new())
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let views: Vec<&str> = walked.iter().filter(|row| row.3 == "view").map(|row| row.4.as_str()).collect();
    assert_eq!(views, ["app.there"]);
}

async fn compare(connection: &mut PgConnection, seed: u64, outcome: &mut Outcome) {
    let managed: Vec<String> = MANAGED.iter().map(|s| (*s).to_owned()).collect();
    let walked: Vec<WalkRow> = sqlx::query_as(WALK)
        .bind(&managed)
        .bind(Vec::<Oid>::new())
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let finer: Vec<(i64, i64, String)> = sqlx::query_as(FINER).fetch_all(&mut *connection).await.unwrap();
    let finer: BTreeMap<(i64, i64), String> = finer.into_iter().map(|(c, o, kind)| ((c, o), kind)).collect();
    // Extensions drop things when they are created.
    run(connection, "DELETE FROM capture.dropped").await.unwrap();
    if let Err(error) = run(connection, &format!("DROP SCHEMA {} CASCADE", MANAGED.join(", "))).await {
        outcome.mismatches.push(format!("seed {seed}: the drop failed: {error}"));
        return;
    }
    let dropped: Vec<(i64, i64, i32, String, Option<String>)> =
        sqlx::query_as("SELECT classid::int8, objid::int8, objsubid, kind, identity FROM capture.dropped")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    let left: Vec<String> = sqlx::query_scalar("SELECT evtname::text FROM pg_event_trigger")
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let name = |kind: &str, identity: &str| format!("{kind} {identity}");
    let mut ours: BTreeMap<Address, String> = BTreeMap::new();
    for (class, object, column, kind, identity, home, ..) in &walked {
        let inside = home.as_ref().is_none_or(|home| managed.contains(home) || home.starts_with("pg_toast"));
        if !inside {
            // A column of an heir is still a column.
            let kind = finer.get(&(*class, *object)).filter(|_| *column == 0).unwrap_or(kind);
            *outcome.crossings.entry(kind.clone()).or_default() += 1;
        }
        // An event trigger's own drop is not told to event triggers.
        if kind == "event trigger" {
            if left.contains(identity) {
                outcome.mismatches.push(format!("seed {seed}: event trigger {identity} did not go"));
            }
            continue;
        }
        ours.insert((*class, *object, *column), name(kind, identity));
    }
    // A column of a table that goes as well is told or not, depending on which came first.
    let whole: BTreeSet<(i64, i64)> = dropped.iter().filter(|d| d.2 == 0).map(|d| (d.0, d.1)).collect();
    let theirs: BTreeMap<Address, String> = dropped
        .iter()
        .filter(|d| d.2 == 0 || !whole.contains(&(d.0, d.1)))
        .map(|(class, object, column, kind, identity)| {
            ((*class, *object, *column), name(kind, identity.as_deref().unwrap_or_default()))
        })
        .collect();
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (ours.keys().collect(), theirs.keys().collect());
    for only in a.difference(&b) {
        outcome.mismatches.push(format!("seed {seed}: walked, not dropped: {}", ours[*only]));
    }
    for only in b.difference(&a) {
        outcome.mismatches.push(format!("seed {seed}: dropped, not walked: {}", theirs[*only]));
    }
}
