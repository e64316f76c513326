//! Scope database: built aside, validated, swapped in; what belongs to the database's row comes along, what it held outside
//! the matrix is listed as lost; a failure on the way leaves the old one serving.

use harness::{
    Because, Make, Migrations, Roles, Setup, TestTarget,
    database::{RESET, RUN, generated, oid, schema_properties},
};
use serde_json::{Value, json};

async fn furnish(target: &TestTarget) {
    let d = &target.database;
    target
        .sql(&format!(
            "CREATE ROLE owner_{d}; CREATE ROLE grantor_{d}; CREATE ROLE reader_{d}; CREATE ROLE \"Odd \"\"Role_{d}\" LOGIN;
             ALTER DATABASE {d} OWNER TO owner_{d};
             SET ROLE owner_{d};
             GRANT CONNECT, TEMP ON DATABASE {d} TO grantor_{d} WITH GRANT OPTION;
             REVOKE CONNECT ON DATABASE {d} FROM PUBLIC;
             SET ROLE grantor_{d}; GRANT CONNECT ON DATABASE {d} TO reader_{d} WITH GRANT OPTION;
             SET ROLE reader_{d}; GRANT CONNECT ON DATABASE {d} TO \"Odd \"\"Role_{d}\";
             RESET ROLE;
             ALTER DATABASE {d} SET search_path = \"$user\", public, \"We ird\", \"q\"\"q\", \"a,b\";
             ALTER DATABASE {d} SET statement_timeout = '61s';
             ALTER DATABASE {d} SET application_name = 'it''s, \"here\"';
             ALTER DATABASE {d} SET \"DateStyle\" = 'ISO, DMY';
             ALTER DATABASE {d} SET my.thing = 'a=b,c \"d\" \\ ';
             ALTER ROLE \"Odd \"\"Role_{d}\" IN DATABASE {d} SET search_path = general, \"x,y\";
             ALTER ROLE \"Odd \"\"Role_{d}\" IN DATABASE {d} SET work_mem = '7MB';
             ALTER ROLE reader_{d} IN DATABASE {d} SET temp_tablespaces = '';
             COMMENT ON DATABASE {d} IS 'it''s \"everybody''s\"; $$ \\';
             ALTER DATABASE {d} CONNECTION LIMIT 77;"
        ))
        .await;
}

#[tokio::test]
async fn the_properties_of_the_database_come_along() {
    let target = TestTarget::make(Make::superuser(Because::APropertyIsASuperusers)).await;
    furnish(&target).await;
    let daemon = Setup::of(&target).start().await;
    let before = schema_properties(&target).await;
    assert_eq!(before.1.iter().filter(|row| row[0] == "right").count(), 8, "{before:#?}");
    assert_eq!(before.1.iter().filter(|row| row[0] == "setting").count(), 8, "{before:#?}");
    assert!(before.0.len() > 12, "{before:#?}");
    let mut oids = vec![oid(&target).await];

    for verb in [RUN, RESET, RUN] {
        let out = daemon.ctl(verb).await;
        out.expect(0);
        if oids.len() == 1 {
            let objects = |n: usize| out.at(&format!("/plan/schemas/{n}/objects")).as_u64();
            assert!(objects(0) == Some(0) && objects(1) > Some(10), "shared is empty, general is not\n{out}");
        }
        let now = oid(&target).await;
        assert!(!oids.contains(&now), "{verb} replaces the database\n{out}");
        oids.push(now);
        assert_eq!(before, schema_properties(&target).await, "after {verb}");
        assert_eq!(generated(&target, "new").await, [""; 0], "after {verb}");
    }
    let out = daemon.ctl("undo --confirm-destructive-reset RESET").await;
    out.expect(0);
    assert_eq!(before, schema_properties(&target).await, "after undo");
    assert_eq!(oid(&target).await, oids[2]);
}

