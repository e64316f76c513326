//! A database is the daemon's to drop, rename or bring back only while it is surely the one that the daemon made or took
//! away: cluster, oid, generated name, closed, and the daemon's own mark on it.

use harness::{
    Gate, Postgres, Setup, TestTarget,
    commands::UNDO,
    database::{RESET, RUN, generated, oid},
    eventually, request,
};
use model::{lock::LockKey, operation::Verb, profile::Scope};

/// Everything that is kept has had its time.
const EXPIRE: &str = "UPDATE resetd.kept_database SET expires_at = clock_timestamp() - interval '1 minute'";

async fn exists(target: &TestTarget, database: &str) -> bool {
    let sql = format!("SELECT EXISTS (SELECT FROM pg_database WHERE datname = '{database}')");
    target.control_rows(&sql).await == [["t"]]
}

/// The janitor looked at everything that has had its time.
async fn cleaned(target: &TestTarget) {
    let left = "SELECT count(*) FROM resetd.kept_database WHERE state IN ('kept', 'dropping')
                 AND expires_at <= clock_timestamp()";
    eventually("the janitor looked", || async { target.control_rows(left).await == [["0"]] }).await;
}

/// Another database, as the target's control database sees it.
fn named(target: &TestTarget, database: &str) -> TestTarget {
    let mut other = target.clone();
    database.clone_into(&mut other.database);
    other
}

async fn rows_of(target: &TestTarget, database: &str) -> String {
    named(target, database).value("SELECT count(*) FROM public.theirs").await
}

/// An admin brought a kept database back by hand, and it serves: it is nobody's to drop.
#[tokio::test]
async fn a_kept_database_that_was_brought_back_by_hand_stays() {
    let target = TestTarget::migrated().await;
    target.sql("CREATE TABLE public.theirs AS SELECT generate_series(1, 1000) AS n").await;
    let daemon = Setup::of(&target).start().await;
    let out = daemon.ctl(RESET).await;
    out.expect(0);
    let operation = out.text("/operation").to_owned();
    let kept = generated(&target, "kept").await[0].clone();
    daemon.stop().await;
    let rescued = format!("rescued_{}", target.database);
    target
        .control_sql(&format!(
            "ALTER DATABASE {kept} RENAME TO {rescued}; ALTER DATABASE {rescued} ALLOW_CONNECTIONS true; {EXPIRE}"
        ))
        .await;

    let daemon = Setup::of(&target).spawn().await;
    cleaned(&target).await;
    assert!(exists(&target, &rescued).await, "the live database was dropped\n{}", daemon.log());
    assert_eq!(rows_of(&target, &rescued).await, "1000");
    // It is told where people look, and only once in the log.
    let status = daemon.ctl("status").await;
    for words in [kept.as_str(), rescued.as_str(), operation.as_str()] {
        assert!(status.expect(0).stdout.contains(words), "{words}\n{status}");
    }
    let told = |log: &str| log.lines().filter(|l| l.contains("WARN") && l.contains(&kept)).count();
    assert_eq!(told(&daemon.log()), 1, "{}", daemon.log());
    Setup::of(&target).resetd(&["check"]).await.says(&rescued);
    daemon.ctl(UNDO).await.refused("NOTHING_TO_UNDO");
    assert_eq!(rows_of(&target, &rescued).await, "1000");
}

