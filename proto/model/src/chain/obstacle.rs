//! What forbids one transaction for a whole chain, found before anything is dropped.
//!
//! This module must not know what is done about it.

use std::fmt;

use serde::Serialize;

use crate::revision::Revision;
use crate::sql::{self, Statement, StatementKind};

/// Something in a chain that cannot run in one transaction with the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// The revision.
    pub revision: String,
    /// Its file, relative to the migrations folder.
    pub file: String,
    /// The index of the statement; none when the whole revision is meant.
    pub statement: Option<usize>,
    /// 1-based line; the first when the whole revision is meant.
    pub line: u32,
    /// Why.
    pub kind: ObstacleKind,
}

impl Obstacle {
    /// The revision has to run outside any transaction; an enum value only wants the transaction before to be over.
    #[must_use]
    pub fn needs_no_transaction(&self) -> bool {
        !matches!(self.kind, ObstacleKind::EnumValue { .. })
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.kind)
    }
}

/// Why a chain cannot run in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "obstacle")]
pub enum ObstacleKind {
    /// The header says so.
    #[error("the revision is marked `transaction: none`")]
    MarkedNone,
    /// PostgreSQL refuses the statement inside a transaction.
    #[error("{what} cannot run inside a transaction")]
    Statement {
        /// The words.
        what: String,
    },
    /// An enum value is used in the transaction that adds it.
    #[error(
        "uses the value '{value}' of type {type_name}, which {added_in} adds; PostgreSQL allows that only after the addition is committed"
    )]
    EnumValue {
        /// The type.
        type_name: String,
        /// The value.
        value: String,
        /// File and line of the addition.
        added_in: String,
    },
}

pub(super) fn of(revisions: &[Revision]) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    for revision in revisions {
        if !revision.transactional {
            obstacles.push(at(revision, None, ObstacleKind::MarkedNone));
        }
        for (index, statement) in revision.statements.iter().enumerate() {
            if let StatementKind::NoTransaction { what } = &statement.kind {
                obstacles.push(at(revision, Some(index), ObstacleKind::Statement { what: what.clone() }));
            }
        }
    }
    obstacles.extend(enum_uses(revisions));
    obstacles
}

fn at(revision: &Revision, statement: Option<usize>, kind: ObstacleKind) -> Obstacle {
    let line =
        statement.and_then(|index| revision.statements.get(index)).map_or(1, |statement| statement.line);
    Obstacle { revision: revision.id.clone(), file: revision.file.clone(), statement, line, kind }
}

/// A value counts as used when a later statement has it as a literal and names the type, or a table whose definition
/// names the type. A miss costs a clean rollback with PostgreSQL's own message; a false alarm would bar a healthy
/// chain for good. So the literal alone is not enough: 'pending' may be anybody's word.
fn enum_uses(revisions: &[Revision]) -> Vec<Obstacle> {
    let all: Vec<(&Revision, usize, &Statement)> = revisions
        .iter()
        .flat_map(|revision| revision.statements.iter().enumerate().map(move |(i, s)| (revision, i, s)))
        .collect();
    let source = |(revision, _, statement): &(&Revision, usize, &Statement)| {
        revision.sql.get(statement.range.clone()).unwrap_or_default().to_owned()
    };
    let mut obstacles = Vec::new();
    for (place, entry) in all.iter().enumerate() {
        let StatementKind::AddEnumValue { type_name, value } = &entry.2.kind else { continue };
        let mut names = vec![type_name.clone()];
        names.extend(
            all.iter()
                .map(source)
                .filter(|text| sql::mentions_name(text, type_name))
                .filter_map(|text| sql::table_of(&text)),
        );
        let literal = format!("'{}'", value.replace('\'', "''"));
        let used = all[place + 1..].iter().find(|later| {
            let text = source(later);
            !matches!(later.2.kind, StatementKind::AddEnumValue { .. })
                && !text.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("comment"))
                && text.contains(&literal)
                && names.iter().any(|name| sql::mentions_name(&text, name))
        });
        if let Some((revision, index, _)) = used {
            let kind = ObstacleKind::EnumValue {
                type_name: type_name.clone(),
                value: value.clone(),
                added_in: format!("{}:{}", entry.0.file, entry.2.line),
            };
            obstacles.push(at(revision, Some(*index), kind));
        }
    }
    obstacles
}
