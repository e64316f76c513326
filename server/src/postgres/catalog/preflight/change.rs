//! Everything that would fail, or surprise somebody, on the way of a change in place: found before anything changes, all at once.

use model::{fault::Fault, finding::Finding, plan::Observation};
use sqlx::PgConnection;

use super::{obstacles, replay_as, roles};
use crate::postgres::{
    catalog::{dependencies::Radius, observe::Look, schema_properties::SCHEMA_PUBLICATIONS},
    sql::error::work_fault,
};

/// From here on `pg_has_role` tells whether a role may be assumed.
pub(in crate::postgres) const SET_OPTION: i32 = 160_000;

/// What `pg_has_role` is asked for to learn whether a role may be assumed.
pub(in crate::postgres) fn assume(version: i32) -> &'static str {
    if version >= SET_OPTION { "SET" } else { "MEMBER" }
}

/// What a `GRANT role TO member` ends with, so that the member may act as the role: an older membership may lack it.
pub(in crate::postgres) fn may_act(version: i32) -> &'static str {
    if version >= SET_OPTION { " WITH INHERIT TRUE, SET TRUE" } else { "" }
}

/// What is found about a change.
pub(crate) async fn findings(
    connection: &mut PgConnection,
    look: &Look<'_>,
    observed: &Observation,
    radius: &Radius,
) -> Result<Vec<Finding>, Fault> {
    let version = version(connection).await?;
    let reset = look.reset;
    let migrated = look.chains.map(|_| look.matrix.managed_schemas()).unwrap_or_default();
    let mut all = roles::memberships(connection, version, reset, &migrated).await?;
    let absent = observed.schemas.iter().any(|schema| !schema.exists());
    if !reset.is_empty() || look.chains.is_some() && absent {
        all.extend(roles::may_create(connection).await?);
    }
    if look.chains.is_some() {
        all.extend(replay_as::findings(connection, look.matrix, false).await?);
    }
    all.extend(roles::foreign_owners(radius));
    all.extend(obstacles::prepared_transactions(connection, reset).await?);
    all.extend(obstacles::in_the_way(connection, reset).await?);
    all.extend(obstacles::subscriptions(connection, reset).await?);
    all.extend(obstacles::slots(connection, reset).await?);
    all.extend(obstacles::event_triggers(connection).await?);
    all.extend(obstacles::collations(connection, version).await?);
    if version >= SCHEMA_PUBLICATIONS {
        all.extend(roles::publications(connection, reset).await?);
    }
    Ok(all)
}

/// What is found about a database that is built aside: whether the properties of these schemas can be put into it.
///
/// # Errors
/// The session was lost.
pub(crate) async fn of_replacement(
    connection: &mut PgConnection,
    schemas: &[String],
    migrates: bool,
    without_public: bool,
) -> Result<Vec<Finding>, Fault> {
    let version = version(connection).await?;
    let mut all = roles::memberships(connection, version, schemas, &[]).await?;
    if migrates || !schemas.is_empty() {
        all.extend(roles::may_create(connection).await?);
    }
    if without_public || schemas.iter().any(|name| name == "public") {
        all.extend(roles::may_change_public(connection, version, without_public).await?);
    }
    Ok(all)
}

/// The server's `server_version_num`.
pub(crate) async fn version(connection: &mut PgConnection) -> Result<i32, Fault> {
    sqlx::query_scalar("SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4")
        .fetch_one(connection)
        .await
        .map_err(|e| work_fault("asking for the version", &e))
}
