//! Tokens, audit records and verdicts: there and back, and what is malformed.

use model::{
    audit::{AuditVerdict, Break, Chained, Decision, Head, Record, Wrong},
    authorization::Principal,
    fault::Reason,
    token::{self, Entry, New},
};
use uuid::Uuid;
use wire::{
    decode_audit_record, decode_expected, decode_new_token, decode_revoke_token, decode_token,
    decode_verdict, encode_audit_record, encode_expected, encode_new_token, encode_token, encode_verdict, v1,
};

use crate::{at, text};

fn entry() -> Entry {
    Entry {
        id: text("7YqZ2mKc0aB"),
        name: text("deploy"),
        created_by: text("unix:root"),
        created_at: at(1),
        expires_at: at(2),
        expired: true,
        last_used_at: Some(at(3)),
        revoked_at: Some(at(4)),
        revoked_by: text("unix:alice"),
    }
}

#[test]
fn a_token_is_the_same_afterwards() {
    let bare = Entry { last_used_at: None, revoked_at: None, revoked_by: text(""), ..entry() };
    for it in [entry(), bare] {
        assert_eq!(decode_token(encode_token(&it)).unwrap(), it);
    }
    let cut = v1::Token { expires_at: None, ..encode_token(&entry()) };
    assert!(decode_token(cut).unwrap_err().to_string().contains("expires_at"));
}

#[test]
fn what_a_token_is_asked_with_is_the_same_afterwards() {
    let new = New {
        request_id: Uuid::from_u128(9),
        name: text("deploy"),
        lifetime: std::time::Duration::from_secs(90),
    };
    assert_eq!(decode_new_token(encode_new_token(&new)).unwrap(), new);
    let unsaid = v1::CreateTokenRequest { lifetime: None, ..encode_new_token(&new) };
    assert_eq!(decode_new_token(unsaid).unwrap().lifetime, token::DEFAULT_LIFETIME);
    let negative = prost_types::Duration { seconds: -1, nanos: 0 };
    let wrong = v1::CreateTokenRequest { lifetime: Some(negative), ..encode_new_token(&new) };
    assert!(decode_new_token(wrong).unwrap_err().to_string().contains("lifetime"));
    let wrong = v1::CreateTokenRequest { request_id: text("x"), ..encode_new_token(&new) };
    assert!(decode_new_token(wrong).unwrap_err().to_string().contains("request_id"));
}

#[test]
fn what_is_to_be_revoked_is_an_id_and_no_token() {
    let revoke =
        |id: &str| v1::RevokeTokenRequest { request_id: Uuid::from_u128(9).to_string(), id: text(id) };
    assert_eq!(decode_revoke_token(revoke("7YqZ2mKc0aB")).unwrap(), "7YqZ2mKc0aB");
    for wrong in ["", "short", "rsd_7YqZ2mKc0aB_secret_000000"] {
        let error = decode_revoke_token(revoke(wrong)).unwrap_err().to_string();
        assert!(error.contains("id") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn a_record_is_the_same_afterwards_and_an_unreadable_one_keeps_its_place() {
    let mut head = Head::genesis();
    let full = Decision {
        principal: Some(Principal::anonymous()),
        peer: text("127.0.0.1:1"),
        method: text("resetd.v1.OperationService/Run"),
        target: Some(text("staging")),
        allowed: false,
        reason: Some(Reason::TargetLocked),
        operation: Some(Uuid::from_u128(3)),
        detail: Some(text("why")),
    };
    for (decision, count) in
        [(full, 7), (Decision { peer: text("x"), method: text("y"), ..Decision::default() }, 1)]
    {
        let kept = head.chain(&decision, count, at(5));
        let (record, hash) = decode_audit_record(encode_audit_record(&kept)).unwrap();
        assert_eq!(Some(record), Record::read(&kept.body));
        assert_eq!(hash, kept.hash);
    }
    let damaged = Chained { sequence: 4, at: at(6), body: text("damaged"), hash: text("h"), seal: None };
    let (record, hash) = decode_audit_record(encode_audit_record(&damaged)).unwrap();
    assert_eq!((record.sequence, record.at, record.method.as_str(), hash.as_str()), (4, at(6), "", "h"));
}

#[test]
fn a_verdict_and_what_it_was_asked_with_are_the_same_afterwards() {
    let head = Head { sequence: 12, hash: "0f".repeat(32) };
    for wrong in Wrong::ALL {
        let broken = Break { sequence: 13, wrong, text: text("in words") };
        let it = AuditVerdict { records: 13, head: head.clone(), broken: Some(broken), guard: None };
        assert_eq!(decode_verdict(encode_verdict(&it)), it);
    }
    let intact =
        AuditVerdict { records: 12, head: head.clone(), broken: None, guard: Some("it is off".into()) };
    assert_eq!(decode_verdict(encode_verdict(&intact)), intact);
    assert_eq!(decode_expected(&encode_expected(Some(&head))).unwrap(), Some(head.clone()));
    assert_eq!(decode_expected(&encode_expected(None)).unwrap(), None);
    let wrong = v1::VerifyAuditRequest { expected_sequence: 1, expected_hash: text("x") };
    assert!(decode_expected(&wrong).is_err());
}
