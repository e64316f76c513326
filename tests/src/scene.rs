//! A migrated target, the shipped chains, and a daemon on both.

use crate::{Daemon, Migrations, Output, Setup, State, TestTarget, commands::RUN};

/// A migrated target, the shipped chains, and a daemon on both.
pub struct Scene {
    /// Migrated.
    pub target: TestTarget,
    /// A copy of the shipped ones.
    pub chains: Migrations,
    /// On both.
    pub daemon: Daemon,
    /// The target as it was.
    pub before: State,
}

impl Scene {
    /// All of it, with nothing done yet.
    pub async fn new() -> Self {
        let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
        let daemon = Setup::of(&target).migrations(&chains).start().await;
        let before = target.state().await;
        Self { target, chains, daemon, before }
    }

    /// A second revision of `core`; its SQL begins at line 4.
    pub fn second(&self, sql: &str) {
        self.chains.revision("core/core_002.sql", "core_002", "core_001", sql);
    }

    /// `run` and `migrate` both fail for this reason and leave dump, oids, files and rows as they were.
    pub async fn no_trace(&self, reason: &str) -> Output {
        let Self { target, daemon, before, .. } = self;
        daemon.ctl("migrate").await.refused(reason);
        assert_eq!(*before, target.state().await, "after migrate");
        let out = daemon.ctl(RUN).await;
        out.refused(reason);
        assert_eq!(*before, target.state().await, "after run");
        for list in ["/details/reset", "/details/migrations", "/revisions"] {
            assert!(out.list_or_empty(list).iter().all(|e| e["status"] == "rolled-back"), "{out}");
        }
        out
    }
}
