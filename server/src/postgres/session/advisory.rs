//! Advisory locks as `pg_locks` shows them, across all databases of the cluster.
//!
//! It must not know what the keys are for.

use model::{
    fault::Fault,
    lock::{Holder, LockKey},
};
use sqlx::{PgExecutor, PgPool};

/// The condition that a row of `pg_locks` is the advisory lock of one key in one database.
macro_rules! pg_locks_row {
    ($row:literal, $database:expr, $high:literal, $low:literal) => {
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

/// The oid of the database that a session is connected to, as `pg_locks_row` compares it.
macro_rules! this_database {
    () => {
        "(SELECT d.oid::pg_catalog.int8 FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
    };
}

pub(in crate::postgres) use this_database;

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

/// Whether a backend, or any where none is named, holds a key of the given database.
pub(in crate::postgres) async fn is_held(
    executor: impl PgExecutor<'_>,
    database_oid: u32,
    key: LockKey,
    pid: Option<i32>,
) -> sqlx::Result<bool> {
    let (high, low) = key.halves();
    sqlx::query_scalar(concat!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE ",
        pg_locks_row!("l", "$1", "$2", "$3"),
        " AND l.granted AND ($4::pg_catalog.int4 IS NULL OR l.pid = $4))"
    ))
    .bind(i64::from(database_oid))
    .bind(high)
    .bind(low)
    .bind(pid)
    .fetch_one(executor)
    .await
}

/// Which other sessions hold a key of a database; `None`: of the one that this session is connected to.
pub(in crate::postgres) async fn holders(
    executor: impl PgExecutor<'_>,
    database: Option<&str>,
    key: LockKey,
) -> sqlx::Result<Vec<Holder>> {
    let (high, low) = key.halves();
    // What a prepared transaction holds has no backend.
    let rows: Vec<(i32, String, String)> = sqlx::query_as(concat!(
        "SELECT coalesce(l.pid, 0), coalesce(a.usename::pg_catalog.text, ''), coalesce(a.application_name, '')
           FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE ",
        pg_locks_row!(
            "l",
            "(SELECT d.oid::pg_catalog.int8 FROM pg_catalog.pg_database d
               WHERE d.datname = coalesce($1::pg_catalog.name, pg_catalog.current_database()))",
            "$2",
            "$3"
        ),
        " AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() ORDER BY 1"
    ))
    .bind(database)
    .bind(high)
    .bind(low)
    .fetch_all(executor)
    .await?;
    let named =
        |(pid, user, application_name): (i32, String, String)| Holder::backend(pid, user, application_name);
    Ok(rows.into_iter().map(named).collect())
}

/// What could not be done since others hold a key of a database, with who they are.
pub(in crate::postgres) async fn named(
    fault: Fault,
    control: &PgPool,
    database: &str,
    key: LockKey,
) -> Fault {
    let holders = holders(control, Some(database), key).await.unwrap_or_default();
    let named: Vec<String> = holders.iter().map(Holder::phrase).collect();
    match named.is_empty() {
        true => fault,
        false => Fault {
            message: format!("{}; the target's key is held by {}", fault.message, named.join(", ")),
            ..fault
        },
    }
}
