//! One event as a line: for a person, for a log, for a script. Pure.

use model::{
    event::{Blocker, EventKind},
    finding::Severity,
};
use serde_json::{Value, json};
use wire::Received;

use super::text::{Paint, clean};

/// The weight an event has on a screen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Weight {
    /// A line of its own.
    Milestone,
    /// Only moves the bar.
    Moving,
    /// Nothing to see.
    Silent,
}

/// How an event is shown to a person. The last one is shown by `outcome.rs`.
pub(crate) fn weight(event: &Received) -> Weight {
    match &event.kind {
        Some(EventKind::Finished(_)) => Weight::Silent,
        Some(EventKind::Heartbeat) => Weight::Silent,
        Some(EventKind::Progress(_)) => Weight::Moving,
        Some(EventKind::Blocked { .. }) => Weight::Moving,
        Some(_) | None if event.sequence == 0 => Weight::Moving,
        Some(_) | None => Weight::Milestone,
    }
}

/// A milestone on a terminal.
pub(crate) fn tty(event: &Received, paint: Paint) -> (String, String) {
    let mark = match (event.severity, &event.kind) {
        (Severity::Error, _) => paint.red("✗"),
        (Severity::Warning, _) => paint.yellow("!"),
        (_, Some(EventKind::SchemaReset(_) | EventKind::ChainCompleted(_) | EventKind::Validated { .. })) => {
            paint.green("✓")
        }
        _ => paint.dim("·"),
    };
    (format!("{mark} "), event.text.clone())
}

/// What a person needs beside an event's line: what to do about a finding, and of each session in the way its query and the
/// statement that ends it.
pub(crate) fn details(event: &Received) -> Vec<String> {
    match &event.kind {
        Some(EventKind::FindingReported { finding }) if !finding.hint.is_empty() => {
            vec![format!("what to do: {}", finding.hint)]
        }
        Some(EventKind::Blocked { blockers, .. }) => blockers.iter().map(in_the_way).collect(),
        _ => Vec::new(),
    }
}

fn in_the_way(it: &Blocker) -> String {
    if !it.gid.is_empty() {
        let gid = it.gid.replace('\'', "''");
        return format!("to end {}: ROLLBACK PREPARED '{gid}';", it.object());
    }
    let query = if it.query.is_empty() { String::new() } else { format!(", last query: {}", it.query) };
    format!("pid {}{query}; to end it: SELECT pg_terminate_backend({});", it.pid, it.pid)
}

/// An event in a log, in one line: time in UTC, severity where it matters, text and details.
pub(crate) fn plain(event: &Received) -> String {
    let severity = match event.severity {
        Severity::Info => "",
        Severity::Warning => "warning: ",
        Severity::Error => "error: ",
    };
    let parts: Vec<String> = std::iter::once(event.text.clone()).chain(details(event)).collect();
    format!("{:.3} {severity}{}", event.at, clean(&parts.join("; ")))
}

/// An event for a script. `payload` is the model's own form, as in the daemon's journal; null for a kind that this version
/// does not know.
pub(crate) fn json(event: &Received) -> Value {
    json!({
        "sequence": event.sequence,
        "operation": event.operation,
        "at": event.at,
        "code": event.code,
        "severity": event.severity,
        "text": event.text,
        "payload": event.kind,
    })
}

/// The version of the lines' shape.
const VERSION: u32 = 1;

/// The first line of all: which keys the others have.
pub(crate) fn json_version() -> Value {
    let text = format!("one event a line, in the form of version {VERSION}");
    let mut line = json_talk("PROGRESS_VERSION", Severity::Info, &text);
    line["version"] = json!(VERSION);
    line
}

/// The client's own talk, in the same shape: no operation's event, so sequence 0 and no payload.
pub(crate) fn json_talk(code: &str, severity: Severity, text: &str) -> Value {
    json!({
        "sequence": 0,
        "operation": null,
        "at": jiff::Timestamp::now(),
        "code": code,
        "severity": severity,
        "text": text,
        "payload": null,
    })
}

#[cfg(test)]
mod tests {
    use model::{event::SchemaReset, finding::Finding};
    use uuid::Uuid;

    use super::*;

    fn received(kind: Option<EventKind>) -> Received {
        Received {
            sequence: 3,
            operation: Uuid::from_u128(7),
            at: "2026-01-02T03:04:05.678901Z".parse().expect("a time"),
            code: kind.as_ref().map_or("SOMETHING_NEW", EventKind::code).to_owned(),
            severity: Severity::Warning,
            text: "what\nhappened".to_owned(),
            kind,
            exit_code: None,
        }
    }

    #[test]
    fn a_log_line_is_one_line_with_its_time() {
        assert_eq!(plain(&received(None)), "2026-01-02T03:04:05.678Z warning: what happened");
    }

    #[test]
    fn a_finding_says_what_to_do_and_a_session_in_the_way_how_it_ends() {
        let finding = Finding::error("BLOCKED_BY", "session 7", "idle", "SELECT 1;");
        let found = received(Some(EventKind::FindingReported { finding }));
        assert!(plain(&found).ends_with("what happened; what to do: SELECT 1;"), "{}", plain(&found));
        let session = |pid, query: &str| Blocker { pid, query: query.into(), ..Blocker::default() };
        let prepared = Blocker { gid: "it's".into(), user: "app".into(), ..Blocker::default() };
        let blockers = vec![session(7, "SELECT x"), session(8, ""), prepared];
        let blocked = received(Some(EventKind::Blocked { waiting: "backend 1".into(), blockers }));
        assert_eq!(
            details(&blocked),
            [
                "pid 7, last query: SELECT x; to end it: SELECT pg_terminate_backend(7);",
                "pid 8; to end it: SELECT pg_terminate_backend(8);",
                "to end prepared transaction it's of app: ROLLBACK PREPARED 'it''s';",
            ]
        );
    }

    #[test]
    fn scripts_get_every_key_and_the_models_payload() {
        let unknown = json(&received(None));
        assert_eq!(unknown["payload"], Value::Null);
        assert_eq!(unknown["code"], "SOMETHING_NEW");
        let keys: Vec<&str> = unknown.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["sequence", "operation", "at", "code", "severity", "text", "payload"]);
        let known = json(&received(Some(EventKind::SchemaReset(SchemaReset {
            schema: "general".into(),
            existed_before: true,
            tables_before: 2,
            exists_after: true,
            tables_after: 0,
            kept_as: None,
            kept_until: None,
        }))));
        assert_eq!(
            (&known["payload"]["kind"], &known["payload"]["schema"]),
            (&json!("schema_reset"), &json!("general"))
        );
    }

    #[test]
    fn an_unknown_milestone_is_shown_and_an_unknown_ephemeral_event_only_moves() {
        assert_eq!(weight(&received(None)), Weight::Milestone);
        assert_eq!(weight(&Received { sequence: 0, ..received(None) }), Weight::Moving);
        assert_eq!(weight(&received(Some(EventKind::Heartbeat))), Weight::Silent);
    }
}
