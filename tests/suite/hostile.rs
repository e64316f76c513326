//! A resetter with `--chains` whose chains attack the daemon, its control database and the server. The target's role is the
//! boundary: what each attack comes to stands in the table of docs/security.md, row by row.

use harness::{Because, Make, Migrations, Setup, TestTarget, commands::RUN};

/// An attack from inside a DO block, where no parser looks; and what PostgreSQL says to it: an SQLSTATE, `00000` where it is
/// let through and reaches nothing but the target.
struct Attack {
    name: &'static str,
    sql: &'static str,
    says: &'static [&'static str],
}

const DENIED: &[&str] = &["42501"];
const LET: &[&str] = &["00000"];

/// `{control}` and `{role}` are the roles, `{db}` the control database, `{host}` and `{port}` the server's.
const ATTACKS: &[Attack] = &[
    Attack { name: "RESET ROLE", sql: "RESET ROLE", says: LET },
    Attack { name: "SET ROLE", sql: "SET ROLE {control}", says: DENIED },
    Attack { name: "SET SESSION AUTHORIZATION", sql: "SET SESSION AUTHORIZATION {control}", says: DENIED },
    Attack { name: "COPY … PROGRAM", sql: "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null'", says: DENIED },
    Attack {
        name: "COPY … FROM a file",
        sql: "CREATE TEMP TABLE f (l text); COPY f FROM '/etc/passwd'",
        says: DENIED,
    },
    Attack { name: "pg_read_file", sql: "PERFORM pg_read_file('/etc/passwd')", says: DENIED },
    Attack { name: "pg_ls_dir", sql: "PERFORM pg_ls_dir('.')", says: DENIED },
    Attack { name: "lo_import", sql: "PERFORM lo_import('/etc/passwd')", says: DENIED },
    Attack { name: "pg_authid", sql: "PERFORM rolpassword FROM pg_authid", says: DENIED },
    Attack {
        name: "pg_terminate_backend on the lock session",
        sql: "PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{control}'",
        says: DENIED,
    },
    Attack {
        name: "pg_cancel_backend on the lock session",
        sql: "PERFORM pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = '{control}'",
        says: DENIED,
    },
    Attack {
        name: "ALTER ROLE of the control role",
        sql: "ALTER ROLE {control} PASSWORD 'mine'",
        says: DENIED,
    },
    Attack { name: "ALTER ROLE … SUPERUSER", sql: "ALTER ROLE {role} SUPERUSER", says: DENIED },
    Attack { name: "ALTER ROLE … CREATEDB", sql: "ALTER ROLE {role} CREATEDB CREATEROLE", says: DENIED },
    Attack { name: "CREATE ROLE", sql: "CREATE ROLE intruder_{role} LOGIN", says: DENIED },
    Attack { name: "GRANT of the control role", sql: "GRANT {control} TO {role}", says: DENIED },
    Attack {
        name: "GRANT of a predefined role",
        sql: "GRANT pg_execute_server_program TO {role}",
        says: DENIED,
    },
    Attack {
        name: "event triggers",
        sql: "CREATE FUNCTION general.evt() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
              CREATE EVENT TRIGGER evt_{role} ON ddl_command_end EXECUTE FUNCTION general.evt()",
        says: DENIED,
    },
    Attack {
        name: "functions in C",
        sql: "CREATE FUNCTION general.c() RETURNS int LANGUAGE c AS 'libc.so.6', 'system'",
        says: DENIED,
    },
    Attack { name: "untrusted extensions", sql: "CREATE EXTENSION file_fdw", says: DENIED },
    Attack { name: "session_replication_role", sql: "SET session_replication_role = replica", says: DENIED },
    Attack { name: "pg_reload_conf", sql: "PERFORM pg_reload_conf()", says: DENIED },
    Attack {
        name: "CREATE SUBSCRIPTION",
        sql: "CREATE SUBSCRIPTION s_{role} CONNECTION 'dbname={db}' PUBLICATION p WITH (connect = false)",
        says: DENIED,
    },
    Attack { name: "DROP OWNED BY the control role", sql: "DROP OWNED BY {control}", says: DENIED },
    Attack {
        name: "ALTER DATABASE of the control database",
        sql: "ALTER DATABASE {db} SET search_path = x",
        says: DENIED,
    },
    Attack {
        name: "dblink without a password",
        sql: "PERFORM dblink_connect('host={host} port={port} dbname={db} user={control}')",
        says: &["2F003"],
    },
    Attack {
        name: "dblink to the control database",
        sql: "PERFORM dblink_connect('host=127.0.0.1 port={port} dbname={db} user={role} password=restricted-secret')",
        says: &["08001"],
    },
    Attack { name: "advisory locks", sql: "PERFORM pg_advisory_unlock_all()", says: LET },
];

