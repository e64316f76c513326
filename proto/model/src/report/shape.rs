//! The report's shape: every key, and nothing about how it is filled.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    fault::Status, finding::Finding, operation::Outcome, plan::Plan, profile::Scope, validation::Validation,
};

/// A report.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// When the report was made, RFC 3339 with Z.
    pub generated_at: Timestamp,
    /// The verb.
    pub command: String,
    /// The database's name; `null` when it never came to that.
    pub target_db: Option<String>,
    /// The environment variable that holds the target's URL, on the daemon's side; `null` where a file does.
    pub target_env_var: Option<String>,
    /// `ok`, `failed` (validation differences only) or `error`.
    pub status: Status,
    /// What went wrong, in one line; `null` where validation found differences.
    pub error: Option<String>,
    /// What scripts read.
    pub details: Details,
    /// The version of this shape.
    pub report_version: u32,
    /// The operation's id; `null` when none was accepted.
    pub operation: Option<Uuid>,
    /// How it ended; `null` when none was accepted.
    pub outcome: Option<Outcome>,
    /// The target's name.
    pub target: String,
    /// Who asked and how that was proved; `null` when none was accepted.
    pub principal: Option<ReportPrincipal>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// The daemon that ran it; `null` when none was accepted.
    pub daemon: Option<ReportDaemon>,
    /// Chains in use, name → fingerprint.
    pub chains: BTreeMap<String, String>,
    /// The plan, with digest and blast radius.
    pub plan: Option<Plan>,
    /// What was noticed on the way.
    pub findings: Vec<Finding>,
    /// When things happened and how long they took.
    pub timings: Timings,
    /// Revisions applied, with checksum and duration.
    pub revisions: Vec<RevisionEntry>,
    /// The error in full.
    pub error_detail: Option<ErrorDetail>,
    /// Revision by revision: what was applied stays, whatever comes after it.
    pub phased: bool,
    /// The migration tool; `null` where none was asked for.
    #[serde(default)]
    pub tool: Option<ToolEntry>,
}

/// The migration tool that filled the new database, or should have.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ToolEntry {
    /// Its program.
    pub program: String,
    /// `sha256:…` of the command line.
    pub command_sha256: String,
    /// The git commit of the folder it ran in.
    pub commit: Option<String>,
    /// Nothing in that folder differed from the commit.
    pub clean: Option<bool>,
    /// `sha256:…` over the files of `--with-files`.
    pub files_sha256: Option<String>,
    /// The login role of its connections.
    pub role: String,
    /// Its exit code; `null` while it runs, and where a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Connections that it made.
    pub connections: u32,
    /// Statements that it sent.
    pub statements: u64,
    /// The end of its output.
    pub output: String,
}

/// What scripts of the old runbook read.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Details {
    /// Only for verbs that drop.
    pub scope: Option<Scope>,
    /// Nothing was to be changed.
    pub dry_run: bool,
    /// What was dropped and recreated.
    pub reset: Option<ResetDetail>,
    /// What an undo brought back.
    #[serde(default)]
    pub undo: Option<UndoDetail>,
    /// Chains brought to their heads.
    pub migrations: Option<Vec<MigrationEntry>>,
    /// The validation.
    pub validation: Option<Validation>,
    /// What a reader should know of this document.
    pub note: Option<String>,
}

/// What was dropped and recreated: schemas, or the whole database.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ResetDetail {
    /// Scope managed-schemas.
    Schemas(Vec<ResetEntry>),
    /// Scope database.
    Database(ResetDatabase),
}

/// The database that was, or would be, replaced.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ResetDatabase {
    /// `database`.
    pub scope: String,
    /// Its name.
    pub database: String,
    /// There before.
    pub db_exists_before: bool,
    /// Sessions that were connected before.
    pub active_connections_before: u32,
    /// There after.
    pub db_exists_after: bool,
    /// `planned`, `reset`, `rolled-back`, or `unknown`.
    pub status: String,
    /// The name under which the previous one is kept for undo; `null` when it is not.
    pub kept_as: Option<String>,
    /// Until when.
    pub kept_until: Option<Timestamp>,
}

