//! What is in a target, read from its catalog in a constant number of queries, without locks on anybody's tables.

use std::collections::HashMap;

use model::{
    blast::OutsideObject,
    chain::ChainSet,
    fault::Fault,
    finding::Finding,
    matrix::Matrix,
    plan::{Observation, ObservedSchema},
};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    error::work_fault,
    ident::{Ident, Literal},
};

/// The recursive walk over `pg_depend` from the schemas to everything that their drop would take, and for each object
/// whether it is inside them. Parts of an outside object that goes anyway are left out.
///
/// Down: dependents of the object (of the column, where it is one). Up: what an object is an internal part of (a rule
/// goes with its view) and the extension that it is a member of. See `findDependentObjects` in PostgreSQL's
/// dependency.c.
const WALK: &str = "
WITH RECURSIVE walk(classid, objid, objsubid) AS (
    SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid, n.oid, 0
      FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY($1)
    UNION
    SELECT s.classid, s.objid, s.objsubid FROM walk w CROSS JOIN LATERAL (
        SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
         WHERE d.refclassid = w.classid AND d.refobjid = w.objid
           AND (w.objsubid = 0 OR d.refobjsubid = w.objsubid)
        UNION ALL
        SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d
         WHERE d.classid = w.classid AND d.objid = w.objid AND d.objsubid = w.objsubid AND d.deptype IN ('i', 'e')
    ) s
),
named AS (
    SELECT w.classid, w.objid, w.objsubid, i.type AS kind, i.identity,
           CASE
             WHEN i.type IN ('extension', 'publication relation', 'publication namespace', 'event trigger') THEN ''
             WHEN i.type = 'schema' THEN i.name
             WHEN i.schema IS NOT NULL THEN i.schema
             WHEN i.type IN ('trigger', 'rule', 'policy', 'table constraint', 'default value') THEN a.object_names[1]
             WHEN i.type = 'domain constraint' THEN (
                SELECT n.nspname FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_type t ON t.oid = c.contypid
                  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE c.oid = w.objid)
             WHEN i.type IN ('operator of access method', 'function of access method') THEN (
                SELECT n.nspname FROM (
                    SELECT oid, amopfamily AS family FROM pg_catalog.pg_amop
                    UNION ALL SELECT oid, amprocfamily FROM pg_catalog.pg_amproc) m
                  JOIN pg_catalog.pg_opfamily f ON f.oid = m.family
                  JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace WHERE m.oid = w.objid LIMIT 1)
             WHEN i.type = 'cast' THEN (
                SELECT CASE WHEN pg_catalog.bool_and(n.nspname = ANY($1 || '{pg_catalog}'::text[]))
                            THEN pg_catalog.max(n.nspname::text) FILTER (WHERE n.nspname = ANY($1)) ELSE '' END
                  FROM pg_catalog.pg_cast c
                  JOIN pg_catalog.pg_type t ON t.oid IN (c.castsource, c.casttarget)
                  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE c.oid = w.objid)
           END::pg_catalog.text AS home
      FROM walk w
     CROSS JOIN LATERAL pg_catalog.pg_identify_object(w.classid, w.objid, w.objsubid) i
     CROSS JOIN LATERAL pg_catalog.pg_identify_object_as_address(w.classid, w.objid, w.objsubid) a
),
placed AS (
    SELECT n.*, CASE
        WHEN n.home = ANY($1) OR n.home LIKE 'pg\\_toast%' THEN true
        ELSE n.kind = 'default acl'
      END AS inside
      FROM named n
)
SELECT p.inside, coalesce(p.home, ''), p.kind, p.identity FROM placed p
 WHERE p.inside OR NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d JOIN placed o
        ON o.classid = d.refclassid AND o.objid = d.refobjid AND (o.objsubid = 0 OR o.objsubid = d.refobjsubid)
     WHERE d.classid = p.classid AND d.objid = p.objid AND d.objsubid = p.objsubid
       AND d.deptype IN ('a', 'i', 'P', 'S', 'e') AND NOT o.inside
       AND (o.classid, o.objid, o.objsubid) <> (p.classid, p.objid, p.objsubid))
 ORDER BY 1, 2, 3, 4";

