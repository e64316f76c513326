//! Plans as they were shown, under their digests, and how much was written when an operation ended: what later plans are
//! compared with.

use std::time::Duration;

use model::{blast::Activity, plan::Plan};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::postgres::sql::{error::ControlError, timestamp::Timestamptz};

/// Keeps a plan and what its digest is over; plans older than `keep` are forgotten.
pub(crate) async fn keep(
    connection: &mut PgConnection,
    operation: Uuid,
    plan: &Plan,
    identity: &[String],
    keep: Duration,
) -> Result<(), ControlError> {
    let body = serde_json::to_string(plan).unwrap_or_else(|_| "null".to_owned());
    sqlx::query(
        "WITH old AS (
            DELETE FROM resetd.plan WHERE shown_at < clock_timestamp() - $6 * interval '1 second' AND digest <> $1)
         INSERT INTO resetd.plan (digest, target, operation, body, identity) VALUES ($1, $2, $3, $4::json, $5)
         ON CONFLICT (digest) DO UPDATE SET operation = excluded.operation, body = excluded.body,
                                            shown_at = clock_timestamp()",
    )
    .bind(&plan.digest)
    .bind(&plan.target)
    .bind(operation)
    .bind(body)
    .bind(identity)
    .bind(keep.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(())
}

/// What a digest is over, while it is kept.
pub(crate) async fn identity(
    connection: &mut PgConnection,
    digest: &str,
) -> Result<Option<Vec<String>>, ControlError> {
    Ok(sqlx::query_scalar("SELECT identity FROM resetd.plan WHERE digest = $1")
        .bind(digest)
        .fetch_optional(connection)
        .await?)
}

#[derive(sqlx::FromRow)]
struct ActivityRow {
    since: Option<Timestamptz>,
    commits: i64,
    inserted: i64,
    updated: i64,
    deleted: i64,
}

/// How much was written to a database since its last operation ended, or since its statistics were reset.
pub(crate) async fn activity(pool: &PgPool, database: &str) -> Result<Activity, ControlError> {
    let row: Option<ActivityRow> = sqlx::query_as(
        "SELECT coalesce(b.at, s.stats_reset) AS since, s.xact_commit - coalesce(b.commits, 0) AS commits,
                s.tup_inserted - coalesce(b.inserted, 0) AS inserted,
                s.tup_updated - coalesce(b.updated, 0) AS updated, s.tup_deleted - coalesce(b.deleted, 0) AS deleted
          FROM pg_catalog.pg_stat_database s LEFT JOIN resetd.baseline b
            ON b.database = s.datname AND b.database_oid = s.datid AND b.at >= coalesce(s.stats_reset, b.at)
           AND b.commits <= s.xact_commit
         WHERE s.datname = $1",
    )
    .bind(database)
    .fetch_optional(pool)
    .await?;
    let Some(ActivityRow { since, commits, inserted, updated, deleted }) = row else {
        return Ok(Activity::default());
    };
    Ok(Activity { since: since.map(Timestamptz::to_jiff), commits, inserted, updated, deleted })
}

/// Remembers how much was written to a database so far: its operation has just ended.
pub(crate) async fn set_baseline(pool: &PgPool, database: &str) -> Result<(), ControlError> {
    sqlx::query(
        "INSERT INTO resetd.baseline (database, database_oid, commits, inserted, updated, deleted)
         SELECT datname, datid, xact_commit, tup_inserted, tup_updated, tup_deleted
           FROM pg_catalog.pg_stat_database WHERE datname = $1
         ON CONFLICT (database) DO UPDATE SET database_oid = excluded.database_oid, at = clock_timestamp(),
            commits = excluded.commits, inserted = excluded.inserted, updated = excluded.updated,
            deleted = excluded.deleted",
    )
    .bind(database)
    .execute(pool)
    .await?;
    Ok(())
}
