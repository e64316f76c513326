//! Events: every kind, what is absent, and what a newer daemon sends.

use model::{
    event::{Accepted, Blocker, DatabaseSwapped, Event, EventKind, Finished, Queued},
    fault::{Fault, Reason, Status},
    lock::Holder,
    operation::Outcome,
    plan::Plan,
    window::Window,
};
use uuid::Uuid;
use wire::{decode_event, encode_event, v1};

use crate::{
    Spoil, at,
    samples::{accepted, blocker, every_kind, finished, holder, plan, window},
    text,
};

fn event(kind: EventKind) -> Event {
    let sequence = if kind.is_ephemeral() { 0 } else { 7 };
    Event { sequence, operation: Uuid::from_u128(5), at: at(0), kind }
}

#[test]
fn every_kind_of_event_comes_back_as_it_was() {
    for kind in every_kind() {
        let sent = event(kind);
        let received = decode_event(encode_event(&sent)).unwrap();
        let code = sent.kind.code();
        assert_eq!(
            (received.sequence, received.operation, received.at),
            (sent.sequence, sent.operation, sent.at),
            "{code}"
        );
        assert_eq!((received.severity, received.text), (sent.kind.severity(), sent.kind.text()), "{code}");
        assert_eq!(received.code, code);
        let exit = matches!(sent.kind, EventKind::Finished(_)).then_some(1);
        assert_eq!(received.exit_code, exit, "{code}");
        assert_eq!(received.kind, Some(sent.kind), "{code}");
    }
}

#[test]
fn what_is_absent_stays_absent() {
    let plan = Plan { scope: None, refusal: None, ..plan() };
    let kinds = [
        EventKind::Accepted(Accepted { scope: None, ..accepted() }),
        EventKind::Queued(Queued { position: 0, holder: None, window: None }),
        EventKind::Queued(Queued {
            position: 0,
            holder: Some(Holder { operation: None, verb: None, principal: None, since: None, ..holder() }),
            window: Some(Window { released_at: None, ..window() }),
        }),
        EventKind::Planned { plan: Box::new(plan) },
        EventKind::DatabaseSwapped(DatabaseSwapped {
            new_oid: 2,
            old_oid: None,
            database: String::new(),
            connections_before: 0,
            unavailable_us: 0,
            kept_as: None,
            kept_until: None,
        }),
        EventKind::Blocked { waiting: text("x"), blockers: vec![Blocker { since: None, ..blocker() }] },
        EventKind::Finished(Box::new(Finished {
            outcome: Outcome::Succeeded,
            status: Status::Ok,
            error: None,
            ..finished()
        })),
        EventKind::Finished(Box::new(Finished {
            error: Some(Fault::new(Reason::Internal, "without any place")),
            ..finished()
        })),
    ];
    for kind in kinds {
        let received = decode_event(encode_event(&event(kind.clone()))).unwrap();
        assert_eq!(received.kind, Some(kind));
    }
}

#[test]
fn every_outcome_and_status_of_an_end_comes_back() {
    for outcome in Outcome::ALL {
        for status in [Status::Ok, Status::Failed, Status::Error] {
            let end = EventKind::Finished(Box::new(Finished { outcome, status, ..finished() }));
            let received = decode_event(encode_event(&event(end.clone()))).unwrap();
            assert_eq!(received.kind, Some(end), "{outcome:?} {status:?}");
        }
    }
}

#[test]
fn a_kind_of_a_newer_daemon_still_has_its_code_severity_and_text() {
    let mut sent = encode_event(&event(EventKind::Heartbeat));
    (sent.payload, sent.code, sent.text) = (None, text("SOMETHING_NEW"), text("something new"));
    sent.set_severity(v1::Severity::Warning);
    let received = decode_event(sent).unwrap();
    assert_eq!(
        (received.kind, received.code.as_str(), received.text.as_str()),
        (None, "SOMETHING_NEW", "something new")
    );
    assert_eq!(received.severity, model::finding::Severity::Warning);
}

#[test]
fn a_reason_of_a_newer_daemon_is_no_success() {
    let mut sent = encode_event(&event(EventKind::Finished(Box::new(finished()))));
    if let Some(v1::operation_event::Payload::Finished(end)) = &mut sent.payload {
        end.reason = text("SOMETHING_NEW");
        end.exit_code = 1_000;
        end.error.iter_mut().for_each(|error| error.reason = text("SOMETHING_NEW"));
    }
    let received = decode_event(sent).unwrap();
    assert_eq!(received.exit_code, Some(model::fault::exit::FAILED));
    let Some(EventKind::Finished(end)) = received.kind else { panic!("it is the end") };
    assert_eq!((end.error.map(|error| error.reason), end.outcome), (Some(Reason::Internal), Outcome::Failed));
}

#[test]
fn a_bad_event_is_told_by_field() {
    let bad: [(Spoil<v1::OperationEvent>, &str); 3] = [
        (|e| e.operation = text("seven"), "operation: `seven` is not an operation's id (a UUID)"),
        (|e| e.operation = String::new(), "operation: `` is not an operation's id (a UUID)"),
        (|e| e.occurred_at = None, "occurred_at: is missing"),
    ];
    for (spoil, expected) in bad {
        let mut sent = encode_event(&event(EventKind::Heartbeat));
        spoil(&mut sent);
        assert_eq!(decode_event(sent).unwrap_err().to_string(), expected);
    }
}
