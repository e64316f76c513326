//! Whose turn it is where cells are replayed side by side: most revisions run beside one another, some only alone.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::lifecycle::Run;
use crate::postgres::{change::transaction::Work, lock::lease::LockSession};
use model::fault::Fault;

/// The turns of one operation.
pub(in crate::engine) struct Turns {
    lock: RwLock<()>,
    shared: bool,
}

/// A turn, given back when it is dropped.
pub(in crate::engine) enum Turn<'a> {
    /// Others run meanwhile, unless they need to be alone.
    Beside(#[expect(dead_code, reason = "held until it is dropped")] RwLockReadGuard<'a, ()>),
    /// There is only one that runs.
    Only,
    /// Nobody else runs.
    Alone(#[expect(dead_code, reason = "held until it is dropped")] RwLockWriteGuard<'a, ()>),
}

impl Turn<'_> {
    pub(super) fn is_alone(&self) -> bool {
        !matches!(self, Self::Beside(_))
    }
}

impl Turns {
    /// For so many that run at a time.
    pub(super) fn of(jobs: usize) -> Self {
        Self { lock: RwLock::default(), shared: jobs > 1 }
    }

    /// Others may run at the same time.
    pub(super) fn are_shared(&self) -> bool {
        self.shared
    }

    fn take_now(&self, alone: bool) -> Option<Turn<'_>> {
        match alone {
            _ if !self.shared => Some(Turn::Only),
            true => self.lock.try_write().ok().map(Turn::Alone),
            false => self.lock.try_read().ok().map(Turn::Beside),
        }
    }

    async fn take(&self, alone: bool) -> Turn<'_> {
        match alone {
            true => Turn::Alone(self.lock.write().await),
            false => Turn::Beside(self.lock.read().await),
        }
    }
}

impl Run {
    /// Takes a turn. Whoever has to wait for it waits outside any transaction, since the one whose turn it is may wait for
    /// each that is open.
    pub(super) async fn turn<'a>(
        &self,
        turns: &'a Turns,
        work: &mut Work,
        lock: &LockSession,
        alone: bool,
    ) -> Result<Turn<'a>, Fault> {
        let turn = match turns.take_now(alone) {
            Some(turn) => turn,
            None => {
                work.leave_transaction().await?;
                let turn = {
                    let _rest = self.backends.rest();
                    turns.take(alone).await
                };
                work.restart(lock).await?;
                turn
            }
        };
        work.is_alone = turn.is_alone();
        Ok(turn)
    }
}
