//! The work session: one transaction in the target, held under the target's key, that stops when it must.
//!
//! Its first statement takes the target's key; then it makes sure, in one look at `pg_locks`, that the lock session of
//! its operation still holds the lock. If not, it never begins.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use model::fault::{Fault, Reason};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio_util::task::AbortOnDropHandle;

use super::{blockers, context::WorkContext, lock_waits::LockWaits, message::Answer};
use crate::postgres::{
    catalog::database_properties,
    control::commit_deadline::CommitDeadline,
    lock::lease::{LockSession, lock_is_gone},
    session::{
        advisory::{self, holds_both, pg_locks_row},
        backend, connect, failpoint,
        liveness::{Liveness, lost_error},
        relay::{Lent, Relay},
    },
    sql::error::{message, work_fault},
};

/// Begins a transaction that only reads, and sees one moment.
pub(super) const READ_ONLY: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// How long the end of a session may take.
const END_LIMIT: Duration = Duration::from_secs(5);
/// How long a COMMIT may take before its truth is asked for elsewhere.
const COMMIT_LIMIT: Duration = Duration::from_secs(60);

/// One transaction in the target.
pub(crate) struct Work {
    pub(super) connection: PgConnection,
    /// What PostgreSQL may answer at once.
    pub(super) relay: Relay,
    /// Others' code may have run since the session was restored.
    pub(super) touched: bool,
    /// Schemas whose `alembic_version` was found to be harmless, and is held, in this transaction.
    pub(super) inspected: BTreeSet<String>,
    /// Deferrable constraints, and how many rows of their tables were written when they were last settled.
    pub(super) written: HashMap<String, i64>,
    pub(super) pid: i32,
    transaction: String,
    pub(in crate::postgres) context: WorkContext,
    pub(super) contact: Liveness,
    _blockers: AbortOnDropHandle<()>,
    pub(super) lock_waits: LockWaits,
    pub(super) waited: Duration,
    /// The last step is kept, and its savepoint is released with the next message.
    pub(super) open_step: bool,
    /// Nothing else of the operation runs meanwhile.
    pub(crate) is_alone: bool,
    /// The last step collided with another session's in a catalog, and was taken back: it is to be done alone.
    pub(crate) collided: bool,
    /// Earlier revisions are in the transaction that could be committed before the next.
    pub(crate) is_grouped: bool,
    /// What fails now may want a new transaction: a revision, which is taken back as a whole.
    pub(super) may_want_fresh: bool,
    /// The last step failed at what came before it in its transaction, and was taken back: it is to be done in a new one.
    pub(crate) wants_fresh: bool,
    /// The database whose row is watched.
    pub(crate) watched: Option<u32>,
    /// The fingerprint of that row after the last revision.
    pub(crate) row_seen: Option<String>,
    /// What is committed next is so before this, or not at all.
    pub(crate) until: Option<CommitDeadline>,
}