/// Everything of the cluster that a chain must not change.
const CLUSTER: &str = "
    SELECT 'role', rolname::text, concat_ws(' ', rolsuper, rolcreatedb, rolcreaterole, rolcanlogin, rolpassword)
      FROM pg_authid WHERE rolname IN ('{control}', '{role}')
    UNION ALL SELECT 'member', roleid::regrole::text, member::regrole::text FROM pg_auth_members
      WHERE '{control}' IN (roleid::regrole::text, member::regrole::text) OR '{role}' IN (roleid::regrole::text, member::regrole::text)
    UNION ALL SELECT 'event trigger', evtname::text, '' FROM pg_event_trigger
    UNION ALL SELECT 'database', datname::text, concat_ws(' ', datdba::regrole, datacl::text, datallowconn)
      FROM pg_database WHERE datname = '{db}'
    UNION ALL SELECT 'setting', setrole::regrole::text, setconfig::text FROM pg_db_role_setting s
      WHERE setrole::regrole::text IN ('{control}', '{role}') OR setdatabase = (SELECT oid FROM pg_database WHERE datname = '{db}')
    ORDER BY 1, 2, 3";

fn filled(target: &TestTarget, sql: &str) -> String {
    sql.replace("{control}", target.control_role.as_deref().unwrap_or("postgres"))
        .replace("{role}", &target.role)
        .replace("{db}", &target.control)
        .replace("{host}", &target.postgres.socket_dir)
        .replace("{port}", &target.postgres.port.to_string())
}

/// Runs every attack in a block of its own, and writes down what came of it. What is let through is taken back by nobody.
fn all(target: &TestTarget, attacks: &[&Attack]) -> String {
    let mut sql = "CREATE TABLE said (name text, says text, message text);\n".to_owned();
    for Attack { name, sql: attack, .. } in attacks {
        let attack = filled(target, attack);
        sql.push_str(&format!(
            "DO $attack$ BEGIN {attack}; INSERT INTO said VALUES ('{name}', '00000', session_user || ' ' || current_user);
             EXCEPTION WHEN OTHERS THEN INSERT INTO said VALUES ('{name}', SQLSTATE, SQLERRM); END $attack$;\n"
        ));
    }
    sql
}

/// The rows of docs/security.md's table about chains: attack and outcome.
fn told() -> Vec<(String, String)> {
    let page = include_str!("../../docs/security.md");
    let table = page.split_once("| what a chain tries |").expect("docs/security.md has the table").1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', ""));
        (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
    })
    .collect()
}

#[tokio::test]
async fn a_hostile_chain_reaches_its_own_target_and_nothing_else() {
    let target = TestTarget::make(Make::least()).await;
    // Somebody gave the target what makes it worse.
    target.sql("CREATE EXTENSION dblink SCHEMA public").await;
    let daemon = Setup::of(&target).with("[profile.local]\nclient_chains = true\n").start().await;
    let cluster = filled(&target, CLUSTER);
    let before = target.rows(&cluster).await;
    let attacks: Vec<&Attack> = ATTACKS.iter().collect();
    let chains = Migrations::shipped();
    chains.revision("core/core_002.sql", "core_002", "core_001", &all(&target, &attacks));

    // The operation goes on to its end: nobody took its lock, nor its sessions.
    let out = daemon.ctl(&format!("{RUN} --chains {}", chains.path().display())).await;
    out.expect(0);
    let page = told();
    for Attack { name, says, .. } in ATTACKS {
        let rows =
            target.rows(&format!("SELECT says, message FROM general.said WHERE name = '{name}'")).await;
        let [said, message] = &rows[0][..] else { panic!("{rows:?}") };
        assert!(says.contains(&said.as_str()), "{name}: {said} {message}");
        let written = page.iter().find(|(attack, _)| attack == name);
        let (_, outcome) = written.unwrap_or_else(|| panic!("{name} is no row of docs/security.md"));
        let expected = if *says == LET { "let through" } else { "denied" };
        assert!(outcome.starts_with(expected), "{name}: {outcome}");
        if *says == LET {
            assert_eq!(*message, format!("{0} {0}", target.role), "{name}");
        }
    }
    assert_eq!(target.rows(&cluster).await, before);
    daemon.ctl("validate").await;
    daemon.ctl(RUN).await.expect(0);
    daemon.stop().await;
}

/// The same means more where the daemon's role is a superuser: what the boundary is worth.
#[tokio::test]
async fn the_same_chain_as_a_superuser_owns_the_server() {
    let target = TestTarget::make(Make::superuser(Because::ItIsAboutSuperusers)).await;
    let daemon = Setup::of(&target).start().await;
    let harmless = ["pg_read_file", "COPY … PROGRAM", "pg_authid", "pg_ls_dir"];
    let attacks: Vec<&Attack> = ATTACKS.iter().filter(|a| harmless.contains(&a.name)).collect();
    let chains = Migrations::shipped();
    chains.revision("core/core_002.sql", "core_002", "core_001", &all(&target, &attacks));
    daemon.ctl(&format!("{RUN} --chains {}", chains.path().display())).await.expect(0);
    let said = target.column("SELECT DISTINCT says FROM general.said").await;
    assert_eq!(said, ["00000"]);
    daemon.stop().await;
}

