//! The structure of schemas, as sums of hashes over their catalog rows: the same before they are set aside and after they
//! came back, or not.

use std::collections::BTreeMap;

use model::fault::Fault;
use sqlx::{PgConnection, postgres::types::Oid};

use crate::postgres::sql::error::work_fault;

const STRUCTURE: &str = include_str!("structure.sql");

/// By kind of catalog row: how many, and sums of hashes.
pub(crate) type Structure = BTreeMap<String, String>;

/// The structure of schemas, known by oid.
///
/// # Errors
/// The session was lost.
pub(crate) async fn of(connection: &mut PgConnection, schemas: &[u32]) -> Result<Structure, Fault> {
    let oids: Vec<Oid> = schemas.iter().map(|oid| Oid(*oid)).collect();
    let rows: Vec<(String, String)> = sqlx::query_as(STRUCTURE)
        .bind(oids)
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("reading the structure of the schemas", &e))?;
    Ok(rows.into_iter().collect())
}

/// The kinds that are not as they were.
pub(crate) fn difference(before: &Structure, now: &Structure) -> Option<String> {
    let kinds = before.keys().chain(now.keys().filter(|kind| !before.contains_key(*kind)));
    let moved: Vec<&str> =
        kinds.filter(|kind| before.get(*kind) != now.get(*kind)).map(String::as_str).collect();
    (!moved.is_empty()).then(|| moved.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_names_the_kinds() {
        let of = |all: &[(&str, &str)]| -> Structure {
            all.iter().map(|(kind, sum)| ((*kind).to_owned(), (*sum).to_owned())).collect()
        };
        let before = of(&[("columns", "9 1 2"), ("relations", "3 1 2")]);
        assert_eq!(difference(&before, &before), None);
        let now = of(&[("columns", "9 1 2"), ("policies", "1 4 4"), ("relations", "3 1 3")]);
        assert_eq!(difference(&before, &now).as_deref(), Some("relations, policies"));
    }
}
