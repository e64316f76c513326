//! Why a plan may not be executed: guards that are decided when the lock is held and the catalog was read.

use crate::{
    fault::{Fault, Reason},
    finding,
    profile::Scope,
};

use super::{Plan, count, identity};

/// How many names one line has.
const NAMED: usize = 5;

impl Plan {
    /// The reason to refuse this plan, if there is one. `approved` is the digest that the caller sends along: it must
    /// match, and it lets the plan's outside objects go.
    #[must_use]
    pub fn refusal(&self, approved: Option<&str>) -> Option<Fault> {
        if let Some(approved) = approved.filter(|d| *d != self.digest) {
            return Some(self.changed(approved));
        }
        finding::refusal(&self.findings).or_else(|| approved.is_none().then(|| self.unapproved()).flatten())
    }

    fn changed(&self, approved: &str) -> Fault {
        Fault::new(
            Reason::PlanChanged,
            format!(
                "the plan is {}, not the approved {approved}: the target or the chains changed",
                self.digest
            ),
        )
        .hint("read a new --dry-run and send its digest")
        .with("approved", approved)
        .with("digest", &self.digest)
    }

    /// What only goes with the plan's digest.
    fn unapproved(&self) -> Option<Fault> {
        let approve = format!(
            "move or drop them first, or approve exactly this plan with --plan-digest {}",
            self.digest
        );
        if !self.outside.is_empty() && self.scope != Some(Scope::Database) {
            let names: Vec<String> = self.outside.iter().map(ToString::to_string).collect();
            let text = format!(
                "{} outside the managed schemas would be lost: {}",
                count(self.outside.len(), "object"),
                some_of(&names)
            );
            let also =
                self.data_limit.as_ref().map(|data_limit| format!("; and {data_limit}")).unwrap_or_default();
            return Some(
                Fault::new(Reason::BlastRadius, format!("{text}{also}"))
                    .hint(approve)
                    .with("objects", self.outside.len())
                    .with("digest", &self.digest),
            );
        }
        let data_limit = self.data_limit.as_ref()?;
        Some(
            Fault::new(Reason::DataLimit, format!("more would be lost than goes unasked: {data_limit}"))
                .hint(format!("read the plan, and approve exactly it with --plan-digest {}", self.digest))
                .with("digest", &self.digest),
        )
    }
}

/// Says in a `PLAN_CHANGED` what moved between the approved plan and this one, by their identities.
#[must_use]
pub fn tell_moved(mut fault: Fault, approved: &[String], now: &[String]) -> Fault {
    let (added, gone) = identity::difference(approved, now);
    let moved = format!("added: {}; gone: {}", some_of(&added), some_of(&gone));
    fault.message = format!("{}; {moved}", fault.message);
    fault.with("moved", moved)
}

/// The first few names, and how many more.
fn some_of(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}
