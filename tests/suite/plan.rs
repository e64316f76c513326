//! The exact plan: extensions leave the schemas before a drop, schema properties comes back, and the digest of a dry run binds.

use std::io::Write as _;

use harness::{Because, Make, Setup, TestTarget, commands::CONFIRMED, eventually, finding};

/// An extension in a managed schema with a column elsewhere: it is moved, and the column and its rows stay.
#[tokio::test]
async fn an_extension_is_moved_out_and_the_column_that_uses_it_survives() {
    let target = TestTarget::make(Make::superuser(Because::ExtensionsMove)).await;
    target
        .sql(
            "CREATE EXTENSION hstore SCHEMA general;
             CREATE TABLE public.t (id int PRIMARY KEY, tags general.hstore);
             CREATE INDEX t_tags ON public.t USING gin (tags);
             INSERT INTO public.t SELECT n, general.hstore('n', n::text) FROM generate_series(1, 100) n",
        )
        .await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;
    let dry = daemon.ctl("reset --dry-run").await;
    dry.expect(0);
    assert_eq!(dry.text("/plan/extension_moves/0/extension"), "hstore", "{dry}");
    assert_eq!(dry.text("/plan/extension_moves/0/from"), "general");
    assert_eq!(dry.text("/plan/extension_moves/0/to"), "extensions");
    assert!(dry.list("/plan/outside").is_empty(), "{dry}");
    assert!(dry.stdout.contains("moves extension hstore from general to extensions"), "{dry}");
    assert_eq!(before, target.state().await, "a dry run changes nothing");

    daemon.ctl(&format!("reset {CONFIRMED}")).await.expect(0);
    let home = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'hstore'";
    assert_eq!(target.value(home).await, "extensions");
    let kept = "SELECT count(*) FROM public.t WHERE (tags OPERATOR(extensions.->) 'n')::int = id";
    assert_eq!(target.value(kept).await, "100");
    daemon.ctl(&format!("run {CONFIRMED}")).await.expect(0);
    assert_eq!(target.value(kept).await, "100");
}

/// One that cannot be moved goes with the schema: refused with all that would go, and done with the plan's digest.
#[tokio::test]
async fn an_extension_that_cannot_be_moved_goes_with_the_digest_only() {
    let target = TestTarget::make(Make::superuser(Because::ExtensionsMove)).await;
    target
        .sql(
            "CREATE EXTENSION hstore SCHEMA general;
             CREATE FUNCTION public.stray() RETURNS int LANGUAGE sql AS 'SELECT 1';
             ALTER EXTENSION hstore ADD FUNCTION public.stray();
             CREATE TABLE public.t (id int PRIMARY KEY, tags general.hstore);
             INSERT INTO public.t VALUES (1, 'a=>1')",
        )
        .await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;
    let out = daemon.ctl(&format!("reset {CONFIRMED}")).await;
    out.refused("BLAST_RADIUS");
    assert_eq!(out.code, 4, "{out}");
    assert!(finding(&out, "EXTENSION_STUCK")["message"].to_string().contains("one schema"), "{out}");
    let outside = out.at("/plan/outside").to_string();
    for lost in ["\"hstore\"", "public.t.tags", "public.stray()"] {
        assert!(outside.contains(lost), "{lost}\n{out}");
    }
    assert_eq!(before, target.state().await);

    let digest = out.text("/plan/digest").to_owned();
    daemon.ctl(&format!("reset --plan-digest {digest} {CONFIRMED}")).await.expect(0);
    let columns = "SELECT string_agg(attname, ',') FROM pg_attribute
                    WHERE attrelid = 'public.t'::regclass AND attnum > 0 AND NOT attisdropped";
    assert_eq!(target.value(columns).await, "id");
}

