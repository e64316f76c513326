//! A copy of the shipped chains that a test may change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use model::matrix::Matrix;
use tempfile::TempDir;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");

/// The chains in it, the daemon's own left out.
const SHIPPED_CHAINS: [&str; 3] = ["core", "memory", "memory_vector"];

/// A constraint trigger that puts itself off again each time it fires, until it fires inside the commit; there it
/// drops a table in five schemas. What it knows of the commit is how often it fired before.
pub const SLEEPER: &str = "
    CREATE TABLE sleeper (fired int);
    CREATE FUNCTION wake() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE it text;
    BEGIN
        IF NEW.fired < 100 THEN
            EXECUTE format('SET CONSTRAINTS %I.later DEFERRED', TG_TABLE_SCHEMA);
            EXECUTE format('UPDATE %I.sleeper SET fired = fired + 1', TG_TABLE_SCHEMA);
        ELSIF TG_TABLE_SCHEMA = 'general' THEN
            FOREACH it IN ARRAY '{general,health,messenger,relationship,switchboard}'::text[] LOOP
                EXECUTE format('DROP TABLE IF EXISTS %I.route_inbox', it);
            END LOOP;
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER later AFTER INSERT OR UPDATE ON sleeper
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wake();
    INSERT INTO sleeper VALUES (0);";

/// A folder of chains, gone when this is dropped.
#[derive(Debug)]
pub struct Migrations {
    folder: TempDir,
}

impl Migrations {
    /// A copy of the shipped chains.
    #[must_use]
    pub fn shipped() -> Self {
        let it = Self::none();
        for chain in SHIPPED_CHAINS {
            for entry in fs::read_dir(Path::new(SHIPPED).join(chain)).expect("the shipped chains are there") {
                let from = entry.expect("the shipped chains can be read").path();
                let name = from.file_name().and_then(|n| n.to_str()).expect("a plain file name");
                it.write(
                    &format!("{chain}/{name}"),
                    &fs::read_to_string(&from).expect("a revision can be read"),
                );
            }
        }
        it
    }

    /// The shipped chains again, in the same folder.
    pub fn restore(&self) {
        let shipped = Self::shipped();
        for chain in SHIPPED_CHAINS {
            let folder = self.file(chain);
            if folder.exists() {
                fs::remove_dir_all(&folder).expect("a chain's folder can be removed");
            }
            fs::rename(shipped.file(chain), folder).expect("a chain's folder can be moved");
        }
    }

    /// An empty folder.
    #[must_use]
    pub fn none() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The folder that holds one folder per chain.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, and its folder.
    pub fn write(&self, file: &str, text: &str) -> &Self {
        self.write_bytes(file, text.as_bytes())
    }

    /// Writes a file that need not be text.
    pub fn write_bytes(&self, file: &str, bytes: &[u8]) -> &Self {
        let path = self.file(file);
        fs::create_dir_all(path.parent().expect("a chain's folder")).expect("a chain's folder can be made");
        fs::write(path, bytes).expect("a revision can be written");
        self
    }

    /// Writes a revision: three lines of header, so that `sql` begins at line 4.
    pub fn revision(&self, file: &str, id: &str, revises: &str, sql: &str) -> &Self {
        self.write(
            file,
            &format!("-- revision: {id}\n-- revises: {revises}\n-- summary: made by a test\n{sql}\n"),
        )
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) -> &Self {
        fs::remove_file(self.file(file)).expect("the revision was there");
        self
    }

    /// A file's text.
    #[must_use]
    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.file(file)).expect("the revision can be read")
    }

    fn file(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn chain(&self, name: &str) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.folder.path().join(name)).expect("a chain's folder");
        let mut files: Vec<PathBuf> = entries.map(|e| e.expect("a revision").path()).collect();
        files.sort();
        files
            .into_iter()
            .map(|path| {
                let id = path.file_stem().and_then(|s| s.to_str()).expect("a file named after its revision");
                (id.to_owned(), fs::read_to_string(&path).expect("a revision can be read"))
            })
            .collect()
    }

    /// The default matrix as one script of plain SQL: for chains whose files are named and sorted like their revisions.
    pub(crate) fn as_one_script(&self) -> String {
        let matrix = Matrix::builtin_default();
        let mut script = String::new();
        for schema in matrix.managed_schemas() {
            script.push_str(&format!("CREATE SCHEMA {schema};\n"));
        }
        for chain in &matrix.chains {
            let revisions = self.chain(&chain.name);
            for schema in &chain.schemas {
                script.push_str(&format!("SET search_path TO {schema}, shared, public;\n"));
                script.push_str(
                    "CREATE TABLE IF NOT EXISTS alembic_version \
                     (version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));\n",
                );
                let head = revisions.last().map(|(id, _)| id.as_str()).unwrap_or_default();
                for (_, sql) in &revisions {
                    script.push_str(sql);
                }
                script.push_str(&format!("\n;INSERT INTO alembic_version VALUES ('{head}');\n"));
            }
        }
        for schema in &matrix.chains[0].schemas {
            script.push_str(&format!(
                "INSERT INTO {schema}.state (key, value) SELECT 'key ' || n, '{{}}' FROM generate_series(1, 3) n;\n"
            ));
        }
        script
    }
}

/// The matrix of the shipped example.
///
/// # Panics
/// The example has none.
#[must_use]
pub fn with_vectors() -> String {
    let example = include_str!("../../docs/memory-vector.toml");
    format!(
        "\n[matrix.default]{}",
        example.split_once("[matrix.default]").expect("the example has a matrix").1
    )
}
