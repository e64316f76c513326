//! `report get|list`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use model::fault::{Fault, Reason, exit};
use serde_json::Value;

use super::{ids, print, print_json, written};
use crate::{
    api::Api,
    destination::Destination,
    intent::ReportTo,
    render::{Screen, reports},
    report_file::{self, ReportSink},
};

/// `report get`
///
/// # Errors
/// There is no such report, or it cannot be written.
pub(crate) async fn get(
    screen: &mut Screen,
    to: &Destination,
    id: &str,
    path: Option<&Path>,
) -> Result<u8, Fault> {
    let sink = ReportSink::prepare(&ReportTo::of(path, ReportTo::Stdout), screen.environment(), true)?;
    let api = Api::new(to.address.clone());
    let id = ids::operation(&api, &to.target, id).await?;
    let operation = api.operation(id).await?;
    let expected = operation.end.as_ref().map(|end| end.report_sha256.as_str()).unwrap_or_default();
    let bytes = api.report(id, expected).await?;
    if sink == ReportSink::Stdout {
        return written(screen.report(&bytes));
    }
    let written = sink.write("report.json", &bytes, |_| Ok(()));
    let path = written
        .map_err(|e| Fault::new(Reason::ReportUnwritable, format!("the report cannot be written: {e}")))?;
    if let Some(path) = path {
        screen.say(&format!("operation {id}, report: {}", path.display()));
    }
    Ok(exit::OK)
}

/// `report list`: what this client has kept, newest first.
///
/// # Errors
/// There is no place where reports are kept, or it cannot be read.
pub(crate) fn list(screen: &mut Screen, limit: usize, as_json: bool) -> Result<u8, Fault> {
    let folder = report_file::usual_folder(screen.environment())?;
    let kept: Vec<reports::Kept> = newest(&folder, limit)?.into_iter().map(read).collect();
    if as_json {
        return print_json(screen, &Value::Array(kept.iter().map(reports::json).collect()));
    }
    if kept.is_empty() {
        screen.say(&format!("no reports in {}", folder.display()));
        return Ok(exit::OK);
    }
    let lines = reports::table(&kept, &screen.zone(), screen.data_width());
    screen.say(&format!("reports in {}", folder.display()));
    print(screen, &lines)
}

/// Their names begin with the time.
fn newest(folder: &Path, limit: usize) -> Result<Vec<PathBuf>, Fault> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let text = format!("{} cannot be read: {error}", folder.display());
            return Err(Fault::new(Reason::ReportUnwritable, text).hint("see who owns it, and its mode"));
        }
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "json"));
    paths.sort();
    paths.reverse();
    paths.truncate(limit);
    Ok(paths)
}

/// What is no report is listed all the same, with nothing known of it.
fn read(path: PathBuf) -> reports::Kept {
    let report = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    reports::Kept { path, report: report.unwrap_or_default() }
}
