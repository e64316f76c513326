//! What can be wrong with the files of a chain, said so that the person who wrote them can mend them.
//!
//! This module must not know how a fault was found.

use std::fmt;

use serde::Serialize;

/// One thing wrong with the files of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainFault {
    /// The file, relative to the migrations folder (the chain's folder where there is no file).
    pub file: String,
    /// The other file, where two of them quarrel.
    pub other_file: Option<String>,
    /// 1-based line.
    pub line: Option<u32>,
    /// 1-based column in characters.
    pub column: Option<u32>,
    /// What is wrong.
    pub kind: ChainFaultKind,
}

impl ChainFault {
    /// A fault of a whole file.
    pub fn of(file: &str, kind: ChainFaultKind) -> Self {
        Self { file: file.to_owned(), other_file: None, line: None, column: None, kind }
    }

    /// A fault at a line.
    pub fn at(file: &str, line: u32, kind: ChainFaultKind) -> Self {
        Self { line: Some(line), ..Self::of(file, kind) }
    }

    /// A fault between two files.
    pub fn between(file: &str, other: &str, kind: ChainFaultKind) -> Self {
        Self { other_file: Some(other.to_owned()), ..Self::of(file, kind) }
    }
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        if let Some(other) = &self.other_file {
            write!(f, " and {other}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl std::error::Error for ChainFault {}

/// The kinds of fault: what happened, what it means, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "fault")]
pub enum ChainFaultKind {
    /// The chain has no revision at all.
    #[error(
        "chain \"{chain}\" has no revisions: its folder holds no .sql file; add one or take the chain out of the matrix"
    )]
    NoFiles {
        /// The chain.
        chain: String,
    },
    /// The bytes are not text.
    #[error("the file is not UTF-8 text; save it as UTF-8")]
    NotText,
    /// A header line is missing.
    #[error(
        "the header has no `-- {key}: …` line; a revision begins with `-- revision: ID` and `-- revises: ID` (or `none`)"
    )]
    HeaderMissing {
        /// The key.
        key: String,
    },
    /// A header key is given twice.
    #[error("the header says `{key}` twice; keep one (one file is one revision)")]
    HeaderTwice {
        /// The key.
        key: String,
    },
    /// A header key that is nearly one we know.
    #[error("the header has no key `{key}`; did you mean `{nearest}`?")]
    HeaderUnknown {
        /// The key as written.
        key: String,
        /// The nearest known key.
        nearest: String,
    },
    /// A header value that is not allowed.
    #[error("`{key}: {value}` is not allowed: {rule}")]
    HeaderValue {
        /// The key.
        key: String,
        /// The value as written.
        value: String,
        /// What the value must be.
        rule: String,
    },
    /// The file has no statement.
    #[error("the revision is empty: it has a header and no statement; write one or delete the file")]
    Empty,
    /// The text cannot be cut into statements, or goes beyond a bound.
    #[error("cannot read this as SQL: {message}")]
    Unparsable {
        /// What is wrong.
        message: String,
    },
    /// A transaction statement at top level.
    #[error(
        "`{statement}` is a transaction statement; resetd itself runs every revision in one transaction, which a file cannot begin, divide or end; take it out (output of `alembic upgrade --sql` has a BEGIN and a COMMIT around it)"
    )]
    Transaction {
        /// Its beginning.
        statement: String,
    },
    /// `COPY` that needs a data stream.
    #[error(
        "`{statement}` needs a data stream beside the SQL, which only psql provides; write INSERT statements (`pg_dump --inserts` prints them)"
    )]
    CopyStream {
        /// Its beginning.
        statement: String,
    },
    /// The file writes `alembic_version`.
    #[error(
        "`{statement}` touches alembic_version, which resetd keeps itself for every schema; take it out (output of `alembic upgrade --sql` has such statements)"
    )]
    VersionTable {
        /// Its beginning.
        statement: String,
    },
    /// Two files carry one revision id.
    #[error("both are revision \"{id}\"; give one of them another id")]
    Duplicate {
        /// The id.
        id: String,
    },
    /// Two chains carry one revision id.
    #[error(
        "both are revision \"{id}\", in two chains of one schema; rows of alembic_version could not tell them apart: give one of them another id"
    )]
    SharedId {
        /// The id.
        id: String,
    },
    /// Two revisions without a predecessor.
    #[error(
        "both revise none, so the chain has two beginnings; let one of them revise the other's last revision"
    )]
    TwoBases,
    /// Two revisions with the same predecessor.
    #[error("both revise \"{revises}\", so the chain has two heads; let one of them revise the other")]
    TwoHeads {
        /// The shared predecessor.
        revises: String,
    },
    /// A predecessor that is not there.
    #[error("revises \"{revises}\", which is in no file of this chain: there is a gap{}", .nearest.as_ref().map(|id| format!("; did you mean \"{id}\"?")).unwrap_or_else(|| "; add the missing file or fix the id".to_owned()))]
    Gap {
        /// The unknown id.
        revises: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// Revisions that revise one another in a ring.
    #[error("the revisions go round in a circle ({}); one of them must revise none or a revision outside", .ids.join(" → "))]
    Cycle {
        /// The ids, each revising the next, the first again at the end.
        ids: Vec<String>,
    },
}
