//! One revision: a file of SQL with a header that says where it belongs.
//!
//! The header is the leading run of `--` lines (blank lines between them are welcome). Lines of the form
//! `-- key: value` with a known key are read; a key that is nearly a known one is a fault; all other comments are
//! comments. Keys are `revision` and `revises` (both required, `revises: none` begins a chain), `summary`,
//! `requires-extension` (repeatable, or several separated by commas, each with ` in SCHEMA` if need be), `transaction: none`, and `syntax: unchecked`
//! (which older versions needed for SQL that they did not know, and which means nothing any more).
//!
//! This module must not know the other revisions of the chain or how SQL is sent.

use crate::chain::{ChainFault, ChainFaultKind};
use crate::hex_sha256;
use crate::operation::limits;
use crate::sql::{self, Budget, Script, Statement, StatementKind};

const KEYS: [&str; 6] = ["revision", "revises", "summary", "requires-extension", "transaction", "syntax"];
const EXCERPT: usize = 60;

/// An extension that a revision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredExtension {
    /// Its name.
    pub name: String,
    /// The schema that the revision wants it in.
    pub schema: Option<String>,
}

/// One revision of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// What `alembic_version` holds: at most 32 characters of `A-Z a-z 0-9 _ . -`.
    pub id: String,
    /// The revision before it, none for the first.
    pub revises: Option<String>,
    /// One line for humans; empty when the header has none.
    pub summary: String,
    /// Extensions the header asks for, in order, each once.
    pub requires_extensions: Vec<RequiredExtension>,
    /// False when the header says `transaction: none`.
    pub transactional: bool,
    /// The file, relative to the migrations folder, for example `core/core_001.sql`.
    pub file: String,
    /// The whole text, header included and byte order mark taken off, so that positions are positions in the file.
    pub sql: String,
    /// SHA-256 of the file's bytes, in hex.
    pub checksum: String,
    /// The statements of the text.
    pub statements: Vec<Statement>,
}

impl Revision {
    /// Reads a file, or says everything that is wrong with it.
    ///
    /// # Errors
    /// All faults of the file at once, in order of place.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Vec<ChainFault>> {
        read(file, bytes, &mut Budget::new(&|| false)).revision
    }

    /// Every extension the revision needs, each once, with the schema it wants it in: those of the header and those it creates
    /// itself.
    pub fn extensions(&self) -> Vec<(&str, Option<&str>)> {
        let created = self.statements.iter().filter_map(|statement| match &statement.kind {
            StatementKind::CreateExtension { name, schema, .. } => Some((name.as_str(), schema.as_deref())),
            _ => None,
        });
        let required = self.requires_extensions.iter().map(|it| (it.name.as_str(), it.schema.as_deref()));
        each_once(required.chain(created))
    }

    /// The text with its `CREATE EXTENSION` statements blanked out (the extensions were made beforehand, elsewhere).
    /// Positions in it are positions in the file.
    pub fn sql_without_extensions(&self) -> String {
        let created =
            |statement: &&Statement| matches!(statement.kind, StatementKind::CreateExtension { .. });
        sql::blank(&self.sql, self.statements.iter().filter(created))
    }

    /// The beginning of a statement, for humans.
    pub fn excerpt(&self, statement: usize, max: usize) -> Option<String> {
        self.statements.get(statement).map(|statement| sql::excerpt(&self.sql, statement, max))
    }
}

/// Each extension once, where somebody said; the first to say so.
pub(crate) fn each_once<'a>(
    all: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Vec<(&'a str, Option<&'a str>)> {
    let mut once: Vec<(&str, Option<&str>)> = Vec::new();
    for (name, schema) in all {
        match once.iter_mut().find(|(known, _)| *known == name) {
            Some((_, said)) => *said = said.or(schema),
            None => once.push((name, schema)),
        }
    }
    once
}

/// A file as far as it could be read: a chain with a bad body still has its order.
pub(crate) struct Reading {
    /// Id and predecessor, when the header gives both.
    pub(crate) place: Option<(String, Option<String>)>,
    /// The revision, or its faults.
    pub(crate) revision: Result<Revision, Vec<ChainFault>>,
}

