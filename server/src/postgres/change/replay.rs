//! One revision in one schema: the session made as new, the file sent as one message, `alembic_version` kept exactly
//! as Alembic keeps it, and a failure located to file, line and statement.

use std::time::{Duration, Instant};

use model::{
    fault::{Fault, Reason, SqlSite},
    revision::Revision,
    sql::{self, Statement, StatementKind},
};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    deferred,
    message::MessageError,
    place_extensions, record_version,
    step::{Part, Step},
    transaction::Work,
};
use crate::postgres::{
    control::{commit_deadline::CommitDeadline, window_guard::WindowGuard},
    lock::lease::LockSession,
    sql::{
        error::{
            condition::Condition, control_fault, hint, is_disconnect, is_of_statement, is_too_large, message,
            site, work_fault,
        },
        ident::{self, Ident},
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
    /// The schema's owner, who keeps its `alembic_version`; `None`: the session's own role.
    pub(crate) owner: Option<&'a str>,
    /// The role that revisions run as; `None`: the session's own.
    pub(crate) role: Option<&'a str>,
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
    let record = record_version::with_revision(work, place, before, revision);
    let recorded = !record.is_empty();
    let (took, rows) = execute(work, place, revision, &revision.sql_without_extensions(), record).await?;
    match recorded {
        true => record_version::refuse_moved(place, before, revision, rows)?,
        false => record_version::record(work, place, before, revision).await?,
    }
    Ok(took)
}

/// Runs a script that is no revision inside the work transaction, as it is, and says how long its own statements took.
///
/// # Errors
/// As [`apply`].
pub(crate) async fn run_script(
    work: &mut Work,
    place: &ReplayTarget<'_>,
    script: &Revision,
) -> Result<Duration, Fault> {
    execute(work, place, script, &script.sql, Vec::new()).await.map(|(took, _)| took)
}

/// Sends a revision with all that goes before and after it in one message, and fires what it deferred. Says how long it took, and
/// how many rows the last statement of `record` changed.
async fn execute(
    work: &mut Work,
    place: &ReplayTarget<'_>,
    revision: &Revision,
    sql: &str,
    record: Vec<String>,
) -> Result<(Duration, u64), Fault> {
    let label = format!("{} in {}", revision.id, place.schema);
    let settling = format!("settling {label}");
    let sets_constraints = sets_constraints(revision);
    let after_it = |error: &MessageError| match is_of_statement(&error.error) {
        true => revision_fault(place, revision, error),
        false => work_fault(&settling, &error.error),
    };
    let look = work.look(&deferred::look(place, sets_constraints));
    let step = Step {
        before: prologue(place),
        text: sql,
        statements: sent(revision).count(),
        after: std::iter::once(look).chain(record).collect(),
    };
    let started = Instant::now();
    let failed = |part: Part, error: &MessageError| match part {
        Part::Before => work_fault(&format!("preparing {label}"), &error.error),
        Part::Text => revision_fault(place, revision, error),
        Part::After => work_fault(&format!("recording {label}"), &error.error),
    };
    work.may_want_fresh = work.is_grouped;
    let sent = work.patiently(&label, &step, &failed).await;
    work.may_want_fresh = false;
    let answer = match sent {
        Ok(answer) => answer,
        Err(fault) => return Err(work.escaped(&revision.file).await.unwrap_or(fault)),
    };
    let (took, rows) = (started.elapsed(), answer.rows.last().copied().unwrap_or_default());
    let deferrable = work.looked(&answer, &revision.file)?;
    work.keep_step();
    deferred::settle(work, place, &settling, deferrable.as_deref(), sets_constraints, &after_it).await?;
    Ok((took, rows))
}

/// The statements of it that are sent.
fn sent(revision: &Revision) -> impl Iterator<Item = (usize, &Statement)> {
    let is_created = |s: &Statement| matches!(s.kind, StatementKind::CreateExtension { .. });
    revision.statements.iter().enumerate().filter(move |(_, s)| !is_created(s))
}

/// Whether it may have changed when constraints are checked, in whatever it executes.
fn sets_constraints(revision: &Revision) -> bool {
    revision.sql.to_ascii_uppercase().contains("CONSTRAINTS")
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
    work.own().await?;
    // It waits for locks as long as the operation has patience: what builds an index concurrently waits for every older
    // snapshot in the database, and cannot be taken back and tried again.
    work.message(&prologue(place).join("; ").replace("SET LOCAL", "SET")).await.map_err(preparing)?;
    for (completed, (index, statement)) in sent(revision).enumerate() {
        // Everything else is blanked out, so that positions stay those of the file.
        let others =
            revision.statements.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, s)| s);
        let alone = sql::blank(&revision.sql, others);
        let end = statement.range.end.min(alone.len());
        let failed = |e: MessageError| revision_fault(place, revision, &MessageError { completed, ..e });
        may_still(work, window_guard).await?;
        work.message(alone[..end].trim_end_matches(';')).await.map_err(failed)?;
    }
    let took = started.elapsed();
    if let Some(serving) = serving {
        place_extensions::refuse_in(work, serving.managed).await?;
    }
    work.restart(lock).await?;
    record_version::record(work, place, before, revision).await?;
    work.until = may_still(work, window_guard).await?;
    work.renew(lock).await?;
    Ok(took)
}

