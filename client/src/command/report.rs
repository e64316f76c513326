//! Reports from the daemon: the exact bytes that it made once, proven by their hash.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use model::fault::{Fault, Reason, exit};
use uuid::Uuid;
use wire::v1;

use super::{operations, print_bytes};
use crate::{
    backoff::Backoff,
    connection::{self, Connection},
    intent::{Destination, ReportTo},
    render::Screen,
    report_file::Place,
    status::{Trouble, normalise},
};

/// How long a report is asked for: a PostgreSQL that restarts may take a while.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often other bytes than those that were promised are taken for an accident.
const TRIES: u32 = 3;

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
    let place = Place::prepare(&ReportTo::of(path, ReportTo::Stdout))?;
    let connection = Connection::new(to.address.clone());
    let operation = operations::read(&connection, id).await?;
    let expected = operation.end.as_ref().map(|end| end.report_sha256.as_str()).unwrap_or_default();
    let bytes = fetch(&connection, id, expected).await?;
    if place == Place::Stdout {
        return print_bytes(screen, &bytes);
    }
    let written = place.write("report.json", &bytes, |_| Ok(()));
    let path = written
        .map_err(|e| Fault::new(Reason::ReportUnwritable, format!("the report cannot be written: {e}")))?;
    if let Some(path) = path {
        screen.say(&format!("report: {}", path.display()));
    }
    Ok(exit::OK)
}

/// The report's bytes; `expected` is their SHA-256 in hex, empty when it is not known.
///
/// # Errors
/// The daemon has no report, cannot be reached for a while, or sent other bytes than it promised.
pub(crate) async fn fetch(
    connection: &Connection,
    operation: Uuid,
    expected: &str,
) -> Result<Vec<u8>, Fault> {
    let (begun, mut backoff, mut wrong) = (Instant::now(), Backoff::default(), 0);
    loop {
        let trouble = match once(connection, operation).await {
            Ok(bytes) => match checked(bytes, expected) {
                Ok(bytes) => return Ok(bytes),
                Err(fault) => {
                    wrong += 1;
                    Trouble { fault, from_daemon: true, retryable: wrong < TRIES }
                }
            },
            Err(trouble) => trouble,
        };
        if !trouble.retryable || begun.elapsed() >= PATIENCE {
            return Err(trouble.fault);
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

async fn once(connection: &Connection, operation: Uuid) -> Result<Vec<u8>, Trouble> {
    let unreachable = |fault| Trouble { fault, from_daemon: false, retryable: true };
    let mut client = connection::operations(connection.open().await.map_err(unreachable)?);
    let request = v1::GetReportRequest { operation: operation.to_string() };
    let mut stream = client.get_report(request).await.map_err(|s| normalise(&s))?.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await.map_err(|s| normalise(&s))? {
        bytes.extend_from_slice(&part.chunk);
    }
    Ok(bytes)
}

fn checked(bytes: Vec<u8>, expected: &str) -> Result<Vec<u8>, Fault> {
    let actual = model::report::sha256(&bytes);
    match expected.is_empty() || actual == expected {
        true => Ok(bytes),
        false => Err(Fault::new(
            Reason::Internal,
            format!("the report that came has SHA-256 {actual}, not {expected} as its operation says"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_only_with_their_hash() {
        let hash = model::report::sha256(b"{}\n");
        assert_eq!(checked(b"{}\n".to_vec(), &hash).ok().as_deref(), Some(&b"{}\n"[..]));
        assert!(checked(b"{}".to_vec(), &hash).is_err());
        assert!(checked(b"{}".to_vec(), "").is_ok());
    }
}
