//! Chains as teams have them: the application of `tests/fixtures/depot`, in both scopes, fresh and again, compared with a
//! plain replay by psql in the same order.

use std::path::{Path, PathBuf};

use harness::{Because, Make, Migrations, Postgres, Roles, Session, Setup, TestTarget};

const DEPOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/depot");

/// The chains with their schemas, in order.
const CHAINS: [(&str, &[&str]); 3] = [
    ("base", &["north", "south", "east", "west", "billing"]),
    ("ledger", &["north", "billing"]),
    ("search", &["south", "east", "west"]),
];

/// The schemas, in order.
const SCHEMAS: [&str; 6] = ["common", "north", "south", "east", "west", "billing"];

/// What the application finds with its own query: a fingerprint's length, two looks into an hstore, a digest's length.
const FOUND: [&str; 4] = ["64", "crate", "t", "32"];

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(DEPOT).join(path)).expect("the fixture can be read")
}

/// The `.sql` files of a folder of the fixture, in order of name.
fn files(folder: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(Path::new(DEPOT).join(folder)) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "sql"));
    files.sort();
    files
}

fn migrations() -> Migrations {
    let copy = Migrations::none();
    for (chain, _) in CHAINS {
        for folder in [chain.to_owned(), format!("{chain}/seeds")] {
            for path in files(&format!("migrations/{folder}")) {
                let name = path.file_name().expect("a file").to_string_lossy().into_owned();
                copy.write(&format!("{folder}/{name}"), &std::fs::read_to_string(&path).expect("a revision"));
            }
        }
    }
    copy
}

/// The text of these files, one after the other.
fn text_of(folder: &str) -> String {
    let texts =
        files(folder).into_iter().map(|path| std::fs::read_to_string(path).expect("a file can be read"));
    texts.collect()
}

/// What the daemon does, as a script for psql: bootstrap, schemas, extensions, the chains schema by schema, seeds.
fn script() -> String {
    let mut script = text_of("bootstrap");
    for schema in SCHEMAS {
        script.push_str(&format!("CREATE SCHEMA IF NOT EXISTS {schema};\n"));
    }
    script.push_str("CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public;\n");
    script.push_str("CREATE EXTENSION IF NOT EXISTS pgcrypto SCHEMA public;\n");
    let cells = SCHEMAS.iter().flat_map(|schema| {
        CHAINS.iter().filter(|(_, schemas)| schemas.contains(schema)).map(|(chain, _)| (*chain, *schema))
    });
    let path = |schema: &str| format!("SET search_path TO {schema}, common, public, extensions;\n");
    for (chain, schema) in cells.clone() {
        script.push_str(&path(schema));
        script.push_str(
            "CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) NOT NULL, \
             CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));\n",
        );
        script.push_str(if chain == "ledger" { "SET ROLE depot_ledger;\n" } else { "" });
        script.push_str(&text_of(&format!("migrations/{chain}")));
        let head = files(&format!("migrations/{chain}")).pop().expect("a chain has revisions");
        let head = std::fs::read_to_string(head).expect("a revision can be read");
        let head = head.lines().next().and_then(|line| line.split(": ").nth(1)).expect("an id");
        script.push_str(&format!("RESET ROLE; INSERT INTO {schema}.alembic_version VALUES ('{head}');\n"));
    }
    for (chain, schema) in cells {
        script.push_str(&path(schema));
        script.push_str(&text_of(&format!("migrations/{chain}/seeds")));
    }
    script
}

