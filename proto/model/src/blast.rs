//! The blast radius: what a drop takes along outside the managed schemas, and what hangs on what it drops.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An object outside the managed schemas that a drop would take along, as `pg_identify_object` names it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct OutsideObject {
    /// Its kind.
    pub kind: String,
    /// Its identity.
    pub identity: String,
    /// The role that owns it (its table, where it is part of one); `None` where it has no owner.
    #[serde(default)]
    pub owner: Option<String>,
    /// Rows that go with it, by the planner's statistics; `None` where it holds none.
    #[serde(default)]
    pub estimated_rows: Option<i64>,
}

impl OutsideObject {
    /// An object of a kind, with nothing else known.
    #[must_use]
    pub fn new(kind: &str, identity: &str) -> Self {
        Self { kind: kind.to_owned(), identity: identity.to_owned(), ..Self::default() }
    }

    /// It is the same object, whatever it holds now.
    fn is(&self, other: &Self) -> bool {
        (&self.kind, &self.identity) == (&other.kind, &other.identity)
    }
}

impl fmt::Display for OutsideObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.identity)
    }
}

/// What appeared in and what went from the blast radius between two looks.
#[must_use]
pub fn difference(before: &[OutsideObject], after: &[OutsideObject]) -> Option<String> {
    let missing_in = |list: &[OutsideObject], o: &OutsideObject| !list.iter().any(|it| it.is(o));
    let added: Vec<String> =
        after.iter().filter(|o| missing_in(before, o)).map(|o| format!("+ {o}")).collect();
    let gone: Vec<String> =
        before.iter().filter(|o| missing_in(after, o)).map(|o| format!("- {o}")).collect();
    let all: Vec<String> = added.into_iter().chain(gone).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Something that is not dropped and still is touched: a role with rights on what goes, a subscription, a slot, large
/// objects.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reference {
    /// What kind of thing.
    pub kind: String,
    /// Its name.
    pub identity: String,
    /// How it hangs on what goes.
    pub text: String,
}

/// Rights on tables of a schema; they go with the tables.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TableGrant {
    /// The schema.
    pub schema: String,
    /// Who holds them; `PUBLIC` for everybody.
    pub role: String,
    /// The rights, in order; a `*` marks one that may be granted on.
    pub privileges: Vec<String>,
    /// The tables, views and sequences they are on; of column rights, with the column.
    pub objects: Vec<String>,
}

/// One property of a schema, which survives its recreation.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SchemaProperty {
    /// The schema; empty for default privileges that hold in all of them.
    pub schema: String,
    /// `owner`, `grant`, `default privilege`, `comment`, `security label` or `publication`.
    pub kind: String,
    /// The piece, in words.
    pub text: String,
}

impl fmt::Display for SchemaProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.text)
    }
}

/// What came to and what went from the properties between two looks.
#[must_use]
pub fn properties_difference(before: &[SchemaProperty], after: &[SchemaProperty]) -> Option<String> {
    let line = |sign: char, piece: &SchemaProperty| match piece.schema.as_str() {
        "" => format!("{sign} {piece}"),
        schema => format!("{sign} {piece} of schema {schema}"),
    };
    let added = after.iter().filter(|piece| !before.contains(piece)).map(|piece| line('+', piece));
    let gone = before.iter().filter(|piece| !after.contains(piece)).map(|piece| line('-', piece));
    let all: Vec<String> = added.chain(gone).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// An extension that is moved out of a managed schema before anything is dropped.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExtensionMove {
    /// The extension.
    pub extension: String,
    /// The managed schema it lives in.
    pub from: String,
    /// Where it goes.
    pub to: String,
}

impl fmt::Display for ExtensionMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "extension {} from {} to {}", self.extension, self.from, self.to)
    }
}

/// How much was written to the target since the last operation.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Activity {
    /// Since when the numbers count: the end of the last operation, or the last reset of the statistics.
    pub since: Option<Timestamp>,
    /// Transactions committed.
    pub commits: i64,
    /// Rows inserted, catalogs included.
    pub inserted: i64,
    /// Rows updated.
    pub updated: i64,
    /// Rows deleted.
    pub deleted: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_names_what_came_and_what_went_and_not_what_grew() {
        let object = |identity: &str| OutsideObject::new("view", identity);
        let grown = OutsideObject { estimated_rows: Some(7), ..object("a.v") };
        assert_eq!(difference(&[object("a.v")], &[grown]), None);
        assert_eq!(
            difference(&[object("a.v"), object("a.w")], &[object("a.w"), object("a.x")]).as_deref(),
            Some("+ view a.x, - view a.v")
        );
    }
}
