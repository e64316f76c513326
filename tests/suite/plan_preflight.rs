//! Preflight: every finding is provoked once, all come at once, and the target is as it was.

use std::io::Write as _;

use harness::{Because, Make, Migrations, Roles, Setup, TestTarget, commands::CONFIRMED, finding};

/// What makes a finding, and how it is found.
struct Case {
    code: &'static str,
    severity: &'static str,
    /// The daemon's role is no superuser.
    restricted: bool,
    /// The daemon's roles where that is not so.
    roles: Roles,
    verb: &'static str,
    /// `{db}` is the target's database.
    setup: &'static str,
    /// The next revision of chain core, where one is needed.
    revision: &'static str,
}

const CASE: Case = Case {
    code: "",
    severity: "warning",
    restricted: false,
    roles: Roles::OfTheSuite,
    verb: "reset",
    setup: "",
    revision: "",
};
const RESTRICTED: Case = Case { restricted: true, ..CASE };
const RUN: Case = Case { severity: "error", verb: "run", ..CASE };

const CASES: &[Case] = &[
    Case {
        code: "MEMBERSHIP_MISSING",
        severity: "error",
        setup: "CREATE ROLE o_{db}; ALTER SCHEMA general OWNER TO o_{db}",
        ..RESTRICTED
    },
    Case {
        code: "MEMBERSHIP_MISSING",
        severity: "error",
        setup: "CREATE ROLE d_{db}; GRANT CREATE ON SCHEMA health TO d_{db};
                ALTER DEFAULT PRIVILEGES FOR ROLE d_{db} IN SCHEMA health GRANT SELECT ON TABLES TO PUBLIC",
        ..RESTRICTED
    },
    Case {
        code: "CREATE_DENIED",
        severity: "error",
        setup: "ALTER DATABASE {db} OWNER TO postgres",
        ..RESTRICTED
    },
    Case {
        code: "VERSION_UNREADABLE",
        severity: "error",
        setup: "ALTER TABLE general.alembic_version OWNER TO postgres",
        ..RESTRICTED
    },
    Case {
        code: "FOREIGN_OWNER",
        setup: "CREATE ROLE f_{db}; ALTER TABLE general.state OWNER TO f_{db}",
        ..CASE
    },
    Case {
        code: "PUBLICATION_STUCK",
        setup: "CREATE PUBLICATION whole FOR TABLES IN SCHEMA general",
        ..RESTRICTED
    },
    Case { code: "EXTENSION_STUCK", setup: "CREATE EXTENSION hstore SCHEMA general", ..RESTRICTED },
    Case {
        code: "EXTENSION_MISPLACED",
        severity: "error",
        verb: "migrate",
        setup: "CREATE EXTENSION hstore SCHEMA general",
        ..RESTRICTED
    },
    Case {
        code: "EXTENSION_DENIED",
        restricted: true,
        revision: "-- requires-extension: pageinspect\nSELECT 1;",
        ..RUN
    },
    Case {
        code: "EXTENSION_UNAVAILABLE",
        revision: "-- requires-extension: no_such_thing\nSELECT 1;",
        ..RUN
    },
    Case {
        code: "EXTENSION_ELSEWHERE",
        severity: "warning",
        setup: "CREATE SCHEMA attic; CREATE EXTENSION citext SCHEMA attic",
        revision: "-- requires-extension: citext\nSELECT 1;",
        ..RUN
    },
    Case {
        code: "EXTENSIONS_SCHEMA_DENIED",
        setup: "CREATE SCHEMA extensions; CREATE ROLE x_{db}; ALTER SCHEMA general OWNER TO x_{db}",
        revision: "-- requires-extension: citext\nSELECT 1;",
        ..RUN
    },
    Case { code: "ROLE_UNGUARDED", revision: "CREATE ROLE unguarded;", ..RUN },
    Case { code: "NOT_TRANSACTIONAL", revision: "CREATE INDEX CONCURRENTLY late ON state (version);", ..RUN },
    Case {
        code: "NOT_TRANSACTIONAL",
        revision: "CREATE TYPE mood AS ENUM ('a'); ALTER TYPE mood ADD VALUE 'b';
                   CREATE TABLE moods (x mood DEFAULT 'b');",
        ..RUN
    },
    Case {
        code: "UNKNOWN_REVISION",
        severity: "error",
        verb: "migrate",
        setup: "UPDATE general.alembic_version SET version_num = 'else_001' WHERE version_num = 'core_001'",
        ..CASE
    },
    Case {
        code: "EVENT_TRIGGER",
        setup: "CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
                CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.watch()",
        ..CASE
    },
    Case {
        code: "EVENT_TRIGGER_UNSAFE",
        severity: "error",
        setup: "CREATE ROLE watcher_{db}; CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
                CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.watch();
                ALTER FUNCTION public.watch() OWNER TO watcher_{db}",
        roles: Roles::Superuser(Because::ItIsAboutSuperusers),
        ..CASE
    },
    Case {
        code: "COLLATION_CHANGED",
        setup: "CREATE COLLATION public.old (provider = icu, locale = 'und', version = '0.1');
                CREATE TABLE public.sorted (t text COLLATE public.old)",
        ..CASE
    },
    Case {
        code: "SUBSCRIPTION",
        setup: "CREATE SUBSCRIPTION s_{db} CONNECTION 'dbname=nowhere' PUBLICATION p
                  WITH (connect = false, slot_name = NONE);
                INSERT INTO pg_subscription_rel SELECT oid, 'general.state'::regclass, 'r', NULL
                  FROM pg_subscription WHERE subname = 's_{db}'",
        ..CASE
    },
    Case {
        code: "SUBSCRIPTION_SYNC",
        severity: "error",
        setup: "CREATE SUBSCRIPTION s_{db} CONNECTION 'dbname=nowhere' PUBLICATION p
                  WITH (connect = false, slot_name = NONE);
                INSERT INTO pg_subscription_rel SELECT oid, 'general.state'::regclass, 'i', NULL
                  FROM pg_subscription WHERE subname = 's_{db}'",
        ..CASE
    },
];

