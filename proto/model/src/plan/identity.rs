//! What a plan's digest is over: identities, one a line, sorted; never estimates, sessions or what else moves by itself.

use super::{Observation, Plan};
use crate::{chain::ChainSet, revision::Revision};

impl Plan {
    /// What the digest is over, line by line: the chains and the observation are those that the plan was computed from.
    #[must_use]
    pub fn identity(&self, chains: &ChainSet, observed: &Observation) -> Vec<String> {
        lines(self, chains, observed)
    }
}

fn lines(plan: &Plan, chains: &ChainSet, observed: &Observation) -> Vec<String> {
    let scope = plan.scope.map_or("none", |s| s.as_str());
    let mut all = vec![
        format!("target {}", plan.target),
        format!("database {} oid {}", plan.database, plan.database_oid),
        format!("scope {scope}"),
    ];
    all.extend(plan.brings_back.iter().map(|r| format!("brings back database oid {}", r.oid)));
    for returning in plan.brings_back_schemas.iter().flat_map(|set| &set.schemas) {
        let oid = returning.oid.map_or_else(|| "nothing".to_owned(), |oid| format!("oid {oid}"));
        all.push(format!("brings back schema {}: {oid}", returning.schema));
    }
    all.extend(plan.tool_command.iter().map(|digest| format!("filled by the command {digest}")));
    for schema in &plan.schemas {
        let owner = schema.owner.as_deref().unwrap_or("nobody: it is not there");
        all.push(format!("schema {} of {owner}", schema.schema));
        if let Some(observed) = observed.schema(&schema.schema) {
            all.extend(observed.tables.iter().map(|table| format!("table {}.{table}", schema.schema)));
            all.extend(observed.identities.iter().cloned());
        }
    }
    all.extend(plan.outside.iter().map(|o| format!("outside {o}")));
    all.extend(plan.schema_properties.iter().map(|f| format!("property of schema {}: {f}", f.schema)));
    all.extend(plan.grants.iter().map(|g| {
        let (rights, objects) = (g.privileges.join(", "), g.objects.join(", "));
        format!("grants in {}: {rights} to {} on {objects}", g.schema, g.role)
    }));
    all.extend(plan.created_schemas.iter().map(|s| format!("creates schema {s}")));
    all.extend(plan.extension_moves.iter().map(|m| format!("moves {m}")));
    all.extend(plan.created_extensions.iter().map(|e| format!("creates extension {e}")));
    for planned in &plan.chains {
        let fingerprint = chains.get(&planned.chain).map(|c| c.fingerprint()).unwrap_or_default();
        let revisions = planned.revisions.join(", ");
        all.push(format!("chain {} in {}: {revisions} of {fingerprint}", planned.chain, planned.schema));
    }
    let script =
        |what: &str, script: &Revision| format!("{what} {} of sha256:{}", script.file, script.checksum);
    all.extend(chains.bootstrap.iter().map(|it| script("bootstrap", it)));
    let of_chains = chains.chains.iter().flat_map(|chain| &chain.seeds);
    all.extend(of_chains.chain(&chains.seeds).map(|it| script("seeds", it)));
    all.sort();
    all.dedup();
    all
}

/// `sha256:…` over the lines; each is told apart from the next whatever it holds.
pub(super) fn digest(lines: &[String]) -> String {
    let text = serde_json::json!(lines).to_string();
    format!("sha256:{}", crate::hex_sha256(text))
}

/// What is in the second and not in the first, and the other way round.
pub(super) fn difference(before: &[String], after: &[String]) -> (Vec<String>, Vec<String>) {
    let without = |list: &[String], other: &[String]| -> Vec<String> {
        let other: std::collections::BTreeSet<&String> = other.iter().collect();
        list.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    (without(after, before), without(before, after))
}

#[cfg(test)]
mod tests;
