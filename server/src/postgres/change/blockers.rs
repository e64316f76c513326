//! Who is in the way of a statement that waits: looked up from outside while it waits, and told.

use model::{
    event::{Blocker, EventKind},
    fault::Fault,
};
use sqlx::PgPool;

use super::transaction::WorkContext;
use crate::postgres::{
    session::backend::LOOK_LIMIT,
    sql::{error::control_fault, timestamp},
};

/// Tells who blocks a backend, if anybody does.
pub(in crate::postgres) async fn tell(context: &WorkContext, pid: i32) {
    let Ok(looked) = tokio::time::timeout(LOOK_LIMIT, blockers(&context.control, pid)).await else { return };
    match looked {
        Ok(blockers) if blockers.is_empty() => {}
        Ok(blockers) => (context.tell)(EventKind::Blocked { waiting: format!("backend {pid}"), blockers }),
        Err(fault) => tracing::debug!(%fault, "blockers could not be looked up"),
    }
}

type BlockerRow = (i32, String, String, String, String, Option<i64>, Option<i64>);

async fn blockers(control: &PgPool, pid: i32) -> Result<Vec<Blocker>, Fault> {
    let rows: Vec<BlockerRow> = sqlx::query_as(concat!(
        "SELECT b.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, 'prepared transaction'),
                coalesce(left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120), ''), ",
        timestamp::micros!("a.xact_start"),
        ", ",
        timestamp::micros!("a.query_start"),
        " FROM unnest(pg_blocking_pids($1)) b(pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid ORDER BY 6, 1"
    ))
    .bind(pid)
    .fetch_all(control)
    .await
    .map_err(control_fault)?;
    Ok(rows
        .into_iter()
        .map(|(pid, user, application_name, state, query, since, query_since)| Blocker {
            pid,
            user,
            application_name,
            state,
            query,
            since: since.map(timestamp::from_micros),
            query_since: query_since.map(timestamp::from_micros),
        })
        .collect())
}
