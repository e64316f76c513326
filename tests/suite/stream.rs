//! The contract of the streams: whoever attaches, wherever, and however often the connection breaks, sees the same numbered
//! events, and exactly one end.

use harness::{
    Api, Daemon, Event, Gate, Migrations, OTHER_DIGEST, Setup, TestTarget, collect, operations::fault,
    request,
};
use model::{
    event::EventKind,
    operation::{Outcome, Request, Verb},
};
use serde_json::Value;
use tonic::Code;
use uuid::Uuid;

/// What is stored: progress and heartbeats may come or not.
fn milestones(events: Vec<Event>) -> Vec<Event> {
    events.into_iter().filter(|e| e.sequence > 0).collect()
}

fn raw(events: &[Event]) -> Vec<wire::v1::OperationEvent> {
    events.iter().map(|e| e.raw.clone()).collect()
}

/// Numbered 1, 2, 3…, of one operation, with exactly one end, which is the last.
#[track_caller]
fn whole(events: &[Event]) {
    let numbers: Vec<u64> = events.iter().map(|e| e.sequence).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "{events:#?}");
    assert!(events.iter().all(|e| e.operation == events[0].operation), "{events:#?}");
    assert_eq!(events.iter().filter(|e| e.is_terminal()).count(), 1, "{events:#?}");
    assert!(events.last().is_some_and(Event::is_terminal), "{events:#?}");
    assert_eq!(events[0].code, "ACCEPTED", "{events:#?}");
    assert!(events.iter().all(|e| !e.text.is_empty() && !e.text.contains('\n')), "{events:#?}");
}

#[track_caller]
fn outcome(events: &[Event]) -> Outcome {
    match events.last().and_then(|e| e.kind.as_ref()) {
        Some(EventKind::Finished(end)) => end.outcome,
        other => panic!("{other:?}"),
    }
}

/// Follows a new operation on a connection that breaks after every single event.
async fn broken(api: &mut Api, request: &Request) -> Vec<Event> {
    let mut stream = api.begin(request).await.expect("accepted");
    let mut events: Vec<Event> = Vec::new();
    loop {
        let event = stream.next().await.expect("the stream goes on").expect("an event");
        if event.sequence == 0 {
            continue;
        }
        assert_eq!(event.sequence, events.len() as u64 + 1, "{event:?} after {events:#?}");
        let (id, last) = (event.operation, event.is_terminal());
        events.push(event);
        if last {
            assert!(stream.next().await.is_none(), "nothing comes after the end");
            return events;
        }
        drop(stream);
        stream = api.watch(id, events.len() as u64 + 1).await.expect("re-attached");
    }
}

async fn the_same_wherever_it_is_cut(daemon: &Daemon, request: &Request, ends: Outcome) {
    let mut api = daemon.api().await;
    let events = broken(&mut api, request).await;
    whole(&events);
    assert_eq!(outcome(&events), ends, "{events:#?}");
    let id = events[0].operation;
    for from in 0..=events.len() as u64 {
        let rest = milestones(collect(api.watch(id, from).await.unwrap()).await);
        let first = usize::try_from(from.max(1)).unwrap() - 1;
        assert_eq!(raw(&rest), raw(&events[first..]), "from {from}");
    }
    let last = &events[events.len() - 1..];
    for beyond in [events.len() as u64 + 1, events.len() as u64 + 1000, i64::MAX as u64, u64::MAX] {
        let again = collect(api.watch(id, beyond).await.unwrap()).await;
        assert_eq!(raw(&again), raw(last), "beyond the end ({beyond}) there is the end again");
    }
    // The request itself, sent again, attaches from the beginning.
    assert_eq!(raw(&milestones(collect(api.begin(request).await.unwrap()).await)), raw(&events));
}

#[tokio::test]
async fn the_events_are_the_same_wherever_the_stream_is_cut() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for verb in [Verb::Run, Verb::Reset] {
        let dry = Request { dry_run: true, ..request(verb, &target) };
        the_same_wherever_it_is_cut(&daemon, &dry, Outcome::Succeeded).await;
    }
    for verb in [Verb::Run, Verb::Validate, Verb::Reset] {
        the_same_wherever_it_is_cut(&daemon, &request(verb, &target), Outcome::Succeeded).await;
    }
    the_same_wherever_it_is_cut(&daemon, &request(Verb::Validate, &target), Outcome::Differences).await;
    the_same_wherever_it_is_cut(&daemon, &request(Verb::Migrate, &target), Outcome::Succeeded).await;
    let refused = Request { plan_digest: Some(OTHER_DIGEST.into()), ..request(Verb::Run, &target) };
    the_same_wherever_it_is_cut(&daemon, &refused, Outcome::Refused).await;
}

