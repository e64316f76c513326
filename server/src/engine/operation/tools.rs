//! Migration tools of callers: which operations wait for one, who offers it, and its connections on their way to the gateway.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use model::{
    fault::{Fault, Reason},
    tool::Exit,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    engine::Engine,
    postgres::{
        gateway::{Gateway, Told},
        session::relay::Bytes,
    },
};

/// The operations that run here and are filled by a tool.
#[derive(Default)]
pub(in crate::engine) struct Tools {
    places: Mutex<HashMap<Uuid, Arc<Place>>>,
}

/// How far the tool of an operation is, as its caller says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Stage {
    /// Nobody has offered it.
    #[default]
    Absent,
    /// Its caller stands by, or it runs.
    Offered,
    /// It has ended.
    Ended(Exit),
    /// Its caller went away before it was said to have ended.
    Lost,
}

/// Where a tool and its operation meet.
pub(super) struct Place {
    principal: String,
    stage: watch::Sender<Stage>,
    gateway: watch::Sender<Option<Arc<Gateway>>>,
    /// The operation has no more use for it.
    over: CancellationToken,
}

impl Place {
    /// How far it is, as that changes.
    pub(super) fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// The tool may begin; its connections go there.
    pub(super) fn open(&self, gateway: Arc<Gateway>) {
        self.gateway.send_replace(Some(gateway));
    }

    /// No connection comes in any more.
    pub(super) fn shut(&self) {
        self.gateway.send_replace(None);
    }
}

/// Takes an operation out of those that wait for a tool.
pub(in crate::engine) struct Held {
    engine: Arc<Engine>,
    operation: Uuid,
    pub(super) place: Arc<Place>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.place.shut();
        self.place.over.cancel();
        self.engine.tools.locked().remove(&self.operation);
    }
}

impl Tools {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, operation: Uuid, principal: &str) -> Result<Arc<Place>, Fault> {
        let found = self.locked().get(&operation).filter(|place| place.principal == principal).cloned();
        found.ok_or_else(|| {
            let text = format!("operation {operation} of {principal} waits for no migration tool here");
            Fault::new(Reason::OperationNotFound, text)
                .hint(
                    "only who started it, for a migration tool and at this daemon, brings the tool; it may have ended",
                )
                .with("operation", operation)
        })
    }
}

/// A tool that stands by for an operation. Dropped before it has ended, it is lost.
pub(crate) struct Offer {
    place: Arc<Place>,
}

impl Offer {
    /// What the tool connects with, once it may begin; `None`: it is not wanted any more.
    pub(crate) async fn start(&self) -> Option<Told> {
        let mut gateway = self.place.gateway.subscribe();
        tokio::select! {
            biased;
            () = self.place.over.cancelled() => None,
            open = gateway.wait_for(Option::is_some) => {
                open.ok().and_then(|open| open.as_ref().map(|gateway| gateway.told().clone()))
            }
        }
    }

    /// It has ended.
    pub(crate) fn ended(self, exit: Exit) {
        self.place.stage.send_replace(Stage::Ended(exit));
    }

    /// Fires when the operation has no more use for it.
    pub(crate) async fn over(&self) {
        self.place.over.cancelled().await;
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.place.stage.send_if_modified(|stage| {
            let lost = *stage == Stage::Offered;
            if lost {
                *stage = Stage::Lost;
            }
            lost
        });
    }
}

impl Engine {
    /// An operation that is filled by a tool: from now on it can be offered.
    pub(super) fn await_tool(self: &Arc<Self>, operation: Uuid, principal: &str) -> Held {
        let place = Arc::new(Place {
            principal: principal.to_owned(),
            stage: watch::Sender::default(),
            gateway: watch::Sender::default(),
            over: CancellationToken::new(),
        });
        self.tools.locked().insert(operation, Arc::clone(&place));
        Held { engine: Arc::clone(self), operation, place }
    }

    /// The caller's tool stands by for their operation.
    ///
    /// # Errors
    /// The operation is not theirs, waits for none, or has one.
    pub(crate) fn offer_tool(&self, operation: Uuid, principal: &str) -> Result<Offer, Fault> {
        let place = self.tools.of(operation, principal)?;
        let first = place.stage.send_if_modified(|stage| {
            let first = *stage == Stage::Absent;
            if first {
                *stage = Stage::Offered;
            }
            first
        });
        if !first {
            let text =
                format!("operation {operation} has its migration tool already: one operation takes one");
            return Err(Fault::new(Reason::InvalidRequest, text)
                .hint("start another operation when it has ended")
                .with("operation", operation));
        }
        Ok(Offer { place })
    }

    /// A connection of an operation's tool.
    ///
    /// # Errors
    /// The operation is not theirs, or its tool does not run.
    pub(crate) fn connect_tool(
        &self,
        operation: Uuid,
        principal: &str,
        stream: impl Bytes + 'static,
    ) -> Result<(), Fault> {
        let place = self.tools.of(operation, principal)?;
        let Some(gateway) = place.gateway.borrow().clone() else {
            let text = format!("the migration tool of operation {operation} does not run now");
            return Err(Fault::new(Reason::GatewayLost, text).with("operation", operation));
        };
        gateway.serve(stream);
        Ok(())
    }
}
