//! Breaking a lock: an admin names the operation that holds it and says why; its sessions are ended, and it ends with that.

use jiff::Timestamp;
use model::{
    audit::Decision,
    authorization::Authorization,
    fault::{Fault, Reason},
    lock::Holder,
    operation::State,
};
use uuid::Uuid;

use crate::{engine::Engine, postgres::lock::force_unlock};

/// The longest reason, in characters.
const REASON: usize = 500;

/// What is to be broken, and why.
pub(crate) struct Force<'a> {
    pub(crate) target: &'a str,
    /// The operation that is expected to hold the lock.
    pub(crate) operation: Uuid,
    pub(crate) reason: &'a str,
}

impl Engine {
    /// Breaks the lock of the operation that is named, and of no other. The same again changes nothing.
    ///
    /// # Errors
    /// `TARGET_LOCKED`: another one holds it; `NOT_CANCELLABLE`: the operation holds nothing; `OPERATION_NOT_FOUND`.
    pub(crate) async fn force_unlock(
        &self,
        force: &Force<'_>,
        authorization: &Authorization,
        asked: &Decision,
    ) -> Result<(Holder, Timestamp), Fault> {
        let target = self.target(force.target)?;
        check_reason(force.reason)?;
        let operation = self.operation(force.operation).await?;
        if operation.database != target.database() {
            return Err(Fault::new(
                Reason::OperationNotFound,
                format!("operation {} is not one of target {}", operation.id, target.name),
            )
            .hint(format!("`resetctl --target {} status` shows what holds it", target.name))
            .with("operation", operation.id));
        }
        let holder = |pid| Holder {
            operation: Some(operation.id),
            verb: Some(operation.verb),
            principal: Some(operation.principal.clone()),
            since: operation.started_at,
            pid,
            application_name: String::new(),
        };
        let detail = Some(format!("forced: {}", force.reason));
        let asked = Decision { operation: Some(operation.id), detail, ..asked.clone() };
        if let Some(end) = operation.end.as_ref().filter(|end| end.reason == Some(Reason::ForcedUnlock)) {
            self.record(asked).await?;
            return Ok((holder(0), end.at));
        }
        let Some(held_lock) = force_unlock::held_lock(&self.control, operation.id).await? else {
            return Err(self.holds_nothing(&operation, &target.name).await);
        };
        self.record(asked).await?;
        let at = self.break_lock(operation.id, force.reason, authorization).await?;
        Ok((holder(held_lock.pid), at.unwrap_or(self.control.now().await?)))
    }

    /// Marks the operation and ends its sessions; `None`: it had ended.
    pub(in crate::engine) async fn break_lock(
        &self,
        operation: Uuid,
        reason: &str,
        authorization: &Authorization,
    ) -> Result<Option<Timestamp>, Fault> {
        let Some(held_lock) = force_unlock::held_lock(&self.control, operation).await? else {
            return Ok(None);
        };
        let by = authorization.principal().to_string();
        let marked = force_unlock::unlock(&self.control, operation, &held_lock, &by, reason).await?;
        if marked.is_some() {
            tracing::warn!(%operation, by, reason, "the lock of an operation is broken");
        }
        Ok(marked)
    }

    async fn holds_nothing(&self, operation: &model::operation::Operation, target: &str) -> Fault {
        let view = match self.target(target) {
            Ok(target) => self.view(target).await.ok(),
            Err(_) => None,
        };
        let id = operation.id;
        match view.and_then(|view| view.holder).filter(|holder| holder.operation != Some(id)) {
            Some(holder) => {
                let fault = Fault::new(
                    Reason::TargetLocked,
                    format!("target {target} is held by {}, not by operation {id}", holder.phrase()),
                )
                .hint("name the operation that holds it, if that is what you mean to break")
                .with("target", target);
                match holder.operation {
                    Some(holder) => fault.with("holder_operation", holder),
                    None => fault,
                }
            }
            None => {
                let (what, hint) = match operation.state {
                    State::Waiting => (
                        "waits and holds nothing",
                        format!("take it out of the queue: resetctl operations cancel {id}"),
                    ),
                    State::Finished => {
                        ("has ended and holds nothing", "there is nothing to break".to_owned())
                    }
                    State::Running | State::Committing => (
                        "holds no lock any more, and has not ended yet",
                        "its daemon ends it, or another one takes it up: look again in a moment".to_owned(),
                    ),
                };
                Fault::new(Reason::NotCancellable, format!("operation {id} {what}"))
                    .hint(hint)
                    .with("operation", id)
            }
        }
    }
}

/// Whoever forces says why; the victim and the record get it.
pub(in crate::engine) fn check_reason(reason: &str) -> Result<(), Fault> {
    let length = reason.trim().chars().count();
    if (1..=REASON).contains(&length) {
        return Ok(());
    }
    let what = match length {
        0 => "a reason is needed: whoever is interrupted reads it".to_owned(),
        _ => format!("the reason is longer than {REASON} characters"),
    };
    Err(Fault::new(Reason::InvalidRequest, what).hint("say why in a line: --reason TEXT"))
}
