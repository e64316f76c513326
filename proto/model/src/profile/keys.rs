//! The table of profile keys: the one place that names them, says what they mean and what they default to.

use super::{values::*, *};
use crate::duration::parse_duration;

pub(super) const SCOPE_OR_NONE: &[&str] = &["none", "managed-schemas", "database"];

/// Makes `set` and `get` of a row from the field and its reader and writer.
macro_rules! key {
    ($field:ident, $kind:expr, $meaning:literal, $defaults:expr, $read:expr, $write:expr) => {
        Key {
            name: stringify!($field),
            meaning: $meaning,
            kind: $kind,
            defaults: $defaults,
            set: |profile, text| {
                profile.$field = $read(text)?;
                Ok(())
            },
            get: |profile| $write(&profile.$field),
        }
    };
}

/// Every key, in the order in which it is shown.
pub const KEYS: &[Key] = &[
    key!(
        scopes,
        Kind::Words(Scope::WORDS),
        "the scopes a reset may have",
        ["managed-schemas, database"; 3],
        scope_list,
        |scopes: &Vec<Scope>| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")
    ),
    key!(
        default_scope,
        Kind::Word(SCOPE_OR_NONE),
        "a preferred scope: --scope is then mandatory off a terminal",
        ["none"; 3],
        scope_or_none,
        |scope: &Option<Scope>| scope.map_or("none", Scope::as_str).to_owned()
    ),
    key!(
        window,
        Kind::Word(WindowRule::WORDS),
        "whether changing the target needs a window of one's own",
        ["optional", "required", "required"],
        str::parse,
        WindowRule::to_string
    ),
    key!(
        max_window,
        Kind::Duration { zero: false },
        "the longest window",
        ["8h", "4h", "8h"],
        some_time,
        shown
    ),
    key!(
        max_windows,
        Kind::Count,
        "how many windows one principal may have, active or to come",
        ["5"; 3],
        count_or_none,
        shown_count
    ),
    key!(
        max_reserved,
        Kind::DurationOrAuto,
        "how much time they may cover; `auto`: 5 times `max_window`",
        ["auto"; 3],
        some_time_or_auto,
        |time: &Option<Duration>| time.as_ref().map_or_else(|| "auto".to_owned(), shown)
    ),
    key!(
        lead_time,
        Kind::Duration { zero: true },
        "how far ahead a window must be reserved",
        ["0s"; 3],
        parse_duration,
        shown
    ),
    key!(
        unwatched_wait_limit,
        Kind::Duration { zero: false },
        "how long who waits keeps its place while nobody watches",
        ["60s"; 3],
        some_time,
        shown
    ),
    key!(
        sessions,
        Kind::Word(SessionRule::WORDS),
        "what happens to sessions in the way (scope database)",
        ["terminate", "idle-only", "idle-only"],
        str::parse,
        SessionRule::to_string
    ),
    key!(
        keep_previous,
        Kind::Duration { zero: true },
        "how long what a reset replaced is kept for undo",
        ["24h", "24h", "72h"],
        parse_duration,
        shown
    ),
    key!(
        keep_count,
        Kind::Count,
        "how many previous databases are kept at most, and of how many operations the schemas",
        ["5"; 3],
        some_count,
        shown_count
    ),
    key!(
        keep_bytes,
        Kind::Count,
        "how many bytes they take together at most, the newest excepted",
        ["none"; 3],
        some_count,
        shown_count
    ),
    key!(
        preserve_extensions,
        Kind::Names,
        "extensions that a replaced database gets again where they stood",
        [""; 3],
        name_list,
        |names: &Vec<String>| names.join(", ")
    ),
    key!(
        keep_operations,
        Kind::Duration { zero: false },
        "how long events and reports are kept",
        ["30d", "90d", "365d"],
        some_time,
        shown
    ),
    key!(
        report,
        Kind::Word(ReportRule::WORDS),
        "what a client does whose report cannot be written at the end",
        ["warn", "error", "error"],
        str::parse,
        ReportRule::to_string
    ),
    key!(
        self_enroll,
        Kind::Flag,
        "whether the first destructive operation enrolls the target",
        ["yes", "no", "no"],
        flag,
        |value: &bool| yes_no(*value)
    ),
    key!(
        protected,
        Kind::Flag,
        "whether every destructive operation is refused",
        ["no", "no", "no"],
        flag,
        |value: &bool| yes_no(*value)
    ),
    key!(
        client_chains,
        Kind::Flag,
        "whether an engineer may send chains of their own",
        ["yes", "yes", "no"],
        flag,
        |value: &bool| yes_no(*value)
    ),
    key!(seeds, Kind::Flag, "whether a run sows the chains' seeds", ["no"; 3], flag, |value: &bool| yes_no(
        *value
    )),
    key!(
        lock_wait_limit,
        Kind::Duration { zero: false },
        "how long DDL waits for locks in the target, in total",
        ["60s", "60s", "60s"],
        some_time,
        shown
    ),
    key!(
        max_rows,
        Kind::Count,
        "more estimated rows than this go only with --plan-digest",
        ["none"; 3],
        count_or_none,
        shown_count
    ),
    key!(
        max_bytes,
        Kind::Count,
        "more bytes than this go only with --plan-digest",
        ["none"; 3],
        count_or_none,
        shown_count
    ),
    key!(
        role_production_name,
        Kind::Word(Role::WORDS),
        "the least role for --allow-production-db-name",
        ["resetter"; 3],
        role,
        Role::to_string
    ),
    key!(
        role_terminate_sessions,
        Kind::Word(Role::WORDS),
        "the least role for --terminate-sessions",
        ["resetter"; 3],
        role,
        Role::to_string
    ),
    key!(
        role_outside_digest,
        Kind::Word(Role::WORDS),
        "the least role for a digest that lets objects outside go",
        ["resetter"; 3],
        role,
        Role::to_string
    ),
    key!(
        role_client_chains,
        Kind::Word(Role::WORDS),
        "the least role for --chains, where client_chains allows them",
        ["resetter"; 3],
        role,
        Role::to_string
    ),
];

fn shown_count(count: &Option<u64>) -> String {
    count.map_or_else(|| "none".to_owned(), |count| count.to_string())
}

fn shown(duration: &Duration) -> String {
    format_duration(*duration)
}
