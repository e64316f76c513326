//! What goes on with the targets, once and for as long as somebody looks.

use harness::{
    Gate, Setup, Signal, TestTarget, request, soon,
    windows::{GUEST, Two, reserve, wish},
};
use model::operation::{Request, Verb, Wait};
use wire::v1;

type Views = tonic::Streaming<v1::WatchTargetsResponse>;

async fn next(views: &mut Views) -> v1::Target {
    let message = soon("a view of a target", views.message()).await.unwrap();
    message.expect("the stream goes on").target.unwrap()
}

/// The first view that is so.
async fn until(views: &mut Views, what: impl Fn(&v1::Target) -> bool) -> v1::Target {
    loop {
        let view = next(views).await;
        if what(&view) {
            return view;
        }
    }
}

#[tokio::test]
async fn every_target_is_shown_then_what_changes_and_the_end_is_clean() {
    let (target, other) = (TestTarget::migrated().await, TestTarget::empty().await);
    let setup = Setup::of(&target).and(&other);
    let mut two = Two::with(target, setup).await;
    let mut views = two.guest.targets.watch_targets(v1::WatchTargetsRequest {}).await.unwrap().into_inner();
    let mut first = [next(&mut views).await.name, next(&mut views).await.name];
    first.sort();
    let mut both = [two.target.name.clone(), other.name.clone()];
    both.sort();
    assert_eq!(first, both);
    let window = reserve(&mut two.owner, wish(&two.target, 60, 60)).await.unwrap();
    let seen = until(&mut views, |t| !t.next_windows.is_empty()).await;
    assert_eq!(
        (seen.name, seen.next_windows[0].id.clone()),
        (two.target.name.clone(), window.id.to_string())
    );
    let gate = Gate::before(&two.target, "PLANNED").await;
    let mut stream = two.guest.begin(&request(Verb::Migrate, &two.target)).await.unwrap();
    let id = stream.until("LOCK_ACQUIRED").await.operation.to_string();
    until(&mut views, |t| t.holder.as_ref().is_some_and(|h| h.operation == id)).await;
    let asked = Request { wait: Wait::Forever, ..request(Verb::Migrate, &two.target) };
    let mut waiting = two.owner.begin(&asked).await.unwrap();
    let second = waiting.until("QUEUED").await.operation.to_string();
    until(&mut views, |t| t.queue.iter().any(|o| o.id == second)).await;
    gate.open().await;
    until(&mut views, |t| t.last_operation.as_ref().is_some_and(|o| o.id == second) && t.holder.is_none())
        .await;
    two.daemon.stop().await;
    let rest = async { while let Ok(Some(_)) = views.message().await {} };
    soon("the stream's end", rest).await;
}

#[tokio::test]
async fn status_shows_who_holds_who_waits_and_what_comes() {
    let mut two = Two::new("").await;
    reserve(&mut two.owner, wish(&two.target, 0, 600)).await.unwrap();
    reserve(&mut two.guest, wish(&two.target, 600, 600)).await.unwrap();
    let gate = Gate::before(&two.target, "PLANNED").await;
    let mut stream = two.owner.begin(&request(Verb::Migrate, &two.target)).await.unwrap();
    let id = stream.until("LOCK_ACQUIRED").await.operation.to_string();
    gate.reached().await;
    let waiting = two.daemon.ctl_spawn("migrate --wait");
    waiting.said("queued (position").await;
    assert!(waiting.stderr().contains(&two.me) && waiting.stderr().contains("reserved by"), "{waiting:?}");
    let out = two.daemon.ctl("status").await;
    for line in [
        format!("lock       {} (migrate since ", two.me),
        "queue 1    migrate by loopback:anonymous".to_owned(),
        format!("window     {}, ", two.me),
        format!("next       {GUEST}, "),
    ] {
        assert!(out.stdout.contains(&line), "{line}: {out}");
    }
    assert!(out.stdout.contains(&id) && out.stdout.contains(": rehearsal"), "{out}");
    waiting.signal(Signal::SIGINT);
    let out = waiting.finish().await;
    assert!(out.expect(130).stderr.contains("loses its place"), "{out}");
    gate.open().await;
    stream.until("FINISHED").await;
    two.daemon.stop().await;
}

#[tokio::test]
async fn the_client_follows_targets_and_finds_its_daemon_again() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).listen("unix:socket").spawn().await;
    let plain = daemon.ctl_at(0, &["status", "--watch", "--json"]);
    daemon.ctl("migrate").await.expect(0);
    plain.printed("\"succeeded\"").await;
    daemon.kill().await;
    plain.said("trying again").await;
    plain.signal(Signal::SIGINT);
    let out = plain.finish().await;
    let lines: Vec<serde_json::Value> =
        out.expect(130).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty() && lines.iter().all(|l| l["name"] == target.name.as_str()), "{out}");
    let last = &lines[lines.len() - 1]["last_operation"];
    assert_eq!((last["verb"].as_str(), last["outcome"].as_str()), (Some("migrate"), Some("succeeded")));
}
