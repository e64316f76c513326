//! Until when a commit may be sent: carried by the very message of the commit, and judged by the server that executes it.

use jiff::Timestamp;
use model::fault::Fault;

use crate::postgres::sql::error::{message, work_fault};

/// Said by the server when a commit comes after its edge.
const TOO_LATE: &str = "resetd_edge";

/// A commit may be sent until then; the fault says what it is when it comes too late.
#[derive(Clone, Debug)]
pub(crate) struct CommitDeadline {
    pub(in crate::postgres) at: Timestamp,
    pub(in crate::postgres) late: Fault,
}

impl CommitDeadline {
    /// The message that commits only before the edge, by the clock of the server that executes it.
    pub(crate) fn commit(until: Option<&Self>) -> String {
        format!("{}COMMIT", until.map(Self::guard).unwrap_or_default())
    }

    /// The statement that fails after the edge, and what comes after it in its message with it.
    pub(in crate::postgres) fn guard(&self) -> String {
        // Neither side is a constant, so that nothing is worked out before its time.
        format!(
            "SELECT CASE WHEN pg_catalog.clock_timestamp() OPERATOR(pg_catalog.<) '{}'::pg_catalog.timestamptz
             THEN 0 ELSE pg_catalog.concat('{TOO_LATE} ', pg_catalog.clock_timestamp())::pg_catalog.int4 END; ",
            self.at
        )
    }

    /// What it means that a commit failed.
    pub(in crate::postgres) fn failed(until: Option<&Self>, doing: &str, error: &sqlx::Error) -> Fault {
        Self::missed(until, error).unwrap_or_else(|| work_fault(doing, error))
    }

    /// What it means when the server said that the commit came too late.
    pub(in crate::postgres) fn missed(until: Option<&Self>, error: &sqlx::Error) -> Option<Fault> {
        let said = message(error).contains(TOO_LATE);
        until.filter(|_| said).map(|until| until.late.clone())
    }
}
