//! What a new database gets of the one that it replaces before any revision: the schemas with their properties, the
//! extensions that are to be kept, and the default privileges of no schema.

use model::{blast::SchemaProperty, fault::Fault, finding::Finding, matrix::Matrix};
use sqlx::PgConnection;

use super::preserved_extensions::{self, KeptExtensions, PreservedExtension};
use crate::postgres::{
    catalog::{
        default_privileges::{self, DefaultPrivileges},
        preflight::change,
        schema_properties::{self, SchemaProperties},
    },
    change::{reset, restore_properties, transaction::Work},
    sql::error::work_fault,
};

const PUBLIC: &str = "public";

/// What is put into the new database.
#[derive(Default)]
pub(crate) struct Carried {
    /// `public` only where it is not as a new database has it.
    schemas: Vec<SchemaProperties>,
    /// The old database has no schema `public`.
    without_public: bool,
    extensions: Vec<PreservedExtension>,
    defaults: Vec<DefaultPrivileges>,
}

/// Reads it from the old database, and what would keep it from coming back.
///
/// # Errors
/// The session was lost.
pub(crate) async fn observe(
    connection: &mut PgConnection,
    matrix: &Matrix,
    extensions: &KeptExtensions,
    migrates: bool,
) -> Result<(Carried, Vec<Finding>), Fault> {
    let managed = matrix.managed_schemas();
    let (extensions, mut findings) = preserved_extensions::observe(connection, extensions, &managed).await?;
    let mut names: Vec<String> = managed.iter().map(|name| (*name).to_owned()).collect();
    names.extend(extensions.iter().map(|extension| extension.schema.clone()));
    names.extend([PUBLIC.to_owned(), matrix.extensions_schema.clone()]);
    names.retain(|name| name != "pg_catalog");
    names.sort();
    names.dedup();
    let found = schema_properties::capture(connection, &names).await?;
    let without_public = !found.iter().any(|schema| schema.schema() == PUBLIC);
    let fresh = schema_properties::fresh_public(connection).await?;
    let mut schemas: Vec<SchemaProperties> = found.into_iter().map(SchemaProperties::elsewhere).collect();
    schemas.retain(|schema| schema.schema() != PUBLIC || schema.difference(&fresh).is_some());
    let defaults = default_privileges::capture(connection).await?;
    let names: Vec<String> = schemas.iter().map(|schema| schema.schema().to_owned()).collect();
    findings.extend(change::of_replacement(connection, &names, migrates, without_public).await?);
    findings.extend(default_privileges::memberships(connection, &defaults).await?);
    Ok((Carried { schemas, without_public, extensions, defaults }, findings))
}

impl Carried {
    /// The properties, piece by piece in words.
    pub(crate) fn pieces(&self) -> Vec<SchemaProperty> {
        let of_schemas = self.schemas.iter().flat_map(SchemaProperties::pieces);
        of_schemas.chain(self.defaults.iter().flat_map(DefaultPrivileges::pieces)).collect()
    }

    /// Creates schemas and extensions in the new database, and says what is not as it was.
    ///
    /// # Errors
    /// `SCHEMA_PROPERTIES_LOST`, or what PostgreSQL said.
    pub(crate) async fn create(&self, work: &mut Work) -> Result<Vec<Finding>, Fault> {
        if self.without_public {
            work.patient("the drop of schema public", "DROP SCHEMA IF EXISTS public").await?;
        }
        for schema in &self.schemas {
            match schema.schema() {
                PUBLIC => restore_properties::restore(work, schema).await?,
                name => reset::create(work, name, Some(schema)).await?,
            }
        }
        preserved_extensions::create(work, &self.extensions).await?;
        let names: Vec<String> = self.schemas.iter().map(|schema| schema.schema().to_owned()).collect();
        let now = schema_properties::capture(work.own().await?, &names).await?;
        let now: Vec<SchemaProperties> = now.into_iter().map(SchemaProperties::elsewhere).collect();
        Ok(reset::differences(&self.schemas, &now))
    }

    /// Declares the default privileges: after the extensions, whose objects have their own, and before the revisions.
    ///
    /// # Errors
    /// `SCHEMA_PROPERTIES_LOST`, or the session was lost.
    pub(crate) async fn declare_defaults(&self, work: &mut Work) -> Result<(), Fault> {
        if self.defaults.is_empty() {
            return Ok(());
        }
        let sql: String = self.defaults.iter().map(restore_properties::declaration).collect();
        work.message(&sql)
            .await
            .map_err(|e| restore_properties::lost("the default privileges of the database", &e.error))?;
        match default_privileges::capture(work.own().await?).await? == self.defaults {
            true => Ok(()),
            false => Err(restore_properties::differs("the default privileges of the database")),
        }
    }

    /// Creates the schemas that are in the matrix and were not in the old database, owned by the daemon's role.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub(crate) async fn create_others(&self, work: &mut Work, managed: &[&str]) -> Result<(), Fault> {
        let there = |name: &&&str| self.schemas.iter().any(|schema| schema.schema() == **name);
        let others: Vec<String> =
            managed.iter().filter(|name| !there(name)).map(|name| (*name).to_owned()).collect();
        // A bootstrap script may have made some.
        let made: Vec<String> = sqlx::query_scalar(
            "SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1)",
        )
        .bind(&others)
        .fetch_all(work.own().await?)
        .await
        .map_err(|e| work_fault("looking for schemas", &e))?;
        let others: Vec<String> = others.into_iter().filter(|name| !made.contains(name)).collect();
        reset::create_missing(work, &others).await
    }
}

/// Makes sure that what was read from the old database is still so: what was granted or made in it since would be lost
/// with it, and nobody was told.
///
/// # Errors
/// The session was lost.
pub(crate) async fn read_again(
    connection: &mut PgConnection,
    matrix: &Matrix,
    extensions: &KeptExtensions,
) -> Result<Vec<SchemaProperty>, Fault> {
    let (now, _) = observe(connection, matrix, extensions, false).await?;
    Ok(now.pieces())
}
