//! Taking connections in: counted, identified, and with their handshake done before anything is served on them. A slow
//! handshake holds nobody else up. Must not know what is asked.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::authorization::{Principal, PrincipalKind};
use nix::unistd::{Uid, User};
use tokio::{
    net::{TcpStream, UnixStream, unix::UCred},
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    certificate,
    connection::{Authenticated, Connection, Peer, Stream},
    limits::{Counted, Counter, Full, HANDSHAKE, KEEPALIVE},
    listen::Listener,
    tls::Certificates,
};

/// How long to wait when the system has no more descriptors.
const BREATH: Duration = Duration::from_millis(100);
/// How often a connection that was turned away is logged.
const LOG_EVERY: u64 = 10;

/// What comes in at a listener, ready to be served.
pub(super) type Incoming = mpsc::Receiver<io::Result<Connection>>;

/// What accepting needs.
pub(super) struct Acceptor {
    pub(super) tcp: Arc<Counter>,
    pub(super) unix: Arc<Counter>,
    pub(super) certificates: Option<Arc<Certificates>>,
    begun: Instant,
    logged: AtomicU64,
}

impl Acceptor {
    pub(super) fn new(
        tcp: Arc<Counter>,
        unix: Arc<Counter>,
        certificates: Option<Arc<Certificates>>,
    ) -> Arc<Self> {
        Arc::new(Self { tcp, unix, certificates, begun: Instant::now(), logged: AtomicU64::new(0) })
    }

    /// Accepts until `end`.
    pub(super) fn open(
        self: Arc<Self>,
        listener: Listener,
        end: CancellationToken,
        tasks: &TaskTracker,
    ) -> Incoming {
        let (sender, incoming) = mpsc::channel(1);
        let handshakes = tasks.clone();
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = end.cancelled() => return,
                    accepted = accept(&listener) => accepted,
                };
                let raw = match accepted {
                    Ok(raw) => raw,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(BREATH).await;
                        continue;
                    }
                };
                let Some(counted) = self.counted(&raw) else { continue };
                let (this, sender, end) = (Arc::clone(&self), sender.clone(), end.clone());
                handshakes.spawn(async move {
                    let greeted = tokio::select! {
                        () = end.cancelled() => return,
                        greeted = timeout(HANDSHAKE, this.greet(raw, counted)) => greeted,
                    };
                    if let Ok(Some(connection)) = greeted {
                        // Sending fails only when nothing is served any more.
                        let _end = sender.send(Ok(connection)).await;
                    }
                });
            }
        });
        incoming
    }

    /// A place for the connection, or nothing: then it is closed without a word.
    fn counted(&self, raw: &Raw) -> Option<Counted> {
        let (counter, origin) = match raw {
            Raw::Unix(_, credentials) => (&self.unix, origin_of_user(credentials.as_ref())),
            Raw::Tcp(_, address, _) => (&self.tcp, origin_of_address(address.ip())),
        };
        counter.enter(&origin).map_err(|full| self.turned_away(&origin, full)).ok()
    }

    fn turned_away(&self, origin: &str, full: Full) {
        let now = self.begun.elapsed().as_secs() + LOG_EVERY;
        let last = self.logged.load(Ordering::Relaxed);
        if now >= last + LOG_EVERY
            && self.logged.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            tracing::warn!(origin, ?full, "connections are turned away: too many are open");
        }
    }

    async fn greet(&self, raw: Raw, counted: Counted) -> Option<Connection> {
        match raw {
            Raw::Unix(stream, credentials) => {
                let peer = unix_peer(credentials).await;
                Some(Connection::new(Stream::Unix(stream), peer, counted))
            }
            Raw::Tcp(stream, address, false) => {
                let origin = origin_of_address(address.ip());
                let peer = Peer::new(address.to_string(), origin, Authenticated::Loopback);
                Some(Connection::new(Stream::Plain(stream), peer, counted))
            }
            Raw::Tcp(stream, address, true) => self.shake_hands(stream, address, counted).await,
        }
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        counted: Counted,
    ) -> Option<Connection> {
        let (config, trust) = self.certificates.as_ref()?.current();
        let stream = match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::info!(peer = %address, %error, "a TLS handshake failed");
                return None;
            }
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let named = shown.map(|certificate| (certificate::read(certificate), trust));
        let peer = Peer::new(address.to_string(), origin_of_address(address.ip()), Authenticated::Tls(named));
        Some(Connection::new(Stream::Tls(Box::new(stream)), peer, counted))
    }
}

/// A connection of which nothing is known yet but where it comes from; whether it speaks TLS.
enum Raw {
    Unix(UnixStream, Option<UCred>),
    Tcp(TcpStream, SocketAddr, bool),
}

async fn accept(listener: &Listener) -> io::Result<Raw> {
    let tcp = |(stream, address): (TcpStream, SocketAddr), tls| {
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        Ok(Raw::Tcp(stream, address, tls))
    };
    match listener {
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let credentials = stream.peer_cred().ok();
            Ok(Raw::Unix(stream, credentials))
        }
        Listener::Plain(listener) => tcp(listener.accept().await?, false),
        Listener::Tls(listener) => tcp(listener.accept().await?, true),
    }
}

/// The system asks a silent peer too: during a handshake HTTP/2 does not yet.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    let seconds = u32::try_from(KEEPALIVE.0.as_secs()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &seconds)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &seconds)?;
    Ok(())
}

/// One address, or one /64 network: whoever has one of these has all of its addresses.
fn origin_of_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

fn origin_of_user(credentials: Option<&UCred>) -> String {
    credentials.map_or_else(|| "unix:?".to_owned(), |c| format!("unix:uid {}", c.uid()))
}

/// The name may come from a directory on the network: it is asked for once a connection, where that may take its time.
async fn unix_peer(credentials: Option<UCred>) -> Arc<Peer> {
    let origin = origin_of_user(credentials.as_ref());
    let Some(credentials) = credentials else {
        return Peer::new("unix socket".to_owned(), origin, Authenticated::Unix(None));
    };
    let uid = Uid::from_raw(credentials.uid());
    let user = tokio::task::spawn_blocking(move || User::from_uid(uid)).await;
    // A user without a name is known by number.
    let name = match user {
        Ok(Ok(Some(user))) => user.name,
        _ => format!("#{uid}"),
    };
    let owner = uid.is_root() || uid == Uid::effective();
    let principal = Principal { kind: PrincipalKind::Unix, name, owner };
    let address = format!("unix socket, uid {uid}, gid {}", credentials.gid());
    Peer::new(address, origin, Authenticated::Unix(Some(principal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_origin() {
        let origin = |text: &str| origin_of_address(text.parse().expect("an address"));
        assert_eq!(origin("10.0.0.1"), "10.0.0.1");
        assert_eq!(origin("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:1"));
        assert_ne!(origin("2001:db8:0:1::1"), origin("2001:db8:0:2::1"));
    }
}
