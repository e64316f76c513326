//! Operations among each other: joined, refused, queued, cancelled, bounded, listed; and who may ask for them.

use std::time::Duration;

use harness::{
    Api, Daemon, Event, EventStream, Gate, Migrations, Session, Setup, State, TestTarget, collect,
    commands::RUN,
    operations::{asleep, fault, lock_is_free, nobody_left, queue_of, sleeping},
    request,
};
use model::{
    event::EventKind,
    operation::{Request, Verb, Wait},
};
use tonic::{Code, Status};
use uuid::Uuid;
use wire::v1::{self, ListOperationsRequest};

#[track_caller]
fn ended(events: &[Event]) -> model::event::Finished {
    match events.last().and_then(|e| e.kind.clone()) {
        Some(EventKind::Finished(end)) => *end,
        other => panic!("{other:?}"),
    }
}

/// Reads a stream to its end; the reason it ended with.
async fn reason(stream: &mut EventStream) -> String {
    let end = ended(&stream.rest().await);
    end.error.map_or_else(|| "OK".to_owned(), |fault| fault.reason.name().to_owned())
}

async fn operations(target: &TestTarget) -> String {
    target.control_rows("SELECT count(*) FROM resetd.operation").await[0][0].clone()
}

/// A `run` that is held at its first schema, and everything that holds it.
struct Held {
    target: TestTarget,
    daemon: Daemon,
    gate: Gate,
    api: Api,
    stream: EventStream,
    id: Uuid,
}

impl Held {
    async fn new() -> Self {
        let target = TestTarget::migrated().await;
        let daemon = Setup::of(&target).start().await;
        let gate = Gate::before(&target, "SCHEMA_RESET").await;
        let mut api = daemon.api().await;
        let mut stream = api.begin(&request(Verb::Run, &target)).await.unwrap();
        let id = stream.until("LOCK_ACQUIRED").await.operation;
        gate.reached().await;
        Self { target, daemon, gate, api, stream, id }
    }
}

#[tokio::test]
async fn the_same_request_joins_at_every_stage() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let gate = Gate::before(&target, "SCHEMA_RESET").await;
    let mut api = daemon.api().await;
    let asked = request(Verb::Run, &target);
    let mut first = api.begin(&asked).await.unwrap();
    let id = first.until("ACCEPTED").await.operation;
    gate.reached().await;
    let second = daemon.api().await.begin(&asked).await.unwrap();
    gate.open().await;
    let (first, second) = tokio::join!(collect(first), collect(second));
    assert_eq!(second[0].code, "ACCEPTED", "who joins sees it from its beginning");
    assert_eq!((second[0].operation, ended(&second)), (id, ended(&first)));
    let third = collect(api.begin(&asked).await.unwrap()).await;
    assert_eq!((third[0].operation, ended(&third)), (id, ended(&first)));
    assert_eq!(operations(&target).await, "1");
}

#[tokio::test]
async fn another_request_with_the_same_id_is_refused() {
    let Held { target, daemon, gate, mut api, mut stream, id } = Held::new().await;
    let request_id: Uuid =
        target.control_rows("SELECT request_id FROM resetd.operation").await[0][0].parse().unwrap();
    let others = |it: Request| Request { request_id, ..it };
    for it in [
        request(Verb::Reset, &target),
        request(Verb::Validate, &target),
        Request { dry_run: true, ..request(Verb::Run, &target) },
        Request { labels: [("a".to_owned(), "b".to_owned())].into(), ..request(Verb::Run, &target) },
        Request { timeout: Some(Duration::from_secs(99)), ..request(Verb::Run, &target) },
    ] {
        let status = api.begin(&others(it)).await.expect_err("another payload");
        let fault = fault(&status);
        assert_eq!((status.code(), fault.reason.name()), (Code::AlreadyExists, "REQUEST_ID_CONFLICT"));
        assert_eq!(fault.reason.exit_code(), 2);
        assert!(fault.message.contains(&request_id.to_string()), "{fault}");
    }
    gate.open().await;
    assert_eq!(reason(&mut stream).await, "OK");
    let status = api.begin(&others(request(Verb::Reset, &target))).await.expect_err("after the end as well");
    assert_eq!(fault(&status).reason.name(), "REQUEST_ID_CONFLICT");
    assert_eq!(operations(&target).await, "1");
    daemon.ctl(&format!("operations show {id}")).await.expect(0);
}

