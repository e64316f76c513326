//! The right to change a target now: a session advisory lock on a dedicated connection to the control database.
//!
//! The connection is never re-opened for the same operation. When it is lost, the holder is told through its interrupt.

use std::{sync::Arc, time::Duration};

use model::{
    event::Queued,
    fault::{Fault, Reason},
    lock::{Holder, LockKey},
    operation::Wait,
};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{
    connect,
    control::Control,
    error::{control_fault, is_disconnect, message},
    interrupt::Interrupt,
    time,
};

/// The condition that a row of `pg_locks` is the advisory lock of one key in one database.
macro_rules! pg_locks_row {
    ($row:literal, $database:literal, $high:literal, $low:literal) => {
        concat!(
            $row,
            ".locktype = 'advisory' AND ",
            $row,
            ".objsubid = 1 AND ",
            $row,
            ".database::pg_catalog.int8 = ",
            $database,
            " AND ",
            $row,
            ".classid::pg_catalog.int8 = ",
            $high,
            " AND ",
            $row,
            ".objid::pg_catalog.int8 = ",
            $low
        )
    };
}
pub(crate) use pg_locks_row;

/// How often the lock connection is asked whether it lives.
const HEARTBEAT: Duration = Duration::from_millis(200);
/// How often a connection that is at work is looked at from outside.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// How long a lock connection may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How often a waiter tells its place.
const QUEUE_LOOK: Duration = Duration::from_millis(500);
/// How long the lock of an operation that has ended may take to come free.
const RELEASE_LIMIT: Duration = Duration::from_secs(3);

/// What is to be locked, for whom.
#[derive(Clone, Debug)]
pub(crate) struct LockRequest {
    pub(crate) database: String,
    pub(crate) operation: Uuid,
    pub(crate) application_name: String,
    pub(crate) shared: bool,
}

/// A connection to the control database that holds, or waits for, a target's lock.
pub(crate) struct LockSession {
    connection: Arc<Mutex<PgConnection>>,
    pub(crate) pid: i32,
    pub(crate) key: LockKey,
    pub(crate) operation_key: LockKey,
    pub(crate) database_oid: u32,
    pub(crate) application_name: String,
    pub(crate) shared: bool,
    heartbeat: Option<tokio::task::JoinHandle<()>>,
}

/// What became of an attempt.
pub(crate) enum Attempt {
    /// Granted.
    Granted(LockSession),
    /// Somebody else holds it.
    Held(Option<Holder>),
}

