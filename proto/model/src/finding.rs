//! Something noticed before or while an operation runs, with what to do about it.

use serde::{Deserialize, Serialize};

use crate::{
    fault::{Fault, Reason},
    plan::count,
};

/// How much a person should care.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The ordinary course of things.
    Info,
    /// Worth reading; nothing is stopped by it.
    Warning,
    /// Stops the operation.
    Error,
}

impl Severity {
    /// The word in reports and in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing found: what, about which object, and what to do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// Stable UPPER_SNAKE code.
    pub code: String,
    /// Whether it stops the operation.
    pub severity: Severity,
    /// What it is about, by identity.
    pub object: String,
    /// What was found.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// The refusal that the errors among the findings come to: all of them at once; `None` where there is none.
#[must_use]
pub fn refusal(findings: &[Finding]) -> Option<Fault> {
    let errors: Vec<&Finding> = findings.iter().filter(|f| f.severity == Severity::Error).collect();
    let first = errors.first()?;
    let all_not_transactional = errors.iter().all(|f| f.code == Reason::NotTransactional.name());
    let reason = if all_not_transactional { Reason::NotTransactional } else { Reason::PreflightFailed };
    let lines: Vec<String> = errors.iter().map(|f| format!("{}: {}", f.object, f.message)).collect();
    Some(
        Fault::new(reason, format!("preflight found {}: {}", count(errors.len(), "error"), lines.join("; ")))
            .hint(first.hint.clone())
            .with("findings", errors.len()),
    )
}

impl Finding {
    /// A finding that stops the operation.
    #[must_use]
    pub fn error(
        code: &str,
        object: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Error, object, message, hint)
    }

    /// A finding that is only told.
    #[must_use]
    pub fn warning(
        code: &str,
        object: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Warning, object, message, hint)
    }

    /// A finding that is worth knowing.
    #[must_use]
    pub fn info(
        code: &str,
        object: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Info, object, message, hint)
    }

    fn new(
        code: &str,
        severity: Severity,
        object: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code: code.to_owned(),
            severity,
            object: object.into(),
            message: message.into(),
            hint: hint.into(),
        }
    }
}
