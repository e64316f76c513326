//! Targets: a database that the daemon may touch, with what is known of it now.
//!
//! It must not know how any of it is looked up.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{lock::Holder, operation::Operation, window::Window};

/// A target with what is known of it now.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its database.
    pub database: String,
    /// Its profile.
    pub profile: String,
    /// Its matrix.
    pub matrix: String,
    /// The schemas that a reset replaces.
    pub managed_schemas: Vec<String>,
    /// The profile refuses every change.
    pub protected: bool,
    /// The database is the one that was enrolled.
    pub enrolled: bool,
    /// Who holds its lock.
    pub holder: Option<Holder>,
    /// The operations that wait for it, in order.
    pub queue: Vec<Operation>,
    /// The active window.
    pub window: Option<Window>,
    /// The windows that begin next.
    pub next_windows: Vec<Window>,
    /// The operation that ended last.
    pub last: Option<Operation>,
    /// The previous databases that an undo can bring back, newest first.
    pub kept: Vec<KeptDatabase>,
    /// What an admin should know, each in words.
    pub warnings: Vec<String>,
    /// What operations set aside in the target, newest first.
    pub kept_schemas: Vec<KeptSchemas>,
}

/// Schemas that one operation set aside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptSchemas {
    /// The operation.
    pub operation: Uuid,
    /// The names under which they are kept.
    pub names: Vec<String>,
    /// When they are dropped.
    pub until: Timestamp,
    /// Why they are not, though they have had their time, or are not looked after any more; `None`: an undo can bring them
    /// back.
    pub left_because: Option<String>,
}

/// A previous database that an undo can bring back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptDatabase {
    /// Its generated name.
    pub name: String,
    /// The operation that set it aside.
    pub operation: Uuid,
    /// When it is dropped.
    pub until: Timestamp,
}
