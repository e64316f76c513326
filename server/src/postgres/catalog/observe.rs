//! What is in a target, read from its catalog in a constant number of queries, without locks on anybody's tables; and its
//! versions, one read for each schema.

use model::{
    chain::ChainSet,
    fault::Fault,
    matrix::Matrix,
    plan::{LockTable, Observation, ObservedSchema},
    sql::StatementKind,
};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    aside, dependencies, extensions,
    preflight::change,
    publications, references,
    schema_properties::{self, SchemaProperties},
    versions,
};
use crate::postgres::sql::error::work_fault;

/// What is to be looked at.
pub(crate) struct Look<'a> {
    pub(crate) matrix: &'a Matrix,
    /// Schemas that are to be dropped; empty where nothing is.
    pub(crate) reset: &'a [String],
    /// Chains that are to be replayed; `None` where none is.
    pub(crate) chains: Option<&'a ChainSet>,
    /// Something will be changed, so rights and room are looked at.
    pub(crate) changes: bool,
    /// The histories of the schemas count: they are read, or it is told that they cannot be.
    pub(crate) histories: bool,
    /// Schemas that are set aside already: what hangs in them on what is set aside now goes on hanging on it.
    pub(crate) aside: &'a [String],
    /// Tables of the same names take the places of those that go, in publications as well.
    pub(crate) replaces_tables: bool,
}

impl<'a> Look<'a> {
    /// A look at what is there, where nothing is to be changed.
    pub(crate) fn of(matrix: &'a Matrix) -> Self {
        Self {
            matrix,
            reset: &[],
            chains: None,
            changes: false,
            histories: true,
            aside: &[],
            replaces_tables: false,
        }
    }
}

/// Observes a target.
///
/// # Errors
/// The session was lost, or the role may not read.
pub(crate) async fn observe(connection: &mut PgConnection, look: &Look<'_>) -> Result<Observation, Fault> {
    let names: Vec<String> = look.matrix.managed_schemas().into_iter().map(str::to_owned).collect();
    let mut observed = observe_schemas(connection, &names).await?;
    if look.histories {
        histories(connection, &names, look.chains.map(|_| look.reset), &mut observed).await?;
    }
    if look.changes {
        look_at_change(connection, look, &mut observed).await?;
    }
    Ok(observed)
}

/// Observes these schemas with their tables and versions, and no more.
pub(crate) async fn observe_again(
    connection: &mut PgConnection,
    names: &[String],
) -> Result<Observation, Fault> {
    let mut observed = observe_schemas(connection, names).await?;
    histories(connection, names, None, &mut observed).await?;
    Ok(observed)
}

async fn observe_schemas(connection: &mut PgConnection, names: &[String]) -> Result<Observation, Fault> {
    let mut observed = database(connection).await?;
    observed.schemas = schemas(connection, names).await?;
    Ok(observed)
}

/// Reads `alembic_version` of each schema. `written`: it is also to be written to, but for those of these schemas, which are
/// dropped before. What must not be touched is told with everything else that is in the way; nothing is concluded from it.
async fn histories(
    connection: &mut PgConnection,
    names: &[String],
    written: Option<&[String]>,
    observed: &mut Observation,
) -> Result<(), Fault> {
    for table in versions::look(connection, names).await? {
        let writes = written.is_some_and(|dropped| !dropped.contains(&table.schema));
        observed.findings.extend(table.findings(&observed.role, writes));
        if table.is_readable() {
            let read = table.read(connection).await?;
            if let Some(schema) = observed.schemas.iter_mut().find(|s| s.name == table.schema) {
                schema.versions = Some(read);
            }
        }
    }
    Ok(())
}

/// Counts and names what is in the managed schemas, where the whole database goes and nothing is walked further.
pub(crate) async fn count_inside(
    connection: &mut PgConnection,
    observed: &mut Observation,
) -> Result<(), Fault> {
    let names: Vec<String> = observed.schemas.iter().filter(|s| s.exists()).map(|s| s.name.clone()).collect();
    let mut radius = dependencies::radius(connection, &names, &[]).await?;
    count(&mut observed.schemas, &mut radius);
    Ok(())
}

