//! What a database holds, for comparisons before and after: a dump, and the identities a dump does not show.

use crate::{process, target::TestTarget, wait::soon};

/// A relation with what tells it apart from one that looks the same.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Relation {
    /// `schema.name`.
    pub name: String,
    /// Its oid: another one means that it was dropped and recreated.
    pub oid: String,
    /// Its file: another one means that it was rewritten or truncated.
    pub file: String,
    /// Its rows, counted; `NULL` where it is no table.
    pub rows: String,
}

impl Relation {
    pub(crate) fn of(row: Vec<String>) -> Self {
        let [name, oid, file, rows] = <[String; 4]>::try_from(row).expect("four columns");
        Self { name, oid, file, rows }
    }
}

/// A dump and the identities.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// `pg_dump --create`, with data.
    pub dump: String,
    /// Schemas by name and oid.
    pub schemas: Vec<Vec<String>>,
    /// Relations by name.
    pub relations: Vec<Relation>,
}

pub(crate) const RELATIONS: &str = "
SELECT n.nspname || '.' || c.relname, c.oid, c.relfilenode,
       CASE WHEN c.relkind IN ('r', 'm') THEN (xpath('/row/c/text()',
           query_to_xml(format('SELECT count(*) AS c FROM %I.%I', n.nspname, c.relname), false, true, '')))[1]::text END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
 ORDER BY 1, 2";

pub(crate) const SCHEMAS: &str =
    "SELECT nspname, oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_t%' ORDER BY 1";

impl TestTarget {
    /// `pg_dump` of schema, data, grants and database-level settings. Lines that differ from dump to dump are left out.
    ///
    /// # Panics
    /// `pg_dump` is not there or fails.
    pub async fn dump(&self) -> String {
        self.dump_with(&[]).await
    }

    /// The same without the schemas that are set aside.
    ///
    /// # Panics
    /// `pg_dump` is not there or fails.
    pub async fn dump_serving(&self) -> String {
        self.dump_with(&["--exclude-schema=resetd_kept_*"]).await
    }

    async fn dump_with(&self, more: &[&str]) -> String {
        let mut command = self.program("pg_dump");
        command.args(["--create", "--no-password", "--dbname", &self.admin_url()]).args(more);
        let output = soon("pg_dump", command.output()).await;
        let output = output.unwrap_or_else(|error| panic!("pg_dump cannot be run: {error}"));
        assert!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("a dump in UTF-8");
        // The key of \restrict (15.14 and later) is random.
        let stays = |line: &&str| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict ");
        text.lines().filter(stays).map(|line| format!("{line}\n")).collect()
    }

    /// `pg_dumpall --globals-only`, without passwords.
    ///
    /// # Panics
    /// `pg_dumpall` is not there or fails.
    pub async fn globals(&self) -> String {
        let url = self.postgres.url("postgres");
        let mut command = self.program("pg_dumpall");
        command.args(["--globals-only", "--no-role-passwords", "--no-password", "--dbname", &url]);
        let output = soon("pg_dumpall", command.output()).await;
        let output = output.unwrap_or_else(|error| panic!("pg_dumpall cannot be run: {error}"));
        assert!(output.status.success(), "pg_dumpall: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a dump in UTF-8")
    }

    /// Runs a script by psql, as the daemon's role in the target, up to the first error.
    ///
    /// # Panics
    /// `psql` is not there, or the script fails.
    pub async fn psql(&self, script: &str) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("script.sql");
        std::fs::write(&file, script).expect("a script can be written");
        let mut command = self.program("psql");
        command
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "--no-password", "-d", &self.url(), "-f"])
            .arg(&file);
        let output = soon("psql", command.output()).await;
        let output = output.unwrap_or_else(|error| panic!("psql cannot be run: {error}"));
        assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn program(&self, name: &str) -> tokio::process::Command {
        process::command(self.postgres.programs.as_ref().map_or_else(|| name.into(), |p| p.join(name)))
    }

    /// Every relation outside the system's schemas.
    pub async fn snapshot(&self) -> Vec<Relation> {
        self.rows(RELATIONS).await.into_iter().map(Relation::of).collect()
    }

    /// Everything that must be the same when nothing was changed.
    pub async fn state(&self) -> State {
        let (dump, schemas, relations) = tokio::join!(self.dump(), self.rows(SCHEMAS), self.snapshot());
        State { dump, schemas, relations }
    }
}