impl LockSession {
    /// Opens the connection; nothing is locked yet.
    ///
    /// # Errors
    /// The control database cannot be reached, or a pooler is in between.
    pub(crate) async fn open(control: &Control, request: &LockRequest) -> Result<Self, Fault> {
        let mut connection = connect::open(&control.session_options(&request.application_name)).await?;
        let pid = connect::refuse_pooler(&mut connection, "the control database").await?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            pid,
            key: LockKey::target(&request.database),
            operation_key: LockKey::operation(request.operation),
            database_oid: control.database_oid,
            application_name: request.application_name.clone(),
            shared: request.shared,
            heartbeat: None,
        })
    }

    /// Takes the lock if it is free, or about to be: a holder whose operation has ended is given a moment.
    ///
    /// # Errors
    /// The control database does not answer.
    pub(crate) async fn attempt(control: &Control, request: &LockRequest) -> Result<Attempt, Fault> {
        let session = Self::open(control, request).await?;
        let until = tokio::time::Instant::now() + RELEASE_LIMIT;
        loop {
            if session.try_lock().await? {
                return Ok(Attempt::Granted(session));
            }
            let holder = session.holder(&control.pool).await?;
            let ending = holder
                .as_ref()
                .is_none_or(|h| h.operation.is_none() && h.application_name.starts_with("resetd"));
            if !ending || tokio::time::Instant::now() >= until {
                session.release().await;
                return Ok(Attempt::Held(holder));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn try_lock(&self) -> Result<bool, Fault> {
        let sql = match self.shared {
            true => "SELECT pg_catalog.pg_try_advisory_lock_shared($1)",
            false => "SELECT pg_catalog.pg_try_advisory_lock($1)",
        };
        let mut connection = self.connection.lock().await;
        let granted: bool = sqlx::query_scalar(sql)
            .bind(self.key.0)
            .fetch_one(&mut *connection)
            .await
            .map_err(control_fault)?;
        if granted {
            self.lock_operation(&mut connection).await?;
        }
        Ok(granted)
    }

    async fn lock_operation(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        sqlx::query("SELECT pg_catalog.pg_advisory_lock($1)")
            .bind(self.operation_key.0)
            .execute(connection)
            .await
            .map(|_| ())
            .map_err(control_fault)
    }

    /// Waits in PostgreSQL's own queue, first come, first served, and tells its place.
    ///
    /// # Errors
    /// `WAIT_EXPIRED`, the interrupt's reason, or the control database does not answer.
    pub(crate) async fn wait(
        &self,
        pool: &PgPool,
        wait: Wait,
        interrupt: &Interrupt,
        tell: &(dyn Fn(Queued) + Send + Sync),
    ) -> Result<(), Fault> {
        let connection = Arc::clone(&self.connection);
        let sql = match self.shared {
            true => "SELECT pg_catalog.pg_advisory_lock_shared($1)",
            false => "SELECT pg_catalog.pg_advisory_lock($1)",
        };
        let (key, operation_key, pid) = (self.key.0, self.operation_key.0, self.pid);
        // The operation's own key first: who holds it lives. Dropped, the waiter is gone as well.
        let mut waiting = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connection = connection.lock().await;
            let own = sqlx::query("SELECT pg_catalog.pg_advisory_lock($1)").bind(operation_key);
            own.execute(&mut *connection).await?;
            sqlx::query(sql).bind(key).execute(&mut *connection).await.map(|_| ())
        }));
        let limit = async {
            match wait {
                Wait::AtMost(limit) => tokio::time::sleep(limit).await,
                _ => std::future::pending().await,
            }
        };
        tokio::pin!(limit);
        let mut look = tokio::time::interval(QUEUE_LOOK);
        let refused = loop {
            tokio::select! {
                biased;
                granted = &mut waiting => {
                    return match granted {
                        Ok(Ok(())) => Ok(()),
                        Ok(Err(error)) if is_disconnect(&error) => Err(lost(&message(&error))),
                        Ok(Err(error)) => Err(control_fault(error)),
                        Err(_) => Err(Fault::new(Reason::Internal, "the waiter for the lock ended by itself")),
                    };
                }
                why = interrupt.raised() => break why,
                () = &mut limit => break self.wait_expired(pool).await,
                _ = look.tick() => match self.place(pool).await {
                    Ok(queued) => tell(queued),
                    Err(fault) => tracing::debug!(%fault, "the place in the queue could not be looked up"),
                },
            }
        };
        // The backend leaves the queue at once; the session is of no more use.
        let ended = sqlx::query("SELECT pg_catalog.pg_terminate_backend($1)").bind(pid).execute(pool).await;
        if let Err(error) = ended {
            tracing::warn!(pid, error = %message(&error), "a waiting session could not be ended");
        }
        waiting.abort();
        Err(refused)
    }

    async fn wait_expired(&self, pool: &PgPool) -> Fault {
        let holder = self.holder(pool).await.ok().flatten();
        let held = holder.map(|h| format!(": it is held by {}", h.phrase())).unwrap_or_default();
        Fault::new(Reason::WaitExpired, format!("the target did not come free in the time given{held}"))
            .hint("wait longer with --wait=DURATION, or ask the holder")
    }

    async fn place(&self, pool: &PgPool) -> Result<Queued, Fault> {
        let (high, low) = self.key.halves();
        let before: i64 = sqlx::query_scalar(concat!(
            "SELECT count(*) FROM pg_locks l WHERE ",
            pg_locks_row!("l", "$1", "$2", "$3"),
            " AND NOT l.granted AND l.waitstart < (SELECT max(m.waitstart) FROM pg_locks m WHERE m.pid = $4)"
        ))
        .bind(i64::from(self.database_oid))
        .bind(high)
        .bind(low)
        .bind(self.pid)
        .fetch_one(pool)
        .await
        .map_err(control_fault)?;
        Ok(Queued { position: u32::try_from(before).unwrap_or_default(), holder: self.holder(pool).await? })
    }

    async fn holder(&self, pool: &PgPool) -> Result<Option<Holder>, Fault> {
        holder(pool, self.database_oid, self.key).await
    }

    /// Watches the connection from now on: its loss raises the interrupt.
    pub(crate) fn watch(&mut self, pool: &PgPool, interrupt: &Interrupt) {
        let (connection, interrupt, pool) = (Arc::clone(&self.connection), interrupt.clone(), pool.clone());
        let (database_oid, key, pid) = (self.database_oid, self.operation_key, self.pid);
        self.heartbeat = Some(tokio::spawn(async move {
            let mut beat = tokio::time::interval(HEARTBEAT);
            let mut looked = tokio::time::Instant::now();
            let why = loop {
                beat.tick().await;
                if let Ok(mut connection) = connection.try_lock() {
                    match answers(&mut connection).await {
                        None => continue,
                        Some(why) => break why,
                    }
                }
                // It is at work, and may be for long: others see whether it still holds what it must.
                if looked.elapsed() >= SECOND_LOOK {
                    looked = tokio::time::Instant::now();
                    let held = tokio::time::timeout(ANSWER_LIMIT, holds(&pool, database_oid, key, pid));
                    if let Ok(Ok(false)) = held.await {
                        break "its backend holds nothing any more".to_owned();
                    }
                }
            };
            interrupt.raise(lost(&why));
        }));
    }

    /// That the lock is lost, and why; `None`: its connection answers.
    pub(crate) async fn lost(&self) -> Option<Fault> {
        let mut connection = self.connection.lock().await;
        answers(&mut connection).await.map(|why| lost(&why))
    }

    /// The connection, for what must only happen while the lock is held.
    pub(crate) async fn connection(&self) -> tokio::sync::MutexGuard<'_, PgConnection> {
        self.connection.lock().await
    }

    /// Gives the lock back and closes the connection.
    pub(crate) async fn release(mut self) {
        if let Some(heartbeat) = self.heartbeat.take() {
            heartbeat.abort();
            // An aborted task gives its clone of the connection back when it has ended.
            let _ended = heartbeat.await;
        }
        let shared = Arc::clone(&self.connection);
        drop(self);
        let Ok(connection) = Arc::try_unwrap(shared) else { return };
        // One that is silent is closed by being dropped.
        let closed = tokio::time::timeout(ANSWER_LIMIT, connection.into_inner().close());
        if let Ok(Err(error)) = closed.await {
            tracing::debug!(error = %message(&error), "closing the lock session");
        }
    }
}

