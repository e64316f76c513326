//! Operations, targets and the daemon itself as this client knows them, decoded from the contract once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    fault::{Fault, Reason},
    operation::Operation,
    target::TargetStatus,
    window::Window,
};
use wire::{decode_operation, decode_target, decode_timestamp, decode_window, v1};

/// Who answers.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(crate) version: String,
    pub(crate) instance: String,
    pub(crate) postgres: String,
    pub(crate) principal: String,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) chains: Vec<v1::ChainInfo>,
}

impl Daemon {
    /// Chain name → fingerprint.
    pub(crate) fn fingerprints(&self) -> BTreeMap<String, String> {
        self.chains.iter().map(|c| (c.name.clone(), c.fingerprint.clone())).collect()
    }
}

impl From<v1::GetServerInfoResponse> for Daemon {
    fn from(it: v1::GetServerInfoResponse) -> Self {
        Self {
            version: it.version,
            instance: it.instance,
            postgres: it.postgres_version,
            principal: it.principal,
            started_at: decode_timestamp(it.started_at),
            chains: it.chains,
        }
    }
}

/// A target of a reply.
pub(crate) fn target(it: v1::Target) -> Result<TargetStatus, Fault> {
    decode_target(it).map_err(|error| unreadable(&error.to_string()))
}

/// An operation of a reply.
pub(crate) fn operation(it: v1::Operation) -> Result<Operation, Fault> {
    decode_operation(it).map_err(|error| unreadable(&error.to_string()))
}

/// A window of a reply.
pub(crate) fn window(it: v1::Window) -> Result<Window, Fault> {
    decode_window(it).map_err(|error| unreadable(&error.to_string()))
}

/// The daemon broke the contract.
pub(crate) fn unreadable(what: &str) -> Fault {
    Fault::new(Reason::Internal, format!("the daemon sent an unreadable reply: {what}")).hint(
        "client and daemon may be of different versions: compare `resetctl --version` with `resetctl status`",
    )
}