fn count(schemas: &mut [ObservedSchema], radius: &mut dependencies::Radius) {
    for schema in schemas {
        schema.kinds = radius.kinds.remove(&schema.name).unwrap_or_default();
        schema.identities = radius.identities.remove(&schema.name).unwrap_or_default();
    }
}

/// What a change would take along, what hangs on it, and what is in its way.
async fn look_at_change(
    connection: &mut PgConnection,
    look: &Look<'_>,
    observed: &mut Observation,
) -> Result<(), Fault> {
    let extensions = extensions::look(connection, look.matrix, look.reset, look.chains).await?;
    let mut radius =
        dependencies::radius_beside(connection, look.reset, &extensions.moved, look.aside).await?;
    let schema_properties = schema_properties::capture(connection, look.reset).await?;
    let published = publications::tables(connection, look.reset).await?;
    spare(look, &schema_properties, &published, &mut radius);
    if radius.outside.iter().any(|o| o.kind != "publication relation") && !look.aside.is_empty() {
        // They are dropped, and then what is set aside loses something, too.
        radius = dependencies::radius(connection, look.reset, &extensions.moved).await?;
        spare(look, &schema_properties, &published, &mut radius);
    }
    observed.inseparable = aside::parts_of_outside(connection, look.reset).await?;
    observed.inseparable.extend(published.iter().filter(|it| !it.movable).map(ToString::to_string));
    observed.keys_to_outside = aside::keys_to_outside(connection, look.reset).await?;
    count(&mut observed.schemas, &mut radius);
    observed.schema_properties = schema_properties.iter().flat_map(SchemaProperties::pieces).collect();
    observed.grants = references::grants(connection, look.reset).await?;
    observed.references = references::on(connection, look.reset, &observed.grants, &radius).await?;
    let tables =
        observed.schemas.iter().filter(|s| look.reset.contains(&s.name)).map(|s| s.tables.len() as u64);
    observed.locks = Some(lock_table(connection, radius.entries, tables.sum()).await?);
    if let Some(chains) = look.chains {
        observed.existing_roles = existing_roles(connection, chains).await?;
    }
    let found = change::findings(connection, look, observed, &radius).await?;
    observed.findings.extend(found);
    observed.findings.extend(extensions.findings);
    observed.outside = radius.outside;
    observed.moves = extensions.moves;
    observed.created_extensions = extensions.created;
    Ok(())
}

fn spare(
    look: &Look<'_>,
    properties: &[SchemaProperties],
    published: &[publications::PublishedTable],
    radius: &mut dependencies::Radius,
) {
    schema_properties::spare(properties, &mut radius.outside);
    if look.replaces_tables {
        publications::spare(published, &mut radius.outside);
    }
}

async fn database(connection: &mut PgConnection) -> Result<Observation, Fault> {
    let (oid, role): (i64, String) = sqlx::query_as(
        "SELECT d.oid::pg_catalog.int8, current_user::pg_catalog.text FROM pg_catalog.pg_database d
          WHERE d.datname = pg_catalog.current_database()",
    )
    .fetch_one(connection)
    .await
    .map_err(|e| work_fault("looking at the database", &e))?;
    Ok(Observation { database_oid: u32::try_from(oid).unwrap_or_default(), role, ..Observation::default() })
}

#[derive(sqlx::FromRow)]
struct SchemaRow {
    name: String,
    owner: Option<String>,
    tables: Vec<String>,
    estimated_rows: i64,
    bytes: i64,
    written: i64,
}