/// Each sign by itself is enough to leave it alone; what has them all is dropped.
#[tokio::test]
async fn what_lacks_any_sign_is_left_alone() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for _ in 0..5 {
        daemon.ctl(RESET).await.expect(0);
    }
    daemon.stop().await;
    let names = generated(&target, "kept").await;
    let [renamed, opened, unmarked, replaced, whole] = &<[String; 5]>::try_from(names).unwrap();
    let d = &target.database;
    let mut session = target.control_session().await;
    for statement in [
        format!("ALTER DATABASE {renamed} RENAME TO renamed_{d}"),
        format!("ALTER DATABASE {opened} ALLOW_CONNECTIONS true"),
        format!("COMMENT ON DATABASE {unmarked} IS 'ours'"),
        format!("ALTER DATABASE {replaced} RENAME TO replaced_{d}"),
        format!("CREATE DATABASE {replaced} TEMPLATE template0"),
        EXPIRE.to_owned(),
    ] {
        session.sql(&statement).await;
    }
    let daemon = Setup::of(&target).start().await;
    cleaned(&target).await;
    let (renamed, elsewhere) = (format!("renamed_{d}"), format!("replaced_{d}"));
    for name in [&renamed, opened, unmarked, replaced, &elsewhere] {
        assert!(exists(&target, name).await, "{name} was dropped");
    }
    eventually("what is whole is dropped", || async { !exists(&target, whole).await }).await;
    let status = daemon.ctl("status").await;
    for name in [&renamed, opened, unmarked, replaced] {
        assert!(status.expect(0).stdout.contains(name.as_str()), "{name}\n{status}");
    }
    // Gone by hand: nothing is left to be told.
    target.control_sql(&format!("DROP DATABASE {opened}")).await;
    daemon.stop().await;
    let daemon = Setup::of(&target).start().await;
    let gone = format!("SELECT count(*) FROM resetd.kept_database WHERE name = '{opened}'");
    eventually("it is forgotten", || async { target.control_rows(&gone).await == [["0"]] }).await;
    assert!(!daemon.ctl("status").await.stdout.contains(opened.as_str()));
}

/// The ledger's oid is another database's by now, as after a move to another cluster: it is never brought in.
#[tokio::test]
async fn an_undo_brings_back_no_database_of_another_name() {
    let target = TestTarget::migrated().await;
    let payroll = TestTarget::empty().await;
    payroll.sql("CREATE TABLE public.theirs AS SELECT 1 AS n").await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(RESET).await.expect(0);
    let before = (oid(&target).await, oid(&named(&target, &payroll.database)).await);
    target.control_sql(&format!("UPDATE resetd.kept_database SET oid = {}", before.1)).await;
    daemon.ctl(UNDO).await.refused("NOTHING_TO_UNDO");
    assert_eq!(before, (oid(&target).await, oid(&named(&target, &payroll.database)).await));
    assert_eq!(payroll.value("SELECT count(*) FROM public.theirs").await, "1");
}

/// An undo gives the database back as it was, its comment included; meanwhile the daemon's mark says whose it is.
#[tokio::test]
async fn a_kept_database_carries_a_mark_and_comes_back_without_it() {
    let target = TestTarget::migrated().await;
    target.sql(&format!("COMMENT ON DATABASE {} IS 'it''s theirs'", target.database)).await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;
    let out = daemon.ctl(RESET).await;
    let operation = out.expect(0).text("/operation").to_owned();
    let kept = generated(&target, "kept").await[0].clone();
    let comment = |name: &str| {
        format!(
            "SELECT coalesce(shobj_description(oid, 'pg_database'), '-') FROM pg_database WHERE datname = '{name}'"
        )
    };
    let mark = target.control_rows(&comment(&kept)).await[0][0].clone();
    assert!(mark.contains("resetd") && mark.contains(&operation), "{mark}");
    assert_eq!(target.control_rows(&comment(&target.database)).await, [["it's theirs"]]);
    target.sql(&format!("COMMENT ON DATABASE {} IS NULL", target.database)).await;
    daemon.ctl(UNDO).await.expect(0);
    assert_eq!(before, target.state().await);
    // The one that was without a comment is marked now, and is again without one when it comes back.
    daemon.ctl(UNDO).await.expect(0);
    assert_eq!(target.control_rows(&comment(&target.database)).await, [["-"]]);
}

