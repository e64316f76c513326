//! Dropping what has had its time, one at a time in the whole cluster: kept databases, and what an operation built and could
//! not drop itself.

use model::{fault::Fault, lock::LockKey};
use sqlx::{Connection as _, PgConnection};

use super::{built, databases};
use crate::postgres::{
    control::{
        given_up::{self, GivenUp},
        pool::Control,
        retained,
    },
    gateway::role,
    session::{advisory, connect},
    sql::{
        error::{ControlError, message},
        ident::Ident,
    },
};

/// What the session that cleans up calls itself.
const JANITOR: &str = "resetd janitor";

/// Drops every expired database and gives their names; none when another daemon is at it. One that cannot be dropped does
/// not keep the others.
///
/// # Errors
/// The control database does not answer, or a drop failed; it is tried again at the next look.
pub(crate) async fn drop_expired(control: &Control) -> Result<Vec<String>, ControlError> {
    let mut connection = connect::open(&control.session_options(JANITOR)).await?;
    let mine: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1)")
        .bind(LockKey::janitor().0)
        .fetch_one(&mut connection)
        .await?;
    let dropped = match mine {
        true => drop_all(&mut connection).await,
        false => {
            // Another daemon has it for as long as its drops take; anybody else keeps what has had its time from being dropped.
            let holders = advisory::holders(&mut connection, None, LockKey::janitor()).await;
            for holder in holders?.iter().filter(|h| h.application_name != JANITOR) {
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
    Ok(dropped?)
}

async fn drop_all(connection: &mut PgConnection) -> Result<Vec<String>, Fault> {
    for GivenUp { name, operation, why } in given_up::give_up(connection).await? {
        tracing::warn!(name, %operation, why, "a kept database is not looked after any more: it may be somebody's");
    }
    let (mut dropped, mut failed, mut tried) = (Vec::new(), None, Vec::new());
    while let Some((oid, name)) = retained::next_expired(connection, &tried).await? {
        tried.push(oid);
        match drop_retained(connection, oid, &name).await {
            Ok(true) => dropped.push(name),
            // Changed by hand just now: the next look gives it up.
            Ok(false) => {}
            Err(fault) => failed = Some(fault),
        }
    }
    for (operation, name) in built::left_over(connection).await? {
        match built::sweep(connection, operation).await {
            Ok(true) => dropped.push(name),
            Ok(false) => {}
            Err(fault) => failed = Some(fault.into()),
        }
    }
    // Only when its database is gone can a role go that owned it.
    if let Err(fault) = role::drop_left_over(connection).await {
        failed = Some(fault);
    }
    failed.map_or(Ok(dropped), Err)
}

/// Drops a kept database, without force: nobody can be in one that takes no connections. `false`: it is not the daemon's.
async fn drop_retained(connection: &mut PgConnection, oid: u32, name: &str) -> Result<bool, Fault> {
    const DOING: &str = "dropping a kept database";
    let Some(is_template) = retained::is_ours(connection, oid).await? else { return Ok(false) };
    if is_template {
        databases::run(connection, DOING, &format!("ALTER DATABASE {} IS_TEMPLATE false", Ident(name)))
            .await?;
    }
    databases::run(connection, DOING, &format!("DROP DATABASE IF EXISTS {}", Ident(name))).await?;
    retained::forget(connection, oid).await?;
    Ok(true)
}
