//! Contact that is lost, stalls or is silent: the operation goes on, nobody else is held up, and the client finds its way back.

use std::fs;

use harness::{
    Frozen, Gate, Hold, Make, Postgres, Setup, Signal, TestTarget, collect,
    commands::RUN,
    eventually,
    operations::{asleep, sleeping},
    request,
};
use model::{event::EventKind, finding::Finding, operation::Verb};
use resetd::embedded::StopMode;
use tempfile::TempDir;
use uuid::Uuid;

/// A daemon at a socket where the next one will listen, too.
fn at(place: &TempDir, target: &TestTarget) -> Setup {
    Setup::of(target).listen(&format!("unix:{}", place.path().join("resetd.sock").display()))
}

/// The words after `watch on with:`, as they would be typed.
fn re_attach(stderr: &str) -> Vec<&str> {
    let line = stderr.lines().find_map(|line| line.split_once("watch on with: ")).map(|(_, line)| line);
    let words: Vec<&str> =
        line.unwrap_or_else(|| panic!("no command in {stderr}")).split_whitespace().collect();
    assert_eq!(words[0], "resetctl", "{stderr}");
    words[1..].to_vec()
}

#[tokio::test]
async fn contact_that_is_not_found_again_ends_with_the_command_that_goes_on() {
    let (target, chains, place) = (TestTarget::migrated().await, sleeping(), tempfile::tempdir().unwrap());
    let daemon = at(&place, &target).migrations(&chains).spawn().await;
    let client = daemon.ctl_spawn(&format!("{RUN} --reconnect-timeout 1s --progress plain"));
    asleep(&target).await;
    let id = target.control_rows("SELECT id FROM resetd.operation").await[0][0].clone();
    daemon.kill().await;
    let lost = client.finish().await;
    lost.expect(10);
    assert_eq!(lost.stderr.matches("contact lost").count(), 1, "said once\n{lost}");
    assert_eq!(
        (lost.text("/operation"), lost.text("/error_detail/reason")),
        (id.as_str(), "CONTACT_LOST"),
        "{lost}"
    );
    let next = at(&place, &target).spawn().await;
    let words = re_attach(&lost.stderr);
    assert!(words.contains(&id.as_str()), "{lost}");
    let out = next.ctl_args(&words).await;
    out.expect(12).refused("ABANDONED");
    assert_eq!(out.text("/operation"), id, "{out}");
    // The last one is what is watched when none is named.
    let last = next.ctl("operations watch").await;
    last.expect(12);
    assert_eq!(last.text("/operation"), id, "{last}");
}

/// How many clients are connected to a socket.
fn connected(place: &TempDir) -> usize {
    let path = place.path().join("resetd.sock").display().to_string();
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    // An accepted connection carries the listener's path, and is not listening itself.
    let mine = sockets.lines().filter(|line| line.ends_with(&path));
    mine.filter(|line| line.split_whitespace().nth(5) == Some("03")).count()
}

/// Neither side waits for ever for one that stands still: it is HTTP/2's own pings that tell.
#[tokio::test]
async fn a_side_that_stands_still_is_noticed_by_the_other_one() {
    let (target, place) = (TestTarget::migrated().await, tempfile::tempdir().unwrap());
    let daemon = at(&place, &target).spawn().await;
    let gate = Gate::before(&target, "SCHEMA_RESET").await;
    let client = daemon.ctl_spawn(&format!("{RUN} --progress plain"));
    gate.reached().await;
    daemon.pause().await;
    client.said("contact lost").await;
    daemon.resume().await;
    client.said("attached again").await;
    client.signal(Signal::SIGSTOP);
    eventually("the daemon closes the silent client's connection", || async { connected(&place) == 0 }).await;
    gate.open().await;
    eventually("the operation goes to its end without it", || async {
        target.control_rows("SELECT outcome FROM resetd.operation").await == [["succeeded"]]
    })
    .await;
    client.signal(Signal::SIGCONT);
    client.finish().await.expect(0);
}

