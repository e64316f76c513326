//! Windows in the control database: reserved, extended, released and listed. Overlap is refused by the database itself.
//!
//! In here a window's target is the database's name; what the target is called is the engine's business.

use jiff::Timestamp;
use model::{
    fault::{Fault, Reason},
    window::{self, Change, FORCE_HINT, Reservation, Window},
};
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::window_guard::changes;
use crate::postgres::sql::{
    error::{ControlError, condition::Condition, control_fault},
    timestamp::{self, Timestamptz, ToSqlx as _},
};

mod within;

pub(crate) use within::Ask;
use within::{another_request, begin, end, repeated, target_id};

const COLUMNS: &str = "w.id, t.database, w.principal, w.reason, w.etag, lower(w.period) AS starts_at,
    upper(w.period) AS ends_at, w.released_at FROM resetd.reset_window w JOIN resetd.target t ON t.id = w.target_id";

/// What releases a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release<'a> {
    pub(crate) reason: &'a str,
    /// Somebody else's may be released, whatever runs in it.
    pub(crate) force: bool,
}

/// Reserves.
///
/// # Errors
/// `TARGET_NOT_ENROLLED`, `WINDOW_CONFLICT`, `REQUEST_ID_CONFLICT`, or what is wrong with the reservation.
pub(crate) async fn reserve(
    pool: &PgPool,
    ask: &Ask<'_>,
    asked: &Reservation,
) -> Result<Window, ControlError> {
    let mut within = begin(pool, ask).await?;
    if let Some(window) = repeated(&mut within, ask).await? {
        return Ok(window);
    }
    let target = target_id(&mut within, ask).await?;
    let now = timestamp::now(&mut *within).await?;
    let (from, to) = ask.rules.place(asked, now)?;
    ask.rules.bounded(&own(&mut within, ask).await?, (from, to), now)?;
    ask.rules.beside(&changes(&mut within, ask.database).await?, ask.principal, from, now)?;
    let id = Uuid::now_v7();
    let inserted = sqlx::query(
        "INSERT INTO resetd.reset_window (id, request_id, target_id, principal, reason, period)
         VALUES ($1, $2, $3, $4, $5, tstzrange($6, $7, '[)'))",
    )
    .bind(id)
    .bind(ask.request_id)
    .bind(target)
    .bind(ask.principal)
    .bind(asked.reason.trim())
    .bind(from.to_sqlx())
    .bind(to.to_sqlx())
    .execute(&mut *within)
    .await;
    if let Err(error) = inserted {
        drop(within);
        return Err(refused(pool, ask, error, (from, to), id).await.into());
    }
    end(within, ask, id).await
}

/// Moves a window's end.
///
/// # Errors
/// `WINDOW_NOT_FOUND`, `PERMISSION_DENIED`, `WINDOW_CONFLICT`, `REQUEST_ID_CONFLICT`, or what is wrong with the end.
pub(crate) async fn extend(
    pool: &PgPool,
    ask: &Ask<'_>,
    id: Uuid,
    ends_at: Timestamp,
    etag: Option<Uuid>,
) -> Result<Window, ControlError> {
    let mut within = begin(pool, ask).await?;
    if let Some(window) = repeated(&mut within, ask).await? {
        return Ok(window);
    }
    let window = present(&mut within, ask, id, etag).await?;
    if window.principal != ask.principal {
        return Err(not_ones_own(&window).into());
    }
    let now = timestamp::now(&mut *within).await?;
    ask.rules.extend(&window, ends_at, now)?;
    if ends_at < window.ends_at {
        refuse_under_a_change(&mut within, ask, &window).await?;
    } else {
        let mut others = own(&mut within, ask).await?;
        others.retain(|other| other.id != id);
        ask.rules.bounded(&others, (window.starts_at, ends_at), now)?;
    }
    let moved = sqlx::query(
        "UPDATE resetd.reset_window SET etag = gen_random_uuid(), period = tstzrange(lower(period), $2, '[)') WHERE id = $1",
    )
    .bind(id)
    .bind(ends_at.to_sqlx())
    .execute(&mut *within)
    .await;
    if let Err(error) = moved {
        drop(within);
        return Err(refused(pool, ask, error, (window.ends_at, ends_at), id).await.into());
    }
    end(within, ask, id).await
}