/// Makes sure that the operation may still change the target, before what cannot be taken back; until when.
async fn may_still(work: &Work, window_guard: Option<&WindowGuard>) -> Result<Option<CommitDeadline>, Fault> {
    work.context.interrupt.check()?;
    let Some(window_guard) = window_guard else { return Ok(None) };
    Ok(window_guard.for_a_moment(&work.context.control).await.map(Some)?)
}

/// Fires what is deferred again, before the target is validated.
pub(crate) async fn leave(work: &mut Work) -> Result<(), Fault> {
    const LEAVING: &str = "leaving the chains";
    let place = ReplayTarget { schema: "pg_catalog", search_path: &["pg_catalog"], owner: None, role: None };
    let look = format!("SELECT {}", deferred::look(&place, false));
    let looked: Option<String> = sqlx::query_scalar(AssertSqlSafe(look))
        .fetch_one(work.own().await?)
        .await
        .map_err(|e| work_fault("looking at deferrable constraints", &e))?;
    deferred::settle(work, &place, LEAVING, looked.as_deref(), false, &|e| work_fault(LEAVING, &e.error))
        .await
}

/// Replays one revision on a plain connection: the daemon's own chain.
pub(crate) async fn apply_plain(
    connection: &mut PgConnection,
    place: &ReplayTarget<'_>,
    before: Option<&str>,
    revision: &Revision,
) -> Result<(), Fault> {
    let create = before.map_or_else(|| record_version::create(place.schema), |_| String::new());
    let message = format!(
        "{}; {}\n;SET LOCAL search_path TO pg_catalog, pg_temp; {create}{}",
        prologue(place).join("; "),
        revision.sql,
        record_version::write(place.schema, before, revision)
    );
    sqlx::raw_sql(AssertSqlSafe(message)).execute(connection).await.map(|_| ()).map_err(control_fault)
}

/// The revision's own settings, in a session that is as it was opened.
pub(super) fn prologue(place: &ReplayTarget<'_>) -> Vec<String> {
    let path = ident::list(place.search_path.iter().copied());
    let role = place.role.map_or_else(|| "NONE".to_owned(), |o| Ident(o).to_string());
    vec![
        format!("SET LOCAL ROLE {role}"),
        format!("SET LOCAL search_path TO {path}"),
        "SET LOCAL row_security = on".to_owned(),
    ]
}

/// Where in the file it failed: PostgreSQL's position when it gives one, else the first statement not completed.
fn revision_fault(place: &ReplayTarget<'_>, revision: &Revision, failed: &MessageError) -> Fault {
    if is_disconnect(&failed.error) {
        return work_fault(&format!("replaying {} in {}", revision.file, place.schema), &failed.error);
    }
    let located = failed.position.map(|at| sql::locate(&revision.sql, &revision.statements, at));
    let statement = located
        .and_then(|l| l.statement)
        .or_else(|| sent(revision).nth(failed.completed).map(|(index, _)| index));
    let line = located.map(|l| l.line).or_else(|| statement.map(|s| revision.statements[s].line));
    let whole = revision.statements.len();
    let which = statement.map(|s| format!(", statement {} of {whole}", s + 1)).unwrap_or_default();
    let at = line.map(|l| format!(":{l}")).unwrap_or_default();
    let hint = match is_too_large(&failed.error) {
        true => Some("return less, or write it INTO a table; ".to_owned()),
        false => hint(&failed.error).map(|h| format!("PostgreSQL says: {h}; ")),
    };
    let place_of = format!("{}{at} failed in schema {}{which}", revision.file, place.schema);
    let told = message(&failed.error);
    let fault = match Condition::of_error(&failed.error) {
        // Outside a transaction nothing is taken back and tried again: it has waited for as long as it may.
        Some(Condition::LockNotAvailable) => {
            Fault::new(Reason::Blocked, format!("{place_of}: other sessions hold what it needs: {told}"))
                .hint("end those sessions, or raise `lock_wait_limit` in the profile")
        }
        _ => Fault::new(Reason::RevisionFailed, format!("{place_of}: {told}")).hint(format!(
            "{}everything was rolled back; fix the revision and run again",
            hint.unwrap_or_default()
        )),
    };
    fault.with("revision", &revision.id).with("schema", place.schema).at(SqlSite {
        schema: Some(place.schema.to_owned()),
        file: Some(revision.file.clone()),
        line,
        statement: statement.and_then(|s| revision.excerpt(s, EXCERPT)),
        ..site(&failed.error)
    })
}
