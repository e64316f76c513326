//! Scope database and the properties of what it replaces: schemas (`public` too) come back with owner, grants, comment and
//! default privileges, as they do in place; the database's own come first, and what revisions make of them is intended.

use harness::{
    Gate, Make, Migrations, Setup, TestTarget,
    database::{RESET, RUN, generated, oid, reached},
};
use serde_json::{Value, json};

/// Everything on schemas that a new database would not have, and default privileges, also those of no schema.
const PROPERTIES: &str = "
SELECT 'owner', n.nspname, pg_get_userbyid(n.nspowner), '', '', '' FROM pg_namespace n WHERE n.nspname !~ '^pg_'
UNION ALL
SELECT 'grant', n.nspname, pg_get_userbyid(a.grantor), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
       a.privilege_type, a.is_grantable::text
  FROM pg_namespace n CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a WHERE n.nspname !~ '^pg_'
UNION ALL
SELECT 'comment', n.nspname, obj_description(n.oid, 'pg_namespace'), '', '', '' FROM pg_namespace n WHERE n.nspname !~ '^pg_'
UNION ALL
SELECT 'default', coalesce(n.nspname, '*'), pg_get_userbyid(d.defaclrole),
       CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
       d.defaclobjtype::text || ' ' || a.privilege_type || ' by ' || pg_get_userbyid(a.grantor), a.is_grantable::text
  FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace CROSS JOIN LATERAL aclexplode(d.defaclacl) a
ORDER BY 1, 2, 3, 4, 5, 6";

/// Roles of one test: roles belong to the whole server.
fn roles(target: &TestTarget) -> [String; 4] {
    ["owner", "grantor", "reader", "writer"].map(|name| format!("{name}_{}", target.database))
}

async fn furnish(target: &TestTarget) {
    let [owner, grantor, reader, writer] = roles(target);
    target
        .sql(&format!(
            "CREATE ROLE {owner}; CREATE ROLE {grantor}; CREATE ROLE {reader}; CREATE ROLE {writer} LOGIN;
             GRANT CREATE ON DATABASE {} TO {owner};
             ALTER SCHEMA general OWNER TO {owner};
             SET ROLE {owner};
             GRANT USAGE, CREATE ON SCHEMA general TO {grantor} WITH GRANT OPTION;
             SET ROLE {grantor};
             GRANT USAGE ON SCHEMA general TO {reader} WITH GRANT OPTION;
             SET ROLE {reader};
             GRANT USAGE ON SCHEMA general TO {writer};
             RESET ROLE;
             GRANT USAGE ON SCHEMA shared TO PUBLIC;
             GRANT USAGE ON SCHEMA health TO {reader};
             COMMENT ON SCHEMA general IS 'it''s the \"general\" one; $$';
             COMMENT ON SCHEMA public IS NULL;
             REVOKE ALL ON SCHEMA public FROM PUBLIC;
             GRANT USAGE, CREATE ON SCHEMA public TO {owner};
             GRANT USAGE ON SCHEMA public TO {writer} WITH GRANT OPTION;
             SET ROLE {writer}; GRANT USAGE ON SCHEMA public TO {reader}; RESET ROLE;
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA general GRANT SELECT, INSERT ON TABLES TO {writer} WITH GRANT OPTION;
             ALTER DEFAULT PRIVILEGES FOR ROLE {grantor} IN SCHEMA health GRANT EXECUTE ON FUNCTIONS TO {reader};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {reader};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE ON SEQUENCES TO {reader};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;",
            target.database
        ))
        .await;
}

/// The application still works under its own role: it reads and writes what the revisions made.
async fn application_works(target: &TestTarget) {
    let [owner, _, reader, writer] = roles(target);
    let mut session = target.session().await;
    session.sql(&format!("SET ROLE {writer}")).await;
    session.sql("INSERT INTO general.state (key) VALUES ('mine')").await;
    assert_eq!(session.rows("SELECT key FROM general.state").await, [["mine"]]);
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'general'";
    assert_eq!(target.column(owners).await, [owner]);
    let reads = format!("SELECT has_table_privilege('{reader}', 'general.state', 'SELECT')");
    assert!(!target.holds(&reads).await, "it had no such right by default");
}