/// With the digest of the dry run it goes, and the report and the terminal name what went.
#[tokio::test]
async fn an_approved_blast_radius_is_dropped_and_named() {
    let target = TestTarget::migrated().await;
    target.sql("CREATE VIEW public.states AS SELECT key FROM general.state").await;
    let daemon = Setup::of(&target).start().await;
    let refused = daemon.ctl(&format!("reset {CONFIRMED}")).await;
    refused.refused("BLAST_RADIUS");
    assert!(refused.text("/error").contains("view public.states"), "{refused}");
    let dry = daemon.ctl("reset --dry-run").await;
    dry.expect(0);
    let digest = dry.text("/plan/digest").to_owned();
    assert!(dry.stdout.contains(&format!("--plan-digest {digest}")), "{dry}");
    let stored = target.control_rows("SELECT count(*) FROM resetd.plan").await;
    assert_eq!(stored, [["1"]], "the refused plan and the dry run's are one");

    let out = daemon.ctl(&format!("reset --plan-digest {digest} {CONFIRMED}")).await;
    out.expect(0);
    assert_eq!(out.text("/plan/outside/0/identity"), "public.states");
    let lost = out.list("/findings").iter().find(|f| f["code"] == "OUTSIDE_LOST");
    assert!(lost.is_some_and(|f| f["message"].to_string().contains("view public.states")), "{out}");
    assert!(out.stderr.contains("public.states"), "{out}");
    assert!(!target.holds("SELECT to_regclass('public.states') IS NOT NULL").await);
}

/// A changed plan says what moved.
#[tokio::test]
async fn a_changed_plan_names_what_came_and_what_went() {
    let target = TestTarget::migrated().await;
    target.sql("CREATE VIEW public.first AS SELECT key FROM general.state").await;
    let daemon = Setup::of(&target).start().await;
    let dry = daemon.ctl("reset --dry-run").await;
    let digest = dry.text("/plan/digest").to_owned();
    target
        .sql(
            "DROP VIEW public.first; CREATE VIEW public.second AS SELECT key FROM general.state;
             CREATE INDEX late ON health.state (updated_at); COMMENT ON SCHEMA shared IS 'ours'",
        )
        .await;
    let out = daemon.ctl(&format!("reset --plan-digest {digest} {CONFIRMED}")).await;
    out.refused("PLAN_CHANGED");
    let moved = out.text("/error_detail/metadata/moved");
    for part in
        ["outside view public.second", "index health.late", "comment ours", "gone: outside view public.first"]
    {
        assert!(moved.contains(part), "{part} in {moved}");
    }
}

/// The data limit: more rows than the profile lets go unasked need the digest. And what was written since is told.
#[tokio::test]
async fn more_rows_than_the_fuse_go_with_the_digest_only() {
    let target = TestTarget::migrated().await;
    target.sql("INSERT INTO general.state (key) SELECT n::text FROM generate_series(1, 2000) n").await;
    target.sql("ANALYZE").await;
    let daemon = Setup::of(&target).with("[profile.local]\nmax_rows = \"1k\"\n").start().await;
    let out = daemon.ctl(&format!("reset {CONFIRMED}")).await;
    out.refused("DATA_LIMIT");
    assert_eq!(out.code, 4, "{out}");
    let digest = out.text("/plan/digest").to_owned();
    daemon.ctl(&format!("reset --plan-digest {digest} {CONFIRMED}")).await.expect(0);

    target.sql("CREATE TABLE public.later AS SELECT n FROM generate_series(1, 500) n").await;
    eventually("the rows are counted", || async {
        let dry = daemon.ctl("reset --dry-run").await;
        assert!(dry.at("/plan/activity/since").is_string(), "{dry}");
        dry.at("/plan/activity/inserted").as_i64().is_some_and(|rows| rows >= 500)
    })
    .await;
}

/// A generator of its own: the same schema properties in each run of the test.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit).unwrap_or_default()
    }
}

