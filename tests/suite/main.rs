//! The suite: resetd on a real PostgreSQL, from the command line to the catalog.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alembic;
mod chains;
mod cli;
mod crash;
mod crash_race;
mod database;
mod database_crash;
mod database_sessions;
mod database_undo;
mod faults;
mod forced;
mod guards;
mod migrate;
mod operations;
mod plan;
mod plan_preflight;
mod plan_walk;
mod plan_world;
mod pooler;
mod reset;
mod runbook;
mod status_watch;
mod stream;
mod tidy;
mod validate;
mod waiting;
mod window_edges;
mod windows;
