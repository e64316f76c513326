//! Everything that speaks SQL: sessions, the lock, the journal, the catalog, the work in a target.
//!
//! It must not know gRPC, and it decides nothing: what to do comes from the engine and the model.

pub(crate) mod asked_end;
pub(crate) mod audit;
pub(crate) mod barrier;
mod blockers;
pub(crate) mod catalog;
pub(crate) mod cleaning;
mod connect;
pub(crate) mod contact;
pub(crate) mod control;
pub(crate) mod databases;
mod error;
pub(crate) mod extensions;
mod furniture;
mod hanging;
pub(crate) mod hold;
mod ident;
pub(crate) mod instances;
pub(crate) mod interrupt;
pub(crate) mod journal;
pub(crate) mod kept;
pub(crate) mod lock;
pub(crate) mod operations;
pub(crate) mod orphans;
pub(crate) mod plans;
pub(crate) mod preflight;
pub(crate) mod preserved;
pub(crate) mod probe;
#[cfg(feature = "test-hooks")]
pub mod race;
pub(crate) mod replay;
pub(crate) mod reset;
pub(crate) mod right;
pub(crate) mod sessions;
mod settings;
pub(crate) mod swap;
pub(crate) mod targets;
mod time;
pub(crate) mod tokens;
pub(crate) mod turn;
mod waiters;
pub(crate) mod wakeup;
mod walk;
pub(crate) mod windows;
pub(crate) mod work;

/// A session of the daemon, as the engine hands it on without looking inside.
pub(crate) type Connection = sqlx::PgConnection;

/// Sends one statement of the daemon's own, taken back and tried again while others hold locks it needs.
///
/// # Errors
/// `BLOCKED`, an interrupt, or what PostgreSQL said.
async fn patient(work: &mut work::Work, label: &str, sql: &str) -> Result<(), model::fault::Fault> {
    work.patiently(label, &[sql], &|_, failed| error::work_fault(label, &failed.error)).await?;
    work.keep_step().await
}
