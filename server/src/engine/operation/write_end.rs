//! Writing an operation's end, however long that takes. Where PostgreSQL refuses it, as on a full disk, whoever watches is
//! told at once what happened; the lock is held on to until it is written.

use std::time::Duration;

use model::fault::{Fault, Reason};

use super::{
    ending,
    lifecycle::{Done, GIVE_UP, Run, WRITE_LIMIT},
};
use crate::postgres::{control::journal, lock::lease::LockSession, sql::error::condition::is_lasting};

/// The first and the longest pause between attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

impl Run {
    /// Writes the end, on the lock's connection while it lives, else on another one, until it is written or the operation
    /// turns out to be somebody else's. Gives the lock back where its connection still lives.
    pub(super) async fn write_end(
        &self,
        mut lock: Option<LockSession>,
        result: Result<Done, Fault>,
    ) -> Option<LockSession> {
        let id = self.owner.operation;
        let mut pause = PAUSES.0;
        loop {
            let fault = match self.try_to_write_end(lock.as_ref(), &result).await {
                Ok(()) => return lock,
                Err(fault) => fault,
            };
            match (is_lasting(&fault), &lock) {
                (true, _) => self.live.tell_unrecorded(unrecorded(&result, &fault, id)),
                // A connection that did not take the end is of no use; closing it ends whatever it still did.
                (false, Some(_)) => {
                    lock = None;
                    continue;
                }
                (false, None) if fault.reason == Reason::LockLost => {
                    tracing::warn!(operation = %id, "another daemon wrote the end of this operation");
                    return None;
                }
                (false, None) => {}
            }
            tracing::warn!(operation = %id, %fault, "the end is not written yet");
            if self.engine.ended().is_cancelled() {
                return None;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn try_to_write_end(
        &self,
        lock: Option<&LockSession>,
        result: &Result<Done, Fault>,
    ) -> Result<(), Fault> {
        let (limit, written) = match lock {
            Some(lock) => {
                let on_lock = async { self.write_end_on(&mut *lock.connection().await, result).await };
                (WRITE_LIMIT, tokio::time::timeout(WRITE_LIMIT, on_lock).await)
            }
            None => (GIVE_UP, tokio::time::timeout(GIVE_UP, self.write_end_elsewhere(result)).await),
        };
        written.unwrap_or_else(|_| {
            let what = format!("the control database says nothing within {} s", limit.as_secs());
            Err(Fault::new(Reason::ControlUnavailable, what))
        })
    }

    async fn write_end_elsewhere(&self, result: &Result<Done, Fault>) -> Result<(), Fault> {
        let mut connection = self.engine.control.connection().await?;
        self.write_end_on(&mut connection, result).await
    }

    async fn write_end_on(
        &self,
        connection: &mut crate::postgres::Connection,
        result: &Result<Done, Fault>,
    ) -> Result<(), Fault> {
        match result {
            Ok(Done::Finished) => Ok(()),
            Ok(Done::Committed) => Ok(journal::finish_prepared(connection, self.owner).await?),
            Ok(Done::Read(summary)) => Ok(journal::finish(connection, self.owner, &|events, at| {
                ending::make(events, at, Ok(summary))
            })
            .await?),
            Ok(Done::Changed(fault)) | Err(fault) => {
                Ok(journal::finish(connection, self.owner, &|events, at| {
                    ending::make(events, at, Err(fault))
                })
                .await?)
            }
        }
    }
}

/// What is known of an operation whose end cannot be written yet.
fn unrecorded(result: &Result<Done, Fault>, why: &Fault, id: uuid::Uuid) -> Fault {
    let (told, reason) = match result {
        Ok(Done::Read(summary)) => (summary.clone(), None),
        Ok(Done::Committed | Done::Finished) => ("the change is committed".to_owned(), None),
        // It says itself that the change is committed.
        Ok(Done::Changed(fault)) => (fault.message.clone(), Some(fault.reason)),
        Err(fault) => {
            let what = format!(
                "it ended with {} ({}); what was not committed was rolled back",
                fault.reason, fault.message
            );
            (what, Some(fault.reason))
        }
    };
    let fault = Fault::new(
        Reason::EndNotRecorded,
        format!("operation {id} has ended, and its end cannot be written down yet, {}: {told}", why.message),
    )
    .hint(format!("fix the control database; then: resetctl operations watch {id}"))
    .with("operation", id);
    match reason {
        Some(reason) => fault.with("ended_with", reason),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use model::fault::SqlSite;
    use uuid::Uuid;

    use super::*;

    fn answered(state: &str) -> Fault {
        let site = SqlSite { sqlstate: Some(state.to_owned()), ..SqlSite::default() };
        Fault::new(Reason::ControlUnavailable, "no room").at(site)
    }

    #[test]
    fn only_what_is_known_is_told() {
        let told = |result| unrecorded(&result, &answered("53100"), Uuid::nil()).message;
        assert!(told(Ok(Done::Committed)).ends_with("the change is committed"));
        assert!(told(Ok(Done::Read("valid: 6 schemas".into()))).ends_with("valid: 6 schemas"));
        let failed = told(Err(Fault::new(Reason::RevisionFailed, "division by zero")));
        assert!(failed.contains("REVISION_FAILED (division by zero)") && failed.contains("rolled back"));
        assert!(!failed.contains("committed;"), "{failed}");
    }
}
