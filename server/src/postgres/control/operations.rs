//! Operations in the control database: recorded once per request id, found, listed, cancelled, adopted.

use model::{
    event::EventKind,
    fault::{Fault, Reason},
    operation::{End, Operation, Request, State},
};
use sqlx::{Connection as _, PgConnection, PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    journal::{self, Owner},
    queue_limits::check_room,
    ticket::Ticket,
};
use crate::postgres::{
    session::failpoint,
    sql::{
        error::{ControlError, condition::Condition},
        timestamp::Timestamptz,
    },
};

const COLUMNS: &str =
    "id, request_id, verb, target, database, scope, dry_run, principal, auth_method, labels::text AS labels, state, outcome,
     reason, summary, report_sha256, last_sequence, created_at, started_at, finished_at, coalesce(
       (SELECT k.expires_at FROM resetd.kept_database k WHERE k.operation = operation.id AND k.state IN ('kept', 'undoing')),
       (SELECT s.expires_at FROM resetd.kept_schemas s WHERE s.operation = operation.id AND s.state IN ('kept', 'undoing'))
     ) AS undoable_until";

/// What is recorded of a new operation.
#[derive(Clone, Copy)]
pub(crate) struct NewOperation<'a> {
    pub(crate) ticket: &'a Ticket,
    pub(crate) request: &'a Request,
    pub(crate) principal: &'a str,
    pub(crate) auth_method: &'a str,
    /// The backend that holds the lock already; `None` while it waits.
    pub(crate) lock_pid: Option<i32>,
}

/// Records an operation and its first event, as one. `false`: the request id is taken.
///
/// # Errors
/// `LIMIT_EXCEEDED`: too many wait; the control database does not answer.
pub(crate) async fn record(
    connection: &mut PgConnection,
    new: &NewOperation<'_>,
    events: Vec<EventKind>,
) -> Result<bool, ControlError> {
    let mut transaction = connection.begin().await?;
    if !insert(&mut transaction, new).await? {
        return Ok(false);
    }
    if new.lock_pid.is_none() {
        check_room(&mut transaction, new.principal, &new.request.target, &new.ticket.database).await?;
    }
    for event in events {
        journal::append(&mut transaction, new.ticket.owner, event).await?;
    }
    transaction.commit().await?;
    failpoint::point(new.ticket.owner.operation, "recorded").await;
    Ok(true)
}

