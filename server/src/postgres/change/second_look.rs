//! The look after the commit: what fires inside a COMMIT, or right after it, is seen by a transaction that begins later.

use std::time::Duration;

use model::{
    fault::{Fault, Reason},
    plan::Observation,
};
use sqlx::{Connection as _, postgres::PgConnectOptions};

use super::{
    lock_waits::LockWaits,
    transaction::{READ_ONLY, take_key},
};
use crate::postgres::{
    catalog::observe,
    lock::lease::LockSession,
    session::connect,
    sql::error::{message, work_fault},
};

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Observes these schemas in a session of its own, in a transaction that only reads, under the lease.
///
/// # Errors
/// The target cannot be reached in time, or the lease is not held any more.
pub(crate) async fn observe(
    target: &PgConnectOptions,
    lock: &LockSession,
    schemas: &[String],
) -> Result<Observation, Fault> {
    match tokio::time::timeout(LIMIT, observe_within(target, lock, schemas)).await {
        Ok(observed) => observed,
        Err(_) => Err(Fault::new(
            Reason::TargetUnreachable,
            format!("the target did not answer within {} s", LIMIT.as_secs()),
        )),
    }
}

async fn observe_within(
    target: &PgConnectOptions,
    lock: &LockSession,
    schemas: &[String],
) -> Result<Observation, Fault> {
    let options = connect::options(target, &lock.application_name, &[("lock_timeout", "5s")]);
    let mut connection = connect::open(&options.statement_cache_capacity(0)).await?;
    let looking = |e: sqlx::Error| work_fault("looking after the commit", &e);
    // Before anything else is said: whoever lost the lock says nothing in the target.
    take_key(&mut connection, lock, READ_ONLY).await?;
    // Nobody else becomes the victim of a deadlock with it.
    let lock_waits = LockWaits::of(&mut connection).await.map_err(looking)?;
    sqlx::raw_sql(lock_waits.look()).execute(&mut connection).await.map_err(looking)?;
    let observed = observe::observe_again(&mut connection, schemas).await?;
    if let Err(error) = connection.close().await {
        tracing::debug!(error = %message(&error), "closing the session of the second look");
    }
    Ok(observed)
}
