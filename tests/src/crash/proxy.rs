//! A TCP proxy between one daemon and its PostgreSQL, which can lose, hold up or break what goes to the target. What goes
//! to the control database always passes.

use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
    time::Instant,
};

const SSL_REQUEST: u32 = 80_877_103;
/// When the server's keepalives would have noticed a cut cable. The daemon's side says nothing, ever: it must notice by itself.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// What happens to the connections to targets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// Nothing arrives any more, and nobody is told.
    Swallow,
    /// Nothing arrives until then.
    Delay(Instant),
    /// Broken off with RST.
    Reset,
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// On 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
    mode: watch::Sender<Mode>,
    _accepting: tokio_util::task::AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: PathBuf,
    control: String,
    bytes: AtomicU64,
    struck: AtomicU64,
    control_pids: Mutex<BTreeSet<i32>>,
}

impl Proxy {
    /// Listens on a free port; `upstream` is PostgreSQL's socket.
    pub(crate) async fn start(upstream: PathBuf, control: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            upstream,
            control: control.to_owned(),
            bytes: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            control_pids: Mutex::default(),
        });
        let mode = watch::Sender::new(Mode::Pass);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), mode.subscribe()));
        Self { port, shared, mode, _accepting: tokio_util::task::AbortOnDropHandle::new(accepting) }
    }

    /// Changes what happens, to open connections and to new ones.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Bytes that came by on connections to targets.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// How often something was lost, held up or broken.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::SeqCst)
    }

    /// The backends in the control database that this daemon has, or had.
    #[must_use]
    pub fn control_pids(&self) -> Vec<i32> {
        self.shared.control_pids.lock().expect("nobody panics with it").iter().copied().collect()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mode: watch::Receiver<Mode>) {
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (shared, mode) = (Arc::clone(&shared), mode.clone());
        // An error is the end of one connection, which both sides hear of.
        open.spawn(async move { drop(serve(stream, shared, mode).await) });
        while open.try_join_next().is_some() {}
    }
}

async fn startup(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    loop {
        let length = stream.read_u32().await?;
        let mut body = vec![0; usize::try_from(length).unwrap_or(0).saturating_sub(4)];
        stream.read_exact(&mut body).await?;
        if body.get(..4) == Some(&SSL_REQUEST.to_be_bytes()) {
            stream.write_all(b"N").await?;
            continue;
        }
        let mut packet = length.to_be_bytes().to_vec();
        packet.extend(body);
        return Ok(packet);
    }
}

fn database(packet: &[u8]) -> String {
    let mut words = packet.get(8..).unwrap_or_default().split(|b| *b == 0);
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == b"database" {
            return String::from_utf8_lossy(value).into_owned();
        }
    }
    String::new()
}

async fn serve(mut down: TcpStream, shared: Arc<Shared>, mode: watch::Receiver<Mode>) -> io::Result<()> {
    down.set_nodelay(true)?;
    let packet = startup(&mut down).await?;
    let to_control = database(&packet) == shared.control;
    let cut = if to_control { None } else { Some(mode) };
    if let Some(mode) = &cut {
        let now = *mode.borrow();
        match now {
            Mode::Pass => {}
            Mode::Delay(until) => {
                shared.struck.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep_until(until).await;
            }
            Mode::Reset => return reset(&shared, &down),
            Mode::Swallow => {
                shared.struck.fetch_add(1, Ordering::SeqCst);
                silent(down, mode.clone()).await;
                return Ok(());
            }
        }
    }
    let mut up = UnixStream::connect(&shared.upstream).await?;
    up.write_all(&packet).await?;
    relay(down, up, &shared, cut).await
}

fn reset(shared: &Shared, down: &TcpStream) -> io::Result<()> {
    shared.struck.fetch_add(1, Ordering::SeqCst);
    down.set_zero_linger()
}

async fn relay(
    mut down: TcpStream,
    mut up: UnixStream,
    shared: &Shared,
    mut mode: Option<watch::Receiver<Mode>>,
) -> io::Result<()> {
    let (mut to_up, mut to_down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut first = Vec::new();
    let mut known = mode.is_some();
    loop {
        let changed = async {
            match &mut mode {
                Some(mode) => drop(mode.changed().await),
                None => std::future::pending().await,
            }
        };
        let (upwards, read) = tokio::select! {
            biased;
            () = changed => (false, None),
            read = down.read(&mut to_up) => (true, Some(read?)),
            read = up.read(&mut to_down) => (false, Some(read?)),
        };
        let now = mode.as_ref().map_or(Mode::Pass, |mode| *mode.borrow());
        match now {
            Mode::Pass => {}
            Mode::Delay(_) if read.is_none() => {}
            Mode::Delay(until) => {
                shared.struck.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep_until(until).await;
            }
            Mode::Reset => {
                drop(up);
                return reset(shared, &down);
            }
            Mode::Swallow => {
                shared.struck.fetch_add(1, Ordering::SeqCst);
                // Neither side hears of the other any more, not even of its end.
                let server = async {
                    tokio::time::sleep(KEEPALIVE).await;
                    drop(up);
                };
                match mode {
                    Some(mode) => drop(tokio::join!(server, silent(down, mode))),
                    None => server.await,
                }
                return Ok(());
            }
        }
        let Some(read) = read else { continue };
        if read == 0 {
            return Ok(());
        }
        if mode.is_some() {
            shared.bytes.fetch_add(read as u64, Ordering::SeqCst);
        }
        if upwards {
            up.write_all(&to_up[..read]).await?;
            continue;
        }
        if !known {
            first.extend_from_slice(&to_down[..read]);
            if let Some(pid) = backend(&first) {
                shared.control_pids.lock().expect("nobody panics with it").insert(pid);
                known = true;
            }
        }
        down.write_all(&to_down[..read]).await?;
    }
}

/// Keeps the daemon's side of a cut cable until the cable is whole again, or the daemon gives it up.
async fn silent(mut down: TcpStream, mut mode: watch::Receiver<Mode>) {
    let mut lost = [0; 4096];
    loop {
        tokio::select! {
            changed = mode.wait_for(|mode| *mode != Mode::Swallow) => return drop(changed),
            read = down.read(&mut lost) => if !matches!(read, Ok(1..)) { return },
        }
    }
}

/// The pid in the server's first messages, once it has come.
fn backend(mut bytes: &[u8]) -> Option<i32> {
    while bytes.len() >= 5 {
        let length = usize::try_from(u32::from_be_bytes(bytes[1..5].try_into().ok()?)).ok()?;
        if bytes[0] == b'K' {
            return Some(i32::from_be_bytes(bytes.get(5..9)?.try_into().ok()?));
        }
        bytes = bytes.get(length + 1..)?;
    }
    None
}
