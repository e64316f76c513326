//! The exchange of two databases with the end of its operation, and how its truth is learned.

use model::fault::{Fault, Reason};
use uuid::Uuid;

use super::{
    ending,
    lifecycle::{Done, Run},
};
use crate::postgres::{
    catalog::database::DatabaseRow,
    control::operations,
    lock::lease::LockSession,
    session::backend,
    swap::exchange::{self, Swap},
};

/// Which databases are exchanged.
pub(in crate::engine) struct Exchange<'a> {
    /// The one that serves.
    pub(in crate::engine) outgoing: Option<&'a DatabaseRow>,
    /// The one that takes its name, by its generated name and oid.
    pub(in crate::engine) incoming: (&'a str, u32),
    /// That one's row as it was built; `None`: it was kept.
    pub(in crate::engine) built: Option<&'a DatabaseRow>,
    /// Kept databases that are kept no longer.
    pub(in crate::engine) ends_early: &'a [Uuid],
    /// What the end says.
    pub(in crate::engine) summary: &'a str,
}

impl Run {
    /// Swaps and writes the end; learns what happened where the commit's answer does not come.
    pub(in crate::engine) async fn swap(&self, lock: &LockSession, it: &Exchange<'_>) -> Result<Done, Fault> {
        self.live.interrupt.check()?;
        let kept_name = self.generated("kept");
        let swap = Swap {
            owner: self.owner,
            database: self.target.database(),
            outgoing: it.outgoing,
            incoming: it.incoming,
            built: it.built,
            ends_early: it.ends_early,
            kept_name: &kept_name,
            keep: self.target.profile.keep_previous,
            rule: self.session_rule(),
            own: &lock.application_name,
            lock_pid: lock.pid,
            window_guard: &self.window_guard,
            bound: self.commit_bound(),
        };
        let make = |events: &[_], at| ending::make(events, at, Ok(it.summary));
        let context = self.work_context();
        let swapped = exchange::swap(&mut *lock.connection().await, &context, &swap, &make).await;
        match swapped {
            Ok(()) => Ok(Done::Finished),
            Err(fault) if fault.reason == Reason::OutcomeUnknown => self.learn_swap(lock.pid, fault).await,
            Err(fault) => Err(fault),
        }
    }

    /// The end is in the swap's own transaction: where it is written, the swap happened; where the backend is gone and it
    /// is not, it did not.
    async fn learn_swap(&self, pid: i32, failed: Fault) -> Result<Done, Fault> {
        let pool = &self.engine.control.pool;
        tracing::warn!(operation = %self.owner.operation, fault = %failed, "the swap's answer did not arrive; its truth is asked for");
        loop {
            let lives = backend::lives(pool, pid).await;
            match (operations::get(pool, self.owner.operation).await, lives) {
                (Ok(Some(operation)), _) if operation.end.is_some() => return Ok(Done::Finished),
                (Ok(_), Ok(false)) => return Err(Fault { reason: Reason::LockLost, ..failed }),
                (Ok(_), Ok(true)) => backend::terminate(pool, pid).await,
                _ => tracing::warn!("whether the swap happened cannot be asked now"),
            }
            if self.engine.ended().is_cancelled() {
                return Err(failed);
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
}
