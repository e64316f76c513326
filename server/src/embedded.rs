//! A private PostgreSQL for people who have none at hand: started from the machine's own server binaries, reached
//! over a unix socket only its user can enter, and gone with the daemon, even when the daemon is killed.
//!
//! It must not know what the databases are used for, and it speaks no SQL: whoever wants a database makes one.

mod account;
mod binaries;
mod directory;
mod error;
mod server;
mod watchdog;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tempfile::TempDir;

use account::Account;
use binaries::Binaries;
use directory::{DataDir, State};
pub use error::EmbeddedError;
use server::{Launch, Server};
use watchdog::Watchdog;

/// The superuser of every embedded cluster.
pub const SUPERUSER: &str = "postgres";

/// The port in the socket's name where nothing listens on TCP.
const SOCKET_PORT: u16 = 5432;

/// Another process may take the free port between our look and the server's bind.
const PORT_ATTEMPTS: usize = 5;

/// What an embedded cluster shall be.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedOptions {
    /// Where the data lives and is kept; without it, a temporary folder that is removed at the end.
    pub data_dir: Option<PathBuf>,
    /// Server settings (`name`, `value`) that go before the ones of this module, e.g. `wal_level` = `logical`.
    pub settings: Vec<(String, String)>,
    /// Listen on a free port of 127.0.0.1 as well, with the password of [`Cluster::password`].
    pub tcp: bool,
    /// The folder of `initdb` and `postgres`; without it, the usual places are searched.
    pub bin_dir: Option<PathBuf>,
}

/// How a server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Sessions are disconnected, transactions rolled back, and a checkpoint is written (SIGINT).
    Fast,
    /// At once, as in a crash; the next start recovers (SIGQUIT).
    Immediate,
}

/// A running private PostgreSQL. Call [`Cluster::stop`] for an orderly end; a drop ends the server as well, but
/// blocks the thread while it does.
#[derive(Debug)]
pub struct Cluster {
    // The order matters in a drop: the server ends, the folder goes, and only then the watchdog.
    server: Option<Server>,
    home: Option<TempDir>,
    watchdog: Watchdog,
    account: Account,
    binaries: Binaries,
    settings: Vec<(String, String)>,
    data: DataDir,
    socket_dir: PathBuf,
    port: u16,
    tcp: bool,
    password: String,
}

impl Cluster {
    /// Finds the binaries, makes the cluster if there is none yet, starts it and waits until it answers.
    ///
    /// # Errors
    /// No binaries, a data folder that cannot be used, or a server that does not come up (with the tail of its log).
    pub async fn start(options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let kept = options.data_dir.as_deref().map(directory::absolute).transpose()?;
        let account = Account::choose(kept.as_deref())?;
        let home = directory::temporary(&account)?;
        let socket_dir = home.path().to_owned();
        let data = DataDir::new(kept, home.path());
        let state = data.prepare(&account).await?;
        let binaries = Binaries::find(options.bin_dir.as_deref(), &state, data.path())?;
        let watchdog = Watchdog::spawn(&account, home.path(), !data.is_kept())?;
        let mut cluster = Self {
            server: None,
            home: Some(home),
            watchdog,
            account,
            binaries,
            settings: options.settings,
            data,
            socket_dir,
            port: SOCKET_PORT,
            tcp: options.tcp,
            password: String::new(),
        };
        cluster.password = match state {
            State::Empty => cluster.initialise().await?,
            State::Cluster { .. } if options.tcp => cluster.data.read_password()?,
            State::Cluster { .. } => String::new(),
        };
        cluster.launch_on_a_port().await?;
        tracing::info!(
            data = %cluster.data.path().display(),
            kept = cluster.data.is_kept(),
            version = %cluster.binaries.version(),
            user = cluster.account.name(),
            "the embedded PostgreSQL is ready"
        );
        Ok(cluster)
    }

