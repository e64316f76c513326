//! What a healthy target holds: managed schemas, chains, tables and revisions. Must not know how it is observed or where
//! it is configured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod order;
mod tool;

pub use order::{Cell, Order};
pub use tool::{MatrixTool, TOOL_GROUP};

/// The longest name PostgreSQL keeps, in bytes.
const NAME_BYTES: usize = 63;

/// The chain name the daemon keeps for its own state (`migrations/control/`).
pub const CONTROL_CHAIN: &str = "control";

/// The expected contents of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    /// The name in the configuration.
    pub name: String,
    /// Managed schemas that no chain is replayed into.
    pub shared_schemas: Vec<String>,
    /// What follows the schema itself on the search path of a revision.
    pub search_path_suffix: Vec<String>,
    /// Where extensions live: never a managed schema, so that a reset cannot drop them.
    pub extensions_schema: String,
    /// In which order the chains are replayed into their schemas.
    #[serde(default)]
    pub order: Order,
    /// The chains, in order.
    pub chains: Vec<MatrixChain>,
    /// What is run first in every new database.
    #[serde(default)]
    pub bootstrap: Option<Scripts>,
    /// What is sown last, after the chains' own seeds, where the profile says so.
    #[serde(default)]
    pub seeds: Option<Scripts>,
    /// What a tool fills after the chains.
    #[serde(default)]
    pub tool: Option<MatrixTool>,
}

/// One chain and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatrixChain {
    /// The name, and the folder below `migrations`.
    pub name: String,
    /// The schemas the chain is replayed into, in this order.
    pub schemas: Vec<String>,
    /// The tables that must exist in each of these schemas afterwards.
    pub tables: Vec<String>,
    /// The role that its revisions run as; `None`: the owner of the schema.
    #[serde(default)]
    pub replay_as: Option<String>,
}

/// Scripts that are no revisions of a chain: those that are run first in every new database, as what sets up a cluster would be,
/// and those that fill it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scripts {
    /// The files: a path whose last part may have `*` in it.
    pub files: String,
    /// The role that they run as; `None`: that of the session.
    pub role: Option<String>,
}

/// How much a healthy target holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatrixCounts {
    /// Managed schemas.
    pub schemas: usize,
    /// Tables over all schemas.
    pub tables: usize,
    /// Pairs of chain and schema: each holds one head in `alembic_version`.
    pub revisions: usize,
}

impl Matrix {
    /// The runbook's matrix: used where nothing else is configured.
    pub fn builtin_default() -> Self {
        Self {
            name: "default".into(),
            shared_schemas: words("shared"),
            search_path_suffix: words("shared public"),
            extensions_schema: "extensions".into(),
            order: Order::Chain,
            bootstrap: None,
            seeds: None,
            chains: vec![
                MatrixChain {
                    name: "core".into(),
                    schemas: words("general health messenger relationship switchboard"),
                    tables: words("state scheduled_tasks sessions route_inbox"),
                    replay_as: None,
                },
                MatrixChain {
                    name: "memory".into(),
                    schemas: words("general health relationship switchboard"),
                    tables: words("episodes facts rules memory_links"),
                    replay_as: None,
                },
            ],
            tool: None,
        }
    }

    /// The schemas a reset drops and recreates: the shared ones, then those of the chains, each once, in order.
    pub fn managed_schemas(&self) -> Vec<&str> {
        let of_chains = self.chains.iter().flat_map(|chain| &chain.schemas);
        let mut seen = Vec::new();
        for schema in self.shared_schemas.iter().chain(of_chains) {
            if !seen.contains(&schema.as_str()) {
                seen.push(schema.as_str());
            }
        }
        seen
    }

    /// Whether a reset drops this schema.
    pub fn manages(&self, schema: &str) -> bool {
        self.managed_schemas().contains(&schema)
    }

    /// The chain of this name.
    pub fn chain(&self, name: &str) -> Option<&MatrixChain> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    /// Whether two chains are replayed into one schema.
    pub fn chains_meet(&self, one: &str, other: &str) -> bool {
        let (Some(one), Some(other)) = (self.chain(one), self.chain(other)) else { return false };
        one.schemas.iter().any(|schema| other.schemas.contains(schema))
    }

    /// The chains replayed into a schema, in order.
    pub fn chains_of<'a>(&'a self, schema: &'a str) -> impl Iterator<Item = &'a MatrixChain> {
        self.chains.iter().filter(move |chain| chain.schemas.iter().any(|s| s == schema))
    }

