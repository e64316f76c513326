//! Settings of a database or of a role in it, copied exactly: lists stay lists, everything else is one text.

use model::sql::split_list;

use crate::postgres::sql::ident::{Ident, Literal};

/// Settings whose stored value is a list of quoted names (GUC_LIST_QUOTE; see `variable_is_guc_list_quote` in
/// PostgreSQL's dumputils.c). Quoting such a value as one text would corrupt it.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The statement that puts `name=value`, as the catalog stores it, onto a database. `acting`: as this role, which
/// may set it: a role may set what is its own.
pub(in crate::postgres) fn statement(
    role: Option<&str>,
    database: &str,
    stored: &str,
    acting: Option<&str>,
) -> String {
    let (name, value) = stored.split_once('=').unwrap_or((stored, ""));
    let subject = match role {
        Some(role) => format!("ALTER ROLE {} IN DATABASE {}", Ident(role), Ident(database)),
        None => format!("ALTER DATABASE {}", Ident(database)),
    };
    let set = format!("{subject} SET {} TO {};", setting_name(name), setting_value(name, value));
    match acting {
        Some(role) => format!("SET LOCAL ROLE {}; {set} SET LOCAL ROLE NONE;", Ident(role)),
        None => set,
    }
}

/// A name may have a prefix (`plpgsql.extra_warnings`); each part is quoted by itself.
fn setting_name(name: &str) -> String {
    name.split('.').map(|part| Ident(part).to_string()).collect::<Vec<_>>().join(".")
}

fn setting_value(name: &str, value: &str) -> String {
    if !LISTS.contains(&name.to_ascii_lowercase().as_str()) {
        return Literal(value).to_string();
    }
    let parts = split_list(value);
    if parts.is_empty() {
        return "''".to_owned();
    }
    parts.iter().map(|part| Literal(part).to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_stay_lists() {
        for (stored, expected) in [
            ("\"$user\", public", "'$user', 'public'"),
            ("a, \"B c\", \"q\"\"q\"", "'a', 'B c', 'q\"q'"),
            ("\"\"", "''"),
            ("", "''"),
            ("\"a,b\", c", "'a,b', 'c'"),
        ] {
            assert_eq!(setting_value("search_path", stored), expected, "{stored}");
        }
    }

    #[test]
    fn everything_else_is_one_text() {
        assert_eq!(
            statement(None, "d", "application_name=it's, here", None),
            "ALTER DATABASE \"d\" SET \"application_name\" TO 'it''s, here';"
        );
        assert_eq!(
            statement(Some("R"), "d", "my.thing=a=b", None),
            "ALTER ROLE \"R\" IN DATABASE \"d\" SET \"my\".\"thing\" TO 'a=b';"
        );
        let acting = statement(Some("R"), "d", "work_mem=9MB", Some("R"));
        assert!(acting.starts_with("SET LOCAL ROLE \"R\"; ALTER ROLE \"R\" IN"), "{acting}");
        assert!(acting.ends_with("SET LOCAL ROLE NONE;"), "{acting}");
    }
}
