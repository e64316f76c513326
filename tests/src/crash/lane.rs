//! Servers, targets and daemons of the matrix.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use resetd::embedded::{Cluster, StopMode};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::{Kind, Proxy};
use crate::{
    Daemon, Setup, TestTarget,
    postgres::{MIGRATED, Postgres},
    soon, sql,
    target::Make,
};

/// The template with everything, and the one that `migrate` brings to it.
const FULL: &str = "crash_full";
const BEHIND: &str = "crash_behind";

/// Three schemas and two chains have every kind of event, and few of each.
const MATRIX: &str = r#"matrix = "small"

[matrix.small]
shared_schemas = ["shared"]
search_path_suffix = ["shared", "public"]
extensions_schema = "extensions"

[[matrix.small.chain]]
name = "core"
schemas = ["general", "health"]
tables = ["state", "scheduled_tasks", "sessions", "route_inbox"]

[[matrix.small.chain]]
name = "memory"
schemas = ["general"]
tables = ["episodes", "facts", "rules", "memory_links"]
"#;

const LOGGING: &[(&str, &str)] = &[
    ("log_statement", "all"),
    ("log_connections", "on"),
    ("log_disconnections", "on"),
    ("log_line_prefix", "%m|%p|%d|%a|"),
    ("log_min_messages", "warning"),
];

static LANES: AtomicU32 = AtomicU32::new(1);

/// A server of the matrix.
#[derive(Debug)]
pub struct Site {
    cluster: Mutex<Cluster>,
    pub(crate) postgres: Postgres,
    pub(crate) log: PathBuf,
}

impl Site {
    /// A server that logs every statement, with the matrix's templates.
    pub async fn start() -> Arc<Self> {
        let (cluster, postgres) = Postgres::private_with(LOGGING).await;
        let server = postgres.url("postgres");
        sql::run(&server, &format!("CREATE DATABASE {FULL} TEMPLATE {MIGRATED}")).await;
        let drop = "DROP SCHEMA messenger CASCADE; DROP SCHEMA relationship CASCADE; DROP SCHEMA switchboard CASCADE;
        DROP TABLE health.episodes, health.facts, health.rules, health.memory_links CASCADE;
        DELETE FROM health.alembic_version WHERE version_num = 'mem_001'";
        sql::run(&postgres.url(FULL), drop).await;
        sql::run(&server, &format!("CREATE DATABASE {BEHIND} TEMPLATE {FULL}")).await;
        sql::run(&postgres.url(BEHIND), "DROP SCHEMA general CASCADE").await;
        let log = cluster.log_path();
        Arc::new(Self { cluster: Mutex::new(cluster), postgres, log })
    }

    /// Restarts the server; `false` when it is the same process as before.
    pub(crate) async fn restart(&self, mode: StopMode) -> bool {
        let mut cluster = self.cluster.lock().await;
        let before = cluster.pid();
        cluster.restart(mode).await.expect("the server comes up again");
        before != cluster.pid()
    }

    /// Ends the server.
    pub async fn stop(self: Arc<Self>) {
        let Some(site) = Arc::into_inner(self) else { return };
        site.cluster.into_inner().stop(StopMode::Immediate).await.expect("the server ends");
    }
}

/// One target with its two daemons.
pub struct Lane {
    pub(crate) site: Arc<Site>,
    pub(crate) target: TestTarget,
    pub(crate) proxy: Proxy,
    pub(crate) folder: TempDir,
    pub(crate) first: Option<Daemon>,
    pub(crate) second: Daemon,
    /// A cancel that is under way.
    pub(crate) cancel: Option<tokio::task::JoinHandle<Result<(), String>>>,
}

impl Lane {
    /// A lane of its own on a server.
    pub async fn open(site: &Arc<Site>) -> Self {
        let mut target = TestTarget::make_on(&site.postgres, Make::default()).await;
        let number = LANES.fetch_add(1, Ordering::Relaxed);
        target.control = format!("crash_control_{number}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder's mode");
        let socket = Path::new(&site.postgres.socket_dir).join(format!(".s.PGSQL.{}", site.postgres.port));
        let proxy = Proxy::start(socket, &target.control).await;
        let second = Setup::of(&target)
            .with(MATRIX)
            .env("RESETD_LOG", "resetd=debug,warn")
            .listen(&format!("unix:{}", folder.path().join("second.sock").display()))
            .spawn()
            .await;
        Self { site: Arc::clone(site), target, proxy, folder, first: None, second, cancel: None }
    }