/// Everything that goes with the schemas: how many objects are inside each, and every object outside.
#[derive(Debug, Default)]
pub(crate) struct Radius {
    inside: HashMap<String, u64>,
    pub(crate) outside: Vec<OutsideObject>,
}

/// Walks the dependencies of `schemas`.
///
/// # Errors
/// The session was lost.
pub(crate) async fn radius(connection: &mut PgConnection, schemas: &[String]) -> Result<Radius, Fault> {
    let rows: Vec<(bool, String, String, String)> = sqlx::query_as(WALK)
        .bind(schemas)
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("walking the dependencies", &e))?;
    let mut radius = Radius::default();
    for (inside, home, kind, identity) in rows {
        match inside {
            true => *radius.inside.entry(home).or_default() += 1,
            false => radius.outside.push(OutsideObject { kind, identity }),
        }
    }
    Ok(radius)
}

/// What is to be looked at.
pub(crate) struct Look<'a> {
    pub(crate) matrix: &'a Matrix,
    /// Schemas that are to be dropped; empty where nothing is.
    pub(crate) reset: &'a [String],
    /// Chains that are to be replayed; `None` where none is.
    pub(crate) chains: Option<&'a ChainSet>,
    /// Something will be changed, so rights and room are looked at.
    pub(crate) changes: bool,
}

