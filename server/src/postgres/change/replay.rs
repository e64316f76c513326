//! One revision in one schema: the session made as new, the file sent as one message, `alembic_version` kept exactly
//! as Alembic keeps it, and a failure located to file, line and statement.

use std::time::{Duration, Instant};

use model::{
    fault::{Fault, Reason, SqlSite},
    revision::Revision,
    sql::{self, Statement, StatementKind},
};
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgErrorPosition};

use super::{
    lock_waits::LockWaits,
    place_extensions,
    transaction::{MessageError, Work},
};
use crate::postgres::{
    control::{commit_deadline::CommitDeadline, window_guard::WindowGuard},
    lock::lease::LockSession,
    sql::{
        error::{control_fault, database_error, is_disconnect, message, sqlstate, work_fault},
        ident::{self, Ident, Literal},
    },
};

/// How much of a statement is shown in an error.
const EXCERPT: usize = 200;

/// Where a revision is replayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplayTarget<'a> {
    /// The schema.
    pub(crate) schema: &'a str,
    /// The whole search path, the schema first.
    pub(crate) search_path: &'a [&'a str],
    /// The schema's owner; `None`: the session's own role.
    pub(crate) owner: Option<&'a str>,
}

/// Replays one revision inside the work transaction and says how long its own statements took.
///
/// # Errors
/// `REVISION_FAILED` with its site, `TRANSACTION_ESCAPED`, or the reason of an interrupt.
pub(crate) async fn apply(
    work: &mut Work,
    place: &ReplayTarget<'_>,
    before: Option<&str>,
    revision: &Revision,
) -> Result<Duration, Fault> {
    // What the revision set, a time limit above all, ends with it, in the same message.
    let sql = format!("{}\n;RESET ALL", revision.sql_without_extensions());
    let label = format!("{} in {}", revision.id, place.schema);
    let started = Instant::now();
    let prologue = prologue(place, work.lock_waits);
    work.patiently(&label, &[&prologue, &sql], &|step, error| match step {
        1 => revision_fault(place, revision, error),
        _ => work_fault(&format!("preparing {label}"), &error.error),
    })
    .await?;
    let took = started.elapsed();
    work.still_in_transaction(&revision.file).await?;
    work.keep_step().await?;
    let doing = format!("settling {label}");
    let epilogue = epilogue(work, place).await?;
    work.message(&epilogue).await.map_err(|e| match sqlstate(&e.error) {
        Some(code) if code.starts_with("23") => revision_fault(place, revision, &e),
        _ => work_fault(&doing, &e.error),
    })?;
    let recording = version_sql(place, before, revision);
    work.message(&recording).await.map_err(|e| work_fault(&format!("recording {label}"), &e.error))?;
    Ok(took)
}

/// Where a revision that refuses a transaction is replayed in a target that serves.
pub(crate) struct Serving<'a> {
    /// Looked at before each statement.
    pub(crate) window_guard: &'a WindowGuard,
    /// Where no extension may end up.
    pub(crate) managed: &'a [&'a str],
}

