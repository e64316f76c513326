//! The words of a migration tool.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;

/// A migration tool that fills what is new.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ToolArgs {
    /// Let this command fill what is new (run): it runs here, in a shell.
    ///
    /// Its DATABASE_URL, PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE lead to the database that the daemon builds aside (scope
    /// database) or into the run's transaction, and nowhere else. RESETD_SCHEMA is the schema that it fills. Exit code 0 means that it succeeded.
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new(), conflicts_with = "detach")]
    pub with: Option<String>,
    /// Put a hash over the files of this folder into the report, beside the git commit.
    #[arg(long, value_name = "DIR", requires = "with")]
    pub with_files: Option<PathBuf>,
}
