//! Exclusion: the queue for a target, the lease on it, the fence that ends an old owner's sessions.
//!
//! It must not know what is done under the lease.

pub(crate) mod conflict;
pub(crate) mod fence;
pub(crate) mod force_unlock;
pub(crate) mod lease;
pub(crate) mod queue;
pub(crate) mod strangers;
