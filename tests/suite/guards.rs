//! What is refused, why, and that nothing was changed by it. What one look at the request or the configuration can tell is
//! refused before an operation exists; what lies outside the schemas is found under the lock.

use harness::{Daemon, Make, OTHER_DIGEST, Output, Setup, TestTarget, commands::CONFIRMED};

/// Refused before an operation existed: a report is written all the same, and names none.
#[track_caller]
fn refused_at_the_door(out: &Output, reason: &str, command: &str) {
    out.refused(reason);
    assert!(out.at("/operation").is_null(), "{out}");
    assert_eq!(out.text("/command"), command, "{out}");
    assert!(out.stderr.contains(reason), "{out}");
}

async fn operations(target: &TestTarget) -> String {
    target.control_rows("SELECT count(*) FROM resetd.operation").await[0][0].clone()
}

#[tokio::test]
async fn the_confirmation_is_exactly_reset() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;
    for verb in ["reset", "run"] {
        let out = daemon.ctl(verb).await;
        refused_at_the_door(&out, "CONFIRMATION_MISSING", verb);
        assert!(
            out.stderr.contains("--confirm-destructive-reset RESET"),
            "it says which flag is missing\n{out}"
        );
        for wrong in ["reset", "Reset", "RESETT", "RESET ", " RESET", "", "yes", "RЕSET"] {
            let out = daemon.ctl_args(&[verb, "--confirm-destructive-reset", wrong]).await;
            refused_at_the_door(&out, "CONFIRMATION_MISSING", verb);
        }
    }
    assert_eq!(before, target.state().await);
    assert_eq!(operations(&target).await, "0");
    daemon.ctl(&format!("run {CONFIRMED}")).await.expect(0);
}

#[tokio::test]
async fn a_name_with_prod_needs_its_flag() {
    for named in ["prod", "reproduction"] {
        let target = TestTarget::make(Make { named: Some(named), ..Make::migrated() }).await;
        let daemon = Setup::of(&target).start().await;
        let before = target.state().await;
        for line in ["reset", "run", "reset --dry-run", "run --dry-run"] {
            let out = daemon.ctl(&format!("{line} {CONFIRMED}")).await;
            refused_at_the_door(&out, "PRODUCTION_NAME", line.split(' ').next().unwrap());
        }
        // The flag is no confirmation, and the confirmation no flag.
        let out = daemon.ctl("run --allow-production-db-name").await;
        refused_at_the_door(&out, "CONFIRMATION_MISSING", "run");
        assert_eq!(before, target.state().await);
        // What does not destroy goes through.
        daemon.ctl("validate").await.expect(0);
        daemon.ctl("reset --dry-run --allow-production-db-name").await.expect(0);
        daemon.ctl(&format!("run --allow-production-db-name {CONFIRMED}")).await.expect(0);
    }
}

#[tokio::test]
async fn databases_of_the_cluster_itself_are_no_targets() {
    let target = TestTarget::empty().await;
    for database in ["postgres", "template0", "template1"] {
        let url = target.postgres.url(database);
        let section = "\n[target.other]\ndatabase_url_env = \"OTHER\"\n";
        for setup in [
            Setup::of(&target).env("OTHER", &url).with(section),
            Setup::of(&target).env("BUTLERS_DATABASE_URL", &url).plain(),
            Setup::of(&target)
                .env("BUTLERS_DATABASE_URL", &target.postgres.tcp_url_of("postgres", "secret", database))
                .plain(),
        ] {
            let problems = setup.load().expect_err("no daemon may serve it").join("\n");
            assert!(problems.contains(database), "{problems}");
            assert!(!problems.contains(&target.postgres.password), "a secret in {problems}");
        }
    }
}

#[tokio::test]
async fn a_protected_profile_refuses_every_destructive_verb() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with("[profile.local]\nprotected = true\n").start().await;
    let before = target.state().await;
    for line in ["reset", "run", "reset --dry-run"] {
        let out = daemon.ctl(&format!("{line} --allow-production-db-name {CONFIRMED}")).await;
        refused_at_the_door(&out, "TARGET_PROTECTED", line.split(' ').next().unwrap());
    }
    assert_eq!(before, target.state().await);
    daemon.ctl("validate").await.expect(0);
}

