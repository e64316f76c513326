//! Advisory keys of the control database. They are asked for again and again and never waited for without an end: anybody
//! who may connect can hold one. Who does is named.

use std::time::Duration;

use model::lock::{Holder, LockKey};
use sqlx::{PgConnection, PgExecutor};
use tokio::time::Instant;
use uuid::Uuid;

use crate::postgres::{
    session::{
        advisory::{pg_locks_row, this_database},
        interrupt::Interrupt,
    },
    sql::{error::ControlError, timestamp::Timestamptz},
};

/// How long a key may take that a daemon keeps for moments only.
pub(crate) const MOMENT: Duration = Duration::from_secs(5);
/// How long it is until a key is asked for again.
const PAUSE: Duration = Duration::from_millis(5);

/// How long something may be waited for, and what ends the wait before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound<'a> {
    pub(crate) limit: Duration,
    pub(crate) interrupt: Option<&'a Interrupt>,
}

impl Bound<'_> {
    /// For what daemons keep for moments only.
    pub(crate) const MOMENT: Self = Self { limit: MOMENT, interrupt: None };
}

/// How long a key is held.
#[derive(Clone, Copy, Debug)]
pub(in crate::postgres) enum Until {
    /// To the end of the transaction.
    Transaction,
    /// To the end of the session.
    Session,
}

/// Takes a key; `false`: it is not to be had within the bound.
///
/// # Errors
/// The interrupt's reason, or the control database does not answer.
pub(in crate::postgres) async fn take(
    connection: &mut PgConnection,
    key: LockKey,
    until: Until,
    bound: Bound<'_>,
) -> Result<bool, ControlError> {
    let sql = match until {
        Until::Transaction => "SELECT pg_catalog.pg_try_advisory_xact_lock($1)",
        Until::Session => "SELECT pg_catalog.pg_try_advisory_lock($1)",
    };
    let began = Instant::now();
    loop {
        if let Some(interrupt) = bound.interrupt {
            interrupt.check()?;
        }
        let taken: bool = sqlx::query_scalar(sql).bind(key.0).fetch_one(&mut *connection).await?;
        if taken || began.elapsed() >= bound.limit {
            return Ok(taken);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes a key. `Some`: it is not to be had within the bound, and who has it.
///
/// # Errors
/// As [`take`].
pub(in crate::postgres) async fn take_or_name(
    connection: &mut PgConnection,
    key: LockKey,
    until: Until,
    bound: Bound<'_>,
) -> Result<Option<Holder>, ControlError> {
    loop {
        if take(connection, key, until, bound).await? {
            return Ok(None);
        }
        // Whoever has given it back meanwhile need not be named.
        if let Some(holder) = holder(&mut *connection, key).await? {
            return Ok(Some(holder));
        }
    }
}

/// Takes the queue lock of a database until the transaction ends: whoever decides who may change it does so alone.
///
/// # Errors
/// As [`take`].
pub(in crate::postgres) async fn lock_queue(
    within: &mut PgConnection,
    database: &str,
    bound: Bound<'_>,
) -> Result<Option<Holder>, ControlError> {
    take_or_name(within, LockKey::queue(database), Until::Transaction, bound).await
}

#[derive(sqlx::FromRow)]
struct HolderRow {
    pid: i32,
    user: String,
    application_name: String,
    operation: Option<Uuid>,
    verb: Option<String>,
    principal: Option<String>,
    since: Option<Timestamptz>,
}

/// Who else holds a key of the control database, as far as it can be told.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn holder(
    executor: impl PgExecutor<'_>,
    key: LockKey,
) -> Result<Option<Holder>, ControlError> {
    let (high, low) = key.halves();
    // What a prepared transaction holds has no backend.
    let row: Option<HolderRow> = sqlx::query_as(concat!(
        "SELECT coalesce(l.pid, 0) AS pid, coalesce(a.usename::pg_catalog.text, '') AS user,
                coalesce(a.application_name, '') AS application_name,
                o.id AS operation, o.verb, o.principal, o.started_at AS since
           FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
          LEFT JOIN resetd.operation o ON o.lock_pid = l.pid AND o.state IN ('running', 'committing')
         WHERE ",
        pg_locks_row!("l", this_database!(), "$1", "$2"),
        " AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() ORDER BY l.mode, o.id DESC LIMIT 1"
    ))
    .bind(high)
    .bind(low)
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| Holder {
        operation: row.operation,
        verb: row.verb.and_then(|v| v.parse().ok()),
        principal: row.principal,
        since: row.since.map(Timestamptz::to_jiff),
        pid: row.pid,
        user: row.user,
        application_name: row.application_name,
    }))
}
