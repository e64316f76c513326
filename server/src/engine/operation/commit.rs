//! The end of the work transaction: committed, with its truth asked for where the answer did not arrive, or rolled back.

use model::{
    fault::{Fault, Reason},
    validation::Validation,
};

use super::{
    ending,
    lifecycle::{Done, Run},
};
use crate::postgres::{
    change::transaction::Work,
    control::{commit_deadline::CommitDeadline, journal, kept_schemas::Intent},
    lock::lease::LockSession,
    session::{backend, failpoint},
};

/// What the transaction holds when its work is done.
pub(in crate::engine) enum Worked {
    /// Nothing to commit.
    Read(String),
    /// A change.
    Change(Box<Change>),
}

/// A change that is ready to be committed.
pub(in crate::engine) struct Change {
    /// What happened when it is committed.
    pub(in crate::engine) summary: String,
    /// What it was validated as.
    pub(in crate::engine) validated: Option<Validation>,
    /// What is set aside then.
    pub(in crate::engine) aside: Option<Intent>,
}

impl Run {
    /// Commits what was changed, and rolls everything else back.
    pub(in crate::engine) async fn end_work(
        &self,
        work: Work,
        lock: &LockSession,
        worked: Result<Worked, Fault>,
    ) -> Result<Done, Fault> {
        match worked {
            Ok(Worked::Change(change)) => {
                self.commit(work, lock, &change).await?;
                Ok(self.confirm(lock, change.validated.as_ref()).await)
            }
            Ok(Worked::Read(summary)) => {
                work.roll_back().await;
                Ok(Done::Read(summary))
            }
            Err(fault) => {
                work.roll_back().await;
                Err(fault)
            }
        }
    }

    /// Stores the end that the commit will have and what it sets aside, sends COMMIT, and learns whether it happened.
    async fn commit(&self, mut work: Work, lock: &LockSession, change: &Change) -> Result<(), Fault> {
        let prepared = self.prepare(&mut work, lock, change).await;
        let (transaction, until) = match prepared {
            Ok(prepared) => prepared,
            Err(fault) => {
                work.roll_back().await;
                return Err(fault);
            }
        };
        let pid = work.pid();
        work.until = until;
        let committed = work.commit().await;
        failpoint::point(self.owner.operation, "committed").await;
        let Err(failed) = committed else { return Ok(()) };
        tracing::warn!(operation = %self.owner.operation, %failed, "the commit's answer did not arrive; its truth is asked for");
        self.learn(&transaction, pid, &failed).await
    }

    async fn prepare(
        &self,
        work: &mut Work,
        lock: &LockSession,
        change: &Change,
    ) -> Result<(String, Option<CommitDeadline>), Fault> {
        self.live.interrupt.check()?;
        let transaction = work.assigned().to_owned();
        let _rest = self.backends.rest();
        let mut connection = lock.connection().await;
        let make = |events: &[_], at| ending::make(events, at, Ok(&change.summary));
        let (right, bound) = (&self.window_guard, self.commit_bound());
        let aside = change.aside.as_ref();
        let until =
            journal::prepare_commit(&mut connection, self.owner, &transaction, aside, right, bound, &make)
                .await?;
        Ok((transaction, until))
    }

    /// Asks the cluster what became of the transaction, until it knows.
    async fn learn(&self, transaction: &str, pid: i32, failed: &Fault) -> Result<(), Fault> {
        loop {
            match backend::xact_status(&self.engine.control.pool, transaction).await {
                Ok(Some(status)) if status == "committed" => return Ok(()),
                Ok(Some(status)) if status == "aborted" => return Err(refused_or_lost(failed)),
                Ok(Some(_)) => backend::terminate(&self.engine.control.pool, pid).await,
                Ok(None) => {
                    return Err(Fault::new(
                        Reason::OutcomeUnknown,
                        "the transaction is too old for the cluster to know",
                    ));
                }
                Err(fault) => tracing::warn!(%fault, "whether the commit happened cannot be asked now"),
            }
            if self.engine.ended().is_cancelled() {
                return Err(Fault::new(
                    Reason::OutcomeUnknown,
                    "the daemon ended before the commit's answer came",
                ));
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
}

/// A commit that did not happen: PostgreSQL refused it, or its connection was lost before.
fn refused_or_lost(failed: &Fault) -> Fault {
    match failed.reason {
        Reason::TargetUnreachable | Reason::WindowHeld | Reason::WindowRequired => failed.clone(),
        _ => Fault { reason: Reason::CommitFailed, ..failed.clone() },
    }
}
