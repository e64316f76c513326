//! Advisory locks as `pg_locks` shows them, across all databases of the cluster.
//!
//! It must not know what the keys are for.

use model::lock::LockKey;
use sqlx::PgExecutor;

/// The condition that a row of `pg_locks` is the advisory lock of one key in one database.
macro_rules! pg_locks_row {
    ($row:literal, $database:literal, $high:literal, $low:literal) => {
        concat!(
            $row,
            ".locktype = 'advisory' AND ",
            $row,
            ".objsubid = 1 AND ",
            $row,
            ".database::pg_catalog.int8 = ",
            $database,
            " AND ",
            $row,
            ".classid::pg_catalog.int8 = ",
            $high,
            " AND ",
            $row,
            ".objid::pg_catalog.int8 = ",
            $low
        )
    };
}

pub(in crate::postgres) use pg_locks_row;

/// The condition that backend `$6` holds the target's lock `$2, $3` and the operation's `$4, $5` in database `$1`.
macro_rules! holds_both {
    () => {
        concat!(
            "EXISTS (SELECT FROM pg_catalog.pg_locks t JOIN pg_catalog.pg_locks o USING (pid) WHERE ",
            pg_locks_row!("t", "$1", "$2", "$3"),
            " AND ",
            pg_locks_row!("o", "$1", "$4", "$5"),
            " AND t.granted AND o.granted AND pid = $6)"
        )
    };
}

pub(in crate::postgres) use holds_both;

/// Whether a backend holds a key of the given database.
pub(in crate::postgres) async fn is_held(
    executor: impl PgExecutor<'_>,
    database_oid: u32,
    key: LockKey,
    pid: i32,
) -> sqlx::Result<bool> {
    let (high, low) = key.halves();
    sqlx::query_scalar(concat!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE ",
        pg_locks_row!("l", "$1", "$2", "$3"),
        " AND l.granted AND l.pid = $4)"
    ))
    .bind(i64::from(database_oid))
    .bind(high)
    .bind(low)
    .bind(pid)
    .fetch_one(executor)
    .await
}
