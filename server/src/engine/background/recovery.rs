//! What a daemon that ended left behind: its operations are taken up, the truth is learned from the cluster, and each
//! gets its terminal event. Nothing is ever run again.

use std::{sync::Arc, time::Duration};

use model::{
    event::EventKind,
    fault::{Fault, Reason},
    lock::{LockKey, application_name},
};

use crate::{
    engine::{
        Engine,
        operation::{
            confirm::{self, Confirmation},
            ending,
        },
    },
    postgres::{
        ConnectOptions,
        catalog::database,
        change::{control_schema, second_look},
        control::{
            cancel::{self, Asked},
            instances::{self, Presence},
            journal::{self, Owner},
            neighbours::{self, ControlDatabase},
            operations,
            orphans::{self, Orphan},
            ticket::Ticket,
        },
        lock::{
            fence,
            lease::{LeaseAttempt, LockSession},
        },
        session::backend,
        swap::built,
    },
};

/// How often it is looked for operations whose daemon is gone.
const LOOK: Duration = Duration::from_secs(2);

/// How long a daemon may take to end an operation whose lock was broken, in seconds.
const BROKEN: f64 = 5.0;

/// How long the session of an operation that waits may take to enter the queue, in seconds: until then nothing shows that
/// its daemon runs it, when that one's own lock went with a restart of PostgreSQL and is not renewed yet.
const ENTERS: f64 = 10.0;

/// How long a look may take, and how long the recovery of one operation, which may drop what was built; both are tried
/// again.
const LIMITS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// How old an operation of this daemon must be to count as left behind when nothing here runs it.
const SETTLED: f64 = 15.0;

/// Enters this daemon into the control database.
pub(in crate::engine) async fn enter(engine: &Arc<Engine>) -> Result<(), Fault> {
    let databases: Vec<String> = engine.targets.iter().map(|t| t.database().to_owned()).collect();
    let beside = neighbours::all(&engine.control.pool, engine.control.database_oid, &databases).await?;
    for shared in beside.iter().filter_map(ControlDatabase::shared) {
        tracing::warn!("{shared}");
    }
    let presence = Presence::enter(&engine.control, engine.instance, databases).await?;
    engine.background.spawn(presence.keep(engine.control.clone(), engine.end.clone()));
    Ok(())
}

/// Recovers until the daemon ends: at once, then again and again.
pub(in crate::engine) async fn keep_recovering(engine: Arc<Engine>) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = engine.end.cancelled() => return,
            _ = look.tick() => sweep(&engine).await,
        }
    }
}

async fn sweep(engine: &Arc<Engine>) {
    match tokio::time::timeout(LIMITS.0, orphans(engine)).await {
        // One that is in the way of its target keeps no other target's waiting.
        Ok(Ok(orphans)) => {
            futures_util::future::join_all(orphans.into_iter().map(|o| recover_one(engine, o))).await;
        }
        Ok(Err(fault)) => tracing::debug!(%fault, "operations cannot be looked at now"),
        Err(_) => tracing::warn!("the control database says nothing; operations cannot be looked at now"),
    }
}

/// Operations that nobody runs any more: their daemon is gone and so is their lock session, or they are this daemon's
/// own and nothing here knows of them.
async fn orphans(engine: &Engine) -> Result<Vec<Orphan>, Fault> {
    control_schema::is_current(&engine.control).await?;
    let mut orphans = Vec::new();
    for open in orphans::unfinished(&engine.control.pool).await? {
        let id = open.owner.operation;
        let left = match open.owner.instance == engine.instance {
            true => open.age_seconds > SETTLED && !engine.live.runs(id),
            false if open.waiting && !open.entered && open.age_seconds < ENTERS => false,
            // A daemon that does not end an operation whose lock was broken has lost it, alive or not.
            false => {
                (open.broken_seconds.is_some_and(|age| age > BROKEN)
                    || !instances::lives(&engine.control, LockKey::instance(open.owner.instance)).await?)
                    && !instances::lives(&engine.control, LockKey::operation(id)).await?
            }
        };
        if left {
            orphans.push(open);
        }
    }
    Ok(orphans)
}

async fn recover_one(engine: &Arc<Engine>, orphan: Orphan) {
    let id = orphan.owner.operation;
    let recovered = tokio::time::timeout(LIMITS.1, recover(engine, &orphan)).await;
    match recovered.unwrap_or_else(|_| Err(silent())) {
        Ok(true) => {
            tracing::info!(operation = %id, "took up an operation that nobody ran any more, and ended it")
        }
        Ok(false) => {}
        Err(fault) => {
            tracing::warn!(operation = %id, %fault, "an operation that nobody runs is not recovered yet")
        }
    }
}

/// How the target's database is reached, also one that this daemon does not serve.
fn options_of(engine: &Engine, database: &str) -> ConnectOptions {
    match engine.targets.iter().find(|t| t.database() == database) {
        Some(target) => target.url.connect_options(),
        None => engine.control.options_of(database),
    }
}

fn silent() -> Fault {
    Fault::new(Reason::ControlUnavailable, "PostgreSQL says nothing")
}