#[tokio::test]
async fn every_finding_is_provoked_once_and_nothing_changes() {
    for case in CASES {
        let target =
            TestTarget::make(Make { restricted: case.restricted, roles: case.roles, ..Make::migrated() })
                .await;
        if case.code == "PUBLICATION_STUCK" && target.major().await < WHOLE_SCHEMAS_PUBLISHED {
            continue;
        }
        target.sql(&case.setup.replace("{db}", &target.database)).await;
        let chains = Migrations::shipped();
        if !case.revision.is_empty() {
            let header = "-- revision: core_002\n-- revises: core_001\n";
            chains.write("core/core_002.sql", &format!("{header}{}\n", case.revision));
        }
        let daemon = Setup::of(&target).migrations(&chains).start().await;
        let before = target.state().await;
        let dry = daemon.ctl(&format!("{} --dry-run", case.verb)).await;
        dry.expect(0);
        let found = finding(&dry, case.code);
        assert_eq!(found["severity"], case.severity, "{dry}");
        for key in ["object", "message", "hint"] {
            assert!(found[key].as_str().is_some_and(|text| !text.is_empty()), "{key}\n{dry}");
        }
        assert!(dry.stdout.contains(case.code), "{dry}");
        if case.severity == "error" {
            let confirmed = if case.verb == "migrate" { "" } else { CONFIRMED };
            let out = daemon.ctl(&format!("{} {confirmed}", case.verb)).await;
            assert_eq!(out.code, 4, "{}: {out}", case.code);
        }
        assert_eq!(before, target.state().await, "{}", case.code);
        daemon.stop().await;
    }
}

/// The first version that has publications of whole schemas.
const WHOLE_SCHEMAS_PUBLISHED: u32 = 15;

