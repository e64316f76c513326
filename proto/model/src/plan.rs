//! Exactly what an operation would do and lose: computed from what was observed, with a digest over identities.
//! Pure: no clock, no database. What is observed comes in as [`Observation`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    blast::{Activity, ExtensionMove, OutsideObject, Reference, SchemaProperty, TableGrant},
    chain::ChainSet,
    fault::Reason,
    finding::Finding,
    history::History,
    matrix::Matrix,
    operation::{Request, Verb},
    profile::Scope,
};

mod aside;
mod changes;
mod identity;
mod locks;
mod refusal;
mod replay;

pub use aside::{Returning, ReturningSchema, ReturningSchemas};
pub use refusal::tell_moved;
pub use replay::pairs;

/// A managed schema as it is in the catalog.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObservedSchema {
    /// Its name.
    pub name: String,
    /// Its owner; `None` when the schema is not there.
    pub owner: Option<String>,
    /// Names of its tables (partitioned ones included).
    pub tables: Vec<String>,
    /// How many objects of each kind a drop would take.
    pub kinds: BTreeMap<String, u64>,
    /// Those objects, by kind and identity.
    pub identities: Vec<String>,
    /// Estimated rows, by the planner's statistics.
    pub estimated_rows: i64,
    /// Bytes on disk.
    pub bytes: i64,
    /// Rows written to its tables since they were made, or since the statistics were reset.
    pub written: i64,
    /// Rows of its `alembic_version`; `None` when it has no such table.
    pub versions: Option<Vec<String>>,
}

impl ObservedSchema {
    /// Who owns it.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// It is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.owner.is_some()
    }

    /// The migration history in it.
    #[must_use]
    pub fn history(&self) -> History {
        History { versions: self.versions.clone().unwrap_or_default() }
    }
}

/// The server's lock table, and how much of it a drop takes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LockTable {
    /// `max_locks_per_transaction`.
    pub per_transaction: u64,
    /// `max_connections`.
    pub connections: u64,
    /// `max_prepared_transactions`.
    pub prepared_transactions: u64,
    /// Entries that other sessions hold now.
    pub in_use: u64,
    /// Entries that the drop takes: one for each object.
    pub drop_entries: u64,
    /// Entries that setting the schemas aside takes: one for each table.
    pub aside_entries: u64,
}

/// What was observed of a target under its lock.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Observation {
    /// The database's oid.
    pub database_oid: u32,
    /// The role that the daemon works as.
    pub role: String,
    /// The managed schemas, in the matrix's order, also those that are not there.
    pub schemas: Vec<ObservedSchema>,
    /// What dropping the schemas to be reset would take outside the managed ones.
    pub outside: Vec<OutsideObject>,
    /// What hangs on what goes and is not dropped with it.
    pub references: Vec<Reference>,
    /// Rights on what is inside, which go with it.
    pub grants: Vec<TableGrant>,
    /// What hangs on the schemas to be reset and comes back.
    pub schema_properties: Vec<SchemaProperty>,
    /// Extensions that are moved out of managed schemas.
    pub moves: Vec<ExtensionMove>,
    /// Extensions that the chains require and that are created.
    pub created_extensions: Vec<String>,
    /// Roles that the chains create and that the cluster has.
    pub existing_roles: Vec<String>,
    /// Sessions connected now, the daemon's own left out.
    pub sessions: Vec<PlannedSession>,
    /// How long what is there now would be kept, in seconds.
    pub keep_previous_seconds: u64,
    /// What inside cannot be separated from what is outside, so that it cannot be set aside.
    pub inseparable: Vec<String>,
    /// Foreign keys from inside to outside, which go on holding while the schemas are set aside.
    pub keys_to_outside: Vec<String>,
    /// The database that an undo brings back.
    pub brings_back: Option<Returning>,
    /// Operations of which the profile's limits do not keep what they set aside, beside what this one does.
    pub ends_early: Vec<uuid::Uuid>,
    /// The schemas that an undo brings back.
    pub brings_back_schemas: Option<ReturningSchemas>,
    /// The server's lock table; `None` where nothing is changed in one transaction.
    pub locks: Option<LockTable>,
    /// More estimated rows than this go only with the plan's digest.
    pub max_rows: Option<u64>,
    /// More bytes than this go only with the plan's digest.
    pub max_bytes: Option<u64>,
    /// How much was written.
    pub activity: Activity,
    /// What else preflight found.
    pub findings: Vec<Finding>,
}

