//! Dropping schemas that were set aside and have had their time: a bounded number of tables in each transaction, nothing that
//! is not exactly what the ledger knows, and never anything outside of them.

use model::fault::Fault;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::postgres::{
    catalog::{aside, structure},
    control::kept_schemas::KeptSchemas,
    sql::{
        error::{condition::Condition, work_fault},
        ident::{self, Ident},
    },
};

/// The part of the server's lock table that one transaction may take.
const SHARE: i64 = 8;
/// How many entries the drop of a table takes, with its indexes, sequences, types and toast tables.
const PER_TABLE: i64 = 16;
/// Whoever waits for a lock longer gives way, and tries again at the next look.
const PATIENCE: &str = "200ms";

/// What a step came to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Nothing is left.
    Gone,
    /// There is more to drop.
    More,
    /// Others hold locks on it now.
    Busy,
    /// Something outside hangs on it.
    Hanging(String),
    /// It is not what the ledger knows any more.
    NotOurs(String),
}

/// Whether what is about to be dropped is what was set aside, to the last catalog row. Looked at once, before the first step.
///
/// # Errors
/// The session was lost.
pub(crate) async fn check(
    connection: &mut PgConnection,
    kept: &KeptSchemas,
) -> Result<Option<String>, Fault> {
    let known = kept.known();
    let found = aside::look(connection, &known).await?;
    if found.iter().all(|f| f.size.is_none()) {
        return Ok(None);
    }
    if let Some(why) = found.iter().find_map(|f| f.why_not.clone()) {
        return Ok(Some(why));
    }
    let oids: Vec<u32> = known.iter().map(|k| k.oid).collect();
    let now = structure::of(connection, &oids).await?;
    Ok(structure::difference(&kept.body.structure, &now).map(|what| format!("its {what} were changed")))
}

/// Drops a part of what is left, in one transaction.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn step(connection: &mut PgConnection, kept: &KeptSchemas) -> Result<Step, Fault> {
    let began = connection.begin().await;
    let mut within = began.map_err(|e| work_fault("dropping what was set aside", &e))?;
    let done = match step_within(&mut within, kept).await {
        Ok(step) => step,
        Err(error) if Condition::of_error(&error) == Some(Condition::LockNotAvailable) => Step::Busy,
        Err(error) => return Err(work_fault("dropping what was set aside", &error)),
    };
    let ended = match done {
        Step::More | Step::Gone => within.commit().await,
        _ => within.rollback().await,
    };
    ended.map_err(|e| work_fault("dropping what was set aside", &e))?;
    Ok(done)
}

async fn step_within(connection: &mut PgConnection, kept: &KeptSchemas) -> Result<Step, sqlx::Error> {
    run(connection, &format!("SET LOCAL lock_timeout = '{PATIENCE}'")).await?;
    let known = kept.known();
    let found = aside::look(connection, &known).await.map_err(protocol)?;
    let there: Vec<&str> = known
        .iter()
        .filter(|k| found.iter().any(|f| f.oid == k.oid && f.size.is_some()))
        .map(|k| k.name)
        .collect();
    if there.is_empty() {
        return Ok(Step::Gone);
    }
    if let Some(why) = found.iter().filter(|f| f.size.is_some()).find_map(|f| f.why_not.clone()) {
        return Ok(Step::NotOurs(why));
    }
    let part = part(connection, &there).await?;
    if let Some((kind, names)) = &part
        && *kind == "TABLE"
    {
        run(connection, &format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", names.join(", ONLY ")))
            .await?;
    }
    let names: Vec<String> = there.iter().map(|name| (*name).to_owned()).collect();
    let hanging = aside::hanging(connection, &names).await.map_err(protocol)?;
    if !hanging.is_empty() {
        return Ok(Step::Hanging(hanging.join(", ")));
    }
    // CASCADE stays inside: nothing outside hangs on any of it.
    match part {
        Some((kind, names)) => {
            run(connection, &format!("DROP {kind} {} CASCADE", names.join(", "))).await?;
            Ok(Step::More)
        }
        None => {
            run(connection, &format!("DROP SCHEMA {} CASCADE", ident::list(there))).await?;
            Ok(Step::More)
        }
    }
}

/// The next relations of one kind, as many as one transaction may drop: first those that hang on others.
async fn part(
    connection: &mut PgConnection,
    schemas: &[&str],
) -> Result<Option<(&'static str, Vec<String>)>, sqlx::Error> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT c.relkind::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY($1) AND c.relkind IN ('v', 'm', 'f', 'r', 'p')
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
          ORDER BY pg_catalog.array_position('{v,m,f,r,p}'::pg_catalog.text[], c.relkind::pg_catalog.text), c.oid
          LIMIT greatest(1, pg_catalog.current_setting('max_locks_per_transaction')::pg_catalog.int8
                * (pg_catalog.current_setting('max_connections')::pg_catalog.int8
                   + pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int8) / $2 / $3)",
    )
    .bind(schemas.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    .bind(SHARE)
    .bind(PER_TABLE)
    .fetch_all(connection)
    .await?;
    let Some(kind) = rows.first().map(|row| word(&row.0)) else { return Ok(None) };
    let of_kind = rows.iter().filter(|row| word(&row.0) == kind);
    Ok(Some((kind, of_kind.map(|(_, schema, name)| format!("{}.{}", Ident(schema), Ident(name))).collect())))
}

fn word(kind: &str) -> &'static str {
    match kind {
        "v" => "VIEW",
        "m" => "MATERIALIZED VIEW",
        "f" => "FOREIGN TABLE",
        _ => "TABLE",
    }
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ())
}

/// A look that failed: the session is of no use any more.
fn protocol(fault: Fault) -> sqlx::Error {
    sqlx::Error::Protocol(fault.message)
}
