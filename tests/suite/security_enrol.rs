//! Which database a target is: recorded once by an admin, and kept through swaps. Whatever else stands there is refused.

use harness::{Daemon, Gate, Output, Setup, TestTarget, commands::CONFIRMED};

/// A profile that neither enrolls by itself nor asks for windows.
const STRICT: &str = "[profile.strict]\nextends = \"staging\"\nwindow = \"optional\"\n";

async fn strict(target: &TestTarget) -> Daemon {
    // The socket: root and the daemon's own user are admin there.
    Setup::of(target).profile("strict").with(STRICT).listen("unix:socket").start().await
}

async fn enroll(daemon: &Daemon, target: &TestTarget) -> Output {
    daemon.ctl(&format!("target enroll {} --confirm-database {}", target.name, target.database)).await
}

#[tokio::test]
async fn an_identity_goes_on_through_swaps() {
    let target = TestTarget::migrated().await;
    let daemon = strict(&target).await;
    daemon.ctl(&format!("run {CONFIRMED}")).await.refused("TARGET_NOT_ENROLLED");
    for line in ["run --dry-run", "reset --scope database --dry-run"] {
        let dry = daemon.ctl(line).await;
        dry.expect(0);
        assert_eq!(dry.text("/plan/refusal/reason"), "TARGET_NOT_ENROLLED", "{dry}");
    }
    enroll(&daemon, &target).await.expect(0);
    let dry = daemon.ctl("run --dry-run").await;
    assert!(dry.at("/plan/refusal").is_null(), "{dry}");
    let oid = async || target.value("SELECT oid FROM pg_database WHERE datname = current_database()").await;
    let first = oid().await;
    for _ in 0..2 {
        daemon.ctl(&format!("run --scope database {CONFIRMED}")).await.expect(0);
    }
    assert_ne!(oid().await, first, "it is another database now");
    daemon.ctl(&format!("undo {CONFIRMED}")).await.expect(0);
    daemon.ctl(&format!("run {CONFIRMED}")).await.expect(0);
    let recorded = target.control_rows("SELECT database_oid, enrolled_by FROM resetd.target").await;
    assert_eq!(recorded[0][0], oid().await);
    assert!(recorded[0][1].starts_with("unix:"), "who enrolled it stays: {recorded:?}");
}

#[tokio::test]
async fn a_database_that_was_replaced_by_hand_is_not_the_enrolled_one() {
    let target = TestTarget::migrated().await;
    let daemon = strict(&target).await;
    enroll(&daemon, &target).await.expect(0);
    daemon.ctl(&format!("run {CONFIRMED}")).await.expect(0);
    // Somebody restores another database under the same name.
    let twin = TestTarget::migrated().await;
    let name = &target.database;
    let elsewhere = TestTarget::empty().await;
    elsewhere.sql(&format!("ALTER DATABASE {name} RENAME TO {name}_gone")).await;
    elsewhere.sql(&format!("CREATE DATABASE {name} OWNER {} TEMPLATE {}", target.role, twin.database)).await;
    target.let_act_as(&[&twin.role]).await;
    let before = target.state().await;
    for line in ["run", "reset", "run --scope database"] {
        let out = daemon.ctl(&format!("{line} {CONFIRMED}")).await;
        out.refused("TARGET_NOT_ENROLLED");
        assert!(out.stderr.contains("replaced, and not by a swap"), "{out}");
    }
    daemon.ctl("migrate").await.refused("TARGET_NOT_ENROLLED");
    assert_eq!(target.state().await, before);
    assert!(daemon.ctl("targets").await.expect(0).stdout.contains(&target.name));
    // What reads goes through, and an admin who looked at it can say that it is the right one.
    daemon.ctl("validate").await.expect(0);
    daemon.ctl("run --dry-run").await.expect(0);
    enroll(&daemon, &target).await.expect(0);
    daemon.ctl(&format!("run {CONFIRMED}")).await.expect(0);
}

/// While the new one is built somebody puts another database in the old one's place: that one is not taken away.
#[tokio::test]
async fn a_swap_takes_away_only_the_database_that_was_planned() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let elsewhere = TestTarget::empty().await;
    let name = &target.database;
    let oids = format!("SELECT datname, oid FROM pg_database WHERE datname LIKE '{name}%' ORDER BY 1");
    daemon.ctl("validate").await.expect(0);
    for (n, scoped) in
        [format!("run --scope database {CONFIRMED}"), format!("undo {CONFIRMED}")].iter().enumerate()
    {
        // One gate after the other.
        target.control_session().await.sql("DROP FUNCTION IF EXISTS public.gate() CASCADE").await;
        let gate = Gate::before(&target, if n == 0 { "DATABASE_BUILT" } else { "PLANNED" }).await;
        let running = daemon.ctl_spawn(scoped);
        gate.reached().await;
        elsewhere.sql(&format!("ALTER DATABASE {name} RENAME TO {name}_gone")).await;
        elsewhere.sql(&format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        let there = elsewhere.rows(&oids).await;
        gate.open().await;
        let out = running.finish().await;
        out.refused("PLAN_CHANGED");
        assert!(out.stderr.contains("is not the one that was planned"), "{out}");
        assert_eq!(elsewhere.rows(&oids).await, there);
        elsewhere.sql(&format!("DROP DATABASE {name}")).await;
        elsewhere.sql(&format!("ALTER DATABASE {name}_gone RENAME TO {name}")).await;
        // Something to undo for the second round.
        daemon.ctl(&format!("run --scope database {CONFIRMED}")).await.expect(0);
    }
}

