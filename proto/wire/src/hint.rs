//! What to do, for whom: the model speaks to people at `resetctl`; whoever calls the contract gets the same advice in the
//! contract's own words. It must not know what went wrong.

/// A verb of `resetctl` and the method that it calls.
const METHODS: &[(&str, &str)] = &[
    ("operations list", "ListOperations"),
    ("operations show", "GetOperation"),
    ("operations watch", "WatchOperation"),
    ("operations cancel", "CancelOperation"),
    ("target enroll", "EnrollTarget"),
    ("target unlock", "ForceUnlockTarget"),
    ("token create", "CreateToken"),
    ("token list", "ListTokens"),
    ("token revoke", "RevokeToken"),
    ("audit list", "ListAuditRecords"),
    ("audit verify", "VerifyAudit"),
    ("window reserve", "ReserveWindow"),
    ("window list", "ListWindows"),
    ("window show", "GetWindow"),
    ("window extend", "ExtendWindow"),
    ("window release", "ReleaseWindow"),
    ("report get", "GetReport"),
    ("targets", "ListTargets"),
    ("status", "GetServerInfo and ListTargets"),
    ("reset", "Reset"),
    ("run", "Run"),
    ("undo", "Undo"),
    ("migrate", "Migrate"),
    ("validate", "Validate"),
];

/// A flag of `resetctl` and the field that it sets.
const FIELDS: &[(&str, &str)] = &[
    ("--allow-phased", "allow_phased"),
    ("--allow-production-db-name", "allow_production_db_name"),
    ("--all", ""),
    ("--cert FILE --key FILE", ""),
    ("--chains", "client_chains"),
    ("--confirm-database", "database_confirmation"),
    ("--confirm-destructive-reset", "confirmation"),
    ("--detach", "detached"),
    ("--dry-run", "dry_run"),
    ("--expect-chains", "expect_chains"),
    ("--for", "duration"),
    ("--force", "force"),
    ("--jobs", "jobs"),
    ("--managed-schema", "managed_schemas"),
    ("--operation", "operation"),
    ("--plan-digest", "plan_digest"),
    ("--reason", "reason"),
    ("--scope", "scope"),
    ("--start", "starts_at or starts_in"),
    ("--target", "target"),
    ("--terminate-sessions", "terminate_sessions"),
    ("--timeout", "timeout"),
    ("--token-file FILE", "in `authorization`"),
    ("--wait", "wait"),
];

/// A hint in the contract's words.
pub(crate) fn of_the_contract(hint: &str) -> String {
    let mut text = String::new();
    let mut rest = hint;
    while let Some((before, after)) = rest.split_once("resetctl ") {
        text.push_str(before);
        let (target, after) = named_target(after);
        let verb = METHODS.iter().find_map(|(verb, method)| Some((method, after.strip_prefix(verb)?)));
        match verb {
            Some((method, after)) => {
                text.push_str(method);
                text.extend(target.map(|name| format!(" target {name}")));
                rest = after;
            }
            None => rest = after,
        }
    }
    text.push_str(rest);
    // The longest flags first, so that none is taken for the beginning of another one.
    let mut fields: Vec<_> = FIELDS.iter().collect();
    fields.sort_by_key(|(flag, _)| std::cmp::Reverse(flag.len()));
    for (flag, field) in fields {
        text = text.replace(flag, field);
    }
    text
}

/// `--target NAME `, and what comes after it.
fn named_target(text: &str) -> (Option<&str>, &str) {
    let named = text.strip_prefix("--target ").and_then(|text| text.split_once(' '));
    named.map_or((None, text), |(name, after)| (Some(name), after))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn commands_become_methods_and_flags_become_fields() {
        for (hint, expected) in [
            ("`resetctl targets` lists them", "`ListTargets` lists them"),
            ("wait longer with --wait=DURATION", "wait longer with wait=DURATION"),
            (
                "reserve one: resetctl --target staging window reserve --for 45m --reason TEXT",
                "reserve one: ReserveWindow target staging duration 45m reason TEXT",
            ),
            (
                "end that session: SELECT pg_terminate_backend(7);",
                "end that session: SELECT pg_terminate_backend(7);",
            ),
            ("read a new --dry-run and send its digest", "read a new dry_run and send its digest"),
            ("--allow-production-db-name", "allow_production_db_name"),
        ] {
            assert_eq!(of_the_contract(hint), expected);
        }
    }

    /// Every hint of the daemon and of the model, wherever it is written.
    #[test]
    fn no_hint_in_the_sources_keeps_a_command_or_a_flag() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut hints = Vec::new();
        for folder in ["proto/model/src", "server/src/engine", "server/src/postgres", "server/src/grpc"] {
            collect(&root.join(folder), &mut hints);
        }
        assert!(hints.len() > 100, "only {} hints were found", hints.len());
        for hint in hints {
            let text = of_the_contract(&hint);
            let flag =
                text.split_whitespace().any(|word| word.trim_start_matches(['(', '`']).starts_with("--"));
            assert!(!flag && !text.contains("resetctl"), "{hint}\n{text}");
        }
    }

    /// The texts of `.hint("…")` and `.hint(format!("…"))`.
    fn collect(folder: &Path, hints: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, hints);
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            for rest in text.split(".hint(").skip(1) {
                let rest = rest.trim_start().trim_start_matches("format!(").trim_start();
                if let Some(literal) = rest.strip_prefix('"').and_then(|rest| rest.split("\"").next()) {
                    hints.push(literal.replace("\\\n", " "));
                }
            }
        }
    }
}
