//! The fence between owners: no statement of an old owner runs or commits after a new one was granted.

use std::time::Duration;

use model::{
    fault::{Fault, Reason},
    lock::LockKey,
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{
    conflict::{self, Foreign},
    lease::{LockSession, lock_is_gone},
};
use crate::postgres::{
    session::{
        advisory::{holds_both, pg_locks_row},
        connect,
        liveness::lost_error,
    },
    sql::error::work_fault,
};

/// How long the sessions of an old owner may take to end.
const LIMIT: Duration = Duration::from_secs(20);
/// How long an answer of the target may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Ends whoever still holds the target's key in the target, and waits until nobody does. Only the lock's holder may: one
/// that lost it would end the sessions of the next; and nobody is ended while the target is locked under another control
/// database.
///
/// # Errors
/// `ZOMBIE_BACKEND` with the pid, `CONTROL_CONFLICT`, `LOCK_LOST`, or the target cannot be reached.
pub(crate) async fn pass(target: &PgConnectOptions, lock: &LockSession) -> Result<(), Fault> {
    let options = connect::options(target, &lock.application_name, &[("lock_timeout", "0")]);
    let mut connection = connect::open(&options).await?;
    let key = LockKey::target(options.get_database().unwrap_or_default());
    let until = tokio::time::Instant::now() + LIMIT;
    let passed = loop {
        match answered(attempt(&mut connection, key, lock)).await? {
            FenceAttempt::Passed => break Ok(()),
            FenceAttempt::LockLost => break Err(lock_is_gone()),
            FenceAttempt::Held(zombies) if tokio::time::Instant::now() >= until => {
                break Err(zombie(&zombies));
            }
            FenceAttempt::Conflict(foreign) if tokio::time::Instant::now() >= until => {
                break Err(foreign.fault(options.get_database().unwrap_or_default()));
            }
            // One that only tries sees this lock, and goes.
            FenceAttempt::Held(_) | FenceAttempt::Conflict(_) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    // Closing the session gives the key back.
    if let Err(fault) = answered(connection.close()).await {
        tracing::debug!(%fault, "closing the fence session");
    }
    passed
}

/// What one attempt found.
enum FenceAttempt {
    Passed,
    LockLost,
    /// By these, who were told to end.
    Held(Vec<i32>),
    /// By somebody who may work for this one.
    Conflict(Foreign),
}

/// Takes the key; where somebody has it, ends them.
async fn attempt(
    connection: &mut PgConnection,
    key: LockKey,
    lock: &LockSession,
) -> sqlx::Result<FenceAttempt> {
    let (target, operation) = (lock.key.halves(), lock.operation_key.halves());
    let taken: Option<bool> = sqlx::query_scalar(concat!(
        "SELECT CASE WHEN ",
        holds_both!(),
        " THEN pg_catalog.pg_try_advisory_lock($7) END"
    ))
    .bind(i64::from(lock.database_oid))
    .bind(target.0)
    .bind(target.1)
    .bind(operation.0)
    .bind(operation.1)
    .bind(lock.pid)
    .bind(key.0)
    .fetch_one(&mut *connection)
    .await?;
    Ok(match taken {
        None => FenceAttempt::LockLost,
        Some(true) => FenceAttempt::Passed,
        Some(false) => match conflict::look(&mut *connection, lock.wanted()).await? {
            Some(foreign) => FenceAttempt::Conflict(foreign),
            None => FenceAttempt::Held(terminate_holders(connection, key, lock).await?),
        },
    })
}

/// A target whose connection was cut says nothing at all.
async fn answered<T>(asked: impl Future<Output = sqlx::Result<T>>) -> Result<T, Fault> {
    match tokio::time::timeout(ANSWER_LIMIT, asked).await {
        Ok(answer) => answer.map_err(barrier_fault),
        Err(_) => Err(barrier_fault(lost_error())),
    }
}

fn barrier_fault(error: sqlx::Error) -> Fault {
    work_fault("fencing off an earlier owner", &error)
}

/// Ends the holders of the key, as seen in one look that also shows the lock held: whoever came with the next owner is not
/// among them.
async fn terminate_holders(
    connection: &mut PgConnection,
    key: LockKey,
    lock: &LockSession,
) -> sqlx::Result<Vec<i32>> {
    let ((high, low), mine) = (key.halves(), lock.key.halves());
    let rows: Vec<(i32, bool)> = sqlx::query_as(concat!(
        "WITH seen AS MATERIALIZED (SELECT * FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted)
         SELECT l.pid, pg_catalog.pg_terminate_backend(l.pid) FROM seen l WHERE ",
        pg_locks_row!(
            "l",
            "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())::pg_catalog.int8",
            "$1",
            "$2"
        ),
        " AND l.pid <> pg_catalog.pg_backend_pid() AND EXISTS (SELECT FROM seen m WHERE ",
        pg_locks_row!("m", "$3", "$4", "$5"),
        " AND m.pid = $6)"
    ))
    .bind(high)
    .bind(low)
    .bind(i64::from(lock.database_oid))
    .bind(mine.0)
    .bind(mine.1)
    .bind(lock.pid)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(pid, _)| pid).collect())
}

fn zombie(pids: &[i32]) -> Fault {
    let named = pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Fault::new(
        Reason::ZombieBackend,
        format!("a session of an earlier owner does not end within {} s: pid {named}", LIMIT.as_secs()),
    )
    .hint("look at that backend in pg_stat_activity; nothing was changed")
    .with("pid", named)
}