/// One schema that was, or would be, dropped and recreated.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ResetEntry {
    /// `managed-schema`.
    pub scope: String,
    /// The schema.
    pub schema: String,
    /// There before.
    pub schema_exists_before: bool,
    /// Tables before.
    pub table_count_before: u64,
    /// There after.
    pub schema_exists_after: bool,
    /// Tables after.
    pub table_count_after: u64,
    /// `planned`, `reset`, `rolled-back`, or `unknown`.
    pub status: String,
    /// The name under which the old one is kept for undo; `null` when it is not.
    #[serde(default)]
    pub kept_as: Option<String>,
    /// Until when.
    #[serde(default)]
    pub kept_until: Option<Timestamp>,
}

/// What an undo brought back, or would.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct UndoDetail {
    /// The operation that is undone.
    pub operation: Uuid,
    /// What it had set aside: schemas, or the whole database.
    pub scope: Scope,
    /// `planned`, `undone`, `rolled-back`, or `unknown`.
    pub status: String,
    /// Each schema (scope managed-schemas).
    pub schemas: Vec<UndoEntry>,
}

/// One schema that an undo brought back.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct UndoEntry {
    /// The schema.
    pub schema: String,
    /// The name that it was kept under; `null`: there was no such schema before, and there is none again.
    pub came_from: Option<String>,
    /// Tables of the one that served before the undo.
    pub table_count_before: u64,
    /// Tables of the one that came back.
    pub table_count_after: u64,
    /// The name under which the one that served is kept; `null` when it is not.
    pub kept_as: Option<String>,
    /// Until when.
    pub kept_until: Option<Timestamp>,
}

/// One chain in one schema.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MigrationEntry {
    /// The schema.
    pub schema: String,
    /// The chain.
    pub chain: String,
    /// The chain's head.
    pub expected_revision: String,
    /// `ok`, `planned`, `rolled-back` or `unknown`.
    pub status: String,
    /// Revisions applied now (in a dry run: those that would be).
    pub applied: Vec<String>,
}

/// Who asked.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ReportPrincipal {
    /// `kind:name`.
    pub name: String,
    /// How it was proved.
    pub auth_method: String,
}

/// The daemon.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ReportDaemon {
    /// Its version.
    pub version: String,
    /// This run of it.
    pub instance: Uuid,
}

/// When things happened, by the control database's clock.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Timings {
    /// Recorded.
    pub accepted_at: Option<Timestamp>,
    /// Got the lock.
    pub started_at: Option<Timestamp>,
    /// It ended; a change: right before its commit.
    pub finished_at: Option<Timestamp>,
    /// From recorded to lock, in milliseconds; without a lock, to the end.
    pub waited_ms: Option<i64>,
    /// From lock to plan, in milliseconds.
    pub plan_ms: Option<i64>,
    /// From plan to the last schema reset, in milliseconds.
    pub reset_ms: Option<i64>,
    /// From there to the last revision, in milliseconds.
    pub migrate_ms: Option<i64>,
    /// From there to the validation, in milliseconds.
    pub validate_ms: Option<i64>,
    /// How long the database's name was not to be had, in milliseconds, up to the commit (scope database and undo).
    pub unavailable_ms: Option<f64>,
    /// From recorded to the end, in milliseconds.
    pub total_ms: Option<i64>,
}

impl Timings {
    /// The phases in their order, each by its name and how long it took, in milliseconds.
    #[must_use]
    pub fn phases(&self) -> [(&'static str, Option<i64>); 5] {
        [
            ("waited", self.waited_ms),
            ("plan", self.plan_ms),
            ("reset", self.reset_ms),
            ("migrate", self.migrate_ms),
            ("validate", self.validate_ms),
        ]
    }
}

/// One applied revision.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RevisionEntry {
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
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// `applied`, `rolled-back` or `unknown`.
    pub status: String,
}

/// The error in full.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ErrorDetail {
    /// UPPER_SNAKE reason.
    pub reason: String,
    /// What happened and what it means.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// PostgreSQL's code.
    pub sqlstate: Option<String>,
    /// The schema the revision ran in.
    pub schema: Option<String>,
    /// The revision's file.
    pub file: Option<String>,
    /// 1-based line in it.
    pub line: Option<u32>,
    /// The statement, shortened.
    pub statement: Option<String>,
    /// All dynamic parts of the message.
    pub metadata: BTreeMap<String, String>,
}
