//! The crash matrix: a fault strikes a daemon exactly at an event of an operation, and everything that was promised is
//! looked at afterwards.
//!
//! A [`Site`] is a PostgreSQL server that logs every statement. A [`Lane`] on it is one target with two daemons: the first
//! one is struck, the second one lives on. A [`Cell`] is one operation, one point of its life and one fault.
//!
//! The first daemon stops at the point (`server/src/postgres/session/failpoint.rs`), so a cell whose fault did not strike there is
//! noticed, and fails.

mod cell;
mod check;
mod fault;
mod lane;
mod matrix;
mod proxy;

pub use cell::Cell;
pub use check::Shape;
pub use fault::Fault;
pub use lane::{Lane, Site};
pub use matrix::{Outcome, Point, run, survey};
pub use proxy::{Mode, Proxy};

/// What is operated, from which state.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// `reset`, scope managed-schemas.
    Reset,
    /// `migrate`, one schema missing.
    Migrate,
    /// `validate`.
    Validate,
    /// `run`, scope managed-schemas.
    Run,
    /// `reset`, scope database.
    ResetDatabase,
    /// `run`, scope database.
    RunDatabase,
    /// `undo` of a reset of the whole database.
    Undo,
    /// `undo` of a reset of the managed schemas.
    UndoSchemas,
    /// `migrate --allow-phased`: as `migrate`, and each step stays.
    MigratePhased,
    /// `run --dry-run`.
    DryRun,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Reset,
        Self::Migrate,
        Self::Validate,
        Self::Run,
        Self::ResetDatabase,
        Self::RunDatabase,
        Self::Undo,
        Self::UndoSchemas,
        Self::MigratePhased,
        Self::DryRun,
    ];

    /// The client's words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Reset => "reset --confirm-destructive-reset RESET",
            Self::Migrate => "migrate",
            Self::Validate => "validate",
            Self::Run => "run --confirm-destructive-reset RESET",
            Self::ResetDatabase => "reset --scope database --confirm-destructive-reset RESET",
            Self::RunDatabase => "run --scope database --jobs 1 --confirm-destructive-reset RESET",
            Self::Undo | Self::UndoSchemas => "undo --confirm-destructive-reset RESET",
            Self::MigratePhased => "migrate --allow-phased",
            Self::DryRun => "run --dry-run",
        }
    }

    /// A name for tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset managed-schemas",
            Self::Migrate => "migrate",
            Self::Validate => "validate",
            Self::Run => "run managed-schemas",
            Self::ResetDatabase => "reset database",
            Self::RunDatabase => "run database",
            Self::Undo => "undo",
            Self::UndoSchemas => "undo managed-schemas",
            Self::MigratePhased => "migrate phased",
            Self::DryRun => "dry run",
        }
    }

    /// It changes nothing, and shares the target.
    #[must_use]
    pub fn reads_only(self) -> bool {
        matches!(self, Self::Validate | Self::DryRun)
    }
}
