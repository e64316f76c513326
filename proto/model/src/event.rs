//! What happens in an operation's life, as numbered facts.
//!
//! The engine emits events; the journal stores them, the stream, the terminal and the report only consume them.
//! Milestones are numbered from 1 without gaps and stored before they are shown; ephemeral events have sequence 0.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    fault::{Fault, Status},
    finding::{Finding, Severity},
    lock::Holder,
    operation::{Outcome, Verb},
    plan::Plan,
    profile::Scope,
    tool::{Tool, ToolEnded},
    validation::Validation,
    window::Window,
};

mod blocker;
mod phrase;
#[cfg(test)]
mod tests;

/// One fact of an operation's life.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Event {
    /// 1, 2, 3… for milestones, 0 for ephemeral events.
    pub sequence: u64,
    /// The operation.
    pub operation: Uuid,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// The kinds of events. The serde form is what the journal stores.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// Accepted and recorded.
    Accepted(Accepted),
    /// Waits for the lock.
    Queued(Queued),
    /// Holds the lock.
    LockAcquired {
        /// Shared, not exclusive.
        shared: bool,
        /// The backend that holds it.
        pid: i32,
    },
    /// What it would do and lose.
    Planned {
        /// The plan.
        plan: Box<Plan>,
    },
    /// Something noticed on the way.
    FindingReported {
        /// What was noticed.
        finding: Finding,
    },
    /// One schema dropped and recreated.
    SchemaReset(SchemaReset),
    /// One schema brought back by an undo.
    SchemaReturned(SchemaReturned),
    /// One revision applied in one schema.
    RevisionApplied(RevisionApplied),
    /// One chain at its head in one schema.
    ChainCompleted(ChainCompleted),
    /// The matrix was compared with the target.
    Validated {
        /// The result.
        validation: Box<Validation>,
    },
    /// The commit comes next.
    CommitPrepared {
        /// `pg_current_xact_id()` of the work transaction.
        transaction_id: String,
    },
    /// Somebody asked for a cancel.
    CancelRequested {
        /// Who.
        principal: String,
        /// Why.
        reason: String,
    },
    /// A new database was built aside.
    DatabaseBuilt {
        /// Its generated name.
        database: String,
        /// Its oid.
        oid: u32,
    },
    /// The new database took the old one's name.
    DatabaseSwapped(DatabaseSwapped),
    /// The caller's migration tool may begin.
    ToolStarted(ToolStarted),
    /// It has connected for the first time.
    ToolConnected {
        /// What it calls itself.
        application_name: String,
    },
    /// It has ended.
    ToolEnded(Box<ToolEnded>),
    /// The end.
    Finished(Box<Finished>),
    /// Ephemeral: how far a phase is.
    Progress(Progress),
    /// Ephemeral: sessions in the way.
    Blocked {
        /// What waits.
        waiting: String,
        /// Who is in the way.
        blockers: Vec<Blocker>,
    },
    /// Ephemeral: the operation goes on.
    Heartbeat,
}

/// The operation was accepted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Accepted {
    /// What it does.
    pub verb: Verb,
    /// The target's name.
    pub target: String,
    /// The database's name.
    pub database: String,
    /// Only for verbs that drop.
    pub scope: Option<Scope>,
    /// Nothing will be changed.
    pub dry_run: bool,
    /// Who asked, `kind:name`.
    pub principal: String,
    /// How that was proved.
    pub auth_method: String,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// The daemon that runs it.
    pub instance: Uuid,
    /// The daemon's version.
    pub version: String,
    /// Chains in use, name → fingerprint.
    pub chains: BTreeMap<String, String>,
    /// The chains are the caller's own.
    pub client_chains: bool,
    /// Revision by revision: what was applied stays, whatever comes after it.
    #[serde(default)]
    pub phased: bool,
    /// The target's profile wants its report kept: a client that cannot write it does not end with exit code 0.
    #[serde(default)]
    pub report_required: bool,
    /// The environment variable that holds the target's URL, on the daemon's side; `None` where a file does.
    #[serde(default)]
    pub target_env_var: Option<String>,
}

/// It waits for the lock.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Queued {
    /// Operations before this one, the holder not counted.
    pub position: u32,
    /// Who holds the lock.
    pub holder: Option<Holder>,
    /// The window in the way: it has to end first, or, where it is one's own, to begin.
    #[serde(default)]
    pub window: Option<Window>,
}

/// One schema dropped and recreated.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SchemaReset {
    /// The schema.
    pub schema: String,
    /// There before.
    pub existed_before: bool,
    /// Tables before.
    pub tables_before: u64,
    /// There now.
    pub exists_after: bool,
    /// Tables now.
    pub tables_after: u64,
    /// The name under which the old one is kept; `None`: it was dropped, or was not there.
    #[serde(default)]
    pub kept_as: Option<String>,
    /// Until when it is kept.
    #[serde(default)]
    pub kept_until: Option<Timestamp>,
}

