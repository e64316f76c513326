//! Transactions that a tool prepared for a two-phase commit and left: they hold locks for ever, and keep the database that is
//! built and the tool's role from being dropped.

use model::fault::{Fault, Reason};
use sqlx::{Connection as _, postgres::PgConnectOptions};

use super::role::run;
use crate::postgres::{
    session::connect,
    sql::{
        error::{message, work_fault},
        ident::{Ident, Literal},
    },
};

/// Rolls back what is left prepared in the database of `options`, as whoever prepared it.
///
/// # Errors
/// `TOOL_FAILED`, with the names of those that were rolled back; what PostgreSQL said.
pub(crate) async fn roll_back(options: &PgConnectOptions) -> Result<(), Fault> {
    const DOING: &str = "rolling back what the migration tool left prepared";
    let mut connection = connect::open(&connect::options(options, "resetd gateway", &[])).await?;
    let left: Vec<(String, String)> = sqlx::query_as(
        "SELECT x.gid, x.owner::pg_catalog.text FROM pg_catalog.pg_prepared_xacts x
          WHERE x.database = pg_catalog.current_database() ORDER BY x.prepared",
    )
    .fetch_all(&mut connection)
    .await
    .map_err(|e| work_fault(DOING, &e))?;
    for (gid, owner) in &left {
        run(&mut connection, DOING, &format!("SET ROLE {}", Ident(owner))).await?;
        run(&mut connection, DOING, &format!("ROLLBACK PREPARED {}", Literal(gid))).await?;
    }
    if let Err(error) = connection.close().await {
        tracing::debug!(error = %message(&error), "closing the session that rolled back");
    }
    let names: Vec<String> = left.into_iter().map(|(gid, _)| gid).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Fault::new(
        Reason::ToolFailed,
        format!("the migration tool left transactions prepared: {}; they were rolled back", names.join(", ")),
    )
    .hint("let the tool commit what it prepares; nothing was swapped"))
}
