//! Targets and the daemon itself as this client knows them, decoded from the contract once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    fault::{Fault, Reason},
    lock::Holder,
    operation::Operation,
    window::Window,
};
use wire::{decode_holder, decode_operation, decode_timestamp, decode_window, v1};

/// A database that the daemon may touch.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) database: String,
    pub(crate) profile: String,
    pub(crate) matrix: String,
    pub(crate) managed_schemas: Vec<String>,
    pub(crate) enrolled: bool,
    pub(crate) protected: bool,
    pub(crate) holder: Option<Holder>,
    pub(crate) queue: Vec<Operation>,
    pub(crate) window: Option<Window>,
    pub(crate) next_windows: Vec<Window>,
    pub(crate) last: Option<Operation>,
    pub(crate) kept: Vec<Kept>,
}

/// A previous database that an undo can bring back.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) operation: String,
    pub(crate) until: Option<Timestamp>,
}

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

impl TryFrom<v1::Target> for Target {
    type Error = Fault;

    fn try_from(it: v1::Target) -> Result<Self, Fault> {
        Ok(Self {
            name: it.name,
            database: it.database,
            profile: it.profile,
            matrix: it.matrix,
            managed_schemas: it.managed_schemas,
            enrolled: it.enrolled,
            protected: it.protected,
            holder: it.holder.map(decode_holder),
            queue: it.queue.into_iter().map(operation).collect::<Result<_, _>>()?,
            window: it.window.map(window).transpose()?,
            next_windows: it.next_windows.into_iter().map(window).collect::<Result<_, _>>()?,
            last: it.last_operation.map(operation).transpose()?,
            kept: it
                .kept
                .into_iter()
                .map(|k| Kept { name: k.name, operation: k.operation, until: decode_timestamp(k.kept_until) })
                .collect(),
        })
    }
}

/// An operation of a reply.
///
/// # Errors
/// The daemon broke the contract.
pub(crate) fn operation(it: v1::Operation) -> Result<Operation, Fault> {
    decode_operation(it).map_err(|error| unreadable(&error.to_string()))
}

/// A window of a reply.
///
/// # Errors
/// The daemon broke the contract.
pub(crate) fn window(it: v1::Window) -> Result<Window, Fault> {
    decode_window(it).map_err(|error| unreadable(&error.to_string()))
}

/// The daemon broke the contract.
pub(crate) fn unreadable(what: &str) -> Fault {
    Fault::new(Reason::Internal, format!("the daemon sent an unreadable reply: {what}")).hint(
        "client and daemon may be of different versions: compare `resetctl --version` with `resetctl status`",
    )
}