/// One schema brought back by an undo (inside the transaction, not yet committed).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SchemaReturned {
    /// The schema.
    pub schema: String,
    /// The operation that is undone.
    pub undoes: Uuid,
    /// The name that it was kept under; `None`: there was no such schema.
    pub came_from: Option<String>,
    /// Tables in it.
    pub tables: u64,
    /// The name under which the one that served until now is kept; `None`: it was dropped, or was not there.
    pub kept_as: Option<String>,
    /// Until when that one is kept.
    pub kept_until: Option<Timestamp>,
}

/// One revision applied in one schema.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RevisionApplied {
    /// The schema.
    pub schema: String,
    /// The chain.
    pub chain: String,
    /// The revision.
    pub revision: String,
    /// SHA-256 of its file, hex.
    pub checksum: String,
    /// Statements in it.
    pub statements: u32,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

/// One chain at its head in one schema.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ChainCompleted {
    /// The schema.
    pub schema: String,
    /// The chain.
    pub chain: String,
    /// The head.
    pub head: String,
    /// Applied now.
    pub applied: Vec<String>,
}

/// The new database took the old one's name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DatabaseSwapped {
    /// The database's name.
    pub database: String,
    /// The oid now serving.
    pub new_oid: u32,
    /// The oid that served before; `None` when there was no such database.
    pub old_oid: Option<u32>,
    /// Sessions that were connected before.
    pub connections_before: u32,
    /// How long the name was not to be had, in microseconds, up to the commit.
    pub unavailable_us: u64,
    /// The name under which the old one is kept.
    pub kept_as: Option<String>,
    /// Until when.
    pub kept_until: Option<Timestamp>,
}

/// The caller's migration tool may begin.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ToolStarted {
    /// What runs.
    pub tool: Tool,
    /// The login role that its connections have.
    pub role: String,
}

/// The end of an operation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// The report's status.
    pub status: Status,
    /// One line for a person.
    pub summary: String,
    /// SHA-256 of the report's bytes, hex.
    pub report_sha256: String,
    /// The error in full.
    pub error: Option<Fault>,
}

impl Finished {
    /// The exit code that the client ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.error.as_ref().map_or(crate::fault::exit::OK, |e| e.reason.exit_code())
    }
}

/// How far a phase is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Progress {
    /// The phase.
    pub phase: String,
    /// Steps done.
    pub done: u64,
    /// Steps in all; 0 when not known.
    pub total: u64,
    /// What is being done.
    pub current: String,
}

/// A session, or a prepared transaction, in the way.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Blocker {
    /// Its backend; 0 for a prepared transaction.
    pub pid: i32,
    /// Its role.
    pub user: String,
    /// What it calls itself.
    pub application_name: String,
    /// Its state; empty where it is hidden from the daemon's role.
    pub state: String,
    /// Its present or last query, shortened; empty where it is hidden.
    pub query: String,
    /// Since when its transaction is open.
    pub since: Option<Timestamp>,
    /// When its present or last query began.
    #[serde(default)]
    pub query_since: Option<Timestamp>,
    /// The name of a prepared transaction; empty for a session.
    #[serde(default)]
    pub gid: String,
}

impl EventKind {
    /// It may be dropped and is never stored.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        matches!(self, Self::Progress(_) | Self::Blocked { .. } | Self::Heartbeat)
    }

    /// It is the last event.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Finished(_))
    }

    /// The stable UPPER_SNAKE name of the kind.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "ACCEPTED",
            Self::Queued(_) => "QUEUED",
            Self::LockAcquired { .. } => "LOCK_ACQUIRED",
            Self::Planned { .. } => "PLANNED",
            Self::FindingReported { .. } => "FINDING",
            Self::SchemaReset(_) => "SCHEMA_RESET",
            Self::SchemaReturned(_) => "SCHEMA_RETURNED",
            Self::RevisionApplied(_) => "REVISION_APPLIED",
            Self::ChainCompleted(_) => "CHAIN_COMPLETED",
            Self::Validated { .. } => "VALIDATED",
            Self::CommitPrepared { .. } => "COMMIT_PREPARED",
            Self::CancelRequested { .. } => "CANCEL_REQUESTED",
            Self::DatabaseBuilt { .. } => "DATABASE_BUILT",
            Self::DatabaseSwapped(_) => "DATABASE_SWAPPED",
            Self::ToolStarted(_) => "TOOL_STARTED",
            Self::ToolConnected { .. } => "TOOL_CONNECTED",
            Self::ToolEnded(_) => "TOOL_ENDED",
            Self::Finished(_) => "FINISHED",
            Self::Progress(_) => "PROGRESS",
            Self::Blocked { .. } => "BLOCKED_BY",
            Self::Heartbeat => "HEARTBEAT",
        }
    }

    /// How much a person should care.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::FindingReported { finding } => finding.severity,
            Self::Validated { validation } if !validation.is_ok() => Severity::Error,
            Self::Planned { plan } if plan.refusal.is_some() => Severity::Warning,
            Self::Finished(end) if end.outcome != Outcome::Succeeded => Severity::Error,
            Self::ToolEnded(end) if end.exit.code != Some(0) => Severity::Error,
            Self::CancelRequested { .. } | Self::Blocked { .. } => Severity::Warning,
            _ => Severity::Info,
        }
    }

    /// One line for a person.
    #[must_use]
    pub fn text(&self) -> String {
        // Whatever a person wrote into it, it stays one line.
        phrase::of(self).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