#[tokio::test]
async fn a_failed_run_has_the_same_contract() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    chains.revision("core/core_002.sql", "core_002", "core_001", "SELECT 1;\nSELECT 1 / 0;");
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    the_same_wherever_it_is_cut(&daemon, &request(Verb::Run, &target), Outcome::Failed).await;
}

#[tokio::test]
async fn an_operation_that_is_not_there_cannot_be_watched() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let mut api = daemon.api().await;
    let status = api.watch(Uuid::now_v7(), 1).await.expect_err("nobody made it");
    assert_eq!((status.code(), fault(&status).reason.name()), (Code::NotFound, "OPERATION_NOT_FOUND"));
    let status = api.report(Uuid::now_v7()).await.expect_err("nobody made it");
    assert_eq!(status.code(), Code::NotFound);
    for malformed in ["", "7", "not-a-uuid", "0197c9d2-7f3a-7cc3-98c4-dc0c0c07398", "'; DROP TABLE x"] {
        let watch = wire::v1::WatchOperationRequest { operation: malformed.to_owned(), ..Default::default() };
        let status = api.operations.watch_operation(watch).await.expect_err("malformed");
        assert_eq!(
            (status.code(), fault(&status).reason.name()),
            (Code::InvalidArgument, "INVALID_REQUEST"),
            "{malformed}"
        );
    }
    daemon.ctl(&format!("operations watch {}", Uuid::now_v7())).await.expect(6);
    daemon.ctl("operations watch nonsense").await.expect(2);
}

#[tokio::test]
async fn a_client_that_goes_away_stops_nothing() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let gate = Gate::before(&target, "SCHEMA_RESET").await;
    let mut api = daemon.api().await;
    let mut stream = api.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = stream.until("ACCEPTED").await.operation;
    drop((stream, api));
    gate.reached().await;
    gate.open().await;
    let events = milestones(collect(daemon.api().await.watch(id, 1).await.unwrap()).await);
    whole(&events);
    assert_eq!(outcome(&events), Outcome::Succeeded);
    assert!(target.holds("SELECT count(*) = 0 FROM general.state").await, "it was reset");
}

#[tokio::test]
async fn watchers_of_every_daemon_see_the_same() {
    let target = TestTarget::migrated().await;
    let (here, there) = (Setup::of(&target).start().await, Setup::of(&target).start().await);
    let gate = Gate::before(&target, "SCHEMA_RESET").await;
    let (mut api, mut other) = (here.api().await, there.api().await);
    let first = api.begin(&request(Verb::Run, &target)).await.unwrap();
    gate.reached().await;
    let row = target.control_rows("SELECT id FROM resetd.operation").await;
    let id: Uuid = row[0][0].parse().unwrap();
    let second = here.api().await.watch(id, 1).await.unwrap();
    let mut distant = other.watch(id, 1).await.unwrap();
    // It sees what happened before it came, while the operation still runs.
    let planned = distant.until("PLANNED").await;
    let late = other.watch(id, planned.sequence + 1).await.unwrap();
    gate.open().await;
    let (first, second, distant, late) =
        tokio::join!(collect(first), collect(second), collect(distant), collect(late));
    let first = milestones(first);
    whole(&first);
    let after = usize::try_from(planned.sequence).unwrap();
    assert_eq!(raw(&milestones(second)), raw(&first));
    assert_eq!(raw(&milestones(distant)), raw(&first[after..]));
    assert_eq!(raw(&milestones(late)), raw(&first[after..]));
}

