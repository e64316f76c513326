//! The report: the fold of an operation's events, as one JSON document made once, by the daemon.
//!
//! Keys that scripts read stay at their paths; new ones come beside them. No secret is in any event, so none is here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    event::{
        Accepted, ChainCompleted, DatabaseSwapped, Event, EventKind, RevisionApplied, SchemaReset,
        SchemaReturned,
    },
    fault::{Fault, Reason, Status},
    operation::{Outcome, Verb},
    plan::{Plan, PlannedSchema},
    profile::Scope,
    text,
    validation::Validation,
};

mod shape;
mod tool;

pub use shape::{
    Details, ErrorDetail, MigrationEntry, Report, ReportDaemon, ReportPrincipal, ResetDatabase, ResetDetail,
    ResetEntry, RevisionEntry, Timings, ToolEntry, UndoDetail, UndoEntry,
};

/// The version of the report's shape.
pub const REPORT_VERSION: u32 = 1;

/// The note on a dry run of `run`.
const PREVIEW: &str =
    "a dry run previews the reset and lists the revisions; nothing was executed or validated";

impl From<&Fault> for ErrorDetail {
    fn from(fault: &Fault) -> Self {
        Self {
            reason: fault.reason.name().to_owned(),
            message: fault.message.clone(),
            hint: fault.hint.clone(),
            sqlstate: fault.sql.sqlstate.clone(),
            schema: fault.sql.schema.clone(),
            file: fault.sql.file.clone(),
            line: fault.sql.line,
            statement: fault.sql.statement.clone(),
            metadata: fault.metadata.clone(),
        }
    }
}

impl Report {
    /// A report of nothing yet.
    #[must_use]
    pub fn new(verb: Verb, target: &str, at: Timestamp) -> Self {
        Self {
            generated_at: at,
            command: verb.as_str().to_owned(),
            target_db: None,
            target_env_var: None,
            status: Status::Error,
            error: None,
            details: Details::default(),
            report_version: REPORT_VERSION,
            operation: None,
            outcome: None,
            target: target.to_owned(),
            principal: None,
            labels: BTreeMap::new(),
            daemon: None,
            chains: BTreeMap::new(),
            plan: None,
            findings: Vec::new(),
            timings: Timings::default(),
            revisions: Vec::new(),
            error_detail: None,
            phased: false,
            tool: None,
        }
    }

    /// The report of a request that was refused before an operation existed.
    #[must_use]
    pub fn refused(mut self, scope: Option<Scope>, dry_run: bool, fault: &Fault) -> Self {
        self.details.scope = scope;
        self.dry_run(dry_run);
        self.target_db = fault.metadata.get("target_db").cloned();
        self.target_env_var = fault.metadata.get("target_env_var").cloned();
        self.fail(fault);
        self
    }

