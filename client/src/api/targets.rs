//! Targets: listed, watched, enrolled, unlocked.

use model::{fault::Fault, lock::Holder, target::TargetStatus};
use tonic::Streaming;
use uuid::Uuid;
use wire::v1;

use super::{
    call::{Api, message, promised},
    rpc_error::RpcError,
    view,
};

impl Api {
    /// Every target that the caller may see.
    pub(crate) async fn targets(&self) -> Result<Vec<TargetStatus>, Fault> {
        let reply = self.connection.targets().await?.list_targets(v1::ListTargetsRequest {}).await;
        message(reply)?.targets.into_iter().map(view::target).collect()
    }

    /// Each target as it is, and again whenever it changes.
    pub(crate) async fn watch_targets(&self) -> Result<Targets, Fault> {
        let reply = self.connection.targets().await?.watch_targets(v1::WatchTargetsRequest {}).await;
        message(reply).map(Targets)
    }

    /// Records a target's identity; `database` is its database's name, as somebody typed it.
    pub(crate) async fn enroll_target(&self, name: &str, database: String) -> Result<v1::Target, Fault> {
        let request = v1::EnrollTargetRequest {
            request_id: Uuid::new_v4().to_string(),
            target: name.to_owned(),
            database_confirmation: database,
        };
        let reply = self.connection.targets().await?.enroll_target(request).await;
        promised(message(reply)?.target, "target")
    }

    /// Gives up what an operation set aside.
    ///
    /// # Errors
    /// The daemon cannot be reached or refuses: nothing of that operation is kept.
    pub(crate) async fn drop_kept(&self, target: &str, operation: Uuid) -> Result<(), Fault> {
        let request = v1::DropKeptRequest {
            request_id: Uuid::new_v4().to_string(),
            target: target.to_owned(),
            operation: operation.to_string(),
        };
        let reply = self.connection.targets().await?.drop_kept(request).await;
        message(reply).map(|_| ())
    }

    /// Breaks the lock of an operation, or without one of whoever is none, and says who held it.
    ///
    /// # Errors
    /// The daemon cannot be reached or refuses: another operation holds the target, or none does.
    pub(crate) async fn force_unlock_target(
        &self,
        name: &str,
        operation: Option<Uuid>,
        reason: &str,
    ) -> Result<Holder, Fault> {
        let request = v1::ForceUnlockTargetRequest {
            request_id: Uuid::new_v4().to_string(),
            target: name.to_owned(),
            operation: operation.map(|id| id.to_string()).unwrap_or_default(),
            reason: reason.to_owned(),
        };
        let reply = self.connection.targets().await?.force_unlock_target(request).await;
        Ok(wire::decode_holder(promised(message(reply)?.broken, "holder")?))
    }
}

/// A stream of targets.
pub(crate) struct Targets(Streaming<v1::WatchTargetsResponse>);

/// A message of such a stream.
pub(crate) enum Update {
    /// A target, as it is now.
    Target(Box<TargetStatus>),
    /// Nothing but a sign of life.
    Alive,
    /// The last one.
    End,
}

impl Targets {
    /// The next message.
    ///
    /// # Errors
    /// The stream broke, or the daemon broke the contract.
    pub(crate) async fn next(&mut self) -> Result<Update, Fault> {
        Ok(match self.0.message().await.map_err(RpcError::from)? {
            None => Update::End,
            Some(v1::WatchTargetsResponse { target: None }) => Update::Alive,
            Some(v1::WatchTargetsResponse { target: Some(target) }) => {
                Update::Target(Box::new(view::target(target)?))
            }
        })
    }
}
