//! `--format`: a result in the form that a dashboard or GitHub Actions wants, beside the report. It changes no exit code.

use std::{fs::File, io::Write as _, path::Path};

use model::report::Report;

use super::settle::Case;
use crate::{
    args::ResultFormat,
    render::{Screen, github, junit},
};

/// Presents the daemon's report, where it could be read.
pub(super) fn result(screen: &mut Screen, case: &Case<'_>, found: Option<&Report>) {
    match found {
        Some(it) => report(screen, case, it),
        None if case.format.is_some() => {
            screen.alarm("--format: the daemon's report cannot be read by this version")
        }
        None => {}
    }
}

/// Presents a report.
pub(crate) fn report(screen: &mut Screen, case: &Case<'_>, report: &Report) {
    let text = match case.format {
        None => return,
        Some(ResultFormat::Junit) => junit::document(report),
        Some(ResultFormat::Github) => {
            summary(screen, report);
            let folders: Vec<&Path> = case.folders.iter().map(std::path::PathBuf::as_path).collect();
            let lines = github::annotations(report, &folders, Path::is_file);
            lines.into_iter().map(|line| line + "\n").collect()
        }
    };
    if let Err(error) = screen.data(text.as_bytes()) {
        screen.alarm(&format!("standard output cannot be written: {error}"));
    }
}

/// Adds to the job's summary, where there is one: other steps have written there as well.
fn summary(screen: &mut Screen, report: &Report) {
    let Some(path) = screen.environment().step_summary.clone() else { return };
    let text = github::summary(report);
    let opened = File::options().append(true).create(true).open(&path);
    if let Err(error) = opened.and_then(|mut file| file.write_all(text.as_bytes())) {
        screen.alarm(&format!("the step's summary cannot be written to {}: {error}", path.display()));
    }
}
