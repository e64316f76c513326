//! Whether a target may be changed now: a session advisory lock on a dedicated connection to the control database.
//!
//! The connection is never re-opened for the same operation. When it is lost, the holder is told through its interrupt.

use std::{sync::Arc, time::Duration};

use model::{
    fault::{Fault, Reason},
    lock::{Holder, LockKey},
};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::Mutex;

use super::conflict::{self, Wanted};
use crate::postgres::{
    control::{
        keys::{self, Bound},
        pool::Control,
        ticket::Ticket,
    },
    session::{advisory::is_held, connect, interrupt::Interrupt},
    sql::error::{ControlError, message},
};

/// How often the lock connection is asked whether it lives.
const HEARTBEAT: Duration = Duration::from_millis(200);
/// How often a connection that is at work is looked at from outside.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// How long a lock connection may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long the lock of an operation that has ended may take to come free.
const RELEASE_LIMIT: Duration = Duration::from_secs(3);

/// A connection to the control database that holds, or waits for, a target's lock.
pub(crate) struct LockSession {
    connection: Arc<Mutex<PgConnection>>,
    pub(crate) pid: i32,
    pub(crate) key: LockKey,
    pub(crate) operation_key: LockKey,
    pub(crate) database_oid: u32,
    pub(crate) application_name: String,
    pub(crate) shared: bool,
    database: String,
    heartbeat: Option<tokio::task::JoinHandle<()>>,
}

/// What became of an attempt.
pub(crate) enum LeaseAttempt {
    /// Granted.
    Granted(LockSession),
    /// Somebody else holds it.
    Held,
}

/// How long a lock is tried for whose holder is ending.
pub(crate) struct ReleaseDeadline(tokio::time::Instant);

impl Default for ReleaseDeadline {
    fn default() -> Self {
        Self(tokio::time::Instant::now() + RELEASE_LIMIT)
    }
}

impl ReleaseDeadline {
    /// Waits a moment where the holder has ended and only its session has not.
    pub(crate) async fn is_worth_it(&mut self, holder: Option<&Holder>) -> bool {
        let ending = holder.is_none_or(|h| h.operation.is_none() && h.application_name.starts_with("resetd"));
        let worth = ending && tokio::time::Instant::now() < self.0;
        if worth {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        worth
    }
}

impl LockSession {
    /// Opens the connection; nothing is locked yet.
    ///
    /// # Errors
    /// The control database cannot be reached, or a pooler is in between.
    pub(crate) async fn open(control: &Control, ticket: &Ticket) -> Result<Self, ControlError> {
        let mut connection = connect::open(&control.session_options(&ticket.application_name)).await?;
        let pid = connect::refuse_pooler(&mut connection, "the control database").await?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            pid,
            key: LockKey::target(&ticket.database),
            operation_key: LockKey::operation(ticket.owner.operation),
            database_oid: control.database_oid,
            application_name: ticket.application_name.clone(),
            shared: ticket.shared,
            database: ticket.database.clone(),
            heartbeat: None,
        })
    }

    /// Takes the lock if it is free, or about to be: a holder whose operation has ended is given a moment. Nobody's place in the queue
    /// is asked for: this is for who takes up what was left.
    pub(crate) async fn attempt(control: &Control, ticket: &Ticket) -> Result<LeaseAttempt, ControlError> {
        let session = Self::open(control, ticket).await?;
        let mut patience = ReleaseDeadline::default();
        loop {
            let taken = match session.try_lock().await {
                Ok(taken) => taken,
                Err(fault) => {
                    session.release().await;
                    return Err(fault);
                }
            };
            if taken {
                return Ok(LeaseAttempt::Granted(session));
            }
            let holder = session.holder(&control.pool).await?;
            if !patience.is_worth_it(holder.as_ref()).await {
                session.release().await;
                return Ok(LeaseAttempt::Held);
            }
        }
    }

    async fn try_lock(&self) -> Result<bool, ControlError> {
        let mut connection = self.connection.lock().await;
        self.try_lock_on(&mut connection).await
    }

    /// Takes both keys on the lock's own connection, if the target's is free.
    ///
    /// # Errors
    /// `CONTROL_CONFLICT`, with nothing taken; the control database does not answer.
    pub(in crate::postgres) async fn try_lock_on(
        &self,
        connection: &mut PgConnection,
    ) -> Result<bool, ControlError> {
        let sql = match self.shared {
            true => "SELECT pg_catalog.pg_try_advisory_lock_shared($1)",
            false => "SELECT pg_catalog.pg_try_advisory_lock($1)",
        };
        let granted: bool = sqlx::query_scalar(sql).bind(self.key.0).fetch_one(&mut *connection).await?;
        if granted {
            self.refuse_conflict(connection).await?;
            self.lock_operation(connection).await?;
        }
        Ok(granted)
    }

    /// Gives the key back where a daemon with another control database works on the target.
    async fn refuse_conflict(&self, connection: &mut PgConnection) -> Result<(), ControlError> {
        let found = conflict::look(&mut *connection, self.wanted()).await?;
        let Some(foreign) = found else { return Ok(()) };
        let sql = match self.shared {
            true => "SELECT pg_catalog.pg_advisory_unlock_shared($1)",
            false => "SELECT pg_catalog.pg_advisory_unlock($1)",
        };
        sqlx::query(sql).bind(self.key.0).execute(connection).await?;
        Err(foreign.fault(&self.database).into())
    }

    /// What is in this lock's way elsewhere.
    pub(in crate::postgres) fn wanted(&self) -> Wanted<'_> {
        Wanted { database: &self.database, own: self.database_oid, shared: self.shared }
    }

    pub(in crate::postgres) async fn lock_operation(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(), ControlError> {
        let (key, until) = (self.operation_key, keys::Until::Session);
        match keys::take_or_name(connection, key, until, Bound::MOMENT).await? {
            None => Ok(()),
            Some(holder) => Err(holder.refusal("the operation's own key").into()),
        }
    }

    /// Who holds the target's lock.
    pub(crate) async fn holder(&self, pool: &PgPool) -> Result<Option<Holder>, ControlError> {
        keys::holder(pool, self.key).await
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
                    let held =
                        tokio::time::timeout(ANSWER_LIMIT, is_held(&pool, database_oid, key, Some(pid)));
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
        let mut connection = connection.into_inner();
        // Whoever waits is told as soon as it is free.
        let told = sqlx::raw_sql(
            "SELECT pg_catalog.pg_advisory_unlock_all(); SELECT pg_catalog.pg_notify('resetd_target', '')",
        );
        let closed = tokio::time::timeout(ANSWER_LIMIT, async {
            told.execute(&mut connection).await?;
            connection.close().await
        });
        // One that is silent is closed by being dropped.
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

/// A session found that it may not begin any more.
pub(in crate::postgres) fn lock_is_gone() -> Fault {
    Fault::new(Reason::LockLost, "the operation's lock is gone; the work session did not begin")
        .hint("nothing was changed; run it again")
}
