//! The words of `migrations …`.

use clap::Subcommand;

use super::list::ListArgs;

/// `migrations …`
#[derive(Debug, Subcommand)]
pub enum MigrationsVerb {
    /// What is applied, pending, edited or unknown in each schema: the target is looked at, and nothing is changed.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl migrations status\n  resetctl migrations status --json | jq '.[] | select(.state != \"up-to-date\")'"
    )]
    Status {
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// List the revisions of every chain that the daemon has.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Examples:\n  resetctl migrations list\n  resetctl migrations list --json")]
    List {
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
}
