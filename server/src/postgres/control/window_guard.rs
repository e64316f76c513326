//! Whether a target may be changed now, by the control database's clock: asked before the lock, at the grant, while the
//! change runs, and in the very message of its commit.
//!
//! What decides is `model::window`; here the windows are read, and decisions about one target are put in a row.

use jiff::Timestamp;
use model::{
    fault::{Fault, Reason},
    operation::Verb,
    window::{self, Change, Edge, NOTICE, Rules, Verdict, Window},
};
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use super::commit_deadline::CommitDeadline;
use crate::postgres::sql::{error::ControlError, timestamp::Timestamptz};

/// Windows of a target that are read for a decision: the present one and those that come next.
const NEXT: i64 = 200;

/// Who wants to change which database, under which rules.
#[derive(Clone, Debug)]
pub(crate) struct WindowGuard {
    pub(crate) database: String,
    pub(crate) rules: Rules,
    pub(crate) principal: String,
}

/// What a right came to when it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct WindowStatus {
    /// By the control database's clock.
    pub(crate) now: Timestamp,
    pub(crate) verdict: Verdict,
}

/// The clock, and a window where there is one.
#[derive(sqlx::FromRow)]
struct WindowRow {
    now: Timestamptz,
    id: Option<Uuid>,
    principal: String,
    reason: String,
    starts_at: Option<Timestamptz>,
    ends_at: Option<Timestamptz>,
    etag: Option<Uuid>,
}

impl WindowGuard {
    /// Asks for it.
    pub(crate) async fn standing(&self, executor: impl PgExecutor<'_>) -> Result<WindowStatus, ControlError> {
        let (now, windows) = coming(executor, &self.database, &self.rules.target).await?;
        Ok(WindowStatus { now, verdict: window::judge(&windows, &self.principal, &self.rules, now) })
    }

    /// The refusal of a verdict, where it is one.
    pub(crate) fn refusal(&self, verdict: &Verdict) -> Option<Fault> {
        verdict.refusal(&self.rules, &self.principal)
    }

    /// Makes sure, inside a transaction that has the target's queue lock, that the change may be committed; until when.
    ///
    /// # Errors
    /// `WINDOW_HELD`, `WINDOW_REQUIRED`; the control database does not answer.
    pub(crate) async fn until(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<CommitDeadline>, ControlError> {
        let standing = self.standing(&mut *connection).await?;
        match &standing.verdict {
            Verdict::Free(edge) => Ok(edge.as_ref().map(|edge| self.until_edge(edge))),
            verdict => Err(rolled_back(self.refusal(verdict)).into()),
        }
    }

    /// As [`WindowGuard::until`], outside the queue lock: a window that is made meanwhile begins at the soonest when this has run out.
    ///
    /// # Errors
    /// As [`WindowGuard::until`].
    pub(crate) async fn for_a_moment(&self, pool: &PgPool) -> Result<CommitDeadline, ControlError> {
        let mut connection = pool.acquire().await?;
        let standing = self.standing(&mut *connection).await?;
        let moment = standing.now + jiff::SignedDuration::try_from(NOTICE).unwrap_or_default();
        match &standing.verdict {
            Verdict::Free(Some(edge)) if edge.at() <= moment => Ok(self.until_edge(edge)),
            Verdict::Free(_) => Ok(CommitDeadline {
                at: moment,
                late: Fault::new(
                    Reason::CommitFailed,
                    format!(
                        "the commit came more than {} s after its check of the windows",
                        NOTICE.as_secs()
                    ),
                )
                .hint("what was not committed was rolled back; run it again"),
            }),
            verdict => Err(rolled_back(self.refusal(verdict)).into()),
        }
    }

    /// What it means that the edge has passed.
    pub(crate) fn late(&self, edge: &Edge) -> Fault {
        rolled_back(Some(edge.refusal(&self.rules, &self.principal)))
    }

    fn until_edge(&self, edge: &Edge) -> CommitDeadline {
        CommitDeadline { at: edge.at(), late: self.late(edge) }
    }
}

/// The refusal of an operation that had begun.
pub(crate) fn rolled_back(refusal: Option<Fault>) -> Fault {
    let fault =
        refusal.unwrap_or_else(|| Fault::new(Reason::Internal, "the target may not be changed any more"));
    let Fault { message, .. } = &fault;
    Fault { message: format!("{message}; what was not committed yet was rolled back"), ..fault }
}

/// The clock, and a database's windows that are not past, by start.
pub(crate) async fn coming(
    executor: impl PgExecutor<'_>,
    database: &str,
    target: &str,
) -> Result<(Timestamp, Vec<Window>), ControlError> {
    let rows: Vec<WindowRow> = sqlx::query_as(
        "SELECT n.now, w.id, coalesce(w.principal, '') AS principal, coalesce(w.reason, '') AS reason,
                lower(w.period) AS starts_at, upper(w.period) AS ends_at, w.etag
           FROM (SELECT clock_timestamp() AS now) n
           LEFT JOIN (resetd.reset_window w JOIN resetd.target t ON t.id = w.target_id AND t.database = $1)
             ON w.released_at IS NULL AND upper(w.period) > n.now
          ORDER BY lower(w.period) LIMIT $2",
    )
    .bind(database)
    .bind(NEXT)
    .fetch_all(executor)
    .await?;
    let now = rows.first().map_or(Timestamp::UNIX_EPOCH, |row| row.now.to_jiff());
    let windows = rows.into_iter().filter_map(|row| {
        Some(Window {
            id: row.id?,
            target: target.to_owned(),
            principal: row.principal,
            reason: row.reason,
            starts_at: row.starts_at?.to_jiff(),
            ends_at: row.ends_at?.to_jiff(),
            etag: row.etag?,
            released_at: None,
        })
    });
    Ok((now, windows.collect()))
}

#[derive(sqlx::FromRow)]
struct ChangeRow {
    id: Uuid,
    verb: String,
    principal: String,
    committing: bool,
}

/// The changes of a database that hold its lock now.
pub(crate) async fn changes(within: &mut PgConnection, database: &str) -> Result<Vec<Change>, ControlError> {
    let rows: Vec<ChangeRow> = sqlx::query_as(
        "SELECT id, verb, principal, state = 'committing' AS committing FROM resetd.operation
          WHERE database = $1 AND state IN ('running', 'committing') AND NOT reads_only ORDER BY id",
    )
    .bind(database)
    .fetch_all(within)
    .await?;
    let change = |row: ChangeRow| Change {
        operation: row.id,
        verb: row.verb.parse().unwrap_or(Verb::Run),
        principal: row.principal,
        committing: row.committing,
    };
    Ok(rows.into_iter().map(change).collect())
}
