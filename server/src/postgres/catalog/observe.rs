//! What is in a target, read from its catalog in a constant number of queries, without locks on anybody's tables.

use model::{
    chain::ChainSet,
    fault::Fault,
    finding::Finding,
    matrix::Matrix,
    plan::{LockTable, Observation, ObservedSchema},
    sql::StatementKind,
};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    dependencies, extensions,
    preflight::change,
    references,
    schema_properties::{self, SchemaProperties},
};
use crate::postgres::sql::{
    error::work_fault,
    ident::{Ident, Literal},
};

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
}

/// Observes a target.
///
/// # Errors
/// The session was lost, or the role may not read.
pub(crate) async fn observe(connection: &mut PgConnection, look: &Look<'_>) -> Result<Observation, Fault> {
    let names: Vec<String> = look.matrix.managed_schemas().into_iter().map(str::to_owned).collect();
    let mut observed = database(connection).await?;
    let (schemas, unreadable) = schemas(connection, &names).await?;
    observed.schemas = schemas;
    match unreadable.is_empty() || !look.changes {
        _ if !look.histories => {}
        true => versions(connection, &mut observed.schemas).await?,
        // What cannot be read is told with everything else that is missing; nothing is concluded from it.
        false => observed.findings.extend(unreadable.iter().map(|s| not_readable(s, &observed.role))),
    }
    if look.changes {
        look_at_change(connection, look, &mut observed).await?;
    }
    Ok(observed)
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
    let mut radius = dependencies::radius(connection, look.reset, &extensions.moved).await?;
    let schema_properties = schema_properties::capture(connection, look.reset).await?;
    schema_properties::spare(&schema_properties, &mut radius.outside);
    count(&mut observed.schemas, &mut radius);
    observed.schema_properties = schema_properties.iter().flat_map(SchemaProperties::pieces).collect();
    observed.grants = references::grants(connection, look.reset).await?;
    observed.references = references::on(connection, look.reset, &observed.grants, &radius).await?;
    observed.locks = Some(lock_table(connection, radius.entries).await?);
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

type SchemaRow = (String, Option<String>, Vec<String>, i64, i64, i64, bool);

/// Rows and bytes are estimates that lock nothing: `pg_relation_size` would open every table. Who may look at files gets
/// the size of each relation's first segment where the catalog's page count is behind.
///
/// Beside the schemas: the names of those whose `alembic_version` the role may not read.
async fn schemas(
    connection: &mut PgConnection,
    names: &[String],
) -> Result<(Vec<ObservedSchema>, Vec<String>), Fault> {
    let looking = |e: sqlx::Error| work_fault("looking at the schemas", &e);
    let sees_files: bool = sqlx::query_scalar(
        "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text,boolean)', 'EXECUTE')",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(looking)?;
    let pages = "c.relpages::pg_catalog.int8 * pg_catalog.current_setting('block_size')::pg_catalog.int8";
    let file = "coalesce((pg_catalog.pg_stat_file(pg_catalog.pg_relation_filepath(c.oid), true)).size, 0)";
    let bytes = if sees_files { format!("greatest({pages}, {file})") } else { pages.to_owned() };
    let sql = format!(
        "SELECT w.name, pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text,
                coalesce(pg_catalog.array_agg(c.relname::pg_catalog.text ORDER BY c.relname)
                    FILTER (WHERE c.relkind IN ('r', 'p')), '{{}}'),
                coalesce(pg_catalog.sum(greatest(c.reltuples::pg_catalog.int8, pg_catalog.pg_stat_get_live_tuples(c.oid), 0))
                    FILTER (WHERE c.relkind IN ('r', 'm')), 0)::pg_catalog.int8,
                coalesce(pg_catalog.sum({bytes}), 0)::pg_catalog.int8,
                coalesce(pg_catalog.sum(pg_catalog.pg_stat_get_tuples_inserted(c.oid)
                    + pg_catalog.pg_stat_get_tuples_updated(c.oid) + pg_catalog.pg_stat_get_tuples_deleted(c.oid))
                    FILTER (WHERE c.relkind = 'r'), 0)::pg_catalog.int8,
                coalesce(pg_catalog.bool_and(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                    AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
                    FILTER (WHERE c.relname = 'alembic_version'), true)
           FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY w(name, place)
           LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.name
           LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
          GROUP BY w.place, w.name, n.oid, n.nspowner ORDER BY w.place"
    );
    let rows: Vec<SchemaRow> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(names).fetch_all(connection).await.map_err(looking)?;
    let unreadable = rows.iter().filter(|row| !row.6).map(|row| row.0.clone()).collect();
    let schema = |(name, owner, tables, estimated_rows, bytes, written, _)| ObservedSchema {
        name,
        owner,
        tables,
        estimated_rows,
        bytes,
        written,
        ..ObservedSchema::default()
    };
    Ok((rows.into_iter().map(schema).collect(), unreadable))
}

fn not_readable(schema: &str, role: &str) -> Finding {
    let (schema_name, role_name) = (Ident(schema), Ident(role));
    Finding::error(
        "VERSION_UNREADABLE",
        format!("{schema}.alembic_version"),
        format!("role {role} may not read it"),
        format!(
            "GRANT USAGE ON SCHEMA {schema_name} TO {role_name}; GRANT SELECT ON {schema_name}.alembic_version TO {role_name}"
        ),
    )
}

/// Reads `alembic_version` of every schema that has one, in one query.
async fn versions(connection: &mut PgConnection, schemas: &mut [ObservedSchema]) -> Result<(), Fault> {
    let has = |s: &&mut ObservedSchema| s.tables.iter().any(|t| t == "alembic_version");
    let with: Vec<&mut ObservedSchema> = schemas.iter_mut().filter(has).collect();
    if with.is_empty() {
        return Ok(());
    }
    let parts: Vec<String> = with
        .iter()
        .map(|s| {
            format!(
                "SELECT {}::pg_catalog.text, version_num::pg_catalog.text FROM {}.alembic_version",
                Literal(&s.name),
                Ident(&s.name)
            )
        })
        .collect();
    let rows: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(parts.join(" UNION ALL ")))
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("reading the alembic_version tables", &e))?;
    for schema in with {
        let here = rows.iter().filter(|(name, _)| *name == schema.name);
        schema.versions = Some(here.map(|(_, version)| version.clone()).collect());
    }
    Ok(())
}

/// The lock table as it is now.
async fn lock_table(connection: &mut PgConnection, drop_entries: i64) -> Result<LockTable, Fault> {
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
