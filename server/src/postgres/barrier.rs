//! The barrier between owners: no statement of an old owner runs or commits after a new one was granted.

use std::time::Duration;

use model::{
    fault::{Fault, Reason},
    lock::LockKey,
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{connect, contact::lost_error, error::work_fault, lock::pg_locks_row};

/// How long the sessions of an old owner may take to end.
const LIMIT: Duration = Duration::from_secs(20);
/// How long an answer of the target may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Ends whoever still holds the target's key in the target, and waits until nobody does.
///
/// # Errors
/// `ZOMBIE_BACKEND` with the pid, or the target cannot be reached.
pub(crate) async fn pass(target: &PgConnectOptions, application_name: &str) -> Result<(), Fault> {
    let options = connect::options(target, application_name, &[("lock_timeout", "0")]);
    let mut connection = connect::open(&options).await?;
    let key = LockKey::target(options.get_database().unwrap_or_default());
    let until = tokio::time::Instant::now() + LIMIT;
    let passed = loop {
        match answered(attempt(&mut connection, key)).await? {
            None => break Ok(()),
            Some(zombies) if tokio::time::Instant::now() >= until => break Err(zombie(&zombies)),
            Some(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    // Closing the session gives the key back.
    if let Err(fault) = answered(connection.close()).await {
        tracing::debug!(%fault, "closing the barrier session");
    }
    passed
}

/// Takes the key; where somebody has it, ends them and says who they are.
async fn attempt(connection: &mut PgConnection, key: LockKey) -> sqlx::Result<Option<Vec<i32>>> {
    let taken: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1)")
        .bind(key.0)
        .fetch_one(&mut *connection)
        .await?;
    match taken {
        true => Ok(None),
        false => terminate_holders(connection, key).await.map(Some),
    }
}

/// A target whose connection was cut says nothing at all.
async fn answered<T>(asked: impl Future<Output = sqlx::Result<T>>) -> Result<T, Fault> {
    match tokio::time::timeout(ANSWER_LIMIT, asked).await {
        Ok(answer) => answer.map_err(barrier_fault),
        Err(_) => Err(barrier_fault(lost_error())),
    }
}

fn barrier_fault(error: sqlx::Error) -> Fault {
    work_fault("passing the barrier", &error)
}

async fn terminate_holders(connection: &mut PgConnection, key: LockKey) -> sqlx::Result<Vec<i32>> {
    let (high, low) = key.halves();
    let rows: Vec<(i32, bool)> = sqlx::query_as(concat!(
        "SELECT l.pid, pg_catalog.pg_terminate_backend(l.pid) FROM pg_catalog.pg_locks l WHERE ",
        pg_locks_row!(
            "l",
            "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())::pg_catalog.int8",
            "$1",
            "$2"
        ),
        " AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()"
    ))
    .bind(high)
    .bind(low)
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