#[tokio::test]
async fn one_request_at_two_daemons_at_once_is_one_operation() {
    for _ in 0..5 {
        let target = TestTarget::migrated().await;
        let (here, there) = (Setup::of(&target).start().await, Setup::of(&target).start().await);
        let (mut a, mut b) = (here.api().await, there.api().await);
        let asked = request(Verb::Run, &target);
        let (a, b) = tokio::join!(a.begin(&asked), b.begin(&asked));
        let (a, b) = tokio::join!(collect(a.expect("made or joined")), collect(b.expect("made or joined")));
        assert_eq!((a[0].operation, ended(&a)), (b[0].operation, ended(&b)));
        assert_eq!(ended(&a).error, None);
        assert_eq!(operations(&target).await, "1");
    }
}

#[tokio::test]
async fn who_comes_second_is_told_who_holds_the_target() {
    let Held { target, daemon, gate, mut stream, id, .. } = Held::new().await;
    let there = Setup::of(&target).start().await;
    let since = &target
        .control_rows(
            "SELECT to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI') FROM resetd.operation",
        )
        .await[0][0];
    for daemon in [&daemon, &there] {
        for line in [RUN, "reset --confirm-destructive-reset RESET", "migrate", "validate", "run --dry-run"] {
            let out = daemon.ctl(line).await;
            out.expect(9).refused("TARGET_LOCKED");
            assert!(out.at("/operation").is_null(), "no operation came of it\n{out}");
            for word in ["loopback:anonymous (run since ", &id.to_string(), since] {
                assert!(out.text("/error").contains(word), "{word}\n{out}");
                assert!(out.stderr.contains(word), "a person sees {word}\n{out}");
            }
        }
    }
    // Anybody who looks at the cluster sees it, too.
    let shown = format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = '{}' AND application_name LIKE 'resetd%{}%')",
        target.control, target.name
    );
    assert!(target.holds(&shown).await);
    gate.open().await;
    // The moment its end is seen, the lock is free: no stale lock is left, on any daemon.
    stream.until("FINISHED").await;
    there.ctl("validate").await.expect(0);
    daemon.ctl(RUN).await.expect(0);
    lock_is_free(&target).await;
}

#[tokio::test]
async fn of_many_at_once_one_wins() {
    let target = TestTarget::migrated().await;
    let (here, there) = (Setup::of(&target).start().await, Setup::of(&target).start().await);
    let gate = Gate::before(&target, "SCHEMA_RESET").await;
    let mut clients = Vec::new();
    for number in 0..6 {
        let mut api = if number % 2 == 0 { here.api().await } else { there.api().await };
        let asked = request(Verb::Run, &target);
        clients.push(tokio::spawn(async move { api.begin(&asked).await }));
    }
    gate.reached().await;
    let (mut won, mut lost) = (Vec::new(), 0);
    for client in clients {
        match client.await.unwrap() {
            Ok(stream) => won.push(stream),
            Err(status) => {
                assert_eq!((status.code(), fault(&status).reason.name()), (Code::Aborted, "TARGET_LOCKED"));
                lost += 1;
            }
        }
    }
    assert_eq!((won.len(), lost), (1, 5));
    gate.open().await;
    assert_eq!(reason(&mut won[0]).await, "OK");
    assert_eq!(operations(&target).await, "1");
}

