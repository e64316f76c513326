//! All targets at a glance, for as long as somebody looks: first each as it is, then whichever changes.
//!
//! News only says when to look; what is sent is what was read, so that a burst of news is one look.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{fault::Fault, target::TargetStatus};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::engine::Engine;

/// How often it is looked without news: windows begin and end without any.
const LOOK: Duration = Duration::from_secs(2);
/// What comes together is looked at together.
const TOGETHER: Duration = Duration::from_millis(150);
/// How long a watcher may take nothing before its stream is closed.
const STALL_LIMIT: Duration = Duration::from_secs(20);
/// How long one stream goes on: whoever wants to see more proves again who they are, and that they may.
const SITTING: Duration = Duration::from_secs(15 * 60);
/// Views that wait for a slow watcher.
const BUFFER: usize = 16;

/// The targets as they are now, again and again.
pub(crate) type ViewStream = ReceiverStream<Result<TargetStatus, Fault>>;

impl Engine {
    /// Follows some targets until the watcher goes, the daemon ends, or it has lasted long enough.
    pub(crate) fn watch_targets(self: &Arc<Self>, names: Vec<String>) -> ViewStream {
        let (sender, receiver) = mpsc::channel(BUFFER);
        let engine = Arc::clone(self);
        self.background.spawn(async move {
            tokio::select! {
                () = engine.ended().cancelled() => {}
                () = sender.closed() => {}
                () = tokio::time::sleep(SITTING) => {}
                () = engine.show(names, &sender) => {}
            }
        });
        ReceiverStream::new(receiver)
    }

    async fn show(&self, names: Vec<String>, sender: &mpsc::Sender<Result<TargetStatus, Fault>>) {
        let mut news = self.wakeups.subscribe_any();
        let mut shown: HashMap<String, TargetStatus> = HashMap::new();
        loop {
            news.mark_unchanged();
            for name in &names {
                let looked = match self.target(name) {
                    Ok(target) => self.view(target).await,
                    Err(fault) => Err(fault),
                };
                let failed = looked.is_err();
                if let Ok(view) = &looked
                    && shown.get(name) == Some(view)
                {
                    continue;
                }
                if let Ok(view) = &looked {
                    shown.insert(name.clone(), view.clone());
                }
                if sender.send_timeout(looked, STALL_LIMIT).await.is_err() || failed {
                    return;
                }
            }
            // News or none: what is true is in the control database.
            let _either = tokio::time::timeout(LOOK, news.changed()).await;
            tokio::time::sleep(TOGETHER).await;
        }
    }
}
