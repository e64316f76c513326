//! Dropping what has had its time, one at a time in the whole cluster: kept databases, and what an operation built and could
//! not drop itself.

use model::{fault::Fault, lock::LockKey};
use sqlx::{Connection as _, PgConnection};

use super::databases;
use crate::postgres::{
    control::{pool::Control, retained},
    session::{advisory, connect},
    sql::error::{control_fault, message},
};

/// What the session that cleans up calls itself.
const JANITOR: &str = "resetd janitor";

/// Drops every expired database and gives their names; none when another daemon is at it. One that cannot be dropped does
/// not keep the others.
///
/// # Errors
/// The control database does not answer, or a drop failed; it is tried again at the next look.
pub(crate) async fn drop_expired(control: &Control) -> Result<Vec<String>, Fault> {
    let mut connection = connect::open(&control.session_options(JANITOR)).await?;
    let mine: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1)")
        .bind(LockKey::janitor().0)
        .fetch_one(&mut connection)
        .await
        .map_err(control_fault)?;
    let dropped = match mine {
        true => drop_all(&mut connection).await,
        false => {
            // Another daemon has it for as long as its drops take; anybody else keeps what has had its time from being dropped.
            let holders = advisory::holders(&mut connection, None, LockKey::janitor()).await;
            for holder in holders.map_err(control_fault)?.iter().filter(|h| h.application_name != JANITOR) {
                tracing::warn!(
                    "databases that have had their time are not dropped: {} is in the way",
                    holder.phrase()
                );
            }
            Ok(Vec::new())
        }
    };
    if let Err(error) = connection.close().await {
        tracing::debug!(error = %message(&error), "closing the janitor's session");
    }
    dropped
}

async fn drop_all(connection: &mut PgConnection) -> Result<Vec<String>, Fault> {
    let (mut dropped, mut failed, mut tried) = (Vec::new(), None, Vec::new());
    while let Some((oid, name)) = retained::next_expired(connection, &tried).await? {
        tried.push(oid);
        if let Some(name) = &name
            && let Err(fault) = databases::drop_generated(connection, name).await
        {
            failed = Some(fault);
            continue;
        }
        retained::forget(connection, oid).await?;
        dropped.push(name.unwrap_or_else(|| format!("oid {oid}")));
    }
    for name in left_over(connection).await? {
        match databases::drop_generated(connection, &name).await {
            Ok(()) => dropped.push(name),
            Err(fault) => failed = Some(fault),
        }
    }
    failed.map_or(Ok(dropped), Err)
}

/// What operations that have ended built and did not swap in: a statement that went on after its session was lost, or a
/// drop that failed.
async fn left_over(connection: &mut PgConnection) -> Result<Vec<String>, Fault> {
    sqlx::query_scalar(
        "SELECT d.datname::text FROM resetd.operation o JOIN pg_database d ON d.datname = o.build_database
          WHERE o.state = 'finished' ORDER BY o.id",
    )
    .fetch_all(connection)
    .await
    .map_err(control_fault)
}
