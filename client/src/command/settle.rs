//! What is left to do when the watching has ended: the report on disk, the last words, the exit code.

use std::path::PathBuf;

use model::{
    event::EventKind,
    fault::{Fault, Reason, exit},
    operation::{Request, Verb},
    report::Report,
};
use uuid::Uuid;
use wire::Received;

use super::present;
use crate::{
    api::Api,
    args::ResultFormat,
    destination::Destination,
    follow::{Ending, Seen},
    invocation,
    render::Screen,
    report_file::{self, ReportSink},
    signals::Signal,
};

/// What was watched, and where its report goes.
pub(crate) struct Case<'a> {
    /// The daemon.
    pub(crate) to: &'a Destination,
    /// Its calls.
    pub(crate) api: &'a Api,
    /// Where the report goes.
    pub(crate) sink: &'a ReportSink,
    /// What it does.
    pub(crate) verb: Verb,
    /// The target's name as far as it is known.
    pub(crate) target: String,
    /// Nothing is changed.
    pub(crate) dry_run: bool,
    /// What was asked, when it was asked by this client.
    pub(crate) request: Option<&'a Request>,
    /// The form in which the result is printed as well.
    pub(crate) format: Option<ResultFormat>,
    /// A dry run tells by its exit code whether something would change.
    pub(crate) detailed_exitcode: bool,
    /// Where the revisions' files may lie here.
    pub(crate) folders: Vec<PathBuf>,
}

/// Settles it and gives the exit code: always that of the operation or of the refusal, whatever becomes of the report.
pub(crate) async fn settle(screen: &mut Screen, mut case: Case<'_>, ending: Ending, seen: &Seen) -> u8 {
    if let Some(accepted) = &seen.accepted {
        case.target = accepted.target.clone();
    }
    match ending {
        Ending::Finished(event) => finished(screen, &case, seen, &event).await,
        Ending::Accepted(operation) => accepted(screen, &case, operation),
        Ending::Failed(fault) => {
            screen.fault(&case.title(), &fault);
            stand_in(screen, &case, seen, &fault);
            fault.reason.exit_code()
        }
        Ending::Lost(fault) => lost(screen, &case, seen, fault),
        Ending::Detached(signal) => detached(screen, &case, seen, signal),
        Ending::Aborted(signal) => aborted(screen, &case, seen, signal),
    }
}

impl Case<'_> {
    fn title(&self) -> String {
        let dry = if self.dry_run { " (dry run)" } else { "" };
        match self.target.as_str() {
            "" => format!("{}{dry}", self.verb.as_str()),
            target => format!("{}{dry} of {target}", self.verb.as_str()),
        }
    }

    fn file_name(&self, operation: Option<Uuid>) -> String {
        report_file::name(jiff::Timestamp::now(), &self.target, self.verb.as_str(), operation)
    }
}

async fn finished(screen: &mut Screen, case: &Case<'_>, seen: &Seen, event: &Received) -> u8 {
    let refusal = seen.plan.as_ref().and_then(|plan| plan.refusal.as_ref()).filter(|_| case.dry_run);
    screen.finished(event, &case.title(), refusal);
    let (expected, own) = match &event.kind {
        Some(EventKind::Finished(end)) => (end.report_sha256.as_str(), end.exit_code()),
        _ => ("", exit::FAILED),
    };
    let name = case.file_name(Some(event.operation));
    let kept = match case.api.report(event.operation, expected).await {
        Ok(bytes) => {
            // That of another version may be unreadable here; it is kept all the same.
            let report = serde_json::from_slice(&bytes).ok();
            present::result(screen, case, report.as_ref());
            keep(screen, case, &name, Some(event.operation), &bytes, report.as_ref())
        }
        Err(fault) => Err(fault.to_string()),
    };
    let code = detailed(case, seen, event.exit_code.unwrap_or(own));
    let Err(problem) = kept else { return code };
    let again = invocation::report(case.to, event.operation);
    screen.alarm(&format!(
        "THE REPORT IS NOT ON DISK: {problem}. The operation's outcome stands; fetch it with: {again}"
    ));
    let required = seen.accepted.as_ref().is_some_and(|accepted| accepted.report_required);
    if code == exit::OK && required {
        screen.alarm("the target's profile wants the report kept (`report = \"error\"`): exit code 1");
        return Reason::ReportUnwritable.exit_code();
    }
    code
}

/// The exit code of a dry run that was asked to tell more: whether the real run would change something, or be refused.
fn detailed(case: &Case<'_>, seen: &Seen, code: u8) -> u8 {
    match &seen.plan {
        Some(plan) if case.detailed_exitcode && code == exit::OK => match &plan.refusal {
            Some(refusal) => refusal.reason.exit_code(),
            None if plan.changes() => exit::CHANGES,
            None => code,
        },
        _ => code,
    }
}

