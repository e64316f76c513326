//! Points in an operation's life at which a test may stop the daemon, so that a fault strikes exactly there.
//!
//! Without the feature `test-hooks` every point is nothing at all. With it, and with a folder from the configuration, a
//! point whose name is in the folder's file `at` writes `held` and waits until `go-NAME` appears.

use uuid::Uuid;

#[cfg(feature = "test-hooks")]
pub(crate) use with_hooks::{install, leave_unchecked};

/// An event was stored; where it is part of a transaction, that is not committed yet.
pub(crate) async fn stored(operation: Uuid, sequence: i64) {
    point(operation, &sequence.to_string()).await;
}

/// A point beside the events: `recorded`, `begun`, `prepared`, `committed`, `ended`, each after its transaction.
#[cfg(not(feature = "test-hooks"))]
pub(crate) async fn point(_operation: Uuid, _name: &str) {}

/// A point beside the events: `recorded`, `begun`, `prepared`, `committed`, `ended`, each after its transaction.
#[cfg(feature = "test-hooks")]
pub(crate) async fn point(operation: Uuid, name: &str) {
    with_hooks::point(operation, name).await;
}

/// Whether a test took the look at `pg_locks` away.
pub(crate) fn unchecked() -> bool {
    #[cfg(feature = "test-hooks")]
    return with_hooks::UNCHECKED.load(std::sync::atomic::Ordering::SeqCst);
    #[cfg(not(feature = "test-hooks"))]
    false
}

#[cfg(feature = "test-hooks")]
mod with_hooks {
    use std::{
        fs,
        path::PathBuf,
        sync::{
            OnceLock,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use uuid::Uuid;

    const LOOK: Duration = Duration::from_millis(3);

    /// Whether the look at `pg_locks` is left out.
    pub(super) static UNCHECKED: AtomicBool = AtomicBool::new(false);
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();

    /// Leaves the look at `pg_locks` out, or does it again.
    pub(crate) fn leave_unchecked(unchecked: bool) {
        UNCHECKED.store(unchecked, Ordering::SeqCst);
    }

    /// Names the folder; the first one stays.
    pub(crate) fn install(folder: PathBuf) {
        FOLDER.get_or_init(|| folder);
    }

    pub(in crate::postgres) async fn point(operation: Uuid, name: &str) {
        let Some(folder) = FOLDER.get() else { return };
        let wanted = fs::read_to_string(folder.join("at")).unwrap_or_default();
        // Whoever moves the file is held; a second one at the same point goes on.
        if wanted != name || fs::rename(folder.join("at"), folder.join("taken")).is_err() {
            return;
        }
        // Whoever sees it may read it at once.
        let told = fs::write(folder.join("telling"), operation.to_string())
            .and_then(|()| fs::rename(folder.join("telling"), folder.join("held")));
        if let Err(error) = told {
            tracing::warn!(%error, "a test's hold cannot be told");
        }
        while !folder.join(format!("go-{name}")).exists() {
            tokio::time::sleep(LOOK).await;
        }
    }
}
