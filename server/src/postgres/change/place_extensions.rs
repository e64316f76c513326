//! Extensions on their way: moved out of managed schemas, created where a chain requires them, refused where they do not
//! belong.

use model::{
    blast::ExtensionMove,
    fault::{Fault, Reason},
};

use super::transaction::Work;
use crate::postgres::{
    catalog::extensions::extensions_in,
    sql::{error::work_fault, ident::Ident},
};

/// No extension may end up in a managed schema: the next reset would take it, and everything that uses it.
///
/// # Errors
/// `EXTENSION_MISPLACED`.
pub(crate) async fn refuse_in(work: &mut Work, schemas: &[&str]) -> Result<(), Fault> {
    let found = extensions_in(work.own().await?, schemas).await?;
    let Some((extension, schema)) = found.first() else { return Ok(()) };
    let mend = "name it in the revision's header: `-- requires-extension: NAME`; it is then created where it belongs";
    Err(Fault::new(
        Reason::ExtensionMisplaced,
        format!("extension {extension} ended up in managed schema {schema}"),
    )
    .hint(mend)
    .with("mend", mend)
    .with("extension", extension)
    .with("schema", schema))
}

/// Moves extensions out of managed schemas.
pub(crate) async fn move_out(work: &mut Work, moves: &[ExtensionMove]) -> Result<(), Fault> {
    for it in moves {
        make_schema(work, &it.to).await?;
        let sql = format!("ALTER EXTENSION {} SET SCHEMA {}", Ident(&it.extension), Ident(&it.to));
        work.patient(&format!("the move of {it}"), &sql).await?;
    }
    Ok(())
}

/// Creates extensions that are nowhere, each in the schema meant for it; one that can only live elsewhere, there. One that is
/// there stays where it is.
pub(crate) async fn create(work: &mut Work, homes: &[(&str, &str)]) -> Result<(), Fault> {
    let names: Vec<&str> = homes.iter().map(|(name, _)| *name).collect();
    let missing: Vec<(String, bool)> = sqlx::query_as(
        "SELECT w.name, EXISTS (SELECT FROM pg_catalog.pg_available_extension_versions v
                                 WHERE v.name = w.name AND v.schema IS NOT NULL)
           FROM pg_catalog.unnest($1::pg_catalog.text[]) w(name)
          WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = w.name)",
    )
    .bind(names)
    .fetch_all(work.own().await?)
    .await
    .map_err(|e| work_fault("looking at available extensions", &e))?;
    for (name, schema) in homes {
        let Some((_, fixed)) = missing.iter().find(|(missing, _)| missing == name) else { continue };
        let place = match fixed {
            true => String::new(),
            false => {
                make_schema(work, schema).await?;
                format!(" SCHEMA {}", Ident(schema))
            }
        };
        let create = format!("CREATE EXTENSION IF NOT EXISTS {}{place} CASCADE", Ident(name));
        work.patient(&format!("the creation of extension {name}"), &create).await?;
    }
    Ok(())
}

/// The extensions' schema, open to everybody like `public` was: types in it are of use only to who may look into it.
async fn make_schema(work: &mut Work, schema: &str) -> Result<(), Fault> {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = $1)")
            .bind(schema)
            .fetch_one(work.own().await?)
            .await
            .map_err(|e| work_fault("looking for the extensions' schema", &e))?;
    if exists {
        return Ok(());
    }
    let name = Ident(schema);
    let make = format!("CREATE SCHEMA IF NOT EXISTS {name}; GRANT USAGE ON SCHEMA {name} TO PUBLIC");
    work.patient("the creation of the extensions' schema", &make).await
}
