//! Decisions on the audit record: one task of the daemon writes them, many at a time, so that a crowd costs no more than a
//! few. What changes something waits for its record; what comes again and again is counted.
//!
//! It must not know how a call arrives, nor how records are stored.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::{
    audit::{Admission, AuditVerdict, Chained, Decision, Head, Repeats},
    fault::{Fault, Reason},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    engine::{Engine, watch::query::page},
    ledger::Ledger,
    postgres::control::audit,
};

/// How many decisions may wait to be written.
const QUEUE: usize = 1_024;
/// How many are written as one.
const BATCH: usize = 256;
/// How long an answer that changes nothing waits for its record.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked for counts that are due.
const LOOK: Duration = Duration::from_secs(5);

/// A decision that waits to be written.
pub(in crate::engine) struct Job {
    decision: Decision,
    done: oneshot::Sender<Result<(), Fault>>,
}

/// Where decisions are handed in.
pub(in crate::engine) struct Recorder {
    queue: mpsc::Sender<Job>,
    repeats: Mutex<Repeats>,
    began: Instant,
}

impl Recorder {
    /// The recorder, and the other end of its queue.
    pub(in crate::engine) fn new() -> (Self, mpsc::Receiver<Job>) {
        let (queue, jobs) = mpsc::channel(QUEUE);
        (Self { queue, repeats: Mutex::default(), began: Instant::now() }, jobs)
    }

    fn admit(&self, decision: &Decision, knows: impl Fn(&str) -> bool) -> Admission {
        let now = self.began.elapsed();
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner).admit(decision, knows, now)
    }

    fn due(&self, all: bool) -> Vec<(Decision, u64)> {
        let now = self.began.elapsed();
        let due = self.repeats.lock().unwrap_or_else(PoisonError::into_inner).due(now, all);
        let detail = |more| Some(format!("{more} more like it within a minute"));
        due.into_iter().map(|(it, more)| (Decision { detail: detail(more), ..it }, more)).collect()
    }

    async fn write(&self, decision: Decision) -> Result<(), Fault> {
        let (done, told) = oneshot::channel();
        let closed = || {
            Fault::new(Reason::AuditUnavailable, "the daemon is shutting down and records nothing any more")
                .hint("try again when it is back")
        };
        self.queue.send(Job { decision, done }).await.map_err(|_| closed())?;
        told.await.map_err(|_| closed())?
    }
}

impl Engine {
    /// Writes a decision to the audit record. A mutation must not run before this is done.
    ///
    /// # Errors
    /// `AUDIT_UNAVAILABLE`: it cannot be written. What was denied stays denied and what only reads is answered all the
    /// same: for these it is only told in the log.
    pub(crate) async fn record(&self, decision: Decision) -> Result<(), Fault> {
        let knows = |name: &str| self.targets.iter().any(|t| t.name == name);
        if self.recorder.admit(&decision, knows) == Admission::Count {
            return Ok(());
        }
        if decision.binds() {
            return self.recorder.write(decision).await;
        }
        // What is late is written later, where it can be.
        let written = tokio::time::timeout(PATIENCE, self.recorder.write(decision)).await;
        if let Ok(Err(fault)) = written {
            tracing::warn!(%fault, "a decision that changes nothing is not on the audit record");
        }
        Ok(())
    }

    /// Audit records, newest first, and the place before which the next page begins.
    pub(crate) async fn audit_records(
        &self,
        before: Option<u64>,
        most: i64,
    ) -> Result<(Vec<Chained>, Option<u64>), Fault> {
        let (records, more) = page(audit::list(&self.control.pool, before, most + 1).await?, most);
        let next = records.last().filter(|_| more).map(|r| r.sequence);
        Ok((records, next))
    }

    /// Whether the audit record is what was written.
    pub(crate) async fn verify_audit(&self, expected: Option<Head>) -> Result<AuditVerdict, Fault> {
        Ok(audit::verify(&self.control.pool, expected, self.seal_key.clone()).await?)
    }
}

/// Writes until the daemon ends; then what still waits, and what was only counted.
pub(in crate::engine) async fn keep_recording(
    engine: Arc<Engine>,
    mut jobs: mpsc::Receiver<Job>,
    ledger: Ledger,
) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        let first = tokio::select! {
            biased;
            () = engine.end.cancelled() => break,
            job = jobs.recv() => job,
            _ = look.tick() => {
                counted(&engine, &ledger, false).await;
                continue;
            }
        };
        let Some(first) = first else { break };
        handed_in(&ledger, first, &mut jobs).await;
    }
    jobs.close();
    while let Some(first) = jobs.recv().await {
        handed_in(&ledger, first, &mut jobs).await;
    }
    counted(&engine, &ledger, true).await;
}

async fn handed_in(ledger: &Ledger, first: Job, jobs: &mut mpsc::Receiver<Job>) {
    let mut batch = vec![first];
    while batch.len() < BATCH
        && let Ok(job) = jobs.try_recv()
    {
        batch.push(job);
    }
    let (decisions, waiting): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|job| ((job.decision, 1), job.done)).unzip();
    let written = ledger.write(&decisions).await;
    for done in waiting {
        // Who does not wait any more has gone away: the record stands.
        let _gone = done.send(written.clone());
    }
}

async fn counted(engine: &Engine, ledger: &Ledger, all: bool) {
    let due = engine.recorder.due(all);
    if due.is_empty() {
        return;
    }
    if let Err(fault) = ledger.write(&due).await {
        let lost: u64 = due.iter().map(|(_, more)| more).sum();
        tracing::warn!(%fault, lost, "repeated denials are not on the audit record");
    }
}
