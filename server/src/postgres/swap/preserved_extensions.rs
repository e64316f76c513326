//! Extensions that a replaced database gets again where they stood: taken down before, created in the new one before any
//! chain.

use model::{fault::Fault, finding::Finding};
use sqlx::PgConnection;

use crate::postgres::{
    catalog::schema_properties::{self, SchemaProperties},
    change::{reset, transaction::Work},
    sql::{
        error::work_fault,
        ident::{Ident, Literal},
    },
};

/// What is to be created again.
#[derive(Default)]
pub(crate) struct Preserved {
    /// Name, version, schema; in the order in which they were made.
    extensions: Vec<(String, String, String)>,
    schemas: Vec<SchemaProperties>,
}

type ExtensionRow = (String, String, String, bool, bool);

/// Takes down those of the named extensions that the database has, and what would keep them from coming back.
pub(crate) async fn observe(
    connection: &mut PgConnection,
    names: &[String],
    managed: &[&str],
) -> Result<(Preserved, Vec<Finding>), Fault> {
    if names.is_empty() {
        return Ok((Preserved::default(), Vec::new()));
    }
    let rows: Vec<ExtensionRow> = sqlx::query_as(
        "SELECT e.extname::text, e.extversion, n.nspname::text, v.name IS NOT NULL,
                coalesce(NOT v.superuser OR v.trusted, true) OR r.rolsuper
           FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
           JOIN pg_catalog.pg_roles r ON r.rolname = current_user
           LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.extname AND v.version = e.extversion
          WHERE e.extname = ANY($1) AND e.extname <> 'plpgsql' ORDER BY e.oid",
    )
    .bind(names)
    .fetch_all(&mut *connection)
    .await
    .map_err(|e| work_fault("looking at the extensions to be preserved", &e))?;
    let findings = rows.iter().filter_map(|row| obstacle(row, managed)).collect();
    let mut schemas: Vec<String> = rows.iter().map(|row| row.2.clone()).collect();
    schemas.sort();
    schemas.dedup();
    // These are in every database.
    schemas.retain(|name| name != "public" && name != "pg_catalog");
    let preserved = Preserved {
        extensions: rows.into_iter().map(|(name, version, schema, ..)| (name, version, schema)).collect(),
        schemas: schema_properties::capture(connection, &schemas).await?,
    };
    Ok((preserved, findings))
}

fn obstacle((name, version, schema, available, allowed): &ExtensionRow, managed: &[&str]) -> Option<Finding> {
    let (what, hint) = if managed.contains(&schema.as_str()) {
        (
            format!("stands in managed schema {schema}, where none may be"),
            format!("ALTER EXTENSION {} SET SCHEMA extensions", Ident(name)),
        )
    } else if !available {
        (
            format!("has version {version}, which the server cannot create any more"),
            format!("ALTER EXTENSION {} UPDATE, or take it out of preserve_extensions", Ident(name)),
        )
    } else if !allowed {
        (
            "can be created by a superuser only".to_owned(),
            "give the daemon a role that may, or take it out of preserve_extensions".to_owned(),
        )
    } else {
        return None;
    };
    Some(Finding::error("EXTENSION_NOT_PRESERVABLE", format!("extension {name}"), what, hint))
}

/// Creates them in the new database.
pub(crate) async fn create(work: &mut Work, preserved: &Preserved) -> Result<(), Fault> {
    for schema in &preserved.schemas {
        reset::create(work, schema.schema(), Some(schema)).await?;
    }
    for (name, version, schema) in &preserved.extensions {
        let create =
            format!("CREATE EXTENSION {} SCHEMA {} VERSION {}", Ident(name), Ident(schema), Literal(version));
        work.message(&create)
            .await
            .map_err(|e| work_fault(&format!("creating extension {name} again"), &e.error))?;
    }
    Ok(())
}