#[tokio::test]
async fn who_waits_gets_the_target_in_the_order_of_coming() {
    let Held { target, daemon, gate, mut stream, id, .. } = Held::new().await;
    let there = Setup::of(&target).start().await;
    let mut waiters = Vec::new();
    for number in 0..5_usize {
        let daemon = if number % 2 == 0 { &daemon } else { &there };
        let mut api = daemon.api().await;
        let labels = [("number".to_owned(), number.to_string())].into();
        let asked = Request { wait: Wait::Forever, labels, ..request(Verb::Migrate, &target) };
        let mut waiter = api.begin(&asked).await.unwrap();
        let queued = waiter.until("QUEUED").await;
        let Some(EventKind::Queued(place)) = queued.kind else { panic!("{queued:?}") };
        assert_eq!(place.holder.and_then(|h| h.operation), Some(id));
        queue_of(&target, number + 1).await;
        waiters.push(waiter);
    }
    let view = daemon.ctl("status --json").await;
    let status: serde_json::Value = serde_json::from_str(&view.stdout).unwrap();
    assert_eq!(status["targets"][0]["queue"].as_array().unwrap().len(), 5, "{view}");
    assert_eq!(status["targets"][0]["holder"]["operation"], id.to_string(), "{view}");
    gate.open().await;
    assert_eq!(reason(&mut stream).await, "OK");
    for waiter in &mut waiters {
        assert_eq!(reason(waiter).await, "OK");
    }
    let order = target
        .control_rows(
            "SELECT labels->>'number' FROM resetd.operation WHERE verb = 'migrate' ORDER BY started_at",
        )
        .await;
    assert_eq!(order.concat(), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn waiting_from_the_command_line_queues_and_runs() {
    let Held { target, daemon, gate, mut stream, .. } = Held::new().await;
    let waiter = daemon.ctl_spawn(&format!("{RUN} --wait"));
    waiter.said("queued (position").await;
    queue_of(&target, 1).await;
    gate.open().await;
    assert_eq!(reason(&mut stream).await, "OK");
    let out = waiter.finish().await;
    out.expect(0);
    assert_eq!(operations(&target).await, "2");
}

#[tokio::test]
async fn waiting_has_its_limit() {
    let Held { target, daemon, gate, mut stream, id, .. } = Held::new().await;
    let out = daemon.ctl(&format!("{RUN} --wait=1s")).await;
    out.expect(9).refused("WAIT_EXPIRED");
    assert!(out.text("/error").contains(&id.to_string()), "it says who holds it\n{out}");
    queue_of(&target, 0).await;
    gate.open().await;
    assert_eq!(reason(&mut stream).await, "OK");
    daemon.ctl(RUN).await.expect(0);
}

async fn cancel(api: &mut Api, id: Uuid) -> Result<v1::Operation, Status> {
    let asked =
        v1::CancelOperationRequest { operation: id.to_string(), reason: "a test wants it".to_owned() };
    api.operations.cancel_operation(asked).await.map(|r| r.into_inner().operation.expect("an operation"))
}

/// It ended as cancelled, for its stream and for everybody who asks; nothing changed and nothing is left. Asking again
/// changes nothing.
async fn cancelled(target: &TestTarget, daemon: &Daemon, stream: &mut EventStream, id: Uuid, before: &State) {
    let events = stream.rest().await;
    let end = ended(&events);
    let reason = end.error.as_ref().map(|f| f.reason.name());
    assert_eq!((reason, end.exit_code()), (Some("CANCELLED"), 8), "{events:#?}");
    let mut api = daemon.api().await;
    let all = collect(api.watch(id, 1).await.unwrap()).await;
    assert_eq!(all.iter().filter(|e| e.is_terminal()).count(), 1, "{all:#?}");
    let asked: Vec<_> = all.iter().filter(|e| e.code == "CANCEL_REQUESTED").collect();
    assert_eq!(asked.len(), 1, "asked for twice, told once\n{all:#?}");
    assert!(asked[0].text.contains("a test wants it"), "{all:#?}");
    let again = cancel(&mut api, id).await.expect("asking again changes nothing");
    assert_eq!(again.exit_code, 8);
    let watched = daemon.ctl(&format!("operations watch {id} --report-path -")).await;
    watched.expect(8);
    let report: serde_json::Value = serde_json::from_str(&watched.stdout).unwrap();
    assert_eq!(report["error_detail"]["reason"], "CANCELLED", "{watched}");
    nobody_left(target).await;
    lock_is_free(target).await;
    assert_eq!(*before, target.state().await);
}

#[tokio::test]
async fn cancelled_while_it_waits() {
    let Held { target, daemon, gate, mut api, mut stream, .. } = Held::new().await;
    let asked = Request { wait: Wait::Forever, ..request(Verb::Reset, &target) };
    let mut waiter = api.begin(&asked).await.unwrap();
    let id = waiter.until("QUEUED").await.operation;
    cancel(&mut api, id).await.unwrap();
    cancel(&mut api, id).await.unwrap();
    let end = ended(&waiter.rest().await);
    assert_eq!(end.exit_code(), 8, "{end:?}");
    queue_of(&target, 0).await;
    gate.open().await;
    assert_eq!(reason(&mut stream).await, "OK", "the one before it is not touched");
    daemon.ctl("validate").await.expect(0);
}

#[tokio::test]
async fn cancelled_before_its_plan() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;
    let gate = Gate::before(&target, "PLANNED").await;
    let (mut api, mut other) = (daemon.api().await, daemon.api().await);
    let mut stream = api.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = stream.until("LOCK_ACQUIRED").await.operation;
    gate.reached().await;
    let asked = tokio::spawn(async move { cancel(&mut other, id).await });
    gate.reached_by(2).await;
    gate.open().await;
    asked.await.unwrap().unwrap();
    cancelled(&target, &daemon, &mut stream, id, &before).await;
}

#[tokio::test]
async fn cancelled_during_a_revision() {
    for verb in [Verb::Run, Verb::Migrate] {
        let (target, chains) = (TestTarget::migrated().await, sleeping());
        let daemon = Setup::of(&target).migrations(&chains).start().await;
        let before = target.state().await;
        let mut api = daemon.api().await;
        let mut stream = api.begin(&request(verb, &target)).await.unwrap();
        let id = stream.until("LOCK_ACQUIRED").await.operation;
        asleep(&target).await;
        cancel(&mut api, id).await.unwrap();
        cancel(&mut api, id).await.unwrap();
        cancelled(&target, &daemon, &mut stream, id, &before).await;
    }
}

/// Between two statements there is nothing that `pg_cancel_backend` could cancel: the flag is what counts.
#[tokio::test]
async fn cancelled_while_its_session_is_idle() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    chains.revision("core/core_002.sql", "core_002", "core_001", "LOCK TABLE public.door IN SHARE MODE;");
    target
        .sql(&format!("CREATE TABLE public.door (); ALTER TABLE public.door OWNER TO {}", target.role))
        .await;
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let before = target.state().await;
    let mut door = target.session().await;
    door.sql("BEGIN; LOCK TABLE public.door IN ACCESS EXCLUSIVE MODE").await;
    let (mut api, mut other) = (daemon.api().await, daemon.api().await);
    let mut stream = api.begin(&request(Verb::Migrate, &target)).await.unwrap();
    let id = stream.until("PLANNED").await.operation;
    target.until_blocked_by(door.pid).await;
    // No event can be stored from here on; the row of the operation stays free for the cancel.
    let mut journal = target.control_session().await;
    journal.sql("BEGIN; LOCK TABLE resetd.event IN SHARE MODE").await;
    door.sql("COMMIT").await;
    target
        .until(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
              AND application_name LIKE 'resetd%' AND state = 'idle in transaction')",
        )
        .await;
    target.until_blocked_by(journal.pid).await;
    let asked = tokio::spawn(async move { cancel(&mut other, id).await });
    let both = format!(
        "SELECT count(*) >= 2 FROM pg_stat_activity a WHERE {} = ANY (pg_blocking_pids(a.pid))",
        journal.pid
    );
    target.until(&both).await;
    journal.sql("COMMIT").await;
    asked.await.unwrap().unwrap();
    cancelled(&target, &daemon, &mut stream, id, &before).await;
}

