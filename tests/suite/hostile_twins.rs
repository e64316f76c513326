//! A hostile twin of every function and operator that the daemon's SQL names, wherever others can make one: none is ever
//! called. The names are taken from the SQL itself, so that a new statement is looked at as well.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use harness::{Make, Migrations, Postgres, Session, Setup, TestTarget, commands::RUN, eventually};

/// What the driver itself asks a server for types with: its SQL is not in this tree.
const DRIVER: &str =
    "array_agg(x) quote_ident(x) jsonb_array_elements(x) unnest(x) format_type(x) = <> || ->> -";

/// Said in the server's log by whichever twin is called: it survives every rollback, and works in transactions that only read.
const SAID: &str = "a hostile twin was called:";

/// Types of one argument, of each of two, and of each of three or more.
const ONE: [&str; 21] = [
    "text",
    "name",
    "oid",
    "integer",
    "bigint",
    "numeric",
    "boolean",
    "\"char\"",
    "timestamptz",
    "interval",
    "xid8",
    "regclass",
    "uuid",
    "json",
    "jsonb",
    "varchar",
    "text[]",
    "name[]",
    "oid[]",
    "anyelement",
    "anyarray",
];
const TWO: [&str; 8] = ["text", "name", "oid", "integer", "bigint", "numeric", "boolean", "timestamptz"];
const MORE: [&str; 2] = ["text", "name"];
/// Types on both sides of an operator.
const SIDES: [&str; 12] = [
    "text",
    "name",
    "varchar",
    "oid",
    "integer",
    "bigint",
    "numeric",
    "boolean",
    "\"char\"",
    "timestamptz",
    "interval",
    "double precision",
];

// --- what the SQL names -------------------------------------------------------------------------------------------

/// Every string of the files that write SQL, and every file of SQL.
fn texts(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            self::texts(&path, texts);
        } else if path.extension().is_some_and(|e| e == "sql") {
            texts.push(fs::read_to_string(&path).unwrap());
        } else if path.extension().is_some_and(|e| e == "rs") {
            texts.extend(harness::rust_text::string_literals(&fs::read_to_string(&path).unwrap()));
        }
    }
}

#[derive(Default)]
struct Named {
    functions: BTreeSet<String>,
    operators: BTreeSet<String>,
}

impl Named {
    /// Whatever stands before a parenthesis, and whatever is made of an operator's characters: rather too many.
    fn read(&mut self, text: &str) {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for (at, _) in text.match_indices('(') {
            let before = text[..at].trim_end();
            let start = before.rfind(|c| !word(c)).map_or(0, |at| at + 1);
            let name = before[start..].to_ascii_lowercase();
            if name.len() < 64 && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                self.functions.insert(name);
            }
        }
        let operator = |c: char| "+-*/<>=~!@#%^&|`?".contains(c);
        let runs = text.split(|c| !operator(c)).filter(|run| !run.is_empty() && run.len() < 4);
        self.operators.extend(runs.map(str::to_owned));
    }

    fn in_the_tree() -> Self {
        let (mut all, mut named) = (vec![DRIVER.to_owned()], Self::default());
        texts(&PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../server/src/postgres")), &mut all);
        for text in all {
            named.read(&text);
        }
        // LIKE, ILIKE, IN, BETWEEN, CASE and NULLIF are operators under other names.
        named
            .operators
            .extend(["~~", "!~~", "~~*", "!~~*", "=", "<>", "<", ">", "<=", ">="].map(str::to_owned));
        named
    }
}

// --- planting -----------------------------------------------------------------------------------------------------

/// What PostgreSQL itself has of a name.
#[derive(Clone, Debug, Default)]
struct Known {
    aggregate: bool,
    returns: String,
    arguments: BTreeSet<usize>,
}

/// What is planted, and how much that is.
struct Twins {
    functions: BTreeMap<String, Known>,
    operators: Vec<String>,
}

impl Twins {
    async fn of(named: Named, target: &TestTarget) -> Self {
        let mut functions: BTreeMap<String, Known> =
            named.functions.into_iter().map(|name| (name, Known::default())).collect();
        let sql = "SELECT proname, bool_or(prokind = 'a')::text,
                          CASE WHEN count(DISTINCT prorettype) = 1 AND NOT bool_or(t.typtype = 'p')
                               THEN CASE WHEN bool_and(proretset) THEN 'SETOF ' ELSE '' END || min(prorettype::regtype::text)
                               ELSE 'text' END,
                          string_agg(DISTINCT CASE WHEN provariadic <> 0 THEN '1 2 3 4' ELSE pronargs::text END, ' ')
                     FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
                    WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY proname";
        for row in target.rows(sql).await {
            let Some(known) = functions.get_mut(&row[0]) else { continue };
            let arguments = row[3].split(' ').map(|n| n.parse().unwrap()).collect();
            *known = Known { aggregate: row[1] == "true", returns: row[2].clone(), arguments };
        }
        let there = target.column("SELECT DISTINCT oprname FROM pg_operator").await;
        let operators = there.into_iter().filter(|name| named.operators.contains(name)).collect();
        Self { functions, operators }
    }

