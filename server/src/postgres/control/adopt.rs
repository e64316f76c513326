//! Which cluster and database the control database is. Its oids mean something only there: one that was moved or copied is
//! refused until an admin adopts it.

use model::{
    fault::{Fault, Reason},
    lock::LockKey,
};
use sqlx::{Connection as _, PgConnection};

use super::pool::Control;
use crate::postgres::{session::identity::Identity, sql::error::ControlError};

/// What the control database says that it is.
async fn recorded(connection: &mut PgConnection) -> Result<Identity, ControlError> {
    let row: Option<(String, i64)> =
        sqlx::query_as("SELECT system_identifier, database_oid::pg_catalog.int8 FROM resetd.identity")
            .fetch_optional(connection)
            .await?;
    let (system_identifier, oid) = row.unwrap_or_default();
    Ok(Identity { system_identifier, database_oid: u32::try_from(oid).unwrap_or_default() })
}

/// Makes sure that a control database is where it was written.
///
/// # Errors
/// `CONTROL_FOREIGN`, with the way out.
pub(crate) async fn check(
    connection: &mut PgConnection,
    name: &str,
    here: &Identity,
) -> Result<(), ControlError> {
    let recorded = recorded(connection).await?;
    if recorded == *here {
        return Ok(());
    }
    let what = match recorded.system_identifier == here.system_identifier {
        true => format!(
            "control database {name} is a copy, or was restored: it was written as the database with oid {} and has oid {} now",
            recorded.database_oid, here.database_oid
        ),
        false => format!(
            "control database {name} was written in another cluster: its system identifier is {}, and here it is {}",
            recorded.system_identifier, here.system_identifier
        ),
    };
    Err(Fault::new(
        Reason::ControlForeign,
        format!("{what}; the databases that it keeps and the targets that it knows are not those of this place"),
    )
    .hint(
        "name the right one in [control]; or make this one the control database of this place: `resetd control adopt` \
         forgets everything that is kept for undo, and every enrolment",
    )
    .with("control_database", name)
    .with("recorded", recorded.system_identifier)
    .with("found", &here.system_identifier)
    .into())
}

/// Whether an open control database is where it was written.
///
/// # Errors
/// It does not answer.
pub(crate) async fn is_here(control: &Control) -> Result<bool, ControlError> {
    Ok(recorded(&mut *control.connection().await?).await? == control.identity())
}

/// Makes a control database that of this cluster: it forgets every oid and transaction of the place where it was written.
/// The databases, by name and operation, that are not looked after any more.
///
/// # Errors
/// A daemon runs on it; it does not answer.
pub(crate) async fn adopt(control: &Control) -> Result<Vec<(String, String)>, ControlError> {
    let mut connection = control.connection().await?;
    let mut within = connection.begin().await?;
    nobody_runs(&mut within).await?;
    let forgotten: Vec<(String, String)> = sqlx::query_as(
        "WITH databases AS (
            DELETE FROM resetd.kept_database WHERE state <> 'given_up' RETURNING name, operation),
         schemas AS (
            DELETE FROM resetd.kept_schemas WHERE state <> 'given_up' RETURNING 'schemas in ' || database AS name, operation)
         SELECT name, operation::pg_catalog.text FROM databases UNION ALL SELECT name, operation::pg_catalog.text FROM schemas",
    )
    .fetch_all(&mut *within)
    .await?;
    // No transaction has the number 0: what became of one that was under way is not known here.
    sqlx::raw_sql(
        "DELETE FROM resetd.kept_database;
         DELETE FROM resetd.kept_schemas;
         DELETE FROM resetd.baseline;
         UPDATE resetd.target SET database_oid = 0;
         UPDATE resetd.operation
            SET build_database = NULL, build_oid = NULL, lock_pid = NULL, work_pid = NULL, waiter_pid = NULL,
                work_xid = CASE WHEN work_xid IS NOT NULL THEN '0'::pg_catalog.xid8 END
          WHERE state <> 'finished' OR build_database IS NOT NULL",
    )
    .execute(&mut *within)
    .await?;
    sqlx::query("UPDATE resetd.identity SET system_identifier = $1, database_oid = $2::pg_catalog.oid")
        .bind(&control.system_identifier)
        .bind(i64::from(control.database_oid))
        .execute(&mut *within)
        .await?;
    within.commit().await?;
    Ok(forgotten)
}

/// Takes the key that every daemon of this control database shares, to the end of the transaction.
async fn nobody_runs(within: &mut PgConnection) -> Result<(), ControlError> {
    let alone: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_xact_lock($1)")
        .bind(LockKey::control_database().0)
        .fetch_one(within)
        .await?;
    match alone {
        true => Ok(()),
        false => Err(Fault::new(Reason::ControlForeign, "a daemon runs on this control database")
            .hint("stop it, then adopt the control database")
            .into()),
    }
}
