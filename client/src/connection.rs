//! Channels to the daemon: how one is opened, kept alive and bounded.
//!
//! It must not know what is asked over them.

use std::{error::Error, time::Duration};

use hyper_util::rt::TokioIo;
use model::{
    fault::{Fault, Reason},
    operation::limits,
};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use wire::v1::{
    operation_service_client::OperationServiceClient, system_service_client::SystemServiceClient,
    target_service_client::TargetServiceClient, window_service_client::WindowServiceClient,
};

use crate::address::{self, Address};

/// An event may carry a plan with many objects outside.
const LARGEST_EVENT: usize = 64 * 1024 * 1024;

/// Where channels are opened to.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    address: Address,
}

impl Connection {
    pub(crate) fn new(address: Address) -> Self {
        Self { address }
    }

    /// Opens a channel; it is not shared, so that a cancel never waits behind a stream.
    ///
    /// # Errors
    /// `DAEMON_UNREACHABLE`, with what to do.
    pub(crate) async fn open(&self) -> Result<Channel, Fault> {
        let result = match &self.address {
            Address::Nowhere(places) => return Err(address::nowhere(places)),
            Address::Loopback(host_port) => match endpoint(format!("http://{host_port}")) {
                Ok(endpoint) => endpoint.connect().await,
                Err(error) => Err(error),
            },
            Address::Unix(path) => {
                let path = path.clone();
                let connector = tower::service_fn(move |_| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                });
                match endpoint("http://localhost".to_owned()) {
                    Ok(endpoint) => endpoint.connect_with_connector(connector).await,
                    Err(error) => Err(error),
                }
            }
        };
        result.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &tonic::transport::Error) -> Fault {
        let cause = deepest(error);
        let hint = match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::PermissionDenied) => {
                "your user may not open the socket: ask for membership in the group that owns it"
            }
            Some(std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
                "nobody listens there: start `resetd serve`, or correct --server (RESETCTL_SERVER, the context)"
            }
            _ => "check that a resetd of this version listens there: `resetctl status`",
        };
        Fault::new(
            Reason::DaemonUnreachable,
            format!("the daemon at {} cannot be reached: {cause}", self.address),
        )
        .hint(hint)
        .with("server", &self.address)
    }
}

/// Everything above is said by our own message; what the system said is at the bottom.
fn deepest<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

fn endpoint(uri: String) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(uri)?
        .user_agent(concat!("resetctl/", env!("CARGO_PKG_VERSION")))?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true))
}

/// Operations over a channel.
pub(crate) fn operations(channel: Channel) -> OperationServiceClient<Channel> {
    OperationServiceClient::new(channel)
        .max_decoding_message_size(LARGEST_EVENT)
        .max_encoding_message_size(limits::REQUEST_BYTES)
}

/// Targets over a channel.
pub(crate) fn targets(channel: Channel) -> TargetServiceClient<Channel> {
    TargetServiceClient::new(channel).max_decoding_message_size(LARGEST_EVENT)
}

/// Windows over a channel.
pub(crate) fn windows(channel: Channel) -> WindowServiceClient<Channel> {
    WindowServiceClient::new(channel).max_decoding_message_size(LARGEST_EVENT)
}

/// The daemon itself over a channel.
pub(crate) fn system(channel: Channel) -> SystemServiceClient<Channel> {
    SystemServiceClient::new(channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_listening_is_exit_11_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        for address in [Address::Unix(folder.path().join("none.sock")), Address::Loopback(free.to_string())] {
            let fault = Connection::new(address.clone()).open().await.expect_err("nobody listens");
            assert_eq!(fault.reason.exit_code(), 11);
            assert!(fault.message.contains(&address.to_string()), "{fault}");
            assert!(
                fault.hint.as_deref().is_some_and(|h| h.contains("resetd serve")),
                "{address}: {fault:?}"
            );
        }
    }
}
