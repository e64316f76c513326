//! Recreating the managed schemas inside the work transaction: the old ones are set aside, or dropped where they cannot be.

use jiff::Timestamp;
use model::{
    blast,
    event::SchemaReset,
    fault::{Fault, Reason},
    finding::Finding,
    plan::{Plan, count},
};
use sqlx::{Connection as _, postgres::PgConnectOptions};
use uuid::Uuid;

use super::{place_extensions, restore_properties, set_aside, transaction::Work};
use crate::postgres::{
    catalog::{
        dependencies, extensions,
        publications::{self, PublishedTable},
        schema_properties::{self, SchemaProperties},
    },
    control::kept_schemas::{Body, KeptSchema},
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
    /// What was set aside; `None`: it was dropped.
    pub(crate) aside: Option<Body>,
    /// Tables whose places in publications are for those that come.
    pub(crate) published: Vec<PublishedTable>,
}

/// How a reset is done.
pub(crate) struct Reset<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) operation: Uuid,
    /// Until when what is set aside is kept.
    pub(crate) keep_until: Timestamp,
    /// Schemas that are set aside already.
    pub(crate) aside: &'a [String],
    /// Tables of the same names come.
    pub(crate) replaces_tables: bool,
}

/// Sets the plan's schemas aside, or drops them, and creates them anew with their properties. Nothing outside goes that is
/// not in the plan: under the locks the dependencies are walked once more.
///
/// # Errors
/// `PLAN_CHANGED`, `BLOCKED`, `SCHEMA_PROPERTIES_LOST`, or what PostgreSQL said.
pub(crate) async fn managed_schemas(
    work: &mut Work,
    target: &PgConnectOptions,
    reset: &Reset<'_>,
) -> Result<ResetDone, Fault> {
    let plan = reset.plan;
    let names: Vec<String> = plan.schemas.iter().map(|s| s.schema.clone()).collect();
    let before = schema_properties::capture(work.own().await?, &names).await?;
    lock_relations(work, &names).await?;
    let staying = extensions::oids(work.own().await?, &plan.extension_moves).await?;
    place_extensions::move_out(work, &plan.extension_moves).await?;
    let mut published = publications::tables(work.own().await?, &names).await?;
    let spared = if reset.replaces_tables { published.as_slice() } else { &[] };
    walk_again(work, plan, &before, spared, reset.aside).await?;
    let mut aside = None;
    if plan.sets_aside() {
        let mut body = set_aside::schemas(work, reset.operation, &names, &before).await?;
        // What was not there before is not there after an undo.
        let made =
            plan.created_schemas.iter().map(|schema| KeptSchema { schema: schema.clone(), aside: None });
        body.schemas.extend(made);
        aside = Some(body);
    } else {
        drop_schemas(
            work,
            target,
            plan,
            &Dropping { names: &names, staying: &staying, before: &before, spared },
        )
        .await?;
    }
    for name in &names {
        create(work, name, before.iter().find(|f| f.schema() == name)).await?;
    }
    let after = schema_properties::capture(work.own().await?, &names).await?;
    let mut findings = differences(&before, &after);
    findings.extend(lost(plan));
    published.retain(|it| reset.replaces_tables && it.movable);
    let fact = |schema| reset_fact(schema, aside.as_ref(), reset.keep_until);
    Ok(ResetDone { schemas: plan.schemas.iter().map(fact).collect(), findings, published, aside })
}

/// Walks the dependencies once more, under the locks: the blast radius is the plan's.
///
/// # Errors
/// `PLAN_CHANGED`.
pub(in crate::postgres) async fn walk_again(
    work: &mut Work,
    plan: &Plan,
    before: &[SchemaProperties],
    spared: &[PublishedTable],
    aside: &[String],
) -> Result<(), Fault> {
    let names: Vec<String> = plan.schemas.iter().map(|s| s.schema.clone()).collect();
    let aside = if plan.sets_aside() { aside } else { &[] };
    let mut radius = dependencies::radius_beside(work.own().await?, &names, &[], aside).await?;
    schema_properties::spare(before, &mut radius.outside);
    publications::spare(spared, &mut radius.outside);
    same_radius(plan, &radius)
}

/// What is dropped, and what the plan knows of it.
pub(in crate::postgres) struct Dropping<'a> {
    pub(in crate::postgres) names: &'a [String],
    /// Extensions that were moved out.
    pub(in crate::postgres) staying: &'a [i64],
    pub(in crate::postgres) before: &'a [SchemaProperties],
    pub(in crate::postgres) spared: &'a [PublishedTable],
}

/// Drops the plan's schemas with everything that hangs on them: it was approved.
///
/// # Errors
/// `PLAN_CHANGED`, `BLOCKED`, or what PostgreSQL said.
pub(in crate::postgres) async fn drop_schemas(
    work: &mut Work,
    target: &PgConnectOptions,
    plan: &Plan,
    it: &Dropping<'_>,
) -> Result<(), Fault> {
    let existing: Vec<&str> = plan.schemas.iter().filter(|s| s.exists).map(|s| s.schema.as_str()).collect();
    if existing.is_empty() {
        return Ok(());
    }
    let drop = format!("DROP SCHEMA {} CASCADE", ident::list(existing.iter().copied()));
    work.patient("the drop of the schemas", &drop).await?;
    // Another session still sees everything that was there when the drop took its locks: what came to depend on the
    // schemas while it waited was cascaded away, and must have been in the plan.
    let mut witness = connect::open(&connect::options(target, "resetd witness", &[])).await?;
    let seen = dependencies::radius(&mut witness, it.names, it.staying).await;
    if let Err(error) = witness.close().await {
        tracing::debug!(error = %message(&error), "closing the witness session");
    }
    let mut seen = seen?;
    schema_properties::spare(it.before, &mut seen.outside);
    publications::spare(it.spared, &mut seen.outside);
    same_radius(plan, &seen)
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

fn reset_fact(
    schema: &model::plan::PlannedSchema,
    aside: Option<&Body>,
    keep_until: Timestamp,
) -> SchemaReset {
    let kept = aside.and_then(|body| body.schemas.iter().find(|s| s.schema == schema.schema));
    let kept_as = kept.and_then(|s| s.aside.as_ref()).map(|aside| aside.name.clone());
    SchemaReset {
        kept_until: kept_as.is_some().then_some(keep_until),
        kept_as,
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
            "look at default privileges that the cluster sets for new schemas, and fix it by hand",
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

/// Locks the tables of the schemas, so that nobody writes to them and nothing new can come to depend on them. Left out are
/// tables that only the schema's ownership gives to the role, and views, whose lock would reach tables outside.
pub(in crate::postgres) async fn lock_relations(work: &mut Work, schemas: &[String]) -> Result<(), Fault> {
    let relations: Vec<(String, String)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p') AND pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')
          ORDER BY c.oid",
    )
    .bind(schemas)
    .fetch_all(work.own().await?)
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
