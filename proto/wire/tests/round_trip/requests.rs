//! Requests: every verb with everything it can carry, and what is malformed.

use std::time::Duration;

use model::{
    fault::{Fault, Reason},
    operation::{ChainFile, Request, Verb, Wait},
    profile::Scope,
    tool::Tool,
};
use uuid::Uuid;
use wire::{decode_request, encode_request, v1};

use crate::{Spoil, map, samples::tool, text};

fn plain(verb: Verb) -> Request {
    Request {
        request_id: Uuid::from_u128(1),
        verb,
        target: text("staging"),
        labels: map("commit", "abc"),
        wait: Wait::AtMost(Duration::from_millis(90_500)),
        timeout: Some(Duration::from_secs(600)),
        expect_chains: Some(digest("ab")),
        client_chains: vec![ChainFile { path: text("core/core_001.sql"), content: vec![0, 159, 146, 150] }],
        scope: None,
        scope_named: false,
        managed_schemas: Vec::new(),
        dry_run: false,
        confirmation: None,
        allow_production_db_name: false,
        plan_digest: None,
        terminate_sessions: false,
        jobs: 0,
        allow_phased: false,
        undoes: None,
        detached: true,
        tool: None,
    }
}

fn full_reset(plain: Request) -> Request {
    Request {
        scope: Some(Scope::Database),
        scope_named: true,
        managed_schemas: vec![text("general")],
        dry_run: true,
        confirmation: Some(text("RESET")),
        allow_production_db_name: true,
        plan_digest: Some(digest("de")),
        terminate_sessions: true,
        jobs: 3,
        ..plain
    }
}

#[test]
fn a_tool_with_digests_that_are_none_is_refused() {
    for (command, files) in [("sha256:12", None), ("", None), ("good", Some("sha256:xyz"))] {
        let good = tool();
        let command_sha256 = if command == "good" { good.command_sha256.clone() } else { command.to_owned() };
        let wrong = Tool { command_sha256, files_sha256: files.map(str::to_owned), ..good };
        let request = Request { tool: Some(wrong), ..full(Verb::Run) };
        let error = decode_request(encode_request(&request)).expect_err("refused").to_string();
        assert!(error.contains("64 lower-case hex digits"), "{error}");
    }
}

/// The request of a verb with everything set that the verb can carry.
fn full(verb: Verb) -> Request {
    let plain = plain(verb);
    match verb {
        Verb::Run => Request { tool: Some(tool()), ..full_reset(plain) },
        Verb::Reset => full_reset(plain),
        Verb::Migrate => {
            Request { dry_run: true, allow_phased: true, plan_digest: Some(digest("de")), ..plain }
        }
        Verb::Validate => plain,
        Verb::Undo => Request {
            confirmation: Some(text("RESET")),
            allow_production_db_name: true,
            plan_digest: Some(digest("ab")),
            terminate_sessions: true,
            undoes: Some(Uuid::from_u128(0x42)),
            ..plain
        },
    }
}

#[test]
fn the_request_of_every_verb_comes_back_as_it_was() {
    for verb in Verb::ALL {
        assert_eq!(decode_request(encode_request(&full(verb))).unwrap(), full(verb), "{verb:?}");
    }
}

#[test]
fn every_way_to_wait_comes_back() {
    for wait in
        [Wait::No, Wait::Forever, Wait::AtMost(Duration::ZERO), Wait::AtMost(Duration::from_secs(3_600))]
    {
        let request = Request { wait, timeout: None, expect_chains: None, ..plain(Verb::Validate) };
        assert_eq!(decode_request(encode_request(&request)).unwrap(), request, "{wait:?}");
    }
}

#[test]
fn without_a_scope_it_is_the_managed_schemas() {
    for verb in [Verb::Reset, Verb::Run] {
        let decoded = decode_request(encode_request(&plain(verb))).unwrap();
        assert_eq!(decoded.scope, Some(Scope::ManagedSchemas), "{verb:?}");
        assert_eq!(
            (decoded.confirmation, decoded.dry_run),
            (None, false),
            "{verb:?}: nothing is confirmed by itself"
        );
    }
    let bare = v1::ResetRequest { destructive: None, ..reset() };
    assert_eq!(decode_request(wire::Request::Reset(bare)).unwrap().scope, Some(Scope::ManagedSchemas));
}

fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

fn reset() -> v1::ResetRequest {
    match encode_request(&full(Verb::Reset)) {
        wire::Request::Reset(it) => it,
        other => panic!("a reset is sent as {other:?}"),
    }
}

fn options(reset: &mut v1::ResetRequest) -> &mut v1::OperationOptions {
    reset.options.get_or_insert_default()
}

#[test]
fn a_bad_request_is_told_by_field() {
    let bad: [(Spoil<v1::ResetRequest>, &str); 11] = [
        (|r| r.options = None, "options: is missing"),
        (|r| options(r).request_id = String::new(), "options.request_id: must be a UUID made by the client"),
        (|r| options(r).request_id = text("seven"), "options.request_id: must be a UUID made by the client"),
        (
            |r| {
                options(r).wait =
                    Some(v1::Wait { limit: Some(prost_types::Duration { seconds: -1, nanos: 0 }) })
            },
            "options.wait.limit: must not be negative",
        ),
        (
            |r| options(r).timeout = Some(prost_types::Duration { seconds: 0, nanos: -5 }),
            "options.timeout: must not be negative",
        ),
        (
            |r| options(r).timeout = Some(prost_types::Duration { seconds: 0, nanos: 0 }),
            "options.timeout: must be longer than nothing",
        ),
        (
            |r| r.destructive.get_or_insert_default().scope = text("everything"),
            "destructive.scope: `everything` is neither `managed-schemas` nor `database`",
        ),
        (
            |r| r.destructive.get_or_insert_default().scope = text("Database"),
            "destructive.scope: `Database` is neither `managed-schemas` nor `database`",
        ),
        (
            |r| r.destructive.get_or_insert_default().plan_digest = text("sha256:ab"),
            "destructive.plan_digest: `sha256:ab` is not `sha256:` and 64 lower-case hex digits",
        ),
        (
            |r| r.destructive.get_or_insert_default().plan_digest = text("ab"),
            "destructive.plan_digest: `ab` is not `sha256:` and 64 lower-case hex digits",
        ),
        (
            |r| options(r).expect_chains = text("./migrations"),
            "options.expect_chains: `./migrations` is not `sha256:` and 64 lower-case hex digits",
        ),
    ];
    for (spoil, expected) in bad {
        let mut sent = reset();
        spoil(&mut sent);
        let error = decode_request(wire::Request::Reset(sent)).unwrap_err();
        assert_eq!(error.to_string(), expected);
        let fault = Fault::from(error);
        assert_eq!((fault.reason, fault.message.as_str()), (Reason::InvalidRequest, expected));
        assert_eq!(fault.metadata.get("field").map(String::as_str), expected.split(':').next());
    }
}

#[test]
fn what_somebody_sends_is_shown_shortened() {
    let mut sent = reset();
    sent.destructive.get_or_insert_default().scope = "ü".repeat(5_000);
    let error = decode_request(wire::Request::Reset(sent)).unwrap_err().to_string();
    assert!(error.chars().count() < 200, "{error}");
}
