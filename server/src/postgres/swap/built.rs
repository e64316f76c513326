//! Databases that are built aside: made under a name of the operation's own, known by name and oid from then on, and
//! dropped only while all of that fits.

use model::fault::Fault;
use sqlx::PgConnection;
use uuid::Uuid;

use super::databases::run;
use crate::postgres::{
    catalog::database::DatabaseRow,
    control::{given_up, journal::Owner, operations},
    sql::{error::ControlError, ident::Ident},
};

const DROPPING: &str = "dropping the database built aside";

/// Makes a database of the same kind as `like` (of the cluster's default kind, and the target's role's own, where there is
/// none). Its name is stored before it is there, and its oid right after it.
///
/// # Errors
/// What PostgreSQL said, with the statement that mends it.
pub(crate) async fn create(
    connection: &mut PgConnection,
    owner: Owner,
    name: &str,
    like: Option<&DatabaseRow>,
    role: &str,
) -> Result<(), Fault> {
    const BUILDING: &str = "building the new database";
    operations::set_build_database(connection, owner, name).await?;
    let owned = like.map_or(role, |like| &like.owner);
    let kind = like.map(|l| l.creation.as_str()).unwrap_or_default();
    run(
        connection,
        BUILDING,
        &format!("CREATE DATABASE {} OWNER {} TEMPLATE template0{kind}", Ident(name), Ident(owned)),
    )
    .await?;
    Ok(operations::set_build_oid(connection, owner).await?)
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    name: String,
    #[sqlx(try_from = "i64")]
    oid: u32,
    is_template: bool,
    /// Why it is not surely the operation's.
    why: Option<String>,
}

/// Drops what an operation built and did not swap in, sessions and all. What is gone already is no fault; what is not
/// surely the operation's is given up. Whether something was dropped.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn sweep(connection: &mut PgConnection, operation: Uuid) -> Result<bool, ControlError> {
    // Until its oid is on record it has no comment.
    let found: Option<FoundRow> = sqlx::query_as(
        "SELECT o.build_database AS name, d.oid::pg_catalog.int8, d.datistemplate AS is_template, CASE
                WHEN d.datname <> o.build_database THEN pg_catalog.format('it is called %I now', d.datname)
                WHEN d.oid <> o.build_oid OR (o.build_oid IS NULL
                        AND pg_catalog.shobj_description(d.oid, 'pg_database') IS NOT NULL)
                    THEN 'another database has the name now' END AS why
           FROM resetd.operation o
           JOIN pg_catalog.pg_database d ON d.datname = o.build_database OR d.oid = o.build_oid
          WHERE o.id = $1 ORDER BY d.datname <> o.build_database LIMIT 1",
    )
    .bind(operation)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(FoundRow { name, oid, is_template, why }) = found else { return Ok(false) };
    if let Some(why) = why {
        tracing::warn!(name, %operation, why, "a database built aside is not dropped: it may be somebody's");
        given_up::enter_built(connection, operation, oid, &why).await?;
        return Ok(false);
    }
    if is_template {
        run(connection, DROPPING, &format!("ALTER DATABASE {} IS_TEMPLATE false", Ident(&name))).await?;
    }
    run(connection, DROPPING, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", Ident(&name))).await?;
    Ok(true)
}

/// Operations that have ended and whose database built aside is still there: a statement that went on after its session was
/// lost, or a drop that failed.
///
/// # Errors
/// The control database does not answer.
pub(super) async fn left_over(connection: &mut PgConnection) -> Result<Vec<(Uuid, String)>, ControlError> {
    Ok(sqlx::query_as(
        "SELECT o.id, o.build_database FROM resetd.operation o
           JOIN pg_catalog.pg_database d ON d.datname = o.build_database
          WHERE o.state = 'finished' ORDER BY o.id",
    )
    .fetch_all(connection)
    .await?)
}