pub(in crate::postgres) async fn insert(
    connection: &mut PgConnection,
    new: &NewOperation<'_>,
) -> Result<bool, ControlError> {
    let NewOperation { request, ticket, .. } = *new;
    // Only an active window of its principal's own lets it begin.
    let needs_window = ticket.window_guard.as_ref().is_some_and(|guard| guard.rules.required());
    let labels = serde_json::to_string(&request.labels).unwrap_or_else(|_| "{}".to_owned());
    let inserted = sqlx::query(
        "INSERT INTO resetd.operation (id, request_id, request_hash, verb, target, database, scope, dry_run, principal,
             auth_method, labels, instance, state, reads_only, lock_pid, started_at, ticket, needs_window)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::json, $12,
             CASE WHEN $14::int4 IS NULL THEN 'waiting' ELSE 'running' END, $13, $14,
             CASE WHEN $14::int4 IS NOT NULL THEN clock_timestamp() END,
             CASE WHEN $14::int4 IS NULL THEN nextval('resetd.operation_ticket') END, $15)",
    )
    .bind(ticket.owner.operation)
    .bind(request.request_id)
    .bind(request.hash())
    .bind(request.verb.as_str())
    .bind(&request.target)
    .bind(&ticket.database)
    .bind(request.scope.map(|s| s.as_str()))
    .bind(request.dry_run)
    .bind(new.principal)
    .bind(new.auth_method)
    .bind(labels)
    .bind(ticket.owner.instance)
    .bind(request.reads_only())
    .bind(new.lock_pid)
    .bind(needs_window)
    .execute(connection)
    .await;
    match inserted {
        Ok(_) => Ok(true),
        Err(error) if Condition::of_error(&error) == Some(Condition::UniqueViolation) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes that a waiting operation runs now: on the connection that holds the lock.
///
/// # Errors
/// It was cancelled or taken over meanwhile; the control database does not answer.
pub(crate) async fn start(
    connection: &mut PgConnection,
    owner: Owner,
    lock_pid: i32,
) -> Result<(), ControlError> {
    let started = sqlx::query(
        "UPDATE resetd.operation SET state = 'running', lock_pid = $3, started_at = clock_timestamp()
          WHERE id = $1 AND instance = $2 AND state = 'waiting' AND cancel_requested_at IS NULL",
    )
    .bind(owner.operation)
    .bind(owner.instance)
    .bind(lock_pid)
    .execute(connection)
    .await?;
    if started.rows_affected() == 1 {
        return Ok(());
    }
    Err(Fault::new(Reason::Cancelled, "the operation was cancelled while it waited for the target").into())
}

/// Marks, inside the swap's transaction, that the commit comes next. Who asks for a cancel now waits for its end.
///
/// # Errors
/// `CANCELLED` when a cancel came first; the operation is not this daemon's any more.
pub(crate) async fn enter_commit(connection: &mut PgConnection, owner: Owner) -> Result<(), ControlError> {
    let cancelled: Option<bool> = sqlx::query_scalar(
        "UPDATE resetd.operation SET state = 'committing' WHERE id = $1 AND instance = $2 AND state = 'running'
         RETURNING cancel_requested_at IS NOT NULL",
    )
    .bind(owner.operation)
    .bind(owner.instance)
    .fetch_optional(connection)
    .await?;
    match cancelled {
        Some(false) => Ok(()),
        Some(true) => {
            Err(Fault::new(Reason::Cancelled, "the operation was cancelled before its commit").into())
        }
        None => {
            Err(Fault::new(Reason::LockLost, "the operation has ended or belongs to another daemon now")
                .into())
        }
    }
}

/// Stores the name under which an operation builds a database, before it is made.
pub(crate) async fn set_build_database(
    connection: &mut PgConnection,
    owner: Owner,
    name: &str,
) -> Result<(), ControlError> {
    sqlx::query("UPDATE resetd.operation SET build_database = $3 WHERE id = $1 AND instance = $2")
        .bind(owner.operation)
        .bind(owner.instance)
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

/// Stores which database was made under that name.
pub(crate) async fn set_build_oid(connection: &mut PgConnection, owner: Owner) -> Result<(), ControlError> {
    let set = sqlx::query(
        "UPDATE resetd.operation o SET build_oid = d.oid FROM pg_catalog.pg_database d
          WHERE o.id = $1 AND o.instance = $2 AND d.datname = o.build_database",
    )
    .bind(owner.operation)
    .bind(owner.instance)
    .execute(connection)
    .await?;
    match set.rows_affected() {
        0 => Err(journal::stale().into()),
        _ => Ok(()),
    }
}

/// Forgets operations that ended longer ago than they are kept.
pub(crate) async fn forget_old(
    pool: &PgPool,
    target: &str,
    keep: std::time::Duration,
) -> Result<(), ControlError> {
    sqlx::query(
        "DELETE FROM resetd.operation WHERE target = $1 AND finished_at < clock_timestamp() - make_interval(secs => $2)",
    )
    .bind(target)
    .bind(keep.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}

/// Whether another operation that may change the database began after this one.
pub(crate) async fn was_changed_after(pool: &PgPool, database: &str, id: Uuid) -> Result<bool, ControlError> {
    let changed = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM resetd.operation o JOIN resetd.operation this ON this.id = $2
                         WHERE o.database = $1 AND o.id <> $2 AND NOT o.reads_only AND o.started_at > this.started_at)",
    );
    Ok(changed.bind(database).bind(id).fetch_one(pool).await?)
}

/// Stores which backend works in the target.
pub(crate) async fn set_work_pid(
    connection: &mut PgConnection,
    owner: Owner,
    pid: i32,
) -> Result<(), ControlError> {
    sqlx::query("UPDATE resetd.operation SET work_pid = $2 WHERE id = $1")
        .bind(owner.operation)
        .bind(pid)
        .execute(connection)
        .await?;
    Ok(())
}

/// The operation that a request id made, with the hash of its request.
pub(crate) async fn by_request_id(
    pool: &PgPool,
    request_id: Uuid,
) -> Result<Option<(Uuid, String, String)>, ControlError> {
    Ok(sqlx::query_as("SELECT id, request_hash, principal FROM resetd.operation WHERE request_id = $1")
        .bind(request_id)
        .fetch_optional(pool)
        .await?)
}

/// One operation.
pub(crate) async fn get(pool: &PgPool, id: Uuid) -> Result<Option<Operation>, ControlError> {
    let sql = format!("SELECT {COLUMNS} FROM resetd.operation WHERE id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(pool).await?;
    row.map(|row| decode(&row).map_err(ControlError::from)).transpose()
}

/// Which operations are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Of these targets.
    pub(crate) targets: Vec<String>,
    /// Older than this one.
    pub(crate) before: Option<Uuid>,
    /// Not ended.
    pub(crate) active_only: bool,
    /// At most so many.
    pub(crate) most: i64,
}

/// Operations, newest first.
pub(crate) async fn list(pool: &PgPool, filter: &Filter) -> Result<Vec<Operation>, ControlError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM resetd.operation
          WHERE target = ANY($1) AND ($2::uuid IS NULL OR id < $2) AND (NOT $3 OR state <> 'finished')
          ORDER BY id DESC LIMIT $4"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&filter.targets)
        .bind(filter.before)
        .bind(filter.active_only)
        .bind(filter.most)
        .fetch_all(pool)
        .await?;
    rows.iter().map(|row| decode(row).map_err(ControlError::from)).collect()
}

