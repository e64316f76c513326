//! Who is connected to a database, and ending them all at once while the lock connection renames it away.

use std::{sync::Arc, time::Duration};

use model::{fault::Fault, plan::PlannedSession, profile::SessionRule};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::postgres::sql::error::{control_fault, message};

/// How often remaining sessions are looked at while the name is away.
const LOOK: Duration = Duration::from_millis(2);

/// The channel whose notifications wake a lock connection's backend up, and no other.
pub(crate) fn wake_channel(pid: i32) -> String {
    format!("resetd_swap_{pid}")
}

type SessionRow = (i32, String, String, String, String, Option<i64>, bool, bool);

/// Who is connected to a database now, the operation's own sessions (known by what they call themselves) left out. State and
/// kind of other roles' sessions are hidden from a role that is neither superuser nor in pg_read_all_stats.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn of(
    pool: &PgPool,
    oid: u32,
    rule: SessionRule,
    own: &str,
) -> Result<Vec<PlannedSession>, Fault> {
    let rows: Vec<SessionRow> = sqlx::query_as(
        "SELECT pid, coalesce(usename::text, ''), coalesce(application_name, ''), coalesce(client_addr::text, ''),
                CASE WHEN coalesce(backend_type, 'client backend') = 'client backend' THEN coalesce(state, 'unknown')
                     ELSE backend_type END,
                floor(extract(epoch FROM clock_timestamp() - query_start))::int8,
                xact_start IS NOT NULL, coalesce(backend_type, 'client backend') = 'client backend'
           FROM pg_stat_activity WHERE datid = $1::oid AND pid <> pg_backend_pid()
            AND coalesce(backend_type, '') NOT IN ('autovacuum worker', 'parallel worker')
            AND (usesysid IS NOT NULL OR backend_type IS NOT NULL) AND application_name IS DISTINCT FROM $2
          ORDER BY backend_start, pid",
    )
    .bind(i64::from(oid))
    .bind(own)
    .fetch_all(pool)
    .await
    .map_err(control_fault)?;
    Ok(rows
        .into_iter()
        .map(|(pid, user, application_name, address, state, age, in_transaction, client)| PlannedSession {
            would_end: may_end(rule, &state, client),
            pid,
            user,
            application_name,
            address,
            state,
            query_age_seconds: age.unwrap_or(-1),
            in_transaction,
        })
        .collect())
}

fn may_end(rule: SessionRule, state: &str, client: bool) -> bool {
    match rule {
        SessionRule::Terminate => true,
        SessionRule::IdleOnly => client && state == "idle",
        SessionRule::Refuse => false,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idle_clients_are_ended_by_idle_only() {
        for (rule, state, client, ends) in [
            (SessionRule::Terminate, "active", true, true),
            (SessionRule::Terminate, "logical replication worker", false, true),
            (SessionRule::IdleOnly, "idle", true, true),
            (SessionRule::IdleOnly, "idle in transaction", true, false),
            (SessionRule::IdleOnly, "active", true, false),
            (SessionRule::IdleOnly, "idle", false, false),
            (SessionRule::Refuse, "idle", true, false),
        ] {
            assert_eq!(may_end(rule, state, client), ends, "{rule} {state}");
        }
    }
}