    /// The statements that plant everything in a schema, and how many functions and operators these are.
    fn script(&self, schema: &str) -> (String, [usize; 2]) {
        let (mut sql, mut planted) = (String::new(), [0, 0]);
        for side in ONE {
            sql.push_str(&format!(
                "CREATE FUNCTION {schema}.twin_state(bigint, {side}) RETURNS bigint LANGUAGE plpgsql AS
                     $$ BEGIN RAISE LOG '{SAID} an aggregate of {side}'; RETURN 0; END $$;"
            ));
        }
        sql.push_str(&format!(
            "CREATE FUNCTION {schema}.twin_state(bigint) RETURNS bigint LANGUAGE plpgsql AS
                 $$ BEGIN RAISE LOG '{SAID} an aggregate of nothing'; RETURN 0; END $$;"
        ));
        for (name, known) in &self.functions {
            for arguments in signatures(known) {
                sql.push_str(&twin(schema, name, known, &arguments));
                planted[0] += 1;
            }
        }
        for left in SIDES {
            for right in SIDES {
                sql.push_str(&format!(
                    "CREATE FUNCTION {schema}.twin_of_operator({left}, {right}) RETURNS boolean LANGUAGE plpgsql AS
                         $$ BEGIN RAISE LOG '{SAID} an operator of {left} and {right}'; RETURN true; END $$;"
                ));
                for name in &self.operators {
                    sql.push_str(&format!(
                        "CREATE OPERATOR {schema}.{name} (FUNCTION = {schema}.twin_of_operator,
                             LEFTARG = {left}, RIGHTARG = {right});"
                    ));
                    planted[1] += 1;
                }
            }
        }
        (sql, planted)
    }
}

/// Argument lists for as many arguments as PostgreSQL's own functions of the name take; one where it has none.
fn signatures(known: &Known) -> Vec<Vec<&'static str>> {
    let counts: BTreeSet<usize> =
        if known.arguments.is_empty() { [1].into() } else { known.arguments.clone() };
    let mut all: Vec<Vec<&'static str>> = Vec::new();
    for count in counts {
        all.extend(match count {
            0 => vec![Vec::new()],
            1 => ONE.iter().map(|one| vec![*one]).collect(),
            2 => TWO.iter().flat_map(|a| TWO.iter().map(|b| vec![*a, *b])).collect(),
            more => (0..1_usize << more.min(4))
                .map(|bits| (0..more).map(|n| MORE[bits >> n.min(3) & 1]).collect())
                .collect(),
        });
    }
    all.sort();
    all.dedup();
    all
}

fn twin(schema: &str, name: &str, known: &Known, arguments: &[&str]) -> String {
    let (all, returns) = (arguments.join(", "), known.returns.as_str());
    match (known.aggregate, arguments) {
        (true, []) => format!(
            "CREATE AGGREGATE {schema}.\"{name}\"(*) (SFUNC = {schema}.twin_state, STYPE = bigint, INITCOND = '0');"
        ),
        (true, [_]) => format!(
            "CREATE AGGREGATE {schema}.\"{name}\"({all}) (SFUNC = {schema}.twin_state, STYPE = bigint, INITCOND = '0');"
        ),
        _ => format!(
            "CREATE FUNCTION {schema}.\"{name}\"({all}) RETURNS {} LANGUAGE plpgsql AS
                 $$ BEGIN RAISE LOG '{SAID} {name}({all})'; RETURN{}; END $$;",
            if returns.is_empty() { "text" } else { returns },
            if returns.starts_with("SETOF") || returns == "void" { "" } else { " NULL" },
        ),
    }
}

// --- the log ------------------------------------------------------------------------------------------------------

/// The server's log from a place on.
struct Log {
    path: PathBuf,
    from: u64,
}

impl Log {
    /// Which twins were called since the last look.
    fn called(&mut self) -> BTreeMap<String, usize> {
        let mut file = fs::File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(self.from)).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        self.from += bytes.len() as u64;
        let mut called = BTreeMap::new();
        for line in String::from_utf8_lossy(&bytes).lines() {
            if let Some((_, what)) = line.split_once(SAID) {
                *called.entry(what.trim().to_owned()).or_default() += 1;
            }
        }
        called
    }
}

/// Chains that find nothing of `public`: what they call is theirs.
const MATRIX: &str = r#"
[matrix.default]
shared_schemas = ["shared"]
search_path_suffix = ["shared"]
[[matrix.default.chain]]
name = "core"
schemas = ["general", "health"]
tables = ["state"]
[[role]]
principal = "loopback:anonymous"
targets = ["*"]
role = "admin"
"#;

