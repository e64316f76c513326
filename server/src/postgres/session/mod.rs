//! One session: how it is opened, watched, interrupted and ended.
//!
//! It must not know operations, targets or what runs in the session.

pub(crate) mod advisory;
pub(crate) mod backend;
pub(crate) mod connect;
pub(crate) mod failpoint;
pub(crate) mod identity;
pub(crate) mod interrupt;
pub(crate) mod liveness;
pub(crate) mod relay;
