//! The control databases of the cluster: each says by a comment that it is one, and its living daemons by shared keys that
//! they run and which databases they serve. Those that serve one database should share theirs.

use model::lock::LockKey;
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};

use super::keys;
use crate::postgres::sql::{
    error::{ControlError, message},
    ident::{Ident, Literal},
};

const MARKER: &str = "resetd: control database";

/// A control database of the cluster.
#[derive(Clone, Debug, Eq, PartialEq, sqlx::FromRow)]
pub(crate) struct ControlDatabase {
    pub(crate) name: String,
    /// It is one's own.
    pub(crate) own: bool,
    /// A daemon runs on it.
    pub(crate) runs: bool,
    /// Those of the databases asked for that its daemons serve.
    pub(crate) serves: Vec<String>,
}

/// Lets a control database say that it is one, where it has no comment. Who may not comment it goes on without: its
/// daemons' keys say it while they run.
pub(in crate::postgres) async fn mark(connection: &mut PgConnection, name: &str) -> Result<(), ControlError> {
    let bare: bool = sqlx::query_scalar(
        "SELECT pg_catalog.shobj_description(d.oid, 'pg_database') IS NULL
           FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
    )
    .fetch_one(&mut *connection)
    .await?;
    let comment = format!("COMMENT ON DATABASE {} IS {}", Ident(name), Literal(MARKER));
    if bare && let Err(error) = sqlx::raw_sql(AssertSqlSafe(comment)).execute(connection).await {
        tracing::debug!(error = %message(&error), "the control database is not commented");
    }
    Ok(())
}

/// Tells the cluster, for as long as the session lasts, that a daemon runs here, and what it serves.
///
/// # Errors
/// Somebody adopts the control database, or holds its key; it does not answer.
pub(super) async fn enter(connection: &mut PgConnection, databases: &[String]) -> Result<(), ControlError> {
    let served: Vec<i64> = databases.iter().map(|name| LockKey::serves(name).0).collect();
    let runs: bool = sqlx::query_scalar(
        "SELECT pg_catalog.pg_try_advisory_lock_shared($1) FROM (
            SELECT pg_catalog.count(pg_catalog.pg_try_advisory_lock_shared(k)) FROM pg_catalog.unnest($2::pg_catalog.int8[]) k) told",
    )
    .bind(LockKey::control_database().0)
    .bind(served)
    .fetch_one(&mut *connection)
    .await?;
    match (runs, keys::holder(&mut *connection, LockKey::control_database()).await?) {
        (true, _) | (false, None) => Ok(()),
        (false, Some(holder)) => Err(holder.refusal("the key of the control database").into()),
    }
}

/// The control databases of the cluster, by name.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn all(
    executor: impl PgExecutor<'_>,
    own: u32,
    databases: &[String],
) -> Result<Vec<ControlDatabase>, ControlError> {
    let (high, low) = LockKey::control_database().halves();
    let keys: Vec<(i64, i64)> = databases.iter().map(|name| LockKey::serves(name).halves()).collect();
    Ok(sqlx::query_as(
        "WITH held AS MATERIALIZED (
            SELECT l.database, l.classid::pg_catalog.int8 AS high, l.objid::pg_catalog.int8 AS low
              FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted),
         known AS (
            SELECT d.oid, d.datname, EXISTS (
                       SELECT FROM held h WHERE h.database = d.oid AND h.high = $2 AND h.low = $3) AS runs
              FROM pg_catalog.pg_database d)
         SELECT k.datname::pg_catalog.text AS name, k.oid::pg_catalog.int8 = $1 AS own, k.runs,
                ARRAY(SELECT DISTINCT s.name FROM unnest($4::pg_catalog.text[], $5::pg_catalog.int8[],
                                                         $6::pg_catalog.int8[]) AS s (name, high, low)
                        JOIN held h ON h.database = k.oid AND h.high = s.high AND h.low = s.low ORDER BY s.name) AS serves
           FROM known k
          WHERE k.runs OR k.oid::pg_catalog.int8 = $1 OR pg_catalog.starts_with(
                    coalesce(pg_catalog.shobj_description(k.oid, 'pg_database'), ''), $7)
          ORDER BY k.datname",
    )
    .bind(i64::from(own))
    .bind(high)
    .bind(low)
    .bind(databases)
    .bind(keys.iter().map(|key| key.0).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.1).collect::<Vec<_>>())
    .bind(MARKER)
    .fetch_all(executor)
    .await?)
}

impl ControlDatabase {
    /// That it serves one of the databases asked for, as one's own does; in words.
    pub(crate) fn shared(&self) -> Option<String> {
        (!self.own && !self.serves.is_empty()).then(|| {
            format!(
                "{} is served under another control database as well, {}: neither sees the other's operations and windows",
                self.serves.join(", "),
                self.name
            )
        })
    }
}
