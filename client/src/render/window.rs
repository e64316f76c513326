//! Windows as tables and lines, in the zone of who reads them. Pure.

use jiff::{Timestamp, tz::TimeZone};
use model::window::Window;

use super::{
    table::{self, left, whole},
    text::clean,
};
use crate::time_spec::{distance, format_time, range};

/// A table of windows.
pub(crate) fn table(all: &[Window], zone: &TimeZone, now: Timestamp, width: usize) -> Vec<String> {
    let columns = [
        whole("ID"),
        left("TARGET", 2),
        left("PRINCIPAL", 0),
        left("STATE", 0),
        left("FROM", 1),
        left("UNTIL", 0),
        left("REASON", 3),
    ];
    let row = |it: &Window| {
        vec![
            it.id.to_string(),
            it.target.clone(),
            it.principal.clone(),
            state(it, now).to_owned(),
            format_time(it.starts_at, zone),
            format_time(it.released_at.unwrap_or(it.ends_at), zone),
            it.reason.clone(),
        ]
    };
    table::layout(&columns, &all.iter().map(row).collect::<Vec<_>>(), width)
}

/// One window in full.
pub(crate) fn one(it: &Window, zone: &TimeZone, now: Timestamp) -> Vec<String> {
    let pairs = [
        ("id", it.id.to_string()),
        ("target", it.target.clone()),
        ("principal", it.principal.clone()),
        ("reason", it.reason.clone()),
        ("state", state(it, now).to_owned()),
        ("from", format!("{} ({})", format_time(it.starts_at, zone), distance(it.starts_at, now))),
        ("until", format!("{} ({})", format_time(it.ends_at, zone), distance(it.ends_at, now))),
        ("released", it.released_at.map(|at| format_time(at, zone)).unwrap_or_default()),
        ("etag", it.etag.to_string()),
    ];
    pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| format!("{k:<10} {}", clean(v))).collect()
}

/// What became of a window, in one line.
pub(crate) fn change(it: &Window, what: &str, zone: &TimeZone, now: Timestamp) -> String {
    let when = match it.released_at {
        Some(at) => format!("at {}", format_time(at, zone)),
        None if it.starts_at > now => {
            format!("{}, beginning {}", range(it.starts_at, it.ends_at, zone), distance(it.starts_at, now))
        }
        None => range(it.starts_at, it.ends_at, zone),
    };
    clean(&format!("window {what}: {} for {}, {when}", it.target, it.principal))
}

/// A window of a target's status.
pub(crate) fn brief(it: &Window, zone: &TimeZone) -> String {
    format!("{}, {}: {}", it.principal, range(it.starts_at, it.ends_at, zone), it.reason)
}

/// Where a window stands.
pub(super) fn state(it: &Window, now: Timestamp) -> &'static str {
    match it {
        it if it.released_at.is_some() => "released",
        it if it.is_active(now) => "active",
        it if it.starts_at > now => "to come",
        _ => "ended",
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn window(reason: &str) -> Window {
        Window {
            id: Uuid::from_u128(7),
            target: "staging".into(),
            principal: "unix:alice".into(),
            reason: reason.into(),
            starts_at: "2026-01-05T13:00:00Z".parse().expect("a time"),
            ends_at: "2026-01-05T13:45:00Z".parse().expect("a time"),
            etag: Uuid::nil(),
            released_at: None,
        }
    }

    #[test]
    fn tables_fit_and_texts_cannot_move_the_cursor() {
        let windows = [window("rehearsal \u{1b}[2J of a release with a long reason"), window("b")];
        let now = windows[0].starts_at;
        for width in [60, 80, 140] {
            let lines = table(&windows, &TimeZone::UTC, now, width);
            assert!(lines.iter().all(|l| console::measure_text_width(l) <= width), "{width}: {lines:#?}");
            let all = lines.join("\n");
            assert!(!all.contains('\u{1b}'), "{all}");
            for always in ["unix:alice", "active", "13:45", &windows[0].id.to_string()] {
                assert!(all.contains(always), "{width}: {all}");
            }
        }
        let change = change(&windows[1], "reserved", &TimeZone::UTC, now);
        assert_eq!(change, "window reserved: staging for unix:alice, 2026-01-05 13:00 UTC until 13:45 UTC");
    }

    #[test]
    fn a_window_says_where_it_stands() {
        let it = window("b");
        let at = |text: &str| state(&it, text.parse().expect("a time"));
        assert_eq!(at("2026-01-05T12:59:59Z"), "to come");
        assert_eq!((at("2026-01-05T13:00:00Z"), at("2026-01-05T13:45:00Z")), ("active", "ended"));
        let released = Window { released_at: Some(it.starts_at), ..it.clone() };
        assert_eq!(state(&released, it.starts_at), "released");
    }
}
