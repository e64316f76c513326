//! Scope database: databases built aside, swapped in, set aside and dropped.
//!
//! It is the top floor: no other room imports it.

pub(crate) mod built;
pub(crate) mod carried;
pub(crate) mod cleanup;
pub(crate) mod databases;
pub(crate) mod exchange;
pub(crate) mod kept_schemas;
pub(crate) mod preserved_extensions;
pub(crate) mod settings;
pub(crate) mod terminate;
