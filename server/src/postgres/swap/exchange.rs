//! The swap: in one transaction on the connection that holds the lock, the old database gives its name to the new one,
//! the ledger and the operation's end are written, and COMMIT makes all of it true at once. A crash rolls it back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use model::{
    event::{DatabaseSwapped, EventKind},
    fault::{Fault, Reason},
    finding::Finding,
    profile::SessionRule,
};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use super::{databases, terminate};
use crate::postgres::{
    catalog::{
        database::{self, DatabaseRow},
        preflight, sessions,
    },
    change::{blockers, context::WorkContext},
    control::{
        commit_deadline::CommitDeadline,
        journal::{self, MakeEnding, Owner},
        keys::Bound,
        operations,
        retained::{self, SetAside},
        targets,
        window_guard::WindowGuard,
    },
    session::failpoint,
    sql::{
        error::{condition::Condition, control_fault, is_disconnect, message},
        ident::Ident,
        signs::marker,
    },
};

/// How long the swap waits for a lock on a database: everybody who connects waits behind it. PostgreSQL itself waits as long
/// for sessions to end.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// What is swapped.
pub(crate) struct Swap<'a> {
    pub(crate) owner: Owner,
    /// The name that clients use.
    pub(crate) database: &'a str,
    /// The database that takes it, by its generated name and oid.
    pub(crate) incoming: (&'a str, u32),
    /// The database that serves, as it was planned; `None`: there was none.
    pub(crate) outgoing: Option<&'a DatabaseRow>,
    /// The row of the incoming one as it was built; `None`: it comes out of the ledger of kept databases.
    pub(crate) built: Option<&'a DatabaseRow>,
    /// The name that the outgoing one gets.
    pub(crate) kept_name: &'a str,
    pub(crate) keep: Duration,
    /// Operations of which the profile's limits do not keep the database beside this one.
    pub(crate) ends_early: &'a [Uuid],
    pub(crate) rule: SessionRule,
    /// What the operation's own sessions call themselves.
    pub(crate) own: &'a str,
    /// Backend of the lock connection.
    pub(crate) lock_pid: i32,
    /// The right to change the database.
    pub(crate) window_guard: &'a WindowGuard,
    /// How long what the commit needs may be waited for.
    pub(crate) bound: Bound<'a>,
}

/// Swaps and writes the operation's end.
///
/// # Errors
/// Nothing was swapped: cancelled, sessions in the way, or what PostgreSQL said. `OUTCOME_UNKNOWN` when the commit's
/// answer did not come.
pub(crate) async fn swap(
    connection: &mut PgConnection,
    context: &WorkContext,
    swap: &Swap<'_>,
    make: MakeEnding<'_>,
) -> Result<(), Fault> {
    listen(connection, swap.lock_pid).await?;
    let begin = "BEGIN; SAVEPOINT resetd_swap";
    sqlx::raw_sql(begin).execute(&mut *connection).await.map_err(control_fault)?;
    let until = match within(connection, context, swap, make).await {
        Ok(until) => until,
        Err(fault) => {
            take_back(connection).await;
            return Err(fault);
        }
    };
    let commit = CommitDeadline::commit(until.as_ref());
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(commit)).execute(&mut *connection).await {
        if let Some(late) = CommitDeadline::missed(until.as_ref(), &error) {
            take_back(connection).await;
            return Err(late);
        }
        return Err(commit_fault(&error));
    }
    failpoint::point(swap.owner.operation, "ended").await;
    Ok(())
}

/// A notification that arrives is more than the driver can take: whatever ends the transaction also ends the listening,
/// so that none does.
async fn take_back(connection: &mut PgConnection) {
    let back = "ROLLBACK TO SAVEPOINT resetd_swap; UNLISTEN *; COMMIT";
    if let Err(error) = sqlx::raw_sql(back).execute(&mut *connection).await {
        tracing::debug!(error = %message(&error), "the swap's session was gone before its rollback");
    }
}

/// The server's refusal is an answer; a lost connection leaves open what happened.
fn commit_fault(error: &sqlx::Error) -> Fault {
    let (reason, told) = match is_disconnect(error) {
        true => (
            Reason::OutcomeUnknown,
            "the connection that holds the lock was lost while the swap was committed",
        ),
        false => (Reason::CommitFailed, "PostgreSQL refused the swap's commit"),
    };
    Fault::new(reason, format!("{told}: {}", message(error))).hint("nothing was changed; run it again")
}

/// What was planned, approved and enrolled was another database: this one is nobody's to take away.
fn another_one(database: &str) -> Fault {
    Fault::new(
        Reason::PlanChanged,
        format!("database {database} is not the one that was planned: it was dropped, created or renamed meanwhile"),
    )
    .hint("nothing was changed; find out who did it, then read a new --dry-run")
    .with("database", database)
}

async fn listen(connection: &mut PgConnection, pid: i32) -> Result<(), Fault> {
    // Only so that a notification wakes this backend up while it waits for sessions to end.
    databases::run(
        connection,
        "preparing the swap",
        &format!("LISTEN {}", Ident(&terminate::wake_channel(pid))),
    )
    .await
}

