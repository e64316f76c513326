//! The table of keys against a copy of the design's, made by hand.

use super::*;

const DESIGN: &str = "\
| `scopes` | both | both | both |
| `default_scope` | none | none | none |
| `window` | optional | required | required |
| `max_window` | 8h | 4h | 8h |
| `max_windows` | 5 | 5 | 5 |
| `max_reserved` | auto | auto | auto |
| `lead_time` | 0s | 0s | 0s |
| `unwatched_wait_limit` | 1m | 1m | 1m |
| `sessions` | terminate | idle-only | idle-only |
| `keep_previous` | 24h | 24h | 72h |
| `keep_count` | 5 | 5 | 5 |
| `keep_bytes` | none | none | none |
| `preserve_extensions` |  |  |  |
| `keep_operations` | 30d | 90d | 365d |
| `report` | warn | error | error |
| `self_enroll` | yes | no | no |
| `protected` | no | no | no |
| `client_chains` | yes | yes | no |
| `seeds` | no | no | no |
| `lock_wait_limit` | 1m | 1m | 1m |
| `max_rows` | none | none | none |
| `max_bytes` | none | none | none |
| `role_production_name` | resetter | resetter | resetter |
| `role_terminate_sessions` | resetter | resetter | resetter |
| `role_outside_digest` | resetter | resetter | resetter |
| `role_client_chains` | resetter | resetter | resetter |
";

#[test]
fn the_built_in_profiles_are_the_designs() {
    let profiles: Vec<_> = Builtin::ALL.iter().map(|base| Profile::of(*base)).collect();
    let mut table = String::new();
    for key in KEYS {
        let cells: Vec<_> =
            profiles.iter().map(|p| key.get(p).replace("managed-schemas, database", "both")).collect();
        table.push_str(&format!("| `{}` | {} |\n", key.name, cells.join(" | ")));
    }
    assert_eq!(table, DESIGN);
    assert_eq!(
        profiles.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        ["local", "shared-dev", "staging"]
    );
}

#[test]
fn each_key_reads_what_it_shows_and_sets_itself_only() {
    for (from, to) in [(Builtin::Local, Builtin::Staging), (Builtin::Staging, Builtin::Local)] {
        let (source, target) = (Profile::of(from), Profile::of(to));
        for key in KEYS {
            let mut changed = target.clone();
            assert_eq!(key.set(&mut changed, &key.get(&source)), Ok(()), "{}", key.name);
            for other in KEYS {
                let expected = if other.name == key.name { &source } else { &target };
                assert_eq!(other.get(&changed), other.get(expected), "{} after {}", other.name, key.name);
            }
        }
    }
}

#[test]
fn a_wrong_value_names_what_is_allowed_and_changes_nothing() {
    for (name, text, expected) in [
        ("scopes", "schemas", "\"schemas\" is not one of managed-schemas, database"),
        ("scopes", "", "the list is empty"),
        ("scopes", "database,database", "\"database\" is listed twice"),
        ("default_scope", "both", "\"both\" is not one of none, managed-schemas, database"),
        ("window", "off", "\"off\" is not one of optional, required"),
        ("max_rows", "20x", "\"20x\" is neither none nor a whole number such as 1000000, 500k, 20M or 2G"),
        ("keep_count", "0", "0 would keep nothing: that is keep_previous = \"0s\""),
        ("max_window", "0s", "the duration may not be zero"),
        ("max_window", "8", "\"8\" is not a duration such as 8h, 30d, 45m, 90s, 500ms or 1h30m"),
        ("sessions", "kill", "\"kill\" is not one of terminate, idle-only, refuse"),
        ("report", "", "\"\" is not one of warn, error"),
        ("protected", "true", "\"true\" is not one of yes, no"),
    ] {
        let before = Profile::of(Builtin::Local);
        let mut after = before.clone();
        let error = Key::find(name).map(|key| key.set(&mut after, text));
        assert_eq!(error.and_then(Result::err).map(|e| e.to_string()).as_deref(), Some(expected), "{name}");
        assert_eq!(after, before, "{name}");
    }
}

#[test]
fn without_the_flag_the_scope_is_the_managed_schemas_or_must_be_said() {
    let mut profile = Profile::of(Builtin::Staging);
    assert_eq!(profile.scope_without_flag(false), Some(Scope::ManagedSchemas));
    profile.default_scope = Some(Scope::Database);
    assert_eq!(profile.scope_without_flag(false), None);
    assert_eq!(profile.scope_without_flag(true), Some(Scope::ManagedSchemas));
    profile.scopes = vec![Scope::ManagedSchemas];
    assert_eq!(
        profile.check(),
        [("default_scope", "default_scope \"database\" is not among the scopes".to_owned())]
    );
}

#[test]
fn scopes_have_one_spelling() {
    for scope in Scope::ALL {
        assert_eq!(serde_json::to_value(scope).ok(), Some(scope.as_str().into()));
        assert_eq!(scope.to_string().parse(), Ok(*scope));
    }
}
