//! The recommended roles: one that owns the control database and may create databases, and one that owns the target. Every
//! verb in both scopes, undo, kept databases, grants and settings, windows and takeover go without a superuser.

use harness::{
    Gate, Make, Migrations, Newer, Session, Setup, TestTarget,
    commands::{RESET, RUN, UNDO},
    database::{self, generated, oid, schema_properties},
    eventually,
    operations::{asleep, end, lock_is_free, nobody_left, sleeping},
    request,
    windows::{GUEST, Two, release, reserve, wish},
};
use model::{lock::LockKey, operation::Verb};

async fn least() -> TestTarget {
    TestTarget::make(Make::least()).await
}

fn control_role(target: &TestTarget) -> &str {
    target.control_role.as_deref().unwrap()
}

/// A revision that writes down who replays it.
fn telling() -> Migrations {
    let chains = Migrations::shipped();
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "CREATE TABLE who AS SELECT session_user::text AS login, current_user::text AS acts;",
    );
    chains
}

#[tokio::test]
async fn every_verb_in_both_scopes() {
    every_verb(&least().await).await;
}

#[tokio::test]
async fn every_verb_on_a_newer_server() {
    let newer = Newer::start().await;
    every_verb(&TestTarget::make_on(&newer.postgres, Make::least()).await).await;
}

async fn every_verb(target: &TestTarget) {
    let chains = telling();
    let (d, role) = (&target.database, &target.role);
    target
        .sql(&format!(
            "COMMENT ON DATABASE {d} IS 'mine'; ALTER DATABASE {d} SET search_path = general, public;
             ALTER ROLE {role} IN DATABASE {d} SET work_mem = '9MB';
             CREATE ROLE reader_{d}; GRANT CONNECT ON DATABASE {d} TO reader_{d} WITH GRANT OPTION"
        ))
        .await;
    let row = schema_properties(target).await;
    let daemon = Setup::of(target).migrations(&chains).start().await;
    let who = [[role.as_str(), role.as_str()]];
    let owner =
        format!("SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = '{}'", target.control);
    assert_eq!(target.value(&owner).await, control_role(target));

    daemon.ctl("migrate").await.expect(0);
    assert_eq!(target.rows("SELECT login, acts FROM general.who").await, who);
    daemon.ctl("validate").await.expect(0);
    daemon.ctl(RESET).await.expect(0);
    daemon.ctl("run --dry-run").await.expect(0);
    daemon.ctl(RUN).await.expect(0);
    assert_eq!(target.rows("SELECT login, acts FROM general.who").await, who);
    target.sql("INSERT INTO general.who VALUES ('before', 'the swap')").await;
    let before = (target.dump().await, oid(target).await);

    let out = daemon.ctl(database::RUN).await;
    out.expect(0);
    assert_ne!(oid(target).await, before.1);
    assert_eq!(target.rows("SELECT login, acts FROM general.who").await, who, "{out}");
    assert_eq!(schema_properties(target).await, row);
    daemon.ctl("validate").await.expect(0);
    daemon.ctl(database::RESET).await.expect(0);
    assert_eq!(schema_properties(target).await, row);
    assert_eq!(generated(target, "kept").await.len(), 2);
    daemon.ctl(UNDO).await.expect(0);
    let first = out.text("/operation");
    daemon.ctl(&format!("undo {first} --confirm-destructive-reset RESET")).await.expect(0);
    assert_eq!((target.dump().await, oid(target).await), before);
    daemon.stop().await;
}

/// Who logs in for what: the one that runs chains is not the one that holds the lock and swaps.
#[tokio::test]
async fn each_session_logs_in_as_its_own_role() {
    for (line, code) in [(RUN, "VALIDATED"), (database::RUN, "VALIDATED")] {
        let target = least().await;
        let daemon = Setup::of(&target).start().await;
        let gate = Gate::before(&target, code).await;
        let client = daemon.ctl_spawn(line);
        gate.reached().await;
        let sessions = "SELECT DISTINCT a.datname = current_database(), a.usename::text
             FROM pg_stat_activity a WHERE a.application_name LIKE 'resetd%' AND a.usename IS NOT NULL
              AND a.usename::text IN ('ROLE', 'CONTROL') ORDER BY 1";
        let sessions = sessions.replace("ROLE", &target.role).replace("CONTROL", control_role(&target));
        let seen = target.control_rows(&sessions).await;
        assert_eq!(seen, [["f", target.role.as_str()], ["t", control_role(&target)]], "{line}");
        gate.open().await;
        client.finish().await.expect(0);
        daemon.stop().await;
    }
}