async fn within(
    connection: &mut PgConnection,
    context: &WorkContext,
    swap: &Swap<'_>,
    make: MakeEnding<'_>,
) -> Result<Option<CommitDeadline>, Fault> {
    // To the end of this transaction nobody makes a window that it would be in.
    journal::lock_queue_to_commit(connection, &swap.window_guard.database, swap.bound).await?;
    let until = swap.window_guard.until(connection).await?;
    operations::enter_commit(connection, swap.owner).await?;
    let old = database::row(connection, swap.database).await?;
    if old.as_ref().map(|old| old.oid) != swap.outgoing.map(|planned| planned.oid) {
        return Err(another_one(swap.database));
    }
    if let (Some(old), Some(planned), Some(_)) = (&old, swap.outgoing, swap.built) {
        as_planned(old, planned)?;
    }
    let connected = match &old {
        Some(old) => sessions::of(&context.control, old.oid, swap.rule, swap.own).await?.len(),
        None => 0,
    };
    let away = Instant::now();
    let kept_until = match &old {
        Some(old) => match take_away(connection, context, swap, old).await {
            Ok(until) => Some(until),
            Err(fault) => return Err(of_another(context, swap, (swap.database, old.oid), fault).await),
        },
        None => None,
    };
    if let Err(fault) = bring_in(connection, context, swap).await {
        return Err(of_another(context, swap, swap.incoming, fault).await);
    }
    targets::hand_on(connection, swap.database, swap.incoming.1).await?;
    compare(connection, swap).await?;
    let swapped = DatabaseSwapped {
        database: swap.database.to_owned(),
        new_oid: swap.incoming.1,
        old_oid: old.as_ref().map(|o| o.oid),
        connections_before: u32::try_from(connected).unwrap_or(u32::MAX),
        unavailable_us: u64::try_from(away.elapsed().as_micros()).unwrap_or(u64::MAX),
        kept_as: kept_until.filter(|_| !swap.keep.is_zero()).map(|_| swap.kept_name.to_owned()),
        kept_until: kept_until.filter(|_| !swap.keep.is_zero()),
    };
    journal::append(connection, swap.owner, EventKind::DatabaseSwapped(swapped)).await?;
    databases::run(connection, "ending the swap", "UNLISTEN *").await?;
    journal::finish_within(connection, swap.owner, make).await?;
    Ok(until)
}

/// What was granted, set or said of the serving database while the new one was built is not on the new one.
fn as_planned(old: &DatabaseRow, planned: &DatabaseRow) -> Result<(), Fault> {
    let changes = old.changes_since(planned);
    if changes.is_empty() {
        return Ok(());
    }
    Err(Fault::new(
        Reason::PlanChanged,
        format!("database {} was changed while the new one was built: {}", old.name, changes.join(", ")),
    )
    .hint(
        "nothing was swapped; run it again. Where a revision did it, it names the database that serves: \
         current_database() is the one that is built",
    )
    .with("database", &old.name))
}

/// Renames a database while a second session ends those that are in it. The rename holds the database's lock, so new
/// connections wait.
async fn rename(
    connection: &mut PgConnection,
    context: &WorkContext,
    swap: &Swap<'_>,
    (doing, oid, from, to): (&str, u32, &str, &str),
    rule: SessionRule,
) -> Result<(), Fault> {
    let patience = context.patience.min(LOCK_LIMIT).as_millis().max(1);
    databases::run(connection, doing, &format!("SET LOCAL lock_timeout = '{patience}ms'")).await?;
    let done = Arc::new(CancellationToken::new());
    let pool = context.control.clone();
    let ending = terminate::end_while_locked(pool, oid, swap.lock_pid, rule, Arc::clone(&done));
    let ending = tokio::spawn(ending);
    let rename = format!("ALTER DATABASE {} RENAME TO {}", Ident(from), Ident(to));
    let renamed = {
        let watch = blockers::watch(context.clone(), swap.lock_pid);
        let _watch = AbortOnDropHandle::new(tokio::spawn(watch));
        databases::run(connection, doing, &rename).await
    };
    done.cancel();
    if let Err(error) = ending.await {
        tracing::warn!(%error, "the ending of sessions ended by itself");
    }
    if let Err(fault) = renamed {
        return Err(match Condition::of_fault(&fault) {
            Some(Condition::ObjectInUse) => in_use(context, swap, oid, fault).await,
            // One that is not there any more, or a name that is taken, is the work of somebody else.
            Some(
                Condition::UndefinedDatabase | Condition::DuplicateDatabase | Condition::UniqueViolation,
            ) => another_one(swap.database),
            _ => fault,
        });
    }
    // Only the rename is bounded: what is written afterwards may wait for others' rows.
    databases::run(connection, doing, "SET LOCAL lock_timeout = 0").await?;
    // The rename went by name, and waited: it may have met another database.
    must_be(connection, to, oid, swap.database).await
}

