//! Ending all sessions of a database at once, while the lease's connection renames it away.

use std::{sync::Arc, time::Duration};

use model::profile::SessionRule;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::postgres::sql::error::message;

/// How often remaining sessions are looked at while the name is away.
const LOOK: Duration = Duration::from_millis(2);

/// The channel whose notifications wake a lock connection's backend up, and no other.
pub(crate) fn wake_channel(pid: i32) -> String {
    format!("resetd_swap_{pid}")
}

/// Ends the sessions of a database, again and again, from the moment that `holder` has locked it until `done`; and wakes
/// the holder's backend, which otherwise looks for remaining sessions only every 100 ms.
pub(crate) async fn end_while_locked(
    pool: PgPool,
    oid: u32,
    holder: i32,
    rule: SessionRule,
    done: Arc<CancellationToken>,
) {
    while !done.is_cancelled() {
        match end_once(&pool, oid, holder, rule).await {
            // All gone: the holder goes on as soon as it wakes up.
            Ok(Some(0)) => wake(&pool, holder).await,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(error = %message(&error), "sessions could not be ended; it is tried again")
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How many sessions are left; `None` while the holder has not locked the database yet.
async fn end_once(pool: &PgPool, oid: u32, holder: i32, rule: SessionRule) -> sqlx::Result<Option<i64>> {
    let ended: Option<(i64, i64)> = sqlx::query_as(
        "SELECT count(a.pid), count(pg_terminate_backend(a.pid)) FILTER (WHERE $3
                    OR ($4 AND a.state = 'idle' AND coalesce(a.backend_type, 'client backend') = 'client backend'))
           FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.datid = l.objid
          WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass AND l.objid = $1::oid
            AND l.pid = $2 AND l.granted AND l.mode = 'AccessExclusiveLock'
          GROUP BY l.pid",
    )
    .bind(i64::from(oid))
    .bind(holder)
    .bind(rule == SessionRule::Terminate)
    .bind(rule == SessionRule::IdleOnly)
    .fetch_optional(pool)
    .await?;
    Ok(ended.map(|(left, _)| left))
}

async fn wake(pool: &PgPool, holder: i32) {
    let channel = wake_channel(holder);
    if let Err(error) = sqlx::query("SELECT pg_notify($1, '')").bind(channel).execute(pool).await {
        tracing::debug!(error = %message(&error), "the lock's backend could not be woken up");
    }
}
