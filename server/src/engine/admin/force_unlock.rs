//! Breaking a lock: an admin names the operation that holds it and says why; its sessions are ended, and it ends with that.
//! Who holds a target and is no operation is ended unnamed.

use std::sync::Arc;

use jiff::Timestamp;
use model::{
    audit::Decision,
    authorization::Authorization,
    fault::{Fault, Reason},
    lock::Holder,
    operation::State,
};
use uuid::Uuid;

use crate::{
    engine::{Engine, Target},
    postgres::lock::{force_unlock, strangers},
};

/// The longest reason, in characters.
const REASON: usize = 500;

/// What is to be broken, and why.
pub(crate) struct Force<'a> {
    pub(crate) target: &'a str,
    /// The operation that is expected to hold the lock; `None`: whoever holds it and is no operation.
    pub(crate) operation: Option<Uuid>,
    pub(crate) reason: &'a str,
}

impl Engine {
    /// Breaks the lock of the operation that is named, and of no other; where none is named, ends whoever holds the target
    /// and is none. The same again changes nothing.
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
        let Some(operation) = force.operation else {
            return self.end_strangers(&Arc::clone(target), force.reason, asked).await;
        };
        let operation = self.operation(operation).await?;
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
            user: String::new(),
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

    /// Ends the sessions that hold the target, or what decides about it, and are no operation.
    async fn end_strangers(
        &self,
        target: &Target,
        reason: &str,
        asked: &Decision,
    ) -> Result<(Holder, Timestamp), Fault> {
        let (name, database) = (&target.name, target.database());
        let strangers = strangers::find(&self.control, database).await?;
        let Some(first) = strangers.first().cloned() else {
            return Err(match self.view(target).await?.holder {
                Some(holder) => holder
                    .refusal(&format!("target {name}"))
                    .hint("name the operation, if that is what you mean to break: --operation ID")
                    .with("target", name),
                None => Fault::new(Reason::NotCancellable, format!("nobody holds target {name}"))
                    .hint("there is nothing to break")
                    .with("target", name),
            });
        };
        let named: Vec<String> = strangers.iter().map(Holder::phrase).collect();
        let detail = Some(format!("forced: {reason}; ends {}", named.join(", ")));
        self.record(Decision { detail, ..asked.clone() }).await?;
        strangers::end(&self.control, database, &strangers).await?;
        tracing::warn!(target = name, reason, "ended sessions that held the target: {}", named.join(", "));
        Ok((first, self.control.now().await?))
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
                    format!("target {target} is locked by {}, not by operation {id}", holder.phrase()),
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
    Err(Fault::new(Reason::InvalidRequest, what)
        .hint("say why in a line: --reason TEXT")
        .with("field", "reason"))
}