impl Drop for LockSession {
    fn drop(&mut self) {
        if let Some(heartbeat) = self.heartbeat.take() {
            heartbeat.abort();
        }
    }
}

/// The lock is gone with its connection, also where PostgreSQL as a whole was away: without it nothing may go on.
fn lost(why: &str) -> Fault {
    Fault::new(Reason::LockLost, format!("the connection that holds the lock was lost: {why}"))
        .hint("nothing was changed; see that PostgreSQL is there, then run it again")
}

/// Why a connection is lost; `None`: it answers.
async fn answers(connection: &mut PgConnection) -> Option<String> {
    match tokio::time::timeout(ANSWER_LIMIT, sqlx::raw_sql("SELECT 1").execute(connection)).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(message(&error)),
        Err(_) => Some(format!("no answer within {} s", ANSWER_LIMIT.as_secs())),
    }
}

/// Whether a backend holds a key.
async fn holds(pool: &PgPool, database_oid: u32, key: LockKey, pid: i32) -> sqlx::Result<bool> {
    let (high, low) = key.halves();
    sqlx::query_scalar(concat!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE ",
        pg_locks_row!("l", "$1", "$2", "$3"),
        " AND l.granted AND l.pid = $4)"
    ))
    .bind(i64::from(database_oid))
    .bind(high)
    .bind(low)
    .bind(pid)
    .fetch_one(pool)
    .await
}

type HolderRow = (i32, String, Option<Uuid>, Option<String>, Option<String>, Option<i64>);

/// Who holds the lock of a key, as far as it can be told.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn holder(pool: &PgPool, database_oid: u32, key: LockKey) -> Result<Option<Holder>, Fault> {
    let (high, low) = key.halves();
    let row: Option<HolderRow> = sqlx::query_as(concat!(
        "SELECT l.pid, coalesce(a.application_name, ''), o.id, o.verb, o.principal, ",
        time::micros!("o.started_at"),
        " FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
          LEFT JOIN resetd.operation o ON o.lock_pid = l.pid AND o.state IN ('running', 'committing')
         WHERE ",
        pg_locks_row!("l", "$1", "$2", "$3"),
        " AND l.granted ORDER BY l.mode, o.id DESC LIMIT 1"
    ))
    .bind(i64::from(database_oid))
    .bind(high)
    .bind(low)
    .fetch_optional(pool)
    .await
    .map_err(control_fault)?;
    Ok(row.map(|(pid, application_name, operation, verb, principal, since)| Holder {
        operation,
        verb: verb.and_then(|v| v.parse().ok()),
        principal,
        since: since.map(time::from_micros),
        pid,
        application_name,
    }))
}
