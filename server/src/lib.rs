//! The daemon beside a PostgreSQL cluster that owns the reset, migration and validation of shared databases.
//!
//! One way only: `grpc` → `engine` → `postgres`. The engine never sees the wire or the driver; only `postgres` writes
//! SQL; only `config` reads the environment.

pub mod audit_lines;
mod chains;
pub mod check;
pub mod config;
pub mod daemon;
pub mod embedded;
mod engine;
mod grpc;
pub mod host;
mod ledger;
pub mod log;
mod notify;
mod postgres;
pub mod setup;

#[cfg(feature = "test-hooks")]
pub use postgres::change::race;

/// This version of the daemon.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
