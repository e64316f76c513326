//! How many operations may wait at once: each one keeps a session of the cluster, and the one they wait for needs some too.
//!
//! It must not know how they wait.

use model::{
    fault::{Fault, Reason},
    lock::LockKey,
};
use sqlx::PgConnection;

use super::keys::{self, Bound};
use crate::postgres::sql::error::ControlError;

/// The most of one principal, and the most for one target, where the cluster has connections enough.
const MOST: (i64, i64) = (50, 64);

/// Checks, in the transaction that records a waiting operation, that there is room for it.
///
/// # Errors
/// `LIMIT_EXCEEDED`: with it there are too many; the control database does not answer.
pub(in crate::postgres) async fn check_room(
    connection: &mut PgConnection,
    principal: &str,
    target: &str,
    database: &str,
) -> Result<(), ControlError> {
    // One after the other: two that come at once see each other.
    let (key, until) = (LockKey::waiters(), keys::Until::Transaction);
    if let Some(holder) = keys::take_or_name(connection, key, until, Bound::MOMENT).await? {
        return Err(holder
            .refusal("the key under which waiting operations are counted")
            .with("target", target)
            .into());
    }
    let (theirs, here, all, connections): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE principal = $1), count(*) FILTER (WHERE database = $2), count(*),
                pg_catalog.current_setting('max_connections')::pg_catalog.int8
           FROM resetd.operation WHERE state = 'waiting'",
    )
    .bind(principal)
    .bind(database)
    .fetch_one(connection)
    .await?;
    let limits = [
        (theirs, MOST.0.min(connections / 6), format!("{principal} has")),
        (here, MOST.1.min(connections / 3), format!("target {target} has")),
        (all, connections / 2, "all targets together have".to_owned()),
    ];
    match limits.into_iter().find(|(count, most, _)| count > most) {
        None => Ok(()),
        Some((_, most, whose)) => Err(Fault::new(
            Reason::LimitExceeded,
            format!("{whose} {most} waiting operations, and no more may wait"),
        )
        .hint("try again when some have ended, or take some out: resetctl operations cancel ID")
        .with("target", target)
        .into()),
    }
}