/// Observes a target.
///
/// # Errors
/// The session was lost, or the role may not read.
pub(crate) async fn observe(connection: &mut PgConnection, look: &Look<'_>) -> Result<Observation, Fault> {
    let names: Vec<String> = look.matrix.managed_schemas().into_iter().map(str::to_owned).collect();
    let mut observation = database(connection).await?;
    let (observed, unreadable) = schemas(connection, &names).await?;
    observation.schemas = observed;
    match unreadable.first() {
        // What cannot be read is told with everything else that is missing; nothing is concluded from it.
        Some(_) if look.changes => {
            observation.findings.extend(unreadable.iter().map(|s| not_readable(s, &observation.role)))
        }
        _ => versions(connection, &mut observation.schemas).await?,
    }
    if !look.reset.is_empty() {
        let radius = radius(connection, look.reset).await?;
        for schema in &mut observation.schemas {
            schema.objects = radius.inside.get(&schema.name).copied().unwrap_or_default();
        }
        observation.outside = radius.outside;
    }
    if look.changes {
        let relations = relations(connection, look.reset).await?;
        let findings = preflight(connection, look, &observation, relations).await?;
        observation.findings.extend(findings);
    }
    Ok(observation)
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

type SchemaRow = (String, Option<String>, Vec<String>, i64, i64, bool);

/// The schemas, and the names of those whose `alembic_version` the role may not read.
async fn schemas(
    connection: &mut PgConnection,
    names: &[String],
) -> Result<(Vec<ObservedSchema>, Vec<String>), Fault> {
    let rows: Vec<SchemaRow> = sqlx::query_as(
        "SELECT w.name, pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text,
                coalesce(pg_catalog.array_agg(c.relname::pg_catalog.text ORDER BY c.relname)
                    FILTER (WHERE c.relkind IN ('r', 'p')), '{}'),
                coalesce(pg_catalog.sum(greatest(c.reltuples, 0)) FILTER (WHERE c.relkind IN ('r', 'm')), 0)::pg_catalog.int8,
                coalesce(pg_catalog.sum(c.relpages::pg_catalog.int8), 0)::pg_catalog.int8
                    * pg_catalog.current_setting('block_size')::pg_catalog.int8,
                coalesce(pg_catalog.bool_and(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                    AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
                    FILTER (WHERE c.relname = 'alembic_version'), true)
           FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY w(name, place)
           LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.name
           LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
          GROUP BY w.place, w.name, n.oid, n.nspowner ORDER BY w.place",
    )
    .bind(names)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at the schemas", &e))?;
    let unreadable = rows.iter().filter(|row| !row.5).map(|row| row.0.clone()).collect();
    let schemas = rows
        .into_iter()
        .map(|(name, owner, tables, estimated_rows, bytes, _)| ObservedSchema {
            name,
            owner,
            tables,
            objects: 0,
            estimated_rows,
            bytes,
            versions: None,
        })
        .collect();
    Ok((schemas, unreadable))
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

/// All relations of the schemas that a drop has to lock.
async fn relations(connection: &mut PgConnection, schemas: &[String]) -> Result<i64, Fault> {
    sqlx::query_scalar(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY($1)",
    )
    .bind(schemas)
    .fetch_one(connection)
    .await
    .map_err(|e| work_fault("counting relations", &e))
}

/// Everything that would fail on the way, all at once.
async fn preflight(
    connection: &mut PgConnection,
    look: &Look<'_>,
    observation: &Observation,
    relations: i64,
) -> Result<Vec<Finding>, Fault> {
    let migrated = look.chains.map(|_| look.matrix.managed_schemas()).unwrap_or_default();
    let mut findings = memberships(connection, look.reset, &migrated).await?;
    findings.extend(may_create(connection, look, observation).await?);
    findings.extend(prepared_transactions(connection, look.reset).await?);
    findings.extend(lock_room(connection, relations, look.reset).await?);
    if let Some(chains) = look.chains {
        findings.extend(extensions(connection, chains).await?);
    }
    Ok(findings)
}

/// Roles that the daemon must be able to act as to drop the schemas and to put their furniture back.
async fn memberships(
    connection: &mut PgConnection,
    reset: &[String],
    migrated: &[&str],
) -> Result<Vec<Finding>, Fault> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "WITH needed(schema, role, why, how) AS (
            SELECT n.nspname, n.nspowner, 'owns the schema', 'USAGE' FROM pg_catalog.pg_namespace n
             WHERE n.nspname = ANY($1) OR n.nspname = ANY($2)
            UNION SELECT n.nspname, a.grantor, 'granted rights on the schema', 'MEMBER' FROM pg_catalog.pg_namespace n
              CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a WHERE n.nspname = ANY($1)
            UNION SELECT n.nspname, d.defaclrole, 'has default privileges in the schema', 'MEMBER'
              FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_default_acl d ON d.defaclnamespace = n.oid
             WHERE n.nspname = ANY($1))
         SELECT schema::text, pg_catalog.pg_get_userbyid(role)::text, pg_catalog.string_agg(why, ', ' ORDER BY why)
           FROM needed WHERE NOT pg_catalog.pg_has_role(current_user, role, how) GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .bind(reset)
    .bind(migrated.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at memberships", &e))?;
    Ok(rows
        .into_iter()
        .map(|(schema, role, why)| {
            Finding::error(
                "MEMBERSHIP_MISSING",
                format!("schema {schema}"),
                format!("role {role} {why}, and the daemon's role is no (inheriting) member of it"),
                format!("GRANT {} TO the daemon's role", Ident(&role)),
            )
        })
        .collect())
}

async fn may_create(
    connection: &mut PgConnection,
    look: &Look<'_>,
    observation: &Observation,
) -> Result<Vec<Finding>, Fault> {
    let creates =
        !look.reset.is_empty() || (look.chains.is_some() && observation.schemas.iter().any(|s| !s.exists()));
    let (may, database): (bool, String) = sqlx::query_as(
        "SELECT pg_catalog.has_database_privilege(current_database(), 'CREATE'), current_database()::text",
    )
    .fetch_one(connection)
    .await
    .map_err(|e| work_fault("looking at rights", &e))?;
    if may || !creates {
        return Ok(Vec::new());
    }
    let role = &observation.role;
    Ok(vec![Finding::error(
        "CREATE_DENIED",
        format!("database {database}"),
        format!("role {role} may not create schemas in it"),
        format!("GRANT CREATE ON DATABASE {} TO {}", Ident(&database), Ident(role)),
    )])
}

/// Prepared transactions that hold locks inside the schemas block a drop for as long as they live.
async fn prepared_transactions(
    connection: &mut PgConnection,
    reset: &[String],
) -> Result<Vec<Finding>, Fault> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT x.gid, x.owner::text, x.prepared::text FROM pg_catalog.pg_prepared_xacts x
          WHERE x.database = current_database() AND EXISTS (
            SELECT FROM pg_catalog.pg_locks t
              JOIN pg_catalog.pg_locks l USING (virtualtransaction)
              JOIN pg_catalog.pg_class c ON c.oid = l.relation
              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE t.locktype = 'transactionid' AND t.transactionid = x.transaction AND t.pid IS NULL
               AND l.locktype = 'relation' AND l.pid IS NULL AND n.nspname = ANY($1)
               AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()))
          ORDER BY x.prepared",
    )
    .bind(reset)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at prepared transactions", &e))?;
    Ok(rows
        .into_iter()
        .map(|(gid, owner, since)| {
            Finding::error(
                "PREPARED_TRANSACTION",
                format!("prepared transaction {gid}"),
                format!("of {owner}, prepared at {since}, holds locks in a managed schema"),
                format!("COMMIT PREPARED or ROLLBACK PREPARED {}", Literal(&gid)),
            )
        })
        .collect())
}

