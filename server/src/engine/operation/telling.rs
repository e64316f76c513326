//! Milestones of a replay, stored some at a time while the next revision runs: each by itself would cost as much as a revision.

use std::time::Duration;

use model::{event::EventKind, fault::Fault};
use tokio::time::Instant;

use super::lifecycle::Run;
use crate::postgres::{control::journal, lock::lease::LockSession};

/// How long a milestone may wait for others to be stored with it.
const WAIT: Duration = Duration::from_millis(50);

/// Milestones that are not stored yet, and when they have to be.
#[derive(Default)]
pub(super) struct Telling(Option<(Instant, Vec<EventKind>)>);

impl Telling {
    /// What happened, in order.
    pub(super) fn push(&mut self, kind: EventKind) {
        self.0.get_or_insert_with(|| (Instant::now() + WAIT, Vec::new())).1.push(kind);
    }
}

impl Run {
    /// Does work, and stores meanwhile what has waited long enough. Where the work fails, all of it is stored.
    pub(super) async fn beside<T>(
        &self,
        lock: &LockSession,
        telling: &mut Telling,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let worked = match telling.0.as_ref().map(|(due, _)| *due) {
            None => work.await,
            Some(due) => {
                let mut work = std::pin::pin!(work);
                tokio::select! {
                    biased;
                    worked = &mut work => worked,
                    () = tokio::time::sleep_until(due) => {
                        // Neither is left half-way.
                        let (told, worked) = tokio::join!(self.tell(lock, telling), work);
                        told?;
                        worked
                    }
                }
            }
        };
        if let Err(fault) = &worked
            && let Err(failed) = self.tell(lock, telling).await
        {
            tracing::debug!(%fault, %failed, "what was done before a failure is not on record");
        }
        worked
    }

    /// Stores what is not stored yet.
    pub(super) async fn tell(&self, lock: &LockSession, telling: &mut Telling) -> Result<(), Fault> {
        let Some((_, kinds)) = telling.0.take() else { return Ok(()) };
        let _rest = self.backends.rest();
        let mut connection = lock.connection().await;
        let (sequence, _) = journal::append_all(&mut connection, self.owner, &kinds).await?;
        self.live.stored(sequence);
        Ok(())
    }
}
