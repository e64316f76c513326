//! Which revisions would be replayed where, and what stands in their way.

use crate::{
    chain::{Chain, ChainSet},
    fault::Reason,
    finding::Finding,
    history::History,
    matrix::Matrix,
    operation::Request,
    profile::Scope,
    revision::Revision,
    sql::{self, StatementKind},
};

use super::{Observation, ObservedSchema, Plan, PlannedChain};

/// Every (chain, schema) of the matrix, in the order of their replay, with the chain itself.
pub fn pairs<'a>(matrix: &'a Matrix, chains: &'a ChainSet) -> impl Iterator<Item = (&'a Chain, &'a str)> {
    let cells = matrix.cells().into_iter();
    cells.filter_map(|(m, schema)| Some((chains.get(&m.name)?, schema)))
}

fn history_after_reset(schema: &str, observed: &Observation, reset: &[String]) -> History {
    if reset.iter().any(|r| r == schema) {
        return History { versions: Vec::new() };
    }
    observed.schema(schema).map(ObservedSchema::history).unwrap_or_else(|| History { versions: Vec::new() })
}

pub(super) fn planned(
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

pub(super) fn findings(
    request: &Request,
    matrix: &Matrix,
    chains: &ChainSet,
    observed: &Observation,
    reset: &[String],
    plan: &Plan,
) -> Vec<Finding> {
    let planned = plan.chains.as_slice();
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
    findings.extend(scripts(matrix, chains));
    for chain in &chains.chains {
        findings.extend(unguarded_roles(chain, planned, observed));
    }
    if request.scope == Some(Scope::Database) {
        findings.extend(named_databases(&plan.database, chains, planned));
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

/// Scripts that run beside the revisions, so that a plan shows them.
fn scripts(matrix: &Matrix, chains: &ChainSet) -> Vec<Finding> {
    let told = |script: &Revision, code, place: String, what: &str| {
        Finding::info(
            code,
            format!("{}{place}", script.file),
            format!("{what} (sha256:{})", script.checksum),
            "",
        )
    };
    let bootstrap = chains
        .bootstrap
        .iter()
        .map(|script| told(script, "BOOTSTRAP", String::new(), "runs first in the new database"));
    let seeds = pairs(matrix, chains).flat_map(|(chain, schema)| {
        let place = format!(" in {schema}");
        chain.seeds.iter().map(move |s| told(s, "SEED", place.clone(), "is sown once the target is valid"))
    });
    let last = chains.seeds.iter().map(|s| {
        told(s, "SEED", String::new(), "is sown once the target is valid, after the seeds of the chains")
    });
    bootstrap.chain(seeds).chain(last).collect()
}

/// Revisions that name the database that serves, where they run in one that is built aside.
fn named_databases(database: &str, chains: &ChainSet, planned: &[PlannedChain]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for chain in &chains.chains {
        let runs = |id: &String| planned.iter().any(|p| p.chain == chain.name && p.revisions.contains(id));
        for revision in chain.revisions.iter().filter(|r| runs(&r.id)) {
            for statement in &revision.statements {
                let source = revision.sql.get(statement.range.clone()).unwrap_or_default();
                let named = sql::named_databases(source);
                for (at, _) in named.into_iter().filter(|(_, name)| name == database) {
                    let place = sql::line_of(&revision.sql, statement.range.start + at);
                    findings.push(Finding::error(
                        "DATABASE_NAMED",
                        format!("{}:{place}", revision.file),
                        format!(
                            "names database {database}, which serves while the new one is built under another name: it would be \
                             changed, and the new one not"
                        ),
                        "say current_database(): DO $$ BEGIN EXECUTE format('… DATABASE %I …', current_database()); END $$",
                    ));
                }
            }
        }
    }
    findings
}

/// Roles belong to the cluster and outlive every reset: the second `CREATE ROLE` of a name fails.
fn unguarded_roles(chain: &Chain, planned: &[PlannedChain], observed: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for revision in &chain.revisions {
        let times =
            planned.iter().filter(|p| p.chain == chain.name && p.revisions.contains(&revision.id)).count();
        for statement in revision.statements.iter().filter(|_| times > 0) {
            let StatementKind::CreateRole { name } = &statement.kind else { continue };
            let place = format!("{}:{}", revision.file, statement.line);
            let hint = format!(
                "guard it: DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN CREATE ROLE \
                 {name}; END IF; END $$"
            );
            let exists = observed.existing_roles.iter().any(|role| role == name);
            findings.push(match (exists, times) {
                (true, _) => Finding::error(
                    "ROLE_UNGUARDED",
                    place,
                    format!("creates role {name}, which is there; a reset never drops roles"),
                    hint,
                ),
                (false, 2..) => Finding::error(
                    "ROLE_UNGUARDED",
                    place,
                    format!("creates role {name}, and is replayed in {times} schemas"),
                    hint,
                ),
                (false, _) => Finding::warning(
                    "ROLE_UNGUARDED",
                    place,
                    format!("creates role {name}, which outlives a reset: the next replay fails"),
                    hint,
                ),
            });
        }
    }
    findings
}
