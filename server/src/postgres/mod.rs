//! Everything that speaks SQL. It decides nothing: what to do comes from the engine and the model.
//!
//! The rooms form a stack, `sql → session → catalog → control → lock → change → gateway → swap`: each imports only what stands
//! before it. None knows gRPC.

pub(crate) mod catalog;
pub(crate) mod change;
pub(crate) mod control;
pub(crate) mod gateway;
pub(crate) mod lock;
pub(crate) mod session;
pub(crate) mod sql;
pub(crate) mod swap;

/// How a session is opened, as the engine hands it on.
pub(crate) type ConnectOptions = sqlx::postgres::PgConnectOptions;

/// A session of the daemon, as the engine hands it on without looking inside.
pub(crate) type Connection = sqlx::PgConnection;
