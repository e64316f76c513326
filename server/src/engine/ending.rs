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
        EventKind::Accepted(it) => Some((it.verb, it.target.as_str())),
        _ => None,
    });
    let (verb, target) = accepted.unwrap_or((Verb::Validate, ""));
    let mut report = Report::new(verb, target, at);
    for event in events {
        report.absorb(event);
    }
    let (outcome, fault) = match result {
        Ok(_) => (Outcome::Succeeded, None),
        Err(fault) => (Outcome::of(fault.reason), Some(fault)),
    };
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
