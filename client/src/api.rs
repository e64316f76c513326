//! The daemon's calls, typed: each takes and gives the model's types, and fails with a fault or an [`RpcError`].
//!
//! It must not know the command line or the screen.

mod admin;
mod backoff;
mod call;
mod connection;
mod gateway;
mod operations;
mod preface;
mod report;
mod rpc_error;
mod system;
mod targets;
mod tls;
mod view;
mod windows;

pub(crate) use backoff::Backoff;
pub(crate) use call::Api;
pub(crate) use gateway::ToolStart;
pub(crate) use operations::Events;
pub(crate) use rpc_error::{Origin, RpcError};
pub(crate) use targets::{Targets, Update};
pub(crate) use view::Daemon;
pub(crate) use windows::Start;
