//! The suite: resetd on a real PostgreSQL, from the command line to the catalog.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chains;
mod guards;
mod migrate;
mod plan;
mod plan_preflight;
mod plan_walk;
mod plan_world;
mod reset;
mod runbook;
mod validate;
