//! The one table of reasons: every way in which resetd says no or fails, with its gRPC code, exit code and report status.
//!
//! It must not know how a fault is sent or shown.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::token;

/// The gRPC status codes that resetd answers with; the numbers are those of the gRPC specification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the gRPC specification")]
pub enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// The report's `status`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything asked for happened.
    Ok,
    /// Validation found differences, and nothing else was wrong.
    Failed,
    /// Anything else.
    Error,
}

impl Status {
    /// The word in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Error => "error",
        }
    }
}

/// The exit codes of `resetctl`, public and documented.
pub mod exit {
    /// Everything asked for happened.
    pub const OK: u8 = 0;
    /// The operation failed.
    pub const FAILED: u8 = 1;
    /// The command line or the request is wrong.
    pub const USAGE: u8 = 2;
    /// Not authenticated or not allowed.
    pub const DENIED: u8 = 3;
    /// Refused by a guard.
    pub const REFUSED: u8 = 4;
    /// Not found.
    pub const NOT_FOUND: u8 = 6;
    /// Validation found differences.
    pub const DIFFERENCES: u8 = 7;
    /// Cancelled.
    pub const CANCELLED: u8 = 8;
    /// Locked, a window in the way, or the wait expired.
    pub const LOCKED: u8 = 9;
    /// Contact lost, outcome unknown.
    pub const CONTACT_LOST: u8 = 10;
    /// Daemon not reachable.
    pub const UNREACHABLE: u8 = 11;
    /// Abandoned by a daemon crash.
    pub const ABANDONED: u8 = 12;
    /// A dry run that was asked for it: the real run would change something.
    pub const CHANGES: u8 = 13;
    /// Detached by SIGINT.
    pub const SIGINT: u8 = 130;
    /// Detached by SIGTERM.
    pub const SIGTERM: u8 = 143;
}

macro_rules! reasons {
    ($($variant:ident $name:literal $code:ident $exit:ident $status:ident $meaning:literal;)*) => {
        /// Why something was refused or failed.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason { $(#[doc = $meaning] $variant,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable UPPER_SNAKE name.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name,)* } }

            /// The gRPC code of a call that ends with it.
            #[must_use]
            pub fn code(self) -> Code { match self { $(Self::$variant => Code::$code,)* } }

            /// The exit code of a client that ends with it.
            #[must_use]
            pub fn exit_code(self) -> u8 { match self { $(Self::$variant => exit::$exit,)* } }

            /// The status of a report that ends with it.
            #[must_use]
            pub fn status(self) -> Status { match self { $(Self::$variant => Status::$status,)* } }

            /// One line that says what it means.
            #[must_use]
            pub fn meaning(self) -> &'static str { match self { $(Self::$variant => $meaning,)* } }
        }
    };
}

