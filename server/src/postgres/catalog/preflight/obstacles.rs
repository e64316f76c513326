//! What other sessions, subscriptions and the server itself put in the way.

use model::{fault::Fault, finding::Finding};
use sqlx::PgConnection;

use crate::postgres::sql::{
    error::work_fault,
    ident::{Ident, Literal},
};

/// Since then a database has a collation version of its own.
const DATABASE_COLLATION: i32 = 150_000;

/// Prepared transactions that hold locks inside the schemas block a drop for as long as they live.
pub(super) async fn prepared_transactions(
    connection: &mut PgConnection,
    reset: &[String],
) -> Result<Vec<Finding>, Fault> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT x.gid, x.owner::text, x.prepared::text FROM pg_catalog.pg_prepared_xacts x
          WHERE x.database = current_database() AND EXISTS (
            SELECT FROM pg_catalog.pg_locks t
              JOIN pg_catalog.pg_locks l USING (virtualtransaction)
              JOIN pg_catalog.pg_class c ON c.oid = l.relation
              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE t.locktype = 'transactionid' AND t.transactionid = x.transaction AND t.pid IS NULL
               AND l.locktype = 'relation' AND l.pid IS NULL AND n.nspname = ANY($1)
               AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()))
          ORDER BY x.prepared",
    )
    .bind(reset)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at prepared transactions", &e))?;
    Ok(rows
        .into_iter()
        .map(|(gid, owner, since)| {
            Finding::error(
                "PREPARED_TRANSACTION",
                format!("prepared transaction {gid}"),
                format!("of {owner}, prepared at {since}, holds locks in a managed schema"),
                format!("COMMIT PREPARED or ROLLBACK PREPARED {}", Literal(&gid)),
            )
        })
        .collect())
}

/// A session that holds locks.
#[derive(sqlx::FromRow)]
struct HolderRow {
    pid: i32,
    role: String,
    application: String,
    state: String,
    /// For how long its transaction has been open.
    since: String,
    relations: String,
    may_end: bool,
}

/// Sessions whose transactions hold locks inside the schemas now: the drop waits for them.
pub(super) async fn in_the_way(
    connection: &mut PgConnection,
    reset: &[String],
) -> Result<Vec<Finding>, Fault> {
    let rows: Vec<HolderRow> = sqlx::query_as(
        "SELECT a.pid, coalesce(a.usename::text, '') AS role, coalesce(a.application_name, '') AS application,
                coalesce(a.state, 'unknown') AS state,
                coalesce(pg_catalog.date_trunc('second', clock_timestamp() - a.xact_start)::text, 'an unknown time') AS since,
                string_agg(DISTINCT format('%I.%I', n.nspname, c.relname), ', ') AS relations,
                r.rolsuper OR (NOT coalesce(o.rolsuper, false) AND (pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')
                    OR coalesce(pg_catalog.pg_has_role(a.usesysid, 'USAGE'), false))) AS may_end
           FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
           JOIN pg_catalog.pg_roles r ON r.rolname = current_user
           LEFT JOIN pg_catalog.pg_roles o ON o.oid = a.usesysid
          WHERE l.locktype = 'relation' AND l.granted AND n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'm', 'v', 'S')
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
            AND a.pid <> pg_backend_pid() AND coalesce(a.backend_type, '') <> 'autovacuum worker'
          GROUP BY a.pid, a.usename, a.application_name, a.state, a.xact_start, r.rolsuper, o.rolsuper, a.usesysid
          ORDER BY a.xact_start",
    )
    .bind(reset)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at transactions in the way", &e))?;
    let mut findings = Vec::new();
    for HolderRow { pid, role, application, state, since, relations, may_end } in rows {
        let object = format!("session {pid} of {role} ({application})");
        findings.push(Finding::warning(
            "TRANSACTION_IN_THE_WAY",
            &object,
            format!("is {state}; its transaction, open for {since}, holds locks on {relations}"),
            format!("it is waited for, at most `lock_wait_limit`; or: SELECT pg_terminate_backend({pid});"),
        ));
        if !may_end {
            findings.push(Finding::warning(
                "TERMINATION_DENIED",
                object,
                "the daemon's role may not end this session",
                "GRANT pg_signal_backend to the daemon's role; only a superuser ends a superuser's session",
            ));
        }
    }
    Ok(findings)
}

/// Subscriptions that write into tables that go.
pub(super) async fn subscriptions(
    connection: &mut PgConnection,
    reset: &[String],
) -> Result<Vec<Finding>, Fault> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT s.subname::text, count(*), count(*) FILTER (WHERE r.srsubstate <> 'r')
           FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_subscription_rel r ON r.srsubid = s.oid
           JOIN pg_catalog.pg_class c ON c.oid = r.srrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY($1) GROUP BY 1 ORDER BY 1",
    )
    .bind(reset)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at subscriptions", &e))?;
    let finding = |(name, tables, syncing): (String, i64, i64)| {
        let object = format!("subscription {name}");
        match syncing {
            0 => Finding::warning(
                "SUBSCRIPTION",
                object,
                format!("writes into {tables} of the tables that go; its worker fails at the next change"),
                format!(
                    "ALTER SUBSCRIPTION {} DISABLE; before, REFRESH PUBLICATION afterwards",
                    Ident(&name)
                ),
            ),
            _ => Finding::error(
                "SUBSCRIPTION_SYNC",
                object,
                format!("is still copying {syncing} of the tables that go; PostgreSQL refuses to drop them"),
                "wait until it is in step, or drop the subscription",
            ),
        }
    };
    Ok(rows.into_iter().map(finding).collect())
}