/// Replays one revision that refuses a transaction, statement by statement: what is sent by itself stays. A database that is
/// built aside (`None`) knows no windows, and what is in it is looked at when it is complete.
///
/// # Errors
/// `REVISION_FAILED` with its site, `EXTENSION_MISPLACED`, the reason of an interrupt, the right is gone, or the lock is not
/// held any more.
pub(crate) async fn apply_bare(
    work: &mut Work,
    lock: &LockSession,
    serving: Option<&Serving<'_>>,
    place: &ReplayTarget<'_>,
    before: Option<&str>,
    revision: &Revision,
) -> Result<Duration, Fault> {
    let window_guard = serving.map(|serving| serving.window_guard);
    work.leave_transaction().await?;
    let started = Instant::now();
    let preparing = |e: MessageError| work_fault(&format!("preparing {}", revision.id), &e.error);
    let prologue = bare(&prologue(place, work.lock_waits), work.lock_waits);
    work.message(&prologue).await.map_err(preparing)?;
    let created = |s: &Statement| matches!(s.kind, StatementKind::CreateExtension { .. });
    let sent = revision.statements.iter().enumerate().filter(|(_, s)| !created(s));
    for (completed, (index, statement)) in sent.enumerate() {
        // Everything else is blanked out, so that positions stay those of the file.
        let others =
            revision.statements.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, s)| s);
        let alone = sql::blank(&revision.sql, others);
        let end = statement.range.end.min(alone.len());
        let failed =
            |e: MessageError| revision_fault(place, revision, &MessageError { completed, error: e.error });
        may_still(work, window_guard).await?;
        work.message(alone[..end].trim_end_matches(';')).await.map_err(failed)?;
    }
    let took = started.elapsed();
    if let Some(serving) = serving {
        place_extensions::refuse_in(work, serving.managed).await?;
    }
    let until = may_still(work, window_guard).await?;
    let guard = until.as_ref().map(CommitDeadline::guard).unwrap_or_default();
    let recording = format!("{guard}{}{prologue}", version_sql(place, before, revision));
    let doing = format!("recording {}", revision.id);
    work.message(&recording).await.map_err(|e| CommitDeadline::failed(until.as_ref(), &doing, &e.error))?;
    work.restart(lock).await?;
    Ok(took)
}

/// Makes sure that the operation may still change the target, before what cannot be taken back; until when.
async fn may_still(work: &Work, window_guard: Option<&WindowGuard>) -> Result<Option<CommitDeadline>, Fault> {
    work.context.interrupt.check()?;
    let Some(window_guard) = window_guard else { return Ok(None) };
    Ok(window_guard.for_a_moment(&work.context.control).await.map(Some)?)
}

/// The same settings for a session outside a transaction. It waits for locks as long as the operation has patience: what
/// builds an index concurrently waits for every older snapshot in the database, and cannot be taken back and tried again.
fn bare(prologue: &str, waits: LockWaits) -> String {
    prologue.replace(&waits.limit(), "").replace("SET LOCAL", "SET")
}

/// Leaves the session as it was before the first revision.
pub(crate) async fn leave(work: &mut Work) -> Result<(), Fault> {
    let place = ReplayTarget { schema: "pg_catalog", search_path: &["pg_catalog"], owner: None };
    // Whatever is still deferred fires now, before the target is validated.
    let epilogue = epilogue(work, &place).await?;
    work.message(&epilogue).await.map(|_| ()).map_err(|e| work_fault("leaving the chains", &e.error))
}

/// Replays one revision on a plain connection: the daemon's own chain.
pub(crate) async fn apply_plain(
    connection: &mut PgConnection,
    place: &ReplayTarget<'_>,
    before: Option<&str>,
    revision: &Revision,
) -> Result<(), Fault> {
    let prologue = prologue(place, LockWaits::default());
    let message = format!("{prologue}{}\n;{}", revision.sql, version_sql(place, before, revision));
    sqlx::raw_sql(AssertSqlSafe(message)).execute(connection).await.map(|_| ()).map_err(control_fault)
}

/// Makes the session as new: nothing that an earlier revision set is left.
fn prologue(place: &ReplayTarget<'_>, waits: LockWaits) -> String {
    let path = ident::list(place.search_path.iter().copied());
    let role = place.owner.map_or_else(|| "NONE".to_owned(), |o| Ident(o).to_string());
    format!(
        "RESET ALL; RESET SESSION AUTHORIZATION; SET LOCAL ROLE NONE; {}SET LOCAL ROLE {role}; \
         SET LOCAL search_path TO {path}; {}",
        waits.look(),
        waits.limit()
    )
}

