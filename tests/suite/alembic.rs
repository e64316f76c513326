//! The real Alembic reads what resetd wrote, and goes on from there: `alembic_version` is its own table, not a likeness.

use std::{path::PathBuf, process::Output};

use harness::{Setup, TestTarget, commands::RUN, test_venv};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const BUTLERS: [&str; 5] = ["general", "health", "messenger", "relationship", "switchboard"];
const MEMORY: [&str; 4] = ["general", "health", "relationship", "switchboard"];

/// `alembic` with the stub revisions of `tests/alembic`, on one schema of a target.
struct Alembic<'a> {
    target: &'a TestTarget,
    schema: &'a str,
    /// The folders of revisions below `tests/alembic`.
    versions: &'a [&'a str],
}

fn program() -> PathBuf {
    let path = test_venv().join("bin/alembic");
    assert!(path.is_file(), "Alembic is not there: run `make setup-tests` first ({})", path.display());
    path
}

impl Alembic<'_> {
    async fn try_run(&self, words: &[&str]) -> Output {
        // As teams run it: as the role that owns the target.
        let url = self.target.tcp_url().replace("postgres://", "postgresql+psycopg://");
        let mut command = tokio::process::Command::new(program());
        command.current_dir(PathBuf::from(HERE).join("alembic")).kill_on_drop(true);
        command.args(["--name", &self.versions.join("_")]).args(words);
        command
            .env("ALEMBIC_URL", url)
            .env("ALEMBIC_SCHEMA", self.schema)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        harness::soon("alembic", command.output()).await.expect("Alembic can be run")
    }

    async fn run(&self, words: &[&str]) -> String {
        let output = self.try_run(words).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "alembic {words:?} in {}\n{out}\n{err}", self.schema);
        out.into_owned()
    }

    /// `alembic current`: each revision, with a mark where it is a head.
    async fn current(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.run(&["current"]).await.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

fn expected(schema: &str) -> Vec<&'static str> {
    match MEMORY.contains(&schema) {
        true => vec!["core_001 (head)", "mem_001 (head)"],
        false => vec!["core_001 (head)"],
    }
}

fn locations(schema: &str) -> &'static [&'static str] {
    if MEMORY.contains(&schema) { &["core", "memory"] } else { &["core"] }
}

#[tokio::test]
async fn alembic_finds_the_heads_that_resetd_wrote() {
    let target = TestTarget::empty().await;
    Setup::of(&target).start().await.ctl(RUN).await.expect(0);
    for schema in BUTLERS {
        let alembic = Alembic { target: &target, schema, versions: locations(schema) };
        assert_eq!(alembic.current().await, expected(schema), "{schema}");
        // There is nothing left for it to do, and it makes no table of its own.
        let before = target.dump().await;
        alembic.run(&["upgrade", "heads"]).await;
        assert_eq!(before, target.dump().await, "{schema}");
    }
    // A folder that does not know the revisions cannot place them: the test can fail.
    let stranger = Alembic { target: &target, schema: "general", versions: &["core"] };
    let output = stranger.try_run(&["current"]).await;
    assert!(!output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("mem_001"), "{output:?}");
}

/// The table is the same, column by column and by its key's name, as the one that Alembic makes.
#[tokio::test]
async fn the_version_table_is_the_one_that_alembic_makes() {
    let (target, model) = tokio::join!(TestTarget::empty(), TestTarget::empty());
    Setup::of(&target).start().await.ctl(RUN).await.expect(0);
    model.sql(&format!("CREATE SCHEMA general AUTHORIZATION {}", model.role)).await;
    let alembic = Alembic { target: &model, schema: "general", versions: &["core", "memory"] };
    alembic.run(&["stamp", "heads"]).await;
    let shape = "
        SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text, c.conname, pg_get_constraintdef(c.oid)
          FROM pg_attribute a LEFT JOIN pg_constraint c ON c.conrelid = a.attrelid
         WHERE a.attrelid = 'general.alembic_version'::regclass AND a.attnum > 0 ORDER BY c.conname";
    assert_eq!(target.rows(shape).await, model.rows(shape).await);
    let rows = "SELECT version_num FROM general.alembic_version ORDER BY 1";
    assert_eq!(target.column(rows).await, model.column(rows).await);
}

/// Alembic goes on where resetd stopped; resetd then says what it does not know, and where.
#[tokio::test]
async fn alembic_goes_on_and_resetd_says_what_it_does_not_know() {
    let target = TestTarget::empty().await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(RUN).await.expect(0);
    let alembic = Alembic { target: &target, schema: "health", versions: &["core", "memory", "more"] };
    alembic.run(&["upgrade", "core_900"]).await;
    assert_eq!(alembic.current().await, ["core_900 (head)", "mem_001 (head)"]);
    assert!(target.holds("SELECT to_regclass('health.made_by_alembic') IS NOT NULL").await);

    let out = daemon.ctl("validate").await;
    out.expect(7).refused("VALIDATION_DIFFERENCES");
    for word in ["core_900", "health"] {
        assert!(out.text("/error_detail/message").contains(word), "{word}\n{out}");
    }
    let before = target.state().await;
    let out = daemon.ctl("migrate").await;
    assert_ne!(out.code, 0, "it does not know what comes before and what after\n{out}");
    assert!(out.text("/error_detail/message").contains("core_900"), "{out}");
    assert_eq!(before, target.state().await);

    // A run brings everything back to what the chains say; Alembic agrees.
    daemon.ctl(RUN).await.expect(0);
    assert_eq!(alembic.current().await, ["core_001", "mem_001 (head)"]);
}

/// And the other way round: what Alembic stamped, resetd takes for what it is.
#[tokio::test]
async fn resetd_reads_what_alembic_stamped() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for schema in BUTLERS {
        target.sql(&format!("DROP TABLE {schema}.alembic_version")).await;
    }
    daemon.ctl("validate").await.expect(7);
    for schema in BUTLERS {
        Alembic { target: &target, schema, versions: locations(schema) }.run(&["stamp", "heads"]).await;
    }
    daemon.ctl("validate").await.expect(0);
    let out = daemon.ctl("migrate").await;
    out.expect(0);
    assert!(
        out.list("/details/migrations").iter().all(|m| m["applied"].as_array().unwrap().is_empty()),
        "{out}"
    );
}
