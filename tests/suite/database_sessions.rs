//! Scope database and those who are connected: who is in the way is told before anything starts, who is not is ended, and
//! nobody's acknowledged work is lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use harness::{
    Make, Migrations, Postgres, Session, Setup, TestTarget,
    database::{RUN, generated, oid, reached},
    eventually,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgPoolOptions};

async fn rule(target: &TestTarget, rule: &str) -> harness::Daemon {
    Setup::of(target).with(&format!("[profile.local]\nsessions = \"{rule}\"\n")).start().await
}

#[tokio::test]
async fn refuse_refuses_any_session_and_the_flag_ends_them() {
    let target = TestTarget::migrated().await;
    let daemon = rule(&target, "refuse").await;
    let idle = target.role_session().await;
    let before = oid(&target).await;
    let out = daemon.ctl(RUN).await;
    out.refused("PREFLIGHT_FAILED");
    let sessions = out.list("/plan/sessions");
    assert_eq!(sessions.len(), 1, "the daemon's own are not in it\n{out}");
    assert_eq!(sessions[0]["pid"], json!(idle.pid));
    assert_eq!(sessions[0]["application_name"], json!("harness"));
    assert_eq!(sessions[0]["would_end"], json!(false));
    assert_eq!(before, oid(&target).await);
    assert!(
        target.holds(&format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {})", idle.pid)).await
    );

    let out = daemon.ctl(&format!("{RUN} --terminate-sessions")).await;
    out.expect(0);
    assert_eq!(out.at("/details/reset/active_connections_before"), &json!(1), "{out}");
    assert_ne!(before, oid(&target).await);
    assert!(
        !target
            .holds(&format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {})", idle.pid))
            .await
    );

    // Without anybody it goes through, again and again: no session of the daemon's own is in its way.
    for _ in 0..3 {
        daemon.ctl(RUN).await.expect(0);
    }
}

#[tokio::test]
async fn idle_only_ends_idle_ones_and_refuses_for_others() {
    let target = TestTarget::migrated().await;
    let daemon = rule(&target, "idle-only").await;
    let idle = target.role_session().await;
    let mut busy = target.role_session().await;
    busy.sql("BEGIN; INSERT INTO general.state (key) VALUES ('mine')").await;
    let before = oid(&target).await;
    let out = daemon.ctl(RUN).await;
    out.refused("PREFLIGHT_FAILED");
    assert!(out.text("/error").contains(&busy.pid.to_string()), "{out}");
    assert!(!out.text("/error").contains(&format!("session {} ", idle.pid)), "{out}");
    busy.sql("COMMIT").await;
    assert_eq!(target.value("SELECT count(*) FROM general.state").await, "4");
    busy.close().await;
    daemon.ctl(RUN).await.expect(0);
    assert_ne!(before, oid(&target).await);
    assert!(
        !target
            .holds(&format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {})", idle.pid))
            .await
    );
}

#[tokio::test]
async fn a_superusers_session_is_out_of_reach_of_a_plain_role() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    let daemon = Setup::of(&target).start().await;
    let d = &target.database;
    target.sql(&format!("CREATE ROLE app_{d} LOGIN")).await;
    let superuser = target.session().await;
    let mut other = target.session().await;
    other.sql(&format!("SET SESSION AUTHORIZATION app_{d}")).await;
    let before = oid(&target).await;
    let out = daemon.ctl(&format!("{RUN} --terminate-sessions")).await;
    out.refused("PREFLIGHT_FAILED");
    assert!(out.text("/error").contains(&format!("session {} of postgres", superuser.pid)), "{out}");
    assert_eq!(out.list("/plan/sessions").len(), 2, "{out}");
    assert_eq!(before, oid(&target).await);
    assert_eq!(generated(&target, "new").await, [""; 0]);
    superuser.close().await;
    other.close().await;

    // Another role's session needs pg_signal_backend.
    let url = target.postgres.url_of(&format!("app_{d}"), "any", d);
    let theirs: PgConnection = PgConnection::connect(&url).await.unwrap();
    let out = daemon.ctl(&format!("{RUN} --terminate-sessions")).await;
    out.refused("PREFLIGHT_FAILED");
    let hints = out.list("/plan/findings").iter().filter_map(|f| f["hint"].as_str()).collect::<Vec<_>>();
    let grant = format!("GRANT pg_signal_backend TO \"{}\"", target.role);
    assert!(hints.contains(&grant.as_str()), "{out}");
    target.sql(&grant).await;
    daemon.ctl(&format!("{RUN} --terminate-sessions")).await.expect(0);
    assert_ne!(before, oid(&target).await);
    drop(theirs);
}

#[tokio::test]
async fn what_cannot_follow_is_found_before_anything_starts() {
    // A slot is made only when every transaction of the server has ended: a server of its own.
    let (_cluster, postgres) = Postgres::private().await;
    let target = TestTarget::make_on(&postgres, Make::migrated()).await;
    let daemon = Setup::of(&target).start().await;
    let d = &target.database;
    let before = oid(&target).await;
    let mut session = target.session().await;
    session.sql(&format!("SELECT pg_create_logical_replication_slot('slot_{d}', 'pgoutput')")).await;
    session.sql("BEGIN; INSERT INTO general.state (key) VALUES ('prepared')").await;
    session.sql(&format!("PREPARE TRANSACTION 'gid of {d}'")).await;
    session
        .sql(&format!(
            "CREATE SUBSCRIPTION sub_{d} CONNECTION 'dbname=nowhere' PUBLICATION p
                WITH (connect = false, enabled = false, create_slot = false, slot_name = NONE)"
        ))
        .await;
    session.close().await;
    let named = [format!("gid of {d}"), format!("slot_{d}"), format!("sub_{d}")];
    let undo = [
        format!("ROLLBACK PREPARED 'gid of {d}'"),
        format!("SELECT pg_drop_replication_slot('slot_{d}')"),
        format!("DROP SUBSCRIPTION sub_{d}"),
    ];
    for (n, mend) in undo.iter().enumerate() {
        let out = daemon.ctl(&format!("{RUN} --terminate-sessions")).await;
        out.refused("PREFLIGHT_FAILED");
        for (m, name) in named.iter().enumerate() {
            assert_eq!(out.text("/error").contains(name), m >= n, "{name}\n{out}");
        }
        assert_eq!(before, oid(&target).await);
        assert_eq!(generated(&target, "new").await, [""; 0]);
        target.sql(mend).await;
    }
    daemon.ctl(&format!("{RUN} --terminate-sessions")).await.expect(0);
    assert_ne!(before, oid(&target).await);
}