/// A session that reads a table of a managed schema and does not go on.
async fn in_the_way(target: &TestTarget, what: &str) -> Session {
    let mut session = target.session().await;
    session.sql(&format!("SET application_name = 'lunch break'; BEGIN; {what}")).await;
    session
}

/// Waits for the news that this session is in the way, and checks what is told about it.
async fn told_blocked(stream: &mut EventStream, session: &Session) {
    let event = stream.until("BLOCKED_BY").await;
    assert_eq!(event.sequence, 0, "it is not kept");
    let Some(EventKind::Blocked { blockers, .. }) = &event.kind else { panic!("{event:?}") };
    let blocker = blockers.iter().find(|b| b.pid == session.pid).unwrap_or_else(|| panic!("{event:?}"));
    assert_eq!((blocker.application_name.as_str(), blocker.user.as_str()), ("lunch break", "postgres"));
    assert_eq!(blocker.state, "idle in transaction");
    assert!(
        blocker.since.is_some() && blocker.query_since.is_some() && blocker.query.contains("general.state"),
        "{event:?}"
    );
    for word in [session.pid.to_string().as_str(), "lunch break", "idle in transaction"] {
        assert!(event.text.contains(word), "{word}: {event:?}");
    }
}

#[tokio::test]
async fn who_is_in_the_way_is_told_while_the_drop_waits_and_a_cancel_ends_it() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;
    let mut session = in_the_way(&target, "SELECT FROM general.state").await;
    let mut api = daemon.api().await;
    let mut stream = api.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = stream.until("PLANNED").await.operation;
    told_blocked(&mut stream, &session).await;
    cancel(&mut api, id).await.unwrap();
    let events = stream.rest().await;
    assert_eq!(ended(&events).exit_code(), 8, "{events:#?}");
    nobody_left(&target).await;
    // Its work was not interrupted.
    session.sql("SELECT FROM general.state; COMMIT").await;
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn who_goes_out_of_the_way_lets_it_through() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let mut session = in_the_way(&target, "SELECT FROM general.state").await;
    let mut stream = daemon.api().await.begin(&request(Verb::Run, &target)).await.unwrap();
    told_blocked(&mut stream, &session).await;
    session.sql("COMMIT").await;
    assert_eq!(reason(&mut stream).await, "OK");
}