/// A person mends everything in one go.
#[tokio::test]
async fn findings_come_all_at_once_with_who_is_connected_and_in_the_way() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    target
        .sql(&format!(
            "CREATE ROLE many_{0}; ALTER SCHEMA general OWNER TO many_{0}; ALTER DATABASE {0} OWNER TO postgres;
             GRANT SELECT ON health.state TO many_{0}; SELECT lo_create(0)",
            target.database
        ))
        .await;
    let mut codes =
        vec!["MEMBERSHIP_MISSING", "CREATE_DENIED", "TRANSACTION_IN_THE_WAY", "TERMINATION_DENIED"];
    if target.major().await >= WHOLE_SCHEMAS_PUBLISHED {
        target.sql("CREATE PUBLICATION whole FOR TABLES IN SCHEMA health").await;
        codes.push("PUBLICATION_STUCK");
    }
    let mut session = target.session().await;
    session.sql("BEGIN; SELECT count(*) FROM health.state").await;
    let daemon = Setup::of(&target).start().await;
    let dry = daemon.ctl("reset --dry-run").await;
    dry.expect(0);
    for code in codes {
        finding(&dry, code);
    }
    let pid = session.pid.to_string();
    assert!(finding(&dry, "TRANSACTION_IN_THE_WAY")["object"].to_string().contains(&pid), "{dry}");
    assert!(dry.list("/plan/sessions").iter().any(|s| s["pid"] == session.pid), "{dry}");
    let references = dry.at("/plan/references").to_string();
    assert!(references.contains("large objects") && references.contains("many_"), "{dry}");
    assert_eq!(dry.text("/plan/grants/0/privileges/0"), "SELECT", "{dry}");
    assert_eq!(dry.text("/plan/grants/0/objects/0"), "state", "{dry}");
    session.sql("ROLLBACK").await;
}

#[tokio::test]
async fn a_replication_slot_on_the_target_is_told() {
    let target = TestTarget::migrated().await;
    let name = format!("slot_{}", target.database);
    target.sql(&format!("SELECT pg_create_logical_replication_slot('{name}', 'test_decoding')")).await;
    let daemon = Setup::of(&target).start().await;
    let dry = daemon.ctl("reset --dry-run").await;
    target.sql(&format!("SELECT pg_drop_replication_slot('{name}')")).await;
    dry.expect(0);
    assert!(finding(&dry, "REPLICATION_SLOT")["object"].to_string().contains(&name), "{dry}");
    assert!(dry.at("/plan/references").to_string().contains(&name), "{dry}");
}

/// More locks than the server has room for: refused with the numbers and the way out, before anything is dropped.
#[tokio::test]
async fn two_thousand_tables_are_more_than_the_lock_table_holds() {
    let target = TestTarget::migrated().await;
    assert_eq!(target.value("SHOW max_locks_per_transaction").await, "64");
    target
        .sql(
            "DO $$ BEGIN FOR n IN 1..2000 LOOP
               EXECUTE format('CREATE TABLE general.many_%s (id serial PRIMARY KEY, note text UNIQUE)', n);
               EXECUTE format('CREATE INDEX ON general.many_%s (note, id)', n);
               IF n % 100 = 0 THEN COMMIT; END IF;
             END LOOP; END $$",
        )
        .await;
    // Set aside, they would fit: see `aside_limits`.
    let daemon = Setup::of(&target).with("[profile.local]\nkeep_previous = \"0s\"\n").start().await;
    let started = std::time::Instant::now();
    let out = daemon.ctl(&format!("run {CONFIRMED}")).await;
    let took = started.elapsed();
    out.refused("PREFLIGHT_FAILED");
    let found = finding(&out, "LOCK_BUDGET");
    let (message, hint) = (found["message"].to_string(), found["hint"].to_string());
    assert!(message.contains("max_locks_per_transaction 64") && message.contains("to drop"), "{message}");
    assert!(hint.contains("max_locks_per_transaction to") && hint.contains("--scope database"), "{hint}");
    let left = "SELECT count(*) FROM pg_class WHERE relname ~ '^many_[0-9]+$' AND relkind = 'r'";
    assert_eq!(target.value(left).await, "2000");
    let said = format!("lock budget: 2,000 tables planned and refused in {:.1} s\n", took.as_secs_f64());
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}