#[tokio::test]
async fn properties_of_the_schemas_come_along() {
    let target = TestTarget::migrated().await;
    furnish(&target).await;
    target.let_act_as(&roles(&target).each_ref().map(String::as_str)).await;
    let daemon = Setup::of(&target).start().await;
    let before = target.rows(PROPERTIES).await;
    let of_public = before.iter().filter(|row| row[1] == "public");
    assert_eq!(of_public.filter(|row| row[0] == "grant").count(), 6, "{before:#?}");
    assert!(before.iter().filter(|row| row[0] == "default").count() > 6, "{before:#?}");

    let dry = daemon.ctl("run --scope database --dry-run").await;
    let shown = dry.expect(0).at("/plan/schema_properties").to_string();
    for role in roles(&target) {
        assert!(shown.contains(&role), "{role}\n{dry}");
    }
    assert!(!dry.at("/plan/outside").to_string().contains("default acl"), "it comes back\n{dry}");

    for verb in [RUN, RESET, RUN] {
        let out = daemon.ctl(verb).await;
        out.expect(0);
        assert_eq!(before, target.rows(PROPERTIES).await, "after {verb}");
        assert_eq!(out.at("/findings"), &json!([]), "{out}");
        if verb == RUN {
            application_works(&target).await;
        }
    }
    daemon.ctl("undo --confirm-destructive-reset RESET").await.expect(0);
    assert_eq!(before, target.rows(PROPERTIES).await, "after undo");
    // What was reset and is migrated later is as complete.
    daemon.ctl("migrate").await.expect(0);
    application_works(&target).await;
}

#[tokio::test]
async fn a_role_without_superuser_brings_the_properties_along() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    furnish(&target).await;
    let owned = target.major().await >= 15;
    let [owner, grantor, reader, writer] = roles(&target);
    let daemon = Setup::of(&target).start().await;
    let before = (target.rows(PROPERTIES).await, target.state().await, oid(&target).await);

    // Whom it cannot act as is told before anything is built.
    let out = daemon.ctl(RUN).await;
    out.refused("PREFLIGHT_FAILED");
    let hints: Vec<&str> = out.list("/plan/findings").iter().filter_map(|f| f["hint"].as_str()).collect();
    for role in [&owner, &grantor, &reader, &writer] {
        let grant = format!("GRANT \"{role}\" TO \"{}\"", target.role);
        assert!(hints.iter().any(|hint| hint.contains(&grant)), "{grant}\n{out}");
    }
    assert_eq!(before.1, target.state().await);
    assert_eq!(generated(&target, "new").await, [""; 0]);
    let codes: Vec<&Value> = out.list("/plan/findings").iter().map(|f| &f["code"]).collect();
    assert_eq!(codes.contains(&&json!("PUBLIC_NOT_OWNED")), !owned, "{out}");

    target.sql(&format!("GRANT {owner}, {grantor}, {reader}, {writer} TO {}", target.role)).await;
    let mut before = before;
    if !owned {
        // Then only `public` is in the way, as a superuser's in a new database.
        daemon.ctl(RUN).await.refused("PREFLIGHT_FAILED");
        let renewed =
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC;
             COMMENT ON SCHEMA public IS 'standard public schema'";
        target.sql(renewed).await;
        before.0 = target.rows(PROPERTIES).await;
    }
    for verb in [RUN, RESET, RUN] {
        let out = daemon.ctl(verb).await;
        out.expect(0);
        assert_eq!(before.0, target.rows(PROPERTIES).await, "after {verb}");
        assert_eq!(out.at("/findings"), &json!([]), "{out}");
    }
    application_works(&target).await;
    assert_ne!(before.2, oid(&target).await);
}

#[tokio::test]
async fn a_public_schema_that_is_not_there_stays_away() {
    let target = TestTarget::migrated().await;
    target.sql("DROP SCHEMA public").await;
    let daemon = Setup::of(&target).start().await;
    let before = target.rows(PROPERTIES).await;
    for verb in [RUN, RESET] {
        daemon.ctl(verb).await.expect(0);
        assert_eq!(before, target.rows(PROPERTIES).await, "after {verb}");
    }
}