/// `false`: not yet, or somebody else's.
async fn recover(engine: &Arc<Engine>, orphan: &Orphan) -> Result<bool, Fault> {
    if orphan.reads_only || orphan.waiting {
        let mut connection = engine.control.connection().await?;
        return end(engine, &mut connection, orphan, None).await;
    }
    let id = orphan.owner.operation;
    let name = application_name(&orphan.target, id, "recovery");
    let ticket = Ticket::exclusive(orphan.owner, &orphan.database, name);
    // The lock is free when the old daemon's session has ended. While somebody else holds it, they passed the fence
    // themselves; the next look tries again.
    let LeaseAttempt::Granted(lock) = LockSession::attempt(&engine.control, &ticket).await? else {
        return Ok(false);
    };
    let recovered = recover_locked(engine, orphan, &lock).await;
    lock.release().await;
    recovered
}

async fn recover_locked(engine: &Arc<Engine>, orphan: &Orphan, lock: &LockSession) -> Result<bool, Fault> {
    // A database that is not there has no sessions that could still work in it.
    if database::oid(&engine.control.pool, &orphan.database).await?.is_some() {
        fence::pass(&options_of(engine, &orphan.database), lock).await?;
    }
    // What the old daemon built ended with its lock session, whose statements made it: nothing appears any more.
    let mut connection = lock.connection().await;
    built::sweep(&mut connection, orphan.owner.operation).await?;
    end(engine, &mut connection, orphan, Some(lock)).await
}

/// Ends an orphan with what really became of it: what it was about to commit is read only now, after the fence.
async fn end(
    engine: &Arc<Engine>,
    connection: &mut crate::postgres::Connection,
    orphan: &Orphan,
    lock: Option<&LockSession>,
) -> Result<bool, Fault> {
    let adopted = orphans::adopt(connection, orphan.owner, engine.instance, lock.is_some()).await?;
    let Some(transaction) = adopted else {
        return Ok(false);
    };
    let status = match &transaction {
        Some(transaction) => backend::xact_status(&engine.control.pool, transaction).await?,
        None => Some("aborted".to_owned()),
    };
    let owner = Owner { operation: orphan.owner.operation, instance: engine.instance };
    match status.as_deref() {
        Some("committed") => match unconfirmed(engine, orphan, lock).await? {
            None => journal::finish_prepared(connection, owner).await?,
            Some(Confirmation { fault, validation }) => {
                if let Some(validation) = validation {
                    let kind = EventKind::Validated { validation: Box::new(validation) };
                    journal::append(connection, owner, kind).await?;
                }
                journal::finish(connection, owner, &|events, at| ending::make(events, at, Err(&fault)))
                    .await?;
            }
        },
        Some("aborted") => {
            let asked = cancel::asked(&engine.control.pool, owner.operation).await?;
            let fault = match asked {
                Some(Asked::Break(broken)) => broken,
                // Accepted is accepted, also where its daemon did not live to see it.
                Some(Asked::Cancel) => ending::cancelled(),
                None => engine.live.why_left(owner.operation).unwrap_or_else(|| abandoned(orphan)),
            };
            journal::finish(connection, owner, &|events, at| ending::make(events, at, Err(&fault))).await?;
        }
        Some(_) => return Err(Fault::new(Reason::ZombieBackend, "its transaction is still in progress")),
        None => {
            let fault =
                Fault::new(Reason::OutcomeUnknown, "its transaction is too old for the cluster to know")
                    .hint("validate the target");
            journal::finish(connection, owner, &|events, at| ending::make(events, at, Err(&fault))).await?;
        }
    }
    Ok(true)
}

/// What its own daemon would have looked for after the commit, before it called the target valid.
async fn unconfirmed(
    engine: &Arc<Engine>,
    orphan: &Orphan,
    lock: Option<&LockSession>,
) -> Result<Option<Confirmation>, Fault> {
    let (pool, id) = (&engine.control.pool, orphan.owner.operation);
    let events = journal::read(pool, id, 1, i64::MAX).await?;
    let validated = events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Validated { validation } => Some(validation),
        _ => None,
    });
    let Some(validated) = validated else { return Ok(None) };
    let Some(lock) = lock else { return Ok(Some(confirm::unknown("nobody holds the lease"))) };
    if operations::was_changed_after(pool, &orphan.database, id).await? {
        return Ok(Some(confirm::unknown(
            "its daemon ended, and another operation has changed the target since",
        )));
    }
    let target = options_of(engine, &orphan.database);
    let looked = second_look::observe(&target, lock, &validated.schemas()).await;
    Ok(confirm::judge(validated, looked))
}

fn abandoned(orphan: &Orphan) -> Fault {
    let (what, hint) = match (orphan.waiting, orphan.reads_only) {
        (true, _) => ("while the operation was queued", "nothing had begun; run it again"),
        (_, true) => ("before the operation ended", "it only read; run it again"),
        _ => ("before commit", "everything was rolled back; run it again"),
    };
    Fault::new(Reason::Abandoned, format!("the daemon stopped, or lost its sessions, {what}"))
        .hint(hint)
        .with("instance", orphan.owner.instance)
}
