//! What is outside of some schemas, as this transaction sees it: the same before others' code ran in it and after, or what it
//! made, changed or dropped there.

use std::collections::BTreeMap;

use model::fault::{Fault, Reason};
use sqlx::PgConnection;

use crate::postgres::sql::error::work_fault;

const OUTSIDE: &str = include_str!("outside.sql");
/// What belongs to the whole cluster.
const OF_THE_CLUSTER: [&str; 4] = ["database", "settings", "membership", "rows of"];
/// How many differences are named.
const NAMED: usize = 8;

/// By kind and name: the row's hash, and whether this transaction wrote it.
#[derive(Debug, Default)]
pub(crate) struct Outside(BTreeMap<(String, String), (String, bool)>);

/// What is outside of `schemas`.
///
/// # Errors
/// The session was lost.
pub(crate) async fn look(connection: &mut PgConnection, schemas: &[&str]) -> Result<Outside, Fault> {
    let rows: Vec<(String, String, String, bool)> = sqlx::query_as(OUTSIDE)
        .bind(schemas)
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("looking at what is outside the managed schemas", &e))?;
    Ok(Outside(rows.into_iter().map(|(kind, name, hash, mine)| ((kind, name), (hash, mine))).collect()))
}

impl Outside {
    /// What this transaction changed until `now`. What others committed meanwhile is not its doing; what is gone may be.
    fn changes(&self, now: &Self) -> Vec<String> {
        // What belongs to the cluster may be somebody else's doing, and cannot be dropped without a lock that is seen below.
        let gone = self
            .0
            .keys()
            .filter(|key| !now.0.contains_key(*key) && !OF_THE_CLUSTER.contains(&key.0.as_str()));
        let gone = gone.map(|(kind, name)| format!("{kind} {name} is gone"));
        let written = now
            .0
            .iter()
            .filter(|(key, (hash, mine))| *mine && self.0.get(*key).is_none_or(|(before, _)| before != hash));
        let written = written.map(|(key, _)| match (key.0.as_str(), self.0.contains_key(key)) {
            ("rows of", _) => format!("rows of {} were written", key.1),
            (kind, true) => format!("{kind} {} was changed", key.1),
            (kind, false) => format!("{kind} {} was made", key.1),
        });
        gone.chain(written).collect()
    }

    /// Refuses what was changed until `now`.
    ///
    /// # Errors
    /// `TOOL_OUTSIDE`.
    pub(crate) fn is_still(&self, now: &Self) -> Result<(), Fault> {
        let changes = self.changes(now);
        if changes.is_empty() {
            return Ok(());
        }
        let more = changes.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named: Vec<&str> = changes.iter().take(NAMED).map(String::as_str).collect();
        let text = format!("the migration tool left the managed schemas: {}{more}", named.join("; "));
        Err(Fault::new(Reason::ToolOutside, text).hint(
            "everything was rolled back; name the schema in [matrix.NAME.tool], or use --scope database",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[(&str, &str, &str, bool)]) -> Outside {
        let row = |(kind, name, hash, mine): &(&str, &str, &str, bool)| {
            (((*kind).to_owned(), (*name).to_owned()), ((*hash).to_owned(), *mine))
        };
        Outside(rows.iter().map(row).collect())
    }

    #[test]
    fn only_what_this_transaction_did_is_its_doing() {
        let before = of(&[
            ("relation", "public.a", "1", false),
            ("relation", "public.b", "1", true),
            ("routine", "public.f()", "1", false),
            ("schema", "other", "1", false),
            ("database", "somebody_elses", "1", false),
        ]);
        assert_eq!(before.changes(&before), [""; 0]);
        let now = of(&[
            ("relation", "public.a", "2", true),
            ("relation", "public.b", "1", true),
            ("relation", "public.c", "1", true),
            ("relation", "public.somebody_elses", "1", false),
            ("routine", "public.f()", "2", false),
            ("rows of", "public.a", "written", true),
        ]);
        let expected = [
            "schema other is gone",
            "relation public.a was changed",
            "relation public.c was made",
            "rows of public.a were written",
        ];
        assert_eq!(before.changes(&now), expected);
        assert_eq!(before.is_still(&now).expect_err("refused").reason, Reason::ToolOutside);
    }
}
