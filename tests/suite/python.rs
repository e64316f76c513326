//! A client in Python, made from the contract's files, with nothing set by hand: over the socket and over TCP.

use std::path::PathBuf;

use harness::{Because, Daemon, Make, Setup, TestTarget, commands::RUN};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn python() -> PathBuf {
    PathBuf::from(HERE).join("../target/test-venv/bin/python")
}

/// What the client printed.
async fn client(daemon: &Daemon, address: &str, target: &TestTarget) -> Vec<String> {
    let python = python();
    let work = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(&python);
    // A relative address is meant from here.
    command.current_dir(daemon.folder()).kill_on_drop(true).env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(format!("{HERE}/python/client.py")).arg(format!("{HERE}/../proto")).arg(work.path());
    command.args([address, &target.name]);
    let output = harness::soon("the client in Python", command.output()).await.unwrap_or_else(|error| {
        panic!("{}: {error}: run `make setup-tests` first", python.display());
    });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{address}: (is grpcio there? `make setup-tests`)\n{out}\n{err}");
    out.lines().map(str::to_owned).collect()
}

fn expected(principal: &str) -> Vec<String> {
    let lines = [
        &format!("principal {principal}"),
        "refused FAILED_PRECONDITION True",
        "violation INVALID_ARGUMENT True",
        "reflection True",
        "events True",
        "end FINISHED 0",
        "again True",
        "report True",
    ];
    lines.map(str::to_owned).to_vec()
}

/// grpcio names the socket's path in `:authority`, percent-encoded, which is no authority in HTTP.
#[tokio::test]
async fn grpcio_runs_a_reset_over_the_socket_as_it_is() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).listen("unix:socket").spawn().await;
    let path = daemon.address.trim_start_matches("unix:").to_owned();
    let own = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    let relative = format!("unix:{}", path.rsplit('/').next().unwrap());
    for address in [format!("unix:{path}"), format!("unix://{path}"), relative] {
        assert_eq!(client(&daemon, &address, &target).await, expected(&format!("unix:{own}")), "{address}");
    }
}

#[tokio::test]
async fn grpcio_runs_a_reset_over_tcp_as_it_is() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    assert_eq!(client(&daemon, &daemon.address, &target).await, expected("loopback:anonymous"));
}

/// What read the old script's reports reads all of these: it was written from the old paths alone.
#[tokio::test]
async fn readers_of_the_old_script_accept_every_report() {
    let target = TestTarget::make(Make::superuser(Because::ItHasOneRole)).await;
    let daemon = Setup::of(&target).plain().env("BUTLERS_DATABASE_URL", &target.tcp_url()).spawn().await;
    let folder = tempfile::tempdir().unwrap();
    let told = [
        ("validate", "validate, ok, ok, 0 missing"),
        ("reset --dry-run", "reset, ok, managed-schemas, dry run, 6 reset"),
        ("run --dry-run", "run, ok, managed-schemas, note, 6 reset, 9 migrated"),
        (RUN, "run, ok, managed-schemas, 6 reset, 9 migrated, ok, 0 missing"),
        (
            "run --scope database --confirm-destructive-reset RESET",
            "run, ok, database, 1 reset, 9 migrated, ok, 0 missing",
        ),
        ("reset --confirm-destructive-reset RESET", "reset, ok, managed-schemas, 6 reset"),
        ("validate", "validate, failed, failed, 45 missing"),
        ("reset --confirm-destructive-reset reset", "reset, error, managed-schemas"),
        ("migrate", "migrate, ok, 9 migrated"),
    ];
    let mut files = Vec::new();
    for (number, (line, _)) in told.iter().enumerate() {
        let file = folder.path().join(format!("{number}.json"));
        daemon.ctl(&format!("{line} --report-path {}", file.display())).await;
        files.push(file);
    }
    let mut command = tokio::process::Command::new(python());
    command.arg(format!("{HERE}/python/old_reports.py")).args(&files).kill_on_drop(true);
    let output = harness::soon("the reader in Python", command.output()).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert_eq!(out.lines().collect::<Vec<_>>(), told.map(|(_, line)| line));
    daemon.stop().await;
}
