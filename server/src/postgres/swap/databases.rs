//! Statements on databases themselves. Each runs on the connection that holds the lock.

use model::fault::{Fault, Reason};
use sqlx::{AssertSqlSafe, PgConnection};

use super::settings;
use crate::postgres::{
    catalog::database::{self, DatabaseGrant, DatabaseRow, in_dependency_order},
    sql::{
        error::{ControlError, condition::Condition, hint, message, site, work_fault},
        ident::{Ident, Literal},
        version,
    },
};

/// Puts what belongs to the row of `from` onto the new database `onto`, and gives the row that it has then. `worker` is the
/// role that fills it: what its revisions set for other roles the daemon may be able to set only as it.
///
/// # Errors
/// `SCHEMA_PROPERTIES_LOST`, or what PostgreSQL said.
pub(crate) async fn carry_over(
    connection: &mut PgConnection,
    from: &DatabaseRow,
    onto: &str,
    worker: &str,
) -> Result<DatabaseRow, Fault> {
    let sql = statements(from, onto, &acted_as(connection, from, worker).await?);
    run(connection, "carrying over what belongs to the database's row", &sql).await?;
    let row = row_of(connection, onto).await?;
    let lost = row.changes_since(from);
    match lost.is_empty() {
        true => Ok(row),
        false => Err(Fault::new(
            Reason::SchemaPropertiesLost,
            format!("the new database is not like the old one: {}", lost.join(", ")),
        )
        .hint("what was built is dropped; the old database serves")
        .with("database", &from.name)),
    }
}

/// The row of a database that was just made.
///
/// # Errors
/// It is gone, or the control database does not answer.
pub(crate) async fn row_of(connection: &mut PgConnection, name: &str) -> Result<DatabaseRow, Fault> {
    let row = database::row(connection, name).await?;
    row.ok_or_else(|| {
        Fault::new(Reason::Internal, format!("the new database {name} is gone"))
            .hint("nothing was changed; find out who dropped it, then run it again")
    })
}

fn statements(from: &DatabaseRow, onto: &str, acted_as: &[(String, String)]) -> String {
    let database = Ident(onto);
    let mut sql = format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC, {};", Ident(&from.owner));
    for DatabaseGrant { grantor, grantee, privilege, grantable } in in_dependency_order(from) {
        let to = grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), |g| Ident(g).to_string());
        let option = if *grantable { " WITH GRANT OPTION" } else { "" };
        sql.push_str(&format!(
            "SET LOCAL ROLE {}; GRANT {privilege} ON DATABASE {database} TO {to}{option}; SET LOCAL ROLE NONE;",
            Ident(grantor)
        ));
    }
    for (role, setting) in &from.settings {
        let acting =
            acted_as.iter().find(|(of, _)| role.as_ref() == Some(of)).map(|(_, acting)| acting.as_str());
        sql.push_str(&settings::statement(role.as_deref(), onto, setting, acting));
    }
    sql.push_str(&format!(
        "ALTER DATABASE {database} CONNECTION LIMIT {}; ALTER DATABASE {database} IS_TEMPLATE {};",
        from.connection_limit, from.is_template
    ));
    if let Some(comment) = &from.comment {
        sql.push_str(&format!("COMMENT ON DATABASE {database} IS {};", Literal(comment)));
    }
    for (provider, label) in &from.labels {
        sql.push_str(&format!(
            "SECURITY LABEL FOR {} ON DATABASE {database} IS {};",
            Ident(provider),
            Literal(label)
        ));
    }
    sql
}

/// The roles with settings of their own in a database whose settings the daemon may make only as another role, and that one:
/// the role itself, or the one that fills the database.
async fn acted_as(
    connection: &mut PgConnection,
    row: &DatabaseRow,
    worker: &str,
) -> Result<Vec<(String, String)>, ControlError> {
    let roles: Vec<&str> = row.settings.iter().filter_map(|(role, _)| role.as_deref()).collect();
    if roles.is_empty() {
        return Ok(Vec::new());
    }
    let version = version::of(connection).await?;
    Ok(sqlx::query_as(
        "SELECT r.rolname::pg_catalog.text, CASE WHEN pg_catalog.pg_has_role(r.oid, $2) THEN r.rolname
                    ELSE w.rolname END::pg_catalog.text
           FROM pg_catalog.pg_roles r, pg_catalog.pg_roles me
           LEFT JOIN pg_catalog.pg_roles w ON w.rolname = $4 AND w.rolcreaterole AND pg_catalog.pg_has_role(w.oid, $2)
          WHERE me.rolname = current_user AND r.rolname = ANY ($1) AND r.oid <> me.oid
            AND NOT me.rolsuper AND NOT r.rolsuper AND (pg_catalog.pg_has_role(r.oid, $2) OR w.oid IS NOT NULL)
            AND NOT (me.rolcreaterole AND (NOT $3 OR pg_catalog.pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION')))",
    )
    .bind(roles)
    .bind(version::assume(version))
    .bind(version >= version::SET_OPTION)
    .bind(worker)
    .fetch_all(connection)
    .await?)
}

/// Puts a comment on a database, or takes it away.
pub(super) async fn comment(
    connection: &mut PgConnection,
    name: &str,
    comment: Option<&str>,
) -> Result<(), Fault> {
    let text = comment.map_or_else(|| "NULL".to_owned(), |text| Literal(text).to_string());
    run(connection, "commenting the database", &format!("COMMENT ON DATABASE {} IS {text}", Ident(name)))
        .await
}

/// Runs a statement on databases on the connection that holds the lock.
pub(crate) async fn run(connection: &mut PgConnection, doing: &str, sql: &str) -> Result<(), Fault> {
    let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await else { return Ok(()) };
    Err(match Condition::of_error(&error) {
        Some(Condition::ObjectInUse) => Fault::new(Reason::Blocked, format!("{doing}: {}", message(&error)))
            .hint("sessions are in the way: end them, or use --terminate-sessions; nothing was changed")
            .at(site(&error)),
        Some(Condition::DiskFull) => {
            Fault::new(Reason::PreflightFailed, format!("{doing}: the disk is full"))
                .hint("make room; nothing was changed")
        }
        _ => work_fault(doing, &error),
    })
    .map_err(|fault: Fault| match hint(&error) {
        Some(hint) => fault.with("postgres_hint", hint),
        None => fault,
    })
}