/// A revision that leaves its session with the twins first on the path, at its end and when it is settled.
const LEAVES_ITS_PATH: &str = "
    CREATE TABLE IF NOT EXISTS late (n int);
    CREATE OR REPLACE FUNCTION leave_path() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_catalog.set_config('search_path', 'public, pg_catalog', false); RETURN NULL; END $$;
    DROP TRIGGER IF EXISTS leaves ON late;
    CREATE CONSTRAINT TRIGGER leaves AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION leave_path();
    INSERT INTO late VALUES (1);
    SELECT pg_catalog.set_config('search_path', 'public, pg_catalog', false);";

/// Everything that a daemon does in a target, whatever comes of it.
const IN_A_TARGET: [&str; 17] = [
    RUN,
    "validate",
    "migrate --dry-run",
    "migrate",
    "migrate --allow-phased",
    "reset --dry-run",
    "reset --confirm-destructive-reset RESET",
    "undo --dry-run",
    "undo --confirm-destructive-reset RESET",
    "run --dry-run",
    RUN,
    "run --scope database --dry-run",
    "run --scope database --confirm-destructive-reset RESET",
    "undo --dry-run",
    "undo --confirm-destructive-reset RESET",
    "reset --scope database --confirm-destructive-reset RESET",
    "reset --confirm-destructive-reset RESET",
];

/// Everything that it does in its control database alone.
const BESIDE: [&str; 16] = [
    "targets",
    "status",
    "kept list",
    "kept drop {kept}",
    "operations list",
    "operations show {operation}",
    "operations watch {operation}",
    "operations cancel {operation}",
    "window reserve --for 10m --reason twins",
    "window list --all",
    "window extend {window} --for 5m",
    "window release {window}",
    "token create twins",
    "token list",
    "audit list",
    "audit verify",
];

async fn plant(session: &mut Session, twins: &Twins, schema: &str) -> [usize; 2] {
    let (script, planted) = twins.script(schema);
    session.sql(&script).await;
    planted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_twin_of_a_function_or_an_operator_is_ever_called() {
    let (cluster, postgres) = Postgres::private().await;
    let target = TestTarget::make_on(&postgres, Make::migrated()).await;
    let twins = Twins::of(Named::in_the_tree(), &target).await;
    assert!(twins.functions.len() > 60, "the SQL is not found any more: {:?}", twins.functions.keys());
    for known in ["array_agg", "count", "format", "pg_try_advisory_lock", "has_table_privilege"] {
        assert!(twins.functions.contains_key(known), "{known}");
    }
    for known in ["=", "<>", "||", "*", "~~"] {
        assert!(twins.operators.iter().any(|o| o == known), "{known}");
    }

    // Where others can make one: in the control database before the daemon's start, in `public`, in a managed schema.
    let mut admin = Session::open(&postgres.url("postgres")).await;
    target.make_control().await;
    let mut planted = [0, 0];
    let mut add = |[functions, operators]: [usize; 2]| {
        planted[0] += functions;
        planted[1] += operators;
    };
    let mut control = target.control_session().await;
    control.sql("CREATE SCHEMA planted").await;
    let mut inside = target.session().await;
    for schema in ["public", "planted"] {
        add(plant(&mut control, &twins, schema).await);
    }
    add(plant(&mut inside, &twins, "public").await);
    for (database, path) in [(&target.control, "planted, public"), (&target.database, "general, public")] {
        admin.sql(&format!("ALTER DATABASE {database} SET search_path TO {path}")).await;
    }

    // A twin that is called is seen: the test can fail.
    let mut log = Log { path: cluster.log_path(), from: 0 };
    log.called();
    inside.sql("SELECT array_agg('a'::text), 1.5 * 1, public.format('%s', 'x'::name)").await;
    assert_eq!(log.called().len(), 3);
    inside.close().await;

    let chains = Migrations::shipped();
    chains.revision("core/core_002.sql", "core_002", "core_001", LEAVES_ITS_PATH);
    let setup = Setup::of(&target).migrations(&chains).with(MATRIX);
    let (daemon, mut called) = (setup.start().await, BTreeMap::new());
    let mut looked = |what: &str, log: &mut Log| {
        called.extend(log.called().into_iter().map(|(twin, times)| (format!("{what}: {twin}"), times)));
    };
    looked("start", &mut log);
    for line in IN_A_TARGET {
        // What was reset, or swapped, has none any more.
        for schema in ["public", "general"] {
            let mut inside = target.session().await;
            let bare = format!(
                "SELECT FROM pg_namespace n WHERE nspname = '{schema}' AND NOT EXISTS (
                     SELECT FROM pg_proc WHERE pronamespace = n.oid AND proname = 'twin_state')"
            );
            if !inside.rows(&bare).await.is_empty() {
                add(plant(&mut inside, &twins, schema).await);
            }
            inside.close().await;
        }
        if line.starts_with("migrate") {
            target.sql("UPDATE health.alembic_version SET version_num = 'core_001'").await;
        }
        log.called();
        let out = daemon.ctl(line).await;
        looked(line, &mut log);
        out.expect(0);
    }
    for line in BESIDE {
        let mut words = line.to_owned();
        for (mark, what) in [
            ("{operation}", "id FROM resetd.operation"),
            ("{window}", "id FROM resetd.reset_window"),
            ("{kept}", "operation FROM resetd.kept_schemas"),
        ] {
            if words.contains(mark) {
                let newest = format!("SELECT {what} ORDER BY 1 DESC LIMIT 1");
                words = words.replace(mark, &target.control_rows(&newest).await[0][0]);
            }
        }
        let out = daemon.ctl(&words).await;
        looked(line, &mut log);
        assert_eq!(out.code != 0, line.contains("cancel"), "{out}");
    }
    eventually("the janitor dropped what was given up", || async {
        target.control_rows("SELECT count(*) FROM resetd.kept_schemas WHERE state = 'dropping' OR expires_at <= clock_timestamp()").await == [["0"]]
    })
    .await;
    looked("janitor", &mut log);
    daemon.stop().await;
    looked("stop", &mut log);
    let [functions, operators] = planted;
    writeln!(
        std::io::stdout(),
        "planted {functions} functions and {operators} operators ({} and {} names), {} called",
        twins.functions.len(),
        twins.operators.len(),
        called.len()
    )
    .unwrap();
    assert!(called.is_empty(), "{called:#?}");
}

