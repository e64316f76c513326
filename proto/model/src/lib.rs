//! The nouns and rules of resetd: what a target, a plan, an operation and a report are, and every decision about them.
//!
//! Pure: no clock, no environment, no network, no database. Everything comes in as a value and goes out as a value.

pub mod audit;
pub mod authorization;
pub mod blast;
pub mod chain;
pub mod duration;
pub mod event;
pub mod fault;
pub mod finding;
pub mod flag_roles;
pub mod guard;
pub mod history;
pub mod lock;
pub mod matrix;
pub mod operation;
pub mod plan;
pub mod profile;
pub mod report;
pub mod revision;
pub mod secret;
pub mod sql;
pub mod target;
#[cfg(test)]
mod testing;
pub mod token;
pub mod validation;
pub mod window;

/// Bytes as lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
