//! The steps of an operation as a person follows them: a line for a step, what it did below it, how long each took. What has
//! no place in it is shown as it is told. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::event::EventKind;
use wire::Received;

use super::text::{count, span};

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The step that goes on.
    step: Option<&'static str>,
    /// When the last thing was done.
    last: Option<Timestamp>,
    /// How long the revisions of a schema and chain took that is not yet complete, in microseconds.
    spent: BTreeMap<(String, String), u64>,
}

/// A revision that took this long, in microseconds, has a line of its own.
const SLOW: u64 = 1_000_000;

/// A line of the tree.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Branch {
    /// How deep it stands.
    pub(crate) depth: usize,
    /// It is done, not begun.
    pub(crate) done: bool,
    /// What it says.
    pub(crate) text: String,
    /// How long it took; empty where that says nothing.
    pub(crate) time: String,
}

impl Tree {
    /// The lines of an event; `None`: it is shown as it is told.
    pub(crate) fn grow(&mut self, event: &Received) -> Option<Vec<Branch>> {
        if event.sequence == 0 {
            return None;
        }
        let took = self.last.map(|last| event.at.duration_since(last).as_millis().max(0));
        let lines = self.lines(event, took);
        self.last = Some(event.at);
        lines
    }

    fn lines(&mut self, event: &Received, took: Option<i128>) -> Option<Vec<Branch>> {
        let time = took.map(span).unwrap_or_default();
        let (step, depth, text, time) = match event.kind.as_ref()? {
            EventKind::LockAcquired { .. } => ("lock", 0, event.text.clone(), waited(took)),
            EventKind::Planned { plan } if plan.refusal.is_none() => ("plan", 0, event.text.clone(), time),
            EventKind::SchemaReset(it) => {
                let text = match (&it.kept_as, it.existed_before) {
                    (Some(_), _) => format!("{}: {} set aside", it.schema, count(it.tables_before, "table")),
                    (None, true) => format!("{}: {} dropped", it.schema, count(it.tables_before, "table")),
                    (None, false) => format!("{}: created", it.schema),
                };
                ("reset", 1, text, time)
            }
            EventKind::RevisionApplied(it) => {
                *self.spent.entry((it.schema.clone(), it.chain.clone())).or_default() += it.duration_us;
                if it.duration_us < SLOW {
                    return Some(self.begun("migrate"));
                }
                let time = span(i128::from(it.duration_us / 1000));
                ("migrate", 2, format!("{} in {}", it.revision, it.schema), time)
            }
            EventKind::ChainCompleted(it) => {
                let spent = self.spent.remove(&(it.schema.clone(), it.chain.clone())).unwrap_or_default();
                let applied = count(i128::try_from(it.applied.len()).unwrap_or_default(), "revision");
                let text = format!("{}: {} is at {}, {applied}", it.schema, it.chain, it.head);
                ("migrate", 1, text, span(i128::from(spent / 1000)))
            }
            EventKind::Validated { validation } if validation.is_ok() => {
                ("validate", 0, event.text.clone(), time)
            }
            _ => {
                self.step = None;
                return None;
            }
        };
        let mut lines = if depth > 0 { self.begun(step) } else { Vec::new() };
        self.step = Some(step);
        lines.push(Branch { depth, done: depth < 2, text, time });
        Some(lines)
    }

    /// The line of a step that has lines below it, once.
    fn begun(&mut self, step: &'static str) -> Vec<Branch> {
        if self.step == Some(step) {
            return Vec::new();
        }
        self.step = Some(step);
        vec![Branch { depth: 0, done: false, text: step.to_owned(), time: String::new() }]
    }
}

/// Nobody waited who had the lock at once.
fn waited(took: Option<i128>) -> String {
    took.filter(|ms| *ms >= 100).map(|ms| format!("waited {}", span(ms))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use model::{
        event::{ChainCompleted, RevisionApplied, SchemaReset},
        finding::Severity,
    };
    use uuid::Uuid;

    use super::*;

    fn received(sequence: u64, second: u64, kind: EventKind) -> Received {
        Received {
            sequence,
            operation: Uuid::nil(),
            at: format!("2026-01-02T03:04:{second:02}Z").parse().expect("a time"),
            code: kind.code().to_owned(),
            severity: Severity::Info,
            text: kind.text(),
            kind: Some(kind),
            exit_code: None,
        }
    }

    fn applied(revision: &str, duration_us: u64) -> EventKind {
        EventKind::RevisionApplied(RevisionApplied {
            schema: "general".into(),
            chain: "core".into(),
            revision: revision.into(),
            checksum: String::new(),
            statements: 1,
            duration_us,
        })
    }

    fn reset(schema: &str) -> EventKind {
        EventKind::SchemaReset(SchemaReset {
            schema: schema.into(),
            existed_before: true,
            tables_before: 1,
            exists_after: true,
            tables_after: 0,
            kept_as: Some("resetd_kept_x".into()),
            kept_until: None,
        })
    }

    #[test]
    fn steps_stand_above_what_they_did_with_the_time_of_each() {
        let complete = EventKind::ChainCompleted(ChainCompleted {
            schema: "general".into(),
            chain: "core".into(),
            head: "core_002".into(),
            applied: vec!["core_001".into(), "core_002".into()],
        });
        let events = [
            (0, EventKind::LockAcquired { shared: false, pid: 1 }),
            (1, reset("general")),
            (2, reset("health")),
            (3, applied("core_001", 20_000)),
            (5, applied("core_002", 1_500_000)),
            (5, complete),
        ];
        let mut tree = Tree::default();
        let mut shown = Vec::new();
        for (at, (second, kind)) in (1..).zip(events) {
            for it in tree.grow(&received(at, second, kind)).expect("it has a place") {
                shown.push(format!("{}{} {}", "  ".repeat(it.depth), it.text, it.time).trim_end().to_owned());
            }
        }
        let expected = [
            "acquired exclusive lock",
            "reset",
            "  general: 1 table set aside 1.0s",
            "  health: 1 table set aside 1.0s",
            "migrate",
            "    core_002 in general 1.5s",
            "  general: core is at core_002, 2 revisions 1.5s",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_has_no_place_is_shown_as_it_is_told_and_ends_a_step() {
        let mut tree = Tree::default();
        assert_eq!(tree.grow(&received(1, 0, reset("a"))).expect("a place").len(), 2);
        let commit = EventKind::CommitPrepared { transaction_id: "7".into() };
        assert!(tree.grow(&received(2, 0, commit)).is_none());
        assert!(tree.grow(&Received { kind: None, ..received(3, 0, EventKind::Heartbeat) }).is_none());
        assert_eq!(
            tree.grow(&received(4, 0, reset("b"))).expect("a place").len(),
            2,
            "its step is named again"
        );
    }
}
