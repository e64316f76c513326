//! Whether chains may be replayed as the roles that the matrix names.

use model::{fault::Fault, finding::Finding, matrix::Matrix};
use sqlx::PgConnection;

use crate::postgres::sql::{
    error::work_fault,
    ident::Ident,
    version::{self, assume, may_act},
};

/// The chain's role, its schema; whether the role is there and may be acted as; whether the schema is there and lets it in.
type Row = (String, String, bool, bool, bool, bool);

/// What keeps chains from being replayed as their `replay_as`. `bootstrap`: scripts run before, which may make the role and
/// let it in; then only what is there is judged.
///
/// # Errors
/// The session was lost.
pub(crate) async fn findings(
    connection: &mut PgConnection,
    matrix: &Matrix,
    bootstrap: bool,
) -> Result<Vec<Finding>, Fault> {
    let named =
        matrix.cells().into_iter().filter_map(|(chain, s)| Some((chain.replay_as.clone()?, s.to_owned())));
    let (roles, schemas): (Vec<String>, Vec<String>) = named.unzip();
    if roles.is_empty() {
        return Ok(Vec::new());
    }
    let version = version::of(connection).await?;
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT DISTINCT w.role, w.schema, r.oid IS NOT NULL, coalesce(pg_catalog.pg_has_role(r.oid, $3), false),
                n.oid IS NOT NULL, coalesce(pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')
                    AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE'), false)
           FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) w(role, schema)
           LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.role
           LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema ORDER BY 1, 2",
    )
    .bind(roles)
    .bind(schemas)
    .bind(assume(version))
    .fetch_all(&mut *connection)
    .await
    .map_err(|e| work_fault("looking at the roles that chains are replayed as", &e))?;
    let own: String = sqlx::query_scalar("SELECT current_user::pg_catalog.text")
        .fetch_one(connection)
        .await
        .map_err(|e| work_fault("asking for the session's role", &e))?;
    let judged = rows.into_iter().filter(|(_, _, role, _, schema, _)| !bootstrap || *role && *schema);
    Ok(judged.filter_map(|row| finding(&row, &own, version)).collect())
}

fn finding((role, schema, is_there, may, exists, let_in): &Row, own: &str, version: i32) -> Option<Finding> {
    let (what, hint) = if !is_there {
        ("is not there".to_owned(), format!("CREATE ROLE {}", Ident(role)))
    } else if !may {
        (
            format!("is none that the daemon's role {own} may act as"),
            format!("GRANT {} TO {}{}", Ident(role), Ident(own), may_act(version)),
        )
    } else if !exists {
        (
            format!("would not be let into schema {schema}, which is to be created"),
            format!(
                "CREATE SCHEMA {0}; GRANT USAGE, CREATE ON SCHEMA {0} TO {1}; a reset keeps grants on schemas",
                Ident(schema),
                Ident(role)
            ),
        )
    } else if !let_in {
        (
            format!("may not create in schema {schema}"),
            format!("GRANT USAGE, CREATE ON SCHEMA {} TO {}", Ident(schema), Ident(role)),
        )
    } else {
        return None;
    };
    let what = format!("{what}, and a chain is to be replayed as it in schema {schema} (`replay_as`)");
    Some(Finding::error("REPLAY_AS_DENIED", format!("role {role}"), what, hint))
}
