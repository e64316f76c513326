//! The control database: operations, their journal, targets, windows, tokens, the audit record.
//!
//! It must not know what an operation does in its target.

pub(crate) mod adopt;
pub(crate) mod audit;
pub(in crate::postgres) mod audit_guard;
pub(crate) mod cancel;
pub(crate) mod commit_deadline;
pub(crate) mod given_up;
pub(crate) mod grammar;
pub(crate) mod instances;
pub(crate) mod journal;
pub(crate) mod kept_schemas;
pub(crate) mod keys;
pub(crate) mod neighbours;
pub(crate) mod notify;
pub(crate) mod operations;
pub(crate) mod orphans;
pub(crate) mod plans;
pub(crate) mod pool;
pub(crate) mod queue_limits;
pub(crate) mod retained;
pub(crate) mod targets;
pub(crate) mod ticket;
pub(crate) mod tokens;
pub(crate) mod window_guard;
pub(crate) mod windows;