/// Random grants, with grantors, comments and defaults on one schema.
fn furnish(dice: &mut Dice, roles: &[String], schema: &str, round: u32) -> String {
    let mut role = || roles[dice.below(5)].clone();
    let (owner, middle, last, other, maker) = (role(), role(), role(), role(), role());
    let mut sql = format!("ALTER SCHEMA {schema} OWNER TO {owner};");
    let privilege = ["USAGE", "CREATE", "ALL"][dice.below(3)];
    let option = ["", " WITH GRANT OPTION"][dice.below(2)];
    sql.push_str(&format!("GRANT {privilege} ON SCHEMA {schema} TO {other}{option};"));
    if middle != owner && last != owner && middle != last {
        sql.push_str(&format!(
            "GRANT USAGE ON SCHEMA {schema} TO {middle} WITH GRANT OPTION; SET ROLE {middle};
             GRANT USAGE ON SCHEMA {schema} TO {last}; RESET ROLE;"
        ));
    }
    let what = ["SELECT ON TABLES", "USAGE ON SEQUENCES", "EXECUTE ON FUNCTIONS", "USAGE ON TYPES"];
    let what = what[dice.below(4)];
    sql.push_str(&format!(
        "GRANT CREATE ON SCHEMA {schema} TO {maker};
         ALTER DEFAULT PRIVILEGES FOR ROLE {maker} IN SCHEMA {schema} GRANT {what} TO {last};"
    ));
    if dice.below(2) == 0 && maker != owner {
        // PostgreSQL wants the right to create only when the default is written; it may be lost since.
        sql.push_str(&format!("REVOKE CREATE ON SCHEMA {schema} FROM {maker} CASCADE;"));
    }
    sql.push_str(&match dice.below(4) {
        0 => format!("GRANT USAGE ON SCHEMA {schema} TO PUBLIC;"),
        1 => format!("REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;"),
        2 => format!("COMMENT ON SCHEMA {schema} IS 'round {round}, it''s \"{schema}\"';"),
        _ => format!("COMMENT ON SCHEMA {schema} IS NULL;"),
    });
    sql
}

/// A dump is the same before and after a run, whatever schema properties there is.
#[tokio::test]
async fn schema_properties_of_any_kind_come_back_as_they_were() {
    let target = TestTarget::make(Make::superuser(Because::APropertyIsASuperusers)).await;
    let daemon = Setup::of(&target).start().await;
    let roles: Vec<String> = (0..5).map(|n| format!("role_{n}_{}", target.database)).collect();
    let make: Vec<String> = roles.iter().map(|role| format!("CREATE ROLE {role}")).collect();
    target.sql(&make.join("; ")).await;
    // Revisions run as the schemas' owners, and some of them make use of other schemas.
    target.sql(&format!("GRANT postgres TO {}", roles.join(", "))).await;
    if target.major().await >= 15 {
        target.sql("CREATE PUBLICATION whole FOR TABLES IN SCHEMA health, shared").await;
    }
    let mut dice = Dice(4_711);
    for round in 0..6 {
        let schemas = ["shared", "general", "health", "messenger", "relationship", "switchboard"];
        let sql: String = schemas.iter().map(|schema| furnish(&mut dice, &roles, schema, round)).collect();
        target.sql(&sql).await;
        daemon.ctl(&format!("run {CONFIRMED}")).await.expect(0);
        let before = target.dump_serving().await;
        let out = daemon.ctl(&format!("run {CONFIRMED}")).await;
        out.expect(0);
        assert!(out.list("/findings").is_empty(), "round {round}: {out}");
        assert_eq!(before, target.dump_serving().await, "round {round}");
    }
}

/// The optional chain where the server lacks its extension: refused before anything is dropped. Where it is there: `newer`.
#[tokio::test]
async fn the_vector_chain_is_refused_where_the_server_lacks_the_extension() {
    let target = TestTarget::migrated().await;
    if target.holds("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')").await {
        let said = b"chain memory_vector: the server has pgvector, its refusal is not tested\n";
        std::io::stderr().write_all(said).unwrap();
        return;
    }
    let daemon = Setup::of(&target).with(&harness::migrations::with_vectors()).start().await;
    let before = target.state().await;
    let out = daemon.ctl(&format!("run {CONFIRMED}")).await;
    out.refused("PREFLIGHT_FAILED");
    assert!(finding(&out, "EXTENSION_UNAVAILABLE")["object"].to_string().contains("vector"), "{out}");
    assert_eq!(before, target.state().await);
}