reasons! {
    // The request or the command line.
    InvalidRequest "INVALID_REQUEST" InvalidArgument USAGE Error "The request is malformed.";
    UnknownSchema "UNKNOWN_SCHEMA" InvalidArgument USAGE Error "The target's matrix does not manage this schema.";
    ScopeConflict "SCOPE_CONFLICT" InvalidArgument USAGE Error "Two flags contradict each other.";
    RequestIdConflict "REQUEST_ID_CONFLICT" AlreadyExists USAGE Error "The request id was already used for another request.";
    LimitExceeded "LIMIT_EXCEEDED" ResourceExhausted USAGE Error "The request exceeds a limit of the daemon.";
    // Who.
    Unauthenticated "UNAUTHENTICATED" Unauthenticated DENIED Error "The caller did not authenticate.";
    PermissionDenied "PERMISSION_DENIED" PermissionDenied DENIED Error "The caller's role does not allow this.";
    // Guards decided before an operation exists.
    ConfirmationMissing "CONFIRMATION_MISSING" FailedPrecondition REFUSED Error "A destructive operation was not confirmed.";
    ProductionName "PRODUCTION_NAME" FailedPrecondition REFUSED Error "The database's name looks like production.";
    TargetProtected "TARGET_PROTECTED" FailedPrecondition REFUSED Error "The target is protected from destructive operations.";
    TargetNotEnrolled "TARGET_NOT_ENROLLED" FailedPrecondition REFUSED Error "No admin has enrolled this database as the target.";
    ScopeForbidden "SCOPE_FORBIDDEN" FailedPrecondition REFUSED Error "The target's profile does not allow this scope.";
    ChainsDiffer "CHAINS_DIFFER" FailedPrecondition REFUSED Error "The daemon's chains do not match the expected ones.";
    ChainsInvalid "CHAINS_INVALID" FailedPrecondition REFUSED Error "The chains cannot be replayed.";
    ClientChainsForbidden "CLIENT_CHAINS_FORBIDDEN" FailedPrecondition REFUSED Error "The target's profile does not allow `--chains`.";
    NotCancellable "NOT_CANCELLABLE" FailedPrecondition REFUSED Error "The operation is committing or has ended.";
    ControlConflict "CONTROL_CONFLICT" FailedPrecondition REFUSED Error "A daemon with another control database works on the target.";
    ControlForeign "CONTROL_FOREIGN" FailedPrecondition REFUSED Error "The control database belongs elsewhere.";
    ControlNewer "CONTROL_NEWER" FailedPrecondition REFUSED Error "A newer daemon has migrated the control database.";
    PoolerDetected "POOLER_DETECTED" FailedPrecondition REFUSED Error "A transaction pooler sits in front of the database.";
    // Guards decided after the lock is held.
    PlanChanged "PLAN_CHANGED" FailedPrecondition REFUSED Error "The plan is not the one that was approved.";
    BlastRadius "BLAST_RADIUS" FailedPrecondition REFUSED Error "Objects outside the managed schemas would be lost.";
    DataLimit "DATA_LIMIT" FailedPrecondition REFUSED Error "More rows or bytes would be lost than the profile allows.";
    PreflightFailed "PREFLIGHT_FAILED" FailedPrecondition REFUSED Error "The operation would have failed on the way.";
    GatewayRole "GATEWAY_ROLE" FailedPrecondition REFUSED Error "There is no safe login role for the migration tool.";
    NotTransactional "NOT_TRANSACTIONAL" FailedPrecondition REFUSED Error "A revision cannot run in a transaction.";
    // Locks and windows.
    TargetLocked "TARGET_LOCKED" Aborted LOCKED Error "Another operation holds the target's lock.";
    WaitExpired "WAIT_EXPIRED" Aborted LOCKED Error "The target did not become free in time.";
    WindowHeld "WINDOW_HELD" FailedPrecondition LOCKED Error "Somebody else has reserved the target.";
    WindowRequired "WINDOW_REQUIRED" FailedPrecondition REFUSED Error "The target requires an active window of your own.";
    WindowConflict "WINDOW_CONFLICT" FailedPrecondition LOCKED Error "The window overlaps another, or somebody's change.";
    // Not there.
    TargetNotFound "TARGET_NOT_FOUND" NotFound NOT_FOUND Error "The daemon has no such target.";
    OperationNotFound "OPERATION_NOT_FOUND" NotFound NOT_FOUND Error "There is no such operation.";
    NothingToUndo "NOTHING_TO_UNDO" NotFound NOT_FOUND Error "Nothing is kept that could be brought back.";
    ReportNotReady "REPORT_NOT_READY" NotFound NOT_FOUND Error "The operation has no report yet.";
    WindowNotFound "WINDOW_NOT_FOUND" NotFound NOT_FOUND Error "There is no such window.";
    TokenNotFound "TOKEN_NOT_FOUND" NotFound NOT_FOUND Error "There is no such token.";
    // The operation failed; everything was rolled back.
    ValidationDifferences "VALIDATION_DIFFERENCES" FailedPrecondition DIFFERENCES Failed "The target does not match its matrix.";
    ValidThenChanged "VALID_THEN_CHANGED" FailedPrecondition DIFFERENCES Failed "The change is committed, but the target is no longer valid.";
    RevisionFailed "REVISION_FAILED" Aborted FAILED Error "A statement of a revision failed.";
    ToolFailed "TOOL_FAILED" Aborted FAILED Error "The migration tool failed.";
    ToolOutside "TOOL_OUTSIDE" Aborted FAILED Error "The migration tool changed something outside the managed schemas.";
    GatewayPoisoned "GATEWAY_POISONED" Aborted FAILED Error "What the migration tool did cannot be done within one transaction.";
    GatewayLost "GATEWAY_LOST" Aborted FAILED Error "The connection to the caller's migration tool was lost.";
    TransactionEscaped "TRANSACTION_ESCAPED" Aborted FAILED Error "A revision left the operation's transaction.";
    ExtensionMisplaced "EXTENSION_MISPLACED" Aborted FAILED Error "An extension ended up in a managed schema.";
    SchemaPropertiesLost "SCHEMA_PROPERTIES_LOST" Aborted FAILED Error "A schema's owner, grants or defaults could not be restored.";
    Blocked "BLOCKED" Aborted FAILED Error "Other sessions held required locks for too long.";
    Deadline "DEADLINE" DeadlineExceeded FAILED Error "The operation ran longer than its timeout.";
    LockLost "LOCK_LOST" Aborted FAILED Error "The connection that held the lock was lost.";
    ForcedUnlock "FORCED_UNLOCK" Aborted FAILED Error "An admin broke the operation's lock.";
    ZombieBackend "ZOMBIE_BACKEND" Aborted FAILED Error "A session of an earlier operation does not end.";
    TargetUnreachable "TARGET_UNREACHABLE" Unavailable FAILED Error "The target's database cannot be reached.";
    CommitFailed "COMMIT_FAILED" Aborted FAILED Error "PostgreSQL refused the commit.";
    OutcomeUnknown "OUTCOME_UNKNOWN" Unknown CONTACT_LOST Error "It is not known yet whether the commit happened.";
    EndNotRecorded "END_NOT_RECORDED" Unknown CONTACT_LOST Error "The operation has ended, and its end cannot be recorded yet.";
    ValidityUnknown "VALIDITY_UNKNOWN" Unknown CONTACT_LOST Error "The change is committed, but could not be checked after its commit.";
    Cancelled "CANCELLED" Cancelled CANCELLED Error "The operation was cancelled.";
    Abandoned "ABANDONED" Unknown ABANDONED Error "The daemon stopped before the operation ended.";
    Internal "INTERNAL" Internal FAILED Error "Something happened that should be impossible.";
    // The daemon.
    NotImplemented "NOT_IMPLEMENTED" Unimplemented FAILED Error "This version does not support it.";
    ControlUnavailable "CONTROL_UNAVAILABLE" Unavailable UNREACHABLE Error "The daemon's own database does not respond.";
    AuditUnavailable "AUDIT_UNAVAILABLE" Unavailable UNREACHABLE Error "The audit record cannot be written.";
    ShuttingDown "SHUTTING_DOWN" Unavailable UNREACHABLE Error "The daemon is shutting down.";
    // Made by the client.
    DaemonUnreachable "DAEMON_UNREACHABLE" Unavailable UNREACHABLE Error "The daemon cannot be reached.";
    ContactLost "CONTACT_LOST" Unknown CONTACT_LOST Error "The connection to the daemon was lost; the outcome is unknown here.";
    GateClosed "GATE_CLOSED" FailedPrecondition REFUSED Error "The target is not as the last valid run of these chains left it.";
    AuditBroken "AUDIT_BROKEN" FailedPrecondition FAILED Error "The audit record was altered.";
    ReportUnwritable "REPORT_UNWRITABLE" FailedPrecondition FAILED Error "The report cannot be written to its path.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not in the table of reasons.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a reason of this version")]
