//! The control database is closed; and where somebody opened it by hand, a stranger who holds the keys that anybody can work
//! out is named, keeps nobody waiting for longer than they said, and can be put out.

use std::time::Duration;

use harness::{
    EventStream, Gate, Migrations, Session, Setup, TestTarget,
    commands::RUN,
    database::{self, generated},
    eventually,
    operations::{asleep, end, lock_is_free, on_record, sleeping},
    request,
    windows::{Two, refused, reserve, wish},
};
use model::{
    event::EventKind,
    lock::LockKey,
    operation::{Request, Verb, Wait},
    profile::Scope,
};
use tonic::Status;
use uuid::Uuid;
use wire::v1;

/// A role without any rights, and its password.
async fn stranger(target: &TestTarget) -> String {
    let role = format!("stranger_{}", target.database);
    target.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'stranger'")).await;
    role
}

/// Opens the control database by hand, as it was for everybody, and gives the stranger's URL to it.
async fn opened(target: &TestTarget) -> (String, String) {
    let role = stranger(target).await;
    let control = &target.control;
    target.control_sql(&format!("GRANT CONNECT, TEMPORARY ON DATABASE {control} TO PUBLIC")).await;
    let url = target.postgres.url_of(&role, "stranger", control);
    (role, url)
}

/// The stranger, with a key in their hand.
async fn holding(url: &str, key: LockKey) -> Session {
    let mut session = Session::open(url).await;
    session.sql(&format!("SELECT pg_advisory_lock({})", key.0)).await;
    session
}

/// Everything that a message must name of a holder.
#[track_caller]
fn names(text: &str, role: &str, session: &Session) {
    for word in [role, &session.pid.to_string(), "harness"] {
        assert!(text.contains(word), "`{word}` is not named in: {text}");
    }
}

#[tokio::test]
async fn a_new_control_database_is_closed_to_everybody_else() {
    let target = TestTarget::migrated().await;
    let role = stranger(&target).await;
    let daemon = Setup::of(&target).start().await;
    let control = &target.control;
    for right in ["CONNECT", "TEMPORARY", "CREATE"] {
        let may = format!("SELECT has_database_privilege('{role}', '{control}', '{right}')");
        assert!(!target.holds(&may).await, "{right}");
    }
    let schemas = "SELECT nspname || ' ' || p FROM pg_namespace, (VALUES ('CREATE'), ('USAGE')) v(p)
        WHERE nspname IN ('public', 'resetd') AND has_schema_privilege";
    let open = target.control_rows(&format!("{schemas}('{role}', oid, p) ORDER BY 1")).await;
    assert!(open.is_empty(), "{open:?}");
    daemon.ctl(RUN).await.expect(0);
    daemon.stop().await;
}

/// `check` and the start of a daemon both say that it is open, for whom, and what closes it; what they say closes it.
#[tokio::test]
async fn an_open_control_database_is_told_with_what_closes_it() {
    let target = TestTarget::migrated().await;
    let (role, _) = {
        let daemon = Setup::of(&target).start().await;
        daemon.stop().await;
        opened(&target).await
    };
    let control = &target.control;
    target
        .control_sql(&format!(
            "GRANT CREATE ON SCHEMA public TO {role}; GRANT CREATE ON DATABASE {control} TO {role};
             GRANT USAGE ON SCHEMA resetd TO PUBLIC"
        ))
        .await;
    let daemon = Setup::of(&target).spawn().await;
    let log = daemon.log();
    let warned = |text: &str| -> Vec<String> {
        let open = text.lines().filter(|line| line.contains(control.as_str()) && line.contains("REVOKE"));
        open.map(str::to_owned).collect()
    };
    assert!(!warned(&log).is_empty(), "{log}");
    let chains = Migrations::shipped();
    let checked = || Setup::of(&target).migrations(&chains).load().unwrap();
    let (text, good) = resetd::check::run(&checked()).await;
    assert!(good, "a warning is no error\n{text}");
    let lines = warned(&text);
    for word in ["PUBLIC", &role] {
        assert!(lines.iter().any(|line| line.contains(word)), "{word}\n{text}");
    }
    // What it says is what closes it.
    for line in &lines {
        let statement = &line[line.find("REVOKE").unwrap()..];
        target.control_sql(statement).await;
    }
    let (text, _) = resetd::check::run(&checked()).await;
    assert_eq!(warned(&text), [""; 0], "{text}");
    daemon.ctl(RUN).await.expect(0);
    daemon.stop().await;
}

