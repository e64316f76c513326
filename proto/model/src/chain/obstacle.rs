//! What forbids one transaction for a whole chain, found before anything is dropped.
//!
//! This module must not know what is done about it.

use std::{collections::HashMap, fmt};

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
/// chain for good. So the literal alone is not enough: 'pending' may be anybody's word. And so the search may end when it
/// becomes too much, which no chain that people write comes near.
fn enum_uses(revisions: &[Revision]) -> Vec<Obstacle> {
    let added = |statement: &Statement| matches!(statement.kind, StatementKind::AddEnumValue { .. });
    if !revisions.iter().flat_map(|revision| &revision.statements).any(added) {
        return Vec::new();
    }
    let mut mentions = Mentions::of(revisions);
    let mut obstacles = Vec::new();
    for place in 0..mentions.all.len() {
        let (revision, _, statement) = mentions.all[place];
        let StatementKind::AddEnumValue { type_name, value } = &statement.kind else { continue };
        if let Some((used_in, index)) = mentions.use_of(type_name, value, place) {
            let kind = ObstacleKind::EnumValue {
                type_name: type_name.clone(),
                value: value.clone(),
                added_in: format!("{}:{}", revision.file, statement.line),
            };
            obstacles.push(at(used_in, Some(index), kind));
        }
    }
    obstacles
}

/// How much text may be looked at, in bytes, beyond the first look at each word.
const EFFORT: usize = 128 * 1024 * 1024;

/// Which statements have which words.
struct Mentions<'a> {
    all: Vec<(&'a Revision, usize, &'a Statement)>,
    words: HashMap<String, Vec<usize>>,
    effort: usize,
}

impl<'a> Mentions<'a> {
    fn of(revisions: &'a [Revision]) -> Self {
        let all: Vec<_> = revisions
            .iter()
            .flat_map(|revision| revision.statements.iter().enumerate().map(move |(i, s)| (revision, i, s)))
            .collect();
        let mut it = Self { all, words: HashMap::new(), effort: EFFORT };
        for place in 0..it.all.len() {
            for word in words(it.source(place)) {
                let places = it.words.entry(word).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        it
    }

    fn source(&self, place: usize) -> &'a str {
        let (revision, _, statement) = self.all[place];
        revision.sql.get(statement.range.clone()).unwrap_or_default()
    }

    /// The statements from `from` on that have a text in them, in order. Its first word leads to them.
    fn having(&mut self, text: &str, from: usize, has: impl Fn(&str) -> bool) -> Vec<usize> {
        let candidates = match words(text).next() {
            Some(word) => {
                let places = self.words.get(&word).map(Vec::as_slice).unwrap_or_default();
                places[places.partition_point(|place| *place < from)..].to_vec()
            }
            None => (from..self.all.len()).collect(),
        };
        self.spend(candidates.len());
        let mut found = Vec::new();
        for place in candidates {
            let source = self.source(place);
            if !self.spend(source.len()) {
                break;
            }
            if has(source) {
                found.push(place);
            }
        }
        found
    }

    /// Whether there was so much effort left.
    fn spend(&mut self, effort: usize) -> bool {
        let enough = self.effort > effort;
        self.effort = self.effort.saturating_sub(effort.max(1));
        enough
    }

    /// The first statement after `place` that uses a value which that one adds.
    fn use_of(&mut self, type_name: &str, value: &str, place: usize) -> Option<(&'a Revision, usize)> {
        if self.effort == 0 {
            return None;
        }
        let literal = format!("'{}'", value.replace('\'', "''"));
        let mut users = self.having(value, place + 1, |it| it.contains(&literal) && !is_comment(it));
        users.retain(|user| !matches!(self.all[*user].2.kind, StatementKind::AddEnumValue { .. }));
        if users.is_empty() {
            return None;
        }
        let mut names: Vec<String> = vec![type_name.to_owned()];
        for at in self.having(type_name, 0, |it| sql::mentions_name(it, type_name)) {
            names.extend(sql::table_of(self.source(at)));
        }
        names.sort_unstable();
        names.dedup();
        for user in users {
            for name in &names {
                let source = self.source(user);
                if !self.spend(source.len()) {
                    return None;
                }
                if sql::mentions_name(source, name) {
                    let (revision, index, _) = self.all[user];
                    return Some((revision, index));
                }
            }
        }
        None
    }
}

/// Words as [`sql::mentions_name`] tells them apart, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !sql::is_word(c)).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn is_comment(source: &str) -> bool {
    source.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("comment"))
}
