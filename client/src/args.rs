//! What was said on the command line, word by word. What it means is `intent.rs`'s business.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use model::{duration::parse_duration, profile::Scope};

use crate::exit;

mod admin;
mod advice;
mod kept;
mod list;
mod target;
pub mod tool;
mod window;

pub use admin::{AuditVerb, TokenVerb};
pub(crate) use advice::with_advice;
pub use kept::KeptVerb;
pub use list::ListArgs;
pub use target::TargetVerb;
pub use window::WindowVerb;

/// The remote client of resetd: resets, migrates and validates shared PostgreSQL databases through their daemon.
#[derive(Debug, Parser)]
#[command(name = "resetctl", version, after_long_help = exit::HELP, max_term_width = 110)]
pub struct Args {
    /// Where the daemon listens (RESETCTL_SERVER); default: the context's, else the local socket.
    ///
    /// unix:PATH is a socket, https://HOST:PORT is TLS, http://HOST:PORT is plaintext (loopback only). HOST:PORT alone is TLS,
    /// except on a loopback host where no --ca, --cert, --key or token is given: there it is plaintext.
    #[arg(long, global = true, value_name = "ADDR", value_parser = NonEmptyStringValueParser::new())]
    pub server: Option<String>,
    /// How it is trusted, and how you prove who you are.
    #[command(flatten)]
    pub auth: AuthArgs,
    /// The target (RESETCTL_TARGET); may be left out where the daemon has one.
    #[arg(long, global = true, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub target: Option<String>,
    /// A named context of the configuration file (~/.config/resetctl/config.toml): its settings count before the environment's.
    ///
    /// For each setting a flag goes first, then the context named here, then the variable (RESETCTL_SERVER, RESETCTL_TARGET,
    /// RESETCTL_CA, RESETCTL_CERT, RESETCTL_KEY, RESETCTL_TOKEN_FILE, RESETCTL_TOKEN), then the file's default context.
    #[arg(long, global = true, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub context: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// How the daemon is trusted, and how the caller proves who they are. A token is never a flag: everybody on the machine can read
/// flags.
#[derive(clap::Args, Clone, Debug)]
pub struct AuthArgs {
    /// The CA of the daemon's certificate (PEM; RESETCTL_CA), in place of the public ones.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Your client certificate (PEM; RESETCTL_CERT); with --key.
    #[arg(long, global = true, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The private key of --cert (PEM; RESETCTL_KEY).
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// A file with your bearer token (RESETCTL_TOKEN_FILE), which nobody else may read (mode 0600); or the token itself in
    /// RESETCTL_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Drop and recreate the managed schemas (or the whole database).
    #[command(after_long_help = RESET_EXAMPLES)]
    Reset(ResetArgs),
    /// Reset, migrate and validate as one: it happens completely and proven valid, or nothing changes.
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(ResetArgs),
    /// Bring back what the last reset or run took away: the schemas, or the whole database.
    #[command(after_long_help = UNDO_EXAMPLES)]
    Undo(UndoArgs),
    /// Apply the pending revisions of every chain; creates missing managed schemas.
    #[command(after_long_help = MIGRATE_EXAMPLES)]
    Migrate(MigrateArgs),
    /// Compare the target with its matrix, read-only.
    #[command(after_long_help = VALIDATE_EXAMPLES)]
    Validate(ValidateArgs),
    /// Show, follow and cancel operations.
    #[command(subcommand)]
    Operations(OperationsVerb),
    /// Read reports.
    #[command(subcommand)]
    Report(ReportVerb),
    /// Who answers, and what is going on with the targets now.
    #[command(
        after_long_help = "Examples:\n  resetctl status\n  resetctl status --watch\n  resetctl --target staging status --json"
    )]
    Status {
        /// Follow the targets until you interrupt it.
        #[arg(long)]
        watch: bool,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Reserve a target, and see who has reserved it.
    #[command(subcommand)]
    Window(WindowVerb),
    /// List the targets that you may see.
    #[command(
        after_long_help = "Examples:\n  resetctl targets\n  resetctl targets --json | jq -r '.[].name'"
    )]
    Targets(ListArgs),
    /// What admins do with a target: enroll it, break its lock.
    #[command(subcommand)]
    Target(TargetVerb),
    /// What undo can bring back: list it, or give it up.
    #[command(subcommand)]
    Kept(KeptVerb),
    /// Make, list and revoke bearer tokens, as an admin.
    #[command(subcommand)]
    Token(TokenVerb),
    /// Read and verify the record of every decision, as an admin.
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Say what a fault code means and what to do about it; without a code, list them all.
    #[command(after_long_help = "Examples:\n  resetctl explain TARGET_LOCKED\n  resetctl explain")]
    Explain {
        /// The code, for example REVISION_FAILED.
        code: Option<String>,
    },
    /// Print the completion script of a shell.
    #[command(after_long_help = "Example:\n  resetctl completions bash > /etc/bash_completion.d/resetctl")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// `reset` and `run`.
