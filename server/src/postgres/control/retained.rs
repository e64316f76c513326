//! The ledger of databases that were swapped away and can come back for a while.
//!
//! A database is the daemon's to drop or bring back only while every sign of it fits. One that lacks a sign is given up, and
//! told.

use std::time::Duration;

use jiff::Timestamp;
use model::fault::{Fault, Reason};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::postgres::sql::{error::ControlError, signs::marker, timestamp::Timestamptz};

/// A database that is kept.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct Kept {
    #[sqlx(try_from = "i64")]
    pub(crate) oid: u32,
    /// Its generated name.
    pub(crate) name: String,
    /// The operation that swapped it away.
    pub(crate) operation: Uuid,
    #[sqlx(try_from = "Timestamptz")]
    pub(crate) kept_at: Timestamp,
    #[sqlx(try_from = "Timestamptz")]
    pub(crate) expires_at: Timestamp,
}

/// A database that is being swapped away.
pub(crate) struct SetAside<'a> {
    pub(crate) oid: u32,
    /// Its generated name.
    pub(crate) name: &'a str,
    /// The name that it had.
    pub(crate) database: &'a str,
    pub(crate) operation: Uuid,
    /// The comment that it had.
    pub(crate) comment: Option<&'a str>,
    pub(crate) keep: Duration,
}

/// Why the database of entry `k` is not the daemon's any more; NULL: by every sign it is.
macro_rules! why_not {
    () => {
        concat!(
            "(SELECT ",
            $crate::postgres::sql::signs::why_not!(
                oid: "d.oid",
                name: "d.datname",
                opened: "d.datallowconn",
                told: "it takes connections",
                comment: "pg_catalog.shobj_description(d.oid, 'pg_database')"
            ),
            " FROM pg_catalog.pg_control_system() s LEFT JOIN pg_catalog.pg_database d ON d.oid = k.oid)"
        )
    };
}

pub(super) use why_not;

const SELECT: &str =
    "SELECT k.oid::int8, k.name, k.operation, k.kept_at, k.expires_at FROM resetd.kept_database k ";

/// Which database of $1 an undo (of operation $2, where that is given) brings back.
macro_rules! returnable {
    () => {
        concat!(
            "WHERE k.database = $1 AND k.state = 'kept' AND k.expires_at > clock_timestamp()
               AND ($2::uuid IS NULL OR k.operation = $2) AND ",
            why_not!(),
            " IS NULL AND k.oid IN (SELECT oid FROM pg_catalog.pg_database WHERE datconnlimit <> -2)
              ORDER BY k.kept_at DESC LIMIT 1"
        )
    };
}

/// The database that an undo would bring back now: the one that an operation swapped away, or the newest.
pub(crate) async fn next(
    pool: &PgPool,
    database: &str,
    operation: Option<Uuid>,
) -> Result<Option<Kept>, ControlError> {
    let sql = format!("{SELECT} {}", returnable!());
    let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(database).bind(operation);
    Ok(query.fetch_optional(pool).await?)
}

/// Enters a database that is being swapped away, inside the swap's transaction; until when it is kept.
pub(crate) async fn enter(
    connection: &mut PgConnection,
    it: &SetAside<'_>,
) -> Result<Timestamp, ControlError> {
    let expires_at: Timestamptz = sqlx::query_scalar(
        "INSERT INTO resetd.kept_database (oid, name, database, operation, expires_at, system_identifier, marker, comment)
         SELECT $1::oid, $2, $3, $4, clock_timestamp() + make_interval(secs => $5), s.system_identifier::text, $6, $7
           FROM pg_catalog.pg_control_system() s
         ON CONFLICT (oid) DO UPDATE SET name = excluded.name, database = excluded.database, operation = excluded.operation,
             state = 'kept', used_by = NULL, kept_at = clock_timestamp(), expires_at = excluded.expires_at,
             system_identifier = excluded.system_identifier, marker = excluded.marker, comment = excluded.comment,
             given_up = NULL
         RETURNING expires_at",
    )
    .bind(i64::from(it.oid))
    .bind(it.name)
    .bind(it.database)
    .bind(it.operation)
    .bind(it.keep.as_secs_f64())
    .bind(marker(it.operation))
    .bind(it.comment)
    .fetch_one(connection)
    .await?;
    Ok(expires_at.to_jiff())
}

