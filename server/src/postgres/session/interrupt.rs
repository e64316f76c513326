//! Why a running operation must stop: a cancel, a deadline, a lost lock, a shutdown. The first reason wins.

use std::sync::{Arc, OnceLock};

use model::fault::Fault;
use tokio_util::sync::CancellationToken;

/// A reason to stop that may come at any time. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    token: CancellationToken,
    why: Arc<OnceLock<Fault>>,
}

impl Interrupt {
    /// Raises it; later reasons change nothing.
    pub(crate) fn raise(&self, why: Fault) {
        // A second reason finds the first one in place; the operation is ending already.
        if self.why.set(why).is_ok() {
            self.token.cancel();
        }
    }

    /// The reason, once there is one.
    pub(crate) async fn raised(&self) -> Fault {
        loop {
            self.token.cancelled().await;
            if let Some(why) = self.why.get() {
                return why.clone();
            }
        }
    }

    /// Checked before each message and before the commit.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        self.why.get().map_or(Ok(()), |why| Err(why.clone()))
    }
}
