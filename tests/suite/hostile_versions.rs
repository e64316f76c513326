//! `alembic_version` made by somebody else: whatever it is, nothing that hangs on it is ever called with the daemon's rights.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use harness::{Daemon, Migrations, Setup, TestTarget, commands::RUN};
use tempfile::TempDir;

/// What each verb says on a command line, whatever it may change.
const VERBS: [&str; 7] = [
    "validate",
    "migrate --dry-run",
    "migrate --allow-phased",
    "migrate",
    "run --dry-run",
    RUN,
    "reset --confirm-destructive-reset RESET",
];

/// Those that write to the table that is there.
const WRITING: [&str; 3] = ["migrate --dry-run", "migrate --allow-phased", "migrate"];

/// A file on the server's machine that a hostile function writes to: what it did survives every rollback and works in
/// transactions that only read.
struct Marker(TempDir);

impl Marker {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("called")
    }

    /// The statement of a hostile body: it writes down who called it.
    fn write(&self) -> String {
        format!("COPY (SELECT session_user, current_user) TO PROGRAM 'cat >> {}';", self.path().display())
    }

    /// The roles that it was called as since it was last cleared.
    fn called(&self) -> String {
        fs::read_to_string(self.path()).unwrap_or_default()
    }

    fn clear(&self) {
        if self.path().exists() {
            // The file is the server's, the folder is the test's.
            fs::remove_file(self.path()).unwrap();
        }
    }
}

/// A migrated target with one revision pending, a daemon, and a marker that functions named `public.trap…` write to.
struct Scene {
    target: TestTarget,
    daemon: Daemon,
    marker: Marker,
    _chains: Migrations,
}

