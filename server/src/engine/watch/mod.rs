//! What is told: single answers, lists, and streams of events and targets. Nothing here changes anything.
//!
//! It must not know how an operation runs.

pub(crate) mod query;
pub(crate) mod stream;
pub(crate) mod targets;
