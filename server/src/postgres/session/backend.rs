//! Backends by their pid, seen from another session: alive, cancelled, ended; and what became of a transaction.

use std::time::Duration;

use sqlx::PgPool;

use crate::postgres::sql::error::{ControlError, message};

/// How long a look or a cancel through the control database may take.
pub(in crate::postgres) const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// Whether the daemon's role `me` may end a session `a` of role `r`. A background worker has no role, and is a superuser's.
macro_rules! may_end {
    () => {
        "(me.rolsuper OR NOT coalesce(r.rolsuper, true)
            AND (pg_catalog.pg_has_role(a.usesysid, 'USAGE') OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')))"
    };
}
pub(in crate::postgres) use may_end;

/// Whether a backend is still there.
pub(crate) async fn lives(pool: &PgPool, pid: i32) -> Result<bool, ControlError> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = $1)")
        .bind(pid)
        .fetch_one(pool)
        .await?)
}

/// What became of a transaction, asked in the control database: ids are the cluster's.
pub(crate) async fn xact_status(pool: &PgPool, transaction: &str) -> Result<Option<String>, ControlError> {
    Ok(sqlx::query_scalar("SELECT pg_catalog.pg_xact_status($1::xid8)")
        .bind(transaction)
        .fetch_one(pool)
        .await?)
}

/// Ends a backend whose transaction must not go on. It may be gone already.
pub(crate) async fn terminate(pool: &PgPool, pid: i32) {
    let ended = sqlx::query("SELECT pg_catalog.pg_terminate_backend($1)").bind(pid).execute(pool).await;
    if let Err(error) = ended {
        tracing::warn!(pid, error = %message(&error), "a backend could not be ended");
    }
}

/// Cancels what a backend runs.
pub(in crate::postgres) async fn cancel(control: &PgPool, pid: i32) {
    let sent = sqlx::query("SELECT pg_catalog.pg_cancel_backend($1)").bind(pid).execute(control);
    if let Ok(Err(error)) = tokio::time::timeout(LOOK_LIMIT, sent).await {
        tracing::warn!(pid, error = %message(&error), "the cancel could not be sent; it is tried again");
    }
}