#[derive(clap::Args, Debug)]
pub struct ResetArgs {
    /// What is replaced; default: managed-schemas.
    #[arg(long, value_name = "SCOPE", value_parser = ["managed-schemas", "database"])]
    pub scope: Option<String>,
    /// Reset this managed schema only (repeatable); migrate and validate still cover the whole matrix.
    #[arg(long, value_name = "NAME")]
    pub managed_schema: Vec<String>,
    /// Show exactly what would be done and lost; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Must be RESET. On a terminal you are asked when it is missing.
    #[arg(long, value_name = "RESET")]
    pub confirm_destructive_reset: Option<String>,
    /// Let a database through whose name contains `prod`.
    #[arg(long)]
    pub allow_production_db_name: bool,
    /// Execute exactly the plan with this digest (from --dry-run), outside objects included, or nothing.
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub plan_digest: Option<String>,
    /// Schemas migrated at the same time (scope database); 0 and 1: one after the other.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub jobs: u32,
    /// Terminate sessions in the way (scope database).
    #[arg(long)]
    pub terminate_sessions: bool,
    /// A migration tool.
    #[command(flatten)]
    pub tool: tool::ToolArgs,
    /// Common to the four verbs.
    #[command(flatten)]
    pub common: OperationArgs,
}

/// `undo`.
#[derive(clap::Args, Debug)]
pub struct UndoArgs {
    /// The operation to undo; without it, the target's last one that can be undone.
    pub operation: Option<uuid::Uuid>,
    /// Show what would come back; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Must be RESET. On a terminal you are asked when it is missing.
    #[arg(long, value_name = "RESET")]
    pub confirm_destructive_reset: Option<String>,
    /// Let a database through whose name contains `prod`.
    #[arg(long)]
    pub allow_production_db_name: bool,
    /// Execute exactly the plan with this digest (from --dry-run), or nothing.
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub plan_digest: Option<String>,
    /// Terminate sessions in the way.
    #[arg(long)]
    pub terminate_sessions: bool,
    /// Common to all of them.
    #[command(flatten)]
    pub common: OperationArgs,
}

/// `migrate`.
#[derive(clap::Args, Debug)]
pub struct MigrateArgs {
    /// Show what is pending; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Go revision by revision where one transaction cannot hold them; a failure then keeps what came before it.
    #[arg(long)]
    pub allow_phased: bool,
    /// Execute exactly the plan with this digest (from --dry-run), or nothing.
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub plan_digest: Option<String>,
    /// Common to the four verbs.
    #[command(flatten)]
    pub common: OperationArgs,
}

/// `validate`.
#[derive(clap::Args, Debug)]
pub struct ValidateArgs {
    /// Common to the four verbs.
    #[command(flatten)]
    pub common: OperationArgs,
}

/// What all verbs that create an operation have in common.
#[derive(clap::Args, Debug)]
pub struct OperationArgs {
    /// Queue for the target when it is locked: as long as it takes, or at most DURATION (90s, 10m, 1h30m).
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = parse_duration)]
    pub wait: Option<Option<Duration>>,
    /// Cancel and roll the operation back when it has run this long.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Return when the operation is accepted; print its id.
    #[arg(long, conflicts_with = "report_path")]
    pub detach: bool,
    /// Keep this in operation and report (repeatable).
    #[arg(long, value_name = "K=V")]
    pub label: Vec<String>,
    /// Refuse unless the daemon's chains are those in DIR, or have this fingerprint (sha256:…).
    #[arg(long, value_name = "DIR|FINGERPRINT")]
    pub expect_chains: Option<String>,
    /// Use the chains in DIR instead of the daemon's: DIR/CHAIN/*.sql.
    #[arg(long, value_name = "DIR")]
    pub chains: Option<PathBuf>,
    /// How it is followed.
    #[command(flatten)]
    pub follow: FollowArgs,
}

