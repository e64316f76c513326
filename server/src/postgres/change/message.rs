//! What is sent in the work session: messages that an interrupt cancels, and steps that are tried again while others hold
//! locks they need. After each, the session is as it was opened before a query of the daemon's own is sent.

use std::time::{Duration, Instant};

use model::fault::{Fault, Reason};
use sqlx::{
    AssertSqlSafe, Either,
    postgres::{PgDatabaseError, PgErrorPosition, PgRow},
};
use tokio_stream::StreamExt as _;

use super::{
    step::{Part, Step, wants_fresh_transaction},
    transaction::Work,
};
use crate::postgres::{
    session::{backend, liveness::lost_error},
    sql::{
        error::{condition::Condition, database_error, is_collision, work_fault},
        ident::Ident,
    },
};

/// How often a cancel is repeated.
const LOOK: Duration = Duration::from_millis(250);

/// How often a step is tried that collides with other sessions in catalogs, while nothing of its own operation runs beside it.
const COLLISIONS: u32 = 10;

/// A message that failed: after how many statements, where in its text if PostgreSQL says so, and how.
#[derive(Debug)]
pub(crate) struct MessageError {
    pub(crate) completed: usize,
    /// In characters, from 1.
    pub(crate) position: Option<usize>,
    pub(crate) error: sqlx::Error,
}

impl MessageError {
    pub(super) fn of(completed: usize, error: sqlx::Error) -> Self {
        let position = match database_error(&error).and_then(PgDatabaseError::position) {
            Some(PgErrorPosition::Original(at)) => Some(at),
            _ => None,
        };
        Self { completed, position, error }
    }
}

/// What a message did.
#[derive(Default)]
pub(crate) struct Answer {
    /// How many rows each of its statements changed.
    pub(super) rows: Vec<u64>,
    /// The last row that it returned.
    pub(super) last: Option<PgRow>,
}

impl Work {
    /// Sends one statement of the daemon's own, taken back and tried again while others hold locks it needs.
    ///
    /// # Errors
    /// `BLOCKED`, an interrupt, or what PostgreSQL said.
    pub(in crate::postgres) async fn patient(&mut self, label: &str, sql: &str) -> Result<(), Fault> {
        let step = Step { before: Vec::new(), text: sql, statements: 1, after: Vec::new() };
        self.patiently(label, &step, &|_, failed| work_fault(label, &failed.error)).await?;
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

    /// Sends the daemon's own statement to the restored session, as `role`, and says how many rows it changed.
    ///
    /// # Errors
    /// As [`Self::message`].
    pub(in crate::postgres) async fn change_as(
        &mut self,
        role: Option<&str>,
        sql: &str,
    ) -> Result<u64, MessageError> {
        let own: Vec<String> =
            self.release().into_iter().chain(self.restore()).chain(self.become_role(role)).collect();
        self.touched = true;
        let answer = self.send(&format!("{}; {sql}", own.join("; "))).await?;
        Ok(answer.rows.last().copied().unwrap_or_default())
    }

    /// What a statement of the daemon's own, as `role`, begins with: it does not wait for long.
    pub(super) fn become_role(&self, role: Option<&str>) -> [String; 2] {
        let role = role.map_or_else(|| "NONE".to_owned(), |role| Ident(role).to_string());
        [self.lock_waits.limit(), format!("SET LOCAL ROLE {role}")]
    }

    async fn send(&mut self, sql: &str) -> Result<Answer, MessageError> {
        let mut answer = Answer::default();
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
                            match seen {
                                Either::Left(done) => answer.rows.push(done.rows_affected()),
                                Either::Right(row) => answer.last = Some(row),
                            }
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
                Ok(answer)
            }
            Err(error) => Err(MessageError::of(answer.rows.len(), error)),
        }
    }

    /// Sends a step, taken back and tried again while other sessions hold locks it needs, until the operation's patience is
    /// used up.
    ///
    /// # Errors
    /// `BLOCKED`, the interrupt's reason, or what `explain` makes of the part that failed.
    pub(crate) async fn patiently(
        &mut self,
        label: &str,
        step: &Step<'_>,
        explain: &(dyn Fn(Part, &MessageError) -> Fault + Sync),
    ) -> Result<Answer, Fault> {
        let mut collisions = 0;
        (self.collided, self.wants_fresh) = (false, false);
        loop {
            self.context.interrupt.check()?;
            let started = Instant::now();
            let (part, error) = match self.send_step(step).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            self.context.interrupt.check()?;
            let collided = is_collision(&error.error);
            self.wants_fresh = self.may_want_fresh && wants_fresh_transaction(&error.error);
            if collided && !self.is_alone || self.wants_fresh {
                self.collided = collided;
                self.take_back().await?;
                return Err(explain(part, &error));
            }
            collisions += u32::from(collided);
            let again = collided && collisions < COLLISIONS;
            if !again && Condition::of_error(&error.error) != Some(Condition::LockNotAvailable) {
                return Err(explain(part, &error));
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

    /// Sends a step as one message: what its text sets, a time limit above all, ends with it.
    async fn send_step(&mut self, step: &Step<'_>) -> Result<Answer, (Part, MessageError)> {
        let opening = self.release().into_iter().chain(["SAVEPOINT resetd_step".to_owned()]);
        let own = opening.chain(self.restore()).chain([self.lock_waits.limit()]);
        let before: Vec<String> = own.chain(step.before.iter().cloned()).collect();
        let (prefix, restore) = (format!("{}; ", before.join("; ")), self.restore().collect::<Vec<_>>());
        let after = restore.iter().chain(&step.after).cloned().collect::<Vec<_>>().join("; ");
        self.touched = true;
        match self.send(&format!("{prefix}{}\n;{after}", step.text)).await {
            Ok(answer) => {
                self.touched = step.after.len() > 1;
                Ok(answer)
            }
            Err(failed) => Err(step.locate(before.len(), prefix.chars().count(), failed)),
        }
    }

    /// Keeps what the last step did: its savepoint goes with the next message. Only once the step is known not to have left
    /// the transaction.
    pub(crate) fn keep_step(&mut self) {
        self.open_step = true;
    }

    /// What releases the last step's savepoint.
    pub(super) fn release(&mut self) -> Option<String> {
        std::mem::take(&mut self.open_step).then(|| "RELEASE SAVEPOINT resetd_step".to_owned())
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
