//! The lock of a daemon with another control database. Keys are per database, but `pg_locks` shows the whole cluster: whoever
//! was granted a lock looks for the other one before anybody is ended. Two that come at once see each other, and both give up.

use model::{
    fault::{Fault, Reason},
    lock::LockKey,
};
use sqlx::PgExecutor;

use crate::postgres::{control::pool::Control, sql::error::ControlError};

/// A session that holds a target's key under another control database.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Foreign {
    control_database: String,
    pid: i32,
    user: String,
    application_name: String,
}

/// Whose lock is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The target's database.
    pub(crate) database: &'a str,
    /// One's own control database.
    pub(crate) own: u32,
    /// Only a lock that excludes others is in the way.
    pub(crate) shared: bool,
}

/// The session that holds the target's key elsewhere and is in the way. In the target, and in what is built aside, work
/// sessions hold it.
pub(crate) async fn look(executor: impl PgExecutor<'_>, wanted: Wanted<'_>) -> sqlx::Result<Option<Foreign>> {
    let (high, low) = LockKey::target(wanted.database).halves();
    sqlx::query_as(
        "SELECT d.datname::pg_catalog.text AS control_database, l.pid, coalesce(a.usename::pg_catalog.text, '') AS user,
                coalesce(a.application_name, '') AS application_name
           FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
           LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
          WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
            AND l.classid::pg_catalog.int8 = $1 AND l.objid::pg_catalog.int8 = $2
            AND l.database::pg_catalog.int8 <> $3 AND d.datname <> $4 AND d.datname !~ '^resetd_(new|kept)_[0-9a-f]{16}$'
            AND (NOT $5 OR l.mode = 'ExclusiveLock')
          ORDER BY l.mode, l.pid LIMIT 1",
    )
    .bind(high)
    .bind(low)
    .bind(i64::from(wanted.own))
    .bind(wanted.database)
    .bind(wanted.shared)
    .fetch_optional(executor)
    .await
}

/// That a target is locked under another control database now, in words.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn told(control: &Control, database: &str) -> Result<Option<String>, ControlError> {
    let wanted = Wanted { database, own: control.database_oid, shared: false };
    let found = look(&control.pool, wanted).await?;
    Ok(found.map(|foreign| foreign.phrase(database)))
}

impl Foreign {
    /// It in words.
    fn phrase(&self, database: &str) -> String {
        format!(
            "database {database} is locked under another control database, {}: by backend {} ({}) of role {}",
            self.control_database, self.pid, self.application_name, self.user
        )
    }

    /// The refusal of who met it.
    pub(crate) fn fault(&self, database: &str) -> Fault {
        Fault::new(Reason::ControlConflict, self.phrase(database))
            .hint(
                "nothing was changed and nobody was ended: give all daemons that serve it one control database; \
                 `resetd check` lists those of the cluster",
            )
            .with("control_database", &self.control_database)
            .with("holder_pid", self.pid)
    }
}