#[tokio::test]
async fn a_url_that_points_elsewhere_is_refused() {
    let (target, other) = (TestTarget::migrated().await, TestTarget::migrated().await);
    let daemon = strict(&target).await;
    enroll(&daemon, &target).await.expect(0);
    daemon.stop().await;
    // The same target, and a URL of another database.
    let text = format!(
        "{}[target.{}]\ndatabase_url_env = \"BUTLERS_DATABASE_URL\"\n{STRICT}",
        target.control_section(),
        target.name
    );
    let setup = Setup::of(&target).config(&text).env("BUTLERS_DATABASE_URL", &other.url()).profile("strict");
    let daemon = setup.listen("unix:socket").start().await;
    let before = other.state().await;
    for line in ["run", "reset", "run --scope database", "undo"] {
        daemon.ctl(&format!("{line} {CONFIRMED}")).await.refused("TARGET_NOT_ENROLLED");
    }
    assert_eq!(other.state().await, before);
    daemon
        .ctl(&format!("target enroll {} --confirm-database {}", target.name, target.database))
        .await
        .expect(4);
}

#[tokio::test]
async fn a_protected_target_refuses_undo_as_well_whoever_asks() {
    let target = TestTarget::migrated().await;
    let setup = || Setup::of(&target).listen("unix:socket");
    let daemon = setup().start().await;
    daemon.ctl(&format!("run --scope database {CONFIRMED}")).await.expect(0);
    daemon.stop().await;
    let daemon = setup().with("[profile.local]\nprotected = true\n").start().await;
    let before = target.state().await;
    let chains = harness::Migrations::shipped();
    let migrate = format!("migrate --chains {}", chains.path().display());
    for line in ["undo", "reset", "run", "run --scope database", &migrate] {
        let words = if line == migrate { line.to_owned() } else { format!("{line} {CONFIRMED}") };
        daemon.ctl(&words).await.refused("TARGET_PROTECTED");
    }
    assert_eq!(target.state().await, before);
}

/// Flags that raise the stakes need the role that the profile names.
#[tokio::test]
async fn what_raises_the_stakes_can_be_kept_to_admins() {
    let target = TestTarget::make(harness::Make { named: Some("prod"), ..harness::Make::migrated() }).await;
    target.sql("CREATE VIEW public.watcher AS SELECT key FROM general.state").await;
    let keys =
        ["role_production_name", "role_terminate_sessions", "role_outside_digest", "role_client_chains"];
    let profile: String = keys.iter().map(|key| format!("{key} = \"admin\"\n")).collect();
    let text = format!(
        "[profile.local]\n{profile}\n[[role]]\nprincipal = \"loopback:anonymous\"\ntargets = [\"*\"]\nrole = \"resetter\"\n"
    );
    let daemon = Setup::of(&target).with(&text).start().await;
    let before = target.state().await;
    let chains = harness::Migrations::shipped();
    for line in [
        "run --allow-production-db-name --confirm-destructive-reset RESET".to_owned(),
        "run --scope database --terminate-sessions --allow-production-db-name --confirm-destructive-reset RESET".to_owned(),
        format!("migrate --chains {}", chains.path().display()),
    ] {
        let out = daemon.ctl(&line).await;
        out.refused("PERMISSION_DENIED");
        assert!(out.stderr.contains("needs the role admin in profile local"), "{out}");
    }
    assert_eq!(target.state().await, before);
    daemon.stop().await;

    // The digest of a plan that takes a view along, with the name out of the way.
    let text = text.replace("role_production_name = \"admin\"", "role_production_name = \"resetter\"");
    let daemon = Setup::of(&target).with(&text).start().await;
    let dry = daemon.ctl("run --dry-run --allow-production-db-name").await;
    dry.expect(0);
    let digest = dry.text("/plan/digest");
    let line = format!("run --allow-production-db-name {CONFIRMED} --plan-digest {digest}");
    let out = daemon.ctl(&line).await;
    out.refused("PERMISSION_DENIED");
    assert!(out.stderr.contains("role_outside_digest"), "{out}");
    assert_eq!(target.state().await, before);
    daemon.stop().await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(&line).await.expect(0);
}