    /// How to connect as the superuser `postgres` over the unix socket; add a database.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(self.port)
            .username(SUPERUSER)
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging()
    }

    /// The folder of the unix socket; only the server's user (and root) may enter it.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The port: of 127.0.0.1 with `tcp`, else only a part of the socket's name.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of the superuser on TCP; the socket asks for none.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.tcp.then_some(self.password.as_str())
    }

    /// Where the data lives.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// The server's own log.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.data.log_path(&self.socket_dir)
    }

    /// The process id of the postmaster; none after it was stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Whether the server process is there; it can be gone after a crash or a kill.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| server.exited().is_none())
    }

    /// Stops the server and starts it again on the same socket and port.
    ///
    /// # Errors
    /// The server does not end, or does not come up again.
    pub async fn restart(&mut self, mode: StopMode) -> Result<(), EmbeddedError> {
        self.end_server(mode).await?;
        self.launch().await
    }

    /// Stops the server and removes what is temporary; the data of a kept folder stays.
    ///
    /// # Errors
    /// The server does not end, or the temporary folder cannot be removed.
    pub async fn stop(mut self, mode: StopMode) -> Result<(), EmbeddedError> {
        self.end_server(mode).await?;
        match self.home.take() {
            Some(home) => {
                let path = home.path().to_owned();
                home.close().map_err(|source| EmbeddedError::Remove { path, source })
            }
            None => Ok(()),
        }
    }

    async fn end_server(&mut self, mode: StopMode) -> Result<(), EmbeddedError> {
        if let Some(server) = self.server.as_mut() {
            server.stop(mode).await?;
        }
        self.server = None;
        self.watchdog.follow(None);
        Ok(())
    }

    async fn initialise(&mut self) -> Result<String, EmbeddedError> {
        let password = new_password();
        let password_file = self.data.write_password(&self.account, &self.socket_dir, &password)?;
        let first = self.initdb("C.UTF-8", &password_file).await;
        // C.UTF-8 is not everywhere; C is.
        let made = match first {
            Err(error) if error.is_locale_missing() => self.initdb("C", &password_file).await,
            result => result,
        };
        made?;
        self.data.keep_password(&self.account, &password_file)?;
        Ok(password)
    }

    async fn initdb(&mut self, locale: &str, password_file: &Path) -> Result<(), EmbeddedError> {
        let log = self.socket_dir.join("initdb.log");
        let log_start = server::log_length(&log);
        let launch = Launch {
            program: self.binaries.program("initdb"),
            arguments: self.data.initdb_arguments(password_file, locale),
            log,
        };
        if self.run(&launch).await?.success() {
            return Ok(());
        }
        let tail = server::log_tail(&launch.log, log_start);
        Err(EmbeddedError::Initdb { path: self.data.path().to_owned(), tail })
    }

    /// Runs one program to its end; a drop meanwhile ends it, as it sits in the server's place.
    async fn run(&mut self, launch: &Launch) -> Result<std::process::ExitStatus, EmbeddedError> {
        let server = self.server.insert(Server::spawn(&self.account, launch, !self.data.is_kept())?);
        self.watchdog.follow(Some(server.pid()));
        let status = server.ended().await;
        self.server = None;
        self.watchdog.follow(None);
        status
    }

    async fn launch_on_a_port(&mut self) -> Result<(), EmbeddedError> {
        let mut attempts = 0;
        loop {
            if self.tcp {
                self.port = free_port()?;
            }
            attempts += 1;
            match self.launch().await {
                Err(error) if self.tcp && attempts < PORT_ATTEMPTS && error.is_port_taken() => {}
                result => return result,
            }
        }
    }

    async fn launch(&mut self) -> Result<(), EmbeddedError> {
        let launch = Launch {
            program: self.binaries.program("postgres"),
            arguments: self.server_arguments(),
            log: self.log_path(),
        };
        let log_start = server::log_length(&launch.log);
        let connect = self.connect_options();
        // A big kept cluster may have to recover first.
        let limit = Duration::from_secs(if self.data.is_kept() { 300 } else { 60 });
        let server = self.server.insert(Server::spawn(&self.account, &launch, !self.data.is_kept())?);
        self.watchdog.follow(Some(server.pid()));
        let ready = server.ready(&connect, limit, &launch.log, log_start).await;
        if ready.is_err() {
            self.server = None;
            self.watchdog.follow(None);
        }
        ready
    }

    fn server_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["-D".to_owned(), self.data.path().display().to_string()];
        let mut set =
            |name: &str, value: &str| arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
        set("max_connections", "100");
        if !self.data.is_kept() {
            // What is removed at the end need not survive a power cut; a crash of the server it still survives.
            set("fsync", "off");
            set("full_page_writes", "off");
        }
        for (name, value) in &self.settings {
            set(name, value);
        }
        set("listen_addresses", if self.tcp { "127.0.0.1" } else { "" });
        set("port", &self.port.to_string());
        set("unix_socket_directories", &format!("\"{}\"", self.socket_dir.display()));
        set("unix_socket_permissions", "0700");
        set("logging_collector", "off");
        set("log_destination", "stderr");
        arguments
    }
}

fn new_password() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

fn free_port() -> Result<u16, EmbeddedError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(EmbeddedError::NoPort)
}
