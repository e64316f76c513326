//! Exactly what an operation would do and lose: computed from what was observed, with a digest over identities.
//!
//! Pure: no clock, no database. What is observed comes in as [`Observation`].

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    blast::OutsideObject,
    chain::{Chain, ChainSet},
    fault::{Fault, Reason},
    finding::{Finding, Severity},
    history::History,
    matrix::Matrix,
    operation::{Request, Verb},
    profile::Scope,
};

/// A managed schema as it is in the catalog.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObservedSchema {
    /// Its name.
    pub name: String,
    /// Its owner; `None` when the schema is not there.
    pub owner: Option<String>,
    /// Names of its tables (partitioned ones included).
    pub tables: Vec<String>,
    /// All objects that a drop would take.
    pub objects: u64,
    /// Estimated rows, by the planner's statistics.
    pub estimated_rows: i64,
    /// Bytes on disk.
    pub bytes: i64,
    /// Rows of its `alembic_version`; `None` when it has no such table.
    pub versions: Option<Vec<String>>,
}

impl ObservedSchema {
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
    /// What else preflight found.
    pub findings: Vec<Finding>,
    /// Sessions connected now (scope database).
    pub sessions: Vec<PlannedSession>,
    /// How long the previous database would be kept, in seconds (scope database).
    pub keep_previous_seconds: u64,
}

impl Observation {
    /// The schema of that name.
    #[must_use]
    pub fn schema(&self, name: &str) -> Option<&ObservedSchema> {
        self.schemas.iter().find(|s| s.name == name)
    }
}

/// A schema that would be dropped and recreated.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
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
    /// Estimated rows.
    pub estimated_rows: i64,
    /// Bytes on disk.
    pub bytes: i64,
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

/// A session connected to a database that would be swapped away.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
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
    /// The operation would end it.
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
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
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
    pub would_refuse: Option<Refusal>,
    /// Sessions connected now (scope database).
    pub sessions: Vec<PlannedSession>,
    /// How long the previous database would be kept for undo, in seconds; 0: it could not be undone (scope database).
    pub keep_previous_seconds: u64,
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
        let reset = schemas_to_reset(request, matrix);
        let schemas = reset.iter().map(|name| planned_schema(name, observed)).collect();
        let planned_chains = if request.verb.migrates() {
            planned_chains(matrix, chains, observed, &reset)
        } else {
            Vec::new()
        };
        let created_schemas =
            if request.verb.migrates() { missing(matrix, observed, &reset) } else { Vec::new() };
        let mut findings = observed.findings.clone();
        if request.verb.migrates() {
            findings.extend(chain_findings(request, matrix, chains, observed, &reset, &planned_chains));
        }
        let mut plan = Self {
            digest: String::new(),
            target: request.target.clone(),
            database: database.to_owned(),
            database_oid: observed.database_oid,
            scope: if request.verb == Verb::Undo { Some(Scope::Database) } else { request.scope },
            schemas,
            outside: if request.verb.resets() { observed.outside.clone() } else { Vec::new() },
            created_schemas,
            chains: planned_chains,
            findings,
            would_refuse: None,
            sessions: observed.sessions.clone(),
            keep_previous_seconds: observed.keep_previous_seconds,
        };
        plan.digest = plan.identity_digest(chains, observed);
        plan.would_refuse = plan.refusal(None).map(|f| Refusal { reason: f.reason, text: f.message });
        plan
    }

    /// The reason to refuse this plan, if there is one. `approved` is the digest that the caller sends along: it must
    /// match, and it lets the plan's outside objects go.
    #[must_use]
    pub fn refusal(&self, approved: Option<&str>) -> Option<Fault> {
        if let Some(approved) = approved.filter(|d| *d != self.digest) {
            return Some(
                Fault::new(
                    Reason::PlanChanged,
                    format!(
                        "the plan is {}, not the approved {approved}: the target or the chains changed",
                        self.digest
                    ),
                )
                .hint("read a new --dry-run and send its digest")
                .with("approved", approved)
                .with("digest", &self.digest),
            );
        }
        let errors: Vec<&Finding> = self.findings.iter().filter(|f| f.severity == Severity::Error).collect();
        if let Some(first) = errors.first() {
            let all_not_transactional = errors.iter().all(|f| f.code == Reason::NotTransactional.name());
            let reason =
                if all_not_transactional { Reason::NotTransactional } else { Reason::PreflightFailed };
            let lines: Vec<String> = errors.iter().map(|f| format!("{}: {}", f.object, f.message)).collect();
            return Some(
                Fault::new(
                    reason,
                    format!("preflight found {}: {}", count(errors.len(), "error"), lines.join("; ")),
                )
                .hint(first.hint.clone())
                .with("findings", errors.len()),
            );
        }
        if !self.outside.is_empty() && approved.is_none() && self.scope != Some(Scope::Database) {
            let names: Vec<String> = self.outside.iter().take(5).map(ToString::to_string).collect();
            let more = self.outside.len().saturating_sub(names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Some(
                Fault::new(
                    Reason::BlastRadius,
                    format!(
                        "{} outside the managed schemas would be lost: {}{more}",
                        count(self.outside.len(), "object"),
                        names.join(", ")
                    ),
                )
                .hint(format!(
                    "move or drop them first, or approve exactly this plan with --plan-digest {}",
                    self.digest
                ))
                .with("objects", self.outside.len())
                .with("digest", &self.digest),
            );
        }
        None
    }

    fn identity_digest(&self, chains: &ChainSet, observed: &Observation) -> String {
        let tables = |name: &str| observed.schema(name).map(|s| s.tables.clone());
        let schemas: Vec<_> = self
            .schemas
            .iter()
            .map(|s| (&s.schema, s.exists, &s.owner, tables(&s.schema), s.objects))
            .collect();
        let fingerprints: Vec<_> = chains.chains.iter().map(|c| (&c.name, c.fingerprint())).collect();
        let identity = serde_json::json!([
            self.target,
            self.database,
            self.database_oid,
            self.scope,
            schemas,
            self.outside,
            self.created_schemas,
            self.chains,
            fingerprints,
        ]);
        format!("sha256:{}", crate::hex(&Sha256::digest(identity.to_string())))
    }
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
        objects: schema.objects,
        estimated_rows: schema.estimated_rows,
        bytes: schema.bytes,
        owner: schema.owner,
    }
}

