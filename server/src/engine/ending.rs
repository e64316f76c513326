//! How an operation's end and report are made: the fold of its events, once.

use jiff::Timestamp;
use model::{
    event::{Event, EventKind, Finished},
    fault::{Fault, Reason, Status},
    operation::{Outcome, Verb},
    report::{self, Report},
};

use crate::postgres::journal::Ending;

/// An operation that was cancelled: the operation's own words, wherever the cancel was seen.
pub(super) fn cancelled() -> Fault {
    Fault::new(Reason::Cancelled, "the operation was cancelled")
        .hint("nothing was changed; run it again when you want it")
}

/// Makes the end of an operation that failed with `fault`, or succeeded with a summary. A cancel that was accepted holds,
/// also where nothing was left to be stopped: what was only read has no commit that could come before it.
pub(super) fn make(events: &[Event], at: Timestamp, result: Result<&str, &Fault>) -> Ending {
    let accepted = events.iter().find_map(|e| match &e.kind {
        EventKind::Accepted(it) => Some((it.verb, it.target.as_str(), it.phased && !it.dry_run)),
        _ => None,
    });
    let (verb, target, phased) = accepted.unwrap_or((Verb::Validate, "", false));
    let asked = events.iter().any(|e| matches!(e.kind, EventKind::CancelRequested { .. }));
    let cancelled = cancelled();
    let result = if asked && result.is_ok() { Err(&cancelled) } else { result };
    let planned = events.iter().any(|e| matches!(e.kind, EventKind::Planned { .. }));
    let told = result.err().map(|fault| match phased && planned && Outcome::of(fault.reason) != Outcome::Refused {
        // A step may be committed and not listed yet: only the target knows.
        true => fault.clone().hint(
            "what was committed before stays; `resetctl migrate --dry-run` shows what is pending; mend it, then migrate again",
        ),
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
