//! Channels to the daemon: how one is opened, kept alive and bounded.
//!
//! It must not know what is asked over them.

use std::{error::Error, time::Duration};

use hyper_util::rt::TokioIo;
use model::{
    fault::{Fault, Reason},
    operation::limits,
};
use tokio::{
    io::BufReader,
    net::{TcpStream, UnixStream},
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{self, Endpoint},
};
use wire::v1::{
    admin_service_client::AdminServiceClient, gateway_service_client::GatewayServiceClient,
    operation_service_client::OperationServiceClient, system_service_client::SystemServiceClient,
    target_service_client::TargetServiceClient, window_service_client::WindowServiceClient,
};

use super::{preface, rpc_error::in_words, tls};
use crate::destination::{
    address::{self, Address, Transport},
    credentials::Credentials,
};

/// An event may carry a plan with many objects outside.
const LARGEST_EVENT: usize = 64 * 1024 * 1024;

/// An open channel that shows the caller's token, if there is one, with every call.
pub(super) type Channel = InterceptedService<transport::Channel, Bearer>;

/// The token to show.
#[derive(Clone, Debug, Default)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Where channels are opened to.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    address: Address,
}

impl Connection {
    pub(super) fn new(address: Address) -> Self {
        Self { address }
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// `DAEMON_UNREACHABLE`, with what to do; a credential cannot be used.
    async fn open(&self) -> Result<Channel, Fault> {
        let bearer = bearer(&self.address.credentials)?;
        let result = match &self.address.transport {
            Transport::Nowhere(places) => return Err(address::nowhere(places)),
            Transport::Loopback(host_port) => {
                let host_port = host_port.clone();
                let connector = tower::service_fn(move |_| plain(host_port.clone()));
                match endpoint(format!("http://{}", self.address)) {
                    Ok(endpoint) => endpoint.connect_with_connector(connector).await,
                    Err(error) => Err(error),
                }
            }
            Transport::Tls(host_port) => {
                let (host_port, credentials) = (host_port.clone(), self.address.credentials.clone());
                let connector = tower::service_fn(move |_| secured(host_port.clone(), credentials.clone()));
                match endpoint(self.address.to_string()) {
                    Ok(endpoint) => endpoint.connect_with_connector(connector).await,
                    Err(error) => Err(error),
                }
            }
            Transport::Unix(path) => {
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
        result
            .map(|channel| InterceptedService::new(channel, bearer))
            .map_err(|error| self.unreachable(&error))
    }

    /// Operations, over a channel of their own.
    pub(super) async fn operations(&self) -> Result<OperationServiceClient<Channel>, Fault> {
        Ok(OperationServiceClient::new(self.open().await?)
            .max_decoding_message_size(LARGEST_EVENT)
            .max_encoding_message_size(limits::REQUEST_BYTES))
    }

    /// Targets, over a channel of their own.
    pub(super) async fn targets(&self) -> Result<TargetServiceClient<Channel>, Fault> {
        Ok(TargetServiceClient::new(self.open().await?).max_decoding_message_size(LARGEST_EVENT))
    }

    /// Windows, over a channel of their own.
    pub(super) async fn windows(&self) -> Result<WindowServiceClient<Channel>, Fault> {
        Ok(WindowServiceClient::new(self.open().await?).max_decoding_message_size(LARGEST_EVENT))
    }

    /// Administration, over a channel of its own.
    pub(super) async fn admin(&self) -> Result<AdminServiceClient<Channel>, Fault> {
        Ok(AdminServiceClient::new(self.open().await?).max_decoding_message_size(LARGEST_EVENT))
    }

    /// A migration tool's stream, over a channel of its own.
    pub(super) async fn gateway(&self) -> Result<GatewayServiceClient<Channel>, Fault> {
        Ok(GatewayServiceClient::new(self.open().await?))
    }

    /// The daemon itself, over a channel of its own.
    pub(super) async fn system(&self) -> Result<SystemServiceClient<Channel>, Fault> {
        Ok(SystemServiceClient::new(self.open().await?))
    }

    fn unreachable(&self, error: &transport::Error) -> Fault {
        if let Some(fault) = own_fault(error) {
            return fault.clone();
        }
        let cause = deepest(error);
        let hint = match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::PermissionDenied) => {
                "your user may not open the socket or enter its folder: ask for membership in the group that owns them"
            }
            Some(std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
                "nobody listens there: start `resetd serve`, or correct --server (RESETCTL_SERVER, the context)"
            }
            _ => "check the address and what listens there; `resetctl doctor` goes through it step by step",
        };
        Fault::new(
            Reason::DaemonUnreachable,
            format!("the daemon at {} cannot be reached: {}", self.address, in_words(&cause.to_string())),
        )
        .hint(hint)
        .with("server", &self.address)
    }
}

fn bearer(credentials: &Credentials) -> Result<Bearer, Fault> {
    let Some(token) = credentials.bearer()? else { return Ok(Bearer::default()) };
    let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.expose()).parse().map_err(|_| {
        Fault::new(Reason::InvalidRequest, "the token has characters that no token has")
            .hint("copy it again, whole and without anything around it")
    })?;
    value.set_sensitive(true);
    Ok(Bearer(Some(value)))
}

type ConnectError = Box<dyn Error + Send + Sync>;

/// A connection to a loopback address. What does not speak first is asked whether it speaks TLS.
async fn plain(host_port: String) -> Result<TokioIo<BufReader<TcpStream>>, ConnectError> {
    let stream = TcpStream::connect(&host_port).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    if !preface::received(&mut stream).await? && preface::speaks_tls(&host_port).await {
        let text = format!("the daemon at {host_port} speaks TLS, and plaintext was tried");
        let fault = Fault::new(Reason::DaemonUnreachable, text);
        return Err(Box::new(fault.hint(format!(
            "use --server https://{host_port}, with --ca FILE where it has a CA of its own"
        ))));
    }
    Ok(TokioIo::new(stream))
}

async fn secured(
    host_port: String,
    credentials: Credentials,
) -> Result<TokioIo<BufReader<tokio_rustls::client::TlsStream<TcpStream>>>, ConnectError> {
    let stream = TcpStream::connect(&host_port).await?;
    stream.set_nodelay(true)?;
    let host = host_port.rsplit_once(':').map_or(host_port.as_str(), |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = tls::open(stream, host, &format!("https://{host_port}"), &credentials).await?;
    Ok(TokioIo::new(stream))
}

/// What was said by this program itself about why it cannot connect.
fn own_fault<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Fault> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref::<Fault>() {
            return Some(fault);
        }
        cause = error.source();
    }
    None
}

/// Everything above is said by our own message; what the system said is at the bottom.
fn deepest<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

fn endpoint(uri: String) -> Result<Endpoint, transport::Error> {
    Ok(Endpoint::from_shared(uri)?
        .user_agent(concat!("resetctl/", env!("CARGO_PKG_VERSION")))?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_listening_is_exit_11_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let places = [
            Transport::Unix(folder.path().join("none.sock")),
            Transport::Loopback(free.to_string()),
            Transport::Tls(free.to_string()),
        ];
        for transport in places {
            let address = Address { transport, credentials: Credentials::default() };
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
