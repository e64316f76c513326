//! `alembic_version` written exactly as Alembic writes it: to a table that calls nobody's functions, while nobody else moves it.

use model::{
    fault::{Fault, Reason},
    finding,
    revision::Revision,
};

use super::{message::MessageError, replay::ReplayTarget, transaction::Work};
use crate::postgres::{
    catalog::versions::{self, VersionTable},
    sql::{
        error::work_fault,
        ident::{Ident, Literal},
    },
};

/// Keeps everybody else from moving the versions of these schemas, to the end of the transaction. Those that must not be
/// written to are left alone: the plan tells of them.
///
/// # Errors
/// `BLOCKED`, an interrupt, or what PostgreSQL said.
pub(crate) async fn hold(work: &mut Work, schemas: &[String]) -> Result<(), Fault> {
    let tables = versions::look(work.own().await?, schemas).await?;
    let locks: Vec<String> = tables.iter().filter(|t| t.is_writable()).map(lock).collect();
    match locks.is_empty() {
        true => Ok(()),
        false => work.patient("the lock on the alembic_version tables", &locks.join("; ")).await,
    }
}

fn lock(table: &VersionTable) -> String {
    format!(
        "SET LOCAL ROLE {}; LOCK TABLE ONLY {}.alembic_version IN SHARE ROW EXCLUSIVE MODE",
        Ident(&table.schema_owner),
        Ident(&table.schema)
    )
}

/// Holds the versions of one schema and makes sure, once in a transaction, that writing them calls nobody's functions.
///
/// # Errors
/// `PREFLIGHT_FAILED` with what it would call; as [`hold`].
async fn make_sure(work: &mut Work, schema: &str) -> Result<(), Fault> {
    if work.inspected.contains(schema) {
        return Ok(());
    }
    let schemas = [schema.to_owned()];
    hold(work, &schemas).await?;
    for table in versions::look(work.own().await?, &schemas).await? {
        if let Some(refusal) = finding::refusal(&table.findings("the daemon's", true)) {
            return Err(refusal);
        }
        work.inspected.insert(schema.to_owned());
    }
    Ok(())
}

/// The versions of one schema, as they stay until the transaction ends.
///
/// # Errors
/// The table must not be touched; as [`hold`].
pub(crate) async fn held(work: &mut Work, schema: &str) -> Result<Vec<String>, Fault> {
    make_sure(work, schema).await?;
    versions::of_schema(work.own().await?, schema).await
}

/// Writes down that a revision was applied.
///
/// # Errors
/// `REVISION_FAILED`: the row that was there before it is not there any more; `PREFLIGHT_FAILED`; the session was lost.
pub(crate) async fn record(
    work: &mut Work,
    place: &ReplayTarget<'_>,
    before: Option<&str>,
    revision: &Revision,
) -> Result<(), Fault> {
    let failed =
        |e: MessageError| work_fault(&format!("recording {} in {}", revision.id, place.schema), &e.error);
    if before.is_none() {
        work.change_as(place.owner, &create(place.schema)).await.map_err(failed)?;
    }
    make_sure(work, place.schema).await?;
    let rows = work.change_as(place.owner, &write(place.schema, before, revision)).await.map_err(failed)?;
    refuse_moved(place, before, revision, rows)
}

/// What writes down, right after a revision and in its message, that it was applied: where the versions are held already, and only
/// in the operation's own transaction, which the revision may have ended.
pub(super) fn with_revision(
    work: &Work,
    place: &ReplayTarget<'_>,
    before: Option<&str>,
    revision: &Revision,
) -> Vec<String> {
    if before.is_none() || !work.inspected.contains(place.schema) {
        return Vec::new();
    }
    let update = write(place.schema, before, revision);
    let only_here = format!(
        "{} AND pg_catalog.pg_current_xact_id()::pg_catalog.text = {}",
        update.trim_end_matches(';'),
        Literal(work.assigned())
    );
    work.become_role(place.owner).into_iter().chain([only_here]).collect()
}

/// Exactly one row was to be written.
pub(super) fn refuse_moved(
    place: &ReplayTarget<'_>,
    before: Option<&str>,
    revision: &Revision,
    rows: u64,
) -> Result<(), Fault> {
    match rows {
        1 => Ok(()),
        rows => Err(moved(place, before.unwrap_or_default(), revision, rows)),
    }
}

fn moved(place: &ReplayTarget<'_>, before: &str, revision: &Revision, rows: u64) -> Fault {
    let (id, file, schema) = (&revision.id, &revision.file, place.schema);
    Fault::new(
        Reason::RevisionFailed,
        format!(
            "{file} in schema {schema}: alembic_version holds {rows} rows {before} that could be moved to {id}, where one was \
             planned: the revision, or somebody beside it, moved it"
        ),
    )
    .hint("what was not committed was rolled back; see who else migrates this target, and take it out of the revision")
    .with("revision", id)
    .with("schema", schema)
}

/// The table that Alembic makes.
pub(super) fn create(schema: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}.alembic_version (version_num pg_catalog.varchar(32) NOT NULL, \
         CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));",
        Ident(schema)
    )
}

/// One row per head of a chain.
pub(super) fn write(schema: &str, before: Option<&str>, revision: &Revision) -> String {
    let (table, id) = (format!("{}.alembic_version", Ident(schema)), Literal(&revision.id));
    match before {
        None => format!("INSERT INTO {table} (version_num) VALUES ({id});"),
        Some(before) => {
            format!("UPDATE {table} SET version_num = {id} WHERE version_num = {};", Literal(before))
        }
    }
}