    /// The tables a schema must hold, each with the name of the chain that makes it: `(chain, table)`.
    pub fn tables_of<'a>(&'a self, schema: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.chains_of(schema)
            .flat_map(|chain| chain.tables.iter().map(|table| (chain.name.as_str(), table.as_str())))
    }

    /// How much a healthy target holds.
    pub fn counts(&self) -> MatrixCounts {
        MatrixCounts {
            schemas: self.managed_schemas().len(),
            tables: self.chains.iter().map(|chain| chain.schemas.len() * chain.tables.len()).sum(),
            revisions: self.chains.iter().map(|chain| chain.schemas.len()).sum(),
        }
    }

    /// Everything that is wrong with the matrix, each as one sentence; empty when it can be used.
    ///
    /// `public` is refused as a managed schema: every new database is born with it, and extensions and other tools put
    /// their things there, so that dropping it would take what nobody declared.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_managed(&mut problems);
        self.check_search_path(&mut problems);
        self.check_chains(&mut problems);
        self.check_order(&mut problems);
        if let Some(tool) = &self.tool {
            tool.check(&mut problems);
        }
        problems
    }

    fn check_managed(&self, problems: &mut Vec<String>) {
        let managed = self.managed_schemas();
        if managed.is_empty() && self.tool.is_none() {
            problems.push("there is no managed schema".to_owned());
        }
        for schema in managed {
            problems.extend(name_problem("schema", schema).or_else(|| system_problem(schema)));
        }
        problems
            .extend(repeated(&self.shared_schemas).map(|s| format!("shared schema {s:?} is listed twice")));
    }

    fn check_search_path(&self, problems: &mut Vec<String>) {
        for schema in &self.search_path_suffix {
            problems.extend(name_problem("search_path_suffix schema", schema));
        }
        let home = self.extensions_schema.as_str();
        let named = name_problem("extensions_schema", home).or_else(|| system_problem(home));
        problems.extend(named);
        if self.manages(home) {
            problems.push(format!(
                "extensions_schema {home:?} is a managed schema: a reset would drop the extensions"
            ));
        }
    }

    fn check_chains(&self, problems: &mut Vec<String>) {
        let names: Vec<_> = self.chains.iter().map(|chain| chain.name.clone()).collect();
        problems.extend(repeated(&names).map(|name| format!("chain {name:?} is defined twice")));
        for chain in &self.chains {
            chain.check(problems);
        }
        for schema in self.managed_schemas() {
            self.check_tables_of(schema, problems);
        }
    }

    fn check_tables_of(&self, schema: &str, problems: &mut Vec<String>) {
        let mut makers = BTreeMap::new();
        for (chain, table) in self.tables_of(schema) {
            match makers.insert(table, chain) {
                Some(first) if first != chain => problems.push(format!(
                    "table {table:?} of schema {schema:?} is listed by chains {first:?} and {chain:?}"
                )),
                _ => {}
            }
        }
    }
}

impl MatrixChain {
    fn check(&self, problems: &mut Vec<String>) {
        let name = &self.name;
        problems.extend(name_problem("chain", name));
        if name == CONTROL_CHAIN {
            problems.push("chain \"control\" is the daemon's own; choose another name".into());
        }
        if self.schemas.is_empty() {
            problems.push(format!("chain {name:?} has no schemas"));
        }
        problems.extend(repeated(&self.schemas).map(|s| format!("chain {name:?} lists schema {s:?} twice")));
        problems.extend(repeated(&self.tables).map(|t| format!("chain {name:?} lists table {t:?} twice")));
        problems.extend(self.tables.iter().filter_map(|table| name_problem("table", table)));
    }
}

/// What is wrong with a name: it needs 1 to 63 bytes, a letter or `_` first, then letters, digits, `_`, `$` or `-`.
fn name_problem(what: &str, name: &str) -> Option<String> {
    if name.is_empty() {
        return Some(format!("a {what} name may not be empty"));
    }
    if name.len() > NAME_BYTES {
        return Some(format!("{what} {name:?} is longer than {NAME_BYTES} bytes"));
    }
    let head = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let valid = head && name.chars().all(|c| c.is_alphanumeric() || "_$-".contains(c));
    (!valid)
        .then(|| format!("{what} {name:?} is not a name: letters, digits, _, $ and -, a letter or _ first"))
}

fn system_problem(schema: &str) -> Option<String> {
    let reserved = schema.starts_with("pg_") || schema == "information_schema";
    reserved.then(|| format!("schema {schema:?} belongs to PostgreSQL"))
}