    /// Takes one event in.
    pub fn absorb(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Accepted(it) => self.accepted(event, it),
            EventKind::LockAcquired { .. } => self.started(event),
            EventKind::Planned { plan } => self.planned(event, plan),
            EventKind::FindingReported { finding } => self.findings.push(finding.clone()),
            EventKind::SchemaReset(it) => self.schema_reset(event, it),
            EventKind::SchemaReturned(it) => self.schema_returned(event, it),
            EventKind::RevisionApplied(it) => self.revision_applied(it),
            EventKind::ChainCompleted(it) => self.chain_completed(event, it),
            EventKind::Validated { validation } => self.validated(event, validation),
            EventKind::DatabaseSwapped(it) => self.swapped(it),
            EventKind::ToolStarted(it) => self.tool = Some(tool::started(it)),
            EventKind::ToolEnded(it) => self.tool_ended(event, it),
            _ => {}
        }
    }

    /// Ends the report at `at`: nothing more is absorbed after it. What took long may have left no event, and may have been the
    /// wait for the lock: the times are those up to here.
    #[must_use]
    pub fn finish(mut self, outcome: Outcome, fault: Option<&Fault>, at: Timestamp) -> Self {
        self.generated_at = at;
        self.outcome = Some(outcome);
        let timings = &mut self.timings;
        timings.finished_at = timings.accepted_at.map(|_| at);
        timings.total_ms = between(timings.accepted_at, Some(at));
        if timings.started_at.is_none() {
            timings.waited_ms = timings.total_ms;
        }
        match fault {
            Some(fault) => {
                self.fail(fault);
                match fault.reason {
                    reason if knows_nothing(reason) => self.unmake("unknown"),
                    reason if self.phased || is_committed(reason) => {}
                    _ => self.unmake("rolled-back"),
                }
            }
            None => {
                self.status = Status::Ok;
                self.error = None;
            }
        }
        self
    }

    /// The report's text: pretty JSON, with nothing hidden in its strings, and a newline. These bytes are stored, sent and hashed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let text = serde_json::to_string_pretty(self).unwrap_or_else(|_| Value::Null.to_string());
        format!("{}\n", text::json(&text))
    }

    fn fail(&mut self, fault: &Fault) {
        self.status = fault.reason.status();
        self.error = (self.status != Status::Failed).then(|| fault.message.clone());
        self.error_detail = Some(fault.into());
    }

    /// What was done inside the transaction and did not come to stay.
    fn unmake(&mut self, status: &str) {
        match &mut self.details.reset {
            Some(ResetDetail::Schemas(entries)) => {
                for entry in entries.iter_mut().filter(|e| e.status == "reset") {
                    entry.status = status.to_owned();
                    entry.schema_exists_after = entry.schema_exists_before;
                    entry.table_count_after = entry.table_count_before;
                    (entry.kept_as, entry.kept_until) = (None, None);
                }
            }
            Some(ResetDetail::Database(entry)) if entry.status == "reset" => {
                entry.status = status.to_owned();
                entry.db_exists_after = entry.db_exists_before;
            }
            _ => {}
        }
        if let Some(undo) = self.details.undo.as_mut().filter(|undo| undo.status == "undone") {
            undo.status = status.to_owned();
            for entry in &mut undo.schemas {
                (entry.kept_as, entry.kept_until) = (None, None);
            }
        }
        for entry in self.details.migrations.iter_mut().flatten().filter(|e| e.status == "ok") {
            entry.status = status.to_owned();
        }
        for entry in &mut self.revisions {
            entry.status = status.to_owned();
        }
    }

    fn accepted(&mut self, event: &Event, it: &Accepted) {
        self.operation = Some(event.operation);
        self.command = it.verb.as_str().to_owned();
        self.target = it.target.clone();
        self.target_db = Some(it.database.clone());
        self.target_env_var = it.target_env_var.clone();
        self.details.scope = it.scope;
        self.dry_run(it.dry_run);
        self.principal =
            Some(ReportPrincipal { name: it.principal.clone(), auth_method: it.auth_method.clone() });
        self.labels = it.labels.clone();
        self.daemon = Some(ReportDaemon { version: it.version.clone(), instance: it.instance });
        self.chains = it.chains.clone();
        self.phased = it.phased;
        self.timings.accepted_at = Some(event.at);
    }

    fn dry_run(&mut self, it: bool) {
        self.details.dry_run = it;
        self.details.note = (it && self.command == Verb::Run.as_str()).then(|| PREVIEW.to_owned());
    }

    fn started(&mut self, event: &Event) {
        self.timings.started_at = Some(event.at);
        self.timings.waited_ms = between(self.timings.accepted_at, Some(event.at));
    }

    fn planned(&mut self, event: &Event, plan: &Plan) {
        self.timings.plan_ms = between(self.timings.started_at, Some(event.at));
        self.plan = Some(plan.clone());
        if self.command == Verb::Undo.as_str() {
            // What comes back is known only now.
            self.details.scope = plan.scope;
            self.details.undo = planned_undo(plan);
        }
        if !self.details.dry_run || plan.brings_back_schemas.is_some() {
            return;
        }
        self.details.reset = plan.scope.map(|scope| match scope {
            Scope::ManagedSchemas => ResetDetail::Schemas(plan.schemas.iter().map(planned_entry).collect()),
            Scope::Database => ResetDetail::Database(planned_database(plan)),
        });
        if !plan.chains.is_empty() {
            self.details.migrations = Some(plan.chains.iter().map(planned_migration).collect());
        }
    }

    fn schema_reset(&mut self, event: &Event, it: &SchemaReset) {
        self.timings.reset_ms = between(self.phase_start(), Some(event.at));
        let entry = ResetEntry {
            scope: "managed-schema".to_owned(),
            schema: it.schema.clone(),
            schema_exists_before: it.existed_before,
            table_count_before: it.tables_before,
            schema_exists_after: it.exists_after,
            table_count_after: it.tables_after,
            status: "reset".to_owned(),
            kept_as: it.kept_as.clone(),
            kept_until: it.kept_until,
        };
        match &mut self.details.reset {
            Some(ResetDetail::Schemas(entries)) => entries.push(entry),
            other => *other = Some(ResetDetail::Schemas(vec![entry])),
        }
    }

    fn schema_returned(&mut self, event: &Event, it: &SchemaReturned) {
        self.timings.reset_ms = between(self.phase_start(), Some(event.at));
        let Some(undo) = &mut self.details.undo else { return };
        undo.status = "undone".to_owned();
        if let Some(entry) = undo.schemas.iter_mut().find(|e| e.schema == it.schema) {
            entry.table_count_after = it.tables;
            (entry.kept_as, entry.kept_until) = (it.kept_as.clone(), it.kept_until);
        }
    }

    fn swapped(&mut self, it: &DatabaseSwapped) {
        if let Some(undo) = &mut self.details.undo {
            undo.status = "undone".to_owned();
        }
        self.timings.unavailable_ms = Some(it.unavailable_us as f64 / 1000.0);
        self.details.reset = Some(ResetDetail::Database(ResetDatabase {
            scope: "database".to_owned(),
            database: it.database.clone(),
            db_exists_before: it.old_oid.is_some(),
            active_connections_before: it.connections_before,
            db_exists_after: true,
            status: "reset".to_owned(),
            kept_as: it.kept_as.clone(),
            kept_until: it.kept_until,
        }));
    }

    fn revision_applied(&mut self, it: &RevisionApplied) {
        self.revisions.push(RevisionEntry {
            schema: it.schema.clone(),
            chain: it.chain.clone(),
            revision: it.revision.clone(),
            checksum: it.checksum.clone(),
            statements: it.statements,
            duration_ms: std::time::Duration::from_micros(it.duration_us).as_secs_f64() * 1000.0,
            status: "applied".to_owned(),
        });
    }

    fn chain_completed(&mut self, event: &Event, it: &ChainCompleted) {
        let started = self.phase_start().zip(self.timings.reset_ms.or(Some(0)));
        self.timings.migrate_ms =
            started.and_then(|(s, r)| between(Some(s), Some(event.at)).map(|ms| ms - r));
        self.details.migrations.get_or_insert_default().push(MigrationEntry {
            schema: it.schema.clone(),
            chain: it.chain.clone(),
            expected_revision: it.head.clone(),
            status: "ok".to_owned(),
            applied: it.applied.clone(),
        });
    }

    fn validated(&mut self, event: &Event, validation: &Validation) {
        let before = self.timings.reset_ms.unwrap_or(0) + self.timings.migrate_ms.unwrap_or(0);
        self.timings.validate_ms = between(self.phase_start(), Some(event.at)).map(|ms| ms - before);
        self.details.validation = Some(validation.clone());
    }

    /// When the plan was ready: phases are measured from there.
    fn phase_start(&self) -> Option<Timestamp> {
        let started = self.timings.started_at?;
        let planned = jiff::SignedDuration::from_millis(self.timings.plan_ms.unwrap_or(0));
        started.checked_add(planned).ok()
    }
}