/// `pg_dump | psql` of the control database into another cluster, where the same oid is somebody's database.
#[tokio::test]
async fn a_control_database_of_another_cluster_is_refused() {
    let here = TestTarget::migrated().await;
    let daemon = Setup::of(&here).start().await;
    daemon.ctl(RESET).await.expect(0);
    daemon.stop().await;
    let moved = named(&here, &here.control).dump().await;

    let (_cluster, elsewhere) = Postgres::private().await;
    let mut there = here.clone();
    there.postgres = elsewhere;
    let payroll = named(&there, "postgres");
    payroll.sql(&format!("CREATE DATABASE {}", here.database)).await;
    payroll.sql("CREATE DATABASE payroll").await;
    there.make_roles().await;
    there.make_control().await;
    restore(&there, &moved).await;
    let same =
        "UPDATE resetd.kept_database SET oid = (SELECT oid FROM pg_database WHERE datname = 'payroll')";
    there.control_sql(&format!("{same}; {EXPIRE}")).await;

    let setup = Setup::of(&there);
    let said = setup.resetd(&["serve", "--listen", "127.0.0.1:0", "--insecure-loopback"]).await;
    assert!(exists(&there, "payroll").await, "payroll was dropped\n{said}");
    said.expect(1).says("another cluster").says("resetd control adopt");
    setup.resetd(&["check"]).await.expect(1).says("resetd control adopt");
    setup.resetd(&["token", "list"]).await.says("resetd control adopt");

    setup.resetd(&["control", "adopt"]).await.expect(0);
    setup.resetd(&["control", "adopt"]).await.expect(0).says("nothing was to be done");
    let daemon = setup.start().await;
    let left = there.control_rows("SELECT count(*) FROM resetd.kept_database").await;
    assert_eq!(left, [["0"]]);
    daemon.ctl(UNDO).await.refused("NOTHING_TO_UNDO");
    daemon.ctl(RUN).await.expect(0);
    assert!(exists(&there, "payroll").await);
}

/// The statements of a dump with inserts.
async fn restore(target: &TestTarget, dump: &str) {
    let mut session = target.control_session().await;
    let (mut sql, mut copying) = (String::new(), None::<(String, Vec<String>)>);
    for line in dump.lines() {
        match &mut copying {
            Some((_, rows)) if line != "\\." => rows.push(line.to_owned()),
            Some((head, rows)) => {
                sql.push_str(&inserts(head, rows));
                copying = None;
            }
            // Of a newer pg_dump, which an older server does not know.
            None if line.starts_with("SET transaction_timeout") => {}
            None if line.starts_with("COPY ") => copying = Some((line.to_owned(), Vec::new())),
            // The database itself is there, and psql's own commands are no SQL.
            None if line.starts_with('\\') || line.contains(" DATABASE ") => {}
            None => {
                sql.push_str(line);
                sql.push('\n');
            }
        }
    }
    session.sql(&format!("SET standard_conforming_strings = on; {sql}")).await;
}

/// The rows of a COPY as one INSERT.
fn inserts(head: &str, rows: &[String]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let place = head.trim_start_matches("COPY ").trim_end_matches(" FROM stdin;");
    let cell = |cell: &str| match cell {
        "\\N" => "NULL".to_owned(),
        text => format!("E'{}'", text.replace('\'', "''")),
    };
    let rows: Vec<String> = rows
        .iter()
        .map(|row| format!("({})", row.split('\t').map(cell).collect::<Vec<_>>().join(", ")))
        .collect();
    format!("INSERT INTO {place} OVERRIDING SYSTEM VALUE VALUES {};\n", rows.join(", "))
}

/// A copy within the cluster has the same ledger: only one of the two may act on it.
#[tokio::test]
async fn a_copy_of_the_control_database_is_refused() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(RESET).await.expect(0);
    daemon.stop().await;
    let mut copy = target.clone();
    copy.control = format!("{}_copy", target.control);
    target.sql(&format!("CREATE DATABASE {} TEMPLATE {}", copy.control, target.control)).await;
    copy.control_sql(EXPIRE).await;
    let said = Setup::of(&copy).resetd(&["serve", "--listen", "127.0.0.1:0", "--insecure-loopback"]).await;
    said.expect(1).says("a copy").says("resetd control adopt");
    assert_eq!(generated(&target, "kept").await.len(), 1);
    // The original goes on.
    Setup::of(&target).start().await.ctl(UNDO).await.expect(0);
}

/// Nobody adopts a control database under a daemon that runs on it.
#[tokio::test]
async fn a_control_database_that_is_in_use_is_not_adopted() {
    let target = TestTarget::migrated().await;
    let _daemon = Setup::of(&target).start().await;
    target.control_sql("UPDATE resetd.identity SET system_identifier = '1'").await;
    Setup::of(&target).resetd(&["control", "adopt"]).await.expect(4).says("a daemon runs");
}

