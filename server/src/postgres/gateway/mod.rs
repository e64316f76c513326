//! The gateway: a migration tool's connections, relayed as bytes to the database that is built aside.
//!
//! A tool is somebody else's program. It gets a login role that owns that database and may do nothing else (`role`), a
//! startup packet of the daemon's making (`startup`), and nothing that it says is understood further than is needed to tell
//! what it did (`watch`). It must not know operations, nor how the bytes come here.

mod connection;
mod frame;
mod inside;
mod login;
pub(crate) mod prepared;
pub(crate) mod role;
mod startup;
mod watch;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{
    fault::{Fault, Reason},
    secret::Secret,
    tool::ServerError,
};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::sync::watch as tokio_watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::postgres::{session::backend, sql::ident::Ident};
pub(crate) use inside::Inside;
use role::ToolRole;

/// The most connections of one tool at a time.
const MOST_CONNECTIONS: u32 = 32;
/// How long the connections of a tool that has ended may take to end as well.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What a tool connects with.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) user: String,
    /// Of one operation, and of no use anywhere else: it is not the role's own.
    pub(crate) password: Secret<String>,
    /// The name that the database will have.
    pub(crate) database: String,
    /// Where its sessions create things unless they say where.
    pub(crate) schema: String,
}

impl Told {
    /// With a password of its own.
    pub(crate) fn new(user: &str, database: &str, schema: &str) -> Self {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        Self {
            user: user.to_owned(),
            password: Secret::new(random() + &random()),
            database: database.to_owned(),
            schema: schema.to_owned(),
        }
    }
}

/// What was seen of a tool's work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: u32,
    pub(crate) open: u32,
    pub(crate) statements: u64,
    /// What runs, or ran last.
    pub(crate) current: Option<String>,
    /// What its first connection calls itself.
    pub(crate) application_name: String,
    pub(crate) last_error: Option<ServerError>,
}

/// The gateway of one operation.
pub(crate) struct Gateway {
    told: Told,
    /// How its connections log in to the database that is built aside.
    login: PgConnectOptions,
    /// The search path that they start with; `None`: the server's own.
    search_path: Option<String>,
    control: PgPool,
    seen: tokio_watch::Sender<Seen>,
    /// By what a cancel of the tool's names: the backend, or the session inside.
    keys: Mutex<HashMap<(i32, i32), i32>>,
    /// The operation's transaction, where the tool works in it.
    inside: Option<Inside>,
    closed: CancellationToken,
    connections: TaskTracker,
}

impl Gateway {
    /// Whether the gateway can get to a server as the daemon does.
    ///
    /// # Errors
    /// `NOT_IMPLEMENTED`: the way has to be encrypted.
    pub(crate) fn can_reach(options: &PgConnectOptions) -> Result<(), Fault> {
        if !login::needs_tls(options) {
            return Ok(());
        }
        let text = "the gateway of migration tools does not encrypt its own way to PostgreSQL, and the URL asks for that";
        Err(Fault::new(Reason::NotImplemented, text)
            .hint("run the daemon beside PostgreSQL, on its socket or a loopback address; or say sslmode=disable in a network that you trust"))
    }

    /// A gateway for the sessions of `role`, which see its schema first, and then those of `suffix`.
    pub(crate) fn new(
        told: Told,
        login: (PgConnectOptions, &ToolRole),
        suffix: &[String],
        control: PgPool,
    ) -> Arc<Self> {
        Arc::new(Self::plain(told, login, suffix, control))
    }

    fn plain(
        told: Told,
        (login, role): (PgConnectOptions, &ToolRole),
        suffix: &[String],
        control: PgPool,
    ) -> Self {
        let login = match &role.password {
            Some(password) => login.username(&role.name).password(password.expose()),
            None => login,
        };
        // Without a schema of its own a tool finds what it finds anywhere else.
        let search_path = (told.schema != "public").then(|| {
            let others = suffix.iter().filter(|name| **name != told.schema);
            let names = [&told.schema].into_iter().chain(others);
            names.map(|name| Ident(name).to_string()).collect::<Vec<_>>().join(",")
        });
        Self {
            told,
            login,
            search_path,
            control,
            seen: tokio_watch::Sender::default(),
            keys: Mutex::default(),
            inside: None,
            closed: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    /// The same way to a server, whose bytes can be read.
    pub(crate) fn readable(options: PgConnectOptions) -> PgConnectOptions {
        options.ssl_mode(sqlx::postgres::PgSslMode::Disable)
    }

    /// A gateway into the transaction of the work session of this backend.
    pub(crate) fn inside(
        told: Told,
        login: PgConnectOptions,
        pid: i32,
        suffix: &[String],
        control: PgPool,
    ) -> Arc<Self> {
        let as_it_is = ToolRole { name: told.user.clone(), password: None };
        let mut gateway = Self::plain(told, (login, &as_it_is), suffix, control.clone());
        gateway.inside = Some(Inside::new(pid, control, gateway.seen.clone()));
        Arc::new(gateway)
    }

    /// The transaction that the tool works in.
    pub(crate) fn transaction(&self) -> Option<&Inside> {
        self.inside.as_ref()
    }

    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// What is seen, as it changes.
    pub(crate) fn seen(&self) -> tokio_watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Takes no connection any more, and lets those that are there end, for a while.
    pub(crate) async fn close(&self) {
        self.connections.close();
        // The tool has ended: what it sent last is still on its way.
        let _slow = tokio::time::timeout(LAST_WAIT, self.connections.wait()).await;
        self.closed.cancel();
        self.connections.wait().await;
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<(i32, i32), i32>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels what the session of this key runs, if it is one of the tool's.
    async fn cancel(&self, key: (i32, i32)) {
        let Some(of) = self.keys().get(&key).copied() else { return };
        match &self.inside {
            Some(inside) => inside.cancel(of.cast_unsigned()).await,
            None => backend::cancel(&self.control, of).await,
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}
