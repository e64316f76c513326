//! What the command line means: words become the model's own types, contradictions are told before anything is sent.
//!
//! It must not open connections or write files; it reads the chain folders that were named.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use model::{
    fault::{Fault, Reason},
    operation::{Request, Verb, Wait, limits},
    profile::Scope,
};
use uuid::Uuid;

use crate::{
    args::{
        ChainArgs, FollowArgs, MigrateArgs, OnInterrupt, OperationArgs, ProgressMode, ResetArgs,
        ResultFormat, UndoArgs, ValidateArgs, tool::ToolArgs,
    },
    chains,
    destination::no_token,
    gateway,
};

/// Where a report goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ReportTo {
    /// A new file in the default folder.
    DefaultFolder,
    /// This file.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// How an operation is followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Follow {
    /// Where its report goes.
    pub(crate) report: ReportTo,
    /// How progress is shown.
    pub(crate) progress: ProgressMode,
    /// The form in which the result is printed as well.
    pub(crate) format: Option<ResultFormat>,
    /// What an interrupt does.
    pub(crate) on_interrupt: Option<OnInterrupt>,
    /// How long to try to re-attach.
    pub(crate) reconnect_timeout: Duration,
}

/// An operation to be started.
#[derive(Clone, Debug)]
pub(crate) struct Operate {
    /// What is asked.
    pub(crate) request: Request,
    /// How it is followed.
    pub(crate) follow: Follow,
    /// Return when it is accepted.
    pub(crate) detach: bool,
    /// A dry run tells by its exit code whether something would change.
    pub(crate) detailed_exitcode: bool,
    /// The folder of the caller's own chains, as it was named.
    pub(crate) chains_folder: Option<PathBuf>,
    /// The migration tool, as it was said.
    pub(crate) tool: ToolArgs,
    /// The folder of the chains that the daemon should have, as it was named.
    pub(crate) expected_folder: Option<PathBuf>,
}

impl ReportTo {
    /// `-` is standard output.
    pub(crate) fn of(path: Option<&Path>, otherwise: Self) -> Self {
        match path {
            None => otherwise,
            Some(path) if path.as_os_str() == "-" => Self::Stdout,
            Some(path) => Self::File(path.to_owned()),
        }
    }
}

impl TryFrom<&FollowArgs> for Follow {
    type Error = Fault;

    fn try_from(args: &FollowArgs) -> Result<Self, Fault> {
        let report = ReportTo::of(args.report_path.as_deref(), ReportTo::DefaultFolder);
        if report == ReportTo::Stdout && args.format.is_some() {
            return Err(usage("--format and --report-path - both want standard output")
                .hint("give the report a file, or leave one of the two out"));
        }
        Ok(Self {
            report,
            progress: args.progress,
            format: args.format,
            on_interrupt: args.on_interrupt,
            reconnect_timeout: args.reconnect_timeout,
        })
    }
}

impl Operate {
    /// `reset` and `run`.
    ///
    /// # Errors
    /// The words contradict each other, or a chain folder cannot be read.
    pub(crate) fn reset(verb: Verb, args: &ResetArgs, target: &str) -> Result<Self, Fault> {
        let scope = args.scope();
        if scope == Scope::Database && !args.managed_schema.is_empty() {
            return Err(Fault::new(
                Reason::ScopeConflict,
                "--managed-schema cannot be used with --scope database: the whole database is replaced",
            )
            .hint("leave one of the two out"));
        }
        let tool = &args.tool;
        if verb != Verb::Run && tool.with.is_some() {
            return Err(usage("--with belongs to `run`: a reset leaves the database empty"));
        }
        if scope == Scope::ManagedSchemas {
            let flags = [(args.terminate_sessions, "--terminate-sessions"), (args.jobs > 0, "--jobs")];
            if let Some((_, flag)) = flags.iter().find(|(said, _)| *said) {
                return Err(Fault::new(
                    Reason::ScopeConflict,
                    format!("{flag} works with --scope database only; scope managed-schemas would ignore it"),
                )
                .hint(format!("leave out {flag}, or add --scope database")));
            }
        }
        let plain = Self::plain(verb, &args.common, Some(&args.chains), target)?;
        let request = Request {
            scope: Some(scope),
            scope_named: args.scope.is_some(),
            managed_schemas: args.managed_schema.clone(),
            dry_run: args.dry_run,
            confirmation: args.confirm_destructive_reset.clone(),
            allow_production_db_name: args.allow_production_db_name,
            plan_digest: args.plan_digest.clone(),
            terminate_sessions: args.terminate_sessions,
            jobs: args.jobs,
            tool: tool
                .with
                .as_deref()
                .map(|it| gateway::fingerprint(it, tool.with_files.as_deref()))
                .transpose()?,
            ..plain.request
        };
        Ok(Self { request, tool: tool.clone(), detailed_exitcode: args.detailed_exitcode, ..plain })
    }

