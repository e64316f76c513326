//! Everything that would fail, or surprise somebody, on the way of a change in place: found before anything changes, all at once.

use model::{fault::Fault, finding::Finding, plan::Observation};
use sqlx::PgConnection;

use super::{obstacles, replay_as, roles};
use crate::postgres::{
    catalog::{dependencies::Radius, observe::Look, schema_properties::SCHEMA_PUBLICATIONS},
    sql::version,
};

/// What is found about a change.
pub(crate) async fn findings(
    connection: &mut PgConnection,
    look: &Look<'_>,
    observed: &Observation,
    radius: &Radius,
) -> Result<Vec<Finding>, Fault> {
    let version = version::of(connection).await?;
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
    let version = version::of(connection).await?;
    let mut all = roles::memberships(connection, version, schemas, &[]).await?;
    if migrates || !schemas.is_empty() {
        all.extend(roles::may_create(connection).await?);
    }
    if without_public || schemas.iter().any(|name| name == "public") {
        all.extend(roles::may_change_public(connection, version, without_public).await?);
    }
    Ok(all)
}
