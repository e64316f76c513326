//! Schema `public` among the managed ones: reset, filled and brought back like any other, with the properties it has from its
//! birth, in both scopes; and refused beforehand where the daemon's role cannot have it.

use harness::{
    Because, Make, Migrations, Roles, Setup, TestTarget,
    aside::kept,
    commands::{RESET, RUN, UNDO},
};

const REPLACE: &str = "run --scope database --confirm-destructive-reset RESET";

/// From here on `public` belongs to whoever owns the database.
const OWNED: u32 = 15;

const MATRIX: &str = "[matrix.default]\nshared_schemas = []\nsearch_path_suffix = [\"public\"]\n
    [[matrix.default.chain]]\nname = \"app\"\nschemas = [\"public\", \"extra\"]\ntables = [\"note\"]\n";

const PROPERTIES: &str = "SELECT n.nspowner::regrole::text, coalesce(n.nspacl::text, 'none'),
        coalesce(obj_description(n.oid, 'pg_namespace'), 'none'),
        (SELECT string_agg(d.defaclrole::regrole || ' ' || d.defaclacl::text, ' ') FROM pg_default_acl d
          WHERE d.defaclnamespace = n.oid)
   FROM pg_namespace n WHERE n.nspname = 'public'";

fn chains() -> Migrations {
    let chains = Migrations::none();
    chains.revision(
        "app/app_001.sql",
        "app_001",
        "none",
        "CREATE TABLE note (id int PRIMARY KEY, body text);",
    );
    chains.revision("app/app_002.sql", "app_002", "app_001", "ALTER TABLE note ADD COLUMN made date;");
    chains
}

/// An application's own tables in `public`, and properties that are not those of its birth.
async fn lived_in(make: Make<'_>) -> TestTarget {
    let target = TestTarget::make(make).await;
    let reader = format!("reader_{}", target.database);
    target.sql(&format!("CREATE ROLE {reader}")).await;
    let own = format!(
        "CREATE TABLE public.note (id serial PRIMARY KEY, body text); INSERT INTO public.note (body) VALUES ('mine');
         CREATE FUNCTION public.notes() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.note';
         ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {reader};"
    );
    target.role_sql(&own).await;
    target
        .sql(&format!(
            "COMMENT ON SCHEMA public IS 'where we live'; GRANT USAGE, CREATE ON SCHEMA public TO {reader}"
        ))
        .await;
    target
}

async fn is_like_any_other(roles: Roles) {
    let target = lived_in(Make { roles, ..Make::default() }).await;
    let plain_before_owned = target.control_role.is_some() && target.major().await < OWNED;
    if plain_before_owned {
        // What the finding says: see the test below.
        target.sql(&format!("ALTER SCHEMA public OWNER TO {}", target.role)).await;
    }
    let chains = chains();
    let daemon = Setup::of(&target).migrations(&chains).with(MATRIX).start().await;
    let (before, properties) = (target.dump().await, target.rows(PROPERTIES).await);
    let mine =
        "SELECT count(*) FROM pg_class WHERE relname = 'note' AND relnamespace = 'public'::regnamespace";
    for (change, there) in [(RUN, "1"), (REPLACE, "1"), (RESET, "0")] {
        let out = daemon.ctl(change).await;
        if plain_before_owned && change == REPLACE {
            // The new database is born with one that belongs to a superuser.
            out.refused("PREFLIGHT_FAILED");
            let told = |f: &&serde_json::Value| f["code"] == "PUBLIC_NOT_OWNED";
            assert_eq!(out.list("/plan/findings").iter().filter(told).count(), 1, "{out}");
            assert_eq!(target.dump_serving().await, before, "{change}");
            continue;
        }
        out.expect(0);
        assert_eq!(target.rows(PROPERTIES).await, properties, "{change}\n{out}");
        assert_eq!(target.value(mine).await, there, "{change}\n{out}");
        if change != REPLACE {
            let kept_as = out.text("/details/reset/0/kept_as");
            assert!(kept(&target).await.iter().any(|it| it == kept_as && it.ends_with("_public")), "{out}");
        }
        let found = out.list("/findings").iter().filter(|f| f["code"] == "SCHEMA_PROPERTIES_DIFFER").count();
        assert_eq!(found, 0, "{out}");
        if there == "1" {
            daemon.ctl("validate").await.expect(0);
            assert_eq!(target.value("SELECT count(*) FROM public.note").await, "0");
            assert_eq!(target.value("SELECT version_num FROM public.alembic_version").await, "app_002");
        }
        daemon.ctl(UNDO).await.expect(0);
        assert_eq!(target.rows(PROPERTIES).await, properties, "{change}");
        assert_eq!(target.dump_serving().await, before, "{change}");
        assert_eq!(target.value("SELECT public.notes()").await, "1");
    }
}

