//! What grown applications ask for: an order of their own, roles that chains run as, seeds, extensions where they were.

use harness::{
    Make, Migrations, Output, Setup, TestTarget,
    database::{RESET, RUN, oid},
};

const IN_PLACE: &str = "run --scope managed-schemas --confirm-destructive-reset RESET";
const SEEDS: &str = "[profile.local]\nseeds = true\n";

/// The default matrix with keys of its own, and of its chain `core`.
fn matrix(keys: &str, core: &str) -> String {
    format!(
        "[matrix.default]\n{keys}\n
         [[matrix.default.chain]]\nname = \"core\"\nschemas = [\"general\", \"health\"]\ntables = [\"state\"]\n{core}\n
         [[matrix.default.chain]]\nname = \"memory\"\nschemas = [\"general\", \"health\"]\ntables = [\"facts\"]\n"
    )
}

fn codes(out: &Output, code: &str) -> Vec<String> {
    let of_code = out.list("/plan/findings").iter().filter(|f| f["code"] == code);
    of_code.map(|f| format!("{} {} {}", f["object"], f["message"], f["hint"])).collect()
}

#[tokio::test]
async fn cells_are_replayed_by_schema_or_as_listed() {
    let target = TestTarget::migrated().await;
    let listed = ["core in health", "memory in health", "core in general", "memory in general"];
    let by_schema = ["core in general", "memory in general", "core in health", "memory in health"];
    for (order, expected) in [(format!("{listed:?}"), listed), ("\"schema\"".to_owned(), by_schema)] {
        let daemon = Setup::of(&target).with(&matrix(&format!("order = {order}"), "")).start().await;
        for run in [IN_PLACE, RUN] {
            let out = daemon.ctl(run).await;
            out.expect(0);
            let applied: Vec<String> = out
                .list("/revisions")
                .iter()
                .map(|r| format!("{} in {}", r["chain"].as_str().unwrap(), r["schema"].as_str().unwrap()))
                .collect();
            assert_eq!(applied, expected, "{run}\n{out}");
        }
        daemon.stop().await;
    }
}

#[tokio::test]
async fn seeds_are_sown_where_the_profile_says_so_and_a_bad_one_takes_everything_back() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    chains.write(
        "core/seeds/010.sql",
        "INSERT INTO state (key, value) VALUES ('seed', '{}') ON CONFLICT DO NOTHING;",
    );
    let sown = "SELECT count(*) FROM general.state WHERE key = 'seed'";
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    daemon.ctl(IN_PLACE).await.expect(0);
    assert_eq!(target.value(sown).await, "0", "nobody asked for it");
    daemon.stop().await;

    let daemon = Setup::of(&target).migrations(&chains).with(SEEDS).start().await;
    for run in [IN_PLACE, RUN] {
        let out = daemon.ctl(run).await;
        out.expect(0);
        assert_eq!(codes(&out, "SEED").len(), 5, "{out}");
        let done = out.list("/findings").iter().filter(|f| f["code"] == "SEEDED").count();
        assert_eq!((done, target.value(sown).await.as_str()), (5, "1"), "{run}\n{out}");
    }
    // A caller's own chains bring theirs along.
    let own = Migrations::shipped();
    own.write("core/seeds/020.sql", "INSERT INTO state (key, value) VALUES ('mine', '{}');");
    let run = format!("{IN_PLACE} --chains {}", own.path().display());
    daemon.ctl(&run).await.expect(0);
    assert_eq!(target.column("SELECT key FROM health.state").await, ["mine"]);

    let digest = daemon.ctl("run --scope managed-schemas --dry-run").await.text("/plan/digest").to_owned();
    chains.write("core/seeds/020.sql", "SELECT 1;\nINSERT INTO nowhere VALUES (1);");
    let out = daemon.ctl(&format!("{IN_PLACE} --plan-digest {digest}")).await;
    out.refused("PLAN_CHANGED");
    let before = (target.state().await, oid(&target).await);
    for run in [IN_PLACE, RUN] {
        let out = daemon.ctl(run).await;
        assert_eq!(out.text("/error_detail/reason"), "REVISION_FAILED", "{out}");
        assert!(out.text("/error").contains("core/seeds/020.sql:2"), "{out}");
        assert_eq!(before, (target.state().await, oid(&target).await), "{run}");
    }
    // What a seed breaks is found as well.
    chains.write("core/seeds/020.sql", "DROP TABLE state CASCADE;");
    for run in [IN_PLACE, RUN] {
        let out = daemon.ctl(run).await;
        assert_eq!(out.text("/error_detail/reason"), "VALIDATION_DIFFERENCES", "{out}");
        assert_eq!(before, (target.state().await, oid(&target).await), "{run}");
    }
}

