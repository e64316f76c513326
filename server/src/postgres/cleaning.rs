//! Dropping kept databases whose time is over, one at a time in the whole cluster.

use model::{fault::Fault, lock::LockKey};
use sqlx::Connection as _;

use super::{
    connect,
    control::Control,
    databases,
    error::{control_fault, message},
    kept,
};

/// Drops one expired database and gives its name; `None` when there is none, or another daemon is at it.
///
/// # Errors
/// The control database does not answer, or the drop failed; it is tried again.
pub(crate) async fn drop_one_expired(control: &Control) -> Result<Option<String>, Fault> {
    let mut connection = connect::open(&control.session_options("resetd janitor")).await?;
    let mine: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1)")
        .bind(LockKey::janitor().0)
        .fetch_one(&mut connection)
        .await
        .map_err(control_fault)?;
    let mut dropped = None;
    if mine && let Some((oid, name)) = kept::next_expired(&mut connection).await? {
        if let Some(name) = &name {
            databases::drop_generated(&mut connection, name).await?;
        }
        kept::forget(&mut connection, oid).await?;
        dropped = Some(name.unwrap_or_else(|| format!("oid {oid}")));
    }
    if let Err(error) = connection.close().await {
        tracing::debug!(error = %message(&error), "closing the janitor's session");
    }
    Ok(dropped)
}
