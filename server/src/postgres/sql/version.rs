//! The server's version, and what is written differently for some.

use model::fault::Fault;
use sqlx::PgConnection;

use super::error::work_fault;

/// From here on `pg_has_role` tells whether a role may be assumed.
pub(in crate::postgres) const SET_OPTION: i32 = 160_000;

/// What `pg_has_role` is asked for to learn whether a role may be assumed.
pub(in crate::postgres) fn assume(version: i32) -> &'static str {
    if version >= SET_OPTION { "SET" } else { "MEMBER" }
}

/// What a `GRANT role TO member` ends with, so that the member may act as the role: an older membership may lack it.
pub(in crate::postgres) fn may_act(version: i32) -> &'static str {
    if version >= SET_OPTION { " WITH INHERIT TRUE, SET TRUE" } else { "" }
}

/// The server's `server_version_num`.
pub(crate) async fn of(connection: &mut PgConnection) -> Result<i32, Fault> {
    sqlx::query_scalar("SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4")
        .fetch_one(connection)
        .await
        .map_err(|e| work_fault("asking for the version", &e))
}