    /// `undo`.
    ///
    /// # Errors
    /// The words contradict each other.
    pub(crate) fn undo(args: &UndoArgs, operation: Option<Uuid>, target: &str) -> Result<Self, Fault> {
        let plain = Self::plain(Verb::Undo, &args.common, None, target)?;
        let request = Request {
            undoes: operation,
            dry_run: args.dry_run,
            confirmation: args.confirm_destructive_reset.clone(),
            allow_production_db_name: args.allow_production_db_name,
            plan_digest: args.plan_digest.clone(),
            terminate_sessions: args.terminate_sessions,
            ..plain.request
        };
        Ok(Self { request, detailed_exitcode: args.detailed_exitcode, ..plain })
    }

    /// `migrate`.
    ///
    /// # Errors
    /// The words contradict each other, or a chain folder cannot be read.
    pub(crate) fn migrate(args: &MigrateArgs, target: &str) -> Result<Self, Fault> {
        let plain = Self::plain(Verb::Migrate, &args.common, Some(&args.chains), target)?;
        let request = Request {
            dry_run: args.dry_run,
            allow_phased: args.allow_phased,
            plan_digest: args.plan_digest.clone(),
            ..plain.request
        };
        Ok(Self { request, detailed_exitcode: args.detailed_exitcode, ..plain })
    }

    /// `validate`.
    ///
    /// # Errors
    /// The words contradict each other, or a chain folder cannot be read.
    pub(crate) fn validate(args: &ValidateArgs, target: &str) -> Result<Self, Fault> {
        Self::plain(Verb::Validate, &args.common, Some(&args.chains), target)
    }

    /// A person may be asked to confirm: it drops something and nothing was said about it.
    pub(crate) fn needs_confirmation(&self) -> bool {
        let request = &self.request;
        request.verb.is_destructive() && !request.dry_run && request.confirmation.is_none()
    }

    fn plain(
        verb: Verb,
        args: &OperationArgs,
        chains: Option<&ChainArgs>,
        target: &str,
    ) -> Result<Self, Fault> {
        let expected = chains.and_then(|it| it.expect_chains.as_deref());
        let folder = chains.and_then(|it| it.chains.as_deref());
        if args.timeout.is_some_and(|t| t.is_zero()) {
            return Err(usage("--timeout must be longer than nothing"));
        }
        let request = Request {
            labels: labels(&args.label)?,
            wait: wait(args.wait),
            timeout: args.timeout,
            expect_chains: expected.map(expected_fingerprint).transpose()?,
            detached: args.detach,
            client_chains: folder.map(chains::read).transpose()?.unwrap_or_default(),
            ..Request::new(verb, target, Uuid::new_v4())
        };
        Ok(Self {
            request,
            follow: (&args.follow).try_into()?,
            detach: args.detach,
            detailed_exitcode: false,
            chains_folder: folder.map(Path::to_owned),
            expected_folder: expected.filter(|text| !model::is_sha256(text)).map(PathBuf::from),
            tool: ToolArgs::default(),
        })
    }
}

fn wait(said: Option<Option<Duration>>) -> Wait {
    match said {
        None => Wait::No,
        Some(None) => Wait::Forever,
        Some(Some(limit)) => Wait::AtMost(limit),
    }
}

/// A fingerprint stays one; anything else is a folder of chains.
fn expected_fingerprint(text: &str) -> Result<String, Fault> {
    if model::is_sha256(text) {
        return Ok(text.to_owned());
    }
    if text.starts_with("sha256:") {
        let form = "sha256: and 64 lower-case hex digits";
        return Err(usage(format!("--expect-chains: `{text}` is not a fingerprint ({form})")));
    }
    Ok(chains::assemble(Path::new(text))?.fingerprint())
}

fn labels(said: &[String]) -> Result<BTreeMap<String, String>, Fault> {
    let mut all = BTreeMap::new();
    for text in said {
        no_token("--label", text)?;
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| usage(format!("--label: `{text}` is not KEY=VALUE")))?;
        if key.len() > limits::LABEL_KEY || value.len() > limits::LABEL_VALUE {
            let (k, v) = (limits::LABEL_KEY, limits::LABEL_VALUE);
            return Err(usage(format!("--label {key}: keys have at most {k} bytes and values {v}")));
        }
        if all.insert(key.to_owned(), value.to_owned()).is_some_and(|before| before != value) {
            return Err(usage(format!("--label {key}: given twice with different values")));
        }
    }
    match all.len() > limits::LABELS {
        true => Err(usage(format!("--label: at most {} labels", limits::LABELS))),
        false => Ok(all),
    }
}

fn usage(message: impl Into<String>) -> Fault {
    Fault::new(Reason::InvalidRequest, message)
}

#[cfg(test)]
mod tests;
