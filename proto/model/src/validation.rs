//! Whether a target is what its matrix and chains say, decided from one observation.
//!
//! The shape of [`Validation`] is the report's `details.validation`, which scripts read.

use serde::{Deserialize, Serialize};

use crate::{
    chain::{Chain, ChainSet},
    matrix::{Matrix, MatrixTool, TOOL_GROUP},
    plan::{Observation, ObservedSchema, pairs},
};

/// One managed schema.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SchemaResult {
    /// The schema.
    pub schema: String,
    /// It is there.
    pub exists: bool,
}

/// One table of the matrix.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TableCheck {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The chain it belongs to.
    pub group: String,
    /// It is there.
    pub exists: bool,
}

/// One chain's head in one schema.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RevisionCheck {
    /// The schema.
    pub schema: String,
    /// The chain's head.
    pub expected_revision: String,
    /// The rows of the schema's `alembic_version`.
    pub versions: Vec<String>,
    /// The head is there.
    pub present: bool,
}

/// The counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Summary {
    /// Schemas checked.
    pub schemas_checked: usize,
    /// Tables checked.
    pub tables_checked: usize,
    /// Revisions checked.
    pub revisions_checked: usize,
    /// Schemas missing.
    pub missing_schemas: usize,
    /// Tables missing.
    pub missing_tables: usize,
    /// Revisions missing.
    pub missing_revisions: usize,
}

/// What is missing: the checks that failed, each as it stands in its list.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Missing {
    /// Of `schema_results`.
    pub schemas: Vec<SchemaResult>,
    /// Of `table_checks`.
    pub tables: Vec<TableCheck>,
    /// Of `revision_checks`.
    pub revisions: Vec<RevisionCheck>,
}

impl Missing {
    /// Schemas, by name.
    #[must_use]
    pub fn schema_names(&self) -> Vec<String> {
        self.schemas.iter().map(|it| it.schema.clone()).collect()
    }

    /// Tables, as `schema.table`.
    #[must_use]
    pub fn table_names(&self) -> Vec<String> {
        self.tables.iter().map(|it| format!("{}.{}", it.schema, it.table)).collect()
    }

    /// Revisions, as `schema:revision`.
    #[must_use]
    pub fn revision_names(&self) -> Vec<String> {
        self.revisions.iter().map(|it| format!("{}:{}", it.schema, it.expected_revision)).collect()
    }
}

/// The result of a validation.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Validation {
    /// `ok` or `failed`.
    pub status: String,
    /// Every managed schema.
    pub schema_results: Vec<SchemaResult>,
    /// Every table of the matrix.
    pub table_checks: Vec<TableCheck>,
    /// Every chain's head in every schema.
    pub revision_checks: Vec<RevisionCheck>,
    /// The counts.
    pub summary: Summary,
    /// What is missing.
    pub missing: Missing,
    /// Rows of `alembic_version` that no chain of the schema knows, as `schema:revision`.
    pub unknown_revisions: Vec<String>,
    /// The schemas of a migration tool: what is in their version tables only the tool knows.
    #[serde(default)]
    pub tool_schemas: Vec<String>,
}

impl Validation {
    /// Compares an observation with the matrix and the chains.
    #[must_use]
    pub fn compute(matrix: &Matrix, chains: &ChainSet, observed: &Observation) -> Self {
        let schema_results: Vec<_> =
            matrix.managed_schemas().into_iter().map(|s| schema_result(s, observed)).collect();
        let table_checks = table_checks(matrix, observed);
        let revision_checks: Vec<_> =
            pairs(matrix, chains).map(|(c, s)| revision_check(c, s, observed)).collect();
        let unknown_revisions = unknown_revisions(matrix, chains, observed);
        let tool_schemas = matrix.tool.as_ref().map(|tool| tool.schemas.clone()).unwrap_or_default();
        let compared = Self {
            schema_results,
            table_checks,
            revision_checks,
            unknown_revisions,
            tool_schemas,
            ..Self::default()
        };
        compared.concluded()
    }

    /// With status, counts and names of what is missing, as the checks have it.
    fn concluded(self) -> Self {
        let Self { schema_results, table_checks, revision_checks, unknown_revisions, tool_schemas, .. } =
            self;
        let missing = Missing {
            schemas: schema_results.iter().filter(|it| !it.exists).cloned().collect(),
            tables: table_checks.iter().filter(|it| !it.exists).cloned().collect(),
            revisions: revision_checks.iter().filter(|it| !it.present).cloned().collect(),
        };
        let ok = unknown_revisions.is_empty()
            && missing.schemas.is_empty()
            && missing.tables.is_empty()
            && missing.revisions.is_empty();
        let summary = Summary {
            schemas_checked: schema_results.len(),
            tables_checked: table_checks.len(),
            revisions_checked: revision_checks.len(),
            missing_schemas: missing.schemas.len(),
            missing_tables: missing.tables.len(),
            missing_revisions: missing.revisions.len(),
        };
        let status = if ok { "ok" } else { "failed" }.to_owned();
        Self {
            status,
            schema_results,
            table_checks,
            revision_checks,
            summary,
            missing,
            unknown_revisions,
            tool_schemas,
        }
    }