/// What revisions do to the database is intended, and told by object and by revision.
#[tokio::test]
async fn what_revisions_make_of_the_database_is_kept_and_told() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    let d = target.database.clone();
    target
        .sql(&format!(
            "CREATE ROLE app_{d}; CREATE ROLE old_{d}; GRANT CONNECT ON DATABASE {d} TO old_{d};
             ALTER DATABASE {d} SET statement_timeout = '61s'; ALTER DATABASE {d} SET work_mem = '7MB'"
        ))
        .await;
    target.let_act_as(&[&format!("app_{d}")]).await;
    let each = "SELECT CASE WHEN current_schema() = 'general' THEN";
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        &format!(
            "DO $$ BEGIN IF current_schema() = 'general' THEN
               EXECUTE format('GRANT CONNECT, TEMP ON DATABASE %I TO app_{d}', current_database());
               EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
               EXECUTE format('ALTER DATABASE %I SET search_path = general, public', current_database());
             END IF; END $$;"
        ),
    );
    chains.revision(
        "core/core_003.sql",
        "core_003",
        "core_002",
        &format!(
            "DO $$ BEGIN IF current_schema() = 'health' THEN
               EXECUTE format('COMMENT ON DATABASE %I IS ''made by health''', current_database());
               -- Each role sets its own.
               SET LOCAL ROLE app_{d};
               EXECUTE format('ALTER ROLE app_{d} IN DATABASE %I SET work_mem = ''9MB''', current_database());
               RESET ROLE;
               EXECUTE format('ALTER DATABASE %I RESET work_mem', current_database());
             END IF; END $$;
             {each} 1 END;"
        ),
    );
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    let told = |code: &str| -> Vec<String> {
        let of_code = out.list("/findings").iter().filter(|f| f["code"] == code);
        of_code.map(|f| format!("{} {}", f["object"], f["message"])).collect()
    };
    let told = told("DATABASE_CHANGED").join("\n");
    for (what, by) in [
        (format!("+ grant CONNECT to app_{d}"), "core_002"),
        (format!("+ grant TEMPORARY to app_{d}"), "core_002"),
        ("- grant CONNECT to PUBLIC".to_owned(), "core_002"),
        ("+ setting search_path=general, public".to_owned(), "core_002"),
        ("+ comment made by health".to_owned(), "core_003"),
        (format!("+ setting of app_{d} work_mem=9MB"), "core_003"),
        ("- setting work_mem=7MB".to_owned(), "core_003"),
    ] {
        let line = told.lines().find(|line| line.contains(&what));
        assert!(line.is_some_and(|line| line.contains(by)), "{what} by {by}\n{told}\n{out}");
    }
    assert_eq!(told.lines().count(), 7, "{told}");
    let acl = format!(
        "SELECT has_database_privilege('app_{d}', '{d}', 'CONNECT'), has_database_privilege('old_{d}', '{d}', 'CONNECT')"
    );
    assert_eq!(target.rows(&acl).await, [["t", "t"]]);
    let public = format!("SELECT has_database_privilege('public', '{d}', 'CONNECT')");
    assert_eq!(target.value(&public).await, "f", "PUBLIC may not connect any more");
    let settings = format!(
        "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
          WHERE d.datname = '{d}' ORDER BY 1"
    );
    assert_eq!(
        target.column(&settings).await,
        ["search_path=general, public", "statement_timeout=61s", "work_mem=9MB"]
    );
    // The second time they are there already, and nothing is to be told.
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    let again: Vec<&Value> =
        out.list("/findings").iter().filter(|f| f["code"] == "DATABASE_CHANGED").collect();
    assert_eq!(again.len(), 0, "{out}");
}