/// The bytes of a relation `c` of `pg_class`, as an expression of SQL: an estimate that locks nothing, where `pg_relation_size`
/// would wait for whoever holds the table. Who may look at files gets the size of its first segment where the catalog's page
/// count is behind.
///
/// # Errors
/// The session was lost.
pub(super) async fn bytes(connection: &mut PgConnection) -> Result<String, Fault> {
    let sees_files: bool = sqlx::query_scalar(
        "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text,boolean)', 'EXECUTE')",
    )
    .fetch_one(connection)
    .await
    .map_err(|e| work_fault("looking at the files of tables", &e))?;
    let pages = "c.relpages::pg_catalog.int8 * pg_catalog.current_setting('block_size')::pg_catalog.int8";
    let file = "coalesce((pg_catalog.pg_stat_file(pg_catalog.pg_relation_filepath(c.oid), true)).size, 0)";
    Ok(if sees_files { format!("greatest({pages}, {file})") } else { pages.to_owned() })
}

async fn schemas(connection: &mut PgConnection, names: &[String]) -> Result<Vec<ObservedSchema>, Fault> {
    let looking = |e: sqlx::Error| work_fault("looking at the schemas", &e);
    let bytes = bytes(connection).await?;
    let sql = format!(
        "SELECT w.name, pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text AS owner,
                coalesce(pg_catalog.array_agg(c.relname::pg_catalog.text ORDER BY c.relname)
                    FILTER (WHERE c.relkind IN ('r', 'p')), '{{}}') AS tables,
                coalesce(pg_catalog.sum(greatest(c.reltuples::pg_catalog.int8, pg_catalog.pg_stat_get_live_tuples(c.oid), 0))
                    FILTER (WHERE c.relkind IN ('r', 'm')), 0)::pg_catalog.int8 AS estimated_rows,
                coalesce(pg_catalog.sum({bytes}), 0)::pg_catalog.int8 AS bytes,
                coalesce(pg_catalog.sum(pg_catalog.pg_stat_get_tuples_inserted(c.oid)
                    + pg_catalog.pg_stat_get_tuples_updated(c.oid) + pg_catalog.pg_stat_get_tuples_deleted(c.oid))
                    FILTER (WHERE c.relkind = 'r'), 0)::pg_catalog.int8 AS written
           FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY w(name, place)
           LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.name
           LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
          GROUP BY w.place, w.name, n.oid, n.nspowner ORDER BY w.place"
    );
    let rows: Vec<SchemaRow> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(names).fetch_all(connection).await.map_err(looking)?;
    let schema = |row: SchemaRow| ObservedSchema {
        name: row.name,
        owner: row.owner,
        tables: row.tables,
        estimated_rows: row.estimated_rows,
        bytes: row.bytes,
        written: row.written,
        ..ObservedSchema::default()
    };
    Ok(rows.into_iter().map(schema).collect())
}

/// The lock table as it is now.
async fn lock_table(
    connection: &mut PgConnection,
    drop_entries: i64,
    aside_entries: u64,
) -> Result<LockTable, Fault> {
    let (per_transaction, connections, prepared, in_use): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT current_setting('max_locks_per_transaction')::int8, current_setting('max_connections')::int8,
                current_setting('max_prepared_transactions')::int8,
                (SELECT count(*) FROM pg_catalog.pg_locks l
                  WHERE NOT l.fastpath AND l.pid IS DISTINCT FROM pg_backend_pid())",
    )
    .fetch_one(connection)
    .await
    .map_err(|e| work_fault("looking at the lock table", &e))?;
    Ok(LockTable {
        per_transaction: per_transaction.unsigned_abs(),
        connections: connections.unsigned_abs(),
        prepared_transactions: prepared.unsigned_abs(),
        in_use: in_use.unsigned_abs(),
        drop_entries: drop_entries.unsigned_abs(),
        aside_entries,
    })
}

/// Roles that the chains create and that are there already.
async fn existing_roles(connection: &mut PgConnection, chains: &ChainSet) -> Result<Vec<String>, Fault> {
    let statements = chains.chains.iter().flat_map(|c| &c.revisions).flat_map(|r| &r.statements);
    let created: Vec<&str> = statements
        .filter_map(|s| match &s.kind {
            StatementKind::CreateRole { name } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    if created.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.rolname = ANY($1)")
        .bind(created)
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("looking at roles", &e))
}
