//! Points in time: the driver's `timestamptz`, as jiff reads it.

use jiff::Timestamp;
pub(crate) use jiff_sqlx::{Timestamp as Timestamptz, ToSqlx};
use sqlx::PgExecutor;

/// The clock of the database that a session is connected to.
pub(crate) async fn now(executor: impl PgExecutor<'_>) -> sqlx::Result<Timestamp> {
    let now: Timestamptz = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(executor).await?;
    Ok(now.to_jiff())
}
