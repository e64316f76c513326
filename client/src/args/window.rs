//! The words of `window …`.

use std::time::Duration;

use clap::Subcommand;
use model::duration::parse_duration;

use super::list::ListArgs;

/// `window …`
#[derive(Debug, Subcommand)]
pub enum WindowVerb {
    /// Reserve the target: while your window lasts nobody else may change it.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = RESERVE_EXAMPLES)]
    Reserve {
        /// How long (90s, 45m, 1h30m).
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
        length: Duration,
        /// When it begins: +10m, 14:00, 2026-03-29 14:00 or RFC 3339; default: now.
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        start: Option<String>,
        /// Why; others will read it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// List windows by start: those that last or are to come.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl window list\n  resetctl --target staging window list --all --json"
    )]
    List {
        /// Ended and released ones too.
        #[arg(long)]
        all: bool,
        /// How the list is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show one window.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Example:\n  resetctl window show 0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f")]
    Show {
        /// The window's id, the beginning of it, or @last.
        id: String,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Move the end of your window.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl window extend --for 30m\n  resetctl window extend --until 17:30"
    )]
    Extend {
        /// The window's id, the beginning of it, or @last; default: your active one.
        id: Option<String>,
        /// So much longer.
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration,
            conflicts_with = "until", required_unless_present = "until")]
        longer: Option<Duration>,
        /// Its new end: 17:30, 2026-03-29 17:30 or RFC 3339.
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        until: Option<String>,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// End your window now; somebody else's as an admin, with a reason.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = RELEASE_EXAMPLES)]
    Release {
        /// The window's id, the beginning of it, or @last; default: your active one.
        id: Option<String>,
        /// Release somebody else's window: a change of theirs that runs in it is ended and rolled back.
        #[arg(long, requires = "id", requires = "reason")]
        force: bool,
        /// Why; with --force its holder reads it, and it goes on the audit record.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
}

const RESERVE_EXAMPLES: &str = "\
Examples:
  resetctl --target staging window reserve --for 45m --reason 'rehearsal of release 12'
  resetctl --target staging window reserve --for 1h30m --start 14:00 --reason demo
  resetctl window reserve --for 20m --start +10m --reason 'schema work'
A time of day is the next time your clock shows it.";

const RELEASE_EXAMPLES: &str = "\
Examples:
  resetctl window release
  resetctl window release 0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f --force --reason 'its owner is on holiday'";
