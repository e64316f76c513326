//! The journal: events numbered and stored before they are shown, and exactly one end.
//!
//! Every write names the daemon instance that owns the operation and is refused once the operation has ended or
//! belongs to another: a stale owner writes nothing.

use jiff::Timestamp;
use model::{
    event::{Event, EventKind, Finished},
    fault::{Fault, Reason},
    text_limit,
};
use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use super::{
    commit_deadline::CommitDeadline,
    kept_schemas::{self, Intent, Truth},
    keys::{self, Bound},
    retained,
    window_guard::WindowGuard,
};
use crate::postgres::{
    session::failpoint,
    sql::{
        error::ControlError,
        timestamp::{self, Timestamptz},
    },
};

/// The channel on which new events are announced; the payload is the operation's id.
pub(crate) const CHANNEL: &str = "resetd_event";

/// Whose operation it is.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub(crate) struct Owner {
    pub(crate) operation: Uuid,
    pub(crate) instance: Uuid,
}

/// An end, made from all events before it.
pub(crate) struct Ending {
    pub(crate) finished: Finished,
    pub(crate) report: String,
}

/// Makes an [`Ending`] of the stored events and the control database's time.
pub(crate) type MakeEnding<'a> = &'a (dyn Fn(&[Event], Timestamp) -> Ending + Send + Sync);

pub(super) fn stale() -> Fault {
    Fault::new(Reason::LockLost, "the operation has ended or belongs to another daemon now")
        .hint("look at it with `resetctl operations show`")
}

fn body(kind: &EventKind) -> Result<String, ControlError> {
    Ok(serde_json::to_string(kind)
        .and_then(text_limit::cut_json)
        .map_err(|e| Fault::new(Reason::Internal, format!("an event cannot be stored: {e}")))?)
}

/// Stores one event and gives it its number.
///
/// # Errors
/// The operation is not this daemon's any more, or the control database does not answer.
pub(crate) async fn append(
    connection: &mut PgConnection,
    owner: Owner,
    kind: EventKind,
) -> Result<Event, ControlError> {
    let (sequence, at) = append_all(connection, owner, std::slice::from_ref(&kind)).await?;
    Ok(Event { sequence, operation: owner.operation, at, kind })
}

/// Stores events in order, as one, and says the last one's number and time.
///
/// # Errors
/// As [`append`].
pub(crate) async fn append_all(
    connection: &mut PgConnection,
    owner: Owner,
    kinds: &[EventKind],
) -> Result<(u64, Timestamp), ControlError> {
    let codes: Vec<&str> = kinds.iter().map(EventKind::code).collect();
    let bodies: Vec<String> = kinds.iter().map(body).collect::<Result<_, _>>()?;
    let row: Option<(i64, Timestamptz)> = sqlx::query_as(
        "WITH op AS (
            UPDATE resetd.operation SET last_sequence = last_sequence + pg_catalog.cardinality($3::text[])
             WHERE id = $1 AND instance = $2 AND state <> 'finished' RETURNING last_sequence),
         ev AS (
            INSERT INTO resetd.event (operation, sequence, at, code, terminal, body)
            SELECT $1, last_sequence - pg_catalog.cardinality($3::text[]) + e.number, clock_timestamp(), e.code, false, e.body::json
              FROM op, ROWS FROM (pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]))
                       WITH ORDINALITY AS e(code, body, number)
             ORDER BY e.number
            RETURNING sequence, at)
         SELECT sequence, at FROM ev, pg_notify('resetd_event', $1::text) ORDER BY sequence DESC LIMIT 1",
    )
    .bind(owner.operation)
    .bind(owner.instance)
    .bind(codes)
    .bind(bodies)
    .fetch_optional(connection)
    .await?;
    let (sequence, at) = row.ok_or_else(stale)?;
    let first = sequence + 1 - i64::try_from(kinds.len()).unwrap_or(1);
    for stored in first..=sequence {
        failpoint::stored(owner.operation, stored).await;
    }
    Ok((sequence.unsigned_abs(), at.to_jiff()))
}

/// Stored events from a sequence on, in order.
pub(crate) async fn read(
    pool: &PgPool,
    operation: Uuid,
    from: u64,
    most: i64,
) -> Result<Vec<Event>, ControlError> {
    let mut connection = pool.acquire().await?;
    read_on(&mut connection, operation, from, most).await
}

async fn read_on(
    connection: &mut PgConnection,
    operation: Uuid,
    from: u64,
    most: i64,
) -> Result<Vec<Event>, ControlError> {
    let rows: Vec<EventRow> = sqlx::query_as(
        "SELECT sequence, at, body::text FROM resetd.event
          WHERE operation = $1 AND sequence >= $2 ORDER BY sequence LIMIT $3",
    )
    .bind(operation)
    .bind(i64::try_from(from).unwrap_or(i64::MAX))
    .bind(most)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| decode(operation, row)).collect()
}

