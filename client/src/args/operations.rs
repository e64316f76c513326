//! The words of `operations …` and `report …`.

use std::path::PathBuf;

use clap::Subcommand;

use super::{list::ListArgs, operate::FollowArgs};

/// `operations …`
#[derive(Debug, Subcommand)]
pub enum OperationsVerb {
    /// List operations, newest first.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl operations list\n  resetctl --target staging operations list --active --json"
    )]
    List {
        /// Only those that have not ended.
        #[arg(long)]
        active: bool,
        /// At most this many.
        #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// How the list is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show one operation.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl operations show @last\n  resetctl operations show 0197c9d2-7f3a"
    )]
    Show {
        /// The operation's id, the beginning of it, or @last.
        id: String,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Attach to an operation, from its first event: it ends with the operation's exit code and report.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl operations watch\n  resetctl operations watch 0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f --report-path report.json"
    )]
    Watch {
        /// The operation's id, or the beginning of it; without it (or as @last), the last one of the target, or of all.
        id: Option<String>,
        /// The first event wanted.
        #[arg(long, value_name = "SEQUENCE", default_value = "1")]
        from: u64,
        /// How it is followed.
        #[command(flatten)]
        follow: FollowArgs,
    },
    /// Ask an operation to end; it is rolled back.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl operations cancel --reason 'wrong target'\n  resetctl operations cancel 0197c9d2-7f3a"
    )]
    Cancel {
        /// The operation's id, the beginning of it, or @last; without it, the one that is active.
        id: Option<String>,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

/// `report …`
#[derive(Debug, Subcommand)]
pub enum ReportVerb {
    /// Print the report of an ended operation: the same bytes as the file on disk.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl report get @last | jq .status\n  resetctl report get 0197c9d2-7f3a --report-path report.json"
    )]
    Get {
        /// The operation's id, the beginning of it, or @last.
        id: String,
        /// Where the report goes (parents are created; `-` is stdout); default: stdout.
        #[arg(long, value_name = "PATH")]
        report_path: Option<PathBuf>,
    },
    /// List the reports that this client has kept where nobody said where they go, newest first.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl report list\n  resetctl report list --json | jq -r '.[0].path'"
    )]
    List {
        /// At most this many.
        #[arg(long, value_name = "N", default_value = "20")]
        limit: usize,
        /// How the list is printed.
        #[command(flatten)]
        list: ListArgs,
    },
}
