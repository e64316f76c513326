//! The words of `context …`.

use clap::Subcommand;

use super::list::ListArgs;

/// `context …`
#[derive(Debug, Subcommand)]
pub enum ContextVerb {
    /// Keep the --server, --target and credentials of this line under a name.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl --server unix:/run/resetd/resetd.sock --target staging context add lab --use\n  \
                           resetctl --server https://resetd.example.org:7443 --token-file ~/.config/resetctl/token context add ci"
    )]
    Add {
        /// The name.
        name: String,
        /// It is the default from now on.
        #[arg(long = "use")]
        make_default: bool,
        /// Put it in the place of the one that has the name.
        #[arg(long)]
        replace: bool,
    },
    /// Make one the default: it counts where no flag, no --context and no variable says something else.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Examples:\n  resetctl context use lab\n  resetctl context use --none")]
    Use {
        /// The name.
        #[arg(required_unless_present = "none")]
        name: Option<String>,
        /// There is no default any more.
        #[arg(long, conflicts_with = "name")]
        none: bool,
    },
    /// List them all.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Examples:\n  resetctl context list\n  resetctl context list -o json")]
    List(ListArgs),
    /// Show one: the one that is named, else the one in use.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Examples:\n  resetctl context show\n  resetctl context show lab -o yaml")]
    Show {
        /// The name.
        name: Option<String>,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Take one out of the file.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Example:\n  resetctl context remove lab")]
    Remove {
        /// The name.
        name: String,
    },
}