/// Logical replication slots that somebody reads this database through.
pub(super) async fn slots(connection: &mut PgConnection, reset: &[String]) -> Result<Vec<Finding>, Fault> {
    if reset.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, Option<String>, bool)> = sqlx::query_as(
        "SELECT s.slot_name::text, s.plugin::text, s.active FROM pg_catalog.pg_replication_slots s
          WHERE s.database = current_database() ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at replication slots", &e))?;
    let finding = |(name, plugin, active): (String, Option<String>, bool)| {
        let reads = if active { "somebody reads" } else { "nobody reads now" };
        Finding::warning(
            "REPLICATION_SLOT",
            format!("replication slot {name}"),
            format!(
                "is on this database ({}, {reads}): its reader sees the new rows, never the drop",
                plugin.unwrap_or_default()
            ),
            "tell who reads it: a copy elsewhere has to be made anew",
        )
    };
    Ok(rows.into_iter().map(finding).collect())
}

/// Event triggers that fire during the change; one may raise, slow it down, or write elsewhere.
pub(super) async fn event_triggers(connection: &mut PgConnection) -> Result<Vec<Finding>, Fault> {
    // Only a superuser makes one; who owns its function can have it do anything else with the rights of whoever fires it.
    let rows: Vec<(String, String, String, String, bool)> = sqlx::query_as(
        "SELECT e.evtname::text, e.evtevent::text, e.evtfoid::regprocedure::text, o.rolname::text,
                r.rolsuper AND NOT o.rolsuper
           FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc f ON f.oid = e.evtfoid
           JOIN pg_catalog.pg_roles o ON o.oid = f.proowner JOIN pg_catalog.pg_roles r ON r.rolname = session_user
          WHERE e.evtenabled IN ('O', 'A') ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at event triggers", &e))?;
    let finding = |(name, event, function, owner, lifts): (String, String, String, String, bool)| {
        let object = format!("event trigger {name}");
        let calls = format!(
            "fires at {event} and calls {function}, which belongs to {owner}, with the daemon's rights"
        );
        match lifts {
            true => Finding::error(
                "EVENT_TRIGGER_UNSAFE",
                object,
                format!("{calls}: {owner} is no superuser, and the daemon's role is one"),
                format!(
                    "give the function to a superuser (ALTER FUNCTION {function} OWNER TO …), ALTER EVENT TRIGGER {} DISABLE, or \
                     let the daemon work as a role that is no superuser",
                    Ident(&name)
                ),
            ),
            false => Finding::warning(
                "EVENT_TRIGGER",
                object,
                format!("{calls}, for each statement of the change"),
                format!("if it is in the way: ALTER EVENT TRIGGER {} DISABLE;", Ident(&name)),
            ),
        }
    };
    Ok(rows.into_iter().map(finding).collect())
}

/// Collations whose version is not the one that indexes were built with.
pub(super) async fn collations(connection: &mut PgConnection, version: i32) -> Result<Vec<Finding>, Fault> {
    let mut sql = "SELECT format('collation %I.%I', n.nspname, c.collname), c.collversion,
                pg_catalog.pg_collation_actual_version(c.oid)
           FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
          WHERE c.collversion IS NOT NULL AND c.collversion <> pg_catalog.pg_collation_actual_version(c.oid)
            AND c.collencoding IN (-1, pg_catalog.pg_char_to_encoding(pg_catalog.getdatabaseencoding()))
            AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                         WHERE d.refclassid = 'pg_catalog.pg_collation'::regclass AND d.refobjid = c.oid)"
        .to_owned();
    if version >= DATABASE_COLLATION {
        sql.push_str(
            " UNION ALL SELECT format('database %I', d.datname), d.datcollversion,
                     pg_catalog.pg_database_collation_actual_version(d.oid)
                FROM pg_catalog.pg_database d WHERE d.datname = current_database() AND d.datcollversion IS NOT NULL
                 AND d.datcollversion <> pg_catalog.pg_database_collation_actual_version(d.oid)",
        );
    }
    let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("looking at collation versions", &e))?;
    let finding = |(object, recorded, actual): (String, String, Option<String>)| {
        Finding::warning(
            "COLLATION_CHANGED",
            object,
            format!(
                "was made with version {recorded}, the server provides {}",
                actual.as_deref().unwrap_or("none")
            ),
            "REINDEX what sorts text, then ALTER … REFRESH COLLATION VERSION",
        )
    };
    Ok(rows.into_iter().map(finding).collect())
}