impl Scene {
    async fn new() -> Self {
        let (target, chains, marker) = (TestTarget::migrated().await, Migrations::shipped(), Marker::new());
        chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE late (n int);");
        let daemon = Setup::of(&target).migrations(&chains).start().await;
        // A first operation that changes something enrolls the target.
        daemon.ctl("migrate --dry-run").await.expect(0);
        let write = marker.write();
        target
            .sql(&format!(
                // What is declared immutable may only read, and may call what writes: whoever calls it, it is seen.
                "CREATE FUNCTION public.trap_write() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
                   $$ BEGIN {write} END $$;
                 CREATE TYPE public.hostile AS (v text);
                 CREATE FUNCTION public.trap_cast(x public.hostile) RETURNS text LANGUAGE plpgsql AS
                   $$ BEGIN PERFORM public.trap_write(); RETURN x.v; END $$;
                 CREATE CAST (public.hostile AS text) WITH FUNCTION public.trap_cast(public.hostile);
                 CREATE FUNCTION public.trap_trigger() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN PERFORM public.trap_write(); RETURN NEW; END $$;
                 CREATE FUNCTION public.trap_text(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
                   $$ BEGIN PERFORM public.trap_write(); RETURN x; END $$;
                 CREATE FUNCTION public.trap_bool(x text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
                   $$ BEGIN PERFORM public.trap_write(); RETURN true; END $$;"
            ))
            .await;
        Self { target, daemon, marker, _chains: chains }
    }

    /// Plants something as the daemon's role, whose table it is, then runs these verbs: each is refused and names the table,
    /// nothing was called, nothing changed.
    async fn refused(&self, what: &str, plant: &str, verbs: &[&str]) {
        let Self { target, daemon, marker, .. } = self;
        target.role_sql(plant).await;
        let before = target.dump().await;
        marker.clear();
        for line in verbs {
            let out = daemon.ctl(line).await;
            assert_eq!(marker.called(), "", "{what}: called by {line}\n{out}");
            let told = if line.contains("dry-run") { &out } else { out.refused("PREFLIGHT_FAILED") };
            assert!(told.report().to_string().contains("general.alembic_version"), "{what}\n{out}");
        }
        // A dump reads the table with the rights of the test itself.
        assert_eq!(before, target.dump().await, "{what}");
        marker.clear();
    }
}

/// The version's own type: a cast of it would be called by whoever reads it as text.
#[tokio::test]
async fn a_version_of_a_type_with_a_cast_is_never_read() {
    let scene = Scene::new().await;
    let plant = "DROP TABLE general.alembic_version;
                 CREATE TABLE general.alembic_version (version_num public.hostile);
                 INSERT INTO general.alembic_version VALUES (ROW('core_001')::public.hostile);";
    scene.refused("a composite type", plant, &VERBS).await;
    // Scope database leaves the old table where it is, and does not look into it.
    let out = scene.daemon.ctl("run --scope database --confirm-destructive-reset RESET").await;
    out.expect(0);
    assert_eq!(scene.marker.called(), "", "{out}");
}

/// Any holder of rights on all tables can make a trigger; it would have the rights of whoever writes.
#[tokio::test]
async fn a_trigger_of_somebody_with_rights_on_the_table_never_fires() {
    let scene = Scene::new().await;
    let mallory = format!("mallory_{}", scene.target.database);
    let plant = format!(
        "CREATE ROLE {mallory}; CREATE SCHEMA {mallory} AUTHORIZATION {mallory};
         GRANT USAGE ON SCHEMA general TO {mallory}; GRANT ALL ON ALL TABLES IN SCHEMA general TO {mallory};
         SET ROLE {mallory};
         CREATE FUNCTION {mallory}.trap() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM public.trap_write(); RETURN NEW; END $$;
         CREATE TRIGGER hostile BEFORE INSERT OR UPDATE ON general.alembic_version
            FOR EACH STATEMENT EXECUTE FUNCTION {mallory}.trap();
         RESET ROLE;"
    );
    scene.target.sql(&plant).await;
    scene.refused("a trigger", "", &WRITING).await;
    let out = scene.daemon.ctl("migrate").await;
    assert!(out.report().to_string().contains("trigger hostile"), "{out}");
    // Once it is gone, the migration goes on.
    scene.target.sql("DROP TRIGGER hostile ON general.alembic_version").await;
    scene.daemon.ctl("migrate").await.expect(0);
    assert_eq!(scene.marker.called(), "");
}

const TABLE: &str = "general.alembic_version";
const PLAIN: &str = "DROP TABLE IF EXISTS general.alembic_version CASCADE;
    CREATE TABLE general.alembic_version (
        version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
    INSERT INTO general.alembic_version VALUES ('core_001'), ('mem_001');";

/// Everything else that is called, or misleads, when a table is read.
#[tokio::test]
async fn what_is_no_plain_table_is_refused_before_it_is_read() {
    let scene = Scene::new().await;
    let planted = [
        (
            "a view",
            format!(
                "DROP TABLE {TABLE};
                 CREATE VIEW {TABLE} AS SELECT public.trap_text('core_001')::varchar AS version_num"
            ),
        ),
        (
            "a partitioned table",
            format!(
                "DROP VIEW {TABLE}; CREATE TABLE {TABLE} (version_num varchar(32)) PARTITION BY LIST (version_num)"
            ),
        ),
        (
            "an heir",
            format!(
                "{PLAIN} CREATE TABLE public.heir (CHECK (public.trap_bool(version_num))) INHERITS ({TABLE})"
            ),
        ),
        (
            "a parent",
            format!(
                "{PLAIN} CREATE TABLE public.elder (version_num varchar(32) NOT NULL);
                 ALTER TABLE {TABLE} INHERIT public.elder"
            ),
        ),
        (
            "a rule",
            format!(
                "{PLAIN} CREATE RULE hostile AS ON UPDATE TO {TABLE}
                         DO ALSO SELECT public.trap_text(OLD.version_num)"
            ),
        ),
        (
            "row security",
            format!(
                "{PLAIN} ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
                 CREATE POLICY hostile ON {TABLE} USING (public.trap_bool(version_num))"
            ),
        ),
        (
            "a domain",
            format!(
                "DROP TABLE {TABLE}; CREATE DOMAIN public.version AS varchar(32) CHECK (public.trap_bool(VALUE));
                 CREATE TABLE {TABLE} (version_num public.version)"
            ),
        ),
        (
            "a generated version",
            format!(
                "DROP TABLE {TABLE}; CREATE TABLE {TABLE} (
                    id int, version_num varchar GENERATED ALWAYS AS (public.trap_text('core_001')) STORED);
                 INSERT INTO {TABLE} VALUES (1)"
            ),
        ),
    ];
    for (what, plant) in planted {
        scene.refused(what, &plant, &VERBS).await;
    }
    scene.target.role_sql(PLAIN).await;
    scene.daemon.ctl("migrate").await.expect(0);
    assert_eq!(scene.marker.called(), "");
}

/// Everything else that is called when a table is written to. Where it is only read, or dropped, it may stay.
#[tokio::test]
async fn what_calls_a_function_is_refused_before_it_is_written_to() {
    let scene = Scene::new().await;
    let planted = [
        ("a check", format!("ALTER TABLE {TABLE} ADD CHECK (public.trap_bool(version_num))")),
        ("an index with a function", format!("CREATE INDEX ON {TABLE} (public.trap_text('x'))")),
        ("a condition", format!("CREATE INDEX ON {TABLE} (version_num) WHERE public.trap_bool('x')")),
        (
            "statistics with a function",
            format!(
                "CREATE STATISTICS general.hostile ON (public.trap_text(version_num)), version_num FROM {TABLE}"
            ),
        ),
        ("a default", format!("ALTER TABLE {TABLE} ADD note text DEFAULT public.trap_text('x')")),
        (
            "a generated column",
            format!(
                "ALTER TABLE {TABLE} ADD note text GENERATED ALWAYS AS (public.trap_text(version_num)) STORED"
            ),
        ),
        (
            "a column of a domain",
            format!(
                "CREATE DOMAIN public.guarded AS text CHECK (public.trap_bool(VALUE));
                 ALTER TABLE {TABLE} ADD note public.guarded"
            ),
        ),
        (
            "a foreign key",
            format!(
                "DROP TABLE IF EXISTS public.heads CASCADE;
                 CREATE TABLE public.heads (v varchar(32) PRIMARY KEY);
                 INSERT INTO public.heads VALUES ('core_001'), ('mem_001');
                 ALTER TABLE {TABLE} ADD FOREIGN KEY (version_num) REFERENCES public.heads"
            ),
        ),
        (
            "a trigger",
            format!(
                "CREATE TRIGGER hostile BEFORE INSERT OR UPDATE ON {TABLE}
                    FOR EACH ROW EXECUTE FUNCTION public.trap_trigger()"
            ),
        ),
    ];
    let other = format!(
        "{PLAIN} CREATE ROLE owner_{0}; ALTER TABLE {TABLE} OWNER TO owner_{0}",
        scene.target.database
    );
    scene.target.sql(&other).await;
    scene.refused("another owner", "", &WRITING).await;
    for (what, plant) in &planted {
        scene.refused(what, &format!("{PLAIN} {plant}"), &WRITING).await;
    }
    // A reset does not write to it: with everything at once, it goes with its schema.
    scene.target.role_sql(PLAIN).await;
    for (_, plant) in planted.iter().filter(|(what, _)| *what != "a generated column") {
        scene
            .target
            .role_sql(&plant.replace("CREATE DOMAIN", "-- ").replace("ADD note public", "ADD more public"))
            .await;
    }
    scene.marker.clear();
    for line in ["validate", "run --dry-run", RUN] {
        let out = scene.daemon.ctl(line).await;
        out.expect(if line == "validate" { 7 } else { 0 });
        assert_eq!(scene.marker.called(), "", "{out}");
    }
}

/// What teams add to the table and what calls nobody's function is no hindrance.
#[tokio::test]
async fn a_plain_table_with_more_columns_is_read_and_written() {
    let scene = Scene::new().await;
    let more = "ALTER TABLE general.alembic_version ADD applied_at timestamptz DEFAULT now(), ADD note text;
                ALTER TABLE health.alembic_version ALTER version_num TYPE text;
                CREATE INDEX ON general.alembic_version (applied_at)";
    scene.target.sql(more).await;
    scene.daemon.ctl("migrate").await.expect(0);
    let versions = "SELECT string_agg(version_num, ' ' ORDER BY version_num) FROM";
    for schema in ["general", "health"] {
        let now = scene.target.value(&format!("{versions} {schema}.alembic_version")).await;
        assert_eq!(now, "core_002 mem_001", "{schema}");
    }
}