impl Observation {
    /// The schema of that name.
    #[must_use]
    pub fn schema(&self, name: &str) -> Option<&ObservedSchema> {
        self.schemas.iter().find(|s| s.name == name)
    }
}

/// A schema that would be dropped and recreated.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlannedSchema {
    /// Its name.
    pub schema: String,
    /// It is there now.
    pub exists: bool,
    /// Its owner, when it is there.
    pub owner: Option<String>,
    /// Tables in it.
    pub tables: u64,
    /// All objects that go with it.
    pub objects: u64,
    /// How many of each kind.
    #[serde(default)]
    pub kinds: BTreeMap<String, u64>,
    /// Estimated rows.
    pub estimated_rows: i64,
    /// Bytes on disk.
    pub bytes: i64,
    /// Rows written to its tables since they were made, or since the statistics were reset.
    #[serde(default)]
    pub written: i64,
}

/// The revisions that would be applied in one schema.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlannedChain {
    /// The schema.
    pub schema: String,
    /// The chain.
    pub chain: String,
    /// The revision present now.
    pub from: Option<String>,
    /// The chain's head.
    pub to: String,
    /// Revisions to be applied, in order.
    pub revisions: Vec<String>,
}

/// A session connected to the target.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlannedSession {
    /// Its backend.
    pub pid: i32,
    /// Its role.
    pub user: String,
    /// What it calls itself.
    pub application_name: String,
    /// From where; empty for a unix socket.
    pub address: String,
    /// Its state, or the kind of background worker.
    pub state: String,
    /// Seconds since its last query began; negative when it had none.
    pub query_age_seconds: i64,
    /// It has a transaction open.
    pub in_transaction: bool,
    /// The operation would end it (scope database).
    pub would_end: bool,
}

/// Why a real run would be refused.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// In words.
    pub text: String,
}

/// Exactly what an operation would do and lose.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Plan {
    /// `sha256:…` over the identities below, never over estimates.
    pub digest: String,
    /// The target's name.
    pub target: String,
    /// The database's name.
    pub database: String,
    /// The database's oid.
    pub database_oid: u32,
    /// Only for verbs that drop.
    pub scope: Option<Scope>,
    /// Schemas that would be dropped and recreated.
    pub schemas: Vec<PlannedSchema>,
    /// What goes with them outside the managed schemas.
    pub outside: Vec<OutsideObject>,
    /// Schemas that would be created because they are missing.
    pub created_schemas: Vec<String>,
    /// Revisions that would be applied.
    pub chains: Vec<PlannedChain>,
    /// What preflight found.
    pub findings: Vec<Finding>,
    /// Why a real run would be refused.
    pub refusal: Option<Refusal>,
    /// Sessions connected now, the daemon's own left out.
    #[serde(default)]
    pub sessions: Vec<PlannedSession>,
    /// How long what is there now would be kept for undo, in seconds; 0: it could not be undone.
    #[serde(default)]
    pub keep_previous_seconds: u64,
    /// The database that an undo brings back.
    #[serde(default)]
    pub brings_back: Option<Returning>,
    /// The schemas that an undo brings back.
    #[serde(default)]
    pub brings_back_schemas: Option<ReturningSchemas>,
    /// What hangs on what goes and is not dropped with it.
    #[serde(default)]
    pub references: Vec<Reference>,
    /// Rights on what is inside, which go with it.
    #[serde(default)]
    pub grants: Vec<TableGrant>,
    /// What hangs on the schemas and is put back after their recreation.
    #[serde(default)]
    pub schema_properties: Vec<SchemaProperty>,
    /// Extensions that are moved out of managed schemas before anything is dropped.
    #[serde(default)]
    pub extension_moves: Vec<ExtensionMove>,
    /// Extensions that the chains require and that are created.
    #[serde(default)]
    pub created_extensions: Vec<String>,
    /// How much was written since the last operation.
    #[serde(default)]
    pub activity: Activity,
    /// More data than the profile lets go without the plan's digest: how much, in words.
    #[serde(default)]
    pub data_limit: Option<String>,
    /// The migration tool that fills the new database: `sha256:…` of its command line.
    #[serde(default)]
    pub tool_command: Option<String>,
}

