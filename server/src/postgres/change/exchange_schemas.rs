//! Undo in place: the schemas that serve are set aside, and those that were set aside take their names again.

use jiff::Timestamp;
use model::{event::SchemaReturned, fault::Fault};
use sqlx::postgres::PgConnectOptions;

use super::{
    place_extensions,
    reset::{self, Dropping, Reset},
    set_aside,
    transaction::Work,
};
use crate::postgres::{
    catalog::{extensions, publications, schema_properties},
    control::kept_schemas::{Body, KeptSchemas},
};

/// What became of an undo.
pub(crate) struct Exchanged {
    pub(crate) schemas: Vec<SchemaReturned>,
    /// What served until now, set aside; `None`: it was dropped.
    pub(crate) aside: Option<Body>,
}

/// Exchanges the schemas of the plan for those that were set aside.
///
/// # Errors
/// `PLAN_CHANGED`, `BLOCKED`, `SCHEMA_PROPERTIES_LOST`, or what PostgreSQL said.
pub(crate) async fn exchange(
    work: &mut Work,
    target: &PgConnectOptions,
    how: &Reset<'_>,
    kept: &KeptSchemas,
) -> Result<Exchanged, Fault> {
    let plan = how.plan;
    let names: Vec<String> = plan.schemas.iter().map(|s| s.schema.clone()).collect();
    let before = schema_properties::capture(work.own().await?, &names).await?;
    let all: Vec<String> = names.iter().cloned().chain(kept.body.names()).collect();
    reset::lock_relations(work, &all).await?;
    let staying = extensions::oids(work.own().await?, &plan.extension_moves).await?;
    place_extensions::move_out(work, &plan.extension_moves).await?;
    let published = publications::tables(work.own().await?, &names).await?;
    reset::walk_again(work, plan, &before, &published, how.aside).await?;
    let aside = match plan.sets_aside() {
        true => Some(set_aside::schemas(work, how.operation, &names, &before).await?),
        false => {
            let dropping = Dropping { names: &names, staying: &staying, before: &before, spared: &published };
            reset::drop_schemas(work, target, plan, &dropping).await?;
            None
        }
    };
    set_aside::bring_back(work, &kept.body).await?;
    let returned = kept.body.schemas.iter().map(|coming| {
        let going = aside.as_ref().and_then(|body| body.schemas.iter().find(|s| s.schema == coming.schema));
        let kept_as = going.and_then(|s| s.aside.as_ref()).map(|it| it.name.clone());
        let tables = plan.brings_back_schemas.iter().flat_map(|set| &set.schemas);
        SchemaReturned {
            schema: coming.schema.clone(),
            undoes: kept.operation,
            came_from: coming.aside.as_ref().map(|it| it.name.clone()),
            tables: tables.filter(|s| s.schema == coming.schema).map(|s| s.tables).sum(),
            kept_until: kept_as.is_some().then_some::<Timestamp>(how.keep_until),
            kept_as,
        }
    });
    Ok(Exchanged { schemas: returned.collect(), aside })
}
