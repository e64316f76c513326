//! Operations: started, watched, listed, cancelled.

use std::pin::Pin;

use model::{fault::Fault, operation::Operation};
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use uuid::Uuid;
use wire::v1;

use super::{
    call::{Api, message, pages, promised},
    rpc_error::RpcError,
    view,
};

/// The events of an operation, as they come; `None` is a message without one.
pub(crate) type Events = Pin<Box<dyn Stream<Item = Result<Option<v1::OperationEvent>, RpcError>> + Send>>;

impl Api {
    /// Sends a request that creates an operation, or joins the one that it created before.
    pub(crate) async fn start(&self, request: wire::Request) -> Result<Events, RpcError> {
        let mut client = self.connection.operations().await.map_err(RpcError::unreachable)?;
        Ok(match request {
            wire::Request::Reset(it) => {
                events(client.reset(it).await?.into_inner().map(|i| i.map(|i| i.event)))
            }
            wire::Request::Run(it) => events(client.run(it).await?.into_inner().map(|i| i.map(|i| i.event))),
            wire::Request::Undo(it) => {
                events(client.undo(it).await?.into_inner().map(|i| i.map(|i| i.event)))
            }
            wire::Request::Migrate(it) => {
                events(client.migrate(it).await?.into_inner().map(|i| i.map(|i| i.event)))
            }
            wire::Request::Validate(it) => {
                events(client.validate(it).await?.into_inner().map(|i| i.map(|i| i.event)))
            }
        })
    }

    /// Attaches to an operation at its event `from`.
    ///
    /// # Errors
    /// The daemon cannot be reached or refuses, or there is no such operation.
    pub(crate) async fn watch_operation(&self, id: Uuid, from: u64) -> Result<Events, RpcError> {
        let mut client = self.connection.operations().await.map_err(RpcError::unreachable)?;
        let request = v1::WatchOperationRequest { operation: id.to_string(), start_sequence: from };
        let stream = client.watch_operation(request).await?.into_inner();
        Ok(events(stream.map(|item| item.map(|it| it.event))))
    }

    /// What an operation said last, in words and with its time; none where it is over or not shown.
    pub(crate) async fn last_words(&self, id: Uuid) -> Option<wire::Received> {
        let last = self.operation(id).await.ok()?.last_sequence;
        let mut events = self.watch_operation(id, last).await.ok()?;
        let event = events.next().await?.ok()??;
        wire::decode_event(event).ok()
    }

    /// One operation.
    pub(crate) async fn operation(&self, id: Uuid) -> Result<Operation, Fault> {
        let request = v1::GetOperationRequest { operation: id.to_string() };
        let reply = self.connection.operations().await?.get_operation(request).await;
        view::operation(promised(message(reply)?.operation, "operation")?)
    }

    /// Operations of a target (empty: of all), newest first.
    pub(crate) async fn operations(
        &self,
        target: &str,
        active_only: bool,
        limit: usize,
    ) -> Result<Vec<Operation>, Fault> {
        let mut client = self.connection.operations().await?;
        pages(limit, async |page_size, page_token| {
            let target = target.to_owned();
            let request = v1::ListOperationsRequest { target, page_size, page_token, active_only };
            let reply = message(client.list_operations(request).await)?;
            let operations: Result<_, Fault> = reply.operations.into_iter().map(view::operation).collect();
            Ok((operations?, reply.next_page_token))
        })
        .await
    }

    /// Asks the daemon to cancel an operation.
    ///
    /// # Errors
    /// There is no such operation, it can no longer be cancelled, or the daemon cannot be reached.
    pub(crate) async fn cancel_operation(&self, id: Uuid, reason: &str) -> Result<Operation, Fault> {
        let request = v1::CancelOperationRequest { operation: id.to_string(), reason: reason.to_owned() };
        let reply = self.connection.operations().await?.cancel_operation(request).await;
        view::operation(promised(message(reply)?.operation, "operation")?)
    }
}

fn events(stream: impl Stream<Item = Result<Option<v1::OperationEvent>, Status>> + Send + 'static) -> Events {
    Box::pin(stream.map(|item| item.map_err(|status| RpcError::from(&status))))
}
