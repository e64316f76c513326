//! The life of one operation from its lock to its end. Whatever happens, it ends with one terminal event, and the lock
//! is given back after it.

use std::{sync::Arc, time::Duration};

use model::{
    authorization::Role,
    chain::ChainSet,
    event::EventKind,
    fault::{Fault, Reason},
    operation::Request,
};
use tokio_util::task::AbortOnDropHandle;

use super::{ending, registry::LiveOperation, tools::Held, window_deadline};
use crate::{
    engine::{Engine, Target},
    postgres::{
        change::{blockers, context::WorkContext, noticed::Noticed},
        control::{
            cancel::{self, Asked},
            journal::{self, Owner},
            keys::Bound,
            ticket::Ticket,
            window_guard::WindowGuard,
        },
        lock::lease::LockSession,
        session::{backend, interrupt::Interrupt, liveness::Backends},
        sql::error::condition::Condition,
    },
};

/// How often a cancel is looked for without news.
const CANCEL_LOOK: Duration = Duration::from_secs(2);

/// How long work may take to end by itself after an interrupt, and after its backends were ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long after an interrupt whatever still goes on is given up, and how long an end may take to be written: whoever takes
/// longer waits for a connection that says nothing.
pub(super) const GIVE_UP: Duration = Duration::from_secs(60);

/// How long the lock's connection may take to write the end.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// One operation of this daemon.
pub(in crate::engine) struct Run {
    pub(in crate::engine) engine: Arc<Engine>,
    pub(in crate::engine) owner: Owner,
    pub(in crate::engine) request: Request,
    pub(in crate::engine) target: Arc<Target>,
    pub(in crate::engine) chains: ChainSet,
    pub(in crate::engine) live: LiveOperation,
    pub(in crate::engine) ticket: Ticket,
    /// The right to change the target, while it changes it.
    pub(in crate::engine) window_guard: WindowGuard,
    /// The role that let the operation through.
    pub(in crate::engine) role: Option<Role>,
    /// The backends that work for the operation.
    pub(in crate::engine) backends: Arc<Backends>,
    /// What is told where the operation fails.
    pub(in crate::engine) noticed: Arc<Noticed>,
    /// Where its migration tool comes to, if it has one.
    pub(in crate::engine) tool: Option<Held>,
}

/// What the work in the target came to.
pub(in crate::engine) enum Done {
    /// Nothing was to be changed; one line says what was found.
    Read(String),
    /// The change is committed, and its end is prepared in the control database.
    Committed,
    /// The change is committed, and what it left is not what its prepared end says.
    Changed(Fault),
    /// The change and its end were committed together.
    Finished,
}

impl Run {
    /// Lives the operation to its end.
    pub(in crate::engine) async fn live(self, lock: Option<LockSession>) {
        // However this ends, a panic included, the operation does not count as running here afterwards.
        let leaves = self.engine.live.deregister(self.owner.operation);
        let cancels = AbortOnDropHandle::new(tokio::spawn(watch_requested_end(
            Arc::clone(&self.engine),
            self.live.clone(),
        )));
        let mut lock = lock;
        self.log_start(lock.is_none());
        let result = match self.hold(&mut lock).await {
            Err(fault) => Err(self.why(fault).await),
            done => done,
        };
        self.log_end(&result);
        drop(cancels);
        let undecided = matches!(&result, Err(fault) if fault.reason == Reason::OutcomeUnknown);
        if matches!(result, Ok(Done::Committed | Done::Changed(_) | Done::Finished)) {
            self.set_baseline().await;
        }
        // What is not known is not written: the next daemon asks again.
        let lock = if undecided { lock } else { self.write_end(lock, result).await };
        drop(leaves);
        // What has had its time, and what was built aside and could not be dropped on the lock's connection, is dropped now.
        self.engine.janitor.notify_one();
        if let Some(lock) = lock {
            lock.release().await;
        }
    }

    fn log_start(&self, waits: bool) {
        let (operation, verb) = (self.owner.operation, self.request.verb.as_str());
        let (target, principal) = (&self.target.name, &self.window_guard.principal);
        let dry_run = self.request.dry_run;
        tracing::info!(%operation, verb, target, principal, dry_run, waits, "operation begins");
    }

    fn log_end(&self, result: &Result<Done, Fault>) {
        let (operation, verb, target) = (self.owner.operation, self.request.verb.as_str(), &self.target.name);
        match result {
            Ok(Done::Changed(fault)) | Err(fault) => {
                tracing::info!(%operation, verb, target, reason = %fault.reason, %fault, "operation ends");
            }
            Ok(_) => tracing::info!(%operation, verb, target, "operation ends well"),
        }
    }

