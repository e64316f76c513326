//! Whether a session in the target still hears the daemon: looked at from outside, through the control database.
//!
//! A cut connection says nothing. While the operation goes on, its work session is at work or about to be: one that is
//! gone, or has waited for its next statement for long, has lost the daemon. Unless the daemon rests: it waits for something
//! else, or stood still itself.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use model::fault::{Fault, Reason};
use sqlx::PgPool;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{backend, interrupt::Interrupt};

/// How often the session is looked at, and how long a look may take.
const LOOK: Duration = Duration::from_secs(1);
/// How long a session may wait for its next statement, and in how many looks one after the other it must be seen so: who
/// stood still needs a moment to go on.
const IDLE_LIMIT: (f64, u32) = (10.0, 3);

/// The backends that work for an operation: ended when they do not end by themselves.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    pids: Mutex<Vec<i32>>,
    resting: AtomicUsize,
}

impl Backends {
    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<i32>> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them now.
    pub(crate) fn pids(&self) -> Vec<i32> {
        self.locked().clone()
    }

    /// As long as this lives, nothing is asked of them, and their silence means nothing.
    pub(crate) fn rest(&self) -> Rest<'_> {
        self.resting.fetch_add(1, Ordering::SeqCst);
        Rest(self)
    }
}

/// The daemon waits for something else.
pub(crate) struct Rest<'a>(&'a Backends);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.resting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The watch over one session, for as long as this lives.
pub(crate) struct Liveness {
    pid: i32,
    backends: Arc<Backends>,
    lost: CancellationToken,
    _watch: AbortOnDropHandle<()>,
}

impl Liveness {
    /// Watches a session from now on. Its loss raises the interrupt.
    pub(crate) fn watch(control: &PgPool, pid: i32, backends: &Arc<Backends>, interrupt: &Interrupt) -> Self {
        backends.locked().push(pid);
        let lost = CancellationToken::new();
        let watch = watch(control.clone(), pid, Arc::clone(backends), lost.clone(), interrupt.clone());
        let watch = tokio::spawn(watch);
        Self { pid, backends: Arc::clone(backends), lost, _watch: AbortOnDropHandle::new(watch) }
    }

    /// Fires when the session does not hear the daemon any more.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

impl Drop for Liveness {
    fn drop(&mut self) {
        // The number may be another session's soon: it must not be ended in this one's place.
        self.backends.locked().retain(|pid| *pid != self.pid);
    }
}

/// The driver's error for a session that was lost without a word.
pub(crate) fn lost_error() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the session does not hear the daemon"))
}

async fn watch(
    control: PgPool,
    pid: i32,
    backends: Arc<Backends>,
    lost: CancellationToken,
    interrupt: Interrupt,
) {
    let (mut gone, mut silent) = (0, 0);
    let why = loop {
        tokio::time::sleep(LOOK).await;
        let Ok(Ok(seen)) = tokio::time::timeout(LOOK, idle_seconds(&control, pid)).await else { continue };
        match seen {
            // Whoever works there hears of the end as well; this is for who cannot.
            None if gone > 0 => break "its session has ended".to_owned(),
            None => gone += 1,
            Some(idle) if idle > IDLE_LIMIT.0 && backends.resting.load(Ordering::SeqCst) == 0 => {
                (gone, silent) = (0, silent + 1);
                if silent >= IDLE_LIMIT.1 {
                    backend::terminate(&control, pid).await;
                    break format!("its session heard nothing for {idle:.0} s");
                }
            }
            Some(_) => (gone, silent) = (0, 0),
        }
    };
    interrupt.raise(
        Fault::new(Reason::TargetUnreachable, format!("the connection to the target was lost: {why}"))
            .hint("everything was rolled back; look at the network between daemon and PostgreSQL, then run it again"),
    );
    lost.cancel();
}

/// For how long the session has waited for a statement; 0 when it is at work; `None` when it is not there.
async fn idle_seconds(control: &PgPool, pid: i32) -> sqlx::Result<Option<f64>> {
    sqlx::query_scalar(
        "SELECT CASE WHEN state LIKE 'idle%' THEN extract(epoch FROM clock_timestamp() - state_change)::float8 ELSE 0 END
           FROM pg_catalog.pg_stat_activity WHERE pid = $1",
    )
    .bind(pid)
    .fetch_optional(control)
    .await
}
