//! Breaking a lock: the operation is marked, its sessions are ended, and its lock comes free.

use std::time::Duration;

use model::{
    fault::{Fault, Reason},
    lock::LockKey,
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::postgres::{
    control::{cancel::wait_at_most, journal::CHANNEL, pool::Control},
    session::{
        advisory::{is_held, pg_locks_row},
        backend,
    },
    sql::{error::ControlError, timestamp::Timestamptz},
};

/// How long ended sessions may take to give the lock back.
const GONE_LIMIT: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(20);

/// How long the operation's row may be kept by its own daemon before its sessions are ended first.
const MARK_PATIENCE: Duration = Duration::from_secs(3);

/// The lock of one operation, as it is to be broken.
#[derive(Clone, Debug)]
pub(crate) struct HeldLock {
    /// The backend that holds the lock.
    pub(crate) pid: i32,
    database: String,
}

/// The lock that an operation holds now; `None`: it holds none.
pub(crate) async fn held_lock(control: &Control, id: Uuid) -> Result<Option<HeldLock>, ControlError> {
    let (high, low) = LockKey::operation(id).halves();
    let row: Option<(i32, String)> = sqlx::query_as(concat!(
        "SELECT l.pid, o.database FROM resetd.operation o JOIN pg_catalog.pg_locks l ON l.pid = o.lock_pid
          WHERE o.id = $4 AND o.state IN ('running', 'committing') AND l.granted AND ",
        pg_locks_row!("l", "$1", "$2", "$3"),
    ))
    .bind(i64::from(control.database_oid))
    .bind(high)
    .bind(low)
    .bind(id)
    .fetch_optional(&control.pool)
    .await?;
    Ok(row.map(|(pid, database)| HeldLock { pid, database }))
}

/// Writes down that an operation's lock is broken, so that it ends with that whoever runs it; `None`: it has ended.
async fn mark(
    pool: &PgPool,
    id: Uuid,
    by: &str,
    reason: &str,
) -> Result<Option<jiff::Timestamp>, ControlError> {
    let mut transaction = pool.begin().await?;
    wait_at_most(&mut transaction, "15s").await?;
    let at: Option<Timestamptz> = sqlx::query_scalar(
        "WITH op AS (
            UPDATE resetd.operation
               SET forced_at = coalesce(forced_at, clock_timestamp()), forced_by = coalesce(forced_by, $2),
                   forced_reason = coalesce(forced_reason, $3)
             WHERE id = $1 AND state IN ('running', 'committing') RETURNING forced_at)
         SELECT forced_at FROM op, pg_notify($4, $1::text)",
    )
    .bind(id)
    .bind(by)
    .bind(reason)
    .bind(CHANNEL)
    .fetch_optional(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(at.map(Timestamptz::to_jiff))
}

/// Marks the operation and ends its sessions. Where its own daemon keeps its row, in a transaction that does not end, the
/// sessions are ended first: what is open is rolled back, and the mark, which waits for the row already, comes next.
///
/// # Errors
/// As [`mark`] and [`end_sessions`].
pub(crate) async fn unlock(
    control: &Control,
    id: Uuid,
    held_lock: &HeldLock,
    by: &str,
    reason: &str,
) -> Result<Option<jiff::Timestamp>, ControlError> {
    let mut marking = std::pin::pin!(mark(&control.pool, id, by, reason));
    match tokio::time::timeout(MARK_PATIENCE, &mut marking).await {
        Ok(marked) => {
            let marked = marked?;
            if marked.is_some() {
                end_sessions(control, id, held_lock).await?;
            }
            Ok(marked)
        }
        Err(_) => {
            let (marked, opened) = tokio::join!(marking, end_sessions(control, id, held_lock));
            opened?;
            marked
        }
    }
}

/// Ends every session of the operation, and waits until its lock is free.
///
/// # Errors
/// `ZOMBIE_BACKEND`: one does not end; the control database does not answer.
async fn end_sessions(control: &Control, id: Uuid, held_lock: &HeldLock) -> Result<(), ControlError> {
    let pool = &control.pool;
    let (high, low) = LockKey::target(&held_lock.database).halves();
    let workers: Vec<i32> = sqlx::query_scalar(
        "SELECT a.pid FROM pg_catalog.pg_stat_activity a
          WHERE a.pid <> $2 AND (a.pid = (SELECT work_pid FROM resetd.operation WHERE id = $1)
                   -- The pid may be somebody else's by now: a worker has the target's key, in whichever database.
                   AND EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.granted
                         AND l.locktype = 'advisory' AND l.objsubid = 1
                         AND l.classid::pg_catalog.int8 = $3 AND l.objid::pg_catalog.int8 = $4)
             OR a.application_name = (SELECT h.application_name FROM pg_catalog.pg_stat_activity h
                                       WHERE h.pid = $2 AND h.application_name LIKE 'resetd %op=%'))",
    )
    .bind(id)
    .bind(held_lock.pid)
    .bind(high)
    .bind(low)
    .fetch_all(pool)
    .await?;
    for pid in workers.into_iter().chain([held_lock.pid]) {
        backend::terminate(pool, pid).await;
    }
    let until = tokio::time::Instant::now() + GONE_LIMIT;
    while self_held(control, held_lock).await? {
        if tokio::time::Instant::now() >= until {
            return Err(Fault::new(
                Reason::ZombieBackend,
                format!(
                    "backend {} was ended and still holds the lock of {}",
                    held_lock.pid, held_lock.database
                ),
            )
            .hint("look at it in pg_stat_activity; ask again when it is gone")
            .with("pid", held_lock.pid)
            .into());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn self_held(control: &Control, held_lock: &HeldLock) -> Result<bool, ControlError> {
    let key = LockKey::target(&held_lock.database);
    Ok(is_held(&control.pool, control.database_oid, key, Some(held_lock.pid)).await?)
}
