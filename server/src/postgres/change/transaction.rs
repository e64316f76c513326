//! The work session: one transaction in the target, held under the target's key, that stops when it must.
//!
//! Its first statement takes the target's key; then it makes sure, in one look at `pg_locks`, that the lock session of
//! its operation still holds the lock. If not, it never begins.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::{
    event::EventKind,
    fault::{Fault, Reason},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio_stream::StreamExt as _;
use tokio_util::task::AbortOnDropHandle;

use super::{blockers, lock_waits::LockWaits, noticed::Noticed};
use crate::postgres::{
    control::commit_deadline::CommitDeadline,
    lock::lease::{LockSession, lock_is_gone},
    session::{
        advisory::{self, holds_both, pg_locks_row},
        backend, connect, failpoint,
        interrupt::Interrupt,
        liveness::{Backends, Liveness, lost_error},
    },
    sql::error::{message, sqlstate, work_fault},
};

/// How long the end of a session may take.
const END_LIMIT: Duration = Duration::from_secs(5);
/// How long a COMMIT may take before its truth is asked for elsewhere.
const COMMIT_LIMIT: Duration = Duration::from_secs(60);
/// How often a cancel is repeated.
const LOOK: Duration = Duration::from_millis(250);

/// Where progress and blockers are told; never awaited.
pub(crate) type ProgressSink = Arc<dyn Fn(EventKind) + Send + Sync>;

/// What a work session needs beside its connection.
#[derive(Clone)]
pub(crate) struct WorkContext {
    /// For cancels and looks at blockers.
    pub(crate) control: PgPool,
    /// Raised when the operation must stop.
    pub(crate) interrupt: Interrupt,
    /// How long locks in the target are waited for, in total.
    pub(crate) patience: Duration,
    /// Where blockers are told.
    pub(crate) tell: ProgressSink,
    /// The backends that work for the operation: ended when they do not end by themselves.
    pub(crate) backends: Arc<Backends>,
    /// What is told where the operation fails.
    pub(crate) noticed: Arc<Noticed>,
}

/// One transaction in the target.
pub(crate) struct Work {
    pub(crate) connection: PgConnection,
    pid: i32,
    transaction: String,
    pub(in crate::postgres) context: WorkContext,
    contact: Liveness,
    _blockers: AbortOnDropHandle<()>,
    pub(super) lock_waits: LockWaits,
    waited: Duration,
    /// What is committed next is so before this, or not at all.
    pub(crate) until: Option<CommitDeadline>,
}

/// A message that failed: after how many statements, and how.
#[derive(Debug)]
pub(crate) struct MessageError {
    pub(crate) completed: usize,
    pub(crate) error: sqlx::Error,
}

impl Work {
    /// Sends one statement of the daemon's own, taken back and tried again while others hold locks it needs.
    ///
    /// # Errors
    /// `BLOCKED`, an interrupt, or what PostgreSQL said.
    pub(in crate::postgres) async fn patient(&mut self, label: &str, sql: &str) -> Result<(), Fault> {
        self.patiently(label, &[sql], &|_, failed| work_fault(label, &failed.error)).await?;
        self.keep_step().await
    }

