//! Who is in the way of a statement that waits: looked up from outside while it waits, told then, and named where the
//! operation gives up.

use std::time::Duration;

use model::{
    event::{Blocker, EventKind},
    fault::Fault,
    finding::Finding,
};
use sqlx::PgPool;

use super::context::WorkContext;
use crate::postgres::{
    session::backend::LOOK_LIMIT,
    sql::{error::ControlError, ident::Literal, timestamp::Timestamptz},
};

/// How often a session is looked at: more often than a lock is waited for.
const LOOK: Duration = Duration::from_millis(200);

/// Looks at a session until the task is dropped, and tells whenever somebody is in its way.
pub(in crate::postgres) async fn watch(context: WorkContext, pid: i32) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Ok(looked) = tokio::time::timeout(LOOK_LIMIT, of(&context.control, pid)).await else { continue };
        match looked {
            Ok(blockers) if blockers.is_empty() => {}
            Ok(blockers) => {
                context.noticed.blocked(pid, blockers.clone());
                (context.tell)(EventKind::Blocked { waiting: format!("backend {pid}"), blockers });
            }
            Err(fault) => tracing::debug!(%fault, "blockers could not be looked up"),
        }
    }
}

#[derive(sqlx::FromRow)]
struct SessionRow {
    pid: i32,
    user: String,
    application_name: String,
    state: String,
    query: String,
    xact_start: Option<Timestamptz>,
    query_start: Option<Timestamptz>,
}

/// The columns of a session `a`, as far as the daemon's role sees them.
macro_rules! session {
    () => {
        concat!(
            "a.pid, coalesce(a.usename::text, '') AS user, coalesce(a.application_name, '') AS application_name,
             coalesce(a.state, a.backend_type, '') AS state,
             CASE WHEN a.backend_type IS NULL THEN ''
                  ELSE coalesce(pg_catalog.left(pg_catalog.regexp_replace(a.query, '\\s+', ' ', 'g'), 120), '') END AS query, ",
            "a.xact_start, a.query_start"
        )
    };
}

async fn of(control: &PgPool, pid: i32) -> Result<Vec<Blocker>, ControlError> {
    let pids: Vec<i32> = sqlx::query_scalar("SELECT pg_catalog.unnest(pg_catalog.pg_blocking_pids($1))")
        .bind(pid)
        .fetch_all(control)
        .await?;
    let rows: Vec<SessionRow> = match pids.is_empty() {
        true => return Ok(Vec::new()),
        false => {
            sqlx::query_as(concat!(
                "SELECT ",
                session!(),
                " FROM pg_catalog.pg_stat_activity a WHERE a.pid = ANY($1) ORDER BY 6, 1"
            ))
            .bind(&pids)
            .fetch_all(control)
            .await?
        }
    };
    let mut all: Vec<Blocker> = rows.into_iter().map(session).collect();
    // What is prepared has no session any more, and PostgreSQL says 0.
    if pids.contains(&0) {
        all.extend(prepared(control, pid).await?);
    }
    Ok(all)
}

fn session(row: SessionRow) -> Blocker {
    Blocker {
        pid: row.pid,
        user: row.user,
        application_name: row.application_name,
        state: row.state,
        query: row.query,
        since: row.xact_start.map(Timestamptz::to_jiff),
        query_since: row.query_start.map(Timestamptz::to_jiff),
        gid: String::new(),
    }
}

/// Prepared transactions that hold what a backend waits for.
async fn prepared(control: &PgPool, pid: i32) -> Result<Vec<Blocker>, ControlError> {
    let rows: Vec<(String, String, Option<Timestamptz>)> = sqlx::query_as(
        "SELECT DISTINCT x.gid, x.owner::text, x.prepared
           FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks h ON h.granted AND h.pid IS NULL
             AND (h.locktype, h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid, h.classid, h.objid, h.objsubid)
                 IS NOT DISTINCT FROM
                 (w.locktype, w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid, w.classid, w.objid, w.objsubid)
            JOIN pg_catalog.pg_locks t ON t.virtualtransaction = h.virtualtransaction AND t.locktype = 'transactionid'
            JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = t.transactionid
           WHERE w.pid = $1 AND NOT w.granted ORDER BY 1"
    )
    .bind(pid)
    .fetch_all(control)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(gid, user, since)| Blocker {
            gid,
            user,
            since: since.map(Timestamptz::to_jiff),
            ..Blocker::default()
        })
        .collect())
}

/// Who is connected to a database, the operation's own sessions left out.
///
/// # Errors
/// The control database does not answer.
pub(in crate::postgres) async fn in_database(
    control: &PgPool,
    oid: u32,
    own: &str,
) -> Result<Vec<Blocker>, ControlError> {
    let rows: Vec<SessionRow> = sqlx::query_as(concat!(
        "SELECT ",
        session!(),
        " FROM pg_catalog.pg_stat_activity a WHERE a.datid = $1::oid AND a.application_name IS DISTINCT FROM $2
             AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'parallel worker') ORDER BY 6, 1"
    ))
    .bind(i64::from(oid))
    .bind(own)
    .fetch_all(control)
    .await?;
    Ok(rows.into_iter().map(session).collect())
}

/// The statement that ends what is in the way.
fn ending(blocker: &Blocker) -> String {
    match blocker.gid.as_str() {
        "" => format!("SELECT pg_terminate_backend({});", blocker.pid),
        gid => format!("ROLLBACK PREPARED {};", Literal(gid)),
    }
}

/// Names in a fault who was in the way, with the statements that end them; and gives each as a finding.
pub(crate) fn name(fault: Fault, blockers: &[Blocker]) -> (Fault, Vec<Finding>) {
    if blockers.is_empty() {
        return (fault, Vec::new());
    }
    let who: Vec<String> = blockers.iter().map(|b| format!("{} {}", b.object(), b.doing())).collect();
    let end = blockers.iter().map(ending).collect::<Vec<_>>().join(" ");
    let hint = fault.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
    let message = format!("{}: {}", fault.message, who.join(", "));
    let finding = |b: &Blocker| Finding::error("BLOCKED_BY", b.object(), b.doing(), ending(b));
    let findings = blockers.iter().map(finding).collect();
    let named = Fault { message, ..fault }.hint(format!("{end}{hint}")).with("mend", end);
    (named, findings)
}
