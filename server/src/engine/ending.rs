//! How an operation's end and report are made: the fold of its events, once.

use jiff::Timestamp;
use model::{
    event::{Event, EventKind, Finished},
    fault::{Fault, Status},
    operation::{Outcome, Verb},
    report::{self, Report},
};

use crate::postgres::journal::Ending;

/// Makes the end of an operation that failed with `fault`, or succeeded with a summary.
pub(super) fn make(events: &[Event], at: Timestamp, result: Result<&str, &Fault>) -> Ending {
    let accepted = events.iter().find_map(|e| match &e.kind {
        EventKind::Accepted(it) => Some((it.verb, it.target.as_str(), it.phased)),
        _ => None,
    });
    let (verb, target, phased) = accepted.unwrap_or((Verb::Validate, "", false));
    let applied = events.iter().any(|e| matches!(e.kind, EventKind::RevisionApplied(_)));
    let told = result.err().map(|fault| match phased && applied {
        true => fault
            .clone()
            .hint("the revisions that the report lists as applied stay; mend it, then migrate again"),
        false => fault.clone(),
    });
    let mut report = Report::new(verb, target, at);
    for event in events {
        report.absorb(event);
    }
    let fault = told.as_ref();
    let outcome = fault.map_or(Outcome::Succeeded, |fault| Outcome::of(fault.reason));
    let text = report.finish(outcome, fault, at).to_text();
    let finished = Finished {
        outcome,
        status: fault.map_or(Status::Ok, |f| f.reason.status()),
        summary: result.map_or_else(|f| f.message.clone(), str::to_owned),
        report_sha256: report::sha256(text.as_bytes()),
        error: fault.cloned(),
    };
    Ending { finished, report: text }
}
