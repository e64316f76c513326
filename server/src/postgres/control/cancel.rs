//! Ends that somebody asked for: a cancel, which is a wish, and a broken lock, which is none.

use std::time::Duration;

use model::{
    event::EventKind,
    fault::{Fault, Reason},
    lock::LockKey,
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{
    journal::{self, CHANNEL, Owner},
    operations::end_backend,
    pool::Control,
};
use crate::postgres::{
    lock::lease::pg_locks_row,
    sql::{error::control_fault, timestamp},
};

/// How long ended sessions may take to give the lock back.
const GONE_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
/// How long the operation's row may be kept by its own daemon before its sessions are ended first.
const MARK_PATIENCE: Duration = Duration::from_secs(3);

/// Asks for a cancel: `Some(true)` the first time, `Some(false)` when it was accepted before, whatever came of it since,
/// `None` when it is too late.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn request_cancel(pool: &PgPool, id: Uuid, event: EventKind) -> Result<Option<bool>, Fault> {
    // Dropped half-way, it is rolled back: nothing stays open on a shared session.
    let mut transaction = pool.begin().await.map_err(control_fault)?;
    // Whoever has the row prepares its end or stands still: it is not waited for.
    wait_at_most(&mut transaction, "3s").await?;
    let asked = request_cancel_within(&mut transaction, id, event).await;
    let asked = asked.map_err(|fault| match fault.sql.sqlstate.as_deref() {
        Some("55P03") => Fault::new(
            Reason::NotCancellable,
            format!("operation {id} writes its end now, or its daemon stands still"),
        )
        .hint("ask again in a moment; an admin breaks its lock: `resetctl target unlock`")
        .with("operation", id),
        _ => fault,
    })?;
    transaction.commit().await.map_err(control_fault)?;
    Ok(asked)
}

async fn wait_at_most(connection: &mut PgConnection, limit: &'static str) -> Result<(), Fault> {
    sqlx::query("SELECT pg_catalog.set_config('lock_timeout', $1, true)")
        .bind(limit)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(control_fault)
}

async fn request_cancel_within(
    connection: &mut PgConnection,
    id: Uuid,
    event: EventKind,
) -> Result<Option<bool>, Fault> {
    let row: Option<(Uuid, bool)> = sqlx::query_as(
        "SELECT instance, cancel_requested_at IS NULL FROM resetd.operation
          WHERE id = $1 AND (state IN ('waiting', 'running') OR cancel_requested_at IS NOT NULL) FOR UPDATE",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await
    .map_err(control_fault)?;
    let Some((instance, first)) = row else { return Ok(None) };
    if first {
        sqlx::query("UPDATE resetd.operation SET cancel_requested_at = clock_timestamp() WHERE id = $1")
            .bind(id)
            .execute(&mut *connection)
            .await
            .map_err(control_fault)?;
        journal::append(connection, Owner { operation: id, instance }, event).await?;
    }
    Ok(Some(first))
}

/// The end that somebody asked for.
pub(crate) enum Asked {
    /// A cancel.
    Cancel,
    /// The lock is broken: by whom, and why.
    Break(Fault),
}

/// The end that somebody asked for, of an operation that has not ended.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn asked(pool: &PgPool, id: Uuid) -> Result<Option<Asked>, Fault> {
    let row: Option<(bool, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT cancel_requested_at IS NOT NULL, forced_by, forced_reason FROM resetd.operation
          WHERE id = $1 AND state <> 'finished'",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
    .map_err(control_fault)?;
    Ok(match row {
        Some((_, Some(by), reason)) => Some(Asked::Break(broken(&by, &reason.unwrap_or_default()))),
        Some((true, None, _)) => Some(Asked::Cancel),
        _ => None,
    })
}

fn broken(by: &str, reason: &str) -> Fault {
    Fault::new(
        Reason::ForcedUnlock,
        format!("{by} broke the lock: {reason}; what was not committed yet was rolled back"),
    )
    .hint(format!("talk to {by} before you run it again"))
    .with("by", by)
    .with("why", reason)
}

/// The lock of one operation, as it is to be broken.
#[derive(Clone, Debug)]
pub(crate) struct Grip {
    /// The backend that holds the lock.
    pub(crate) pid: i32,
    database: String,
}

/// The lock that an operation holds now; `None`: it holds none.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn grip(control: &Control, id: Uuid) -> Result<Option<Grip>, Fault> {
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
    .await
    .map_err(control_fault)?;
    Ok(row.map(|(pid, database)| Grip { pid, database }))
}

