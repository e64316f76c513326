//! The time before the lock: an operation in the queue, and what its watchers are told of its place.

use std::sync::{Mutex, PoisonError};

use model::{
    event::{EventKind, Queued},
    fault::Fault,
};

use super::lifecycle::Run;
use crate::postgres::{
    change::control_schema,
    control::journal,
    lock::{lease::LockSession, queue::Waiter},
};

impl Run {
    /// Waits for the turn; when this returns, the operation holds the lock and runs.
    pub(in crate::engine) async fn wait_for_lock(&self) -> Result<LockSession, Fault> {
        let control = &self.engine.control;
        let lock = LockSession::open(control, &self.ticket).await?;
        let live = self.live.clone();
        let (first, mut queued) = tokio::sync::mpsc::channel(1);
        let first = Mutex::new(Some(first));
        let tell = move |place: Queued| {
            // The first place is a milestone; later ones are passed on to whoever watches.
            if let Some(first) = first.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let _sent = first.try_send(place.clone());
            }
            live.tell(EventKind::Queued(place));
        };
        let milestone = async {
            if let Some(place) = queued.recv().await {
                self.append_by_pool(EventKind::Queued(place)).await?;
            }
            std::future::pending::<Result<(), Fault>>().await
        };
        let waiter = Waiter {
            control,
            lock: &lock,
            ticket: &self.ticket,
            wait: self.request.wait,
            interrupt: &self.live.interrupt,
            news: self.engine.wakeups.subscribe_targets(),
            tell: &tell,
            watched: &|| self.live.is_watched(),
            bound: (!self.request.detached).then_some(self.target.profile.unwatched_wait_limit),
        };
        tokio::select! {
            waited = waiter.wait() => waited?,
            failed = milestone => failed?,
        }
        // It may have waited for long.
        control_schema::is_current(control).await?;
        let mut connection = lock.connection().await;
        let acquired = EventKind::LockAcquired { shared: lock.shared, pid: lock.pid };
        let event = journal::append(&mut connection, self.owner, acquired).await?;
        self.live.stored(event.sequence);
        drop(connection);
        Ok(lock)
    }

    async fn append_by_pool(&self, kind: EventKind) -> Result<(), Fault> {
        let mut connection = self.engine.control.connection().await?;
        let event = journal::append(&mut connection, self.owner, kind).await?;
        self.live.stored(event.sequence);
        Ok(())
    }
}
