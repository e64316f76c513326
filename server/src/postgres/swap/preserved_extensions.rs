//! Extensions that a replaced database gets again where they stood: taken down before, created in the new one before any
//! chain.

use model::{fault::Fault, finding::Finding};
use sqlx::PgConnection;

use crate::postgres::{
    change::transaction::Work,
    sql::{
        error::work_fault,
        ident::{Ident, Literal},
    },
};

/// Extensions that are created again where they stand.
pub(crate) struct KeptExtensions {
    /// The profile names them: it is an error where that cannot be done.
    pub(crate) preserved: Vec<String>,
    /// Chains require them: where that cannot be done, they are created as in a database that has none.
    pub(crate) required: Vec<String>,
}

impl KeptExtensions {
    /// All of them.
    pub(crate) fn names(&self) -> Vec<String> {
        self.preserved.iter().chain(&self.required).cloned().collect()
    }
}

/// An extension that is to be created again.
#[derive(sqlx::FromRow)]
pub(super) struct PreservedExtension {
    name: String,
    version: String,
    pub(super) schema: String,
}

#[derive(sqlx::FromRow)]
struct ExtensionRow {
    #[sqlx(flatten)]
    extension: PreservedExtension,
    /// The server has that version.
    available: bool,
    /// The daemon's role may create it.
    allowed: bool,
}

/// Takes down those of the extensions that the database has, and what would keep them from coming back.
///
/// # Errors
/// The session was lost.
pub(super) async fn observe(
    connection: &mut PgConnection,
    kept: &KeptExtensions,
    managed: &[&str],
) -> Result<(Vec<PreservedExtension>, Vec<Finding>), Fault> {
    let names = kept.names();
    if names.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut rows: Vec<ExtensionRow> = sqlx::query_as(
        "SELECT e.extname::text AS name, e.extversion AS version, n.nspname::text AS schema, v.name IS NOT NULL AS available,
                coalesce(NOT v.superuser OR v.trusted, true) OR r.rolsuper AS allowed
           FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
           JOIN pg_catalog.pg_roles r ON r.rolname = current_user
           LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.extname AND v.version = e.extversion
          WHERE e.extname = ANY($1) AND e.extname <> 'plpgsql' ORDER BY e.oid",
    )
    .bind(names)
    .fetch_all(&mut *connection)
    .await
    .map_err(|e| work_fault("looking at the extensions to be preserved", &e))?;
    rows.retain(|row| kept.preserved.contains(&row.extension.name) || obstacle(row, managed).is_none());
    let findings = rows.iter().filter_map(|row| obstacle(row, managed)).collect();
    Ok((rows.into_iter().map(|row| row.extension).collect(), findings))
}

fn obstacle(row: &ExtensionRow, managed: &[&str]) -> Option<Finding> {
    let PreservedExtension { name, version, schema } = &row.extension;
    let (what, hint) = if managed.contains(&schema.as_str()) {
        (
            format!("stands in managed schema {schema}, where none may be"),
            format!("ALTER EXTENSION {} SET SCHEMA extensions", Ident(name)),
        )
    } else if !row.available {
        (
            format!("has version {version}, which the server cannot create any more"),
            format!("ALTER EXTENSION {} UPDATE, or take it out of preserve_extensions", Ident(name)),
        )
    } else if !row.allowed {
        (
            "can be created by a superuser only".to_owned(),
            "give the daemon a role that may, or take it out of preserve_extensions".to_owned(),
        )
    } else {
        return None;
    };
    Some(Finding::error("EXTENSION_NOT_PRESERVABLE", format!("extension {name}"), what, hint))
}

/// Creates them in the new database, in the order in which they were made.
///
/// # Errors
/// What PostgreSQL said.
pub(super) async fn create(work: &mut Work, extensions: &[PreservedExtension]) -> Result<(), Fault> {
    for PreservedExtension { name, version, schema } in extensions {
        let create =
            format!("CREATE EXTENSION {} SCHEMA {} VERSION {}", Ident(name), Ident(schema), Literal(version));
        work.message(&create)
            .await
            .map_err(|e| work_fault(&format!("creating extension {name} again"), &e.error))?;
    }
    Ok(())
}