/// What a chain leaves behind fires later, in operations of others: still as the target's role.
#[tokio::test]
async fn what_fires_later_is_still_the_targets_role() {
    let target = TestTarget::make(Make::least()).await;
    let daemon = Setup::of(&target).with("[profile.local]\nclient_chains = true\n").start().await;
    let control = target.control_role.clone().unwrap();
    let planted = format!(
        "CREATE TABLE spied (place text, login text, acts text, says text);
         CREATE FUNCTION spy(place text) RETURNS int LANGUAGE plpgsql SET search_path FROM CURRENT AS $spy$
         DECLARE says text := 'became the control role'; BEGIN
           BEGIN EXECUTE 'SET ROLE {control}'; RESET ROLE; EXCEPTION WHEN OTHERS THEN says := SQLSTATE; END;
           INSERT INTO spied VALUES (place, session_user, current_user, says); RETURN 1; END $spy$;
         CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $spy$
         BEGIN PERFORM spy(TG_WHEN || ' ' || TG_LEVEL); RETURN NEW; END $spy$;
         ALTER TABLE state ADD COLUMN planted int DEFAULT spy('default');
         CREATE INDEX planted ON state (length(key));
         CREATE TRIGGER row_trigger AFTER INSERT ON state FOR EACH ROW EXECUTE FUNCTION spy();
         CREATE TRIGGER statement_trigger BEFORE INSERT ON state EXECUTE FUNCTION spy();"
    );
    let chains = Migrations::shipped();
    chains.revision("core/core_002.sql", "core_002", "core_001", &planted);
    daemon.ctl(&format!("{RUN} --chains {}", chains.path().display())).await.expect(0);
    let next = "INSERT INTO state (key, value) VALUES ('later', '{}');";
    chains.revision("core/core_003.sql", "core_003", "core_002", next);
    daemon.ctl(&format!("migrate --chains {}", chains.path().display())).await.expect(0);
    let spied = "SELECT place, login, acts, says FROM general.spied ORDER BY 1";
    let as_itself = |place: &str| [place, &target.role, &target.role, "42501"].map(str::to_owned).to_vec();
    let expected = ["AFTER ROW", "BEFORE STATEMENT", "default"].map(as_itself);
    assert_eq!(target.rows(spied).await, expected);
    daemon.ctl(RUN).await.expect(0);
    daemon.stop().await;
}

/// Statements that no transaction can hold, at the top of a revision: refused before anything begins, or denied.
#[tokio::test]
async fn what_only_stands_alone_is_refused_or_denied() {
    let target = TestTarget::make(Make::least()).await;
    let daemon = Setup::of(&target).with("[profile.local]\nclient_chains = true\n").start().await;
    let before = target.state().await;
    let page = told();
    for (name, sql) in [
        ("ALTER SYSTEM", "ALTER SYSTEM SET work_mem = '5MB'"),
        ("CREATE DATABASE", "CREATE DATABASE intruder_{role}"),
        ("DROP DATABASE of the control database", "DROP DATABASE {db}"),
    ] {
        let chains = Migrations::shipped();
        chains.write(
            "core/core_002.sql",
            &format!(
                "-- revision: core_002\n-- revises: core_001\n-- summary: x\n-- transaction: none\n{};\n",
                filled(&target, sql)
            ),
        );
        let folder = chains.path().display();
        for line in [RUN, "migrate", "migrate --allow-phased", harness::database::RUN] {
            let out = daemon.ctl(&format!("{line} --chains {folder}")).await;
            assert_ne!(out.code, 0, "{name}: {out}");
        }
        let (_, outcome) =
            page.iter().find(|(attack, _)| attack == name).unwrap_or_else(|| panic!("{name} is no row"));
        assert!(outcome.starts_with("denied") || outcome.starts_with("refused"), "{name}: {outcome}");
        assert_eq!(before.relations, target.snapshot().await, "{name}");
    }
    assert_eq!(target.control_rows("SELECT count(*) FROM resetd.operation").await.len(), 1);
    daemon.ctl(RUN).await.expect(0);
    daemon.stop().await;
}

/// What an owner does to what is its own is let through; it stays its own.
#[tokio::test]
async fn an_owner_keeps_its_rights_on_what_is_its_own() {
    let target = TestTarget::make(Make::least()).await;
    let daemon = Setup::of(&target).with("[profile.local]\nclient_chains = true\n").start().await;
    let out = daemon.ctl(harness::database::RUN).await;
    let kept = out.expect(0).text("/details/reset/kept_as").to_owned();
    let page = told();
    let own = "ALTER ROLE {role} PASSWORD 'restricted-secret'";
    let opened = format!("ALTER DATABASE {kept} ALLOW_CONNECTIONS false");
    for (name, sql) in
        [("ALTER ROLE of its own password", own), ("ALTER DATABASE of a kept database", opened.as_str())]
    {
        let chains = Migrations::shipped();
        let text = format!("DO $$ BEGIN {}; END $$;", filled(&target, sql));
        chains.revision("core/core_002.sql", "core_002", "core_001", &text);
        daemon.ctl(&format!("{RUN} --chains {}", chains.path().display())).await.expect(0);
        let row = page.iter().find(|(attack, _)| attack == name).unwrap_or_else(|| panic!("{name}"));
        assert!(row.1.starts_with("let through"), "{row:?}");
    }
    daemon.stop().await;
}
