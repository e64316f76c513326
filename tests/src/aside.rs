//! Schemas that are set aside, as the catalog and the ledger have them.

use crate::TestTarget;

/// Schemas that are set aside in a target, by name.
pub async fn kept(target: &TestTarget) -> Vec<String> {
    target.column("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'resetd\\_kept\\_%' ORDER BY 1").await
}

/// The ledger: state and how many rows.
pub async fn ledger(target: &TestTarget) -> Vec<Vec<String>> {
    target.control_rows("SELECT state, count(*) FROM resetd.kept_schemas GROUP BY 1 ORDER BY 1").await
}
