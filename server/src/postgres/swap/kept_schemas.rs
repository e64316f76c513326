//! What has had its time among schemas that were set aside: dropped step by step, one daemon at a time in the whole cluster.

use model::{fault::Fault, lock::LockKey};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::postgres::{
    catalog::{aside, database},
    change::discard::{self, Step},
    control::{
        kept_schemas::{self, KeptSchemas},
        pool::Control,
    },
    session::{connect, failpoint},
    sql::error::{ControlError, message},
};

/// Drops what has had its time, and settles what nobody knew the end of. Gives the operations that had set it aside.
///
/// # Errors
/// The control database does not answer, or a target; it is tried again at the next look.
pub(crate) async fn drop_expired(
    control: &Control,
    options_of: &(dyn Fn(&str) -> PgConnectOptions + Send + Sync),
) -> Result<Vec<Uuid>, ControlError> {
    kept_schemas::forget_gone(&control.pool).await?;
    let mut turn = connect::open(&control.session_options("resetd janitor")).await?;
    let mine: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1)")
        .bind(LockKey::janitor().0)
        .fetch_one(&mut turn)
        .await?;
    let dropped = match mine {
        true => drop_all(control, options_of).await,
        false => Ok(Vec::new()),
    };
    close(turn).await;
    Ok(dropped?)
}

async fn drop_all(
    control: &Control,
    options_of: &(dyn Fn(&str) -> PgConnectOptions + Send + Sync),
) -> Result<Vec<Uuid>, Fault> {
    for unsettled in kept_schemas::unsettled(&control.pool).await? {
        settle(control, options_of, &unsettled).await?;
    }
    let (mut dropped, mut tried, mut failed) = (Vec::new(), Vec::new(), None);
    while let Some(kept) = kept_schemas::next_expired(&control.pool, &tried).await? {
        tried.push(kept.operation);
        match drop_one(control, options_of, &kept).await {
            Ok(true) => dropped.push(kept.operation),
            Ok(false) => {}
            Err(fault) => failed = Some(fault),
        }
    }
    failed.map_or(Ok(dropped), Err)
}

/// Opens a session in the database of that oid, whatever it is called now; `None`: it is not there.
async fn open(
    control: &Control,
    options_of: &(dyn Fn(&str) -> PgConnectOptions + Send + Sync),
    oid: u32,
) -> Result<Option<PgConnection>, Fault> {
    let Some(name) = database::name(&control.pool, oid).await? else { return Ok(None) };
    let options = connect::options(&options_of(&name), "resetd janitor", &[]).statement_cache_capacity(0);
    let mut connection = connect::open(&options).await?;
    // It may have been renamed between the look and the connection.
    match database::current_oid(&mut connection).await? == oid {
        true => Ok(Some(connection)),
        false => {
            close(connection).await;
            Ok(None)
        }
    }
}

/// `true`: nothing of it is left.
async fn drop_one(
    control: &Control,
    options_of: &(dyn Fn(&str) -> PgConnectOptions + Send + Sync),
    kept: &KeptSchemas,
) -> Result<bool, Fault> {
    let pool = &control.pool;
    let Some(mut connection) = open(control, options_of, kept.database_oid).await? else { return Ok(false) };
    let Some(mut witness) = open(control, options_of, kept.database_oid).await? else { return Ok(false) };
    let mut kept = kept.clone();
    let done = loop {
        match discard::step(pool, &mut connection, &mut witness, &mut kept).await {
            Ok(Step::More) => failpoint::point(kept.operation, "discarded").await,
            Ok(Step::Gone) => {
                kept_schemas::forget(pool, kept.operation).await?;
                break true;
            }
            Ok(Step::Busy) => break false,
            Ok(Step::Hanging(objects)) => {
                let why = format!("what is outside hangs on them: {objects}");
                kept_schemas::leave(pool, kept.operation, &why).await?;
                break false;
            }
            Ok(Step::NotOurs(why)) => {
                give_up(control, &kept, &why).await?;
                break false;
            }
            Err(fault) => {
                kept_schemas::leave(pool, kept.operation, &fault.message).await?;
                return Err(fault);
            }
        }
        // An operation goes first.
        if kept_schemas::is_worked_on(pool, kept.database_oid).await? {
            break false;
        }
    };
    close(witness).await;
    close(connection).await;
    Ok(done)
}

async fn give_up(control: &Control, kept: &KeptSchemas, why: &str) -> Result<(), Fault> {
    kept_schemas::give_up(&control.pool, kept.operation, why).await?;
    tracing::warn!(operation = %kept.operation, why, "schemas that were set aside are not looked after any more: they may be somebody's");
    Ok(())
}

/// An operation of which nobody knows whether it committed: the target does.
async fn settle(
    control: &Control,
    options_of: &(dyn Fn(&str) -> PgConnectOptions + Send + Sync),
    kept: &KeptSchemas,
) -> Result<(), Fault> {
    let Some(mut connection) = open(control, options_of, kept.database_oid).await? else { return Ok(()) };
    let found = aside::look(&mut connection, &kept.known()).await;
    close(connection).await;
    let is_aside = found?.iter().any(|f| f.why_not.is_none());
    Ok(kept_schemas::found(&control.pool, kept, is_aside).await?)
}

async fn close(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(error = %message(&error), "closing the janitor's session");
    }
}
