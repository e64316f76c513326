//! `SystemService`.

use model::{chain::Chain, operation::limits, revision::Revision};
use tonic::{Request, Response, Status};
use wire::v1::{self, system_service_server::SystemService};

use super::{About, Api};
use crate::engine::Engine;

/// The service.
#[derive(Clone)]
pub(super) struct System(pub(super) Api);

fn chain_info(
    name: &str,
    chain: &Result<Chain, Vec<model::chain::ChainFault>>,
    engine: &Engine,
) -> v1::ChainInfo {
    let replayed = engine.replays(name);
    match chain {
        Ok(chain) => v1::ChainInfo {
            name: name.to_owned(),
            fingerprint: chain.fingerprint(),
            head: chain.head().id.clone(),
            revisions: u32::try_from(chain.revisions.len()).unwrap_or(u32::MAX),
            fault: String::new(),
            replayed,
            files: chain.revisions.iter().map(revision_info).collect(),
        },
        Err(faults) => v1::ChainInfo {
            name: name.to_owned(),
            fault: faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            replayed,
            ..v1::ChainInfo::default()
        },
    }
}

fn revision_info(it: &Revision) -> v1::RevisionInfo {
    v1::RevisionInfo {
        revision: it.id.clone(),
        file: it.file.clone(),
        checksum: it.checksum.clone(),
        summary: it.summary.clone(),
    }
}

#[tonic::async_trait]
impl SystemService for System {
    async fn get_server_info(
        &self,
        call: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::GetServerInfoResponse>, Status> {
        let authorization =
            self.0.authorize("SystemService/GetServerInfo", &call, About::Nothing, None).await?;
        let engine = &self.0.engine;
        let shelf = engine.shelf().await;
        Ok(Response::new(v1::GetServerInfoResponse {
            version: crate::VERSION.to_owned(),
            instance: engine.instance.to_string(),
            postgres_version: engine.control.postgres_version.clone(),
            chains: shelf.iter().map(|(name, chain)| chain_info(name, chain, engine)).collect(),
            limits: Some(v1::Limits {
                max_request_bytes: limits::REQUEST_BYTES as u64,
                max_chain_files: limits::CHAIN_FILES as u32,
                max_labels: limits::LABELS as u32,
            }),
            started_at: Some(wire::timestamp(engine.started_at)),
            principal: authorization.principal().to_string(),
        }))
    }
}
