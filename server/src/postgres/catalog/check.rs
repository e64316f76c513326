//! Looks for `resetd check`: nothing is changed.

use model::fault::{Fault, Reason};
use sqlx::{PgConnection, postgres::PgConnectOptions};

use super::{
    check_roles::{self, Checked, Served},
    openings::openings,
};
use crate::postgres::{
    session::connect,
    sql::{
        error::{condition::Condition, control_fault, work_fault},
        ident::Ident,
    },
};

/// What the role lacks in a target, each with the statement that mends it; and what it has too much.
///
/// # Errors
/// The target cannot be reached, or a pooler is in between.
pub(crate) async fn target(
    options: &PgConnectOptions,
    schemas: &[String],
    control_role: &str,
) -> Result<Checked, Fault> {
    let options = connect::options(options, "resetd check", &[]);
    let mut connection = connect::open(&options).await?;
    let database = options.get_database().unwrap_or_default();
    connect::refuse_pooler(&mut connection, &format!("database {database}")).await?;
    let mut wrong = missing_rights(&mut connection, database, schemas).await?;
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int4")
        .fetch_one(&mut connection)
        .await
        .map_err(|e| work_fault("asking for the version", &e))?;
    if version < 140_000 {
        wrong.push("PostgreSQL is older than 14 — upgrade it".to_owned());
    }
    let warnings = check_roles::target(&mut connection, control_role).await?;
    Ok(Checked { wrong, warnings })
}

async fn missing_rights(
    connection: &mut PgConnection,
    database: &str,
    schemas: &[String],
) -> Result<Vec<String>, Fault> {
    let lost = |e: sqlx::Error| work_fault("looking at rights", &e);
    let (role, may_create): (String, bool) = sqlx::query_as(
        "SELECT current_user::text, pg_catalog.has_database_privilege(current_database(), 'CREATE')",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(lost)?;
    let owners: Vec<(String, String)> = sqlx::query_as(
        "SELECT n.nspname::text, pg_catalog.pg_get_userbyid(n.nspowner)::text FROM pg_catalog.pg_namespace n
          WHERE n.nspname = ANY($1) AND NOT pg_catalog.pg_has_role(current_user, n.nspowner, 'USAGE') ORDER BY 1",
    )
    .bind(schemas)
    .fetch_all(connection)
    .await
    .map_err(lost)?;
    let mut wrong = Vec::new();
    if !may_create {
        let grant = format!("GRANT CREATE ON DATABASE {} TO {};", Ident(database), Ident(&role));
        wrong.push(format!("role {role} may not create schemas — {grant}"));
    }
    for (schema, owner) in owners {
        let grant = format!("GRANT {} TO {};", Ident(&owner), Ident(&role));
        wrong.push(format!("role {role} does not own schema {schema} — {grant}"));
    }
    Ok(wrong)
}

/// What lets others into the control database, and what the role lacks for its targets; whether it is there, or could be made
/// by its role from one of the others.
///
/// # Errors
/// It is missing and the role may not make it: with the exact statement.
pub(crate) async fn control(
    options: &PgConnectOptions,
    others: &[&str],
    served: &[Served<'_>],
) -> Result<(Checked, bool), Fault> {
    let options = connect::options(options, "resetd check", &[]);
    let missing = match connect::open(&options).await {
        Ok(mut connection) => {
            connect::refuse_pooler(&mut connection, "the control database").await?;
            let mut checked = check_roles::control(&mut connection, served).await?;
            checked.warnings.extend(openings(&mut connection).await?);
            return Ok((checked, true));
        }
        Err(fault) if Condition::of_fault(&fault) == Some(Condition::UndefinedDatabase) => fault,
        Err(fault) => return Err(fault),
    };
    let database = options.get_database().unwrap_or_default();
    for other in others {
        let Ok(mut connection) = connect::open(&options.clone().database(other)).await else {
            continue;
        };
        let (role, may): (String, bool) = sqlx::query_as(
            "SELECT current_user::text, rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(control_fault)?;
        if may {
            return Ok((check_roles::control(&mut connection, served).await?, false));
        }
        return Err(Fault::new(
            Reason::ControlUnavailable,
            format!("database {database} is missing and role {role} may not create it"),
        )
        .hint(format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' OWNER {};",
            Ident(database),
            Ident(&role)
        )));
    }
    Err(missing)
}
