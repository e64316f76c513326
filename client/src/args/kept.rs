//! `kept`: what undo can bring back.

use clap::Subcommand;

use super::list::ListArgs;

/// `kept …`
#[derive(Debug, Subcommand)]
pub enum KeptVerb {
    /// List what is kept of each target, and until when.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl kept list\n  resetctl kept list --json | jq -r '.[].operation'"
    )]
    List(ListArgs),
    /// Give up what an operation set aside, before its time: it is dropped, and cannot be undone any more.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Example:\n  resetctl kept drop 01a20cf4-27f5-7347-bb47-c560f90137f5")]
    Drop {
        /// The operation.
        operation: String,
    },
}