pub struct UnknownReason(String);

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        Self::ALL.iter().copied().find(|r| r.name() == name).ok_or_else(|| UnknownReason(name.to_owned()))
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where in which SQL something went wrong.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SqlSite {
    /// PostgreSQL's five-character code.
    pub sqlstate: Option<String>,
    /// The schema the revision ran in.
    pub schema: Option<String>,
    /// The revision's file, relative to the migrations folder.
    pub file: Option<String>,
    /// 1-based line in that file.
    pub line: Option<u32>,
    /// The statement, shortened; never bound values.
    pub statement: Option<String>,
}

/// A refusal or failure: what happened, what it means, what to do.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which row of the table.
    pub reason: Reason,
    /// What happened and what it means.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// All dynamic parts of the message.
    pub metadata: BTreeMap<String, String>,
    /// Where in which SQL, if it was SQL.
    pub sql: SqlSite,
}

impl Fault {
    /// A fault with a message and nothing else. What a caller sent may stand in a fault's texts; a token that was put in
    /// the wrong place does not.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: without_tokens(message.into()),
            hint: None,
            metadata: BTreeMap::new(),
            sql: SqlSite::default(),
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(without_tokens(hint.into()));
        self
    }

    /// Adds a dynamic part of the message.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), without_tokens(value.to_string()));
        self
    }

    /// Adds where in which SQL it happened.
    #[must_use]
    pub fn at(mut self, sql: SqlSite) -> Self {
        self.sql = sql;
        self
    }
}