#[tokio::test]
async fn what_belongs_to_the_schemas_comes_back() {
    let target = least().await;
    let (d, role) = (&target.database, &target.role);
    target
        .sql(&format!(
            "CREATE ROLE reader_{d}; SET ROLE {role};
             GRANT USAGE ON SCHEMA general TO reader_{d}; GRANT SELECT ON general.state TO reader_{d};
             COMMENT ON SCHEMA general IS 'ours';
             ALTER DEFAULT PRIVILEGES IN SCHEMA general GRANT SELECT ON TABLES TO reader_{d}"
        ))
        .await;
    let schemas = "SELECT nspname::text, nspowner::regrole::text, nspacl::text, obj_description(n.oid),
            (SELECT string_agg(defaclobjtype::text || defaclacl::text, ',') FROM pg_default_acl WHERE defaclnamespace = n.oid)
        FROM pg_namespace n WHERE nspname IN ('general', 'health') ORDER BY 1";
    let before = target.rows(schemas).await;
    let daemon = Setup::of(&target).start().await;
    for line in [RUN, RESET] {
        daemon.ctl(line).await.expect(0);
        assert_eq!(target.rows(schemas).await, before, "{line}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_made_for_its_role() {
    let target = least().await;
    let daemon = Setup::of(&target).with("[profile.local]\nself_enroll = true\n").start().await;
    daemon.ctl("validate").await.expect(0);
    nobody_left(&target).await;
    target.control_sql(&format!("DROP DATABASE {} WITH (FORCE)", target.database)).await;
    daemon.ctl(database::RUN).await.expect(0);
    let owner = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = current_database()";
    assert_eq!(target.value(owner).await, target.role);
    daemon.ctl("validate").await.expect(0);
    daemon.ctl(RUN).await.expect(0);
    daemon.ctl(database::RUN).await.expect(0);
    daemon.stop().await;
}

#[tokio::test]
async fn kept_databases_and_extensions_and_sessions_of_others() {
    let target = least().await;
    let d = &target.database;
    let more = "[profile.local]\nkeep_previous = \"1s\"\npreserve_extensions = [\"hstore\"]\nsessions = \"terminate\"\n";
    target
        .sql(&format!(
            "CREATE ROLE app_user_{d} LOGIN PASSWORD 'x'; SET ROLE {};
             CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext",
            target.role
        ))
        .await;
    let daemon = Setup::of(&target).with(more).start().await;
    let there = Session::open(&target.postgres.url_of(&format!("app_user_{d}"), "x", d)).await;
    let out = daemon.ctl(database::RUN).await;
    out.expect(0);
    let alive = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {}", there.pid);
    assert_eq!(target.value(&alive).await, "0", "{out}");
    let home = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'hstore'";
    assert_eq!(target.value(home).await, "ext");
    let none: [&str; 0] = [];
    eventually("the kept database has had its time", || async { generated(&target, "kept").await == none })
        .await;
    daemon.ctl("validate").await.expect(0);
    daemon.stop().await;
}

#[tokio::test]
async fn windows_hold_and_are_broken() {
    let (target, chains) = (least().await, sleeping());
    let mut two = Two::with(target.clone(), Setup::of(&target).migrations(&chains)).await;
    let (name, database) = (&target.name, &target.database);
    two.own(&["target", "enroll", name, "--confirm-database", database]).await.expect(0);
    let before = target.state().await;
    let window = reserve(&mut two.guest, wish(&target, 0, 600)).await.unwrap();
    let mine: Vec<&str> = RUN.split(' ').collect();
    two.own(&mine).await.refused("WINDOW_HELD");
    let mut stream = two.guest.begin(&request(Verb::Run, &target)).await.unwrap();
    asleep(&target).await;
    release(&mut two.owner, &window, true, "incident 9").await.unwrap();
    let (reason, message) = end(&mut stream).await;
    assert!(reason == "FORCED_UNLOCK" && message.contains("incident 9"), "{reason}: {message}");
    assert_eq!(before, target.state().await);
    assert_eq!(GUEST, window.principal);
    two.daemon.stop().await;
}

#[tokio::test]
async fn an_owner_that_is_gone_is_taken_over() {
    let (target, chains) = (least().await, sleeping());
    let there = Setup::of(&target).start().await;
    let here = Setup::of(&target).migrations(&chains).spawn().await;
    let before = target.state().await;
    let client = here.ctl_spawn(&format!("{RUN} --reconnect-timeout 1s"));
    asleep(&target).await;
    here.kill().await;
    client.finish().await.expect(10);
    eventually("the operation ends", || async {
        target.control_rows("SELECT outcome FROM resetd.operation").await == [["abandoned"]]
    })
    .await;
    nobody_left(&target).await;
    lock_is_free(&target).await;
    assert_eq!(before, target.state().await);
    // Built aside, and left behind.
    let here = Setup::of(&target).migrations(&chains).spawn().await;
    let client = here.ctl_spawn(&format!("{} --reconnect-timeout 1s", database::RUN));
    eventually("a revision sleeps in what is built", || async {
        let asleep =
            "SELECT count(*) FROM pg_stat_activity a JOIN resetd.operation o ON o.build_database = a.datname
                       WHERE o.state = 'running' AND a.wait_event = 'PgSleep'";
        target.control_rows(asleep).await != [["0"]]
    })
    .await;
    here.kill().await;
    client.finish().await.expect(10);
    let none: [&str; 0] = [];
    eventually("what was built is gone", || async { generated(&target, "new").await == none }).await;
    assert_eq!(before, target.state().await);
    there.ctl(RUN).await.expect(0);
    there.ctl(database::RUN).await.expect(0);
    there.stop().await;
}

/// The target's key in the hand of somebody who may connect to the target: they are ended where PostgreSQL lets the daemon,
/// and named where it does not.
#[tokio::test]
async fn whoever_holds_the_key_in_the_target_is_ended_or_named() {
    let target = least().await;
    let d = &target.database;
    target.sql(&format!("CREATE ROLE guest_{d} LOGIN PASSWORD 'x'")).await;
    let daemon = Setup::of(&target).start().await;
    let key = format!("SELECT pg_advisory_lock({})", LockKey::target(d).0);
    for role in ["postgres", &format!("guest_{d}"), &target.role] {
        let (url, out_of_reach) = match role {
            "postgres" => (target.admin_url(), true),
            role if role == target.role => (target.url(), false),
            role => (target.postgres.url_of(role, "x", d), false),
        };
        let mut session = Session::open(&url).await;
        session.sql(&key).await;
        let out = daemon.ctl(RUN).await;
        if out_of_reach {
            out.refused("ZOMBIE_BACKEND");
            for word in [&session.pid.to_string(), "postgres", "harness"] {
                assert!(out.stderr.contains(word), "{word}\n{out}");
            }
            session.close().await;
        } else {
            out.expect(0);
            assert!(session.try_sql("SELECT 1").await.is_err(), "{role} is ended");
        }
        lock_is_free(&target).await;
    }
    // Who only looks ends nobody, and says whom they wait for.
    daemon.stop().await;
    let daemon = Setup::of(&target).with("[profile.local]\nlock_wait_limit = \"1s\"\n").start().await;
    let mut session = Session::open(&target.postgres.url_of(&format!("guest_{d}"), "x", d)).await;
    session.sql(&key).await;
    let out = daemon.ctl("validate").await;
    out.refused("BLOCKED");
    for word in [&session.pid.to_string(), &format!("guest_{d}"), "harness"] {
        assert!(out.stderr.contains(word), "{word}\n{out}");
    }
    session.close().await;
    daemon.ctl("validate").await.expect(0);
    daemon.stop().await;
}

/// A superuser in what is built: nobody may end them, so the operation does not go on, and says whom it waited for.
#[tokio::test]
async fn a_superuser_in_the_new_database_is_named() {
    let target = least().await;
    let daemon = Setup::of(&target).start().await;
    let before = (target.state().await, oid(&target).await);
    let gate = Gate::before(&target, "REVISION_APPLIED").await;
    let running = daemon.ctl_spawn(database::RUN);
    gate.reached().await;
    let mut built = target.clone();
    built.database = generated(&target, "new").await[0].clone();
    let (stranger, ours) = (built.session().await, built.role_session().await);
    gate.open().await;
    let out = running.finish().await;
    out.expect(1).refused("BLOCKED");
    let named = format!("session {} of postgres", stranger.pid);
    assert!(out.text("/error").contains(&named), "{named}\n{out}");
    assert!(out.text("/error_detail/hint").contains("only a superuser"), "{out}");
    assert!(out.list("/findings").iter().any(|f| f["code"] == "BLOCKED_BY"), "{out}");
    assert_eq!(before, (target.state().await, oid(&target).await), "{out}");
    let gone = format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {})", ours.pid);
    assert!(target.holds(&gone).await, "whom the role may end is ended\n{out}");
    stranger.close().await;
    // The end of an operation wakes up whoever drops what was built.
    daemon.ctl("validate").await.expect(0);
    let none: [&str; 0] = [];
    eventually("what was built is gone", || async { generated(&target, "new").await == none }).await;
    daemon.ctl(database::RUN).await.expect(0);
    daemon.stop().await;
}

/// A control database that an admin made and gave to nobody answers, and says what its role may not do.
#[tokio::test]
async fn a_control_database_of_another_owner_is_told() {
    let (target, chains) = (least().await, Migrations::shipped());
    let mine = format!("ALTER DATABASE {} OWNER TO {}", target.control, control_role(&target));
    target.make_control().await;
    target.sql(&format!("ALTER DATABASE {} OWNER TO postgres", target.control)).await;
    let setup = Setup::of(&target).migrations(&chains);
    let started = resetd::daemon::Daemon::start(setup.load().unwrap()).await;
    let text = started.err().map(|error| format!("{error:?}")).unwrap_or_default();
    for words in ["may not do this in the control database", "ALTER DATABASE … OWNER TO …"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    target.sql(&mine).await;
    setup.start().await.ctl("validate").await.expect(0);
}
