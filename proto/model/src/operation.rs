//! One accepted Reset, Migrate, Validate, Run or Undo: what was asked, where it is in its life, how it ended.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{fault::Reason, profile::Scope, tool::Tool};

/// What an operation does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Drop and recreate.
    Reset,
    /// Replay pending revisions.
    Migrate,
    /// Compare with the matrix, read-only.
    Validate,
    /// Reset, migrate and validate as one.
    Run,
    /// Swap the previous database back.
    Undo,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [Self::Reset, Self::Migrate, Self::Validate, Self::Run, Self::Undo];

    /// The word on the command line and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Migrate => "migrate",
            Self::Validate => "validate",
            Self::Run => "run",
            Self::Undo => "undo",
        }
    }

    /// It drops what was there.
    #[must_use]
    pub fn is_destructive(self) -> bool {
        matches!(self, Self::Reset | Self::Run | Self::Undo)
    }

    /// It drops and recreates schemas.
    #[must_use]
    pub fn resets(self) -> bool {
        matches!(self, Self::Reset | Self::Run)
    }

    /// It replays chains.
    #[must_use]
    pub fn migrates(self) -> bool {
        matches!(self, Self::Migrate | Self::Run)
    }

    /// It compares with the matrix.
    #[must_use]
    pub fn validates(self) -> bool {
        matches!(self, Self::Validate | Self::Run)
    }
}

impl std::str::FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|v| v.as_str() == text).ok_or_else(|| format!("`{text}` is not a verb"))
    }
}

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Be refused when it is held.
    No,
    /// As long as it takes.
    Forever,
    /// At most this long.
    AtMost(Duration),
}

/// One revision file sent by a caller.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ChainFile {
    /// `<chain>/<name>.sql`.
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// What was asked, in the model's own types.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Request {
    /// Made by the client; not part of the hash.
    #[serde(skip)]
    pub request_id: Uuid,
    /// What to do.
    pub verb: Verb,
    /// The target's name; never empty here.
    pub target: String,
    /// Kept in operation and report.
    pub labels: BTreeMap<String, String>,
    /// Wait for the lock.
    pub wait: Wait,
    /// The operation's own time limit.
    pub timeout: Option<Duration>,
    /// The fingerprint that the chains must have.
    pub expect_chains: Option<String>,
    /// The caller's own chains.
    pub client_chains: Vec<ChainFile>,
    /// Managed schemas or the whole database; only for verbs that drop.
    pub scope: Option<Scope>,
    /// The caller named the scope; one that is not named is `managed-schemas`.
    pub scope_named: bool,
    /// Limits the reset to these; empty: all managed ones.
    pub managed_schemas: Vec<String>,
    /// Plan only.
    pub dry_run: bool,
    /// Must be `RESET`.
    pub confirmation: Option<String>,
    /// Let a production-like name through.
    pub allow_production_db_name: bool,
    /// The plan must have this digest.
    pub plan_digest: Option<String>,
    /// Terminate sessions in the way.
    pub terminate_sessions: bool,
    /// Schemas migrated at the same time (scope database); 0: the daemon decides.
    pub jobs: u32,
    /// Revision by revision where one transaction cannot hold them.
    pub allow_phased: bool,
    /// The operation that an undo takes back; `None`: the target's last one that can be.
    pub undoes: Option<Uuid>,
    /// The caller does not mean to watch: the operation keeps its place in the queue without.
    #[serde(skip_serializing_if = "is_not")]
    pub detached: bool,
    /// A migration tool on the caller's machine fills what is new (scope database).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<Tool>,
}

/// What was not asked for is not part of a request's hash: requests of before stay the same.
fn is_not(asked: &bool) -> bool {
    !*asked
}

/// What a request may hold.
pub mod limits {
    /// The largest request, in bytes.
    pub const REQUEST_BYTES: usize = 16 * 1024 * 1024;
    /// The most revision files in one request.
    pub const CHAIN_FILES: usize = 2_000;
    /// The most statements in one chain.
    pub const STATEMENTS: usize = 100_000;
    /// The most words and signs in one chain, comments and space left out.
    pub const TOKENS: usize = 8_000_000;
    /// The most parentheses, and bodies of routines, in one another.
    pub const NESTING: usize = 1_000;
    /// The most faults of one chain that are told; the first are.
    pub const FAULTS: usize = 20;
    /// The most labels in one request.
    pub const LABELS: usize = 32;
    /// The longest label key, in bytes.
    pub const LABEL_KEY: usize = 63;
    /// The longest label value, in bytes.
    pub const LABEL_VALUE: usize = 255;
}

