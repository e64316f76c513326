//! The end of what is kept: settled by a look where nobody knew, marked, dropped, left, given up, forgotten.

use std::time::Duration;

use model::fault::{Fault, Reason};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::{Body, COLUMNS, END_EARLY, KeptRow, KeptSchemas, decode};
use crate::postgres::sql::error::ControlError;

/// What an operation that has ended left unsettled, because nobody knew what became of its commit: entering, or undoing.
pub(crate) async fn unsettled(pool: &PgPool) -> Result<Vec<KeptSchemas>, ControlError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM resetd.kept_schemas k WHERE k.state IN ('entering', 'undoing') AND NOT EXISTS (
            SELECT FROM resetd.operation o WHERE o.id = coalesce(k.used_by, k.operation) AND o.state <> 'finished')"
    );
    let rows: Vec<KeptRow> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(pool).await?;
    rows.into_iter().map(decode).collect()
}

/// Settles a row by what was found in the target.
pub(crate) async fn found(pool: &PgPool, it: &KeptSchemas, is_aside: bool) -> Result<(), ControlError> {
    let sql = match is_aside {
        true => {
            "UPDATE resetd.kept_schemas SET state = 'kept', used_by = NULL WHERE operation = $1 AND state = $2"
        }
        false => "DELETE FROM resetd.kept_schemas WHERE operation = $1 AND state = $2",
    };
    sqlx::query(sql).bind(it.operation).bind(&it.state).execute(pool).await?;
    if is_aside && it.state == "entering" {
        sqlx::query(END_EARLY).bind(it.operation).execute(pool).await?;
    }
    Ok(())
}

/// Marks what has had its time in a database for dropping: once marked, no undo brings it back. None that was tried just
/// now.
pub(crate) async fn next_expired(pool: &PgPool, tried: &[Uuid]) -> Result<Option<KeptSchemas>, ControlError> {
    let sql = format!(
        "UPDATE resetd.kept_schemas k SET state = 'dropping' WHERE k.operation = (
            SELECT e.operation FROM resetd.kept_schemas e JOIN pg_database d ON d.oid = e.database_oid
             WHERE (e.state = 'dropping' OR (e.state = 'kept' AND e.expires_at <= clock_timestamp()))
               AND d.datallowconn AND e.operation <> ALL($1)
               AND e.system_identifier = (SELECT s.system_identifier::text FROM pg_control_system() s)
               AND NOT EXISTS (SELECT FROM resetd.operation o WHERE o.database = d.datname
                                  AND o.state IN ('running', 'committing') AND NOT o.reads_only)
             ORDER BY e.expires_at LIMIT 1 FOR UPDATE OF e SKIP LOCKED)
         RETURNING {COLUMNS}"
    );
    let row: Option<KeptRow> = sqlx::query_as(AssertSqlSafe(sql)).bind(tried).fetch_optional(pool).await?;
    row.map(decode).transpose()
}

/// Stores what may be left of it, before a part of it is dropped: what is found later is compared with that.
pub(crate) async fn begin_drop(pool: &PgPool, operation: Uuid, body: &Body) -> Result<(), ControlError> {
    let body = serde_json::to_string(body)
        .map_err(|e| Fault::new(Reason::Internal, format!("what is kept cannot be stored: {e}")))?;
    sqlx::query(
        "UPDATE resetd.kept_schemas SET body = $2::json, drop_begun_at = coalesce(drop_begun_at, clock_timestamp())
          WHERE operation = $1 AND state = 'dropping'",
    )
    .bind(operation)
    .bind(body)
    .execute(pool)
    .await?;
    Ok(())
}

/// Whether an operation is about to change, or changes, a database.
pub(crate) async fn is_worked_on(pool: &PgPool, database_oid: u32) -> Result<bool, ControlError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM resetd.operation o JOIN pg_database d ON d.datname = o.database
            WHERE d.oid = $1::oid AND o.state IN ('running', 'committing') AND NOT o.reads_only)",
    )
    .bind(i64::from(database_oid))
    .fetch_one(pool)
    .await
    .map_err(ControlError::from)
}

/// Leaves what is marked for dropping, for a while: it can be undone no more, and is tried again.
pub(crate) async fn leave(pool: &PgPool, operation: Uuid, why: &str) -> Result<(), ControlError> {
    sqlx::query("UPDATE resetd.kept_schemas SET left_because = $2 WHERE operation = $1")
        .bind(operation)
        .bind(why)
        .execute(pool)
        .await?;
    Ok(())
}

/// Gives up what is not the daemon's by every sign any more: it is never dropped and never brought back.
pub(crate) async fn give_up(pool: &PgPool, operation: Uuid, why: &str) -> Result<(), ControlError> {
    sqlx::query(
        "UPDATE resetd.kept_schemas SET state = 'given_up', given_up = $2
          WHERE operation = $1 AND state IN ('kept', 'dropping')",
    )
    .bind(operation)
    .bind(why)
    .execute(pool)
    .await?;
    Ok(())
}

/// Frees what is kept of an operation before its time, as if it had had it: schemas, or a database. `false`: nothing of it is
/// kept for the database.
pub(crate) async fn release(pool: &PgPool, database: &str, operation: Uuid) -> Result<bool, ControlError> {
    let schemas = "UPDATE resetd.kept_schemas SET expires_at = least(expires_at, clock_timestamp())
        WHERE operation = $1 AND state IN ('kept', 'dropping')
          AND database_oid = (SELECT d.oid FROM pg_database d WHERE d.datname = $2)";
    let databases = "UPDATE resetd.kept_database SET expires_at = least(expires_at, clock_timestamp())
        WHERE operation = $1 AND state = 'kept' AND database = $2";
    let mut released = 0;
    for statement in [schemas, databases] {
        let done = sqlx::query(statement).bind(operation).bind(database).execute(pool).await?;
        released += done.rows_affected();
    }
    Ok(released > 0)
}

/// Forgets what is dropped.
pub(crate) async fn forget(pool: &PgPool, operation: Uuid) -> Result<(), ControlError> {
    sqlx::query("DELETE FROM resetd.kept_schemas WHERE operation = $1 AND state = 'dropping'")
        .bind(operation)
        .execute(pool)
        .await?;
    Ok(())
}

/// Forgets what went with its database.
pub(crate) async fn forget_gone(pool: &PgPool) -> Result<(), ControlError> {
    sqlx::query(
        "DELETE FROM resetd.kept_schemas WHERE state <> 'entering' AND database_oid NOT IN (SELECT oid FROM pg_database)",
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// How long until the next ones have had their time; `None` when none are kept.
pub(crate) async fn next_in(pool: &PgPool) -> Result<Option<Duration>, ControlError> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM min(expires_at) - clock_timestamp())::float8 FROM resetd.kept_schemas WHERE state = 'kept'",
    )
    .fetch_one(pool)
    .await?;
    Ok(seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default()))
}