impl Plan {
    /// Computes the plan of `request` on a database, from what was observed there.
    #[must_use]
    pub fn compute(
        request: &Request,
        database: &str,
        matrix: &Matrix,
        chains: &ChainSet,
        observed: &Observation,
    ) -> Self {
        let reset = match &observed.brings_back_schemas {
            Some(set) => set.schemas.iter().map(|s| s.schema.clone()).collect(),
            None => schemas_to_reset(request, matrix),
        };
        let scope = match (request.verb, &observed.brings_back_schemas) {
            (Verb::Undo, Some(_)) => Some(Scope::ManagedSchemas),
            (Verb::Undo, None) => Some(Scope::Database),
            _ => request.scope,
        };
        let in_place = scope != Some(Scope::Database);
        let replaces = request.verb.resets() || observed.brings_back_schemas.is_some();
        let migrates = request.verb.migrates();
        let mut plan = Self {
            target: request.target.clone(),
            database: database.to_owned(),
            database_oid: observed.database_oid,
            scope,
            schemas: reset.iter().map(|name| planned_schema(name, observed)).collect(),
            findings: observed.findings.clone(),
            references: observed.references.clone(),
            extension_moves: observed.moves.clone(),
            activity: observed.activity.clone(),
            sessions: observed.sessions.clone(),
            keep_previous_seconds: observed.keep_previous_seconds,
            brings_back: observed.brings_back.clone(),
            brings_back_schemas: observed.brings_back_schemas.clone(),
            tool_command: request.tool.as_ref().map(|tool| tool.command_sha256.clone()),
            ..Self::default()
        };
        if replaces {
            plan.outside = observed.outside.clone();
            plan.schema_properties = observed.schema_properties.clone();
        }
        if replaces && in_place {
            plan.aside(observed);
            plan.grants = observed.grants.clone();
        }
        if migrates {
            plan.created_schemas = missing(matrix, observed, &reset);
            plan.created_extensions = observed.created_extensions.clone();
            plan.chains = replay::planned(matrix, chains, observed, &reset);
            plan.findings.extend(replay::findings(request, matrix, chains, observed, &reset, &plan));
        }
        if !request.allow_phased {
            plan.findings.extend(locks::finding(&plan, &chains.chains, observed));
        }
        plan.data_limit = data_limit(&plan, observed);
        plan.digest = identity::digest(&plan.identity(chains, observed));
        plan.refusal = plan.refusal(None).map(|f| Refusal { reason: f.reason, text: f.message });
        if request.verb == Verb::Undo && plan.brings_back.is_none() && plan.brings_back_schemas.is_none() {
            let text = format!("nothing of {database} is kept that could come back");
            plan.refusal.get_or_insert(Refusal { reason: Reason::NothingToUndo, text });
        }
        plan
    }
}

/// More rows or bytes would go than the profile lets go without a digest.
fn data_limit(plan: &Plan, observed: &Observation) -> Option<String> {
    let rows: i64 = plan.schemas.iter().map(|s| s.estimated_rows.max(0)).sum();
    let bytes: i64 = plan.schemas.iter().map(|s| s.bytes.max(0)).sum();
    let over = |limit: Option<u64>, found: i64| limit.filter(|limit| found.unsigned_abs() > *limit);
    let mut parts = Vec::new();
    if let Some(limit) = over(observed.max_rows, rows) {
        parts.push(format!("about {rows} rows, more than max_rows = {limit}"));
    }
    if let Some(limit) = over(observed.max_bytes, bytes) {
        parts.push(format!("about {bytes} bytes, more than max_bytes = {limit}"));
    }
    (!parts.is_empty()).then(|| parts.join(", and "))
}

/// `1 object`, `2 objects`.
#[must_use]
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The schemas that `request` drops: all managed ones, or those it names, in the matrix's order.
#[must_use]
pub fn schemas_to_reset(request: &Request, matrix: &Matrix) -> Vec<String> {
    if !request.verb.resets() {
        return Vec::new();
    }
    let named =
        |s: &&str| request.managed_schemas.is_empty() || request.managed_schemas.iter().any(|n| n == s);
    matrix.managed_schemas().into_iter().filter(named).map(str::to_owned).collect()
}

fn planned_schema(name: &str, observed: &Observation) -> PlannedSchema {
    let schema = observed.schema(name).cloned().unwrap_or_default();
    PlannedSchema {
        schema: name.to_owned(),
        exists: schema.exists(),
        tables: schema.tables.len() as u64,
        objects: schema.kinds.values().sum(),
        estimated_rows: schema.estimated_rows,
        bytes: schema.bytes,
        written: schema.written,
        kinds: schema.kinds,
        owner: schema.owner,
    }
}

fn missing(matrix: &Matrix, observed: &Observation, reset: &[String]) -> Vec<String> {
    let absent =
        |s: &&str| !reset.iter().any(|r| r == s) && !observed.schema(s).is_some_and(ObservedSchema::exists);
    matrix.managed_schemas().into_iter().filter(absent).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