/// The resident memory of a process, in KiB.
fn resident(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_watcher_that_takes_nothing_is_closed_without_harm() {
    const MORE: u64 = 6_000;
    const MANY: usize = 8;
    let (target, hold) = (TestTarget::migrated().await, Hold::new());
    let daemon = hold.setup(Setup::of(&target)).env("RESETD_LOG", "resetd=info").spawn().await;
    let pid = target.control_rows("SELECT pid FROM resetd.instance").await[0][0].clone();
    hold.at("3");
    let (mut api, mut other, mut third) = (daemon.api().await, daemon.api().await, daemon.api().await);
    let begun = api.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = hold.reached().await;
    // A long story.
    let finding = Finding::warning("LONG", "the story", "and so on ".repeat(500), "none");
    let finding = EventKind::FindingReported { finding };
    target
        .control_sql(&format!(
            "INSERT INTO resetd.event SELECT '{id}', 3 + n, clock_timestamp(), '{}', false, '{}'
               FROM generate_series(1, {MORE}) n;
             UPDATE resetd.operation SET last_sequence = 3 + {MORE}",
            finding.code(),
            serde_json::to_string(&finding).unwrap()
        ))
        .await;
    let size = target.control_rows("SELECT sum(length(body::text)) / 1024 FROM resetd.event").await;
    let size: u64 = size[0][0].parse().unwrap();
    // They are connected and answer pings; nobody reads.
    let mut stalled = third.watch(id, 1).await.unwrap();
    drop(begun);
    // A cancel has a channel of its own, and others see everything.
    let cancel = wire::v1::CancelOperationRequest { operation: id.to_string(), reason: String::new() };
    other.operations.cancel_operation(cancel).await.unwrap();
    hold.open("3");
    let all = collect(api.watch(id, 1).await.unwrap()).await;
    let last = all.last().unwrap();
    assert!(last.is_terminal() && last.sequence > MORE + 3, "{last:?}");
    let before = resident(&pid);
    let mut silent = Vec::new();
    for _ in 0..MANY {
        let mut api = daemon.api().await;
        silent.push((api.watch(id, 1).await.unwrap(), api));
    }
    eventually("the silent watchers are closed", || async {
        daemon.log().matches("a watcher that takes nothing is closed").count() == MANY + 1
    })
    .await;
    let grown = resident(&pid).saturating_sub(before);
    assert!(grown < size, "{grown} KiB more for {MANY} that read nothing of {size} KiB");
    // What it gets then is what came in order, and it attaches again where that ends.
    let mut seen = 0;
    while let Some(Ok(event)) = stalled.next().await {
        assert!(event.sequence == 0 || event.sequence == seen + 1, "{event:?} after {seen}");
        assert!(!event.is_terminal());
        seen = seen.max(event.sequence);
    }
    assert!(seen < MORE, "it was closed in the middle, not at {seen}");
    let rest = collect(third.watch(id, seen + 1).await.unwrap()).await;
    assert_eq!(rest.iter().find(|e| e.sequence > 0).unwrap().sequence, seen + 1);
    assert!(rest.last().unwrap().is_terminal());
}

/// NOTIFY only wakes up: whoever listens to nothing sees everything all the same, through any daemon.
#[tokio::test]
async fn without_notifications_everything_is_seen_and_cancelled_all_the_same() {
    let (cluster, postgres) = Postgres::private().await;
    let (target, chains) = (TestTarget::make_on(&postgres, Make::migrated()).await, sleeping());
    let (here, there) =
        (Setup::of(&target).migrations(&chains).start().await, Setup::of(&target).start().await);
    let listeners = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND query LIKE 'LISTEN%resetd_event%'",
        target.control
    );
    eventually("both listen", || async { target.rows(&listeners).await.len() == 2 }).await;
    let deaf: Vec<Frozen> = target.column(&listeners).await.iter().map(|pid| Frozen::new(pid)).collect();
    let client = here.ctl_spawn(RUN);
    asleep(&target).await;
    let id: Uuid = target.control_rows("SELECT id FROM resetd.operation").await[0][0].parse().unwrap();
    for daemon in [&here, &there] {
        let listed = daemon.ctl("operations list --active").await;
        assert!(listed.expect(0).stdout.contains(&id.to_string()), "{listed}");
        daemon.ctl(&format!("operations show {id}")).await.expect(0);
    }
    let mut api = there.api().await;
    let watched = api.watch(id, 1).await.unwrap();
    there.ctl(&format!("operations cancel {id}")).await.expect(0);
    let seen = collect(watched).await;
    assert!(seen.last().unwrap().is_terminal(), "{seen:#?}");
    client.finish().await.expect(8).refused("CANCELLED");
    drop(deaf);
    here.stop().await;
    there.stop().await;
    cluster.stop(StopMode::Fast).await.unwrap();
}