/// Claims the database that an undo brings back: the one that an operation swapped away, or the newest. While it is
/// claimed, the janitor leaves it alone. On the connection that holds the lock: who lost it claims nothing.
///
/// # Errors
/// `NOTHING_TO_UNDO`.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    database: &str,
    operation: Option<Uuid>,
    by: Uuid,
) -> Result<Kept, ControlError> {
    let kept = sqlx::query_as(concat!(
        "UPDATE resetd.kept_database u SET state = 'undoing', used_by = $3
          WHERE u.oid = (
            SELECT k.oid FROM resetd.kept_database k ",
        returnable!(),
        " FOR UPDATE SKIP LOCKED)
         RETURNING u.oid::int8, u.name, u.operation, u.kept_at, u.expires_at"
    ))
    .bind(database)
    .bind(operation)
    .bind(by)
    .fetch_optional(connection)
    .await?;
    Ok(kept.ok_or_else(|| {
        let which = operation.map(|id| format!(" of operation {id}")).unwrap_or_default();
        Fault::new(Reason::NothingToUndo, format!("no previous database{which} of {database} is kept"))
            .hint("`keep_previous` in the profile says how long one is kept; `resetctl status` shows what there is")
            .with("database", database)
    })?)
}

/// Gives back what an operation claimed and did not bring back, inside the transaction that writes its end: an operation
/// that has ended holds no claim.
pub(in crate::postgres) async fn give_back(
    connection: &mut PgConnection,
    by: Uuid,
) -> Result<(), ControlError> {
    sqlx::query("UPDATE resetd.kept_database SET state = 'kept', used_by = NULL WHERE used_by = $1")
        .bind(by)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes a database that comes back out of the ledger, inside the swap's transaction, and gives the comment that it had.
///
/// # Errors
/// It is not claimed by this operation any more, or lacks a sign of the daemon's.
pub(crate) async fn take_out(
    connection: &mut PgConnection,
    oid: u32,
    by: Uuid,
) -> Result<Option<String>, ControlError> {
    let taken: Option<Option<String>> = sqlx::query_scalar(concat!(
        "DELETE FROM resetd.kept_database k WHERE k.oid = $1::oid AND k.used_by = $2 AND ",
        why_not!(),
        " IS NULL RETURNING k.comment"
    ))
    .bind(i64::from(oid))
    .bind(by)
    .fetch_optional(connection)
    .await?;
    Ok(taken.ok_or_else(|| {
        Fault::new(
            Reason::NothingToUndo,
            "the kept database is not this operation's any more, or was changed by hand",
        )
        .hint("nothing was changed; `resetctl status` tells what became of it")
    })?)
}

/// The databases that are kept for a database, newest first.
pub(crate) async fn of(pool: &PgPool, database: &str) -> Result<Vec<Kept>, ControlError> {
    let sql = format!(
        "{SELECT} WHERE k.database = $1 AND k.state IN ('kept', 'undoing') AND {} IS NULL ORDER BY k.kept_at DESC",
        why_not!()
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(database).fetch_all(pool).await?)
}

/// The databases that an undo could bring back now, newest first.
pub(crate) async fn returnable(pool: &PgPool, database: &str) -> Result<Vec<Kept>, ControlError> {
    let sql = format!(
        "{SELECT} WHERE k.database = $1 AND k.state = 'kept' AND k.expires_at > clock_timestamp() AND {} IS NULL
          ORDER BY k.kept_at DESC",
        why_not!()
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(database).fetch_all(pool).await?)
}

/// How many bytes databases take, as far as the role may know: all that are there, by oid.
pub(crate) async fn sizes(pool: &PgPool, oids: &[u32]) -> Result<Vec<(u32, u64)>, ControlError> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT d.oid::int8, pg_catalog.pg_database_size(d.oid) FROM pg_catalog.pg_database d
          WHERE d.oid = ANY($1::int8[]::oid[]) AND d.datconnlimit <> -2
            AND (pg_catalog.has_database_privilege(d.oid, 'CONNECT')
                 OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'))",
    )
    .bind(oids.iter().map(|oid| i64::from(*oid)).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    let size = |(oid, bytes): (i64, i64)| (u32::try_from(oid).unwrap_or_default(), bytes.unsigned_abs());
    Ok(rows.into_iter().map(size).collect())
}

/// Gives databases that operations set aside no more time, inside the swap's transaction: those that an undo is using are left
/// alone.
pub(crate) async fn end_early(
    connection: &mut PgConnection,
    database: &str,
    operations: &[Uuid],
) -> Result<(), ControlError> {
    sqlx::query(
        "UPDATE resetd.kept_database SET expires_at = clock_timestamp()
          WHERE database = $1 AND operation = ANY($2) AND state = 'kept'",
    )
    .bind(database)
    .bind(operations)
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks one expired database for dropping and gives its oid and name; also one whose dropping was interrupted; none that
/// was tried just now.
pub(crate) async fn next_expired(
    connection: &mut PgConnection,
    tried: &[u32],
) -> Result<Option<(u32, String)>, ControlError> {
    let row: Option<(i64, String)> = sqlx::query_as(concat!(
        "UPDATE resetd.kept_database u SET state = 'dropping' WHERE u.oid = (
            SELECT k.oid FROM resetd.kept_database k
             WHERE (k.state = 'dropping' OR (k.state = 'kept' AND k.expires_at <= clock_timestamp()))
               AND k.oid <> ALL($1::int8[]::oid[]) AND ",
        why_not!(),
        " IS NULL ORDER BY k.expires_at LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING u.oid::int8, u.name"
    ))
    .bind(tried.iter().map(|oid| i64::from(*oid)).collect::<Vec<_>>())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(oid, name)| (u32::try_from(oid).unwrap_or_default(), name)))
}

/// Whether a database that is to be dropped is a template; `None`: it is not the daemon's by every sign any more.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn is_ours(connection: &mut PgConnection, oid: u32) -> Result<Option<bool>, ControlError> {
    Ok(sqlx::query_scalar(concat!(
        "SELECT d.datistemplate FROM resetd.kept_database k JOIN pg_catalog.pg_database d ON d.oid = k.oid
          WHERE k.oid = $1::oid AND k.state = 'dropping' AND ",
        why_not!(),
        " IS NULL"
    ))
    .bind(i64::from(oid))
    .fetch_optional(connection)
    .await?)
}

/// How long until the next one has had its time; `None` when none is kept.
pub(crate) async fn next_in(pool: &PgPool) -> Result<Option<Duration>, ControlError> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM min(expires_at) - clock_timestamp())::float8 FROM resetd.kept_database WHERE state = 'kept'",
    )
    .fetch_one(pool)
    .await?;
    Ok(seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default()))
}

/// Forgets a database that is gone.
pub(crate) async fn forget(connection: &mut PgConnection, oid: u32) -> Result<(), ControlError> {
    sqlx::query("DELETE FROM resetd.kept_database WHERE oid = $1::oid AND state = 'dropping'")
        .bind(i64::from(oid))
        .execute(connection)
        .await?;
    Ok(())
}