#[tokio::test]
async fn encoding_locale_provider_and_tablespace_are_the_old_ones() {
    let target = TestTarget::empty().await;
    let (name, tablespace) = (&target.database, format!("ts_{}", target.database));
    let keeper = TestTarget::empty().await;
    let mut session = keeper.session().await;
    session.sql("SET allow_in_place_tablespaces = on").await;
    session.sql(&format!("CREATE TABLESPACE {tablespace} LOCATION ''")).await;
    if let Some(control) = &target.control_role {
        session.sql(&format!("GRANT CREATE ON TABLESPACE {tablespace} TO {control}, {}", target.role)).await;
    }
    let mut kinds = vec![format!("TABLESPACE {tablespace}")];
    kinds.extend(match target.major().await {
        ..15 => vec!["ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'".to_owned()],
        _ => vec![
            "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc".to_owned(),
            "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'".to_owned(),
        ],
    });
    for kind in kinds {
        session.sql(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
        session.sql(&format!("CREATE DATABASE {name} OWNER {} TEMPLATE template0 {kind}", target.role)).await;
        let daemon = Setup::of(&target).start().await;
        let before = (schema_properties(&target).await, oid(&target).await);
        // In place first: statements are sent in whatever encoding the database has.
        daemon.ctl(harness::commands::RUN).await.expect(0);
        daemon.ctl(RUN).await.expect(0);
        assert_eq!(before.0, schema_properties(&target).await, "{kind}");
        assert_ne!(before.1, oid(&target).await, "{kind}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn reset_alone_swaps_in_an_empty_database() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let out = daemon.ctl(RESET).await;
    out.expect(0);
    let schemas = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1";
    let there = ["general", "health", "messenger", "public", "relationship", "shared", "switchboard"];
    assert_eq!(target.column(schemas).await, there);
    assert_eq!(target.column("SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text = ANY ('{general,health}')").await, [""; 0]);
    assert_eq!(out.at("/details/reset/status"), &json!("reset"), "{out}");
    assert_eq!(out.at("/details/reset/db_exists_before"), &json!(true), "{out}");
    assert_eq!(out.at("/details/reset/db_exists_after"), &json!(true), "{out}");
    assert!(out.at("/timings/unavailable_ms").as_f64().is_some_and(|ms| ms > 0.0), "{out}");
}

#[tokio::test]
async fn a_role_without_superuser_replaces_its_database() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    let d = &target.database;
    target
        .sql(&format!(
            "CREATE ROLE reader_{d}; GRANT CONNECT ON DATABASE {d} TO reader_{d} WITH GRANT OPTION;
             ALTER DATABASE {d} SET search_path = general, public; ALTER ROLE {0} IN DATABASE {d} SET work_mem = '9MB';
             COMMENT ON DATABASE {d} IS 'mine'",
            target.role
        ))
        .await;
    let daemon = Setup::of(&target).start().await;
    let before = schema_properties(&target).await;
    daemon.ctl(RUN).await.expect(0);
    assert_eq!(before, schema_properties(&target).await);
    daemon.ctl("validate").await.expect(0);
    daemon.ctl("undo --confirm-destructive-reset RESET").await.expect(0);
    assert_eq!(before, schema_properties(&target).await);
    assert_eq!(target.value("SELECT count(*) FROM general.state").await, "3");
}

#[tokio::test]
async fn rights_that_are_missing_are_told_with_their_grant_and_nothing_begins() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    let (d, role, major) = (&target.database, &target.role, target.major().await);
    let daemon = Setup::of(&target).start().await;
    target
        .sql(&format!(
            "CREATE ROLE other_{d}; CREATE ROLE reader_{d};
             GRANT CONNECT ON DATABASE {d} TO other_{d} WITH GRANT OPTION;
             SET ROLE other_{d}; GRANT CONNECT ON DATABASE {d} TO reader_{d}; RESET ROLE;
             ALTER ROLE {role} NOCREATEDB;
             ALTER ROLE reader_{d} IN DATABASE {d} SET work_mem = '9MB';
             ALTER DATABASE {d} SET log_min_duration_statement = '5s'; ALTER DATABASE {d} SET my.thing = 'x'"
        ))
        .await;
    let before = (target.state().await, oid(&target).await);

    let out = daemon.ctl(RUN).await;

    out.refused("PREFLIGHT_FAILED");
    let hints: Vec<&str> = out.list("/plan/findings").iter().filter_map(|f| f["hint"].as_str()).collect();
    let settings = ["log_min_duration_statement", "my.thing"].map(|name| match major {
        ..15 => format!("ALTER DATABASE \"{d}\" RESET {name}"),
        _ => format!("GRANT SET ON PARAMETER {name} TO \"{role}\""),
    });
    for grant in [
        format!("ALTER ROLE \"{role}\" CREATEDB"),
        format!("GRANT \"other_{d}\" TO \"{role}\""),
        format!("ALTER ROLE \"{role}\" CREATEROLE"),
        settings[0].clone(),
        settings[1].clone(),
    ] {
        assert!(hints.iter().any(|hint| hint.contains(&grant)), "{grant}\n{out}");
    }
    let dry = daemon.ctl("run --scope database --dry-run").await;
    dry.expect(0);
    assert_eq!(dry.at("/plan/refusal/reason"), &json!("PREFLIGHT_FAILED"), "{dry}");
    assert_eq!(before, (target.state().await, oid(&target).await));
    assert_eq!(generated(&target, "new").await, [""; 0]);

    // What was said to be done is enough. From version 16 on, CREATEROLE alone does not reach the roles of others.
    let admin = format!("GRANT \"reader_{d}\" TO \"{role}\" WITH ADMIN OPTION");
    assert_eq!(hints.iter().any(|hint| hint.contains(&admin)), major >= 16, "{out}");
    let of_16 = if major >= 16 { &admin } else { "SELECT 1" };
    target
        .sql(&format!(
            "ALTER ROLE {role} CREATEDB CREATEROLE; GRANT other_{d} TO {role}; {of_16}; {}",
            settings.join("; ")
        ))
        .await;
    let before = schema_properties(&target).await;
    daemon.ctl(RUN).await.expect(0);
    assert_eq!(before, schema_properties(&target).await);
}

/// Every place where a build can fail.
#[tokio::test]
async fn a_failed_build_leaves_the_old_database_serving() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let before = (target.state().await, oid(&target).await);
    let broken = "CREATE TABLE more (n int); SELECT 1 / (SELECT count(*) FROM more)";
    let none = "-- revision: core_002\n-- revises: core_001\n-- summary: x\n-- transaction: none\n\
                CREATE INDEX CONCURRENTLY nice ON state (version);\nCREATE INDEX CONCURRENTLY bad ON nowhere (x);\n";
    type Break = fn(&Migrations, &str, &str);
    let breaks: [(&str, Break); 6] = [
        ("REVISION_FAILED", |m, sql, _| {
            m.write(
                "core/core_001.sql",
                &format!("-- revision: core_001\n-- revises: none\n-- summary: x\n{sql}\n"),
            );
        }),
        ("REVISION_FAILED", |m, sql, _| {
            m.revision("core/core_002.sql", "core_002", "core_001", sql);
        }),
        ("REVISION_FAILED", |m, sql, _| {
            m.revision("memory/mem_002.sql", "mem_002", "mem_001", sql);
        }),
        ("REVISION_FAILED", |m, sql, _| {
            let only = format!("DO $$ BEGIN IF current_schema() = 'relationship' THEN {sql}; END IF; END $$");
            m.revision(
                "memory/mem_002.sql",
                "mem_002",
                "mem_001",
                &only.replace("SELECT 1 / (SELECT count(*) FROM more)", "PERFORM 1 / 0"),
            );
        }),
        ("REVISION_FAILED", |m, _, none| {
            m.write("core/core_002.sql", none);
        }),
        ("VALIDATION_DIFFERENCES", |m, _, _| {
            m.revision("memory/mem_002.sql", "mem_002", "mem_001", "DROP TABLE memory_links");
        }),
    ];
    for (n, (reason, make)) in breaks.iter().enumerate() {
        chains.restore();
        make(&chains, broken, none);
        let out = daemon.ctl(RUN).await;
        out.refused(reason);
        assert_eq!(generated(&target, "new").await, [""; 0], "break {n}");
        assert_eq!(generated(&target, "kept").await, [""; 0], "break {n}");
        assert_eq!(before.1, oid(&target).await, "break {n}");
        assert_eq!(before.0, target.state().await, "break {n}");
    }
    chains.restore();
    daemon.ctl(RUN).await.expect(0);
}