#[tokio::test]
async fn a_superuser_resets_fills_and_brings_it_back() {
    is_like_any_other(Roles::Superuser(Because::ItIsAboutSuperusers)).await;
}

#[tokio::test]
async fn two_plain_roles_reset_fill_and_bring_it_back() {
    is_like_any_other(Roles::Least).await;
}

#[tokio::test]
async fn an_extension_in_it_moves_out_and_is_never_lost() {
    let make = Make::superuser(Because::ExtensionsMove);
    let target = lived_in(Make { template: None, ..make }).await;
    target.sql("CREATE EXTENSION hstore SCHEMA public; CREATE SCHEMA other; CREATE TABLE other.kept (h public.hstore)").await;
    target.sql("INSERT INTO other.kept VALUES ('a=>1')").await;
    let chains = chains();
    let daemon = Setup::of(&target).migrations(&chains).with(MATRIX).start().await;
    let out = daemon.ctl("run --dry-run").await;
    out.expect(0);
    assert!(out.stdout.contains("hstore"), "{out}");
    daemon.ctl(RUN).await.expect(0);
    assert_eq!(target.value("SELECT h::text FROM other.kept").await, "\"a\"=>\"1\"");
    let home = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'hstore'";
    assert_eq!(target.value(home).await, "extensions");
    daemon.ctl(UNDO).await.expect(0);
    assert_eq!(target.value("SELECT h::text FROM other.kept").await, "\"a\"=>\"1\"");
}

/// The database belongs to somebody else: renaming `public`, or giving the new one its owner, is not the role's to do.
#[tokio::test]
async fn a_role_that_cannot_have_it_is_told_so_before_anything_changes() {
    let target = lived_in(Make { roles: Roles::Least, ..Make::default() }).await;
    let (role, database) = (&target.role, &target.database);
    let owned = target.major().await >= OWNED;
    if owned {
        target.sql(&format!("ALTER DATABASE {database} OWNER TO postgres")).await;
        target.sql(&format!("GRANT CREATE ON DATABASE {database} TO {role}")).await;
    }
    let chains = chains();
    let daemon = Setup::of(&target).migrations(&chains).with(MATRIX).start().await;
    let before = target.state().await;
    let out = daemon.ctl(RUN).await;
    out.refused("PREFLIGHT_FAILED");
    let findings = out.list("/plan/findings");
    let missing: Vec<_> = findings.iter().filter(|f| f["code"] == "MEMBERSHIP_MISSING").collect();
    assert_eq!(missing.len(), 1, "{out}");
    let hint = match owned {
        true => format!("ALTER DATABASE \"{database}\" OWNER TO \"{role}\";"),
        false => format!("ALTER SCHEMA \"public\" OWNER TO \"{role}\";"),
    };
    assert!(missing[0]["hint"].as_str().unwrap().contains(&hint), "{out}");
    assert!(!missing[0]["hint"].to_string().contains("GRANT"), "{out}");
    assert_eq!(before, target.state().await);
    // What it says is enough.
    target.sql(&hint).await;
    daemon.ctl(RUN).await.expect(0);
}