#[tokio::test]
async fn scopes_and_schemas_that_may_not_be() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with("[profile.local]\nscopes = [\"managed-schemas\"]\n").start().await;
    let before = target.state().await;
    for verb in ["reset", "run"] {
        let ctl = async |flags: &str| daemon.ctl(&format!("{verb} {flags} {CONFIRMED}")).await;
        refused_at_the_door(&ctl("--scope database").await, "SCOPE_FORBIDDEN", verb);
        refused_at_the_door(&ctl("--managed-schema public").await, "UNKNOWN_SCHEMA", verb);
        refused_at_the_door(
            &ctl("--managed-schema general --managed-schema nosuch").await,
            "UNKNOWN_SCHEMA",
            verb,
        );
        refused_at_the_door(&ctl("--managed-schema General").await, "UNKNOWN_SCHEMA", verb);
        let out = ctl("--scope database --managed-schema general").await;
        out.expect(2);
        assert!(out.stderr.contains("--managed-schema") && out.stderr.contains("--scope database"), "{out}");
        ctl("--scope everything").await.expect(2);
    }
    assert_eq!(before, target.state().await);
    assert_eq!(operations(&target).await, "0");
}

#[tokio::test]
async fn a_target_nobody_knows_is_not_found() {
    let target = TestTarget::migrated().await;
    let line = format!("run {CONFIRMED}");
    let daemon = Setup::of(&target).start().await;
    refused_at_the_door(&daemon.ctl(&format!("--target nosuch {line}")).await, "TARGET_NOT_FOUND", "run");
    // Who may not, does not learn whether it is there.
    let daemon = Setup::of(&target).profile("shared-dev").start().await;
    for name in ["nosuch", &target.name] {
        refused_at_the_door(
            &daemon.ctl(&format!("--target {name} {line}")).await,
            "PERMISSION_DENIED",
            "run",
        );
    }
}

/// The digest of what a dry run showed.
async fn approved(daemon: &Daemon, verb: &str) -> String {
    let out = daemon.ctl(&format!("{verb} --dry-run")).await;
    out.expect(0);
    out.text("/plan/digest").to_owned()
}

/// Outside objects: how one comes into being, what the plan calls it, whether it is there.
struct Foreign {
    make: &'static str,
    named: &'static str,
    there: &'static str,
}

async fn foreign(case: Foreign) {
    let target = TestTarget::migrated().await;
    target.sql(&format!("{KEEP} {}", case.make)).await;
    assert!(target.holds(case.there).await, "{}", case.there);
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;

    for verb in ["reset", "run"] {
        let out = daemon.ctl(&format!("{verb} {CONFIRMED}")).await;
        out.refused("BLAST_RADIUS");
        assert_eq!(out.text("/outcome"), "refused", "{out}");
        assert!(out.text("/error").contains(case.named), "{out}");
        assert!(out.at("/plan/outside").to_string().contains(case.named), "{out}");
    }
    let dry = daemon.ctl("run --dry-run").await;
    dry.expect(0);
    assert_eq!(dry.text("/status"), "ok", "{dry}");
    assert_eq!(dry.text("/plan/refusal/reason"), "BLAST_RADIUS", "{dry}");
    assert!(dry.at("/plan/outside").to_string().contains(case.named), "{dry}");
    assert!(dry.stdout.contains(case.named), "a person sees it\n{dry}");
    assert_eq!(before, target.state().await);

    let digest = dry.text("/plan/digest");
    let out = daemon.ctl(&format!("run --plan-digest {digest} {CONFIRMED}")).await;
    out.expect(0);
    assert!(!target.holds(case.there).await, "it was approved, and it went\n{out}");
    assert!(target.holds("SELECT count(*) = 2 FROM public.keep").await, "its neighbour stays");
}

const KEEP: &str = "CREATE TABLE public.keep (n int); INSERT INTO public.keep VALUES (1), (2);";

macro_rules! foreign {
    ($($name:ident: $make:expr, $named:expr, $there:expr;)*) => { $(
        #[tokio::test]
        async fn $name() {
            foreign(Foreign { make: $make, named: $named, there: $there }).await;
        }
    )* };
}

