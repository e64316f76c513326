//! The suite: resetd on a real PostgreSQL, from the command line to the catalog.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chains;
mod crash;
mod guards;
mod migrate;
mod reset;
mod runbook;
mod validate;
