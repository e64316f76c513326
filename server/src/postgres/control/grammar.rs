//! Whether chains are SQL at all: asked of PostgreSQL itself, in its own version, before anything is changed.
//!
//! Each revision is parsed as the body of a routine that is never made: a body takes any statement, and what is only parsed
//! is neither looked up nor executed, nor is it an error in the server's log unless it is one. It must not know whose chains
//! they are.

use model::{
    chain::{ChainFault, ChainFaultKind, ChainSet},
    fault::Fault,
    operation::limits,
    revision::Revision,
    sql,
};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, SqlSafeStr as _,
    postgres::PgErrorPosition,
};

use crate::postgres::sql::error::{ControlError, control_fault, database_error, is_disconnect, message};

/// What stands before a revision. Its length counts in characters: it is ASCII.
const BEFORE: &str = "CREATE PROCEDURE resetd() BEGIN ATOMIC ";
/// What stands behind it, out of reach of a comment in its last line.
const BEHIND: &str = "\n;END";

/// The revisions that PostgreSQL does not understand, the first of them.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn faults(pool: &PgPool, chains: &ChainSet) -> Result<Vec<ChainFault>, ControlError> {
    let mut connection = pool.acquire().await?;
    let mut faults = Vec::new();
    let scripts = chains.chains.iter().flat_map(|chain| chain.revisions.iter().chain(&chain.seeds));
    let all: Vec<&Revision> = chains.bootstrap.iter().chain(scripts).chain(&chains.seeds).collect();
    for revision in all {
        faults.extend(check(&mut connection, revision).await?);
        if faults.len() >= limits::FAULTS {
            break;
        }
    }
    // Nobody prepares these texts again.
    connection.clear_cached_statements().await?;
    Ok(faults)
}

async fn check(connection: &mut PgConnection, revision: &Revision) -> Result<Option<ChainFault>, Fault> {
    let text = AssertSqlSafe(format!("{BEFORE}{}{BEHIND}", revision.sql)).into_sql_str();
    let error = match connection.prepare(text).await {
        Ok(_) => return Ok(None),
        Err(error) => error,
    };
    let code = database_error(&error).map(|it| it.code());
    // Out of memory, cancelled, shut down: nothing that the text is to be blamed for.
    if is_disconnect(&error) || code.is_none_or(|code| code.starts_with("53") || code.starts_with("57")) {
        return Err(control_fault(error));
    }
    let kind = ChainFaultKind::Unparsable { message: format!("PostgreSQL says: {}", message(&error)) };
    Ok(Some(match database_error(&error).and_then(|it| it.position()) {
        Some(PgErrorPosition::Original(at)) => {
            let place = sql::locate(&revision.sql, &revision.statements, at.saturating_sub(BEFORE.len()));
            ChainFault { column: Some(place.column), ..ChainFault::at(&revision.file, place.line, kind) }
        }
        _ => ChainFault::of(&revision.file, kind),
    }))
}