/// In order unless somebody wants it otherwise: the shared catalogs take no two writers at once.
#[tokio::test]
async fn schemas_are_replayed_one_after_the_other() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "DO $$ BEGIN
           EXECUTE format('GRANT CONNECT ON DATABASE %I TO pg_monitor', current_database());
           EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), current_schema());
           PERFORM pg_sleep(CASE current_schema() WHEN 'general' THEN 0.8 WHEN 'health' THEN 0.4 ELSE 0.1 END);
         END $$;",
    );
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    let applied: Vec<String> = out
        .list("/revisions")
        .iter()
        .map(|r| format!("{}.{}", r["schema"].as_str().unwrap(), r["revision"].as_str().unwrap()))
        .collect();
    let matrix = model::matrix::Matrix::builtin_default();
    let of_chain = |n: usize| matrix.chains[n].schemas.iter();
    let core = of_chain(0).flat_map(|s| [format!("{s}.core_001"), format!("{s}.core_002")]);
    let expected: Vec<String> = core.chain(of_chain(1).map(|s| format!("{s}.mem_001"))).collect();
    assert_eq!(applied, expected, "{out}");
}

/// Whoever changes the old database while the new one is built is not forgotten: nothing is swapped.
#[tokio::test]
async fn what_changes_in_the_old_database_during_the_build_is_not_lost() {
    let target = TestTarget::migrated().await;
    let d = target.database.clone();
    target.sql(&format!("CREATE ROLE app_{d}; CREATE SCHEMA theirs")).await;
    let daemon = Setup::of(&target).start().await;
    for (change, named) in [
        (format!("GRANT CREATE ON DATABASE {d} TO app_{d}"), format!("grant CREATE to app_{d}")),
        (format!("ALTER DATABASE {d} SET work_mem = '7MB'"), "setting work_mem=7MB".to_owned()),
        (format!("GRANT USAGE ON SCHEMA general TO app_{d}"), format!("grant USAGE to app_{d}")),
        (
            format!("ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT SELECT ON TABLES TO app_{d}", target.role),
            format!("SELECT on tables to app_{d}"),
        ),
        ("CREATE SCHEMA newer".to_owned(), "schema newer".to_owned()),
    ] {
        let gate = Gate::before(&target, "DATABASE_BUILT").await;
        let running = daemon.ctl_spawn(RUN);
        reached(&target).await;
        target.sql(&change).await;
        let before = (target.state().await, oid(&target).await);
        gate.open().await;
        target.control_sql("DROP TRIGGER gate ON resetd.event; DROP FUNCTION public.gate()").await;
        let out = running.finish().await;
        out.refused("PLAN_CHANGED");
        assert!(out.text("/error").contains(&named), "{change}\n{out}");
        assert_eq!(before, (target.state().await, oid(&target).await), "{change}");
        assert_eq!(generated(&target, "new").await, [""; 0], "{change}");
        assert_eq!(generated(&target, "kept").await, [""; 0], "{change}");
    }
    daemon.ctl(RUN).await.expect(0);
}

/// A revision that names the live database changes the one that serves: it is not swapped away as if nothing had been.
#[tokio::test]
async fn a_revision_that_reaches_for_the_live_database_ends_the_run() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    let d = target.database.clone();
    // In words that nobody recognises beforehand.
    let comment = format!("'COMMENT ON ' || 'DATABASE {d} IS ''reached'''");
    let reach = format!("DO $$ BEGIN EXECUTE {comment}; END $$");
    chains.revision("core/core_002.sql", "core_002", "core_001", &reach);
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let before = oid(&target).await;
    let out = daemon.ctl(RUN).await;
    out.refused("PLAN_CHANGED");
    assert!(out.text("/error").contains("comment reached"), "{out}");
    assert_eq!(before, oid(&target).await);
    assert_eq!(generated(&target, "new").await, [""; 0]);
}

/// Somebody who found the database that is being built does not stop the swap. From its validation on nobody gets in.
#[tokio::test]
async fn a_stranger_in_the_new_database_is_ended() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with("[profile.local]\nsessions = \"refuse\"\n").start().await;
    let gate = Gate::before(&target, "REVISION_APPLIED").await;
    let running = daemon.ctl_spawn(RUN);
    reached(&target).await;
    let mut built = target.clone();
    built.database = generated(&target, "new").await[0].clone();
    let stranger = built.role_session().await;
    gate.open().await;
    running.finish().await.expect(0);
    let lives = format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {})", stranger.pid);
    assert!(!target.holds(&lives).await);
}