/// Whoever may not wait is told at once whom they would wait for.
#[tokio::test]
async fn a_stranger_with_the_targets_key_is_named_and_put_out() {
    let target = TestTarget::migrated().await;
    let mut two = Two::with(target.clone(), Setup::of(&target)).await;
    let before = target.state().await;
    let (role, url) = opened(&target).await;
    let session = holding(&url, LockKey::target(&target.database)).await;
    for line in [RUN, database::RUN, "validate"] {
        let out = two.daemon.ctl(line).await;
        out.refused("TARGET_LOCKED");
        names(&out.stderr, &role, &session);
        assert_eq!(out.text("/error_detail/metadata/holder_user"), role, "{out}");
        assert_eq!(out.text("/error_detail/metadata/holder_pid"), session.pid.to_string(), "{out}");
        assert_eq!(out.text("/error_detail/metadata/holder_application"), "harness", "{out}");
    }
    let out = two.daemon.ctl("migrate --wait=1s").await;
    out.refused("WAIT_EXPIRED");
    names(&out.stderr, &role, &session);
    let status = two.daemon.ctl("status").await;
    names(&status.expect(0).stdout, &role, &session);
    assert_eq!(before, target.state().await);

    let name = target.name.clone();
    assert_eq!(refused(unlock(&mut two.guest, &target, "").await).0, "PERMISSION_DENIED");
    assert_eq!(refused(unlock(&mut two.owner, &target, " ").await).0, "INVALID_REQUEST");
    let out = two.own(&["target", "unlock", &name, "--reason", "nobody knows them"]).await;
    names(&out.expect(0).stderr, &role, &session);
    lock_is_free(&target).await;
    on_record(&target, &["ForceUnlockTarget", "nobody knows them", &role, &two.me]).await;
    // Nothing is held any more, and the same again says so.
    let again = two.own(&["target", "unlock", &name, "--reason", "nobody knows them"]).await;
    assert!(again.stderr.contains("nobody holds"), "{again}");
    two.daemon.ctl(RUN).await.expect(0);
    two.daemon.stop().await;
}

async fn unlock(api: &mut harness::Api, target: &TestTarget, reason: &str) -> Result<i32, Status> {
    let request = v1::ForceUnlockTargetRequest {
        request_id: Uuid::new_v4().to_string(),
        target: target.name.clone(),
        operation: String::new(),
        reason: if reason.is_empty() { "why".to_owned() } else { reason.to_owned() },
    };
    let reply = api.targets.force_unlock_target(request).await?.into_inner();
    Ok(reply.broken.unwrap().pid)
}

/// An operation's lock is broken only by whoever names the operation.
#[tokio::test]
async fn an_operation_is_never_put_out_unnamed() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let mut two = Two::with(target.clone(), Setup::of(&target).migrations(&chains)).await;
    let mut stream = two.guest.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = stream.until("LOCK_ACQUIRED").await.operation;
    asleep(&target).await;
    let (reason, message) = refused(unlock(&mut two.owner, &target, "").await);
    assert!(reason == "TARGET_LOCKED" && message.contains(&id.to_string()), "{reason}: {message}");
    asleep(&target).await;
    two.daemon.ctl(&format!("operations cancel {id}")).await;
    assert_eq!(end(&mut stream).await.0, "CANCELLED");
    two.daemon.stop().await;
}

/// The queue's key in a stranger's hand before an operation begins: it is told, soon, and its own limit holds.
#[tokio::test]
async fn a_stranger_in_the_queue_keeps_nobody_from_being_told() {
    let target = TestTarget::migrated().await;
    let mut two = Two::with(target.clone(), Setup::of(&target)).await;
    let (name, database) = (&target.name, &target.database);
    two.own(&["target", "enroll", name, "--confirm-database", database]).await.expect(0);
    let before = target.state().await;
    let (role, url) = opened(&target).await;
    let session = holding(&url, LockKey::queue(&target.database)).await;
    let out = two.daemon.ctl(RUN).await;
    out.refused("TARGET_LOCKED");
    names(&out.stderr, &role, &session);
    // Who waits goes on waiting, within their bound, and can be cancelled.
    let out = two.daemon.ctl("migrate --wait=2s").await;
    out.refused("WAIT_EXPIRED");
    names(&out.stderr, &role, &session);
    let mut stream =
        two.guest.begin(&Request { wait: Wait::Forever, ..request(Verb::Run, &target) }).await.unwrap();
    let id = stream.until("QUEUED").await.operation;
    two.daemon.ctl(&format!("operations cancel {id}")).await.expect(0);
    assert_eq!(end(&mut stream).await.0, "CANCELLED");
    let (reason, message) = refused(reserve(&mut two.owner, wish(&target, 0, 600)).await);
    assert_eq!(reason, "TARGET_LOCKED", "{message}");
    names(&message, &role, &session);
    assert_eq!(before, target.state().await);
    // The queue of the whole daemon: who would wait is told.
    let crowd = holding(&url, LockKey::waiters()).await;
    let out = two.daemon.ctl("migrate --wait").await;
    out.refused("TARGET_LOCKED");
    names(&out.stderr, &role, &crowd);
    let mut janitor = holding(&url, LockKey::janitor()).await;
    let words = ["target", "unlock", &target.name, "--reason", "nobody knows them"];
    two.own(&words).await.expect(0);
    assert!(janitor.try_sql("SELECT 1").await.is_err(), "it is put out as well");
    two.daemon.ctl("migrate --wait").await.expect(0);
    two.daemon.ctl(RUN).await.expect(0);
    two.daemon.stop().await;
}

