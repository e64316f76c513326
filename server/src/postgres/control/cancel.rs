//! Ends that somebody asked for: a cancel, which is a wish, and a broken lock, which is none.

use model::{
    event::EventKind,
    fault::{Fault, Reason},
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::journal::{self, Owner};
use crate::postgres::sql::error::{ControlError, condition::Condition};

/// Asks for a cancel: `Some(true)` the first time, `Some(false)` when it was accepted before, whatever came of it since,
/// `None` when it is too late.
pub(crate) async fn request_cancel(
    pool: &PgPool,
    id: Uuid,
    event: EventKind,
) -> Result<Option<bool>, ControlError> {
    // Dropped half-way, it is rolled back: nothing stays open on a shared session.
    let mut transaction = pool.begin().await?;
    // Whoever has the row prepares its end or stands still: it is not waited for.
    wait_at_most(&mut transaction, "3s").await?;
    let asked = request_cancel_within(&mut transaction, id, event).await;
    let asked = asked.map_err(|fault| match fault.condition() {
        Some(Condition::LockNotAvailable) => Fault::new(
            Reason::NotCancellable,
            format!("operation {id} writes its end now, or its daemon stands still"),
        )
        .hint("ask again in a moment; an admin breaks its lock: `resetctl target unlock`")
        .with("operation", id),
        _ => fault.into(),
    })?;
    transaction.commit().await?;
    Ok(asked)
}

pub(in crate::postgres) async fn wait_at_most(
    connection: &mut PgConnection,
    limit: &'static str,
) -> Result<(), ControlError> {
    sqlx::query("SELECT pg_catalog.set_config('lock_timeout', $1, true)")
        .bind(limit)
        .execute(connection)
        .await?;
    Ok(())
}

async fn request_cancel_within(
    connection: &mut PgConnection,
    id: Uuid,
    event: EventKind,
) -> Result<Option<bool>, ControlError> {
    let row: Option<(Uuid, bool)> = sqlx::query_as(
        "SELECT instance, cancel_requested_at IS NULL FROM resetd.operation
          WHERE id = $1 AND (state IN ('waiting', 'running') OR cancel_requested_at IS NOT NULL) FOR UPDATE",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((instance, first)) = row else { return Ok(None) };
    if first {
        sqlx::query("UPDATE resetd.operation SET cancel_requested_at = clock_timestamp() WHERE id = $1")
            .bind(id)
            .execute(&mut *connection)
            .await?;
        journal::append(connection, Owner { operation: id, instance }, event).await?;
    }
    Ok(Some(first))
}

/// The end that somebody asked for.
pub(crate) enum Asked {
    /// A cancel.
    Cancel,
    /// The lock is broken: by whom, and why.
    Break(Fault),
}

/// The end that somebody asked for, of an operation that has not ended.
pub(crate) async fn asked(pool: &PgPool, id: Uuid) -> Result<Option<Asked>, ControlError> {
    let row: Option<(bool, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT cancel_requested_at IS NOT NULL, forced_by, forced_reason FROM resetd.operation
          WHERE id = $1 AND state <> 'finished'",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    Ok(match row {
        Some((_, Some(by), reason)) => Some(Asked::Break(broken(&by, &reason.unwrap_or_default()))),
        Some((true, None, _)) => Some(Asked::Cancel),
        _ => None,
    })
}

fn broken(by: &str, reason: &str) -> Fault {
    Fault::new(
        Reason::ForcedUnlock,
        format!("{by} broke the lock: {reason}; what was not committed yet was rolled back"),
    )
    .hint(format!("talk to {by} before you run it again"))
    .with("by", by)
    .with("why", reason)
}