/// Another database takes the old one's name while the rename waits for the old one's lock.
#[tokio::test]
async fn a_rename_that_meets_another_database_is_taken_back() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let (d, decoy) = (&target.database, format!("decoy_{}", target.database));
    target.sql(&format!("CREATE DATABASE {decoy} TEMPLATE template0")).await;
    let before = (oid(&target).await, oid(&named(&target, &decoy)).await);
    // The swap begins, and waits for the queue of the target: it has seen the old database for the last time before.
    let key = LockKey::queue(d).0;
    let gate = Gate::before(&target, "DATABASE_BUILT").await;
    let running = daemon.ctl_spawn(RESET);
    gate.reached().await;
    let mut queue = target.control_session().await;
    queue.sql(&format!("SELECT pg_advisory_lock({key})")).await;
    gate.open().await;
    let asks = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL
        AND application_name LIKE 'resetd %op=%' AND query ~ 'pg_try_advisory_xact_lock')";
    eventually("the swap asks for its turn", || async { target.control_rows(asks).await == [["t"]] }).await;
    let mut holder = target.control_session().await;
    holder
        .sql(&format!("BEGIN; ALTER DATABASE {d} RENAME TO moved_{d}; ALTER DATABASE {decoy} RENAME TO {d}"))
        .await;
    queue.close().await;
    let waits = format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {} = ANY (pg_blocking_pids(pid)) AND query ~ 'RENAME')",
        holder.pid
    );
    eventually("the swap's rename waits", || async { target.control_rows(&waits).await == [["t"]] }).await;
    holder.sql("COMMIT").await;
    let out = running.finish().await;
    assert_eq!(oid(&target).await, before.1, "another database than the planned one was taken away\n{out}");
    out.refused("PLAN_CHANGED");
    assert_eq!(oid(&named(&target, &format!("moved_{d}"))).await, before.0);
    assert_eq!(generated(&target, "kept").await, [""; 0]);
    eventually("what was built is dropped", || async { generated(&target, "new").await.is_empty() }).await;
}

/// What was built is exchanged for another database before it is swapped in, where there was no old one to compare with.
#[tokio::test]
async fn only_what_was_built_is_brought_in() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let decoy = format!("decoy_{}", target.database);
    target.control_sql(&format!("CREATE DATABASE {decoy} TEMPLATE template0")).await;
    target.control_sql(&format!("DROP DATABASE {} WITH (FORCE)", target.database)).await;
    let gate = Gate::before(&target, "DATABASE_BUILT").await;
    let running = daemon.ctl_spawn(RESET);
    gate.reached().await;
    let built = generated(&target, "new").await[0].clone();
    let mut session = target.control_session().await;
    session.sql(&format!("ALTER DATABASE {built} RENAME TO away_{decoy}")).await;
    session.sql(&format!("ALTER DATABASE {decoy} RENAME TO {built}")).await;
    gate.open().await;
    let out = running.finish().await;
    assert_eq!(oid(&target).await, "", "a database that was not built here was brought in\n{out}");
    out.refused("PLAN_CHANGED");
    // And what took the built one's name is nobody's to drop, now and later.
    daemon.stop().await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(RUN).await.expect(0);
    assert!(exists(&target, &built).await, "{built} was dropped");
    assert!(exists(&target, &format!("away_{decoy}")).await);
}

/// What a killed daemon had built was exchanged before the next one comes: the sweep drops nothing of others.
#[tokio::test]
async fn a_sweep_drops_only_what_was_built() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let gate = Gate::before(&target, "DATABASE_BUILT").await;
    let mut wanted = request(Verb::Reset, &target);
    (wanted.scope, wanted.scope_named) = (Some(Scope::Database), true);
    let mut api = daemon.api().await;
    let events = api.begin(&wanted).await.expect("accepted");
    gate.reached().await;
    daemon.kill().await;
    drop(events);
    gate.open().await;
    let built = target.control_rows("SELECT build_database FROM resetd.operation").await[0][0].clone();
    let mut session = target.control_session().await;
    session.sql(&format!("ALTER DATABASE {built} RENAME TO saved_{}", target.database)).await;
    session.sql(&format!("CREATE DATABASE {built} TEMPLATE template0")).await;
    let daemon = Setup::of(&target).spawn().await;
    eventually("the operation has its end", || async {
        target.control_rows("SELECT bool_and(state = 'finished') FROM resetd.operation").await == [["t"]]
    })
    .await;
    // A run's end wakes the janitor as well.
    daemon.ctl("validate").await.expect(0);
    daemon.stop().await;
    assert!(
        exists(&target, &built).await,
        "{built} was dropped, and it is another database than the built one"
    );
    assert!(exists(&target, &format!("saved_{}", target.database)).await);
}
