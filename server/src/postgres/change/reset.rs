//! Dropping and recreating the managed schemas inside the work transaction.

use model::{
    blast,
    event::SchemaReset,
    fault::{Fault, Reason},
    finding::Finding,
    plan::{Plan, count},
};
use sqlx::{Connection as _, postgres::PgConnectOptions};

use super::{place_extensions, restore_properties, transaction::Work};
use crate::postgres::{
    catalog::{
        dependencies, extensions,
        schema_properties::{self, SchemaProperties},
    },
    session::connect,
    sql::{
        error::{message, work_fault},
        ident::{self, Ident},
    },
};

/// What became of a reset.
pub(crate) struct ResetDone {
    pub(crate) schemas: Vec<SchemaReset>,
    pub(crate) findings: Vec<Finding>,
}

/// Drops and recreates the plan's schemas, with their properties. Nothing outside goes that is not in the plan: between
/// the locks and the drop the dependencies are walked once more.
///
/// # Errors
/// `PLAN_CHANGED`, `BLOCKED`, `SCHEMA_PROPERTIES_LOST`, or what PostgreSQL said.
pub(crate) async fn managed_schemas(
    work: &mut Work,
    target: &PgConnectOptions,
    plan: &Plan,
) -> Result<ResetDone, Fault> {
    let names: Vec<String> = plan.schemas.iter().map(|s| s.schema.clone()).collect();
    let existing: Vec<&str> = plan.schemas.iter().filter(|s| s.exists).map(|s| s.schema.as_str()).collect();
    let before = schema_properties::capture(&mut work.connection, &names).await?;
    lock_relations(work, &names).await?;
    let staying = extensions::oids(&mut work.connection, &plan.extension_moves).await?;
    place_extensions::move_out(work, &plan.extension_moves).await?;
    let mut radius = dependencies::radius(&mut work.connection, &names, &[]).await?;
    schema_properties::spare(&before, &mut radius.outside);
    same_radius(plan, &radius)?;
    if !existing.is_empty() {
        let drop = format!("DROP SCHEMA {} CASCADE", ident::list(existing.iter().copied()));
        work.patient("the drop of the schemas", &drop).await?;
        // Another session still sees everything that was there when the drop took its locks: what came to depend on the
        // schemas while it waited was cascaded away, and must have been in the plan.
        let mut witness = connect::open(&connect::options(target, "resetd witness", &[])).await?;
        let seen = dependencies::radius(&mut witness, &names, &staying).await;
        if let Err(error) = witness.close().await {
            tracing::debug!(error = %message(&error), "closing the witness session");
        }
        let mut seen = seen?;
        schema_properties::spare(&before, &mut seen.outside);
        same_radius(plan, &seen)?;
    }
    for name in &names {
        create(work, name, before.iter().find(|f| f.schema() == name)).await?;
    }
    let after = schema_properties::capture(&mut work.connection, &names).await?;
    let mut findings = differences(&before, &after);
    findings.extend(lost(plan));
    Ok(ResetDone { schemas: plan.schemas.iter().map(reset_fact).collect(), findings })
}

/// What went beside the schemas, once more by name: it was approved, and somebody may look for it.
fn lost(plan: &Plan) -> Option<Finding> {
    let names: Vec<String> = plan.outside.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| {
        Finding::warning(
            "OUTSIDE_LOST",
            count(names.len(), "object"),
            format!("went with the schemas, as approved: {}", names.join(", ")),
            "make again what is still needed",
        )
    })
}

fn same_radius(plan: &Plan, radius: &dependencies::Radius) -> Result<(), Fault> {
    let Some(moved) = blast::difference(&plan.outside, &radius.outside) else { return Ok(()) };
    Err(Fault::new(
        Reason::PlanChanged,
        format!("the blast radius changed while the operation waited for locks: {moved}"),
    )
    .hint("everything was rolled back; read a new --dry-run"))
}

fn reset_fact(schema: &model::plan::PlannedSchema) -> SchemaReset {
    SchemaReset {
        schema: schema.schema.clone(),
        existed_before: schema.exists,
        tables_before: schema.tables,
        exists_after: true,
        tables_after: 0,
    }
}

pub(in crate::postgres) fn differences(
    before: &[SchemaProperties],
    after: &[SchemaProperties],
) -> Vec<Finding> {
    let changed = |b: &SchemaProperties| {
        let now = after.iter().find(|a| a.schema() == b.schema())?;
        let what = b.difference(now)?;
        Some(Finding::warning(
            "SCHEMA_PROPERTIES_DIFFER",
            format!("schema {}", b.schema()),
            format!("not as before the reset: {what}"),
            "look at default privileges that the cluster sets for new schemas, and mend it by hand",
        ))
    };
    before.iter().filter_map(changed).collect()
}

/// Creates missing schemas, owned by the daemon's role.
pub(crate) async fn create_missing(work: &mut Work, names: &[String]) -> Result<(), Fault> {
    for name in names {
        create(work, name, None).await?;
    }
    Ok(())
}

/// Creates a schema, with its properties where there are any.
pub(in crate::postgres) async fn create(
    work: &mut Work,
    name: &str,
    schema_properties: Option<&SchemaProperties>,
) -> Result<(), Fault> {
    let owner = schema_properties.map(|f| format!(" AUTHORIZATION {}", Ident(f.owner()))).unwrap_or_default();
    work.patient(&format!("the creation of schema {name}"), &format!("CREATE SCHEMA {}{owner}", Ident(name)))
        .await?;
    match schema_properties {
        Some(schema_properties) => restore_properties::restore(work, schema_properties).await,
        None => Ok(()),
    }
}

/// Locks the tables of the schemas as their drop will, so that nothing new can come to depend on them. Left out are
/// tables that only the schema's ownership lets the role drop, and views, whose lock would reach tables outside.
async fn lock_relations(work: &mut Work, schemas: &[String]) -> Result<(), Fault> {
    let relations: Vec<(String, String)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p') AND pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')
          ORDER BY c.oid",
    )
    .bind(schemas)
    .fetch_all(&mut work.connection)
    .await
    .map_err(|e| work_fault("listing the tables", &e))?;
    if relations.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = relations.iter().map(|(s, r)| format!("{}.{}", Ident(s), Ident(r))).collect();
    // ONLY, so that a partition or heir in another schema is not locked: it is the plan's business, not the lock's.
    let locks = format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", names.join(", ONLY "));
    work.patient("the lock on the tables", &locks).await
}
