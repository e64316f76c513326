//! Listeners: modes and groups of sockets, sockets of the service manager, certificates that change while calls run, two
//! principals on one target.

use std::{
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::Path,
    process::Stdio,
};

use harness::{Authority, Gate, Setup, Subject, TestTarget, eventually, raw, request, soon};
use model::operation::Verb;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn role(principal: &str, role: &str) -> String {
    format!("\n[[role]]\nprincipal = \"{principal}\"\ntargets = [\"*\"]\nrole = \"{role}\"\n")
}

#[tokio::test]
async fn a_socket_and_its_folder_are_closed_to_strangers() {
    let target = TestTarget::empty().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made/for/it/resetd.sock");
    let daemon = Setup::of(&target).listen(&format!("unix:{}", path.display())).spawn().await;
    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(path.parent().unwrap()), 0o750);
    daemon.ctl("status").await.expect(0);
    daemon.stop().await;
    assert!(!path.exists(), "it goes with its daemon");
}

#[tokio::test]
async fn a_socket_is_given_to_a_group_that_exists() {
    use std::os::unix::fs::MetadataExt as _;
    let target = TestTarget::empty().await;
    // The only group that everybody may give away is their own.
    let own = nix::unistd::Group::from_gid(nix::unistd::getegid()).expect("looked up").expect("a group");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("group/resetd.sock");
    let text = |group: &str| format!("socket_group = \"{group}\"\n{}", target.control_section());
    let listen = format!("unix:{}", path.display());
    let setup = |group: &str| Setup::of(&target).config(&text(group)).and(&target).listen(&listen);
    let daemon = setup(&own.name).start().await;
    assert_eq!(std::fs::metadata(&path).unwrap().gid(), own.gid.as_raw());
    daemon.stop().await;
    let config = setup("no-such-group").load().expect("well formed");
    let error = resetd::daemon::Daemon::start(config).await.err().expect("there is no such group");
    let text = format!("{:?}", error);
    assert!(text.contains("no-such-group") && text.contains("socket_group"), "{text}");
}