#[tokio::test]
async fn what_no_transaction_can_hold_works_here() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    chains
        .revision("core/core_002.sql", "core_002", "core_001", "CREATE TYPE mood AS ENUM ('calm'); CREATE TABLE moods (n int, mood mood)")
        .revision("core/core_003.sql", "core_003", "core_002", "ALTER TYPE mood ADD VALUE 'wild'")
        .revision("core/core_004.sql", "core_004", "core_003", "INSERT INTO moods SELECT n, 'wild' FROM generate_series(1, 500) n;
             -- Others build their indexes meanwhile, and wait for this statement's snapshot.
             DO $$ BEGIN IF current_schema() = 'switchboard' THEN PERFORM pg_sleep(2); END IF; END $$")
        .write(
            "core/core_005.sql",
            "-- revision: core_005\n-- revises: core_004\n-- summary: x\n-- transaction: none\n\
             CREATE INDEX CONCURRENTLY moods_n ON moods (n);\nCREATE INDEX CONCURRENTLY moods_wild ON moods (n) WHERE mood = 'wild';\n\
             CREATE UNIQUE INDEX CONCURRENTLY moods_expression ON moods ((n + 1));\n",
        )
        .revision("core/core_006.sql", "core_006", "core_005", "ALTER TABLE moods ADD CHECK (n > 0)");
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    daemon.ctl("run --confirm-destructive-reset RESET").await.refused("NOT_TRANSACTIONAL");
    for jobs in [1, 5] {
        let out = daemon.ctl(&format!("{RUN} --jobs {jobs}")).await;
        out.expect(0);
        assert_eq!(out.list("/revisions").len(), 5 * 6 + 4, "{out}");
    }
    let count = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relname = 'moods' AND i.indisvalid";
    assert_eq!(target.value(count).await, "15");
    assert_eq!(target.value("SELECT count(*) FROM general.moods WHERE mood = 'wild'").await, "500");
    daemon.ctl("validate").await.expect(0);
}

