//! The life of one operation from its lock to its end. Whatever happens, it ends with one terminal event, and the lock
//! is given back after it.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use model::{
    chain::ChainSet,
    event::EventKind,
    fault::{Fault, Reason},
    operation::Request,
};

use tokio_util::task::AbortOnDropHandle;

use super::{Engine, Target, edge, ending, live::LiveOperation};
use crate::postgres::{
    asked_end,
    contact::Backends,
    interrupt::Interrupt,
    journal::{self, Owner},
    lock::{LockRequest, LockSession},
    operations,
    right::Right,
    turn::Claim,
    work::WorkContext,
};

/// How often a cancel is looked for without news.
const CANCEL_LOOK: Duration = Duration::from_secs(2);
/// The first and the longest pause between attempts to write an end.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long work may take to end by itself after an interrupt, and after its backends were ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the lock's connection may take to write the end.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// One operation of this daemon.
pub(super) struct Run {
    pub(super) engine: Arc<Engine>,
    pub(super) owner: Owner,
    pub(super) request: Request,
    pub(super) target: Arc<Target>,
    pub(super) chains: ChainSet,
    pub(super) live: LiveOperation,
    pub(super) lock_request: LockRequest,
    pub(super) claim: Claim,
    /// The right to change the target, while it changes it.
    pub(super) right: Right,
    /// The backends that work for the operation.
    pub(super) backends: Backends,
}

/// What the work in the target came to.
pub(super) enum Done {
    /// Nothing was to be changed; one line says what was found.
    Read(String),
    /// The change is committed, and its end is prepared in the control database.
    Committed,
    /// The change and its end were committed together.
    Finished,
}

impl Run {
    /// Lives the operation to its end.
    pub(super) async fn live(self, lock: Option<LockSession>) {
        // However this ends, a panic included, the operation does not count as running here afterwards.
        let leaves = self.engine.live.leaves(self.owner.operation);
        let cancels =
            AbortOnDropHandle::new(tokio::spawn(heed_ends(Arc::clone(&self.engine), self.live.clone())));
        let mut lock = lock;
        let result = match self.hold(&mut lock).await {
            Err(fault) => Err(self.why(fault).await),
            done => done,
        };
        drop(cancels);
        let undecided = matches!(&result, Err(fault) if fault.reason == Reason::OutcomeUnknown);
        if matches!(result, Ok(Done::Committed | Done::Finished)) {
            self.set_baseline().await;
        }
        // What is not known is not written: the next daemon asks again.
        let lock = if undecided { lock } else { self.write_end(lock, result).await };
        drop(leaves);
        // What was built aside and could not be dropped on the lock's connection is dropped now.
        self.engine.janitor.notify_one();
        if let Some(lock) = lock {
            lock.release().await;
        }
    }

    /// A broken lock ends the operation's sessions as well: what they died of is not why.
    async fn why(&self, fault: Fault) -> Fault {
        if fault.reason == Reason::OutcomeUnknown {
            return fault;
        }
        let asked = asked_end::asked(&self.engine.control.pool, self.owner.operation);
        match tokio::time::timeout(WRITE_LIMIT, asked).await {
            Ok(Ok(Some(broken))) if asked_end::is_broken(&broken) => broken,
            _ => fault,
        }
    }

    /// Takes the lock where it is not held yet, then executes.
    async fn hold(&self, slot: &mut Option<LockSession>) -> Result<Done, Fault> {
        if slot.is_none() {
            *slot = Some(self.wait_for_lock().await?);
        }
        let Some(lock) = slot else {
            return Err(Fault::new(Reason::Internal, "the lock was granted and is gone"));
        };
        lock.watch(&self.engine.control.pool, &self.live.interrupt);
        let deadline = self
            .request
            .timeout
            .map(|limit| AbortOnDropHandle::new(tokio::spawn(deadline(limit, self.live.interrupt.clone()))));
        let edge = self.claim.right.clone().map(|right| {
            let heed = edge::heed(Arc::clone(&self.engine), self.live.clone(), right);
            AbortOnDropHandle::new(tokio::spawn(heed))
        });
        let result = self.execute(lock).await;
        drop((deadline, edge));
        result
    }

