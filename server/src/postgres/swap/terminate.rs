//! Ending all sessions of a database: at once while the lease's connection renames it away, and in what was built aside.

use std::{sync::Arc, time::Duration};

use model::{
    fault::{Fault, Reason},
    profile::SessionRule,
};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use super::databases;
use crate::postgres::{
    change::{blockers, context::WorkContext, transaction::Work},
    session::backend::may_end,
    sql::{
        error::{control_fault, message},
        ident::Ident,
    },
};

/// How often remaining sessions are looked at while the name is away.
const LOOK: Duration = Duration::from_millis(2);

/// How long sessions in a database that was built aside may take to end.
const BUILT_LIMIT: Duration = Duration::from_secs(10);

/// Closes a database that was built aside, and ends whoever is in it but the operation's own sessions.
///
/// # Errors
/// `BLOCKED`: somebody does not go, or may not be ended; what PostgreSQL said.
pub(crate) async fn close(
    connection: &mut PgConnection,
    context: &WorkContext,
    (name, oid): (&str, u32),
    work: &Work,
    own: &str,
) -> Result<(), Fault> {
    let close = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", Ident(name));
    databases::run(connection, "closing the new database", &close).await?;
    let limit = tokio::time::Instant::now() + BUILT_LIMIT;
    loop {
        let left = end_others(&context.control, oid, work.pid()).await.map_err(control_fault)?;
        if left.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() >= limit {
            return Err(stays(context, oid, work.pid(), &left, own).await?);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Sessions in what was built aside that do not go, and are named where the operation ends.
async fn stays(
    context: &WorkContext,
    oid: u32,
    waiting: i32,
    left: &[(i32, bool)],
    own: &str,
) -> Result<Fault, Fault> {
    context.noticed.blocked(waiting, blockers::in_database(&context.control, oid, own).await?);
    let pids = left.iter().map(|(pid, _)| pid.to_string()).collect::<Vec<_>>().join(", ");
    let (what, hint) = match left.iter().all(|(_, may_end)| *may_end) {
        true => ("do not end", "look at them in pg_stat_activity; nothing was changed"),
        false => (
            "are in the way, and the daemon's role may not end them all",
            "only a superuser ends a superuser's session, and a member of pg_signal_backend any other; nothing was changed",
        ),
    };
    let fault = Fault::new(Reason::Blocked, format!("sessions in the new database {what}"));
    Ok(fault.hint(hint).with("pid", pids))
}

/// Who is still there, and whether they may be ended: then they were told to go.
async fn end_others(pool: &PgPool, oid: u32, own: i32) -> sqlx::Result<Vec<(i32, bool)>> {
    sqlx::query_as(concat!(
        "WITH seen AS MATERIALIZED (
            SELECT a.pid, ",
        may_end!(),
        " AS may FROM pg_catalog.pg_roles me, pg_catalog.pg_stat_activity a
              LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
             WHERE me.rolname = current_user AND a.datid = $1::pg_catalog.oid AND a.pid <> $2
               AND coalesce(a.backend_type, 'client backend') NOT IN ('autovacuum worker', 'parallel worker'))
         SELECT pid, may FROM seen
          WHERE CASE WHEN may THEN pg_catalog.pg_terminate_backend(pid) END IS DISTINCT FROM NULL OR NOT may"
    ))
    .bind(i64::from(oid))
    .bind(own)
    .fetch_all(pool)
    .await
}

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
    // One that may not be ended does not keep the others.
    let ended: Option<(i64, i64)> = sqlx::query_as(concat!(
        "SELECT count(a.pid), count(CASE WHEN ",
        may_end!(),
        " THEN pg_terminate_backend(a.pid) END) FILTER (WHERE $3
                    OR ($4 AND a.state = 'idle' AND coalesce(a.backend_type, 'client backend') = 'client backend'))
           FROM pg_locks l JOIN pg_roles me ON me.rolname = current_user
           LEFT JOIN pg_stat_activity a ON a.datid = l.objid LEFT JOIN pg_roles r ON r.oid = a.usesysid
          WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass AND l.objid = $1::oid
            AND l.pid = $2 AND l.granted AND l.mode = 'AccessExclusiveLock'
          GROUP BY l.pid"
    ))
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
