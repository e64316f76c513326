//! Force: an admin breaks a lock or ends a window, names what breaks, and the victim is told who and why.

use harness::{
    Api, Gate, Setup, TestTarget,
    operations::{asleep, end, lock_is_free, on_record, sleeping},
    request,
    windows::{GUEST, Two, refused, release, reserve, wish},
};
use model::operation::Verb;
use tonic::Status;
use uuid::Uuid;
use wire::v1;

async fn unlock(api: &mut Api, target: &TestTarget, operation: Uuid, reason: &str) -> Result<String, Status> {
    let request = v1::ForceUnlockTargetRequest {
        request_id: Uuid::new_v4().to_string(),
        target: target.name.clone(),
        operation: operation.to_string(),
        reason: reason.to_owned(),
    };
    let reply = api.targets.force_unlock_target(request).await?.into_inner();
    Ok(reply.broken.unwrap().principal)
}

#[tokio::test]
async fn a_lock_is_broken_by_whoever_names_its_holder_and_says_why() {
    let chains = sleeping();
    let target = TestTarget::migrated().await;
    let setup = Setup::of(&target).migrations(&chains);
    let mut two = Two::with(target, setup).await;
    let there = Setup::of(&two.target).migrations(&chains).start().await;
    let before = two.target.state().await;
    let mut validated = two.guest.begin(&request(Verb::Validate, &two.target)).await.unwrap();
    let ended = validated.until("FINISHED").await.operation;
    assert_eq!(refused(unlock(&mut two.owner, &two.target, ended, "why").await).0, "NOT_CANCELLABLE");
    // The operation runs in another daemon than the one that is asked to break its lock.
    let mut stream = there.api().await.begin(&request(Verb::Run, &two.target)).await.unwrap();
    let id = stream.until("LOCK_ACQUIRED").await.operation;
    asleep(&two.target).await;
    let (reason, message) = refused(unlock(&mut two.owner, &two.target, ended, "why").await);
    assert!(reason == "TARGET_LOCKED" && message.contains(&id.to_string()), "{reason}: {message}");
    assert_eq!(refused(unlock(&mut two.owner, &two.target, id, " ").await).0, "INVALID_REQUEST");
    assert_eq!(
        refused(unlock(&mut two.owner, &two.target, Uuid::nil(), "why").await).0,
        "OPERATION_NOT_FOUND"
    );
    assert_eq!(refused(unlock(&mut two.guest, &two.target, id, "why").await).0, "PERMISSION_DENIED");
    asleep(&two.target).await;
    let (name, id) = (two.target.name.clone(), id.to_string());
    let words = ["target", "unlock", &name, "--operation", &id, "--reason", "hangs since noon"];
    let out = two.own(&words).await;
    assert!(out.expect(0).stderr.contains(GUEST), "{out}");
    let (reason, message) = end(&mut stream).await;
    assert_eq!(reason, "FORCED_UNLOCK", "{message}");
    assert!(message.contains("hangs since noon") && message.contains(&two.me), "{message}");
    lock_is_free(&two.target).await;
    assert_eq!(before, two.target.state().await);
    // The same again is answered the same.
    two.own(&words).await.expect(0);
    on_record(&two.target, &["ForceUnlockTarget", "forced: hangs since noon", &id, &two.me]).await;
    there.stop().await;
    two.daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_that_stands_still_does_not_keep_a_broken_lock() {
    let chains = sleeping();
    let target = TestTarget::migrated().await;
    let mut two = Two::with(target.clone(), Setup::of(&target)).await;
    let stuck = Setup::of(&target).migrations(&chains).spawn().await;
    let before = two.target.state().await;
    let mut stream = stuck.api().await.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = stream.until("LOCK_ACQUIRED").await.operation;
    asleep(&target).await;
    stuck.pause().await;
    unlock(&mut two.owner, &target, id, "its daemon stands still").await.unwrap();
    let mut watched = two.owner.watch(id, 1).await.unwrap();
    let (reason, message) = end(&mut watched).await;
    assert!(reason == "FORCED_UNLOCK" && message.contains("stands still"), "{reason}: {message}");
    assert_eq!(before, two.target.state().await);
    two.daemon.ctl("run --confirm-destructive-reset RESET").await.expect(0);
    let after = two.target.state().await;
    stuck.resume().await;
    stuck.kill().await;
    assert_eq!(after, two.target.state().await, "who was stopped changes nothing when it goes on");
    two.daemon.stop().await;
}

#[tokio::test]
async fn a_window_is_released_by_force_and_the_change_in_it_ends() {
    let chains = sleeping();
    let target = TestTarget::migrated().await;
    let setup = Setup::of(&target).migrations(&chains);
    let mut two = Two::with(target, setup).await;
    let before = two.target.state().await;
    let window = reserve(&mut two.guest, wish(&two.target, 0, 600)).await.unwrap();
    let mut stream = two.guest.begin(&request(Verb::Run, &two.target)).await.unwrap();
    asleep(&two.target).await;
    assert_eq!(refused(release(&mut two.owner, &window, false, "x").await).0, "PERMISSION_DENIED");
    assert_eq!(refused(release(&mut two.owner, &window, true, "").await).0, "INVALID_REQUEST");
    asleep(&two.target).await;
    let id = window.id.to_string();
    let out = two.own(&["window", "release", &id, "--force", "--reason", "incident 7"]).await;
    assert!(out.expect(0).stderr.contains("window released"), "{out}");
    let (reason, message) = end(&mut stream).await;
    assert!(reason == "FORCED_UNLOCK" && message.contains("incident 7"), "{reason}: {message}");
    assert_eq!(before, two.target.state().await);
    on_record(&two.target, &["ReleaseWindow", "forced: incident 7", &id, &two.me, r#""peer":"unix"#]).await;
    let row = "SELECT released_by, released_reason FROM resetd.reset_window";
    assert_eq!(two.target.control_rows(row).await, [[two.me.clone(), "incident 7".to_owned()]]);
    // A guest forces nobody.
    let own = reserve(&mut two.owner, wish(&two.target, 0, 600)).await.unwrap();
    assert_eq!(refused(release(&mut two.guest, &own, true, "why").await).0, "PERMISSION_DENIED");
    let denied = ["ReleaseWindow", r#""allowed":false"#, "PERMISSION_DENIED", &own.id.to_string()];
    on_record(&two.target, &denied).await;
    let allowed =
        "SELECT FROM resetd.audit_record WHERE body LIKE '%ReleaseWindow%' AND body LIKE '%\"allowed\":true%'
                      AND body LIKE '%' || (SELECT max(id::text) FROM resetd.reset_window) || '%'";
    assert!(two.target.control_rows(allowed).await.is_empty(), "what was refused was never allowed");
    two.daemon.stop().await;
}

#[tokio::test]
async fn a_forced_release_that_was_cut_short_is_finished_by_the_next() {
    let chains = sleeping();
    let target = TestTarget::migrated().await;
    let setup = Setup::of(&target).migrations(&chains);
    let mut two = Two::with(target, setup).await;
    let window = reserve(&mut two.guest, wish(&two.target, 0, 600)).await.unwrap();
    let second = reserve(&mut two.guest, wish(&two.target, 700, 60)).await.unwrap();
    let mut stream = two.guest.begin(&request(Verb::Run, &two.target)).await.unwrap();
    asleep(&two.target).await;
    // A change counts on every window of one's own.
    assert_eq!(refused(release(&mut two.guest, &second, false, "").await).0, "TARGET_LOCKED");
    // As a daemon leaves it that dies between the release and the end of what runs.
    let released = "UPDATE resetd.reset_window
        SET released_at = clock_timestamp(), released_by = 'os:admin', released_reason = 'incident 8'
        WHERE id = ";
    two.target.control_sql(&format!("{released}'{}'", window.id)).await;
    release(&mut two.owner, &window, true, "incident 8").await.unwrap();
    let (reason, message) = end(&mut stream).await;
    assert!(reason == "FORCED_UNLOCK" && message.contains("incident 8"), "{reason}: {message}");
    two.daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_that_stands_still_with_its_row_is_waited_for_by_nobody() {
    let target = TestTarget::migrated().await;
    let mut two = Two::with(target.clone(), Setup::of(&target)).await;
    let stuck = Setup::of(&target).spawn().await;
    let before = two.target.state().await;
    let gate = Gate::before(&target, "COMMIT_PREPARED").await;
    let mut stream = stuck.api().await.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = stream.until("LOCK_ACQUIRED").await.operation;
    gate.reached().await;
    stuck.pause().await;
    let out = two.own(&["operations", "cancel", &id.to_string()]).await;
    assert!(out.stderr.contains("stands still"), "{out}");
    unlock(&mut two.owner, &target, id, "its daemon stands still").await.unwrap();
    let mut watched = two.owner.watch(id, 1).await.unwrap();
    let (reason, message) = end(&mut watched).await;
    assert_eq!(reason, "FORCED_UNLOCK", "{message}");
    assert_eq!(before, two.target.state().await);
    gate.open().await;
    stuck.kill().await;
    two.daemon.stop().await;
}