/// Writes down that an operation's lock is broken, so that it ends with that whoever runs it; `None`: it has ended.
///
/// # Errors
/// The control database does not answer.
async fn mark(pool: &PgPool, id: Uuid, by: &str, reason: &str) -> Result<Option<jiff::Timestamp>, Fault> {
    let mut transaction = pool.begin().await.map_err(control_fault)?;
    wait_at_most(&mut transaction, "15s").await?;
    let at: Option<i64> = sqlx::query_scalar(concat!(
        "WITH op AS (
            UPDATE resetd.operation
               SET forced_at = coalesce(forced_at, clock_timestamp()), forced_by = coalesce(forced_by, $2),
                   forced_reason = coalesce(forced_reason, $3)
             WHERE id = $1 AND state IN ('running', 'committing') RETURNING forced_at)
         SELECT ",
        timestamp::micros!("forced_at"),
        " FROM op, pg_notify($4, $1::text)"
    ))
    .bind(id)
    .bind(by)
    .bind(reason)
    .bind(CHANNEL)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(control_fault)?;
    transaction.commit().await.map_err(control_fault)?;
    Ok(at.map(timestamp::from_micros))
}

/// Marks the operation and ends its sessions. Where its own daemon keeps its row, in a transaction that does not end, the
/// sessions are ended first: what is open is rolled back, and the mark, which waits for the row already, comes next.
///
/// # Errors
/// As [`mark`] and [`pry_open`].
pub(crate) async fn break_open(
    control: &Control,
    id: Uuid,
    grip: &Grip,
    by: &str,
    reason: &str,
) -> Result<Option<jiff::Timestamp>, Fault> {
    let mut marking = std::pin::pin!(mark(&control.pool, id, by, reason));
    match tokio::time::timeout(MARK_PATIENCE, &mut marking).await {
        Ok(marked) => {
            let marked = marked?;
            if marked.is_some() {
                pry_open(control, id, grip).await?;
            }
            Ok(marked)
        }
        Err(_) => {
            let (marked, opened) = tokio::join!(marking, pry_open(control, id, grip));
            opened?;
            marked
        }
    }
}

/// Ends every session of the operation, and waits until its lock is free.
///
/// # Errors
/// `ZOMBIE_BACKEND`: one does not end; the control database does not answer.
async fn pry_open(control: &Control, id: Uuid, grip: &Grip) -> Result<(), Fault> {
    let pool = &control.pool;
    let (high, low) = LockKey::target(&grip.database).halves();
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
    .bind(grip.pid)
    .bind(high)
    .bind(low)
    .fetch_all(pool)
    .await
    .map_err(control_fault)?;
    for pid in workers.into_iter().chain([grip.pid]) {
        end_backend(pool, pid).await;
    }
    let until = tokio::time::Instant::now() + GONE_LIMIT;
    while self_held(control, grip).await? {
        if tokio::time::Instant::now() >= until {
            return Err(Fault::new(
                Reason::ZombieBackend,
                format!("backend {} was ended and still holds the lock of {}", grip.pid, grip.database),
            )
            .hint("look at it in pg_stat_activity; ask again when it is gone")
            .with("pid", grip.pid));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn self_held(control: &Control, grip: &Grip) -> Result<bool, Fault> {
    let (high, low) = LockKey::target(&grip.database).halves();
    sqlx::query_scalar(concat!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = $4 AND l.granted AND ",
        pg_locks_row!("l", "$1", "$2", "$3"),
        ")"
    ))
    .bind(i64::from(control.database_oid))
    .bind(high)
    .bind(low)
    .bind(grip.pid)
    .fetch_one(&control.pool)
    .await
    .map_err(control_fault)
}
