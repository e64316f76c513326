//! `report get`.

use std::path::Path;

use model::fault::{Fault, Reason, exit};
use uuid::Uuid;

use super::written;
use crate::{api::Api, destination::Destination, intent::ReportTo, render::Screen, report_file::ReportSink};

/// `report get`
///
/// # Errors
/// There is no such report, or it cannot be written.
pub(crate) async fn get(
    screen: &mut Screen,
    to: &Destination,
    id: Uuid,
    path: Option<&Path>,
) -> Result<u8, Fault> {
    let sink = ReportSink::prepare(&ReportTo::of(path, ReportTo::Stdout))?;
    let api = Api::new(to.address.clone());
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
        screen.say(&format!("report: {}", path.display()));
    }
    Ok(exit::OK)
}
