//! Who is connected to a database, and ending them all at once while the lock connection renames it away.

use model::{plan::PlannedSession, profile::SessionRule};
use sqlx::PgPool;

use crate::postgres::sql::error::ControlError;

#[derive(sqlx::FromRow)]
struct SessionRow {
    pid: i32,
    user: String,
    application_name: String,
    address: String,
    state: String,
    query_age_seconds: Option<i64>,
    in_transaction: bool,
    is_client: bool,
}

/// Who is connected to a database now, the operation's own sessions (known by what they call themselves) left out. State and
/// kind of other roles' sessions are hidden from a role that is neither superuser nor in pg_read_all_stats.
pub(crate) async fn of(
    pool: &PgPool,
    oid: u32,
    rule: SessionRule,
    own: &str,
) -> Result<Vec<PlannedSession>, ControlError> {
    let rows: Vec<SessionRow> = sqlx::query_as(
        "SELECT pid, coalesce(usename::text, '') AS user, coalesce(application_name, '') AS application_name,
                coalesce(client_addr::text, '') AS address,
                CASE WHEN coalesce(backend_type, 'client backend') = 'client backend' THEN coalesce(state, 'unknown')
                     ELSE backend_type END AS state,
                floor(extract(epoch FROM clock_timestamp() - query_start))::int8 AS query_age_seconds,
                xact_start IS NOT NULL AS in_transaction,
                coalesce(backend_type, 'client backend') = 'client backend' AS is_client
           FROM pg_stat_activity WHERE datid = $1::oid AND pid <> pg_backend_pid()
            AND coalesce(backend_type, '') NOT IN ('autovacuum worker', 'parallel worker')
            AND (usesysid IS NOT NULL OR backend_type IS NOT NULL) AND application_name IS DISTINCT FROM $2
          ORDER BY backend_start, pid",
    )
    .bind(i64::from(oid))
    .bind(own)
    .fetch_all(pool)
    .await?;
    let planned = |row: SessionRow| PlannedSession {
        would_end: may_end(rule, &row.state, row.is_client),
        pid: row.pid,
        user: row.user,
        application_name: row.application_name,
        address: row.address,
        state: row.state,
        query_age_seconds: row.query_age_seconds.unwrap_or(-1),
        in_transaction: row.in_transaction,
    };
    Ok(rows.into_iter().map(planned).collect())
}

fn may_end(rule: SessionRule, state: &str, client: bool) -> bool {
    match rule {
        SessionRule::Terminate => true,
        SessionRule::IdleOnly => client && state == "idle",
        SessionRule::Refuse => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idle_clients_are_ended_by_idle_only() {
        for (rule, state, client, ends) in [
            (SessionRule::Terminate, "active", true, true),
            (SessionRule::Terminate, "logical replication worker", false, true),
            (SessionRule::IdleOnly, "idle", true, true),
            (SessionRule::IdleOnly, "idle in transaction", true, false),
            (SessionRule::IdleOnly, "active", true, false),
            (SessionRule::IdleOnly, "idle", false, false),
            (SessionRule::Refuse, "idle", true, false),
        ] {
            assert_eq!(may_end(rule, state, client), ends, "{rule} {state}");
        }
    }
}
