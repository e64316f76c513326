//! The words of the verbs that create an operation, and of how one is followed.

use std::{path::PathBuf, time::Duration};

use super::tool::ToolArgs;
use clap::ValueEnum;
use model::{duration::parse_duration, profile::Scope};

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
    /// With --dry-run: 13 where the real run would change something, 0 where not, and the reason's own code where it would be
    /// refused.
    #[arg(long, requires = "dry_run")]
    pub detailed_exitcode: bool,
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
    pub tool: ToolArgs,
    /// Which chains.
    #[command(flatten)]
    pub chains: ChainArgs,
    /// Common to the four verbs.
    #[command(flatten)]
    pub common: OperationArgs,
}

/// `undo`.
#[derive(clap::Args, Debug)]
pub struct UndoArgs {
    /// The operation to undo: its id, the beginning of it, or @last; without it, the target's last one that can be undone.
    #[arg(value_name = "ID")]
    pub operation: Option<String>,
    /// Show what would come back; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: 13 where something would come back, and the reason's own code where it would be refused.
    #[arg(long, requires = "dry_run")]
    pub detailed_exitcode: bool,
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
    /// With --dry-run: 13 where something is pending, 0 where not, and the reason's own code where it would be refused.
    #[arg(long, requires = "dry_run")]
    pub detailed_exitcode: bool,
    /// Go revision by revision where one transaction cannot hold them; a failure then keeps what came before it.
    #[arg(long)]
    pub allow_phased: bool,
    /// Execute exactly the plan with this digest (from --dry-run), or nothing.
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub plan_digest: Option<String>,
    /// Which chains.
    #[command(flatten)]
    pub chains: ChainArgs,
    /// Common to the four verbs.
    #[command(flatten)]
    pub common: OperationArgs,
}

/// `validate`.
#[derive(clap::Args, Debug)]
pub struct ValidateArgs {
    /// Which chains.
    #[command(flatten)]
    pub chains: ChainArgs,
    /// Common to the four verbs.
    #[command(flatten)]
    pub common: OperationArgs,
}

/// What all verbs that create an operation have in common.
#[derive(clap::Args, Debug)]
pub struct OperationArgs {
    /// Queue for the target when it is locked: as long as it takes, or at most DURATION (--wait=90s, --wait=1h30m).
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = parse_duration)]
    pub wait: Option<Option<Duration>>,
    /// Cancel and roll the operation back when it has run this long.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Return when the operation is accepted; print its id.
    #[arg(long, conflicts_with_all = ["report_path", "format", "on_interrupt"])]
    pub detach: bool,
    /// Keep this in operation and report (repeatable).
    #[arg(long, value_name = "K=V")]
    pub label: Vec<String>,
    /// How it is followed.
    #[command(flatten)]
    pub follow: FollowArgs,
}

/// Which chains are replayed or compared.
#[derive(clap::Args, Debug)]
pub struct ChainArgs {
    /// Refuse unless the daemon's chains are those in DIR, or have this fingerprint (sha256:…).
    #[arg(long, value_name = "DIR|FINGERPRINT")]
    pub expect_chains: Option<String>,
    /// Use the chains in DIR instead of the daemon's: DIR/CHAIN/*.sql.
    #[arg(long, value_name = "DIR")]
    pub chains: Option<PathBuf>,
}

/// How an operation is followed.
#[derive(clap::Args, Debug)]
pub struct FollowArgs {
    /// Where the report goes (parents are created; `-` is stdout); default: a new file in ~/.local/state/resetctl/reports
    /// ($XDG_STATE_HOME/resetctl/reports); `resetctl report list` shows what is there.
    #[arg(long, value_name = "PATH")]
    pub report_path: Option<PathBuf>,
    /// How progress is shown, on stderr.
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub progress: ProgressMode,
    /// Print the result on stdout, for a dashboard (JUnit XML) or for GitHub Actions (annotations, and a summary in the file
    /// that GITHUB_STEP_SUMMARY names).
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<ResultFormat>,
    /// What Ctrl-C and SIGTERM do: leave the operation to the daemon, or have it cancelled and wait for its end (a second one
    /// leaves); default: ask on a terminal, else detach.
    #[arg(long, value_name = "WHAT")]
    pub on_interrupt: Option<OnInterrupt>,
    /// How long to try to re-attach when contact is lost.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub reconnect_timeout: Duration,
}

/// The form of a result, for those who show many.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ResultFormat {
    /// JUnit XML.
    Junit,
    /// Workflow commands and a step summary.
    Github,
}

/// What an interrupt does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum OnInterrupt {
    /// The client goes, the operation goes on.
    Detach,
    /// The operation is cancelled, and the client sees its end.
    Cancel,
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

impl ResetArgs {
    /// What is replaced: the managed schemas when nothing was said.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope.as_deref().and_then(|s| s.parse().ok()).unwrap_or(Scope::ManagedSchemas)
    }
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

pub(super) const RESET_EXAMPLES: &str = "\
Examples:
  resetctl reset --dry-run
  resetctl --target staging reset --confirm-destructive-reset RESET
  resetctl reset --managed-schema general --plan-digest sha256:… --confirm-destructive-reset RESET
Exit codes: see `resetctl --help`.";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  resetctl run --dry-run
  resetctl --target staging run --confirm-destructive-reset RESET --report-path reports/run.json --label commit=1a2b3c
  resetctl run --wait=10m --timeout 5m --confirm-destructive-reset RESET
Exit codes: see `resetctl --help`.";

pub(super) const UNDO_EXAMPLES: &str = "\
Examples:
  resetctl --target staging undo --dry-run
  resetctl --target staging undo --terminate-sessions --confirm-destructive-reset RESET
Exit codes: see `resetctl --help`.";

pub(super) const MIGRATE_EXAMPLES: &str = "\
Examples:
  resetctl migrate --dry-run
  resetctl --target staging migrate --expect-chains ./migrations
Exit codes: see `resetctl --help`.";

pub(super) const VALIDATE_EXAMPLES: &str = "\
Examples:
  resetctl validate
  resetctl --target staging validate --report-path - --progress quiet | jq .details.validation.missing
Exit codes: 0 nothing is missing, 7 differences; the others: `resetctl --help`.";
