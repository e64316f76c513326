//! Giving up what an undo would bring back, before its time.

use model::{
    audit::Decision,
    fault::{Fault, Reason},
    target::TargetStatus,
};
use uuid::Uuid;

use crate::{engine::Engine, postgres::control::kept_schemas};

impl Engine {
    /// Frees what an operation set aside; it is dropped in the background.
    ///
    /// # Errors
    /// `NOTHING_TO_UNDO`: nothing of that operation is kept for the target.
    pub(crate) async fn drop_kept(
        &self,
        target: &str,
        operation: Uuid,
        asked: &Decision,
    ) -> Result<TargetStatus, Fault> {
        let target = self.target(target)?;
        let detail = Some("gives up what it set aside".to_owned());
        self.record(Decision { operation: Some(operation), detail, ..asked.clone() }).await?;
        if !kept_schemas::release(&self.control.pool, target.database(), operation).await? {
            return Err(Fault::new(
                Reason::NothingToUndo,
                format!("nothing of operation {operation} is kept for target {}", target.name),
            )
            .hint("`resetctl kept list` shows what there is")
            .with("operation", operation));
        }
        self.janitor.notify_one();
        self.view(target).await
    }
}
