//! What a daemon that ended left behind: its operations are taken up, the truth is learned from the cluster, and each
//! gets its terminal event. Nothing is ever run again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use model::{
    fault::{Fault, Reason},
    lock::{LockKey, application_name},
};
use uuid::Uuid;

use super::{Engine, ending};
use crate::postgres::{
    barrier, databases,
    instances::{self, Presence},
    journal::{self, Owner},
    kept,
    lock::{Attempt, LockRequest, LockSession},
    operations::{self, Orphan},
};

/// How often it is looked for operations whose daemon is gone.
const LOOK: Duration = Duration::from_secs(2);

/// Enters this daemon into the control database and recovers once.
pub(super) async fn enter(engine: &Arc<Engine>) -> Result<(), Fault> {
    let presence = Presence::enter(&engine.control, engine.instance).await?;
    engine.background.spawn(presence.keep(engine.control.clone(), engine.end.clone()));
    sweep(engine).await;
    Ok(())
}

/// Recovers until the daemon ends.
pub(super) async fn keep_recovering(engine: Arc<Engine>) {
    let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
    loop {
        tokio::select! {
            () = engine.end.cancelled() => return,
            _ = look.tick() => sweep(&engine).await,
        }
    }
}

async fn sweep(engine: &Arc<Engine>) {
    match orphans(engine).await {
        Ok(orphans) => {
            for orphan in orphans {
                recover_one(engine, orphan).await;
            }
        }
        Err(fault) => tracing::debug!(%fault, "operations of other daemons cannot be looked at now"),
    }
}

async fn orphans(engine: &Engine) -> Result<Vec<Orphan>, Fault> {
    let open = operations::of_other_instances(&engine.control.pool, engine.instance).await?;
    let instances: BTreeSet<Uuid> = open.iter().map(|o| o.owner.instance).collect();
    let mut gone = BTreeSet::new();
    for instance in instances {
        if !instances::lives(&engine.control, LockKey::instance(instance)).await? {
            gone.insert(instance);
        }
    }
    Ok(open.into_iter().filter(|o| gone.contains(&o.owner.instance)).collect())
}

async fn recover_one(engine: &Arc<Engine>, orphan: Orphan) {
    let id = orphan.owner.operation;
    match recover(engine, &orphan).await {
        Ok(true) => {
            tracing::info!(operation = %id, "took up an operation of a daemon that ended, and ended it")
        }
        Ok(false) => {}
        Err(fault) => {
            tracing::warn!(operation = %id, %fault, "an operation of a daemon that ended is not recovered yet")
        }
    }
}

/// `false`: not yet, or somebody else's.
async fn recover(engine: &Arc<Engine>, orphan: &Orphan) -> Result<bool, Fault> {
    if orphan.reads_only || orphan.waiting {
        let mut connection = engine.control.connection().await?;
        return end(engine, &mut connection, orphan).await;
    }
    let id = orphan.owner.operation;
    let request = LockRequest {
        database: orphan.database.clone(),
        operation: id,
        application_name: application_name(&orphan.target, id, "recovery"),
        shared: false,
    };
    // The lock is free when the old daemon's session has ended. While somebody else holds it, they passed the barrier
    // themselves; the next look tries again.
    let Attempt::Granted(lock) = LockSession::attempt(&engine.control, &request).await? else {
        return Ok(false);
    };
    let recovered = recover_locked(engine, orphan, &lock).await;
    lock.release().await;
    recovered
}

async fn recover_locked(engine: &Arc<Engine>, orphan: &Orphan, lock: &LockSession) -> Result<bool, Fault> {
    let target = engine.targets.iter().find(|t| t.database() == orphan.database);
    // A target that is not this daemon's is another daemon's to recover.
    let Some(target) = target else { return Ok(false) };
    if databases::oid(&engine.control.pool, &orphan.database).await?.is_some() {
        barrier::pass(&target.url.connect_options(), &lock.application_name).await?;
    }
    // What the old daemon built ended with its lock session, whose statements made it: nothing appears any more.
    let mut connection = lock.connection().await;
    if let Some(built) = &orphan.build_database {
        databases::drop_generated(&mut connection, built).await?;
    }
    kept::give_back(&engine.control.pool, orphan.owner.operation).await?;
    end(engine, &mut connection, orphan).await
}

/// Ends an orphan with what really became of it.
async fn end(
    engine: &Arc<Engine>,
    connection: &mut crate::postgres::Connection,
    orphan: &Orphan,
) -> Result<bool, Fault> {
    let status = match &orphan.work_xid {
        Some(transaction) => operations::transaction_status(&engine.control.pool, transaction).await?,
        None => Some("aborted".to_owned()),
    };
    if !operations::adopt(connection, orphan.owner, engine.instance).await? {
        return Ok(false);
    }
    let owner = Owner { operation: orphan.owner.operation, instance: engine.instance };
    match status.as_deref() {
        Some("committed") => journal::finish_prepared(connection, owner).await?,
        Some("aborted") => {
            let fault = abandoned(orphan);
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

fn abandoned(orphan: &Orphan) -> Fault {
    let (what, hint) = match (orphan.waiting, orphan.reads_only) {
        (true, _) => ("while the operation waited", "nothing had begun; run it again"),
        (_, true) => ("while the operation read", "nothing was to be changed; run it again"),
        _ => ("before the commit", "everything was rolled back; run it again"),
    };
    Fault::new(Reason::Abandoned, format!("the daemon that ran it ended {what}"))
        .hint(hint)
        .with("instance", orphan.owner.instance)
}
