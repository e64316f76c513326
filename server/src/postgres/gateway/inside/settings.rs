//! Settings of sessions that share a session: each finds its own, as a session of its own would have them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Poison, backend::Backend};

/// By name.
pub(super) type Settings = BTreeMap<String, String>;

/// What a session may set, with the values that are in force. What belongs to the operation is left out.
pub(super) const IN_FORCE: &str = "
SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings
 WHERE context = 'user' AND name NOT IN ('application_name', 'session_authorization', 'transaction_isolation',
       'transaction_read_only', 'transaction_deferrable', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
       'transaction_timeout', 'client_connection_check_interval', 'synchronous_commit', 'lock_timeout', 'role')
   AND name NOT LIKE 'tcp%'";
/// What was set since the session began.
const SET: &str = "
SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings
 WHERE source = 'session' AND name NOT LIKE 'transaction%' AND name <> 'session_authorization'
UNION ALL SELECT 'role', pg_catalog.current_setting('role')";

/// Rows of names and values.
pub(super) fn read(rows: Vec<Vec<Option<String>>>) -> Settings {
    rows.into_iter()
        .filter_map(|row| {
            let mut row = row.into_iter().flatten();
            Some((row.next()?, row.next()?))
        })
        .collect()
}

/// What is set in the session now.
pub(super) async fn of(backend: &mut Backend, customs: &BTreeSet<String>) -> Result<Settings, Poison> {
    let mut sql = SET.to_owned();
    for name in customs {
        let name = literal(name);
        sql.push_str(&format!(" UNION ALL SELECT {name}, pg_catalog.current_setting({name}, true)"));
    }
    backend.must(&sql).await.map(read)
}

/// A literal that means the same however the session reads backslashes: a tool may have set that.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The statement that sets one.
pub(super) fn set(name: &str, value: &str) -> String {
    format!("SELECT pg_catalog.set_config({}, {}, false)", literal(name), literal(value))
}

/// The statements that set these, and nothing else. The role comes last: it may set less.
pub(super) fn exactly(settings: &Settings) -> String {
    let mut sql = "RESET ROLE; RESET ALL".to_owned();
    for (name, value) in settings.iter().filter(|(name, _)| *name != "role") {
        sql.push(';');
        sql.push_str(&set(name, value));
    }
    if let Some(role) = settings.get("role") {
        sql.push(';');
        sql.push_str(&set("role", role));
    }
    sql
}

/// What differs from `base`.
pub(super) fn differing(base: &Settings, wanted: Settings) -> Settings {
    wanted.into_iter().filter(|(name, value)| base.get(name) != Some(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_gets_its_own_settings_and_the_role_last() {
        let all = |list: &[(&str, &str)]| -> Settings {
            list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
        };
        let own = differing(
            &all(&[("a", "1"), ("b", "2")]),
            all(&[("a", "1"), ("b", "it's"), ("role", "x"), ("z", "3")]),
        );
        assert_eq!(own, all(&[("b", "it's"), ("role", "x"), ("z", "3")]));
        let sql = exactly(&own);
        assert!(sql.starts_with("RESET ROLE; RESET ALL;"), "{sql}");
        assert!(sql.contains("set_config(E'b', E'it''s', false)"), "{sql}");
        assert!(sql.ends_with("set_config(E'role', E'x', false)"), "{sql}");
        assert_eq!(literal("\\'; COMMIT; --"), "E'\\\\''; COMMIT; --'");
    }
}
