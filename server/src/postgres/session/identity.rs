//! Which database of which cluster a session is in.

use model::fault::Fault;
use sqlx::PgConnection;

use crate::postgres::sql::error::work_fault;

/// A cluster, and a database in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) system_identifier: String,
    pub(crate) database_oid: u32,
}

/// The identity of the database that a session is connected to.
///
/// # Errors
/// The session was lost.
pub(crate) async fn of(connection: &mut PgConnection) -> Result<Identity, Fault> {
    let (system_identifier, oid): (String, i64) = sqlx::query_as(
        "SELECT s.system_identifier::pg_catalog.text, d.oid::pg_catalog.int8
           FROM pg_catalog.pg_control_system() s, pg_catalog.pg_database d
          WHERE d.datname = pg_catalog.current_database()",
    )
    .fetch_one(connection)
    .await
    .map_err(|e| work_fault("asking for the database's identity", &e))?;
    Ok(Identity { system_identifier, database_oid: u32::try_from(oid).unwrap_or_default() })
}
