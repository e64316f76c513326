//! The blast radius: what a drop takes along outside the managed schemas.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An object outside the managed schemas that a drop would take along, as `pg_identify_object` names it.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct OutsideObject {
    /// Its kind.
    pub kind: String,
    /// Its identity.
    pub identity: String,
}

impl fmt::Display for OutsideObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.identity)
    }
}

/// What appeared in and what went from the blast radius between two looks.
#[must_use]
pub fn difference(before: &[OutsideObject], after: &[OutsideObject]) -> Option<String> {
    let added: Vec<String> = after.iter().filter(|o| !before.contains(o)).map(|o| format!("+ {o}")).collect();
    let gone: Vec<String> = before.iter().filter(|o| !after.contains(o)).map(|o| format!("- {o}")).collect();
    let all: Vec<String> = added.into_iter().chain(gone).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_names_what_came_and_what_went() {
        let object =
            |identity: &str| OutsideObject { kind: "view".to_owned(), identity: identity.to_owned() };
        assert_eq!(difference(&[object("b.v")], &[object("b.v")]), None);
        let text = difference(&[object("b.v")], &[object("b.w")]);
        assert_eq!(text.as_deref(), Some("+ view b.w, - view b.v"));
    }
}