/// Reads files of SQL that are no revisions, in order of name: each gets its file's name as its id, and is sent as it is.
///
/// # Errors
/// All faults of the files at once, in order of place.
pub fn scripts(mut files: Vec<(String, Vec<u8>)>) -> Result<Vec<Revision>, Vec<ChainFault>> {
    files.sort();
    let mut budget = Budget::new(&|| false);
    let (mut scripts, mut faults) = (Vec::new(), Vec::new());
    for (file, bytes) in files {
        match script(&file, &bytes, &mut budget) {
            Ok(script) => scripts.push(script),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(scripts) } else { Err(faults) }
}

fn script(file: &str, bytes: &[u8], budget: &mut Budget<'_>) -> Result<Revision, Vec<ChainFault>> {
    let text = text_of(bytes).ok_or_else(|| vec![ChainFault::of(file, ChainFaultKind::NotText)])?;
    let mut faults = Vec::new();
    let mut read = sql::split(text, budget);
    body_faults(file, text, &read, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    for statement in &mut read.statements {
        if matches!(statement.kind, StatementKind::CreateExtension { .. }) {
            statement.kind = StatementKind::Ordinary;
        }
    }
    Ok(Revision {
        id: file.rsplit('/').next().unwrap_or(file).to_owned(),
        revises: None,
        summary: String::new(),
        requires_extensions: Vec::new(),
        transactional: true,
        file: file.to_owned(),
        sql: text.to_owned(),
        checksum: hex_sha256(bytes),
        statements: read.statements,
    })
}

fn text_of(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
    Some(text.strip_prefix('\u{feff}').unwrap_or(text))
}

pub(crate) fn read(file: &str, bytes: &[u8], budget: &mut Budget<'_>) -> Reading {
    let Some(text) = text_of(bytes) else {
        let fault = ChainFault::of(file, ChainFaultKind::NotText);
        return Reading { place: None, revision: Err(vec![fault]) };
    };
    let mut faults = Vec::new();
    let header = Header::read(file, text, &mut faults);
    let script = sql::split(text, budget);
    body_faults(file, text, &script, &mut faults);
    let place = header.id.clone().zip(header.revises.clone());
    let revision = match &place {
        Some((id, revises)) if faults.is_empty() => Ok(Revision {
            id: id.clone(),
            revises: revises.clone(),
            summary: header.summary.unwrap_or_default(),
            requires_extensions: header.extensions,
            transactional: !header.no_transaction,
            file: file.to_owned(),
            sql: text.to_owned(),
            checksum: hex_sha256(bytes),
            statements: script.statements,
        }),
        _ => {
            faults.sort_by_key(|fault| fault.line);
            Err(faults)
        }
    };
    Reading { place, revision }
}

/// The faults of a revision's SQL. What follows a `COPY … FROM stdin` is data, not SQL, so nothing is said about it.
fn body_faults(file: &str, text: &str, script: &Script, faults: &mut Vec<ChainFault>) {
    if script.statements.is_empty() && script.errors.is_empty() {
        faults.push(ChainFault::of(file, ChainFaultKind::Empty));
    }
    let stream = script.statements.iter().find(|statement| statement.kind == StatementKind::CopyStream);
    let end = stream.map_or(u32::MAX, |statement| statement.line);
    for statement in script.statements.iter().filter(|statement| statement.line <= end) {
        let kind = match statement.kind {
            StatementKind::Transaction => |statement| ChainFaultKind::Transaction { statement },
            StatementKind::CopyStream => |statement| ChainFaultKind::CopyStream { statement },
            StatementKind::VersionTable => |statement| ChainFaultKind::VersionTable { statement },
            _ => continue,
        };
        if faults.len() > limits::FAULTS {
            break;
        }
        let words = sql::excerpt(text, statement, EXCERPT);
        faults.push(ChainFault::at(file, statement.line, kind(words)));
    }
    for error in script.errors.iter().filter(|error| error.line < end) {
        let kind = ChainFaultKind::Unparsable { message: error.message.clone() };
        faults.push(ChainFault { column: Some(error.column), ..ChainFault::at(file, error.line, kind) });
    }
}

#[derive(Default)]
struct Header {
    id: Option<String>,
    revises: Option<Option<String>>,
    summary: Option<String>,
    extensions: Vec<RequiredExtension>,
    no_transaction: bool,
}

impl Header {
    fn read(file: &str, text: &str, faults: &mut Vec<ChainFault>) -> Self {
        let mut header = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (line, content) in (1..).zip(text.lines().map(str::trim)) {
            if content.is_empty() {
                continue;
            }
            let Some(comment) = content.strip_prefix("--") else { break };
            let Some((key, value)) = comment.trim().split_once(':') else { continue };
            let taken = match known_key(key.trim()) {
                Key::Known(key) if seen.contains(&key) && key != "requires-extension" => {
                    Err(ChainFaultKind::HeaderTwice { key: key.to_owned() })
                }
                Key::Known(key) => {
                    seen.push(key);
                    header.take(key, value.trim())
                }
                Key::Nearly(nearest) => Err(ChainFaultKind::HeaderUnknown {
                    key: key.trim().to_owned(),
                    nearest: nearest.to_owned(),
                }),
                Key::Comment => Ok(()),
            };
            faults.extend(taken.err().map(|kind| ChainFault::at(file, line, kind)));
        }
        for key in ["revision", "revises"].into_iter().filter(|key| !seen.contains(key)) {
            faults.push(ChainFault::at(file, 1, ChainFaultKind::HeaderMissing { key: key.to_owned() }));
        }
        header
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), ChainFaultKind> {
        let bad = |rule: &str| ChainFaultKind::HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            rule: rule.to_owned(),
        };
        let id_rule = "an id is 1 to 32 characters of A-Z, a-z, 0-9, `_`, `.` and `-`";
        match key {
            "revision" if value.eq_ignore_ascii_case("none") => {
                return Err(bad("`none` cannot be an id: `revises: none` means the beginning"));
            }
            "revision" if is_id(value) => self.id = Some(value.to_owned()),
            "revises" if value.eq_ignore_ascii_case("none") => self.revises = Some(None),
            "revises" if is_id(value) => self.revises = Some(Some(value.to_owned())),
            "revision" => return Err(bad(id_rule)),
            "revises" => return Err(bad(&format!("it is `none` or an id; {id_rule}"))),
            "summary" => self.summary = Some(value.to_owned()),
            "transaction" if value.eq_ignore_ascii_case("none") => self.no_transaction = true,
            "transaction" => {
                return Err(bad("only `transaction: none` exists; leave the line out otherwise"));
            }
            "syntax" if value.eq_ignore_ascii_case("unchecked") => {}
            "syntax" => return Err(bad("only `syntax: unchecked` exists; leave the line out otherwise")),
            _ => {
                for wanted in value.split(',').map(str::trim) {
                    let (name, schema) = match wanted.split_once(" in ") {
                        Some((name, schema)) => (name.trim(), Some(schema.trim())),
                        None => (wanted, None),
                    };
                    if !is_extension(name) || schema.is_some_and(|schema| !is_extension(schema)) {
                        return Err(bad(
                            "name extensions as in pg_available_extensions, separated by commas, each with ` in SCHEMA` if \
                             need be",
                        ));
                    }
                    if !self.extensions.iter().any(|known| known.name == name) {
                        let schema = schema.map(str::to_owned);
                        self.extensions.push(RequiredExtension { name: name.to_owned(), schema });
                    }
                }
            }
        }
        Ok(())
    }
}

enum Key {
    Known(&'static str),
    Nearly(&'static str),
    Comment,
}

fn known_key(word: &str) -> Key {
    let word = word.to_lowercase();
    if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Key::Comment;
    }
    if let Some(key) = KEYS.into_iter().find(|key| *key == word) {
        return Key::Known(key);
    }
    let distance = |key: &str| strsim::osa_distance(key, &word);
    // one slip for short keys, two for long ones: `version` and `review` are comments, `revison` is not
    let nearly = |key: &&str| distance(key) <= if key.len() > 10 { 2 } else { 1 };
    KEYS.into_iter().filter(nearly).min_by_key(|key| distance(key)).map_or(Key::Comment, Key::Nearly)
}

fn is_id(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_extension(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "-- revision: a1\n-- revises: none\n";

    fn messages(text: &[u8]) -> Vec<String> {
        let faults = Revision::parse("core/a.sql", text).expect_err("a fault was expected");
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_full_header_is_read() {
        let text = "\u{feff}-- Copyright: us\r\n--\r\n\r\n--revision: core_002\r\n-- Revises:core_001\r\n\
                    -- summary: more: tables \r\n-- requires-extension: pgcrypto, hstore\r\n\
                    -- requires-extension: uuid-ossp in public\r\n-- transaction: none\r\n\r\ncreate table ä (a int);\r\n\
                    -- revision: not a header any more\r\ncreate extension if not exists hstore;\
                    create extension citext schema \"Ext\" version '1.6';";
        let revision = Revision::parse("core/x.sql", text.as_bytes()).expect("a revision");
        assert_eq!(revision.id, "core_002");
        assert_eq!(revision.revises.as_deref(), Some("core_001"));
        assert_eq!(revision.summary, "more: tables");
        let homes =
            [("pgcrypto", None), ("hstore", None), ("uuid-ossp", Some("public")), ("citext", Some("Ext"))];
        assert_eq!(revision.extensions(), homes);
        assert!(!revision.transactional);
        assert_eq!(revision.sql, text.trim_start_matches('\u{feff}'));
        assert_eq!(revision.checksum, hex_sha256(text.as_bytes()));
        let lines: Vec<u32> = revision.statements.iter().map(|statement| statement.line).collect();
        assert_eq!(lines, [11, 13, 13]);
        assert_eq!(revision.excerpt(0, 80).as_deref(), Some("create table ä (a int)"));
        let sent = revision.sql_without_extensions();
        assert!(
            !sent.contains("extension if") && !sent.contains("citext") && sent.contains("create table ä")
        );
        assert_eq!(sent.chars().count(), revision.sql.chars().count());
    }

    #[test]
    fn the_checksum_is_sha256_of_the_bytes() {
        assert_eq!(hex_sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn faults_speak_and_name_the_line() {
        let cases: &[(&str, &[&str])] = &[
            ("select 1;", &["core/a.sql:1: the header has no `-- revision: …`", "no `-- revises: …`"]),
            ("-- revision: a1\nselect 1", &["no `-- revises: …`"]),
            ("select 1;\n-- revision: a\n-- revises: b", &["`-- revision: …`", "`-- revises: …`"]),
            (
                "-- revison: a\n-- revision: a\n-- revises: none\nselect 1",
                &["a.sql:1: the header has no key `revison`"],
            ),
            (
                "-- revision: a\n-- revises: none\n-- requires_extensions: x\nselect 1",
                &["a.sql:3: the header has no key `requires_extensions`; did you mean `requires-extension`?"],
            ),
            (
                "-- revision: a\n-- revision: b\n-- revises: none\nselect 1",
                &["a.sql:2: the header says `revision` twice"],
            ),
            ("-- revision: a b\n-- revises: none\nselect 1", &["a.sql:1: `revision: a b` is not allowed"]),
            ("-- revision:\n-- revises:\nselect 1", &["a.sql:1: `revision: ` is", "a.sql:2: `revises: ` is"]),
            ("-- revision: none\n-- revises: none\nselect 1", &["`none` cannot be an id"]),
            (
                "-- revision: abcdefghijklmnopqrstuvwxyz0123456\n-- revises: none\nselect 1",
                &["1 to 32 characters"],
            ),
            (
                "-- revision: a\n-- revises: none\n-- transaction: off\nselect 1",
                &["a.sql:3: `transaction: off`"],
            ),
            ("-- revision: a\n-- revises: none\n-- syntax: any\nselect 1", &["a.sql:3: `syntax: any`"]),
            (
                "-- revision: a\n-- revises: none\n-- requires-extension: a b\nselect 1",
                &["a.sql:3: `requires-ext"],
            ),
            ("-- revision: a\n-- revises: none\n/* nothing */ ;;\n", &["core/a.sql: the revision is empty"]),
            (
                "-- revision: a\n-- revises: none\nBEGIN;\nselect 1;\nCOMMIT;",
                &["a.sql:3: `BEGIN`", "a.sql:5: `COMMIT`"],
            ),
            (
                "-- revision: a\n-- revises: none\nINSERT INTO alembic_version VALUES ('a')",
                &["a.sql:3: `INSERT INTO alembic_version VALUES ('a')` touches alembic_version"],
            ),
            (
                "-- revision: a\n-- revises: none\nselect 1;\nCOPY t (a) FROM stdin;\nit's\tdata\n\\.\n",
                &["a.sql:4: `COPY t (a) FROM stdin` needs a data stream"],
            ),
            (
                "-- revision: a\n-- revises: none\nselect 1;\n create table x(a int;",
                &["a.sql:4:16: cannot read this as SQL: this `(` is not closed"],
            ),
            (
                "-- revision: a\n-- revises: none\n\\set x 1\nselect 1",
                &["a.sql:3:1: cannot read this as SQL: `\\set`"],
            ),
            (
                "-- revision: a\n-- revises: none\nselect 'x",
                &["a.sql:3:8: cannot read this as SQL: this string has"],
            ),
        ];
        for (text, expected) in cases {
            let found = messages(text.as_bytes());
            let all = found.join("\n");
            for part in *expected {
                assert!(all.contains(part), "{text}\nwanted: {part}\nfound: {all}");
            }
            assert!(found.len() <= expected.len(), "{text}\nfound: {all}");
        }
    }

    #[test]
    fn what_is_not_text_is_refused() {
        for bytes in
            [b"-- revision: a\n\xff".as_slice(), b"\xff\xfe-\0-\0", b"-- revision: a\n-- revises: none\n\0"]
        {
            assert_eq!(messages(bytes), ["core/a.sql: the file is not UTF-8 text; save it as UTF-8"]);
        }
    }

    #[test]
    fn ordinary_comments_are_not_keys() {
        for comment in [
            "version: 3",
            "author: me",
            "note: x",
            "see https://example.org",
            "revision history",
            "review: me",
        ] {
            let text = format!("-- {comment}\n{HEAD}select 1;");
            assert!(Revision::parse("a.sql", text.as_bytes()).is_ok(), "{comment}");
        }
    }

    #[test]
    fn what_only_postgresql_knows_is_left_to_it() {
        for head in [HEAD.to_owned(), format!("{HEAD}-- syntax: unchecked\n")] {
            assert!(Revision::parse("a.sql", format!("{head}frobnicate table x;").as_bytes()).is_ok());
            assert!(messages(format!("{head}frobnicate x; commit;").as_bytes())[0].contains("`commit`"));
            assert!(messages(format!("{head}frobnicate 'x;").as_bytes())[0].contains("has no end"));
            assert!(messages(format!("{head}\\gexec\nselect 1").as_bytes())[0].contains("psql"));
        }
    }

    #[test]
    fn the_shipped_revisions_are_clean() {
        let shipped = [
            ("core_001", 5 + 3, include_str!("../../../migrations/core/core_001.sql")),
            ("mem_001", 4 + 11, include_str!("../../../migrations/memory/mem_001.sql")),
            ("vec_001", 3 + 3, include_str!("../../../migrations/memory_vector/vec_001.sql")),
        ];
        for (id, statements, text) in shipped {
            let revision = Revision::parse(id, text.as_bytes()).expect("a shipped revision");
            assert_eq!((revision.id.as_str(), revision.statements.len()), (id, statements));
            assert_eq!(revision.revises, None);
            assert!(revision.statements.iter().all(|statement| statement.kind == StatementKind::Ordinary));
            let vector = vec![("vector", None)];
            assert_eq!(revision.extensions(), if id == "vec_001" { vector } else { vec![] });
        }
    }
}