fn missing(matrix: &Matrix, observed: &Observation, reset: &[String]) -> Vec<String> {
    let absent =
        |s: &&str| !reset.iter().any(|r| r == s) && !observed.schema(s).is_some_and(ObservedSchema::exists);
    matrix.managed_schemas().into_iter().filter(absent).map(str::to_owned).collect()
}

/// Every (chain, schema) of the matrix, chain by chain, with the chain itself.
pub fn pairs<'a>(matrix: &'a Matrix, chains: &'a ChainSet) -> impl Iterator<Item = (&'a Chain, &'a str)> {
    matrix.chains.iter().flat_map(move |m| {
        let chain = chains.chains.iter().find(|c| c.name == m.name);
        chain.into_iter().flat_map(move |c| m.schemas.iter().map(move |s| (c, s.as_str())))
    })
}

fn history_after_reset(schema: &str, observed: &Observation, reset: &[String]) -> History {
    if reset.iter().any(|r| r == schema) {
        return History { versions: Vec::new() };
    }
    observed.schema(schema).map(ObservedSchema::history).unwrap_or_else(|| History { versions: Vec::new() })
}

fn planned_chains(
    matrix: &Matrix,
    chains: &ChainSet,
    observed: &Observation,
    reset: &[String],
) -> Vec<PlannedChain> {
    pairs(matrix, chains)
        .map(|(chain, schema)| {
            let history = history_after_reset(schema, observed, reset);
            PlannedChain {
                schema: schema.to_owned(),
                chain: chain.name.clone(),
                from: history.head_of(chain).map(|r| r.id.clone()),
                to: chain.head().id.clone(),
                revisions: history.pending(chain).iter().map(|r| r.id.clone()).collect(),
            }
        })
        .collect()
}

fn chain_findings(
    request: &Request,
    matrix: &Matrix,
    chains: &ChainSet,
    observed: &Observation,
    reset: &[String],
    planned: &[PlannedChain],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for schema in matrix.managed_schemas() {
        let here: Vec<&Chain> = pairs(matrix, chains).filter(|(_, s)| *s == schema).map(|(c, _)| c).collect();
        for unknown in history_after_reset(schema, observed, reset).unknown(&here) {
            findings.push(Finding::error(
                "UNKNOWN_REVISION",
                format!("{schema}.alembic_version"),
                format!("holds revision {unknown}, which no chain of this schema knows"),
                "reset the schema, or migrate with the chains that made it (--chains DIR)",
            ));
        }
    }
    if request.allow_phased || request.scope == Some(Scope::Database) {
        return findings;
    }
    for chain in &chains.chains {
        let pending: Vec<&String> =
            planned.iter().filter(|p| p.chain == chain.name).flat_map(|p| &p.revisions).collect();
        for obstacle in chain.transaction_obstacles() {
            if pending.iter().any(|id| **id == obstacle.revision) {
                findings.push(Finding::error(
                    Reason::NotTransactional.name(),
                    format!("{}:{}", obstacle.file, obstacle.line),
                    obstacle.kind.to_string(),
                    "scope database has no such limit; `migrate` alone may go revision by revision with --allow-phased",
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests;