#[tokio::test]
async fn patience_has_its_limit() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with("[profile.local]\nlock_wait_limit = \"1s\"\n").start().await;
    let before = target.state().await;
    let mut session = in_the_way(&target, "SELECT FROM general.state").await;
    for line in [RUN, "reset --confirm-destructive-reset RESET"] {
        let out = daemon.ctl(line).await;
        out.expect(1).refused("BLOCKED");
        assert_eq!(out.text("/outcome"), "failed", "{out}");
    }
    nobody_left(&target).await;
    session.sql("COMMIT").await;
    assert_eq!(before, target.state().await);
    daemon.ctl(RUN).await.expect(0);
}

/// A revision with two statements, of which the second meets a session that is idle in transaction: taken back, tried
/// again, and done once.
#[tokio::test]
async fn a_revision_waits_for_a_session_in_its_way_and_is_done_once() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "INSERT INTO state (key) VALUES ('once');\nALTER TABLE state ADD late text;",
    );
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let mut session = in_the_way(&target, "SELECT FROM general.state").await;
    let mut stream = daemon.api().await.begin(&request(Verb::Migrate, &target)).await.unwrap();
    told_blocked(&mut stream, &session).await;
    session.sql("COMMIT").await;
    assert_eq!(reason(&mut stream).await, "OK");
    assert!(
        target
            .holds("SELECT count(*) = 1 AND bool_and(late IS NULL) FROM general.state WHERE key = 'once'")
            .await
    );
}

#[tokio::test]
async fn not_cancellable_after_its_commit() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let gate = Gate::before(&target, "FINISHED").await;
    let (mut api, mut other) = (daemon.api().await, daemon.api().await);
    let mut stream = api.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = stream.until("COMMIT_PREPARED").await.operation;
    gate.reached().await;
    assert!(target.holds("SELECT count(*) = 0 FROM general.state").await, "it is committed");
    let mut asked = tokio::spawn(async move { cancel(&mut other, id).await });
    // It waits for the row for 3 s: on a busy machine it may have been turned away by then.
    let ended = tokio::select! { () = gate.reached_by(2) => None, ended = &mut asked => Some(ended) };
    gate.open().await;
    let ended = match ended {
        Some(ended) => ended,
        None => asked.await,
    };
    let status = ended.unwrap().expect_err("too late");
    assert_eq!((status.code(), fault(&status).reason.name()), (Code::FailedPrecondition, "NOT_CANCELLABLE"));
    assert_eq!(reason(&mut stream).await, "OK", "what is committed has succeeded");
    daemon.ctl(&format!("operations cancel {id}")).await.expect(4);
    daemon.ctl(&format!("operations cancel {}", Uuid::now_v7())).await.expect(6);
}

