//! Databases and schemas that the daemon looked after and that lack a sign of being its own: left alone, and told for a while.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use super::retained::why_not;
use crate::postgres::sql::error::ControlError;

/// A database, or the schemas of an operation, not the daemon's any more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GivenUp {
    /// The name that the daemon gave it; of schemas, all of them.
    pub(crate) name: String,
    /// The operation that made it or swapped it away.
    pub(crate) operation: Uuid,
    /// What is known of it.
    pub(crate) why: String,
}

impl GivenUp {
    /// It in words.
    pub(crate) fn phrase(&self) -> String {
        let Self { name, operation, why } = self;
        format!(
            "{name} of operation {operation} is not looked after any more: {why}; it is yours to keep or to drop"
        )
    }
}

/// What was set aside of a database, is not the daemon's any more and is still there, newest first; databases that nobody
/// has given up yet as well.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn of(executor: impl PgExecutor<'_>, database: &str) -> Result<Vec<GivenUp>, ControlError> {
    let rows: Vec<(String, Uuid, String)> = sqlx::query_as(concat!(
        "SELECT u.name, u.operation, u.why FROM (
         SELECT k.name, k.operation, coalesce(k.given_up, ",
        why_not!(),
        ") AS why, k.kept_at FROM resetd.kept_database k
          WHERE k.database = $1 AND k.oid IN (SELECT oid FROM pg_catalog.pg_database)
            AND (k.state = 'given_up' OR (k.state IN ('kept', 'dropping') AND ",
        why_not!(),
        " IS NOT NULL))
         UNION ALL
         SELECT 'schema ' || (SELECT string_agg(b.schema -> 'aside' ->> 'name', ', ') FROM json_array_elements(k.body -> 'schemas') b(schema)),
                k.operation, k.given_up, k.kept_at
           FROM resetd.kept_schemas k JOIN pg_catalog.pg_database d ON d.oid = k.database_oid
          WHERE d.datname = $1 AND k.state = 'given_up') u ORDER BY u.kept_at DESC"
    ))
    .bind(database)
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|(name, operation, why)| GivenUp { name, operation, why }).collect())
}

/// Gives up what lacks a sign of the daemon's, and forgets what is gone. What was given up just now.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn give_up(connection: &mut PgConnection) -> Result<Vec<GivenUp>, ControlError> {
    sqlx::query(
        "DELETE FROM resetd.kept_database
          WHERE state <> 'undoing' AND oid NOT IN (SELECT oid FROM pg_catalog.pg_database)",
    )
    .execute(&mut *connection)
    .await?;
    let rows: Vec<(String, Uuid, String)> = sqlx::query_as(concat!(
        "UPDATE resetd.kept_database k SET state = 'given_up', used_by = NULL, given_up = ",
        why_not!(),
        " WHERE k.state IN ('kept', 'dropping') AND ",
        why_not!(),
        " IS NOT NULL RETURNING k.name, k.operation, k.given_up"
    ))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(name, operation, why)| GivenUp { name, operation, why }).collect())
}

/// Enters a database that was built aside and is not the daemon's any more, under the name that it was built with.
///
/// # Errors
/// The control database does not answer.
pub(in crate::postgres) async fn enter_built(
    connection: &mut PgConnection,
    operation: Uuid,
    oid: u32,
    why: &str,
) -> Result<(), ControlError> {
    sqlx::query(
        "WITH built AS (
            UPDATE resetd.operation o SET build_database = NULL, build_oid = NULL FROM resetd.operation before
             WHERE o.id = $1 AND before.id = o.id RETURNING before.build_database AS name, o.database)
         INSERT INTO resetd.kept_database (oid, name, database, operation, state, expires_at, system_identifier, given_up)
         SELECT $2::oid, b.name, b.database, $1, 'given_up', clock_timestamp(), s.system_identifier::text, $3
           FROM built b, pg_catalog.pg_control_system() s
         ON CONFLICT (oid) DO NOTHING",
    )
    .bind(operation)
    .bind(i64::from(oid))
    .bind(why)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what was given up longer ago than operations are kept.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn forget_old(pool: &PgPool, database: &str, keep: Duration) -> Result<(), ControlError> {
    for table in ["resetd.kept_database", "resetd.kept_schemas"] {
        let sql = format!(
            "DELETE FROM {table} WHERE database = $1 AND state = 'given_up'
                AND expires_at < clock_timestamp() - make_interval(secs => $2)"
        );
        sqlx::query(AssertSqlSafe(sql)).bind(database).bind(keep.as_secs_f64()).execute(pool).await?;
    }
    Ok(())
}
