//! The gateway: a tool that stands by for an operation, and its connections.

use model::{
    fault::{Fault, Reason},
    tool::Exit,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use uuid::Uuid;
use wire::v1::{
    self, OpenGatewayRequest, OpenGatewayResponse, open_gateway_request::Frame as Asked,
    open_gateway_response::Frame as Told,
};

use super::{call::Api, rpc_error::RpcError, view};

/// How many frames may wait for a daemon that takes none.
const WAITING: usize = 4;

/// What a tool connects with.
pub(crate) struct ToolStart {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
    pub(crate) schema: String,
}

/// A tool that stands by. Dropped before it has ended, it is lost to the operation.
pub(crate) struct ToolOffer {
    asked: mpsc::Sender<OpenGatewayRequest>,
    told: Streaming<OpenGatewayResponse>,
}

/// One connection of a tool.
pub(crate) struct ToolConnection {
    asked: Option<mpsc::Sender<OpenGatewayRequest>>,
    told: Streaming<OpenGatewayResponse>,
}

/// The way of a connection's bytes to the daemon; it is closed when this is dropped.
pub(crate) struct Sender(Option<mpsc::Sender<OpenGatewayRequest>>);

fn frame(frame: Asked) -> OpenGatewayRequest {
    OpenGatewayRequest { frame: Some(frame) }
}

impl Api {
    /// Offers the tool of an operation that this caller started.
    ///
    /// # Errors
    /// The daemon cannot be reached or refuses.
    pub(crate) async fn offer_tool(&self, operation: Uuid) -> Result<ToolOffer, Fault> {
        let operation = operation.to_string();
        let (asked, told) = self.gateway(Asked::Offer(v1::ToolOffer { operation })).await?;
        Ok(ToolOffer { asked, told })
    }

    /// Opens a connection of the tool.
    ///
    /// # Errors
    /// The daemon cannot be reached or refuses.
    pub(crate) async fn connect_tool(&self, operation: Uuid) -> Result<ToolConnection, Fault> {
        let operation = operation.to_string();
        let (asked, told) = self.gateway(Asked::Connection(v1::ToolConnection { operation })).await?;
        Ok(ToolConnection { asked: Some(asked), told })
    }

    async fn gateway(
        &self,
        first: Asked,
    ) -> Result<(mpsc::Sender<OpenGatewayRequest>, Streaming<OpenGatewayResponse>), Fault> {
        let (asked, requests) = mpsc::channel(WAITING);
        // There is room for the first one.
        let _sent = asked.try_send(frame(first));
        let mut client = self.connection.gateway().await?;
        let reply = client.open_gateway(ReceiverStream::new(requests)).await;
        Ok((asked, reply.map_err(|status| RpcError::from(&status).fault)?.into_inner()))
    }
}

impl ToolOffer {
    /// Waits until the tool may begin; `None`: it is not wanted any more.
    ///
    /// # Errors
    /// The stream broke, or holds something else.
    pub(crate) async fn start(&mut self) -> Result<Option<ToolStart>, Fault> {
        let told = self.told.message().await.map_err(|status| RpcError::from(&status).fault)?;
        match told.and_then(|message| message.frame) {
            None => Ok(None),
            Some(Told::Start(it)) => Ok(Some(ToolStart {
                user: it.user,
                password: it.password,
                database: it.database,
                schema: it.schema,
            })),
            Some(Told::Data(_)) => Err(view::unreadable("bytes where a tool begins")),
        }
    }

    /// Says how it ended, and waits until the daemon has heard it.
    ///
    /// # Errors
    /// The stream broke.
    pub(crate) async fn ended(mut self, exit: &Exit) -> Result<(), Fault> {
        let lost =
            || Fault::new(Reason::ContactLost, "the daemon does not hear how the migration tool ended");
        self.asked.send(frame(Asked::Exit(wire::encode_exit(exit)))).await.map_err(|_| lost())?;
        while self.told.message().await.map_err(|_| lost())?.is_some() {}
        Ok(())
    }
}

impl ToolConnection {
    /// The way to the daemon; there is one.
    pub(crate) fn sender(&mut self) -> Sender {
        Sender(self.asked.take())
    }

    /// What comes from the daemon; `None` at the end.
    pub(crate) async fn receive(&mut self) -> Option<Vec<u8>> {
        match self.told.message().await.ok().flatten()?.frame? {
            Told::Data(bytes) => Some(bytes.to_vec()),
            Told::Start(_) => None,
        }
    }
}

impl Sender {
    /// Sends bytes; `false`: the daemon takes none any more.
    pub(crate) async fn send(&self, bytes: &[u8]) -> bool {
        match &self.0 {
            Some(asked) => asked.send(frame(Asked::Data(bytes.to_vec().into()))).await.is_ok(),
            None => false,
        }
    }
}
