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
    profile::SessionRule,
};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use super::{databases, terminate};
use crate::postgres::{
    catalog::{
        database::{self, DatabaseRow},
        sessions,
    },
    control::{
        commit_deadline::CommitDeadline,
        journal::{self, MakeEnding, Owner},
        operations,
        retained::{self, SetAside},
        targets,
        window_guard::{WindowGuard, lock_queue},
    },
    session::failpoint,
    sql::{
        error::{control_fault, is_disconnect, message},
        ident::Ident,
    },
};

/// What is swapped.
pub(crate) struct Swap<'a> {
    pub(crate) owner: Owner,
    /// The name that clients use.
    pub(crate) database: &'a str,
    /// The database that takes it, by its generated name and oid.
    pub(crate) incoming: (&'a str, u32),
    /// The oid of the database that serves, as it was planned; `None`: there was none.
    pub(crate) outgoing: Option<u32>,
    /// The incoming one comes out of the ledger of kept databases: its own row stays as it is.
    pub(crate) undo: bool,
    /// The name that the outgoing one gets.
    pub(crate) kept_name: &'a str,
    pub(crate) keep: Duration,
    pub(crate) rule: SessionRule,
    /// What the operation's own sessions call themselves.
    pub(crate) own: &'a str,
    /// Backend of the lock connection.
    pub(crate) lock_pid: i32,
    /// The right to change the database.
    pub(crate) window_guard: &'a WindowGuard,
}

/// Swaps and writes the operation's end.
///
/// # Errors
/// Nothing was swapped: cancelled, sessions in the way, or what PostgreSQL said. `OUTCOME_UNKNOWN` when the commit's
/// answer did not come.
pub(crate) async fn swap(
    connection: &mut PgConnection,
    pool: &PgPool,
    swap: &Swap<'_>,
    make: MakeEnding<'_>,
) -> Result<(), Fault> {
    listen(connection, swap.lock_pid).await?;
    let begin = "BEGIN; SAVEPOINT resetd_swap";
    sqlx::raw_sql(begin).execute(&mut *connection).await.map_err(control_fault)?;
    let until = match within(connection, pool, swap, make).await {
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
    pool: &PgPool,
    swap: &Swap<'_>,
    make: MakeEnding<'_>,
) -> Result<Option<CommitDeadline>, Fault> {
    // To the end of this transaction nobody makes a window that it would be in.
    lock_queue(connection, &swap.window_guard.database).await?;
    let until = swap.window_guard.until(connection).await?;
    operations::enter_commit(connection, swap.owner).await?;
    let old = database::row(connection, swap.database).await?;
    if old.as_ref().map(|old| old.oid) != swap.outgoing {
        return Err(another_one(swap.database));
    }
    match &old {
        _ if swap.undo => {}
        Some(old) => databases::carry_over(connection, old, swap.incoming.0).await?,
        None => databases::open_to_all(connection, swap.incoming.0).await?,
    }
    let connected = match &old {
        Some(old) => sessions::of(pool, old.oid, swap.rule, swap.own).await?.len(),
        None => 0,
    };
    let away = Instant::now();
    let kept_until = match &old {
        Some(old) => Some(take_away(connection, pool, swap, old).await?),
        None => None,
    };
    bring_in(connection, swap).await?;
    targets::hand_on(connection, swap.database, swap.incoming.1).await?;
    if let Some(old) = &old {
        compare(connection, swap, old).await?;
    }
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

/// Renames the old database away. The rename holds the database's lock, so new connections wait; a second session ends
/// those that are there.
async fn take_away(
    connection: &mut PgConnection,
    pool: &PgPool,
    swap: &Swap<'_>,
    old: &DatabaseRow,
) -> Result<Timestamp, Fault> {
    let done = Arc::new(CancellationToken::new());
    let ending =
        terminate::end_while_locked(pool.clone(), old.oid, swap.lock_pid, swap.rule, Arc::clone(&done));
    let ending = tokio::spawn(ending);
    let names = (swap.database, swap.kept_name);
    let renamed = rename(connection, "taking the old database away", names, swap.database).await;
    done.cancel();
    if let Err(error) = ending.await {
        tracing::warn!(%error, "the ending of sessions ended by itself");
    }
    renamed?;
    // The rename went by name, and waited: it may have met another database.
    must_be(connection, swap.kept_name, old.oid, swap.database).await?;
    let close = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", Ident(swap.kept_name));
    databases::run(connection, "closing the old database", &close).await?;
    let operation = swap.owner.operation;
    databases::comment(connection, swap.kept_name, Some(&retained::marker(operation))).await?;
    let aside = SetAside {
        oid: old.oid,
        name: swap.kept_name,
        database: swap.database,
        operation,
        comment: old.comment.as_deref(),
        keep: swap.keep,
    };
    retained::enter(connection, &aside).await
}

async fn bring_in(connection: &mut PgConnection, swap: &Swap<'_>) -> Result<(), Fault> {
    let (name, oid) = swap.incoming;
    if swap.undo {
        let comment = retained::take_out(connection, oid, swap.owner.operation).await?;
        let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", Ident(name));
        databases::run(connection, "opening the kept database", &open).await?;
        databases::comment(connection, name, comment.as_deref()).await?;
    }
    rename(connection, "bringing the new database in", (name, swap.database), swap.database).await?;
    must_be(connection, swap.database, oid, swap.database).await
}

/// Renames a database. One that is not there any more, or a name that is taken, is the work of somebody else.
async fn rename(
    connection: &mut PgConnection,
    doing: &str,
    (from, to): (&str, &str),
    database: &str,
) -> Result<(), Fault> {
    let rename = format!("ALTER DATABASE {} RENAME TO {}", Ident(from), Ident(to));
    databases::run(connection, doing, &rename).await.map_err(|fault| match fault.sql.sqlstate.as_deref() {
        Some("3D000" | "42P04" | "23505") => another_one(database),
        _ => fault,
    })
}

/// The database of a name is the one that was meant, whatever happened to names meanwhile.
async fn must_be(connection: &mut PgConnection, name: &str, oid: u32, database: &str) -> Result<(), Fault> {
    let there: Option<i64> =
        sqlx::query_scalar("SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_database WHERE datname = $1")
            .bind(name)
            .fetch_optional(connection)
            .await
            .map_err(control_fault)?;
    match there == Some(i64::from(oid)) {
        true => Ok(()),
        false => Err(another_one(database)),
    }
}

async fn compare(connection: &mut PgConnection, swap: &Swap<'_>, old: &DatabaseRow) -> Result<(), Fault> {
    let Some(new) = database::row(connection, swap.database).await? else {
        return Err(Fault::new(Reason::Internal, "the new database is not there after the swap"));
    };
    match database::difference(old, &new).filter(|_| !swap.undo) {
        None => Ok(()),
        Some(what) => Err(Fault::new(
            Reason::SchemaPropertiesLost,
            format!("the new database is not like the old one: {what}"),
        )
        .hint("the swap was rolled back; the old database serves")
        .with("database", swap.database)),
    }
}
