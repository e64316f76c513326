//! What hangs on the schemas and is not dropped with them: roles with rights, subscriptions, slots, large objects.

use model::{
    blast::{Reference, TableGrant},
    fault::Fault,
};
use sqlx::PgConnection;

use super::dependencies::Radius;
use crate::postgres::sql::error::work_fault;

/// Rights on relations and columns inside the schemas, those of their owners left out; they go with the relations.
pub(crate) async fn grants(
    connection: &mut PgConnection,
    schemas: &[String],
) -> Result<Vec<TableGrant>, Fault> {
    let rows: Vec<(String, String, Vec<String>, Vec<String>)> = sqlx::query_as(
        "WITH held AS (
            SELECT n.nspname AS schema, c.relname::text AS object, c.relowner AS owner, a.*
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a WHERE n.nspname = ANY($1)
            UNION ALL
            SELECT n.nspname, c.relname || '.' || t.attname, c.relowner, a.*
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid AND t.attacl IS NOT NULL
             CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) a WHERE n.nspname = ANY($1)),
         each AS (
            SELECT schema, object, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(grantee)::text END AS role,
                   array_agg(DISTINCT privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END) AS privileges
              FROM held WHERE grantee <> owner GROUP BY schema, object, grantee)
         SELECT schema::text, role, privileges, array_agg(object ORDER BY object) FROM each
          GROUP BY schema, role, privileges ORDER BY 1, 2, 3",
    )
    .bind(schemas)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at grants on tables", &e))?;
    let grant = |(schema, role, privileges, objects)| TableGrant { schema, role, privileges, objects };
    Ok(rows.into_iter().map(grant).collect())
}

/// Everything that hangs on what goes.
pub(crate) async fn on(
    connection: &mut PgConnection,
    schemas: &[String],
    grants: &[TableGrant],
    radius: &Radius,
) -> Result<Vec<Reference>, Fault> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT 'subscription', s.subname::text, format('writes into %s of the tables', count(*))
           FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_subscription_rel r ON r.srsubid = s.oid
           JOIN pg_catalog.pg_class c ON c.oid = r.srrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY($1) GROUP BY s.subname
         UNION ALL SELECT 'replication slot', s.slot_name::text,
                format('%s, %s', s.plugin, CASE WHEN s.active THEN 'read now' ELSE 'not read now' END)
           FROM pg_catalog.pg_replication_slots s WHERE s.database = current_database()
         UNION ALL SELECT 'large objects', count(*)::text, 'stay, also those that only dropped rows refer to'
           FROM pg_catalog.pg_largeobject_metadata HAVING count(*) > 0
         ORDER BY 1, 2",
    )
    .bind(schemas)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at what hangs on the schemas", &e))?;
    let mut all = roles(grants, radius);
    let references = |(kind, identity, text)| Reference { kind, identity, text };
    all.extend(rows.into_iter().map(references));
    Ok(all)
}

fn roles(grants: &[TableGrant], radius: &Radius) -> Vec<Reference> {
    let mut held: std::collections::BTreeMap<&str, (usize, usize)> = std::collections::BTreeMap::new();
    for grant in grants {
        held.entry(&grant.role).or_default().0 += grant.objects.len();
    }
    for (owner, objects) in &radius.owners {
        held.entry(owner).or_default().1 += objects.len();
    }
    let text = |(rights, owned): (usize, usize)| match (rights, owned) {
        (rights, 0) => format!("holds rights on {rights} of the relations and columns; they go with them"),
        (0, owned) => format!("owns {owned} of the objects"),
        (rights, owned) => {
            format!("owns {owned} of the objects and holds rights on {rights}; they go with them")
        }
    };
    let references = |(role, counts): (&str, (usize, usize))| Reference {
        kind: "role".to_owned(),
        identity: role.to_owned(),
        text: text(counts),
    };
    held.into_iter().map(references).collect()
}
