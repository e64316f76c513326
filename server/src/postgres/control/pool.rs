//! The control database, open: where operations, events and targets live.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{
    PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::postgres::{
    catalog::openings::openings,
    session::identity::{self, Identity},
    sql::{error::ControlError, timestamp},
};

/// The control database, open.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) pool: PgPool,
    options: PgConnectOptions,
    /// The oid of the control database: advisory locks are per database.
    pub(crate) database_oid: u32,
    /// The cluster's identity.
    pub(crate) system_identifier: String,
    /// For example `15.18`.
    pub(crate) postgres_version: String,
    /// What let others in when it was opened, each with the statement that closes it.
    pub(crate) openings: Vec<String>,
}

impl Control {
    /// The control database that a session is connected to, and a pool of such sessions.
    pub(in crate::postgres) async fn of(
        options: PgConnectOptions,
        connection: &mut PgConnection,
    ) -> Result<Self, ControlError> {
        let openings = openings(connection).await?;
        let identity = identity::of(connection).await?;
        let postgres_version = sqlx::query_scalar(
            "SELECT pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1)",
        )
        .fetch_one(connection)
        .await?;
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy_with(pooled(&options));
        Ok(Self {
            pool,
            options,
            database_oid: identity.database_oid,
            system_identifier: identity.system_identifier,
            postgres_version,
            openings,
        })
    }

    /// Where it is.
    pub(crate) fn identity(&self) -> Identity {
        Identity { system_identifier: self.system_identifier.clone(), database_oid: self.database_oid }
    }

    /// One of the daemon's shared sessions.
    pub(crate) async fn connection(
        &self,
    ) -> Result<impl std::ops::DerefMut<Target = PgConnection>, ControlError> {
        self.pool.acquire().await.map_err(ControlError::from)
    }

    /// Options of a session in another database of the cluster, as the daemon's control role.
    pub(crate) fn options_of(&self, database: &str) -> PgConnectOptions {
        self.options.clone().database(database)
    }

    /// Options of a session of its own in the control database.
    pub(crate) fn session_options(&self, application_name: &str) -> PgConnectOptions {
        self.options.clone().application_name(application_name)
    }

    /// The control database's clock.
    pub(crate) async fn now(&self) -> Result<Timestamp, ControlError> {
        Ok(timestamp::now(&self.pool).await?)
    }
}

/// Shared sessions must not stay in a transaction, whatever becomes of who used them.
fn pooled(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().options([("idle_in_transaction_session_timeout", "10s")])
}
