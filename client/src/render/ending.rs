//! How the screen shows an end: of an operation, or of a call that none came of. What the lines are, `outcome.rs` says.

use std::path::Path;

use model::{
    event::{EventKind, Finished},
    fault::Fault,
    finding::Severity,
    plan::Refusal,
    report::Report,
};
use uuid::Uuid;
use wire::Received;

use super::{Mode, Screen, closing, event, outcome, text};

impl Screen {
    /// A text of the daemon for who reads it: points in time in their zone on a terminal, in UTC in a log.
    pub(super) fn local(&self, text: &str) -> String {
        match self.mode {
            Mode::Tty => crate::time_spec::localised(text, &self.zone()),
            _ => text.to_owned(),
        }
    }

    fn local_fault(&self, fault: &Fault) -> Fault {
        let found = fault.metadata.get("findings").and_then(|n| n.parse::<usize>().ok());
        if found.is_some_and(|n| n > 0 && self.errors_found >= n) {
            return outcome::without_findings(fault);
        }
        Fault {
            message: self.local(&fault.message),
            hint: fault.hint.as_deref().map(|hint| self.local(hint)),
            ..fault.clone()
        }
    }

    /// The last event; with what would refuse the real run, where it was a dry run.
    pub(crate) fn finished(&mut self, event: &Received, title: &str, refusal: Option<&Refusal>) {
        self.rest();
        let (width, paint) = (self.width(), self.paint());
        let lines = match &event.kind {
            _ if self.mode == Mode::Json => return self.json(&event::json(event)),
            Some(EventKind::Finished(end)) if self.silenced(end) => return,
            Some(EventKind::Finished(end)) => {
                let end = Finished {
                    summary: self.local(&end.summary),
                    error: end.error.as_ref().map(|error| self.local_fault(error)),
                    ..(**end).clone()
                };
                outcome::finished(&end, title, refusal, width, paint)
            }
            _ => text::wrap("", &self.local(&event.text), width),
        };
        self.lines(lines);
    }

    /// What stands below the end: on a terminal a block, else one line with operation and report.
    pub(crate) fn closed(
        &mut self,
        report: Option<&Report>,
        undo: Option<&str>,
        operation: Option<Uuid>,
        path: Option<&Path>,
    ) {
        let path = path.map(|path| path.display().to_string());
        match report.filter(|_| self.mode == Mode::Tty) {
            Some(report) => {
                let (zone, width) = (self.zone(), self.width());
                let lines = closing::lines(report, undo, path.as_deref(), &zone, width);
                self.lines(lines);
            }
            None => {
                let of = operation.map(|id| format!("operation {id}"));
                let at = path.map(|path| format!("report: {path}"));
                let line: Vec<String> = of.into_iter().chain(at).collect();
                if !line.is_empty() {
                    self.say(&line.join(", "));
                }
            }
        }
    }

    fn silenced(&self, end: &Finished) -> bool {
        self.mode == Mode::Quiet && end.error.is_none()
    }

    /// What went wrong without an operation's end.
    pub(crate) fn fault(&mut self, title: &str, fault: &Fault) {
        self.rest();
        match self.mode {
            Mode::Json => {
                let hint = fault.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
                let text = format!("{title}: {fault}{hint}");
                self.json(&event::json_talk(fault.reason.name(), Severity::Error, &text));
            }
            _ => {
                let fault = self.local_fault(fault);
                self.lines(outcome::fault(&fault, title, self.width(), self.paint()));
            }
        }
    }
}
