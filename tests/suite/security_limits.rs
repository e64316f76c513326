//! Slow and hostile clients: they cannot hold the daemon's memory, nor block others.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use harness::{
    Authority, Certificate, Daemon, Gate, Setup, Subject, TestTarget, eventually, raw, request, soon,
};
use model::{fault::Reason, operation::Verb};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// What an HTTP/2 client says first: its preface and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn roles() -> String {
    "\n[[role]]\nprincipal = \"cert:*\"\ntargets = [\"*\"]\nrole = \"resetter\"\n".to_owned()
}

/// A daemon of its own process with TLS, and a client's certificate.
async fn secured(target: &TestTarget) -> (Authority, Certificate, Daemon) {
    let authority = Authority::new();
    let certificate = authority.client("client", &Subject::dns("client.example.org"));
    let daemon = Setup::of(target).with(&roles()).tls(&authority).spawn().await;
    (authority, certificate, daemon)
}

fn host_port(daemon: &Daemon) -> SocketAddr {
    daemon.address.trim_start_matches("https://").parse().expect("an address")
}

/// Memory of the daemon that is in use now, in KiB.
async fn memory(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid().await)).expect("it runs");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

/// Beside the harness's capture, so that a run shows what was measured.
fn say(text: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{text}").expect("standard error is open");
}

/// Connects from another address of this machine.
async fn from(last: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    socket.connect(to).await
}

/// It ends from the other side, whatever was said before.
async fn is_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    let mut bytes = [0; 4096];
    let end = async {
        loop {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            }
        }
    };
    soon("the end of a connection", end).await
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_in_the_words_of_the_contract() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let api = daemon.api().await;
    for (method, bytes) in [
        ("resetd.v1.OperationService/Run", 16 * 1024 * 1024 + 1),
        ("resetd.v1.TargetService/GetTarget", 64 * 1024 + 1),
        ("resetd.v1.AdminService/CreateToken", 64 * 1024 + 1),
    ] {
        let refused = raw::call(api.channel.clone(), method, vec![0; bytes], None).await.expect_err(method);
        let fault = wire::decode_status(&refused);
        if method.contains("Admin") {
            // Who may not ask is not even listened to.
            assert_eq!(fault.expect("a fault").reason, Reason::PermissionDenied, "{refused:?}");
            continue;
        }
        let fault = fault.unwrap_or_else(|| panic!("no reason of the table: {refused:?}"));
        assert_eq!(fault.reason, Reason::LimitExceeded, "{fault:?}");
        assert!(fault.hint.is_some(), "{fault:?}");
    }
    let garbage =
        raw::call(api.channel.clone(), "resetd.v1.OperationService/Run", vec![0xff; 64], None).await;
    let fault = wire::decode_status(&garbage.expect_err("no message")).expect("a reason of the table");
    assert_eq!(fault.reason, Reason::InvalidRequest, "{fault:?}");
    daemon.ctl("status").await.expect(0);
}

/// A thousand connections of one address on which nothing is asked: the address's own part is held, others are served, and
/// what is idle is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_block_nobody_and_are_closed() {
    let target = TestTarget::migrated().await;
    let (authority, certificate, daemon) = secured(&target).await;
    daemon.ctl_tls(&authority, Some(&certificate), "status").await.expect(0);
    let before = memory(&daemon).await;
    let address = host_port(&daemon);
    // Half of them with their handshake done, half without a word.
    let mut quiet = Vec::new();
    let mut greeted = Vec::new();
    for number in 0..1_000_u32 {
        let Ok(stream) = from(2, address).await else { continue };
        match number % 2 {
            0 => quiet.push(stream),
            _ => greeted.extend(harness::over(stream, &authority.ca(), None).await.ok()),
        }
    }
    let during = memory(&daemon).await;
    daemon.ctl_tls(&authority, Some(&certificate), "validate").await.expect(0);
    say(&format!("idle connections: {before} KiB before, {during} KiB with them"));
    assert!(during < before + 64 * 1024, "{before} KiB before, {during} KiB with a thousand connections");
    for stream in &mut quiet {
        assert!(is_closed(stream).await);
    }
    for stream in &mut greeted {
        assert!(is_closed(stream).await);
    }
}