/// Operations that wait for a database, in the order in which they came.
pub(crate) async fn waiting(
    pool: &PgPool,
    database: &str,
    most: i64,
) -> Result<Vec<Operation>, ControlError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM resetd.operation WHERE database = $1 AND state = 'waiting' ORDER BY ticket LIMIT $2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(database).bind(most).fetch_all(pool).await?;
    rows.iter().map(|row| decode(row).map_err(ControlError::from)).collect()
}

/// The change of a database that began and has not ended.
pub(crate) async fn open_change(pool: &PgPool, database: &str) -> Result<Option<Operation>, ControlError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM resetd.operation
          WHERE database = $1 AND state IN ('running', 'committing') AND NOT reads_only ORDER BY id DESC LIMIT 1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(database).fetch_optional(pool).await?;
    row.map(|row| decode(&row).map_err(ControlError::from)).transpose()
}

/// The report of an ended operation.
pub(crate) async fn report(pool: &PgPool, id: Uuid) -> Result<Option<String>, ControlError> {
    let report: Option<Option<String>> =
        sqlx::query_scalar("SELECT report FROM resetd.operation WHERE id = $1")
            .bind(id)
            .fetch_optional(pool)
            .await?;
    Ok(report.flatten())
}

fn decode(row: &PgRow) -> sqlx::Result<Operation> {
    let text = |name: &'static str| row.try_get::<Option<String>, _>(name);
    let time = |name: &'static str| {
        row.try_get::<Option<Timestamptz>, _>(name).map(|at| at.map(Timestamptz::to_jiff))
    };
    let malformed =
        |what: &'static str| sqlx::Error::Decode(format!("operation.{what} is not of this version").into());
    let created_at = row.try_get::<Timestamptz, _>("created_at")?.to_jiff();
    let outcome = text("outcome")?;
    let end = match outcome {
        None => None,
        Some(word) => Some(End {
            outcome: model::operation::Outcome::ALL
                .into_iter()
                .find(|o| o.as_str() == word)
                .ok_or_else(|| malformed("outcome"))?,
            reason: text("reason")?.and_then(|r| r.parse().ok()),
            summary: text("summary")?.unwrap_or_default(),
            at: time("finished_at")?.unwrap_or(created_at),
            report_sha256: text("report_sha256")?.unwrap_or_default(),
        }),
    };
    let state: String = row.try_get("state")?;
    let verb: String = row.try_get("verb")?;
    let labels: String = row.try_get("labels")?;
    Ok(Operation {
        id: row.try_get("id")?,
        request_id: row.try_get("request_id")?,
        verb: verb.parse().map_err(|_| malformed("verb"))?,
        target: row.try_get("target")?,
        database: row.try_get("database")?,
        scope: text("scope")?.and_then(|s| s.parse().ok()),
        dry_run: row.try_get("dry_run")?,
        principal: row.try_get("principal")?,
        auth_method: row.try_get("auth_method")?,
        labels: serde_json::from_str(&labels).map_err(|_| malformed("labels"))?,
        state: State::ALL.into_iter().find(|s| s.as_str() == state).ok_or_else(|| malformed("state"))?,
        end,
        last_sequence: row.try_get::<i64, _>("last_sequence")?.unsigned_abs(),
        created_at,
        started_at: time("started_at")?,
        undoable_until: time("undoable_until")?,
    })
}