/// These are said of what is committed.
fn is_committed(reason: Reason) -> bool {
    matches!(reason, Reason::ValidThenChanged | Reason::ValidityUnknown)
}

/// After these nobody can say what stayed.
fn knows_nothing(reason: Reason) -> bool {
    matches!(reason, Reason::OutcomeUnknown | Reason::TransactionEscaped)
}

fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<i64> {
    let millis = to?.duration_since(from?).as_millis();
    i64::try_from(millis).ok()
}

fn planned_entry(schema: &PlannedSchema) -> ResetEntry {
    ResetEntry {
        scope: "managed-schema".to_owned(),
        schema: schema.schema.clone(),
        schema_exists_before: schema.exists,
        table_count_before: schema.tables,
        schema_exists_after: schema.exists,
        table_count_after: schema.tables,
        status: "planned".to_owned(),
        kept_as: None,
        kept_until: None,
    }
}

fn planned_undo(plan: &Plan) -> Option<UndoDetail> {
    let status = "planned".to_owned();
    if let Some(it) = &plan.brings_back {
        return Some(UndoDetail {
            operation: it.operation,
            scope: Scope::Database,
            status,
            schemas: Vec::new(),
        });
    }
    let set = plan.brings_back_schemas.as_ref()?;
    let entry = |(coming, going): (&crate::plan::ReturningSchema, &PlannedSchema)| UndoEntry {
        schema: coming.schema.clone(),
        came_from: coming.kept_as.clone(),
        table_count_before: going.tables,
        table_count_after: coming.tables,
        kept_as: None,
        kept_until: None,
    };
    Some(UndoDetail {
        operation: set.operation,
        scope: Scope::ManagedSchemas,
        status,
        schemas: set.schemas.iter().zip(&plan.schemas).map(entry).collect(),
    })
}

fn planned_database(plan: &Plan) -> ResetDatabase {
    ResetDatabase {
        scope: "database".to_owned(),
        database: plan.database.clone(),
        db_exists_before: plan.database_oid != 0,
        active_connections_before: u32::try_from(plan.sessions.len()).unwrap_or(u32::MAX),
        db_exists_after: plan.database_oid != 0,
        status: "planned".to_owned(),
        kept_as: None,
        kept_until: None,
    }
}

fn planned_migration(chain: &crate::plan::PlannedChain) -> MigrationEntry {
    MigrationEntry {
        schema: chain.schema.clone(),
        chain: chain.chain.clone(),
        expected_revision: chain.to.clone(),
        status: "planned".to_owned(),
        applied: chain.revisions.clone(),
    }
}

#[cfg(test)]
mod tests;
