//! What admins say: tokens and the audit record.

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use model::duration::parse_duration;

use super::list::ListArgs;

/// `token …`
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a bearer token; its text is shown this once.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl token create deploy --for 30d --output deploy.token\n  \
                                 resetctl token create deploy > deploy.token"
    )]
    Create {
        /// The principal will be token:NAME; a name has two valid tokens at most.
        name: String,
        /// How long it is good for (30d, 12h); at most 365d.
        #[arg(long = "for", value_name = "DURATION", default_value = "90d", value_parser = parse_duration)]
        lifetime: Duration,
        /// Write the token to this file, which only its owner may read, instead of stdout.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// List the tokens, never their secrets.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl token list\n  resetctl token list --json | jq -r '.[] | select(.state == \"valid\").id'"
    )]
    List(ListArgs),
    /// Make a token useless, for every daemon at once.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Example:\n  resetctl token revoke 7YqZ2mKc0aB")]
    Revoke {
        /// Its public id: what stands between the first two underscores of its text.
        id: String,
    },
}

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// List decisions, newest first.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Examples:\n  resetctl audit list --limit 100\n  \
                                 resetctl audit list --json | jq '.[] | select(.allowed | not)'")]
    List {
        /// At most this many.
        #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// How the list is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Find any record that was changed, removed, moved or put in; print the end of the record, to be expected next time.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Examples:\n  resetctl audit verify\n  \
                                 resetctl audit verify --expect \"$(cat audit.head)\" > audit.head.new")]
    Verify {
        /// The end that an earlier verification printed, SEQUENCE:HASH: that record must still be there.
        #[arg(long, value_name = "SEQUENCE:HASH")]
        expect: Option<String>,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
}
