//! What was said on the command line, word by word. What it means is `intent.rs`'s business.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, builder::NonEmptyStringValueParser};

use model::duration::parse_duration;

use crate::{exit, render::ColorChoice};

mod admin;
mod advice;
mod context;
mod kept;
mod list;
mod migrations;
mod operate;
mod operations;
mod target;
pub mod tool;
mod window;

pub use admin::{AuditVerb, TokenVerb};
pub(crate) use advice::with_advice;
pub use context::ContextVerb;
pub use kept::KeptVerb;
pub use list::{DataFormat, ListArgs};
pub use migrations::MigrationsVerb;
pub use operate::{
    ChainArgs, FollowArgs, MigrateArgs, OnInterrupt, OperationArgs, ProgressMode, ResetArgs, ResultFormat,
    UndoArgs, ValidateArgs,
};
use operate::{MIGRATE_EXAMPLES, RESET_EXAMPLES, RUN_EXAMPLES, UNDO_EXAMPLES, VALIDATE_EXAMPLES};
pub use operations::{OperationsVerb, ReportVerb};
pub use target::{TargetVerb, WaitFor};
pub use window::WindowVerb;

/// Where the options that every verb takes stand in the help.
const GLOBAL: &str = "Global options";

/// The help of a verb: what it does, examples, then its flags.
const EXAMPLES_FIRST: &str = "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\n{all-args}";

/// The remote client of resetd: resets, migrates and validates shared PostgreSQL databases through their daemon.
#[derive(Debug, Parser)]
#[command(name = "resetctl", version, after_long_help = exit::HELP, max_term_width = 110)]
pub struct Args {
    /// Where the daemon listens (RESETCTL_SERVER); default: the context's, else the local socket.
    ///
    /// unix:PATH is a socket, https://HOST:PORT is TLS, http://HOST:PORT is plaintext (loopback only). HOST:PORT alone is TLS,
    /// except on a loopback host where no --ca, --cert, --key or token is given: there it is plaintext.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "ADDR", value_parser = NonEmptyStringValueParser::new())]
    pub server: Option<String>,
    /// How it is trusted, and how you prove who you are.
    #[command(flatten)]
    pub auth: AuthArgs,
    /// The target (RESETCTL_TARGET); may be left out where the daemon has one.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub target: Option<String>,
    /// A named context of the configuration file (~/.config/resetctl/config.toml): its settings count before the environment's.
    ///
    /// For each setting a flag goes first, then the context named here, then the variable (RESETCTL_SERVER, RESETCTL_TARGET,
    /// RESETCTL_CA, RESETCTL_CERT, RESETCTL_KEY, RESETCTL_TOKEN_FILE, RESETCTL_TOKEN), then the context that RESETCTL_CONTEXT
    /// names, or else the file's default one.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub context: Option<String>,
    /// Never ask: what is missing is a usage error.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub no_input: bool,
    /// Colours: on a terminal, always or never; NO_COLOR, CLICOLOR, CLICOLOR_FORCE and FORCE_COLOR are followed.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub color: ColorChoice,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// How the daemon is trusted, and how the caller proves who they are. A token is never a flag: everybody on the machine can read
/// flags.
#[derive(clap::Args, Clone, Debug)]
pub struct AuthArgs {
    /// The CA of the daemon's certificate (PEM; RESETCTL_CA), in place of the public ones.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Your client certificate (PEM; RESETCTL_CERT); with --key.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The private key of --cert (PEM; RESETCTL_KEY).
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// A file with your bearer token (RESETCTL_TOKEN_FILE), which nobody else may read (mode 0600); or the token itself in
    /// RESETCTL_TOKEN.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Drop and recreate the managed schemas (or the whole database).
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = RESET_EXAMPLES)]
    Reset(ResetArgs),
    /// Reset, migrate and validate, all or nothing: commits only if validation passes.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = RUN_EXAMPLES)]
    Run(ResetArgs),
    /// Bring back what the last reset or run took away: the schemas, or the whole database.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = UNDO_EXAMPLES)]
    Undo(UndoArgs),
    /// Apply the pending revisions of every chain; creates missing managed schemas.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = MIGRATE_EXAMPLES)]
    Migrate(MigrateArgs),
    /// Compare the target with its matrix, read-only.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = VALIDATE_EXAMPLES)]
    Validate(ValidateArgs),
    /// Names for daemons and targets, in a file of yours.
    #[command(subcommand)]
    Context(ContextVerb),
    /// Who you are to the daemon.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Examples:\n  resetctl whoami\n  resetctl whoami --json | jq -r .principal")]
    Whoami(ListArgs),
    /// Go from here to the daemon and its targets step by step, and say what to do about what is wrong.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Examples:\n  resetctl doctor\n  resetctl --context staging doctor -o json")]
    Doctor(ListArgs),
    /// What is applied in each schema, and what the daemon has to apply.
    #[command(subcommand)]
    Migrations(MigrationsVerb),
    /// Exit 0 only if the target is as the last valid run of these chains left it; changes nothing.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = GATE_EXAMPLES)]
    Gate {
        /// The chains of this checkout.
        #[arg(long, value_name = "DIR", default_value = "migrations")]
        chains: PathBuf,
        /// How it is printed.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Wait until a target is free or valid, or until your window is active.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl wait --for=free --timeout 10m\n  resetctl --target staging wait --for=valid"
    )]
    Wait {
        /// What is waited for.
        #[arg(long = "for", value_name = "STATE")]
        what: WaitFor,
        /// Give up after this long (exit code 9); default: never.
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        timeout: Option<Duration>,
    },
    /// Show, follow and cancel operations.
    #[command(subcommand)]
    Operations(OperationsVerb),
    /// Read reports.
    #[command(subcommand)]
    Report(ReportVerb),
    /// Who answers, and what is going on with the targets now.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
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
        help_template = crate::args::EXAMPLES_FIRST,
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
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Examples:\n  resetctl explain TARGET_LOCKED\n  resetctl explain")]
    Explain {
        /// The code, for example REVISION_FAILED.
        code: Option<String>,
    },
    /// Print the completion script of a shell; it completes targets, contexts, windows and operations as well.
    #[command(help_template = crate::args::EXAMPLES_FIRST, after_long_help = "Example:\n  resetctl completions bash > /etc/bash_completion.d/resetctl")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page of resetctl, or write the pages of all verbs to a folder.
    #[command(
        help_template = crate::args::EXAMPLES_FIRST,
        after_long_help = "Examples:\n  resetctl man | man -l -\n  resetctl man --dir /usr/local/share/man/man1"
    )]
    Man {
        /// The folder for all pages.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

const GATE_EXAMPLES: &str = "\
Examples:
  resetctl gate && exec ./start-service
  resetctl --target staging gate --chains ./migrations --json
Exit codes: 0 open; 4 GATE_CLOSED, with why; 9 something runs on the target now.";

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
                let shown = command.clone().render_long_help().to_string();
                let at = |word: &str| shown.find(word).unwrap_or_else(|| panic!("no {word}\n{shown}"));
                assert!(at("\nExample") < at("\nOptions:"), "examples come first\n{shown}");
            }
            command.get_subcommands().filter(|c| c.get_name() != "help").for_each(check);
        }
        check(&command);
        command.debug_assert();
    }
}