impl Work {
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
        let (mut connection, relay) = connect::open_counted(&options).await?;
        let database = options.get_database().unwrap_or_default().to_owned();
        let pid = connect::refuse_pooler(&mut connection, &format!("database {database}")).await?;
        let contact = Liveness::watch(&context.control, pid, &context.backends, &context.interrupt);
        let blockers = AbortOnDropHandle::new(tokio::spawn(blockers::watch(context.clone(), pid)));
        let opening = |e: sqlx::Error| work_fault("opening the work session", &e);
        let begin = if lock.shared { READ_ONLY } else { "BEGIN" };
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
        // Only now: who lost the lock says nothing else in the target.
        let lock_waits = LockWaits::of(&mut connection).await.map_err(opening)?;
        sqlx::raw_sql(lock_waits.look()).execute(&mut connection).await.map_err(opening)?;
        Ok(Self {
            connection,
            relay,
            touched: false,
            inspected: BTreeSet::new(),
            written: HashMap::new(),
            pid,
            transaction: String::new(),
            context,
            contact,
            _blockers: blockers,
            lock_waits,
            waited: Duration::ZERO,
            open_step: false,
            is_alone: true,
            collided: false,
            is_grouped: false,
            may_want_fresh: false,
            wants_fresh: false,
            watched: None,
            row_seen: None,
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

    /// Lends the session's bytes: others' statements run in its transaction until they are given back.
    ///
    /// # Errors
    /// The session was lost.
    pub(crate) async fn lend(&mut self) -> Result<Lent, Fault> {
        self.own().await?;
        if let Some(release) = self.release() {
            let released = self.message(&release).await;
            released.map_err(|e| work_fault("keeping the last step", &e.error))?;
        }
        self.touched = true;
        self.relay.lend().await.map_err(|e| work_fault("lending the work session", &sqlx::Error::Io(e)))
    }

    /// Makes sure that those who had the session left it in the operation's transaction.
    ///
    /// # Errors
    /// `TRANSACTION_ESCAPED`.
    pub(crate) async fn is_still_ours(&mut self, culprit: &str) -> Result<(), Fault> {
        let now = self.current_transaction().await?;
        match now == self.transaction {
            true => Ok(()),
            false => Err(self.escape(&now, culprit)),
        }
    }

    /// Takes back whatever others' code did to the session, statement by statement.
    pub(super) fn restore(&self) -> impl Iterator<Item = String> + use<> {
        let look = Some(self.lock_waits.look()).filter(|look| !look.is_empty());
        connect::RESTORE.into_iter().chain(look).map(str::to_owned)
    }

    /// The session for a query of the daemon's own: whatever revisions and triggers set is taken back first.
    ///
    /// # Errors
    /// The session was lost.
    pub(crate) async fn own(&mut self) -> Result<&mut PgConnection, Fault> {
        if self.touched {
            let restore = self.restore().collect::<Vec<_>>().join("; ");
            let restored = sqlx::raw_sql(AssertSqlSafe(restore)).execute(&mut self.connection).await;
            restored.map_err(|e| work_fault("restoring the session", &e))?;
            self.touched = false;
        }
        Ok(&mut self.connection)
    }

    async fn current_transaction(&mut self) -> Result<String, Fault> {
        sqlx::query_scalar("SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text")
            .fetch_one(self.own().await?)
            .await
            .map_err(|e| work_fault("asking for the transaction's id", &e))
    }

    /// The look that follows somebody's text: which transaction the session is in, what is deferred, and the row of the database
    /// where that is watched.
    pub(super) fn look(&self, deferrable: &str) -> String {
        let row = self.watched.map_or_else(|| "NULL".to_owned(), database_properties::fingerprint_of);
        format!("SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text, {deferrable}, {row}")
    }

    /// Makes sure that what ran last did not leave the transaction for another one, and gives what is deferred.
    ///
    /// # Errors
    /// `TRANSACTION_ESCAPED`, naming `culprit`.
    pub(super) fn looked(&mut self, answer: &Answer, culprit: &str) -> Result<Option<String>, Fault> {
        let looking = |e: sqlx::Error| work_fault("looking at the transaction", &e);
        let row = answer.last.as_ref().ok_or_else(|| looking(sqlx::Error::RowNotFound))?;
        let now: String = row.try_get(0).map_err(looking)?;
        if now != self.transaction {
            return Err(self.escape(&now, culprit));
        }
        self.row_seen = row.try_get(2).map_err(looking)?;
        row.try_get(1).map_err(looking)
    }

    /// After a failure: whether what ran last left the transaction, since the session is not in one that failed.
    pub(super) async fn escaped(&mut self, culprit: &str) -> Option<Fault> {
        if self.wants_fresh || self.collided || self.contact.lost().is_cancelled() {
            return None;
        }
        let asked = "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text";
        let now: String = sqlx::raw_sql(asked).fetch_one(&mut self.connection).await.ok()?.try_get(0).ok()?;
        (now != self.transaction).then(|| self.escape(&now, culprit))
    }

    fn escape(&self, now: &str, culprit: &str) -> Fault {
        Fault::new(
            Reason::TransactionEscaped,
            format!(
                "{culprit} ended the operation's transaction {}; the session is in {now} now",
                self.transaction
            ),
        )
        .hint(
            "what the revision committed by itself stays: take its transaction control out, then run a reset",
        )
        .with("file", culprit)
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
        self.own().await?;
        let until = self.until.take();
        let committed = self.message(&CommitDeadline::commit(until.as_ref())).await;
        committed.map_err(|e| CommitDeadline::failed(until.as_ref(), "committing a step", &e.error))
    }

    /// Begins a transaction again.
    ///
    /// # Errors
    /// The session was lost, or the lock is not held any more.
    pub(crate) async fn restart(&mut self, lock: &LockSession) -> Result<(), Fault> {
        self.open_step = false;
        self.inspected.clear();
        self.written.clear();
        // In a message of its own: what was left decides how a transaction begins.
        take_key(self.own().await?, lock, "BEGIN").await?;
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
        self.own().await?;
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
pub(super) async fn take_key(
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
