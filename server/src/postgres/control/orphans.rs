//! Operations that have not ended, and making one's own those that nobody runs any more.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::journal::Owner;
use crate::postgres::sql::error::ControlError;

/// An operation that has not ended.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Orphan {
    #[sqlx(flatten)]
    pub(crate) owner: Owner,
    pub(crate) target: String,
    pub(crate) database: String,
    pub(crate) reads_only: bool,
    pub(crate) waiting: bool,
    /// The session that waits for it has entered the queue, and with it holds the operation's own key.
    pub(crate) entered: bool,
    /// How long ago it was recorded, in seconds.
    pub(crate) age_seconds: f64,
    /// How long ago its lock was broken, in seconds.
    pub(crate) broken_seconds: Option<f64>,
}

/// Operations that have not ended. Whether their daemons live is another question.
pub(crate) async fn unfinished(pool: &PgPool) -> Result<Vec<Orphan>, ControlError> {
    Ok(sqlx::query_as(
        "SELECT id AS operation, instance, target, database, reads_only, state = 'waiting' AS waiting,
                waiter_pid IS NOT NULL AS entered,
                extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds,
                extract(epoch FROM clock_timestamp() - forced_at)::float8 AS broken_seconds
           FROM resetd.operation WHERE state <> 'finished' ORDER BY id",
    )
    .fetch_all(pool)
    .await?)
}

/// Makes an orphan this daemon's own, so that only this daemon can end it, and gives the transaction that it was about
/// to commit, as it is then. Without the target's lock only what changes nothing can be adopted. `None`: it cannot.
pub(crate) async fn adopt(
    connection: &mut PgConnection,
    owner: Owner,
    instance: Uuid,
    locked: bool,
) -> Result<Option<Option<String>>, ControlError> {
    Ok(sqlx::query_scalar(
        "UPDATE resetd.operation SET instance = $3
          WHERE id = $1 AND instance = $2 AND state <> 'finished' AND ($4 OR state = 'waiting' OR reads_only)
         RETURNING work_xid::text",
    )
    .bind(owner.operation)
    .bind(owner.instance)
    .bind(instance)
    .bind(locked)
    .fetch_optional(connection)
    .await?)
}
