//! The edge of a running change: where its right ends, it is cancelled and rolled back, never cut in half.
//!
//! The control database's clock decides; this daemon's own only says when to look again, and counts on from the last answer
//! where there is none.

use std::{sync::Arc, time::Duration};

use model::{
    fault::{Fault, Reason},
    window::Verdict,
};
use tokio::time::Instant;

use super::registry::LiveOperation;
use crate::{
    engine::Engine,
    postgres::control::window_guard::{WindowGuard, rolled_back},
};

/// How often the windows are looked at without news.
const LOOK: Duration = Duration::from_secs(1);
/// How soon at the soonest.
const SOONEST: Duration = Duration::from_millis(5);
/// How long a look may take before it counts as failed.
const ANSWER: Duration = Duration::from_secs(3);

/// Raises the interrupt when the right is gone, however its windows change meanwhile.
pub(in crate::engine) async fn enforce(engine: Arc<Engine>, live: LiveOperation, window_guard: WindowGuard) {
    let mut news = engine.wakeups.subscribe_targets();
    // The edge that was known last, and when it comes by this daemon's clock.
    let mut known: Option<(Instant, Fault)> = None;
    loop {
        let asked = Instant::now();
        let look = tokio::time::timeout(ANSWER, window_guard.standing(&engine.control.pool)).await;
        let until_next = match look.unwrap_or_else(|_| Err(no_answer().into())) {
            Ok(standing) => match &standing.verdict {
                Verdict::Free(None) => {
                    known = None;
                    LOOK
                }
                Verdict::Free(Some(edge)) => {
                    let ahead = edge.at().duration_since(standing.now);
                    let ahead = Duration::try_from(ahead).unwrap_or_default();
                    known = asked.checked_add(ahead).map(|at| (at, window_guard.late(edge)));
                    ahead
                }
                verdict => {
                    live.interrupt.raise(rolled_back(window_guard.refusal(verdict)));
                    return;
                }
            },
            Err(fault) => {
                tracing::debug!(%fault, "windows cannot be looked at now");
                if let Some((_, late)) = known.as_ref().filter(|(at, _)| *at <= Instant::now()) {
                    live.interrupt.raise(late.clone());
                    return;
                }
                LOOK
            }
        };
        // News or none: what is true is in the control database.
        let _either = tokio::time::timeout(until_next.clamp(SOONEST, LOOK), news.changed()).await;
    }
}

fn no_answer() -> Fault {
    Fault::new(Reason::ControlUnavailable, "no answer")
}
