//! Which daemons live: each holds an advisory lock of its own for as long as it does.

use std::time::Duration;

use model::lock::LockKey;
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    keys::{self, Bound},
    neighbours,
    pool::Control,
};
use crate::postgres::{
    session::{advisory::is_held, connect},
    sql::error::{ControlError, message},
};

/// How often the presence is checked, and how long a lost one pauses before it is renewed.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long the session may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The presence of this daemon.
pub(crate) struct Presence {
    connection: PgConnection,
    instance: Uuid,
    /// The databases that it serves.
    databases: Vec<String>,
}

impl Presence {
    /// Takes the instance's lock and records it; shared keys tell the cluster that a daemon runs here, and what it serves.
    pub(crate) async fn enter(
        control: &Control,
        instance: Uuid,
        databases: Vec<String>,
    ) -> Result<Self, ControlError> {
        let mut connection = connect::open(&control.session_options("resetd instance")).await?;
        // A session of before may not have noticed yet that its connection is gone.
        let (key, until) = (LockKey::instance(instance), keys::Until::Session);
        if let Some(holder) = keys::take_or_name(&mut connection, key, until, Bound::MOMENT).await? {
            return Err(holder.refusal("the daemon's own key").into());
        }
        neighbours::enter(&mut connection, &databases).await?;
        sqlx::query(
            "INSERT INTO resetd.instance (id, version, host, pid)
             VALUES ($1, $2, coalesce(inet_client_addr()::text, 'local'), $3) ON CONFLICT (id) DO NOTHING",
        )
        .bind(instance)
        .bind(crate::VERSION)
        .bind(i32::try_from(std::process::id()).unwrap_or_default())
        .execute(&mut connection)
        .await?;
        Ok(Self { connection, instance, databases })
    }

    /// Holds the presence until the daemon ends, and renews it when its connection is lost.
    pub(crate) async fn keep(mut self, control: Control, end: CancellationToken) {
        loop {
            tokio::select! {
                () = end.cancelled() => {
                    if let Err(error) = self.connection.close().await {
                        tracing::debug!(error = %message(&error), "closing the instance's session");
                    }
                    return;
                }
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
            let beat = sqlx::raw_sql("SELECT 1").execute(&mut self.connection);
            if matches!(tokio::time::timeout(ANSWER_LIMIT, beat).await, Ok(Ok(_))) {
                continue;
            }
            match Self::enter(&control, self.instance, self.databases.clone()).await {
                Ok(renewed) => self = renewed,
                Err(fault) => tracing::warn!(%fault, "the instance's lock is lost and cannot be renewed yet"),
            }
        }
    }
}

/// Whether some session holds a key: a daemon's own, or that of one of its operations.
pub(crate) async fn lives(control: &Control, key: LockKey) -> Result<bool, ControlError> {
    Ok(is_held(&control.pool, control.database_oid, key, None).await?)
}
