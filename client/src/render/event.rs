//! One event as a line: for a person, for a log, for a script. Pure.

use model::{event::EventKind, finding::Severity};
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

/// An event in a log: time in UTC, severity where it matters, text.
pub(crate) fn plain(event: &Received) -> String {
    let severity = match event.severity {
        Severity::Info => "",
        Severity::Warning => "warning: ",
        Severity::Error => "error: ",
    };
    format!("{:.3} {severity}{}", event.at, clean(&event.text))
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
    use model::event::SchemaReset;
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