/// Fires what the revision deferred, while it can still be blamed, and takes back what it set. Constraints are named one
/// by one: `ALL` would also hold for those that later revisions make, and would defer what is not initially deferred.
async fn epilogue(work: &mut Work, place: &ReplayTarget<'_>) -> Result<String, Fault> {
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT n.nspname::text, c.conname::text, pg_catalog.bool_or(c.condeferred) FROM pg_catalog.pg_constraint c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace WHERE c.condeferrable GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .fetch_all(&mut work.connection)
    .await
    .map_err(|e| work_fault("looking at deferrable constraints", &e))?;
    let names = |deferred: bool| -> Vec<String> {
        let wanted = rows.iter().filter(|row| row.2 || !deferred);
        wanted.map(|(schema, name, _)| format!("{}.{}", Ident(schema), Ident(name))).collect()
    };
    let mut sql = String::new();
    for (deferred, word) in [(false, "IMMEDIATE"), (true, "DEFERRED")] {
        let names = names(deferred);
        if !names.is_empty() {
            sql.push_str(&format!("SET CONSTRAINTS {} {word}; ", names.join(", ")));
        }
    }
    Ok(format!("{sql}{}", prologue(place, work.lock_waits)))
}

/// What Alembic would write: one row per chain head.
fn version_sql(place: &ReplayTarget<'_>, before: Option<&str>, revision: &Revision) -> String {
    let table = format!("{}.alembic_version", Ident(place.schema));
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {table} (version_num pg_catalog.varchar(32) NOT NULL, \
         CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));"
    );
    let id = Literal(&revision.id);
    match before {
        None => format!("{create} INSERT INTO {table} (version_num) VALUES ({id});"),
        Some(before) => {
            format!("UPDATE {table} SET version_num = {id} WHERE version_num = {};", Literal(before))
        }
    }
}

/// Where in the file it failed: PostgreSQL's position when it gives one, else the first statement not completed.
fn revision_fault(place: &ReplayTarget<'_>, revision: &Revision, failed: &MessageError) -> Fault {
    if is_disconnect(&failed.error) {
        return work_fault(&format!("replaying {} in {}", revision.file, place.schema), &failed.error);
    }
    let sent: Vec<usize> = revision
        .statements
        .iter()
        .enumerate()
        .filter(|(_, s)| !matches!(s.kind, StatementKind::CreateExtension { .. }))
        .map(|(index, _)| index)
        .collect();
    let position = database_error(&failed.error).and_then(|e| e.position());
    let located = match position {
        Some(PgErrorPosition::Original(at)) => Some(sql::locate(&revision.sql, &revision.statements, at)),
        _ => None,
    };
    let statement = located.and_then(|l| l.statement).or_else(|| sent.get(failed.completed).copied());
    let line = located.map(|l| l.line).or_else(|| statement.map(|s| revision.statements[s].line));
    let whole = revision.statements.len();
    let which = statement.map(|s| format!(", statement {} of {whole}", s + 1)).unwrap_or_default();
    let at = line.map(|l| format!(":{l}")).unwrap_or_default();
    let hint =
        database_error(&failed.error).and_then(|e| e.hint()).map(|h| format!("PostgreSQL says: {h}; "));
    let place_of = format!("{}{at} failed in schema {}{which}", revision.file, place.schema);
    let told = message(&failed.error);
    let fault = match sqlstate(&failed.error) {
        // Outside a transaction nothing is taken back and tried again: it has waited for as long as it may.
        Some("55P03" | "40P01") => {
            Fault::new(Reason::Blocked, format!("{place_of}: other sessions hold what it needs: {told}"))
                .hint("end those sessions, or raise `lock_wait_limit` in the profile")
        }
        _ => Fault::new(Reason::RevisionFailed, format!("{place_of}: {told}")).hint(format!(
            "{}everything was rolled back; mend the revision and run again",
            hint.unwrap_or_default()
        )),
    };
    fault.with("revision", &revision.id).with("schema", place.schema).at(SqlSite {
        sqlstate: sqlstate(&failed.error).map(str::to_owned),
        schema: Some(place.schema.to_owned()),
        file: Some(revision.file.clone()),
        line,
        statement: statement.and_then(|s| revision.excerpt(s, EXCERPT)),
    })
}
