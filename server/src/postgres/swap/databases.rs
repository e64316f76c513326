//! Statements on databases themselves. Each runs on the connection that holds the lock.

use model::fault::{Fault, Reason};
use sqlx::{AssertSqlSafe, PgConnection};

use super::settings;
use crate::postgres::{
    catalog::database::{DatabaseRow, in_dependency_order},
    sql::{
        error::{database_error, message, sqlstate, work_fault},
        ident::{Ident, Literal},
    },
};

/// Puts what belongs to the row of `from` onto the database `onto`.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn carry_over(
    connection: &mut PgConnection,
    from: &DatabaseRow,
    onto: &str,
) -> Result<(), Fault> {
    let database = Ident(onto);
    let mut sql = format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC, {};", Ident(&from.owner));
    for (grantor, grantee, privilege, grantable) in in_dependency_order(from) {
        let to = grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), |g| Ident(g).to_string());
        let option = if *grantable { " WITH GRANT OPTION" } else { "" };
        sql.push_str(&format!(
            "SET LOCAL ROLE {}; GRANT {privilege} ON DATABASE {database} TO {to}{option}; SET LOCAL ROLE NONE;",
            Ident(grantor)
        ));
    }
    for (role, setting) in &from.settings {
        sql.push_str(&settings::statement(role.as_deref(), onto, setting));
    }
    sql.push_str(&format!(
        "ALTER DATABASE {database} CONNECTION LIMIT {}; ALTER DATABASE {database} IS_TEMPLATE {};",
        from.connection_limit, from.is_template
    ));
    for (provider, label) in &from.labels {
        sql.push_str(&format!(
            "SECURITY LABEL FOR {} ON DATABASE {database} IS {};",
            Ident(provider),
            Literal(label)
        ));
    }
    run(connection, "carrying over what belongs to the database's row", &sql).await?;
    comment(connection, onto, from.comment.as_deref()).await
}

/// Opens a new database that replaces none: a plain `CREATE DATABASE` lets everybody connect.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn open_to_all(connection: &mut PgConnection, name: &str) -> Result<(), Fault> {
    run(
        connection,
        "opening the new database",
        &format!("GRANT CONNECT ON DATABASE {} TO PUBLIC", Ident(name)),
    )
    .await?;
    comment(connection, name, None).await
}

/// Puts a comment on a database, or takes it away.
///
/// # Errors
/// What PostgreSQL said.
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
    Err(match sqlstate(&error) {
        Some("55006") => Fault::new(Reason::Blocked, format!("{doing}: {}", message(&error)))
            .hint("sessions are in the way: end them, or use --terminate-sessions; nothing was changed"),
        Some("53100") => Fault::new(Reason::PreflightFailed, format!("{doing}: the disk is full"))
            .hint("make room; nothing was changed"),
        _ => work_fault(doing, &error),
    })
    .map_err(|fault: Fault| match database_error(&error).and_then(|e| e.hint()) {
        Some(hint) => fault.with("postgres_hint", hint),
        None => fault,
    })
}
