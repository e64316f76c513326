//! Points in time: the driver's `timestamptz`, and in the journal and the ledgers microseconds since 1970, exactly.

use jiff::Timestamp;
pub(crate) use jiff_sqlx::{Timestamp as Timestamptz, ToSqlx};
use sqlx::PgExecutor;

/// An SQL expression that gives a `timestamptz` as microseconds since 1970.
macro_rules! micros {
    ($expression:literal) => {
        concat!("(EXTRACT(EPOCH FROM ", $expression, ") * 1000000)::pg_catalog.int8")
    };
}
pub(crate) use micros;

/// The clock of the database that a session is connected to.
pub(crate) async fn now(executor: impl PgExecutor<'_>) -> sqlx::Result<Timestamp> {
    let now: Timestamptz = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(executor).await?;
    Ok(now.to_jiff())
}

/// The point in time of so many microseconds since 1970.
pub(crate) fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
