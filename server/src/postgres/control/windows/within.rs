//! The transaction of a request that changes a window: in the target's queue lock, once per request id.

use model::{
    fault::{Fault, Reason},
    window::{Rules, Window},
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::read;
use crate::postgres::{
    control::{
        keys::{self, Bound},
        notify::TARGET_CHANNEL,
    },
    sql::error::{ControlError, condition::Condition},
};

/// A request that changes a window.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) request_id: Uuid,
    /// Over everything asked.
    pub(crate) hash: String,
    pub(crate) principal: &'a str,
    pub(crate) database: &'a str,
    pub(crate) rules: &'a Rules,
    /// Of the cluster.
    pub(crate) system_identifier: &'a str,
}

pub(super) type Within<'a> = sqlx::Transaction<'a, sqlx::Postgres>;

/// Begins, in the target's queue lock. A commit may have it for a moment, never for long.
pub(super) async fn begin<'a>(pool: &'a PgPool, ask: &Ask<'_>) -> Result<Within<'a>, ControlError> {
    let mut within = pool.begin().await?;
    sqlx::raw_sql("SET LOCAL lock_timeout = '5s'").execute(&mut *within).await?;
    if let Some(holder) = keys::lock_queue(&mut within, ask.database, Bound::MOMENT).await? {
        let target = &ask.rules.target;
        let what = format!("the windows of target {target} cannot be changed now: the key of its queue");
        return Err(holder.refusal(&what).with("target", target).into());
    }
    Ok(within)
}

pub(super) async fn end(mut within: Within<'_>, ask: &Ask<'_>, id: Uuid) -> Result<Window, ControlError> {
    let remembered = sqlx::query(
        "INSERT INTO resetd.window_request (request_id, request_hash, principal, window_id) VALUES ($1, $2, $3, $4)",
    )
    .bind(ask.request_id)
    .bind(&ask.hash)
    .bind(ask.principal)
    .bind(id)
    .execute(&mut *within)
    .await;
    remembered.map_err(|error| match Condition::of_error(&error) {
        Some(Condition::UniqueViolation) => another_request(ask).into(),
        _ => ControlError::from(error),
    })?;
    let window = read(&mut within, id, "").await?;
    sqlx::query("SELECT pg_catalog.pg_notify($1, $2)")
        .bind(TARGET_CHANNEL)
        .bind(ask.database)
        .execute(&mut *within)
        .await?;
    within.commit().await?;
    Ok(window)
}

/// The window of the same request that was made before.
pub(super) async fn repeated(
    within: &mut PgConnection,
    ask: &Ask<'_>,
) -> Result<Option<Window>, ControlError> {
    let known: Option<(String, String, Uuid)> = sqlx::query_as(
        "SELECT request_hash, principal, window_id FROM resetd.window_request WHERE request_id = $1",
    )
    .bind(ask.request_id)
    .fetch_optional(&mut *within)
    .await?;
    match known {
        None => Ok(None),
        Some((hash, by, window)) if hash == ask.hash && by == ask.principal => {
            read(within, window, "").await.map(Some)
        }
        Some(_) => Err(another_request(ask).into()),
    }
}

pub(super) fn another_request(ask: &Ask<'_>) -> Fault {
    Fault::new(
        Reason::RequestIdConflict,
        format!("request id {} was used before for another request", ask.request_id),
    )
    .hint("make a new UUID for each request")
    .with("request_id", ask.request_id)
}

pub(super) async fn target_id(within: &mut PgConnection, ask: &Ask<'_>) -> Result<i32, ControlError> {
    let id =
        sqlx::query_scalar("SELECT id FROM resetd.target WHERE database = $1 AND system_identifier = $2")
            .bind(ask.database)
            .bind(ask.system_identifier)
            .fetch_optional(within)
            .await?;
    let target = &ask.rules.target;
    Ok(id.ok_or_else(|| {
        Fault::new(
            Reason::TargetNotEnrolled,
            format!("target {target} (database {}) was never enrolled in this cluster", ask.database),
        )
        .hint(format!(
            "an admin enrolls it once: resetctl target enroll {target} --confirm-database {}",
            ask.database
        ))
        .with("target", target)
    })?)
}
