//! Validation: every schema, table and revision of the matrix is looked at, and every one that is missing is named.

use harness::{Api, Setup, TestTarget, collect, request};
use model::{event::EventKind, matrix::Matrix, operation::Verb, validation::Validation};
use serde_json::json;

async fn validation(api: &mut Api, target: &TestTarget) -> Validation {
    let events = collect(api.begin(&request(Verb::Validate, target)).await.expect("accepted")).await;
    let found = events.iter().find_map(|event| match &event.kind {
        Some(EventKind::Validated { validation }) => Some((**validation).clone()),
        _ => None,
    });
    assert!(events.last().is_some_and(harness::Event::is_terminal), "{events:?}");
    found.unwrap_or_else(|| panic!("no validation in {events:?}"))
}

#[tokio::test]
async fn everything_is_missing_from_an_empty_database() {
    let target = TestTarget::empty().await;
    let daemon = Setup::of(&target).start().await;
    let out = daemon.ctl("validate").await;
    out.refused("VALIDATION_DIFFERENCES");
    let summary = json!({
        "schemas_checked": 6, "tables_checked": 36, "revisions_checked": 9,
        "missing_schemas": 6, "missing_tables": 36, "missing_revisions": 9,
    });
    assert_eq!(out.at("/details/validation/summary"), &summary, "{out}");
    assert_eq!(out.text("/details/validation/status"), "failed", "{out}");
    let matrix = Matrix::builtin_default();
    let schemas: Vec<_> =
        matrix.managed_schemas().iter().map(|schema| json!({"schema": schema, "exists": false})).collect();
    assert_eq!(out.at("/details/validation/missing/schemas"), &json!(schemas), "{out}");
    assert_eq!(target.snapshot().await, []);
}

/// Takes away half of the items at a time, so that each one is in a set of rounds of its own: if exactly what was taken is named
/// in every round, each item is looked at and named for itself.
async fn each_is_named(items: &[Item], named: fn(&Validation) -> Vec<String>) {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let mut api = daemon.api().await;
    let mut session = target.session().await;
    let rounds = usize::BITS - items.len().leading_zeros();
    for round in 0..rounds {
        // Counted from 1, so that each is taken away at least once.
        let gone: Vec<&Item> = items
            .iter()
            .enumerate()
            .filter(|(at, _)| (at + 1) >> round & 1 == 1)
            .map(|(_, item)| item)
            .collect();
        for item in &gone {
            session.sql(&item.take).await;
        }
        let found = validation(&mut api, &target).await;
        assert!(!found.is_ok());
        assert_eq!(named(&found), gone.iter().map(|i| i.name.clone()).collect::<Vec<_>>());
        let missing = &found.missing;
        let count = missing.schemas.len() + missing.tables.len() + missing.revisions.len();
        assert_eq!(count, gone.len(), "and nothing else: {found:?}");
        for item in &gone {
            session.sql(&item.put_back).await;
        }
    }
    assert!(validation(&mut api, &target).await.is_ok());
}

struct Item {
    name: String,
    take: String,
    put_back: String,
}

#[tokio::test]
async fn each_missing_table_is_named() {
    let table = |schema: &String, table: &String| Item {
        name: format!("{schema}.{table}"),
        take: format!("ALTER TABLE {schema}.{table} RENAME TO {table}_elsewhere"),
        put_back: format!("ALTER TABLE {schema}.{table}_elsewhere RENAME TO {table}"),
    };
    let matrix = Matrix::builtin_default();
    let of = |chain: &model::matrix::MatrixChain| -> Vec<Item> {
        chain.schemas.iter().flat_map(|s| chain.tables.iter().map(move |t| table(s, t))).collect()
    };
    let items: Vec<Item> = matrix.chains.iter().flat_map(of).collect();
    assert_eq!(items.len(), 36);
    each_is_named(&items, |found| found.missing.table_names()).await;
}

#[tokio::test]
async fn each_missing_revision_is_named() {
    let revision = |schema: &String, head: &str| Item {
        name: format!("{schema}:{head}"),
        take: format!("DELETE FROM {schema}.alembic_version WHERE version_num = '{head}'"),
        put_back: format!("INSERT INTO {schema}.alembic_version VALUES ('{head}')"),
    };
    let matrix = Matrix::builtin_default();
    let mut items = Vec::new();
    for (chain, head) in matrix.chains.iter().zip(["core_001", "mem_001"]) {
        items.extend(chain.schemas.iter().map(|schema| revision(schema, head)));
    }
    assert_eq!(items.len(), 9);
    each_is_named(&items, |found| found.missing.revision_names()).await;
}

#[tokio::test]
async fn each_missing_schema_is_named_with_all_that_was_in_it() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let mut api = daemon.api().await;
    let mut session = target.session().await;
    let matrix = Matrix::builtin_default();
    for schema in matrix.managed_schemas() {
        session.sql(&format!("ALTER SCHEMA {schema} RENAME TO elsewhere")).await;
        let found = validation(&mut api, &target).await;
        assert_eq!(found.missing.schema_names(), [schema]);
        let tables: Vec<String> =
            matrix.tables_of(schema).map(|(_, table)| format!("{schema}.{table}")).collect();
        assert_eq!(found.missing.table_names(), tables);
        assert_eq!(found.missing.revisions.len(), matrix.chains_of(schema).count());
        session.sql(&format!("ALTER SCHEMA elsewhere RENAME TO {schema}")).await;
    }
    assert!(validation(&mut api, &target).await.is_ok());
}

