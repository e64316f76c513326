//! The edge of a running change: where its right ends, it is cancelled and rolled back, never cut in half.
//!
//! The control database's clock decides; this daemon's own only says when to look again.

use std::{sync::Arc, time::Duration};

use model::window::Verdict;

use super::{Engine, live::LiveOperation};
use crate::postgres::right::{Right, rolled_back};

/// How often the windows are looked at without news.
const LOOK: Duration = Duration::from_secs(1);
/// How soon at the soonest.
const SOONEST: Duration = Duration::from_millis(5);

/// Raises the interrupt when the right is gone, however its windows change meanwhile.
pub(super) async fn heed(engine: Arc<Engine>, live: LiveOperation, right: Right) {
    let mut news = engine.wakeups.subscribe_targets();
    loop {
        let until_next = match right.standing(&engine.control.pool).await {
            Ok(standing) => match &standing.verdict {
                Verdict::Free(None) => LOOK,
                Verdict::Free(Some(edge)) => {
                    Duration::try_from(edge.at().duration_since(standing.now)).unwrap_or_default()
                }
                verdict => {
                    live.interrupt.raise(rolled_back(right.refusal(verdict)));
                    return;
                }
            },
            Err(fault) => {
                tracing::debug!(%fault, "windows cannot be looked at now");
                LOOK
            }
        };
        // News or none: what is true is in the control database.
        let _either = tokio::time::timeout(until_next.clamp(SOONEST, LOOK), news.changed()).await;
    }
}
