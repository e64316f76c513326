//! Tasks that run beside operations: recovery, the janitor, the audit record.
//!
//! They must not wait for a caller.

pub(crate) mod audit;
pub(crate) mod janitor;
pub(crate) mod recovery;