    /// Stores a milestone, on the connection that holds the lock: who lost it writes nothing.
    pub(super) async fn emit(&self, lock: &LockSession, kind: EventKind) -> Result<(), Fault> {
        self.live.interrupt.check()?;
        let mut connection = lock.connection().await;
        journal::append(&mut connection, self.owner, kind).await.map(|_| ())
    }

    pub(super) fn work_context(&self) -> WorkContext {
        WorkContext {
            control: self.engine.control.pool.clone(),
            interrupt: self.live.interrupt.clone(),
            patience: self.target.profile.lock_patience,
            tell: self.live.teller(),
            backends: Arc::clone(&self.backends),
        }
    }

    /// Lets work go on until it ends. After an interrupt it has some time to end by itself; then its backends are ended,
    /// and at last it is left alone: its sessions close, and the server rolls them back.
    pub(super) async fn guarded<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let given_up = async {
            let why = self.live.interrupt.raised().await;
            tokio::time::sleep(PATIENCE).await;
            let backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for pid in backends {
                operations::end_backend(&self.engine.control.pool, pid).await;
            }
            tokio::time::sleep(PATIENCE).await;
            why
        };
        tokio::select! {
            biased;
            result = work => result,
            why = given_up => Err(why),
        }
    }

    /// Writes the end, on the lock's connection where it lives, else on another one, until it is written or the
    /// operation turns out to be somebody else's. Gives the lock back where its connection still lives.
    async fn write_end(&self, lock: Option<LockSession>, result: Result<Done, Fault>) -> Option<LockSession> {
        if let Some(lock) = lock {
            let mut connection = lock.connection().await;
            let written =
                tokio::time::timeout(WRITE_LIMIT, self.write_end_on(&mut connection, &result)).await;
            drop(connection);
            if let Ok(Ok(())) = written {
                return Some(lock);
            }
            // A connection that did not take the end is of no use; closing it ends whatever it still did.
        }
        let mut pause = PAUSES.0;
        loop {
            let written = match self.engine.control.connection().await {
                Ok(mut connection) => self.write_end_on(&mut connection, &result).await,
                Err(fault) => Err(fault),
            };
            match written {
                Ok(()) => return None,
                Err(fault) if fault.reason == Reason::LockLost => {
                    tracing::warn!(operation = %self.owner.operation, "another daemon wrote the end of this operation");
                    return None;
                }
                Err(fault) => {
                    tracing::warn!(operation = %self.owner.operation, %fault, "the end is not written yet")
                }
            }
            if self.engine.ended().is_cancelled() {
                return None;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn write_end_on(
        &self,
        connection: &mut crate::postgres::Connection,
        result: &Result<Done, Fault>,
    ) -> Result<(), Fault> {
        match result {
            Ok(Done::Finished) => Ok(()),
            Ok(Done::Committed) => journal::finish_prepared(connection, self.owner).await,
            Ok(Done::Read(summary)) => {
                journal::finish(connection, self.owner, &|events, at| ending::make(events, at, Ok(summary)))
                    .await
            }
            Err(fault) => {
                journal::finish(connection, self.owner, &|events, at| ending::make(events, at, Err(fault)))
                    .await
            }
        }
    }
}

async fn deadline(limit: Duration, interrupt: Interrupt) {
    tokio::time::sleep(limit).await;
    let limit = model::duration::format_duration(limit);
    interrupt.raise(
        Fault::new(Reason::Deadline, format!("the operation ran longer than its limit of {limit}"))
            .hint("everything was rolled back; allow more with --timeout DURATION")
            .with("limit", limit),
    );
}

/// Raises the interrupt once somebody has asked for the end, through whichever daemon.
async fn heed_ends(engine: Arc<Engine>, live: LiveOperation) {
    let mut news = engine.wakeups.subscribe(live.id);
    loop {
        match asked_end::asked(&engine.control.pool, live.id).await {
            Ok(Some(why)) => {
                live.interrupt.raise(why);
                return;
            }
            Ok(None) => {}
            Err(fault) => tracing::debug!(%fault, "cancels cannot be looked for now"),
        }
        // News or none: what is true is in the control database.
        let _either = tokio::time::timeout(CANCEL_LOOK, news.changed()).await;
    }
}