    /// A broken lock ends the operation's sessions as well: what they died of is not why.
    async fn why(&self, fault: Fault) -> Fault {
        if fault.reason == Reason::OutcomeUnknown {
            return fault;
        }
        let asked = cancel::asked(&self.engine.control.pool, self.owner.operation);
        match tokio::time::timeout(WRITE_LIMIT, asked).await {
            Ok(Ok(Some(Asked::Break(broken)))) => broken,
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
        let edge = self.ticket.window_guard.clone().map(|window_guard| {
            let enforce = window_deadline::enforce(Arc::clone(&self.engine), self.live.clone(), window_guard);
            AbortOnDropHandle::new(tokio::spawn(enforce))
        });
        let result = tokio::select! {
            biased;
            result = self.execute(lock) => result,
            given_up = self.given_up() => Err(given_up),
        };
        drop((deadline, edge));
        match result {
            // A statement that an interrupt cancelled on the server side, wherever it was.
            Err(fault) if Condition::of_fault(&fault) == Some(Condition::QueryCanceled) => {
                Err(self.live.interrupt.check().err().unwrap_or(fault))
            }
            // A connection that broke is told by the lock's where that one broke as well.
            Err(fault) if matches!(fault.reason, Reason::ControlUnavailable | Reason::TargetUnreachable) => {
                Err(lock.lost().await.unwrap_or(fault))
            }
            Err(fault) => Err(self.explained(lock, fault).await),
            done => done,
        }
    }

    /// Tells what was found on the way to a failure, and who was in the way where that is why.
    async fn explained(&self, lock: &LockSession, fault: Fault) -> Fault {
        let mut findings = self.noticed.findings();
        let fault = match fault.reason {
            Reason::Blocked => {
                let (named, by) = blockers::name(fault, &self.noticed.blockers());
                findings.extend(by);
                named
            }
            _ => fault,
        };
        for finding in findings {
            if let Err(failed) = self.record_done(lock, EventKind::FindingReported { finding }).await {
                tracing::warn!(operation = %self.owner.operation, fault = %failed, "what was found is not on record");
            }
        }
        fault
    }

    /// What became of work that does not end is for whoever recovers the operation to learn.
    async fn given_up(&self) -> Fault {
        let why = self.live.interrupt.raised().await;
        tokio::time::sleep(GIVE_UP).await;
        tracing::warn!(operation = %self.owner.operation, %why, "its work does not end; it is left to recovery");
        self.engine.live.left(self.owner.operation, why.clone());
        Fault { reason: Reason::OutcomeUnknown, ..why }
    }

    /// Stores a milestone, on the connection that holds the lock: who lost it writes nothing.
    pub(in crate::engine) async fn emit(&self, lock: &LockSession, kind: EventKind) -> Result<(), Fault> {
        self.live.interrupt.check()?;
        self.record_done(lock, kind).await
    }

    /// The same for what is done and stays, interrupted or not.
    pub(in crate::engine) async fn record_done(
        &self,
        lock: &LockSession,
        kind: EventKind,
    ) -> Result<(), Fault> {
        let _rest = self.backends.rest();
        let mut connection = lock.connection().await;
        let event = journal::append(&mut connection, self.owner, kind).await?;
        self.live.stored(event.sequence);
        Ok(())
    }

    /// How long a commit may wait for what it needs in the control database.
    pub(in crate::engine) fn commit_bound(&self) -> Bound<'_> {
        Bound { limit: self.target.profile.lock_wait_limit, interrupt: Some(&self.live.interrupt) }
    }

    pub(in crate::engine) fn work_context(&self) -> WorkContext {
        WorkContext {
            control: self.engine.control.pool.clone(),
            interrupt: self.live.interrupt.clone(),
            patience: self.target.profile.lock_wait_limit,
            tell: self.live.progress_sink(),
            backends: Arc::clone(&self.backends),
            noticed: Arc::clone(&self.noticed),
        }
    }

    /// Lets work go on until it ends. After an interrupt it has some time to end by itself; then its backends are ended,
    /// and at last it is left alone: its sessions close, and the server rolls them back.
    pub(in crate::engine) async fn guarded<T>(
        &self,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let given_up = async {
            let why = self.live.interrupt.raised().await;
            tokio::time::sleep(PATIENCE).await;
            for pid in self.backends.pids() {
                backend::terminate(&self.engine.control.pool, pid).await;
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
async fn watch_requested_end(engine: Arc<Engine>, live: LiveOperation) {
    let mut news = engine.wakeups.subscribe(live.id);
    loop {
        let asked = cancel::asked(&engine.control.pool, live.id);
        let Ok(asked) = tokio::time::timeout(WRITE_LIMIT, asked).await else { continue };
        match asked {
            Ok(Some(asked)) => {
                live.interrupt.raise(match asked {
                    Asked::Cancel => ending::cancelled(),
                    Asked::Break(broken) => broken,
                });
                return;
            }
            Ok(None) => {}
            Err(fault) => tracing::debug!(%fault, "cancels cannot be looked for now"),
        }
        // News or none: what is true is in the control database.
        let _either = tokio::time::timeout(CANCEL_LOOK, news.changed()).await;
    }
}