/// What a reset keeps of the schemas is there before the first revision, so that it holds for `alembic_version` as well.
fn emptied() -> String {
    let mut script = String::new();
    for schema in SCHEMAS {
        script.push_str(&format!("DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema};\n"));
        if schema == "common" {
            script.push_str("GRANT USAGE ON SCHEMA common TO depot_reader;\n");
            continue;
        }
        if ["north", "billing"].contains(&schema) {
            script.push_str(&format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO depot_ledger;\n"));
        }
        script.push_str(&format!(
            "GRANT USAGE ON SCHEMA {schema} TO depot_reader, depot_batch;
             ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO depot_reader;
             ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO depot_batch;\n"
        ));
    }
    script
}

fn configuration() -> String {
    let mut toml = format!(
        "\n[profile.local]\nkeep_previous = \"0s\"\nseeds = true\n
         [matrix.default]\nshared_schemas = [\"common\"]\norder = \"schema\"\nbootstrap = \"{DEPOT}/bootstrap/*.sql\"\n"
    );
    for (chain, schemas) in CHAINS {
        toml.push_str(&format!("[[matrix.default.chain]]\nname = \"{chain}\"\nschemas = {schemas:?}\n"));
        toml.push_str(match chain {
            "base" => "tables = [\"parcel\", \"parcel_event\"]\n",
            "ledger" => "replay_as = \"depot_ledger\"\n",
            _ => "",
        });
    }
    toml
}

/// Everything in the database, and the application's roles in the cluster.
#[derive(Debug, Eq, PartialEq)]
struct There {
    dump: String,
    roles: Vec<String>,
}

impl There {
    async fn of(target: &TestTarget, in_order: bool) -> Self {
        let dump = target.dump().await;
        // Side by side, grants on the database and settings come in any order.
        let mut lines: Vec<&str> = dump.lines().collect();
        if !in_order {
            lines.sort_unstable();
        }
        let globals = target.globals().await;
        let roles = globals.lines().filter(|line| line.contains("depot_")).map(str::to_owned).collect();
        Self { dump: lines.join("\n"), roles }
    }
}

#[track_caller]
fn assert_same(expected: &There, found: &There, when: &str) {
    let lines = |it: &There| it.dump.lines().map(str::to_owned).collect::<Vec<_>>();
    let (wanted, there) = (lines(expected), lines(found));
    let missing: Vec<_> = wanted.iter().filter(|line| !there.contains(line)).collect();
    let more: Vec<_> = there.iter().filter(|line| !wanted.contains(line)).collect();
    assert!(missing.is_empty() && more.is_empty(), "{when}\nmissing: {missing:#?}\nmore: {more:#?}");
    assert_eq!(expected, found, "{when}");
}

/// The application's own query, as its own role, in a transaction that is taken back.
async fn application_works(target: &TestTarget, when: &str) {
    let mut admin = target.session().await;
    admin
        .sql("INSERT INTO common.carrier (code, name) VALUES ('rail', 'By rail') ON CONFLICT DO NOTHING")
        .await;
    let mut session = Session::open(&target.postgres.url_of("depot_api", "none", &target.database)).await;
    session.sql("BEGIN").await;
    let rows = session.rows(&file("application.sql")).await;
    assert_eq!(rows[0][..4], FOUND, "{when}");
    session.sql("ROLLBACK").await;
}

/// An empty database of that name, as it was made, and none of the application's roles.
async fn start_over(target: &TestTarget) {
    let d = &target.database;
    let mut server = Session::open(&target.postgres.url("postgres")).await;
    server.sql(&format!("DROP DATABASE IF EXISTS {d} WITH (FORCE)")).await;
    let roles = "SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname LIKE 'depot\\_%'";
    for drop in server.rows(roles).await {
        server.sql(&drop[0]).await;
    }
    server.sql(&format!("CREATE DATABASE {d} TEMPLATE template0 OWNER {}", target.role)).await;
}

async fn faithful(roles: Roles) {
    let (_cluster, postgres) = Postgres::private().await;
    let target = TestTarget::make_on(&postgres, Make { roles, ..Make::default() }).await;
    if target.control_role.is_some() {
        // What these chains need, and no more: they create roles.
        target.sql(&format!("ALTER ROLE {} CREATEROLE", target.role)).await;
        if target.major().await >= 16 {
            // Who creates a role may not act as it by itself any more.
            let setting = "createrole_self_grant = 'set, inherit'";
            target.sql(&format!("ALTER ROLE {} SET {setting}", target.role)).await;
        }
    }
    start_over(&target).await;
    let replay = script();
    target.psql(&replay).await;
    let fresh = [There::of(&target, true).await, There::of(&target, false).await];
    application_works(&target, "after psql").await;
    target.psql(&format!("{}{replay}", emptied())).await;
    let again = [There::of(&target, true).await, There::of(&target, false).await];

    let migrations = migrations();
    for (scope, jobs) in [("managed-schemas", 0), ("database", 1), ("database", 8)] {
        start_over(&target).await;
        if scope == "managed-schemas" {
            // There whoever sets up the database did so.
            target.psql(&text_of("bootstrap")).await;
        }
        let daemon = Setup::of(&target).migrations(&migrations).with(&configuration()).start().await;
        let jobs = if jobs == 0 { String::new() } else { format!(" --jobs {jobs}") };
        let run = format!("run --scope {scope}{jobs} --confirm-destructive-reset RESET");
        let in_order = jobs != " --jobs 8";
        for (time, expected) in [("fresh", &fresh), ("again", &again)] {
            let when = format!("{run}, {time}");
            let out = daemon.ctl(&run).await;
            assert_eq!(out.code, 0, "{when}\n{out}");
            let told = |at: &str, code: &str| out.list(at).iter().filter(|f| f["code"] == code).count();
            let bootstrapped = if scope == "database" { 2 } else { 0 };
            assert_eq!(told("/plan/findings", "BOOTSTRAP"), bootstrapped, "{out}");
            assert_eq!((told("/plan/findings", "SEED"), told("/findings", "SEEDED")), (10, 10), "{out}");
            let expected = &expected[usize::from(!in_order)];
            assert_same(expected, &There::of(&target, in_order).await, &when);
            application_works(&target, &when).await;
        }
        daemon.stop().await;
    }
}

fn superuser() -> Roles {
    Roles::Superuser(Because::ItIsAboutSuperusers)
}

#[tokio::test]
async fn a_superuser_replays_them_as_psql_does() {
    faithful(superuser()).await;
}

#[tokio::test]
async fn two_plain_roles_replay_them_as_psql_does() {
    faithful(Roles::Least).await;
}

/// In place all of it is one transaction, which takes a lock for each relation: foreseen, with the number to set. Scope database
/// goes cell by cell, whatever the number.
#[tokio::test]
async fn a_lock_table_that_is_too_small_is_foreseen() {
    let small =
        [("max_connections", "22"), ("max_prepared_transactions", "0"), ("max_locks_per_transaction", "10")];
    let (_cluster, postgres) = Postgres::private_with(&small).await;
    let target = TestTarget::make_on(&postgres, Make { roles: superuser(), ..Make::default() }).await;
    start_over(&target).await;
    target.psql(&text_of("bootstrap")).await;
    let migrations = migrations();
    let daemon = Setup::of(&target).migrations(&migrations).with(&configuration()).start().await;
    let out = daemon.ctl("run --scope managed-schemas --confirm-destructive-reset RESET").await;
    out.refused("PREFLIGHT_FAILED");
    let findings = out.list("/plan/findings");
    let budget = findings.iter().find(|f| f["code"] == "LOCK_BUDGET").unwrap_or_else(|| panic!("{out}"));
    let told = budget["message"].as_str().unwrap();
    let needed: u32 = told.split(' ').find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("{told}"));
    // Counted in pg_locks at the end of a replay by psql in one transaction: 230 objects, of which 189 are relations.
    assert!((200..=260).contains(&needed), "{told}");
    assert!(budget["hint"].to_string().contains("set max_locks_per_transaction to"), "{out}");
    daemon.ctl("run --scope database --confirm-destructive-reset RESET").await.expect(0);
}
