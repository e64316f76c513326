//! How an operation's end and report are made: the fold of its events, once.

use jiff::Timestamp;
use model::{
    event::{Event, EventKind, Finished},
    fault::{Fault, Reason, Status},
    operation::{Outcome, Verb},
    report::Report,
};

use crate::postgres::control::journal::Ending;

/// An operation that was cancelled: the operation's own words, wherever the cancel was seen.
pub(in crate::engine) fn cancelled() -> Fault {
    Fault::new(Reason::Cancelled, "the operation was cancelled")
        .hint("nothing was changed; run it again when you want it")
}

/// Makes the end of an operation that failed with `fault`, or succeeded with a summary. A cancel that was accepted holds,
/// also where nothing was left to be stopped: what was only read has no commit that could come before it.
pub(in crate::engine) fn make(events: &[Event], at: Timestamp, result: Result<&str, &Fault>) -> Ending {
    let accepted = events.iter().find_map(|e| match &e.kind {
        EventKind::Accepted(it) => Some((it.verb, it.target.as_str(), it.phased && !it.dry_run)),
        _ => None,
    });
    let (verb, target, phased) = accepted.unwrap_or((Verb::Validate, "", false));
    let asked = events.iter().any(|e| matches!(e.kind, EventKind::CancelRequested { .. }));
    let cancelled = cancelled();
    let result = if asked && result.is_ok() { Err(&cancelled) } else { result };
    let planned = events.iter().any(|e| matches!(e.kind, EventKind::Planned { .. }));
    // Refused by its plan, nothing had begun; at a window's edge, much may have.
    let began = |reason| {
        matches!(reason, Reason::WindowHeld | Reason::WindowRequired)
            || Outcome::of(reason) != Outcome::Refused
    };
    let told = result.err().map(|fault| match phased && planned && began(fault.reason) {
        // A step may be committed and not listed yet: only the target knows.
        true => fault.clone().hint(format!(
            "{}what was committed before stays; `resetctl migrate --dry-run` shows what is pending; fix it, then migrate \
             again",
            fault.metadata.get("mend").map(|mend| format!("{mend}; ")).unwrap_or_default()
        )),
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
        report_sha256: model::hex_sha256(&text),
        error: fault.cloned(),
    };
    Ending { finished, report: text }
}

#[cfg(test)]
mod tests {
    use model::{event::Accepted, plan::Plan};
    use uuid::Uuid;

    use super::*;

    fn story(phased: bool, kinds: Vec<EventKind>) -> Vec<Event> {
        let accepted = EventKind::Accepted(Accepted {
            verb: Verb::Migrate,
            target: "staging".into(),
            database: "butlers".into(),
            scope: None,
            dry_run: false,
            principal: "unix:alice".into(),
            auth_method: "peer credentials".into(),
            labels: Default::default(),
            instance: Uuid::nil(),
            version: "0".into(),
            chains: Default::default(),
            client_chains: false,
            phased,
            report_required: false,
            target_env_var: None,
        });
        let kinds = [accepted].into_iter().chain(kinds).zip(1..);
        kinds
            .map(|(kind, sequence)| Event {
                sequence,
                operation: Uuid::nil(),
                at: Timestamp::UNIX_EPOCH,
                kind,
            })
            .collect()
    }

    fn planned() -> EventKind {
        EventKind::Planned { plan: Box::new(Plan::default()) }
    }

    #[test]
    fn what_stays_step_by_step_is_not_said_to_be_rolled_back() {
        let told = |phased, kinds, reason| {
            let fault = Fault::new(reason, "x").hint("everything was rolled back");
            let end = make(&story(phased, kinds), Timestamp::UNIX_EPOCH, Err(&fault)).finished;
            end.error.and_then(|e| e.hint).unwrap_or_default().contains("stays")
        };
        assert!(told(true, vec![planned()], Reason::RevisionFailed));
        assert!(told(true, vec![planned()], Reason::Abandoned));
        assert!(!told(true, vec![planned()], Reason::PlanChanged), "refused before the first step");
        assert!(!told(true, vec![], Reason::LockLost), "nothing had begun");
        assert!(!told(false, vec![planned()], Reason::RevisionFailed));
    }

    #[test]
    fn a_cancel_that_was_accepted_is_no_success_and_hides_no_failure() {
        let asked = || EventKind::CancelRequested { principal: "unix:bob".into(), reason: String::new() };
        let end = |kinds, result| make(&story(false, kinds), Timestamp::UNIX_EPOCH, result).finished;
        assert_eq!(end(vec![asked()], Ok("valid")).outcome, Outcome::Cancelled);
        assert_eq!(end(vec![], Ok("valid")).outcome, Outcome::Succeeded);
        let failed = Fault::new(Reason::LockLost, "x");
        assert_eq!(end(vec![asked()], Err(&failed)).error.map(|e| e.reason), Some(Reason::LockLost));
    }
}
