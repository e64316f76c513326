//! The fence between owners: no statement of an old owner runs or commits after a new one was granted.

use std::time::Duration;

use model::{
    fault::{Fault, Reason},
    lock::{Holder, LockKey},
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{
    conflict::{self, Foreign},
    lease::{LockSession, lock_is_gone},
};
use crate::postgres::{
    session::{
        advisory::{holds_both, pg_locks_row},
        backend::may_end,
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
/// `ZOMBIE_BACKEND` with who it is, `CONTROL_CONFLICT`, `LOCK_LOST`, or the target cannot be reached.
pub(crate) async fn pass(target: &PgConnectOptions, lock: &LockSession) -> Result<(), Fault> {
    let options = connect::options(target, &lock.application_name, &[("lock_timeout", "0")]);
    let mut connection = connect::open(&options).await?;
    let database = options.get_database().unwrap_or_default();
    let until = tokio::time::Instant::now() + LIMIT;
    let passed = loop {
        match answered(attempt(&mut connection, database, lock)).await? {
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
    Held(Vec<InTheWay>),
    /// By somebody who may work for this one.
    Conflict(Foreign),
}

/// Takes the key; where somebody has it, ends them.
async fn attempt(
    connection: &mut PgConnection,
    database: &str,
    lock: &LockSession,
) -> sqlx::Result<FenceAttempt> {
    let key = LockKey::target(database);
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
            None => FenceAttempt::Held(terminate_holders(database, key, lock).await?),
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

/// A session that holds the key, and whether the daemon may end it.
struct InTheWay {
    holder: Holder,
    may_end: bool,
}

/// Ends the holders of the key, on the connection that holds the lock: one that lost it sends nothing. That connection is
/// the control role's, which may end more than the target's.
async fn terminate_holders(database: &str, key: LockKey, lock: &LockSession) -> sqlx::Result<Vec<InTheWay>> {
    let (high, low) = key.halves();
    // What a prepared transaction holds has no backend, and a background worker no role.
    let rows: Vec<(i32, String, String, bool)> = sqlx::query_as(concat!(
        "WITH seen AS MATERIALIZED (
            SELECT l.pid, a.usename::pg_catalog.text AS name, a.application_name,
                   l.pid IS NOT NULL AND ",
        may_end!(),
        " AS may
              FROM pg_catalog.pg_roles me, pg_catalog.pg_locks l
              LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
              LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
             WHERE me.rolname = current_user AND l.granted AND ",
        pg_locks_row!(
            "l",
            "(SELECT d.oid::pg_catalog.int8 FROM pg_catalog.pg_database d WHERE d.datname = $1)",
            "$2",
            "$3"
        ),
        ")
         SELECT coalesce(pid, 0), coalesce(name, ''), coalesce(application_name, ''), may
           FROM seen WHERE CASE WHEN may THEN pg_catalog.pg_terminate_backend(pid) END IS DISTINCT FROM NULL
             OR NOT may"
    ))
    .bind(database)
    .bind(high)
    .bind(low)
    .fetch_all(&mut *lock.connection().await)
    .await?;
    let in_the_way = |(pid, user, name, may_end): (i32, String, String, bool)| InTheWay {
        holder: Holder::backend(pid, user, name),
        may_end,
    };
    Ok(rows.into_iter().map(in_the_way).collect())
}

fn zombie(in_the_way: &[InTheWay]) -> Fault {
    let named = |it: &InTheWay| {
        let Holder { pid, user, application_name, .. } = &it.holder;
        let end = if it.may_end { "" } else { ", which the daemon's role may not end" };
        match pid {
            0 => it.holder.phrase(),
            pid => format!("pid {pid} (user {user}, application {application_name}){end}"),
        }
    };
    let all: Vec<String> = in_the_way.iter().map(named).collect();
    let pids: Vec<String> = in_the_way.iter().map(|it| it.holder.pid.to_string()).collect();
    let hint = match in_the_way.iter().all(|it| it.may_end) {
        true => "look at that backend in pg_stat_activity; nothing was changed",
        false => {
            "end it as a superuser, or GRANT pg_signal_backend to the daemon's role; nothing was changed"
        }
    };
    Fault::new(
        Reason::ZombieBackend,
        format!(
            "a session that holds the key of the target in it does not end within {} s: {}",
            LIMIT.as_secs(),
            all.join(", ")
        ),
    )
    .hint(hint)
    .with("pid", pids.join(", "))
}
