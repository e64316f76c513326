//! Managed schemas whose names PostgreSQL quotes: everything that works in `general` works in them, again and again.

use harness::{Because, Make, Migrations, Setup, TestTarget, commands::RUN, database};
use serde_json::json;

const SCHEMAS: [&str; 4] = ["Upper", "hy-phen", "dol$x", "user"];

const MATRIX: &str = "
[matrix.default]
shared_schemas = [\"Shared-One\"]
search_path_suffix = [\"Shared-One\", \"public\"]
[[matrix.default.chain]]
name = \"core\"
schemas = [\"Upper\", \"hy-phen\", \"dol$x\", \"user\"]
tables = [\"state\", \"Log-Book\"]
";

/// One object of each kind that a schema can hold, each with a name of its own that is quoted as well.
const OBJECTS: &str = "
CREATE TYPE \"Mood-1\" AS ENUM ('calm', 'wild');
CREATE TYPE \"Pair\" AS (a int, b \"Mood-1\");
CREATE DOMAIN \"Small\" AS int CONSTRAINT \"Is-Small\" CHECK (VALUE < 10);
CREATE TYPE \"Span\" AS RANGE (subtype = int);
CREATE SEQUENCE \"Numbers\";
CREATE FUNCTION \"To-Text\"(\"Pair\") RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ($1).a::text $$;
CREATE FUNCTION \"Touch\"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE CAST (\"Pair\" AS text) WITH FUNCTION \"To-Text\"(\"Pair\");
CREATE TABLE \"Log-Book\" (
    \"Id\" int PRIMARY KEY DEFAULT nextval('\"Numbers\"'), mood \"Mood-1\" DEFAULT 'calm', small \"Small\",
    CONSTRAINT \"Is-Positive\" CHECK (\"Id\" > 0));
CREATE TABLE \"Pages\" (\"Id\" int REFERENCES \"Log-Book\", at int) PARTITION BY RANGE (at);
CREATE TABLE \"Pages 1\" PARTITION OF \"Pages\" FOR VALUES FROM (0) TO (10);
CREATE INDEX \"By-Mood\" ON \"Log-Book\" (mood);
CREATE STATISTICS \"Both\" ON \"Id\", mood FROM \"Log-Book\";
CREATE TRIGGER \"Touches\" BEFORE INSERT ON \"Log-Book\" FOR EACH ROW EXECUTE FUNCTION \"Touch\"();
ALTER TABLE \"Log-Book\" ENABLE ROW LEVEL SECURITY;
CREATE POLICY \"All-Rows\" ON \"Log-Book\" USING (true);
CREATE RULE \"No-Truth\" AS ON DELETE TO \"Log-Book\" DO ALSO NOTHING;
CREATE VIEW \"Moods\" AS SELECT mood FROM \"Log-Book\";
CREATE MATERIALIZED VIEW \"Seen\" AS SELECT * FROM \"Moods\";
CREATE AGGREGATE \"Last\"(int) (SFUNC = int4larger, STYPE = int);
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
-- PostgreSQL lets only a superuser make one.
DO $$ BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        CREATE OPERATOR CLASS \"Ops\" FOR TYPE int USING hash AS OPERATOR 1 === (int, int), FUNCTION 1 hashint4(int);
    END IF;
END $$;
CREATE COLLATION \"Own\" (LOCALE = 'C');
CREATE TEXT SEARCH DICTIONARY \"Words\" (TEMPLATE = simple);
CREATE TEXT SEARCH CONFIGURATION \"Texts\" (COPY = simple);
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
";

fn chains() -> Migrations {
    let chains = Migrations::shipped();
    let objects = OBJECTS.replace(
        "ALTER DEFAULT PRIVILEGES GRANT",
        "DO $$ BEGIN EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO PUBLIC', current_schema()); END $$;\n--",
    );
    chains.revision("core/core_002.sql", "core_002", "core_001", &objects);
    chains
}

#[tokio::test]
async fn schemas_whose_names_need_quotes_are_reset_again_and_again() {
    let (target, chains) = (TestTarget::empty().await, chains());
    let daemon = Setup::of(&target).migrations(&chains).with(MATRIX).start().await;
    daemon.ctl("migrate").await.expect(0);
    daemon.ctl("validate").await.expect(0);
    for verb in [RUN, RUN] {
        let dry = daemon.ctl("run --dry-run").await;
        assert_eq!(dry.expect(0).at("/plan/outside"), &json!([]), "{dry}");
        for (n, schema) in SCHEMAS.iter().enumerate() {
            // The shared schema comes first, and is empty.
            let place = format!("/plan/schemas/{}", n + 1);
            assert_eq!(dry.text(&format!("{place}/schema")), *schema, "{dry}");
            assert!(dry.at(&format!("{place}/objects")).as_u64() > Some(40), "{schema}: {dry}");
        }
        daemon.ctl(verb).await.expect(0);
    }
    daemon
        .ctl("reset --managed-schema hy-phen --managed-schema user --confirm-destructive-reset RESET")
        .await
        .expect(0);
    let out = daemon.ctl("migrate").await;
    assert_eq!(out.expect(0).list("/revisions").len(), 4, "{out}");
    daemon.ctl("validate").await.expect(0);
    let books = "SELECT count(*) FROM pg_tables WHERE tablename = 'Log-Book' AND schemaname NOT LIKE 'resetd\\_kept\\_%'";
    assert_eq!(target.value(books).await, "4");
    // Each comes back under its own name.
    daemon.ctl("undo --confirm-destructive-reset RESET").await.expect(0);
    daemon.ctl("validate").await.expect(0);
}

#[tokio::test]
async fn schemas_whose_names_need_quotes_are_replaced_and_come_back() {
    let (target, chains) = (TestTarget::empty().await, chains());
    let daemon = Setup::of(&target).migrations(&chains).with(MATRIX).start().await;
    daemon.ctl("migrate").await.expect(0);
    for _ in 0..2 {
        let out = daemon.ctl(database::RUN).await;
        assert_eq!(out.expect(0).at("/plan/outside"), &json!([]), "{out}");
        assert!(out.at("/plan/schemas/1/objects").as_u64() > Some(40), "{out}");
        daemon.ctl("validate").await.expect(0);
    }
    let new = database::oid(&target).await;
    daemon.ctl("undo --confirm-destructive-reset RESET").await.expect(0);
    assert_ne!(new, database::oid(&target).await);
    daemon.ctl("validate").await.expect(0);
    daemon.ctl(RUN).await.expect(0);
}

/// An extension in such a schema moves out of it like any other, and everything that uses it stays.
#[tokio::test]
async fn an_extension_leaves_a_schema_whose_name_needs_quotes() {
    let make = Make { template: None, ..Make::superuser(Because::ExtensionsMove) };
    let (target, chains) = (TestTarget::make(make).await, chains());
    let daemon = Setup::of(&target).migrations(&chains).with(MATRIX).start().await;
    daemon.ctl("migrate").await.expect(0);
    target
        .sql(
            "CREATE EXTENSION hstore SCHEMA \"hy-phen\";
             CREATE TABLE public.tagged (tags \"hy-phen\".hstore); INSERT INTO public.tagged VALUES ('a => 1')",
        )
        .await;
    let out = daemon.ctl(RUN).await;
    assert_eq!(out.expect(0).at("/plan/outside"), &json!([]), "{out}");
    assert_eq!(out.text("/plan/extension_moves/0/from"), "hy-phen", "{out}");
    assert_eq!(target.value("SELECT tags::text FROM public.tagged").await, "\"a\"=>\"1\"");
    daemon.ctl(RUN).await.expect(0);
}

/// What really is outside is named, also where only the quotes tell it from what is inside.
#[tokio::test]
async fn a_schema_that_differs_only_by_its_quotes_is_outside() {
    let (target, chains) = (TestTarget::empty().await, chains());
    let daemon = Setup::of(&target).migrations(&chains).with(MATRIX).start().await;
    daemon.ctl("migrate").await.expect(0);
    target
        .sql(
            "CREATE SCHEMA upper; CREATE VIEW upper.moods AS SELECT mood FROM \"Upper\".\"Log-Book\";
             CREATE SCHEMA \"\"\"user\"\"\"; CREATE VIEW \"\"\"user\"\"\".moods AS SELECT mood FROM \"user\".\"Log-Book\"",
        )
        .await;
    let out = daemon.ctl(RUN).await;
    out.refused("BLAST_RADIUS");
    let outside: Vec<&str> =
        out.list("/plan/outside").iter().map(|o| o["identity"].as_str().unwrap()).collect();
    assert_eq!(outside, ["\"\"\"user\"\"\".moods", "upper.moods"], "{out}");
}
