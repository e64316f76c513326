//! Dropping schemas that were set aside and have had their time: a bounded number of tables in each transaction, nothing that
//! is not exactly what the ledger knows, and never anything outside of them.

use model::fault::Fault;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::postgres::{
    catalog::{
        aside,
        structure::{self, Structure},
    },
    control::kept_schemas::{self, KeptSchemas},
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

/// Whether all that is there of it is what was set aside, to the last catalog row; or why not.
///
/// # Errors
/// The session was lost.
pub(crate) async fn check(
    connection: &mut PgConnection,
    kept: &KeptSchemas,
) -> Result<Option<String>, Fault> {
    Ok(examine(connection, kept).await?.err())
}

async fn examine(
    connection: &mut PgConnection,
    kept: &KeptSchemas,
) -> Result<Result<Structure, String>, Fault> {
    let known = kept.known();
    let found = aside::look(connection, &known).await?;
    let begun = !kept.body.left.is_empty();
    let there = found.into_iter().filter(|f| f.size.is_some() || !begun);
    if let Some(why) = there.filter_map(|f| f.why_not).next() {
        return Ok(Err(why));
    }
    let oids: Vec<u32> = known.iter().map(|k| k.oid).collect();
    let now = structure::of(connection, &oids).await?;
    Ok(match kept.body.difference(&now) {
        Some(what) => Err(format!("its {what} were changed")),
        None => Ok(now),
    })
}

/// Drops a part of what is left, in one transaction. The `witness` is another session in the database.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn step(
    pool: &PgPool,
    connection: &mut PgConnection,
    witness: &mut PgConnection,
    kept: &mut KeptSchemas,
) -> Result<Step, Fault> {
    let began = connection.begin().await;
    let mut within = began.map_err(|e| work_fault("dropping what was set aside", &e))?;
    let done = match step_within(&mut within, witness, kept).await {
        Ok(step) => step,
        Err(error) if Condition::of_error(&error) == Some(Condition::LockNotAvailable) => Step::Busy,
        Err(error) => return Err(work_fault("dropping what was set aside", &error)),
    };
    let ended = match done {
        Step::More => {
            kept_schemas::begin_drop(pool, kept.operation, &kept.body).await?;
            within.commit().await
        }
        _ => within.rollback().await,
    };
    ended.map_err(|e| work_fault("dropping what was set aside", &e))?;
    Ok(done)
}

async fn step_within(
    connection: &mut PgConnection,
    witness: &mut PgConnection,
    kept: &mut KeptSchemas,
) -> Result<Step, sqlx::Error> {
    run(connection, &format!("SET LOCAL lock_timeout = '{PATIENCE}'")).await?;
    let known = kept.known();
    let found = aside::look(connection, &known).await.map_err(protocol)?;
    let is_there = |oid: u32| found.iter().any(|f| f.oid == oid && f.size.is_some());
    let names: Vec<String> = known.iter().filter(|k| is_there(k.oid)).map(|k| k.name.to_owned()).collect();
    let oids: Vec<u32> = known.iter().map(|k| k.oid).collect();
    if names.is_empty() {
        return Ok(Step::Gone);
    }
    // What is not to be dropped at all is not locked either.
    if kept.body.left.is_empty()
        && let Err(step) = in_the_way(connection, kept).await.map_err(protocol)?
    {
        return Ok(step);
    }
    let drop = match part(connection, &names).await? {
        Some((kind, names)) => format!("DROP {kind} {} CASCADE", names.join(", ")),
        None => format!("DROP SCHEMA {} CASCADE", ident::list(names.iter().map(String::as_str))),
    };
    run(connection, &drop).await?;
    // CASCADE stays inside: another session still sees everything that was there when the drop had its locks, and what came
    // while it waited for them is seen as well.
    let with = match in_the_way(witness, kept).await.map_err(protocol)? {
        Ok(with) => with,
        Err(step) => return Ok(step),
    };
    let without = structure::of(connection, &oids).await.map_err(protocol)?;
    kept.body.left = vec![with, without];
    Ok(Step::More)
}

/// The structure of what is left; or what keeps it from being dropped.
async fn in_the_way(
    connection: &mut PgConnection,
    kept: &KeptSchemas,
) -> Result<Result<Structure, Step>, Fault> {
    let now = match examine(connection, kept).await? {
        Ok(now) => now,
        Err(why) => return Ok(Err(Step::NotOurs(why))),
    };
    let hanging = aside::hanging(connection, &kept.body.names()).await?;
    Ok(if hanging.is_empty() { Ok(now) } else { Err(Step::Hanging(hanging.join(", "))) })
}

/// The next relations of one kind, as many as one transaction may drop: first those that hang on others.
async fn part(
    connection: &mut PgConnection,
    schemas: &[String],
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
    .bind(schemas)
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