/// A name that is no table is no table: a view, a sequence, or the same name in another schema or in capitals.
#[tokio::test]
async fn what_only_looks_like_the_table_does_not_count() {
    let target = TestTarget::migrated().await;
    target
        .sql(
            "ALTER TABLE general.state RENAME TO \"State\"; CREATE VIEW general.state AS SELECT 1 AS key;
             ALTER TABLE health.state SET SCHEMA public;
             ALTER TABLE messenger.state RENAME TO s; CREATE SEQUENCE messenger.state;
             ALTER TABLE relationship.state RENAME TO s; CREATE TABLE relationship.state (key text) PARTITION BY LIST (key)",
        )
        .await;
    let daemon = Setup::of(&target).start().await;
    let found = validation(&mut daemon.api().await, &target).await;
    // A partitioned table is a table.
    assert_eq!(found.missing.table_names(), ["general.state", "health.state", "messenger.state"]);
}

#[tokio::test]
async fn an_unknown_revision_fails_validation_and_names_its_schema() {
    let target = TestTarget::migrated().await;
    target.sql("INSERT INTO health.alembic_version VALUES ('somebody_elses')").await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;

    let out = daemon.ctl("validate").await;
    out.refused("VALIDATION_DIFFERENCES");
    assert_eq!(out.at("/details/validation/unknown_revisions"), &json!(["health:somebody_elses"]), "{out}");
    assert!(out.text("/error_detail/message").contains("health:somebody_elses"), "{out}");

    // Migrating on top of it would be a guess.
    let out = daemon.ctl("migrate").await;
    out.refused("PREFLIGHT_FAILED");
    assert!(out.text("/error_detail/message").contains("somebody_elses"), "{out}");
    assert_eq!(before, target.state().await);

    // A run takes it away with the schema.
    daemon.ctl("run --confirm-destructive-reset RESET").await.expect(0);
    assert_eq!(
        target.column("SELECT version_num FROM health.alembic_version ORDER BY 1").await,
        ["core_001", "mem_001"]
    );
}

/// A revision of another chain is unknown where its chain does not belong.
#[tokio::test]
async fn a_revision_of_a_chain_that_does_not_belong_there_is_unknown() {
    let target = TestTarget::migrated().await;
    target.sql("INSERT INTO messenger.alembic_version VALUES ('mem_001')").await;
    let daemon = Setup::of(&target).start().await;
    let found = validation(&mut daemon.api().await, &target).await;
    assert_eq!(found.unknown_revisions, ["messenger:mem_001"]);
}

#[tokio::test]
async fn validate_reads_only() {
    let target = TestTarget::migrated().await;
    let before = target.state().await;
    // Nothing may be written here at all.
    target.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", target.database)).await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl("validate").await.expect(0);
    target.sql(&format!("BEGIN READ WRITE; ALTER DATABASE {} RESET ALL; COMMIT", target.database)).await;
    assert_eq!(before, target.state().await);
}

/// A matrix of the configuration's own: other schemas, another chain, another table.
#[tokio::test]
async fn the_matrix_is_the_configurations() {
    let target = TestTarget::empty().await;
    let chains = harness::Migrations::none();
    chains.revision("only/a.sql", "a1", "none", "CREATE TABLE made (n int);");
    let matrix = "
[matrix.default]
shared_schemas = [\"common-ground\"]
[[matrix.default.chain]]
name = \"only\"
schemas = [\"one\", \"two\"]
tables = [\"made\"]
";
    let daemon = Setup::of(&target).with(matrix).migrations(&chains).start().await;
    let out = daemon.ctl("run --confirm-destructive-reset RESET").await;
    out.expect(0);
    let summary = json!({
        "schemas_checked": 3, "tables_checked": 2, "revisions_checked": 2,
        "missing_schemas": 0, "missing_tables": 0, "missing_revisions": 0,
    });
    assert_eq!(out.at("/details/validation/summary"), &summary, "{out}");
    target.sql("DROP TABLE two.made; DROP SCHEMA \"common-ground\"").await;
    let found = validation(&mut daemon.api().await, &target).await;
    assert_eq!(
        (found.missing.schema_names(), found.missing.table_names()),
        (vec!["common-ground".to_owned()], vec!["two.made".to_owned()])
    );
}

/// Whoever holds a table does not hold up a look, whatever the planner makes of the queries.
#[tokio::test]
async fn looks_wait_for_nobodys_tables() {
    let target = TestTarget::migrated().await;
    target.sql("CREATE TABLE public.held (id int DEFAULT 1 CHECK (id > 0)); ANALYZE").await;
    let daemon = Setup::of(&target).start().await;
    let mut holder = target.session().await;
    holder
        .sql(
            "BEGIN; DO $$ DECLARE it record; BEGIN
                 FOR it IN SELECT schemaname, tablename FROM pg_tables
                            WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'alembic_version'
                 LOOP EXECUTE format('LOCK TABLE %I.%I IN ACCESS EXCLUSIVE MODE', it.schemaname, it.tablename); END LOOP;
             END $$",
        )
        .await;
    for look in [
        "validate",
        "reset --dry-run",
        "run --dry-run",
        "migrate --dry-run",
        "run --scope database --dry-run",
    ] {
        daemon.ctl(look).await.expect(0);
    }
    holder.sql("ROLLBACK").await;
}