/// Each relation takes about two lock entries when it is dropped and again when its like is created.
async fn lock_room(
    connection: &mut PgConnection,
    relations: i64,
    reset: &[String],
) -> Result<Vec<Finding>, Fault> {
    let capacity: i64 = sqlx::query_scalar(
        "SELECT current_setting('max_locks_per_transaction')::int8
                * (current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8)",
    )
    .fetch_one(connection)
    .await
    .map_err(|e| work_fault("looking at the lock table", &e))?;
    let needed = relations.saturating_mul(2);
    if reset.is_empty() || needed <= capacity {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::error(
        model::fault::Reason::NotTransactional.name(),
        "the server's lock table",
        format!(
            "dropping {relations} relations takes about {needed} locks in one transaction; there is room for {capacity}"
        ),
        "raise max_locks_per_transaction and restart PostgreSQL, or use --scope database",
    )])
}

/// Extensions that chains require must be there, or be available.
///
/// # Errors
/// The session was lost.
pub(crate) async fn extensions(
    connection: &mut PgConnection,
    chains: &ChainSet,
) -> Result<Vec<Finding>, Fault> {
    let mut wanted: Vec<(String, String)> = Vec::new();
    for chain in &chains.chains {
        wanted.extend(chain.extensions().into_iter().map(|e| (e.to_owned(), chain.name.clone())));
    }
    let names: Vec<String> = wanted.iter().map(|(name, _)| name.clone()).collect();
    let available: Vec<String> =
        sqlx::query_scalar("SELECT name::text FROM pg_catalog.pg_available_extensions WHERE name = ANY($1)")
            .bind(names)
            .fetch_all(connection)
            .await
            .map_err(|e| work_fault("looking at available extensions", &e))?;
    Ok(wanted
        .into_iter()
        .filter(|(name, _)| !available.contains(name))
        .map(|(name, chain)| {
            Finding::error(
                "EXTENSION_UNAVAILABLE",
                format!("extension {name}"),
                format!("chain {chain} requires it and the server does not have it"),
                format!("install the server package that brings {name}, or take the chain out of the matrix"),
            )
        })
        .collect())
}

/// Extensions that live in one of the schemas.
///
/// # Errors
/// The session was lost.
pub(crate) async fn extensions_in(
    connection: &mut PgConnection,
    schemas: &[&str],
) -> Result<Vec<(String, String)>, Fault> {
    sqlx::query_as(
        "SELECT e.extname::text, n.nspname::text FROM pg_catalog.pg_extension e
           JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname = ANY($1) ORDER BY 1",
    )
    .bind(schemas.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking for extensions in managed schemas", &e))
}
