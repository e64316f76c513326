//! One open connection: its bytes, what it proves about its peer, and whether anything is asked on it. A connection on which
//! nothing is asked is closed. Must not know what is asked.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use model::authorization::Principal;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, Sleep},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{
    authority::AuthorityFilter,
    certificate::Named,
    limits::{Counted, FIRST_CALL, IDLE},
    tls::Trust,
};

/// What a connection proves by itself.
#[derive(Clone, Debug)]
pub(super) enum Authenticated {
    /// A unix socket; nobody, where the system did not say who called.
    Unix(Option<Principal>),
    /// Plaintext on a loopback address.
    Loopback,
    /// TLS, with or without a certificate of the client's, and the CAs that were trusted then.
    Tls(Option<(Named, Trust)>),
}

/// Who is at the other end.
#[derive(Debug)]
pub(super) struct Peer {
    /// From where, for the audit record and the log.
    pub(super) address: String,
    /// Whose connections are counted together.
    pub(super) origin: String,
    /// What it proves.
    pub(super) authenticated: Authenticated,
    calls: Calls,
}

#[derive(Debug)]
struct Calls {
    open: AtomicUsize,
    /// When the last one ended; `None` before the first.
    last: Mutex<Option<Instant>>,
}

/// A call that is open on a connection.
#[derive(Debug)]
pub(super) struct OpenCall(Arc<Peer>);

impl Peer {
    pub(super) fn new(address: String, origin: String, authenticated: Authenticated) -> Arc<Self> {
        let calls = Calls { open: AtomicUsize::new(0), last: Mutex::new(None) };
        Arc::new(Self { address, origin, authenticated, calls })
    }

    /// A call begins.
    pub(super) fn call(self: &Arc<Self>) -> OpenCall {
        self.calls.open.fetch_add(1, Ordering::AcqRel);
        self.calls.touch();
        OpenCall(Arc::clone(self))
    }

    /// When the connection has been quiet for too long; `None` while a call is open.
    fn quiet_until(&self, since: Instant) -> Option<Instant> {
        if self.calls.open.load(Ordering::Acquire) > 0 {
            return None;
        }
        let last = *self.calls.last.lock().unwrap_or_else(PoisonError::into_inner);
        Some(last.map_or(since + FIRST_CALL, |last| last + IDLE))
    }
}

impl Calls {
    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.calls.touch();
        self.0.calls.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The bytes.
pub(super) enum Stream {
    Unix(UnixStream),
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// An open connection.
pub(super) struct Connection {
    stream: Stream,
    peer: Arc<Peer>,
    /// On a unix socket.
    authority: Option<AuthorityFilter>,
    since: Instant,
    look: Pin<Box<Sleep>>,
    _counted: Counted,
}

impl Connection {
    pub(super) fn new(stream: Stream, peer: Arc<Peer>, counted: Counted) -> Self {
        let since = Instant::now();
        let look = Box::pin(tokio::time::sleep_until(since + FIRST_CALL));
        let authority = matches!(stream, Stream::Unix(_)).then(AuthorityFilter::new);
        Self { stream, peer, authority, since, look, _counted: counted }
    }

    /// Whether nothing was asked for too long; looks again when that may be so.
    fn too_quiet(&mut self, context: &mut Context<'_>) -> bool {
        while self.look.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            match self.peer.quiet_until(self.since) {
                Some(until) if until <= now => {
                    tracing::debug!(peer = self.peer.address, "closed: nothing is asked on it");
                    return true;
                }
                Some(until) => self.look.as_mut().reset(until),
                None => self.look.as_mut().reset(now + FIRST_CALL),
            }
        }
        false
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

/// Calls a method of whichever stream it is.
macro_rules! stream {
    ($this:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $this.get_mut().stream {
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.too_quiet(context) {
            // The end of what the peer sends: the connection is closed from this side.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = stream!(self.as_mut(), poll_read, context, buffer);
        if let Some(filter) = &mut self.authority {
            filter.pass(&mut buffer.filled_mut()[before..]);
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        stream!(self, poll_write, context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, poll_flush, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, poll_shutdown, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        stream!(self, poll_write_vectored, context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Unix(stream) => stream.is_write_vectored(),
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::grpc::limits::{Counter, Most};

    /// A connection of a socket, its peer, and the other end, which has to stay.
    fn open() -> (Connection, Arc<Peer>, UnixStream) {
        let (here, there) = UnixStream::pair().expect("a pair");
        let peer = Peer::new("here".to_owned(), "here".to_owned(), Authenticated::Unix(None));
        let counted = Counter::new(Most { all: 1, each: 1 }).enter("here").expect("room");
        (Connection::new(Stream::Unix(here), Arc::clone(&peer), counted), peer, there)
    }

    /// Reads until the end, and gives the time that it took; `None` where it does not end within `most`.
    async fn ends_within(connection: &mut Connection, most: Duration) -> Option<Duration> {
        let begun = Instant::now();
        let end = tokio::time::timeout(most, connection.read_to_end(&mut Vec::new())).await;
        end.ok().map(|read| read.map(|_| begun.elapsed()).expect("an end and no error"))
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_asked_closes_a_connection() {
        let (mut connection, _peer, _there) = open();
        assert!(ends_within(&mut connection, FIRST_CALL * 2).await.is_some_and(|took| took >= FIRST_CALL));
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_call_keeps_it_and_then_it_may_be_quiet_for_longer() {
        let (mut connection, peer, _there) = open();
        let call = peer.call();
        assert_eq!(ends_within(&mut connection, IDLE * 3).await, None, "a call is open");
        drop(call);
        let took = ends_within(&mut connection, IDLE * 2).await.expect("it is closed in the end");
        assert!(took > IDLE - FIRST_CALL && took <= IDLE + FIRST_CALL, "{took:?}");
    }
}