#[tokio::test]
async fn a_cancel_through_another_daemon_is_as_good() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let here = Setup::of(&target).migrations(&chains).start().await;
    let there = Setup::of(&target).start().await;
    let before = target.state().await;
    let client = here.ctl_spawn(RUN);
    asleep(&target).await;
    let id = &target.control_rows("SELECT id FROM resetd.operation").await[0][0];
    there.ctl(&format!("operations cancel {id} --reason lunch")).await.expect(0);
    let out = client.finish().await;
    out.expect(8).refused("CANCELLED");
    nobody_left(&target).await;
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn a_deadline_rolls_everything_back() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let before = target.state().await;
    let out = daemon.ctl(&format!("{RUN} --timeout 1s")).await;
    out.expect(1).refused("DEADLINE");
    assert_eq!(out.text("/outcome"), "failed", "{out}");
    nobody_left(&target).await;
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn operations_are_listed_page_by_page_with_their_labels() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for number in 0..5 {
        let out = daemon.ctl(&format!("validate --label number={number} --label commit=1a2b3c")).await;
        out.expect(0);
        assert_eq!(out.text("/labels/number"), number.to_string());
    }
    let mut api = daemon.api().await;
    let (mut numbers, mut sizes, mut token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let ask = ListOperationsRequest { page_size: 2, page_token: token, ..Default::default() };
        let page = api.operations.list_operations(ask).await.unwrap().into_inner();
        sizes.push(page.operations.len());
        for operation in page.operations {
            assert_eq!(
                (operation.labels["commit"].as_str(), operation.verb()),
                ("1a2b3c", v1::Verb::Validate)
            );
            assert!(operation.finished_at.is_some() && operation.exit_code == 0);
            numbers.push(operation.labels["number"].clone());
        }
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((numbers.concat(), sizes), ("43210".to_owned(), vec![2, 2, 1]), "newest first, each once");
    let wrong = ListOperationsRequest { page_token: "x".to_owned(), ..Default::default() };
    assert_eq!(
        api.operations.list_operations(wrong).await.expect_err("no token").code(),
        Code::InvalidArgument
    );
    let foreign = ListOperationsRequest { target: "nosuch".to_owned(), ..Default::default() };
    assert_eq!(api.operations.list_operations(foreign).await.expect_err("no target").code(), Code::NotFound);

    let list = daemon.ctl("operations list --limit 3 --json").await;
    let list: serde_json::Value = serde_json::from_str(&list.expect(0).stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert_eq!(list[0]["labels"]["number"], "4");
    assert_eq!(daemon.ctl("operations list --active --json").await.expect(0).stdout.trim(), "[]");
}

#[tokio::test]
async fn only_what_runs_is_active() {
    let Held { daemon, gate, mut api, mut stream, id, .. } = Held::new().await;
    let active = ListOperationsRequest { active_only: true, ..Default::default() };
    let page = api.operations.list_operations(active.clone()).await.unwrap().into_inner();
    let ids: Vec<&str> = page.operations.iter().map(|o| o.id.as_str()).collect();
    assert_eq!(ids, [id.to_string()]);
    assert_eq!(page.operations[0].state(), v1::OperationState::Running);
    let out = daemon.ctl("operations list --active").await;
    assert!(out.expect(0).stdout.contains(&id.to_string()), "{out}");
    gate.open().await;
    assert_eq!(reason(&mut stream).await, "OK");
    assert!(api.operations.list_operations(active).await.unwrap().into_inner().operations.is_empty());
}

fn own_name() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap();
    format!("unix:{}", user.expect("the user has a name").name)
}

#[tokio::test]
async fn on_the_socket_the_kernel_says_who_asks() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).listen("unix:socket").start().await;
    let out = daemon.ctl("validate").await;
    out.expect(0);
    let principal = out.at("/principal");
    assert_eq!(
        format!("unix:{}", principal["name"].as_str().unwrap().trim_start_matches("unix:")),
        own_name(),
        "{out}"
    );
    let row = target.control_rows("SELECT principal, auth_method FROM resetd.operation").await;
    assert_eq!(row[0], [own_name().as_str(), "peer credentials"]);
}