foreign! {
    a_view_outside_is_not_dropped_unasked:
        "CREATE VIEW public.watcher AS SELECT key FROM general.state",
        "public.watcher", "SELECT EXISTS (SELECT FROM pg_views WHERE viewname = 'watcher')";
    a_view_on_a_view_outside_is_not_dropped_unasked:
        "CREATE VIEW shared.inner_view AS SELECT key FROM general.state; CREATE SCHEMA far;
         CREATE MATERIALIZED VIEW far.outer_view AS SELECT * FROM shared.inner_view",
        "far.outer_view", "SELECT EXISTS (SELECT FROM pg_matviews WHERE matviewname = 'outer_view')";
    a_foreign_key_outside_is_not_dropped_unasked:
        "ALTER TABLE public.keep ADD session uuid REFERENCES general.sessions (id)",
        "keep_session_fkey", "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = 'keep_session_fkey')";
    a_column_outside_of_a_type_inside_is_not_dropped_unasked:
        "CREATE TYPE shared.mood AS ENUM ('fine'); ALTER TABLE public.keep ADD mood shared.mood",
        "public.keep.mood", "SELECT EXISTS (SELECT FROM pg_attribute WHERE attname = 'mood' AND NOT attisdropped)";
    a_default_outside_from_a_function_inside_is_not_dropped_unasked:
        "CREATE FUNCTION shared.seven() RETURNS int LANGUAGE sql AS 'SELECT 7';
         ALTER TABLE public.keep ALTER n SET DEFAULT shared.seven()",
        "public.keep", "SELECT EXISTS (SELECT FROM pg_attrdef WHERE adrelid = 'public.keep'::regclass)";
    a_trigger_outside_is_not_dropped_unasked:
        "CREATE FUNCTION shared.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER touching BEFORE UPDATE ON public.keep FOR EACH ROW EXECUTE FUNCTION shared.touch()",
        "touching", "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'touching')";
    a_child_table_outside_is_not_dropped_unasked:
        "CREATE TABLE public.heir () INHERITS (general.state)",
        "public.heir", "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'heir')";
}

#[tokio::test]
async fn the_digest_of_a_target_that_changed_is_refused() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for (verb, change) in [
        ("reset", "CREATE TABLE general.late (n int)"),
        ("run", "CREATE VIEW public.late AS SELECT key FROM general.state"),
        ("run", "DROP VIEW public.late; CREATE INDEX late ON health.state (updated_at)"),
        ("reset", "DROP SCHEMA messenger CASCADE"),
    ] {
        let digest = approved(&daemon, verb).await;
        target.sql(change).await;
        let before = target.state().await;
        let out = daemon.ctl(&format!("{verb} --plan-digest {digest} {CONFIRMED}")).await;
        out.refused("PLAN_CHANGED");
        assert!(out.text("/plan/digest") != digest, "{out}");
        assert_eq!(before, target.state().await, "{change}");
    }
    // Rows are no identities: a digest holds while people work.
    let digest = approved(&daemon, "run").await;
    target
        .sql("INSERT INTO general.state (key) SELECT 'more ' || n FROM generate_series(1, 5000) n; ANALYZE")
        .await;
    daemon.ctl(&format!("run --plan-digest {digest} {CONFIRMED}")).await.expect(0);
    // A digest is for one target and one plan: a run's is not a reset's of one schema.
    let digest = approved(&daemon, "run").await;
    let out = daemon.ctl(&format!("run --managed-schema general --plan-digest {digest} {CONFIRMED}")).await;
    out.refused("PLAN_CHANGED");
    let out = daemon.ctl(&format!("run --plan-digest {OTHER_DIGEST} {CONFIRMED}")).await;
    out.refused("PLAN_CHANGED");
}

/// Preflight: a prepared transaction in a managed schema would block the drop for as long as it lives.
#[tokio::test]
async fn a_prepared_transaction_in_the_way_is_told_before_anything_is_dropped() {
    let target = TestTarget::migrated().await;
    let gid = format!("stuck {}", target.database);
    let mut session = target.session().await;
    session
        .sql(&format!("BEGIN; INSERT INTO general.state (key) VALUES ('p'); PREPARE TRANSACTION '{gid}'"))
        .await;
    let daemon = Setup::of(&target).with("[profile.local]\nlock_wait_limit = \"2s\"\n").start().await;
    let before = target.state().await;

    let out = daemon.ctl(&format!("run {CONFIRMED}")).await;
    out.refused("PREFLIGHT_FAILED");
    assert!(out.text("/error").contains(&gid), "{out}");
    let dry = daemon.ctl("run --dry-run").await;
    dry.expect(0);
    assert_eq!(dry.text("/plan/refusal/reason"), "PREFLIGHT_FAILED", "{dry}");
    assert_eq!(before, target.state().await);

    session.sql(&format!("ROLLBACK PREPARED '{gid}'")).await;
    daemon.ctl(&format!("run {CONFIRMED}")).await.expect(0);
}