/// Inserts one number after the other, on a new connection whenever one breaks; what was acknowledged is told.
async fn insert(url: String, count: Arc<AtomicU64>, end: Arc<AtomicBool>) -> Vec<u64> {
    let (mut next, mut acknowledged) = (0_u64, Vec::new());
    while !end.load(Ordering::Relaxed) {
        let Ok(mut connection) = PgConnection::connect(&url).await else { continue };
        while !end.load(Ordering::Relaxed) {
            next += 1;
            let sql = format!("INSERT INTO general.ledger VALUES ({next})");
            match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await {
                Ok(_) => {
                    acknowledged.push(next);
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => break,
            }
        }
    }
    acknowledged
}

#[tokio::test]
async fn every_acknowledged_insert_is_in_the_kept_or_the_new_database() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE ledger (n bigint)");
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    daemon.ctl(RUN).await.expect(0);
    let (count, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let task = tokio::spawn(insert(target.url(), Arc::clone(&count), Arc::clone(&end)));
    let more = async |by: u64| {
        let from = count.load(Ordering::Relaxed);
        eventually("inserts are acknowledged", || async { count.load(Ordering::Relaxed) > from + by }).await;
    };
    let mut kept = Vec::new();
    for _ in 0..3 {
        more(100).await;
        let out = daemon.ctl(&format!("{RUN} --terminate-sessions")).await;
        out.expect(0);
        kept.push(out.text("/details/reset/kept_as").to_owned());
        more(100).await;
    }
    end.store(true, Ordering::Relaxed);
    let acknowledged = task.await.unwrap();

    let read = "SELECT n::text FROM general.ledger";
    let mut found: Vec<u64> = target.column(read).await.iter().map(|n| n.parse().unwrap()).collect();
    assert!(found.len() > 100, "the new database took {}", found.len());
    for name in kept {
        let mut old = target.clone();
        target.sql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
        old.database = name;
        found.extend(old.column(read).await.iter().map(|n| n.parse::<u64>().unwrap()));
    }
    found.sort_unstable();
    let all = found.len();
    found.dedup();
    assert_eq!(found.len(), all, "nothing is in two databases");
    let lost: Vec<u64> = acknowledged.into_iter().filter(|n| found.binary_search(n).is_err()).collect();
    assert_eq!(lost, [0; 0]);
}

#[tokio::test]
async fn pools_that_hammer_do_not_stop_a_swap() {
    for restricted in [false, true] {
        let target = TestTarget::make(Make { restricted, ..Make::migrated() }).await;
        let daemon = Setup::of(&target).start().await;
        let end = Arc::new(AtomicBool::new(false));
        let (good, bad) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::new();
        for _ in 0..3 {
            let pool = PgPoolOptions::new().max_connections(5).connect(&target.url()).await.unwrap();
            for _ in 0..5 {
                let (pool, end) = (pool.clone(), Arc::clone(&end));
                let (good, bad) = (Arc::clone(&good), Arc::clone(&bad));
                tasks.push(tokio::spawn(async move {
                    while !end.load(Ordering::Relaxed) {
                        match sqlx::query("SELECT count(*) FROM general.state").execute(&pool).await {
                            Ok(_) => good.fetch_add(1, Ordering::Relaxed),
                            Err(_) => bad.fetch_add(1, Ordering::Relaxed),
                        };
                        tokio::task::yield_now().await;
                    }
                }));
            }
        }
        let more = async || {
            let from = good.load(Ordering::Relaxed);
            eventually("queries go on", || async { good.load(Ordering::Relaxed) > from + 50 }).await;
        };
        for _ in 0..3 {
            more().await;
            let before = oid(&target).await;
            let out = daemon.ctl(RUN).await;
            out.expect(0);
            assert_ne!(before, oid(&target).await);
            assert!(out.at("/timings/unavailable_ms").as_f64().is_some_and(|ms| ms > 0.0), "{out}");
            assert!(!out.list("/plan/sessions").is_empty(), "{out}");
        }
        more().await;
        end.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
    }
}

/// A session that came after the plan and that the rule does not end: the swap gives up, and the old database serves.
#[tokio::test]
async fn a_session_that_comes_later_stops_the_swap_and_nothing_else() {
    let target = TestTarget::migrated().await;
    let daemon = rule(&target, "refuse").await;
    let before = (target.state().await, oid(&target).await);
    let gate = harness::Gate::before(&target, "DATABASE_BUILT").await;
    let running = daemon.ctl_spawn(RUN);
    reached(&target).await;
    let late: Session = target.session().await;
    gate.open().await;
    let out = running.finish().await;
    out.refused("BLOCKED");
    late.close().await;
    assert_eq!(before, (target.state().await, oid(&target).await));
    assert_eq!(generated(&target, "new").await, [""; 0]);
    assert_eq!(generated(&target, "kept").await, [""; 0]);
    daemon.ctl(RUN).await.expect(0);
}