/// A run that is ready to commit, and a stranger who holds what it needs for that.
struct AtTheCommit {
    target: TestTarget,
    two: Two,
    stream: EventStream,
    id: Uuid,
    session: Session,
    role: String,
    before: harness::State,
}

impl AtTheCommit {
    async fn new(whole: bool, limit: Option<u64>, more: &str) -> Self {
        let target = TestTarget::migrated().await;
        let mut two = Two::with(target.clone(), Setup::of(&target).with(more)).await;
        let before = target.state().await;
        let (role, url) = opened(&target).await;
        let gate = Gate::before(&target, if whole { "DATABASE_BUILT" } else { "VALIDATED" }).await;
        let asked = Request {
            timeout: limit.map(Duration::from_secs),
            scope: Some(if whole { Scope::Database } else { Scope::ManagedSchemas }),
            scope_named: true,
            ..request(Verb::Run, &target)
        };
        let mut stream = two.guest.begin(&asked).await.unwrap();
        let id = stream.until("LOCK_ACQUIRED").await.operation;
        gate.reached().await;
        let session = holding(&url, LockKey::queue(&target.database)).await;
        gate.open().await;
        // What comes behind the gate is the turn.
        let waits = "SELECT count(*) FROM pg_stat_activity a JOIN resetd.operation o ON a.pid = o.lock_pid
                      WHERE a.query LIKE '%advisory_xact_lock%'";
        eventually("the operation waits for its turn", || async {
            target.control_rows(waits).await == [["1"]]
        })
        .await;
        Self { target, two, stream, id, session, role, before }
    }

    async fn ends_with(mut self, reason: &str) {
        let event = self.stream.until("FINISHED").await;
        let Some(EventKind::Finished(end)) = event.kind else { panic!("{event:?}") };
        let error = end.error.clone().unwrap();
        assert_eq!(error.reason.name(), reason, "{end:#?}");
        if reason == "BLOCKED" {
            names(&error.message, &self.role, &self.session);
        }
        assert_eq!(self.before, self.target.state().await);
        assert_eq!(generated(&self.target, "new").await, [""; 0]);
        lock_is_free(&self.target).await;
        self.session.close().await;
        self.two.daemon.ctl(RUN).await.expect(0);
        self.two.daemon.stop().await;
    }
}

#[tokio::test]
async fn a_commit_that_a_stranger_keeps_ends_at_its_timeout() {
    for whole in [false, true] {
        AtTheCommit::new(whole, Some(4), "").await.ends_with("DEADLINE").await;
    }
}

#[tokio::test]
async fn a_commit_that_a_stranger_keeps_can_be_cancelled() {
    for whole in [false, true] {
        let it = AtTheCommit::new(whole, None, "").await;
        it.two.daemon.ctl(&format!("operations cancel {}", it.id)).await.expect(0);
        it.ends_with("CANCELLED").await;
    }
}

#[tokio::test]
async fn a_commit_that_a_stranger_keeps_is_given_up_with_their_name() {
    for whole in [false, true] {
        let it = AtTheCommit::new(whole, None, "[profile.local]\nlock_wait_limit = \"2s\"\n").await;
        it.ends_with("BLOCKED").await;
    }
}

/// A cancel that was accepted is the end of an operation, also when its daemon does not live to write it.
#[tokio::test]
async fn a_cancel_outlives_its_daemon() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let there = Setup::of(&target).start().await;
    let here = Setup::of(&target).migrations(&chains).spawn().await;
    let before = target.state().await;
    let mut stream = here.api().await.begin(&request(Verb::Run, &target)).await.unwrap();
    let id = stream.until("LOCK_ACQUIRED").await.operation;
    asleep(&target).await;
    here.pause().await;
    there.ctl(&format!("operations cancel {id}")).await.expect(0);
    here.kill().await;
    let mut watched = there.api().await.watch(id, 1).await.unwrap();
    let (reason, message) = end(&mut watched).await;
    assert_eq!(reason, "CANCELLED", "{message}");
    assert_eq!(before, target.state().await);
    there.stop().await;
}

/// A daemon that cannot have the key of the control schema says who has it.
#[tokio::test]
async fn a_daemon_that_may_not_start_says_who_is_in_its_way() {
    let target = TestTarget::migrated().await;
    Setup::of(&target).start().await.stop().await;
    let (role, url) = opened(&target).await;
    let session = holding(&url, LockKey::control_schema()).await;
    let config = Setup::of(&target).migrations(&Migrations::shipped()).load().unwrap();
    let Err(error) = harness::soon("the daemon's end", resetd::daemon::Daemon::start(config)).await else {
        panic!("it started")
    };
    names(&error.to_string(), &role, &session);
}
