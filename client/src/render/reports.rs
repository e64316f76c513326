//! Reports on this machine, as a table and as JSON for scripts. Pure.

use std::path::PathBuf;

use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;
use serde_json::{Value, json};

use super::table::{self, left, whole};
use crate::time_spec::format_time;

/// A report that was kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Where.
    pub(crate) path: PathBuf,
    /// What it says of itself.
    pub(crate) report: Summary,
}

/// The head of a report.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    generated_at: Option<Timestamp>,
    command: String,
    target: String,
    operation: Option<String>,
    status: String,
    outcome: Option<String>,
    error_detail: Option<ErrorDetail>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    reason: String,
}

impl Kept {
    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// In one word: how the operation ended, else why there was none.
    fn end(&self) -> String {
        let it = &self.report;
        let reason = it.error_detail.as_ref().map(|detail| detail.reason.clone());
        it.outcome.clone().filter(|_| it.operation.is_some()).or(reason).unwrap_or_else(|| it.status.clone())
    }
}

/// A table of reports.
pub(crate) fn table(all: &[Kept], zone: &TimeZone, width: usize) -> Vec<String> {
    let columns = [left("MADE", 1), left("VERB", 2), left("TARGET", 3), left("END", 1), whole("FILE")];
    let row = |it: &Kept| {
        vec![
            it.report.generated_at.map(|at| format_time(at, zone)).unwrap_or_default(),
            it.report.command.clone(),
            it.report.target.clone(),
            it.end(),
            it.name(),
        ]
    };
    table::layout(&columns, &all.iter().map(row).collect::<Vec<_>>(), width)
}

/// One of them.
pub(crate) fn json(it: &Kept) -> Value {
    json!({
        "path": it.path,
        "generated_at": it.report.generated_at,
        "command": it.report.command,
        "target": it.report.target,
        "operation": it.report.operation,
        "status": it.report.status,
        "end": it.end(),
    })
}