/// The lines of `--progress json` are the events: number, code, text, and the payload as the journal keeps it.
#[tokio::test]
async fn json_progress_is_the_stream() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for line in ["run --confirm-destructive-reset RESET", "validate", "run --dry-run", "migrate"] {
        let out = daemon.ctl(&format!("{line} --progress json")).await;
        out.expect(0);
        let lines: Vec<Value> = out
            .stderr
            .lines()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
            .collect();
        let shown: Vec<&Value> = lines.iter().filter(|l| l["sequence"] != 0).collect();
        let id: Uuid = out.text("/operation").parse().unwrap();
        let events = milestones(collect(daemon.api().await.watch(id, 1).await.unwrap()).await);
        assert_eq!(shown.len(), events.len(), "{out}");
        for (shown, event) in shown.iter().zip(&events) {
            assert_eq!(shown["sequence"], event.sequence, "{out}");
            assert_eq!(shown["operation"], id.to_string(), "{out}");
            assert_eq!(shown["code"], event.code.as_str(), "{out}");
            assert_eq!(shown["text"], event.text.as_str(), "{out}");
            assert_eq!(shown["payload"], serde_json::to_value(&event.kind).unwrap(), "{out}");
            shown["at"].as_str().unwrap().parse::<jiff::Timestamp>().expect("RFC 3339");
        }
        let stored = target
            .control_rows(&format!(
                "SELECT body FROM resetd.event WHERE operation = '{id}' ORDER BY sequence"
            ))
            .await;
        for (shown, row) in shown.iter().zip(&stored) {
            assert_eq!(shown["payload"], serde_json::from_str::<Value>(&row[0]).unwrap(), "{out}");
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test]
async fn a_report_is_the_same_bytes_everywhere() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let mut api = daemon.api().await;
    let mut checked = 0;
    for (line, code) in [
        ("run --confirm-destructive-reset RESET --label note=größe", 0),
        ("reset --dry-run", 0),
        ("reset --confirm-destructive-reset RESET", 0),
        ("validate", 7),
        (&format!("run --plan-digest {OTHER_DIGEST} --confirm-destructive-reset RESET"), 4),
    ] {
        let out = daemon.ctl(line).await;
        out.expect(code);
        let id: Uuid = out.text("/operation").parse().unwrap();
        let on_disk = std::fs::read(out.report_path.as_ref().unwrap()).unwrap();
        assert_eq!(api.report(id).await.unwrap(), on_disk, "{line}");
        let events = collect(api.watch(id, 1).await.unwrap()).await;
        let Some(EventKind::Finished(end)) = &events.last().unwrap().kind else { panic!("{events:#?}") };
        assert_eq!(end.report_sha256, sha256(&on_disk), "{line}");
        assert_eq!(end.status.as_str(), out.text("/status"), "{line}");
        assert_eq!(end.exit_code(), code, "{line}");
        assert!(on_disk.ends_with(b"\n") && std::str::from_utf8(&on_disk).is_ok(), "{line}");
        checked += 1;
    }
    assert_eq!(checked, 5);
}

#[tokio::test]
async fn a_report_is_not_there_before_the_end() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let gate = Gate::before(&target, "PLANNED").await;
    let mut api = daemon.api().await;
    let mut stream = api.begin(&request(Verb::Validate, &target)).await.unwrap();
    assert_eq!(outcome(&milestones(stream.rest().await)), Outcome::Succeeded, "a validation has no plan");
    let mut stream = api.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = stream.until("LOCK_ACQUIRED").await.operation;
    gate.reached().await;
    let status = api.report(id).await.expect_err("it runs");
    assert_eq!((status.code(), fault(&status).reason.name()), (Code::NotFound, "REPORT_NOT_READY"));
    daemon.ctl(&format!("report get {id}")).await.expect(6);
    gate.open().await;
    stream.until("FINISHED").await;
    assert!(!api.report(id).await.unwrap().is_empty());
}

const SERVICES: [&str; 5] = [
    "resetd.v1.AdminService",
    "resetd.v1.OperationService",
    "resetd.v1.SystemService",
    "resetd.v1.TargetService",
    "resetd.v1.WindowService",
];

#[tokio::test]
async fn health_and_reflection_know_every_service() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let target = TestTarget::empty().await;
    let daemon = Setup::of(&target).start().await;
    let channel = daemon.api().await.channel;

    let mut health = HealthClient::new(channel.clone());
    for service in SERVICES.iter().chain(&[""]) {
        let answer = health.check(HealthCheckRequest { service: (*service).to_owned() }).await;
        let answer = answer.unwrap_or_else(|status| panic!("{service}: {status:?}")).into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "resetd.v1.NoSuchService".to_owned() }).await;
    assert_eq!(unknown.expect_err("nobody serves it").code(), Code::NotFound);

    let mut reflection = ServerReflectionClient::new(channel);
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let questions = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("resetd.v1.OperationService".to_owned())),
    ];
    let mut answers =
        reflection.server_reflection_info(tokio_stream::iter(questions)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<&str> = list.service.iter().map(|s| s.name.as_str()).collect();
    for service in SERVICES {
        assert!(names.contains(&service), "{service} in {names:?}");
    }
    let file = answers.message().await.unwrap().unwrap().message_response;
    assert!(matches!(file, Some(MessageResponse::FileDescriptorResponse(_))), "{file:?}");
}
