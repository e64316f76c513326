//! Schemas that were set aside, as they are in the target: still the daemon's by every sign, how much is in them, and what
//! came to depend on them.

use model::fault::Fault;
use sqlx::{PgConnection, postgres::types::Oid};

use super::dependencies;
use crate::postgres::sql::{error::work_fault, signs};

/// A schema that the ledger knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) system_identifier: &'a str,
    pub(crate) oid: u32,
    pub(crate) name: &'a str,
    pub(crate) owner: &'a str,
    pub(crate) marker: &'a str,
}

/// What is in a schema.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub(crate) tables: u64,
    pub(crate) estimated_rows: i64,
    pub(crate) bytes: i64,
}

/// A schema that is set aside, as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) oid: u32,
    /// `None`: it is not there any more.
    pub(crate) size: Option<Size>,
    /// Why it is not the daemon's any more.
    pub(crate) why_not: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(try_from = "i64")]
    oid: u32,
    is_there: bool,
    why_not: Option<String>,
    tables: i64,
    estimated_rows: i64,
    bytes: i64,
}

/// Looks at schemas that are set aside, and at each sign of the daemon's.
///
/// # Errors
/// The session was lost.
pub(crate) async fn look(connection: &mut PgConnection, known: &[Known<'_>]) -> Result<Vec<Found>, Fault> {
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "SELECT k.oid::pg_catalog.int8, n.oid IS NOT NULL AS is_there, coalesce(",
        signs::why_not!(
            oid: "n.oid",
            name: "n.nspname",
            opened: "EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) a WHERE a.grantee <> n.nspowner)",
            told: "rights on it were granted",
            comment: "pg_catalog.obj_description(n.oid, 'pg_namespace')"
        ),
        ", CASE WHEN pg_catalog.pg_get_userbyid(n.nspowner) <> k.owner
                THEN pg_catalog.format('it belongs to %I now', pg_catalog.pg_get_userbyid(n.nspowner)) END) AS why_not,
           c.tables, c.estimated_rows, c.bytes
           FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.text[]),
                           pg_catalog.unnest($3::pg_catalog.text[]), pg_catalog.unnest($4::pg_catalog.text[]),
                           pg_catalog.unnest($5::pg_catalog.text[]))
                WITH ORDINALITY k(oid, name, marker, system_identifier, owner, place)
          CROSS JOIN pg_catalog.pg_control_system() s
           LEFT JOIN pg_catalog.pg_namespace n ON n.oid = k.oid
          CROSS JOIN LATERAL (
             SELECT pg_catalog.count(*) FILTER (WHERE c.relkind IN ('r', 'p')) AS tables,
                    coalesce(pg_catalog.sum(greatest(c.reltuples::pg_catalog.int8, pg_catalog.pg_stat_get_live_tuples(c.oid), 0))
                        FILTER (WHERE c.relkind IN ('r', 'm')), 0)::pg_catalog.int8 AS estimated_rows,
                    coalesce(pg_catalog.sum(c.relpages::pg_catalog.int8
                        * pg_catalog.current_setting('block_size')::pg_catalog.int8), 0)::pg_catalog.int8 AS bytes
               FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid) c
          ORDER BY k.place"
    ))
    .bind(known.iter().map(|k| Oid(k.oid)).collect::<Vec<_>>())
    .bind(known.iter().map(|k| k.name.to_owned()).collect::<Vec<_>>())
    .bind(known.iter().map(|k| k.marker.to_owned()).collect::<Vec<_>>())
    .bind(known.iter().map(|k| k.system_identifier.to_owned()).collect::<Vec<_>>())
    .bind(known.iter().map(|k| k.owner.to_owned()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at schemas that are set aside", &e))?;
    let found = |row: Row| Found {
        oid: row.oid,
        size: row.is_there.then_some(Size {
            tables: row.tables.unsigned_abs(),
            estimated_rows: row.estimated_rows,
            bytes: row.bytes,
        }),
        why_not: row.why_not,
    };
    Ok(rows.into_iter().map(found).collect())
}

/// The oids of schemas, by name.
///
/// # Errors
/// The session was lost.
pub(crate) async fn oids(
    connection: &mut PgConnection,
    schemas: &[String],
) -> Result<Vec<(String, u32)>, Fault> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT n.nspname::pg_catalog.text, n.oid::pg_catalog.int8 FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY($1)",
    )
    .bind(schemas)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at the schemas", &e))?;
    Ok(rows.into_iter().map(|(name, oid)| (name, u32::try_from(oid).unwrap_or_default())).collect())
}

/// What hangs on schemas that are set aside, from outside of them.
///
/// # Errors
/// The session was lost.
pub(crate) async fn hanging(connection: &mut PgConnection, names: &[String]) -> Result<Vec<String>, Fault> {
    let radius = dependencies::radius(connection, names, &[]).await?;
    Ok(radius.outside.iter().map(ToString::to_string).collect())
}

/// Tables in schemas that are partitions or heirs of tables outside of them.
///
/// # Errors
/// The session was lost.
pub(crate) async fn parts_of_outside(
    connection: &mut PgConnection,
    schemas: &[String],
) -> Result<Vec<String>, Fault> {
    sqlx::query_scalar(
        "SELECT pg_catalog.format('%I.%I of %I.%I', n.nspname, c.relname, o.nspname, p.relname)
           FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f')
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace o ON o.oid = p.relnamespace
          WHERE n.nspname = ANY($1) AND o.nspname <> ALL($1) ORDER BY 1",
    )
    .bind(schemas)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at parts of tables outside", &e))
}

/// Foreign keys of tables in schemas to tables outside of them: who keeps the one keeps the other from being deleted.
///
/// # Errors
/// The session was lost.
pub(crate) async fn keys_to_outside(
    connection: &mut PgConnection,
    schemas: &[String],
) -> Result<Vec<String>, Fault> {
    sqlx::query_scalar(
        "SELECT pg_catalog.format('%I of %I.%I to %I.%I', k.conname, n.nspname, c.relname, o.nspname, p.relname)
           FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace o ON o.oid = p.relnamespace
          WHERE k.contype = 'f' AND n.nspname = ANY($1) AND o.nspname <> ALL($1) ORDER BY 1",
    )
    .bind(schemas)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at foreign keys to tables outside", &e))
}

/// Publications and roles that are not there, of those that an undo needs.
///
/// # Errors
/// The session was lost.
pub(crate) async fn missing(
    connection: &mut PgConnection,
    publications: &[String],
    roles: &[String],
) -> Result<Vec<String>, Fault> {
    sqlx::query_scalar(
        "SELECT 'publication ' || pg_catalog.quote_ident(n) FROM pg_catalog.unnest($1::pg_catalog.text[]) n
          WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = n)
         UNION SELECT 'role ' || pg_catalog.quote_ident(n) FROM pg_catalog.unnest($2::pg_catalog.text[]) n
          WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = n) ORDER BY 1",
    )
    .bind(publications)
    .bind(roles)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at what the undo needs", &e))
}
