//! Targets in the control database: enrolment, and what is known of one now.

use model::{
    fault::{Fault, Reason},
    lock::{Holder, LockKey},
    operation::Operation,
};
use sqlx::{PgConnection, PgPool, postgres::PgConnectOptions};

use super::{
    given_up::{self, GivenUp},
    kept_schemas::{self, KeptSchemas},
    keys,
    neighbours::{self, ControlDatabase},
    operations::{self, Filter},
    pool::Control,
    retained::{self, Kept},
};
use crate::postgres::{
    session::{
        connect,
        identity::{self, Identity},
    },
    sql::error::ControlError,
};

/// What is on record about a database of this cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Enrolment {
    /// Nothing.
    Never,
    /// That it is this one; or it is not there now, and will be made anew under its name.
    This,
    /// Another database of its name: that one went, and not by a swap.
    Another,
}

/// What is on record about the database that has this name now.
pub(crate) async fn enrolment(control: &Control, database: &str) -> Result<Enrolment, ControlError> {
    let same: Option<bool> = sqlx::query_scalar(
        "SELECT d.oid IS NULL OR d.oid = t.database_oid
           FROM resetd.target t LEFT JOIN pg_catalog.pg_database d ON d.datname = t.database
          WHERE t.database = $1 AND t.system_identifier = $2",
    )
    .bind(database)
    .bind(&control.system_identifier)
    .fetch_optional(&control.pool)
    .await?;
    Ok(match same {
        None => Enrolment::Never,
        Some(true) => Enrolment::This,
        Some(false) => Enrolment::Another,
    })
}

/// Says that a name belongs to another database from now on: part of the swap's transaction, so that an identity goes on
/// through swaps and through nothing else.
pub(crate) async fn hand_on(
    connection: &mut PgConnection,
    database: &str,
    oid: u32,
) -> Result<(), ControlError> {
    sqlx::query("UPDATE resetd.target SET database_oid = $2::oid WHERE database = $1")
        .bind(database)
        .bind(i64::from(oid))
        .execute(connection)
        .await?;
    Ok(())
}

/// Records the identity of a database; one that is on record already stays as it is.
pub(crate) async fn enroll(
    control: &Control,
    database: &str,
    identity: &Identity,
    by: &str,
) -> Result<(), ControlError> {
    sqlx::query(
        "INSERT INTO resetd.target (database, system_identifier, database_oid, enrolled_by) VALUES ($1, $2, $3::oid, $4)
         ON CONFLICT (database) DO UPDATE SET system_identifier = excluded.system_identifier,
             database_oid = excluded.database_oid, enrolled_by = excluded.enrolled_by, enrolled_at = clock_timestamp()
         WHERE (target.system_identifier, target.database_oid) <> (excluded.system_identifier, excluded.database_oid)",
    )
    .bind(database)
    .bind(&identity.system_identifier)
    .bind(i64::from(identity.database_oid))
    .bind(by)
    .execute(&control.pool)
    .await?;
    Ok(())
}

/// Connects to a database and records its identity.
///
/// # Errors
/// The target cannot be reached, or is in another cluster.
pub(crate) async fn enroll_now(
    control: &Control,
    target: &PgConnectOptions,
    database: &str,
    by: &str,
) -> Result<(), ControlError> {
    let mut connection = connect::open(&connect::options(target, "resetd enrolment", &[])).await?;
    let identity = same_cluster(control, &mut connection).await?;
    enroll(control, database, &identity, by).await
}

/// Makes sure that a session is in the same cluster as the control database.
///
/// # Errors
/// `TARGET_NOT_ENROLLED`: the URL points elsewhere.
pub(crate) async fn same_cluster(
    control: &Control,
    connection: &mut PgConnection,
) -> Result<Identity, ControlError> {
    let identity = identity::of(connection).await?;
    if identity.system_identifier == control.system_identifier {
        return Ok(identity);
    }
    Err(Fault::new(
        Reason::TargetNotEnrolled,
        "the target's URL leads to another cluster than the control database",
    )
    .hint("one daemon serves one cluster: start another daemon beside that one")
    .with("expected", &control.system_identifier)
    .with("found", &identity.system_identifier)
    .into())
}

/// How many operations are looked through.
const RECENT: i64 = 100;

/// What is known of a target now.
pub(crate) struct TargetState {
    pub(crate) enrolled: bool,
    pub(crate) holder: Option<Holder>,
    pub(crate) queue: Vec<Operation>,
    pub(crate) last: Option<Operation>,
    pub(crate) kept: Vec<Kept>,
    /// What an admin should know.
    pub(crate) warnings: Vec<String>,
    pub(crate) kept_schemas: Vec<KeptSchemas>,
}

/// Looks up what is known of a target now.
pub(crate) async fn state(
    control: &Control,
    target: &str,
    database: &str,
) -> Result<TargetState, ControlError> {
    let recent = Filter { targets: vec![target.to_owned()], before: None, active_only: false, most: RECENT };
    let recent = operations::list(&control.pool, &recent).await?;
    let given_up = given_up::of(&control.pool, database).await?;
    let beside = neighbours::all(&control.pool, control.database_oid, &[database.to_owned()]).await?;
    let mut warnings: Vec<String> = given_up.iter().map(GivenUp::phrase).collect();
    warnings.extend(beside.iter().filter_map(ControlDatabase::shared));
    let mut holder = keys::holder(&control.pool, LockKey::target(database)).await?;
    if holder.is_none()
        && let Some(open) = unended(&control.pool, database).await?
    {
        let what = open.phrase();
        warnings.push(format!(
            "{what} has not ended, and its lock is gone: its daemon ends it, or another one does"
        ));
        holder = Some(open);
    }
    Ok(TargetState {
        warnings,
        enrolled: enrolment(control, database).await? == Enrolment::This,
        holder,
        queue: operations::waiting(&control.pool, database, RECENT).await?,
        kept: retained::of(&control.pool, database).await?,
        kept_schemas: kept_schemas::named(&control.pool, database).await?,
        last: recent.into_iter().find(|o| o.end.is_some()),
    })
}

/// The change of a database that began and has not ended, whoever holds the lock.
async fn unended(pool: &PgPool, database: &str) -> Result<Option<Holder>, ControlError> {
    let open = operations::open_change(pool, database).await?;
    Ok(open.map(|it| Holder {
        operation: Some(it.id),
        verb: Some(it.verb),
        principal: Some(it.principal),
        since: it.started_at,
        ..Holder::backend(0, String::new(), String::new())
    }))
}
