//! A validation that is looked at rather than shown: for verbs that decide by what it finds.

use std::time::Duration;

use model::{
    event::EventKind,
    fault::{Fault, Reason},
    operation::{Request, Verb},
    report::Report,
};
use uuid::Uuid;

use crate::{
    api::Api,
    follow::{self, Start, Step},
};

/// How long to try to re-attach.
const RECONNECT: Duration = Duration::from_secs(30);

/// Validates a target; its operation and report.
///
/// # Errors
/// It was refused, contact was lost, or its report cannot be read. Differences are no error.
pub(crate) async fn validate(api: &Api, target: &str) -> Result<(Uuid, Report), Fault> {
    let request = Request::new(Verb::Validate, target, Uuid::new_v4());
    let start = Start::Request(Box::new(wire::encode_request(&request)));
    let mut steps = follow::follow(api.clone(), start, RECONNECT);
    while let Some(step) = steps.recv().await {
        match step {
            Step::Event(event) => {
                if let Some(EventKind::Finished(end)) = &event.kind {
                    return Ok((event.operation, report(api, event.operation, &end.report_sha256).await?));
                }
            }
            Step::Failed(fault) | Step::GivenUp(fault) => return Err(fault),
            Step::Lost(_) | Step::Attached => {}
        }
    }
    Err(Fault::new(Reason::ContactLost, "the validation was no longer followed"))
}

/// The report of an operation, read.
///
/// # Errors
/// It cannot be had or read.
pub(crate) async fn report(api: &Api, operation: Uuid, sha256: &str) -> Result<Report, Fault> {
    let bytes = api.report(operation, sha256).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Fault::new(Reason::Internal, format!("the report of operation {operation} cannot be read: {error}"))
            .hint("client and daemon may be of different versions")
    })
}
