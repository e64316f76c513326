//! The words of `target …`.

use clap::{Subcommand, ValueEnum};

/// What admins do with a target.
#[derive(Debug, Subcommand)]
pub enum TargetVerb {
    /// Record a target's identity (cluster and database), once, as an admin.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Examples:\n  resetctl target enroll staging\n  \
                                 resetctl target enroll staging --confirm-database butlers_staging")]
    Enroll {
        /// The target's name.
        name: String,
        /// The database's name; on a terminal it is asked for.
        #[arg(long, value_name = "DATABASE")]
        confirm_database: Option<String>,
    },
    /// Break the lock of an operation that holds a target: its sessions are ended and it is rolled back.
    ///
    /// Without --operation it ends whoever holds the target and is no operation of resetd's.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl target unlock staging --operation 0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f --reason 'hangs since noon'\n  resetctl target unlock staging --reason 'a session of nobody holds it'"
    )]
    Unlock {
        /// The target's name.
        name: String,
        /// The operation that holds it (`resetctl status` shows it); any other one is left alone.
        #[arg(long, value_name = "ID")]
        operation: Option<String>,
        /// Why: whoever is interrupted reads it, and it goes on the audit record.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum WaitFor {
    /// Nobody works on it, waits for it, or has it reserved but you.
    Free,
    /// It matches its matrix.
    Valid,
    /// Your own window is active.
    Window,
}

impl WaitFor {
    /// The state in words.
    #[must_use]
    pub fn reached(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Valid => "valid",
            Self::Window => "your window is active",
        }
    }
}
