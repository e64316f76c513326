//! Operations: every state, verb and outcome, and what is malformed.

use model::{
    fault::Reason,
    operation::{End, Operation, Outcome, State, Verb},
    profile::Scope,
};
use uuid::Uuid;
use wire::{DecodeError, decode_operation, encode_operation, v1};

use crate::{Spoil, at, map, text};

fn operation() -> Operation {
    Operation {
        id: Uuid::from_u128(5),
        request_id: Uuid::from_u128(6),
        verb: Verb::Migrate,
        target: text("staging"),
        database: text("butlers"),
        scope: Some(Scope::Database),
        dry_run: true,
        principal: text("token:deploy"),
        auth_method: text("bearer token"),
        labels: map("commit", "abc"),
        state: State::Finished,
        end: Some(End {
            outcome: Outcome::Refused,
            reason: Some(Reason::PlanChanged),
            summary: text("the plan changed"),
            at: at(9),
            report_sha256: text("ff00"),
        }),
        last_sequence: 12,
        created_at: at(3),
        started_at: Some(at(4)),
        undoable_until: Some(at(5)),
    }
}

#[test]
fn an_operation_comes_back_as_it_was_in_every_state_verb_and_outcome() {
    let mut all: Vec<Operation> = vec![operation()];
    all.extend(Verb::ALL.map(|verb| Operation { verb, scope: None, ..operation() }));
    all.extend(State::ALL.map(|state| Operation { state, end: None, started_at: None, ..operation() }));
    let end = |outcome| operation().end.map(|end| End { outcome, reason: None, ..end });
    all.extend(Outcome::ALL.map(|outcome| Operation { end: end(outcome), ..operation() }));
    for operation in all {
        assert_eq!(decode_operation(encode_operation(&operation)).unwrap(), operation);
    }
    assert_eq!(encode_operation(&operation()).exit_code, 4);
}

#[test]
fn a_bad_operation_is_told_by_field() {
    let bad: [(Spoil<v1::Operation>, &str); 6] = [
        (|o| o.id = text("seven"), "operation: `seven` is not an operation's id (a UUID)"),
        (|o| o.request_id = text("seven"), "request_id: `seven` is malformed"),
        (|o| o.verb = 0, "verb: is missing"),
        (|o| o.verb = 99, "verb: is missing"),
        (|o| o.state = 0, "state: is missing"),
        (|o| o.created_at = None, "created_at: is missing"),
    ];
    for (spoil, expected) in bad {
        let mut sent = encode_operation(&operation());
        spoil(&mut sent);
        let error: DecodeError = decode_operation(sent).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
