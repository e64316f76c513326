//! A session whose answers are counted. The driver reads every message of the server whole, whatever its size; what a chain
//! can make the server say would be memory of the daemon. So the bytes of a work session pass through here, and what grows
//! beyond the limit is cut off before it arrives.
//!
//! Bytes are only counted, never understood: TLS goes through as it is. It must not know what is asked.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener as StdUnixListener},
    },
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::postgres::sql::error::too_large;

/// The most that the server may send between two rows or results, in MiB: the largest row, notice or error.
const LIMIT_MIB: u64 = 16;
const LIMIT: u64 = LIMIT_MIB * 1024 * 1024;
/// How much is passed on at a time.
const CHUNK: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Traffic {
    received: AtomicU64,
    /// How much had been received when the driver handed the last message on.
    handed: AtomicU64,
    limited: AtomicBool,
    exceeded: AtomicBool,
}

/// The way to the server, open for as long as this lives.
pub(crate) struct Relay {
    traffic: Arc<Traffic>,
    lend: mpsc::Sender<Loan>,
    _pump: AbortOnDropHandle<()>,
}

/// Who wants the server's bytes, and where they are given back.
type Loan = (oneshot::Sender<ServerStream>, oneshot::Receiver<ServerStream>);

/// The server's bytes, lent while the driver is silent. If they are not given back, the session is over.
pub(crate) struct Lent {
    server: ServerStream,
    back: Return,
}

/// The way back of what was lent.
pub(in crate::postgres) struct Return(oneshot::Sender<ServerStream>);

impl Lent {
    /// The bytes, and where they belong.
    pub(in crate::postgres) fn take(self) -> (ServerStream, Return) {
        (self.server, self.back)
    }
}

impl Return {
    /// The driver's again: the server waits for a query.
    pub(in crate::postgres) fn give_back(self, server: ServerStream) {
        // A relay that is gone needs it no more.
        let _gone = self.0.send(server);
    }
}

impl Relay {
    /// Connects to the server, and gives the options with which the driver comes through here.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) async fn open(options: &PgConnectOptions) -> io::Result<(Self, PgConnectOptions)> {
        let traffic = Arc::new(Traffic::default());
        let (listener, through) = private_listener(options)?;
        let (lend, loans) = mpsc::channel(1);
        let pump = tokio::spawn(pump(listener, server(options).await?, Arc::clone(&traffic), loans));
        Ok((Self { traffic, lend, _pump: AbortOnDropHandle::new(pump) }, through))
    }

    /// Lends the server's bytes. The driver has heard the end of all that it asked, and asks nothing meanwhile; encrypted bytes
    /// are of no use to anybody else.
    ///
    /// # Errors
    /// The session is over.
    pub(crate) async fn lend(&self) -> io::Result<Lent> {
        let lost = || io::Error::from(io::ErrorKind::NotConnected);
        let ((give, given), (back, returned)) = (oneshot::channel(), oneshot::channel());
        self.lend.send((give, returned)).await.map_err(|_| lost())?;
        Ok(Lent { server: given.await.map_err(|_| lost())?, back: Return(back) })
    }

    /// From now on the limit holds, until this is dropped.
    pub(crate) fn limit(&self) -> Limited {
        let limited = Limited(Arc::clone(&self.traffic));
        limited.handed_on();
        self.traffic.limited.store(true, Ordering::SeqCst);
        limited
    }
}

/// The limit holds.
pub(crate) struct Limited(Arc<Traffic>);