fn without_tokens(text: String) -> String {
    match token::redacted(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(redacted) => redacted,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_wrong_place_is_not_told() {
        let token = token::Token::mint([7; token::NUMBERS]).text();
        let text = token.expose();
        let fault = Fault::new(Reason::TargetNotFound, format!("no target `{text}`"))
            .hint(format!("not {text}"))
            .with("target", text);
        assert!(!format!("{fault:?}").contains(&text[16..60]), "{fault:?}");
        assert!(fault.message.contains("[redacted]"), "{fault:?}");
    }

    #[test]
    fn names_are_unique_upper_snake_and_parse_back() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            let name = reason.name();
            assert!(seen.insert(name), "{name} twice");
            assert!(name.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{name}");
            assert_eq!(name.parse::<Reason>().ok(), Some(*reason));
            assert!(reason.meaning().ends_with('.'), "{name}: a sentence");
        }
        assert!("NO_SUCH".parse::<Reason>().is_err());
    }

    #[test]
    fn no_reason_ends_with_success_and_only_differences_are_failed() {
        for reason in Reason::ALL {
            assert_ne!(reason.exit_code(), exit::OK, "{reason}");
            assert_ne!(reason.status(), Status::Ok, "{reason}");
            let differences = matches!(reason, Reason::ValidationDifferences | Reason::ValidThenChanged);
            assert_eq!(reason.status() == Status::Failed, differences, "{reason}");
            assert_eq!(reason.exit_code() == exit::DIFFERENCES, differences, "{reason}");
        }
    }

    #[test]
    fn gateway_reasons_have_the_designed_rows() {
        let rows = [
            ("TARGET_LOCKED", Code::Aborted, 9),
            ("WINDOW_HELD", Code::FailedPrecondition, 9),
            ("WINDOW_REQUIRED", Code::FailedPrecondition, 4),
            ("CONFIRMATION_MISSING", Code::FailedPrecondition, 4),
            ("PRODUCTION_NAME", Code::FailedPrecondition, 4),
            ("TARGET_PROTECTED", Code::FailedPrecondition, 4),
            ("TARGET_NOT_ENROLLED", Code::FailedPrecondition, 4),
            ("CHAINS_DIFFER", Code::FailedPrecondition, 4),
            ("PLAN_CHANGED", Code::FailedPrecondition, 4),
            ("BLAST_RADIUS", Code::FailedPrecondition, 4),
            ("PREFLIGHT_FAILED", Code::FailedPrecondition, 4),
            ("REVISION_FAILED", Code::Aborted, 1),
            ("DEADLINE", Code::DeadlineExceeded, 1),
            ("FORCED_UNLOCK", Code::Aborted, 1),
            ("UNAUTHENTICATED", Code::Unauthenticated, 3),
            ("PERMISSION_DENIED", Code::PermissionDenied, 3),
            ("CANCELLED", Code::Cancelled, 8),
            ("CONTACT_LOST", Code::Unknown, 10),
            ("DAEMON_UNREACHABLE", Code::Unavailable, 11),
            ("ABANDONED", Code::Unknown, 12),
        ];
        for (name, code, exit) in rows {
            let reason: Reason = name.parse().expect("in the table");
            assert_eq!((reason.code(), reason.exit_code()), (code, exit), "{name}");
        }
    }

    #[test]
    fn each_kind_of_code_keeps_to_its_exit_codes() {
        for reason in Reason::ALL {
            let allowed: &[u8] = match reason.code() {
                Code::InvalidArgument | Code::AlreadyExists | Code::ResourceExhausted => &[exit::USAGE],
                Code::Unauthenticated | Code::PermissionDenied => &[exit::DENIED],
                Code::NotFound => &[exit::NOT_FOUND],
                Code::Cancelled => &[exit::CANCELLED],
                Code::FailedPrecondition => &[exit::REFUSED, exit::LOCKED, exit::DIFFERENCES, exit::FAILED],
                Code::Aborted => &[exit::FAILED, exit::LOCKED],
                Code::Unavailable => &[exit::UNREACHABLE, exit::FAILED],
                Code::Unknown => &[exit::CONTACT_LOST, exit::ABANDONED],
                Code::DeadlineExceeded | Code::Unimplemented | Code::Internal => &[exit::FAILED],
            };
            assert!(allowed.contains(&reason.exit_code()), "{reason}");
        }
    }
}
