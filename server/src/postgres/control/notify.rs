//! Who waits for news of an operation is woken up by NOTIFY; what is true is always read from the journal.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{journal::CHANNEL, pool::Control};
use crate::postgres::sql::error::message;

/// The channel on which changes around targets are announced; the payload may name the database.
pub(crate) const TARGET_CHANNEL: &str = "resetd_target";

/// How long the listener pauses before it connects again.
const PAUSE: Duration = Duration::from_millis(500);

/// The daemon's one listener, and everybody who waits for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakeups {
    targets: watch::Sender<()>,
    any: watch::Sender<()>,
    waiting: Arc<Mutex<HashMap<Uuid, watch::Sender<()>>>>,
}

impl Wakeups {
    /// Something that changes when there is news of an operation. News may be spurious, and may be missed while the
    /// listener reconnects: look again now and then.
    pub(crate) fn subscribe(&self, operation: Uuid) -> watch::Receiver<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, sender| sender.receiver_count() > 0);
        waiting.entry(operation).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Something that changes when there is news of a target: its lock, its queue, its windows. As unreliable.
    pub(crate) fn subscribe_targets(&self) -> watch::Receiver<()> {
        self.targets.subscribe()
    }

    /// Something that changes with any news at all.
    pub(crate) fn subscribe_any(&self) -> watch::Receiver<()> {
        self.any.subscribe()
    }

    fn wake(&self, operation: Option<Uuid>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, sender) in waiting.iter() {
            if operation.is_none_or(|operation| operation == *id) {
                sender.send_replace(());
            }
        }
    }

    /// Listens until the daemon ends.
    pub(crate) async fn listen(self, control: Control, end: CancellationToken) {
        while !end.is_cancelled() {
            let lost = tokio::select! {
                () = end.cancelled() => return,
                lost = self.listen_once(&control) => lost,
            };
            if let Err(error) = lost {
                tracing::debug!(error = %message(&error), "the listener connects again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn listen_once(&self, control: &Control) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(&control.pool).await?;
        listener.listen_all([CHANNEL, TARGET_CHANNEL]).await?;
        self.wake(None);
        self.targets.send_replace(());
        self.any.send_replace(());
        while let Some(notification) = listener.try_recv().await? {
            match notification.channel() {
                CHANNEL => self.wake(notification.payload().parse().ok()),
                _ => self.targets.send_replace(()),
            }
            self.any.send_replace(());
        }
        Ok(())
    }
}
