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
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::postgres::{change::context::ProgressSink, session::interrupt::Interrupt};

/// How many ephemeral events a slow watcher may lag behind before it loses some.
const LAG: usize = 64;

/// One operation that runs here.
#[derive(Clone, Debug)]
pub(in crate::engine) struct LiveOperation {
    pub(in crate::engine) id: Uuid,
    pub(in crate::engine) interrupt: Interrupt,
    ephemeral: broadcast::Sender<Ephemeral>,
    stored: Arc<AtomicU64>,
    unrecorded: Arc<watch::Sender<Option<Fault>>>,
}

/// What a watcher of an operation hears beside the journal.
#[derive(Debug)]
pub(in crate::engine) struct Ear {
    pub(in crate::engine) ephemeral: broadcast::Receiver<Ephemeral>,
    /// How it ended, where its end cannot be written down yet.
    pub(in crate::engine) unrecorded: watch::Receiver<Option<Fault>>,
}

/// An ephemeral event, and the number of the stored one that it comes after.
pub(in crate::engine) type Ephemeral = (u64, Event);

impl LiveOperation {
    /// Tells an ephemeral event to whoever watches here; nobody has to.
    pub(in crate::engine) fn tell(&self, kind: EventKind) {
        let event = Event { sequence: 0, operation: self.id, at: Timestamp::now(), kind };
        // Sending fails only when nobody watches.
        let _nobody = self.ephemeral.send((self.stored.load(Ordering::Relaxed), event));
    }

    /// An event was stored: what is told from now on comes after it.
    pub(in crate::engine) fn stored(&self, sequence: u64) {
        self.stored.fetch_max(sequence, Ordering::Relaxed);
    }

    /// It has ended, and its end cannot be written down yet: whoever watches here is told.
    pub(in crate::engine) fn tell_unrecorded(&self, fault: Fault) {
        self.unrecorded.send_replace(Some(fault));
    }

    /// Somebody watches it here.
    pub(in crate::engine) fn is_watched(&self) -> bool {
        self.ephemeral.receiver_count() > 0
    }

    /// The same as a function that can be handed down.
    pub(in crate::engine) fn progress_sink(&self) -> ProgressSink {
        let this = self.clone();
        Arc::new(move |kind| this.tell(kind))
    }
}

/// Takes an operation out of those that run here.
#[derive(Debug)]
pub(in crate::engine) struct Deregister<'a> {
    live: &'a Live,
    id: Uuid,
}

impl Drop for Deregister<'_> {
    fn drop(&mut self) {
        self.live.locked().remove(&self.id);
    }
}

/// All operations that run here.
#[derive(Debug, Default)]
pub(in crate::engine) struct Live {
    operations: Mutex<HashMap<Uuid, LiveOperation>>,
    /// Why those were interrupted whose work did not end: whoever recovers them writes it.
    left: Mutex<HashMap<Uuid, Fault>>,
}

impl Live {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, LiveOperation>> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::engine) fn enter(&self, id: Uuid) -> LiveOperation {
        let live = LiveOperation {
            id,
            interrupt: Interrupt::default(),
            ephemeral: broadcast::Sender::new(LAG),
            stored: Arc::default(),
            unrecorded: Arc::new(watch::Sender::new(None)),
        };
        self.locked().insert(id, live.clone());
        live
    }

    /// Something that takes the operation out when it is dropped.
    pub(in crate::engine) fn deregister(&self, id: Uuid) -> Deregister<'_> {
        Deregister { live: self, id }
    }

    /// An operation was interrupted and is left to recovery.
    pub(in crate::engine) fn left(&self, id: Uuid, why: Fault) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).insert(id, why);
    }

    /// Why an operation was interrupted that was left to recovery here.
    pub(in crate::engine) fn why_left(&self, id: Uuid) -> Option<Fault> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    pub(in crate::engine) fn runs(&self, id: Uuid) -> bool {
        self.locked().contains_key(&id)
    }

    pub(in crate::engine) fn watch(&self, id: Uuid) -> Option<Ear> {
        self.locked().get(&id).map(|live| Ear {
            ephemeral: live.ephemeral.subscribe(),
            unrecorded: live.unrecorded.subscribe(),
        })
    }

    pub(in crate::engine) fn interrupt_all(&self, why: &Fault) {
        for live in self.locked().values() {
            live.interrupt.raise(why.clone());
        }
    }
}
