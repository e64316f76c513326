//! Tables in publications, each by itself: membership that is taken from a table that is set aside and given to the one
//! that takes its place.

use model::{blast::OutsideObject, fault::Fault};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgConnection};

use super::schema_properties::SCHEMA_PUBLICATIONS;
use crate::postgres::sql::{error::work_fault, version};

/// A table in a publication.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::FromRow)]
pub(crate) struct PublishedTable {
    pub(in crate::postgres) publication: String,
    pub(in crate::postgres) schema: String,
    pub(in crate::postgres) table: String,
    /// Only these columns; empty: all of them.
    pub(in crate::postgres) columns: Vec<String>,
    /// Only rows of which this holds.
    pub(in crate::postgres) filter: Option<String>,
    /// As `pg_identify_object` names the membership.
    identity: String,
    /// The daemon's role may take the table out and put another one in.
    pub(in crate::postgres) movable: bool,
}

impl std::fmt::Display for PublishedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "publication {} of {}.{}, which the daemon's role may not change",
            self.publication, self.schema, self.table
        )
    }
}

/// The tables of schemas that publications name one by one.
///
/// # Errors
/// The session was lost.
pub(crate) async fn tables(
    connection: &mut PgConnection,
    schemas: &[String],
) -> Result<Vec<PublishedTable>, Fault> {
    let finer = if version::of(connection).await? >= SCHEMA_PUBLICATIONS {
        "coalesce((SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum)
                         FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY(r.prattrs)), '{}') AS columns,
             pg_catalog.pg_get_expr(r.prqual, r.prrelid) AS filter"
    } else {
        "'{}'::pg_catalog.text[] AS columns, NULL::pg_catalog.text AS filter"
    };
    let sql = format!(
        "SELECT p.pubname::pg_catalog.text AS publication, n.nspname::pg_catalog.text AS schema,
                c.relname::pg_catalog.text AS table, {finer},
                i.identity,
                pg_catalog.pg_has_role(p.pubowner, 'USAGE') AND pg_catalog.pg_has_role(c.relowner, 'USAGE') AS movable
           FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
           JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          CROSS JOIN LATERAL pg_catalog.pg_identify_object('pg_catalog.pg_publication_rel'::pg_catalog.regclass, r.oid, 0) i
          WHERE n.nspname = ANY($1) AND i.identity IS NOT NULL ORDER BY 1, 2, 3"
    );
    sqlx::query_as(AssertSqlSafe(sql))
        .bind(schemas)
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("reading publications of tables", &e))
}

/// Takes out of the blast radius what the table that takes the place gets again.
pub(crate) fn spare(published: &[PublishedTable], outside: &mut Vec<OutsideObject>) {
    outside.retain(|object| {
        object.kind != "publication relation"
            || !published.iter().any(|it| it.movable && it.identity == object.identity)
    });
}
