//! The suite: resetd on a real PostgreSQL, from the command line to the catalog.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alembic;
mod audit;
mod audit_tamper;
mod chains;
mod cli;
mod contact;
mod crash;
mod crash_race;
mod database;
mod database_crash;
mod database_room;
mod database_sessions;
mod database_undo;
mod faults;
mod guards;
mod migrate;
mod newer;
mod operations;
mod phased;
mod plan;
mod plan_preflight;
mod plan_walk;
mod plan_world;
mod pooler;
mod reset;
mod runbook;
mod secrets;
mod security;
mod stream;
mod takeover;
mod tidy;
mod token;
mod validate;