#[derive(sqlx::FromRow)]
struct EventRow {
    sequence: i64,
    at: Timestamptz,
    body: String,
}

fn decode(operation: Uuid, row: EventRow) -> Result<Event, ControlError> {
    let sequence = row.sequence;
    let kind = serde_json::from_str(&row.body).map_err(|e| {
        Fault::new(Reason::Internal, format!("event {sequence} of operation {operation} cannot be read: {e}"))
            .hint("it was written by a newer daemon; watch it there")
    })?;
    Ok(Event { sequence: sequence.unsigned_abs(), operation, at: row.at.to_jiff(), kind })
}

/// Stores, as one, that the commit of `transaction` comes next, the end and report that it will have, and what it will
/// have set aside. From here on the operation cannot be cancelled, and the commit may be sent until the edge that is given.
///
/// # Errors
/// `CANCELLED` when a cancel came first; a window stands in the way; the operation is not this daemon's any more.
pub(crate) async fn prepare_commit(
    connection: &mut PgConnection,
    owner: Owner,
    transaction: &str,
    aside: Option<&Intent>,
    window_guard: &WindowGuard,
    bound: Bound<'_>,
    make: MakeEnding<'_>,
) -> Result<Option<CommitDeadline>, ControlError> {
    let mut within = connection.begin().await?;
    let prepared = async {
        // From here to the end of the commit, nobody makes a window that it would be in.
        lock_queue_to_commit(&mut within, &window_guard.database, bound).await?;
        let until = window_guard.until(&mut within).await?;
        prepare_commit_within(&mut within, owner, transaction, make).await?;
        if let Some(aside) = aside {
            kept_schemas::enter(&mut within, owner.operation, aside).await?;
        }
        Ok(until)
    }
    .await;
    match prepared {
        Ok(until) => {
            within.commit().await?;
            failpoint::point(owner.operation, "prepared").await;
            Ok(until)
        }
        Err(fault) => {
            // At once: the queue lock is another's. Where it fails the session is gone, and the lock with it.
            let _gone = within.rollback().await;
            Err(fault)
        }
    }
}

/// Takes the queue lock for a commit.
///
/// # Errors
/// `BLOCKED`: somebody keeps it; the interrupt's reason; the control database does not answer.
pub(in crate::postgres) async fn lock_queue_to_commit(
    within: &mut PgConnection,
    database: &str,
    bound: Bound<'_>,
) -> Result<(), Fault> {
    let Some(holder) = keys::lock_queue(within, database, bound).await? else { return Ok(()) };
    let fault = holder.refusal(&format!("the key under which changes of database {database} are committed"));
    Err(Fault { reason: Reason::Blocked, ..fault }
        .hint("everything was rolled back; end that session, or let an admin do it: resetctl target unlock"))
}

async fn prepare_commit_within(
    connection: &mut PgConnection,
    owner: Owner,
    transaction: &str,
    make: MakeEnding<'_>,
) -> Result<(), ControlError> {
    let cancelled: Option<bool> = sqlx::query_scalar(
        "UPDATE resetd.operation
            SET state = CASE WHEN cancel_requested_at IS NULL THEN 'committing' ELSE state END,
                work_xid = $3::xid8
          WHERE id = $1 AND instance = $2 AND state = 'running' RETURNING cancel_requested_at IS NOT NULL",
    )
    .bind(owner.operation)
    .bind(owner.instance)
    .bind(transaction)
    .fetch_optional(&mut *connection)
    .await?;
    if cancelled.ok_or_else(stale)? {
        return Err(Fault::new(Reason::Cancelled, "the operation was cancelled before its commit").into());
    }
    append(connection, owner, EventKind::CommitPrepared { transaction_id: transaction.to_owned() }).await?;
    let ending = make_ending(connection, owner.operation, make).await?;
    let finished = serde_json::to_string(&ending.finished)
        .and_then(text_limit::cut_json)
        .map_err(|e| Fault::new(Reason::Internal, format!("an end cannot be stored: {e}")))?;
    sqlx::query("UPDATE resetd.operation SET prepared_report = $2, prepared_end = $3::json WHERE id = $1")
        .bind(owner.operation)
        .bind(ending.report)
        .bind(finished)
        .execute(connection)
        .await?;
    Ok(())
}

async fn make_ending(
    connection: &mut PgConnection,
    operation: Uuid,
    make: MakeEnding<'_>,
) -> Result<Ending, ControlError> {
    let now = timestamp::now(&mut *connection).await?;
    let events = read_on(connection, operation, 1, i64::MAX).await?;
    Ok(make(&events, now))
}