    /// Where the first daemon stops, and is let go.
    pub(crate) fn hold(&self, file: &str) -> PathBuf {
        self.folder.path().join("hold").join(file)
    }

    /// No hold is left of what was before.
    pub(crate) fn clear_holds(&self) {
        let folder = self.folder.path().join("hold");
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("the holds can be removed");
        }
        fs::create_dir(&folder).expect("a folder for holds");
    }

    /// Starts the first daemon where it does not run; through the proxy, at an address of its own that stays.
    pub(crate) async fn first(&mut self) {
        if self.first.is_some() {
            return;
        }
        let through = |role: &str, database: &str| {
            format!("postgres://{role}:x@127.0.0.1:{}/{database}?sslmode=disable", self.proxy.port)
        };
        let url = through(&self.target.role, &self.target.database);
        let control = self.target.control_role.as_ref().map(|role| through(role, &self.target.control));
        let daemon = Setup::of(&self.target)
            .env("CONTROL_URL", &control.unwrap_or_default())
            .with(MATRIX)
            .env("RESETD_LOG", "resetd=debug,warn")
            .env("BUTLERS_DATABASE_URL", &url)
            .env(&format!("URL_OF_{}", self.target.name.to_uppercase()), &url)
            .env("RESETD_TEST_HOLD", &self.folder.path().join("hold").display().to_string())
            .listen(&format!("unix:{}", self.folder.path().join("first.sock").display()))
            .spawn()
            .await;
        self.first = Some(daemon);
    }

    pub(crate) fn first_daemon(&self) -> &Daemon {
        self.first.as_ref().expect("it was started")
    }

    /// Makes the target what an operation begins with.
    pub(crate) async fn prepare(&self, kind: Kind) {
        let database = &self.target.database;
        let template = if matches!(kind, Kind::Migrate | Kind::MigratePhased) { BEHIND } else { FULL };
        self.server(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await;
        self.server(&format!("CREATE DATABASE {database} TEMPLATE {template}")).await;
        self.target.hand_over().await;
        if matches!(kind, Kind::Undo | Kind::UndoSchemas) {
            let mut api = self.second.api().await;
            let mut request = crate::request(model::operation::Verb::Reset, &self.target);
            let (scope, said) = match kind {
                Kind::Undo => (model::profile::Scope::Database, "database replaced"),
                _ => (model::profile::Scope::ManagedSchemas, "3 schemas reset"),
            };
            (request.scope, request.scope_named) = (Some(scope), true);
            let events = crate::collect(api.begin(&request).await.expect("a reset to be undone")).await;
            let last = events.last().expect("events");
            assert!(last.text.contains(said), "{last:?}");
        }
    }

    /// Drops what undo would need, so that every cell finds the same.
    pub(crate) async fn sweep_kept(&self) {
        for row in self.target.control_rows("SELECT name FROM resetd.kept_database").await {
            self.server(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", row[0])).await;
        }
        self.target.control_sql("DELETE FROM resetd.kept_database; DELETE FROM resetd.kept_schemas").await;
    }

    /// A statement in no database of the lane.
    pub(crate) async fn server(&self, text: &str) {
        sql::run(&self.site.postgres.url("postgres"), text).await;
    }

    /// The rows of a query in no database of the lane.
    pub(crate) async fn server_rows(&self, text: &str) -> Vec<Vec<String>> {
        sql::rows(&self.site.postgres.url("postgres"), text).await
    }

    /// Waits until the first daemon stops at the point that was asked for.
    pub(crate) async fn held(&self, point: &str) {
        let held = self.hold("held");
        let what = || format!("the daemon stops at {point}\n{}", self.tails().join("\n"));
        let limit = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        while !held.exists() {
            assert!(tokio::time::Instant::now() < limit, "not within 60 s: {}", what());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Ends the daemons and removes the lane's databases.
    pub async fn close(self) {
        for daemon in self.first.into_iter().chain([self.second]) {
            soon("a daemon's end", daemon.kill()).await;
        }
        let server = self.site.postgres.url("postgres");
        for name in [&self.target.database, &self.target.control] {
            sql::run(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        }
    }
}