#[tokio::test]
async fn loopback_is_resetter_on_local_and_viewer_elsewhere() {
    let target = TestTarget::migrated().await;
    let local = Setup::of(&target).start().await;
    local.ctl(RUN).await.expect(0);
    local.ctl(&format!("target enroll {0} --confirm-database {0}", target.name)).await.expect(3);
    let shared = Setup::of(&target).profile("shared-dev").start().await;
    let before = target.state().await;
    for line in [
        RUN,
        "reset --confirm-destructive-reset RESET",
        "run --dry-run",
        "migrate",
        "validate",
        "undo --dry-run",
    ] {
        let there = shared.ctl(&format!("--target {} {line}", target.name)).await;
        let nowhere = shared.ctl(&format!("--target nosuch {line}")).await;
        for out in [&there, &nowhere] {
            out.expect(3).refused("PERMISSION_DENIED");
        }
        assert_eq!(there.text("/error"), nowhere.text("/error"), "the answer does not tell what is there");
    }
    assert_eq!(before, target.state().await);
    // A viewer sees.
    let id = &target.control_rows("SELECT id FROM resetd.operation").await[0][0];
    for line in ["status", "targets", "operations list", &format!("operations watch {id}")] {
        shared.ctl(line).await.expect(0);
    }
    shared.ctl(&format!("operations cancel {id}")).await.expect(3);
}

#[tokio::test]
async fn a_role_is_for_its_targets_only() {
    let (target, other) = (TestTarget::migrated().await, TestTarget::migrated().await);
    let role = |targets: &str, role: &str| {
        format!(
            "[[role]]\nprincipal = \"loopback:anonymous\"\ntargets = [\"{targets}\"]\nrole = \"{role}\"\n"
        )
    };
    let roles = format!("{}{}", role(&target.name, "operator"), role("elsewhere*", "admin"));
    let daemon = Setup::of(&target).and(&other).with(&roles).start().await;
    let ctl = async |target: &str, line: &str| daemon.ctl(&format!("--target {target} {line}")).await;
    ctl(&target.name, "validate").await.expect(0);
    ctl(&target.name, "run --dry-run").await.expect(0);
    ctl(&target.name, RUN).await.expect(3);
    ctl(&other.name, "validate").await.expect(3);
    let seen = daemon.ctl("targets --json").await;
    assert!(seen.stdout.contains(&target.name) && !seen.stdout.contains(&other.name), "{seen}");
}

#[tokio::test]
async fn a_target_is_enrolled_by_an_admin_before_it_is_reset() {
    for profile in ["staging", "shared-dev"] {
        let target = TestTarget::migrated().await;
        let optional = format!("[profile.{profile}]\nwindow = \"optional\"\n");
        let setup = || Setup::of(&target).profile(profile).listen("unix:socket");
        let daemon = setup().with(&optional).start().await;
        let before = target.state().await;
        for line in [RUN, "reset --confirm-destructive-reset RESET"] {
            let out = daemon.ctl(line).await;
            out.expect(4).refused("TARGET_NOT_ENROLLED");
            assert!(out.stderr.contains("resetctl target enroll"), "{out}");
        }
        daemon.ctl("run --dry-run").await.expect(0);
        let enroll = async |typed: &str| {
            daemon.ctl(&format!("target enroll {} --confirm-database {typed}", target.name)).await
        };
        for wrong in ["butlers", "yes", &target.database.to_uppercase()] {
            let out = enroll(wrong).await;
            out.expect(4);
            assert!(out.stderr.contains("CONFIRMATION_MISSING"), "{out}");
        }
        daemon.ctl(RUN).await.expect(4);
        assert_eq!(before, target.state().await);
        enroll(&target.database).await.expect(0);
        assert_eq!(
            target.control_rows("SELECT database, enrolled_by FROM resetd.target").await,
            [[target.database.clone(), own_name()]]
        );
        daemon.ctl(RUN).await.expect(0);
        // Where a window is required, enrolment is not enough.
        let strict = setup().start().await;
        let out = strict.ctl(RUN).await;
        out.expect(4).refused("WINDOW_REQUIRED");
        assert!(out.at("/operation").is_null(), "{out}");
        strict.ctl("validate").await.expect(0);
    }
}
