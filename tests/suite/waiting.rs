//! Waiting: in the order of coming, across daemons, past windows, and not for those whom nobody watches.

use harness::{
    EventStream, Gate, Setup, TestTarget, eventually,
    operations::queue_of,
    request,
    windows::{GUEST, Two, refused, release, reserve, wish},
};
use model::{
    event::EventKind,
    lock::LockKey,
    operation::{Request, Verb, Wait},
};
use uuid::Uuid;

async fn reason(stream: &mut EventStream) -> String {
    let event = stream.until("FINISHED").await;
    let Some(EventKind::Finished(end)) = event.kind else { panic!("{event:?}") };
    end.error.map_or_else(|| "OK".to_owned(), |fault| fault.reason.name().to_owned())
}

fn waiting(verb: Verb, target: &TestTarget) -> Request {
    Request { wait: Wait::Forever, ..request(verb, target) }
}

/// The operations in the order in which they began.
async fn order(target: &TestTarget) -> Vec<Uuid> {
    let rows = target.control_rows("SELECT id FROM resetd.operation ORDER BY started_at").await;
    rows.into_iter().map(|row| row[0].parse().unwrap()).collect()
}

#[tokio::test]
async fn fifty_waiters_on_two_daemons_begin_in_the_order_of_coming() {
    let target = TestTarget::migrated().await;
    let (here, there) = (Setup::of(&target).start().await, Setup::of(&target).start().await);
    // Somebody holds the lock who is no operation of theirs.
    let mut holder = target.control_session().await;
    holder.sql(&format!("SELECT pg_advisory_lock({})", LockKey::target(&target.database).0)).await;
    let mut expected = Vec::new();
    let mut streams = Vec::new();
    for n in 0..50 {
        let daemon = if n % 2 == 0 { &here } else { &there };
        let mut stream = daemon.api().await.begin(&waiting(Verb::Migrate, &target)).await.unwrap();
        expected.push(stream.until("QUEUED").await.operation);
        streams.push(stream);
    }
    // One without a place is not let in between.
    assert!(here.api().await.begin(&request(Verb::Migrate, &target)).await.is_err());
    queue_of(&target, 50).await;
    // Fifty of one principal are the most: each one keeps a session of the cluster.
    let (limit, message) = refused(here.api().await.begin(&waiting(Verb::Migrate, &target)).await.map(drop));
    assert!(limit == "LIMIT_EXCEEDED" && message.contains("50 waiting"), "{limit}: {message}");
    queue_of(&target, 50).await;
    holder.close().await;
    for stream in &mut streams {
        assert_eq!(reason(stream).await, "OK");
    }
    assert_eq!(order(&target).await, expected);
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn who_waits_lets_the_windows_owner_pass_and_keeps_its_place() {
    let mut two = Two::new("").await;
    let there = Setup::of(&two.target).start().await;
    let window = reserve(&mut two.owner, wish(&two.target, 0, 600)).await.unwrap();
    let (mut streams, mut expected) = (Vec::new(), Vec::new());
    for n in 0..6 {
        let daemon = if n % 2 == 0 { &two.daemon } else { &there };
        let mut stream = daemon.api().await.begin(&waiting(Verb::Migrate, &two.target)).await.unwrap();
        let queued = stream.until("QUEUED").await;
        let Some(EventKind::Queued(place)) = queued.kind.clone() else { panic!("{queued:?}") };
        assert_eq!((place.position, place.window.map(|w| w.id)), (n, Some(window.id)));
        assert!(queued.text.contains(&two.me) && queued.text.contains("rehearsal"), "{}", queued.text);
        expected.push(queued.operation);
        streams.push(stream);
    }
    queue_of(&two.target, 6).await;
    // Nobody is in the owner's way, with or without a place; looking is nobody's trouble.
    for asked in [request(Verb::Run, &two.target), waiting(Verb::Migrate, &two.target)] {
        let mut own = two.owner.begin(&asked).await.unwrap();
        assert_eq!(reason(&mut own).await, "OK");
    }
    let mut look = two.guest.begin(&request(Verb::Validate, &two.target)).await.unwrap();
    assert_eq!(reason(&mut look).await, "OK");
    release(&mut two.owner, &window, false, "").await.unwrap();
    for stream in &mut streams {
        assert_eq!(reason(stream).await, "OK");
    }
    let order = order(&two.target).await;
    assert_eq!(order[order.len() - 6..], expected[..]);
    there.stop().await;
    two.daemon.stop().await;
}

#[tokio::test]
async fn who_waits_for_a_windows_end_is_let_in_when_it_comes() {
    let mut two = Two::new("").await;
    let window = reserve(&mut two.owner, wish(&two.target, 0, 3)).await.unwrap();
    let mut stream = two.guest.begin(&waiting(Verb::Run, &two.target)).await.unwrap();
    let acquired = stream.until("LOCK_ACQUIRED").await;
    assert!(wire::decode_timestamp(acquired.raw.occurred_at).unwrap() >= window.ends_at);
    assert_eq!(reason(&mut stream).await, "OK");
    // A limit holds for windows as for locks.
    reserve(&mut two.owner, wish(&two.target, 0, 600)).await.unwrap();
    let out = two.daemon.ctl("migrate --wait=1s").await;
    out.refused("WAIT_EXPIRED").expect(9);
    assert!(out.stderr.contains(&two.me), "{out}");
    two.daemon.stop().await;
}

#[tokio::test]
async fn ones_own_window_is_waited_for_and_may_end_while_one_waits() {
    let mut two = Two::new("[profile.local]\nwindow = \"required\"\n").await;
    let coming = reserve(&mut two.guest, wish(&two.target, 3, 4)).await.unwrap();
    let mut stream = two.guest.begin(&waiting(Verb::Migrate, &two.target)).await.unwrap();
    let acquired = stream.until("LOCK_ACQUIRED").await;
    assert!(wire::decode_timestamp(acquired.raw.occurred_at).unwrap() >= coming.starts_at);
    assert_eq!(reason(&mut stream).await, "OK");
    // Somebody who only looks holds the lock, shared, while the window passes.
    let gate = Gate::before(&two.target, "VALIDATED").await;
    let mut look = two.owner.begin(&request(Verb::Validate, &two.target)).await.unwrap();
    gate.reached().await;
    two.target.until(&format!("SELECT clock_timestamp() > '{}'", coming.ends_at)).await;
    let window = reserve(&mut two.guest, wish(&two.target, 0, 3)).await.unwrap();
    let mut stream = two.guest.begin(&waiting(Verb::Run, &two.target)).await.unwrap();
    let ended = stream.until("FINISHED").await;
    assert!(wire::decode_timestamp(ended.raw.occurred_at).unwrap() >= window.ends_at);
    assert!(ended.text.contains("WINDOW_REQUIRED"), "{}", ended.text);
    gate.open().await;
    assert_eq!(reason(&mut look).await, "OK");
    two.daemon.stop().await;
}

#[tokio::test]
async fn whom_nobody_watches_loses_its_place_unless_it_said_so() {
    let mut two = Two::new("[profile.local]\nunwatched_wait_limit = \"1s\"\n").await;
    let window = reserve(&mut two.owner, wish(&two.target, 0, 600)).await.unwrap();
    let mut ids = Vec::new();
    for detached in [false, true, false] {
        let asked = Request { detached, ..waiting(Verb::Migrate, &two.target) };
        let mut stream = two.guest.begin(&asked).await.unwrap();
        ids.push(stream.until("QUEUED").await.operation);
        if ids.len() == 3 {
            // This one is watched all the time.
            let state = |n: usize| {
                let sql = format!(
                    "SELECT state || ' ' || coalesce(reason, '') FROM resetd.operation WHERE id = '{}'",
                    ids[n]
                );
                let target = two.target.clone();
                async move { target.control_rows(&sql).await[0][0].clone() }
            };
            eventually("the first one loses its place", || async {
                state(0).await == "finished WAIT_EXPIRED"
            })
            .await;
            assert_eq!((state(1).await, state(2).await), ("waiting ".into(), "waiting ".into()));
            release(&mut two.owner, &window, false, "").await.unwrap();
            assert_eq!(reason(&mut stream).await, "OK");
            assert_eq!(state(1).await, "finished ");
        }
    }
    let mut late = two.guest.watch(ids[0], 1).await.unwrap();
    let end = late.until("FINISHED").await;
    assert!(end.text.contains("nobody watched"), "{}", end.text);
    two.daemon.stop().await;
}

#[tokio::test]
async fn a_waiter_that_is_gone_holds_nobody_up() {
    let target = TestTarget::migrated().await;
    let setup = Setup::of(&target);
    let mut two = Two::with(target, setup).await;
    let doomed = Setup::of(&two.target).spawn().await;
    let window = reserve(&mut two.owner, wish(&two.target, 0, 600)).await.unwrap();
    let mut first = doomed.api().await.begin(&waiting(Verb::Migrate, &two.target)).await.unwrap();
    first.until("QUEUED").await;
    let mut cancelled = two.guest.begin(&waiting(Verb::Migrate, &two.target)).await.unwrap();
    let id = cancelled.until("QUEUED").await.operation;
    let mut last = two.guest.begin(&waiting(Verb::Migrate, &two.target)).await.unwrap();
    last.until("QUEUED").await;
    doomed.kill().await;
    two.daemon.ctl(&format!("operations cancel {id}")).await.expect(0);
    assert_eq!(reason(&mut cancelled).await, "CANCELLED");
    release(&mut two.owner, &window, false, "").await.unwrap();
    assert_eq!(reason(&mut last).await, "OK");
    let by = two.target.control_rows("SELECT DISTINCT principal FROM resetd.operation").await;
    assert_eq!(by, [[GUEST]]);
    two.daemon.stop().await;
}