#[tokio::test]
async fn a_matrix_has_seeds_of_its_own_that_come_last() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    let own = "INSERT INTO state (key, value) VALUES ('of the chain', '{}') ON CONFLICT DO NOTHING;";
    chains.write("core/seeds/010.sql", own);
    let folder = Migrations::none();
    folder.write(
        "010_all.sql",
        "INSERT INTO general.state (key, value) SELECT 'after ' || key, value FROM health.state ON CONFLICT DO NOTHING;",
    );
    let path = folder.path().display();
    let seeds = format!("[matrix.default]\nseeds = \"{path}/*.sql\"\nseeds_as = \"{}\"\n", target.role);
    let after = "SELECT count(*) FROM general.state WHERE key = 'after of the chain'";
    let daemon = Setup::of(&target).migrations(&chains).with(&seeds).start().await;
    daemon.ctl(IN_PLACE).await.expect(0);
    assert_eq!(target.value(after).await, "0", "nobody asked for it");
    daemon.stop().await;

    let daemon = Setup::of(&target).migrations(&chains).with(&format!("{seeds}{SEEDS}")).start().await;
    for run in [IN_PLACE, RUN] {
        let out = daemon.ctl(run).await;
        out.expect(0);
        let planned = codes(&out, "SEED");
        assert_eq!(planned.len(), 6, "{out}");
        assert!(planned[5].contains("010_all.sql") && planned[5].contains("after the seeds"), "{planned:?}");
        let done = out.list("/findings").iter().filter(|f| f["code"] == "SEEDED").count();
        assert_eq!((done, target.value(after).await.as_str()), (6, "1"), "{run}\n{out}");
    }
    let digest = daemon.ctl("run --scope managed-schemas --dry-run").await.text("/plan/digest").to_owned();
    folder.write("020_bad.sql", "SELECT 1;\nINSERT INTO nowhere VALUES (1);");
    daemon.ctl(&format!("{IN_PLACE} --plan-digest {digest}")).await.refused("PLAN_CHANGED");
    let before = (target.state().await, oid(&target).await);
    for run in [IN_PLACE, RUN] {
        let out = daemon.ctl(run).await;
        assert_eq!(out.text("/error_detail/reason"), "REVISION_FAILED", "{out}");
        assert!(out.text("/error").contains("020_bad.sql:2"), "{out}");
        assert_eq!(before, (target.state().await, oid(&target).await), "{run}");
    }
    folder.remove("020_bad.sql").remove("010_all.sql");
    daemon.ctl(IN_PLACE).await.refused("CHAINS_INVALID");
}

/// In a database that is built aside, revisions share a transaction where they can: what they cannot is not theirs to know.
#[tokio::test]
async fn what_fails_at_earlier_revisions_is_done_in_a_transaction_of_its_own() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    let after = |id: &str, before: &str, sql: &str| {
        chains.revision(&format!("core/{id}.sql"), id, before, sql);
    };
    after("core_002", "core_001", "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE moods (m mood);");
    // Nobody sees this beforehand.
    after("core_003", "core_002", "DO $$ BEGIN EXECUTE 'ALTER TYPE mood ADD ' || 'VALUE ''new'''; END $$;");
    after("core_004", "core_003", "INSERT INTO moods VALUES ('new');");
    after("core_005", "core_004", "CREATE TABLE later (id int);");
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    let applied = out.list("/revisions").iter().filter(|r| r["schema"] == "health" && r["chain"] == "core");
    assert_eq!(applied.count(), 5, "{out}");
    assert_eq!(target.value("SELECT m::text FROM health.moods").await, "new");
    // What fails anywhere still says where.
    after("core_006", "core_005", "SELECT 1;\nALTER TYPE mood ADD VALUE 'new';");
    let before = (target.state().await, oid(&target).await);
    let out = daemon.ctl(RUN).await;
    assert_eq!(out.text("/error_detail/reason"), "REVISION_FAILED", "{out}");
    assert!(out.text("/error").contains("core/core_006.sql:5"), "{out}");
    assert_eq!(before, (target.state().await, oid(&target).await));
}

