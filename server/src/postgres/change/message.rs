//! What is sent in the work session: messages that an interrupt cancels, and steps that are tried again while others hold
//! locks they need. After each, the session is as it was opened before a query of the daemon's own is sent.

use std::time::{Duration, Instant};

use model::fault::{Fault, Reason};
use sqlx::AssertSqlSafe;
use tokio_stream::StreamExt as _;

use super::transaction::Work;
use crate::postgres::{
    session::{backend, liveness::lost_error},
    sql::{
        error::{condition::Condition, is_collision, work_fault},
        ident::Ident,
    },
};

/// How often a cancel is repeated.
const LOOK: Duration = Duration::from_millis(250);

/// How often a step is tried that collides with other sessions in catalogs, while nothing of its own operation runs beside it.
const COLLISIONS: u32 = 10;

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
        self.keep_step();
        Ok(())
    }

    /// Sends one message and waits for its end. An interrupt cancels it on the server side.
    ///
    /// # Errors
    /// What failed, after how many statements.
    pub(crate) async fn message(&mut self, sql: &str) -> Result<(), MessageError> {
        self.touched = true;
        self.send(sql).await.map(|_| ())
    }

    /// As [`Self::message`], for one that may run others' code; the session is restored in the same message.
    ///
    /// # Errors
    /// As [`Self::message`].
    async fn message_and_restore(&mut self, sql: &str) -> Result<(), MessageError> {
        self.touched = true;
        self.send(&format!("{sql}\n;{}", self.restore())).await?;
        self.touched = false;
        Ok(())
    }

    /// Sends the daemon's own statement to the restored session, as `role`, and says how many rows it changed.
    ///
    /// # Errors
    /// As [`Self::message`].
    pub(in crate::postgres) async fn change_as(
        &mut self,
        role: Option<&str>,
        sql: &str,
    ) -> Result<u64, MessageError> {
        let role = role.map_or_else(|| "NONE".to_owned(), |role| Ident(role).to_string());
        let (restore, limit) = (self.restore(), self.lock_waits.limit());
        let release = self.release();
        self.touched = true;
        let rows = self.send(&format!("{release} {restore} {limit} SET LOCAL ROLE {role}; {sql}")).await?;
        Ok(rows.last().copied().unwrap_or_default())
    }

    /// Sends one message and gives the rows that each statement changed.
    async fn send(&mut self, sql: &str) -> Result<Vec<u64>, MessageError> {
        let mut rows = Vec::new();
        let (pid, context) = (self.pid, self.context.clone());
        let limited = self.relay.limit();
        let outcome = {
            let mut results = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(&mut self.connection);
            let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
            let mut cancelled = false;
            loop {
                tokio::select! {
                    biased;
                    result = results.next() => match result {
                        None => break Ok(()),
                        Some(Ok(seen)) => {
                            rows.extend(seen.left().map(|done| done.rows_affected()));
                            limited.handed_on();
                        }
                        Some(Err(error)) => break Err(limited.explain(error)),
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
        match outcome {
            Ok(()) => {
                self.context.noticed.goes_on(pid);
                Ok(rows)
            }
            Err(error) => Err(MessageError { completed: rows.len(), error }),
        }
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
        let mut collisions = 0;
        self.collided = false;
        loop {
            self.context.interrupt.check()?;
            let started = Instant::now();
            let failed = match self.step(messages).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            self.context.interrupt.check()?;
            let (index, error) = failed;
            let collided = is_collision(&error.error);
            if collided && !self.is_alone {
                self.collided = true;
                self.take_back().await?;
                return Err(explain(index, &error));
            }
            collisions += u32::from(collided);
            let again = collided && collisions < COLLISIONS;
            if !again && Condition::of_error(&error.error) != Some(Condition::LockNotAvailable) {
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
        let release = self.release();
        let begin =
            format!("{release} SAVEPOINT resetd_step; {} {}", self.restore(), self.lock_waits.limit());
        let Some((last, before)) = messages.split_last() else { return Ok(()) };
        // What comes before the last message needs no place of its own: it is the daemon's.
        self.message(&format!("{begin} {}", before.join("; "))).await.map_err(|e| (0, e))?;
        // What it set, a time limit above all, ends with it.
        self.message_and_restore(last).await.map_err(|e| (before.len(), e))
    }

    /// Keeps what the last step did: its savepoint goes with the next message. Only once the step is known not to have left
    /// the transaction.
    pub(crate) fn keep_step(&mut self) {
        self.open_step = true;
    }

    /// What releases the last step's savepoint.
    fn release(&mut self) -> &'static str {
        match std::mem::take(&mut self.open_step) {
            true => "RELEASE SAVEPOINT resetd_step;",
            false => "",
        }
    }

    async fn take_back(&mut self) -> Result<(), Fault> {
        // The settings of before the step come back with it.
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
}