/// What the owner of a database sets for it, or the admin for a role, is not in force in the daemon's sessions.
#[tokio::test]
async fn what_is_set_for_a_database_or_a_role_does_not_reach_the_daemon() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    let (database, role, other) = (&target.database, &target.role, format!("other_{}", target.database));
    target
        .sql(&format!(
            "CREATE ROLE {other}; GRANT {other} TO {role}; GRANT ALL ON DATABASE {database} TO {other};
             ALTER DATABASE {database} SET role TO {other}; ALTER DATABASE {database} SET search_path TO general;
             ALTER DATABASE {database} SET default_transaction_read_only TO on;
             ALTER ROLE {role} IN DATABASE {database} SET transform_null_equals TO on;
             ALTER ROLE {role} IN DATABASE {database} SET quote_all_identifiers TO on;
             ALTER ROLE {role} SET default_transaction_isolation TO serializable"
        ))
        .await;
    let out = Setup::of(&target).start().await.ctl(RUN).await;
    out.expect(0);
    let owners =
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('general', 'shared', 'health')";
    assert_eq!(target.column(owners).await.join(" "), *role, "{out}");
}

/// Whoever made the daemon's own schema before its first start could have it call what they hung on it.
#[tokio::test]
async fn a_control_schema_of_somebody_else_is_refused() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let mallory = format!("mallory_{}", target.database);
    target.sql(&format!("CREATE ROLE {mallory} LOGIN")).await;
    target.make_control().await;
    let own = format!("CREATE SCHEMA resetd AUTHORIZATION {}", target.control_owner());
    let planted = [
        format!("CREATE SCHEMA resetd AUTHORIZATION {mallory}"),
        format!(
            "DROP SCHEMA resetd CASCADE; {own}; GRANT ALL ON SCHEMA resetd TO {mallory};
             SET ROLE {mallory}; CREATE TABLE resetd.alembic_version (version_num varchar(32)); RESET ROLE"
        ),
        format!(
            "DROP SCHEMA resetd CASCADE; {own}; CREATE SCHEMA {mallory} AUTHORIZATION {mallory};
             CREATE TABLE resetd.operation (id uuid); ALTER TABLE resetd.operation OWNER TO {owner}; SET ROLE {mallory};
             CREATE FUNCTION {mallory}.trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; RESET ROLE;
             CREATE TRIGGER hostile AFTER INSERT ON resetd.operation EXECUTE FUNCTION {mallory}.trap()",
            owner = target.control_owner()
        ),
    ];
    for plant in planted {
        target.control_sql(&plant).await;
        let setup = Setup::of(&target).migrations(&chains);
        let started = resetd::daemon::Daemon::start(setup.load().unwrap()).await;
        let text = started.err().map(|error| format!("{error:?}")).unwrap_or_default();
        assert!(text.contains("belongs to") && text.contains(&mallory), "{plant}\n{text}");
    }
    target.control_sql("DROP SCHEMA resetd CASCADE").await;
    Setup::of(&target).start().await.ctl("validate").await.expect(0);
}
