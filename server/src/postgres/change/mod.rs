//! The transaction that changes a target: reset, replay, restored properties, commit.
//!
//! It must not know databases that are built aside or swapped.

pub(crate) mod blockers;
pub(crate) mod context;
pub(crate) mod control_schema;
pub(in crate::postgres) mod deferred;
pub(crate) mod discard;
pub(crate) mod exchange_schemas;
mod lock_waits;
mod message;
pub(crate) mod noticed;
pub(crate) mod place_extensions;
#[cfg(feature = "test-hooks")]
pub mod race;
pub(crate) mod record_version;
pub(crate) mod replay;
pub(crate) mod reset;
pub(crate) mod restore_properties;
pub(crate) mod second_look;
pub(crate) mod set_aside;
mod step;
pub(crate) mod transaction;
pub(crate) mod two_roles;