/// Headers that come a byte at a time, and for ever: in a plaintext connection, where every byte can be chosen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_never_end_close_their_own_connection_only() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let address: SocketAddr = daemon.address.parse().expect("an address");
    let before = memory(&daemon).await;

    // Slowly: a header block of which one byte comes at a time.
    let slow = tokio::spawn(async move {
        let mut stream = from(3, address).await.expect("connected");
        stream.write_all(PREFACE).await.expect("written");
        // HEADERS of stream 1, 16 KiB long, without END_HEADERS.
        stream.write_all(b"\0\x40\0\x01\0\0\0\0\x01").await.expect("written");
        let (mut reading, mut writing) = stream.into_split();
        let dribble = async {
            while writing.write_all(&[0x40]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            closed = is_closed(&mut reading) => closed,
            () = dribble => true,
        }
    });
    // Quickly: CONTINUATION after CONTINUATION.
    let flood = tokio::spawn(async move {
        let mut stream = from(4, address).await.expect("connected");
        stream.write_all(PREFACE).await.expect("written");
        stream.write_all(b"\0\0\0\x01\0\0\0\0\x01").await.expect("written");
        let mut frame = b"\0\x40\0\x09\0\0\0\0\x01".to_vec();
        frame.extend(std::iter::repeat_n(b"\x40\x01a\x01b".as_slice(), 3_277).flatten().take(16 * 1024));
        let (mut reading, mut writing) = stream.into_split();
        let write = async {
            for _ in 0..100_000 {
                if writing.write_all(&frame).await.is_err() {
                    return true;
                }
            }
            false
        };
        tokio::select! {
            closed = is_closed(&mut reading) => closed,
            closed = write => closed,
        }
    });
    // Resets: calls that are taken back as soon as they were made.
    let resets = tokio::spawn(async move {
        let mut stream = from(5, address).await.expect("connected");
        stream.write_all(PREFACE).await.expect("written");
        let (mut reading, mut writing) = stream.into_split();
        let write = async {
            for number in (1..400_000_u32).step_by(2) {
                let id = number.to_be_bytes();
                // :method POST, :scheme http, :path /, then RST_STREAM.
                let mut frames = b"\0\0\x03\x01\x04".to_vec();
                frames.extend(id);
                frames.extend(b"\x83\x86\x84\0\0\x04\x03\0");
                frames.extend(id);
                frames.extend(b"\0\0\0\x08");
                if writing.write_all(&frames).await.is_err() {
                    return true;
                }
            }
            false
        };
        tokio::select! {
            closed = is_closed(&mut reading) => closed,
            closed = write => closed,
        }
    });
    daemon.ctl("validate").await.expect(0);
    for (what, closed) in [("slow headers", slow), ("endless headers", flood), ("resets", resets)] {
        assert!(soon(what, closed).await.expect("no panic"), "{what}: the connection stays open");
    }
    let after = memory(&daemon).await;
    assert!(after < before + 64 * 1024, "{before} KiB before, {after} KiB after");
    daemon.ctl("validate").await.expect(0);
}

/// Watchers that take nothing, of an operation with many events: memory stays, others are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_read_nothing_hold_no_memory_and_block_nobody() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let chains = harness::Migrations::shipped();
    let mut last = "core_001".to_owned();
    for number in 2..=200 {
        let id = format!("core_{number:03}");
        let sql = format!("COMMENT ON TABLE state IS '{}'", "x".repeat(500));
        chains.revision(&format!("core/{id}.sql"), &id, &last, &sql);
        last = id;
    }
    let line = format!("run --confirm-destructive-reset RESET --chains {}", chains.path().display());
    let out = daemon.ctl(&line).await;
    out.expect(0);
    let operation = out.text("/operation").to_owned();
    let before = memory(&daemon).await;

    let mut stalled = Vec::new();
    let address: SocketAddr = daemon.address.parse().expect("an address");
    for _ in 0..4 {
        let mut stream = from(6, address).await.expect("connected");
        stream.write_all(PREFACE).await.expect("written");
        for id in (1..=79_u32).step_by(2) {
            stream.write_all(&watch_frames(id, &operation)).await.expect("written");
        }
        stalled.push(stream);
    }
    let healthy = async || {
        let watched = daemon.ctl(&format!("operations watch {operation} --report-path -")).await;
        watched.expect(0);
    };
    healthy().await;
    let during = memory(&daemon).await;
    say(&format!("watchers that read nothing: {before} KiB before, {during} KiB with 160 streams"));
    assert!(
        during < before + 160 * 1024,
        "{before} KiB before, {during} KiB with 160 streams that nobody reads"
    );
    drop(stalled);
    healthy().await;
}

/// HEADERS and DATA of one `WatchOperation` from its beginning; the window of the stream is never opened further.
fn watch_frames(stream: u32, operation: &str) -> Vec<u8> {
    let literal = |name: &str, value: &str| {
        let mut bytes = vec![0, u8::try_from(name.len()).unwrap()];
        bytes.extend(name.as_bytes());
        bytes.push(u8::try_from(value.len()).unwrap());
        bytes.extend(value.as_bytes());
        bytes
    };
    let mut headers = vec![0x83, 0x86];
    headers.extend(literal(":path", "/resetd.v1.OperationService/WatchOperation"));
    headers.extend(literal(":authority", "localhost"));
    headers.extend(literal("content-type", "application/grpc"));
    headers.extend(literal("te", "trailers"));
    let message = wire::v1::WatchOperationRequest { operation: operation.to_owned(), start_sequence: 1 };
    let message = message.encode_to_vec();
    let mut data = vec![0];
    data.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    data.extend(message);
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    };
    [frame(1, 4, &headers), frame(0, 1, &data)].concat()
}

