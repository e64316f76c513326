//! One daemon from its configuration to its end: cluster, control database, engine, listeners.

use std::{io, path::Path, sync::Arc};

use model::{authorization::Policy, fault::Fault};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    config::{Config, DatabaseUrl, TargetSource},
    embedded::{Cluster, EmbeddedError, EmbeddedOptions, SUPERUSER, StopMode},
    engine::{Engine, Parts, Target},
    grpc::{self, Bound, Certificates},
    notify,
    postgres::{
        change::control_schema::{self, Site},
        control::pool::Control,
    },
};

/// Why a daemon cannot start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The embedded cluster.
    #[error("the embedded cluster cannot be started")]
    Embedded(#[source] EmbeddedError),
    /// A database.
    #[error("{0}")]
    Database(Box<Fault>),
    /// A listener.
    #[error("a listener cannot be opened")]
    Listen(#[source] io::Error),
    /// Certificate, key or CA.
    #[error("TLS cannot be offered: {0}")]
    Tls(String),
    /// The port file.
    #[error("the port file {path} cannot be written")]
    PortFile {
        /// Where it should be.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server.
    #[error("the server ended badly")]
    Serve(#[source] tonic::transport::Error),
}

impl From<Fault> for DaemonError {
    fn from(fault: Fault) -> Self {
        Self::Database(Box::new(fault))
    }
}

/// A daemon that runs.
pub struct Daemon {
    engine: Arc<Engine>,
    cluster: Option<Cluster>,
    addresses: Vec<String>,
    config: Config,
    end: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Daemon {
    /// Starts everything; when this returns, the daemon answers on [`Daemon::addresses`].
    ///
    /// # Errors
    /// What cannot be had, before anything was changed in a target.
    pub async fn start(config: Config) -> Result<Self, DaemonError> {
        #[cfg(feature = "test-hooks")]
        if let Some(folder) = &config.test_hold {
            crate::postgres::session::failpoint::install(folder.clone());
        }
        let certificates = config
            .tls
            .as_ref()
            .map(Certificates::load)
            .transpose()
            .map_err(|e| DaemonError::Tls(e.told()))?;
        let mut cluster = start_cluster(&config).await?;
        match Self::start_beside(&config, &mut cluster).await {
            Ok((engine, listeners)) => Self::serve(config, cluster, engine, listeners, certificates).await,
            Err(error) => {
                if let Some(cluster) = cluster {
                    stop_cluster(cluster).await;
                }
                Err(error)
            }
        }
    }

    async fn start_beside(
        config: &Config,
        cluster: &mut Option<Cluster>,
    ) -> Result<(Arc<Engine>, Vec<Bound>), DaemonError> {
        let listeners = grpc::bind_all(config).await.map_err(DaemonError::Listen)?;
        for listener in listeners.iter().filter(|l| l.is_plaintext()) {
            tracing::warn!(
                address = listener.address(),
                "plaintext without identity: everybody on this machine can call the daemon here"
            );
        }
        if !config.migrations.is_dir() {
            // They are read at each operation: they may still come.
            let folder = config.migrations.display();
            tracing::warn!(
                "the folder of chains {folder} is not there: nothing can be migrated or validated"
            );
        }
        let (targets, control) = databases(config, cluster.as_ref()).await?;
        for opening in &control.openings {
            tracing::warn!("{opening}");
        }
        let engine = Engine::start(Parts {
            control,
            targets,
            migrations: config.migrations.clone(),
            policy: Policy { grants: config.roles.clone() },
            instance: Uuid::new_v4(),
            audit: config.audit.clone(),
        })
        .await?;
        Ok((engine, listeners))
    }

    async fn serve(
        config: Config,
        cluster: Option<Cluster>,
        engine: Arc<Engine>,
        listeners: Vec<Bound>,
        certificates: Option<Arc<Certificates>>,
    ) -> Result<Self, DaemonError> {
        let addresses: Vec<String> = listeners.iter().map(|l| l.address().to_owned()).collect();
        if let Some(path) = &config.port_file {
            write_port_file(path, &addresses)
                .map_err(|source| DaemonError::PortFile { path: path.display().to_string(), source })?;
        }
        let end = CancellationToken::new();
        tokio::spawn(grpc::keep_fresh(certificates.clone(), end.clone()));
        let serving = tokio::spawn(grpc::serve(Arc::clone(&engine), listeners, certificates, end.clone()));
        notify::tell(config.notify_socket.as_deref(), notify::State::Ready);
        Ok(Self { engine, cluster, addresses, config, end, serving })
    }

    /// Where it listens: `unix:PATH` or `HOST:PORT`.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Takes no new operations, waits for running ones at most the configured grace, cancels the rest, ends every
    /// stream and every listener.
    ///
    /// # Errors
    /// A listener had failed.
    pub async fn shut_down(self) -> Result<(), DaemonError> {
        notify::tell(self.config.notify_socket.as_deref(), notify::State::Stopping);
        self.engine.shut_down(self.config.shutdown_grace).await;
        self.end.cancel();
        let served = self.serving.await.unwrap_or(Ok(()));
        if let Some(cluster) = self.cluster {
            stop_cluster(cluster).await;
        }
        if let Some(path) = &self.config.port_file
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(%error, "the port file was gone");
        }
        served.map_err(DaemonError::Serve)
    }
}

async fn start_cluster(config: &Config) -> Result<Option<Cluster>, DaemonError> {
    let Some(embedded) = &config.embedded else { return Ok(None) };
    let options = EmbeddedOptions { data_dir: embedded.dir.clone(), ..EmbeddedOptions::default() };
    let cluster = Cluster::start(options).await.map_err(DaemonError::Embedded)?;
    let (folder, port) = (cluster.socket_dir().display(), cluster.port());
    tracing::info!(
        "to look into the embedded PostgreSQL: psql -h {folder} -p {port} -U {SUPERUSER} DATABASE"
    );
    Ok(Some(cluster))
}

async fn stop_cluster(cluster: Cluster) {
    if let Err(error) = cluster.stop(StopMode::Fast).await {
        tracing::warn!(%error, "the embedded cluster did not stop cleanly");
    }
}

/// The targets with their URLs, and the control database, open.
async fn databases(config: &Config, cluster: Option<&Cluster>) -> Result<(Vec<Target>, Control), Fault> {
    let (targets, site) = site(config, cluster).await?;
    Ok((targets, control_schema::open(&site).await?))
}

/// The targets with their URLs, and where the control database is.
async fn site(config: &Config, cluster: Option<&Cluster>) -> Result<(Vec<Target>, Site), Fault> {
    let mut targets = Vec::new();
    for target in &config.targets {
        let url = url_of(&target.source, cluster)?;
        if let Some(cluster) = cluster {
            control_schema::create_database(&cluster.connect_options(), url.database()).await?;
        }
        targets.push(Target {
            name: target.name.clone(),
            url,
            env_var: target.env_var.clone(),
            profile: target.profile.clone(),
            matrix: target.matrix.clone(),
            tool_url: target.tool_url.clone(),
        });
    }
    let first = targets.first().map(|t| t.url.clone());
    let options = match (&config.control.url, first) {
        (Some(url), _) => url.connect_options(),
        (None, Some(first)) => first.with_database(&config.control.database).connect_options(),
        (None, None) => return Err(no_target()),
    };
    let others = config.databases().into_iter().map(str::to_owned).collect();
    Ok((targets, Site { options, others }))
}

/// The control database of a configuration, open, without a daemon.
///
/// # Errors
/// It cannot be had.
pub(crate) async fn control(config: &Config) -> Result<Control, Fault> {
    databases(config, None).await.map(|(_, control)| control)
}

/// The same, also where it was written elsewhere: only to be adopted.
///
/// # Errors
/// It cannot be had.
pub(crate) async fn foreign_control(config: &Config) -> Result<Control, Fault> {
    let (_, site) = site(config, None).await?;
    control_schema::open_foreign(&site).await
}

fn no_target() -> Fault {
    Fault::new(model::fault::Reason::InvalidRequest, "the configuration names no target")
        .hint("add a [target.NAME], or set BUTLERS_DATABASE_URL")
}

fn url_of(source: &TargetSource, cluster: Option<&Cluster>) -> Result<DatabaseUrl, Fault> {
    match (source, cluster) {
        (TargetSource::Url(url), _) => Ok(url.clone()),
        (TargetSource::Embedded { database }, Some(cluster)) => {
            DatabaseUrl::new(cluster.connect_options().database(database)).map_err(|e| {
                Fault::new(model::fault::Reason::InvalidRequest, e.to_string())
                    .hint("name the database differently")
            })
        }
        (TargetSource::Embedded { .. }, None) => Err(no_target()),
    }
}

/// Writes the addresses whole or not at all: whoever waits for the file reads all of it.
fn write_port_file(path: &Path, addresses: &[String]) -> io::Result<()> {
    use io::Write as _;
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    for address in addresses {
        writeln!(file, "{address}")?;
    }
    file.persist(path).map(|_| ()).map_err(|e| e.error)
}