fn accepted(screen: &mut Screen, case: &Case<'_>, operation: Uuid) -> u8 {
    screen.say(&format!(
        "{} goes on; watch it with: {}",
        case.title(),
        invocation::watch(case.to, operation)
    ));
    match screen.data(format!("{operation}\n").as_bytes()) {
        Ok(()) => exit::OK,
        Err(error) => {
            screen
                .alarm(&format!("standard output cannot be written: {error}; the operation is {operation}"));
            exit::FAILED
        }
    }
}

fn lost(screen: &mut Screen, case: &Case<'_>, seen: &Seen, fault: Fault) -> u8 {
    let fault = match seen.operation {
        Some(operation) => fault
            .hint(format!(
                "the operation does not depend on this client; watch on with: {}",
                invocation::watch(case.to, operation)
            ))
            .with("operation", operation),
        None => fault.hint("`resetctl operations list` shows the operation if the request arrived"),
    };
    screen.fault(&case.title(), &fault);
    stand_in(screen, case, seen, &fault);
    fault.reason.exit_code()
}

fn detached(screen: &mut Screen, case: &Case<'_>, seen: &Seen, signal: Signal) -> u8 {
    let name = signal.name();
    let text = match seen.operation {
        Some(operation) => {
            let again = invocation::watch(case.to, operation);
            match seen.waits {
                true => format!(
                    "detached by {name}; the operation still waits, and loses its place when nobody watches it for long \
                     (`unwatched_wait_limit` of the profile): {again}"
                ),
                false => format!("detached by {name}; the operation goes on: {again}"),
            }
        }
        None => format!(
            "detached by {name} before the daemon accepted anything; if the request arrived, `resetctl operations list` shows it"
        ),
    };
    screen.alarm(&text);
    // An older report at the named path must not be taken for this operation's.
    if matches!(case.sink, ReportSink::File(_)) || case.format.is_some() {
        stand_in(screen, case, seen, &Fault::new(Reason::ContactLost, text));
    }
    signal.exit_code()
}

/// Nobody confirmed, and nothing was asked for.
fn aborted(screen: &mut Screen, case: &Case<'_>, seen: &Seen, signal: Signal) -> u8 {
    let text = "Aborted. Nothing was changed.";
    screen.ask("\n");
    screen.alone(text);
    if matches!(case.sink, ReportSink::File(_)) || case.format.is_some() {
        stand_in(screen, case, seen, &Fault::new(Reason::ConfirmationMissing, text));
    }
    signal.exit_code()
}

/// The report of a call that has none from the daemon: refused, lost or left.
fn stand_in(screen: &mut Screen, case: &Case<'_>, seen: &Seen, fault: &Fault) {
    let request = case.request;
    let scope = request.and_then(|r| r.scope);
    let dry_run = request.is_some_and(|r| r.dry_run);
    let target = match fault.metadata.get("target") {
        Some(target) if case.target.is_empty() => target,
        _ => &case.target,
    };
    let mut report = Report::new(case.verb, target, jiff::Timestamp::now()).refused(scope, dry_run, fault);
    report.operation = seen.operation;
    report.labels = request.map(|r| r.labels.clone()).unwrap_or_default();
    if let Some(accepted) = &seen.accepted {
        report.target_db = Some(accepted.database.clone());
        report.target_env_var = accepted.target_env_var.clone();
    }
    report.plan = seen.plan.clone();
    present::report(screen, case, &report);
    // What was mistyped is no event of anybody's history; a path that was named gets its report always.
    let mistyped = matches!(fault.reason.exit_code(), exit::USAGE | exit::NOT_FOUND);
    if seen.operation.is_none()
        && (mistyped || matches!(case.sink, ReportSink::Nowhere(_)))
        && matches!(case.sink, ReportSink::Folder(_) | ReportSink::Nowhere(_))
    {
        return;
    }
    let name = case.file_name(seen.operation);
    if let Err(problem) = keep(screen, case, &name, seen.operation, report.to_text().as_bytes(), None) {
        screen.alarm(&format!("THE REPORT IS NOT ON DISK: {problem}"));
    }
}

/// Keeps a report; the last lines say where, and which operation it is of.
fn keep(
    screen: &mut Screen,
    case: &Case<'_>,
    name: &str,
    operation: Option<Uuid>,
    bytes: &[u8],
    report: Option<&Report>,
) -> Result<(), String> {
    let written = case.sink.write(name, bytes, |bytes| screen.report(bytes)).map_err(|e| e.to_string())?;
    let undo = operation.map(|id| invocation::undo(case.to, &case.target, id));
    screen.closed(report, undo.as_deref(), operation, written.as_deref());
    Ok(())
}