fn outside(plan: &Value) -> Vec<String> {
    let text = |o: &Value, key: &str| o[key].as_str().unwrap_or_default().to_owned();
    let list = plan["outside"].as_array().unwrap();
    list.iter().map(|o| format!("{}: {}", text(o, "kind"), text(o, "identity"))).collect()
}

#[tokio::test]
async fn what_is_lost_with_the_database_is_listed_and_approved_by_digest() {
    let target = TestTarget::make(Make::superuser(Because::APropertyIsASuperusers)).await;
    target
        .sql(
            "CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext VERSION '1.4'; CREATE EXTENSION citext VERSION '1.5';
             CREATE SCHEMA \"Other one\"; CREATE TABLE \"Other one\".t AS SELECT n FROM generate_series(1, 2000) n;
             CREATE PUBLICATION news FOR TABLE general.state;
             CREATE FUNCTION public.heed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
             CREATE EVENT TRIGGER heeds ON ddl_command_start EXECUTE FUNCTION public.heed();
             ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        )
        .await;
    let daemon = Setup::of(&target).start().await;
    let before = (target.state().await, oid(&target).await);

    let dry = daemon.ctl("run --scope database --dry-run").await;
    dry.expect(0);
    assert_eq!(before, (target.state().await, oid(&target).await), "a dry run leaves everything");
    assert_eq!(generated(&target, "new").await, [""; 0]);
    assert_eq!(
        outside(dry.at("/plan")),
        [
            "event trigger: heeds",
            "extension: citext 1.5 in schema public",
            "extension: hstore 1.4 in schema ext",
            "publication: news",
            "schema: \"Other one\"",
            "schema: ext",
            "schema: public",
        ]
    );
    let findings = dry.list("/plan/findings");
    let told = findings.iter().find(|f| f["object"] == "schema \"Other one\"").unwrap();
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("1 tables, views and sequences, ") && message.ends_with(" kB"), "{told}");

    // Rows are no identity; a further schema is one.
    target.sql("INSERT INTO \"Other one\".t SELECT 1 FROM generate_series(1, 50000)").await;
    let digest = dry.text("/plan/digest").to_owned();
    let again = daemon.ctl("run --scope database --dry-run").await;
    assert_eq!(again.text("/plan/digest"), digest, "{again}");
    target.sql("CREATE SCHEMA further").await;
    let before = (target.state().await, oid(&target).await);
    daemon.ctl(&format!("{RUN} --plan-digest {digest}")).await.refused("PLAN_CHANGED");
    assert_eq!(before, (target.state().await, oid(&target).await));
    target.sql("DROP SCHEMA further").await;
    daemon.ctl(&format!("{RUN} --plan-digest {digest}")).await.expect(0);
    assert_ne!(before.1, oid(&target).await);
}