#[tokio::test]
async fn a_chain_runs_as_its_role_where_that_may() {
    let target = TestTarget::migrated().await;
    let role = format!("chain_{}", target.database);
    let text = matrix("", &format!("replay_as = \"{role}\""));
    let daemon = Setup::of(&target).with(&text).start().await;
    for (setup, hint) in [
        (String::new(), format!("CREATE ROLE \\\"{role}\\\"")),
        (
            format!("CREATE ROLE {role}"),
            format!("GRANT USAGE, CREATE ON SCHEMA \\\"general\\\" TO \\\"{role}\\\""),
        ),
    ] {
        target.sql(&setup).await;
        if !setup.is_empty() {
            target.let_act_as(&[&role]).await;
        }
        for run in [IN_PLACE, RUN] {
            let out = daemon.ctl(run).await;
            out.refused("PREFLIGHT_FAILED");
            let told = codes(&out, "REPLAY_AS_DENIED");
            assert!(told.iter().any(|told| told.contains(&hint)), "{hint}\n{told:#?}\n{out}");
        }
    }
    target.sql(&format!("GRANT USAGE, CREATE ON SCHEMA general, health TO {role}")).await;
    for run in [IN_PLACE, RUN] {
        daemon.ctl(run).await.expect(0);
        let owner =
            "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'health' AND tablename = ";
        assert_eq!(target.column(&format!("{owner}'state'")).await, [role.as_str()], "{run}");
        assert_eq!(target.column(&format!("{owner}'facts'")).await, [target.role.as_str()], "{run}");
        assert_eq!(
            target.column(&format!("{owner}'alembic_version'")).await,
            [target.role.as_str()],
            "{run}"
        );
    }
}

#[tokio::test]
async fn an_extension_stays_where_it_is_and_goes_where_a_chain_says() {
    let target = TestTarget::make(Make::migrated()).await;
    let home = "SELECT extnamespace::regnamespace::text || ' ' || extversion FROM pg_extension WHERE extname = 'hstore'";
    let chains = Migrations::shipped();
    let requires = |place: &str| {
        chains.revision(
            "core/core_002.sql",
            "core_002",
            "core_001",
            &format!("-- requires-extension: hstore{place}\nCREATE TABLE tags (h hstore);"),
        );
    };
    requires("");
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    for scope in ["managed-schemas", "database"] {
        let out = daemon.ctl(&format!("run --scope {scope} --dry-run")).await;
        let told = codes(&out, "EXTENSION_OUT_OF_REACH").join("");
        assert!(told.contains("schema extensions") && told.contains("hstore in public"), "{out}");
    }
    requires(" in public");
    for (run, undo) in [(RUN, true), (IN_PLACE, false)] {
        let out = daemon.ctl(run).await;
        out.expect(0);
        assert_eq!(codes(&out, "EXTENSION_OUT_OF_REACH"), [""; 0], "{out}");
        assert!(target.value(home).await.starts_with("public "), "{run}");
        assert_eq!(target.column("SELECT 1 FROM pg_namespace WHERE nspname = 'extensions'").await, [""; 0]);
        if undo {
            daemon.ctl("undo --confirm-destructive-reset RESET").await.expect(0);
        }
    }
    // Somebody put it elsewhere, in an older version: there it stays.
    target.sql("CREATE SCHEMA attic; DROP EXTENSION hstore CASCADE; CREATE EXTENSION hstore SCHEMA attic VERSION '1.4'").await;
    if target.control_role.is_some() {
        target.sql(&format!("ALTER SCHEMA attic OWNER TO {}", target.role)).await;
    }
    let text = "[matrix.default]\nsearch_path_suffix = [\"shared\", \"public\", \"attic\"]\n";
    let daemon = Setup::of(&target).migrations(&chains).with(text).start().await;
    for run in [IN_PLACE, RUN, RUN] {
        daemon.ctl(run).await.expect(0);
        assert_eq!(target.value(home).await, "attic 1.4", "{run}");
    }
    // An empty database needs none.
    daemon.ctl(RESET).await.expect(0);
}