    /// Opens a session, begins the transaction and takes the target's key.
    ///
    /// # Errors
    /// The target cannot be reached, a pooler is in between, or the lock is not held any more.
    pub(crate) async fn begin(
        target: &PgConnectOptions,
        lock: &LockSession,
        context: WorkContext,
    ) -> Result<Self, Fault> {
        // Looks wait for locks as long as the operation has patience; steps that change something wait shortly, again and
        // again.
        let patience = format!("{}ms", context.patience.as_millis().max(1));
        let options = connect::options(target, &lock.application_name, &[("lock_timeout", &patience)])
            .statement_cache_capacity(0);
        let mut connection = connect::open(&options).await?;
        let database = options.get_database().unwrap_or_default().to_owned();
        let pid = connect::refuse_pooler(&mut connection, &format!("database {database}")).await?;
        let contact = Liveness::watch(&context.control, pid, &context.backends, &context.interrupt);
        let blockers = AbortOnDropHandle::new(tokio::spawn(blockers::watch(context.clone(), pid)));
        let opening = |e: sqlx::Error| work_fault("opening the work session", &e);
        let lock_waits = LockWaits::of(&mut connection).await.map_err(opening)?;
        sqlx::raw_sql(lock_waits.look_always()).execute(&mut connection).await.map_err(opening)?;
        let begin = if lock.shared { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" } else { "BEGIN" };
        tokio::select! {
            biased;
            taken = take_key(&mut connection, lock, begin) => match taken {
                Err(fault) if fault.reason == Reason::Blocked => {
                    return Err(advisory::named(fault, &context.control, &database, lock.key).await);
                }
                taken => taken?,
            },
            () = contact.lost().cancelled() => return Err(work_fault("opening the work session", &lost_error())),
        }
        Ok(Self {
            connection,
            pid,
            transaction: String::new(),
            context,
            contact,
            _blockers: blockers,
            lock_waits,
            waited: Duration::ZERO,
            until: None,
        })
    }

    /// The session's backend.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Makes the transaction a writing one, with an id that `pg_xact_status` knows.
    pub(crate) async fn assign_transaction(&mut self) -> Result<(), Fault> {
        self.transaction = self.current_transaction().await?;
        Ok(())
    }

    /// The id of the writing transaction.
    pub(crate) fn assigned(&self) -> &str {
        &self.transaction
    }

    async fn current_transaction(&mut self) -> Result<String, Fault> {
        sqlx::query_scalar("SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|e| work_fault("asking for the transaction's id", &e))
    }

    /// Makes sure that what ran last did not leave the transaction.
    ///
    /// # Errors
    /// `TRANSACTION_ESCAPED`, naming `culprit`.
    pub(crate) async fn still_in_transaction(&mut self, culprit: &str) -> Result<(), Fault> {
        let now = self.current_transaction().await?;
        if now == self.transaction {
            return Ok(());
        }
        Err(Fault::new(
            Reason::TransactionEscaped,
            format!(
                "{culprit} ended the operation's transaction {}; the session is in {now} now",
                self.transaction
            ),
        )
        .hint(
            "what the revision committed by itself stays: take its transaction control out, then run a reset",
        )
        .with("file", culprit))
    }

    /// Sends one message and waits for its end. An interrupt cancels it on the server side.
    ///
    /// # Errors
    /// What failed, after how many statements.
    pub(crate) async fn message(&mut self, sql: &str) -> Result<usize, MessageError> {
        let mut completed = 0;
        let (pid, context) = (self.pid, self.context.clone());
        let outcome = {
            let mut results = sqlx::raw_sql(AssertSqlSafe(sql)).execute_many(&mut self.connection);
            let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
            let mut cancelled = false;
            loop {
                tokio::select! {
                    biased;
                    result = results.next() => match result {
                        None => break Ok(()),
                        Some(Ok(_)) => completed += 1,
                        Some(Err(error)) => break Err(error),
                    },
                    () = self.contact.lost().cancelled() => break Err(lost_error()),
                    _ = context.interrupt.raised(), if !cancelled => {
                        cancelled = true;
                        backend::cancel(&context.control, pid).await;
                    }
                    // One that came between two statements struck nothing.
                    _ = look.tick(), if cancelled => backend::cancel(&context.control, pid).await,
                }
            }
        };
        if outcome.is_ok() {
            self.context.noticed.goes_on(pid);
        }
        outcome.map(|()| completed).map_err(|error| MessageError { completed, error })
    }

    /// Sends messages as one step that is taken back and tried again while other sessions hold locks it needs, until
    /// the operation's patience is used up.
    ///
    /// # Errors
    /// `BLOCKED`, the interrupt's reason, or what `explain` makes of the failed message.
    pub(crate) async fn patiently(
        &mut self,
        label: &str,
        messages: &[&str],
        explain: &(dyn Fn(usize, &MessageError) -> Fault + Sync),
    ) -> Result<(), Fault> {
        loop {
            self.context.interrupt.check()?;
            let started = Instant::now();
            let failed = match self.step(messages).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            self.context.interrupt.check()?;
            let (index, error) = failed;
            if !matches!(sqlstate(&error.error), Some("55P03" | "40P01")) {
                return Err(explain(index, &error));
            }
            self.waited += started.elapsed();
            if self.waited >= self.context.patience {
                return Err(self.out_of_patience(label));
            }
            self.take_back().await?;
            let pause = Duration::from_millis(fastrand::u64(50..250));
            self.waited += pause;
            tokio::time::sleep(pause).await;
        }
    }

    async fn step(&mut self, messages: &[&str]) -> Result<(), (usize, MessageError)> {
        let begin = format!("SAVEPOINT resetd_step; {}", self.lock_waits.limit());
        self.message(&begin).await.map_err(|e| (usize::MAX, e))?;
        for (index, message) in messages.iter().enumerate() {
            self.message(message).await.map_err(|e| (index, e))?;
        }
        Ok(())
    }

    /// Keeps what the last step did. Only sent once the step is known not to have left the transaction.
    pub(crate) async fn keep_step(&mut self) -> Result<(), Fault> {
        let keep = self.message("RELEASE SAVEPOINT resetd_step").await;
        keep.map(|_| ()).map_err(|e| work_fault("keeping a step", &e.error))
    }

    async fn take_back(&mut self) -> Result<(), Fault> {
        let back = "ROLLBACK TO SAVEPOINT resetd_step; RELEASE SAVEPOINT resetd_step";
        self.message(back).await.map(|_| ()).map_err(|e| work_fault("taking a step back", &e.error))
    }

    fn out_of_patience(&self, label: &str) -> Fault {
        Fault::new(
            Reason::Blocked,
            format!("{label} waited {} s for locks that other sessions hold", self.waited.as_secs()),
        )
        .hint("end those sessions, or raise `lock_wait_limit` in the profile; everything was rolled back")
        .with("step", label)
    }

    /// Commits what was done so far and begins anew, under the same key and the same look at the lock: for databases that
    /// are built aside, revision by revision.
    ///
    /// # Errors
    /// The commit failed, or the lock is not held any more.
    pub(crate) async fn renew(&mut self, lock: &LockSession) -> Result<(), Fault> {
        self.leave_transaction().await?;
        self.restart(lock).await
    }

    /// Ends the transaction, so that statements that refuse one can run by themselves.
    ///
    /// # Errors
    /// The commit failed.
    pub(crate) async fn leave_transaction(&mut self) -> Result<(), Fault> {
        self.context.interrupt.check()?;
        let until = self.until.take();
        let committed = self.message(&CommitDeadline::commit(until.as_ref())).await;
        committed
            .map(|_| ())
            .map_err(|e| CommitDeadline::failed(until.as_ref(), "committing a step", &e.error))
    }

    /// Begins a transaction again.
    ///
    /// # Errors
    /// The session was lost, or the lock is not held any more.
    pub(crate) async fn restart(&mut self, lock: &LockSession) -> Result<(), Fault> {
        take_key(&mut self.connection, lock, "BEGIN").await?;
        self.assign_transaction().await
    }

    /// Rolls everything back and closes the session. A broken session has been rolled back by the server.
    pub(crate) async fn roll_back(mut self) {
        if self.contact.lost().is_cancelled() {
            return;
        }
        let rolled_back = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection);
        match tokio::time::timeout(END_LIMIT, rolled_back).await {
            Ok(Ok(_)) => self.close().await,
            Ok(Err(error)) => {
                tracing::debug!(error = %message(&error), "the work session was gone before its rollback");
            }
            // Closing the socket makes the server end the session.
            Err(_) => {
                tracing::warn!(pid = self.pid, "the work session does not answer; it is ended");
                backend::terminate(&self.context.control, self.pid).await;
            }
        }
    }

    /// Sends COMMIT. An error leaves open whether it happened: `pg_xact_status` decides.
    ///
    /// # Errors
    /// What the server or the driver said.
    pub(crate) async fn commit(mut self) -> Result<(), Fault> {
        let until = self.until.take();
        let commit = CommitDeadline::commit(until.as_ref());
        let committed = sqlx::raw_sql(AssertSqlSafe(commit)).execute(&mut self.connection);
        tokio::select! {
            biased;
            committed = committed => {
                committed.map_err(|e| CommitDeadline::failed(until.as_ref(), "committing", &e))?;
            }
            () = self.contact.lost().cancelled() => return Err(work_fault("committing", &lost_error())),
            () = tokio::time::sleep(COMMIT_LIMIT) => {
                return Err(Fault::new(Reason::TargetUnreachable, "the commit was not answered"));
            }
        }
        self.close().await;
        Ok(())
    }

    async fn close(self) {
        if let Ok(Err(error)) = tokio::time::timeout(END_LIMIT, self.connection.close()).await {
            tracing::debug!(error = %message(&error), "closing the work session");
        }
    }
}

/// Begins a transaction, takes the target's key first of all, and looks whether the lock is still held.
async fn take_key(
    connection: &mut PgConnection,
    lock: &LockSession,
    begin: &'static str,
) -> Result<(), Fault> {
    let opening = |e: sqlx::Error| work_fault("opening the work session", &e);
    sqlx::raw_sql(begin).execute(&mut *connection).await.map_err(opening)?;
    sqlx::query("SELECT pg_catalog.pg_advisory_xact_lock_shared($1)")
        .bind(lock.key.0)
        .execute(&mut *connection)
        .await
        .map_err(opening)?;
    if failpoint::unchecked() || lock_is_held(connection, lock).await.map_err(opening)? {
        return Ok(());
    }
    Err(lock_is_gone())
}

/// Whether the lock session of the operation holds the target's lock and the operation's: asked in the target, since
/// `pg_locks` shows the whole cluster.
async fn lock_is_held(connection: &mut PgConnection, lock: &LockSession) -> sqlx::Result<bool> {
    let (target, operation) = (lock.key.halves(), lock.operation_key.halves());
    sqlx::query_scalar(concat!("SELECT ", holds_both!(),))
        .bind(i64::from(lock.database_oid))
        .bind(target.0)
        .bind(target.1)
        .bind(operation.0)
        .bind(operation.1)
        .bind(lock.pid)
        .fetch_one(connection)
        .await
}
