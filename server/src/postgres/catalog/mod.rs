//! What a target holds, read from the catalogs: for plans, findings and comparisons. Nothing here changes anything.
//!
//! It must not know operations, the lease or the transaction that changes a target.

pub(crate) mod aside;
pub(crate) mod check;
pub(crate) mod check_roles;
pub(crate) mod database;
pub(crate) mod database_properties;
pub(in crate::postgres) mod default_privileges;
pub(crate) mod deferred_triggers;
pub(crate) mod dependencies;
pub(crate) mod extensions;
pub(crate) mod observe;
pub(in crate::postgres) mod openings;
pub(crate) mod outside;
pub(crate) mod preflight;
pub(crate) mod publications;
pub(crate) mod references;
pub(crate) mod schema_properties;
pub(crate) mod sessions;
pub(crate) mod shared_objects;
pub(crate) mod structure;
pub(crate) mod versions;