    /// The schemas that were looked at.
    #[must_use]
    pub fn schemas(&self) -> Vec<String> {
        self.schema_results.iter().map(|r| r.schema.clone()).collect()
    }

    /// The same comparison with what is observed now: what was present must still be, and each version that was not there
    /// is unknown. It needs neither matrix nor chains, so that whoever takes an operation up can make it.
    #[must_use]
    pub fn again(&self, observed: &Observation) -> Self {
        let mut now = self.clone();
        let there = |name: &str| observed.schema(name);
        let versions = |name: &str| there(name).map(|s| s.history().versions).unwrap_or_default();
        for result in &mut now.schema_results {
            result.exists = there(&result.schema).is_some_and(ObservedSchema::exists);
        }
        for check in &mut now.table_checks {
            check.exists = there(&check.schema).is_some_and(|s| s.tables.contains(&check.table));
        }
        for check in &mut now.revision_checks {
            let before = std::mem::replace(&mut check.versions, versions(&check.schema));
            let same = before.iter().all(|version| check.versions.contains(version));
            check.present = check.present && same || check.versions.contains(&check.expected_revision);
        }
        let known = |schema: &str, version: &String| {
            let mut before = self.revision_checks.iter().filter(|c| c.schema == schema);
            before.any(|c| c.versions.contains(version))
        };
        now.unknown_revisions.clear();
        for result in self.schema_results.iter().filter(|it| !self.tool_schemas.contains(&it.schema)) {
            let new = versions(&result.schema).into_iter().filter(|v| !known(&result.schema, v));
            now.unknown_revisions.extend(new.map(|version| format!("{}:{version}", result.schema)));
        }
        now.concluded()
    }

    /// Nothing is missing and nothing is unknown.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == "ok"
    }

    /// What differs, in one line; at most `most` names.
    #[must_use]
    pub fn differences(&self, most: usize) -> String {
        let named = |kind: &'static str, names: &[String]| -> Vec<String> {
            names.iter().map(|n| format!("{kind} {n}")).collect()
        };
        let mut all = named("missing schema", &self.missing.schema_names());
        all.extend(named("missing table", &self.missing.table_names()));
        all.extend(named("missing revision", &self.missing.revision_names()));
        all.extend(named("unknown revision", &self.unknown_revisions));
        let more = all.len().saturating_sub(most);
        all.truncate(most);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", all.join(", "))
    }
}

fn schema_result(schema: &str, observed: &Observation) -> SchemaResult {
    let exists = observed.schema(schema).is_some_and(ObservedSchema::exists);
    SchemaResult { schema: schema.to_owned(), exists }
}

fn table_checks(matrix: &Matrix, observed: &Observation) -> Vec<TableCheck> {
    let mut checks = Vec::new();
    for chain in &matrix.chains {
        for schema in &chain.schemas {
            let there = observed.schema(schema);
            for table in &chain.tables {
                checks.push(TableCheck {
                    schema: schema.clone(),
                    table: table.clone(),
                    group: chain.name.clone(),
                    exists: there.is_some_and(|s| s.tables.iter().any(|t| t == table)),
                });
            }
        }
    }
    for (schema, table) in matrix.tool.iter().flat_map(MatrixTool::expected) {
        let there = observed.schema(schema);
        checks.push(TableCheck {
            schema: schema.to_owned(),
            table: table.to_owned(),
            group: TOOL_GROUP.to_owned(),
            exists: there.is_some_and(|s| s.tables.iter().any(|t| t == table)),
        });
    }
    checks
}

fn revision_check(chain: &Chain, schema: &str, observed: &Observation) -> RevisionCheck {
    let history = observed.schema(schema).map(ObservedSchema::history);
    let expected = chain.head().id.clone();
    RevisionCheck {
        schema: schema.to_owned(),
        present: history.as_ref().is_some_and(|h| h.has(chain, &expected)),
        expected_revision: expected,
        versions: history.map(|h| h.versions).unwrap_or_default(),
    }
}

fn unknown_revisions(matrix: &Matrix, chains: &ChainSet, observed: &Observation) -> Vec<String> {
    let mut unknown = Vec::new();
    // What a tool writes into the version table of its schemas only the tool knows.
    for schema in matrix.managed_schemas().into_iter().filter(|schema| !matrix.is_tools(schema)) {
        let here: Vec<&Chain> = pairs(matrix, chains).filter(|(_, s)| *s == schema).map(|(c, _)| c).collect();
        let history = observed
            .schema(schema)
            .map(ObservedSchema::history)
            .unwrap_or(crate::history::History { versions: Vec::new() });
        unknown.extend(history.unknown(&here).into_iter().map(|id| format!("{schema}:{id}")));
    }
    unknown
}

#[cfg(test)]
mod tests;