impl Request {
    /// A request that says nothing beyond its verb and target.
    #[must_use]
    pub fn new(verb: Verb, target: impl Into<String>, request_id: Uuid) -> Self {
        Self {
            request_id,
            verb,
            target: target.into(),
            labels: BTreeMap::new(),
            wait: Wait::No,
            timeout: None,
            expect_chains: None,
            client_chains: Vec::new(),
            scope: None,
            scope_named: false,
            managed_schemas: Vec::new(),
            dry_run: false,
            confirmation: None,
            allow_production_db_name: false,
            plan_digest: None,
            terminate_sessions: false,
            jobs: 0,
            allow_phased: false,
            undoes: None,
            detached: false,
            tool: None,
        }
    }

    /// SHA-256 over everything asked but the request id: two requests with one id must agree on it.
    #[must_use]
    pub fn hash(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        crate::hex_sha256(text)
    }

    /// The lock is taken shared: nothing will be changed.
    #[must_use]
    pub fn reads_only(&self) -> bool {
        self.dry_run || self.verb == Verb::Validate
    }
}

/// Where an operation is in its life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Recorded, waiting for the lock.
    Waiting,
    /// Holds the lock.
    Running,
    /// Prepared its commit.
    Committing,
    /// Ended.
    Finished,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Running, Self::Committing, Self::Finished];

    /// The word in the control database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Committing => "committing",
            Self::Finished => "finished",
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything happened.
    Succeeded,
    /// It failed; nothing changed, unless the reason says otherwise.
    Failed,
    /// Validation found differences; a `run` was rolled back, unless the reason says otherwise.
    Differences,
    /// Refused after the lock was held; nothing changed.
    Refused,
    /// Cancelled; nothing changed.
    Cancelled,
    /// Its daemon ended before it; nothing changed.
    Abandoned,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Succeeded, Self::Failed, Self::Differences, Self::Refused, Self::Cancelled, Self::Abandoned];

    /// The word in the control database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Differences => "differences",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
        }
    }

    /// The outcome of an operation that ended with `reason`.
    #[must_use]
    pub fn of(reason: Reason) -> Self {
        match reason {
            Reason::ValidationDifferences | Reason::ValidThenChanged => Self::Differences,
            Reason::Cancelled => Self::Cancelled,
            Reason::Abandoned => Self::Abandoned,
            reason
                if matches!(reason.exit_code(), crate::fault::exit::REFUSED | crate::fault::exit::LOCKED) =>
            {
                Self::Refused
            }
            _ => Self::Failed,
        }
    }
}

/// One operation as the control database knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its id, a version 7 UUID: ids sort by creation.
    pub id: Uuid,
    /// The request that made it.
    pub request_id: Uuid,
    /// What it does.
    pub verb: Verb,
    /// The target's name.
    pub target: String,
    /// The database's name.
    pub database: String,
    /// Only for verbs that drop.
    pub scope: Option<Scope>,
    /// Nothing is changed.
    pub dry_run: bool,
    /// Who asked, `kind:name`.
    pub principal: String,
    /// How that was proved.
    pub auth_method: String,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: State,
    /// How it ended.
    pub end: Option<End>,
    /// The last stored event.
    pub last_sequence: u64,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When it got the lock.
    pub started_at: Option<Timestamp>,
    /// Until when it can be undone.
    pub undoable_until: Option<Timestamp>,
}

/// How and when an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// Why, for anything but success.
    pub reason: Option<Reason>,
    /// One line for a person.
    pub summary: String,
    /// When.
    pub at: Timestamp,
    /// SHA-256 of the report, hex.
    pub report_sha256: String,
}

impl End {
    /// The exit code that a client ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.reason.map_or(crate::fault::exit::OK, Reason::exit_code)
    }
}
