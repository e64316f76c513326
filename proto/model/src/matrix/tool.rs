//! What a migration tool of the teams' own fills, and what must be there afterwards.

use serde::{Deserialize, Serialize};

use super::{Matrix, name_problem, repeated, system_problem};

/// The group of a tool's tables in a validation.
pub const TOOL_GROUP: &str = "tool";

/// What a tool fills.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatrixTool {
    /// Its schemas. The first is where its sessions create things unless it says where.
    pub schemas: Vec<String>,
    /// The tables that must exist in the first of them afterwards, or elsewhere as `schema.table`.
    pub tables: Vec<String>,
}

impl MatrixTool {
    /// The tables that must exist: `(schema, table)`.
    pub fn expected(&self) -> impl Iterator<Item = (&str, &str)> {
        let first = self.schemas.first().map_or("public", String::as_str);
        self.tables.iter().map(move |table| table.split_once('.').unwrap_or((first, table)))
    }

    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.schemas.is_empty() {
            problems.push("the tool has no schemas".to_owned());
        }
        for schema in &self.schemas {
            problems.extend(name_problem("schema", schema).or_else(|| system_problem(schema)));
        }
        problems.extend(repeated(&self.schemas).map(|s| format!("the tool lists schema {s:?} twice")));
        problems.extend(repeated(&self.tables).map(|t| format!("the tool lists table {t:?} twice")));
        for (schema, table) in self.expected() {
            problems.extend(name_problem("table", table));
            if !self.schemas.iter().any(|known| known == schema) {
                problems
                    .push(format!("table {table:?} is in schema {schema:?}, which is none of the tool's"));
            }
        }
    }
}

impl Matrix {
    /// The matrix where also what a tool fills is replaced: the tool's schemas with the managed ones, `public` among them if it
    /// says so, as only a whole database can have it.
    #[must_use]
    pub fn of_database(&self) -> Self {
        let mut whole = self.clone();
        let Some(tool) = &self.tool else { return whole };
        let others = tool.schemas.iter().filter(|schema| !self.manages(schema));
        whole.shared_schemas.extend(others.cloned());
        whole
    }

    /// Whether a tool fills this schema: then its version table is the tool's business.
    #[must_use]
    pub fn is_tools(&self, schema: &str) -> bool {
        self.tool.as_ref().is_some_and(|tool| tool.schemas.iter().any(|s| s == schema))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(schemas: &[&str], tables: &[&str]) -> Matrix {
        let all = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let tool = MatrixTool { schemas: all(schemas), tables: all(tables) };
        Matrix { tool: Some(tool), shared_schemas: vec![], chains: vec![], ..Matrix::builtin_default() }
    }

    #[test]
    fn a_tool_may_fill_public_and_be_alone() {
        let matrix = filled(&["public"], &["orders", "alembic_version"]);
        assert_eq!(matrix.check(), Vec::<String>::new());
        assert!(matrix.managed_schemas().is_empty());
        assert_eq!(matrix.of_database().managed_schemas(), ["public"]);
        let expected: Vec<_> = matrix.tool.iter().flat_map(MatrixTool::expected).collect();
        assert_eq!(expected, [("public", "orders"), ("public", "alembic_version")]);
    }

    #[test]
    fn every_mistake_has_its_sentence() {
        for (matrix, sentence) in [
            (filled(&[], &[]), "the tool has no schemas"),
            (filled(&["a", "a"], &[]), "the tool lists schema \"a\" twice"),
            (filled(&["a"], &["t", "t"]), "the tool lists table \"t\" twice"),
            (filled(&["pg_x"], &[]), "schema \"pg_x\" belongs to PostgreSQL"),
            (filled(&["a"], &["b.t"]), "table \"t\" is in schema \"b\", which is none of the tool's"),
        ] {
            assert_eq!(matrix.check(), [sentence]);
        }
    }

    #[test]
    fn a_schema_that_is_managed_already_stays_once() {
        let matrix = Matrix { shared_schemas: vec!["app".into()], ..filled(&["app", "public"], &["b"]) };
        assert_eq!(matrix.of_database().managed_schemas(), ["app", "public"]);
        assert!(matrix.is_tools("app") && !matrix.is_tools("other"));
    }
}
