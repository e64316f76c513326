//! What lets others into the control database: whoever may connect can take any advisory lock in it.

use sqlx::PgConnection;

use crate::postgres::sql::{error::ControlError, ident::Ident};

/// What lets others in, each with the statement that closes it.
///
/// # Errors
/// The control database does not answer.
pub(in crate::postgres) async fn openings(
    connection: &mut PgConnection,
) -> Result<Vec<String>, ControlError> {
    // Nobody who cannot connect makes anything of a right on a schema.
    let rows: Vec<(String, String, Option<String>, String)> = sqlx::query_as(
        "WITH here AS (SELECT d.* FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()),
         rights(kind, name, grantee, privilege, place) AS (
            SELECT 'DATABASE', d.datname, a.grantee, a.privilege_type, 1 FROM here d
             CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
             WHERE a.grantee <> d.datdba
            UNION ALL
            SELECT 'SCHEMA', n.nspname, a.grantee, a.privilege_type, 2 FROM pg_catalog.pg_namespace n
             CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
             WHERE a.grantee <> n.nspowner AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
               AND (a.privilege_type = 'CREATE' OR n.nspname = 'resetd')),
         others AS (
            SELECT r.*, g.rolname FROM rights r LEFT JOIN pg_catalog.pg_roles g ON g.oid = r.grantee
             WHERE r.grantee = 0 OR g.rolname <> current_user AND NOT g.rolsuper AND g.rolname <> 'pg_database_owner')
         SELECT o.kind, o.name::pg_catalog.text, o.rolname::pg_catalog.text,
                pg_catalog.string_agg(DISTINCT o.privilege, ', ' ORDER BY o.privilege)
           FROM others o WHERE EXISTS (SELECT FROM others c WHERE c.kind = 'DATABASE' AND c.privilege = 'CONNECT')
          GROUP BY o.place, o.kind, o.name, o.rolname ORDER BY o.place, o.name, o.rolname NULLS FIRST",
    )
    .fetch_all(&mut *connection)
    .await?;
    let database: String = sqlx::query_scalar("SELECT pg_catalog.current_database()::pg_catalog.text")
        .fetch_one(connection)
        .await?;
    let told = |(kind, name, grantee, privileges): (String, String, Option<String>, String)| {
        let (who, to) = match &grantee {
            None => ("everybody".to_owned(), "PUBLIC".to_owned()),
            Some(role) => (format!("role {role}"), Ident(role).to_string()),
        };
        let place = if kind == "DATABASE" { String::new() } else { format!(" on its schema {name}") };
        format!(
            "control database {database} is open: {who} has {privileges}{place}, and can take the daemon's locks in it; \
             close it: REVOKE ALL ON {kind} {} FROM {to};",
            Ident(&name)
        )
    };
    Ok(rows.into_iter().map(told).collect())
}
