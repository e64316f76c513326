//! What was seen on the way of an operation and is told where it fails: who was in the way last, and what else was found.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::{event::Blocker, finding::Finding};

/// Shared by everything that works for an operation.
#[derive(Debug, Default)]
pub(crate) struct Noticed(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// By the backend that waits.
    blockers: BTreeMap<i32, Vec<Blocker>>,
    findings: Vec<Finding>,
}

impl Noticed {
    fn locked(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody is in the way of a backend.
    pub(in crate::postgres) fn blocked(&self, waiting: i32, by: Vec<Blocker>) {
        self.locked().blockers.insert(waiting, by);
    }

    /// A backend got what it waited for.
    pub(in crate::postgres) fn goes_on(&self, waiting: i32) {
        self.locked().blockers.remove(&waiting);
    }

    /// Something that ends the operation was found.
    pub(in crate::postgres) fn found(&self, findings: Vec<Finding>) {
        self.locked().findings.extend(findings);
    }

    /// Who is in the way, each once.
    pub(crate) fn blockers(&self) -> Vec<Blocker> {
        let mut all: Vec<Blocker> = Vec::new();
        for blocker in self.locked().blockers.values().flatten() {
            if !all.iter().any(|known| (known.pid, &known.gid) == (blocker.pid, &blocker.gid)) {
                all.push(blocker.clone());
            }
        }
        all
    }

    /// What was found, once.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        std::mem::take(&mut self.locked().findings)
    }
}