/// More open calls than one principal may have: told with what to do, and room again when some end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_principal_may_have_so_many_open_calls_and_no_more() {
    let target = TestTarget::migrated().await;
    let (authority, certificate, daemon) = secured(&target).await;
    let gate = Gate::before(&target, "REVISION_APPLIED").await;
    let connect = async |certificate: &Certificate| {
        let channel = authority.channel(&daemon.address, Some(certificate)).await.expect("a channel");
        wire::v1::operation_service_client::OperationServiceClient::new(channel)
    };
    let mut first = connect(&certificate).await;
    let wire::Request::Run(run) = wire::encode_request(&request(Verb::Run, &target)) else { unreachable!() };
    let mut running = first.run(run).await.expect("allowed").into_inner();
    let begun = soon("an event", running.message()).await.expect("an event").expect("not the end");
    let operation = begun.event.expect("an event").operation;
    gate.reached().await;
    let watch = || wire::v1::WatchOperationRequest { operation: operation.clone(), start_sequence: 1 };

    // 60 on each connection: a connection has room for 64.
    let mut open = Vec::new();
    let mut refused = None;
    'all: for _ in 0..6 {
        let mut client = connect(&certificate).await;
        for _ in 0..60 {
            match client.watch_operation(watch()).await {
                Ok(stream) => open.push(stream.into_inner()),
                Err(status) => {
                    refused = Some(status);
                    break 'all;
                }
            }
        }
    }
    assert_eq!(open.len(), 255, "with the one that runs it");
    let fault = wire::decode_status(&refused.expect("there is an end to it")).expect("a fault");
    assert_eq!(fault.reason, Reason::LimitExceeded, "{fault:?}");
    assert!(fault.message.contains("cert:client.example.org") && fault.hint.is_some(), "{fault:?}");

    let other = authority.client("other", &Subject::dns("other.example.org"));
    daemon.ctl_tls(&authority, Some(&other), "operations list").await.expect(0);
    drop(open);
    eventually("there is room again", || async {
        connect(&certificate).await.watch_operation(watch()).await.is_ok()
    })
    .await;
    gate.open().await;
}

/// A handshake that never comes holds up nobody, and ends.
#[tokio::test]
async fn a_handshake_that_never_comes_ends() {
    let target = TestTarget::migrated().await;
    let (authority, certificate, daemon) = secured(&target).await;
    let mut silent = TcpStream::connect(host_port(&daemon)).await.expect("connected");
    let mut half = TcpStream::connect(host_port(&daemon)).await.expect("connected");
    // A record that promises more than it brings.
    half.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.expect("written");
    daemon.ctl_tls(&authority, Some(&certificate), "status").await.expect(0);
    assert!(is_closed(&mut silent).await && is_closed(&mut half).await);
    daemon.ctl_tls(&authority, Some(&certificate), "status").await.expect(0);
}

/// Health proves nothing: it has its own few calls of its own small size, and takes nobody's.
#[tokio::test]
async fn health_has_room_of_its_own() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let api = daemon.api().await;
    let large = raw::call(api.channel.clone(), "grpc.health.v1.Health/Check", vec![0; 2_048], None).await;
    let refused = large.expect_err("it is larger than the name of a service");
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused:?}");
    let mut health = tonic_health::pb::health_client::HealthClient::new(api.channel.clone());
    let question = || tonic_health::pb::HealthCheckRequest { service: "resetd.v1.SystemService".to_owned() };
    let mut open = Vec::new();
    let refused = loop {
        match soon("an answer", health.watch(question())).await {
            Ok(stream) => open.push(stream.into_inner()),
            Err(status) => break status,
        }
    };
    assert_eq!(open.len(), 32, "{refused:?}");
    assert_eq!(wire::decode_status(&refused).expect("a fault").reason, Reason::LimitExceeded);
    daemon.ctl("validate").await.expect(0);
    drop(open);
    eventually("there is room again", || async {
        let mut health = tonic_health::pb::health_client::HealthClient::new(api.channel.clone());
        health.check(question()).await.is_ok()
    })
    .await;
}

/// What was answered is held no longer, however long its stream goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_holds_nothing_of_what_it_answered() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let api = daemon.api().await;
    let question = |bytes: usize| ServerReflectionRequest {
        host: "h".repeat(bytes),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(api.channel.clone());
    // 70 MiB in all.
    let questions = tokio_stream::iter((0..1_200).map(move |_| question(60 * 1024)));
    let mut answers = reflection.server_reflection_info(questions).await.expect("allowed").into_inner();
    let mut answered = 0;
    while soon("an answer", answers.message()).await.expect("no end before all is answered").is_some() {
        answered += 1;
    }
    assert_eq!(answered, 1_200);
    let large = tokio_stream::once(question(70 * 1024));
    let mut refused = reflection.server_reflection_info(large).await.expect("allowed").into_inner();
    // Reflection ends its stream without a word where it cannot read.
    let refused = soon("the end", refused.message()).await;
    assert!(!matches!(refused, Ok(Some(_))), "one message is small: {refused:?}");
}