/// What PostgreSQL does not let the daemon do to a database may be because its name is somebody else's database by now:
/// looked for from outside, since the transaction has failed.
async fn of_another(context: &WorkContext, swap: &Swap<'_>, (name, oid): (&str, u32), fault: Fault) -> Fault {
    if Condition::of_fault(&fault) != Some(Condition::InsufficientPrivilege) {
        return fault;
    }
    match database::oid(&context.control, name).await {
        Ok(now) if now != Some(oid) => another_one(swap.database),
        Ok(_) => fault,
        Err(failed) => {
            tracing::debug!(fault = %failed, "whose the database is cannot be looked up");
            fault
        }
    }
}

/// Who uses a database that could not be renamed: looked for from outside, since the transaction has failed.
async fn in_use(context: &WorkContext, swap: &Swap<'_>, oid: u32, fault: Fault) -> Fault {
    let looked = async {
        let mut connection = context.control.acquire().await.map_err(control_fault)?;
        let staying = preflight::cannot_follow(&mut connection, oid).await?;
        Ok::<_, Fault>((staying, blockers::in_database(&context.control, oid, swap.own).await?))
    };
    match looked.await {
        Ok((staying, sessions)) if staying.is_empty() => {
            context.noticed.blocked(swap.lock_pid, sessions);
            fault
        }
        Ok((staying, _)) => appeared(context, swap, staying),
        Err(failed) => {
            tracing::debug!(fault = %failed, "who uses the database cannot be looked up");
            fault
        }
    }
}

/// What came to the database after it was looked at and cannot follow to another one.
fn appeared(context: &WorkContext, swap: &Swap<'_>, staying: Vec<Finding>) -> Fault {
    let lines: Vec<String> = staying.iter().map(|f| format!("{} {}", f.object, f.message)).collect();
    let hint = staying.first().map(|finding| finding.hint.clone()).unwrap_or_default();
    context.noticed.found(staying);
    Fault::new(
        Reason::PreflightFailed,
        format!("this came to database {} meanwhile and would be lost: {}", swap.database, lines.join("; ")),
    )
    .hint(format!("{hint}; nothing was swapped"))
    .with("database", swap.database)
}

/// Renames the old database away and closes it.
async fn take_away(
    connection: &mut PgConnection,
    context: &WorkContext,
    swap: &Swap<'_>,
    old: &DatabaseRow,
) -> Result<Timestamp, Fault> {
    let away = ("taking the old database away", old.oid, swap.database, swap.kept_name);
    rename(connection, context, swap, away, swap.rule).await?;
    // Under the rename's lock nobody can make more of it.
    let staying = preflight::cannot_follow(connection, old.oid).await?;
    if !staying.is_empty() {
        return Err(appeared(context, swap, staying));
    }
    let close = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", Ident(swap.kept_name));
    databases::run(connection, "closing the old database", &close).await?;
    retained::end_early(connection, swap.database, swap.ends_early).await?;
    let operation = swap.owner.operation;
    databases::comment(connection, swap.kept_name, Some(&marker(operation))).await?;
    let aside = SetAside {
        oid: old.oid,
        name: swap.kept_name,
        database: swap.database,
        operation,
        comment: old.comment.as_deref(),
        keep: swap.keep,
    };
    Ok(retained::enter(connection, &aside).await?)
}

async fn bring_in(
    connection: &mut PgConnection,
    context: &WorkContext,
    swap: &Swap<'_>,
) -> Result<(), Fault> {
    let (name, oid) = swap.incoming;
    if swap.built.is_none() {
        let comment = retained::take_out(connection, oid, swap.owner.operation).await?;
        databases::comment(connection, name, comment.as_deref()).await?;
    }
    // Closed since it was kept, or since it was validated.
    let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", Ident(name));
    databases::run(connection, "opening the database that comes in", &open).await?;
    // Whoever found it before it had its name has nothing in it.
    let incoming = ("bringing the new database in", oid, name, swap.database);
    rename(connection, context, swap, incoming, SessionRule::Terminate).await
}

/// The database of a name is the one that was meant, whatever happened to names meanwhile.
async fn must_be(connection: &mut PgConnection, name: &str, oid: u32, database: &str) -> Result<(), Fault> {
    match database::oid(connection, name).await? == Some(oid) {
        true => Ok(()),
        false => Err(another_one(database)),
    }
}

/// The database that has the name now is the incoming one, as it was built.
async fn compare(connection: &mut PgConnection, swap: &Swap<'_>) -> Result<(), Fault> {
    let new = databases::row_of(connection, swap.database).await?;
    if new.oid != swap.incoming.1 {
        return Err(another_one(swap.database));
    }
    let changes = swap.built.map(|built| new.changes_since(built)).unwrap_or_default();
    match changes.is_empty() {
        true => Ok(()),
        false => Err(Fault::new(
            Reason::SchemaPropertiesLost,
            format!("the new database is not as it was built: {}", changes.join(", ")),
        )
        .hint("the swap was rolled back; the old database serves")
        .with("database", swap.database)),
    }
}
