//! What is not gRPC is refused before anybody asks who sent it: a page in a browser that has a client certificate can send
//! forms, and no gRPC.

use harness::{Authority, Setup, Subject, TestTarget, raw, request};
use model::operation::Verb;
use prost::Message as _;

const RUN: &str = "/resetd.v1.OperationService/Run";
const FORM: [(&str, &str); 3] =
    [("content-type", "text/plain"), ("te", "trailers"), ("origin", "https://evil.example")];
const GRPC: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

type Headers = &'static [(&'static str, &'static str)];

/// A confirmed run, as gRPC frames it.
fn run(target: &TestTarget) -> Vec<u8> {
    let wire::Request::Run(run) = wire::encode_request(&request(Verb::Run, target)) else {
        panic!("a run is one");
    };
    let message = run.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).expect("it is small").to_be_bytes());
    framed.extend(message);
    framed
}

#[tokio::test]
async fn a_request_that_is_not_grpc_is_refused_before_identity() {
    let target = TestTarget::migrated().await;
    let authority = Authority::new();
    let paper = authority.client("alice", &Subject::dns("alice.example"));
    let roles = "\n[[role]]\nprincipal = \"cert:*\"\ntargets = [\"*\"]\nrole = \"admin\"\n";
    let daemon = Setup::of(&target).with(roles).tls(&authority).spawn().await;
    let channel = authority.channel(&daemon.address, Some(&paper)).await.expect("a channel");
    let before = target.state().await;
    let cases: [(&str, &str, Headers, u16); 8] = [
        ("a form", "POST", &FORM, 415),
        ("no content type", "POST", &[("te", "trailers")], 415),
        ("JSON", "POST", &[("content-type", "application/json"), ("te", "trailers")], 415),
        ("gRPC-Web", "POST", &[("content-type", "application/grpc-web"), ("te", "trailers")], 415),
        ("no te", "POST", &[("content-type", "application/grpc")], 400),
        ("GET", "GET", &GRPC, 405),
        ("PUT", "PUT", &GRPC, 405),
        ("OPTIONS", "OPTIONS", &GRPC, 405),
    ];
    for path in [RUN, "/grpc.health.v1.Health/Check", "/", "/no.such.Service/Method"] {
        for (what, method, headers, status) in cases {
            let answer = raw::send(&channel, method, path, headers, run(&target)).await;
            assert_eq!(answer.status().as_u16(), status, "{what} at {path}: {answer:?}");
            assert!(!answer.headers().contains_key("grpc-status"), "{what}: {answer:?}");
        }
    }
    let records = || target.control_rows("SELECT * FROM resetd.audit_record");
    assert_eq!(records().await, Vec::<Vec<String>>::new(), "nobody was asked who they are");
    assert_eq!(before, target.state().await);
    // The same bytes as gRPC are a run, whichever subtype the client names.
    for subtype in ["application/grpc", "application/grpc+proto"] {
        let headers = [("content-type", subtype), ("te", "trailers")];
        let answer = raw::send(&channel, "POST", RUN, &headers, run(&target)).await;
        assert_eq!(answer.status().as_u16(), 200, "{answer:?}");
    }
}