#[tokio::test]
async fn named_extensions_come_back_where_they_stood() {
    let target = TestTarget::make(Make::superuser(Because::AnExtensionIsNotTrusted)).await;
    let d = &target.database;
    target
        .sql(&format!(
            "CREATE ROLE reader_{d}; CREATE SCHEMA \"Ext 1\" AUTHORIZATION reader_{d};
             GRANT USAGE ON SCHEMA \"Ext 1\" TO PUBLIC; COMMENT ON SCHEMA \"Ext 1\" IS 'theirs';
             CREATE EXTENSION hstore SCHEMA \"Ext 1\" VERSION '1.4'; CREATE EXTENSION citext; CREATE EXTENSION cube; CREATE EXTENSION earthdistance"
        ))
        .await;
    let section =
        "[profile.local]\npreserve_extensions = [\"earthdistance\", \"hstore\", \"cube\", \"unaccent\"]\n";
    let daemon = Setup::of(&target).with(section).start().await;
    let there = "SELECT e.extname, e.extversion, n.nspname, pg_get_userbyid(n.nspowner), n.nspacl::text, obj_description(n.oid, 'pg_namespace')
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname NOT IN ('citext', 'plpgsql') ORDER BY 1";
    let before = target.rows(there).await;
    assert_eq!(before.len(), 3);
    for verb in [RUN, RESET] {
        let out = daemon.ctl(verb).await;
        out.expect(0);
        let lost = outside(out.at("/plan"));
        assert_eq!(lost.iter().any(|o| o.contains("citext")), verb == RUN, "{out}");
        assert!(!lost.iter().any(|o| o.contains("hstore")), "{out}");
        assert_eq!(before, target.rows(there).await, "after {verb}");
        assert_eq!(target.value("SELECT count(*) FROM pg_extension").await, "4", "after {verb}");
    }

    target.sql("CREATE EXTENSION unaccent SCHEMA general").await;
    let before = target.state().await;
    let out = daemon.ctl(RUN).await;
    out.refused("PREFLIGHT_FAILED");
    assert!(out.text("/error").contains("unaccent"), "{out}");
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn a_missing_database_is_created() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    target.control_sql(&format!("DROP DATABASE {} WITH (FORCE)", target.database)).await;
    let dry = daemon.ctl("run --scope database --dry-run").await;
    dry.expect(0);
    assert_eq!(oid(&target).await, "");
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    assert_eq!(out.at("/details/reset/db_exists_before"), &json!(false), "{out}");
    assert_eq!(out.at("/details/reset/kept_as"), &Value::Null, "{out}");
    daemon.ctl("validate").await.expect(0);
    let open =
        "SELECT EXISTS (SELECT FROM pg_database d, aclexplode(coalesce(datacl, acldefault('d', datdba))) a
        WHERE d.datname = current_database() AND a.grantee = 0 AND a.privilege_type = 'CONNECT')";
    assert!(target.holds(open).await, "a new database lets everybody connect, as CREATE DATABASE does");
    daemon.ctl("undo --confirm-destructive-reset RESET").await.refused("NOTHING_TO_UNDO");
}

#[tokio::test]
async fn names_of_every_kind() {
    let server =
        TestTarget::make(Make { roles: Roles::Superuser(Because::ItHasOneRole), ..Make::default() }).await;
    let long = "n".repeat(63);
    for (n, name) in ["Größe \"quoted\" it's 100%/?#&", &long, "resetd_new_one"].into_iter().enumerate() {
        let mut target = server.clone();
        target.name = format!("odd_{n}");
        target.control = format!("{}_odd_{n}", server.control);
        target.database = name.to_owned();
        let mut session = server.session().await;
        session.sql(&format!("CREATE DATABASE \"{}\" TEMPLATE template0", name.replace('"', "\"\""))).await;
        let encoded: String = name.bytes().map(|b| format!("%{b:02X}")).collect();
        let config = format!(
            "[control]\ndatabase = \"{}\"\n[target.{}]\ndatabase_url_env = \"ODD\"\n",
            target.control, target.name
        );
        let daemon =
            Setup::of(&server).config(&config).env("ODD", &server.postgres.url(&encoded)).start().await;
        session.sql(&format!("COMMENT ON DATABASE \"{}\" IS 'here'", name.replace('"', "\"\""))).await;
        let before = oid(&target).await;
        assert!(!before.is_empty());
        let out = daemon.ctl(RUN).await;
        out.expect(0);
        assert_eq!(out.text("/target_db"), name, "{out}");
        let after = oid(&target).await;
        assert_ne!(before, after, "{name}");
        let comment = format!("SELECT shobj_description({after}, 'pg_database')");
        assert_eq!(server.value(&comment).await, "here");
        daemon.ctl("validate").await.expect(0);
        daemon.ctl("undo --confirm-destructive-reset RESET").await.expect(0);
        assert_eq!(before, oid(&target).await, "{name}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn two_targets_at_once() {
    let (one, mut two) = (TestTarget::migrated().await, TestTarget::migrated().await);
    two.control = one.control.clone();
    let daemon = Setup::of(&one).and(&two).start().await;
    let before = (oid(&one).await, oid(&two).await);
    let (first, second) = (format!("--target {} {RUN}", one.name), format!("--target {} {RUN}", two.name));
    for _ in 0..3 {
        let (first, second) = tokio::join!(daemon.ctl(&first), daemon.ctl(&second));
        first.expect(0);
        second.expect(0);
    }
    assert_ne!(before.0, oid(&one).await);
    let names = one.control_rows("SELECT count(DISTINCT database), count(*) FROM resetd.kept_database").await;
    assert_eq!(names, [["2", "6"]]);
    assert_eq!(generated(&one, "new").await, [""; 0]);
}
