//! What admins and window owners do: windows, tokens, breaking a lock.
//!
//! It must not know how an operation runs.

pub(crate) mod force_unlock;
mod kept;
pub(crate) mod tokens;
pub(crate) mod windows;
