//! How the daemon writes SQL and reads what PostgreSQL says: quoting, timestamps, errors.
//!
//! It must not know sessions, nor what a statement is for.

pub(crate) mod error;
pub(crate) mod ident;
pub(crate) mod signs;
pub(crate) mod timestamp;
pub(crate) mod version;