/// Ends a window now, and gives the changes of its holder that a forced release takes the ground from.
///
/// # Errors
/// `WINDOW_NOT_FOUND`, `PERMISSION_DENIED`, `TARGET_LOCKED` while a change of one's own runs, `REQUEST_ID_CONFLICT`.
pub(crate) async fn release(
    pool: &PgPool,
    ask: &Ask<'_>,
    id: Uuid,
    how: Release<'_>,
    etag: Option<Uuid>,
) -> Result<(Window, Vec<Change>), ControlError> {
    let mut within = begin(pool, ask).await?;
    if let Some(window) = repeated(&mut within, ask).await? {
        let left = if how.force { left_over(&mut within, ask, &window).await? } else { Vec::new() };
        return Ok((window, left));
    }
    let window = present(&mut within, ask, id, etag).await?;
    let own = window.principal == ask.principal;
    if !own && !how.force {
        return Err(not_ones_own(&window).into());
    }
    let now = timestamp::now(&mut *within).await?;
    let mut broken = Vec::new();
    if window.is_active(now) && how.force {
        broken = changes_of(&mut within, ask, &window).await?;
    } else if how.force {
        broken = left_over(&mut within, ask, &window).await?;
    }
    if !window.is_past(now) {
        // Also of one that is still to come: the right of a change counts windows that follow on each other as one.
        if !how.force {
            refuse_under_a_change(&mut within, ask, &window).await?;
        }
        sqlx::query(
            "UPDATE resetd.reset_window SET released_at = clock_timestamp(), released_by = $2, released_reason = $3,
                    etag = gen_random_uuid() WHERE id = $1",
        )
        .bind(id)
        .bind(ask.principal)
        .bind(how.reason)
        .execute(&mut *within)
        .await?;
    }
    Ok((end(within, ask, id).await?, broken))
}

/// One window.
///
/// # Errors
/// `WINDOW_NOT_FOUND`; the control database does not answer.
pub(crate) async fn get(pool: &PgPool, id: Uuid) -> Result<Window, ControlError> {
    let mut connection = pool.acquire().await?;
    read(&mut connection, id, "").await
}

/// Which windows are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) databases: Vec<String>,
    /// Ended and released ones too.
    pub(crate) past: bool,
    /// After this one: start, and id.
    pub(crate) after: Option<(Timestamp, Uuid)>,
    pub(crate) most: i64,
}