/// The entries that were there before, each time they come again.
fn repeated(list: &[String]) -> impl Iterator<Item = &String> {
    list.iter().enumerate().filter(|(index, entry)| list[..*index].contains(entry)).map(|(_, entry)| entry)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runbook_counts_6_36_9() {
        let matrix = Matrix::builtin_default();
        assert_eq!(matrix.check(), Vec::<String>::new());
        assert_eq!(
            matrix.managed_schemas(),
            ["shared", "general", "health", "messenger", "relationship", "switchboard"]
        );
        assert_eq!(matrix.counts(), MatrixCounts { schemas: 6, tables: 36, revisions: 9 });
        let summed: usize = matrix.managed_schemas().into_iter().map(|s| matrix.tables_of(s).count()).sum();
        assert_eq!(summed, 36);
    }

    #[test]
    fn each_schema_knows_its_chains_and_tables() {
        let matrix = Matrix::builtin_default();
        let chains = |schema| matrix.chains_of(schema).map(|c| c.name.as_str()).collect::<Vec<_>>();
        assert_eq!(chains("general"), ["core", "memory"]);
        assert_eq!(chains("messenger"), ["core"]);
        assert!(chains("shared").is_empty() && chains("absent").is_empty());
        let tables: Vec<_> = matrix.tables_of("messenger").collect();
        assert_eq!(
            tables,
            [("core", "state"), ("core", "scheduled_tasks"), ("core", "sessions"), ("core", "route_inbox")]
        );
        assert!(matrix.manages("shared") && !matrix.manages("extensions") && !matrix.manages("public"));
    }

    #[test]
    fn every_mistake_has_its_sentence() {
        type Break = fn(&mut Matrix);
        let long = "x".repeat(64);
        let too_long = format!("schema {long:?} is longer than 63 bytes");
        let table: &[(Break, &str)] = &[
            (|m| m.shared_schemas[0] = "pg_toast".into(), "schema \"pg_toast\" belongs to PostgreSQL"),
            (
                |m| m.shared_schemas[0] = "information_schema".into(),
                "schema \"information_schema\" belongs to PostgreSQL",
            ),
            (|m| m.shared_schemas[0].clear(), "a schema name may not be empty"),
            (|m| m.shared_schemas[0] = "x".repeat(64), &too_long),
            (
                |m| m.shared_schemas[0] = "a\"b".into(),
                "schema \"a\\\"b\" is not a name: letters, digits, _, $ and -, a letter or _ first",
            ),
            (|m| m.shared_schemas.push("shared".into()), "shared schema \"shared\" is listed twice"),
            (
                |m| m.extensions_schema = "shared".into(),
                "extensions_schema \"shared\" is a managed schema: a reset would drop the extensions",
            ),
            (|m| m.extensions_schema = "pg_ext".into(), "schema \"pg_ext\" belongs to PostgreSQL"),
            (
                |m| m.search_path_suffix.push(String::new()),
                "a search_path_suffix schema name may not be empty",
            ),
            (
                |m| m.chains[0].name = "control".into(),
                "chain \"control\" is the daemon's own; choose another name",
            ),
            (
                |m| m.chains[0].name = "../etc".into(),
                "chain \"../etc\" is not a name: letters, digits, _, $ and -, a letter or _ first",
            ),
            (|m| m.chains[1].name = "core".into(), "chain \"core\" is defined twice"),
            (|m| m.chains[1].schemas.clear(), "chain \"memory\" has no schemas"),
            (|m| m.chains[1].schemas.push("health".into()), "chain \"memory\" lists schema \"health\" twice"),
            (|m| m.chains[1].tables.push("facts".into()), "chain \"memory\" lists table \"facts\" twice"),
            (
                |m| (m.chains[1].schemas, m.chains[1].tables) = (words("health"), words("state")),
                "table \"state\" of schema \"health\" is listed by chains \"core\" and \"memory\"",
            ),
        ];
        for (break_it, expected) in table {
            let mut matrix = Matrix::builtin_default();
            break_it(&mut matrix);
            assert_eq!(matrix.check(), [*expected]);
        }
    }

    #[test]
    fn an_empty_matrix_is_refused() {
        let matrix = Matrix { shared_schemas: vec![], chains: vec![], ..Matrix::builtin_default() };
        assert_eq!(matrix.check(), ["there is no managed schema"]);
    }
}
