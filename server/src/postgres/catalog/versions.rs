//! `alembic_version` as others may have made it: shown to be a plain table before it is read, and to call nobody's
//! functions before it is written to.
//!
//! What hangs on a table (casts of its types, triggers, rules, policies, defaults, checks, index expressions) runs with the
//! rights of whoever reads or writes it. That is looked up in the catalogs alone.

use futures_util::TryStreamExt as _;
use model::{fault::Fault, finding::Finding};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::postgres::sql::{error::work_fault, ident::Ident};

/// The query; its parameter are the schemas.
const TABLES: &str = include_str!("versions.sql");

/// The relation of that name in one schema.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct VersionTable {
    pub(crate) schema: String,
    pub(crate) schema_owner: String,
    /// The session's role may act as the schema's owner.
    pub(crate) may_act: bool,
    /// Its owner, where the session's role may read it as that one.
    read_as: Option<String>,
    /// The session's role may read it itself.
    readable: bool,
    unreadable: Vec<String>,
    unwritable: Vec<String>,
}

/// What is there of that name in the schemas.
///
/// # Errors
/// The session was lost.
pub(crate) async fn look(
    connection: &mut PgConnection,
    schemas: &[String],
) -> Result<Vec<VersionTable>, Fault> {
    sqlx::query_as(TABLES)
        .bind(schemas)
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("looking at the alembic_version tables", &e))
}

/// The versions of one schema, inside a transaction; none where there is no table.
///
/// # Errors
/// The session was lost, or the table must not be read.
pub(crate) async fn of_schema(connection: &mut PgConnection, schema: &str) -> Result<Vec<String>, Fault> {
    let tables = look(&mut *connection, &[schema.to_owned()]).await?;
    let Some(table) = tables.first() else { return Ok(Vec::new()) };
    match model::finding::refusal(&table.findings("the daemon's", false)) {
        Some(refusal) => Err(refusal),
        None => table.read(connection).await,
    }
}

impl VersionTable {
    /// It may be written to as the schema's owner, and nothing that hangs on it is called.
    pub(crate) fn is_writable(&self) -> bool {
        self.may_act && self.unreadable.is_empty() && self.unwritable.is_empty()
    }

    /// It is a plain table, and somebody may read it for the daemon.
    pub(crate) fn is_readable(&self) -> bool {
        self.unreadable.is_empty() && (self.readable || self.read_as.is_some())
    }

    /// Why it cannot be read, or, where it is to be written to, not that.
    pub(crate) fn findings(&self, role: &str, writes: bool) -> Vec<Finding> {
        let object = format!("{}.alembic_version", self.schema);
        let kept_off = |why: &[String], what: &str| {
            (!why.is_empty()).then(|| {
                Finding::error(
                    "VERSION_TABLE_UNSAFE",
                    &object,
                    format!("is not {what}: {}", why.join(", ")),
                    "whose functions it calls would have the daemon's rights: make it the plain table that Alembic makes",
                )
            })
        };
        let mut all: Vec<Finding> = kept_off(&self.unreadable, "read").into_iter().collect();
        if self.unreadable.is_empty() && !self.is_readable() {
            all.push(not_readable(&self.schema, role));
        }
        if writes {
            all.extend(kept_off(&self.unwritable, "written to"));
        }
        all
    }

    /// Its rows, read as the least role that can: nothing is planned and nothing is cast, so that no function is called.
    ///
    /// # Errors
    /// The session was lost; something else took the table's place since it was looked at.
    pub(crate) async fn read(&self, connection: &mut PgConnection) -> Result<Vec<String>, Fault> {
        let doing = format!("reading {}.alembic_version", self.schema);
        let failed = |e: sqlx::Error| work_fault(&doing, &e);
        if let Some(owner) = &self.read_as {
            let assume = format!("SET LOCAL ROLE {}", Ident(owner));
            sqlx::raw_sql(AssertSqlSafe(assume)).execute(&mut *connection).await.map_err(failed)?;
        }
        let copy = format!("COPY {}.alembic_version (version_num) TO STDOUT", Ident(&self.schema));
        let stream = connection.copy_out_raw(&copy).await.map_err(failed)?;
        let chunks: Vec<_> = stream.try_collect().await.map_err(failed)?;
        if self.read_as.is_some() {
            sqlx::raw_sql("SET LOCAL ROLE NONE").execute(connection).await.map_err(failed)?;
        }
        Ok(rows(&chunks.concat()))
    }
}

fn not_readable(schema: &str, role: &str) -> Finding {
    let (schema_name, role_name) = (Ident(schema), Ident(role));
    Finding::error(
        "VERSION_UNREADABLE",
        format!("{schema}.alembic_version"),
        format!("role {role} may not read it"),
        format!(
            "GRANT USAGE ON SCHEMA {schema_name} TO {role_name}; GRANT SELECT ON {schema_name}.alembic_version TO {role_name}"
        ),
    )
}

/// The rows of one column in COPY's text format, NULL left out.
fn rows(copied: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(copied);
    text.lines().filter(|line| *line != "\\N").map(unescaped).collect()
}

fn unescaped(line: &str) -> String {
    let (mut text, mut chars) = (String::new(), line.chars());
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('v') => '\u{b}',
                Some(other) => other,
                None => '\\',
            },
            c => c,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_as_it_was_written() {
        assert_eq!(rows(b"core_001\n\\N\na\\\\b\\tc\\nd\n"), ["core_001", "a\\b\tc\nd"]);
        assert_eq!(rows(b""), Vec::<String>::new());
    }
}
