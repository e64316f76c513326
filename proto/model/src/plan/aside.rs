//! Whether the schemas that go can be set aside for an undo, and why not; and what an undo brings back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Observation, Plan, count};
use crate::{blast::OutsideObject, finding::Finding, profile::Scope};

/// How many names one line has.
const NAMED: usize = 5;

/// A previous database that an undo brings back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Returning {
    /// Its generated name.
    pub name: String,
    /// Its oid.
    pub oid: u32,
    /// The operation that took it away.
    pub operation: Uuid,
    /// When that was.
    pub kept_since: Timestamp,
    /// Until when it is kept.
    pub kept_until: Timestamp,
}

/// Schemas that an undo brings back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReturningSchemas {
    /// The operation that set them aside.
    pub operation: Uuid,
    /// When that was.
    pub kept_since: Timestamp,
    /// Until when they are kept.
    pub kept_until: Timestamp,
    /// Each of them.
    pub schemas: Vec<ReturningSchema>,
}

/// A schema that an undo brings back.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReturningSchema {
    /// The name that it gets.
    pub schema: String,
    /// The name under which it is kept; `None`: there was no such schema.
    pub kept_as: Option<String>,
    /// Its oid.
    pub oid: Option<u32>,
    /// Tables in it.
    pub tables: u64,
    /// Estimated rows.
    pub estimated_rows: i64,
    /// Bytes on disk.
    pub bytes: i64,
}

impl Plan {
    /// The schemas that go are set aside, and an undo brings them back.
    #[must_use]
    pub fn sets_aside(&self) -> bool {
        self.scope == Some(Scope::ManagedSchemas) && self.keep_previous_seconds > 0
    }

    /// Decides whether they are, and says why not.
    pub(super) fn aside(&mut self, observed: &Observation) {
        let going = self.schemas.iter().any(|s| s.exists);
        let Some((object, message, hint)) = self.dropped_because(observed).filter(|_| going) else {
            self.findings.extend(holding(observed).filter(|_| going));
            return;
        };
        self.keep_previous_seconds = 0;
        self.findings.push(Finding::warning("CANNOT_BE_UNDONE", object, message, hint));
    }

    fn dropped_because(&self, observed: &Observation) -> Option<(String, String, String)> {
        if self.keep_previous_seconds == 0 {
            return Some((
                "the managed schemas".to_owned(),
                "are not kept: this cannot be undone".to_owned(),
                "`keep_previous` in the profile says how long they are kept".to_owned(),
            ));
        }
        let hanging: Vec<String> =
            self.outside.iter().filter(|o| !is_membership(o)).map(ToString::to_string).collect();
        if !hanging.is_empty() {
            return Some((
                count(hanging.len(), "object"),
                format!(
                    "hang on the schemas, which are therefore dropped: {}; this cannot be undone",
                    names(&hanging)
                ),
                "move or drop it first: then the schemas are set aside".to_owned(),
            ));
        }
        let parts = &observed.inseparable;
        (!parts.is_empty()).then(|| {
            (
                "the managed schemas".to_owned(),
                format!(
                    "are parts of what is outside, and are therefore dropped: {}; this cannot be undone",
                    names(parts)
                ),
                "detach the tables, or have their publications' owner take them out: then the schemas are set aside"
                    .to_owned(),
            )
        })
    }
}

/// Foreign keys hold on: who references a row outside keeps it from being deleted, also set aside.
fn holding(observed: &Observation) -> Option<Finding> {
    let keys = &observed.keys_to_outside;
    (!keys.is_empty()).then(|| {
        Finding::warning(
            "KEPT_REFERENCES",
            count(keys.len(), "foreign key"),
            format!(
                "of the schemas that are set aside hold on, for as long as they are kept: {}",
                names(keys)
            ),
            "rows that they reference cannot be deleted until then; `resetctl kept drop` ends it before",
        )
    })
}

fn names(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", all[..all.len().min(NAMED)].join(", "))
}

/// A table in a publication: it is taken out of it, and does not hang on the table.
fn is_membership(object: &OutsideObject) -> bool {
    object.kind == "publication relation"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlannedSchema;

    fn plan(outside: &[(&str, &str)], parts: &[&str], keep: u64) -> Plan {
        let mut plan = Plan {
            scope: Some(Scope::ManagedSchemas),
            keep_previous_seconds: keep,
            schemas: vec![PlannedSchema { schema: "general".into(), exists: true, ..Default::default() }],
            outside: outside.iter().map(|(kind, identity)| OutsideObject::new(kind, identity)).collect(),
            ..Plan::default()
        };
        let parts = parts.iter().map(|p| (*p).to_owned()).collect();
        plan.aside(&Observation { inseparable: parts, ..Observation::default() });
        plan
    }

    #[test]
    fn what_hangs_on_the_schemas_has_them_dropped_and_is_named() {
        assert!(plan(&[], &[], 60).sets_aside());
        assert!(plan(&[("publication relation", "general.t in publication p")], &[], 60).sets_aside());
        for (it, named) in [
            (plan(&[("view", "b.v")], &[], 60), "view b.v"),
            (plan(&[], &["general.part of public.whole"], 60), "general.part of public.whole"),
            (plan(&[], &[], 0), "are not kept"),
        ] {
            assert!(!it.sets_aside());
            assert_eq!(it.findings[0].code, "CANNOT_BE_UNDONE");
            assert!(it.findings[0].message.contains(named), "{}", it.findings[0].message);
        }
    }

    #[test]
    fn where_nothing_goes_nothing_is_said() {
        let mut plan = Plan { scope: Some(Scope::ManagedSchemas), ..Plan::default() };
        plan.aside(&Observation::default());
        assert!(plan.findings.is_empty());
    }
}
