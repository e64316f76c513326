//! Reports: the exact bytes that the daemon made once, proven by their hash.

use std::time::{Duration, Instant};

use model::fault::{Fault, Reason};
use uuid::Uuid;
use wire::v1;

use super::{
    backoff::Backoff,
    call::Api,
    rpc_error::{Origin, RpcError},
};

/// How long a report is asked for: a PostgreSQL that restarts may take a while.
const RETRY_FOR: Duration = Duration::from_secs(30);
/// How often other bytes than those that were promised are taken for an accident.
const TRIES: u32 = 3;

impl Api {
    /// The report's bytes; `expected` is their SHA-256 in hex, empty when it is not known.
    ///
    /// # Errors
    /// The daemon has no report, cannot be reached for a while, or sent other bytes than it promised.
    pub(crate) async fn report(&self, operation: Uuid, expected: &str) -> Result<Vec<u8>, Fault> {
        let (begun, mut backoff, mut wrong) = (Instant::now(), Backoff::default(), 0);
        loop {
            let error = match self.report_once(operation).await {
                Ok(bytes) => match checked(bytes, expected) {
                    Ok(bytes) => return Ok(bytes),
                    Err(fault) => {
                        wrong += 1;
                        RpcError { fault, origin: Origin::Daemon, retryable: wrong < TRIES }
                    }
                },
                Err(error) => error,
            };
            if !error.retryable || begun.elapsed() >= RETRY_FOR {
                return Err(error.fault);
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    async fn report_once(&self, operation: Uuid) -> Result<Vec<u8>, RpcError> {
        let mut client = self.connection.operations().await.map_err(RpcError::unreachable)?;
        let request = v1::GetReportRequest { operation: operation.to_string() };
        let mut stream = client.get_report(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = stream.message().await? {
            bytes.extend_from_slice(&part.chunk);
        }
        Ok(bytes)
    }
}

fn checked(bytes: Vec<u8>, expected: &str) -> Result<Vec<u8>, Fault> {
    let actual = model::hex_sha256(&bytes);
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
        let hash = model::hex_sha256(b"{}\n");
        assert_eq!(checked(b"{}\n".to_vec(), &hash).ok().as_deref(), Some(&b"{}\n"[..]));
        assert!(checked(b"{}".to_vec(), &hash).is_err());
        assert!(checked(b"{}".to_vec(), "").is_ok());
    }
}