/// Writes the end: the last event, the state and the report, as one.
///
/// # Errors
/// The operation has ended or is not this daemon's any more; the control database does not answer.
pub(crate) async fn finish(
    connection: &mut PgConnection,
    owner: Owner,
    make: MakeEnding<'_>,
) -> Result<(), ControlError> {
    let mut within = connection.begin().await?;
    finish_within(&mut within, owner, make).await?;
    ended(within, owner).await
}

/// As [`finish`], inside a transaction of the caller.
///
/// # Errors
/// As [`finish`].
pub(crate) async fn finish_within(
    connection: &mut PgConnection,
    owner: Owner,
    make: MakeEnding<'_>,
) -> Result<(), ControlError> {
    hold_row(connection, owner).await?;
    let ending = make_ending(connection, owner.operation, make).await?;
    let truth = Truth::of(ending.finished.error.as_ref().map(|e| e.reason));
    write_end(connection, owner, ending, truth).await
}

/// Writes the end that was prepared before the commit.
///
/// # Errors
/// As [`finish`].
pub(crate) async fn finish_prepared(connection: &mut PgConnection, owner: Owner) -> Result<(), ControlError> {
    let mut within = connection.begin().await?;
    hold_row(&mut within, owner).await?;
    let ending = prepared(&mut within, owner.operation).await?;
    write_end(&mut within, owner, ending, Truth::Committed).await?;
    ended(within, owner).await
}

async fn ended(within: sqlx::Transaction<'_, sqlx::Postgres>, owner: Owner) -> Result<(), ControlError> {
    within.commit().await?;
    failpoint::point(owner.operation, "ended").await;
    Ok(())
}

/// Locks the operation's row: whoever comes second sees the end of the first.
async fn hold_row(connection: &mut PgConnection, owner: Owner) -> Result<(), ControlError> {
    let held: Option<i32> = sqlx::query_scalar(
        "SELECT 1 FROM resetd.operation WHERE id = $1 AND instance = $2 AND state <> 'finished' FOR UPDATE",
    )
    .bind(owner.operation)
    .bind(owner.instance)
    .fetch_optional(connection)
    .await?;
    Ok(held.map(|_| ()).ok_or_else(stale)?)
}

async fn prepared(connection: &mut PgConnection, operation: Uuid) -> Result<Ending, ControlError> {
    let (report, finished): (String, String) = sqlx::query_as(
        "SELECT prepared_report, prepared_end::text FROM resetd.operation
          WHERE id = $1 AND prepared_report IS NOT NULL AND prepared_end IS NOT NULL
            AND pg_catalog.pg_xact_status(work_xid) = 'committed'",
    )
    .bind(operation)
    .fetch_one(connection)
    .await?;
    let finished = serde_json::from_str(&finished).map_err(|e| {
        Fault::new(Reason::Internal, format!("the prepared end of {operation} cannot be read: {e}"))
    })?;
    Ok(Ending { finished, report })
}

async fn write_end(
    connection: &mut PgConnection,
    owner: Owner,
    ending: Ending,
    truth: Truth,
) -> Result<(), ControlError> {
    retained::give_back(connection, owner.operation).await?;
    kept_schemas::settle(connection, owner.operation, truth).await?;
    let Ending { finished, report } = ending;
    let reason = finished.error.as_ref().map(|e| e.reason.name());
    let (outcome, summary, sha256) =
        (finished.outcome.as_str(), finished.summary.clone(), finished.report_sha256.clone());
    let written: Option<i64> = sqlx::query_scalar(
        "WITH op AS (
            UPDATE resetd.operation
               SET state = 'finished', outcome = $3, reason = $4, summary = $5, report = $6, report_sha256 = $7,
                   finished_at = clock_timestamp(), last_sequence = last_sequence + 1,
                   prepared_report = NULL, prepared_end = NULL
             WHERE id = $1 AND instance = $2 AND state <> 'finished' RETURNING last_sequence, finished_at),
         ev AS (
            INSERT INTO resetd.event (operation, sequence, at, code, terminal, body)
            SELECT $1, last_sequence, finished_at, 'FINISHED', true, $8::json FROM op RETURNING sequence)
         SELECT sequence FROM ev, pg_notify('resetd_event', $1::text)",
    )
    .bind(owner.operation)
    .bind(owner.instance)
    .bind(outcome)
    .bind(reason)
    .bind(summary)
    .bind(report)
    .bind(sha256)
    .bind(body(&EventKind::Finished(Box::new(finished)))?)
    .fetch_optional(connection)
    .await?;
    failpoint::stored(owner.operation, written.ok_or_else(stale)?).await;
    Ok(())
}
