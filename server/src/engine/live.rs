//! The operations that run in this daemon now: their interrupts, and their ephemeral events.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use model::{
    event::{Event, EventKind},
    fault::Fault,
};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::postgres::{interrupt::Interrupt, work::Tell};

/// How many ephemeral events a slow watcher may lag behind before it loses some.
const LAG: usize = 64;

/// One operation that runs here.
#[derive(Clone, Debug)]
pub(super) struct LiveOperation {
    pub(super) id: Uuid,
    pub(super) interrupt: Interrupt,
    ephemeral: broadcast::Sender<Ephemeral>,
    stored: Arc<AtomicU64>,
}

/// An ephemeral event, and the number of the stored one that it comes after.
pub(super) type Ephemeral = (u64, Event);

impl LiveOperation {
    /// Tells an ephemeral event to whoever watches here; nobody has to.
    pub(super) fn tell(&self, kind: EventKind) {
        let event = Event { sequence: 0, operation: self.id, at: Timestamp::now(), kind };
        // Sending fails only when nobody watches.
        let _nobody = self.ephemeral.send((self.stored.load(Ordering::Relaxed), event));
    }

    /// An event was stored: what is told from now on comes after it.
    pub(super) fn stored(&self, sequence: u64) {
        self.stored.fetch_max(sequence, Ordering::Relaxed);
    }

    /// Somebody watches it here.
    pub(super) fn is_watched(&self) -> bool {
        self.ephemeral.receiver_count() > 0
    }

    /// The same as a function that can be handed down.
    pub(super) fn teller(&self) -> Tell {
        let this = self.clone();
        Arc::new(move |kind| this.tell(kind))
    }
}

/// Takes an operation out of those that run here.
#[derive(Debug)]
pub(super) struct Leaves<'a> {
    live: &'a Live,
    id: Uuid,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.live.locked().remove(&self.id);
    }
}

/// All operations that run here.
#[derive(Debug, Default)]
pub(super) struct Live {
    operations: Mutex<HashMap<Uuid, LiveOperation>>,
}

impl Live {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, LiveOperation>> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, id: Uuid) -> LiveOperation {
        let live = LiveOperation {
            id,
            interrupt: Interrupt::default(),
            ephemeral: broadcast::Sender::new(LAG),
            stored: Arc::default(),
        };
        self.locked().insert(id, live.clone());
        live
    }

    /// Something that takes the operation out when it is dropped.
    pub(super) fn leaves(&self, id: Uuid) -> Leaves<'_> {
        Leaves { live: self, id }
    }

    pub(super) fn runs(&self, id: Uuid) -> bool {
        self.locked().contains_key(&id)
    }

    pub(super) fn watch(&self, id: Uuid) -> Option<broadcast::Receiver<Ephemeral>> {
        self.locked().get(&id).map(|live| live.ephemeral.subscribe())
    }

    pub(super) fn interrupt_all(&self, why: &Fault) {
        for live in self.locked().values() {
            live.interrupt.raise(why.clone());
        }
    }
}