#[tokio::test]
async fn sockets_of_the_service_manager_are_taken_over_and_it_is_told() {
    let target = TestTarget::empty().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("activated.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let notify = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
    notify.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("set");
    let config = folder.path().join("resetd.toml");
    let text = format!("{}[target.t]\ndatabase_url_env = \"URL\"\n", target.control_section());
    std::fs::write(&config, text).expect("written");
    let chains = harness::Migrations::shipped();
    // The shell puts the socket where the service manager does: on descriptor 3, for the process that it becomes.
    let script =
        "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve --config \"$1\" --migrations \"$2\" 3<&0 0</dev/null";
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", script])
        .arg(harness::binary("resetd"))
        .arg(&config)
        .arg(chains.path())
        .env("URL", target.url())
        .envs(target.control_url().map(|url| ("CONTROL_URL", url)))
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env_remove("XDG_RUNTIME_DIR")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a shell");
    let heard = async |what: &[u8]| {
        let notify = notify.try_clone().expect("a second one");
        let bytes = tokio::task::spawn_blocking(move || {
            let mut bytes = [0; 64];
            notify.recv(&mut bytes).map(|size| bytes[..size].to_vec())
        });
        assert_eq!(bytes.await.unwrap().expect("the service manager is told"), what);
    };
    heard(b"READY=1").await;

    let address = format!("unix:{}", path.display());
    let endpoint = tonic::transport::Endpoint::from_shared(address).expect("an address");
    let channel =
        endpoint.connect().await.expect("the daemon answers on the socket that was there before it");
    raw::call(channel, "resetd.v1.SystemService/GetServerInfo", Vec::new(), None).await.expect("an answer");

    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signalled");
    heard(b"STOPPING=1").await;
    let status = soon("the daemon's end", child.wait()).await.expect("waited for");
    assert!(status.success(), "{status}");
    assert!(path.exists(), "the socket is the service manager's and stays");
}

/// One listener, many certificates: a new pair, a broken one, a new CA of the clients. A stream that runs meanwhile goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_read_again_while_calls_run() {
    let target = TestTarget::migrated().await;
    let authority = Authority::new();
    let alice = authority.client("alice", &Subject::dns("alice.example.org"));
    let setup = Setup::of(&target).with(&role("cert:*", "resetter")).tls(&authority);
    let daemon = setup.spawn().await;
    let gate = Gate::before(&target, "REVISION_APPLIED").await;
    let channel = authority.channel(&daemon.address, Some(&alice)).await.expect("a channel");
    let mut client = wire::v1::operation_service_client::OperationServiceClient::new(channel);
    let wire::Request::Run(run) = wire::encode_request(&request(Verb::Run, &target)) else { unreachable!() };
    let mut stream = client.run(run).await.expect("allowed").into_inner();
    gate.reached().await;

    let shown = async || served(&authority, &daemon.address).await;
    let first = shown().await;
    let before = std::fs::read(authority.folder().join("daemon.pem")).unwrap();
    let _renewed = authority.daemon("daemon");
    eventually("the renewed certificate is shown", || async { shown().await != first }).await;
    let second = shown().await;

    // A certificate whose key does not fit: the one in force stays, and it is said once.
    std::fs::write(authority.folder().join("daemon.pem"), before).unwrap();
    daemon.signal(harness::Signal::SIGHUP).await;
    eventually("it is said", || async { daemon.log().contains("the earlier ones stay in force") }).await;
    assert_eq!(shown().await, second);
    let out = daemon.ctl_tls(&authority, Some(&alice), "operations list").await;
    out.expect(0);

    // Another CA for the clients, at once on SIGHUP: who came in before goes on, who comes now does not get in.
    let _good = authority.daemon("daemon");
    let others = Authority::named("another authority");
    std::fs::copy(others.ca(), authority.folder().join("ca.new")).unwrap();
    let old = std::fs::read(authority.ca()).unwrap();
    std::fs::rename(authority.folder().join("ca.new"), authority.ca()).unwrap();
    daemon.signal(harness::Signal::SIGHUP).await;
    std::fs::write(authority.folder().join("old-ca.pem"), old).unwrap();
    let trusting = authority.folder().join("old-ca.pem");
    let refused = async || {
        let words = ["--ca", trusting.to_str().unwrap(), "--cert", alice.cert.to_str().unwrap()];
        let out =
            daemon.ctl_args(&[&words[..], &["--key", alice.key.to_str().unwrap(), "status"]].concat()).await;
        out.code == 3 && out.stderr.contains("CA is not known there")
    };
    eventually("the new CA counts", || async { refused().await }).await;
    let late = client.list_operations(wire::v1::ListOperationsRequest::default()).await;
    let fault = wire::decode_status(&late.expect_err("no new call on the old connection"));
    assert_eq!(fault.expect("a fault").reason, model::fault::Reason::Unauthenticated);

    gate.open().await;
    let mut last = None;
    while let Some(response) = soon("an event", stream.message()).await.expect("the stream goes on") {
        last = response.event;
    }
    assert_eq!(last.expect("events").code, "FINISHED");
}

/// The certificate that the daemon shows now.
async fn served(authority: &Authority, address: &str) -> Vec<u8> {
    let host_port = address.trim_start_matches("https://");
    let stream = harness::secured(host_port, &authority.folder().join("ca.pem"), None).await.expect("TLS");
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

#[tokio::test]
async fn two_principals_meet_on_one_target_and_each_is_named() {
    let target = TestTarget::migrated().await;
    let authority = Authority::new();
    let roles = role("cert:alice.example.org", "resetter") + &role("cert:bob.example.org", "resetter");
    let daemon = Setup::of(&target).with(&roles).tls(&authority).spawn().await;
    let alice = authority.client("alice", &Subject::dns("alice.example.org"));
    let bob = authority.client("bob", &Subject::dns("bob.example.org"));
    let gate = Gate::before(&target, "REVISION_APPLIED").await;
    let line = "run --confirm-destructive-reset RESET";
    let words = harness::Daemon::with(&authority, Some(&alice), line);
    let running = daemon.ctl_spawn(&words.join(" "));
    gate.reached().await;

    let out = daemon.ctl_tls(&authority, Some(&bob), line).await;
    out.refused("TARGET_LOCKED");
    assert!(out.stderr.contains("cert:alice.example.org"), "the holder is named\n{out}");
    gate.open().await;
    let out = running.finish().await;
    out.expect(0);
    assert_eq!(out.text("/principal/name"), "cert:alice.example.org", "{out}");
    // Another's operation is not one's own, whatever the request's id.
    let out = daemon.ctl_tls(&authority, Some(&bob), line).await;
    out.expect(0);
    assert_eq!(out.text("/principal/name"), "cert:bob.example.org", "{out}");
}