/// Windows by start.
pub(crate) async fn list(pool: &PgPool, wanted: &Wanted) -> Result<Vec<Window>, ControlError> {
    let sql = format!(
        "SELECT {COLUMNS}
          WHERE t.database = ANY ($1) AND ($2 OR (w.released_at IS NULL AND upper(w.period) > clock_timestamp()))
            AND ($3::timestamptz IS NULL OR (lower(w.period), w.id) > ($3, $4::uuid))
          ORDER BY lower(w.period), w.id LIMIT $5"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&wanted.databases)
        .bind(wanted.past)
        .bind(wanted.after.map(|(at, _)| at.to_sqlx()))
        .bind(wanted.after.map(|(_, id)| id))
        .bind(wanted.most)
        .fetch_all(pool)
        .await?;
    rows.iter().map(|row| decode(row).map_err(ControlError::from)).collect()
}

/// Forgets windows that ended longer ago than operations are kept.
pub(crate) async fn forget_old(
    pool: &PgPool,
    database: &str,
    keep: std::time::Duration,
) -> Result<(), ControlError> {
    sqlx::query(
        "DELETE FROM resetd.reset_window w USING resetd.target t
          WHERE t.id = w.target_id AND t.database = $1
            AND coalesce(w.released_at, upper(w.period)) < clock_timestamp() - make_interval(secs => $2)",
    )
    .bind(database)
    .bind(keep.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}

/// The windows of who asks, on the target, that are not past. Nobody adds one meanwhile: this has the target's queue lock.
async fn own(within: &mut PgConnection, ask: &Ask<'_>) -> Result<Vec<Window>, Fault> {
    let sql = format!(
        "SELECT {COLUMNS} WHERE t.database = $1 AND w.principal = $2 AND w.released_at IS NULL
            AND upper(w.period) > clock_timestamp()"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(ask.database)
        .bind(ask.principal)
        .fetch_all(within)
        .await
        .map_err(control_fault)?;
    rows.iter().map(|row| decode(row).map_err(control_fault)).collect()
}

/// The window as it is now, nobody else's to change until the transaction ends.
async fn present(
    within: &mut PgConnection,
    ask: &Ask<'_>,
    id: Uuid,
    etag: Option<Uuid>,
) -> Result<Window, ControlError> {
    let window = read(within, id, "FOR UPDATE OF w").await?;
    if etag.is_none_or(|etag| etag == window.etag) {
        return Ok(window);
    }
    Err(Fault::new(Reason::WindowConflict, format!("window {id} was changed by another request meanwhile"))
        .hint(format!("look at it, then decide: resetctl window show {id}"))
        .with("target", &ask.rules.target)
        .with("window", id)
        .into())
}

fn not_ones_own(window: &Window) -> Fault {
    Fault::new(Reason::PermissionDenied, format!("window {} belongs to {}", window.id, window.principal))
        .hint(FORCE_HINT)
        .with("window", window.id)
        .with("holder", &window.principal)
}

async fn changes_of(
    within: &mut PgConnection,
    ask: &Ask<'_>,
    window: &Window,
) -> Result<Vec<Change>, ControlError> {
    let all = changes(within, ask.database).await?;
    Ok(all.into_iter().filter(|c| c.principal == window.principal).collect())
}

/// The changes that ran when a window was released and still do: who released it by force did not come to end them.
async fn left_over(
    within: &mut PgConnection,
    ask: &Ask<'_>,
    window: &Window,
) -> Result<Vec<Change>, ControlError> {
    let running = changes_of(within, ask, window).await?;
    let ids: Vec<Uuid> = running.iter().map(|c| c.operation).collect();
    let left: Vec<Uuid> = sqlx::query_scalar(
        "SELECT o.id FROM resetd.operation o JOIN resetd.reset_window w ON w.id = $2
          WHERE o.id = ANY ($1) AND o.started_at <= w.released_at
            AND w.released_by <> w.principal AND w.period @> w.released_at",
    )
    .bind(&ids)
    .bind(window.id)
    .fetch_all(within)
    .await?;
    Ok(running.into_iter().filter(|c| left.contains(&c.operation)).collect())
}

/// The ground is not taken from under a change of one's own.
async fn refuse_under_a_change(
    within: &mut PgConnection,
    ask: &Ask<'_>,
    window: &Window,
) -> Result<(), ControlError> {
    let Some(change) = changes_of(within, ask, window).await?.into_iter().next() else { return Ok(()) };
    let id = change.operation;
    Err(Fault::new(
        Reason::TargetLocked,
        format!("a {} of your own runs (operation {id}): window {} stays", change.verb.as_str(), window.id),
    )
    .hint(format!("wait for its end, or cancel it: resetctl operations cancel {id}"))
    .with("target", &ask.rules.target)
    .with("holder_operation", id)
    .into())
}

/// What a failed write means: the constraint's answer names every window in the way.
async fn refused(
    pool: &PgPool,
    ask: &Ask<'_>,
    error: sqlx::Error,
    (from, to): (Timestamp, Timestamp),
    own: Uuid,
) -> Fault {
    match Condition::of_error(&error) {
        Some(Condition::ExclusionViolation) => {}
        Some(Condition::UniqueViolation) => return another_request(ask),
        _ => return control_fault(error),
    }
    let sql = format!(
        "SELECT {COLUMNS} WHERE t.database = $1 AND w.released_at IS NULL AND w.id <> $4
            AND w.period && tstzrange($2, $3, '[)') ORDER BY lower(w.period)"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(ask.database)
        .bind(from.to_sqlx())
        .bind(to.to_sqlx())
        .bind(own)
        .fetch_all(pool)
        .await;
    let windows = rows.and_then(|rows| rows.iter().map(decode).collect::<sqlx::Result<Vec<Window>>>());
    match windows {
        Ok(windows) => window::overlaps(ask.rules, &windows),
        Err(error) => control_fault(error),
    }
}

async fn read(within: &mut PgConnection, id: Uuid, lock: &str) -> Result<Window, ControlError> {
    let sql = format!("SELECT {COLUMNS} WHERE w.id = $1 {lock}");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(within).await?;
    let row = row.ok_or_else(|| {
        Fault::new(Reason::WindowNotFound, format!("there is no window {id}"))
            .hint("`resetctl window list --all` shows them")
            .with("window", id)
    })?;
    decode(&row).map_err(ControlError::from)
}

fn decode(row: &PgRow) -> sqlx::Result<Window> {
    let at = |name: &'static str| row.try_get::<Timestamptz, _>(name).map(Timestamptz::to_jiff);
    Ok(Window {
        id: row.try_get("id")?,
        target: row.try_get("database")?,
        principal: row.try_get("principal")?,
        reason: row.try_get("reason")?,
        etag: row.try_get("etag")?,
        starts_at: at("starts_at")?,
        ends_at: at("ends_at")?,
        released_at: row.try_get::<Option<Timestamptz>, _>("released_at")?.map(Timestamptz::to_jiff),
    })
}