impl Limited {
    /// What was received until now was no more than it may be.
    pub(crate) fn handed_on(&self) {
        self.0.handed.store(self.0.received.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// The driver's error, or, where the session was cut off here, what is said of that.
    pub(crate) fn explain(&self, error: sqlx::Error) -> sqlx::Error {
        match self.0.exceeded.load(Ordering::SeqCst) {
            true => too_large(LIMIT_MIB),
            false => error,
        }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.0.limited.store(false, Ordering::SeqCst);
    }
}

/// The bytes to and from the server.
pub(in crate::postgres) type ServerStream = Box<dyn Bytes>;

/// Bytes in both directions.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Connects to the server.
pub(in crate::postgres) async fn server(options: &PgConnectOptions) -> io::Result<ServerStream> {
    let (host, port) = (options.get_host(), options.get_port());
    let folder = options.get_socket().cloned().or_else(|| host.starts_with('/').then(|| host.into()));
    match folder {
        Some(folder) => Ok(Box::new(UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await?)),
        None => {
            let server = TcpStream::connect((host, port)).await?;
            server.set_nodelay(true)?;
            Ok(Box::new(server))
        }
    }
}

/// A listener with a name in the kernel, not in a folder, and the options with which the driver comes to it. Who comes is to be
/// looked at: [`own_process`].
pub(in crate::postgres) fn private_listener(
    options: &PgConnectOptions,
) -> io::Result<(UnixListener, PgConnectOptions)> {
    let name = format!("resetd-{}", Uuid::new_v4().simple());
    let address = SocketAddr::from_abstract_name(format!("{name}/.s.PGSQL.{}", options.get_port()))?;
    let listener = StdUnixListener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    let through = options.clone().socket(PathBuf::from(format!("\0{name}")));
    Ok((UnixListener::from_std(listener)?, through))
}

async fn pump(
    listener: UnixListener,
    mut server: ServerStream,
    traffic: Arc<Traffic>,
    mut loans: mpsc::Receiver<Loan>,
) {
    let ended = async {
        let driver = own_process(&listener).await?;
        drop(listener);
        let (mut from_driver, mut to_driver) = driver.into_split();
        loop {
            let (mut from_server, mut to_server) = tokio::io::split(server);
            // While the driver is silent, no byte is on its way in here.
            let (give, back) = tokio::select! {
                asked = tokio::io::copy(&mut from_driver, &mut to_server) => return asked.map(|_| ()),
                answered = answers(&mut from_server, &mut to_driver, &traffic) => return answered,
                Some(loan) = loans.recv() => loan,
            };
            // Whoever asked for it and is gone, or does not give it back, ends the session.
            let lost = |_| io::Error::from(io::ErrorKind::NotConnected);
            give.send(from_server.unsplit(to_server)).map_err(|_| io::ErrorKind::NotConnected)?;
            server = back.await.map_err(lost)?;
        }
    };
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a session's relay ended");
    }
}

/// The first one that is this process: any other of the machine could come as well.
pub(in crate::postgres) async fn own_process(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        let pid = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
        if pid == Some(std::process::id()) {
            return Ok(stream);
        }
    }
}

async fn answers(
    server: &mut (impl AsyncRead + Unpin),
    driver: &mut (impl AsyncWrite + Unpin),
    traffic: &Traffic,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = server.read(&mut chunk).await?;
        if read == 0 {
            return driver.shutdown().await;
        }
        let received = traffic.received.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
        let since = received.saturating_sub(traffic.handed.load(Ordering::SeqCst));
        if since > LIMIT && traffic.limited.load(Ordering::SeqCst) {
            traffic.exceeded.store(true, Ordering::SeqCst);
            return Ok(());
        }
        driver.write_all(&chunk[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn passed(sent: usize, limited: bool) -> (usize, bool) {
        let (traffic, (mut server, inner)) = (Traffic::default(), tokio::io::duplex(CHUNK));
        traffic.limited.store(limited, Ordering::SeqCst);
        let (mut outer, mut driver) = tokio::io::duplex(CHUNK);
        let writes = async move {
            // Whoever is cut off cannot write to the end.
            let _cut = server.write_all(&vec![0; sent]).await;
        };
        let reads = async move {
            let mut all = Vec::new();
            driver.read_to_end(&mut all).await.map(|_| all.len())
        };
        let relay = async {
            let mut inner = inner;
            let done = answers(&mut inner, &mut outer, &traffic).await;
            drop((inner, outer));
            done
        };
        let (_, read, done) = tokio::join!(writes, reads, relay);
        done.expect("no error");
        (read.expect("an end"), traffic.exceeded.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_is_larger_than_the_limit_is_cut_off_and_nothing_else() {
        let limit = usize::try_from(LIMIT).expect("it fits");
        assert_eq!(passed(limit, true).await, (limit, false));
        assert_eq!(passed(limit + CHUNK, false).await, (limit + CHUNK, false));
        let (read, exceeded) = passed(3 * limit, true).await;
        assert!(exceeded && read <= limit, "{read}");
    }
}