/// How an operation is followed.
#[derive(clap::Args, Debug)]
pub struct FollowArgs {
    /// Where the report goes (parents are created; `-` is stdout); default: a new file in .tmp/resetd/reports/.
    #[arg(long, value_name = "PATH")]
    pub report_path: Option<PathBuf>,
    /// How progress is shown, on stderr.
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub progress: ProgressMode,
    /// How long to try to re-attach when contact is lost.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub reconnect_timeout: Duration,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ProgressMode {
    /// tty where stderr is a terminal, else plain.
    Auto,
    /// Milestones and a moving bar.
    Tty,
    /// One line per event, with the time in UTC.
    Plain,
    /// One JSON document per event and line.
    Json,
    /// Errors only.
    Quiet,
}

/// `operations …`
#[derive(Debug, Subcommand)]
pub enum OperationsVerb {
    /// List operations, newest first.
    #[command(
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
    #[command(after_long_help = "Example:\n  resetctl operations show 0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f")]
    Show {
        /// The operation's id.
        id: String,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Attach to an operation, from its first event: it ends with the operation's exit code and report.
    #[command(
        after_long_help = "Examples:\n  resetctl operations watch\n  resetctl operations watch 0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f --report-path report.json"
    )]
    Watch {
        /// The operation's id; without it, the last one of the target, or of all.
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
        after_long_help = "Example:\n  resetctl operations cancel 0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f --reason 'wrong target'"
    )]
    Cancel {
        /// The operation's id.
        id: String,
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
        after_long_help = "Examples:\n  resetctl report get ID | jq .status\n  resetctl report get ID --report-path report.json"
    )]
    Get {
        /// The operation's id.
        id: String,
        /// Where the report goes (parents are created; `-` is stdout); default: stdout.
        #[arg(long, value_name = "PATH")]
        report_path: Option<PathBuf>,
    },
}

/// A plan's digest: one that is none is told here, not as a plan that has changed.
fn digest(text: &str) -> Result<String, String> {
    match model::is_sha256(text) {
        true => Ok(text.to_owned()),
        false => {
            Err("a digest is `sha256:` and 64 lower-case hex digits, as `--dry-run` prints it".to_owned())
        }
    }
}

impl ResetArgs {
    /// What is replaced: the managed schemas when nothing was said.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope.as_deref().and_then(|s| s.parse().ok()).unwrap_or(Scope::ManagedSchemas)
    }
}

const RESET_EXAMPLES: &str = "\
Examples:
  resetctl reset --dry-run
  resetctl --target staging reset --confirm-destructive-reset RESET
  resetctl reset --managed-schema general --plan-digest sha256:… --confirm-destructive-reset RESET
Exit codes: see `resetctl --help`.";

const RUN_EXAMPLES: &str = "\
Examples:
  resetctl run --dry-run
  resetctl --target staging run --confirm-destructive-reset RESET --report-path reports/run.json --label commit=1a2b3c
  resetctl run --wait=10m --timeout 5m --confirm-destructive-reset RESET
Exit codes: see `resetctl --help`.";

const UNDO_EXAMPLES: &str = "\
Examples:
  resetctl --target staging undo --dry-run
  resetctl --target staging undo --terminate-sessions --confirm-destructive-reset RESET
Exit codes: see `resetctl --help`.";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  resetctl migrate --dry-run
  resetctl --target staging migrate --expect-chains ./migrations
Exit codes: see `resetctl --help`.";

const VALIDATE_EXAMPLES: &str = "\
Examples:
  resetctl validate
  resetctl --target staging validate --report-path - --progress quiet | jq .details.validation.missing
Exit codes: 0 nothing is missing, 7 differences; the others: `resetctl --help`.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_holds_and_every_verb_has_examples() {
        let mut command = super::Args::command();
        command.build();
        fn check(command: &clap::Command) {
            let leaf = command.get_subcommands().next().is_none();
            if leaf && command.get_name() != "help" {
                let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.starts_with("Example"), "{}", command.get_name());
            }
            command.get_subcommands().filter(|c| c.get_name() != "help").for_each(check);
        }
        check(&command);
        command.debug_assert();
    }
}
